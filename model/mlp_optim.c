#include "model/block.h"
#include "model/kernels.h"
#include "model/mlp.h"

#include <math.h>

enum { MLP_VERSION = 1, OPTIM_VERSION = 1 };

struct mlp_optim {
    struct mlp_optim_config c;
    uint64_t steps, dropped;
    size_t n;
    float *mean;   /* of gradients; Adam */
    float *square; /* of gradients: AdaGrad the sum, Adam the mean */
};

struct mlp_optim_config mlp_optim_defaults(enum mlp_optim_kind kind) {
    return (struct mlp_optim_config){
        .kind = kind,
        .rate = kind == MLP_SGD       ? 0.01f
                : kind == MLP_ADAGRAD ? 0.05f
                                      : 0.001f,
        .beta1 = 0.9f,
        .beta2 = 0.999f,
        .epsilon = 1e-8f,
        .clip = 10,
    };
}

int mlp_optim_new(const struct mlp_optim_config *c, const struct mlp *m, struct mlp_optim **ret) {
    if (!(c->rate > 0) || !(c->clip >= 0) || !(c->decay >= 0) ||
        (c->kind != MLP_SGD && !(c->epsilon > 0)) ||
        (c->kind == MLP_ADAM && !(c->beta1 >= 0 && c->beta1 < 1 && c->beta2 >= 0 && c->beta2 < 1)))
        return -EINVAL;
    autofree(mlp_optim_free) struct mlp_optim *o = calloc(1, sizeof *o);
    if (!o)
        return -ENOMEM;
    o->c = *c;
    o->n = m->n;
    if (c->kind == MLP_ADAM && !(o->mean = calloc(m->n, sizeof *o->mean)))
        return -ENOMEM;
    if (c->kind != MLP_SGD && !(o->square = calloc(m->n, sizeof *o->square)))
        return -ENOMEM;
    *ret = TAKE(o);
    return 0;
}

void mlp_optim_free(struct mlp_optim *o) {
    if (!o)
        return;
    free(o->mean);
    free(o->square);
    free(o);
}

/* Eight sums side by side, because one chain of additions waits for each. */
static double length(const float *g, size_t n) {
    double s[8] = {0}, sum = 0;
    for (size_t i = 0; i < n; i += 8) /* n is a multiple of MLP_LANES */
        for (size_t j = 0; j < 8; j++)
            s[j] += (double)g[i + j] * g[i + j];
    for (size_t j = 0; j < 8; j++)
        sum += s[j];
    return sqrt(sum);
}

/* Others may read the weights meanwhile. */
HOGWILD int mlp_step(struct mlp *m, struct mlp_optim *o, struct mlp_pass *p) {
    float *g = mlp_grad(p), *w = m->w;
    const struct mlp_optim_config *c = &o->c;
    double size = length(g, m->n);
    if (!isfinite(size)) {
        o->dropped++;
        mlp_grad_clear(p);
        return -EDOM;
    }
    float scale = c->clip > 0 && size > c->clip ? (float)(c->clip / size) : 1;
    float keep = 1 - c->rate * c->decay, rate = c->rate;
    o->steps++;
    switch (c->kind) {
    case MLP_SGD:
        for (size_t i = 0; i < m->n; i++)
            w[i] = keep * w[i] - rate * scale * g[i];
        break;
    case MLP_ADAGRAD:
        for (size_t i = 0; i < m->n; i++) {
            float gi = scale * g[i];
            o->square[i] += gi * gi;
            w[i] = keep * w[i] - rate * gi / (sqrtf(o->square[i]) + c->epsilon);
        }
        break;
    case MLP_ADAM: {
        double t = (double)o->steps;
        rate = (float)(c->rate * sqrt(1 - pow(c->beta2, t)) / (1 - pow(c->beta1, t)));
        for (size_t i = 0; i < m->n; i++) {
            float gi = scale * g[i];
            o->mean[i] += (1 - c->beta1) * (gi - o->mean[i]);
            o->square[i] += (1 - c->beta2) * (gi * gi - o->square[i]);
            w[i] = keep * w[i] - rate * o->mean[i] / (sqrtf(o->square[i]) + c->epsilon);
        }
        break;
    }
    }
    mlp_grad_clear(p);
    return 0;
}

void mlp_optim_set_rate(struct mlp_optim *o, float rate) {
    o->c.rate = rate;
}

void mlp_optim_regions(struct mlp_optim *o, struct regions *s) {
    regions_one(s, &o->steps);
    if (o->mean)
        regions_add(s, o->mean, sizeof *o->mean, o->n, o->n);
    if (o->square)
        regions_add(s, o->square, sizeof *o->square, o->n, o->n);
}

uint64_t mlp_optim_steps(const struct mlp_optim *o) {
    return o->steps;
}

uint64_t mlp_optim_dropped(const struct mlp_optim *o) {
    return o->dropped;
}

/* ---- records: numbers without the padding, so that lanes are free to change ---- */

static size_t numbers(const struct mlp_config *c) {
    size_t n = 0;
    for (uint32_t l = 0; l < c->layers; l++)
        n += (size_t)(c->width[l] + 1) * c->width[l + 1];
    return n;
}

static void put_numbers(const struct mlp *m, const float *flat, struct buf *out) {
    for (uint32_t l = 0; l < m->c.layers; l++) {
        size_t width = m->c.width[l + 1];
        for (size_t i = 0; i <= m->c.width[l]; i++)
            wire_put(out, flat + m->at[l] + i * mlp_pad(width), width * sizeof *flat);
    }
}

static bool get_numbers(const struct mlp *m, struct wire *w, float *flat) {
    bool finite = true;
    for (uint32_t l = 0; l < m->c.layers; l++) {
        size_t width = m->c.width[l + 1];
        for (size_t i = 0; i <= m->c.width[l]; i++) {
            float *row = flat + m->at[l] + i * mlp_pad(width);
            wire_get(w, row, width * sizeof *row);
            for (size_t j = 0; j < width; j++)
                finite = finite && isfinite(row[j]);
        }
    }
    return finite && !w->bad;
}

int mlp_encode(const struct mlp *m, struct buf *out) {
    if (!mlp_finite(m))
        return -EDOM;
    size_t at = block_begin(out, MLP_VERSION);
    wire_put_varint(out, m->c.layers);
    for (uint32_t l = 0; l <= m->c.layers; l++)
        wire_put_varint(out, m->c.width[l]);
    wire_put_u64(out, m->c.seed);
    put_numbers(m, m->w, out);
    return block_end(out, at);
}

int mlp_decode(const void *p, size_t n, struct mlp **ret, size_t *ret_n) {
    struct wire w;
    size_t taken;
    int r = block_open(p, n, MLP_VERSION, &w, &taken);
    if (r < 0)
        return r;
    struct mlp_config c = {0};
    uint64_t layers = wire_get_varint(&w);
    if (layers < 1 || layers > MLP_LAYERS_MAX)
        return -EBADMSG;
    c.layers = (uint32_t)layers;
    for (uint32_t l = 0; l <= c.layers; l++) {
        uint64_t width = wire_get_varint(&w);
        if (width < 1 || width > MLP_WIDTH_MAX)
            return -EBADMSG;
        c.width[l] = (uint32_t)width;
    }
    c.seed = wire_get_u64(&w);
    if (w.bad || (size_t)(w.end - w.p) != numbers(&c) * sizeof(float))
        return -EBADMSG;
    autofree(mlp_free) struct mlp *m = NULL;
    r = mlp_new(&c, &m);
    if (r < 0)
        return r;
    if (!get_numbers(m, &w, m->w))
        return -EBADMSG;
    *ret = TAKE(m);
    *ret_n = taken;
    return 0;
}

int mlp_optim_encode(const struct mlp_optim *o, const struct mlp *m, struct buf *out) {
    size_t at = block_begin(out, OPTIM_VERSION);
    wire_put_u8(out, (uint8_t)o->c.kind);
    wire_put_varint(out, o->steps);
    if (o->mean)
        put_numbers(m, o->mean, out);
    if (o->square)
        put_numbers(m, o->square, out);
    return block_end(out, at);
}

int mlp_optim_restore(struct mlp_optim *o, const struct mlp *m, const void *p, size_t n,
                      size_t *ret_n) {
    struct wire w;
    size_t taken;
    int r = block_open(p, n, OPTIM_VERSION, &w, &taken);
    if (r < 0)
        return r;
    uint8_t kind = wire_get_u8(&w);
    uint64_t steps = wire_get_varint(&w);
    size_t arrays = (o->mean ? 1 : 0) + (o->square ? 1 : 0);
    if (w.bad || kind != o->c.kind || o->n != m->n ||
        (size_t)(w.end - w.p) != arrays * numbers(&m->c) * sizeof(float))
        return -EBADMSG;
    float *read = calloc(arrays * m->n + 1, sizeof *read);
    if (!read)
        return -ENOMEM;
    bool good = true;
    for (size_t i = 0; i < arrays; i++)
        good = get_numbers(m, &w, read + i * m->n) && good;
    float *square = read + (o->mean ? m->n : 0);
    for (size_t i = 0; good && o->square && i < m->n; i++)
        good = square[i] >= 0;
    if (good) {
        if (o->mean)
            memcpy(o->mean, read, m->n * sizeof *read);
        if (o->square)
            memcpy(o->square, square, m->n * sizeof *read);
        o->steps = steps;
        *ret_n = taken;
    }
    free(read);
    return good ? 0 : -EBADMSG;
}
