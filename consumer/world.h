/* What the workers of one process share: the model behind its lock, the campaigns,
 * people's wishes (consent, time zone), prices that fell. Thread: any, as noted. */
#pragma once

#include <pthread.h>

#include "consumer/decode.h"
#include "policy/policy.h"

/* A catalogue price that fell; workers look up who viewed the item. */
struct price_drop {
    uint32_t item;
    double old_price, new_price;
};

struct wishes;

struct world {
    const struct config *cfg;
    struct model *model;
    /* Read lock: learn, rank, encode, in short chunks. Write lock: new items, catalogue
     * changes, maintenance. Writers are preferred, so a chunk's length bounds their wait. */
    pthread_rwlock_t model_lock;
    struct policy_set *policies;
    struct wishes *wishes;
    uint64_t learned; /* events learned by all workers (relaxed); paces maintenance */

    pthread_mutex_t drop_lock;
    struct price_drop *drops; /* all since the start; workers remember how far they read */
    size_t n_drops, cap_drops;
    size_t drop_count; /* n_drops, readable without the lock */

    /* What people set in beckon:control; bytes read relaxed. */
    uint8_t paused_campaign[POLICY_CAMPAIGNS_MAX];
    bool paused_all;
};

/* Model settings as configured. */
void world_model_config(const struct config *cfg, struct model_config *ret);

/* `policies` moves in. 0 or -errno. */
int world_new(const struct config *cfg, struct policy_set *policies, struct world **ret);
void world_free(struct world *w);
DEFINE_CLEANUP(struct world, world_free)

/* One catalogue record; notes a price drop of a known item. Takes the write lock. */
int world_item(struct world *w, const struct item_info *info, int64_t now_ms);

/* One user-control record replaces what was known of the user. */
int world_control(struct world *w, const struct control_info *c);
/* A user's wishes; `known` false when there is no record. */
struct consent world_consent(struct world *w, struct str user);

/* Drops since *cursor; returns how many were copied (at most max) and advances it. */
size_t world_drops(struct world *w, size_t *cursor, struct price_drop *ret, size_t max);
