#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "consumer/kafka_util.h"
#include "tests/storm/storm.h"
#include "tests/support/feed.h"

enum { RECOVERY_MAX_MS = 180000, DRAIN_MS = 300000, TICK_MS = 10, PROBE_MS = 2000 };

/* A process holds some thousand users and some hundred items, and what a burst brings. */
static const int64_t RSS_MAX = 512000000;

static const char *const names[STORM_PROCESSES] = {"a", "b"};

unsigned storm_draw(struct storm *st, unsigned below) {
    st->random = st->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(st->random >> 33) % below;
}

void storm_say(const struct storm *st, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    time_t now = time(NULL);
    struct tm tm;
    char at[16];
    strftime(at, sizeof at, "%H:%M:%S", localtime_r(&now, &tm));
    fprintf(stderr, "%s %s: ", at, st->fault->name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
}

/* ---- processes ---- */

void storm_start(struct storm *st, int i) {
    st->pid[i] = service_run(&st->s, names[i], NULL);
}

/* The end of what it said, without what librdkafka did. */
static void show_log(struct storm *st, int i) {
    enum { LINES = 12 };
    autofree(free) char *log = service_log(&st->s, names[i]);
    const char *line[LINES] = {NULL};
    size_t n = 0;
    for (char *p = log, *next; *p; p = next) {
        next = p + strcspn(p, "\n");
        if (*next)
            *next++ = '\0';
        if (!strstr(p, " librdkafka "))
            line[n++ % LINES] = p;
    }
    for (size_t k = n > LINES ? n - LINES : 0; k < n; k++)
        fprintf(stderr, "    %s: %s\n", names[i], line[k % LINES]);
}

void storm_end(struct storm *st, int i, int sig) {
    if (!st->pid[i])
        return;
    int code = process_end(st->pid[i], sig, 120000);
    st->pid[i] = 0;
    if (code == 128 + SIGKILL ? sig == SIGKILL : code == 0)
        return;
    storm_say(st, "process %s ended with %d", names[i], code);
    show_log(st, i);
    st->row->ended++;
}

static void watch(struct storm *st) {
    for (int i = 0; i < STORM_PROCESSES; i++) {
        char path[64];
        long pages = 0;
        snprintf(path, sizeof path, "/proc/%d/statm", (int)st->pid[i]);
        FILE *f = st->pid[i] ? fopen(path, "re") : NULL;
        if (f) {
            if (fscanf(f, "%*s %ld", &pages) == 1)
                st->row->rss_bytes = MAX(st->row->rss_bytes, pages * sysconf(_SC_PAGESIZE));
            fclose(f);
        }
        if (st->pid[i] && !process_running(st->pid[i])) {
            storm_end(st, i, 0);
            storm_start(st, i);
        }
    }
}

void storm_wait(struct storm *st, int64_t ms) {
    for (int64_t end = test_clock_ms() + ms; test_clock_ms() < end;) {
        nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000}, NULL);
        watch(st);
    }
}

/* ---- recovery ---- */

static bool ends(struct storm *st, int64_t *ret) {
    for (int p = 0; p < STORM_PARTITIONS; p++) {
        int64_t low;
        if (kafka_ends(st->s.probe, st->s.clickstream, p, &low, &ret[p], PROBE_MS)) {
            service_probe(&st->s);
            return false;
        }
    }
    return true;
}

static bool committed(struct storm *st, int64_t *to) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(STORM_PARTITIONS);
    for (int p = 0; p < STORM_PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(list, st->s.clickstream, p);
    bool all = !rd_kafka_committed(st->s.probe, list, PROBE_MS);
    if (!all)
        service_probe(&st->s);
    for (int p = 0; p < STORM_PARTITIONS && all; p++)
        all = to[p] == 0 || list->elems[p].offset >= to[p];
    rd_kafka_topic_partition_list_destroy(list);
    return all;
}

static void show_lag(struct storm *st, const int64_t to[STORM_PARTITIONS]) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(STORM_PARTITIONS);
    for (int p = 0; p < STORM_PARTITIONS; p++)
        rd_kafka_topic_partition_list_add(list, st->s.clickstream, p);
    rd_kafka_resp_err_t err = rd_kafka_committed(st->s.probe, list, PROBE_MS);
    for (int p = 0; p < STORM_PARTITIONS; p++)
        storm_say(st, "partition %d: committed %lld of %lld (%s)", p,
                  (long long)list->elems[p].offset, (long long)to[p],
                  rd_kafka_err2str(err ? err : list->elems[p].err));
    rd_kafka_topic_partition_list_destroy(list);
}

/* Again and again until the answer is yes. */
static bool ask(struct storm *st, bool (*question)(struct storm *, int64_t *), int64_t *to,
                int64_t until) {
    while (!question(st, to)) {
        if (test_clock_ms() >= until)
            return false;
        storm_wait(st, TICK_MS);
    }
    return true;
}

/* Waits for it; how long after `since_ms` it was so. */
static int64_t caught_up(struct storm *st, int64_t since_ms) {
    int64_t to[STORM_PARTITIONS] = {0}, until = since_ms + RECOVERY_MAX_MS;
    if (ask(st, ends, to, until))
        ask(st, committed, to, until);
    int64_t took = test_clock_ms() - since_ms;
    if (took >= RECOVERY_MAX_MS) {
        show_lag(st, to);
        storm_say(st, "does not recover");
        for (int i = 0; i < STORM_PROCESSES; i++)
            show_log(st, i);
    }
    return took;
}

void storm_recover(struct storm *st, int64_t since_ms) {
    int64_t took = caught_up(st, since_ms);
    if (st->row->n_recoveries < RECOVERIES_MAX)
        st->row->recovery_ms[st->row->n_recoveries++] = took;
}

/* ---- a round ---- */

static void deploy(struct storm *st, struct kafka *k) {
    struct service *s = &st->s;
    const struct fault *fault = st->fault;
    service_open(s, k, STORM_PARTITIONS, feed_campaigns);
    service_clock(s);
    service_option(s, "kafka.session.timeout.ms=6000");
    service_option(s, "kafka.heartbeat.interval.ms=500");
    service_option(s, "redis.profile_interval=0ms");
    service_option(s, "model.flood_per_minute=0");
    service_option(s, "model.save_interval=5s");
    service_option(s, "stream.commit_interval=100ms");
    for (size_t i = 0; i < ARRAY_LEN(fault->option) && fault->option[i]; i++)
        service_option(s, "%s", fault->option[i]);
    atomic_store(&st->feeder.schema, 0);
    if (fault->prepare)
        fault->prepare(st, s);
    feeder_start(&st->feeder, s, fault->shape, st->random);
    for (int i = 0; i < STORM_PROCESSES; i++)
        storm_start(st, i);
    storm_wait(st, 3000);
    caught_up(st, test_clock_ms());
}

/* Each once, then by chance. */
static void strike_some(struct storm *st, const struct fault *fault, struct row *row, size_t n,
                        int64_t ms) {
    unsigned weights = 0;
    for (size_t i = 0; i < n; i++)
        weights += row[i].chosen ? fault[i].weight : 0;
    size_t turn = 0;
    for (int64_t end = test_clock_ms() + ms; test_clock_ms() < end || turn < n;) {
        size_t i = turn++;
        if (i >= n) {
            unsigned at = storm_draw(st, weights);
            for (i = 0; !row[i].chosen || at >= fault[i].weight; i++)
                at -= row[i].chosen ? fault[i].weight : 0;
        }
        if (!row[i].chosen)
            continue;
        st->fault = &fault[i];
        st->row = &row[i];
        fault[i].strike(st);
        row[i].times++;
    }
}

bool storm_round(struct storm *st, const struct fault *fault, struct row *row, size_t n,
                 int64_t ms) {
    st->fault = fault;
    st->row = row;
    storm_say(st, "and %zu more for %lld s", n - 1, (long long)ms / 1000);
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service *s = &st->s;
    deploy(st, k);
    strike_some(st, fault, row, n, ms);
    for (int i = 0; i < STORM_PROCESSES; i++)
        if (!st->pid[i])
            storm_start(st, i);
    feeder_stop(&st->feeder);
    caught_up(st, test_clock_ms());
    service_drain(s, DRAIN_MS);
    storm_settle(st);
    for (int i = 0; i < STORM_PROCESSES; i++)
        storm_end(st, i, SIGTERM);
    struct row sum = {0};
    int64_t rss = st->row->rss_bytes;
    st->row = &sum;
    bool good = storm_check(st);
    for (size_t i = 0; i < n; i++) {
        if (!row[i].chosen)
            continue;
        row[i].events += sum.events;
        row[i].lost += sum.lost;
        row[i].repeated += sum.repeated;
        rss = MAX(rss, row[i].rss_bytes);
    }
    if (rss > RSS_MAX) {
        storm_say(st, "a process of %.0f MB", (double)rss / 1e6);
        good = false;
    }
    service_close(s);
    return good;
}
