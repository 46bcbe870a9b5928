/* The catalogue and people's wishes are read whole, whatever stands in the way. */
#include <criterion/criterion.h>
#include <jansson.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/encode.h"
#include "consumer/schema_store.h"
#include "tests/support/service.h"

/* A schema registry that knows Beckon's own schemas as 100 and on, and may be down. */
static atomic_bool down;

static enum MHD_Result respond(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data, size_t *n,
                               void **state) {
    (void)cls;
    (void)method;
    (void)version;
    (void)data;
    (void)n;
    (void)state;
    int id = 0;
    bool known = sscanf(url, "/schemas/ids/%d", &id) == 1 && builtin_schema(id - 100).n;
    unsigned status = atomic_load(&down) ? 503 : known ? 200 : 404;
    struct str schema = known ? builtin_schema(id - 100) : STR("");
    json_t *j = json_pack("{s:s%}", "schema", schema.p, schema.n);
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

/* Without the registry the start waits; no record is given up. */
Test(catalogue, waits_for_the_schema_registry, .timeout = 90) {
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
