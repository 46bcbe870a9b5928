#include "model/pairs.h"

#include "model/index.h"
#include "model/kernels.h"
#include "model/wire.h"

#include <math.h>

/* Half-lives in events. */
static const float horizon[PAIR_KINDS] = {5000, 100000, 500000, 500000};

struct row {
    uint32_t tick; /* what the weights are as of */
    float total[PAIR_KINDS];
    struct pairs_slot slot[PAIRS_SLOTS];
};

struct pairs {
    uint32_t max_items;
    struct row *row;
    float by_distance[PAIRS_RECENT];
};

static uint32_t load(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(uint32_t *p, uint32_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

int pairs_new(uint32_t max_items, struct pairs **ret) {
    if (max_items == 0)
        return -EINVAL;
    autofree(pairs_free) struct pairs *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->max_items = max_items;
    p->row = rows_map(max_items, sizeof *p->row);
    if (!p->row)
        return -ENOMEM;
    for (int d = 0; d < PAIRS_RECENT; d++)
        p->by_distance[d] = powf((float)(d + 1), -0.6f);
    *ret = TAKE(p);
    return 0;
}

void pairs_free(struct pairs *p) {
    if (!p)
        return;
    rows_unmap(p->row, p->max_items, sizeof *p->row);
    free(p);
}

static void scale(float *w, float by) {
    store_relaxed(w, load_relaxed(w) * by);
}

/* Slots are taken in order and never given back but to others, so the first empty one (no
 * weight) ends them. */
static uint32_t slots_of(const struct row *r) {
    uint32_t n = 0;
    while (n < PAIRS_SLOTS && load(&r->slot[n].item))
        n++;
    return n;
}

static void touch(struct row *r, uint32_t tick) {
    uint32_t was = load(&r->tick);
    if (tick <= was)
        return;
    store(&r->tick, tick);
    float by[PAIR_KINDS];
    for (int k = 0; k < PAIR_KINDS; k++) {
        by[k] = exp2f(-(float)(tick - was) / horizon[k]);
        scale(&r->total[k], by[k]);
    }
    for (uint32_t i = 0, n = slots_of(r); i < n; i++)
        for (int k = 0; k < PAIR_KINDS; k++)
            scale(&r->slot[i].weight[k], by[k]);
}

static float strength(const struct pairs_slot *s) {
    return load_relaxed(&s->weight[PAIR_NEXT_LONG]) + load_relaxed(&s->weight[PAIR_AHEAD]) +
           load_relaxed(&s->weight[PAIR_BEHIND]);
}

/* Names are rows + 1, so that untouched memory is an empty slot. */
static void add(struct pairs *p, uint32_t of, uint32_t item, const float *weight, uint32_t tick) {
    struct row *r = &p->row[of];
    touch(r, tick);
    uint32_t name = item + 1, at = 0, weakest = 0;
    float least = INFINITY;
    for (; at < PAIRS_SLOTS; at++) {
        uint32_t there = load(&r->slot[at].item);
        if (there == name || !there)
            break;
        float s = strength(&r->slot[at]);
        if (s < least) {
            least = s;
            weakest = at;
        }
    }
    bool fresh = at == PAIRS_SLOTS || !load(&r->slot[at].item);
    struct pairs_slot *s = &r->slot[at == PAIRS_SLOTS ? weakest : at];
    store(&s->item, name);
    for (int k = 0; k < PAIR_KINDS; k++) {
        float had = fresh ? 0 : load_relaxed(&s->weight[k]);
        store_relaxed(&s->weight[k], had + weight[k]);
        store_relaxed(&r->total[k], load_relaxed(&r->total[k]) + weight[k]);
    }
}

void pairs_observe(struct pairs *p, uint32_t item, const struct trail_item *trail, size_t n,
                   uint32_t tick) {
    if (item >= p->max_items)
        return;
    for (size_t i = 0; i < MIN(n, (size_t)PAIRS_RECENT); i++) {
        uint32_t from = trail[i].item;
        if (from == item || from >= p->max_items)
            continue;
        float next = i == 0, far = p->by_distance[i];
        add(p, from, item,
            (const float[PAIR_KINDS]){
                [PAIR_NEXT_SHORT] = next, [PAIR_NEXT_LONG] = next, [PAIR_AHEAD] = far},
            tick);
        add(p, item, from, (const float[PAIR_KINDS]){[PAIR_BEHIND] = far}, tick);
    }
}

float pairs_by_distance(const struct pairs *p, uint32_t distance) {
    return p->by_distance[distance - 1];
}

void pairs_look(const struct pairs *p, uint32_t item, struct pairs_view *ret) {
    ret->n = 0;
    if (item >= p->max_items)
        return;
    const struct row *r = &p->row[item];
    for (int k = 0; k < PAIR_KINDS; k++)
        ret->total[k] = load_relaxed(&r->total[k]);
    for (; ret->n < PAIRS_SLOTS; ret->n++) {
        struct pairs_slot *s = &ret->slot[ret->n];
        uint32_t name = load(&r->slot[ret->n].item);
        if (!name)
            break;
        s->item = name - 1;
        for (int k = 0; k < PAIR_KINDS; k++)
            s->weight[k] = load_relaxed(&r->slot[ret->n].weight[k]);
    }
}

/* The last slot takes the place of the one that goes. */
static void drop(struct row *r, uint32_t name) {
    uint32_t n = slots_of(r), at = 0;
    while (at < n && r->slot[at].item != name)
        at++;
    if (at == n)
        return;
    r->slot[at] = r->slot[n - 1];
    r->slot[n - 1] = (struct pairs_slot){0};
}

void pairs_forget_row(struct pairs *p, uint32_t row) {
    if (row >= p->max_items)
        return;
    struct row *r = &p->row[row];
    for (uint32_t i = 0, n = slots_of(r); i < n; i++)
        drop(&p->row[r->slot[i].item - 1], row + 1);
    memset(r, 0, sizeof *r);
}

/* Slots have a byte that tells which weights follow: most have one or two. */
static void put_slot(const struct pairs_slot *s, struct str id, struct buf *out) {
    uint8_t mask = 0;
    float weight[PAIR_KINDS];
    for (int k = 0; k < PAIR_KINDS; k++) {
        weight[k] = load_relaxed(&s->weight[k]);
        mask |= (uint8_t)((weight[k] != 0) << k);
    }
    wire_put_str(out, id);
    wire_put_u8(out, mask);
    for (int k = 0; k < PAIR_KINDS; k++)
        if (mask >> k & 1)
            wire_put_f32(out, weight[k]);
}

void pairs_encode(const struct pairs *p, uint32_t row,
                  struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                  struct buf *out) {
    const struct row *r = &p->row[row];
    const struct pairs_slot *slot[PAIRS_SLOTS];
    struct str id[PAIRS_SLOTS];
    uint8_t n = 0;
    for (uint32_t i = 0, slots = slots_of(r); i < slots; i++) {
        id[n] = id_of(ctx, load(&r->slot[i].item) - 1);
        if (id[n].n)
            slot[n++] = &r->slot[i];
    }
    wire_put_u32(out, load(&r->tick));
    for (int k = 0; k < PAIR_KINDS; k++)
        wire_put_f32(out, load_relaxed(&r->total[k]));
    wire_put_u8(out, n);
    for (uint32_t i = 0; i < n; i++)
        put_slot(slot[i], id[i], out);
}

static float get_weight(struct wire *w) {
    float v = wire_get_f32(w);
    w->bad |= !(v >= 0 && v < INFINITY);
    return v;
}

int pairs_restore(struct pairs *p, uint32_t row, uint32_t (*row_of_id)(void *ctx, struct str id),
                  void *ctx, const void *from, size_t n, size_t *ret_n) {
    struct wire w = wire_of(from, n);
    struct row r = {.tick = wire_get_u32(&w)};
    struct str id[PAIRS_SLOTS];
    for (int k = 0; k < PAIR_KINDS; k++)
        r.total[k] = get_weight(&w);
    uint8_t slots = wire_get_u8(&w);
    if (w.bad || row >= p->max_items || slots > PAIRS_SLOTS)
        return -EBADMSG;
    for (uint32_t i = 0; i < slots; i++) {
        id[i] = wire_get_str(&w);
        uint8_t mask = wire_get_u8(&w);
        w.bad |= mask >> PAIR_KINDS;
        for (int k = 0; k < PAIR_KINDS; k++)
            r.slot[i].weight[k] = mask >> k & 1 ? get_weight(&w) : 0;
        if (w.bad)
            return -EBADMSG;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < slots; i++) {
        uint32_t other = row_of_id(ctx, id[i]);
        if (other >= p->max_items)
            continue;
        r.slot[kept] = r.slot[i];
        r.slot[kept++].item = other + 1;
    }
    memset(&r.slot[kept], 0, (PAIRS_SLOTS - kept) * sizeof *r.slot);
    p->row[row] = r;
    *ret_n = (size_t)(w.p - (const uint8_t *)from);
    return 0;
}

void pairs_regions(struct pairs *p, uint32_t rows, struct regions *s) {
    regions_add(s, p->row, sizeof *p->row, rows, p->max_items);
}

bool pairs_sound(const struct pairs *p, uint32_t rows) {
    bool sound = true;
    for (uint32_t i = 0; i < rows && sound; i++)
        for (uint32_t k = 0; k < PAIRS_SLOTS && sound; k++)
            sound = p->row[i].slot[k].item <= rows;
    return sound;
}

size_t pairs_bytes_per_item(void) {
    return sizeof(struct row);
}
