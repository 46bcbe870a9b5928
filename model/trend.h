/* How popular items are, now and over all: a decayed and a plain count per item.
 *
 * Forward decay (Cormode, Shkapenyuk, Srivastava, Xu 2009): an event at t adds
 * 2^((t - L) / half_life) to its item and nothing is ever swept; the landmark L is the
 * beginning of an epoch of 32 half-lives and moves on item by item, as they are touched.
 *
 * Thread: any, side by side (relaxed atomics); [structural]: alone. */
#pragma once

#include "model/model.h"
#include "model/regions.h"

struct trend;

/* Address space for max_items rows, memory where touched. half_life_ms <= 0: no decay.
 * 0, -ENOMEM, -EINVAL. */
int trend_new(uint32_t max_items, int64_t half_life_ms, struct trend **ret);
void trend_free(struct trend *t);
DEFINE_CLEANUP(struct trend, trend_free)

void trend_observe(struct trend *t, uint32_t row, float weight, int64_t time_ms);
float trend_value(const struct trend *t, uint32_t row, int64_t now_ms); /* decayed sum of weights */
int64_t trend_now(const struct trend *t);                               /* newest time seen */
uint32_t trend_count(const struct trend *t, uint32_t row);              /* events, never decayed */

/* Per row log1p(decayed sum): 0 to about 10, ready to be weighed into a tile of scores.
 * Stable address, max_items long; rows without events are 0. A row is fresh when its item
 * has an event; the others age by trend_refresh. Read it with relaxed loads where others
 * observe at the same time. */
const float *trend_scores(const struct trend *t);
/* Recomputes `slice` rows of 0..n_rows-1 from where the last call left off. One thread. */
void trend_refresh(struct trend *t, uint32_t n_rows, int64_t now_ms, uint32_t slice);

enum trend_kind { TREND_NOW, TREND_EVER };
struct trend_entry {
    uint32_t row;
    float value; /* decayed count at now_ms, or the plain count */
};
/* The n rows of 0..n_rows-1 with the largest value above 0 for which keep(ctx, row) holds
 * (keep NULL: all), best first, ties to the smaller row. Exact; one pass over the rows. */
size_t trend_top(const struct trend *t, enum trend_kind kind, uint32_t n_rows, int64_t now_ms,
                 bool (*keep)(void *ctx, uint32_t row), void *ctx, struct trend_entry *ret,
                 size_t n);

void trend_forget_row(struct trend *t, uint32_t row); /* [structural] */
/* One item's counts in a durable form, independent of rows. */
struct trend_state {
    uint32_t epoch, count;
    float weight;
};
struct trend_state trend_get(const struct trend *t, uint32_t row);
void trend_set(struct trend *t, uint32_t row, struct trend_state s); /* [structural] */

/* The memory of its state, of the first `rows` items; see regions.h. */
void trend_regions(struct trend *t, uint32_t rows, struct regions *s);

size_t trend_bytes_per_item(void);
