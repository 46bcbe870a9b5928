#include "policy/ope.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct ope_config CONFIG = {.tau = 1.5, .level = .95, .resamples = 500, .seed = 1};

/* By hand: w r sums to 3, w to 4.5, its square to 6.25, w (r - model) to 1 - .1 + .4 - .1. */
static const struct ope_round FOUR[] = {
    {.reward = 1, .weight = 2, .model = .5, .model_mean = .4, .group = 0},
    {.reward = 0, .weight = .5, .model = .2, .model_mean = .3, .group = 1},
    {.reward = 1, .weight = 1, .model = .6, .model_mean = .5, .group = 2},
    {.reward = 0, .weight = 1, .model = .1, .model_mean = .2, .group = 3, .lost = .2},
};

Test(ope, estimates_what_a_hand_computes) {
    struct ope_result r;
    cr_assert_eq(ope_estimate(FOUR, 4, -1, &CONFIG, &r), 0);
    cr_assert_eq(r.n, 4);
    cr_assert_float_eq(r.logged, .5, 1e-12);
    cr_assert_float_eq(r.by[OPE_DM].value, .35, 1e-12);
    cr_assert_float_eq(r.by[OPE_IPS].value, .75, 1e-12);
    cr_assert_float_eq(r.by[OPE_SNIPS].value, 3 / 4.5, 1e-12);
    cr_assert_float_eq(r.by[OPE_DR].value, .65, 1e-12);
    cr_assert_float_eq(r.by[OPE_SWITCH_DR].value, .4, 1e-12);
    /* standard error of a mean; of the ratio: residuals 2/3, -1/3, 1/3, -2/3 */
    cr_assert_float_eq(r.by[OPE_IPS].se, sqrt(2.75 / 3 / 4), 1e-12);
    cr_assert_float_eq(r.by[OPE_SNIPS].se, sqrt(10. / 9 * 4 / 3) / 4.5, 1e-12);
    cr_assert_float_eq(r.effective, 3.24, 1e-12);
    cr_assert_float_eq(r.weight_mean, 1.125, 1e-12);
    cr_assert_float_eq(r.weight_max, 2, 1e-12);
    cr_assert_float_eq(r.heaviest, 2 / 4.5, 1e-12);
    cr_assert_float_eq(r.lost, .05, 1e-12);
}

Test(ope, clips_weights_where_asked) {
    struct ope_config c = CONFIG;
    struct ope_result r;
    c.clip = 1;
    cr_assert_eq(ope_estimate(FOUR, 4, -1, &c, &r), 0);
    cr_assert_float_eq(r.by[OPE_IPS].value, .5, 1e-12);
    cr_assert_float_eq(r.by[OPE_SNIPS].value, 2 / 3.5, 1e-12);
    cr_assert_float_eq(r.by[OPE_DR].value, .35 + .7 / 4, 1e-12);
    cr_assert_float_eq(r.clipped, .25, 1e-12);
    cr_assert_float_eq(r.effective, 3.24, 1e-12);
}

Test(ope, looks_at_one_position_of_slates) {
    struct ope_round rounds[8];
    struct ope_result r, alone;
    for (size_t i = 0; i < 8; i++) {
        rounds[i] = FOUR[i % 4];
        rounds[i].position = i >= 4;
        rounds[i].reward = i >= 4 ? 0 : rounds[i].reward;
        rounds[i].group = i;
    }
    cr_assert_eq(ope_estimate(rounds, 8, 0, &CONFIG, &r), 0);
    cr_assert_eq(ope_estimate(FOUR, 4, -1, &CONFIG, &alone), 0);
    cr_assert_eq(r.by[OPE_IPS].value, alone.by[OPE_IPS].value);
    cr_assert_eq(ope_estimate(rounds, 8, 1, &CONFIG, &r), 0);
    cr_assert_eq(r.by[OPE_IPS].value, 0);
    cr_assert_eq(ope_estimate(rounds, 8, 2, &CONFIG, &r), -ENODATA);
}

Test(ope, counts_rounds_of_a_group_as_one_for_its_errors) {
    enum { N = 400 };
    static struct ope_round rounds[2 * N];
    struct ope_result one, two;
    for (size_t i = 0; i < N; i++) {
        rounds[2 * i] = rounds[2 * i + 1] = FOUR[i * 7 % 4];
        rounds[2 * i].group = rounds[2 * i + 1].group = i;
    }
    cr_assert_eq(ope_estimate(rounds, 2 * N, -1, &CONFIG, &two), 0);
    for (size_t i = 0; i < 2 * N; i++)
        rounds[i].group = i;
    cr_assert_eq(ope_estimate(rounds, 2 * N, -1, &CONFIG, &one), 0);
    cr_assert_eq(two.by[OPE_IPS].value, one.by[OPE_IPS].value);
    cr_assert_float_eq(two.by[OPE_IPS].se / one.by[OPE_IPS].se, sqrt(2), .05);
}

Test(ope, warns_when_the_answer_is_worthless) {
    struct ope_result r;
    cr_assert_eq(ope_estimate(FOUR, 4, -1, &CONFIG, &r), 0);
    cr_assert(r.warnings & OPE_NO_SUPPORT);
    cr_assert(r.warnings & OPE_FEW_EFFECTIVE);
    cr_assert(r.warnings & OPE_HEAVY_ROUND);
    cr_assert(r.warnings & OPE_FEW_REWARDS);
    static struct ope_round rounds[1000];
    for (size_t i = 0; i < 1000; i++)
        rounds[i] = (struct ope_round){.weight = i % 2 ? 1.1 : .9, .reward = i % 5, .group = i};
    cr_assert_eq(ope_estimate(rounds, 1000, -1, &CONFIG, &r), 0);
    cr_assert_eq(r.warnings, 0);
    for (size_t i = 0; i < 1000; i++)
        rounds[i].weight *= .8;
    cr_assert_eq(ope_estimate(rounds, 1000, -1, &CONFIG, &r), 0);
    cr_assert_eq(r.warnings, OPE_BAD_WEIGHTS);
    for (int i = 0; i < OPE_WARNINGS; i++)
        cr_assert_gt(strlen(ope_warning_text((enum ope_warning)(1 << i))), 20);
}

/* A log of two contexts and three actions, written by a policy that prefers action 0. */
enum { ROUNDS = 6000, ACTIONS = 3 };
static const double MEAN[2][ACTIONS] = {{.2, .5, .1}, {.6, .1, .3}};
static uint32_t action[ROUNDS], context_index[ROUNDS], position[ROUNDS];
static double reward[ROUNDS], propensity[ROUNDS];
static float context_value[ROUNDS];
static size_t context_start[ROUNDS + 1];

static struct ope_log simulate(uint64_t seed) {
    static const double P[ACTIONS] = {.6, .25, .15};
    struct rng rng;
    rng_seed(&rng, seed);
    for (size_t i = 0; i < ROUNDS; i++) {
        double u = rng_unit(&rng);
        context_index[i] = rng_below(&rng, 2);
        action[i] = u < P[0] ? 0 : u < P[0] + P[1] ? 1 : 2;
        propensity[i] = P[action[i]];
        reward[i] = rng_unit(&rng) < MEAN[context_index[i]][action[i]];
        context_value[i] = 1;
        context_start[i + 1] = i + 1;
        position[i] = (uint32_t)(i % 2);
    }
    return (struct ope_log){.n = ROUNDS,
                            .n_actions = ACTIONS,
                            .n_positions = 1,
                            .action = action,
                            .reward = reward,
                            .propensity = propensity,
                            .context = {ROUNDS, 2, context_start, context_index, context_value}};
}

static void best_action(const void *arg, size_t i, double *ret_p) {
    (void)arg;
    for (size_t a = 0; a < ACTIONS; a++)
        ret_p[a] = a == (context_index[i] ? 0 : 1);
}

static void same_as_logged(const void *arg, size_t i, double *ret_p) {
    (void)arg;
    (void)i;
    memcpy(ret_p, (double[]){.6, .25, .15}, ACTIONS * sizeof *ret_p);
}

static struct ope_round rounds[ROUNDS];
static const struct ope_model_config MODEL = {.penalty = 1, .folds = 3, .seed = 1};

Test(ope, finds_the_value_of_another_policy_from_the_log) {
    struct ope_log log = simulate(1);
    struct ope_result r;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), 0);
    cr_assert_eq(ope_estimate(rounds, ROUNDS, -1, &CONFIG, &r), 0);
    for (int e = 0; e < OPE_ESTIMATORS; e++)
        cr_assert_float_eq(r.by[e].value, .55, .04, "%s: %g", ope_estimator_name(e), r.by[e].value);
    cr_assert_lt(r.by[OPE_DR].se, r.by[OPE_IPS].se);
    cr_assert_eq(r.warnings, 0);
}

Test(ope, gives_the_mean_of_the_log_for_the_policy_that_wrote_it) {
    struct ope_log log = simulate(2);
    struct ope_result r;
    cr_assert_eq(ope_rounds(&log, same_as_logged, NULL, &MODEL, rounds), 0);
    cr_assert_eq(ope_estimate(rounds, ROUNDS, -1, &CONFIG, &r), 0);
    cr_assert_float_eq(r.by[OPE_IPS].value, r.logged, 1e-12);
    cr_assert_float_eq(r.by[OPE_SNIPS].se, r.logged_se, 1e-12);
    cr_assert_float_eq(r.effective, ROUNDS, 1e-6);
}

/* 95 % intervals of 100 logs: fewer than 88 hits would happen once in 500 times. */
Test(ope, covers_the_true_value_with_both_intervals) {
    int studentized = 0, percentile = 0;
    struct ope_config c = CONFIG;
    c.resamples = 200;
    for (uint64_t seed = 100; seed < 200; seed++) {
        struct ope_log log = simulate(seed);
        struct ope_result r;
        log.n = 600;
        log.context.n = 600;
        cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), 0);
        cr_assert_eq(ope_estimate(rounds, log.n, -1, &c, &r), 0);
        studentized += r.by[OPE_DR].low <= .55 && .55 <= r.by[OPE_DR].high;
        percentile += r.by[OPE_SNIPS].boot_low <= .55 && .55 <= r.by[OPE_SNIPS].boot_high;
    }
    cr_assert_geq(studentized, 88);
    cr_assert_geq(percentile, 88);
}

Test(ope, values_rounds_by_models_that_did_not_see_them) {
    struct ope_log log = simulate(3);
    struct ope_model_config one = {.penalty = 1, .folds = 1};
    static struct ope_round seen[ROUNDS];
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), 0);
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &one, seen), 0);
    reward[7] = 1 - reward[7];
    static struct ope_round changed[ROUNDS];
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, changed), 0);
    cr_assert_eq(changed[7].model, rounds[7].model);
    cr_assert_neq(seen[7].model, rounds[7].model);
}

Test(ope, knows_which_actions_a_position_never_shows) {
    struct ope_log log = simulate(4);
    log.n_positions = 2;
    log.position = position;
    for (size_t i = 0; i < ROUNDS; i++)
        if (position[i])
            action[i] = 2;
    cr_assert_eq(ope_rounds(&log, same_as_logged, NULL, &MODEL, rounds), 0);
    cr_assert_float_eq(rounds[0].lost, 0, 1e-12);
    cr_assert_float_eq(rounds[1].lost, .85, 1e-12);
}

Test(ope, fits_money_by_ridge_and_traits_of_actions) {
    struct ope_log log = simulate(5);
    size_t start[] = {0, 1, 2, 3};
    uint32_t index[] = {0, 0, 1};
    float value[] = {1, 1, 1};
    log.trait = (struct sparse){ACTIONS, 2, start, index, value};
    for (size_t i = 0; i < ROUNDS; i++)
        reward[i] *= 10;
    struct ope_result r;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), 0);
    cr_assert_eq(ope_estimate(rounds, ROUNDS, -1, &CONFIG, &r), 0);
    cr_assert_float_eq(r.by[OPE_DM].value, 5.5, .4);
}

Test(ope, survives_a_log_without_any_reward) {
    struct ope_log log = simulate(6);
    struct ope_result r;
    memset(reward, 0, sizeof reward);
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), 0);
    cr_assert_eq(ope_estimate(rounds, ROUNDS, -1, &CONFIG, &r), 0);
    cr_assert_eq(r.by[OPE_IPS].value, 0);
    cr_assert_lt(r.by[OPE_DM].value, .001);
    cr_assert(isnan(r.by[OPE_IPS].low));
    cr_assert(r.warnings & OPE_FEW_REWARDS);
}

Test(ope, refuses_logs_that_cannot_be) {
    struct ope_log log = simulate(7);
    propensity[3] = 0;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), -EINVAL);
    propensity[3] = 1.5;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), -EINVAL);
    propensity[3] = .5;
    action[4] = ACTIONS;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), -EINVAL);
    log.n = 0;
    cr_assert_eq(ope_rounds(&log, best_action, NULL, &MODEL, rounds), -EINVAL);
    struct ope_config c = CONFIG;
    struct ope_result r;
    c.level = 1;
    cr_assert_eq(ope_estimate(FOUR, 4, -1, &c, &r), -EINVAL);
}

enum { CHOICES = 8, CHOSEN = 8000 };

/* Choices whose propensities come and go, as a learner's do; written down as they were, or as if
 * they were closer to even by `wrong`. */
static double calibration(uint64_t seed, double swing, double wrong) {
    static uint32_t what[CHOSEN], where[CHOSEN];
    static double p[CHOSEN];
    struct rng r;
    rng_seed(&r, seed);
    for (size_t i = 0; i < CHOSEN; i++) {
        double w[CHOICES], sum = 0, u = rng_unit(&r);
        for (size_t a = 0; a < CHOICES; a++)
            sum += w[a] = exp(swing * (sin((double)(i * (a + 1)) / 700) + .3 * (double)a));
        size_t a = 0;
        while (a < CHOICES - 1 && (u -= w[a] / sum) >= 0)
            a++;
        what[i] = (uint32_t)a;
        where[i] = i % 2;
        p[i] = (1 - wrong) * w[a] / sum + wrong / CHOICES;
    }
    struct ope_log log = {.n = CHOSEN,
                          .n_actions = CHOICES + 1, /* one was never chosen */
                          .n_positions = 2,
                          .action = what,
                          .position = where,
                          .propensity = p};
    double z;
    cr_assert_eq(ope_calibration(&log, &z), 0);
    return z;
}

Test(ope, holds_propensities_against_what_was_chosen) {
    for (uint64_t seed = 1; seed <= 100; seed++) {
        cr_assert_lt(calibration(seed, 1.2, 0), OPE_CALIBRATED, "seed %d", (int)seed);
        cr_assert_lt(calibration(seed, 0, 0), OPE_CALIBRATED, "even, seed %d", (int)seed);
        cr_assert_gt(calibration(seed, 1.2, .3), OPE_CALIBRATED, "wrong, seed %d", (int)seed);
    }
}
