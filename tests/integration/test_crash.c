/* Nothing lost and nothing sent twice: processes killed, replaced, stopped by others. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <sys/random.h>

#include "tests/support/service.h"

static const char campaigns[] =
    "defaults: {channel: push, valid_for: 30d}\n"
    "caps:\n"
    "  user: 6 per 12h\n"
    "campaigns:\n"
    "  - {id: cart, priority: 50, trigger: {cart_abandoned: {after: 30m}}, caps: 2 per 1d,\n"
    "     offer: {kind: coupon, discount_percent: 10}}\n"
    "  - {id: shoes, priority: 40, trigger: {viewed: {category: shoes, times: 3, within: 2h}},\n"
    "     caps: 2 per 6h, offer: {kind: message, message: shoes}}\n"
    "  - {id: hello, priority: 10, trigger: {welcome: {}}, reentry: never,\n"
    "     offer: {kind: message, message: hello}}\n"
    "  - {id: sorry, priority: 90, trigger: {event: {type: survey, max: 6}},\n"
    "     transactional: true, offer: {kind: message, message: sorry}}\n";

enum { USERS = 60, ITEMS = 40 };

/* A stream of its own making, the same for a seed; a minute of event time per 20 events. */
struct feed {
    struct service *s;
    uint64_t state;
    int64_t time_ms;
    unsigned n;
};

static unsigned draw(struct feed *f, unsigned below) {
    f->state = f->state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(f->state >> 33) % below;
}

static void feed_start(struct feed *f, struct service *s) {
    *f = (struct feed){.s = s, .state = 42, .time_ms = service_now_ms() - 5 * 86400000ll};
    for (int i = 0; i < ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        service_item(s, id, i % 4 ? "things" : "shoes", 10 + i, true);
    }
}

static void feed_some(struct feed *f, unsigned events) {
    static const char *const types[] = {"view", "view", "view", "view", "add-to-cart", "purchase"};
    for (unsigned i = 0; i < events; i++) {
        char id[24], user[16], item[16];
        snprintf(user, sizeof user, "u%u", draw(f, USERS));
        snprintf(item, sizeof item, "i%u", draw(f, ITEMS));
        /* Some events come twice. */
        snprintf(id, sizeof id, "e%u", f->n && draw(f, 50) == 0 ? f->n - 1 : f->n);
        f->n++;
        f->time_ms += 3000;
        if (draw(f, 200) == 0)
            service_click(f->s, (struct click){id, user, NULL, "survey", f->time_ms, 3});
        else
            service_click(f->s, (struct click){id, user, item, types[draw(f, 6)], f->time_ms, 5});
    }
}

struct pump {
    struct feed *f;
    int64_t until_ms;
};

static bool pump_once(void *arg) {
    struct pump *p = arg;
    feed_some(p->f, 10);
    return test_clock_ms() >= p->until_ms;
}

/* Produces for a while. */
static void pump(struct feed *f, int64_t ms) {
    struct pump p = {f, test_clock_ms() + ms};
    wait_until(pump_once, &p, ms + 1000);
}

static void expect_same(struct service *a, struct service *b) {
    struct sents x, y;
    service_sents(a, a->triggers, &x);
    service_sents(b, b->triggers, &y);
    cr_log_info("%zu triggers", x.n);
    cr_assert_gt(y.n, USERS);
    const char *campaign[] = {"cart", "shoes", "hello", "sorry"};
    for (size_t i = 0; i < ARRAY_LEN(campaign); i++)
        cr_assert_gt(sents_count(&y, NULL, campaign[i]), 5, "few of %s", campaign[i]);
    cr_assert_eq(sents_repeated(&x), 0, "%zu triggers were sent twice", sents_repeated(&x));
    cr_assert_eq(sents_repeated(&y), 0);
    const char *differ = sents_differ(&x, &y);
    cr_assert_null(differ, "triggers: %s", differ);
    sents_free(&x);
    sents_free(&y);
    service_sents(a, a->decisions, &x);
    service_sents(b, b->decisions, &y);
    differ = sents_differ(&x, &y);
    cr_assert_null(differ, "decisions: %s", differ);
    cr_assert_gt(y.n, 2 * USERS);
    sents_free(&x);
    sents_free(&y);
}

/* No span of the cap's length holds more sends than it allows. */
static void expect_cap(struct service *s, const char *campaign, size_t most, int64_t span_ms) {
    struct sents all;
    service_sents(s, s->triggers, &all);
    for (size_t i = 0; i < all.n; i++) {
        size_t n = 0;
        for (size_t k = 0; k < all.n; k++)
            n += strcmp(all.v[i].user, all.v[k].user) == 0 &&
                 (campaign ? strcmp(all.v[k].campaign, campaign) == 0
                           : strcmp(all.v[k].campaign, "sorry") != 0) &&
                 all.v[k].time_ms >= all.v[i].time_ms &&
                 all.v[k].time_ms < all.v[i].time_ms + span_ms;
        cr_assert_leq(n, most, "%s got %zu of %s", all.v[i].user, n, campaign ? campaign : "all");
    }
    sents_free(&all);
}

static void expect_clean_end(struct service *s, pid_t pid, const char *instance) {
    int code = process_end(pid, SIGTERM, 60000);
    autofree(free) char *log = service_log(s, instance);
    cr_assert_eq(code, 0, "ended with %d:\n%s", code, log);
    cr_assert_not_null(strstr(log, "stopped clean=yes"), "%s", log);
}

/* An even run over the same topics, to compare with. */
static void run_evenly(struct service *calm) {
    service_start(calm);
    service_drain(calm, 60000);
    cr_assert_eq(service_stop(calm), STREAM_STOPPED);
}

Test(crash, kill_9_at_any_moment_loses_and_repeats_nothing, .timeout = 150) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s, calm;
    service_open(&s, k, 2, campaigns);
    struct feed f;
    feed_start(&f, &s);
    feed_some(&f, 500);
    for (int i = 0; i < 6; i++) {
        pid_t pid = service_run(&s, "a", NULL);
        /* The first one gets to work; of the others some die while they restore. */
        if (i == 0)
            service_await(&s, "a", "partition-ready", 2);
        unsigned char at;
        getrandom(&at, 1, 0);
        pump(&f, 300 + 12 * at);
        cr_assert_eq(process_end(pid, SIGKILL, 5000), 128 + SIGKILL);
    }
    pid_t pid = service_run(&s, "a", NULL);
    feed_some(&f, 500);
    service_drain(&s, 90000);
    expect_clean_end(&s, pid, "a");

    service_open_twin(&calm, &s, campaigns);
    run_evenly(&calm);
    expect_same(&s, &calm);
    expect_cap(&s, "cart", 2, 86400000);
    expect_cap(&s, "shoes", 2, 6 * 3600000);
    expect_cap(&s, NULL, 6, 12 * 3600000);
    service_close(&s);
    service_close(&calm);
}
