/* Durable records of what was learned: two per item, one per feature and stored session, and
 * one each of what there is but once.
 *
 * Record: version (1 byte), kind (1), dim (2), body, checksum (4); little-endian as the
 * machine is. The checksum is the low half of XXH3 over key and record, so that a record
 * under another key is damage, too. Key: the kind and the id.
 *
 *   'i' item      acc, bias, bias_acc, seen_s, trend, own[dim], in_acc, in[dim]; in version 1
 *                 no `in` but co-visitation at its end
 *   'c' company   pulse, session facts, context, co-visitation, pairs: what an event of an item
 * changes and being drawn as a negative does not, which happens far more often 'f' feature   acc,
 * bias, bias_acc, emb[dim] 's' session   see sessions_encode; the key has its slot, so that there
 * are no more records than places in the ring 'm' φ         acc, φ[dim][dim] 'p' P         acc,
 * n_dense (4), P[dim][n_dense] 'r' ranker    see ranker_encode 't' counters  tick (4), events (8),
 * context of everything, late queue */
#include "model/context.h"
#include "model/covisit.h"
#include "model/internal.h"
#include "model/late.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/trend.h"
#include "model/wire.h"

#include <math.h>

enum { VERSION = 2, HEAD = 4, CHECK = 4 };

/* Pseudo-rows: an item's company has the item's and this bit; the others count from
 * MODEL_SHARED_BASE. */
#define COMPANY 0x80000000u
enum {
    FEATURES = 0,
    SESSIONS = 0x04000000,
    MAP = 0x0ffffff0,
    PROJ,
    RANKER,
    COUNTERS,
    SHARED_END,
};
_Static_assert(PROFILE_ROW_MAX / 4 <= SESSIONS && SESSIONS + SESSIONS_MAX <= MAP,
               "features, sessions and single records have numbers apart");

/* The checksum's seed is the version that a key's records had first. */
static uint32_t checksum(struct str key, const void *p, size_t n) {
    return (uint32_t)hash_bytes(p, n, hash_str(key, 1));
}

static bool take_mark(bool *mark) {
    return __atomic_load_n(mark, __ATOMIC_RELAXED) &&
           __atomic_exchange_n(mark, false, __ATOMIC_RELAXED);
}

static bool single_changed(struct model *m, uint32_t shared) {
    switch (shared) {
    case MAP:
        return take_mark(&m->phi_dirty);
    case PROJ:
        return take_mark(&m->items.proj_dirty);
    case RANKER:
        return ranker_changed(m->ranker);
    default:
        return take_mark(&m->counters_dirty);
    }
}

static uint32_t shared_dirty_next(struct model *m, uint32_t at) {
    struct features *f = &m->items.features;
    for (; at < f->rows; at++)
        if (take_mark(&f->f[at].dirty))
            return at;
    at = MAX(at, (uint32_t)SESSIONS);
    if (at < MAP) {
        uint32_t slot = sessions_dirty_next(m->sessions, at - SESSIONS);
        at = slot == INDEX_NONE ? MAP : SESSIONS + slot;
        if (at < MAP)
            return at;
    }
    while (at < SHARED_END && !single_changed(m, at))
        at++;
    return at;
}

uint32_t model_dirty_next(struct model *m, uint32_t *cursor) {
    struct items *t = &m->items;
    uint32_t row = *cursor;
    for (; row < t->rows; row++)
        if ((t->hot[row].state & ITEM_LIVE) && take_mark(&t->hot[row].dirty)) {
            *cursor = row + 1;
            return row;
        }
    for (row = MAX(row, COMPANY) - COMPANY; row < t->rows; row++)
        if ((t->hot[row].state & ITEM_LIVE) && take_mark(&t->hot[row].company_dirty)) {
            *cursor = (row | COMPANY) + 1;
            return row | COMPANY;
        }
    uint32_t at = *cursor < MODEL_SHARED_BASE ? FEATURES : *cursor - MODEL_SHARED_BASE;
    at = shared_dirty_next(m, at);
    *cursor = MODEL_SHARED_BASE + MIN(at + 1, (uint32_t)SHARED_END);
    return at < SHARED_END ? MODEL_SHARED_BASE + at : ROW_NONE;
}

/* ---- writing --------------------------------------------------------------- */

static void put_float(struct buf *b, const float *p) {
    wire_put_f32(b, load_relaxed(p));
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
    size_t at = (size_t)row * m->c.dim;
    put_float(out, &h->acc);
    put_float(out, &h->bias);
    put_float(out, &h->bias_acc);
    wire_put_u32(out, __atomic_load_n(&h->seen_s, __ATOMIC_RELAXED));
    wire_put_u32(out, trend.epoch);
    wire_put_u32(out, trend.count);
    wire_put_f32(out, trend.weight);
    put_weights(m, out, m->items.own + at, m->c.dim);
    put_float(out, &h->in_acc);
    put_weights(m, out, m->items.in + at, m->c.dim);
}

static void put_company(const struct model *m, uint32_t row, struct buf *out) {
    struct pulse_state pulse = pulse_get(m->pulse, row);
    struct session_facts facts = sessions_facts(m->sessions, row);
    for (int h = 0; h < PULSE_HORIZONS; h++)
        wire_put_f32(out, pulse.value[h]);
    wire_put_u32(out, pulse.events);
    wire_put_u32(out, pulse.first);
    wire_put_u32(out, pulse.last);
    wire_put_u32(out, facts.sessions);
    wire_put_u32(out, facts.begins);
    wire_put_u32(out, facts.ends);
    wire_put_u32(out, facts.again);
    context_encode(m->context, row, out);
    covisit_encode(m->covisit, row, id_of, m, out);
    pairs_encode(m->pairs, row, id_of, m, out);
}

static void put_feature(const struct model *m, uint32_t row, struct buf *out) {
    const struct features *t = &m->items.features;
    const struct feature *f = &t->f[row];
    put_float(out, &f->acc);
    put_float(out, &f->bias);
    put_float(out, &f->bias_acc);
    put_weights(m, out, t->emb + (size_t)row * m->c.dim, m->c.dim);
}

static void put_proj(const struct model *m, struct buf *out) {
    const struct items *t = &m->items;
    put_float(out, &t->proj_acc);
    wire_put_u32(out, t->n_dense);
    put_weights(m, out, t->proj, (size_t)m->c.dim * t->n_dense);
}

static void put_counters(const struct model *m, struct buf *out) {
    wire_put_u32(out, __atomic_load_n(&m->tick, __ATOMIC_RELAXED));
    wire_put_u64(out, __atomic_load_n(&m->events, __ATOMIC_RELAXED));
    context_encode(m->context, ROW_NONE, out);
    late_encode(m->late, out);
}

/* A record's kind, and the number of what it is of. */
struct subject {
    char kind;
    uint32_t n;
};

static struct subject subject_of(uint32_t row) {
    uint32_t shared = row - MODEL_SHARED_BASE;
    if (row < COMPANY)
        return (struct subject){'i', row};
    if (row < MODEL_SHARED_BASE)
        return (struct subject){'c', row - COMPANY};
    if (shared < SESSIONS)
        return (struct subject){'f', shared};
    if (shared < MAP)
        return (struct subject){'s', shared - SESSIONS};
    return (struct subject){shared < SHARED_END ? "mprt"[shared - MAP] : 0, 0};
}

static bool is_item(char kind) {
    return kind == 'i' || kind == 'c';
}

static bool exists(const struct model *m, struct subject s) {
    const struct items *t = &m->items;
    if (is_item(s.kind))
        return s.n < t->rows && (t->hot[s.n].state & ITEM_LIVE);
    return s.kind == 'f' ? s.n < t->features.rows : s.kind == 'p' ? t->proj != NULL : s.kind != 0;
}

static void put_key(const struct model *m, struct subject s, struct buf *key) {
    struct str id = is_item(s.kind) ? m->items.cold[s.n].id
                    : s.kind == 'f' ? m->items.features.f[s.n].id
                                    : STR("");
    buf_put(key, &s.kind, 1);
    buf_put(key, id.p, id.n);
    if (s.kind == 's')
        wire_put_u32(key, s.n);
}

static int put_body(const struct model *m, struct subject s, struct buf *out) {
    switch (s.kind) {
    case 'i':
        put_item(m, s.n, out);
        return 0;
    case 'c':
        put_company(m, s.n, out);
        return 0;
    case 'f':
        put_feature(m, s.n, out);
        return 0;
    case 's':
        return sessions_encode(m->sessions, s.n, id_of, m, out) ? 0 : -EINVAL;
    case 'm':
        put_float(out, &m->phi_acc);
        put_weights(m, out, m->phi, (size_t)m->c.dim * m->c.dim);
        return 0;
    case 'p':
        put_proj(m, out);
        return 0;
    case 'r':
        return ranker_encode(m->ranker, out);
    default:
        put_counters(m, out);
        return 0;
    }
}

int model_item_encode(const struct model *m, uint32_t row, struct buf *key, struct buf *out) {
    struct subject s = subject_of(row);
    if (!exists(m, s))
        return -EINVAL;
    size_t key_at = key->n, at = out->n;
    put_key(m, s, key);
    uint8_t head[HEAD] = {VERSION, (uint8_t)s.kind, (uint8_t)m->c.dim, (uint8_t)(m->c.dim >> 8)};
    buf_put(out, head, sizeof head);
    int e = put_body(m, s, out);
    if (e == 0 && (key->failed || out->failed))
        e = -ENOMEM;
    if (e < 0) {
        key->n = key_at;
        out->n = at;
        return e;
    }
    struct str whole_key = {(const char *)key->p + key_at, key->n - key_at};
    wire_put_u32(out, checksum(whole_key, out->p + at, out->n - at));
    return out->failed ? -ENOMEM : 0;
}

/* ---- reading --------------------------------------------------------------- */

/* A number that counts is finite. */
static float get_float(struct wire *w) {
    float v = wire_get_f32(w);
    w->bad |= !isfinite(v);
    return v;
}

/* n weights, left in place; NULL and bad if they are not there or not finite. */
static const uint8_t *get_weights(struct wire *w, size_t n) {
    const uint8_t *at = w->p;
    w->bad |= (size_t)(w->end - w->p) / sizeof(float) < n;
    for (size_t i = 0; i < n && !w->bad; i++)
        get_float(w);
    return w->bad ? NULL : at;
}

/* The rest of a record. */
static size_t left(const struct wire *w) {
    return (size_t)(w->end - w->p);
}

static uint32_t row_of(void *ctx, struct str id) {
    return model_item_intern(ctx, id, 0);
}

/* Like it, but makes no room for the item at another's cost. */
static uint32_t row_with_room(void *ctx, struct str id) {
    struct model *m = ctx;
    uint32_t row = id_index_find(&m->items.index, id);
    return row != ROW_NONE || m->items.live == m->items.cap ? row : model_item_intern(m, id, 0);
}

static int get_covisit(struct model *m, uint32_t row, struct wire *w) {
    size_t used = 0;
    int e = covisit_restore(m->covisit, row, row_of, m, w->p, left(w), &used);
    w->p += used;
    return e;
}

static int restore_item(struct model *m, struct str id, uint8_t version, struct wire *r) {
    struct items *t = &m->items;
    struct item_hot h = {0};
    h.acc = get_float(r);
    h.bias = get_float(r);
    h.bias_acc = get_float(r);
    h.seen_s = wire_get_u32(r);
    struct trend_state trend = {.epoch = wire_get_u32(r), .count = wire_get_u32(r)};
    trend.weight = get_float(r);
    const uint8_t *own = get_weights(r, m->c.dim), *in = NULL;
    if (version >= 2) {
        h.in_acc = get_float(r);
        in = get_weights(r, m->c.dim);
    }
    if (r->bad || id.n == 0 || (version >= 2 && left(r)))
        return -EBADMSG;
    uint32_t row = model_item_intern(m, id, 0);
    if (row == ROW_NONE)
        return -ENOMEM;
    if (left(r)) { /* version 1; an item met alone has none */
        int e = get_covisit(m, row, r);
        if (e < 0 || left(r))
            return e < 0 ? e : -EBADMSG;
        items_touch(t, row);
    }
    struct item_hot *to = &t->hot[row];
    to->acc = h.acc;
    to->bias = h.bias;
    to->bias_acc = h.bias_acc;
    to->seen_s = MAX(to->seen_s, h.seen_s);
    to->dirty = version < 2; /* an old record must not go on beside a new one of its company */
    to->in_acc = h.in_acc;
    memcpy(t->own + (size_t)row * m->c.dim, own, m->c.dim * sizeof(float));
    if (in)
        memcpy(t->in + (size_t)row * m->c.dim, in, m->c.dim * sizeof(float));
    trend_set(m->trend, row, trend);
    items_refresh(t, row);
    return 0;
}

static int restore_company(struct model *m, struct str id, struct wire *r) {
    struct pulse_state pulse;
    for (int h = 0; h < PULSE_HORIZONS; h++)
        pulse.value[h] = get_float(r);
    pulse.events = wire_get_u32(r);
    pulse.first = wire_get_u32(r);
    pulse.last = wire_get_u32(r);
    struct session_facts facts = {.sessions = wire_get_u32(r)};
    facts.begins = wire_get_u32(r);
    facts.ends = wire_get_u32(r);
    facts.again = wire_get_u32(r);
    if (r->bad || id.n == 0)
        return -EBADMSG;
    uint32_t row = model_item_intern(m, id, 0);
    if (row == ROW_NONE)
        return -ENOMEM;
    int e = context_restore(m->context, row, r);
    if (e == 0)
        e = get_covisit(m, row, r);
    if (e < 0)
        return e;
    size_t used = 0;
    e = pairs_restore(m->pairs, row, row_with_room, m, r->p, left(r), &used);
    if (e < 0 || used != left(r))
        return -EBADMSG;
    pulse_set(m->pulse, row, &pulse);
    sessions_facts_set(m->sessions, row, &facts);
    m->items.hot[row].company_dirty = false;
    /* counters saved before it are behind it */
    m->tick = MAX(m->tick, pulse.last);
    return 0;
}

static int restore_feature(struct model *m, struct str id, struct wire *r) {
    struct features *t = &m->items.features;
    float acc = get_float(r), bias = get_float(r), bias_acc = get_float(r);
    const uint8_t *emb = get_weights(r, m->c.dim);
    if (!emb || left(r) || id.n == 0)
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

static int restore_map(struct model *m, struct wire *r) {
    size_t n = (size_t)m->c.dim * m->c.dim;
    float acc = get_float(r);
    const uint8_t *phi = get_weights(r, n);
    if (!phi || left(r))
        return -EBADMSG;
    m->phi_acc = acc;
    m->phi_dirty = false;
    memcpy(m->phi, phi, n * sizeof(float));
    return 0;
}

static int restore_proj(struct model *m, struct wire *r) {
    struct items *t = &m->items;
    float acc = get_float(r);
    uint32_t n_dense = wire_get_u32(r);
    if (n_dense == 0 || n_dense > ITEM_DENSE_MAX)
        return -EBADMSG;
    const uint8_t *proj = get_weights(r, (size_t)m->c.dim * n_dense);
    if (!proj || left(r))
        return -EBADMSG;
    int e = items_set_dense(t, n_dense);
    if (e < 0)
        return e == -EINVAL ? -EPROTO : e;
    t->proj_acc = acc;
    t->proj_dirty = false;
    memcpy(t->proj, proj, (size_t)m->c.dim * n_dense * sizeof(float));
    return 0;
}

static int restore_counters(struct model *m, struct wire *r) {
    uint32_t tick = wire_get_u32(r);
    uint64_t events = wire_get_u64(r);
    size_t used = 0;
    if (context_restore(m->context, ROW_NONE, r) < 0 ||
        late_restore(m->late, r->p, left(r), &used) < 0 || used != left(r))
        return -EBADMSG;
    m->tick = MAX(m->tick, tick);
    m->events = events;
    m->counters_dirty = false;
    return 0;
}

static int restore_body(struct model *m, struct str key, uint8_t version, struct wire *r) {
    struct str id = {key.p + 1, key.n - 1};
    switch (key.p[0]) {
    case 'i':
        return restore_item(m, id, version, r);
    case 'c':
        return restore_company(m, id, r);
    case 'f':
        return restore_feature(m, id, r);
    case 's':
        return sessions_restore(m->sessions, row_with_room, m, r->p, left(r));
    case 'm':
        return restore_map(m, r);
    case 'p':
        return restore_proj(m, r);
    case 'r':
        return ranker_restore(m->ranker, r->p, left(r));
    case 't':
        return restore_counters(m, r);
    default:
        return -EBADMSG;
    }
}

int record_open(const struct model *m, struct str key, const void *p, size_t n,
                uint8_t *ret_version, struct wire *ret_body) {
    if (key.n == 0 || n < HEAD + CHECK)
        return -EBADMSG;
    const uint8_t *head = p;
    uint32_t check;
    memcpy(&check, head + n - CHECK, sizeof check);
    if (check != checksum(key, p, n - CHECK) || head[1] != (uint8_t)key.p[0])
        return -EBADMSG;
    if (head[0] < 1 || head[0] > VERSION || (uint32_t)(head[2] | head[3] << 8) != m->c.dim)
        return -EPROTO;
    *ret_version = head[0];
    *ret_body = wire_of(head + HEAD, n - HEAD - CHECK);
    return 0;
}

int model_item_restore(struct model *m, struct str key, const void *p, size_t n) {
    uint8_t version;
    struct wire r;
    int e = record_open(m, key, p, n, &version, &r);
    return e < 0 ? e : restore_body(m, key, version, &r);
}

void model_restored(struct model *m) {
    if (!m->exact) /* its image has the postings as they were made */
        sessions_index(m->sessions);
}
