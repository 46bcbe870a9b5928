/* From events to lists, triggers and dead letters; what the catalogue and people's wishes change.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/encode.h"
#include "consumer/kafka_util.h"
#include "tests/support/feed.h"

/* ---- what cannot be used ---- */

struct bad {
    enum dead_reason reason; /* DEAD_NONE: a good one */
    int32_t schema_id;
    struct str key, payload; /* payload.p NULL: a tombstone */
    char *made;              /* the payload, if it was allocated */
};

static struct str copy(const void *p, size_t n) {
    char *to = malloc(n + 1);
    memcpy(to, p, n);
    return (struct str){to, n};
}

/* An event as it goes over the wire. */
static struct str wire(struct encoder *e, struct event ev, const char *type) {
    struct buf b = {0};
    cr_assert_eq(encode_event(e, &ev, type, &b), 0);
    struct str s = copy(b.p, b.n);
    buf_free(&b);
    return s;
}

static void patch(struct str s, const void *find, size_t n, const void *by) {
    char *at = memmem(s.p, s.n, find, n);
    cr_assert_not_null(at);
    memcpy(at, by, n);
}

/* Every way to be refused, after two good ones. */
static size_t make_bad(struct encoder *e, struct bad *b) {
    int64_t now = service_now_ms();
    static char big[2000];
    memset(big, 'x', sizeof big);
    struct event good = {.id = STR("good"),
                         .user = STR("ute"),
                         .item = STR("boot"),
                         .time_ms = now,
                         .value = 1234.5,
                         .dwell_ms = NAN};
    size_t n = 0;
    struct str key = STR("ute");
#define BAD(why, schema, ...)                                                                      \
    do {                                                                                           \
        struct event ev = good;                                                                    \
        char id[16];                                                                               \
        snprintf(id, sizeof id, "b%zu", n);                                                        \
        ev.id = str_of(id);                                                                        \
        const char *type = "view";                                                                 \
        (void)type;                                                                                \
        __VA_ARGS__;                                                                               \
        b[n] = (struct bad){why, schema, key, wire(e, ev, type), NULL};                            \
        b[n].made = (char *)b[n].payload.p;                                                        \
        n++;                                                                                       \
    } while (0)
    BAD(DEAD_NONE, 1, ev.id = STR("first"));
    BAD(DEAD_NONE, 1, type = "purchase");
    BAD(DEAD_DUPLICATE, 1, ev.id = STR("first"));
    BAD(DEAD_NO_USER, 1, ev.user = (struct str){0});
    BAD(DEAD_NO_ITEM, 1, ev.item = (struct str){0}, type = "purchase");
    BAD(DEAD_TYPE, 1, type = "dance");
    BAD(DEAD_VALUE, 1, ev.value = -1);
    BAD(DEAD_VALUE, 1, ev.value = INFINITY);
    BAD(DEAD_VALUE, 1, ev.dwell_ms = -5);
    BAD(DEAD_TIME, 1, ev.time_ms = 12345);
    BAD(DEAD_AHEAD, 1, ev.time_ms = now + 7200000);
    BAD(DEAD_BEHIND, 1, ev.time_ms = now - 8 * 86400000ll);
    BAD(DEAD_LONG_STRING, 1, ev.query = ((struct str){big, 1500}));
    BAD(DEAD_UTF8, 1, ev.item = ((struct str){"\xff\xfe", 2}));
    BAD(DEAD_UTF8, 1, ev.item = ((struct str){"a\nb", 3}));
    BAD(DEAD_MALFORMED, 1);
    ((char *)b[n - 1].payload.p)[b[n - 1].payload.n++] = 'x'; /* copy left room */
    BAD(DEAD_TRUNCATED, 1);
    b[n - 1].payload.n -= 3;
    BAD(DEAD_TRUNCATED, -1);
    b[n - 1].payload.n = 3;
    BAD(DEAD_SCHEMA_ID, 999);
    memcpy((char *)b[n - 1].payload.p, "\0\0\0\3\347", 5);
    BAD(DEAD_MAGIC, -1);
    *(char *)b[n - 1].payload.p = '{';
    BAD(DEAD_VALUE, 1);
    double nan_value = NAN, value = 1234.5;
    patch(b[n - 1].payload, &value, sizeof value, &nan_value);
    b[n++] = (struct bad){DEAD_EMPTY, -1, key, {"", 0}, NULL};
    b[n++] = (struct bad){DEAD_EMPTY, -1, key, {0}, NULL};
    static char huge[70000];
    b[n++] = (struct bad){DEAD_OVERSIZE, -1, STR("somebody else"), {huge, sizeof huge}, NULL};
#undef BAD
    return n;
}

static void expect_letter(struct service *s, struct decoder *d, const struct record *r,
                          const struct bad *b, size_t n) {
    struct dead_letter l;
    cr_assert_eq(decode_dead_letter(d, r->value.p, r->value.n, &l), 0);
    cr_assert_lt((size_t)l.origin.offset, n);
    b += l.origin.offset;
    const char *want = dead_reason_name(b->reason);
    cr_assert_eq(l.reason, b->reason, "record %lld is %s, not %s: %s", (long long)l.origin.offset,
                 dead_reason_name(l.reason), want, l.detail);
    cr_assert_eq(l.schema_id, b->schema_id, "%s %lld: schema %d", want, (long long)l.origin.offset,
                 l.schema_id);
    cr_assert_str_eq(l.origin.topic, s->clickstream);
    cr_assert_eq(l.origin.partition, 0);
    cr_assert_gt(l.origin.timestamp_ms, 0);
    cr_assert(str_eq((struct str){l.key, l.key_n}, b->key), "%s: key", want);
    cr_assert(str_eq(r->key, b->key), "%s: message key", want);
    cr_assert_eq(l.payload == NULL, b->payload.p == NULL, "%s", want);
    cr_assert(str_eq((struct str){l.payload, l.payload_n}, b->payload), "%s: payload", want);
    cr_assert_eq(l.payload_bytes, b->payload.n);
    char headers[128];
    snprintf(headers, sizeof headers, "trace=t%lld\nbeckon-reason=%s\n", (long long)l.origin.offset,
             want);
    cr_assert_str_eq(r->headers.p, headers);
    decoder_reset(d);
}

Test(stream, what_cannot_be_used_is_kept_with_its_reason, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 1, NULL);
    service_option(&s, "topics.format=confluent");
    service_option(&s, "topics.output_format=confluent");
    service_start(&s);
    autofree(encoder_free) struct encoder *e = NULL;
    autofree(decoder_free) struct decoder *d = NULL;
    cr_assert_eq(encoder_new(s.cfg, FORMAT_CONFLUENT, &e), 0);
    cr_assert_eq(decoder_new(s.cfg, &d), 0);
    struct bad bad[64];
    size_t n = make_bad(e, bad), letters = 0;
    for (size_t i = 0; i < n; i++) {
        char trace[16];
        snprintf(trace, sizeof trace, "t%zu", i);
        rd_kafka_headers_t *h = rd_kafka_headers_new(1);
        rd_kafka_header_add(h, "trace", -1, trace, -1);
        kafka_put_with(k, s.clickstream, 0, bad[i].key, bad[i].payload, h);
        letters += bad[i].reason != DEAD_NONE;
    }
    service_drain(&s, 60000);
    /* What came in is what was processed and what was refused. */
    struct metrics m;
    service_metrics(&s, &m);
    uint64_t refused = 0;
    for (int r = 0; r < DEAD_COUNT; r++) {
        uint64_t want = 0;
        for (size_t i = 0; i < n; i++)
            want += bad[i].reason == r;
        cr_expect_eq(metric_get(&m.dead[r]), want, "%zu of %s, not %zu",
                     (size_t)metric_get(&m.dead[r]), dead_reason_name(r), (size_t)want);
        refused += r != DEAD_DUPLICATE && r != DEAD_BEHIND ? want : 0;
    }
    cr_assert_eq(metric_get(&m.events) + refused, n);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    cr_assert_eq(service_field(&s, "beckon:stats", "dead_letters"), letters);
    cr_assert_eq(service_field(&s, "beckon:stats", "dead:bad-value"), 4);
    cr_assert_eq(service_field(&s, "beckon:stats", "duplicates"), 1);
    struct records all;
    kafka_read(k, s.dead, true, &all);
    cr_assert_eq(all.n, letters);
    for (size_t i = 0; i < all.n; i++)
        expect_letter(&s, d, &all.v[i], bad, n);
    records_free(&all);
    for (size_t i = 0; i < n; i++)
        free(bad[i].made);
    service_close(&s);
}

Test(stream, bad_json_is_refused_and_the_rest_goes_on, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 1, NULL);
    int64_t now = service_now_ms();
    char good[256], wrong[256];
    snprintf(good, sizeof good, "{\"user\":\"u\",\"item\":\"i\",\"type\":\"view\",\"ts\":%lld}",
             (long long)now);
    snprintf(wrong, sizeof wrong, "{\"user\":[1],\"item\":\"i\",\"type\":\"view\",\"ts\":%lld}",
             (long long)now);
    const struct {
        const char *payload, *reason;
    } sent[] = {
        {"{\"user\":", "bad-json"}, {"[]", "bad-json"},     {"nonsense", "bad-json"},
        {wrong, "bad-field"},       {"{}", "missing-user"},
    };
    for (size_t i = 0; i < ARRAY_LEN(sent); i++) {
        service_raw(&s, 0, STR("u"), str_of(sent[i].payload));
        service_raw(&s, 0, STR("u"), str_of(good));
    }
    service_start(&s);
    service_drain(&s, 60000);
    struct metrics m;
    service_metrics(&s, &m);
    cr_assert_eq(metric_get(&m.events), ARRAY_LEN(sent));
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    struct records all;
    kafka_read(k, s.dead, true, &all);
    cr_assert_eq(all.n, ARRAY_LEN(sent));
    for (size_t i = 0; i < all.n; i++) {
        char reason[64];
        snprintf(reason, sizeof reason, "{\"reason\":\"%s\"", sent[i].reason);
        cr_assert_eq(strncmp(all.v[i].value.p, reason, strlen(reason)), 0, "%s", all.v[i].value.p);
    }
    records_free(&all);
    autofree(free) char *list = service_list(&s, "u");
    cr_assert_str_eq(list, "i");
    service_close(&s);
}

/* ---- catalogue, wishes, lists ---- */

static const char campaigns[] =
    "defaults: {channel: push, valid_for: 30d}\n"
    "campaigns:\n"
    "  - {id: boots, priority: 50, trigger: {viewed: {category: boots, times: 2, within: 2h}},\n"
    "     offer: {kind: message, message: boots}}\n"
    "  - {id: cheaper, priority: 40, trigger: {price_drop: {percent: 10, within: 7d}},\n"
    "     offer: {kind: message, message: cheaper}}\n"
    "  - {id: sorry, priority: 90, trigger: {event: {type: survey, max: 6}},\n"
    "     transactional: true, offer: {kind: message, message: sorry}}\n";

struct expected {
    struct service *s;
    const char *user, *campaign;
    size_t n;
};

static bool sent_now(void *arg) {
    struct expected *x = arg;
    struct sents all;
    service_sents(x->s, x->s->triggers, &all);
    size_t n = sents_count(&all, x->user, x->campaign);
    sents_free(&all);
    return n >= x->n;
}

static void expect_sent(struct service *s, const char *user, const char *campaign, size_t n) {
    struct expected x = {s, user, campaign, n};
    cr_assert(wait_until(sent_now, &x, 20000), "%s never got %s", user, campaign);
    struct sents all;
    service_sents(s, s->triggers, &all);
    cr_assert_eq(sents_count(&all, user, campaign), n);
    sents_free(&all);
}

static void click(struct service *s, const char *user, const char *item, const char *type) {
    static unsigned n;
    char id[16];
    snprintf(id, sizeof id, "c%u", n++);
    service_click(s, (struct click){id, user, item, type, service_now_ms() - 1000, 3});
}

struct controls {
    struct service *s;
    uint64_t n, items;
};

static bool known(void *arg) {
    struct controls *c = arg;
    struct metrics m;
    service_metrics(c->s, &m);
    return metric_get(&m.controls) >= c->n && metric_get(&m.catalogue) >= c->items;
}

static void expect_known(struct service *s, uint64_t controls, uint64_t items) {
    kafka_flush(s->kafka);
    struct controls c = {s, controls, items};
    cr_assert(wait_until(known, &c, 20000));
}

Test(stream, wishes_and_catalogue_are_obeyed_at_once, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 2, campaigns);
    service_option(&s, "policy.consent_default=denied");
    for (int i = 0; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        service_item(&s, id, i % 3 ? "shirts" : "boots", 100, true);
    }
    service_consent(&s, "yes", "push", true);
    service_consent(&s, "no", "push", false);
    const char *user[] = {"yes", "no", "unknown"};
    for (size_t i = 0; i < ARRAY_LEN(user); i++) {
        click(&s, user[i], "i3", "view");
        click(&s, user[i], "i6", "view");
        click(&s, user[i], NULL, "survey");
    }
    kafka_flush(k);
    service_start(&s);
    service_drain(&s, 60000);
    /* The first events found the whole catalogue and all wishes. */
    expect_sent(&s, "yes", "sorry", 1);
    expect_sent(&s, "yes", "boots", 1);
    expect_sent(&s, "no", NULL, 0);
    expect_sent(&s, "unknown", NULL, 0);
    struct sents said;
    service_sents(&s, s.decisions, &said);
    for (size_t i = 0; i < said.n; i++)
        cr_assert_str_eq(said.v[i].reason, strcmp(said.v[i].user, "yes") ? "no-consent" : "sent");
    cr_assert_eq(said.n, 6);
    sents_free(&said);
    /* Minds change. */
    service_consent(&s, "yes", "push", false);
    service_consent(&s, "unknown", "*", true);
    expect_known(&s, 4, 30);
    click(&s, "yes", NULL, "survey");
    click(&s, "unknown", NULL, "survey");
    service_drain(&s, 60000);
    expect_sent(&s, "unknown", "sorry", 1);
    expect_sent(&s, "yes", "sorry", 1);
    /* A price falls that two people looked at, one of whom may be told; 5 % interest nobody. */
    service_item(&s, "i3", "boots", 70, true);
    service_item(&s, "i6", "boots", 95, true);
    expect_sent(&s, "unknown", "cheaper", 1);
    expect_sent(&s, "yes", "cheaper", 0);
    /* What is gone is not listed. */
    autofree(free) char *before = service_list(&s, "unknown");
    cr_assert_not_null(strstr(before, "i9"), "%s", before);
    for (int i = 9; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        service_item(&s, id, "boots", 100, false);
    }
    expect_known(&s, 4, 53);
    click(&s, "unknown", "i1", "view");
    service_drain(&s, 60000);
    autofree(free) char *after = service_list(&s, "unknown");
    for (int i = 9; i < 30; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        cr_assert_null(strstr(after, id), "%s", after);
    }
    cr_assert_not_null(strstr(after, "i3"), "%s", after);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}

static bool lists_there(void *s) {
    return service_keys(s, "beckon:top:*") == FEED_USERS;
}

Test(stream, at_least_once_loses_nothing_and_takes_each_event_once, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    service_open(&s, k, 2, feed_campaigns);
    service_option(&s, "stream.guarantee=at-least-once");
    struct feed f;
    feed_start(&f, &s);
    feed_some(&f, 500);
    for (int i = 0; i < 3; i++) {
        pid_t pid = service_run(&s, "a", NULL);
        feed_while_not(&f, lists_there, &s);
        feed_for(&f, 700);
        cr_assert_eq(process_end(pid, SIGKILL, 5000), 128 + SIGKILL);
        service_redis_restart(&s);
    }
    service_start(&s);
    feed_some(&f, 200);
    service_drain(&s, 60000);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    struct service even;
    service_open_twin(&even, &s, feed_campaigns);
    service_start(&even);
    service_drain(&even, 60000);
    cr_assert_eq(service_stop(&even), STREAM_STOPPED);
    /* A crash may repeat triggers with the ids they had. Those that depend on nothing but
     * their event are all there. */
    struct sents got, want;
    service_sents(&s, s.triggers, &got);
    service_sents(&even, even.triggers, &want);
    sents_only(&got, "sorry");
    sents_only(&want, "sorry");
    sents_unique(&got);
    cr_assert_gt(want.n, 5);
    const char *differ = sents_differ(&got, &want);
    cr_assert_null(differ, "%s", differ);
    sents_free(&got);
    sents_free(&want);
    service_close(&even);
    service_close(&s);
}

/* ---- numbers ---- */

struct numbers {
    struct service *s;
    double processes, partitions, events, decisions;
};

/* Sent and refused ones of all campaigns. */
static double decided(struct service *s) {
    static const char *const ids[] = {"cart", "shoes", "hello", "sorry"};
    double sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        redisReply *r = redisCommand(s->eye, "HGETALL beckon:campaign:{%s}", ids[i]);
        for (size_t k = 0; k + 1 < r->elements; k += 2) {
            const char *field = r->element[k]->str;
            if (strcmp(field, "sent") == 0 || strncmp(field, "suppressed:", 11) == 0)
                sum += strtod(r->element[k + 1]->str, NULL);
        }
        freeReplyObject(r);
    }
    return sum;
}

static bool numbers_are(void *arg) {
    struct numbers *n = arg;
    return service_field(n->s, "beckon:stats", "processes") == n->processes &&
           service_field(n->s, "beckon:stats", "partitions") == n->partitions &&
           service_field(n->s, "beckon:stats", "events") == n->events &&
           (n->decisions < 0 || decided(n->s) == n->decisions);
}

Test(stream, numbers_of_several_processes_add_up, .timeout = 300) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    struct feed feed;
    service_open(&s, k, 4, feed_campaigns);
    service_option(&s, "kafka.heartbeat.interval.ms=500"); /* b learns sooner that a came */
    feed_start(&feed, &s);
    pid_t b = service_run(&s, "b", NULL);
    service_await(&s, "b", "partition-ready", 4);
    pid_t a = service_run(&s, "a", NULL);
    service_await(&s, "a", "partition-ready", 2);
    feed_some(&feed, 2000);
    service_drain(&s, 60000);
    double events = 0;
    for (int p = 0; p < 4; p++) {
        int64_t low, high;
        cr_assert_eq(kafka_ends(s.probe, s.clickstream, p, &low, &high, 10000), 0);
        events += (double)high;
    }
    struct sents all;
    service_sents(&s, s.decisions, &all);
    struct numbers both = {&s, 2, 4, events, (double)all.n};
    cr_assert(wait_until(numbers_are, &both, 20000), "%g processes, %g partitions, %g of %g events",
              service_field(&s, "beckon:stats", "processes"),
              service_field(&s, "beckon:stats", "partitions"),
              service_field(&s, "beckon:stats", "events"), events);
    double of_a = service_field(&s, "beckon:stats:{a}", "events");
    double of_b = service_field(&s, "beckon:stats:{b}", "events");
    cr_assert_gt(of_a, 0);
    cr_assert_eq(of_a + of_b, events);
    sents_free(&all);

    /* The first in the row goes: the other one has the totals to itself at once. */
    service_end(&s, a, "a");
    struct numbers alone = {&s, 1, 2, of_b, -1};
    cr_assert(wait_until(numbers_are, &alone, 40000),
              "%g processes, %g partitions, %g of %g events",
              service_field(&s, "beckon:stats", "processes"),
              service_field(&s, "beckon:stats", "partitions"),
              service_field(&s, "beckon:stats", "events"), of_b);
    service_end(&s, b, "b");
    service_close(&s);
}
