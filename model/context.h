/* Where and how people come, and what they then take: per item and context value (a device, a
 * country, a referrer) how much oftener it is taken there than elsewhere.
 *
 * Counts are decayed over the third horizon of pulse.h. The values of a key share a few buckets
 * by hash, of items and of the whole alike, so that a lift is a bucket's and an item costs two
 * cache lines.
 *
 * Thread: any, side by side (relaxed atomics); [structural]: alone. */
#pragma once

#include "model/model.h"
#include "model/regions.h"
#include "model/wire.h"

enum { CONTEXT_SLOTS = 6 };

/* The values of an event's context that count, by slot: 32-bit hashes, 0 where there is none.
 * Which keys go to which slot is fixed, see context.c. */
void context_of(const struct event *e, uint32_t ret[static CONTEXT_SLOTS]);

struct context;
int context_new(uint32_t max_items, struct context **ret); /* 0 or -ENOMEM */
void context_free(struct context *c);
DEFINE_CLEANUP(struct context, context_free)

/* Item taken in a context, as the tick-th event of the stream. */
void context_observe(struct context *c, uint32_t item, const uint32_t values[static CONTEXT_SLOTS],
                     uint32_t tick);
/* How many times as often the item is taken in each value of the context as over all, shrunk
 * towards 1 where little is known; 1 for slots without a value. `taken`: the item's decayed
 * count over the same horizon. */
void context_lift(const struct context *c, uint32_t item,
                  const uint32_t values[static CONTEXT_SLOTS], float taken, uint32_t tick,
                  float ret[static CONTEXT_SLOTS]);
/* An item's counts as a durable record, those of everything for ROW_NONE; and back, -EBADMSG on
 * damage (the counts unchanged then). restore [structural] */
void context_encode(const struct context *c, uint32_t item, struct buf *out);
int context_restore(struct context *c, uint32_t item, struct wire *from);

void context_prefetch(const struct context *c, uint32_t item); /* for a lift soon */
void context_forget_row(struct context *c, uint32_t row);      /* [structural] */
/* The memory of its state, of the first `rows` items; see regions.h. */
void context_regions(struct context *c, uint32_t rows, struct regions *s);

size_t context_bytes_per_item(void);
