/* How lively items are over several horizons, counted in events of the whole stream rather
 * than in time: a horizon of 500 events is seconds in a large shop and a day in a small one,
 * and means the same to a ranker in both. Decay is lazy, per item, when it is touched.
 *
 * Thread: any, side by side (relaxed atomics; a lost update is a lost count); [structural]:
 * alone. */
#pragma once

#include "model/model.h"
#include "model/regions.h"

enum { PULSE_HORIZONS = 4, PULSE_TOP = 64 };
/* Half-lives in events. */
extern const float pulse_horizon[PULSE_HORIZONS];

/* 2^-x for x >= 0, to 5e-6: a polynomial on the fraction, the same bits on every machine. */
static inline float pulse_decay(float x) {
    if (!(x < 100))
        return 0;
    int whole = (int)x;
    float part = x - (float)whole;
    float f = 1 - part * (0.693072f - part * (0.239497f - part * (0.053276f - part * 0.006851f)));
    uint32_t bits = (uint32_t)(127 - whole) << 23;
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return f * scale;
}

struct pulse;
int pulse_new(uint32_t max_items, struct pulse **ret); /* 0, -ENOMEM, -EINVAL */
void pulse_free(struct pulse *p);
DEFINE_CLEANUP(struct pulse, pulse_free)

/* An event of the item, the `tick`-th of the stream (from 1). */
void pulse_observe(struct pulse *p, uint32_t item, uint32_t tick);

struct pulse_view {
    float value[PULSE_HORIZONS]; /* decayed counts at `tick` */
    float events;                /* never decayed */
    uint32_t age, idle;          /* events of the stream since its first and its last one */
};
void pulse_look(const struct pulse *p, uint32_t item, uint32_t tick, struct pulse_view *ret);

void pulse_prefetch(const struct pulse *p, uint32_t item); /* for a look soon */

/* The liveliest items of a horizon, best first, as far as known; at most max. Those forgotten
 * since may be among them. */
size_t pulse_top(const struct pulse *p, uint32_t horizon, uint32_t *ret, size_t max);

void pulse_forget_row(struct pulse *p, uint32_t row); /* [structural] */
/* One item's counts in a durable form, independent of rows. */
struct pulse_state {
    float value[PULSE_HORIZONS];  /* as of `last` */
    uint32_t events, first, last; /* ticks of the first and the last event, 0: none */
};
struct pulse_state pulse_get(const struct pulse *p, uint32_t item);
void pulse_set(struct pulse *p, uint32_t item, const struct pulse_state *s); /* [structural] */

/* The memory of its state, of the first `rows` items; see regions.h. */
void pulse_regions(struct pulse *p, uint32_t rows, struct regions *s);
/* Whether what was put there, from outside, leads nowhere else. */
bool pulse_sound(const struct pulse *p, uint32_t rows);

size_t pulse_bytes_per_item(void);
