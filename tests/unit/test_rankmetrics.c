#include "model/rankmetrics.h"

#include <criterion/criterion.h>
#include <math.h>

static struct rankmetrics *at(const uint32_t *k, size_t n) {
    struct rankmetrics *m = NULL;
    cr_assert_eq(rankmetrics_new(k, n, &m), 0);
    return m;
}

static const uint32_t KS[] = {1, 5, 10};

Test(rankmetrics, refuses_impossible_list_lengths) {
    struct rankmetrics *m = NULL;
    static const uint32_t many[RANK_KS_MAX + 1] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    cr_assert_eq(rankmetrics_new(many, 0, &m), -EINVAL);
    cr_assert_eq(rankmetrics_new(many, RANK_KS_MAX + 1, &m), -EINVAL);
    cr_assert_eq(rankmetrics_new((uint32_t[]){5, 0}, 2, &m), -EINVAL);
    cr_assert_null(m);
}

Test(rankmetrics, knows_nothing_without_a_case) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 3);
    rankmetrics_add(m, 1, NULL, 0, 10);
    cr_assert_eq(rankmetrics_cases(m), 0);
    cr_assert(isnan(rankmetrics_value(m, RANK_HIT, 0)));
    cr_assert(isnan(rankmetrics_interval(m, RANK_HIT, 0, .95, 100, 1).low));
}

Test(rankmetrics, scores_one_relevant_item_by_its_place) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 3);
    uint32_t place = 3;
    rankmetrics_add(m, 1, &place, 1, 10);
    cr_assert_eq(rankmetrics_value(m, RANK_HIT, 0), 0);
    cr_assert_eq(rankmetrics_value(m, RANK_HIT, 1), 1);
    cr_assert_eq(rankmetrics_value(m, RANK_RECALL, 1), 1);
    cr_assert_float_eq(rankmetrics_value(m, RANK_PRECISION, 1), .2, 1e-12);
    cr_assert_float_eq(rankmetrics_value(m, RANK_PRECISION, 2), .1, 1e-12);
    cr_assert_float_eq(rankmetrics_value(m, RANK_MRR, 2), 1. / 3, 1e-12);
    cr_assert_float_eq(rankmetrics_value(m, RANK_NDCG, 2), .5, 1e-12);
    place = 0;
    rankmetrics_add(m, 2, &place, 1, 10);
    place = 11;
    rankmetrics_add(m, 3, &place, 1, 10);
    place = 8;
    rankmetrics_add(m, 4, &place, 1, 7); /* beyond the list */
    cr_assert_eq(rankmetrics_cases(m), 4);
    cr_assert_eq(rankmetrics_value(m, RANK_HIT, 2), .25);
    cr_assert_float_eq(rankmetrics_value(m, RANK_MRR, 2), 1. / 12, 1e-12);
}

Test(rankmetrics, scores_several_relevant_items) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 3);
    rankmetrics_add(m, 1, (uint32_t[]){7, 2, 0, 4}, 4, 20);
    cr_assert_eq(rankmetrics_value(m, RANK_HIT, 1), 1);
    cr_assert_eq(rankmetrics_value(m, RANK_RECALL, 1), .5);
    cr_assert_eq(rankmetrics_value(m, RANK_RECALL, 2), .75);
    cr_assert_float_eq(rankmetrics_value(m, RANK_PRECISION, 2), .3, 1e-12);
    cr_assert_eq(rankmetrics_value(m, RANK_MRR, 1), .5);
    double gain = 1 / log2(3) + 1 / log2(5), ideal = 1 + 1 / log2(3) + .5 + 1 / log2(5);
    cr_assert_float_eq(rankmetrics_value(m, RANK_NDCG, 1), gain / ideal, 1e-12);
    rankmetrics_add(m, 1, (uint32_t[]){1, 2}, 2, 20);
    cr_assert_float_eq(rankmetrics_value(m, RANK_NDCG, 1), (1 + gain / ideal) / 2, 1e-12);
    cr_assert_eq(rankmetrics_value(m, RANK_NDCG, 0), .5, "one place, one right: ideal");
}

Test(rankmetrics, counts_what_stands_on_lists_of_each_length) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 3);
    cr_assert(isnan(rankmetrics_gini(m, 0, 10)) && isnan(rankmetrics_novelty(m, 0)));
    static const float info[] = {1, 2, 3};
    cr_assert_eq(rankmetrics_listed(m, (uint32_t[]){5, 100000, 63}, info, 3), 0);
    cr_assert_eq(rankmetrics_listed(m, (uint32_t[]){5, 6}, info, 2), 0);
    uint32_t long_list[11] = {5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 99};
    cr_assert_eq(rankmetrics_listed(m, long_list, NULL, 11), 0);
    cr_assert_eq(rankmetrics_covered(m, 0), 1);
    cr_assert_eq(rankmetrics_covered(m, 1), 8);
    cr_assert_eq(rankmetrics_times(m, 0, 5), 3);
    cr_assert_eq(rankmetrics_times(m, 2, 5), 4);
    cr_assert_eq(rankmetrics_times(m, 2, 99), 0, "the eleventh place is beyond every length");
    cr_assert_float_eq(rankmetrics_novelty(m, 0), 2. / 3, 1e-12);
    cr_assert_float_eq(rankmetrics_novelty(m, 1), 9. / 10, 1e-12);
}

Test(rankmetrics, tells_how_unevenly_places_go_to_items) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 1), *even = at(KS, 1);
    for (uint32_t i = 0; i < 10; i++) {
        rankmetrics_listed(m, (uint32_t[]){7}, NULL, 1);
        rankmetrics_listed(even, &i, NULL, 1);
    }
    cr_assert_float_eq(rankmetrics_gini(m, 0, 10), .9, 1e-12);
    cr_assert_float_eq(rankmetrics_gini(even, 0, 10), 0, 1e-12);
    cr_assert_float_eq(rankmetrics_gini(even, 0, 20), .5, 1e-12);
}

Test(rankmetrics, adds_up_like_one) {
    autofree(rankmetrics_free) struct rankmetrics *whole = at(KS, 3), *a = at(KS, 3),
                                                  *b = at(KS, 3), *other = at(KS, 2);
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 500; i++) {
        uint32_t place = rng_below(&r, 30), row = rng_below(&r, 300);
        uint64_t user = rng_u64(&r);
        rankmetrics_add(whole, user, &place, 1, 20);
        rankmetrics_add(i % 3 ? a : b, user, &place, 1, 20);
        rankmetrics_listed(whole, &row, NULL, 1);
        rankmetrics_listed(i % 3 ? a : b, &row, NULL, 1);
    }
    cr_assert_eq(rankmetrics_merge(a, b), 0);
    cr_assert_eq(rankmetrics_merge(a, other), -EINVAL);
    cr_assert_eq(rankmetrics_cases(a), 500);
    cr_assert_eq(rankmetrics_covered(a, 2), rankmetrics_covered(whole, 2));
    for (int m = 0; m < RANK_METRICS; m++)
        for (size_t i = 0; i < 3; i++)
            cr_assert_float_eq(rankmetrics_value(a, (enum rank_metric)m, i),
                               rankmetrics_value(whole, (enum rank_metric)m, i), 1e-12);
}

Test(rankmetrics, bounds_the_mean_by_an_interval_that_repeats) {
    autofree(rankmetrics_free) struct rankmetrics *m = at(KS, 3);
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 20000; i++) {
        uint32_t place = rng_below(&r, 10) < 3 ? 1 : 0;
        rankmetrics_add(m, rng_u64(&r), &place, 1, 20);
    }
    struct rank_interval x = rankmetrics_interval(m, RANK_HIT, 0, .95, 1000, 7);
    struct rank_interval y = rankmetrics_interval(m, RANK_HIT, 0, .95, 1000, 7);
    double mean = rankmetrics_value(m, RANK_HIT, 0);
    cr_assert(x.low == y.low && x.high == y.high);
    cr_assert(x.low < mean && mean < x.high);
    /* theory: ±1.96 sqrt(.3 · .7 / 20000) = ±.00635 */
    cr_assert_float_eq(x.high - x.low, 2 * .00635, .002);
}

Test(rankmetrics, tells_a_small_difference_over_the_same_cases) {
    autofree(rankmetrics_free) struct rankmetrics *a = at(KS, 3), *b = at(KS, 3);
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 20000; i++) {
        uint64_t user = rng_u64(&r);
        uint32_t hit = rng_below(&r, 2), none = 0;
        rankmetrics_add(a, user, &hit, 1, 20);
        rankmetrics_add(b, user, i % 100 ? &hit : &none, 1, 20);
    }
    struct rank_interval d = rankmetrics_difference(a, b, RANK_HIT, 0, .95, 1000, 3);
    cr_assert(d.low > 0.003 && d.high < 0.007, "%g to %g", d.low, d.high);
}

Test(rankmetrics, places_ties_before_the_target) {
    static const float score[] = {1, 3, 2, 2, NAN, 2};
    cr_assert_eq(rank_place(score, 6, 1), 2);
    cr_assert_eq(rank_place(score, 6, 2), 5);
    cr_assert_eq(rank_place(score, 6, 0), 6);
    cr_assert_eq(rank_place(score, 6, 4), 6);
}

Test(rankmetrics, names_its_metrics) {
    cr_assert_str_eq(rank_metric_name(RANK_HIT), "hit");
    cr_assert_str_eq(rank_metric_name(RANK_NDCG), "ndcg");
    cr_assert_str_eq(rank_metric_name(RANK_METRICS), "");
}
