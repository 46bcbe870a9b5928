#include "model/image.h"

#include "model/block.h"
#include "model/context.h"
#include "model/covisit.h"
#include "model/late.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/sgd.h"
#include "model/trend.h"

#include <math.h>

/* Key: 'x', what (a region's number, or one of these), u32 number of the page or row. Value: a
 * block (block.h) of the key and the bytes. */
enum { KIND = 'x', HEAD = 255, ITEM = 254, FEATURE = 253, KEY = 6 };
enum { VERSION = 1, PAGE = 2048, SMALL = 64 /* bytes: goes into the head */, WATCHED_MAX = 4 };
/* The first regions; up to MADE what is made from the others, in part long ago. */
enum { EFF, BIAS, BASE, PROJECTED, MADE, HOT = MADE, FEATURES, PROJ };
_Static_assert((int)REGIONS_MAX < (int)FEATURE, "a region's number is a byte");

/* Hashes of what was put last, by page or row; 0: nothing. */
struct known {
    uint64_t *hash;
    size_t n, cap;
};

/* What was read back, until image_settle. */
struct kept {
    uint8_t *p;
    uint8_t *there; /* per page */
    size_t bytes;   /* whole pages */
};

struct kept_rows {
    struct buf *row;
    size_t n;
};

struct image {
    struct model *m;
    struct learner *l;
    struct region watched[WATCHED_MAX];
    size_t n_watched;
    struct known known[REGIONS_MAX], items, features;
    uint64_t head_hash;
    struct kept kept[REGIONS_MAX];
    struct kept_rows kept_items, kept_features;
    struct buf head;
    size_t made[MADE]; /* bytes of the made regions, and what bounds them, as read back */
    float norm_max, norm_round;
    struct buf key, value;
};

static void items_regions(struct items *t, struct regions *s) {
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

/* Numbered alike at every call. */
static void regions_of(const struct image *i, struct regions *s) {
    *s = (struct regions){0};
    items_regions(&i->m->items, s);
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
    regions_of(i, &s);
    if (s.n + WATCHED_MAX > REGIONS_MAX)
        return -ENOTSUP;
    *ret = TAKE(i);
    return 0;
}

static void kept_free(struct image *i) {
    for (size_t k = 0; k < REGIONS_MAX; k++) {
        free(i->kept[k].p);
        free(i->kept[k].there);
        i->kept[k] = (struct kept){0};
    }
    struct kept_rows *rows[] = {&i->kept_items, &i->kept_features};
    for (size_t k = 0; k < ARRAY_LEN(rows); k++) {
        for (size_t r = 0; r < rows[k]->n; r++)
            buf_free(&rows[k]->row[r]);
        free(rows[k]->row);
        *rows[k] = (struct kept_rows){0};
    }
    buf_free(&i->head);
}

void image_free(struct image *i) {
    if (!i)
        return;
    kept_free(i);
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

static bool is_small(const struct region *r) {
    return r->one && r->cap <= SMALL;
}

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
        if (is_small(&s->r[k]))
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
    regions_of(i, &s);
    int e = put_items(i, put, ctx);
    if (e == 0)
        e = put_features(i, put, ctx);
    for (uint32_t k = 0; k < s.n && e == 0; k++)
        if (!is_small(&s.r[k]))
            e = put_pages(i, (uint8_t)k, &s.r[k], put, ctx);
    if (e == 0)
        e = put_head(i, &s, put, ctx);
    if (e < 0)
        forget_all(i);
    return e;
}

/* ---- reading ----------------------------------------------------------------- */

bool image_record_is(struct str key) {
    return key.n == KEY && key.p[0] == KIND;
}

bool image_head_is(struct str key) {
    return image_record_is(key) && (uint8_t)key.p[1] == HEAD;
}

/* The same growth as a table's: doubled. */
static int keep_page(struct kept *k, uint32_t page, const uint8_t *p, size_t n) {
    size_t want = ((size_t)page + 1) * PAGE;
    if (want > k->bytes) {
        size_t bytes = MAX(want, 2 * k->bytes), had = k->bytes / PAGE;
        uint8_t *more = realloc(k->p, bytes);
        if (!more)
            return -ENOMEM;
        k->p = more;
        uint8_t *there = realloc(k->there, bytes / PAGE);
        if (!there)
            return -ENOMEM;
        memset(there + had, 0, bytes / PAGE - had);
        k->there = there;
        k->bytes = bytes;
    }
    memcpy(k->p + (size_t)page * PAGE, p, n);
    memset(k->p + (size_t)page * PAGE + n, 0, PAGE - n);
    k->there[page] = 1;
    return 0;
}

static int keep_row(struct kept_rows *k, uint32_t row, const uint8_t *p, size_t n) {
    if (row >= k->n) {
        size_t want = MAX((size_t)row + 1, 2 * k->n);
        struct buf *more = reallocarray(k->row, want, sizeof *more);
        if (!more)
            return -ENOMEM;
        memset(more + k->n, 0, (want - k->n) * sizeof *more);
        k->row = more;
        k->n = want;
    }
    buf_reset(&k->row[row]);
    buf_put(&k->row[row], p, n);
    return k->row[row].failed ? -ENOMEM : 0;
}

int image_take(struct image *i, struct str key, const void *p, size_t n) {
    struct wire w;
    size_t used;
    uint8_t name[KEY];
    if (!image_record_is(key))
        return -EBADMSG;
    if (n == 0) { /* a tombstone */
        if (image_head_is(key))
            buf_free(&i->head);
        return 0;
    }
    int e = block_open(p, n, VERSION, &w, &used);
    if (e < 0 || used != n)
        return -EBADMSG;
    wire_get(&w, name, KEY);
    size_t left = (size_t)(w.end - w.p);
    if (w.bad || memcmp(name, key.p, KEY) != 0)
        return -EBADMSG;
    uint8_t what = name[1];
    uint32_t number;
    memcpy(&number, name + 2, sizeof number);
    struct regions s;
    regions_of(i, &s);
    if (what == HEAD) {
        buf_reset(&i->head);
        buf_put(&i->head, w.p, left);
        return i->head.failed ? -ENOMEM : 0;
    }
    if (what == ITEM)
        return number < i->m->c.max_items ? keep_row(&i->kept_items, number, w.p, left) : -EBADMSG;
    if (what == FEATURE)
        return number < i->m->items.features.cap ? keep_row(&i->kept_features, number, w.p, left)
                                                 : -EBADMSG;
    /* What it may be is known only when all is there: the head tells how long a region is. */
    uint64_t most = (uint64_t)i->m->c.max_items * PAGE;
    if (left > PAGE || left == 0 || what >= s.n || number > most)
        return -EBADMSG;
    return keep_page(&i->kept[what], number, w.p, left);
}

static bool is_there(const struct kept *k, size_t bytes) {
    if (bytes > k->bytes)
        return false;
    for (size_t page = 0; page * PAGE < bytes; page++)
        if (!k->there[page])
            return false;
    return true;
}

/* Goes through the head: checks it against what there is, or takes the small regions over. */
static int read_head(const struct image *i, const struct regions *s, bool take, uint64_t *used,
                     uint32_t *ret_dense) {
    struct wire w = wire_of(i->head.p, i->head.n);
    uint64_t layout = wire_get_u64(&w);
    *ret_dense = wire_get_u32(&w);
    uint32_t n = wire_get_u32(&w);
    if (w.bad)
        return -EBADMSG;
    if (layout != s->layout || n != s->n)
        return -EPROTO;
    for (uint32_t k = 0; k < n; k++) {
        used[k] = wire_get_u64(&w);
        uint8_t small[SMALL];
        if (!is_small(&s->r[k]))
            continue;
        if (used[k] != s->r[k].used)
            return -EBADMSG;
        wire_get(&w, small, used[k]);
        if (take)
            memcpy(s->r[k].p, small, used[k]);
    }
    return w.bad || w.p != w.end ? -EBADMSG : 0;
}

static int add_features(struct image *i, uint32_t rows) {
    struct features *t = &i->m->items.features;
    t->rows = 0;
    for (uint32_t row = 0; row < rows; row++) {
        const struct buf *b = &i->kept_features.row[row];
        struct wire w = wire_of(b->p, b->n);
        struct feature f = {.acc = wire_get_f32(&w)};
        f.bias = wire_get_f32(&w);
        f.bias_acc = wire_get_f32(&w);
        if (features_intern(t, (struct str){(const char *)w.p, (size_t)(w.end - w.p)}) != row)
            return -ENOMEM;
        t->f[row].acc = f.acc;
        t->f[row].bias = f.bias;
        t->f[row].bias_acc = f.bias_acc;
    }
    return 0;
}

/* Rows get their ids; what the catalogue says of them is still to come. */
static int add_items(struct image *i) {
    struct items *t = &i->m->items;
    for (uint32_t row = 0; row < t->rows; row++) {
        struct item_hot *h = &t->hot[row];
        struct item_cold *x = &t->cold[row];
        *x = (struct item_cold){.price = NAN, .margin = NAN};
        h->n_features = 0;
        h->has_dense = false;
        if (!(h->state & ITEM_LIVE))
            continue;
        const struct buf *b = &i->kept_items.row[row];
        if (!id_arena_copy(&t->arena, (struct str){(const char *)b->p, b->n}, &x->id) ||
            id_index_add(&t->index, x->id, row) < 0)
            return -ENOMEM;
        if (h->state & ITEM_CATALOGUE)
            h->state = ITEM_LIVE; /* until the catalogue has it */
    }
    return 0;
}

/* Everything is there that the head counts. */
static int check(const struct image *i, const struct regions *s, uint64_t *used,
                 uint32_t *ret_dense) {
    int e = i->head.n ? read_head(i, s, false, used, ret_dense) : -ENOENT;
    for (uint32_t k = 0; k < s->n && e == 0; k++)
        if (!is_small(&s->r[k]) && (used[k] > s->r[k].cap || !is_there(&i->kept[k], used[k])))
            e = -EBADMSG;
        else if (used[k] && !s->r[k].p && !*ret_dense) /* a part that is turned off now */
            e = -EPROTO;
    return e == 0 && *ret_dense > ITEM_DENSE_MAX ? -EBADMSG : e;
}

/* All rows that are in use have their ids. */
static int check_rows(const struct image *i, const uint64_t *used) {
    const struct items *t = &i->m->items;
    size_t rows = used[HOT] / sizeof *t->hot;
    size_t features = used[FEATURES] / (t->dim * sizeof(float));
    if (rows > i->kept_items.n || features > i->kept_features.n)
        return -EBADMSG;
    const struct item_hot *hot = (const void *)i->kept[HOT].p;
    for (size_t row = 0; row < rows; row++)
        if ((hot[row].state & ITEM_LIVE) && !i->kept_items.row[row].n)
            return -EBADMSG;
    for (size_t row = 0; row < features; row++)
        if (i->kept_features.row[row].n <= 3 * sizeof(float))
            return -EBADMSG;
    return 0;
}

/* No row leads out of the tables. */
static bool is_sound(const struct model *m) {
    const struct items *t = &m->items;
    const struct sampler *a = &m->sampler;
    uint32_t rows = t->rows;
    bool sound = t->live + t->free_n == rows && t->evict_hand <= rows && t->refresh_hand <= rows &&
                 m->expire_hand <= rows && a->n <= rows;
    for (uint32_t i = 0; sound && i < t->free_n; i++)
        sound = t->free_rows[i] < rows && !(t->hot[t->free_rows[i]].state & ITEM_LIVE);
    for (uint32_t i = 0; sound && i < a->n; i++)
        sound = a->row[i] < rows && a->alias[i] < rows;
    return sound && sessions_sound(m->sessions, rows) && pairs_sound(m->pairs, rows) &&
           pulse_sound(m->pulse, rows);
}

int image_apply(struct image *i) {
    uint64_t used[REGIONS_MAX];
    uint32_t dense = 0;
    struct items *t = &i->m->items;
    struct regions s;
    regions_of(i, &s);
    int e = check(i, &s, used, &dense);
    if (e == 0)
        e = t->rows ? -EBADMSG : check_rows(i, used);
    if (e == 0 && dense && used[PROJ] != dense * t->dim * sizeof(float))
        e = -EBADMSG;
    if (e == 0 && dense)
        e = items_set_dense(t, dense);
    if (e == 0)
        e = read_head(i, &s, true, used, &dense);
    if (e == 0 && (t->rows != used[HOT] / sizeof *t->hot ||
                   t->features.rows != used[FEATURES] / (t->dim * sizeof(float)))) {
        t->rows = t->features.rows = 0;
        e = -EBADMSG;
    }
    if (e < 0)
        return e;
    regions_of(i, &s); /* P is there now */
    for (uint32_t k = 0; k < s.n; k++)
        if (!is_small(&s.r[k]) && used[k])
            memcpy(s.r[k].p, i->kept[k].p, used[k]);
    e = is_sound(i->m) ? add_features(i, t->features.rows) : -EBADMSG;
    if (e == 0)
        e = add_items(i);
    else
        t->rows = 0;
    if (used[FEATURES]) /* new features got first weights */
        memcpy(s.r[FEATURES].p, i->kept[FEATURES].p, used[FEATURES]);
    for (uint32_t k = 0; k < MADE; k++)
        i->made[k] = used[k];
    i->norm_max = t->norm_max;
    i->norm_round = t->norm_round;
    i->m->exact = e == 0;
    return e;
}

void image_settle(struct image *i) {
    struct items *t = &i->m->items;
    struct regions s = {0};
    items_regions(t, &s);
    size_t rows = i->made[BIAS] / sizeof *t->bias;
    float *base = i->m->exact ? malloc(MAX(i->made[BASE], (size_t)1)) : NULL;
    if (base) {
        memcpy(base, t->base, i->made[BASE]);
        for (uint32_t k = 0; k < MADE; k++)
            if (i->made[k])
                memcpy(s.r[k].p, i->kept[k].p, i->made[k]);
        t->norm_max = i->norm_max;
        t->norm_round = i->norm_round;
        /* What the catalogue says now of being listed counts. */
        for (uint32_t row = 0; row < rows; row++)
            if ((base[row] == -INFINITY) != (t->base[row] == -INFINITY))
                items_rebase(t, row);
        for (uint32_t row = (uint32_t)rows; row < t->rows; row++)
            items_note_norm(t, row);
    }
    free(base);
    kept_free(i);
}
