#include "policy/uplift.h"
#include "model/block.h"

#include <math.h>

enum { UPLIFT_VERSION = 1, MODELS_MAX = 2 * UPLIFT_ARMS_MAX };

/* Outcome models of all arms, then effect models of arms 1, 2, ... */
struct uplift {
    struct uplift_config c;
    size_t models;
    struct ridge sums[MODELS_MAX];
    struct ridge_fit fit[MODELS_MAX];
};

struct uplift_config uplift_defaults(uint32_t columns, uint32_t arms) {
    return (struct uplift_config){.columns = columns, .arms = arms, .least_p = 0.01, .warm = 200};
}

int uplift_new(const struct uplift_config *c, struct uplift **ret) {
    if (c->arms < 2 || c->arms > UPLIFT_ARMS_MAX || !(c->least_p > 0 && c->least_p < 1) ||
        !(c->warm >= 0))
        return -EINVAL;
    autofree(uplift_free) struct uplift *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->c = *c;
    u->models = 2 * c->arms - 1;
    for (size_t i = 0; i < u->models; i++) {
        int r = ridge_init(&u->sums[i], c->columns, c->half_life_ms, c->features);
        if (r == 0)
            r = ridge_fit_init(&u->fit[i], c->columns);
        if (r < 0)
            return r;
    }
    *ret = TAKE(u);
    return 0;
}

void uplift_free(struct uplift *u) {
    if (!u)
        return;
    for (size_t i = 0; i < u->models; i++) {
        ridge_done(&u->sums[i]);
        ridge_fit_done(&u->fit[i]);
    }
    free(u);
}

static size_t effect_of(const struct uplift *u, uint32_t t) {
    return u->c.arms + t - 1;
}

static bool sound(const struct uplift *u, const struct uplift_sample *s) {
    double sum = s->y + s->weight;
    bool good = s->arm < u->c.arms && s->weight > 0;
    for (uint32_t i = 0; i < u->c.columns; i++)
        sum += fabs((double)s->x[i]);
    for (uint32_t a = 0; good && a < u->c.arms; a++)
        good = s->p[a] >= 0 && s->p[a] <= 1;
    return good && isfinite(sum) && s->p[s->arm] > 0;
}

static void learn_outcome(struct uplift *u, const struct uplift_sample *s) {
    ridge_add(&u->sums[s->arm], s->x, s->y, s->weight, s->time_ms);
}

static void learn_effects(struct uplift *u, const struct uplift_sample *s) {
    double mu[UPLIFT_ARMS_MAX], off = 0;
    if (u->fit[0].n < u->c.warm)
        return;
    for (uint32_t a = 0; a < u->c.arms; a++)
        mu[a] = uplift_outcome(u, s->x, a);
    off = (s->y - mu[s->arm]) / fmax(s->p[s->arm], u->c.least_p);
    for (uint32_t t = 1; t < u->c.arms; t++) {
        if (u->fit[t].n < u->c.warm)
            continue;
        double told = mu[t] - mu[0] + (s->arm == t ? off : 0) - (s->arm == 0 ? off : 0);
        ridge_add(&u->sums[effect_of(u, t)], s->x, told, s->weight, s->time_ms);
    }
}

bool uplift_learn(struct uplift *u, const struct uplift_sample *s) {
    if (!sound(u, s))
        return false;
    learn_effects(u, s);
    learn_outcome(u, s);
    return true;
}

/* The penalty with the highest evidence: powers of ten from hardly any to as good as none but the
 * intercept. When none can be solved the fit is as it was. */
static int solve(const struct ridge *sums, int64_t now_ms, struct ridge_fit *f) {
    static const double rest[] = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};
    double noise = sums->n > 0 ? sqrt(sums->yy / sums->n) : 1;
    struct ridge_prior prior = {.first = 1e-2, .noise = noise > 0 ? noise : 1, .noise_n = 1};
    double best = 0, top = -INFINITY;
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        prior.rest = rest[i];
        if (ridge_solve(sums, &prior, now_ms, f) == 0 && f->evidence > top) {
            top = f->evidence;
            best = rest[i];
        }
    }
    prior.rest = best;
    return best > 0 ? ridge_solve(sums, &prior, now_ms, f) : -EDOM;
}

int uplift_refresh(struct uplift *u, int64_t now_ms) {
    for (size_t i = 0; i < u->models; i++) {
        int r = solve(&u->sums[i], now_ms, &u->fit[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int refresh_outcomes(struct uplift *u, int64_t now_ms) {
    for (size_t a = 0; a < u->c.arms; a++) {
        int r = solve(&u->sums[a], now_ms, &u->fit[a]);
        if (r < 0)
            return r;
    }
    return 0;
}

int uplift_fit(struct uplift *u, const struct uplift_sample *s, size_t n, uint32_t folds,
               uint64_t seed) {
    int64_t newest = 0;
    if (folds < 2)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (!sound(u, &s[i]))
            return -EINVAL;
        newest = MAX(newest, s[i].time_ms);
    }
    uplift_clear(u);
    for (uint32_t part = 0; part <= folds; part++) { /* the last one: outcome models of all */
        for (size_t a = 0; a < u->c.arms; a++)
            ridge_clear(&u->sums[a]);
        for (size_t i = 0; i < n; i++)
            if (hash_bytes(&i, sizeof i, seed) % folds != part)
                learn_outcome(u, &s[i]);
        int r = refresh_outcomes(u, newest);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            if (hash_bytes(&i, sizeof i, seed) % folds == part)
                learn_effects(u, &s[i]);
    }
    return uplift_refresh(u, newest);
}

void uplift_effect(const struct uplift *u, const float *x, uint32_t t, double *ret_mean,
                   double *ret_sd) {
    const struct ridge_fit *f = &u->fit[effect_of(u, t)];
    *ret_mean = *ret_sd = 0;
    if (f->n > 0)
        ridge_estimate(f, x, ret_mean, ret_sd);
}

double uplift_outcome(const struct uplift *u, const float *x, uint32_t arm) {
    double mean;
    ridge_estimate(&u->fit[arm], x, &mean, NULL);
    return mean;
}

void uplift_clear(struct uplift *u) {
    for (size_t i = 0; i < u->models; i++)
        ridge_clear(&u->sums[i]);
}

int uplift_encode(const struct uplift *u, struct buf *out) {
    size_t at = block_begin(out, UPLIFT_VERSION);
    wire_put_varint(out, u->models);
    for (size_t i = 0; i < u->models; i++) {
        int r = ridge_encode(&u->sums[i], out);
        if (r < 0)
            return r;
    }
    return block_end(out, at);
}

/* All models of the record, added to empty or present sums only once all are sound. */
static int take(struct uplift *u, const void *p, size_t n, bool replace, size_t *ret_n) {
    struct wire w;
    size_t taken;
    int r = block_open(p, n, UPLIFT_VERSION, &w, &taken);
    if (r < 0)
        return r;
    autofree(uplift_free) struct uplift *from = NULL;
    r = uplift_new(&u->c, &from);
    if (r < 0)
        return r;
    if (wire_get_varint(&w) != u->models)
        return -EBADMSG;
    for (size_t i = 0; i < u->models; i++) {
        size_t used;
        r = ridge_restore(&from->sums[i], w.p, (size_t)(w.end - w.p), &used);
        if (r < 0)
            return r;
        w.p += used;
    }
    if (w.p != w.end)
        return -EBADMSG;
    for (size_t i = 0; i < u->models; i++) {
        if (replace)
            ridge_clear(&u->sums[i]);
        r = ridge_merge(&from->sums[i], &u->sums[i]);
        if (r < 0)
            return r;
    }
    *ret_n = taken;
    return 0;
}

int uplift_restore(struct uplift *u, const void *p, size_t n, size_t *ret_n) {
    return take(u, p, n, true, ret_n);
}

int uplift_merge(struct uplift *u, const void *p, size_t n, size_t *ret_n) {
    return take(u, p, n, false, ret_n);
}
