/* The catalogue and people's wishes are read whole, whatever stands in the way. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/encode.h"
#include "consumer/schema_store.h"
#include "tests/support/feed.h"

/* A schema registry that knows Beckon's own schemas as 100 and on, and may be down. */
static atomic_bool down;

static enum MHD_Result respond(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data, size_t *n,
                               void **state) {
    (void)cls;
    (void)version;
    (void)data;
    if (!*state || *n) { /* a body to come, or some of it */
        *state = &down;
        *n = 0;
        return MHD_YES;
    }
    int id = 0;
    bool post = strcmp(method, "POST") == 0;
    bool known = sscanf(url, "/schemas/ids/%d", &id) == 1 && builtin_schema(id - 100).n;
    unsigned status = atomic_load(&down) ? 503 : known || post ? 200 : 404;
    struct str schema = known ? builtin_schema(id - 100) : STR("");
    json_t *j = json_pack("{s:s%, s:i}", "schema", schema.p, schema.n, "id", 77);
    char *body = json_dumps(j, 0);
    json_decref(j);
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

/* An item as a producer writes it whose registry calls our schema 102. */
static void put_item(struct service *s, struct encoder *e, const char *id) {
    struct item_info i = {.id = str_of(id), .price = 10, .available = true};
    struct buf b = {0};
    cr_assert_eq(encode_item(e, &i, &b), 0);
    b.p[4] = 100 + SCHEMA_ITEM;
    kafka_put(s->kafka, s->items, RD_KAFKA_PARTITION_UA, i.id,
              (struct str){(const char *)b.p, b.n});
    buf_free(&b);
}

/* With outputs in its format nothing can be written without it: the start waits, and ends when
 * asked to. */
Test(catalogue, a_start_waits_for_a_registry_that_is_away, .timeout = 300) {
    struct MHD_Daemon *registry = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
                                                   respond, NULL, MHD_OPTION_END);
    cr_assert_not_null(registry);
    setenv("no_proxy", "127.0.0.1", 1);
    atomic_store(&down, true);
    struct service s;
    service_open(&s, kafka_start(1), 2, NULL);
    service_option(&s, "topics.output_format=confluent");
    service_option(&s, "topics.registry=http://127.0.0.1:%d",
                   MHD_get_daemon_info(registry, MHD_DAEMON_INFO_BIND_PORT)->port);
    pid_t pid = service_run(&s, "a", NULL);
    service_await(&s, "a", "registry-wait", 2);
    cr_assert_eq(process_end(pid, SIGTERM, 20000), 0);
    pid = service_run(&s, "b", NULL);
    service_await(&s, "b", "registry-wait", 2);
    atomic_store(&down, false);
    service_await(&s, "b", "partition-ready", 2);
    service_end(&s, pid, "b");
    struct kafka *k = s.kafka;
    service_close(&s);
    kafka_free(k);
    MHD_stop_daemon(registry);
}

/* Without the registry the start waits; no record is given up. */
Test(catalogue, waits_for_the_schema_registry, .timeout = 300) {
    struct MHD_Daemon *registry = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL,
                                                   respond, NULL, MHD_OPTION_END);
    cr_assert_not_null(registry);
    setenv("no_proxy", "127.0.0.1", 1);
    atomic_store(&down, true);

    struct service s;
    struct config *cfg;
    struct encoder *e;
    service_open(&s, kafka_start(1), 2, NULL);
    service_option(&s, "topics.format=confluent");
    service_option(&s, "topics.registry=http://127.0.0.1:%d",
                   MHD_get_daemon_info(registry, MHD_DAEMON_INFO_BIND_PORT)->port);
    cr_assert_eq(config_load(NULL, NULL, 0, &cfg), 0);
    cr_assert_eq(encoder_new(cfg, FORMAT_CONFLUENT, &e), 0);
    for (int i = 0; i < 20; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        put_item(&s, e, id);
    }
    kafka_flush(s.kafka);

    pid_t pid = service_run(&s, "a", NULL);
    service_await(&s, "a", "registry-away", 1);
    service_await(&s, "a", " reading ", 1);
    atomic_store(&down, false);
    service_await(&s, "a", "catalogue-ready", 1);
    cr_assert_eq(service_said(&s, "a", "catalogue-ready records=20 refused=0 items=20"), 1, "%s",
                 service_log(&s, "a"));
    cr_assert_eq(process_end(pid, SIGTERM, 20000), 0);

    encoder_free(e);
    config_free(cfg);
    struct kafka *k = s.kafka;
    service_close(&s);
    kafka_free(k);
    MHD_stop_daemon(registry);
}

/* ---- what cannot be used ---- */

static const struct refusal {
    bool control;
    const char *payload, *reason;
} refusals[] = {
    {false, "{\"item_id\":\"a\",\"price\":\"dear\"}", "bad-field"},
    {false, "{\"item_id\":\"a\"", "bad-json"},
    {false, "{\"price\":1}", "missing-item"},
    {true, "{\"user_id\":\"u\",\"consent\":3}", "bad-field"},
    {true, "nothing", "bad-json"},
};

static void put_refusals(struct service *s, size_t from, size_t to) {
    for (size_t i = from; i < to; i++)
        kafka_put(s->kafka, refusals[i].control ? s->control : s->items, RD_KAFKA_PARTITION_UA,
                  STR(""), str_of(refusals[i].payload));
    kafka_flush(s->kafka);
}

static bool is_letter(const struct service *s, const struct record *r, const struct refusal *want) {
    json_t *j = json_loadb(r->value.p, r->value.n, 0, NULL);
    const char *topic = json_string_value(json_object_get(j, "topic"));
    const char *payload = json_string_value(json_object_get(j, "payload"));
    const char *reason = json_string_value(json_object_get(j, "reason"));
    bool same = topic && payload && reason &&
                strcmp(topic, want->control ? s->control : s->items) == 0 &&
                strcmp(payload, want->payload) == 0 && strcmp(reason, want->reason) == 0;
    json_decref(j);
    return same;
}

/* How many letters there are, and of how many of the refusals. */
static void count_letters(struct service *s, size_t *ret_all, size_t *ret_kinds) {
    struct records r;
    kafka_read(s->kafka, s->dead, true, &r);
    *ret_all = r.n;
    *ret_kinds = 0;
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        bool there = false;
        for (size_t k = 0; k < r.n; k++)
            there |= is_letter(s, &r.v[k], &refusals[i]);
        *ret_kinds += there;
    }
    records_free(&r);
}

struct letters {
    struct service *s;
    size_t kinds, all, found;
};

static bool letters_there(void *arg) {
    struct letters *l = arg;
    count_letters(l->s, &l->all, &l->found);
    return l->found >= l->kinds;
}

/* Two processes meet every bad record: one letter each, and none is lost when the process that
 * writes them is killed. What was bad before the start has none. */
Test(catalogue, bad_records_become_dead_letters_of_one_process, .timeout = 300) {
    struct service s;
    service_open(&s, kafka_start(1), 2, NULL);
    service_option(&s, "kafka.session.timeout.ms=6000");
    service_option(&s, "kafka.heartbeat.interval.ms=500");
    kafka_put(s.kafka, s.items, RD_KAFKA_PARTITION_UA, STR(""), STR("old"));
    kafka_flush(s.kafka);
    pid_t pid[2] = {service_run(&s, "a", NULL)};
    service_await(&s, "a", "partition-ready", 2);
    pid[1] = service_run(&s, "b", NULL);
    service_await(&s, "b", "partition-ready", 1);

    put_refusals(&s, 0, 3);
    struct letters l = {.s = &s, .kinds = 3};
    cr_assert(wait_until(letters_there, &l, 20000), "letters of %zu of 3", l.found);
    cr_assert_eq(l.all, 3);

    int leader = service_said(&s, "b", "partition-ready partition=0") ? 1 : 0;
    cr_assert_eq(process_end(pid[leader], SIGKILL, 20000), 128 + SIGKILL);
    put_refusals(&s, 3, 5);
    l.kinds = 5;
    cr_assert(wait_until(letters_there, &l, 60000), "letters of %zu of 5", l.found);
    cr_assert_leq(l.all, 8, "%zu letters: more than once for each process", l.all);
    const char *left = leader ? "a" : "b";
    cr_assert_eq(service_said(&s, left, "record-refused"), 0, "a line for each");
    cr_assert_geq(service_said(&s, left, "records-refused"), 1);
    service_end(&s, pid[!leader], left);
    struct kafka *k = s.kafka;
    service_close(&s);
    kafka_free(k);
}
