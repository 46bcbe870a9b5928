#include "policy/experiment.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

enum { USERS = 20000 };

static const struct experiment_spec SPEC = {.id = {"coupon", 6},
                                            .layer = {"offers", 6},
                                            .first = 2000,
                                            .buckets = 5000,
                                            .n_arms = 2,
                                            .weight = {3, 1}};

static struct str user(int i, char ret[16]) {
    return (struct str){ret, (size_t)snprintf(ret, 16, "u%d", i)};
}

/* ---- assignment ---------------------------------------------------------------------- */

/* As first computed: were they ever to change, running experiments would be shuffled. */
Test(experiment, gives_a_user_the_same_arm_for_good) {
    struct experiment_spec s = {.id = STR("coupon"),
                                .layer = STR("offers"),
                                .buckets = EXPERIMENT_BUCKETS,
                                .n_arms = 3,
                                .weight = {1, 1, 1}};
    static const int ARM[] = {0, 2, 2, 0, 0, 1, 0, 1};
    char id[16];
    cr_assert_eq(experiment_bucket(1, STR("offers"), STR("u1")), 8947);
    cr_assert_eq(experiment_bucket(1, STR("lists"), STR("u1")), 5153);
    cr_assert_eq(experiment_bucket(42, STR("offers"), STR("anna@example.org")), 4405);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(experiment_arm(&s, 1, user(i, id)), ARM[i]);
}

Test(experiment, fills_arms_by_their_weights_and_buckets) {
    int count[3] = {0};
    char id[16];
    for (int i = 0; i < USERS; i++)
        count[1 + experiment_arm(&SPEC, 1, user(i, id))]++;
    /* half of all are in it, a quarter of those in arm 1: five standard deviations */
    cr_assert_float_eq(count[0], USERS / 2, 5 * sqrt(USERS / 4.));
    cr_assert_float_eq(count[2], USERS / 8, 5 * sqrt(USERS * .125 * .875));
}

Test(experiment, excludes_experiments_of_one_layer_from_each_other) {
    struct experiment_spec other = SPEC;
    char id[16];
    other.id = STR("other");
    other.first = 7000;
    other.buckets = 3000;
    for (int i = 0; i < USERS; i++)
        cr_assert(experiment_arm(&SPEC, 1, user(i, id)) < 0 ||
                  experiment_arm(&other, 1, user(i, id)) < 0);
    cr_assert_eq(experiment_check(&other, &SPEC, 1), 0);
    other.first = 6999;
    cr_assert_eq(experiment_check(&other, &SPEC, 1), -EEXIST);
    other.layer = STR("lists");
    cr_assert_eq(experiment_check(&other, &SPEC, 1), 0);
}

/* Arms of two layers, and of two experiments of all users, are independent: the four cells of the
 * table are filled alike (chi-square, 3 degrees of freedom). */
Test(experiment, crosses_experiments_of_different_layers) {
    struct experiment_spec a = SPEC, b = SPEC;
    double cell[4] = {0};
    char id[16];
    a.first = b.first = 0;
    a.buckets = b.buckets = EXPERIMENT_BUCKETS;
    a.weight[0] = b.weight[0] = 1;
    b.id = STR("other");
    b.layer = STR("lists");
    for (int i = 0; i < USERS; i++)
        cell[2 * experiment_arm(&a, 1, user(i, id)) + experiment_arm(&b, 1, user(i, id))]++;
    cr_assert_gt(ratio_mismatch(cell, (double[]){1, 1, 1, 1}, 4), 1e-4);
}

Test(experiment, shuffles_users_anew_with_another_salt) {
    int same = 0;
    char id[16];
    for (int i = 0; i < USERS; i++)
        same += experiment_bucket(1, STR("offers"), user(i, id)) ==
                experiment_bucket(2, STR("offers"), user(i, id));
    cr_assert_lt(same, 20);
}

Test(experiment, refuses_what_cannot_be_run) {
    struct experiment_spec s = SPEC;
    cr_assert_eq(experiment_check(&s, NULL, 0), 0);
    s.n_arms = 1;
    cr_assert_eq(experiment_check(&s, NULL, 0), -EINVAL);
    s = SPEC;
    s.weight[0] = s.weight[1] = 0;
    cr_assert_eq(experiment_check(&s, NULL, 0), -EINVAL);
    cr_assert_eq(experiment_arm(&s, 1, STR("u1")), -1);
    s = SPEC;
    s.buckets = EXPERIMENT_BUCKETS;
    cr_assert_eq(experiment_check(&s, NULL, 0), -EINVAL);
    s = SPEC;
    s.id.n = 0;
    cr_assert_eq(experiment_check(&s, NULL, 0), -EINVAL);
}

/* ---- what came of it ------------------------------------------------------------------ */

/* Margin follows what was there before, plus an effect and noise. */
static struct experiment_state simulate(uint64_t seed, int n, double effect) {
    struct experiment_state s = {.n_arms = 2};
    struct rng rng;
    rng_seed(&rng, seed);
    for (int i = 0; i < n; i++) {
        size_t arm = rng_below(&rng, 4) == 0;
        double before = 10 + 3 * rng_normal(&rng);
        double margin = before + rng_normal(&rng) + (arm ? effect : 0);
        cr_assert(experiment_add(&s, arm,
                                 &(struct experiment_outcome){.converted = margin > 10,
                                                              .revenue = 2 * margin,
                                                              .margin = margin,
                                                              .nps = arm ? 10 : 5,
                                                              .before = before}));
    }
    return s;
}

static struct experiment_result result(const struct experiment_state *s) {
    struct experiment_rules r = experiment_defaults();
    struct experiment_result ret;
    experiment_result(&SPEC, s, NULL, &r, &ret);
    return ret;
}

Test(experiment, finds_an_effect_and_narrows_it_by_what_was_before) {
    struct experiment_state s = simulate(1, 4000, .3);
    struct experiment_result r = result(&s);
    const struct experiment_effect *e = &r.effect[1][EXP_MARGIN];
    cr_assert_float_eq(e->difference, .3, .15);
    cr_assert(e->range.low < .3 && .3 < e->range.high);
    cr_assert_float_eq(e->saved, .9, .03); /* variance 9 + 1, of which 1 remains */
    cr_assert_lt(e->adjusted.se, .4 * e->plain.se);
    cr_assert(e->lift_range.low < e->lift && e->lift < e->lift_range.high);
    cr_assert_eq(r.verdict[1], EXP_WINS);
    cr_assert_eq(r.verdict[0], EXP_WAIT);
    cr_assert_eq(r.nps[0], -100);
    cr_assert_eq(r.nps[1], 100);
    cr_assert_not(r.alarm);
}

Test(experiment, stops_an_arm_that_loses_and_waits_for_the_others) {
    struct experiment_state bad = simulate(2, 4000, -.3), same = simulate(3, 4000, 0);
    struct experiment_state few = simulate(4, 300, -5);
    cr_assert_eq(result(&bad).verdict[1], EXP_LOSES);
    cr_assert_eq(result(&same).verdict[1], EXP_WAIT);
    cr_assert_eq(result(&few).verdict[1], EXP_WAIT);
    cr_assert_str_eq(experiment_verdict_name(EXP_LOSES), "loses");
    cr_assert_str_eq(experiment_metric_name(EXP_MARGIN), "margin");
}

Test(experiment, concludes_nothing_from_arms_filled_unevenly) {
    struct experiment_state s = simulate(5, 4000, 1);
    for (int i = 0; i < 400; i++)
        experiment_add(&s, 1, &(struct experiment_outcome){.margin = 100, .nps = NAN});
    struct experiment_result r = result(&s);
    cr_assert(r.alarm);
    cr_assert_eq(r.verdict[1], EXP_MISMATCH);
}

/* 200 experiments without an effect, judged after every tenth user: at most one in twenty is ever
 * called lost or won. */
Test(experiment, is_seldom_wrong_however_often_it_is_asked) {
    int wrong = 0;
    for (uint64_t k = 0; k < 200; k++) {
        struct experiment_state s = {.n_arms = 2};
        struct rng rng;
        bool called = false;
        rng_seed(&rng, 1000 + k);
        for (int i = 0; i < 2000 && !called; i++) {
            double before = rng_normal(&rng);
            experiment_add(&s, rng_below(&rng, 4) == 0,
                           &(struct experiment_outcome){
                               .margin = before + rng_normal(&rng), .nps = NAN, .before = before});
            if (i % 10 == 0) {
                enum experiment_verdict v = result(&s).verdict[1];
                called = v == EXP_LOSES || v == EXP_WINS;
            }
        }
        wrong += called;
    }
    cr_assert_leq(wrong, 10);
}

Test(experiment, takes_its_part_of_the_level_for_each_of_many_arms) {
    struct experiment_spec three = SPEC;
    struct experiment_state two = simulate(6, 4000, .2), s = two;
    struct experiment_rules r = experiment_defaults();
    struct experiment_result wide, narrow = result(&two);
    three.n_arms = s.n_arms = 3;
    experiment_result(&three, &s, NULL, &r, &wide);
    cr_assert_lt(wide.effect[1][EXP_MARGIN].range.low, narrow.effect[1][EXP_MARGIN].range.low);
    cr_assert_eq(wide.verdict[2], EXP_WAIT);
    cr_assert(isnan(wide.nps[2]));
}

Test(experiment, refuses_what_is_not_finite_and_unknown_arms) {
    struct experiment_state s = {.n_arms = 2};
    cr_assert_not(experiment_add(&s, 2, &(struct experiment_outcome){.nps = NAN}));
    cr_assert_not(experiment_add(&s, 0, &(struct experiment_outcome){.margin = NAN}));
    cr_assert_not(experiment_add(&s, 0, &(struct experiment_outcome){.before = INFINITY}));
    cr_assert_eq(s.arm[0].metric[0].n, 0);
    cr_assert_eq(s.arm[0].answers, 0);
}

/* ---- state ------------------------------------------------------------------------------ */

Test(experiment, merges_the_counts_of_processes) {
    struct experiment_state a = simulate(7, 1000, .1), b = simulate(8, 3000, .1), both = a;
    cr_assert_eq(experiment_merge(&both, &b), 0);
    cr_assert_eq(both.arm[1].metric[EXP_MARGIN].n,
                 a.arm[1].metric[EXP_MARGIN].n + b.arm[1].metric[EXP_MARGIN].n);
    cr_assert_eq(both.arm[0].detractors, a.arm[0].detractors + b.arm[0].detractors);
    struct experiment_state three = {.n_arms = 3};
    cr_assert_eq(experiment_merge(&three, &a), -EINVAL);
}

Test(experiment, survives_a_restart) {
    struct experiment_state s = simulate(9, 1000, .1), again = {0};
    struct buf b = {0};
    size_t used;
    cr_assert_eq(experiment_encode(&s, &b), 0);
    buf_put(&b, "next", 4);
    cr_assert_eq(experiment_decode(b.p, b.n, &again, &used), 0);
    cr_assert_eq(used, b.n - 4);
    cr_assert_eq(again.n_arms, 2);
    cr_assert_eq(memcmp(again.arm, s.arm, 2 * sizeof s.arm[0]), 0);
    for (size_t i = 0; i < used; i++) {
        cr_assert_eq(experiment_decode(b.p, i, &again, &(size_t){0}), -EBADMSG);
        b.p[i] ^= 1;
        cr_assert_eq(experiment_decode(b.p, b.n, &again, &(size_t){0}), -EBADMSG);
        b.p[i] ^= 1;
    }
    buf_free(&b);
}
