#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "tests/storm/storm.h"

static int any(struct storm *st) {
    return (int)storm_draw(st, STORM_PROCESSES);
}

/* Mostly the next one comes before this one is over: while a process starts, reads back, or has
 * just begun to work. */
static void recover_or_not(struct storm *st, int64_t since) {
    if (storm_draw(st, 10) == 0)
        storm_recover(st, since);
    else
        storm_wait(st, 300 + storm_draw(st, 2400));
}

static void strike_kill(struct storm *st) {
    int i = any(st);
    int64_t since = test_clock_ms();
    storm_end(st, i, SIGKILL);
    storm_start(st, i);
    recover_or_not(st, since);
}

static void strike_kill_both(struct storm *st) {
    int64_t since = test_clock_ms();
    for (int i = 0; i < STORM_PROCESSES; i++)
        storm_end(st, i, SIGKILL);
    for (int i = 0; i < STORM_PROCESSES; i++)
        storm_start(st, i);
    recover_or_not(st, since);
}

static void strike_drain(struct storm *st) {
    int i = any(st);
    int64_t since = test_clock_ms();
    storm_end(st, i, SIGTERM);
    storm_start(st, i);
    recover_or_not(st, since);
}

static void hang(struct storm *st, int64_t ms) {
    int i = any(st);
    kill(st->pid[i], SIGSTOP);
    storm_wait(st, ms);
    int64_t since = test_clock_ms();
    kill(st->pid[i], SIGCONT);
    storm_recover(st, since);
    storm_wait(st, 1000);
}

/* Its partitions are another's when it wakes up. */
static void strike_hang(struct storm *st) {
    hang(st, 8000 + storm_draw(st, 3000));
}

/* Its partitions are still its own, its transaction, if there was one, is not. */
static void strike_hang_in_transaction(struct storm *st) {
    hang(st, 4000 + storm_draw(st, 4000));
}

static void strike_clock(struct storm *st) {
    static const int64_t step[] = {3600000, -3600000, 12 * 3600000ll, -12 * 3600000ll, 1000,
                                   -1000,   0};
    int64_t since = test_clock_ms();
    service_clock_shift(&st->s, step[storm_draw(st, ARRAY_LEN(step))]);
    storm_recover(st, since);
    storm_wait(st, 1000);
}

static void strike_burst(struct storm *st) {
    unsigned usual = atomic_load(&st->feeder.rate);
    atomic_store(&st->feeder.rate, 100 * usual);
    storm_wait(st, 500);
    atomic_store(&st->feeder.rate, usual);
    storm_recover(st, test_clock_ms());
    storm_wait(st, 3000);
}

/* What is odd is in the stream; now and then somebody dies over it. */
static void strike_shape(struct storm *st) {
    storm_wait(st, 5000);
    strike_kill(st);
}

/* Another one by the same name: the older is fenced and leaves with 3. */
static void strike_replaced(struct storm *st) {
    int i = any(st);
    pid_t old = st->pid[i];
    int64_t since = test_clock_ms();
    storm_start(st, i);
    int code = process_end(old, 0, 60000);
    if (code != 3) {
        storm_say(st, "who was replaced ended with %d", code);
        st->row->ended++;
    }
    storm_recover(st, since);
}

/* Each of the twin deployments has a folder of its own. */
static void prepare_disk(struct storm *st, struct service *s) {
    (void)st;
    autofree(free) char *dir = temp_dir_file(&s->dir, "state");
    mkdir(dir, 0700);
    service_option(s, "state.dir=%s", dir);
    service_option(s, "state.snapshot_interval=300ms");
}

static void limit_files(struct storm *st, rlim_t bytes) {
    for (int i = 0; i < STORM_PROCESSES; i++) {
        struct rlimit r;
        if (!st->pid[i] || prlimit(st->pid[i], RLIMIT_FSIZE, NULL, &r))
            continue;
        r.rlim_cur = MIN(bytes, r.rlim_max);
        prlimit(st->pid[i], RLIMIT_FSIZE, &r, NULL);
    }
}

/* No file may grow, in the middle of snapshots; then one dies and reads back what there is. */
static void strike_disk(struct storm *st) {
    limit_files(st, 4096);
    storm_wait(st, 1000 + storm_draw(st, 1000));
    if (storm_draw(st, 2) == 0)
        limit_files(st, RLIM_INFINITY);
    strike_kill(st);
    limit_files(st, RLIM_INFINITY);
    storm_wait(st, 500);
}

static void strike_mix(struct storm *st);

const struct fault storm_faults[] = {
    {"kill",
     "`kill -9` of one of two processes at a random moment, started again at once",
     PROCESSES,
     20,
     strike_kill,
     {NULL},
     NULL,
     {0}},
    {"kill-both",
     "`kill -9` of both processes at once",
     PROCESSES,
     2,
     strike_kill_both,
     {NULL},
     NULL,
     {0}},
    {"drain",
     "`SIGTERM`, started again when it has left",
     PROCESSES,
     2,
     strike_drain,
     {NULL},
     NULL,
     {0}},
    {"broker-restart",
     "one of three brokers is stopped, and started again",
     BROKERS,
     2,
     strike_broker_restart,
     {NULL},
     NULL,
     {0}},
    {"broker-down",
     "`kill -9` of one of three brokers, away for seconds",
     BROKERS,
     2,
     strike_broker_down,
     {NULL},
     NULL,
     {0}},
    {"all-brokers",
     "`kill -9` of all three brokers, away for seconds",
     BROKERS,
     2,
     strike_all_brokers,
     {NULL},
     NULL,
     {0}},
    {"group-coordinator",
     "the broker that coordinates the group is stopped",
     BROKERS,
     2,
     strike_group_coordinator,
     {NULL},
     NULL,
     {0}},
    {"transaction-coordinator",
     "the broker that coordinates a transaction is stopped",
     BROKERS,
     2,
     strike_transaction_coordinator,
     {NULL},
     NULL,
     {0}},
    {"redis-restart",
     "`kill -9` of Redis, comes back empty",
     REDIS,
     1,
     strike_redis_restart,
     {NULL},
     NULL,
     {0}},
    {"redis-flush", "`FLUSHALL`", REDIS, 1, strike_redis_flush, {NULL}, NULL, {0}},
    {"redis-full",
     "`maxmemory` below what is stored: every write is refused",
     REDIS,
     1,
     strike_redis_full,
     {NULL},
     NULL,
     {0}},
    {"redis-hang",
     "`SIGSTOP` of Redis for longer than `redis.timeout`",
     REDIS,
     1,
     strike_redis_hang,
     {NULL},
     NULL,
     {0}},
    {"redis-slow", "Redis answers 300 ms late", REDIS, 1, strike_redis_slow, {NULL}, NULL, {0}},
    {"redis-read-only",
     "Redis becomes a replica of nobody",
     REDIS,
     1,
     strike_redis_readonly,
     {NULL},
     NULL,
     {0}},
    {"redis-cut",
     "all connections to Redis are cut, twenty times",
     REDIS,
     1,
     strike_redis_cut,
     {NULL},
     NULL,
     {0}},
    {"clock",
     "the processes' wall clock steps by up to twelve hours, either way",
     REDIS,
     1,
     strike_clock,
     {NULL},
     NULL,
     {0}},
    {"burst",
     "for half a second, 100 times as many events",
     REDIS,
     1,
     strike_burst,
     {NULL},
     NULL,
     {0}},
    {"hang",
     "`SIGSTOP` for longer than `session.timeout.ms` and `max.poll.interval.ms`",
     HANG,
     2,
     strike_hang,
     {"kafka.max.poll.interval.ms=6000"},
     NULL,
     {0}},
    {"hang-in-transaction",
     "`SIGSTOP` for longer than `transaction.timeout.ms`",
     TRANSACTION,
     2,
     strike_hang_in_transaction,
     {"kafka.session.timeout.ms=45000", "kafka.transaction.timeout.ms=2000"},
     NULL,
     {0}},
    {"odd-stream",
     "a partition gets no events, half of all are one user's, half about one item; `kill -9`",
     ODD,
     2,
     strike_shape,
     {NULL},
     NULL,
     {.hot_user_percent = 50, .hot_item_percent = 50, .silent_partition = true}},
    {"replaced",
     "another process of the same `app.instance` starts: the older one is fenced",
     DISK,
     1,
     strike_replaced,
     {NULL},
     prepare_disk,
     {0}},
    {"disk-full",
     "no file may grow while snapshots are written; `kill -9`",
     DISK,
     1,
     strike_disk,
     {NULL},
     prepare_disk,
     {0}},
    {"registry",
     "new schemas while the registry refuses, is slower than its timeout or talks nonsense; "
     "`kill -9`",
     REGISTRY,
     2,
     strike_registry,
     {NULL},
     prepare_registry,
     {0}},
    {"mix",
     "all of the above by chance",
     MIX,
     4,
     strike_mix,
     {NULL},
     NULL,
     {.hot_user_percent = 10}},
};
const size_t storm_n_faults = ARRAY_LEN(storm_faults);

static void strike_mix(struct storm *st) {
    const struct fault *f = &storm_faults[storm_draw(st, ARRAY_LEN(storm_faults) - 1)];
    storm_say(st, "%s", f->name);
    f->strike(st);
}
