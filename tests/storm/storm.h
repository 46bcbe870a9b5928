/* The soak: a deployment of two processes under load and one fault, again and again, and at the
 * end the question whether anything of it can be seen.
 *   main.c      options, the order of the rounds, the table
 *   round.c     one round: load, processes, recovery
 *   faults.c    what is done to processes, clock and clickstream
 *   outages.c   what is done to Kafka and Redis
 *   registry.c  what is done to the schema registry
 *   check.c     the same stream without faults, and what must be equal
 *   feeder.c    the load */
#pragma once

#include <pthread.h>

#include "consumer/encode.h"
#include "tests/support/service.h"

/* The registry knows Beckon's schemas under ids of FIRST + n * STEP + theirs. */
enum { STORM_SCHEMA_FIRST = 100, STORM_SCHEMA_STEP = 10 };
enum { STORM_PROCESSES = 2, STORM_PARTITIONS = 4, STORM_USERS = 2000, STORM_ITEMS = 400 };

/* ---- the load ---- */

struct shape {
    int hot_user_percent, hot_item_percent; /* of all events go to u0, i0 */
    bool silent_partition;                  /* the last one gets none */
};

struct feeder {
    struct service *s;
    struct shape shape;
    uint64_t random;
    int64_t time_ms;   /* of the newest event */
    atomic_int schema; /* 0: JSON; else Avro, under ids from here */
    struct config *cfg;
    struct encoder *encoder;
    atomic_ulong n;
    atomic_uint rate; /* events a second */
    atomic_bool stop;
    pthread_t thread;
};

/* Puts the catalogue and begins; stop waits until all is delivered. `schema` is set before. */
void feeder_start(struct feeder *f, struct service *s, struct shape shape, uint64_t seed);
void feeder_stop(struct feeder *f);

/* ---- a round ---- */

struct storm;

enum storm_part { PROCESSES, BROKERS, REDIS, HANG, TRANSACTION, ODD, DISK, REGISTRY, MIX };

struct fault {
    const char *name, *how;           /* as the table shows them */
    enum storm_part part;             /* those of one part share a deployment */
    unsigned weight;                  /* how often, against the others */
    void (*strike)(struct storm *st); /* makes it, once, and undoes it */
    /* Of the deployment, the same for all of a part. */
    const char *option[3];
    void (*prepare)(struct storm *st, struct service *s); /* more options, also for the run
                                                             without faults; or NULL */
    struct shape shape;
};

enum { RECOVERIES_MAX = 4096 };

struct row { /* of the table */
    bool chosen;
    unsigned times, ended; /* ended: processes that left without being asked, started again */
    uint64_t events, lost, repeated; /* of all deployments in which it was made */
    int64_t recovery_ms[RECOVERIES_MAX];
    size_t n_recoveries;
    int64_t rss_bytes; /* the largest that any process had */
};

struct storm {
    const char *kafka_dir; /* of deploy/kafka */
    int brokers;
    uint64_t random;
    const struct fault *fault;
    struct row *row;
    struct service s;
    struct feeder feeder;
    pid_t pid[STORM_PROCESSES]; /* 0: does not run */
};

/* Runs `n` faults that share a deployment, those that are chosen, for so long and checks; adds to
 * their rows. False: something was lost or repeated. */
bool storm_round(struct storm *st, const struct fault *fault, struct row *row, size_t n,
                 int64_t ms);

/* ---- for faults ---- */

unsigned storm_draw(struct storm *st, unsigned below);
void storm_say(const struct storm *st, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Lets time pass; a process that ended by itself meanwhile is started again. */
void storm_wait(struct storm *st, int64_t ms);
void storm_start(struct storm *st, int i);
void storm_end(struct storm *st, int i, int sig); /* of a signal other than SIGKILL: cleanly */
/* Waits until all that is in the clickstream by now is committed, and notes how long after
 * `since_ms` (test_clock_ms) that was. */
void storm_recover(struct storm *st, int64_t since_ms);

extern const struct fault storm_faults[];
extern const size_t storm_n_faults;

/* outages.c */
void strike_broker_restart(struct storm *st);
void strike_broker_down(struct storm *st);
void strike_all_brokers(struct storm *st);
void strike_group_coordinator(struct storm *st);
void strike_transaction_coordinator(struct storm *st);
void strike_redis_restart(struct storm *st);
void strike_redis_flush(struct storm *st);
void strike_redis_full(struct storm *st);
void strike_redis_hang(struct storm *st);
void strike_redis_slow(struct storm *st);
void strike_redis_readonly(struct storm *st);
void strike_redis_cut(struct storm *st);

/* registry.c */
void prepare_registry(struct storm *st, struct service *s);
void strike_registry(struct storm *st);

/* check.c */
/* A Redis that was emptied just now is being filled again, and lists that a hung process wrote too
 * late are being replaced: waits until profiles account for all events, for half a minute at most.
 */
void storm_settle(struct storm *st);
/* Compares with a run without faults. The processes have ended. */
bool storm_check(struct storm *st);
