/* The lists, profiles and counters in Redis: keys, formats, pipelining, reconnecting.
 * One cache per thread. Commands are collected, sent as one pipeline by cache_send,
 * and acknowledged by cache_wait; whatever was not acknowledged is sent again whole
 * (every command replaces, so that repeating is harmless). */
#pragma once

#include "consumer/options.h"
#include "model/model.h"

struct cache;
int cache_new(const struct config *cfg, struct cache **ret); /* does not connect yet */
void cache_free(struct cache *c);
DEFINE_CLEANUP(struct cache, cache_free)

struct cache_entry {
    struct str item;
    float score;
};

/* beckon:top:{USER}, beckon:similar:{ITEM}, beckon:trending: sorted sets, best = highest
 * score (ZREVRANGE … WITHSCORES), replaced whole, with TTL. */
void cache_top(struct cache *c, struct str user, const struct cache_entry *e, size_t n);
void cache_similar(struct cache *c, struct str item, const struct cache_entry *e, size_t n);
void cache_trending(struct cache *c, const struct cache_entry *e, size_t n);
/* beckon:user:{USER}: hash of the profile in words and numbers a person can read. */
void cache_user(struct cache *c, const struct model *m, const struct user *u, int64_t now_ms);
void cache_forget(struct cache *c, struct str user); /* deletes the user's keys */
/* Any hash (beckon:stats, beckon:campaign:{ID}): field, value pairs; whole replace. */
void cache_hash(struct cache *c, const char *name, struct str tag, const struct key_value *kv, size_t n);
/* beckon:triggers: XADD MAXLEN ~ redis.triggers_max; not idempotent, so lost rather than repeated on a broken connection. */
void cache_trigger(struct cache *c, const struct key_value *kv, size_t n);

/* Sends what was collected. 0, or -EAGAIN (not connected; kept, will be resent). Never blocks longer than redis.timeout. */
int cache_send(struct cache *c);
/* Waits for all replies. 0: everything is stored, the collection is empty. -EAGAIN: Redis is away or
 * full (OOM), loading or read-only; everything is kept: call again (it reconnects with bounded backoff). */
int cache_wait(struct cache *c);
/* True once after Redis turned out to have lost its data (restart without it, FLUSHALL, fail-over):
 * the caller rewrites everything. Checked about once a second with a marker key. */
bool cache_wiped(struct cache *c);
uint64_t cache_commands(const struct cache *c); /* acknowledged since the start */
const char *cache_error(const struct cache *c); /* the last failure, for the log; "" if none */
