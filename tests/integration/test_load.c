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
static char brokers_flag[300], topic[TOPIC_NAME], *report;

static void set_up_with(struct kafka *k) {
    kafka = k;
    temp_dir_make(&dir);
    snprintf(brokers_flag, sizeof brokers_flag, "--kafka.bootstrap.servers=%s", kafka_brokers(k));
    unique_name("load", topic);
}

static void set_up(void) {
    set_up_with(kafka_start(1));
}

static void tear_down(void) {
    free(report);
    kafka_free(kafka);
    temp_dir_remove(&dir);
}

TestSuite(load, .init = set_up, .fini = tear_down);

/* `beckon` with these arguments and the brokers; what it prints is `report`. */
static pid_t start(const char *first, va_list ap) {
    char *argv[ARGS_MAX] = {(char *)beckon_path(), (char *)first};
    size_t n = 2;
    for (char *a; n + 2 < ARGS_MAX && (a = va_arg(ap, char *));)
        argv[n++] = a;
    argv[n++] = brokers_flag;
    argv[n] = NULL;
    autofree(free) char *log = temp_dir_file(&dir, "log");
    unlink(log);
    return process_start(argv, log);
}

static int end(pid_t pid, int sig) {
    int code = process_end(pid, sig, RUN_MS);
    autofree(free) char *log = temp_dir_file(&dir, "log");
    free(report);
    report = read_file(log, NULL);
    return code;
}

static int run(const char *first, ...) {
    va_list ap;
    va_start(ap, first);
    pid_t pid = start(first, ap);
    va_end(ap);
    return end(pid, 0);
}

static char *file(const char *name, const char *text) {
    char *path = temp_dir_file(&dir, name);
    write_file(path, text, strlen(text));
    return path;
}

static void reports(const char *text) {
    cr_assert(strstr(report, text), "no '%s' in: %s", text, report);
}

static json_t *json_of(const struct record *r) {
    json_t *o = json_loadb(r->value.p, r->value.n, 0, NULL);
    cr_assert(json_is_object(o), "not JSON: %.*s", (int)r->value.n, r->value.p);
    return o;
}

static const char *text_of(json_t *o, const char *name) {
    json_t *v = json_object_get(o, name);
    cr_assert(json_is_string(v), "no text %s", name);
    return json_string_value(v);
}

enum { ROWS = 2000, USERS = 37 };

static char *shop_file(void) {
    char *path = temp_dir_file(&dir, "shop.csv");
    FILE *f = fopen(path, "w");
    cr_assert_not_null(f);
    fputs("ts_ms,user_id,session_id,type,item_id,value,country\r\n", f);
    for (int i = 0; i < ROWS; i++)
        fprintf(f, "%" PRId64 ",u%d,s%d,%s,\"item, %d\",%d.25,\"say \"\"hi\"\"\n%d\"\r\n",
                INT64_C(1700000000000) + i * 1000, i % USERS, i / 10, i % 3 ? "view" : "purchase",
                i, i, i);
    fclose(f);
    return path;
}

static void check_event(const struct event *e, int i) {
    char want[64];
#define IS(field, ...)                                                                             \
    snprintf(want, sizeof want, __VA_ARGS__);                                                      \
    cr_assert(str_eq(field, str_of(want)), "row %d: '%.*s', not '%s'", i, (int)(field).n,          \
              (field).p, want)
    IS(e->user, "u%d", i % USERS);
    IS(e->session, "s%d", i / 10);
    IS(e->item, "item, %d", i);
    IS(event_ctx_get(e, STR("country")), "say \"hi\"\n%d", i);
#undef IS
    cr_assert_eq(e->type, i % 3 ? EV_VIEW : EV_PURCHASE);
    cr_assert_eq(e->time_ms, INT64_C(1700000000000) + i * 1000);
    cr_assert_eq(e->value, i + 0.25);
    cr_assert_eq(e->n_ctx, 1);
}

static void load_and_compare(const char *format) {
    autofree(free) char *path = shop_file();
    cr_assert_eq(run("load", path, "--topic", topic, "--format", format, "--partitions", "3", NULL),
                 0, "%s", report);
    reports(": 2000 events");
    reports("types: view 1333, purchase 667");
    char key[64];
    snprintf(key, sizeof key, "topics.format=%s", format);
    autofree(config_free) struct config *cfg = NULL;
    cr_assert_eq(config_load(NULL, (char *[]){key}, 1, &cfg), 0);
    autofree(decoder_free) struct decoder *d = NULL;
    cr_assert_eq(decoder_new(cfg, &d), 0);
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, ROWS);
    bool seen[ROWS] = {false};
    int32_t home[USERS];
    memset(home, -1, sizeof home);
    for (size_t k = 0; k < r.n; k++) {
        struct origin o = {topic, r.v[k].partition, r.v[k].offset, 0};
        struct event e;
        struct dead why;
        cr_assert_eq(
            decode_event(d, r.v[k].value.p, r.v[k].value.n, r.v[k].key, &o, INT64_MAX, &e, &why),
            DEAD_NONE, "%s", why.detail);
        cr_assert(str_eq(r.v[k].key, e.user), "keyed by user");
        int i = (int)((e.time_ms - INT64_C(1700000000000)) / 1000);
        cr_assert(i >= 0 && i < ROWS && !seen[i]);
        seen[i] = true;
        check_event(&e, i);
        int32_t *at = &home[i % USERS];
        cr_assert(*at == -1 || *at == r.v[k].partition, "a user stays in one partition");
        *at = r.v[k].partition;
        decoder_reset(d);
    }
    records_free(&r);
}

Test(load, every_row_arrives_as_json) {
    load_and_compare("json");
}

Test(load, every_row_arrives_as_avro) {
    load_and_compare("confluent");
}

static const char dirt[] = "ts_ms,user_id,type,item_id,value\n"
                           "1700000000000,u,view,i,\n"
                           "1700000000001,,view,i,\n"
                           "1700000000002,u,swipe,i,\n"
                           "1700000000003,u,view\n"
                           "1700000000004,u,purchase,i,-5\n"
                           "sometime,u,view,i,\n"
                           "1700000000006,u,click,i,\n";

Test(load, bad_rows_stay_behind_and_are_told) {
    autofree(free) char *path = file("dirt.csv", dirt);
    cr_assert_eq(run("load", path, "--topic", topic, "--format", "json", "--json", NULL), 0, "%s",
                 report);
    reports("dirt.csv:3: missing-user");
    reports("dirt.csv:4: unknown-type");
    reports("dirt.csv:5: broken-row: 3 fields where the header has 5");
    reports("\"sent\":2,");
    reports("\"skipped\":{\"missing-user\":1,\"unknown-type\":1,\"bad-value\":1,\"bad-time\":1,"
            "\"broken-row\":1}");
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, 2);
    records_free(&r);
}

Test(load, bad_rows_are_sent_if_asked_for) {
    autofree(free) char *path = file("dirt.csv", dirt);
    cr_assert_eq(run("load", path, "--topic", topic, "--format", "json", "--keep-bad", NULL), 0);
    reports("sent although bad: 4");
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, 6);
    records_free(&r);
}

Test(load, strict_stops_at_the_first_bad_row) {
    autofree(free) char *path = file("dirt.csv", dirt);
    cr_assert_eq(run("load", path, "--topic", topic, "--strict", NULL), 1);
    reports(": 1 events");
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, 1, "what was good before it arrived");
    records_free(&r);
}

Test(load, a_file_of_other_names_says_what_to_do) {
    autofree(free) char *path = file("other.csv", "a,b\n1,2\n");
    cr_assert_eq(run("load", path, "--topic", topic, NULL), 1);
    reports("see --map");
    cr_assert_eq(run("load", path, "--topic", topic, "--map", "a=nothing", NULL), 2);
    cr_assert_eq(run("load", "/nowhere.csv", "--topic", topic, NULL), 1);
}

Test(load, passes_move_time_on_and_change_ids) {
    autofree(free) char *path = file("two.csv", "event_id,ts_ms,user_id,type,item_id\n"
                                                "a,1700000001000,u,view,i\n"
                                                "b,1700000003000,u,view,i\n");
    cr_assert_eq(run("load", path, "--topic", topic, "--format", "json", "--loop", "--limit", "5",
                     "--shift-time", "2024-01-01", NULL),
                 0, "%s", report);
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, 5);
    static const struct {
        const char *id;
        int64_t after_ms;
    } want[] = {{"a", 0}, {"b", 2000}, {"a~1", 4000}, {"b~1", 6000}, {"a~2", 8000}};
    for (size_t i = 0; i < r.n; i++) {
        json_t *o = json_of(&r.v[i]);
        cr_assert_str_eq(text_of(o, "event_id"), want[i].id);
        cr_assert_eq(json_integer_value(json_object_get(o, "time")),
                     INT64_C(1704067200000) + want[i].after_ms);
        json_decref(o);
    }
    records_free(&r);
}

Test(load, catalogue_and_wishes_have_their_own_keys_and_tombstones) {
    autofree(free) char *items = file("items.csv", "item_id,price,tags,deleted\n"
                                                   "i1,2.5,a|b,\n"
                                                   "i2,,,true\n");
    cr_assert_eq(run("load", items, "--kind", "items", "--topic", topic, "--format", "json",
                     "--partitions", "1", NULL),
                 0, "%s", report);
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, 2);
    cr_assert(str_eq(r.v[0].key, STR("i1")));
    json_t *o = json_of(&r.v[0]);
    cr_assert_eq(json_real_value(json_object_get(o, "price")), 2.5);
    json_decref(o);
    cr_assert(str_eq(r.v[1].key, STR("i2")));
    cr_assert_null(r.v[1].value.p);
    records_free(&r);

    char wishes[TOPIC_NAME];
    unique_name("wishes", wishes);
    autofree(free) char *control =
        file("control.jsonl", "{\"user_id\":\"u\",\"tz\":\"Europe/Rome\","
                              "\"consent\":{\"email\":true}}\n");
    cr_assert_eq(
        run("load", control, "--kind", "control", "--topic", wishes, "--format", "json", NULL), 0,
        "%s", report);
    kafka_read(kafka, wishes, true, &r);
    cr_assert_eq(r.n, 1);
    cr_assert(str_eq(r.v[0].key, STR("u")));
    o = json_of(&r.v[0]);
    cr_assert_str_eq(text_of(o, "timezone"), "Europe/Rome");
    cr_assert(json_is_true(json_object_get(json_object_get(o, "consent"), "email")));
    json_decref(o);
    records_free(&r);
}

static bool arrived(void *arg) {
    struct records r;
    kafka_read(kafka, topic, true, &r);
    bool any = r.n >= *(size_t *)arg;
    records_free(&r);
    return any;
}

static pid_t start_load(const char *first, ...) {
    va_list ap;
    va_start(ap, first);
    pid_t pid = start(first, ap);
    va_end(ap);
    return pid;
}

Test(load, an_interrupt_flushes_and_reports) {
    char made[TOPIC_NAME];
    kafka_topic(kafka, "load", 2, false, made);
    snprintf(topic, sizeof topic, "%s", made);
    autofree(free) char *path = shop_file();
    pid_t pid = start_load("load", path, "--topic", topic, "--loop", "--rate", "200", NULL);
    size_t some = 20;
    cr_assert(wait_until(arrived, &some, RUN_MS));
    cr_assert_eq(end(pid, SIGINT), 0, "%s", report);
    unsigned long sent = 0;
    const char *at = strstr(report, ": ");
    cr_assert(at && sscanf(at, ": %lu events", &sent) == 1, "%s", report);
    struct records r;
    kafka_read(kafka, topic, true, &r);
    cr_assert_eq(r.n, sent);
    records_free(&r);
}

static void set_up_mock(void) {
    set_up_with(kafka_start_mock(1));
}

TestSuite(load_faults, .init = set_up_mock, .fini = tear_down);

Test(load_faults, what_is_not_delivered_is_counted_and_fails) {
    char made[TOPIC_NAME];
    kafka_topic(kafka, "load", 1, false, made);
    snprintf(topic, sizeof topic, "%s", made);
    rd_kafka_mock_push_request_errors(kafka_mock(kafka), 0 /* Produce */, 1,
                                      RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED);
    autofree(free) char *path = file("two.csv", "ts_ms,user_id,type,item_id\n"
                                                "1700000000000,u,view,i\n"
                                                "1700000000001,u,view,i\n");
    cr_assert_eq(run("load", path, "--topic", topic, NULL), 1, "%s", report);
    reports("not delivered: 2");
    reports("Topic authorization failed");
}

Test(load_faults, no_broker_is_an_error_that_says_so) {
    snprintf(brokers_flag, sizeof brokers_flag, "--kafka.bootstrap.servers=127.0.0.1:1");
    autofree(free) char *path = file("one.csv", "ts_ms,user_id,type,item_id\n1,u,view,i\n");
    cr_assert_eq(run("load", path, "--topic", topic, NULL), 1);
    reports("kafka-unreachable");
}
