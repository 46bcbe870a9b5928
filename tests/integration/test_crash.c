/* Nothing lost and nothing sent twice: processes killed, replaced, hanging, stopped by others.
 * All of it needs transactions that isolate, which the mock cluster does not have. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "tests/support/feed.h"

struct fixture {
    struct kafka *kafka;
    struct service s;
    struct feed feed;
};

static void set_up(struct fixture *f, int partitions) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    f->kafka = kafka_start(1);
    service_open(&f->s, f->kafka, partitions, feed_campaigns);
    feed_start(&f->feed, &f->s);
}

static void tear_down(struct fixture *f) {
    service_close(&f->s);
    kafka_free(f->kafka);
}

Test(crash, kill_9_at_any_moment_loses_and_repeats_nothing, .timeout = 150) {
    struct fixture f;
    set_up(&f, 2);
    feed_some(&f.feed, 500);
    for (int i = 0; i < 6; i++) {
        pid_t pid = service_run(&f.s, "a", NULL);
        /* The first one gets to work; of the others some die while they restore. */
        if (i == 0)
            service_await(&f.s, "a", "partition-ready", 2);
        unsigned char at;
        getrandom(&at, 1, 0);
        feed_for(&f.feed, 300 + 12 * at);
        cr_assert_eq(process_end(pid, SIGKILL, 5000), 128 + SIGKILL);
    }
    pid_t pid = service_run(&f.s, "a", NULL);
    feed_some(&f.feed, 500);
    service_drain(&f.s, 90000);
    service_end(&f.s, pid, "a");
    feed_expect_as_even(&f.s, true);
    tear_down(&f);
}

Test(crash, partitions_move_between_processes_with_all_their_state, .timeout = 180) {
    struct fixture f;
    set_up(&f, 4);
    service_option(&f.s, "kafka.session.timeout.ms=6000");
    service_option(&f.s, "kafka.heartbeat.interval.ms=500");
    pid_t a = service_run(&f.s, "a", NULL);
    feed_until_said(&f.feed, "a", "partition-ready", 4);
    feed_for(&f.feed, 500);
    /* One joins, and leaves in an orderly way. */
    pid_t b = service_run(&f.s, "b", NULL);
    feed_until_said(&f.feed, "b", "partition-ready", 2);
    feed_for(&f.feed, 500);
    service_end(&f.s, b, "b");
    /* Nothing was written too late, so nobody has to write all again. */
    cr_assert_eq(service_said(&f.s, "a", "redis-outdated"), 0);
    cr_assert_eq(service_said(&f.s, "b", "redis-outdated"), 0);
    feed_until_said(&f.feed, "a", "partition-ready", 6);
    /* It comes back; then the first one hangs until its partitions are another's. */
    b = service_run(&f.s, "b", NULL);
    feed_until_said(&f.feed, "b", "partition-ready", 4);
    kill(a, SIGSTOP);
    feed_until_said(&f.feed, "b", "partition-ready", 6);
    feed_for(&f.feed, 500);
    kill(a, SIGCONT);
    feed_until_said(&f.feed, "a", "partition-ready", 8);
    feed_for(&f.feed, 500);
    /* And the other one dies. */
    cr_assert_eq(process_end(b, SIGKILL, 5000), 128 + SIGKILL);
    feed_until_said(&f.feed, "a", "partition-ready", 10);
    feed_some(&f.feed, 200);
    service_drain(&f.s, 90000);
    service_end(&f.s, a, "a");
    feed_expect_as_even(&f.s, true);
    tear_down(&f);
}

static bool gone(void *pid) {
    return !process_running(*(pid_t *)pid);
}

Test(crash, of_two_processes_with_one_name_one_stops_and_says_why, .timeout = 90) {
    struct fixture f;
    set_up(&f, 2);
    pid_t first = service_run(&f.s, "a", NULL);
    feed_until_said(&f.feed, "a", "partition-ready", 2);
    pid_t second = service_run(&f.s, "second", "app.instance=a");
    feed_until_said(&f.feed, "second", "partition-ready", 2);
    feed_some(&f.feed, 100);
    cr_assert(wait_until(gone, &first, 30000), "both run on");
    int code = process_end(first, 0, 1000);
    autofree(free) char *log = service_log(&f.s, "a");
    cr_assert_eq(code, 3, "ended with %d:\n%s", code, log);
    cr_assert_not_null(strstr(log, "error fenced fix=\"another process runs with app.name="), "%s",
                       log);
    cr_assert(process_running(second));
    service_drain(&f.s, 60000);
    service_end(&f.s, second, "second");
    feed_expect_as_even(&f.s, true);
    tear_down(&f);
}

static bool carts_sent(void *arg) {
    struct service *s = arg;
    struct sents all;
    service_sents(s, s->triggers, &all);
    size_t n = sents_count(&all, NULL, "cart");
    sents_free(&all);
    return n == FEED_USERS;
}

/* Timers that fall due while a process hangs fire in the one that took its partitions over,
 * and not again when it wakes up. */
Test(crash, timers_of_a_hanging_process_fire_once, .timeout = 120) {
    struct fixture f;
    set_up(&f, 2);
    autofree(free) char *file = temp_dir_file(&f.s.dir, "campaigns.yaml");
    const char *quick =
        "campaigns:\n"
        "  - {id: cart, channel: push, valid_for: 1d, trigger: {cart_abandoned: {after: 10s}},\n"
        "     offer: {kind: message, message: cart}}\n";
    write_file(file, quick, strlen(quick));
    service_option(&f.s, "stream.idle=100ms");
    service_option(&f.s, "kafka.session.timeout.ms=6000");
    service_option(&f.s, "kafka.heartbeat.interval.ms=500");
    pid_t a = service_run(&f.s, "a", NULL);
    service_await(&f.s, "a", "partition-ready", 2);
    int64_t now = service_now_ms();
    for (int u = 0; u < FEED_USERS; u++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", u);
        service_click(&f.s, (struct click){id, id, "i1", "add-to-cart", now, 0});
    }
    service_drain(&f.s, 30000);
    kill(a, SIGSTOP);
    pid_t b = service_run(&f.s, "b", NULL);
    service_await(&f.s, "b", "partition-ready", 2);
    cr_assert(wait_until(carts_sent, &f.s, 30000), "the timers did not fire");
    kill(a, SIGCONT);
    service_await(&f.s, "a", "partition-ready", 3);
    service_end(&f.s, a, "a");
    service_end(&f.s, b, "b");
    struct sents all;
    service_sents(&f.s, f.s.triggers, &all);
    cr_assert_eq(sents_repeated(&all), 0, "%zu triggers were sent twice", sents_repeated(&all));
    cr_assert_eq(all.n, FEED_USERS);
    sents_free(&all);
    tear_down(&f);
}
