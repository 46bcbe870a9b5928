#include "policy/uplift.h"
#include "model/block.h"

#include <math.h>

enum { UPLIFT_VERSION = 1, PASSES = 8 };

/* Model 0 is that of outcomes, with columns x, then x of arm 1, x of arm 2, ...; model t is the
 * correction of treatment t. */
struct uplift {
    struct uplift_config c;
    struct ridge sums[UPLIFT_ARMS_MAX];
    struct ridge_fit fit[UPLIFT_ARMS_MAX];
};

struct uplift_config uplift_defaults(enum uplift_link link, uint32_t columns, uint32_t arms) {
    return (struct uplift_config){
        .link = link, .columns = columns, .arms = arms, .least_p = 0.01, .warm = 200};
}

int uplift_new(const struct uplift_config *c, struct uplift **ret) {
    if (c->arms < 2 || c->arms > UPLIFT_ARMS_MAX || !(c->least_p > 0 && c->least_p < 1) ||
        !(c->warm >= 0) || c->columns < 1 || c->columns > RIDGE_DIM_MAX / c->arms)
        return -EINVAL;
    autofree(uplift_free) struct uplift *u = calloc(1, sizeof *u);
    if (!u)
        return -ENOMEM;
    u->c = *c;
    for (size_t i = 0; i < c->arms; i++) {
        uint32_t dim = i ? c->columns : c->columns * c->arms;
        int r = ridge_init(&u->sums[i], dim, c->half_life_ms, c->features);
        if (r == 0)
            r = ridge_fit_init(&u->fit[i], dim);
        if (r < 0)
            return r;
    }
    *ret = TAKE(u);
    return 0;
}

double uplift_samples(const struct uplift *u) {
    return u->fit[0].n;
}

void uplift_free(struct uplift *u) {
    if (!u)
        return;
    for (size_t i = 0; i < u->c.arms; i++) {
        ridge_done(&u->sums[i]);
        ridge_fit_done(&u->fit[i]);
    }
    free(u);
}

static bool sound(const struct uplift *u, const struct uplift_sample *s) {
    double sum = s->y + s->weight;
    bool good = s->arm < u->c.arms && s->weight > 0;
    for (uint32_t i = 0; i < u->c.columns; i++)
        sum += fabs((double)s->x[i]);
    for (uint32_t a = 0; good && a < u->c.arms; a++)
        good = s->p[a] >= 0 && s->p[a] <= 1;
    if (u->c.link == UPLIFT_LOGIT)
        good = good && s->y >= 0 && s->y <= 1;
    return good && isfinite(sum) && s->p[s->arm] > 0;
}

/* x·base + x·gain of the arm. */
static double score(const struct uplift *u, const float *x, uint32_t arm) {
    const double *base = u->fit[0].mean, *gain = base + (size_t)arm * u->c.columns;
    double sum = 0;
    for (uint32_t i = 0; i < u->c.columns; i++)
        sum += (base[i] + (arm ? gain[i] : 0)) * x[i];
    return sum;
}

/* The expected outcome at a score, and its derivative. */
static double outcome(const struct uplift *u, double at, double *ret_slope) {
    if (u->c.link == UPLIFT_LINEAR) {
        *ret_slope = 1;
        return at;
    }
    double p = 1 / (1 + exp(-at));
    *ret_slope = p * (1 - p);
    return p;
}

double uplift_outcome(const struct uplift *u, const float *x, uint32_t arm) {
    double slope;
    return u->fit[0].n > 0 ? outcome(u, score(u, x, arm), &slope) : 0;
}

static void learn_outcome(struct uplift *u, const struct uplift_sample *s) {
    float z[RIDGE_DIM_MAX] = {0};
    double at = score(u, s->x, s->arm), slope, mu = outcome(u, at, &slope);
    memcpy(z, s->x, u->c.columns * sizeof *z);
    if (s->arm)
        memcpy(z + (size_t)s->arm * u->c.columns, s->x, u->c.columns * sizeof *z);
    slope = fmax(slope, 1e-3); /* else one surprise far out outweighs all others */
    ridge_add(&u->sums[0], z, at + (s->y - mu) / slope, s->weight * slope, s->time_ms);
}

static void learn_corrections(struct uplift *u, const struct uplift_sample *s) {
    if (u->fit[0].n < u->c.warm * u->c.arms)
        return;
    double off = (s->y - uplift_outcome(u, s->x, s->arm)) / fmax(s->p[s->arm], u->c.least_p);
    for (uint32_t t = 1; t < u->c.arms; t++)
        ridge_add(&u->sums[t], s->x, (s->arm == t ? off : 0) - (s->arm == 0 ? off : 0), s->weight,
                  s->time_ms);
}

bool uplift_learn(struct uplift *u, const struct uplift_sample *s) {
    if (!sound(u, s))
        return false;
    learn_corrections(u, s);
    learn_outcome(u, s);
    return true;
}

/* Model i by the penalty of highest evidence for what is to shrink: of outcomes the gains, but not
 * their intercepts; of corrections all. When none can be solved the fit is as it was. */
static int solve(struct uplift *u, uint32_t i, int64_t now_ms) {
    static const double steps[] = {1, 3, 10, 30, 100, 300, 1e3, 3e3, 1e4, 1e5, 1e6};
    const struct ridge *sums = &u->sums[i];
    double penalty[RIDGE_DIM_MAX], best = 0, top = -INFINITY;
    bool known = i == 0 && u->c.link == UPLIFT_LOGIT; /* working responses have variance 1 */
    double noise = !known && sums->n > 0 && sums->yy > 0 ? sqrt(sums->yy / sums->n) : 1;
    struct ridge_prior prior = {penalty, noise, known ? INFINITY : 1};
    for (size_t k = 0; k <= ARRAY_LEN(steps); k++) { /* once more with the best */
        double shrink = k < ARRAY_LEN(steps) ? steps[k] : best;
        for (uint32_t j = 0; j < sums->dim; j++)
            penalty[j] = i ? shrink : j % u->c.columns == 0 ? 1e-2 : j < u->c.columns ? 1 : shrink;
        if (!(shrink > 0) || ridge_solve(sums, &prior, now_ms, &u->fit[i]) < 0)
            continue;
        if (u->fit[i].evidence > top) {
            top = u->fit[i].evidence;
            best = shrink;
        }
    }
    return best > 0 ? 0 : -EDOM;
}

int uplift_refresh(struct uplift *u, int64_t now_ms) {
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < u->c.arms; i++)
        r = solve(u, i, now_ms);
    return r;
}

/* The outcome model of all samples but one part; Newton steps for a logit link. */
static int fit_outcomes(struct uplift *u, const struct uplift_sample *s, size_t n, uint32_t folds,
                        uint32_t but, uint64_t seed, int64_t now_ms) {
    int r = 0;
    memset(u->fit[0].mean, 0, u->fit[0].dim * sizeof *u->fit[0].mean);
    for (int pass = 0; r == 0 && pass < (u->c.link == UPLIFT_LOGIT ? PASSES : 1); pass++) {
        ridge_clear(&u->sums[0]);
        for (size_t i = 0; i < n; i++)
            if (hash_bytes(&i, sizeof i, seed) % folds != but)
                learn_outcome(u, &s[i]);
        r = solve(u, 0, now_ms);
    }
    return r;
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
    for (uint32_t part = 0; part < folds; part++) {
        int r = fit_outcomes(u, s, n, folds, part, seed, newest);
        if (r < 0)
            return r;
        for (size_t i = 0; i < n; i++)
            if (hash_bytes(&i, sizeof i, seed) % folds == part)
                learn_corrections(u, &s[i]);
    }
    int r = fit_outcomes(u, s, n, folds, folds, seed, newest);
    for (uint32_t t = 1; r == 0 && t < u->c.arms; t++)
        r = solve(u, t, newest);
    return r;
}

/* Of the difference that models of outcomes see, by their slopes for the treatment and the control.
 */
static double outcomes_sd(const struct uplift *u, const float *x, uint32_t t, double slope_t,
                          double slope_0) {
    float z[RIDGE_DIM_MAX] = {0};
    double mean, sd;
    for (uint32_t i = 0; i < u->c.columns; i++) {
        z[i] = (float)(slope_t - slope_0) * x[i];
        z[(size_t)t * u->c.columns + i] = (float)slope_t * x[i];
    }
    ridge_estimate(&u->fit[0], z, &mean, &sd);
    return sd;
}

void uplift_effect(const struct uplift *u, const float *x, uint32_t t, double *ret_mean,
                   double *ret_sd) {
    double slope_0, slope_t, correction = 0, its_sd = 0;
    *ret_mean = 0;
    if (ret_sd)
        *ret_sd = 0;
    if (!(u->fit[0].n > 0))
        return;
    if (u->fit[t].n > 0)
        ridge_estimate(&u->fit[t], x, &correction, ret_sd ? &its_sd : NULL);
    double treated = outcome(u, score(u, x, t), &slope_t);
    *ret_mean = treated - outcome(u, score(u, x, 0), &slope_0) + correction;
    if (ret_sd)
        *ret_sd = hypot(outcomes_sd(u, x, t, slope_t, slope_0), its_sd);
}

void uplift_clear(struct uplift *u) {
    for (size_t i = 0; i < u->c.arms; i++)
        ridge_clear(&u->sums[i]);
}

int uplift_encode(const struct uplift *u, struct buf *out) {
    size_t at = block_begin(out, UPLIFT_VERSION);
    wire_put_varint(out, u->c.arms);
    for (size_t i = 0; i < u->c.arms; i++) {
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
    if (wire_get_varint(&w) != u->c.arms)
        return -EBADMSG;
    for (size_t i = 0; i < u->c.arms; i++) {
        size_t used;
        r = ridge_restore(&from->sums[i], w.p, (size_t)(w.end - w.p), &used);
        if (r < 0)
            return r;
        w.p += used;
    }
    if (w.p != w.end)
        return -EBADMSG;
    for (size_t i = 0; i < u->c.arms; i++) {
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
