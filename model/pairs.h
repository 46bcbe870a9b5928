/* Which items go with which, item by item, from the order in which users met them: what came
 * right after, what came later and what came before, in bounded tables.
 *
 * Everything is counted in events of the stream (see pulse.h): `next` over a short and a long
 * horizon, `ahead` and `behind` weighted by 1/distance^0.6 over the last PAIRS_RECENT items
 * and kept long. An item has up to PAIRS_SLOTS others; the weakest makes room for a new one.
 *
 * Thread: any, side by side (Hogwild, relaxed atomics); [structural]: alone. */
#pragma once

#include "model/model.h"
#include "model/regions.h"

enum { PAIRS_SLOTS = 64, PAIRS_RECENT = 24 };

enum pairs_kind { PAIR_NEXT_SHORT, PAIR_NEXT_LONG, PAIR_AHEAD, PAIR_BEHIND, PAIR_KINDS };

struct pairs;
int pairs_new(uint32_t max_items, struct pairs **ret); /* 0, -ENOMEM, -EINVAL */
void pairs_free(struct pairs *p);
DEFINE_CLEANUP(struct pairs, pairs_free)

/* `item` came after the items of `trail` (newest first), as the tick-th event of the stream. */
void pairs_observe(struct pairs *p, uint32_t item, const struct trail_item *trail, size_t n,
                   uint32_t tick);

struct pairs_slot {
    uint32_t item;
    float weight[PAIR_KINDS];
};
struct pairs_view {
    uint32_t n;
    float total[PAIR_KINDS]; /* of all weights ever given, decayed alike */
    struct pairs_slot slot[PAIRS_SLOTS];
};
/* What goes with an item, as of its last event: totals and weights decay alike, so that
 * shares need no clock. */
void pairs_look(const struct pairs *p, uint32_t item, struct pairs_view *ret);

/* What a pair that far apart weighs, 1..PAIRS_RECENT. */
float pairs_by_distance(const struct pairs *p, uint32_t distance);

/* Neither the row nor its company remember each other, but for others so strong that they made the
 * row forget them. [structural] */
void pairs_forget_row(struct pairs *p, uint32_t row);
/* What goes with an item, as a durable record: the others by their ids, those without one left
 * out. */
void pairs_encode(const struct pairs *p, uint32_t row,
                  struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                  struct buf *out);
/* Puts a record's content in place of the row's; others whose row_of_id is no row are left out.
 * *ret_n: bytes it took. 0, or -EBADMSG (row unchanged). [structural] */
int pairs_restore(struct pairs *p, uint32_t row, uint32_t (*row_of_id)(void *ctx, struct str id),
                  void *ctx, const void *from, size_t n, size_t *ret_n);
/* The memory of its state, of the first `rows` items; see regions.h. */
void pairs_regions(struct pairs *p, uint32_t rows, struct regions *s);
/* Whether what was put there, from outside, leads nowhere else. */
bool pairs_sound(const struct pairs *p, uint32_t rows);

size_t pairs_bytes_per_item(void);
