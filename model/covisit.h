/* Which items follow which: an item-to-item table learned online from what each user
 * did shortly before. Bounded: COVISIT_SLOTS neighbours per item, the weakest replaced
 * (space-saving, Metwally et al. 2005). Weights decay by event time (forward decay,
 * Cormode et al. 2009), so that nothing is swept.
 *
 * Thread: any, side by side (Hogwild: slots are relaxed 64-bit atomics, a lost update is a
 * lost count); what says [structural] needs the table to itself. */
#pragma once

#include "model/model.h"
#include "model/regions.h"

enum { COVISIT_SLOTS = 32, COVISIT_RECENT = 8 };

struct covisit_config {
    uint32_t max_items;   /* rows 0..max_items-1 */
    int64_t half_life_ms; /* of a weight; <= 0: no decay */
};

struct covisit;

/* Address space for all rows, memory only where a row has neighbours. 0, -ENOMEM, -EINVAL. */
int covisit_new(const struct covisit_config *c, struct covisit **ret);
void covisit_free(struct covisit *c);
DEFINE_CLEANUP(struct covisit, covisit_free)

/* Somebody did something with `item`. Pairs it with the items before it in his history
 * (newest first, as profile_recent gives them; `item` itself may be among them and is
 * passed over; COVISIT_RECENT + 1 of them are enough): by 1/distance, discounted by the
 * pause between, forward in full and backward in part. `weight`: of the event. A reload
 * (profile_change.repeat_last) is the caller's to leave out. */
void covisit_observe(struct covisit *c, uint32_t item, const struct recent_item *recent, size_t n,
                     float weight, int64_t time_ms);

struct covisit_pair {
    uint32_t item;
    float boost; /* 0 to about 13: on the scale of <φu, v> */
};

/* What tends to follow the given recent items (newest first, as profile_recent gives
 * them): each item once, in no order; returns how many were written, at most max
 * (COVISIT_CANDIDATES is always enough). Costs one pass over the slots of the first
 * COVISIT_RECENT items. */
enum { COVISIT_CANDIDATES = COVISIT_RECENT * COVISIT_SLOTS };
size_t covisit_candidates(const struct covisit *c, const struct recent_item *recent, size_t n,
                          int64_t now_ms, struct covisit_pair *ret, size_t max);

/* Items most often met with `item`, best first, boost as a cosine in [0, 1]. */
size_t covisit_neighbours(const struct covisit *c, uint32_t item, int64_t now_ms,
                          struct covisit_pair *ret, size_t max);

/* The row now means another item: its own slots go, slots elsewhere that name it become
 * void. [structural] */
void covisit_forget_row(struct covisit *c, uint32_t row);

/* One item's slots and decayed popularity appended to `out`, neighbours by id. And back:
 * replaces them; neighbours for which row_of says ROW_NONE are left out. The record knows
 * its length: *ret_n bytes were consumed. -EBADMSG on damage (the caller's checksum is the
 * real guard), the row unchanged then. restore [structural] */
void covisit_encode(const struct covisit *c, uint32_t row,
                    struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                    struct buf *out);
int covisit_restore(struct covisit *c, uint32_t row, uint32_t (*row_of)(void *ctx, struct str id),
                    void *ctx, const void *p, size_t n, size_t *ret_n);

/* The memory of its state, of the first `rows` items; see regions.h. */
void covisit_regions(struct covisit *c, uint32_t rows, struct regions *s);

size_t covisit_bytes_per_item(void);
