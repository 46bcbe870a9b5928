/* All state of one partition: its users, what its campaigns spent, its time, its
 * timers. Owned by the worker that owns the partition; durable in the changelog
 * partition of the same number, one record per changed user and one for the lane. */
#pragma once

#include "consumer/world.h"

struct lane {
    struct world *world;
    int32_t partition;
    struct shard *users;
    struct policy_shard *policy;
    int64_t stream_ms;    /* newest event time seen; INT64_MIN before the first */
    int64_t skew_ms;      /* wall clock minus stream time at the newest event: an idle lane's
                           * time is the wall clock minus this */
    int64_t last_wall_ms; /* when the last event came, by the wall clock */
    bool changed;         /* the lane's own record differs from the changelog's */
    uint64_t epoch;       /* which changelog this is: drawn by who wrote it first; 0: not yet */
    struct buf own;       /* its own record, read back or put away, until lane_restored */
    uint64_t events, maintained; /* seen; seen when lane_maintain last ran */
    uint64_t drops_seen;         /* how far it read the world's price drops */

    struct user **timers; /* binary heap by due_ms; user->timer_slot is its place + 1 */
    size_t n_timers, cap_timers;

    struct user **dirty; /* changed since the last commit, each once (user->dirty) */
    size_t n_dirty, cap_dirty;
    struct buf forgotten; /* ids evicted since the last commit: u32 length, bytes */
};

int lane_new(struct world *w, int32_t partition, struct lane **ret);
void lane_free(struct lane *l);
DEFINE_CLEANUP(struct lane, lane_free)

/* Puts the user's due_ms into the heap, moves or removes it. -ENOMEM. */
int lane_schedule(struct lane *l, struct user *u);
/* The user whose timer is due first, at or before `now_ms`; NULL: none. Stays in the heap. */
struct user *lane_due(const struct lane *l, int64_t now_ms);
int lane_mark_dirty(struct lane *l, struct user *u);
/* Bounded expiry and eviction of users; their ids become tombstones of the next commit. */
void lane_maintain(struct lane *l);

/* What its users cost in memory, estimated from some of them; what was taken ahead for others to
 * come is left out. Needs the model's read lock. */
size_t lane_bytes(const struct lane *l);

/* The changelog: calls put(ctx, key, key_n, value, value_n) for every record that
 * the next commit must hold (value NULL: tombstone) and forgets what was dirty, unless it
 * fails. Takes the model's read lock. 0 or the first error of put or of encoding. */
typedef int changelog_put(void *ctx, const void *key, size_t key_n, const void *value,
                          size_t value_n);
int lane_changes(struct lane *l, changelog_put *put, void *ctx);

/* For a snapshot: puts the records of up to `max` users from *cursor on, and after the last one
 * the lane's own, as they were last committed: what changed since is left out, the next commit
 * brings it. Takes the model's read lock. 1: there are more; 0: that was all; or an error as
 * lane_changes. */
int lane_committed(struct lane *l, uint32_t *cursor, size_t max, changelog_put *put, void *ctx);
/* Nothing differs from what was last committed. */
bool lane_clean(const struct lane *l);

/* One changelog record read back; a newer one of the same key replaces what was read before.
 * -EBADMSG on damage, -EPROTO when it was written with another model.dim. Takes the model's read
 * lock, the write lock only where an item is not known yet. */
int lane_restore(struct lane *l, const void *key, size_t key_n, const void *value, size_t value_n);
/* That was all: what the campaigns spent counts in this process from now on. -EBADMSG, -ENOMEM,
 * or -EKEYREJECTED: the campaign file changes what is in use. */
int lane_restored(struct lane *l);
const char *lane_conflict(const struct lane *l); /* what it changes */
/* The reverse, for a lane that is clean and whose partition moved to another process: it becomes as
 * if it had just been read back, so that records that the new owner writes may follow. -ENOMEM. */
int lane_put_away(struct lane *l);
