/* The lists, profiles and counters in Redis: keys, formats, pipelining, reconnecting.
 * One cache per thread. Commands are collected, sent as one pipeline by cache_send,
 * and acknowledged by cache_wait; whatever was not acknowledged is sent again whole
 * (every command replaces, so that repeating is harmless).
 *
 * Keys, with the default prefix; every one has a TTL (redis.ttl), renewed when written:
 *   beckon:top:{USER}       sorted set, best = highest score (ZREVRANGE … WITHSCORES)
 *   beckon:why:{USER}       string: a word for each place of beckon:top:{USER} (why.h);
 * lists.reasons beckon:similar:{ITEM}   the same beckon:trending         the same
 *   beckon:user:{USER}      hash
 *   beckon:stats, beckon:campaign:{ID}   hashes, of all processes together
 *   beckon:ranker           hash: cases, loss, weight:PART:COLUMN of the ranker (ranker_view.h), as
 *                           the process has it that wrote last
 *   beckon:stats:{INSTANCE}, beckon:processes   a hash for each, the set of them (publish.h)
 *   beckon:triggers         stream; the only one not filled again after Redis lost its data: it
 *                           goes on with the next trigger (campaign-triggers has them all)
 *   beckon:marker:{INSTANCE}:TOKEN       to notice that Redis lost its data
 *   beckon:rewrite          a word: whoever finds a new one writes all of its own again. Set by a
 *                           process that wrote later than it should have, or by hand
 * The braces are literal: what is between them is Redis Cluster's hash tag. So that it is
 * always the whole id, ids are escaped there: '{', '}', '%', control bytes and DEL become
 * %XX. Members of sorted sets are ids as they are.
 * Scores are in thousandths: Redis stores and prints integers at less than half of the cost of
 * fractions. Where rounding makes two entries alike, the later one is put lower, so
 * that the order of a list is always the one it was written in. */
#pragma once

#include "consumer/options.h"
#include "model/model.h"

struct cache;
/* Does not connect yet. 0, -ENOMEM, or -EINVAL after logging what is wrong in redis.*. */
int cache_new(const struct config *cfg, struct cache **ret);
void cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache, cache_free)

enum { CACHE_SCORE_SCALE = 1000 };

struct cache_entry {
    struct str item;
    float score;
};

/* Best first, no item twice, TOP_MAX at most. Replaced whole at once: a reader sees the old or
 * the new list. n = 0 deletes it. */
void cache_top(struct cache *c, struct str user, const struct cache_entry *e, size_t n);
/* beckon:why:{USER}: the reasons of a list; an empty text deletes it. */
void cache_why(struct cache *c, struct str user, struct str text);
void cache_similar(struct cache *c, struct str item, const struct cache_entry *e, size_t n);
void cache_trending(struct cache *c, const struct cache_entry *e, size_t n);
/* beckon:user:{USER}: the profile in words and numbers a person can read. Ids in it are
 * escaped as in keys. */
void cache_user(struct cache *c, const struct model *m, const struct user *u, int64_t now_ms);
void cache_forget(struct cache *c, struct str user); /* deletes the user's keys */
/* Any hash (beckon:stats, beckon:campaign:{ID}): field, value pairs; whole replace. An
 * empty tag: none. ttl_ms 0: redis.ttl. */
void cache_hash(struct cache *c, const char *name, struct str tag, const struct key_value *kv,
                size_t n, int64_t ttl_ms);
/* beckon:triggers: XADD MAXLEN ~ redis.triggers_max. Not idempotent, so lost rather than
 * repeated when the connection breaks after it was sent. */
void cache_trigger(struct cache *c, const struct key_value *kv, size_t n);

/* Sends what was collected and takes the replies that are there. 0, or -EAGAIN: Redis is
 * away or cannot now; all is kept and will be resent. Never blocks longer than
 * redis.timeout, and while Redis is away only for one attempt to connect now and then. */
int cache_send(struct cache *c);
/* Waits for all replies. 0: everything is stored, the collection is empty. -EAGAIN: Redis is
 * away or full (OOM), loading or read-only, or needs longer than redis.timeout; everything is
 * kept: call again (it reconnects with bounded backoff, sleeping at most redis.timeout). */
int cache_wait(struct cache *c);
/* True once after Redis turned out to have lost its data (restart without it or with an old
 * copy, FLUSHALL, fail-over to a replica that was behind), and after beckon:rewrite changed: the
 * caller rewrites everything. Checked about once a second, without waiting, and with every
 * collection. */
bool cache_wiped(struct cache *c);
/* What was collected up to now may be older than what others wrote meanwhile; Redis cannot tell.
 * When all of it is stored, a new word goes to beckon:rewrite. */
void cache_outdated(struct cache *c);
/* Something that is collected and not acknowledged replaces what may be newer by the time it gets
 * there. */
bool cache_overwrites(const struct cache *c);
/* Bytes collected and not yet acknowledged. Nothing bounds them but the caller. */
size_t cache_pending(const struct cache *c);

struct cache_stats {
    uint64_t commands; /* acknowledged */
    uint64_t refused;  /* answered by an error that repeating would not cure; each logged by kind */
    uint64_t resent;   /* collections sent again */
    uint64_t triggers_lost; /* not repeated after the connection broke */
};
void cache_stats(const struct cache *c, struct cache_stats *ret);
uint64_t cache_commands(const struct cache *c); /* acknowledged since the start */
const char *cache_error(const struct cache *c); /* the last failure, for the log; "" if none */

/* ---- keys, for writers and readers alike ---- */
/* Appends prefix, kind and, unless the tag is empty, ":{" escaped tag "}". */
void cache_key(struct buf *out, const char *prefix, const char *kind, struct str tag);
/* Appends an id with '{', '}', '%', control bytes and DEL as %XX; and the reverse. */
void id_escape(struct buf *out, struct str id);
void id_escape_all(struct buf *out, struct str bytes); /* every byte of it */
void id_unescape(struct buf *out, struct str text);

/* A profile's fields as text, for cache_user: calls put for each; `value` is NUL-terminated
 * and valid during the call. */
void profile_words(const struct model *m, const struct user *u, int64_t now_ms,
                   void (*put)(void *ctx, const char *field, const char *value), void *ctx);
