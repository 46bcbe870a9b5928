#include "model/image_internal.h"

#include "model/block.h"
#include "model/context.h"
#include "model/covisit.h"
#include "model/late.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/trend.h"

void image_items_regions(struct items *t, struct regions *s) {
    size_t n = t->rows, cap = t->cap, dense = t->n_dense;
    s->layout ^= t->dim;
    regions_add(s, t->eff, t->dim * sizeof *t->eff, n, cap);
    regions_add(s, t->bias, sizeof *t->bias, n, cap);
    regions_add(s, t->base, sizeof *t->base, n, cap);
    regions_add(s, t->projected, t->dim * sizeof *t->projected, n, cap);
    regions_add(s, t->hot, sizeof *t->hot, n, cap);
    regions_add(s, t->features.emb, t->dim * sizeof *t->features.emb, t->features.rows,
                t->features.cap);
    regions_add(s, t->proj, t->dim * sizeof *t->proj, dense, ITEM_DENSE_MAX);
    regions_one(s, &t->rows);
    regions_one(s, &t->live);
    regions_one(s, &t->free_n);
    regions_one(s, &t->proj_acc);
    regions_one(s, &t->norm_max);
    regions_one(s, &t->norm_round);
    regions_one(s, &t->evict_hand);
    regions_one(s, &t->refresh_hand);
    regions_one(s, &t->features.rows);
    regions_one(s, &t->features.refused);
    regions_add(s, t->free_rows, sizeof *t->free_rows, t->free_n, cap);
    regions_add(s, t->own, t->dim * sizeof *t->own, n, cap);
    regions_add(s, t->in, t->dim * sizeof *t->in, n, cap);
}

static void model_regions(struct model *m, struct regions *s) {
    uint32_t rows = m->items.rows;
    struct sampler *a = &m->sampler;
    regions_one(s, &m->phi_acc);
    regions_one(s, &m->events);
    regions_one(s, &m->asked_n);
    regions_one(s, &m->expire_hand);
    regions_one(s, &m->newcomer);
    regions_one(s, &m->newcomers_n);
    regions_one(s, &m->newcomer_hand);
    regions_one(s, &m->dropped);
    regions_one(s, &m->tick);
    regions_one(s, &a->n);
    regions_one(s, &a->built_at);
    regions_add(s, a->row, sizeof *a->row, a->n, a->cap);
    regions_add(s, a->alias, sizeof *a->alias, a->n, a->cap);
    regions_add(s, a->keep, sizeof *a->keep, a->n, a->cap);
    regions_add(s, m->phi, m->c.dim * sizeof *m->phi, m->c.dim, m->c.dim);
    regions_add(s, m->asked, 1, m->asked ? MODEL_ASKED : 0, MODEL_ASKED);
    trend_regions(m->trend, rows, s);
    covisit_regions(m->covisit, rows, s);
    sessions_regions(m->sessions, rows, s);
    pairs_regions(m->pairs, rows, s);
    pulse_regions(m->pulse, rows, s);
    context_regions(m->context, rows, s);
    late_regions(m->late, s);
    ranker_regions(m->ranker, s);
}

void image_regions(const struct image *i, struct regions *s) {
    *s = (struct regions){0};
    image_items_regions(&i->m->items, s);
    model_regions(i->m, s);
    regions_one(s, &i->l->rng);
    regions_one(s, &i->l->map_due);
    regions_one(s, &i->l->proj_due);
    ranking_regions(i->l->ranking, s);
    for (size_t k = 0; k < i->n_watched; k++)
        regions_add_one(s, i->watched[k].p, i->watched[k].used);
}

int image_new(struct model *m, struct learner *l, struct image **ret) {
    autofree(image_free) struct image *i = calloc(1, sizeof *i);
    if (!i)
        return -ENOMEM;
    i->m = m;
    i->l = l;
    struct regions s;
    image_regions(i, &s);
    if (s.n + WATCHED_MAX > REGIONS_MAX)
        return -ENOTSUP;
    *ret = TAKE(i);
    return 0;
}

void image_free(struct image *i) {
    if (!i)
        return;
    image_kept_free(i);
    for (size_t k = 0; k < REGIONS_MAX; k++)
        free(i->known[k].hash);
    free(i->items.hash);
    free(i->features.hash);
    buf_free(&i->key);
    buf_free(&i->value);
    free(i);
}

void image_watch(struct image *i, void *p, size_t n) {
    if (i->n_watched < WATCHED_MAX)
        i->watched[i->n_watched++] = (struct region){p, n, n, true};
}

/* ---- writing ----------------------------------------------------------------- */

static int known_size(struct known *k, size_t n) {
    if (n > k->cap) {
        size_t cap = MAX(n, 2 * k->cap);
        uint64_t *p = reallocarray(k->hash, cap, sizeof *p);
        if (!p)
            return -ENOMEM;
        k->hash = p;
        k->cap = cap;
    }
    for (; k->n < n; k->n++)
        k->hash[k->n] = 0;
    k->n = n; /* what is beyond has to be put again when it comes back */
    return 0;
}

/* 0 stands for nothing. */
static uint64_t hash_of(const void *p, size_t n) {
    uint64_t h = hash_bytes(p, n, n);
    return h ? h : 1;
}

static void put_key(struct buf *key, uint8_t what, uint32_t number) {
    wire_put_u8(key, KIND);
    wire_put_u8(key, what);
    wire_put_u32(key, number);
}

void image_head_key(struct buf *ret) {
    put_key(ret, HEAD, 0);
}

static int put_record(struct image *i, uint8_t what, uint32_t number, const void *p, size_t n,
                      image_put *put, void *ctx) {
    buf_reset(&i->key);
    put_key(&i->key, what, number);
    buf_reset(&i->value);
    size_t at = block_begin(&i->value, VERSION);
    wire_put(&i->value, i->key.p, i->key.n);
    wire_put(&i->value, p, n);
    int r = i->key.failed ? -ENOMEM : block_end(&i->value, at);
    return r < 0 ? r : put(ctx, i->key.p, i->key.n, i->value.p, i->value.n);
}

static int put_pages(struct image *i, uint8_t what, const struct region *r, image_put *put,
                     void *ctx) {
    struct known *k = &i->known[what];
    size_t pages = (r->used + PAGE - 1) / PAGE;
    int e = known_size(k, pages);
    for (size_t page = 0; page < pages && e == 0; page++) {
        const uint8_t *p = (const uint8_t *)r->p + page * PAGE;
        size_t n = MIN(r->used - page * PAGE, (size_t)PAGE);
        uint64_t h = hash_of(p, n);
        if (h == k->hash[page])
            continue;
        k->hash[page] = h;
        e = put_record(i, what, (uint32_t)page, p, n, put, ctx);
    }
    return e;
}

static int put_row(struct image *i, struct known *k, uint8_t what, uint32_t row,
                   const struct buf *b, image_put *put, void *ctx) {
    uint64_t h = hash_of(b->p, b->n);
    if (b->failed)
        return -ENOMEM;
    if (h == k->hash[row])
        return 0;
    k->hash[row] = h;
    return put_record(i, what, row, b->p, b->n, put, ctx);
}

/* An item's row is its id, a hole's nothing. */
static int put_items(struct image *i, image_put *put, void *ctx) {
    const struct items *t = &i->m->items;
    int e = known_size(&i->items, t->rows);
    for (uint32_t row = 0; row < t->rows && e == 0; row++) {
        struct str id = t->cold[row].id;
        struct buf b = {.p = (uint8_t *)(uintptr_t)id.p, .n = id.n};
        e = put_row(i, &i->items, ITEM, row, &b, put, ctx);
    }
    return e;
}

static int put_features(struct image *i, image_put *put, void *ctx) {
    const struct features *t = &i->m->items.features;
    struct buf b = {0};
    int e = known_size(&i->features, t->rows);
    for (uint32_t row = 0; row < t->rows && e == 0; row++) {
        buf_reset(&b);
        wire_put_f32(&b, t->f[row].acc);
        wire_put_f32(&b, t->f[row].bias);
        wire_put_f32(&b, t->f[row].bias_acc);
        wire_put(&b, t->f[row].id.p, t->f[row].id.n);
        e = put_row(i, &i->features, FEATURE, row, &b, put, ctx);
    }
    buf_free(&b);
    return e;
}

/* u64 layout, u32 n_dense, u32 regions; of each its size (u64), and its bytes if it is small. */
static int put_head(struct image *i, const struct regions *s, image_put *put, void *ctx) {
    struct buf b = {0};
    wire_put_u64(&b, s->layout);
    wire_put_u32(&b, i->m->items.n_dense);
    wire_put_u32(&b, s->n);
    for (uint32_t k = 0; k < s->n; k++) {
        wire_put_u64(&b, s->r[k].used);
        if (image_small(&s->r[k]))
            wire_put(&b, s->r[k].p, s->r[k].used);
    }
    uint64_t h = hash_of(b.p, b.n);
    int e = b.failed ? -ENOMEM : 0;
    if (e == 0 && h != i->head_hash)
        e = put_record(i, HEAD, 0, b.p, b.n, put, ctx);
    i->head_hash = h;
    buf_free(&b);
    return e;
}

static void forget_all(struct image *i) {
    for (size_t k = 0; k < REGIONS_MAX; k++)
        i->known[k].n = 0;
    i->items.n = i->features.n = 0;
    i->head_hash = 0;
}

int image_changes(struct image *i, image_put *put, void *ctx) {
    struct regions s;
    image_regions(i, &s);
    int e = put_items(i, put, ctx);
    if (e == 0)
        e = put_features(i, put, ctx);
    for (uint32_t k = 0; k < s.n && e == 0; k++)
        if (!image_small(&s.r[k]))
            e = put_pages(i, (uint8_t)k, &s.r[k], put, ctx);
    if (e == 0)
        e = put_head(i, &s, put, ctx);
    if (e < 0)
        forget_all(i);
    return e;
}
