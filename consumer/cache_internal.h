/* What cache.c (collecting) and cache_wire.c (sending, answers, the cluster) share.
 *
 * DESIGN
 * `all` holds the collection as raw commands, in the order of the calls, and for each operation
 * where it ends and how many replies it gets. Each operation is given to the pipe of the node that
 * has its key. When all pipes have all replies, everything starts over. When a connection breaks,
 * or Redis says that it cannot now, or that a slot is another node's, the others finish; then all
 * is given out again, to all nodes, in the same order: an older list resent alone could overwrite
 * a newer one. Only "ASK", of which resharding makes many, is followed key by key, in order.
 *
 * A list is replaced by one RESTORE of it in Redis's own form where the servers take that form
 * (tried after connecting), else by MULTI, DEL, ZADD, PEXPIRE, EXEC, best first, because then each
 * pair finds its place at the head. Redis 7.0 needed 3 us for a list of 20 by RESTORE, 8 us by the
 * transaction, which costs little more than its three commands bare; 24 us by a script.
 *
 * Every node has a marker of its own, in one of its slots; it stays in that slot when the slot
 * moves or a replica is promoted, so that also a replica that was behind is noticed. */
#pragma once

#include "consumer/cache.h"
#include "consumer/pipe.h"
#include "consumer/slots.h"

struct cache {
    const struct config *cfg;
    struct redis *guide; /* of a cluster: knows the way; else NULL */
    int64_t timeout_us;
    struct collection all;
    struct buf key, payload;
    struct pipe **pipe; /* one without a cluster */
    size_t n_pipes;
    struct slot_map map;   /* of a cluster */
    struct pipe **of_node; /* the map's nodes */
    bool stale;            /* the map may be wrong: learn it before anything else */
    bool trouble;          /* the collection has to be given out again */
    bool waits;            /* because Redis cannot now */
    unsigned wandering;    /* times in a row that it was given out again for a wrong map alone */
    size_t turn;           /* which node was last asked for the map */
    char error[REPLY_TEXT_MAX];
    char logged[32]; /* first word of the refusal last logged */
    struct cache_stats stats;
    /* Markers hold a number that grows: finding an older one, or none, means that Redis lost
     * something. */
    char token[17];
    uint64_t marker_next;
    int64_t marker_us;
    bool wiped;
    uint64_t word;   /* beckon:rewrite as last seen, hashed; 0: never */
    bool word_known; /* it was asked for */
    bool outdated;   /* a new one is due once the collection is stored */
};

/* ---- cache.c ---- */
void cache_put_markers(struct cache *c); /* of all nodes connected */
void cache_put_marker(struct cache *c, struct pipe *p);
void cache_ask_word(struct cache *c); /* for beckon:rewrite */
void cache_put_word(struct cache *c); /* a new one there; c->outdated stays without memory */
/* It changes nothing for readers, and is asked anew rather than repeated. */
static inline bool op_looks(const struct op *op) {
    return op->kind == OP_MARKER || op->kind == OP_ASK;
}
/* The key of p's marker, in c->key. */
struct str cache_marker_key(struct cache *c, const struct pipe *p, const char *more);
/* Appends the operation once more, without the key of another kind in its way. */
void cache_again_without_key(struct cache *c, size_t i);

/* ---- cache_wire.c ---- */
/* The pipe an operation on that slot goes to; NULL: not known now. */
struct pipe *cache_pipe(const struct cache *c, uint16_t slot);
bool cache_restores(const struct cache *c); /* all nodes take RESTORE */
