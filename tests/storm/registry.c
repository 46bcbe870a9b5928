/* A schema registry in this process, which answers as a fault wants it to. */
#include <jansson.h>
#include <microhttpd.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "consumer/schema_store.h"
#include "tests/storm/storm.h"

enum { SLOW_MS = 1500 };

enum mood { WELL, AWAY, SLOW, GARBAGE };
static atomic_int mood;

static char *reply(const char *url) {
    int id = 0;
    if (sscanf(url, "/schemas/ids/%d", &id) != 1 || id < STORM_SCHEMA_FIRST)
        return NULL;
    struct str schema = builtin_schema((id - STORM_SCHEMA_FIRST) % STORM_SCHEMA_STEP);
    json_t *j = json_pack("{s:s%}", "schema", schema.p, schema.n);
    char *body = schema.n ? json_dumps(j, 0) : NULL;
    json_decref(j);
    return body;
}

static enum MHD_Result respond(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data, size_t *n,
                               void **state) {
    (void)cls, (void)method, (void)version, (void)data, (void)n, (void)state;
    int m = atomic_load(&mood);
    if (m == SLOW)
        nanosleep(&(struct timespec){SLOW_MS / 1000, SLOW_MS % 1000 * 1000000}, NULL);
    char *body = m == GARBAGE ? strdup("{\"schema\": <html>busy</html>") : reply(url);
    unsigned status = m == AWAY ? 503 : body ? 200 : 404;
    if (!body)
        body = strdup("{}");
    if (!body)
        test_die("out of memory");
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(body), body, MHD_RESPMEM_MUST_FREE);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

void prepare_registry(struct storm *st, struct service *s) {
    static struct MHD_Daemon *registry; /* for all rounds */
    if (!registry)
        registry = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD, 0, NULL, NULL, respond, NULL,
                                    MHD_OPTION_END);
    if (!registry)
        test_die("no registry");
    setenv("no_proxy", "127.0.0.1", 1);
    service_option(s, "topics.format=confluent");
    service_option(s, "topics.registry=http://127.0.0.1:%d",
                   MHD_get_daemon_info(registry, MHD_DAEMON_INFO_BIND_PORT)->port);
    service_option(s, "topics.registry_timeout=1s");
    atomic_store(&st->feeder.schema, STORM_SCHEMA_FIRST);
}

/* Producers move to schemas that nobody has asked for yet, and one process starts without any. */
void strike_registry(struct storm *st) {
    if (atomic_load(&st->feeder.schema) == 0) /* in the mix, whose events are in JSON */
        return;
    atomic_store(&mood, AWAY + (int)storm_draw(st, 3));
    atomic_fetch_add(&st->feeder.schema, STORM_SCHEMA_STEP);
    int i = (int)storm_draw(st, STORM_PROCESSES);
    storm_end(st, i, SIGKILL);
    storm_start(st, i);
    storm_wait(st, 1500 + storm_draw(st, 3000));
    atomic_store(&mood, WELL);
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500);
}
