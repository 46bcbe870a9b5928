#include "model/ranker.h"

#include "model/mlp.h"
#include "model/wire.h"

#include <math.h>

enum {
    HIDDEN = 32,
    BATCH = 8,           /* cases per step */
    EAGER = 30000,       /* cases learned from before only a share is */
    SHARE = 4,           /* then one in so many */
    NORM_EVERY = 16,     /* cases per update of means and variances, once they are settled */
    NORM_SETTLED = 2000, /* cases until then */
};

#define RATE 0.001f
#define RATE_LEAST 0.0003f
#define RATE_STEPS 2000
/* Gradients below it are kept by chance and raised to it, so that their mean is right: most
 * candidates have next to none, and dropping those biases the softmax. */
#define GRADIENT_LEAST 0.01f
#define CLAMP 6.0f
#define VARIANCE_LEAST 0.05f

/* What the linear part begins with, so that the first lists of a new shop are in a sensible
 * order: what public data of several kinds agreed on, and the like for what they lack. */
static const struct {
    const char *column;
    float weight;
} begin[] = {
    {"COSINE", 0.2f},        {"NEAR", 0.1f},         {"LATELY", 0.06f},
    {"CLOSEST", 0.05f},      {"LIFT", 0.05f},        {"ONE", 0.05f},
    {"AHEAD_WIDE", 0.08f},   {"BEHIND_WIDE", 0.08f}, {"LIVELY_1", 0.1f},
    {"LIVELY_2", 0.05f},     {"IDLE", -0.05f},       {"TASTE", 0.05f},
    {"TASTE_SHARE", 0.1f},   {"CONTENT", 0.1f},      {"CONTENT_LAST", 0.05f},
    {"IN_TIMES", 0.08f},     {"IN_REPEATS", 0.1f},   {"CATEGORY_SHARE", 0.1f},
    {"CATEGORY_LAST", 0.1f},
};

struct ranker {
    struct mlp *line, *deep;
    struct mlp_optim *line_optim, *deep_optim;
    bool busy;  /* who steps */
    bool dirty; /* learned since ranker_changed */
    uint64_t cases;
    double loss;
    uint32_t seen; /* cases in mean and variance */
    float mean[SHORTLIST_COLUMNS_MAX], variance[SHORTLIST_COLUMNS_MAX];
    float scale[SHORTLIST_COLUMNS_MAX]; /* 1/√variance */
};

struct ranking {
    float (*dot)(size_t n, const float *x, const float *y); /* of the kernels */
    struct mlp_pass *line, *deep;
    uint32_t gathered; /* cases in the gradient */
    uint32_t skipped;
    size_t n_line, n_deep; /* weights */
    float *x;              /* standardised, float[SHORTLIST_MAX][SHORTLIST_COLUMNS_MAX] */
    float *chosen;         /* rows with a gradient, packed alike */
    float score[SHORTLIST_MAX], part[SHORTLIST_MAX], slope[SHORTLIST_MAX];
};

int ranker_new(uint64_t seed, struct ranker **ret) {
    autofree(ranker_free) struct ranker *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    uint32_t columns = shortlist_columns();
    struct mlp_config line = {.layers = 1, .width = {columns, 1}, .seed = seed};
    struct mlp_config deep = {.layers = 2, .width = {columns, HIDDEN, 1}, .seed = seed + 1};
    struct mlp_optim_config adam = mlp_optim_defaults(MLP_ADAM);
    adam.rate = RATE;
    int e = mlp_new(&line, &r->line);
    if (e == 0)
        e = mlp_new(&deep, &r->deep);
    if (e == 0)
        e = mlp_optim_new(&adam, r->line, &r->line_optim);
    if (e == 0)
        e = mlp_optim_new(&adam, r->deep, &r->deep_optim);
    if (e < 0)
        return e;
    memset(r->line->w, 0, r->line->n * sizeof *r->line->w);
    for (uint32_t c = 0; c < columns; c++)
        for (size_t i = 0; i < ARRAY_LEN(begin); i++)
            if (strcmp(shortlist_column_name(c), begin[i].column) == 0)
                r->line->w[c * mlp_pad(1)] = begin[i].weight;
    /* The network begins silent. */
    memset(r->deep->w + r->deep->at[1], 0, (r->deep->n - r->deep->at[1]) * sizeof *r->deep->w);
    for (uint32_t c = 0; c < SHORTLIST_COLUMNS_MAX; c++)
        r->variance[c] = r->scale[c] = 1;
    *ret = TAKE(r);
    return 0;
}

void ranker_free(struct ranker *r) {
    if (!r)
        return;
    mlp_free(r->line);
    mlp_free(r->deep);
    mlp_optim_free(r->line_optim);
    mlp_optim_free(r->deep_optim);
    free(r);
}

static float *rows(void) {
    size_t bytes = sizeof(float[SHORTLIST_MAX][SHORTLIST_COLUMNS_MAX]);
    float *p = aligned_alloc(64, bytes);
    if (p)
        memset(p, 0, bytes);
    return p;
}

int ranking_new(const struct ranker *r, struct ranking **ret) {
    autofree(ranking_free) struct ranking *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->dot = kernels_best()->dot;
    k->n_line = r->line->n;
    k->n_deep = r->deep->n;
    k->x = rows();
    k->chosen = rows();
    if (!k->x || !k->chosen)
        return -ENOMEM;
    int e = mlp_pass_new(r->line, SHORTLIST_MAX, &k->line);
    if (e == 0)
        e = mlp_pass_new(r->deep, SHORTLIST_MAX, &k->deep);
    if (e < 0)
        return e;
    *ret = TAKE(k);
    return 0;
}

void ranking_free(struct ranking *k) {
    if (!k)
        return;
    mlp_pass_free(k->line);
    mlp_pass_free(k->deep);
    free(k->x);
    free(k->chosen);
    free(k);
}

static void forward(const struct ranker *r, struct ranking *k, size_t n, const float *x,
                    float *score) {
    mlp_forward(r->line, k->line, n, x, SHORTLIST_COLUMNS_MAX, score);
    mlp_forward(r->deep, k->deep, n, x, SHORTLIST_COLUMNS_MAX, k->part);
    for (size_t i = 0; i < n; i++)
        score[i] += k->part[i];
}

const float *ranker_score(const struct ranker *r, struct ranking *k, const struct shortlist *s) {
    uint32_t n = shortlist_n(s), columns = shortlist_columns();
    const float *m = shortlist_matrix(s);
    float mean[SHORTLIST_COLUMNS_MAX], scale[SHORTLIST_COLUMNS_MAX];
    for (uint32_t c = 0; c < columns; c++) {
        mean[c] = load_relaxed(&r->mean[c]);
        scale[c] = load_relaxed(&r->scale[c]);
    }
    for (uint32_t i = 0; i < n; i++) {
        const float *f = m + (size_t)i * SHORTLIST_COLUMNS_MAX;
        float *x = k->x + (size_t)i * SHORTLIST_COLUMNS_MAX;
        for (uint32_t c = 0; c < columns; c++) {
            float z = (f[c] - mean[c]) * scale[c];
            z = z < CLAMP ? z : CLAMP;
            x[c] = z > -CLAMP ? z : -CLAMP;
        }
    }
    /* The linear part by dot products: as a layer of one lane in sixteen it would cost as much as
     * the network. */
    float line[SHORTLIST_COLUMNS_MAX];
    for (uint32_t c = 0; c < columns; c++)
        line[c] = load_relaxed(&r->line->w[c * mlp_pad(1)]);
    mlp_forward(r->deep, k->deep, n, k->x, SHORTLIST_COLUMNS_MAX, k->score);
    for (uint32_t i = 0; i < n; i++)
        k->score[i] += k->dot(columns, line, k->x + (size_t)i * SHORTLIST_COLUMNS_MAX);
    return k->score;
}

bool ranker_wants(const struct ranker *r, struct ranking *k) {
    if (__atomic_load_n(&r->cases, __ATOMIC_RELAXED) < EAGER)
        return true;
    k->skipped = (k->skipped + 1) % SHARE;
    return k->skipped == 0;
}

/* Means and variances over the candidates of one more case. */
static void settle(struct ranker *r, const struct shortlist *s) {
    uint32_t n = shortlist_n(s), columns = shortlist_columns();
    const float *m = shortlist_matrix(s);
    float rate = MAX(1 / (float)++r->seen, 1e-4f);
    for (uint32_t c = 0; c < columns; c++) {
        float mean = 0, var = 0, was = r->mean[c];
        for (uint32_t i = 0; i < n; i++)
            mean += m[(size_t)i * SHORTLIST_COLUMNS_MAX + c];
        mean /= (float)n;
        for (uint32_t i = 0; i < n; i++) {
            float d = m[(size_t)i * SHORTLIST_COLUMNS_MAX + c] - was;
            var += d * d;
        }
        var /= (float)n;
        if (!isfinite(mean) || !isfinite(var))
            continue;
        store_relaxed(&r->mean[c], was + rate * (mean - was));
        r->variance[c] += r->seen > 1 ? rate * (var - r->variance[c]) : 0;
        store_relaxed(&r->scale[c], 1 / sqrtf(r->variance[c] + VARIANCE_LEAST));
    }
}

static void step(struct ranker *r, struct ranking *k) {
    float steps = (float)mlp_optim_steps(r->line_optim);
    float rate = MAX(RATE / sqrtf(1 + steps / RATE_STEPS), RATE_LEAST);
    mlp_optim_set_rate(r->line_optim, rate);
    mlp_optim_set_rate(r->deep_optim, rate);
    mlp_step(r->line, r->line_optim, k->line);
    mlp_step(r->deep, r->deep_optim, k->deep);
    k->gathered = 0;
}

uint32_t ranker_thin(const float *share, uint32_t n, uint32_t target, struct rng *rng,
                     uint32_t *ret_row, float *ret_slope) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        float g = share[i] - (i == target);
        if (i != target && g < GRADIENT_LEAST) {
            if (rng_unit(rng) * GRADIENT_LEAST > g)
                continue;
            g = GRADIENT_LEAST;
        }
        ret_row[kept] = i;
        ret_slope[kept++] = g;
    }
    return kept;
}

void ranker_learn(struct ranker *r, struct ranking *k, const struct shortlist *s, uint32_t target,
                  struct rng *rng) {
    uint32_t n = shortlist_n(s);
    float most = -INFINITY, sum = 0;
    for (uint32_t i = 0; i < n; i++)
        most = MAX(most, k->score[i]);
    for (uint32_t i = 0; i < n; i++)
        sum += k->part[i] = expf(k->score[i] - most);
    float loss = logf(sum) - (k->score[target] - most);
    if (!isfinite(loss))
        return;
    for (uint32_t i = 0; i < n; i++)
        k->part[i] /= sum;
    uint32_t row[SHORTLIST_MAX], chosen = ranker_thin(k->part, n, target, rng, row, k->slope);
    for (uint32_t i = 0; i < chosen; i++) {
        memcpy(k->chosen + (size_t)i * SHORTLIST_COLUMNS_MAX,
               k->x + (size_t)row[i] * SHORTLIST_COLUMNS_MAX, shortlist_columns() * sizeof(float));
        k->slope[i] /= BATCH;
    }
    float again[SHORTLIST_MAX];
    forward(r, k, chosen, k->chosen, again);
    mlp_backward(r->line, k->line, k->slope);
    mlp_backward(r->deep, k->deep, k->slope);
    k->gathered++;
    if (__atomic_exchange_n(&r->busy, true, __ATOMIC_ACQUIRE))
        return;
    uint64_t cases = __atomic_add_fetch(&r->cases, 1, __ATOMIC_RELAXED);
    r->loss += (loss - r->loss) / (double)MIN(cases, 10000ul);
    if (r->seen < NORM_SETTLED || cases % NORM_EVERY == 0)
        settle(r, s);
    if (k->gathered >= BATCH)
        step(r, k);
    __atomic_store_n(&r->dirty, true, __ATOMIC_RELAXED);
    __atomic_store_n(&r->busy, false, __ATOMIC_RELEASE);
}

uint64_t ranker_cases(const struct ranker *r) {
    return __atomic_load_n(&r->cases, __ATOMIC_RELAXED);
}

double ranker_loss(const struct ranker *r) {
    return r->loss;
}

float ranker_weight(const struct ranker *r, uint32_t column) {
    return r->line->w[column * mlp_pad(1)];
}

/* ---- records ----------------------------------------------------------------- */

/* Stands for the columns, their order and meaning. */
static uint64_t columns_hash(void) {
    uint64_t h = HIDDEN;
    for (uint32_t c = 0; c < shortlist_columns(); c++)
        h = hash_str(str_of(shortlist_column_name(c)), h);
    return h;
}

static int put_network(const struct mlp *m, const struct mlp_optim *o, struct buf *out) {
    int e = mlp_encode(m, out);
    return e < 0 ? e : mlp_optim_encode(o, m, out);
}

static int encode(const struct ranker *r, struct buf *out) {
    uint64_t loss;
    memcpy(&loss, &r->loss, sizeof loss);
    wire_put_u64(out, columns_hash());
    wire_put_varint(out, r->cases);
    wire_put_u64(out, loss);
    wire_put_u32(out, r->seen);
    for (uint32_t c = 0; c < shortlist_columns(); c++) {
        wire_put_f32(out, r->mean[c]);
        wire_put_f32(out, r->variance[c]);
        wire_put_f32(out, r->scale[c]);
    }
    int e = put_network(r->line, r->line_optim, out);
    return e < 0 ? e : put_network(r->deep, r->deep_optim, out);
}

int ranker_encode(struct ranker *r, struct buf *out) {
    while (__atomic_exchange_n(&r->busy, true, __ATOMIC_ACQUIRE))
        ; /* a step takes microseconds */
    int e = encode(r, out);
    __atomic_store_n(&r->busy, false, __ATOMIC_RELEASE);
    return e;
}

static int get_network(struct wire *w, struct mlp *to, struct mlp_optim *o) {
    autofree(mlp_free) struct mlp *read = NULL;
    size_t used = 0;
    int e = mlp_decode(w->p, (size_t)(w->end - w->p), &read, &used);
    if (e < 0)
        return e;
    if (!mlp_same_shape(read, to))
        return -EBADMSG;
    mlp_copy(read, to);
    w->p += used;
    e = mlp_optim_restore(o, to, w->p, (size_t)(w->end - w->p), &used);
    if (e == 0)
        w->p += used;
    return e;
}

/* Into a new one, so that damage leaves no half. */
static int restore(struct ranker *r, struct wire *w) {
    r->cases = wire_get_varint(w);
    uint64_t loss = wire_get_u64(w);
    memcpy(&r->loss, &loss, sizeof loss);
    r->seen = wire_get_u32(w);
    bool good = isfinite(r->loss);
    for (uint32_t c = 0; c < shortlist_columns(); c++) {
        r->mean[c] = wire_get_f32(w);
        r->variance[c] = wire_get_f32(w);
        r->scale[c] = wire_get_f32(w);
        good = good && isfinite(r->mean[c]) && r->variance[c] >= 0 && isfinite(r->variance[c]) &&
               r->scale[c] > 0 && isfinite(r->scale[c]);
    }
    if (w->bad || !good)
        return -EBADMSG;
    int e = get_network(w, r->line, r->line_optim);
    if (e == 0)
        e = get_network(w, r->deep, r->deep_optim);
    return e == 0 && w->p != w->end ? -EBADMSG : e;
}

int ranker_restore(struct ranker *r, const void *p, size_t n) {
    struct wire w = wire_of(p, n);
    uint64_t columns = wire_get_u64(&w);
    if (w.bad)
        return -EBADMSG;
    if (columns != columns_hash())
        return -EPROTO;
    autofree(ranker_free) struct ranker *read = NULL;
    int e = ranker_new(r->line->c.seed, &read);
    if (e == 0)
        e = restore(read, &w);
    if (e < 0)
        return e;
    struct ranker was = *r;
    *r = *read;
    *read = was;
    return 0;
}

bool ranker_changed(struct ranker *r) {
    return __atomic_exchange_n(&r->dirty, false, __ATOMIC_RELAXED);
}

void ranker_regions(struct ranker *r, struct regions *s) {
    s->layout ^= columns_hash();
    regions_one(s, &r->cases);
    regions_one(s, &r->loss);
    regions_one(s, &r->seen);
    regions_one(s, &r->mean);
    regions_one(s, &r->variance);
    regions_one(s, &r->scale);
    regions_add(s, r->line->w, sizeof *r->line->w, r->line->n, r->line->n);
    regions_add(s, r->deep->w, sizeof *r->deep->w, r->deep->n, r->deep->n);
    mlp_optim_regions(r->line_optim, s);
    mlp_optim_regions(r->deep_optim, s);
}

void ranking_regions(struct ranking *k, struct regions *s) {
    regions_one(s, &k->gathered);
    regions_one(s, &k->skipped);
    regions_add(s, mlp_grad(k->line), sizeof(float), k->n_line, k->n_line);
    regions_add(s, mlp_grad(k->deep), sizeof(float), k->n_deep, k->n_deep);
}
