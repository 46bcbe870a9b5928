#include "policy/familiar.h"
#include "model/kernels.h"

#include <math.h>

struct familiar {
    struct familiar_config c;
    const struct kernels *k;
    float *direction; /* float[features / 2][states] */
    struct ridge sums;
    struct ridge_fit fit;
    float *inverse;  /* float[features][features]: covariance of the fit, once for all states */
    double *scratch; /* double[features][features] */
};

int familiar_new(const struct familiar_config *c, struct familiar **ret) {
    if (c->states < 1 || c->features < 2 || c->features % 2 || !(c->reach > 0))
        return -EINVAL;
    autofree(familiar_free) struct familiar *f = calloc(1, sizeof *f);
    if (!f)
        return -ENOMEM;
    f->c = *c;
    f->k = kernels_best();
    int r = ridge_init(&f->sums, c->features, c->half_life_ms, c->seed);
    if (r == 0)
        r = ridge_fit_init(&f->fit, c->features);
    if (r < 0)
        return r;
    size_t n = (size_t)c->features / 2 * c->states;
    f->direction = calloc(n, sizeof *f->direction);
    n = (size_t)c->features * c->features;
    f->inverse = calloc(n, sizeof *f->inverse);
    f->scratch = calloc(n, sizeof *f->scratch);
    if (!f->direction || !f->inverse || !f->scratch)
        return -ENOMEM;
    struct rng rng;
    rng_seed(&rng, c->seed);
    for (size_t i = 0; i < (size_t)c->features / 2 * c->states;
         i++) /* exp(-distance² / 2·(reach / 2)²): two widths are far */
        f->direction[i] = (float)(rng_normal(&rng) * 2 / (double)c->reach);
    r = familiar_refresh(f, 0);
    if (r < 0)
        return r;
    *ret = TAKE(f);
    return 0;
}

void familiar_free(struct familiar *f) {
    if (!f)
        return;
    ridge_done(&f->sums);
    ridge_fit_done(&f->fit);
    free(f->direction);
    free(f->inverse);
    free(f->scratch);
    free(f);
}

/* Pairs of cosine and sine, so that every state has the same length 1. */
static void features(const struct familiar *f, const float *state, float *ret) {
    size_t half = f->c.features / 2;
    float scale = 1 / sqrtf((float)half), angle[RIDGE_DIM_MAX];
    f->k->matvec(half, f->c.states, f->direction, state, angle);
    for (size_t i = 0; i < half; i++)
        sincosf(angle[i], &ret[2 * i], &ret[2 * i + 1]);
    for (size_t i = 0; i < 2 * half; i++)
        ret[i] *= scale;
}

bool familiar_add(struct familiar *f, const float *state, int64_t time_ms) {
    float x[RIDGE_DIM_MAX];
    features(f, state, x);
    return ridge_add(&f->sums, x, 0, 1, time_ms);
}

int familiar_refresh(struct familiar *f, int64_t now_ms) {
    double penalty[RIDGE_DIM_MAX];
    for (uint32_t i = 0; i < f->c.features; i++)
        penalty[i] = 1;
    int r = ridge_solve(&f->sums, &(struct ridge_prior){penalty, 1, INFINITY}, now_ms, &f->fit);
    if (r < 0)
        return r;
    ridge_inverse(&f->fit, f->scratch);
    for (size_t i = 0; i < (size_t)f->c.features * f->c.features; i++)
        f->inverse[i] = (float)f->scratch[i];
    return 0;
}

double familiar_count(const struct familiar *f, const float *state) {
    float x[RIDGE_DIM_MAX], y[RIDGE_DIM_MAX];
    size_t n = f->c.features;
    features(f, state, x);
    f->k->matvec(n, n, f->inverse, x, y);
    double left = f->k->dot(n, x, y); /* of a variance of 1 */
    return left > 0 ? fmax(0, 1 / left - 1) : 0;
}

struct ridge *familiar_sums(struct familiar *f) {
    return &f->sums;
}
