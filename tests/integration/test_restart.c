/* What a stopped service knew, the next one knows: from Kafka alone, Redis being empty. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/support/feed.h"

static const char campaigns[] =
    "defaults: {channel: push, valid_for: 30d}\n"
    "campaigns:\n"
    "  - {id: cart, priority: 50, trigger: {cart_abandoned: {after: 15s}},\n"
    "     offer: {kind: message, message: cart}}\n"
    "  - {id: sorry, priority: 40, trigger: {event: {type: survey, max: 6}}, caps: 1 per 1d,\n"
    "     offer: {kind: message, message: sorry}}\n";

enum { USERS = 24, ITEMS = 40 };

static bool all_lists(void *s) {
    return service_keys(s, "beckon:top:*") == USERS && service_keys(s, "beckon:user:*") == USERS;
}

static void keep_lists(struct service *s, char *ret[USERS]) {
    for (int u = 0; u < USERS; u++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", u);
        ret[u] = service_list(s, user);
        cr_assert_gt(strlen(ret[u]), 10);
    }
}

/* Items of `a` that `b` has. */
static int in_common(const char *a, const char *b) {
    int n = 0;
    while (*a) {
        size_t len = strcspn(a, " ");
        for (const char *p = b; *p; p += strcspn(p, " "), p += *p == ' ')
            n += strcspn(p, " ") == len && memcmp(p, a, len) == 0;
        a += len + (a[len] == ' ');
    }
    return n;
}

static bool cart_sent(void *arg) {
    struct service *s = arg;
    struct sents all;
    service_sents(s, s->triggers, &all);
    size_t n = sents_count(&all, "u1", "cart");
    sents_free(&all);
    return n > 0;
}

static void put_catalogue(struct service *s) {
    for (int i = 0; i < ITEMS; i++) {
        char id[16], category[16];
        snprintf(id, sizeof id, "i%d", i);
        snprintf(category, sizeof category, "c%d", i % 5);
        service_item(s, id, category, 10 + i, true);
    }
    kafka_flush(s->kafka);
}

static void put_views(struct service *s, int64_t now) {
    unsigned n = 0;
    for (int round = 0; round < 12; round++)
        for (int u = 0; u < USERS; u++) {
            char id[16], user[16], item[16];
            snprintf(id, sizeof id, "v%u", n++);
            snprintf(user, sizeof user, "u%d", u);
            snprintf(item, sizeof item, "i%d", (u % 5 + 5 * round + u / 5 * (round % 3)) % ITEMS);
            service_click(s, (struct click){id, user, item, "view", now - 60000 + n * 10, 0});
        }
}

Test(restart, what_was_known_is_known_again, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 2, campaigns);
    service_option(&s, "stream.idle=300ms");
    put_catalogue(&s);
    int64_t now = service_now_ms();
    put_views(&s, now);
    service_click(&s, (struct click){"s1", "u2", NULL, "survey", now - 1000, 3});
    service_click(&s, (struct click){"s2", "u2", NULL, "survey", now - 900, 3});
    service_click(&s, (struct click){"a1", "u1", "i7", "add-to-cart", now, 0});
    service_start(&s);
    service_drain(&s, 60000);
    /* The lists as the model stands now, not as it stood at each user's last event. */
    cr_assert(wait_until(all_lists, &s, 20000));
    freeReplyObject(redisCommand(s.eye, "FLUSHALL"));
    cr_assert(wait_until(all_lists, &s, 20000), "a wiped Redis was not filled again");
    char *before[USERS], *after[USERS];
    keep_lists(&s, before);
    cr_assert(!cart_sent(&s));
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);

    /* Almost the same lists: a running model brings what an item shares with others up to date
     * bit by bit, a restored one is fresh. Restored again, they differ by the
     * trends, which go by the time. */
    for (int again = 0; again < 2; again++) {
        service_redis_restart(&s);
        service_start(&s);
        cr_assert(wait_until(all_lists, &s, 20000), "lists of untouched users are missing");
        keep_lists(&s, after);
        for (int u = 0; u < USERS; u++) {
            cr_assert_geq(in_common(before[u], after[u]), 15, "u%d had [%s] and has [%s]", u,
                          before[u], after[u]);
            free(before[u]);
            before[u] = after[u];
        }
        if (!again)
            cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    }
    for (int u = 0; u < USERS; u++)
        free(before[u]);
    /* Known events are known, spent caps are spent. */
    service_click(&s, (struct click){"v100", "u4", "i1", "view", now - 58990, 0});
    service_click(&s, (struct click){"s3", "u2", NULL, "survey", now + 0, 3});
    service_drain(&s, 60000);
    struct sents said;
    service_sents(&s, s.decisions, &said);
    size_t sent = 0, capped = 0;
    for (size_t i = 0; i < said.n; i++)
        if (strcmp(said.v[i].campaign, "sorry") == 0) {
            sent += strcmp(said.v[i].reason, "sent") == 0;
            capped += strcmp(said.v[i].reason, "cap-campaign") == 0;
        }
    cr_assert_eq(sent, 1);
    cr_assert_eq(capped, 2);
    sents_free(&said);
    struct metrics m;
    service_metrics(&s, &m);
    cr_assert_eq(metric_get(&m.duplicates), 1);
    cr_assert_geq(metric_get(&m.restored_users), USERS);
    /* A timer set before the restart fires after it, without any event. */
    cr_assert(wait_until(cart_sent, &s, 30000), "the timer did not survive");
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}

struct quiet {
    struct service *s;
    bool was_busy;
};

static bool quiet_is_back(void *arg) {
    struct quiet *q = arg;
    struct metrics m;
    service_metrics(q->s, &m);
    q->was_busy = metric_gauge(&m.lag) > 1000;
    return service_keys(q->s, "beckon:top:{quiet}") == 1;
}

/* A wiped Redis is filled although the stream never pauses for it. */
Test(restart, a_wiped_redis_is_filled_under_load, .timeout = 300) {
    if (!test_brokers())
        cr_skip_test("the mock cluster keeps too few records");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 1, NULL);
    service_option(&s, "stream.batch=50");
    int64_t now = service_now_ms();
    service_click(&s, (struct click){"q", "quiet", "i1", "view", now - 86400000, 0});
    for (unsigned i = 0; i < 100000; i++) {
        char id[16], user[16], item[16];
        snprintf(id, sizeof id, "e%u", i);
        snprintf(user, sizeof user, "u%u", i % 500);
        snprintf(item, sizeof item, "i%u", i * 7 % 200);
        service_click(&s, (struct click){id, user, item, "view", now - 86400000 + i * 50, 0});
    }
    kafka_flush(k);
    service_start(&s);
    struct quiet q = {&s, false};
    cr_assert(wait_until(quiet_is_back, &q, 30000));
    freeReplyObject(redisCommand(s.eye, "FLUSHALL"));
    cr_assert(wait_until(quiet_is_back, &q, 30000));
    cr_assert(q.was_busy, "only when the stream had come to its end");
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}
