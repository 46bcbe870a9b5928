/* Inside model/: the shared state and what its parts ask of one another. Nothing
 * outside model/ includes this. */
#pragma once

#include "model/items.h"

struct covisit; /* model/covisit.h */
struct trend;   /* model/trend.h */

/* Rows whose weight is drawn by the alias method (Walker 1977; Vose 1991). */
struct sampler {
    uint32_t n, cap;
    uint32_t *row, *alias, *keep; /* keep: chance of `row` over `alias`, as a share of 2^32 */
    uint64_t built_at;            /* count of events when it was built */
};

/* One category by name; see model_category_key. */
struct categories {
    struct id_index index;
    struct id_arena arena;
    struct str *name;
    uint32_t n, cap;
};

struct model {
    struct model_config c;
    uint64_t hash_seed; /* for every id_index of this model and its shards */
    struct items items;
    struct categories categories;
    struct sampler sampler;
    float *phi; /* float[dim][dim], row-major; the user's side of the score is φ·u */
    float phi_acc;
    bool phi_dirty;
    float *proj; /* float[dim][n_dense]; NULL before the first dense vector */
    float proj_acc;
    bool proj_dirty;
    float mean;      /* running mean of the targets, LOSS_SQUARED only */
    float base_mean; /* of items.base, for telling why an item is listed */
    uint64_t events; /* learned, relaxed */
    uint8_t *asked;  /* admission counts by hash, see model_item_admit */
    uint64_t asked_n;
    struct covisit *covisit;
    struct trend *trend;
};

/* First embedding of a user's row: deterministic by id and seed, whatever the row. */
void user_init(const struct model *m, struct str id, float *emb);

/* Whether a remembered row still is the item it was at `time_s`; rows are used again
 * after eviction. */
static inline bool item_ref_valid(const struct model *m, uint32_t row, uint32_t time_s) {
    return row < m->items.rows && (m->items.hot[row].state & ITEM_LIVE) &&
           time_s >= m->items.hot[row].born_s;
}

/* What model.c and topn.c call of the other files (declared in their headers):
 *
 * model/profile_internal.h
 *   enum learn_result profile_observe(const struct model *m, struct user *u,
 *                                     const struct event *e, uint32_t item_row);
 *       de-duplicates, denoises, updates the profile; changes nothing else
 *   size_t profile_bought(const struct profile *p, int64_t since_ms, uint32_t *ret, size_t max);
 *       rows bought at or after since_ms
 *   size_t profile_bytes(const struct profile *p)
 * model/covisit.h
 *   struct boost { uint32_t item; float value; };
 *   int covisit_new(const struct model_config *c, struct covisit **ret);
 *   void covisit_free(struct covisit *);
 *   void covisit_observe(struct covisit *, uint32_t item, const struct recent_item *recent,
 *                        size_t n_recent, float weight, int64_t time_ms);   [shared]
 *       `recent` newest first, the event's own item may be among them
 *   size_t covisit_boosts(const struct covisit *, const struct recent_item *recent,
 *                         size_t n_recent, int64_t now_ms, struct boost *ret, size_t max); [shared]
 *       every item once, values >= 0, scaled so that covisit_weight 1 is sensible
 *   size_t covisit_similar(const struct covisit *, uint32_t item, struct boost *ret, size_t max);
 *       neighbours best first, values in (0, 1]
 *   void covisit_drop(struct covisit *, uint32_t item);                     [structural]
 *   int covisit_encode / covisit_restore of one item's neighbours by id, if durable
 *   size_t covisit_bytes(const struct covisit *)
 * model/trend.h
 *   int trend_new(const struct model_config *c, struct trend **ret); void trend_free(...)
 *   void trend_observe(struct trend *, uint32_t item, float weight, int64_t time_ms);  [shared]
 *   float trend_popularity(const struct trend *, uint32_t item, int64_t now_ms); decayed count
 *   float trend_score(const struct trend *, uint32_t item);
 *       what trend_weight multiplies: bounded below by 0, about the logarithm of the decayed
 *       count as of the newest time seen; model.c refreshes it in slices
 *   void trend_set(struct trend *, uint32_t item, float popularity, int64_t time_ms); restore
 *   void trend_drop(struct trend *, uint32_t item);                         [structural]
 *   int64_t trend_now(const struct trend *)                       newest time seen
 *   size_t trend_bytes(const struct trend *)
 */
