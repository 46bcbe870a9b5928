#include "model/context.h"

#include "model/index.h"
#include "model/kernels.h"
#include "model/pulse.h"

enum { CELLS = 1 << 20, VALUES = 1 << 12 };

/* An item must be this often expected in a value before its lift is believed by half. */
#define SHRINK 10.0f

/* Keys by slot; of several keys of one slot in an event the first in the event counts. */
static const struct {
    const char *key;
    uint32_t slot;
} keys[] = {
    {"device", 0},      {"os", 1},       {"browser", 1},  {"country", 2}, {"region", 3},
    {"city", 3},        {"referrer", 4}, {"source", 4},   {"channel", 4}, {"campaign", 4},
    {"environment", 5}, {"platform", 5}, {"language", 5},
};

struct cell {
    float count; /* as of `tick` */
    uint32_t tick;
};

struct context {
    struct cell *cell;  /* by item and value */
    struct cell *value; /* by value alone */
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

int context_new(struct context **ret) {
    autofree(context_free) struct context *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->cell = rows_map(CELLS, sizeof *c->cell);
    c->value = rows_map(VALUES, sizeof *c->value);
    if (!c->cell || !c->value)
        return -ENOMEM;
    *ret = TAKE(c);
    return 0;
}

void context_free(struct context *c) {
    if (!c)
        return;
    rows_unmap(c->cell, CELLS, sizeof *c->cell);
    rows_unmap(c->value, VALUES, sizeof *c->value);
    free(c);
}

static struct cell *cell_of(const struct context *c, uint32_t item, uint32_t value) {
    uint64_t h = ((uint64_t)item << 32 | value) * 0x9e3779b97f4a7c15u;
    return &c->cell[h >> 44];
}

static struct cell *value_of(const struct context *c, uint32_t value) {
    return &c->value[value * 0x9e3779b1u >> 20];
}
_Static_assert(CELLS == 1 << 20 && VALUES == 1 << 12, "20 and 12 bits of hash");

static float worth(const struct cell *x, uint32_t tick) {
    uint32_t was = __atomic_load_n(&x->tick, __ATOMIC_RELAXED);
    return load_relaxed(&x->count) * pulse_decay((float)(tick - MIN(was, tick)) / pulse_horizon[2]);
}

static void count(struct cell *x, uint32_t tick) {
    store_relaxed(&x->count, worth(x, tick) + 1);
    __atomic_store_n(&x->tick, tick, __ATOMIC_RELAXED);
}

void context_observe(struct context *c, uint32_t item, const uint32_t values[static CONTEXT_SLOTS],
                     uint32_t tick) {
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++)
        if (values[k]) {
            count(cell_of(c, item, values[k]), tick);
            count(value_of(c, values[k]), tick);
        }
}

void context_lift(const struct context *c, uint32_t item,
                  const uint32_t values[static CONTEXT_SLOTS], float taken, uint32_t tick,
                  float ret[static CONTEXT_SLOTS]) {
    float all = MIN((float)tick + 1, pulse_horizon[2] * 1.4427f); /* decayed count of everything */
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++) {
        ret[k] = 1;
        if (!values[k])
            continue;
        float share = MIN(worth(value_of(c, values[k]), tick) / all, 1) + 1e-4f;
        ret[k] = (worth(cell_of(c, item, values[k]), tick) + SHRINK * share) /
                 ((taken + SHRINK) * share);
    }
}
