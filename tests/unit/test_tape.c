#include "consumer/tape.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static struct tape *blank(void) {
    struct tape *t = NULL;
    cr_assert_eq(tape_new(&t), 0);
    return t;
}

static void add(struct tape *t, const char *item, int64_t time_ms) {
    struct event e = {.id = str_of(item),
                      .user = STR("u"),
                      .item = str_of(item),
                      .time_ms = time_ms,
                      .value = NAN,
                      .dwell_ms = NAN};
    cr_assert_eq(tape_add(t, &e), 0);
}

static void check_item(const struct tape *t, size_t i, const char *item) {
    struct str s = tape_text(t, tape_at(t, i)->item);
    cr_assert(str_eq(s, str_of(item)), "%zu: %.*s", i, (int)s.n, s.p);
}

Test(tape, gives_back_what_it_took) {
    autofree(tape_free) struct tape *t = blank();
    char text[3000];
    memset(text, 'q', sizeof text);
    struct event e = {.id = STR("id"),
                      .user = STR("u"),
                      .item = STR("i"),
                      .session = STR("s"),
                      .query = {text, sizeof text},
                      .decision = STR("d"),
                      .time_ms = 7,
                      .value = 2.5,
                      .dwell_ms = 30,
                      .type = EV_CLICK,
                      .n_ctx = 2,
                      .ctx = {{STR("device"), STR("phone")}, {STR("country"), STR("u")}}};
    cr_assert_eq(tape_add(t, &e), 0);
    memset(text, 'x', sizeof text);
    struct event got;
    char id[TAPE_ID];
    tape_event(t, 0, id, &got);
    cr_assert(str_eq(got.user, e.user) && str_eq(got.item, e.item));
    cr_assert(str_eq(got.session, e.session) && str_eq(got.decision, e.decision));
    cr_assert(got.query.n == sizeof text && got.query.p[0] == 'q' && got.query.p[2999] == 'q');
    cr_assert(got.time_ms == 7 && got.value == 2.5 && got.dwell_ms == 30 && got.type == EV_CLICK);
    cr_assert_eq(got.n_ctx, 2);
    cr_assert(str_eq(event_ctx_get(&got, STR("device")), STR("phone")));
    cr_assert(str_eq(event_ctx_get(&got, STR("country")), STR("u")));
    cr_assert_eq(got.id.n, TAPE_ID);
}

Test(tape, keeps_every_text_once_and_grows) {
    autofree(tape_free) struct tape *t = blank();
    char text[16];
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < 5000; i++) {
            snprintf(text, sizeof text, "t%u", i);
            cr_assert_eq(tape_intern(t, str_of(text)), i + 1);
        }
    cr_assert_eq(tape_texts(t), 5001);
    cr_assert_eq(tape_find(t, STR("nowhere")), UINT32_MAX);
    cr_assert_eq(tape_find(t, STR("")), 0);
    cr_assert_eq(tape_text(t, 9999).n, 0);
}

Test(tape, the_same_id_is_the_same_again_and_others_differ) {
    autofree(tape_free) struct tape *t = blank();
    add(t, "a", 1);
    add(t, "a", 2);
    add(t, "b", 3);
    struct event e[3];
    char id[3][TAPE_ID];
    for (size_t i = 0; i < 3; i++)
        tape_event(t, i, id[i], &e[i]);
    cr_assert(str_eq(e[0].id, e[1].id) && !str_eq(e[0].id, e[2].id));
}

Test(tape, puts_a_part_in_order_and_leaves_equal_times_as_they_came) {
    autofree(tape_free) struct tape *t = blank();
    add(t, "before", 100);
    static const int64_t times[] = {5, 3, 3, 9, 1, 3};
    static const char *const items[] = {"a", "b", "c", "d", "e", "f"}, *const sorted[] = {"e", "b",
                                                                                          "c", "f",
                                                                                          "a", "d"};
    for (size_t i = 0; i < 6; i++)
        add(t, items[i], times[i]);
    cr_assert_eq(tape_sort(t, 1), 2);
    check_item(t, 0, "before");
    for (size_t i = 0; i < 6; i++)
        check_item(t, i + 1, sorted[i]);
    cr_assert_eq(tape_sort(t, 1), 0);
}

Test(tape, sorts_any_number) {
    struct rng r;
    rng_seed(&r, 1);
    for (size_t n = 0; n < 70; n++) {
        autofree(tape_free) struct tape *t = blank();
        for (size_t i = 0; i < n; i++)
            add(t, "x", rng_below(&r, 20));
        cr_assert(tape_sort(t, 0) >= 0);
        for (size_t i = 1; i < n; i++)
            cr_assert(tape_at(t, i - 1)->time_ms <= tape_at(t, i)->time_ms);
    }
}

Test(tape, moves_a_part_in_time) {
    autofree(tape_free) struct tape *t = blank();
    add(t, "a", 10);
    add(t, "b", 5);
    tape_shift(t, 1, 100);
    cr_assert_eq(tape_at(t, 0)->time_ms, 10);
    cr_assert_eq(tape_at(t, 1)->time_ms, 105);
}
