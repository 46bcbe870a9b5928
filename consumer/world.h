/* What the workers of one process share: the model behind its lock, the campaigns,
 * people's wishes (consent, time zone), prices that fell. Thread: any, as noted. */
#pragma once

#include <pthread.h>

#include "consumer/wishes.h"

/* A catalogue price that fell; workers look up who viewed the item. */
struct price_drop {
    uint32_t item;
    double old_price, new_price;
};

struct exact;
struct world {
    const struct config *cfg;
    struct model *model;
    /* Read lock: learn, rank, encode, in short chunks. Write lock: new items, catalogue
     * changes, maintenance. Writers are preferred, so a chunk's length bounds their wait. */
    pthread_rwlock_t model_lock;
    struct policy_set *policies;
    struct exact *exact; /* consumer/exact.h; NULL unless model.save_interval is 0 */
    struct wishes *wishes;
    int32_t partitions; /* of the clickstream; 1 until told */
    uint64_t learned;   /* events learned here, heard ones included (relaxed); paces maintenance */
    uint64_t run;       /* drawn at the start: no other process has it, nor this one's next run */
    uint64_t told;      /* records of learned events completed, see model/share.h (atomic) */
    bool undone;        /* what was learned since the last commit is not to be saved (atomic) */
    int64_t now_ms;     /* about the newest event time (relaxed); for trends */

    pthread_mutex_t drop_lock;
    struct price_drop *drops; /* a ring of the newest; `n_drops` counts all since the start */
    uint64_t n_drops;         /* relaxed reads */

    /* What people set in beckon:control; bytes read relaxed. */
    uint8_t paused_campaign[POLICY_CAMPAIGNS_MAX], approved_campaign[POLICY_CAMPAIGNS_MAX];
    bool paused_all;
};

enum { WORLD_DROPS = 4096 };

/* Whether it tells other processes what it learns, and learns what they tell. */
static inline bool world_shares(const struct world *w) {
    return w->cfg->model_share && !w->exact;
}

/* Model settings as configured. */
void world_model_config(const struct config *cfg, struct model_config *ret);

/* `policies` moves in. `hash_seed` of the id tables: random where ids come from outside, so that
 * nobody can choose ids that collide; it changes no result. 0 or -errno. */
int world_new(const struct config *cfg, struct policy_set *policies, uint64_t hash_seed,
              struct world **ret);
void world_free(struct world *w);
DEFINE_CLEANUP(struct world, world_free)

/* `n` more events were learned, the last of them at `now_ms`: maintains the model now and then,
 * under the write lock. */
void world_learned(struct world *w, size_t n, int64_t now_ms);

/* One catalogue record; notes a price drop of a known item. Takes the write lock. */
int world_item(struct world *w, const struct item_info *info, int64_t now_ms);

/* Drops from number *cursor on, oldest first, at most max; advances it. Workers that
 * fall more than WORLD_DROPS behind miss the oldest ones. */
size_t world_drops(struct world *w, uint64_t *cursor, struct price_drop *ret, size_t max);
