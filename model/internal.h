/* Inside model/: the shared state and what its parts ask of one another. Nothing
 * outside model/ includes this. */
#pragma once

#include "model/items.h"

struct covisit; /* model/covisit.h */
struct trend;   /* model/trend.h */
struct sessions;
struct pairs;
struct pulse;
struct late;
struct ranker;
struct context;

/* Rows whose weight is drawn by the alias method (Walker 1977; Vose 1991). */
struct sampler {
    uint32_t n, cap;              /* cap: max_items */
    uint32_t *row, *alias, *keep; /* keep: chance of `row` over `alias`, as a share of 2^32 */
    uint64_t built_at;            /* count of events when it was built */
};

/* One category by name; see model_category_key. */
struct categories {
    struct id_index index; /* by the bytes of the key */
    uint32_t *key;
    struct str *name;
    uint32_t n, cap;
};

enum { NEWCOMERS = 64, MODEL_ASKED = 2 << 16 /* counters of admission, of two hashes */ };

struct model {
    struct model_config c;
    uint64_t hash_seed; /* for every id_index of this model and its shards */
    struct items items;
    struct categories categories;
    struct sampler sampler;
    float *phi; /* float[dim][dim], row-major; the user's side of the score is φ·u */
    float phi_acc;
    bool phi_dirty;
    float base_mean; /* of items.base, for telling why an item is listed */
    uint64_t events; /* learned; relaxed */
    uint8_t *asked;  /* admission counts by hash, see model_item_admit */
    uint32_t asked_n;
    uint32_t expire_hand;
    struct covisit *covisit;
    struct trend *trend;
    struct sessions *sessions;
    struct pairs *pairs;
    struct pulse *pulse;
    struct ranker *ranker;
    struct late *late;
    struct context *context;
    uint32_t newcomer[NEWCOMERS]; /* rows with few events, a ring; see diversify.h */
    uint32_t newcomers_n;         /* ever put there */
    uint32_t newcomer_hand;
    bool dropped;        /* some item went: histories may name rows that are not theirs any more */
    bool exact;          /* goes on from an image: nothing is made known that it did not hold */
    uint32_t tick;       /* events of items taken in: what horizons are counted in; relaxed */
    bool counters_dirty; /* events, tick or the late queue */
};

/* Rows that may not be on the user's list: seen ones, or those bought within the window. At most
 * PROFILE_SEEN_MAX. */
size_t model_left_out(const struct model *m, const struct user *u, bool seen, uint32_t *ret);

/* First embedding of a user's row: deterministic by id and seed, whatever the row. */
void user_init(const struct model *m, struct str id, float *emb);

/* Checks a durable record's key, checksum, version and dim: 0, -EBADMSG, -EPROTO. record.c */
struct wire;
int record_open(const struct model *m, struct str key, const void *p, size_t n,
                uint8_t *ret_version, struct wire *ret_body);

int categories_init(struct model *m);
void categories_done(struct model *m);
/* The key of a category's name, which is noted; 0 when it is empty or memory is out.
 * [structural] */
uint32_t categories_add(struct model *m, struct str name);

/* Memory behind a shard's users: tables, index, ids, profiles. shard.c */
size_t shard_bytes(const struct shard *s);

/* An event of the item at `time_s` is known of. [shared] */
static inline void item_seen(const struct model *m, uint32_t row, uint32_t time_s) {
    uint32_t *seen_s = &m->items.hot[row].seen_s;
    if (time_s > __atomic_load_n(seen_s, __ATOMIC_RELAXED))
        __atomic_store_n(seen_s, time_s, __ATOMIC_RELAXED);
}

/* Whether a remembered row still is the item it was at `time_s`; rows are used again
 * after eviction. */
static inline bool item_ref_valid(const struct model *m, uint32_t row, uint32_t time_s) {
    return row < m->items.rows && (m->items.hot[row].state & ITEM_LIVE) &&
           time_s >= m->items.hot[row].born_s;
}
