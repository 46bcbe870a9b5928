#include "policy/uplift.h"

#include <criterion/criterion.h>
#include <math.h>

enum { COLUMNS = 4, ARMS = 3, N = 20000 };

/* A shop: what people spend anyway bends in x[1], which no outcome model here can follow, and who
 * has a high x[1] was sent more coupons; coupons move those with a low x[2], the second kind
 * everybody alike. */
struct world {
    float x[N][COLUMNS];
    double p[N][ARMS];
    struct uplift_sample s[N];
};

static double effect(const float *x, uint32_t t) {
    return t == 1 ? 0.5 - 0.8 * x[2] : 0.3;
}

static struct world *made(uint64_t seed, double bend) {
    struct world *w = calloc(1, sizeof *w);
    struct rng r;
    rng_seed(&r, seed);
    for (int i = 0; i < N; i++) {
        float *x = w->x[i];
        x[0] = 1;
        for (int j = 1; j < COLUMNS; j++)
            x[j] = (float)rng_normal(&r);
        double lean = 1 / (1 + exp(-1.5 * x[1])), u = rng_unit(&r);
        w->p[i][1] = 0.1 + 0.5 * lean;
        w->p[i][2] = 0.2;
        w->p[i][0] = 1 - w->p[i][1] - w->p[i][2];
        uint32_t arm = u < w->p[i][1] ? 1 : u < w->p[i][1] + 0.2 ? 2 : 0;
        double y = bend * exp(x[1]) + rng_normal(&r) + (arm ? effect(x, arm) : 0);
        w->s[i] = (struct uplift_sample){x, arm, y, w->p[i], 1, i};
    }
    return w;
}

static struct uplift *learner(void) {
    struct uplift_config c = uplift_defaults(UPLIFT_LINEAR, COLUMNS, ARMS);
    struct uplift *u = NULL;
    cr_assert_eq(uplift_new(&c, &u), 0);
    return u;
}

static double root_mean_square(const struct uplift *u, const struct world *w, uint32_t t) {
    double sum = 0;
    for (int i = 0; i < N; i++) {
        double mean, sd;
        uplift_effect(u, w->x[i], t, &mean, &sd);
        sum += (mean - effect(w->x[i], t)) * (mean - effect(w->x[i], t));
    }
    return sqrt(sum / N);
}

Test(uplift, finds_who_is_moved_where_outcome_models_are_wrong) {
    autofree(uplift_free) struct uplift *at_once = learner(), *online = learner();
    autofree(free) struct world *w = made(1, 2), *fresh = made(2, 2);
    cr_assert_eq(uplift_fit(at_once, w->s, N, 5, 1), 0);
    for (int i = 0; i < N; i++) {
        cr_assert(uplift_learn(online, &w->s[i]));
        if (i % 500 == 499)
            cr_assert_eq(uplift_refresh(online, i), 0);
    }
    const struct uplift *both[] = {at_once, online};
    for (int k = 0; k < 2; k++)
        for (uint32_t t = 1; t < ARMS; t++) {
            double off = root_mean_square(both[k], fresh, t);
            cr_assert_lt(off, 0.25, "%s, treatment %u: %g", k ? "online" : "at once", t, off);
        }
    /* the difference of outcome models, which is what a T-learner goes by, is far off */
    double naive = 0;
    for (int i = 0; i < N; i++) {
        const float *x = fresh->x[i];
        double d = uplift_outcome(at_once, x, 1) - uplift_outcome(at_once, x, 0) - effect(x, 1);
        naive += d * d / N;
    }
    cr_assert_gt(sqrt(naive), 3 * root_mean_square(at_once, fresh, 1));
}

Test(uplift, one_effect_for_all_is_what_the_evidence_leaves) {
    autofree(uplift_free) struct uplift *u = learner();
    autofree(free) struct world *w = made(3, 0);
    for (int i = 0; i < N; i++) /* the first treatment moves all alike as well */
        if (w->s[i].arm == 1)
            w->s[i].y += 0.8 * (double)w->x[i][2];
    cr_assert_eq(uplift_fit(u, w->s, N, 2, 1), 0);
    double low = INFINITY, high = -INFINITY, mean, sd;
    for (int i = 0; i < 200; i++) {
        uplift_effect(u, w->x[i], 2, &mean, &sd);
        low = fmin(low, mean);
        high = fmax(high, mean);
        cr_assert(sd > 0 && sd < 0.3);
    }
    cr_assert_lt(high - low, 0.1);
    uplift_effect(u, (float[COLUMNS]){1}, 2, &mean, &sd);
    cr_assert_float_eq(mean, 0.3, 4 * sd);
}

Test(uplift, knows_no_effect_before_it_is_refreshed) {
    autofree(uplift_free) struct uplift *u = learner();
    autofree(free) struct world *w = made(4, 2);
    double mean, sd;
    for (int i = 0; i < 1000; i++)
        cr_assert(uplift_learn(u, &w->s[i]));
    uplift_effect(u, w->x[0], 1, &mean, &sd);
    cr_assert(mean == 0 && sd == 0 && uplift_outcome(u, w->x[0], 1) == 0);
    cr_assert_eq(uplift_refresh(u, 0), 0);
    uplift_effect(u, w->x[0], 1, &mean, &sd);
    cr_assert(mean != 0 && sd > 0 && uplift_outcome(u, w->x[0], 1) != 0);
}

Test(uplift, an_effect_is_the_same_whether_its_deviation_is_asked_for_or_not) {
    autofree(uplift_free) struct uplift *u = learner();
    autofree(free) struct world *w = made(5, 1);
    for (int i = 0; i < 2000; i++) {
        double mean, alone, sd;
        cr_assert(uplift_learn(u, &w->s[i]));
        if (i == 500 || i == 1500)
            cr_assert_eq(uplift_refresh(u, 0), 0);
        uplift_effect(u, w->x[i], 1 + i % 2, &mean, &sd);
        uplift_effect(u, w->x[i], 1 + i % 2, &alone, NULL);
        cr_assert(mean == alone);
    }
}

/* Log odds linear in x, as a logit link supposes; drawn evenly. */
Test(uplift, a_logit_link_finds_odds_at_once_and_nearly_so_online) {
    static const double base[COLUMNS] = {-1.5, 0.8, 0, 0.3}, gain[COLUMNS] = {0.5, 0, -0.6, 0};
    static const double even[2] = {0.5, 0.5};
    struct uplift_config c = uplift_defaults(UPLIFT_LOGIT, COLUMNS, 2);
    autofree(uplift_free) struct uplift *at_once = NULL, *online = NULL;
    autofree(free) struct world *w = made(7, 0);
    struct rng r;
    rng_seed(&r, 8);
    cr_assert_eq(uplift_new(&c, &at_once), 0);
    cr_assert_eq(uplift_new(&c, &online), 0);
    for (int i = 0; i < N; i++) {
        uint32_t arm = rng_below(&r, 2);
        double odds = 0;
        for (int j = 0; j < COLUMNS; j++)
            odds += w->x[i][j] * (base[j] + (arm ? gain[j] : 0));
        w->s[i].arm = arm;
        w->s[i].p = even;
        w->s[i].y = rng_unit(&r) < 1 / (1 + exp(-odds));
        cr_assert(uplift_learn(online, &w->s[i]));
        if (i % 500 == 499)
            cr_assert_eq(uplift_refresh(online, i), 0);
    }
    cr_assert_eq(uplift_fit(at_once, w->s, N, 3, 1), 0);
    const struct uplift *both[] = {at_once, online};
    for (int k = 0; k < 2; k++) {
        double off = 0, size = 0, mean, sd;
        for (int i = 0; i < N; i++) {
            double p[2], odds[2] = {0};
            for (int j = 0; j < COLUMNS; j++) {
                odds[0] += w->x[i][j] * base[j];
                odds[1] += w->x[i][j] * (base[j] + gain[j]);
            }
            for (int a = 0; a < 2; a++)
                p[a] = 1 / (1 + exp(-odds[a]));
            uplift_effect(both[k], w->x[i], 1, &mean, &sd);
            off += (mean - (p[1] - p[0])) * (mean - (p[1] - p[0])) / N;
            size += (p[1] - p[0]) * (p[1] - p[0]) / N;
        }
        cr_assert_lt(sqrt(off), 0.2 * sqrt(size), "%s: %g of %g", k ? "online" : "at once",
                     sqrt(off), sqrt(size));
    }
    w->s[0].y = 1.5;
    cr_assert(!uplift_learn(online, &w->s[0]), "no share of one");
}

Test(uplift, what_makes_no_sense_is_refused) {
    autofree(uplift_free) struct uplift *u = learner();
    float x[COLUMNS] = {1}, bad[COLUMNS] = {1, NAN};
    double p[ARMS] = {0.5, 0.5, 0};
    struct uplift_sample good = {x, 1, 1, p, 1, 0}, s;
#define REFUSED(change)                                                                            \
    s = good;                                                                                      \
    s.change;                                                                                      \
    cr_assert(!uplift_learn(u, &s), #change)
    cr_assert(uplift_learn(u, &good));
    REFUSED(x = bad);
    REFUSED(arm = ARMS);
    REFUSED(arm = 2); /* it had no chance, and yet he got it */
    REFUSED(y = NAN);
    REFUSED(weight = 0);
    REFUSED(p = ((double[]){0.5, 1.5, 0}));
#undef REFUSED
    cr_assert_eq(uplift_fit(u, &good, 1, 1, 0), -EINVAL);
    struct uplift *none = NULL;
    struct uplift_config c = uplift_defaults(UPLIFT_LINEAR, COLUMNS, 1);
    cr_assert_eq(uplift_new(&c, &none), -EINVAL);
}

/* Two processes begin with the same models, learn a part each and tell each other what is new. */
Test(uplift, parts_learned_apart_are_the_whole) {
    autofree(uplift_free) struct uplift *all = learner(), *a = learner(), *told = learner();
    autofree(free) struct world *w = made(5, 2);
    struct buf first = {0}, delta = {0};
    size_t used;
    for (int i = 0; i < 2000; i++)
        uplift_learn(all, &w->s[i]);
    cr_assert_eq(uplift_encode(all, &first), 0);
    struct uplift *each[] = {all, a, told};
    for (int k = 0; k < 3; k++) {
        cr_assert_eq(uplift_restore(each[k], first.p, first.n, &used), 0);
        cr_assert_eq(used, first.n);
        cr_assert_eq(uplift_refresh(each[k], 0), 0);
    }
    uplift_clear(told); /* from now on it holds what the others do not know */
    for (int i = 2000; i < 4000; i++) {
        cr_assert(uplift_learn(all, &w->s[i]));
        cr_assert(uplift_learn(i % 2 ? a : told, &w->s[i]));
    }
    cr_assert_eq(uplift_encode(told, &delta), 0);
    cr_assert_eq(uplift_merge(a, delta.p, delta.n, &used), 0);
    cr_assert_eq(uplift_refresh(a, 0), 0);
    cr_assert_eq(uplift_refresh(all, 0), 0);
    for (int i = 0; i < 100; i++)
        for (uint32_t arm = 0; arm < ARMS; arm++) {
            double x, y, sx, sy;
            cr_assert_float_eq(uplift_outcome(a, w->x[i], arm), uplift_outcome(all, w->x[i], arm),
                               1e-6);
            if (arm == 0)
                continue;
            uplift_effect(a, w->x[i], arm, &x, &sx);
            uplift_effect(all, w->x[i], arm, &y, &sy);
            cr_assert(sx > 0);
            cr_assert_float_eq(x, y, 1e-6);
            cr_assert_float_eq(sx, sy, 1e-6);
        }
    buf_free(&first);
    buf_free(&delta);
}

Test(uplift, damaged_records_are_refused_and_change_nothing) {
    struct uplift_config c = uplift_defaults(UPLIFT_LINEAR, COLUMNS + 1, ARMS);
    autofree(uplift_free) struct uplift *u = learner(), *other = NULL;
    autofree(free) struct world *w = made(6, 2);
    struct buf rec = {0}, again = {0};
    size_t used;
    for (int i = 0; i < 50; i++)
        uplift_learn(u, &w->s[i]);
    cr_assert_eq(uplift_encode(u, &rec), 0);
    for (size_t i = 0; i < rec.n; i++) {
        cr_assert_eq(uplift_restore(u, rec.p, i, &used), -EBADMSG);
        rec.p[i] ^= 8;
        cr_assert_eq(uplift_merge(u, rec.p, rec.n, &used), -EBADMSG);
        rec.p[i] ^= 8;
    }
    cr_assert_eq(uplift_encode(u, &again), 0);
    cr_assert(again.n == rec.n && memcmp(again.p, rec.p, rec.n) == 0);
    cr_assert_eq(uplift_new(&c, &other), 0);
    cr_assert_eq(uplift_restore(other, rec.p, rec.n, &used), -EBADMSG, "another shape");
    buf_free(&rec);
    buf_free(&again);
}
