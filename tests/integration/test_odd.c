/* Streams and consumers of odd habits: few who do everything, bursts, somebody busy for too long.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/kafka_util.h"
#include "tests/support/feed.h"

enum { PARTITIONS = 16, FEW = 12 /* users: some partitions have none */, BURST = 4000 };

static bool drained(void *arg) {
    return service_drained(arg);
}

static bool behind(void *arg) {
    return !service_drained(arg);
}

/* While it is at the burst the process dies. */
Test(odd, one_user_and_one_item_have_half_of_all_and_come_in_bursts, .timeout = 300) {
    struct service s;
    struct feed feed;
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    service_open(&s, k, PARTITIONS, feed_campaigns);
    service_option(&s, "redis.profile_interval=0ms");
    feed_start(&feed, &s);
    feed.users = FEW;
    feed.lopsided = true;
    pid_t a = service_run(&s, "a", NULL);
    feed_until_said(&feed, "a", "partition-ready", PARTITIONS);
    feed_for(&feed, 500);
    feed_some(&feed, BURST);
    feed_while_not(&feed, behind, &s); /* something is left to die over */
    cr_assert_eq(process_end(a, SIGKILL, 5000), 128 + SIGKILL);
    a = service_run(&s, "a", NULL);
    feed_some(&feed, BURST);
    service_drain(&s, 90000);
    cr_assert(wait_until(feed_is_in_profiles, &feed, 20000), "profiles are incomplete");
    cr_assert_gt(service_field(&s, "beckon:user:{u0}", "events"), 0.45 * feed.n);
    cr_assert_eq(service_keys(&s, "beckon:top:*"), FEW);
    int silent = 0;
    for (int p = 0; p < PARTITIONS; p++) {
        int64_t low, high;
        cr_assert_eq(kafka_ends(s.probe, s.clickstream, p, &low, &high, 30000), 0);
        silent += high == 0;
    }
    cr_assert_geq(silent, PARTITIONS - FEW);
    service_end(&s, a, "a");
    feed_expect_as_even(&s, test_brokers());
    service_close(&s);
}

struct busy {
    struct service *s;
    atomic_bool wanted, begun, over;
};

static bool taken_over(void *arg) {
    return service_said(arg, "b", "partition-ready") >= 4;
}

/* In the midst of a batch, with its heartbeats going on, until another one has done its work. */
static void be_busy(void *ctx, struct worker *w, struct input *in, size_t n) {
    struct busy *b = ctx;
    (void)w, (void)in;
    if (!n || !atomic_exchange(&b->wanted, false))
        return;
    atomic_store(&b->begun, true);
    if (!wait_until(taken_over, b->s, 60000) || !wait_until(drained, b->s, 60000))
        test_die("nobody took the partitions over");
    atomic_store(&b->over, true);
}

static bool is_true(void *arg) {
    return atomic_load((atomic_bool *)arg);
}

/* Others have its partitions, and have done all there was, when it comes to writing and
 * committing. */
Test(odd, who_is_busy_past_max_poll_interval_repeats_nothing, .timeout = 300) {
    struct service s;
    struct feed feed;
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    service_open(&s, k, 4, feed_campaigns);
    service_option(&s, "redis.profile_interval=0ms");
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.max.poll.interval.ms=6000");
    service_option(&s, "kafka.heartbeat.interval.ms=500");
    feed_start(&feed, &s);
    struct busy busy = {.s = &s};
    s.hooks = (struct stream_hooks){.batch = be_busy, .ctx = &busy};
    service_start(&s);
    pid_t b = service_run(&s, "b", NULL);
    feed_until_said(&feed, "b", "partition-ready", 2);
    feed_for(&feed, 500);
    atomic_store(&busy.wanted, true);
    feed_while_not(&feed, is_true, &busy.begun);
    feed_some(&feed, 300);
    cr_assert(wait_until(is_true, &busy.over, 120000));
    cr_assert(wait_until(feed_is_in_profiles, &feed, 60000),
              "older profiles stand over newer ones");
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_end(&s, b, "b");
    feed_expect_as_even(&s, test_brokers());
    service_close(&s);
}
