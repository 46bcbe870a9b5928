#include "model/sessions.h"

#include <criterion/criterion.h>

enum { ITEMS = 2000 };

static struct sessions *made(uint32_t capacity) {
    struct sessions *s = NULL;
    cr_assert_eq(sessions_new(ITEMS, capacity, &s), 0);
    return s;
}

/* A new session of these items; its number. */
static uint32_t begin(struct sessions *s, const uint32_t *item, size_t n) {
    uint32_t number = 0;
    for (size_t i = 0; i < n; i++)
        number = sessions_add(s, number, item[i]);
    return number;
}
#define BEGIN(s, ...)                                                                              \
    begin(s, (const uint32_t[]){__VA_ARGS__}, sizeof(uint32_t[]){__VA_ARGS__} / sizeof(uint32_t))

static void holds(const struct sessions *s, uint32_t number, const uint32_t *want, uint32_t n) {
    struct session got;
    cr_assert(sessions_get(s, number, &got), "session %u is not there", number);
    cr_assert_eq(got.n, n);
    for (uint32_t i = 0; i < n; i++)
        cr_assert_eq(got.item[i], want[i], "session %u, place %u: %u", number, i, got.item[i]);
}

static void found(const struct sessions *s, uint32_t item, size_t max, const uint32_t *want,
                  size_t n) {
    uint32_t got[256];
    cr_assert_eq(sessions_with(s, item, got, max), n);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq(got[i], want[i], "item %u, posting %zu: %u", item, i, got[i]);
}

Test(sessions, refuses_what_cannot_be) {
    struct sessions *s = NULL;
    cr_assert_eq(sessions_new(0, 16, &s), -EINVAL);
    cr_assert_eq(sessions_new(10, 0, &s), -EINVAL);
    cr_assert_eq(sessions_new(10, UINT32_MAX, &s), -EINVAL);
    cr_assert_null(s);
    sessions_free(NULL);
}

Test(sessions, a_session_holds_its_items_in_the_order_they_came_repeats_included) {
    struct sessions *s = made(100);
    cr_assert_eq(sessions_capacity(s), 128);
    uint32_t number = BEGIN(s, 5, 7, 7, 5);
    cr_assert_eq(number, 1);
    cr_assert_eq(BEGIN(s, 9), 2);
    cr_assert_eq(sessions_add(s, 1, 8), 1); /* the older one goes on */
    holds(s, 1, (const uint32_t[]){5, 7, 7, 5, 8}, 5);
    holds(s, 2, (const uint32_t[]){9}, 1);
    cr_assert_eq(sessions_count(s), 2);
    struct session none;
    cr_assert(!sessions_get(s, 0, &none));
    cr_assert(!sessions_get(s, 3, &none));
    cr_assert(!sessions_get(s, 1 + 128, &none));
    sessions_free(s);
}

Test(sessions, a_full_one_goes_on_as_another) {
    struct sessions *s = made(16);
    uint32_t number = 0, want[SESSION_ITEMS];
    for (uint32_t i = 0; i < SESSION_ITEMS; i++) {
        number = sessions_add(s, number, i);
        cr_assert_eq(number, 1);
        want[i] = i;
    }
    cr_assert_eq(sessions_add(s, number, 40), 2);
    cr_assert_eq(sessions_add(s, 2, 41), 2);
    holds(s, 1, want, SESSION_ITEMS);
    holds(s, 2, (const uint32_t[]){40, 41}, 2);
    sessions_free(s);
}

Test(sessions, the_newest_take_the_place_of_the_oldest) {
    struct sessions *s = made(16);
    for (uint32_t i = 0; i < 20; i++)
        cr_assert_eq(BEGIN(s, i, i + 100), i + 1);
    struct session got;
    for (uint32_t number = 1; number <= 4; number++)
        cr_assert(!sessions_get(s, number, &got));
    for (uint32_t number = 5; number <= 20; number++)
        holds(s, number, (const uint32_t[]){number - 1, number + 99}, 2);
    cr_assert_eq(sessions_slot(s, 20), sessions_slot(s, 4));
    cr_assert_eq(sessions_add(s, 4, 7), 21); /* what is gone does not go on */
    holds(s, 21, (const uint32_t[]){7}, 1);
    holds(s, 20, (const uint32_t[]){19, 119}, 2);
    sessions_free(s);
}

Test(sessions, postings_are_newest_first_and_each_once) {
    struct sessions *s = made(64);
    uint32_t want[40];
    for (uint32_t i = 0; i < 40; i++) {
        cr_assert_eq(BEGIN(s, 3, i + 10, 3), i + 1);
        want[39 - i] = i + 1;
    }
    found(s, 3, 256, want, 40);
    found(s, 3, 5, want, 5);
    found(s, 3, 0, NULL, 0);
    found(s, 12, 256, (const uint32_t[]){3}, 1);
    found(s, 77, 256, NULL, 0);
    found(s, ITEMS, 256, NULL, 0);
    sessions_free(s);
}

Test(sessions, tells_how_items_begin_end_and_follow_themselves) {
    struct sessions *s = made(16);
    BEGIN(s, 1, 2, 2, 3);
    BEGIN(s, 2, 1);
    struct session_facts one = sessions_facts(s, 1), two = sessions_facts(s, 2),
                         three = sessions_facts(s, 3), none = sessions_facts(s, 4);
    cr_assert(one.sessions == 2 && one.begins == 1 && one.ends == 1 && one.again == 0);
    cr_assert(two.sessions == 2 && two.begins == 1 && two.ends == 0 && two.again == 1);
    cr_assert(three.sessions == 1 && three.begins == 0 && three.ends == 1 && three.again == 0);
    cr_assert(none.sessions == 0 && none.begins == 0 && none.ends == 0 && none.again == 0);
    sessions_free(s);
}

Test(sessions, postings_that_others_took_are_not_read) {
    struct sessions *s = made(16); /* 32 chunks */
    for (uint32_t i = 0; i < 20; i++)
        BEGIN(s, 0); /* two chunks */
    for (uint32_t i = 1; i <= 31; i++)
        BEGIN(s, i); /* the last takes the older chunk */
    uint32_t want[] = {20, 19, 18, 17, 16, 15};
    found(s, 0, 256, want, 6);
    BEGIN(s, 32);
    found(s, 0, 256, NULL, 0);
    uint32_t number = BEGIN(s, 0);
    found(s, 0, 256, &number, 1);
    found(s, 2, 256, (const uint32_t[]){22}, 1);
    sessions_free(s);
}

Test(sessions, postings_never_come_round_to_themselves) {
    struct sessions *s = made(16);
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 5000; i++) {
        BEGIN(s, rng_below(&r, 3));
        for (uint32_t item = 0; item < 3; item++) {
            uint32_t got[256];
            size_t n = sessions_with(s, item, got, 256);
            cr_assert(i < 10 || n > 0);
            for (size_t k = 1; k < n; k++)
                cr_assert_lt(got[k], got[k - 1]);
        }
    }
    sessions_free(s);
}

Test(sessions, a_row_forgotten_is_in_none) {
    struct sessions *s = made(64);
    for (int i = 0; i < 20; i++)
        BEGIN(s, 4, 5, 4);
    uint32_t last = BEGIN(s, 5, 4);
    sessions_forget_row(s, 4);
    sessions_forget_row(s, ITEMS);
    found(s, 4, 256, NULL, 0);
    struct session_facts facts = sessions_facts(s, 4);
    cr_assert(facts.sessions == 0 && facts.begins == 0 && facts.ends == 0 && facts.again == 0);
    for (uint32_t number = 1; number <= last; number++) {
        struct session got;
        cr_assert(sessions_get(s, number, &got));
        for (uint32_t i = 0; i < got.n; i++)
            cr_assert_neq(got.item[i], 4);
    }
    cr_assert_eq(sessions_add(s, last, 4), last); /* another item in the row */
    found(s, 4, 256, &last, 1);
    holds(s, last, (const uint32_t[]){5, ROW_NONE, 4}, 3);
    facts = sessions_facts(s, 4);
    cr_assert(facts.sessions == 1 && facts.ends == 1);
    cr_assert_eq(sessions_facts(s, 5).sessions, 21);
    sessions_free(s);
}

Test(sessions, an_item_beyond_the_table_is_not_kept) {
    struct sessions *s = made(16);
    cr_assert_eq(sessions_add(s, 0, ITEMS), 0);
    uint32_t number = BEGIN(s, 1);
    cr_assert_eq(sessions_add(s, number, UINT32_MAX), number);
    holds(s, number, (const uint32_t[]){1}, 1);
    sessions_free(s);
}

Test(sessions, memory_is_told_and_bounded) {
    struct sessions *s = made(16);
    cr_assert_eq(sessions_bytes(s), 0);
    BEGIN(s, 1, 2);
    size_t one = sessions_bytes(s), most = 0;
    cr_assert_gt(one, 0);
    for (uint32_t i = 0; i < 1000; i++) {
        BEGIN(s, i, i + 1, i + 2);
        cr_assert(sessions_bytes(s) >= most);
        most = sessions_bytes(s);
    }
    cr_assert_leq(most, 16 * one);
    sessions_free(s);
}
