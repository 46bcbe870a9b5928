/* The variable part of a profile: one malloc'ed block of packed sections, each as long as
 * its entries, so that a short history costs little. For profile*.c and user_state.c.
 *
 *   extras | types | affinities | cart | bought | recent | dedup | trail | prices of recent (u16)
 *
 * Sections are runs of 32-bit words; those with a time (second word), but for the trail, are
 * sorted by it, oldest first. */
#pragma once

#include "model/model.h"

enum pm_section {
    PM_TYPES,    /* type << 27 | count */
    PM_AFFINITY, /* category key, f32 weight as of the profile's minute */
    PM_CART,     /* row, time, f32 price */
    PM_BOUGHT,   /* row, time */
    PM_RECENT,   /* type << 27 | row, time */
    PM_DEDUP,    /* fingerprints; a ring once full */
    PM_TRAIL,    /* first of its session << 27 | row, time; in the order they came */
    PM_SECTIONS
};

/* Single values that few users have. */
enum pm_extra {
    PX_SPEND,      /* f64 */
    PX_PURCHASE_S, /* last purchase, Unix seconds */
    PX_SCORE,      /* f32 */
    PX_DWELL,      /* f32 mean in seconds, f32 decayed number behind it */
    PX_FLOOD,      /* last flooded minute, flooded minutes in a row up to it */
    PX_CONTEXT,    /* values of the newest event's context, see context.h */
    PX_COUNT
};

struct profile_more {
    uint8_t n[PM_SECTIONS]; /* entries */
    uint8_t dedup_head;     /* oldest fingerprint once the ring is full */
    uint8_t extras;         /* bit per enum pm_extra */
    uint32_t w[];
};

extern const uint8_t pm_width[PM_SECTIONS];    /* words an entry */
extern const uint8_t pm_max[PM_SECTIONS];      /* entries */
extern const uint8_t pm_extra_width[PX_COUNT]; /* words */

/* Entries of a section; p->more may be NULL. */
static inline uint32_t pm_n(const struct profile *p, enum pm_section s) {
    return p->more ? p->more->n[s] : 0;
}
uint32_t *pm_at(const struct profile *p, enum pm_section s); /* NULL without a block */
uint16_t *pm_prices(const struct profile *p);
size_t pm_size(const struct profile *p); /* bytes in use, 0 without a block */
/* Makes room for one zeroed entry at `i`; false: out of memory, nothing changed. */
bool pm_insert(struct profile *p, enum pm_section s, uint32_t i);
void pm_erase(struct profile *p, enum pm_section s, uint32_t i);
/* Takes entry `from` out and puts it back at `to`, those between move up. */
void pm_move(struct profile *p, enum pm_section s, uint32_t from, uint32_t to);

uint32_t *pm_extra(const struct profile *p, enum pm_extra x); /* NULL: the user has none */
uint32_t *pm_extra_make(struct profile *p,
                        enum pm_extra x); /* zeroed if new; NULL: out of memory */

/* Prices of recent items in 16 bits: 6 of exponent, 10 of mantissa, no sign. */
uint16_t price_pack(float price);
float price_unpack(uint16_t v);

enum { PM_ROW_MASK = PROFILE_ROW_MAX - 1, PM_TYPE_SHIFT = 27 };

/* What the first word of an entry holds beside the row is above this mask. */
static inline uint32_t pm_row_mask(enum pm_section s) {
    return s == PM_RECENT || s == PM_TRAIL ? PM_ROW_MASK : UINT32_MAX;
}

static inline float pm_f32(uint32_t w) {
    float f;
    memcpy(&f, &w, sizeof f);
    return f;
}
static inline uint32_t pm_word(float f) {
    uint32_t w;
    memcpy(&w, &f, sizeof w);
    return w;
}
