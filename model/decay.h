/* Forward decay (Cormode, Shkapenyuk, Srivastava, Xu 2009) with a landmark that moves:
 * time is counted in half-lives and cut into epochs of 32 of them; a weight kept under an
 * epoch is worth weight * 2^(32 * epoch - now) now. Within an epoch a sum only grows,
 * by at most 2^32 a unit, which single precision holds. */
#pragma once

#include "model/base.h"

#include <math.h>

enum { DECAY_EPOCH = 32 };

/* Event time in half-lives; half_life_ms <= 0: no decay, time stands still. */
static inline double decay_time(int64_t time_ms, int64_t half_life_ms) {
    return half_life_ms > 0 && time_ms > 0 ? (double)time_ms / (double)half_life_ms : 0;
}

static inline uint32_t decay_epoch(double x) {
    return (uint32_t)fmin(x / DECAY_EPOCH, UINT32_MAX);
}

/* What one unit at x counts under an epoch: 2^(x - 32 epoch); 0 when too old to matter. */
static inline float decay_unit(double x, uint32_t epoch) {
    return exp2f((float)fmax(-126, fmin(126, x - (double)DECAY_EPOCH * epoch)));
}

/* Factor that carries a weight from an older epoch to a newer one. */
static inline float decay_carry(uint32_t from, uint32_t to) {
    return to > from ? exp2f(-(float)DECAY_EPOCH * (float)MIN(to - from, 4u)) : 1;
}

/* What a weight kept under an epoch is worth at x, a time not before the epoch. */
static inline float decay_worth(float weight, uint32_t epoch, double x) {
    double age = x - (double)DECAY_EPOCH * epoch;
    return weight * exp2f((float)-fmax(0, fmin(126, age)));
}
