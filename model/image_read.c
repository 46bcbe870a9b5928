#include "model/image_internal.h"

#include "model/block.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/sessions.h"

#include <math.h>

void image_kept_free(struct image *i) {
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
    image_regions(i, &s);
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
        if (!image_small(&s->r[k]))
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
        if (!image_small(&s->r[k]) && (used[k] > s->r[k].cap || !is_there(&i->kept[k], used[k])))
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
    image_regions(i, &s);
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
    image_regions(i, &s); /* P is there now */
    for (uint32_t k = 0; k < s.n; k++)
        if (!image_small(&s.r[k]) && used[k])
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
    image_items_regions(t, &s);
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
    image_kept_free(i);
}
