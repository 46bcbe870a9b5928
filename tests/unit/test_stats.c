#include "policy/stats.h"

#include <criterion/criterion.h>
#include <math.h>

static struct moments of(const double *y, const double *x, size_t n) {
    struct moments m = {0};
    for (size_t i = 0; i < n; i++)
        moments_add(&m, y[i], x ? x[i] : 0);
    return m;
}

static const double X[] = {1, 2, 3, 4, 5, 6, 7, 8};
static const double Y[] = {2.1, 2.9, 4.2, 5, 5.5, 7.2, 8.1, 8.4};

/* numpy: var(ddof=1) */
Test(stats, keeps_mean_and_variance) {
    struct moments m = of(Y, X, 8);
    cr_assert_float_eq(m.y, 5.425, 1e-12);
    cr_assert_float_eq(moments_variance(&m), 5.4678571428571425, 1e-12);
    cr_assert_float_eq(mean_of(&m).se, sqrt(5.4678571428571425 / 8), 1e-12);
    cr_assert_float_eq(cuped_theta(&m), .9476190476190477, 1e-12);
}

Test(stats, merges_as_if_all_had_been_added_to_one) {
    struct moments all = of(Y, X, 8);
    for (size_t k = 0; k <= 8; k++) {
        struct moments a = of(Y, X, k), b = of(Y + k, X + k, 8 - k);
        moments_merge(&a, &b);
        cr_assert_eq(a.n, 8);
        cr_assert_float_eq(a.y, all.y, 1e-12);
        cr_assert_float_eq(a.x, all.x, 1e-12);
        cr_assert_float_eq(a.yy, all.yy, 1e-9);
        cr_assert_float_eq(a.xx, all.xx, 1e-9);
        cr_assert_float_eq(a.xy, all.xy, 1e-9);
    }
}

Test(stats, knows_nothing_of_nobody) {
    struct moments none = {0};
    cr_assert(isnan(mean_of(&none).value));
    cr_assert_eq(moments_variance(&none), 0);
    cr_assert_eq(cuped_theta(&none), 0);
    moments_merge(&none, &none);
    moments_pool(&none, &none);
    cr_assert_eq(none.n, 0);
    cr_assert(isnan(share_interval(0, 0, 2).low));
    cr_assert(isnan(ratio_interval(0, 0, 1, 2, 2).low));
}

/* numpy: theta from the sums within the arms, then mean and std(ddof=1) / 2 of the adjusted y */
Test(stats, adjusts_for_what_was_known_before) {
    struct moments a = of((double[]){1, 2, 2, 4}, (double[]){0, 1, 2, 3}, 4);
    struct moments b = of((double[]){3, 3, 6, 6}, (double[]){1, 2, 4, 5}, 4);
    struct moments pool = {0};
    moments_pool(&pool, &a);
    moments_pool(&pool, &b);
    double theta = cuped_theta(&pool);
    cr_assert_float_eq(theta, .9, 1e-12);
    cr_assert_float_eq(pool.x, 2.25, 1e-12);
    struct mean ma = cuped_mean(&a, theta, pool.x), mb = cuped_mean(&b, theta, pool.x);
    cr_assert_float_eq(ma.value, 2.925, 1e-12);
    cr_assert_float_eq(ma.se, .24152294576982397, 1e-12);
    cr_assert_float_eq(mb.value, 3.825, 1e-12);
    cr_assert_float_eq(mb.se, .273861278752583, 1e-12);
}

/* scipy: norm.ppf */
Test(stats, inverts_the_normal_distribution) {
    cr_assert_float_eq(normal_quantile(.975), 1.959963984540054, 1e-13);
    cr_assert_float_eq(normal_quantile(.3), -.5244005127080409, 1e-14);
    cr_assert_float_eq(normal_quantile(1e-10), -6.361340902404056, 1e-12);
    cr_assert_float_eq(normal_quantile(.999999), 4.753424308817087, 1e-10);
    cr_assert_eq(normal_quantile(0), -INFINITY);
    cr_assert_eq(normal_quantile(1), INFINITY);
    cr_assert(isnan(normal_quantile(2)));
    cr_assert_float_eq(z_fixed(.95), 1.959963984540054, 1e-13);
}

/* numpy, by the formula of the header */
Test(stats, widens_intervals_that_are_looked_at_always) {
    cr_assert_float_eq(z_always(.95, 1000, 1000), 3.0352089903762525, 1e-12);
    cr_assert_float_eq(z_always(.95, 10, 1000), 9.084379437310579, 1e-12);
    cr_assert_float_eq(z_always(.99, 50000, 1000), 3.949224056015052, 1e-12);
    cr_assert_eq(z_always(.95, 0, 1000), INFINITY);
}

/* 300 experiments without an effect, looked at after each of 2,000 users from the hundredth on: the
 * confidence sequence is ever wrong in at most one of twenty, the fixed interval in many. */
Test(stats, is_seldom_fooled_by_looking_every_day) {
    struct rng rng;
    int fooled = 0, fixed = 0;
    rng_seed(&rng, 1);
    for (int k = 0; k < 300; k++) {
        struct moments a = {0}, b = {0};
        bool out = false, out_fixed = false;
        for (int i = 0; i < 1000; i++) {
            moments_add(&a, rng_unit(&rng) < .3, 0);
            moments_add(&b, rng_unit(&rng) < .3, 0);
            if (i < 50)
                continue;
            struct mean d = mean_difference(mean_of(&a), mean_of(&b));
            out |= fabs(d.value) > z_always(.95, d.n, 1000) * d.se;
            out_fixed |= fabs(d.value) > z_fixed(.95) * d.se;
        }
        fooled += out;
        fixed += out_fixed;
    }
    cr_assert_leq(fooled, 15);
    cr_assert_geq(fixed, 60);
}

/* By a grid over theta: (12 - 10 theta)^2 <= 1.96^2 (.6^2 + theta^2 .5^2) */
Test(stats, gives_lifts_an_interval_even_where_the_base_is_unsure) {
    struct mean a = {10, .5, 100}, b = {12, .6, 100}, vague = {1, 2, 100};
    cr_assert_float_eq(lift(a, b), .2, 1e-12);
    cr_assert_float_eq(lift_interval(a, b, 1.96).low, .044116, 1e-5);
    cr_assert_float_eq(lift_interval(a, b, 1.96).high, .379157, 1e-5);
    cr_assert_eq(lift_interval(vague, b, 1.96).low, -INFINITY);
    cr_assert_eq(lift_interval(vague, b, 1.96).high, INFINITY);
}

Test(stats, adds_errors_of_differences) {
    struct mean d = mean_difference((struct mean){1, 3, 10}, (struct mean){5, 4, 20});
    cr_assert_float_eq(d.value, 4, 1e-12);
    cr_assert_float_eq(d.se, 5, 1e-12);
    cr_assert_eq(d.n, 30);
    cr_assert_float_eq(mean_interval(d, 2).low, -6, 1e-12);
    cr_assert_float_eq(mean_interval(d, 2).high, 14, 1e-12);
}

/* scipy: binomtest(15, 148).proportion_ci(method='wilson'), and of 0 of 20 */
Test(stats, bounds_shares_by_wilson) {
    double z = z_fixed(.95);
    cr_assert_float_eq(share_interval(15, 148, z).low, .06238639953073629, 1e-12);
    cr_assert_float_eq(share_interval(15, 148, z).high, .16048724172330803, 1e-12);
    cr_assert_eq(share_interval(0, 20, z).low, 0);
    cr_assert_float_eq(share_interval(0, 20, z).high, .16112515805281935, 1e-12);
}

/* Newcombe 1998, table II, example (a): 56/70 - 48/80, method 10: .0524 to .3339 */
Test(stats, bounds_gaps_by_newcombe) {
    struct interval g = gap_interval(48, 80, 56, 70, z_fixed(.95));
    cr_assert_float_eq(g.low, .0524, 5e-5);
    cr_assert_float_eq(g.high, .3339, 5e-5);
}

Test(stats, bounds_rate_ratios) {
    struct interval r = ratio_interval(50, 100, 50, 100, 1.96);
    cr_assert_float_eq(r.low * r.high, 1, 1e-12);
    /* exp(1.96 sqrt(2 (1 / 50.5 - 1 / 100.5))) */
    cr_assert_float_eq(r.high, 1.3166929959045306, 1e-12);
    r = ratio_interval(0, 100, 50, 100, 1.96);
    cr_assert(r.low > 1 && isfinite(r.high));
}

/* scipy: chi2.sf */
Test(stats, knows_the_tail_of_chi_square) {
    cr_assert_float_eq(chi_square_tail(3.84, 1), .05004352124870519, 1e-12);
    cr_assert_float_eq(chi_square_tail(20, 3), .00016974243555282632, 1e-14);
    cr_assert_float_eq(chi_square_tail(.5, 4), .9735009788392561, 1e-12);
    cr_assert_float_eq(chi_square_tail(120, 10) / 5.060046065842555e-21, 1, 1e-9);
    cr_assert_eq(chi_square_tail(0, 3), 1);
    cr_assert_eq(chi_square_tail(INFINITY, 3), 0);
    cr_assert(isnan(chi_square_tail(NAN, 3)));
}

/* scipy: chisquare(counts, expected) */
Test(stats, raises_the_alarm_when_arms_are_filled_unevenly) {
    double even[] = {1, 1}, shares[] = {2, 2, 1};
    cr_assert_float_eq(ratio_mismatch((double[]){5100, 4900}, even, 2), .04550026389635857, 1e-12);
    cr_assert_float_eq(ratio_mismatch((double[]){821588, 815482}, even, 2) / 1.8217928726191858e-06,
                       1, 1e-9);
    cr_assert_float_eq(ratio_mismatch((double[]){300, 310, 190}, shares, 3), .02749503049258666,
                       1e-12);
    cr_assert(isnan(ratio_mismatch((double[]){5}, even, 1)));
    cr_assert(isnan(ratio_mismatch((double[]){0, 0}, even, 2)));
    cr_assert_eq(ratio_mismatch((double[]){5, 5, 1}, (double[]){1, 1, 0}, 3), 0);
}
