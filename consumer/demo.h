/* The parts of `beckon demo` around the engine: a private Redis, an embedded Kafka,
 * the simulated shop that feeds it, and how well the lists foresee what users do. */
#pragma once

#include <stdatomic.h>

#include "consumer/engine.h"
#include "consumer/sim.h"

/* ---- a private Redis on a Unix socket in a temporary folder ---- */

struct private_redis {
    char dir[64];
    char socket[96];
    pid_t pid;
};
/* 0 when it answers; prints why not. Ends with this process, however that ends. */
int private_redis_start(struct private_redis *r);
void private_redis_stop(struct private_redis *r); /* and removes the folder */

/* ---- the shop ---- */

struct shop;
struct shop_config {
    const struct config *cfg;
    const char *brokers;
    struct sim_config sim;
    double rate;         /* events per second of real time */
    double acceleration; /* simulated seconds per second */
};
/* Writes catalogue and consent records (all delivered when this returns). */
int shop_open(const struct shop_config *c, struct shop **ret);
/* Starts to send events and to answer decisions. `processed`: what the engine has done
 * with, so that the embedded broker (which forgets old records) is never outrun. */
int shop_start(struct shop *s, uint64_t (*processed)(void *ctx), void *ctx);
void shop_stop(struct shop *s); /* ends the threads; NULL is fine */
void shop_free(struct shop *s);
uint64_t shop_sent(const struct shop *s);
uint64_t shop_coupons(const struct shop *s); /* triggers that reached the simulated users */

void shop_earned(struct shop *s, enum sim_panel p, struct sim_earnings *ret);

/* ---- how good the lists are ---- */

/* Counts, for views as they come, whether the item was on the user's list of that
 * moment, and on the list of the most popular. Any thread. */
struct foresight {
    atomic_ulong cases, hits, popular_hits;
    atomic_int user_lock; /* 0: `user` may be written, 1: being written, 2: set */
    char user[32];        /* somebody with a list, for the examples */
};
/* A stream hook (`ctx`: struct foresight): call before the events are learned. */
void foresight_batch(void *ctx, struct worker *w, struct input *in, size_t n);
