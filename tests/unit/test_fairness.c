#include "policy/fairness.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct fair_bounds BOUNDS = {.ratio_low = .8, .ratio_high = 1.25, .least = 30};

Test(fairness, compares_each_group_with_everybody_else) {
    struct fair_result r[3];
    struct fair_group g[] = {{1000, 300}, {2000, 500}, {1000, 200}};
    fair_compare(g, 3, 1.96, &BOUNDS, r);
    cr_assert_float_eq(r[0].share, .25, 1e-12);
    cr_assert_float_eq(r[0].rate, .3, 1e-12);
    cr_assert_float_eq(r[0].rest, 700. / 3000, 1e-12);
    cr_assert_float_eq(r[0].ratio, .3 / (700. / 3000), 1e-12);
    cr_assert_float_eq(r[0].gap, .3 - 700. / 3000, 1e-12);
    cr_assert(r[0].ratio_range.low < r[0].ratio && r[0].ratio < r[0].ratio_range.high);
    cr_assert(r[0].gap_range.low < r[0].gap && r[0].gap < r[0].gap_range.high);
    cr_assert(r[0].rate_range.low < .3 && .3 < r[0].rate_range.high);
    cr_assert(r[0].judged);
}

Test(fairness, is_breached_only_by_what_is_certain_unless_strict) {
    struct fair_result r[2];
    struct fair_group few[] = {{100, 30}, {100, 20}}, many[] = {{10000, 3000}, {10000, 2000}};
    struct fair_bounds strict = BOUNDS;
    strict.strict = true;
    fair_compare(few, 2, 1.96, &BOUNDS, r);
    cr_assert_eq(r[0].breaches | r[1].breaches, 0);
    fair_compare(few, 2, 1.96, &strict, r);
    cr_assert_eq(r[0].breaches, FAIR_RATIO_HIGH);
    cr_assert_eq(r[1].breaches, FAIR_RATIO_LOW);
    fair_compare(many, 2, 1.96, &BOUNDS, r);
    cr_assert_eq(r[0].breaches, FAIR_RATIO_HIGH);
    cr_assert_eq(r[1].breaches, FAIR_RATIO_LOW);
}

Test(fairness, bounds_gaps_in_either_direction) {
    struct fair_result r[2];
    struct fair_group g[] = {{10000, 9900}, {10000, 9000}};
    fair_compare(g, 2, 1.96, &(struct fair_bounds){.gap = .05}, r);
    cr_assert_eq(r[0].breaches, FAIR_GAP);
    cr_assert_eq(r[1].breaches, FAIR_GAP);
    fair_compare(g, 2, 1.96, &(struct fair_bounds){.gap = .2}, r);
    cr_assert_eq(r[0].breaches | r[1].breaches, 0);
}

Test(fairness, does_not_judge_small_groups_or_one_alone) {
    struct fair_result r[2];
    struct fair_bounds strict = BOUNDS;
    strict.strict = true;
    fair_compare((struct fair_group[]){{29, 29}, {1000, 1}}, 2, 1.96, &strict, r);
    cr_assert_not(r[0].judged);
    cr_assert_eq(r[0].breaches | r[1].breaches, 0);
    fair_compare((struct fair_group[]){{1000, 10}}, 1, 1.96, &strict, r);
    cr_assert_not(r[0].judged);
    cr_assert(isnan(r[0].ratio));
    fair_compare((struct fair_group[]){{0, 0}, {0, 0}}, 2, 1.96, &strict, r);
    cr_assert(isnan(r[0].share));
    cr_assert_eq(r[0].breaches, 0);
}

/* .05 / 10 in both tails: the normal quantile of .9975 */
Test(fairness, widens_with_the_number_of_comparisons) {
    cr_assert_float_eq(fair_z(.95, 1), 1.959963984540054, 1e-12);
    cr_assert_float_eq(fair_z(.95, 10), 2.807033768343811, 1e-9);
}
