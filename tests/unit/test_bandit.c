#include "policy/bandit.h"

#include <criterion/criterion.h>
#include <math.h>

enum { SHARED = 5, OWN = 6, ARMS = 9 };

static struct bandit *made(const struct bandit_config *c) {
    struct bandit *b = NULL;
    cr_assert_eq(bandit_new(c, &b), 0);
    return b;
}

static struct bandit_room *room_of(const struct bandit *b) {
    struct bandit_room *r = NULL;
    cr_assert_eq(bandit_room_new(b, &r), 0);
    return r;
}

static void fill(struct rng *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(r);
}

/* Random decisions and what came of them, some of nothing. */
static void teach(struct bandit *b, uint64_t seed, int n) {
    struct rng r;
    rng_seed(&r, seed);
    float shared[SHARED], own[OWN];
    for (int i = 0; i < n; i++) {
        fill(&r, shared, SHARED);
        fill(&r, own, OWN);
        bool nothing = i % 4 == 0;
        double y = shared[0] - 2 * shared[1] + 0.5 * rng_normal(&r);
        if (!nothing)
            y += own[0] - own[1];
        cr_assert(bandit_learn(b, shared, nothing ? NULL : own, y, 1, 0));
    }
}

static const double shares[] = {0, 0.1};

Test(bandit, probabilities_sum_to_one_and_choices_follow_them) {
    enum { DECISIONS = 20000 };
    struct rng r;
    rng_seed(&r, 1);
    float shared[SHARED], own[ARMS * OWN];
    double p[ARMS + 1];
    for (int kind = 0; kind < BANDIT_KIND_COUNT; kind++)
        for (size_t s = 0; s < ARRAY_LEN(shares); s++) {
            struct bandit_config c = bandit_defaults(kind, SHARED, OWN);
            c.explore = shares[s];
            autofree(bandit_free) struct bandit *b = made(&c);
            autofree(bandit_room_free) struct bandit_room *room = room_of(b);
            teach(b, 5, 40);
            cr_assert_eq(bandit_refresh(b, 0), 0);
            for (size_t n = 0; n <= ARMS; n += 3) {
                struct bandit_arms arms = {.n = n, .shared = shared, .own = own};
                int seen[ARMS + 1] = {0};
                fill(&r, shared, SHARED);
                fill(&r, own, ARMS * OWN);
                bandit_probabilities(b, room, &arms, p);
                double sum = 0;
                for (size_t i = 0; i <= n; i++) {
                    cr_assert_geq(p[i], c.explore / (double)(n + 1) - 1e-12);
                    sum += p[i];
                }
                cr_assert_float_eq(sum, 1, 1e-12);
                for (int i = 0; i < DECISIONS; i++) {
                    struct bandit_choice got = bandit_decide(b, room, &arms, &r);
                    cr_assert(got.arm >= -1 && got.arm < (int)n);
                    cr_assert(got.propensity == p[got.arm + 1] && got.propensity > 0);
                    seen[got.arm + 1]++;
                }
                for (size_t i = 0; i <= n; i++) /* five standard errors */
                    cr_assert_float_eq(seen[i], DECISIONS * p[i],
                                       5 * sqrt(DECISIONS * p[i] * (1 - p[i])) + 1e-9,
                                       "%s: arm %zu was chosen %d times, not %g",
                                       bandit_kind_name(kind), i, seen[i], DECISIONS * p[i]);
            }
        }
}

Test(bandit, nothing_is_all_there_is_without_arms) {
    for (int kind = 0; kind < BANDIT_KIND_COUNT; kind++) {
        struct bandit_config c = bandit_defaults(kind, 0, OWN);
        autofree(bandit_free) struct bandit *b = made(&c);
        autofree(bandit_room_free) struct bandit_room *room = room_of(b);
        struct rng r;
        rng_seed(&r, 2);
        struct bandit_choice got =
            bandit_decide(b, room, &(struct bandit_arms){.n = 0, .shared = NULL, .own = NULL}, &r);
        cr_assert_eq(got.arm, -1);
        cr_assert_float_eq(got.propensity, 1, 1e-12);
    }
}

Test(bandit, greedy_and_linucb_take_the_best_mean_and_the_best_bound) {
    struct rng r;
    rng_seed(&r, 3);
    float shared[SHARED], own[ARMS * OWN];
    double p[ARMS + 1];
    int nothing = 0;
    for (int kind = BANDIT_GREEDY; kind <= BANDIT_LINUCB; kind++) {
        struct bandit_config c = bandit_defaults(kind, SHARED, OWN);
        c.explore = 0;
        c.alpha = 1.7;
        autofree(bandit_free) struct bandit *b = made(&c);
        autofree(bandit_room_free) struct bandit_room *room = room_of(b);
        teach(b, 6, 30);
        cr_assert_eq(bandit_refresh(b, 0), 0);
        for (int round = 0; round < 300; round++) {
            struct bandit_arms arms = {.n = 1 + rng_below(&r, ARMS), .shared = shared, .own = own};
            fill(&r, shared, SHARED);
            fill(&r, own, ARMS * OWN);
            if (round % 3 == 0) /* arms that mostly lose to nothing */
                for (size_t i = 0; i < arms.n; i++)
                    own[i * OWN] = -3, own[i * OWN + 1] = 0;
            size_t best = 0;
            double top = -INFINITY, mean, sd;
            for (size_t i = 0; i <= arms.n; i++) {
                bandit_estimate(b, shared, i ? own + (i - 1) * OWN : NULL, &mean, &sd);
                double score = mean + (kind == BANDIT_LINUCB ? 1.7 * sd : 0);
                if (score > top + 1e-5)
                    best = i;
                top = fmax(top, score);
            }
            nothing += best == 0;
            bandit_probabilities(b, room, &arms, p);
            cr_assert_eq(p[best], 1, "%s, round %d", bandit_kind_name(kind), round);
        }
    }
    cr_assert_gt(nothing, 20);
}

/* One arm against nothing: Thompson sampling takes it with probability Φ(mean / sd). */
Test(bandit, thompson_takes_an_arm_as_often_as_it_is_the_best) {
    struct bandit_config c = bandit_defaults(BANDIT_THOMPSON, SHARED, OWN);
    c.draws = BANDIT_DRAWS_MAX;
    c.explore = 0;
    c.alpha = 1.5;
    autofree(bandit_free) struct bandit *b = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(b);
    teach(b, 7, 25);
    cr_assert_eq(bandit_refresh(b, 0), 0);
    struct rng r;
    rng_seed(&r, 4);
    float own[OWN], zero[SHARED] = {0};
    for (int round = 0; round < 200; round++) {
        double p[2], mean, sd;
        fill(&r, own, OWN);
        bandit_probabilities(b, room, &(struct bandit_arms){.n = 1, .shared = zero, .own = own}, p);
        bandit_estimate(b, zero, own, &mean, &sd);
        double want = 0.5 * erfc(-mean / (1.5 * sd) / sqrt(2));
        cr_assert_float_eq(p[1], want, 4.5 * sqrt(0.25 / BANDIT_DRAWS_MAX), "%g instead of %g",
                           p[1], want);
    }
}

Test(bandit, thompson_draws_anew_at_each_refresh_and_alike_for_a_seed) {
    struct bandit_config c = bandit_defaults(BANDIT_THOMPSON, 0, OWN);
    autofree(bandit_free) struct bandit *a = made(&c), *b = made(&c);
    c.seed++;
    autofree(bandit_free) struct bandit *other = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(a);
    struct rng r;
    rng_seed(&r, 5);
    float own[ARMS * OWN];
    fill(&r, own, ARMS * OWN);
    struct bandit_arms arms = {.n = ARMS, .shared = NULL, .own = own};
    double p[3][ARMS + 1], again[ARMS + 1];
    struct bandit *all[] = {a, b, other};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(bandit_refresh(all[i], 0), 0);
        bandit_probabilities(all[i], room, &arms, p[i]);
    }
    cr_assert_eq(memcmp(p[0], p[1], sizeof p[0]), 0);
    cr_assert_neq(memcmp(p[0], p[2], sizeof p[0]), 0);
    bandit_probabilities(a, room, &arms, again);
    cr_assert_eq(memcmp(p[0], again, sizeof again), 0);
    cr_assert_eq(bandit_refresh(a, 0), 0);
    bandit_probabilities(a, room, &arms, again);
    cr_assert_neq(memcmp(p[0], again, sizeof again), 0);
}

Test(bandit, squarecb_weighs_by_inverse_gaps) {
    struct bandit_config c = bandit_defaults(BANDIT_SQUARECB, 0, 1);
    c.explore = 0;
    c.gamma = 3;
    c.gamma_power = 0.5;
    c.noise_n = INFINITY;
    c.noise = 2;
    autofree(bandit_free) struct bandit *b = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(b);
    for (int i = 0; i < 15; i++)
        bandit_learn(b, NULL, &(float){1}, 2, 1, 0);
    cr_assert_eq(bandit_refresh(b, 0), 0); /* mean 30/16 */
    float own[] = {-1, 1};
    double p[3], top = 30.0 / 16, gamma = 3 * sqrt(15) / 2;
    bandit_probabilities(b, room, &(struct bandit_arms){.n = 2, .shared = NULL, .own = own}, p);
    cr_assert_float_eq(p[0], 1 / (3 + gamma * top), 1e-6);
    cr_assert_float_eq(p[1], 1 / (3 + gamma * 2 * top), 1e-6);
    cr_assert_float_eq(p[2], 1 - p[0] - p[1], 1e-6);
}

Test(bandit, what_happens_anyway_is_not_credited_to_an_arm) {
    struct bandit_config c = bandit_defaults(BANDIT_GREEDY, 1, 2);
    c.explore = 0;
    autofree(bandit_free) struct bandit *b = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(b);
    struct rng r;
    rng_seed(&r, 6);
    /* whoever is a sure buyer earns 5 either way; the coupon costs him 1 and moves the others */
    for (int i = 0; i < 400; i++) {
        float sure = (float)(i % 2);
        bool coupon = rng_below(&r, 2);
        float own[] = {1, sure};
        double y = 5 * sure + (coupon ? (sure != 0 ? -1 : 2) : 0) + 0.1 * rng_normal(&r);
        bandit_learn(b, &sure, coupon ? own : NULL, y, 1, 0);
    }
    cr_assert_eq(bandit_refresh(b, 0), 0);
    double p[2];
    bandit_probabilities(
        b, room, &(struct bandit_arms){.n = 1, .shared = (float[]){1}, .own = (float[]){1, 1}}, p);
    cr_assert_eq(p[0], 1, "no coupon for sure buyers");
    bandit_probabilities(
        b, room, &(struct bandit_arms){.n = 1, .shared = (float[]){0}, .own = (float[]){1, 0}}, p);
    cr_assert_eq(p[1], 1);
}

Test(bandit, deltas_of_others_make_one_bandit) {
    struct bandit_config c = bandit_defaults(BANDIT_GREEDY, SHARED, OWN);
    autofree(bandit_free) struct bandit *one = made(&c), *a = made(&c), *b = made(&c);
    struct buf d = {0};
    size_t used;
    teach(one, 8, 30);
    teach(one, 9, 20);
    teach(a, 8, 30);
    teach(b, 9, 20);
    cr_assert_eq(bandit_take_delta(b, &d), 0);
    cr_assert_eq(bandit_merge(a, d.p, d.n, &used), 0);
    cr_assert_eq(used, d.n);
    buf_reset(&d);
    cr_assert_eq(bandit_take_delta(b, &d), 0); /* empty by now */
    cr_assert_eq(bandit_merge(a, d.p, d.n, &used), 0);
    buf_reset(&d);
    cr_assert_eq(bandit_take_delta(a, &d), 0); /* only what a itself was told */
    cr_assert_eq(bandit_merge(b, d.p, d.n, &used), 0);
    struct bandit *all[] = {one, a, b};
    float shared[SHARED] = {1, 2, 3, 4, 5}, own[OWN] = {1, 1, 2, 3, 5, 8};
    double mean[3], sd[3];
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(bandit_refresh(all[i], 0), 0);
        cr_assert_float_eq(bandit_samples(all[i]), 50, 1e-9);
        bandit_estimate(all[i], shared, own, &mean[i], &sd[i]);
        cr_assert_float_eq(mean[i], mean[0], 1e-9);
        cr_assert_float_eq(sd[i], sd[0], 1e-9);
    }
    for (size_t i = 0; i < d.n; i += 7) {
        d.p[i] ^= 1;
        cr_assert_eq(bandit_merge(a, d.p, d.n, &used), -EBADMSG);
        d.p[i] ^= 1;
    }
    buf_free(&d);
}

Test(bandit, a_restored_bandit_decides_alike) {
    struct bandit_config c = bandit_defaults(BANDIT_LINUCB, SHARED, OWN);
    autofree(bandit_free) struct bandit *a = made(&c), *b = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(a);
    struct buf rec = {0};
    size_t used;
    teach(a, 10, 30);
    cr_assert_eq(bandit_encode(a, &rec), 0);
    cr_assert_eq(bandit_restore(b, rec.p, rec.n, &used), 0);
    cr_assert_eq(bandit_refresh(a, 0), 0);
    cr_assert_eq(bandit_refresh(b, 0), 0);
    struct rng r;
    rng_seed(&r, 7);
    float shared[SHARED], own[ARMS * OWN];
    double p[ARMS + 1], q[ARMS + 1];
    for (int i = 0; i < 50; i++) {
        fill(&r, shared, SHARED);
        fill(&r, own, ARMS * OWN);
        struct bandit_arms arms = {.n = ARMS, .shared = shared, .own = own};
        bandit_probabilities(a, room, &arms, p);
        bandit_probabilities(b, room, &arms, q);
        cr_assert_eq(memcmp(p, q, sizeof p), 0);
    }
    buf_free(&rec);
}

Test(bandit, configurations_without_sense_are_refused) {
    struct bandit *b = NULL;
    struct bandit_config c = bandit_defaults(BANDIT_THOMPSON, 4, 4), bad;
#define REFUSED(change)                                                                            \
    bad = c;                                                                                       \
    bad.change;                                                                                    \
    cr_assert_eq(bandit_new(&bad, &b), -EINVAL, #change)
    REFUSED(own = 0);
    REFUSED(shared = RIDGE_DIM_MAX);
    REFUSED(prior = 0);
    REFUSED(noise = NAN);
    REFUSED(explore = 1.5);
    REFUSED(draws = 33);
    REFUSED(arms_max = BANDIT_ARMS_MAX + 1);
    REFUSED(half_life_ms = -1);
#undef REFUSED
}

/* Blocks of arms that differ in their last two columns, as offers of one campaign do. */
static void like_campaigns(struct rng *r, size_t n, float own[][OWN], uint16_t *like) {
    for (size_t i = 0; i < n; i++) {
        like[i] = i && rng_below(r, 3) ? like[i - 1] : (uint16_t)i;
        for (size_t f = 0; f < OWN; f++)
            own[i][f] = f < OWN - 2 && like[i] != i ? own[like[i]][f] : (float)rng_normal(r);
    }
}

Test(bandit, arms_that_are_told_to_be_alike_get_the_same_probabilities) {
    for (int kind = 0; kind < BANDIT_KIND_COUNT; kind++) {
        struct rng r;
        rng_seed(&r, 5);
        struct bandit_config c = bandit_defaults((enum bandit_kind)kind, SHARED, OWN);
        c.arms_max = ARMS;
        autofree(bandit_free) struct bandit *b = NULL;
        autofree(bandit_room_free) struct bandit_room *room = NULL;
        cr_assert_eq(bandit_new(&c, &b), 0);
        cr_assert_eq(bandit_room_new(b, &room), 0);
        float shared[SHARED], own[ARMS][OWN];
        uint16_t like[ARMS];
        for (int t = 0; t < 300; t++) {
            for (size_t f = 0; f < SHARED; f++)
                shared[f] = (float)rng_normal(&r);
            like_campaigns(&r, ARMS, own, like);
            cr_assert(bandit_learn(b, shared, own[0], rng_normal(&r) + own[0][0], 1, t));
        }
        cr_assert_eq(bandit_refresh(b, 300), 0);
        for (int t = 0; t < 50; t++) {
            double want[ARMS + 1], got[ARMS + 1];
            like_campaigns(&r, ARMS, own, like);
            struct bandit_arms arms = {.n = ARMS, .shared = shared, .own = *own};
            bandit_probabilities(b, room, &arms, want);
            arms.like = like;
            arms.from = OWN - 2;
            arms.to = OWN;
            bandit_probabilities(b, room, &arms, got);
            for (size_t i = 0; i <= ARMS; i++)
                cr_assert_float_eq(got[i], want[i], 1e-5, "%s", bandit_kind_name(c.kind));
        }
    }
}

/* Wide enough for several vectors of columns, and with arms apart across the bounds of one. */
enum { WIDE_SHARED = 37, WIDE_OWN = 21, WIDE_FROM = 14, WIDE_TO = 19, WIDE_ARMS = 23 };

static void wide_arms(struct rng *r, float *shared, float own[WIDE_ARMS][WIDE_OWN],
                      uint16_t like[WIDE_ARMS]) {
    fill(r, shared, WIDE_SHARED);
    for (size_t i = 0; i < WIDE_ARMS; i++) {
        like[i] = (uint16_t)(i - i % 4);
        fill(r, own[i], WIDE_OWN);
        for (size_t f = 0; f < WIDE_OWN; f++)
            if (f < WIDE_FROM || f >= WIDE_TO)
                own[i][f] = own[like[i]][f];
    }
}

Test(bandit, bounds_and_means_of_wide_arms_are_those_of_the_posterior) {
    struct rng r;
    rng_seed(&r, 8);
    struct bandit_config c = bandit_defaults(BANDIT_LINUCB, WIDE_SHARED, WIDE_OWN);
    c.explore = 0;
    autofree(bandit_free) struct bandit *b = made(&c);
    autofree(bandit_room_free) struct bandit_room *room = room_of(b);
    float shared[WIDE_SHARED], own[WIDE_ARMS][WIDE_OWN];
    uint16_t like[WIDE_ARMS];
    struct bandit_arms arms = {WIDE_ARMS, shared, *own, like, WIDE_FROM, WIDE_TO, 0};
    for (int t = 0; t < 60; t++) {
        wide_arms(&r, shared, own, like);
        cr_assert(bandit_learn(b, shared, own[t % 4], own[t % 4][0] + rng_normal(&r), 1, 0));
    }
    cr_assert_eq(bandit_refresh(b, 0), 0);
    for (int t = 0; t < 200; t++) {
        double p[WIDE_ARMS + 1], mean[WIDE_ARMS + 1], sd, bound[WIDE_ARMS + 1], top = -INFINITY;
        wide_arms(&r, shared, own, like);
        for (size_t i = 0; i <= WIDE_ARMS; i++) {
            bandit_estimate(b, shared, i ? own[i - 1] : NULL, &mean[i], &sd);
            bound[i] = mean[i] + sd;
            top = fmax(top, bound[i]);
        }
        const float *gain = bandit_gains(b, room, &arms);
        for (size_t i = 0; i < WIDE_ARMS; i++)
            cr_assert_float_eq((double)gain[i], mean[1 + i] - mean[0], 1e-4);
        bandit_probabilities(b, room, &arms, p);
        for (size_t i = 0; i <= WIDE_ARMS; i++)
            cr_assert(p[i] == 0 || (p[i] == 1 && bound[i] > top - 1e-4));
    }
}

/* All arms but nothing: the same by every kind as if each brought so much less. */
Test(bandit, what_arms_cost_is_taken_off_what_they_bring) {
    for (int kind = BANDIT_GREEDY; kind < BANDIT_KIND_COUNT; kind++) {
        struct bandit_config c = bandit_defaults(kind, SHARED, OWN);
        autofree(bandit_free) struct bandit *b = made(&c);
        autofree(bandit_room_free) struct bandit_room *room = room_of(b);
        teach(b, 5, 4000);
        cr_assert_eq(bandit_refresh(b, 0), 0);
        float shared[SHARED] = {0}, own[2 * OWN] = {0};
        double p[3];
        own[0] = 2; /* brings about 2, and the other one 1 */
        own[OWN] = 1;
        struct bandit_arms arms = {.n = 2, .shared = shared, .own = own, .cost = 0};
        bandit_probabilities(b, room, &arms, p);
        cr_assert(p[1] > 0.7 && p[0] < 0.2, "kind %d", kind);
        arms.cost = 1.5f;
        bandit_probabilities(b, room, &arms, p);
        cr_assert(p[1] > 0.6 && p[0] >= p[2], "kind %d", kind);
        arms.cost = 3;
        bandit_probabilities(b, room, &arms, p);
        cr_assert(p[0] > 0.7 && p[0] + p[1] + p[2] < 1 + 1e-9, "kind %d", kind);
        cr_assert_float_eq(bandit_gains(b, room, &arms)[0], -1, 0.1);
    }
}
