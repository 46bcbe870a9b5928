#include "model/wire.h"
#include "policy/bandit_internal.h"

#include <math.h>

const char *bandit_kind_name(enum bandit_kind k) {
    static const char *const name[] = {
#define X(sym, name, help) [BANDIT_##sym] = name,
        BANDIT_KINDS(X)
#undef X
    };
    return name[k];
}

struct bandit_config bandit_defaults(enum bandit_kind kind, uint32_t shared, uint32_t own) {
    return (struct bandit_config){
        .kind = kind,
        .shared = shared,
        .own = own,
        .arms_max = 128,
        .prior = 1,
        .noise = 1,
        .noise_n = 10,
        .explore = 0.05,
        .alpha = 1,
        .gamma = 10,
        .gamma_power = 0.5,
        .draws = 32,
        .seed = 1,
    };
}

static bool sensible(const struct bandit_config *c) {
    return c->kind < BANDIT_KIND_COUNT && c->own >= 1 && c->own <= RIDGE_DIM_MAX &&
           c->shared <= RIDGE_DIM_MAX - c->own && c->arms_max <= BANDIT_ARMS_MAX && c->prior > 0 &&
           c->noise > 0 && isfinite(c->prior) && isfinite(c->noise) && c->noise_n >= 0 &&
           c->explore >= 0 && c->explore <= 1 && c->explore_n >= 0 && c->alpha >= 0 &&
           c->gamma >= 0 && isfinite(c->gamma_power) &&
           (c->kind != BANDIT_THOMPSON ||
            (c->draws >= 16 && c->draws % 16 == 0 && c->draws <= BANDIT_DRAWS_MAX));
}

float *bandit_floats(size_t n) {
    size_t bytes = (n * sizeof(float) + 64) / 64 * 64;
    float *p = aligned_alloc(64, bytes);
    return p ? memset(p, 0, bytes) : NULL;
}

int bandit_new(const struct bandit_config *c, struct bandit **ret) {
    if (!sensible(c))
        return -EINVAL;
    autofree(bandit_free) struct bandit *b = calloc(1, sizeof *b);
    if (!b)
        return -ENOMEM;
    b->c = *c;
    b->k = kernels_best();
    b->own_ld = bandit_padded(c->own);
    b->shared_ld = bandit_padded(c->shared);
    size_t own = c->own, shared = c->shared, dim = own + shared;
    int r = ridge_init(&b->sums, (uint32_t)dim, c->half_life_ms, c->features);
    if (r == 0)
        r = ridge_init(&b->delta, (uint32_t)dim, c->half_life_ms, c->features);
    if (r == 0)
        r = ridge_init(&b->solved, (uint32_t)dim, c->half_life_ms, c->features);
    if (r == 0)
        r = ridge_fit_init(&b->fit, (uint32_t)dim);
    if (r < 0)
        return r;
    b->mean_own = bandit_floats(own);
    if (!b->mean_own)
        return -ENOMEM;
    if (c->kind == BANDIT_LINUCB) {
        b->cov_own = bandit_floats(own * b->own_ld);
        b->cov_shared = bandit_floats(shared * (b->shared_ld + b->own_ld));
        b->scratch = calloc(dim * dim, sizeof *b->scratch);
        if (!b->cov_own || !b->cov_shared || !b->scratch)
            return -ENOMEM;
    } else if (c->kind == BANDIT_THOMPSON) {
        b->draws = bandit_floats(own * c->draws);
        b->scratch = calloc(dim, sizeof *b->scratch);
        if (!b->draws || !b->scratch)
            return -ENOMEM;
    }
    r = bandit_refresh(b, 0);
    if (r < 0)
        return r;
    *ret = TAKE(b);
    return 0;
}

void bandit_free(struct bandit *b) {
    if (!b)
        return;
    ridge_done(&b->sums);
    ridge_done(&b->delta);
    ridge_done(&b->solved);
    ridge_fit_done(&b->fit);
    free(b->mean_own);
    free(b->cov_own);
    free(b->cov_shared);
    free(b->draws);
    free(b->scratch);
    free(b);
}

/* One row of columns: shared ones first, so that the last rows of the Cholesky factor are the
 * marginal posterior of the own ones. */
static void join(const struct bandit *b, const float *shared, const float *own, float *ret) {
    if (b->c.shared)
        memcpy(ret, shared, b->c.shared * sizeof *ret);
    if (own)
        memcpy(ret + b->c.shared, own, b->c.own * sizeof *ret);
    else
        memset(ret + b->c.shared, 0, b->c.own * sizeof *ret);
}

void bandit_estimate(const struct bandit *b, const float *shared, const float *own,
                     double *ret_mean, double *ret_sd) {
    float x[RIDGE_DIM_MAX];
    join(b, shared, own, x);
    ridge_estimate(&b->fit, x, ret_mean, ret_sd);
}

bool bandit_learn(struct bandit *b, const float *shared, const float *own, double reward,
                  double weight, int64_t time_ms) {
    float x[RIDGE_DIM_MAX];
    join(b, shared, own, x);
    return ridge_add(&b->sums, x, reward, weight, time_ms) &&
           ridge_add(&b->delta, x, reward, weight, time_ms);
}

/* Pairs g and -g, so that the draws' mean is the posterior's. */
static void draw(struct bandit *b) {
    size_t shared = b->c.shared, own = b->c.own, n = b->c.draws;
    uint64_t of[2] = {b->c.seed, b->refreshed};
    double sd = b->c.alpha * b->fit.noise;
    struct rng r;
    rng_seed(&r, hash_bytes(of, sizeof of, 0));
    for (size_t i = 0; i < n; i += 2) {
        double *g = b->scratch;
        for (size_t j = 0; j < own; j++)
            g[shared + j] = rng_normal(&r);
        ridge_spread(&b->fit, (uint32_t)shared, g);
        for (size_t j = 0; j < own; j++) {
            b->draws[j * n + i] = (float)(b->fit.mean[shared + j] + sd * g[shared + j]);
            b->draws[j * n + i + 1] = (float)(b->fit.mean[shared + j] - sd * g[shared + j]);
        }
    }
}

static void invert(struct bandit *b) {
    size_t shared = b->c.shared, own = b->c.own, dim = shared + own;
    ridge_inverse(&b->fit, b->scratch);
    for (size_t i = 0; i < shared; i++) {
        const double *row = b->scratch + i * dim;
        float *to = b->cov_shared + i * (b->shared_ld + b->own_ld);
        for (size_t j = i / BANDIT_LANES * BANDIT_LANES; j < shared; j++)
            to[j] = (float)(j / BANDIT_LANES > i / BANDIT_LANES ? 2 * row[j] : row[j]);
        for (size_t j = 0; j < own; j++)
            to[b->shared_ld + j] = (float)(2 * row[shared + j]);
    }
    for (size_t i = 0; i < own; i++)
        for (size_t j = 0; j < own; j++)
            b->cov_own[i * b->own_ld + j] = (float)b->scratch[(shared + i) * dim + shared + j];
}

int bandit_refresh(struct bandit *b, int64_t now_ms) {
    const struct bandit_config *c = &b->c;
    double penalty[RIDGE_DIM_MAX];
    for (size_t i = 0; i < b->sums.dim; i++)
        penalty[i] = c->prior;
    struct ridge_prior prior = {penalty, c->noise, c->noise_n};
    int r = ridge_solve(&b->sums, &prior, now_ms, &b->fit);
    if (r < 0)
        return r;
    for (size_t i = 0; i < c->own; i++)
        b->mean_own[i] = (float)b->fit.mean[c->shared + i];
    if (c->kind == BANDIT_THOMPSON)
        draw(b);
    else if (c->kind == BANDIT_LINUCB)
        invert(b);
    b->refreshed++;
    b->solved_ms = now_ms;
    ridge_copy(&b->sums, &b->solved);
    return 0;
}

double bandit_samples(const struct bandit *b) {
    return b->fit.n;
}

double bandit_noise(const struct bandit *b) {
    return b->fit.noise;
}

int bandit_encode(const struct bandit *b, struct buf *out) {
    return ridge_encode(&b->sums, out);
}

int bandit_restore(struct bandit *b, const void *p, size_t n, size_t *ret_n) {
    return ridge_restore(&b->sums, p, n, ret_n);
}

int bandit_take_delta(struct bandit *b, struct buf *out) {
    int r = ridge_encode(&b->delta, out);
    if (r == 0)
        ridge_clear(&b->delta);
    return r;
}

int bandit_merge(struct bandit *b, const void *p, size_t n, size_t *ret_n) {
    struct ridge from;
    int r = ridge_init(&from, b->sums.dim, b->sums.half_life_ms, b->sums.features);
    if (r == 0)
        r = ridge_restore(&from, p, n, ret_n);
    if (r == 0)
        r = ridge_merge(&from, &b->sums);
    ridge_done(&from);
    return r;
}

int bandit_assemble(struct bandit *b, const struct ridge *const *part, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (part[i]->dim != b->sums.dim || part[i]->half_life_ms != b->sums.half_life_ms ||
            part[i]->features != b->sums.features)
            return -EINVAL;
    ridge_clear(&b->sums);
    for (size_t i = 0; i < n; i++)
        ridge_merge(part[i], &b->sums);
    return 0;
}

int bandit_keep(const struct bandit *b, struct buf *out) {
    wire_put_u64(out, b->refreshed);
    wire_put_u64(out, (uint64_t)b->solved_ms);
    int r = ridge_encode(&b->solved, out);
    return r < 0 ? r : ridge_encode(&b->sums, out);
}

int bandit_resume(struct bandit *b, const void *p, size_t n, size_t *ret_n) {
    struct wire w = wire_of(p, n);
    uint64_t refreshed = wire_get_u64(&w);
    int64_t solved_ms = (int64_t)wire_get_u64(&w);
    struct ridge sums;
    size_t used = 0;
    int r = ridge_init(&sums, b->sums.dim, b->sums.half_life_ms, b->sums.features);
    if (r == 0)
        r = w.bad || refreshed == 0 ? -EBADMSG : ridge_restore(&b->sums, w.p, n - 16, &used);
    w.p += used;
    if (r == 0)
        r = ridge_restore(&sums, w.p, (size_t)(w.end - w.p), &used);
    w.p += used;
    if (r == 0) {
        b->refreshed = refreshed - 1;
        r = bandit_refresh(b, solved_ms);
        ridge_copy(&sums, &b->sums);
    }
    ridge_done(&sums);
    *ret_n = (size_t)(w.p - (const uint8_t *)p);
    return r;
}
