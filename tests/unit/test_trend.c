#include "model/trend.h"

#include <criterion/criterion.h>
#include <math.h>

static const int64_t T0 = INT64_C(1700000000000), HOUR = 3600 * 1000;

Test(trend, refuses_an_empty_table) {
    struct trend *t = NULL;
    cr_assert_eq(trend_new(0, HOUR, &t), -EINVAL);
    cr_assert_null(t);
}

Test(trend, halves_what_was_counted_every_half_life) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(10, HOUR, &t), 0);
    trend_observe(t, 3, 2, T0);
    cr_assert_float_eq(trend_value(t, 3, T0), 2, 1e-3);
    cr_assert_float_eq(trend_value(t, 3, T0 + HOUR), 1, 1e-3);
    cr_assert_float_eq(trend_value(t, 3, T0 + 10 * HOUR), 2. / 1024, 1e-5);
    trend_observe(t, 3, 1, T0 + HOUR);
    cr_assert_float_eq(trend_value(t, 3, T0 + HOUR), 2, 1e-3);
    cr_assert_eq(trend_count(t, 3), 2);
    /* late by an hour: counts half */
    trend_observe(t, 3, 1, T0);
    cr_assert_float_eq(trend_value(t, 3, T0 + HOUR), 2.5, 1e-3);
    cr_assert_eq(trend_value(t, 4, T0), 0);
    cr_assert_eq(trend_now(t), T0 + HOUR);
}

Test(trend, stays_right_over_many_epochs) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(2, 60 * 1000, &t), 0);
    double expected = 0;
    for (int i = 0; i < 5000; i++) { /* a half-life every second event: 78 epochs */
        expected = expected * sqrt(.5) + 1;
        trend_observe(t, 0, 1, T0 + i * INT64_C(30000));
        cr_assert_float_eq(trend_value(t, 0, T0 + i * INT64_C(30000)), expected, 1e-2);
    }
    cr_assert_lt(trend_value(t, 0, T0 + 365 * 24 * HOUR), 1e-20);
    trend_observe(t, 0, 1, T0 + 365 * 24 * HOUR);
    cr_assert_float_eq(trend_value(t, 0, T0 + 365 * 24 * HOUR), 1, 1e-3);
}

Test(trend, without_half_life_only_counts) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(2, 0, &t), 0);
    for (int i = 0; i < 100; i++)
        trend_observe(t, 1, 1, T0 + i * 1000 * HOUR);
    cr_assert_eq(trend_value(t, 1, T0 + 100000 * HOUR), 100);
}

Test(trend, ignores_what_is_out_of_bounds_or_worth_nothing) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(2, HOUR, &t), 0);
    trend_observe(t, 2, 1, T0);
    trend_observe(t, ROW_NONE, 1, T0);
    trend_observe(t, 1, 0, T0);
    trend_observe(t, 1, -1, T0);
    trend_observe(t, 1, NAN, T0);
    cr_assert_eq(trend_count(t, 1), 0);
    cr_assert_eq(trend_value(t, 7, T0), 0);
    trend_observe(t, 1, INFINITY, T0);
    trend_observe(t, 1, 1, -5);
    cr_assert(isfinite(trend_value(t, 1, T0)));
    cr_assert(isfinite(trend_value(t, 1, 0)));
    cr_assert(isfinite(trend_scores(t)[1]));
}

Test(trend, keeps_scores_for_the_ranking) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(8, HOUR, &t), 0);
    const float *score = trend_scores(t);
    for (int i = 0; i < 9; i++)
        trend_observe(t, 5, 1, T0);
    cr_assert_float_eq(score[5], log(10), 1e-3);
    cr_assert_eq(score[4], 0);
    trend_refresh(t, 8, T0 + HOUR, 3); /* the first slice does not reach row 5 */
    cr_assert_float_eq(score[5], log(10), 1e-3);
    trend_refresh(t, 8, T0 + HOUR, 3);
    cr_assert_float_eq(score[5], log(5.5), 1e-3);
    /* a late event does not make it look younger */
    trend_observe(t, 5, 1e-6f, T0 + HOUR);
    trend_observe(t, 5, 1e-6f, T0 - 3 * HOUR);
    cr_assert_float_eq(score[5], log(5.5), 1e-3);
}

static bool not_seven(void *ctx, uint32_t row) {
    (void)ctx;
    return row != 7;
}

Test(trend, lists_the_largest_with_ties_to_the_smaller_row) {
    autofree(trend_free) struct trend *t = NULL;
    cr_assert_eq(trend_new(100, HOUR, &t), 0);
    struct rng r;
    rng_seed(&r, 3);
    uint32_t count[100] = {0};
    for (int i = 0; i < 3000; i++) {
        uint32_t row = rng_below(&r, 90);
        count[row]++;
        trend_observe(t, row, 1, T0 + (row == 4 ? 0 : 5 * HOUR));
    }
    struct trend_entry top[100];
    size_t n = trend_top(t, TREND_EVER, 100, T0, not_seven, NULL, top, 20);
    cr_assert_eq(n, 20);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(top[i].value, (float)count[top[i].row]);
        cr_assert_neq(top[i].row, 7);
        size_t above = 0;
        for (uint32_t row = 0; row < 100; row++)
            above += row != 7 && (count[row] > count[top[i].row] ||
                                  (count[row] == count[top[i].row] && row < top[i].row));
        cr_assert_eq(above, i);
    }
    cr_assert_eq(trend_top(t, TREND_EVER, 100, T0, NULL, NULL, top, 100), 90);
    n = trend_top(t, TREND_NOW, 100, T0 + 6 * HOUR, NULL, NULL, top, 100);
    cr_assert_eq(n, 90);
    cr_assert_eq(top[89].row, 4, "old news come last");
    cr_assert_eq(trend_top(t, TREND_NOW, 100, T0, NULL, NULL, top, 0), 0);
}

Test(trend, travels_as_a_state_that_goes_on_alike) {
    autofree(trend_free) struct trend *a = NULL, *b = NULL;
    cr_assert_eq(trend_new(4, HOUR, &a), 0);
    cr_assert_eq(trend_new(9, HOUR, &b), 0);
    for (int i = 0; i < 50; i++)
        trend_observe(a, 1, 1 + (float)i / 7, T0 + i * HOUR);
    trend_observe(b, 0, 1, T0 + 49 * HOUR);
    trend_set(b, 8, trend_get(a, 1));
    for (int i = 50; i < 90; i++) {
        cr_assert_eq(trend_value(a, 1, T0 + i * HOUR), trend_value(b, 8, T0 + i * HOUR));
        trend_observe(a, 1, 1, T0 + i * HOUR);
        trend_observe(b, 8, 1, T0 + i * HOUR);
    }
    cr_assert_eq(trend_count(b, 8), 90);
    cr_assert_eq(trend_scores(a)[1], trend_scores(b)[8]);
    trend_forget_row(b, 8);
    cr_assert_eq(trend_count(b, 8), 0);
    cr_assert_eq(trend_value(b, 8, T0 + 90 * HOUR), 0);
    cr_assert_eq(trend_scores(b)[8], 0);
}
