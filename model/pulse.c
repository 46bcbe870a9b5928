#include "model/pulse.h"

#include "model/index.h"
#include "model/kernels.h"

#include <math.h>

const float pulse_horizon[PULSE_HORIZONS] = {500, 3000, 20000, 150000};

/* The liveliest items of a horizon: sorted by key, the logarithm of the decayed count carried
 * forward, which orders items for all time without being touched. */
struct top {
    uint32_t n;
    uint32_t item[PULSE_TOP];
    double key[PULSE_TOP];
};

struct pulse {
    uint32_t max_items;
    bool busy; /* one writer of the tops at a time; others skip, their next event comes */
    struct top top[PULSE_HORIZONS];
    struct pulse_state *beat;
};

static uint32_t load(const uint32_t *p) {
    return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static void store(uint32_t *p, uint32_t v) {
    __atomic_store_n(p, v, __ATOMIC_RELAXED);
}

int pulse_new(uint32_t max_items, struct pulse **ret) {
    if (max_items == 0)
        return -EINVAL;
    autofree(pulse_free) struct pulse *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->max_items = max_items;
    p->beat = rows_map(max_items, sizeof *p->beat);
    if (!p->beat)
        return -ENOMEM;
    *ret = TAKE(p);
    return 0;
}

void pulse_free(struct pulse *p) {
    if (!p)
        return;
    rows_unmap(p->beat, p->max_items, sizeof *p->beat);
    free(p);
}

static float decay(uint32_t events, uint32_t horizon) {
    return pulse_decay((float)events / pulse_horizon[horizon]);
}

static void rise(struct top *t, uint32_t item, double key) {
    uint32_t n = load(&t->n), at = 0;
    while (at < n && load(&t->item[at]) != item)
        at++;
    if (at == n) {
        if (n == PULSE_TOP && t->key[n - 1] >= key)
            return;
        at = n < PULSE_TOP ? n : n - 1;
        store(&t->n, MIN(n + 1, (uint32_t)PULSE_TOP));
    }
    for (; at > 0 && t->key[at - 1] < key; at--) {
        store(&t->item[at], load(&t->item[at - 1]));
        t->key[at] = t->key[at - 1];
    }
    store(&t->item[at], item);
    t->key[at] = key;
}

static void rise_all(struct pulse *p, uint32_t item, const float *value, uint32_t tick) {
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        rise(&p->top[h], item, log2((double)value[h]) + (double)tick / (double)pulse_horizon[h]);
}

void pulse_observe(struct pulse *p, uint32_t item, uint32_t tick) {
    if (item >= p->max_items)
        return;
    struct pulse_state *b = &p->beat[item];
    uint32_t last = load(&b->last), since = last && tick > last ? tick - last : 0;
    float value[PULSE_HORIZONS];
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++) {
        value[h] = load_relaxed(&b->value[h]) * decay(since, h) + 1;
        store_relaxed(&b->value[h], value[h]);
    }
    if (!last)
        store(&b->first, tick);
    store(&b->last, MAX(last, tick));
    store(&b->events, load(&b->events) + 1);
    if (__atomic_exchange_n(&p->busy, true, __ATOMIC_ACQUIRE))
        return;
    rise_all(p, item, value, tick);
    __atomic_store_n(&p->busy, false, __ATOMIC_RELEASE);
}

void pulse_prefetch(const struct pulse *p, uint32_t item) {
    __builtin_prefetch(&p->beat[item]);
}

void pulse_look(const struct pulse *p, uint32_t item, uint32_t tick, struct pulse_view *ret) {
    const struct pulse_state *b = &p->beat[item];
    uint32_t last = load(&b->last), first = load(&b->first);
    *ret = (struct pulse_view){.events = (float)load(&b->events)};
    ret->idle = tick - MIN(last, tick);
    ret->age = tick - MIN(last ? first : tick, tick);
    for (uint32_t h = 0; last && h < PULSE_HORIZONS; h++)
        ret->value[h] = load_relaxed(&b->value[h]) * decay(ret->idle, h);
}

size_t pulse_top(const struct pulse *p, uint32_t horizon, uint32_t *ret, size_t max) {
    const struct top *t = &p->top[horizon];
    size_t n = MIN((size_t)load(&t->n), max);
    for (size_t i = 0; i < n; i++)
        ret[i] = load(&t->item[i]);
    return n;
}

void pulse_forget_row(struct pulse *p, uint32_t row) {
    if (row < p->max_items)
        p->beat[row] = (struct pulse_state){0};
}

struct pulse_state pulse_get(const struct pulse *p, uint32_t item) {
    struct pulse_state s = {0};
    if (item >= p->max_items)
        return s;
    const struct pulse_state *b = &p->beat[item];
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        s.value[h] = load_relaxed(&b->value[h]);
    s.events = load(&b->events);
    s.first = load(&b->first);
    s.last = load(&b->last);
    return s;
}

void pulse_set(struct pulse *p, uint32_t item, const struct pulse_state *s) {
    if (item >= p->max_items)
        return;
    bool known = s->last > 0 && s->first <= s->last;
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        known = known && s->value[h] > 0 && s->value[h] < INFINITY;
    p->beat[item] = known ? *s : (struct pulse_state){0};
    if (known)
        rise_all(p, item, s->value, s->last);
}

void pulse_regions(struct pulse *p, uint32_t rows, struct regions *s) {
    regions_one(s, &p->top);
    regions_add(s, p->beat, sizeof *p->beat, rows, p->max_items);
}

bool pulse_sound(const struct pulse *p, uint32_t rows) {
    bool sound = true;
    for (uint32_t h = 0; h < PULSE_HORIZONS && sound; h++) {
        sound = p->top[h].n <= PULSE_TOP;
        for (uint32_t i = 0; sound && i < p->top[h].n; i++)
            sound = p->top[h].item[i] < rows;
    }
    return sound;
}

size_t pulse_bytes_per_item(void) {
    return sizeof(struct pulse_state);
}
