#include "model/baselines.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const int64_t START = 1764000000000, HOUR = 3600000;

static struct baselines *blank(void) {
    struct baselines *b = NULL;
    cr_assert_eq(baselines_new(&b), 0);
    return b;
}

static void owner_has(struct baselines *b, uint32_t owner, const uint32_t *items, size_t n) {
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(baselines_event(b, owner, items[i], START + (int64_t)i, true), 0);
}

/* The list as text, best first, and the target's place behind a slash: "3 1/2". */
static const char *list(struct baselines *b, enum baseline kind, uint32_t owner, uint32_t out,
                        uint32_t target, uint32_t n) {
    static char text[256];
    uint32_t items[32];
    struct baseline_list l = {.items = items};
    cr_assert_eq(baselines_rank(b, kind, owner, &out, 1, target, n, &l), 0);
    size_t at = 0;
    for (uint32_t i = 0; i < l.n; i++)
        at += (size_t)snprintf(text + at, sizeof text - at, "%s%u", i ? " " : "", items[i]);
    snprintf(text + at, sizeof text - at, "/%u", l.place);
    return text;
}

enum { NONE = 1000 };

Test(baselines, know_nothing_at_first) {
    autofree(baselines_free) struct baselines *b = blank();
    for (int k = 0; k < BASELINES; k++)
        cr_assert_str_eq(list(b, (enum baseline)k, 7, NONE, 3, 5), "/0");
    cr_assert_str_eq(baseline_name(BASELINE_ITEM_KNN), "item-kNN");
    cr_assert_str_eq(baseline_name(BASELINES), "");
}

Test(baselines, count_what_is_popular_and_place_ties_last) {
    autofree(baselines_free) struct baselines *b = blank();
    owner_has(b, 1, (uint32_t[]){1, 2, 3, 2, 4, 2, 3, 4}, 8); /* 2: three, 3 and 4: two, 1: one */
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, NONE, 2, 5), "2 3 4 1/1");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, NONE, 3, 5), "2 3 4 1/3");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, NONE, 3, 2), "2 3/0", "4 ties beyond the end");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, 2, 4, 2), "3 4/2");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, 2, 2, 2), "3 4/0", "what is out has no place");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 9, NONE, 77, 5), "2 3 4 1/0");
}

Test(baselines, forget_what_was_popular_by_half_each_hour_or_day) {
    autofree(baselines_free) struct baselines *b = blank();
    for (int i = 0; i < 3; i++)
        baselines_event(b, 1, 1, START, true);
    baselines_event(b, 1, 2, START + 2 * HOUR, true);
    cr_assert_str_eq(list(b, BASELINE_RECENT_HOUR, 1, NONE, 1, 5), "2 1/2", "3/4 against 1");
    cr_assert_str_eq(list(b, BASELINE_RECENT_DAY, 1, NONE, 1, 5), "1 2/1");
    /* far beyond what a double could hold */
    baselines_event(b, 1, 3, START + 5000 * HOUR, true);
    cr_assert_str_eq(list(b, BASELINE_RECENT_HOUR, 1, NONE, 3, 5), "3/1",
                     "older ones have faded to nothing");
    cr_assert_str_eq(list(b, BASELINE_POPULARITY, 1, NONE, 3, 5), "1 2 3/3");
}

Test(baselines, find_items_by_the_cosine_of_their_owners) {
    autofree(baselines_free) struct baselines *b = blank();
    /* c_1 = 3, c_2 = 2, c_3 = 2, c_12 = 2, c_13 = 1 */
    owner_has(b, 1, (uint32_t[]){1, 2, 2}, 3);
    owner_has(b, 2, (uint32_t[]){2, 1}, 2);
    owner_has(b, 3, (uint32_t[]){1, 3}, 2);
    owner_has(b, 4, (uint32_t[]){3}, 1);
    baselines_event(b, 9, 1, START, false);
    cr_assert_str_eq(list(b, BASELINE_ITEM_KNN, 9, NONE, 3, 5), "2 3/2");
    cr_assert_str_eq(list(b, BASELINE_ITEM_KNN, 9, 2, 3, 5), "3/1");
    cr_assert_str_eq(list(b, BASELINE_ITEM_KNN, 4, NONE, 1, 5), "1/1");
    /* what was only followed taught nothing */
    baselines_event(b, 9, 50, START, false);
    cr_assert_str_eq(list(b, BASELINE_ITEM_KNN, 1, NONE, 50, 5), "2 1 3/0");
}

/* V-SKNN by hand: the owner had 1, then 2 (weights 1/2 and 1). Neighbour A = {1, 3} has
 * similarity 1/4 and its newest common item two steps back: 3 and 1 gain 1/8. B = {2, 4}: 1/2
 * at one step: 4 and 2 gain 1/2. C = {1, 2, 5}: 3/4 at one step: 1, 2 and 5 gain 3/4. */
Test(baselines, find_sessions_like_the_owners) {
    autofree(baselines_free) struct baselines *b = blank();
    owner_has(b, 1, (uint32_t[]){1, 3}, 2);
    owner_has(b, 2, (uint32_t[]){2, 4, 4}, 3);
    owner_has(b, 3, (uint32_t[]){1, 2, 5}, 3);
    owner_has(b, 4, (uint32_t[]){7, 8}, 2);
    owner_has(b, 9, (uint32_t[]){1, 2}, 2);
    /* 2: 5/4, 1: 7/8, 5: 3/4, 4: 1/2, 3: 1/8 */
    cr_assert_str_eq(list(b, BASELINE_SESSION_KNN, 9, NONE, 4, 9), "2 1 5 4 3/4");
    cr_assert_str_eq(list(b, BASELINE_SESSION_KNN, 9, NONE, 7, 9), "2 1 5 4 3/0");
    cr_assert_str_eq(list(b, BASELINE_SESSION_KNN, 9, NONE, 3, 4), "2 1 5 4/0");
}

Test(baselines, ask_only_the_newest_thousand_sessions) {
    autofree(baselines_free) struct baselines *b = blank();
    owner_has(b, 1, (uint32_t[]){1, 2}, 2);
    for (uint32_t i = 0; i < 1000; i++)
        owner_has(b, 10 + i, (uint32_t[]){1, 3}, 2);
    owner_has(b, 2, (uint32_t[]){1}, 1);
    cr_assert_str_eq(list(b, BASELINE_SESSION_KNN, 2, NONE, 3, 5), "1 3/2");
    cr_assert_str_eq(list(b, BASELINE_ITEM_KNN, 2, NONE, 2, 5), "3 2/2");
}
