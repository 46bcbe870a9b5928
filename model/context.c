#include "model/context.h"

#include "model/index.h"
#include "model/kernels.h"
#include "model/pulse.h"

enum { BUCKETS = 31 };

/* An item must be this often expected in a value before its lift is believed by half. */
#define SHRINK 10.0f

/* Keys by slot; of several keys of one slot in an event the first in the event counts. */
static const struct {
    const char *key;
    uint32_t slot;
} keys[] = {
    {"device", 0},   {"os", 1},       {"browser", 1},     {"country", 2}, {"region", 3},
    {"city", 3},     {"referrer", 4}, {"source", 4},      {"channel", 4}, {"campaign", 4},
    {"language", 5}, {"platform", 5}, {"environment", 5},
};

/* A slot's values share its buckets. */
static const struct {
    uint32_t first, n;
} buckets[CONTEXT_SLOTS] = {{0, 4}, {4, 4}, {8, 4}, {12, 11}, {23, 4}, {27, 4}};

/* 128 bytes: two cache lines. */
struct row {
    uint32_t tick; /* what the counts are as of */
    float count[BUCKETS];
};
_Static_assert(sizeof(struct row) == 128, "a row is two cache lines");

struct context {
    uint32_t max_items;
    struct row *row; /* per item */
    struct row all;
};

void context_of(const struct event *e, uint32_t ret[static CONTEXT_SLOTS]) {
    memset(ret, 0, CONTEXT_SLOTS * sizeof *ret);
    for (size_t i = 0; i < e->n_ctx; i++)
        for (size_t k = 0; k < ARRAY_LEN(keys); k++) {
            uint32_t *to = &ret[keys[k].slot];
            if (*to || !e->ctx[i].value.n || !str_eq(e->ctx[i].key, str_of(keys[k].key)))
                continue;
            *to = (uint32_t)hash_str(e->ctx[i].value, keys[k].slot + 1) | 1;
            break;
        }
}

int context_new(uint32_t max_items, struct context **ret) {
    autofree(context_free) struct context *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->max_items = max_items;
    c->row = rows_map(max_items, sizeof *c->row);
    if (!c->row)
        return -ENOMEM;
    *ret = TAKE(c);
    return 0;
}

void context_free(struct context *c) {
    if (!c)
        return;
    rows_unmap(c->row, c->max_items, sizeof *c->row);
    free(c);
}

static uint32_t bucket_of(uint32_t slot, uint32_t value) {
    return buckets[slot].first + (value >> 1) % buckets[slot].n;
}

static float since(const struct row *r, uint32_t tick) {
    uint32_t was = __atomic_load_n(&r->tick, __ATOMIC_RELAXED);
    return pulse_decay((float)(tick - MIN(was, tick)) / pulse_horizon[2]);
}

static void count(struct row *r, const uint32_t *values, uint32_t tick) {
    float by = since(r, tick);
    __atomic_store_n(&r->tick, tick, __ATOMIC_RELAXED);
    for (uint32_t b = 0; b < BUCKETS; b++)
        store_relaxed(&r->count[b], load_relaxed(&r->count[b]) * by);
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++) {
        float *x = &r->count[bucket_of(k, values[k])];
        if (values[k])
            store_relaxed(x, load_relaxed(x) + 1);
    }
}

void context_observe(struct context *c, uint32_t item, const uint32_t values[static CONTEXT_SLOTS],
                     uint32_t tick) {
    uint32_t any = 0;
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++)
        any |= values[k];
    if (!any || item >= c->max_items)
        return;
    count(&c->row[item], values, tick);
    count(&c->all, values, tick);
}

void context_lift(const struct context *c, uint32_t item,
                  const uint32_t values[static CONTEXT_SLOTS], float taken, uint32_t tick,
                  float ret[static CONTEXT_SLOTS]) {
    float all = MIN((float)tick + 1, pulse_horizon[2] * 1.4427f); /* decayed count of everything */
    float worth = since(&c->row[item], tick), worth_all = since(&c->all, tick);
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++) {
        ret[k] = 1;
        if (!values[k])
            continue;
        uint32_t b = bucket_of(k, values[k]);
        float share = MIN(load_relaxed(&c->all.count[b]) * worth_all / all, 1) + 1e-4f;
        ret[k] = (load_relaxed(&c->row[item].count[b]) * worth + SHRINK * share) /
                 ((taken + SHRINK) * share);
    }
}

static struct row *row_of(const struct context *c, uint32_t item) {
    return item < c->max_items ? &c->row[item] : (struct row *)&c->all;
}

/* u32 tick, u8 how many buckets have a count, and of each u8 which, f32 count. */
void context_encode(const struct context *c, uint32_t item, struct buf *out) {
    const struct row *r = row_of(c, item);
    float count[BUCKETS];
    uint8_t n = 0;
    for (uint32_t b = 0; b < BUCKETS; b++) {
        count[b] = load_relaxed(&r->count[b]);
        n = (uint8_t)(n + (count[b] > 0));
    }
    wire_put_u32(out, __atomic_load_n(&r->tick, __ATOMIC_RELAXED));
    wire_put_u8(out, n);
    for (uint32_t b = 0; b < BUCKETS; b++)
        if (count[b] > 0) {
            wire_put_u8(out, (uint8_t)b);
            wire_put_f32(out, count[b]);
        }
}

int context_restore(struct context *c, uint32_t item, struct wire *from) {
    struct row r = {.tick = wire_get_u32(from)};
    for (uint8_t n = wire_get_u8(from); n > 0 && !from->bad; n--) {
        uint8_t b = wire_get_u8(from);
        float count = wire_get_f32(from);
        from->bad |= b >= BUCKETS || !(count >= 0 && count < 1e9f);
        if (!from->bad)
            r.count[b] = count;
    }
    if (from->bad)
        return -EBADMSG;
    *row_of(c, item) = r;
    return 0;
}

void context_prefetch(const struct context *c, uint32_t item) {
    __builtin_prefetch(&c->row[item]);
    __builtin_prefetch(&c->row[item].count[15]);
}

void context_forget_row(struct context *c, uint32_t row) {
    if (row < c->max_items)
        memset(&c->row[row], 0, sizeof c->row[row]);
}

void context_regions(struct context *c, uint32_t rows, struct regions *s) {
    regions_one(s, &c->all);
    regions_add(s, c->row, sizeof *c->row, rows, c->max_items);
}

size_t context_bytes_per_item(void) {
    return sizeof(struct row);
}
