/* Redis or brokers away for a while: intake waits, nothing is lost, everything is written. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "tests/support/feed.h"

struct fixture {
    struct kafka *kafka;
    struct service s;
    struct feed feed;
};

static void set_up(struct fixture *f, struct kafka *k, int partitions) {
    f->kafka = k;
    service_open(&f->s, f->kafka, partitions, feed_campaigns);
    feed_start(&f->feed, &f->s);
}

static void tear_down(struct fixture *f) {
    service_close(&f->s);
    kafka_free(f->kafka);
}

static bool all_lists(void *arg) {
    return service_keys(arg, "beckon:top:*") == FEED_USERS &&
           service_keys(arg, "beckon:user:*") == FEED_USERS;
}

/* Work is under way: every user has a list, and some of it is committed. */
static bool at_work(void *arg) {
    struct metrics m;
    service_metrics(arg, &m);
    return metric_get(&m.commits) > 3 && all_lists(arg);
}

static bool paused(void *arg) {
    struct metrics m;
    service_metrics(arg, &m);
    return metric_gauge(&m.paused) == 1;
}

static bool flowing(void *arg) {
    return !paused(arg);
}

/* Another process joins and takes partitions while the first one waits for Redis. */
Test(outage, partitions_move_while_redis_is_away, .timeout = 300) {
    struct fixture f;
    set_up(&f, kafka_start(1), 4);
    service_start(&f.s);
    feed_while_not(&f.feed, at_work, &f.s);
    redis_server_kill(f.s.redis);
    feed_while_not(&f.feed, paused, &f.s);
    pid_t b = service_run(&f.s, "b", NULL);
    feed_until_said(&f.feed, "b", "partition-ready", 2);
    service_redis_restart(&f.s);
    feed_while_not(&f.feed, flowing, &f.s);
    feed_some(&f.feed, 300);
    service_drain(&f.s, 60000);
    cr_assert(wait_until(all_lists, &f.s, 20000), "lists are missing");
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    service_end(&f.s, b, "b");
    feed_expect_as_even(&f.s, test_brokers());
    tear_down(&f);
}

Test(outage, redis_gone_in_the_middle_loses_nothing, .timeout = 300) {
    struct fixture f;
    set_up(&f, kafka_start(1), 2);
    service_start(&f.s);
    feed_while_not(&f.feed, at_work, &f.s);
    for (int i = 0; i < 3; i++) {
        if (i == 2) {
            redis_server_hang(f.s.redis);
        } else {
            redis_server_kill(f.s.redis);
        }
        feed_while_not(&f.feed, paused, &f.s);
        feed_some(&f.feed, 200);
        if (i == 2)
            redis_server_wake(f.s.redis);
        else
            service_redis_restart(&f.s);
        feed_while_not(&f.feed, flowing, &f.s);
    }
    cr_assert(wait_until(all_lists, &f.s, 20000), "lists are missing");
    freeReplyObject(redisCommand(f.s.eye, "FLUSHALL"));
    feed_some(&f.feed, 200);
    service_drain(&f.s, 60000);
    cr_assert(wait_until(all_lists, &f.s, 20000), "lists are missing after FLUSHALL");
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    feed_expect_as_even(&f.s, test_brokers());
    tear_down(&f);
}

struct similar {
    struct service *s;
    long long lists; /* before Redis was emptied */
};

static bool all_but_triggers(void *arg) {
    struct similar *w = arg;
    return all_lists(w->s) && service_keys(w->s, "beckon:similar:*") == w->lists &&
           service_keys(w->s, "beckon:trending") == 1 && service_keys(w->s, "beckon:stats") == 1;
}

/* Nothing comes in afterwards, and no interval is over: what was there is written again because
 * it is missing. */
Test(outage, an_emptied_redis_is_filled_again_without_events, .timeout = 300) {
    struct fixture f = {.kafka = kafka_start(1)};
    service_open(&f.s, f.kafka, 2, feed_campaigns);
    service_option(&f.s, "lists.similar_interval=1d");
    service_option(&f.s, "lists.trending_interval=1d");
    feed_start(&f.feed, &f.s);
    service_start(&f.s);
    feed_while_not(&f.feed, at_work, &f.s);
    service_drain(&f.s, 60000);
    struct similar w = {&f.s, service_keys(&f.s, "beckon:similar:*")};
    cr_assert_gt(w.lists, 10);
    freeReplyObject(redisCommand(f.s.eye, "FLUSHALL"));
    cr_assert(wait_until(all_but_triggers, &w, 20000), "%lld users, %lld of %lld items, %lld",
              service_keys(&f.s, "beckon:top:*"), service_keys(&f.s, "beckon:similar:*"), w.lists,
              service_keys(&f.s, "beckon:trending"));
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    tear_down(&f);
}

/* Asked to stop while Redis is away: it does not wait for ever, and what it did not
 * commit is done by the next one. */
Test(outage, stopping_while_redis_is_away_loses_nothing, .timeout = 300) {
    struct fixture f;
    set_up(&f, kafka_start(1), 2);
    service_start(&f.s);
    feed_while_not(&f.feed, at_work, &f.s);
    redis_server_kill(f.s.redis);
    feed_while_not(&f.feed, paused, &f.s);
    int64_t from = test_clock_ms();
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    cr_assert_lt(test_clock_ms() - from, 15000);
    service_redis_restart(&f.s);
    service_start(&f.s);
    feed_some(&f.feed, 200);
    service_drain(&f.s, 60000);
    cr_assert(wait_until(all_lists, &f.s, 20000), "lists are missing");
    cr_assert_eq(service_stop(&f.s), STREAM_STOPPED);
    feed_expect_as_even(&f.s, test_brokers());
    tear_down(&f);
}

/* What it had collected for Redis before it hung, it writes when it wakes: over what the process
 * wrote that has its partition by now. */
Test(outage, lists_of_a_process_that_hung_do_not_stay, .timeout = 300) {
    struct fixture f;
    set_up(&f, kafka_start(1), 1);
    service_option(&f.s, "redis.profile_interval=0ms");
    service_option(&f.s, "kafka.session.timeout.ms=6000");
    service_option(&f.s, "kafka.heartbeat.interval.ms=500");
    pid_t a = service_run(&f.s, "a", NULL);
    feed_until_said(&f.feed, "a", "partition-ready", 1);
    redis_server_kill(f.s.redis);
    feed_until_said(&f.feed, "a", "redis-away", 1);
    kill(a, SIGSTOP);
    service_redis_restart(&f.s);
    pid_t b = service_run(&f.s, "b", NULL);
    feed_until_said(&f.feed, "b", "partition-ready", 1);
    feed_some(&f.feed, 300);
    service_drain(&f.s, 60000);
    cr_assert(wait_until(feed_is_in_profiles, &f.feed, 20000), "profiles are incomplete");
    kill(a, SIGCONT);
    service_await(&f.s, "a", " lost ", 1);
    service_await(&f.s, "b", "redis-rewrite", 1);
    cr_assert(wait_until(feed_is_in_profiles, &f.feed, 20000),
              "older profiles stand over newer ones");
    service_end(&f.s, a, "a");
    service_end(&f.s, b, "b");
    feed_expect_as_even(&f.s, test_brokers());
    tear_down(&f);
}

static bool one_done(void *s) {
    bool there[SERVICE_PARTITIONS_MAX];
    return service_at_end(s, there) > 0;
}

/* It gave its partition up in order, with nothing left to commit, but had lists in hand that it
 * could not write; those it writes when it reaches Redis again, later than the next owner. */
Test(outage, lists_of_a_partition_given_up_do_not_stay, .timeout = 300) {
    struct fixture f;
    set_up(&f, kafka_start(1), 2);
    service_option(&f.s, "redis.profile_interval=0ms");
    pid_t a = service_run(&f.s, "a", NULL);
    feed_until_said(&f.feed, "a", "partition-ready", 2);
    feed_some(&f.feed, 300);
    service_drain(&f.s, 60000);
    service_end(&f.s, a, "a");
    redis_server_kill(f.s.redis);
    a = service_run(&f.s, "a", NULL);
    service_await(&f.s, "a", "redis-away", 1);
    pid_t b = service_run(&f.s, "b", NULL);
    service_await(&f.s, "b", "partition-ready", 1);
    kill(a, SIGSTOP); /* as if only its way to Redis were broken any longer */
    service_redis_restart(&f.s);
    feed_some(&f.feed, 600);
    kafka_flush(f.kafka);
    cr_assert(wait_until(one_done, &f.s, 60000));
    kill(a, SIGCONT);
    service_drain(&f.s, 60000);
    cr_assert(wait_until(feed_is_in_profiles, &f.feed, 60000),
              "older profiles stand over newer ones");
    service_end(&f.s, a, "a");
    service_end(&f.s, b, "b");
    feed_expect_as_even(&f.s, test_brokers());
    tear_down(&f);
}
