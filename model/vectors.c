/* Vectors of another process's records, taken over while ours are being learned: single weights
 * may mix for a moment, as under Hogwild they always may. */
#include "model/internal.h"
#include "model/wire.h"

#include <math.h>

static float get_scalar(struct wire *w) {
    float v = wire_get_f32(w);
    w->bad |= !isfinite(v);
    return v;
}

/* n weights, left in place. */
static const uint8_t *get_weights(struct wire *w, size_t n) {
    const uint8_t *at = w->p;
    for (size_t i = 0; i < n && !w->bad; i++)
        get_scalar(w);
    return at;
}

static void put(const struct model *m, const uint8_t *from, float *to, size_t n) {
    float part[DIM_MAX];
    for (size_t i = 0; i < n; i += DIM_MAX) {
        size_t k = MIN(n - i, (size_t)DIM_MAX);
        memcpy(part, from + i * sizeof *part, k * sizeof *part);
        m->items.k->copy(k, part, to + i);
    }
}

static bool read_whole(const struct wire *w) {
    return !w->bad && w->p == w->end;
}

/* The trend that stands between them is counted here as well. */
static int take_item(struct model *m, struct str id, uint8_t version, struct wire *r) {
    struct items *t = &m->items;
    size_t dim = m->c.dim, trend = 3 * sizeof(uint32_t), seen = sizeof(uint32_t);
    float acc = get_scalar(r), bias = get_scalar(r), bias_acc = get_scalar(r);
    uint8_t skipped[16];
    wire_get(r, skipped, seen + trend);
    const uint8_t *own = get_weights(r, dim);
    float in_acc = get_scalar(r);
    const uint8_t *in = get_weights(r, dim);
    if (version < 2)
        return 0;
    if (!read_whole(r) || id.n == 0)
        return -EBADMSG;
    uint32_t row = model_item_find(m, id);
    if (row == ROW_NONE) /* nothing of ours makes room for it */
        return t->live < t->cap ? -EAGAIN : 0;
    struct item_hot *h = &t->hot[row];
    store_relaxed(&h->acc, acc);
    store_relaxed(&h->bias, bias);
    store_relaxed(&h->bias_acc, bias_acc);
    store_relaxed(&h->in_acc, in_acc);
    put(m, own, t->own + (size_t)row * dim, dim);
    put(m, in, t->in + (size_t)row * dim, dim);
    items_refresh(t, row);
    return 0;
}

/* Features are the catalogue's: who does not know one has nothing to use it for. */
static int take_feature(struct model *m, struct str id, struct wire *r) {
    struct features *t = &m->items.features;
    float acc = get_scalar(r), bias = get_scalar(r), bias_acc = get_scalar(r);
    const uint8_t *emb = get_weights(r, m->c.dim);
    if (!read_whole(r) || id.n == 0)
        return -EBADMSG;
    uint32_t row = id_index_find(&t->index, id);
    if (row == INDEX_NONE)
        return 0;
    store_relaxed(&t->f[row].acc, acc);
    store_relaxed(&t->f[row].bias, bias);
    store_relaxed(&t->f[row].bias_acc, bias_acc);
    put(m, emb, t->emb + (size_t)row * m->c.dim, m->c.dim);
    return 0;
}

static int take_map(struct model *m, struct wire *r) {
    size_t n = (size_t)m->c.dim * m->c.dim;
    float acc = get_scalar(r);
    const uint8_t *phi = get_weights(r, n);
    if (!read_whole(r))
        return -EBADMSG;
    store_relaxed(&m->phi_acc, acc);
    put(m, phi, m->phi, n);
    return 0;
}

static int take_proj(struct model *m, struct wire *r) {
    struct items *t = &m->items;
    float acc = get_scalar(r);
    uint32_t n_dense = wire_get_u32(r);
    if (!t->proj || n_dense != t->n_dense)
        return r->bad ? -EBADMSG : 0;
    const uint8_t *proj = get_weights(r, (size_t)m->c.dim * n_dense);
    if (!read_whole(r))
        return -EBADMSG;
    store_relaxed(&t->proj_acc, acc);
    put(m, proj, t->proj, (size_t)m->c.dim * n_dense);
    return 0;
}

int model_vectors_take(struct model *m, struct str key, const void *p, size_t n) {
    struct wire r;
    uint8_t version;
    int e = record_open(m, key, p, n, &version, &r);
    if (e < 0)
        return e;
    struct str id = {key.p + 1, key.n - 1};
    switch (key.p[0]) {
    case 'i':
        return take_item(m, id, version, &r);
    case 'f':
        return take_feature(m, id, &r);
    case 'm':
        return take_map(m, &r);
    case 'p':
        return take_proj(m, &r);
    default:
        return 0;
    }
}
