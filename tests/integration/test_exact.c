/* With model.save_interval 0 a process that goes on after a crash is to do, bit by bit, what it
 * would have done without: users, the model, what policies learned, decisions and lists. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "consumer/kafka_util.h"
#include "model/image.h"
#include "tests/support/feed.h"

/* What is learned of offers decides. */
static const char campaigns[] =
    "defaults: {channel: push, valid_for: 30d, window: 1h}\n"
    "caps: {user: 20 per 12h}\n"
    "groups: {offers: {policy: thompson, mode: online}}\n"
    "reward: {annoyance: 0.01}\n"
    "campaigns:\n"
    "  - {id: cart, group: offers, trigger: {cart_abandoned: {after: 10m}},\n"
    "     offer: {kind: coupon, discount_percent: 10}}\n"
    "  - {id: view, group: offers, trigger: {viewed: {category: same, times: 2, within: 2h}},\n"
    "     offer: {kind: message, message: look}}\n"
    "  - {id: hello, trigger: {welcome: {}}, reentry: never,\n"
    "     offer: {kind: message, message: hello}}\n";

struct fixture {
    struct kafka *kafka;
    struct service s;
    struct feed feed;
};

static void set_exact(struct service *s) {
    service_option(s, "model.save_interval=0ms");
    service_option(s, "stream.guarantee=exactly-once");
    service_option(s, "lists.exploration=0.1");
    service_option(s, "model.max_items=60"); /* some go, and others take their rows */
    service_option(s, "model.sessions=512");
}

static void open_on(struct fixture *f, struct kafka *k, int partitions) {
    f->kafka = k;
    service_open(&f->s, k, partitions, campaigns);
    set_exact(&f->s);
    feed_start(&f->feed, &f->s);
}

static void set_up(struct fixture *f) {
    if (!test_brokers())
        cr_skip_test("the mock cluster has no transactions");
    open_on(f, kafka_start(1), 1);
}

static void tear_down(struct fixture *f) {
    service_close(&f->s);
    kafka_free(f->kafka);
}

/* Items outside the catalogue, so many that there is no room for all of them. */
static void feed_others(struct fixture *f, unsigned n) {
    for (unsigned i = 0; i < n; i++) {
        char id[24], user[16], item[16];
        unsigned at = f->feed.n++;
        snprintf(id, sizeof id, "o%u", at);
        snprintf(user, sizeof user, "u%u", at * 7 % FEED_USERS);
        snprintf(item, sizeof item, "x%u", at * 2654435761u % 97);
        f->feed.time_ms += 3000;
        service_click(&f->s, (struct click){id, user, item, "view", f->feed.time_ms, 0});
    }
}

static void feed_mixed(struct fixture *f, unsigned n) {
    for (; n >= 20; n -= 20) {
        feed_some(&f->feed, 16);
        feed_others(f, 4);
    }
}

/* ---- comparing ---- */

/* The last record of each key. */
static size_t compacted(struct service *s, const char *what, struct records *ret) {
    char topic[TOPIC_NAME + 32];
    snprintf(topic, sizeof topic, "beckon-%s-%s", s->app, what);
    kafka_read(s->kafka, topic, true, ret);
    return ret->n;
}

static const struct record *last(const struct records *l, struct str key) {
    for (size_t i = l->n; i-- > 0;)
        if (str_eq(l->v[i].key, key))
            return &l->v[i];
    return NULL;
}

/* Of the lane's own record only what campaigns spent: the rest is of the clock and the process. */
enum { LANE_HEAD = 25 };

static struct str essence(const struct record *r) {
    size_t skip = r->key.n == 1 && r->key.p[0] == 'l' ? LANE_HEAD : 0;
    return r->value.p ? (struct str){r->value.p + skip, r->value.n - skip} : STR("");
}

/* `kinds`: first bytes of the keys that are to be the same. */
static void same_records(struct service *a, struct service *b, const char *what, const char *kinds,
                         size_t least) {
    struct records x, y;
    size_t n = 0;
    compacted(a, what, &x);
    compacted(b, what, &y);
    for (size_t i = 0; i < x.n; i++) {
        const struct record *r = &x.v[i], *other;
        if (!r->key.n || !strchr(kinds, r->key.p[0]) || last(&x, r->key) != r)
            continue;
        other = last(&y, r->key);
        cr_assert(other, "%s: only one has a record of kind %c", what, r->key.p[0]);
        struct str p = essence(r), q = essence(other);
        size_t at = 0;
        while (at < MIN(p.n, q.n) && p.p[at] == q.p[at])
            at++;
        cr_expect(str_eq(p, q), "%s: kind %c, %02x %02x%02x differs from byte %zu of %zu, %zu on",
                  what, r->key.p[0], (uint8_t)r->key.p[1 % r->key.n],
                  (uint8_t)r->key.p[2 % r->key.n], (uint8_t)r->key.p[3 % r->key.n], at, p.n, q.n);
        n++;
    }
    cr_assert(n >= least, "only %zu records of %s", n, what);
    records_free(&x);
    records_free(&y);
}

/* Values of records in their order; only what the process wrote once. */
static void same_stream(struct service *a, const char *x_topic, const char *y_topic, size_t least) {
    struct records x, y;
    kafka_read(a->kafka, x_topic, true, &x);
    kafka_read(a->kafka, y_topic, true, &y);
    cr_assert(x.n >= least, "only %zu records of %s", x.n, x_topic);
    for (size_t i = 0; i < MIN(x.n, y.n); i++)
        cr_assert(str_eq(x.v[i].value, y.v[i].value), "%zu of %zu\n%.*s\n%.*s", i, x.n,
                  (int)x.v[i].value.n, x.v[i].value.p, (int)y.v[i].value.n, y.v[i].value.p);
    cr_assert_eq(x.n, y.n);
    records_free(&x);
    records_free(&y);
}

static void same_lists(struct service *a, struct service *b) {
    for (int u = 0; u < FEED_USERS; u++) {
        char key[32];
        snprintf(key, sizeof key, "beckon:top:{u%d}", u);
        redisReply *x = redisCommand(a->eye, "ZREVRANGE %s 0 -1 WITHSCORES", key);
        redisReply *y = redisCommand(b->eye, "ZREVRANGE %s 0 -1 WITHSCORES", key);
        cr_assert(x && y && x->elements == y->elements && x->elements >= 20, "%s", key);
        for (size_t i = 0; i < x->elements; i++)
            cr_assert_str_eq(x->element[i]->str, y->element[i]->str, "%s", key);
        freeReplyObject(x);
        freeReplyObject(y);
    }
}

/* Both began anew with an empty Redis, so that their lists are of their state alone. */
static void rewrite(struct service *s) {
    service_redis_restart(s);
    pid_t pid = service_run(s, "last", "app.instance=a");
    service_await(s, "last", "partition-ready", 1);
    char last_user[32];
    snprintf(last_user, sizeof last_user, "beckon:top:{u%d}", FEED_USERS - 1);
    service_drain(s, 15000);
    service_end(s, pid, "last");
}

static void same_state(struct service *a, struct service *b) {
    same_stream(a, a->decisions, b->decisions, 150);
    same_stream(a, a->triggers, b->triggers, 60);
    same_stream(a, a->outcomes, b->outcomes, 30);
    same_records(a, b, "changelog", "ul", FEED_USERS + 1);
    same_records(a, b, "model", "x", 100);
    same_records(a, b, "model", "X", 1);
}

static void expect_as_never_stopped(struct fixture *f) {
    struct service even;
    service_open_twin(&even, &f->s, campaigns);
    set_exact(&even);
    service_option(&even, "stream.commit_interval=300ms"); /* its commits fall elsewhere */
    pid_t pid = service_run(&even, "a", NULL);
    service_drain(&even, 90000);
    service_end(&even, pid, "a");
    same_state(&f->s, &even);
    rewrite(&f->s);
    rewrite(&even);
    same_lists(&f->s, &even);
    service_close(&even);
}

/* How often a process is killed: more of it on demand. */
static int times(void) {
    const char *wanted = getenv("BECKON_TEST_KILLS");
    return wanted ? atoi(wanted) : 2;
}

Test(exact, who_was_killed_at_any_moment_does_what_he_would_have_done, .timeout = 3000) {
    struct fixture f;
    set_up(&f);
    feed_mixed(&f, 400);
    for (int i = 0; i < times(); i++) {
        pid_t pid = service_run(&f.s, "a", NULL);
        if (i == 0) /* something to go on from */
            service_drain(&f.s, 60000);
        unsigned char at;
        getrandom(&at, 1, 0);
        for (int64_t until = test_clock_ms() + 500 + 12 * at; test_clock_ms() < until;) {
            feed_for(&f.feed, 100);
            feed_others(&f, 8);
        }
        cr_assert_eq(process_end(pid, SIGKILL, 5000), 128 + SIGKILL);
    }
    pid_t pid = service_run(&f.s, "a", NULL);
    feed_mixed(&f, 400);
    service_drain(&f.s, 90000);
    service_end(&f.s, pid, "a");
    autofree(free) char *log = service_log(&f.s, "a");
    cr_assert(strstr(log, "image-read"), "%s", log);
    expect_as_never_stopped(&f);
    tear_down(&f);
}

Test(exact, who_was_aborted_does_what_he_would_have_done, .timeout = 600) {
    struct fixture f;
    set_up(&f);
    feed_mixed(&f, 1000);
    pid_t pid = service_run(&f.s, "a", NULL);
    service_drain(&f.s, 60000); /* something to go on from */
    for (size_t i = 1; i <= 2; i++) {
        kafka_limit(f.kafka, f.s.decisions, "80");
        feed_until_said(&f.feed, "a", "warning undone", i);
        kafka_limit(f.kafka, f.s.decisions, "1048588");
        feed_others(&f, 20);
        service_drain(&f.s, 60000);
    }
    feed_mixed(&f, 1000);
    service_drain(&f.s, 90000);
    service_end(&f.s, pid, "a");
    expect_as_never_stopped(&f);
    tear_down(&f);
}

/* ---- on the mock cluster, which shows what was aborted and keeps no offsets of transactions ----
 */

enum { ADD_PARTITIONS = 24 }; /* of the Kafka protocol */

static bool has_ended(void *s) {
    return !engine_running(((struct service *)s)->engine);
}

static bool all_taken(void *arg) {
    struct service *s = arg;
    struct metrics m;
    int64_t low, high;
    service_metrics(s, &m);
    cr_assert_eq(kafka_ends(s->probe, s->clickstream, 0, &low, &high, 10000), 0);
    return metric_get(&m.events) == (uint64_t)high;
}

static void run_through(struct service *s) {
    service_start(s);
    cr_assert(wait_until(all_taken, s, 60000));
    cr_assert_eq(service_stop(s), STREAM_STOPPED);
}

/* The first transaction is refused before anything is written. */
Test(exact, what_was_learned_in_vain_is_undone, .timeout = 300) {
    struct fixture f;
    struct service even;
    struct metrics m;
    open_on(&f, kafka_start_mock(1), 1);
    feed_mixed(&f, 2000);
    kafka_flush(f.kafka);
    rd_kafka_mock_push_request_errors(kafka_mock(f.kafka), ADD_PARTITIONS, 1,
                                      RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING);
    service_start(&f.s);
    cr_assert(wait_until(has_ended, &f.s, 60000));
    service_metrics(&f.s, &m);
    cr_assert_gt(metric_get(&m.events), 0);
    cr_assert_eq(metric_get(&m.commits), 0);
    cr_assert_eq(service_stop(&f.s), STREAM_UNDONE);
    run_through(&f.s);
    service_open_twin(&even, &f.s, campaigns);
    set_exact(&even);
    run_through(&even);
    same_state(&f.s, &even);
    service_close(&even);
    tear_down(&f);
}

static bool one_has_ended(void *arg) {
    const pid_t *pid = arg;
    return !process_running(pid[0]) || !process_running(pid[1]);
}

Test(exact, who_is_not_alone_stops_and_says_so, .timeout = 300) {
    static const char *const name[] = {"a", "b"};
    struct fixture f;
    pid_t pid[2];
    open_on(&f, kafka_start_mock(1), 2);
    pid[0] = service_run(&f.s, name[0], NULL);
    service_await(&f.s, name[0], "partition-ready", 2);
    pid[1] = service_run(&f.s, name[1], NULL);
    feed_while_not(&f.feed, one_has_ended, pid);
    int who = process_running(pid[0]);
    cr_assert_eq(process_end(pid[who], 0, 1000), 1);
    autofree(free) char *log = service_log(&f.s, name[who]);
    cr_assert_not_null(strstr(log, "error not-alone partitions=1 of=2 fix="), "%s", log);
    process_end(pid[!who], SIGKILL, 5000);
    tear_down(&f);
}

/* Of the record without which the others count for nothing. */
struct head {
    struct service *s;
    bool there;
};

static bool head_is(void *arg) {
    struct head *h = arg;
    struct records all;
    struct buf key = {0};
    image_head_key(&key);
    compacted(h->s, "model", &all);
    const struct record *r = last(&all, (struct str){(char *)key.p, key.n});
    bool there = r && r->value.p, known = r != NULL;
    records_free(&all);
    buf_free(&key);
    return known && there == h->there;
}

static void expect_head(struct service *s, bool there) {
    struct head h = {s, there};
    cr_assert(wait_until(head_is, &h, 30000));
}

/* Runs until that is so; the log is of that name. */
static void run_until_head(struct fixture *f, const char *log, const char *option, bool there) {
    pid_t pid = service_run(&f->s, log, option);
    service_await(&f->s, log, "partition-ready", 1);
    feed_some(&f->feed, 100);
    kafka_flush(f->kafka);
    expect_head(&f->s, there);
    service_end(&f->s, pid, log);
}

Test(exact, a_state_that_was_not_kept_up_is_not_gone_on_from, .timeout = 300) {
    struct fixture f;
    open_on(&f, kafka_start_mock(1), 1);
    run_until_head(&f, "first", NULL, true);
    run_until_head(&f, "second", NULL, true);
    cr_assert_eq(service_said(&f.s, "second", "image-read"), 1);
    run_until_head(&f, "loose", "model.save_interval=500ms", false);
    run_until_head(&f, "third", NULL, true);
    cr_assert_eq(service_said(&f.s, "third", "image-read"), 0);
    run_until_head(&f, "fourth", NULL, true);
    cr_assert_eq(service_said(&f.s, "fourth", "image-read"), 1);
    tear_down(&f);
}
