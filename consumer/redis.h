/* A connection to Redis: finding it, dialling, logging in, coming back after it was lost.
 *
 * `redis.address` is where it is; of several addresses, each failure goes on to the next one. With
 * `redis.sentinel_master` these are Sentinels, asked at every connecting where the master is. A
 * server that turns out to be a read-only replica is left, and looked for anew. With
 * `redis.cluster` they are any nodes of it: redis_call then goes where the cluster sends it (which
 * may mean a new connection), pipelines do not (see cluster.h).
 *
 * Over it either a pipeline of raw commands and replies (the cache), or one command at a time
 * (the commands that look). Nothing here blocks beyond the deadline it was given, apart
 * from the resolution of a host's name. Deadlines are times of clock_mono_us. One thread. */
#pragma once

#include <hiredis/hiredis.h>
#include <stdarg.h>

#include "consumer/address.h"
#include "consumer/options.h"
#include "consumer/resp.h"

struct redis;
/* Does not connect. 0, -ENOMEM, or -EINVAL after logging what is wrong with the address
 * or with TLS. `cfg` is borrowed for the connection's life. */
int redis_new(const struct config *cfg, struct redis **ret);
/* To this one node, wherever redis.address points. */
int redis_new_at(const struct config *cfg, const struct address *node, struct redis **ret);
void redis_free(struct redis *r);
DEFINE_CLEANUP(struct redis, redis_free)

/* Connected and logged in: 0. Otherwise tries once, unless the last failure was too short
 * ago (then -EAGAIN at once; see redis_retry_us). -EAGAIN: could not; redis_error tells. */
int redis_ready(struct redis *r, int64_t deadline_us);
bool redis_up(const struct redis *r);
int redis_fd(const struct redis *r);                   /* connected */
const struct address *redis_at(const struct redis *r); /* where it is, or was last looked for */
/* When trying again makes sense: 0 if nothing is wrong. The time after a failure grows from
 * 50 ms to 2 s, less up to half of it at random, until redis_good says that things work. */
int64_t redis_retry_us(const struct redis *r);
/* Closes because of a failure, and postpones. Logged when the connection was good before. */
void redis_down(struct redis *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Postpones, because Redis said that it cannot now; stays connected unless `why` is an error that
 * says that this is no master. */
void redis_postpone(struct redis *r, const char *why);
void redis_good(struct redis *r);
const char *redis_error(const struct redis *r); /* the last failure; "" if none */

/* ---- a pipeline ---- */
/* What the socket takes without waiting: bytes (0: full), or -ECONNRESET after redis_down. */
ssize_t redis_send(struct redis *r, const void *p, size_t n);
/* Reads what is there without waiting: bytes (0: nothing), or -ECONNRESET after redis_down. */
ssize_t redis_recv(struct redis *r);
/* The next reply of those read: 1, 0, or -ECONNRESET after redis_down. */
int redis_reply(struct redis *r, struct reply *ret);
/* Waits until bytes can be read (or, if asked, written). False: the deadline passed. */
bool redis_poll(struct redis *r, bool writable, int64_t deadline_us);

/* ---- one command ---- */
/* The reply (freeReplyObject; may be an error reply), or NULL after redis_down. Not while a
 * pipeline waits for replies. */
redisReply *redis_call(struct redis *r, int64_t deadline_us, size_t n, const struct str *args);
