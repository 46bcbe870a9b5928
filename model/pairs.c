#include "model/pairs.h"

#include "model/index.h"
#include "model/kernels.h"

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

void pairs_forget_row(struct pairs *p, uint32_t row) {
    if (row < p->max_items)
        memset(&p->row[row], 0, sizeof p->row[row]);
}

size_t pairs_bytes_per_item(void) {
    return sizeof(struct row);
}
