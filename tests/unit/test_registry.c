#include <microhttpd.h>
#include <pthread.h>
#include <stdio.h>

#include "consumer/log.h"
#include "consumer/registry.h"
#include "consumer/schema_store.h"
#include "tests/unit/codec.h"

/* A registry that answers by path from a small table, and counts. */
struct page {
    const char *path;
    unsigned status;
    const char *body;
};

static struct server {
    struct MHD_Daemon *daemon;
    const struct page *pages;
    int asked;
    bool slow;
    pthread_mutex_t lock;
    pthread_cond_t over;
    char posted[65536], authorization[64];
    char url[64];
} server;

static enum MHD_Result respond(void *cls, struct MHD_Connection *c, const char *url,
                               const char *method, const char *version, const char *data, size_t *n,
                               void **state) {
    (void)cls;
    (void)version;
    struct server *s = &server;
    if (!*state) {
        *state = s;
        s->posted[0] = 0;
        return MHD_YES;
    }
    if (*n) {
        strncat(s->posted, data, MIN(*n, sizeof s->posted - strlen(s->posted) - 1));
        *n = 0;
        return MHD_YES;
    }
    const char *auth = MHD_lookup_connection_value(c, MHD_HEADER_KIND, "Authorization");
    snprintf(s->authorization, sizeof s->authorization, "%s", auth ? auth : "");
    pthread_mutex_lock(&s->lock);
    s->asked++;
    pthread_cond_broadcast(&s->over);
    while (s->slow)
        pthread_cond_wait(&s->over, &s->lock);
    const struct page *pages = s->pages;
    pthread_mutex_unlock(&s->lock);
    unsigned status = 404;
    const char *body = "{\"error_code\":40403,\"message\":\"Schema not found\"}";
    for (const struct page *p = pages; p && p->path; p++)
        if (strcmp(p->path, url) == 0) {
            status = p->status;
            body = p->body;
        }
    (void)method;
    struct MHD_Response *r =
        MHD_create_response_from_buffer(strlen(body), (void *)body, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result ok = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return ok;
}

static void listen_on(uint16_t port) {
    server.daemon =
        MHD_start_daemon(MHD_USE_THREAD_PER_CONNECTION | MHD_USE_INTERNAL_POLLING_THREAD, port,
                         NULL, NULL, respond, NULL, MHD_OPTION_END);
    cr_assert_not_null(server.daemon);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d",
             MHD_get_daemon_info(server.daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
}

static void start(void) {
    setenv("no_proxy", "127.0.0.1", 1);
    log_set_level(LOG_ERROR);
    pthread_mutex_init(&server.lock, NULL);
    pthread_cond_init(&server.over, NULL);
    listen_on(0);
}

static void stop(void) {
    MHD_stop_daemon(server.daemon);
}

TestSuite(registry, .init = start, .fini = stop);

#define SECOND INT64_C(1000000)
static char err[160];

Test(registry, a_schema_is_asked_for_once_and_shared) {
    static const struct page pages[] = {{"/schemas/ids/7", 200, "{\"schema\":\"\\\"string\\\"\"}"},
                                        {0}};
    server.pages = pages;
    autofree(registry_close) struct registry *a = NULL, *b = NULL;
    cr_assert_eq(registry_open(server.url, 1000, &a), 0);
    char slash[80];
    snprintf(slash, sizeof slash, "%s/", server.url);
    cr_assert_eq(registry_open(slash, 1000, &b), 0);
    cr_assert_eq(a, b);
    struct str text = {0};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(registry_schema(a, 7, 0, err, &text), 0, "%s", err);
        ASSERT_STR(text, STR("\"string\"\n"));
    }
    cr_assert_eq(server.asked, 1);
}

Test(registry, an_unknown_id_is_asked_again_after_a_while) {
    static const struct page later[] = {{"/schemas/ids/7", 200, "{\"schema\":\"\\\"int\\\"\"}"},
                                        {0}};
    autofree(registry_close) struct registry *r = NULL;
    struct str text;
    cr_assert_eq(registry_open(server.url, 1000, &r), 0);
    cr_assert_eq(registry_schema(r, 7, 0, err, &text), -ENOENT);
    server.pages = later;
    cr_assert_eq(registry_schema(r, 7, 4 * SECOND, err, &text), -ENOENT);
    cr_assert_eq(server.asked, 1);
    cr_assert_eq(registry_schema(r, 7, 6 * SECOND, err, &text), 0);
    cr_assert_eq(server.asked, 2);
}

Test(registry, a_flood_of_unknown_ids_is_not_asked_one_by_one) {
    autofree(registry_close) struct registry *r = NULL;
    struct str text;
    cr_assert_eq(registry_open(server.url, 1000, &r), 0);
    for (int32_t id = 1000; id < 1500; id++)
        cr_assert_eq(registry_schema(r, id, 0, err, &text), -ENOENT);
    cr_assert_eq(server.asked, 100);
    for (int32_t id = 2000; id < 2100; id++)
        cr_assert_eq(registry_schema(r, id, SECOND, err, &text), -ENOENT);
    cr_assert_eq(server.asked, 120);
}

Test(registry, a_fault_is_no_verdict_and_is_not_repeated_at_once) {
    static const struct page bad[] = {{"/schemas/ids/1", 500, "{\"message\":\"store is down\"}"},
                                      {"/schemas/ids/2", 200, "<html>"},
                                      {"/schemas/ids/3", 200, "{\"id\":3}"},
                                      {"/schemas/ids/4", 401, "{\"message\":\"who?\"}"},
                                      {"/schemas/ids/5", 200, "[]"},
                                      {0}};
    static const struct page good[] = {{"/schemas/ids/1", 200, "{\"schema\":\"\\\"int\\\"\"}"},
                                       {0}};
    static const char *const says[] = {"HTTP 500: store is down", "the reply is not a JSON object",
                                       "a reply without a schema", "HTTP 401: who?",
                                       "the reply is not a JSON object"};
    for (int32_t id = 1; id <= 5; id++) {
        autofree(registry_close) struct registry *r = NULL;
        struct str text;
        server.pages = bad;
        server.asked = 0;
        cr_assert_eq(registry_open(server.url, 1000, &r), 0);
        cr_assert_eq(registry_schema(r, id, 0, err, &text), -EAGAIN);
        cr_assert_str_eq(err, says[id - 1]);
        cr_assert_eq(registry_schema(r, id, SECOND / 10, err, &text), -EAGAIN);
        cr_assert_str_eq(err, "the registry is away");
        cr_assert_eq(server.asked, 1);
        cr_assert_eq(registry_schema(r, id, SECOND, err, &text), -EAGAIN);
        cr_assert_eq(server.asked, 2);
        server.pages = good;
        cr_assert_eq(registry_schema(r, 1, 10 * SECOND, err, &text), 0);
    }
}

Test(registry, one_that_is_down_or_does_not_answer_is_a_fault) {
    autofree(registry_close) struct registry *r = NULL, *slow = NULL;
    struct str text;
    cr_assert_eq(registry_open("http://127.0.0.1:1", 1000, &r), 0);
    cr_assert_eq(registry_schema(r, 1, 0, err, &text), -EAGAIN);
    server.slow = true;
    cr_assert_eq(registry_open(server.url, 50, &slow), 0);
    cr_assert_eq(registry_schema(slow, 1, 0, err, &text), -EAGAIN);
    pthread_mutex_lock(&server.lock);
    server.slow = false;
    pthread_cond_broadcast(&server.over);
    pthread_mutex_unlock(&server.lock);
}

Test(registry, schemas_of_other_kinds_and_endless_ones_are_refused_for_good) {
    autofree(free) char *endless = malloc(3 << 20);
    memset(endless, ' ', 3 << 20);
    endless[(3 << 20) - 1] = 0;
    const struct page pages[] = {
        {"/schemas/ids/1", 200, "{\"schemaType\":\"PROTOBUF\",\"schema\":\"x\"}"},
        {"/schemas/ids/2", 200, endless},
        {0}};
    server.pages = pages;
    autofree(registry_close) struct registry *r = NULL;
    struct str text;
    cr_assert_eq(registry_open(server.url, 5000, &r), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(registry_schema(r, 1, 0, err, &text), -EINVAL);
        cr_assert_str_eq(err, "a schema of type PROTOBUF");
        cr_assert_eq(registry_schema(r, 2, 0, err, &text), -EINVAL);
        cr_assert_str_eq(err, "the registry's reply is longer than 2097152 bytes");
    }
    cr_assert_eq(server.asked, 2);
}

Test(registry, references_come_before_what_refers_to_them_each_once) {
    static const struct page pages[] = {
        {"/schemas/ids/9", 200,
         "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"E\\\",\\\"fields\\\":["
         "{\\\"name\\\":\\\"user_id\\\",\\\"type\\\":\\\"Id\\\"},"
         "{\\\"name\\\":\\\"x\\\",\\\"type\\\":\\\"Pair\\\"}]}\","
         "\"references\":[{\"name\":\"Id\",\"subject\":\"id/type\",\"version\":2},"
         "{\"name\":\"Pair\",\"subject\":\"pair\",\"version\":1}]}"},
        {"/subjects/id/type/versions/2", 200,
         "{\"schema\":\"{\\\"type\\\":\\\"enum\\\",\\\"name\\\":\\\"Id\\\",\\\"symbols\\\":["
         "\\\"A\\\"]}\"}"},
        {"/subjects/pair/versions/1", 200,
         "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"Pair\\\",\\\"fields\\\":["
         "{\\\"name\\\":\\\"l\\\",\\\"type\\\":\\\"Id\\\"}]}\","
         "\"references\":[{\"name\":\"Id\",\"subject\":\"id/type\",\"version\":2}]}"},
        {0}};
    server.pages = pages;
    autofree(registry_close) struct registry *r = NULL;
    autofree(schema_free) struct schema *s = NULL;
    struct str text;
    cr_assert_eq(registry_open(server.url, 1000, &r), 0);
    cr_assert_eq(registry_schema(r, 9, 0, err, &text), 0, "%s", err);
    cr_assert_eq(server.asked, 3);
    cr_assert_eq(schema_parse(text, err, &s), 0, "%s", err);
    ASSERT_STR(s->root->full_name, STR("E"));
    ASSERT_STR(s->root->kid[1]->kid[0]->full_name, STR("Id"));
}

Test(registry, the_decoder_waits_for_it_and_refuses_what_it_does_not_know) {
    static const struct page pages[] = {
        {"/schemas/ids/1", 200,
         "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"E\\\",\\\"fields\\\":["
         "{\\\"name\\\":\\\"user_id\\\",\\\"type\\\":\\\"string\\\"}]}\"}"},
        {"/schemas/ids/2", 503, ""},
        {"/schemas/ids/3", 200, "{\"schema\":\"nonsense\"}"},
        {0}};
    server.pages = pages;
    struct config cfg = codec_config(FORMAT_CONFLUENT);
    cfg.topics_registry = server.url;
    autofree(decoder_free) struct decoder *d = NULL;
    struct event e;
    struct dead why;
    cr_assert_eq(decoder_new(&cfg, &d), 0);
    /* Its schema 1 is another than the built-in one. */
    cr_assert_eq(decode_event(d, "\0\0\0\0\1\2u", 7, STR("k"), &ORIGIN, NOW_MS, &e, &why),
                 DEAD_TYPE);
    cr_assert_eq(decode_event(d, "\0\0\0\0\3", 5, STR("k"), &ORIGIN, NOW_MS, &e, &why),
                 DEAD_SCHEMA);
    cr_assert_eq(decode_event(d, "\0\0\0\0\4", 5, STR("k"), &ORIGIN, NOW_MS, &e, &why),
                 DEAD_SCHEMA_ID);
    cr_assert_eq(decode_event(d, "\0\0\0\0\2", 5, STR("k"), &ORIGIN, NOW_MS, &e, &why),
                 DECODE_RETRY);
}

static const int32_t outputs[] = {SCHEMA_TRIGGER, SCHEMA_DECISION, SCHEMA_OUTCOME, SCHEMA_LETTER};

Test(registry, outputs_are_registered_and_written_under_the_ids_it_gives) {
    static const struct page pages[] = {
        {"/subjects/campaign-triggers-value/versions", 200, "{\"id\":101}"},
        {"/subjects/decisions-value/versions", 200, "{\"id\":102}"},
        {"/subjects/outcomes-value/versions", 200, "{\"id\":103}"},
        {"/subjects/clickstream-dlq-value/versions", 200, "{\"id\":70000}"},
        {"/subjects/items-value/versions", 200, "{\"id\":5}"},
        {0}};
    server.pages = pages;
    struct config cfg = codec_config(FORMAT_CONFLUENT);
    char url[80];
    snprintf(url, sizeof url, "http://me:secret@%s", server.url + 7);
    cfg.topics_registry = url;
    autofree(encoder_free) struct encoder *e = NULL;
    struct buf out = {0};
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &e), 0);
    cr_assert_eq(server.asked, 0);
    cr_assert_eq(encoder_register(e, outputs, ARRAY_LEN(outputs), NULL), 0);
    cr_assert_eq(server.asked, 4);
    cr_assert_eq(encoder_register(e, outputs, ARRAY_LEN(outputs), NULL), 0);
    cr_assert_eq(server.asked, 4);
    cr_assert_str_eq(server.authorization, "Basic bWU6c2VjcmV0");
    cr_assert_not_null(strstr(server.posted, "DeadLetter"));
    struct dead_letter d = sample_letter();
    cr_assert_eq(encode_dead_letter(e, &d, &out), 0);
    cr_assert_arr_eq(out.p, "\0\0\1\x11\x70", 5);
    struct item_info i = sample_item();
    cr_assert_eq(encode_item(e, &i, &out), 0);
    cr_assert_arr_eq(out.p, "\0\0\0\0\5", 5);
    cr_assert_eq(encode_item(e, &i, &out), 0);
    cr_assert_eq(server.asked, 5);
    struct event ev = sample_event();
    cr_assert_eq(encode_event(e, &ev, "view", &out), -EINVAL);
    buf_free(&out);
}

Test(registry, one_that_refuses_an_output_is_noticed_at_the_start) {
    static const struct page refuses[] = {
        {"/subjects/campaign-triggers-value/versions", 409, "{\"message\":\"incompatible\"}"}, {0}};
    struct config cfg = codec_config(FORMAT_CONFLUENT);
    cfg.topics_registry = server.url;
    autofree(encoder_free) struct encoder *e = NULL;
    server.pages = refuses;
    atomic_bool stop = false;
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &e), 0);
    cr_assert_eq(encoder_register(e, outputs, ARRAY_LEN(outputs), &stop), -EINVAL);
    cr_assert_eq(server.asked, 1);
    struct encoder *none = NULL;
    cfg.topics_registry = "ftp://x";
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &none), -EINVAL);
    cr_assert_null(none);
}

static void *start_up(void *arg) {
    static const struct page up[] = {
        {"/subjects/campaign-triggers-value/versions", 200, "{\"id\":7}"}, {0}};
    (void)arg;
    pthread_mutex_lock(&server.lock);
    while (server.asked < 2)
        pthread_cond_wait(&server.over, &server.lock);
    server.pages = up;
    pthread_mutex_unlock(&server.lock);
    return NULL;
}

Test(registry, one_that_is_away_is_waited_for_until_it_is_back_or_we_have_to_stop) {
    static const struct page down[] = {{"/subjects/campaign-triggers-value/versions", 503, ""},
                                       {0}};
    struct config cfg = codec_config(FORMAT_CONFLUENT);
    cfg.topics_registry = server.url;
    autofree(encoder_free) struct encoder *e = NULL;
    atomic_bool stop = true;
    server.pages = down;
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &e), 0);
    cr_assert_eq(encoder_register(e, outputs, 1, NULL), -EAGAIN);
    cr_assert_eq(encoder_register(e, outputs, 1, &stop), -EINTR);
    server.asked = 0;
    stop = false;
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, start_up, NULL), 0);
    cr_assert_eq(encoder_register(e, outputs, 1, &stop), 0);
    pthread_join(thread, NULL);
}
