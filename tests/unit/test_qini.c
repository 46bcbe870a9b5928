#include "policy/qini.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct qini_config CONFIG = {.level = .95, .resamples = 200, .seed = 1};

/* Eight people, by falling score; treatment helps the first four only. By hand, at the ends of
 * halves: N_t 2, N_c 2, Y_t 2, Y_c 0 → Qini 2/4, uplift 1 * 1/2; all: Y_t 3, Y_c 1 → 2/4. */
static const double OUTCOME[] = {1, 0, 1, 0, 1, 1, 0, 0};
static const bool TREATED[] = {1, 0, 1, 0, 1, 0, 1, 0};
static const double TIED[] = {2, 2, 2, 2, 1, 1, 1, 1};

Test(qini, measures_what_a_hand_computes) {
    struct qini_people p = {8, OUTCOME, TREATED, {TIED}, 1};
    static struct qini_result r;
    cr_assert_eq(qini_measure(&p, &CONFIG, &r), 0);
    cr_assert_float_eq(r.curve[0], 0, 1e-12);
    cr_assert_float_eq(r.curve[25], .25, 1e-12);
    cr_assert_float_eq(r.curve[50], .5, 1e-12);
    cr_assert_float_eq(r.curve[75], .5, 1e-12);
    cr_assert_float_eq(r.curve[100], .5, 1e-12);
    cr_assert_float_eq(r.uplift[50], .5, 1e-12);
    cr_assert_float_eq(r.uplift[100], .5, 1e-12);
    /* areas: .5 * .25 + .5 * .5 = .375; less .25 for the line */
    cr_assert_float_eq(r.qini.value, .125, 1e-12);
    cr_assert_float_eq(r.auuc.value, .375, 1e-12);
    cr_assert_eq(r.ahead.value, 0);
}

Test(qini, gives_no_credit_for_the_order_of_equals) {
    static const double ONE[8] = {0};
    struct qini_people p = {8, OUTCOME, TREATED, {ONE}, 1};
    static struct qini_result r;
    cr_assert_eq(qini_measure(&p, &CONFIG, &r), 0);
    cr_assert_float_eq(r.qini.value, 0, 1e-12);
    cr_assert_float_eq(r.curve[50], .25, 1e-12);
}

enum { N = 4000 };
static double outcome[N], good[N], none[N], worst[N];
static bool treated[N];

/* Treatment adds .4 * t to the chance of an outcome, t being what the good score knows. */
static void simulate(void) {
    struct rng rng;
    rng_seed(&rng, 5);
    for (size_t i = 0; i < N; i++) {
        good[i] = rng_unit(&rng);
        none[i] = rng_unit(&rng);
        worst[i] = -good[i];
        treated[i] = rng_below(&rng, 2);
        outcome[i] = rng_unit(&rng) < .2 + (treated[i] ? .4 * good[i] : 0);
    }
}

/* The Qini curve's expectation is .4 (x - x^2 / 2): area .4 / 3, less .2 / 2. */
Test(qini, tells_a_good_order_from_none_and_a_bad_one) {
    static struct qini_result r[3];
    simulate();
    struct qini_people p = {N, outcome, treated, {none, good, worst}, 3};
    cr_assert_eq(qini_measure(&p, &CONFIG, r), 0);
    cr_assert_float_eq(r[1].qini.value, .4 / 3 - .1, .012);
    cr_assert(r[1].qini.range.low > 0 && r[1].qini.range.high > r[1].qini.value);
    cr_assert(r[0].qini.range.low < 0 && r[0].qini.range.high > 0);
    cr_assert_lt(r[2].qini.range.high, 0);
    cr_assert_float_eq(r[1].ahead.value, r[1].qini.value - r[0].qini.value, 1e-12);
    cr_assert_gt(r[1].ahead.range.low, 0);
    for (size_t k = 0; k < QINI_POINTS; k++)
        cr_assert(r[1].low[k] <= r[1].curve[k] + .02 && r[1].curve[k] <= r[1].high[k] + .02);
}

Test(qini, gives_the_same_for_the_same_seed) {
    static struct qini_result a[1], b[1];
    simulate();
    struct qini_people p = {N, outcome, treated, {good}, 1};
    cr_assert_eq(qini_measure(&p, &CONFIG, a), 0);
    cr_assert_eq(qini_measure(&p, &CONFIG, b), 0);
    cr_assert_eq(memcmp(a, b, sizeof a), 0);
}

Test(qini, refuses_what_cannot_be_measured) {
    static struct qini_result r[1];
    static const bool all[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    static const double bad[8] = {0, 1, NAN};
    struct qini_people p = {8, OUTCOME, all, {TIED}, 1};
    cr_assert_eq(qini_measure(&p, &CONFIG, r), -ENODATA);
    p = (struct qini_people){8, OUTCOME, TREATED, {bad}, 1};
    cr_assert_eq(qini_measure(&p, &CONFIG, r), -EINVAL);
    p.n = 0;
    cr_assert_eq(qini_measure(&p, &CONFIG, r), -ENODATA);
}
