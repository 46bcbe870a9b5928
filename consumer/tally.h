/* Named numbers as text: what a process publishes as a hash, and what several add up to. */
#pragma once

#include "consumer/cache.h"

enum { TALLY_KEY = 160, TALLY_VALUE = 64 };

struct tally {
    struct tally_entry {
        char key[TALLY_KEY], value[TALLY_VALUE];
    } * e;
    size_t n, cap;
    size_t next; /* where the next key asked for probably is */
    bool failed; /* memory ran out: incomplete */
};

/* One name more; the caller sees to it that it is new. */
void tally_put(struct tally *t, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* NULL: no such name. */
const char *tally_get(struct tally *t, const char *key);
/* Another process's value of that name: counts and rates are added up, sums of money (with a
 * point) to two places; of times (uptime_s, _p50, _p99), and of what all processes have alike
 * (items, bytes_per_item, bytes_per_user, ranker_loss), the largest one stays. */
void tally_merge(struct tally *t, const char *key, const char *value);
/* As a hash, names that begin with `but` (unless it is empty) left out; ttl_ms as of
 * cache_hash. */
void tally_write(const struct tally *t, struct cache *c, const char *name, struct str tag,
                 int64_t ttl_ms, const char *but);
void tally_clear(struct tally *t);
void tally_free(struct tally *t);
