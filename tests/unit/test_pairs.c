#include "model/pairs.h"

#include <criterion/criterion.h>
#include <math.h>

enum { ITEMS = 500 };

static struct pairs *made(void) {
    struct pairs *p = NULL;
    cr_assert_eq(pairs_new(ITEMS, &p), 0);
    return p;
}

/* `item` after these, newest first. */
static void after(struct pairs *p, uint32_t item, const uint32_t *before, size_t n, uint32_t tick) {
    struct trail_item trail[64];
    for (size_t i = 0; i < n; i++)
        trail[i] = (struct trail_item){.item = before[i]};
    pairs_observe(p, item, trail, n, tick);
}
#define AFTER(p, item, tick, ...)                                                                  \
    after(p, item, (const uint32_t[]){__VA_ARGS__},                                                \
          sizeof(uint32_t[]){__VA_ARGS__} / sizeof(uint32_t), tick)

static const struct pairs_slot *slot(const struct pairs_view *v, uint32_t item) {
    for (uint32_t i = 0; i < v->n; i++)
        if (v->slot[i].item == item)
            return &v->slot[i];
    return NULL;
}

static void weighs(const float *got, float next_short, float next_long, float ahead, float behind) {
    cr_assert_float_eq(got[PAIR_NEXT_SHORT], next_short, 1e-5);
    cr_assert_float_eq(got[PAIR_NEXT_LONG], next_long, 1e-5);
    cr_assert_float_eq(got[PAIR_AHEAD], ahead, 1e-5);
    cr_assert_float_eq(got[PAIR_BEHIND], behind, 1e-5);
}

Test(pairs, refuses_no_items) {
    struct pairs *p = NULL;
    cr_assert_eq(pairs_new(0, &p), -EINVAL);
    cr_assert_null(p);
    pairs_free(NULL);
}

Test(pairs, counts_what_came_next_ahead_and_behind_by_distance) {
    struct pairs *p = made();
    cr_assert_eq(pairs_by_distance(p, 1), 1);
    cr_assert_float_eq(pairs_by_distance(p, 2), powf(2, -0.6f), 1e-6);
    cr_assert_float_eq(pairs_by_distance(p, PAIRS_RECENT), powf(PAIRS_RECENT, -0.6f), 1e-6);
    AFTER(p, 3, 1, 2, 1); /* 1, 2, then 3 */
    float far = powf(2, -0.6f);
    struct pairs_view v;
    pairs_look(p, 2, &v);
    cr_assert_eq(v.n, 1);
    weighs(slot(&v, 3)->weight, 1, 1, 1, 0);
    weighs(v.total, 1, 1, 1, 0);
    pairs_look(p, 1, &v);
    cr_assert_eq(v.n, 1);
    weighs(slot(&v, 3)->weight, 0, 0, far, 0);
    pairs_look(p, 3, &v);
    cr_assert_eq(v.n, 2);
    weighs(slot(&v, 2)->weight, 0, 0, 0, 1);
    weighs(slot(&v, 1)->weight, 0, 0, 0, far);
    weighs(v.total, 0, 0, 0, 1 + far);
    pairs_free(p);
}

Test(pairs, an_item_is_no_company_to_itself) {
    struct pairs *p = made();
    AFTER(p, 4, 1, 4, 4, 5);
    struct pairs_view v;
    pairs_look(p, 4, &v);
    cr_assert_eq(v.n, 1);
    cr_assert_not_null(slot(&v, 5));
    weighs(v.total, 0, 0, 0, powf(3, -0.6f));
    pairs_free(p);
}

Test(pairs, only_the_newest_of_a_long_trail_count) {
    struct pairs *p = made();
    uint32_t trail[40];
    for (uint32_t i = 0; i < ARRAY_LEN(trail); i++)
        trail[i] = 100 + i;
    after(p, 1, trail, ARRAY_LEN(trail), 1);
    struct pairs_view v;
    pairs_look(p, 1, &v);
    cr_assert_eq(v.n, (uint32_t)PAIRS_RECENT);
    cr_assert_not_null(slot(&v, 100 + PAIRS_RECENT - 1));
    cr_assert_null(slot(&v, 100 + PAIRS_RECENT));
    pairs_look(p, 100 + PAIRS_RECENT, &v);
    cr_assert_eq(v.n, 0);
    pairs_free(p);
}

Test(pairs, weights_and_totals_fade_alike_by_their_horizons) {
    struct pairs *p = made();
    AFTER(p, 2, 1, 1);
    AFTER(p, 3, 5001, 1); /* touches item 1 only when half the short memory is gone */
    struct pairs_view v;
    pairs_look(p, 1, &v);
    float lengthy = exp2f(-5000.f / 100000), far = exp2f(-5000.f / 500000);
    weighs(slot(&v, 2)->weight, 0.5f, lengthy, far, 0);
    weighs(slot(&v, 3)->weight, 1, 1, 1, 0);
    weighs(v.total, 1.5f, 1 + lengthy, 1 + far, 0);
    AFTER(p, 3, 4000, 1); /* told late: nothing fades, nothing grows back */
    pairs_look(p, 1, &v);
    weighs(slot(&v, 2)->weight, 0.5f, lengthy, far, 0);
    weighs(slot(&v, 3)->weight, 2, 2, 2, 0);
    pairs_free(p);
}

Test(pairs, totals_are_what_the_slots_add_up_to_while_there_is_room) {
    struct pairs *p = made();
    struct rng r;
    rng_seed(&r, 5);
    uint32_t trail[10];
    for (uint32_t tick = 1; tick <= 3000; tick++) {
        for (size_t i = 0; i < ARRAY_LEN(trail); i++)
            trail[i] = rng_below(&r, 60);
        after(p, rng_below(&r, 60), trail, 1 + rng_below(&r, 10), tick);
    }
    for (uint32_t item = 0; item < 60; item++) {
        struct pairs_view v;
        pairs_look(p, item, &v);
        cr_assert(v.n > 0 && v.n < 60);
        for (int k = 0; k < PAIR_KINDS; k++) {
            double sum = 0;
            for (uint32_t i = 0; i < v.n; i++)
                sum += (double)v.slot[i].weight[k];
            cr_assert_float_eq(sum, v.total[k], 1e-4 * sum + 1e-5);
        }
    }
    pairs_free(p);
}

Test(pairs, the_weakest_makes_room_and_the_total_remembers_it) {
    struct pairs *p = made();
    uint32_t tick = 0;
    for (uint32_t other = 100; other < 100 + PAIRS_SLOTS; other++)
        for (uint32_t i = 0; i < 2 + (other != 130); i++)
            AFTER(p, other, ++tick, 1);
    struct pairs_view v;
    pairs_look(p, 1, &v);
    cr_assert_eq(v.n, (uint32_t)PAIRS_SLOTS);
    cr_assert_not_null(slot(&v, 130));
    float total = v.total[PAIR_AHEAD];
    AFTER(p, 300, tick, 1);
    pairs_look(p, 1, &v);
    cr_assert_eq(v.n, (uint32_t)PAIRS_SLOTS);
    cr_assert_null(slot(&v, 130));
    weighs(slot(&v, 300)->weight, 1, 1, 1, 0); /* nothing of its predecessor's */
    for (uint32_t other = 100; other < 100 + PAIRS_SLOTS; other++)
        cr_assert(other == 130 || slot(&v, other));
    cr_assert_float_eq(v.total[PAIR_AHEAD], total + 1, 1e-4);
    pairs_free(p);
}

Test(pairs, a_row_forgotten_is_nobodys_company) {
    struct pairs *p = made();
    AFTER(p, 3, 1, 2, 1);
    AFTER(p, 4, 2, 3, 2, 1);
    pairs_forget_row(p, 2);
    pairs_forget_row(p, ITEMS);
    struct pairs_view v;
    pairs_look(p, 2, &v);
    cr_assert_eq(v.n, 0);
    weighs(v.total, 0, 0, 0, 0);
    for (uint32_t item = 0; item < 10; item++) {
        pairs_look(p, item, &v);
        cr_assert_null(slot(&v, 2));
    }
    pairs_look(p, 4, &v);
    cr_assert_eq(v.n, 2);
    cr_assert(slot(&v, 1) && slot(&v, 3));
    cr_assert_gt(pairs_bytes_per_item(), 0);
    pairs_free(p);
}

Test(pairs, items_beyond_the_table_are_left_out) {
    struct pairs *p = made();
    AFTER(p, ITEMS, 1, 1);
    AFTER(p, 1, 1, ITEMS + 7, UINT32_MAX);
    struct pairs_view v;
    pairs_look(p, 1, &v);
    cr_assert_eq(v.n, 0);
    pairs_look(p, ITEMS, &v);
    cr_assert_eq(v.n, 0);
    pairs_free(p);
}
