/* State that is read back quickly: snapshots, good and bad, and partitions that stand by. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>

#include "consumer/restorer.h"
#include "consumer/snapshot.h"
#include "tests/support/feed.h"

enum { USERS = 300 };

struct fixture {
    struct kafka *kafka;
    struct service s;
    unsigned n;
};

static void set_up(struct fixture *f) {
    *f = (struct fixture){.kafka = kafka_start(1)};
    service_open(&f->s, f->kafka, 1, NULL);
    service_option(&f->s, "state.dir=%s", f->s.dir.path);
    service_option(&f->s, "state.snapshot_interval=100ms");
}

static void tear_down(struct fixture *f) {
    service_close(&f->s);
    kafka_free(f->kafka);
}

static void put_views(struct fixture *f) {
    for (int i = 0; i < USERS; i++) {
        char id[16], user[16];
        snprintf(id, sizeof id, "e%u", f->n++);
        snprintf(user, sizeof user, "u%d", i);
        service_click(&f->s, (struct click){id, user, "i1", "view", service_now_ms(), 0});
    }
    kafka_flush(f->kafka);
}

static struct metrics metrics_of(struct service *s) {
    struct metrics m;
    service_metrics(s, &m);
    return m;
}

static bool all_known(void *s) {
    struct metrics m = metrics_of(s);
    return metric_gauge(&m.users) == USERS && metric_gauge(&m.restoring) == 0;
}

static bool one_written(void *s) {
    struct metrics m = metrics_of(s);
    return metric_get(&m.snapshots) > 0;
}

struct more {
    struct service *s;
    uint64_t than;
};

static bool more_written(void *arg) {
    struct more *w = arg;
    struct metrics m = metrics_of(w->s);
    return metric_get(&m.snapshots) > w->than;
}

static bool one_failed(void *s) {
    struct metrics m = metrics_of(s);
    return metric_get(&m.snapshots_failed) > 0;
}

static char *file_of(struct fixture *f) {
    char name[TOPIC_NAME + 32];
    snprintf(name, sizeof name, "%s-0.snapshot", f->s.app);
    return temp_dir_file(&f->s.dir, name);
}

static void write_one(struct fixture *f) {
    service_start(&f->s);
    put_views(f);
    service_drain(&f->s, 30000);
    cr_assert(wait_until(one_written, &f->s, 20000), "there is no snapshot");
    cr_assert_eq(service_stop(&f->s), STREAM_STOPPED);
}

/* Starts again and stops; how many snapshots were refused. */
static uint64_t refused_at_start(struct fixture *f) {
    service_start(&f->s);
    cr_assert(wait_until(all_known, &f->s, 30000), "users are missing");
    struct metrics m = metrics_of(&f->s);
    cr_assert_eq(service_stop(&f->s), STREAM_STOPPED);
    return metric_get(&m.snapshots_refused);
}

Test(state, a_snapshot_is_read_and_one_that_is_damaged_is_not_used, .timeout = 300) {
    struct fixture f;
    set_up(&f);
    write_one(&f);
    service_option(&f.s, "state.snapshot_interval=1d");
    cr_assert_eq(refused_at_start(&f), 0);
    autofree(free) char *path = file_of(&f);
    size_t n;
    autofree(free) char *bytes = read_file(path, &n);
    cr_assert_gt(n, 10000);
    bytes[n / 2] ^= 4;
    write_file(path, bytes, n);
    cr_assert_eq(refused_at_start(&f), 1);
    bytes[n / 2] ^= 4;
    write_file(path, bytes, n - 1);
    cr_assert_geq(refused_at_start(&f), 1);
    tear_down(&f);
}

/* Whole, but not this partition's as it stands: of a neighbour, another cluster, a time that the
 * changelog has not reached, or so old that deletions may be missing. */
Test(state, a_snapshot_that_does_not_fit_is_not_used, .timeout = 300) {
    struct fixture f;
    struct snapshot_head right;
    struct snapshot_reader *reader;
    size_t n;
    set_up(&f);
    write_one(&f);
    service_option(&f.s, "state.snapshot_interval=1d");
    autofree(free) char *path = file_of(&f), *bytes = read_file(path, &n);
    cr_assert_eq(snapshot_open(open(path, O_RDONLY | O_CLOEXEC), &right, &reader), 0);
    snapshot_close(reader);
    struct snapshot_head wrong[] = {right, right, right, right};
    wrong[0].partition++;
    wrong[1].origin ^= 1;
    wrong[2].offset += 1000000;
    wrong[3].taken_ms -= INT64_C(13) * 3600 * 1000;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct buf head = {0};
        snapshot_put_head(&head, &wrong[i]);
        memcpy(bytes, head.p, head.n);
        buf_free(&head);
        write_file(path, bytes, n);
        cr_assert_eq(refused_at_start(&f), 1, "case %zu", i);
    }
    tear_down(&f);
}

Test(state, a_full_disk_costs_the_snapshot_and_nothing_else, .timeout = 300) {
    struct fixture f;
    set_up(&f);
    service_start(&f.s);
    struct rlimit old, small;
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){4096, old.rlim_max};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    put_views(&f);
    service_drain(&f.s, 30000);
    bool failed = wait_until(one_failed, &f.s, 20000);
    put_views(&f);
    service_drain(&f.s, 30000);
    setrlimit(RLIMIT_FSIZE, &old);
    cr_assert(failed, "nothing failed");
    /* Room again. What is there then is whole. */
    struct metrics m = metrics_of(&f.s);
    struct more more = {&f.s, metric_get(&m.snapshots)};
    put_views(&f);
    cr_assert(wait_until(more_written, &more, 20000), "there is no snapshot");
    service_drain(&f.s, 30000);
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    cr_assert_eq(refused_at_start(&f), 0);
    tear_down(&f);
}

Test(state, who_stood_by_takes_over_with_only_the_tail_to_read, .timeout = 300) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    struct feed feed;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "state.standby=all");
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.heartbeat.interval.ms=500");
    feed_start(&feed, &s);
    pid_t a = service_run(&s, "a", NULL);
    feed_until_said(&feed, "a", "partition-ready", 2);
    feed_some(&feed, 2000);
    pid_t b = service_run(&s, "b", NULL);
    feed_until_said(&feed, "b", "partition-ready", 1);
    feed_some(&feed, 500);
    service_drain(&s, 60000);
    cr_assert_eq(process_end(a, SIGKILL, 5000), 128 + SIGKILL);
    feed_until_said(&feed, "b", "from=standby", 1);
    autofree(free) char *log = service_log(&s, "b");
    const char *line = strstr(log, "from=standby");
    while (line > log && line[-1] != '\n')
        line--;
    long long restored = -1;
    const char *at = strstr(line, "restored=");
    cr_assert(at && sscanf(at, "restored=%lld", &restored) == 1, "%s", line);
    cr_assert(restored >= 0 && restored < 2000, "%lld records were read", restored);
    service_drain(&s, 60000);
    service_end(&s, b, "b");
    feed_expect_as_even(&s, true);
    service_close(&s);
}

Test(state, standby_is_all_or_a_list_of_partitions) {
    cr_assert(standby_ok("") && standby_ok("all") && standby_ok("0") && standby_ok("0-3,7"));
    cr_assert(!standby_ok("a") && !standby_ok("1,") && !standby_ok("3-1") && !standby_ok("-1") &&
              !standby_ok("1-"));
    cr_assert(standby_has("all", 9) && standby_has("0-3,7", 2) && standby_has("0-3,7", 7));
    cr_assert(!standby_has("", 0) && !standby_has("0-3,7", 4));
}
