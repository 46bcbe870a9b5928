/* Dead letters there and back, and what `tail` shows of them. */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/encode.h"
#include "tests/support/support.h"

enum { RUN_MS = 60000, ARGS_MAX = 40 };

static struct kafka *kafka;
static struct temp_dir dir;
static char brokers_flag[300], app_flag[160], dlq_flag[160], clicks_flag[160];
static char clicks[TOPIC_NAME], dlq[TOPIC_NAME], *report;
static struct config *cfg;
static struct encoder *encoder;
static struct buf letter;

static void set_up(void) {
    kafka = kafka_start(1);
    temp_dir_make(&dir);
    char app[TOPIC_NAME];
    unique_name("app", app);
    app[63] = '\0';
    kafka_topic(kafka, "clicks", 2, false, clicks);
    kafka_topic(kafka, "dlq", 2, false, dlq);
    snprintf(brokers_flag, sizeof brokers_flag, "--kafka.bootstrap.servers=%s",
             kafka_brokers(kafka));
    snprintf(app_flag, sizeof app_flag, "--app.name=%s", app);
    snprintf(dlq_flag, sizeof dlq_flag, "--topics.dead_letters=%s", dlq);
    snprintf(clicks_flag, sizeof clicks_flag, "--topics.clickstream=%s", clicks);
    cr_assert_eq(config_load(NULL, NULL, 0, &cfg), 0);
    cr_assert_eq(encoder_new(cfg, FORMAT_CONFLUENT, &encoder), 0);
}

static void tear_down(void) {
    free(report);
    buf_free(&letter);
    encoder_free(encoder);
    config_free(cfg);
    kafka_free(kafka);
    temp_dir_remove(&dir);
}

TestSuite(letters, .init = set_up, .fini = tear_down);

static pid_t start(const char *first, va_list ap) {
    char *argv[ARGS_MAX] = {
        (char *)beckon_path(), (char *)first, brokers_flag, app_flag, dlq_flag, clicks_flag};
    size_t n = 6;
    for (char *a; n + 1 < ARGS_MAX && (a = va_arg(ap, char *));)
        argv[n++] = a;
    autofree(free) char *log = temp_dir_file(&dir, "log");
    unlink(log);
    return process_start(argv, log);
}

static pid_t start_run(const char *first, ...) {
    va_list ap;
    va_start(ap, first);
    pid_t pid = start(first, ap);
    va_end(ap);
    return pid;
}

static int run(const char *first, ...) {
    va_list ap;
    va_start(ap, first);
    pid_t pid = start(first, ap);
    va_end(ap);
    int code = process_end(pid, 0, RUN_MS);
    autofree(free) char *log = temp_dir_file(&dir, "log");
    free(report);
    report = read_file(log, NULL);
    return code;
}

/* The mock cluster takes the positions of a transaction and forgets them. */
static void needs_a_broker_that_remembers(void) {
    if (kafka_mock(kafka))
        cr_skip_test("needs a real broker");
}

static void reports(const char *text) {
    cr_assert(strstr(report, text), "no '%s' in: %s", text, report);
}

/* A refused message: letter number `i`. `headers` move in. */
static void put_letter_with(int i, enum dead_reason reason, const char *key, const char *payload,
                            rd_kafka_headers_t *headers) {
    struct dead_letter d = {
        .reason = reason,
        .detail = "a detail",
        .schema_id = -1,
        .origin = {clicks, i % 3, 100 + i, 1700000000000},
        .key = key,
        .key_n = key ? strlen(key) : 0,
        .payload = payload,
        .payload_n = strlen(payload),
        .time_ms = 1700000000000 + i,
    };
    cr_assert_eq(encode_dead_letter(encoder, &d, &letter), 0);
    kafka_put_with(kafka, dlq, i % 2, str_of(key), (struct str){(const char *)letter.p, letter.n},
                   headers);
}

static void put_letter(int i, enum dead_reason reason, const char *key, const char *payload) {
    put_letter_with(i, reason, key, payload, NULL);
}

/* What is on the clickstream now, sorted by value, is exactly this. */
static int by_value(const void *a, const void *b) {
    return str_cmp(((const struct record *)a)->value, ((const struct record *)b)->value);
}

static void clicks_are(size_t n, const char *const want[][2]) {
    struct records r;
    kafka_read(kafka, clicks, true, &r);
    qsort(r.v, r.n, sizeof *r.v, by_value);
    cr_assert_eq(r.n, n, "%zu records, not %zu", r.n, n);
    for (size_t i = 0; i < n; i++) {
        cr_assert(str_eq(r.v[i].key, str_of(want[i][0])), "key '%.*s'", (int)r.v[i].key.n,
                  r.v[i].key.p);
        cr_assert(str_eq(r.v[i].value, str_of(want[i][1])), "value '%.*s'", (int)r.v[i].value.n,
                  r.v[i].value.p);
    }
    records_free(&r);
}

Test(letters, what_was_sent_once_is_not_sent_again) {
    needs_a_broker_that_remembers();
    put_letter(0, DEAD_JSON, "k0", "bytes 0");
    put_letter(1, DEAD_NO_USER, "k1", "bytes 1");
    put_letter(2, DEAD_JSON, "k2", "bytes 2");
    put_letter(3, DEAD_TYPE, "k3", "bytes 3");
    kafka_flush(kafka);

    cr_assert_eq(run("load", "--from-dlq", "--dry-run", NULL), 0, "%s", report);
    reports("4 would be sent");
    clicks_are(0, NULL);

    cr_assert_eq(run("load", "--from-dlq", "--reason", "bad-json", NULL), 0, "%s", report);
    reports("2 sent");
    reports("not sent: 2 of other reasons");
    const char *const first[][2] = {{"k0", "bytes 0"}, {"k2", "bytes 2"}};
    clicks_are(2, first);

    cr_assert_eq(run("load", "--from-dlq", "--reason", "bad-json", NULL), 0, "%s", report);
    reports("0 sent");
    clicks_are(2, first);

    cr_assert_eq(run("load", "--from-dlq", NULL), 0, "%s", report);
    reports("2 sent");
    reports("not sent: 2 sent by an earlier run");
    const char *const all[][2] = {
        {"k0", "bytes 0"}, {"k1", "bytes 1"}, {"k2", "bytes 2"}, {"k3", "bytes 3"}};
    clicks_are(4, all);

    put_letter(4, DEAD_JSON, "k4", "bytes 4");
    kafka_flush(kafka);
    cr_assert_eq(run("load", "--from-dlq", NULL), 0, "%s", report);
    reports("1 dead letters read, 1 sent");
    const char *const more[][2] = {{"k0", "bytes 0"},
                                   {"k1", "bytes 1"},
                                   {"k2", "bytes 2"},
                                   {"k3", "bytes 3"},
                                   {"k4", "bytes 4"}};
    clicks_are(5, more);
}

/* The record's own headers, and where it was last: not what an earlier round said. */
Test(letters, headers_are_kept) {
    rd_kafka_headers_t *h = rd_kafka_headers_new(3);
    rd_kafka_header_add(h, "trace", -1, "t1", -1);
    rd_kafka_header_add(h, "beckon-dlq-reason", -1, "bad-time", -1);
    rd_kafka_header_add(h, "beckon-reason", -1, "bad-json", -1);
    put_letter_with(0, DEAD_JSON, "k", "bytes", h);
    kafka_flush(kafka);
    cr_assert_eq(run("load", "--from-dlq", NULL), 0, "%s", report);
    struct records r;
    kafka_read(kafka, clicks, true, &r);
    cr_assert_eq(r.n, 1);
    char want[200];
    snprintf(want, sizeof want,
             "trace=t1\nbeckon-dlq-origin=%s/0/100\nbeckon-dlq-reason=bad-json\n", clicks);
    cr_assert_str_eq(r.v[0].headers.p, want);
    records_free(&r);
}

Test(letters, a_limit_leaves_the_rest_for_the_next_run) {
    needs_a_broker_that_remembers();
    for (int i = 0; i < 6; i++) {
        char payload[16];
        snprintf(payload, sizeof payload, "bytes %d", i);
        put_letter(i, DEAD_JSON, "k", payload);
    }
    kafka_flush(kafka);
    cr_assert_eq(run("load", "--from-dlq", "--limit", "4", NULL), 0, "%s", report);
    reports("4 sent");
    cr_assert_eq(run("load", "--from-dlq", NULL), 0, "%s", report);
    reports("2 sent");
    const char *const all[][2] = {{"k", "bytes 0"}, {"k", "bytes 1"}, {"k", "bytes 2"},
                                  {"k", "bytes 3"}, {"k", "bytes 4"}, {"k", "bytes 5"}};
    clicks_are(6, all);
}

static bool more_than(void *arg) {
    struct records r;
    kafka_glance(kafka, clicks, &r);
    bool more = r.n > *(size_t *)arg;
    records_free(&r);
    return more;
}

static size_t count_clicks(void) {
    struct records r;
    kafka_glance(kafka, clicks, &r);
    size_t n = r.n;
    records_free(&r);
    return n;
}

/* Killed as soon as something of it is to be seen, again and again; the command makes it slow
 * enough for that. */
Test(letters, runs_that_are_killed_lose_nothing_and_send_nothing_twice) {
    needs_a_broker_that_remembers();
    enum { LETTERS = 2000 };
    for (int i = 0; i < LETTERS; i++) {
        char payload[128];
        snprintf(payload, sizeof payload,
                 "{\"event_id\":\"%d\",\"user_id\":\"u\",\"type\":\"view\",\"item_id\":\"i\","
                 "\"time\":1700000000000}",
                 i);
        put_letter(i, DEAD_JSON, "u", payload);
    }
    kafka_flush(kafka);
    int midway = 0;
    for (int kills = 0; kills < 3; kills++) {
        size_t n = count_clicks();
        if (n == LETTERS)
            break;
        pid_t pid = start_run("load", "--from-dlq", "--format", "json", "--edit", "cat", NULL);
        cr_assert(wait_until(more_than, &n, RUN_MS));
        midway += process_end(pid, SIGKILL, RUN_MS) == 128 + SIGKILL;
    }
    cr_assert(midway > 0, "at least one was killed at its work");
    cr_assert_eq(run("load", "--from-dlq", "--format", "json", "--edit", "cat", NULL), 0, "%s",
                 report);
    bool seen[LETTERS] = {false};
    struct records r;
    kafka_read(kafka, clicks, true, &r);
    cr_assert_eq(r.n, LETTERS, "%zu records", r.n);
    for (size_t i = 0; i < r.n; i++) {
        json_t *o = json_loadb(r.v[i].value.p, r.v[i].value.n, 0, NULL);
        const char *id = json_string_value(json_object_get(o, "event_id"));
        int k = id ? atoi(id) : -1;
        cr_assert(k >= 0 && k < LETTERS && !seen[k]);
        seen[k] = true;
        json_decref(o);
    }
    records_free(&r);
}

Test(letters, records_are_mended_by_a_command) {
    put_letter(0, DEAD_NO_USER, "",
               "{\"uid\":\"u1\",\"type\":\"view\",\"item_id\":\"i\","
               "\"time\":1700000000000}");
    put_letter(1, DEAD_NO_USER, "", "{\"type\":\"view\",\"item_id\":\"i\",\"time\":1}");
    put_letter(2, DEAD_TYPE, "",
               "{\"uid\":\"u2\",\"type\":\"oops\",\"item_id\":\"i\","
               "\"time\":1700000000000}");
    kafka_flush(kafka);
    cr_assert_eq(
        run("load", "--from-dlq", "--format", "json", "--edit", "sed -n s/uid/user_id/p", NULL), 0,
        "%s", report);
    reports("3 dead letters read, 1 sent");
    reports("not sent: 1 left out by the command");
    reports("not sent: 1 still bad");
    reports("unknown-type 1");
    struct records r;
    kafka_read(kafka, clicks, true, &r);
    cr_assert_eq(r.n, 1);
    cr_assert(str_eq(r.v[0].key, STR("u1")), "keyed by the mended user");
    json_t *o = json_loadb(r.v[0].value.p, r.v[0].value.n, 0, NULL);
    cr_assert_str_eq(json_string_value(json_object_get(o, "user_id")), "u1");
    cr_assert_str_eq(json_string_value(json_object_get(o, "item_id")), "i");
    json_decref(o);
    records_free(&r);
}

Test(letters, a_command_that_fails_sends_nothing) {
    put_letter(0, DEAD_NO_USER, "k", "{}");
    kafka_flush(kafka);
    cr_assert_eq(run("load", "--from-dlq", "--edit", "false", NULL), 1);
    reports("the command ended with 1");
    clicks_are(0, NULL);
    cr_assert_eq(run("load", "--from-dlq", NULL), 0, "%s", report);
    reports("1 sent");
}

Test(letters, unknown_reasons_and_topics_are_refused) {
    cr_assert_eq(run("load", "--from-dlq", "--reason", "bad-luck", NULL), 2);
    reports("missing-user");
    cr_assert_eq(run("load", "--from-dlq", "--topics.dead_letters=never-was", NULL), 1);
    reports("there is no topic never-was");
}

Test(letters, tail_shows_the_newest_by_time) {
    for (int i = 0; i < 40; i++)
        put_letter(i, i % 2 ? DEAD_JSON : DEAD_TYPE, "k", "bytes");
    kafka_flush(kafka);
    cr_assert_eq(run("tail", "dead-letters", "-n", "3", NULL), 0, "%s", report);
    reports("time                     reason");
    reports("2023-11-14T22:13:20.039Z bad-json");
    reports("2023-11-14T22:13:20.037Z bad-json");
    cr_assert(!strstr(report, "20.036Z"), "%s", report);
    cr_assert_eq(run("tail", "dead-letters", "--from-start", "--json", NULL), 0, "%s", report);
    size_t lines = 0;
    char *save = NULL;
    for (char *line = strtok_r(report, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_loads(line, 0, NULL);
        cr_assert(o, "%s", line);
        cr_assert_str_eq(json_string_value(json_object_get(o, "topic")), clicks);
        json_decref(o);
        lines++;
    }
    cr_assert_eq(lines, 40);
    cr_assert_eq(run("tail", "never-was", NULL), 1);
}
