/* Durable records of what was learned, one per item, feature, φ and P.
 *
 * Record: version (1 byte), kind (1), dim (2), body, checksum (4); little-endian as the
 * machine is. The checksum is the low half of XXH3 over key and record, so that a record
 * under another key is damage, too. Key: the kind and the id.
 *
 *   'i' item     acc, bias, bias_acc, seen_s, trend, own[dim], co-visitation
 *   'f' feature  acc, bias, bias_acc, emb[dim]
 *   'm' φ        acc, φ[dim][dim]
 *   'p' P        acc, n_dense (4), P[dim][n_dense] */
#include "model/covisit.h"
#include "model/internal.h"
#include "model/trend.h"

#include <math.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little-endian");

enum { VERSION = 1, HEAD = 4, CHECK = 4 };
enum { SHARED_MAP = 0x0ffffff0, SHARED_PROJ };

static uint32_t checksum(struct str key, const void *p, size_t n) {
    return (uint32_t)hash_bytes(p, n, hash_str(key, VERSION));
}

uint32_t model_dirty_next(struct model *m, uint32_t *cursor) {
    struct items *t = &m->items;
    for (uint32_t row = *cursor; row < t->rows; row++)
        if ((t->hot[row].state & ITEM_LIVE) &&
            __atomic_exchange_n(&t->hot[row].dirty, false, __ATOMIC_RELAXED)) {
            *cursor = row + 1;
            return row;
        }
    uint32_t at = *cursor < MODEL_SHARED_BASE ? 0 : *cursor - MODEL_SHARED_BASE;
    for (; at < t->features.rows; at++)
        if (__atomic_exchange_n(&t->features.f[at].dirty, false, __ATOMIC_RELAXED)) {
            *cursor = MODEL_SHARED_BASE + at + 1;
            return MODEL_SHARED_BASE + at;
        }
    if (at <= SHARED_MAP && __atomic_exchange_n(&m->phi_dirty, false, __ATOMIC_RELAXED)) {
        *cursor = MODEL_SHARED_BASE + SHARED_PROJ;
        return MODEL_SHARED_BASE + SHARED_MAP;
    }
    *cursor = MODEL_SHARED_BASE + SHARED_PROJ;
    if (__atomic_exchange_n(&t->proj_dirty, false, __ATOMIC_RELAXED))
        return MODEL_SHARED_BASE + SHARED_PROJ;
    return ROW_NONE;
}

/* ---- writing --------------------------------------------------------------- */

static void put_float(struct buf *b, const float *p) {
    float v = load_relaxed(p);
    buf_put(b, &v, sizeof v);
}

static void put_u32(struct buf *b, uint32_t v) {
    buf_put(b, &v, sizeof v);
}

/* Copies weights that others may be stepping. */
static void put_weights(const struct model *m, struct buf *b, const float *p, size_t n) {
    float part[DIM_MAX];
    for (size_t i = 0; i < n; i += DIM_MAX) {
        size_t k = MIN(n - i, (size_t)DIM_MAX);
        m->items.k->copy(k, p + i, part);
        buf_put(b, part, k * sizeof *part);
    }
}

static struct str id_of(const void *ctx, uint32_t row) {
    const struct model *m = ctx;
    return row < m->items.rows ? m->items.cold[row].id : STR("");
}

static void put_item(const struct model *m, uint32_t row, struct buf *out) {
    const struct item_hot *h = &m->items.hot[row];
    struct trend_state trend = trend_get(m->trend, row);
    put_float(out, &h->acc);
    put_float(out, &h->bias);
    put_float(out, &h->bias_acc);
    put_u32(out, __atomic_load_n(&h->seen_s, __ATOMIC_RELAXED));
    put_u32(out, trend.epoch);
    put_u32(out, trend.count);
    put_float(out, &trend.weight);
    put_weights(m, out, m->items.own + (size_t)row * m->c.dim, m->c.dim);
    covisit_encode(m->covisit, row, id_of, m, out);
}

int model_item_encode(const struct model *m, uint32_t row, struct buf *key, struct buf *out) {
    const struct items *t = &m->items;
    uint32_t shared = row - MODEL_SHARED_BASE;
    bool is_shared = row >= MODEL_SHARED_BASE;
    char kind = !is_shared ? 'i' : shared == SHARED_MAP ? 'm' : shared == SHARED_PROJ ? 'p' : 'f';
    if ((kind == 'i' && (row >= t->rows || !(t->hot[row].state & ITEM_LIVE))) ||
        (kind == 'f' && shared >= t->features.rows) || (kind == 'p' && !t->proj))
        return -EINVAL;
    size_t key_at = key->n, at = out->n;
    struct str id = kind == 'i'   ? t->cold[row].id
                    : kind == 'f' ? t->features.f[shared].id
                                  : STR("");
    buf_put(key, &kind, 1);
    buf_put(key, id.p, id.n);
    uint8_t head[HEAD] = {VERSION, (uint8_t)kind, (uint8_t)m->c.dim, (uint8_t)(m->c.dim >> 8)};
    buf_put(out, head, sizeof head);
    if (kind == 'i') {
        put_item(m, row, out);
    } else if (kind == 'f') {
        const struct feature *f = &t->features.f[shared];
        put_float(out, &f->acc);
        put_float(out, &f->bias);
        put_float(out, &f->bias_acc);
        put_weights(m, out, t->features.emb + (size_t)shared * m->c.dim, m->c.dim);
    } else if (kind == 'm') {
        put_float(out, &m->phi_acc);
        put_weights(m, out, m->phi, (size_t)m->c.dim * m->c.dim);
    } else {
        put_float(out, &t->proj_acc);
        put_u32(out, t->n_dense);
        put_weights(m, out, t->proj, (size_t)m->c.dim * t->n_dense);
    }
    if (key->failed || out->failed)
        return -ENOMEM;
    struct str whole_key = {(const char *)key->p + key_at, key->n - key_at};
    put_u32(out, checksum(whole_key, out->p + at, out->n - at));
    return out->failed ? -ENOMEM : 0;
}

/* ---- reading --------------------------------------------------------------- */

struct reader {
    const uint8_t *p;
    size_t n;
    bool bad; /* too short, or a weight that is not finite */
};

static uint32_t get_u32(struct reader *r) {
    uint32_t v = 0;
    if (r->n < sizeof v) {
        r->bad = true;
        return 0;
    }
    memcpy(&v, r->p, sizeof v);
    r->p += sizeof v;
    r->n -= sizeof v;
    return v;
}

static float get_float(struct reader *r) {
    uint32_t bits = get_u32(r);
    float v;
    memcpy(&v, &bits, sizeof v);
    r->bad |= !isfinite(v);
    return v;
}

/* n weights, left in place; NULL and bad if they are not there or not finite. */
static const uint8_t *get_weights(struct reader *r, size_t n) {
    if (r->n / sizeof(float) < n) {
        r->bad = true;
        return NULL;
    }
    const uint8_t *at = r->p;
    for (size_t i = 0; i < n; i++)
        get_float(r);
    return r->bad ? NULL : at;
}

static uint32_t row_of(void *ctx, struct str id) {
    return model_item_intern(ctx, id, 0);
}

static int restore_item(struct model *m, struct str id, struct reader *r) {
    struct items *t = &m->items;
    struct item_hot h = {0};
    h.acc = get_float(r);
    h.bias = get_float(r);
    h.bias_acc = get_float(r);
    h.seen_s = get_u32(r);
    struct trend_state trend = {.epoch = get_u32(r), .count = get_u32(r)};
    trend.weight = get_float(r);
    const uint8_t *own = get_weights(r, m->c.dim);
    if (!own || id.n == 0)
        return -EBADMSG;
    uint32_t row = model_item_intern(m, id, 0);
    if (row == ROW_NONE)
        return -ENOMEM;
    size_t used = 0;
    if (r->n) { /* an item met alone has no slots */
        int e = covisit_restore(m->covisit, row, row_of, m, r->p, r->n, &used);
        if (e < 0)
            return e;
    }
    if (used != r->n)
        return -EBADMSG;
    struct item_hot *to = &t->hot[row];
    to->acc = h.acc;
    to->bias = h.bias;
    to->bias_acc = h.bias_acc;
    to->seen_s = MAX(to->seen_s, h.seen_s);
    to->dirty = false;
    memcpy(t->own + (size_t)row * m->c.dim, own, m->c.dim * sizeof(float));
    trend_set(m->trend, row, trend);
    items_refresh(t, row);
    return 0;
}

static int restore_feature(struct model *m, struct str id, struct reader *r) {
    struct features *t = &m->items.features;
    float acc = get_float(r), bias = get_float(r), bias_acc = get_float(r);
    const uint8_t *emb = get_weights(r, m->c.dim);
    if (!emb || r->n || id.n == 0)
        return -EBADMSG;
    uint32_t row = features_intern(t, id);
    if (row == INDEX_NONE)
        return -ENOMEM;
    struct feature *f = &t->f[row];
    f->acc = acc;
    f->bias = bias;
    f->bias_acc = bias_acc;
    f->dirty = false;
    memcpy(t->emb + (size_t)row * m->c.dim, emb, m->c.dim * sizeof(float));
    return 0;
}

static int restore_map(struct model *m, struct reader *r) {
    size_t n = (size_t)m->c.dim * m->c.dim;
    float acc = get_float(r);
    const uint8_t *phi = get_weights(r, n);
    if (!phi || r->n)
        return -EBADMSG;
    m->phi_acc = acc;
    m->phi_dirty = false;
    memcpy(m->phi, phi, n * sizeof(float));
    return 0;
}

static int restore_proj(struct model *m, struct reader *r) {
    struct items *t = &m->items;
    float acc = get_float(r);
    uint32_t n_dense = get_u32(r);
    if (n_dense == 0 || n_dense > ITEM_DENSE_MAX)
        return -EBADMSG;
    const uint8_t *proj = get_weights(r, (size_t)m->c.dim * n_dense);
    if (!proj || r->n)
        return -EBADMSG;
    int e = items_set_dense(t, n_dense);
    if (e < 0)
        return e == -EINVAL ? -EPROTO : e;
    t->proj_acc = acc;
    t->proj_dirty = false;
    memcpy(t->proj, proj, (size_t)m->c.dim * n_dense * sizeof(float));
    return 0;
}

int model_item_restore(struct model *m, struct str key, const void *p, size_t n) {
    if (key.n == 0 || n < HEAD + CHECK)
        return -EBADMSG;
    const uint8_t *head = p;
    uint32_t check;
    memcpy(&check, head + n - CHECK, sizeof check);
    if (check != checksum(key, p, n - CHECK) || head[1] != (uint8_t)key.p[0])
        return -EBADMSG;
    if (head[0] != VERSION || (uint32_t)(head[2] | head[3] << 8) != m->c.dim)
        return -EPROTO;
    struct reader r = {head + HEAD, n - HEAD - CHECK, false};
    struct str id = {key.p + 1, key.n - 1};
    switch (key.p[0]) {
    case 'i':
        return restore_item(m, id, &r);
    case 'f':
        return restore_feature(m, id, &r);
    case 'm':
        return restore_map(m, &r);
    case 'p':
        return restore_proj(m, &r);
    default:
        return -EBADMSG;
    }
}
