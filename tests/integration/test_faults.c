/* Kafka refuses, hangs or goes away: aborted transactions are done again, nothing else. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "consumer/kafka_util.h"
#include "tests/support/feed.h"

/* API keys of the Kafka protocol. */
enum {
    PRODUCE = 0,
    FETCH = 1,
    OFFSET_FETCH = 9,
    FIND_COORDINATOR = 10,
    JOIN_GROUP = 11,
    SYNC_GROUP = 14,
    HEARTBEAT = 12,
    INIT_PRODUCER_ID = 22,
    ADD_PARTITIONS = 24,
    ADD_OFFSETS = 25,
    END_TXN = 26,
    TXN_OFFSETS = 28
};

static uint64_t counter(struct service *s, const _Atomic uint64_t *(*of)(const struct metrics *m)) {
    struct metrics m;
    service_metrics(s, &m);
    return metric_get(of(&m));
}

static const _Atomic uint64_t *commits_of(const struct metrics *m) {
    return &m->commits;
}
static const _Atomic uint64_t *rewinds_of(const struct metrics *m) {
    return &m->rewinds;
}
static const _Atomic uint64_t *aborts_of(const struct metrics *m) {
    return &m->aborts;
}

static const _Atomic uint64_t *lists_of(const struct metrics *m) {
    return &m->lists_written;
}

struct grown {
    struct service *s;
    const _Atomic uint64_t *(*of)(const struct metrics *m);
    uint64_t to;
};

static bool has_grown(void *arg) {
    struct grown *g = arg;
    return counter(g->s, g->of) >= g->to;
}

static void feed_until_grown(struct feed *f, const _Atomic uint64_t *(*of)(const struct metrics *m),
                             uint64_t by) {
    struct grown g = {f->s, of, counter(f->s, of) + by};
    feed_while_not(f, has_grown, &g);
}

/* The last of each partition: surveys of users that nobody else speaks for. */
enum { LAST_USERS = 16 };
static void feed_end(struct feed *f) {
    for (int i = 0; i < LAST_USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "last%d", i);
        service_click(f->s, (struct click){id, id, NULL, "survey", f->time_ms, 1});
    }
    kafka_flush(f->s->kafka);
}

static bool ends_answered(void *arg) {
    struct service *s = arg;
    struct sents all;
    service_sents(s, s->triggers, &all);
    sents_unique(&all);
    size_t n = 0;
    for (int i = 0; i < LAST_USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "last%d", i);
        n += sents_count(&all, id, "sorry");
    }
    sents_free(&all);
    return n == LAST_USERS;
}

/* This cluster shows what was aborted and keeps no offsets of transactions, so that much
 * is done twice; but an answer to a survey depends on nothing else. */
static void expect_same_answers(struct service *s) {
    struct service even;
    struct sents all, expected;
    service_open_twin(&even, s, feed_campaigns);
    service_start(&even);
    service_drain(&even, 60000);
    cr_assert_eq(service_stop(&even), STREAM_STOPPED);
    service_sents(s, s->triggers, &all);
    service_sents(&even, even.triggers, &expected);
    sents_only(&all, "sorry");
    sents_only(&expected, "sorry");
    sents_unique(&all);
    cr_assert_gt(all.n, LAST_USERS);
    const char *differ = sents_differ(&all, &expected);
    cr_assert_null(differ, "%s", differ);
    sents_free(&all);
    sents_free(&expected);
    service_close(&even);
}

/* Refusals after which the transaction cannot go on: it is aborted, the worker goes back
 * to what is committed and takes the events again. And some that only ask for patience. */
Test(faults, refused_transactions_are_done_again, .timeout = 300) {
    static const struct {
        const char *name;
        int api;
        rd_kafka_resp_err_t err;
        bool aborts;
    } fault[] = {
        {"partitions", ADD_PARTITIONS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, true},
        {"partitions later", ADD_PARTITIONS, RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS, false},
        {"offsets", ADD_OFFSETS, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, true},
        {"end", END_TXN, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, true},
        {"end later", END_TXN, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, false},
        {"group", TXN_OFFSETS, RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION, true},
    };
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=exactly-once");
    feed_start(&f, &s);
    service_start(&s);
    feed_until_grown(&f, commits_of, 2);
    for (size_t i = 0; i < ARRAY_LEN(fault); i++) {
        uint64_t before = counter(&s, rewinds_of);
        rd_kafka_mock_push_request_errors(kafka_mock(k), fault[i].api, 1, fault[i].err);
        if (fault[i].aborts)
            feed_until_grown(&f, rewinds_of, 1);
        feed_until_grown(&f, commits_of, 2);
        cr_expect_eq(counter(&s, rewinds_of), before + fault[i].aborts, "%s", fault[i].name);
        cr_assert(engine_running(s.engine), "%s ended it", fault[i].name);
    }
    cr_assert_geq(counter(&s, aborts_of), 4);
    feed_end(&f);
    cr_assert(wait_until(ends_answered, &s, 60000), "the stream stands still");
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    expect_same_answers(&s);
    service_close(&s);
}

/* Each request is refused once for a passing reason, some at the start, some in full run. Not
 * heartbeats: a member that joins again while it is joining is more than the mock cluster takes. */
Test(faults, refusals_of_any_request_are_waited_out, .timeout = 300) {
    static const struct {
        int api;
        rd_kafka_resp_err_t err;
        bool at_start;
    } fault[] = {
        {FIND_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, true},
        {JOIN_GROUP, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, true},
        {SYNC_GROUP, RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS, true},
        {INIT_PRODUCER_ID, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, true},
        {OFFSET_FETCH, RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT, true},
        {FETCH, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, false},
        {PRODUCE, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, false},
        {PRODUCE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT, false},
        {FIND_COORDINATOR, RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE, false},
        {ADD_PARTITIONS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, false},
        {ADD_OFFSETS, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, false},
        {TXN_OFFSETS, RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS, false},
        {END_TXN, RD_KAFKA_RESP_ERR_NOT_COORDINATOR, false},
    };
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=exactly-once");
    service_option(&s, "kafka.heartbeat.interval.ms=200");
    /* The mock cluster waits so long for a member that was refused its part. */
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.coordinator.query.interval.ms=500");
    service_option(&s, "kafka.fetch.error.backoff.ms=50");
    feed_start(&f, &s);
    for (size_t i = 0; i < ARRAY_LEN(fault); i++)
        if (fault[i].at_start)
            rd_kafka_mock_push_request_errors(kafka_mock(k), fault[i].api, 1, fault[i].err);
    service_start(&s);
    feed_until_grown(&f, commits_of, 2);
    for (size_t i = 0; i < ARRAY_LEN(fault); i++) {
        if (!fault[i].at_start)
            rd_kafka_mock_push_request_errors(kafka_mock(k), fault[i].api, 1, fault[i].err);
        feed_until_grown(&f, commits_of, 3);
        cr_assert(engine_running(s.engine), "request %d ended it", fault[i].api);
    }
    feed_end(&f);
    cr_assert(wait_until(ends_answered, &s, 60000), "the stream stands still");
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    expect_same_answers(&s);
    service_close(&s);
}

/* The broker takes no triggers for a while: every transaction that holds one is aborted,
 * and a reader of committed records never learns of it. */
Test(faults, a_topic_that_refuses_records_holds_the_stream_and_loses_nothing, .timeout = 300) {
    if (!test_brokers())
        cr_skip_test("needs limits per topic and isolated transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    feed_start(&f, &s);
    service_start(&s);
    feed_until_grown(&f, commits_of, 2);
    const char *topic[] = {s.triggers, s.decisions};
    for (size_t i = 0; i < ARRAY_LEN(topic); i++) {
        kafka_limit(k, topic[i], "80");
        feed_until_grown(&f, rewinds_of, 2);
        cr_assert(engine_running(s.engine));
        kafka_limit(k, topic[i], "1048588");
        feed_until_grown(&f, commits_of, 2);
    }
    cr_assert_geq(counter(&s, aborts_of), 4);
    feed_some(&f, 200);
    service_drain(&s, 60000);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    feed_expect_as_even(&s, true);
    service_close(&s);
}

static bool cheaper_sent(void *arg) {
    struct service *s = arg;
    struct sents all;
    service_sents(s, s->triggers, &all);
    size_t n = sents_count(&all, NULL, "cheaper");
    sents_free(&all);
    return n > 0;
}

static bool has_ended(void *pid) {
    return !process_running(*(pid_t *)pid);
}

/* The broker answers both alike, but one who hung for longer than a transaction may last was not
 * replaced: it goes on by itself. */
Test(faults, who_hung_in_a_transaction_goes_on_and_who_was_replaced_ends, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=exactly-once");
    service_option(&s, "stream.commit_interval=50ms");
    service_option(&s, "kafka.transaction.timeout.ms=1000");
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.heartbeat.interval.ms=500");
    feed_start(&f, &s);
    pid_t pid = service_run(&s, "a", NULL);
    feed_until_said(&f, "a", "partition-ready", 2);
    /* No answer within the timeout, and that one to the second try. */
    rd_kafka_mock_broker_push_request_error_rtts(kafka_mock(k), 1, END_TXN, 2,
                                                 RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 1500,
                                                 RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 0);
    feed_until_said(&f, "a", "warning stalled", 1);
    feed_until_said(&f, "a", "partition-ready", 4);
    feed_end(&f);
    cr_assert(wait_until(ends_answered, &s, 30000), "it stands still");
    rd_kafka_mock_broker_push_request_error_rtts(kafka_mock(k), 1, END_TXN, 1,
                                                 RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, 0);
    feed_while_not(&f, has_ended, &pid);
    cr_assert_eq(process_end(pid, 0, 1000), 3);
    autofree(free) char *log = service_log(&s, "a");
    cr_assert_not_null(strstr(log, "error fenced fix="), "%s", log);
    service_close(&s);
}

/* A topic with a record, and a client that does not consume it. */
static rd_kafka_t *one_record(struct kafka *k, char topic[TOPIC_NAME]) {
    char err[256];
    kafka_topic(k, "moving", 1, false, topic);
    kafka_put(k, topic, 0, STR("k"), STR("v"));
    kafka_flush(k);
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(k), err, sizeof err);
    return rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof err);
}

/* It would ask the former leader for ever. */
Test(faults, the_ends_of_a_partition_are_found_where_its_leader_went) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(2);
    char topic[TOPIC_NAME];
    rd_kafka_t *rk = one_record(k, topic);
    for (int32_t leader = 1; leader <= 2; leader++) {
        int64_t low = -1, high = -1;
        cr_assert_eq(rd_kafka_mock_partition_set_leader(kafka_mock(k), topic, 0, leader), 0);
        if (kafka_ends(rk, topic, 0, &low, &high, 10000))
            cr_assert_eq(kafka_ends(rk, topic, 0, &low, &high, 10000), 0, "leader %d", leader);
        cr_assert_eq(low, 0);
        cr_assert_eq(high, 1);
    }
    rd_kafka_destroy(rk);
}

struct asked {
    rd_kafka_t *rk;
    const char *topic;
    int64_t low, high;
};

static bool finds_ends(void *arg) {
    struct asked *a = arg;
    return !kafka_ends(a->rk, a->topic, 0, &a->low, &a->high, 2000);
}

/* librdkafka's own question for both ends goes on until the broker is back. */
Test(faults, who_asks_a_dead_leader_for_ends_hears_so_in_time, .timeout = 60) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(2);
    char topic[TOPIC_NAME];
    rd_kafka_t *rk = one_record(k, topic);
    struct asked a = {rk, topic, -1, -1};
    cr_assert_eq(rd_kafka_mock_partition_set_leader(kafka_mock(k), topic, 0, 1), 0);
    cr_assert(wait_until(finds_ends, &a, 20000));
    cr_assert_eq(rd_kafka_mock_broker_set_down(kafka_mock(k), 1), 0);
    cr_assert_not(finds_ends(&a));
    cr_assert_eq(rd_kafka_mock_partition_set_leader(kafka_mock(k), topic, 0, 2), 0);
    a.high = -1;
    cr_assert(wait_until(finds_ends, &a, 20000));
    cr_assert(a.low == 0 && a.high == 1);
    rd_kafka_destroy(rk);
}

/* A coordinator that takes its time is no reason to end. */
Test(faults, offsets_that_are_refused_for_long_are_waited_for, .timeout = 300) {
    enum { OFTEN = 105 };
    static rd_kafka_resp_err_t often[OFTEN];
    for (int i = 0; i < OFTEN; i++)
        often[i] = RD_KAFKA_RESP_ERR_UNKNOWN; /* librdkafka does not try again itself */
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    feed_start(&f, &s);
    rd_kafka_mock_push_request_errors_array(kafka_mock(k), OFFSET_FETCH, OFTEN, often);
    service_start(&s);
    feed_until_grown(&f, commits_of, 2);
    feed_some(&f, 100);
    service_drain(&s, 60000);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}

/* After an outage of all brokers: one has forgotten the transaction it is asked to end, or took in
 * a member whose answer was lost, and then holds the member for another. Neither ends the process.
 */
Test(faults, an_outage_that_leaves_brokers_forgetful_is_started_anew_from, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=exactly-once");
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.heartbeat.interval.ms=200");
    feed_start(&f, &s);
    pid_t pid = service_run(&s, "a", NULL);
    feed_until_said(&f, "a", "partition-ready", 2);
    rd_kafka_mock_push_request_errors(kafka_mock(k), END_TXN, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_TXN_STATE);
    feed_until_said(&f, "a", "warning stalled", 1);
    feed_until_said(&f, "a", "partition-ready", 4);
    /* The first one cuts the connection. */
    rd_kafka_mock_push_request_errors(kafka_mock(k), HEARTBEAT, 2, RD_KAFKA_RESP_ERR__TRANSPORT,
                                      RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID);
    feed_until_said(&f, "a", "warning stalled", 2);
    feed_until_said(&f, "a", "partition-ready", 6);
    feed_end(&f);
    cr_assert(wait_until(ends_answered, &s, 60000), "it stands still");
    service_end(&s, pid, "a");
    expect_same_answers(&s);
    service_close(&s);
}

/* A price that fell is news from another topic: going back in the stream does not bring it again.
 */
Test(faults, a_price_that_fell_survives_an_aborted_transaction, .timeout = 300) {
    if (!test_brokers())
        cr_skip_test("needs limits per topic and isolated transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 2,
                 "campaigns:\n"
                 "  - {id: cheaper, channel: push, valid_for: 1d, offer: {kind: message},\n"
                 "     trigger: {price_drop: {percent: 10, within: 7d}}}\n");
    /* History: it fell before anybody of this process looked. */
    service_item(&s, "i1", "boots", 200, true);
    service_item(&s, "i1", "boots", 100, true);
    int64_t now = service_now_ms();
    service_click(&s, (struct click){"a", "ute", "i1", "view", now - 5000, 0});
    service_click(&s, (struct click){"b", "udo", "i1", "view", now - 5000, 0});
    kafka_flush(k);
    service_start(&s);
    service_drain(&s, 30000);
    kafka_limit(k, s.triggers, "80");
    service_item(&s, "i1", "boots", 70, true);
    kafka_flush(k);
    struct grown back = {&s, rewinds_of, 2};
    cr_assert(wait_until(has_grown, &back, 30000));
    kafka_limit(k, s.triggers, "1048588");
    cr_assert(wait_until(cheaper_sent, &s, 40000), "the price was forgotten");
    service_click(&s, (struct click){"c", "udo", "i1", "view", now, 0});
    service_drain(&s, 30000);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    struct sents all;
    service_sents(&s, s.triggers, &all);
    cr_assert_eq(sents_count(&all, "ute", "cheaper"), 1);
    cr_assert_eq(sents_count(&all, "udo", "cheaper"), 1);
    cr_assert_eq(all.n, 2);
    sents_free(&all);
    service_close(&s);
}

/* The last commit fails: its offsets must not be committed by the leaving of the group. */
Test(faults, a_refused_last_commit_commits_no_offsets, .timeout = 300) {
    if (!test_brokers())
        cr_skip_test("needs limits per topic and isolated transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.commit_interval=20s");
    feed_start(&f, &s);
    service_start(&s);
    for (int i = 0; i < 2; i++) {
        kafka_limit(k, s.decisions, "80");
        feed_until_grown(&f, lists_of, FEED_USERS);
        cr_assert_eq(service_stop(&s), STREAM_STOPPED);
        cr_assert(!service_drained(&s), "offsets were committed without what belongs to them");
        kafka_limit(k, s.decisions, "1048588");
        service_start(&s);
    }
    /* All of it is in the last commit of this run. */
    feed_some(&f, 200);
    kafka_flush(k);
    feed_until_grown(&f, lists_of, FEED_USERS);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_option(&s, "stream.commit_interval=50ms");
    service_start(&s);
    service_drain(&s, 60000);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    feed_expect_as_even(&s, true);
    service_close(&s);
}

/* Asked to stop while no broker answers: it gives up after a while. */
Test(faults, stopping_without_a_broker_ends, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start_mock(1);
    struct service s;
    struct feed f;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=exactly-once");
    feed_start(&f, &s);
    service_start(&s);
    feed_until_grown(&f, commits_of, 2);
    feed_some(&f, 500);
    rd_kafka_mock_broker_set_down(kafka_mock(k), 1);
    int64_t from = test_clock_ms();
    service_stop(&s);
    cr_log_info("took %lld ms", (long long)(test_clock_ms() - from));
    cr_assert_lt(test_clock_ms() - from, 45000);
    service_close(&s);
}

struct carts {
    struct service *s;
    const char *campaign;
    size_t n;
};

static bool carts_sent(void *arg) {
    struct carts *c = arg;
    struct sents all;
    service_sents(c->s, c->s->triggers, &all);
    size_t n = sents_count(&all, NULL, c->campaign);
    sents_free(&all);
    return n >= c->n;
}

static void click_and_await(struct service *s, const char *user, size_t carts, double events) {
    service_click(s, (struct click){user, user, "i1", "add-to-cart", service_now_ms() - 5000, 0});
    struct carts c = {s, "quick", carts};
    service_drain(s, 30000);
    cr_assert_eq(service_field(s, "beckon:user:{late}", "events"), events);
    cr_assert(wait_until(carts_sent, &c, 20000), "the timer of %s did not fire", user);
}

/* Timers of quiet partitions and the age of profiles go by the time that passes, not by what
 * the clock shows. */
Test(faults, a_clock_that_steps_fires_no_timer_early_or_late, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 1,
                 "defaults: {channel: push, valid_for: 1d}\n"
                 "campaigns:\n"
                 "  - {id: quick, trigger: {cart_abandoned: {after: 1s}},\n"
                 "     offer: {kind: message, message: cart}}\n"
                 "  - {id: slow, trigger: {cart_abandoned: {after: 30m}},\n"
                 "     offer: {kind: message, message: cart}}\n");
    service_option(&s, "stream.idle=100ms");
    service_option(&s, "redis.profile_interval=0ms");
    service_clock(&s);
    pid_t pid = service_run(&s, "a", NULL);
    service_await(&s, "a", "partition-ready", 1);
    static const int64_t minutes[] = {0, 120, -50, 60};
    for (size_t i = 0; i < ARRAY_LEN(minutes); i++) {
        char user[16];
        snprintf(user, sizeof user, "u%zu", i);
        service_clock_shift(&s, minutes[i] * 60000);
        service_click(&s,
                      (struct click){user + 1, "late", "i1", "view", service_now_ms() - 5000, 0});
        click_and_await(&s, user, i + 1, (double)i + 1);
    }
    service_end(&s, pid, "a");
    struct carts slow = {&s, "slow", 1};
    cr_assert(!carts_sent(&slow), "fired early");
    service_close(&s);
}
