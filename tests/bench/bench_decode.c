/* One event, decoded by the compiled plan, by avro-c into a generic value (with
 * schema resolution and without), and from JSON: ns per event in one run. */
#include <avro.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "consumer/clock.h"
#include "consumer/encode.h"
#include "consumer/schema_store.h"

enum { EVENTS = 1000, ROUNDS = 200 };

struct message {
    struct buf bytes;
};

static struct config config_of(enum data_format format) {
    return (struct config){.topics_format = (int)format,
                           .topics_output_format = (int)format,
                           .topics_schema_dir = "",
                           .topics_registry = "",
                           .stream_max_string = 1024,
                           .stream_max_message = 65536,
                           .stream_max_ahead = 3600000};
}

static void check(int rc, const char *what) {
    if (rc) {
        fprintf(stderr, "%s failed\n", what);
        exit(1);
    }
}

/* A typical event: ids, a price, a dwell time and two context entries. */
static size_t fill(enum data_format format, struct message *m) {
    struct config cfg = config_of(format);
    struct encoder *e = NULL;
    size_t total = 0;
    check(encoder_new(&cfg, format, &e), "encoder_new");
    for (size_t i = 0; i < EVENTS; i++) {
        char id[40], user[24], item[24], session[24];
        snprintf(id, sizeof id, "01890a5d-ac96-774b-bcce-%012zu", i);
        snprintf(user, sizeof user, "user-%zu", i * 7919 % 100000);
        snprintf(item, sizeof item, "item-%zu", i * 104729 % 10000);
        snprintf(session, sizeof session, "s-%zu", i * 31);
        struct event ev = {.id = str_of(id),
                           .user = str_of(user),
                           .item = str_of(item),
                           .session = str_of(session),
                           .time_ms = 1767323045678 + (int64_t)i,
                           .value = i % 3 ? NAN : 19.9,
                           .dwell_ms = (double)(i % 5000),
                           .n_ctx = 2,
                           .ctx = {{STR("device"), STR("phone")}, {STR("country"), STR("DE")}}};
        m[i] = (struct message){0};
        check(encode_event(e, &ev, i % 2 ? "view" : "click", &m[i].bytes), "encode_event");
        total += m[i].bytes.n;
    }
    encoder_free(e);
    return total;
}

static void report(const char *what, int64_t us, size_t bytes) {
    double events = (double)EVENTS * ROUNDS;
    printf("%-28s %8.0f ns/event  %6.0f bytes/event  %7.2f M events/s\n", what,
           (double)us * 1000 / events, (double)bytes / EVENTS, events / (double)us);
}

static void by_decoder(const char *what, enum data_format format) {
    static struct message m[EVENTS];
    static const struct origin origin = {"clickstream", 0, 0, 0};
    struct config cfg = config_of(format);
    struct decoder *d = NULL;
    struct event ev;
    struct dead why;
    size_t bytes = fill(format, m);
    check(decoder_new(&cfg, &d), "decoder_new");
    int64_t start = clock_mono_us();
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < EVENTS; i++)
            check(decode_event(d, m[i].bytes.p, m[i].bytes.n, STR("k"), &origin, 1767323045678, &ev,
                               &why) != DEAD_NONE,
                  "decode_event");
        decoder_reset(d);
    }
    report(what, clock_mono_us() - start, bytes);
    for (size_t i = 0; i < EVENTS; i++)
        buf_free(&m[i].bytes);
    decoder_free(d);
}

/* avro-c reads into `into`: the value itself, or one that resolves the schema on the way. */
static void read_all(struct message *m, avro_value_iface_t *resolver, avro_value_t *value) {
    enum { FRESH = 50 }; /* 1.11's resolved maps grow with every record that was read into them */
    avro_reader_t reader = avro_reader_memory("", 0);
    avro_value_t resolved, *into = value;
    for (size_t i = 0; i < EVENTS; i++) {
        if (resolver && i % FRESH == 0) {
            if (i)
                avro_value_decref(&resolved);
            check(avro_resolved_writer_new_value(resolver, &resolved), "resolved value");
            avro_resolved_writer_set_dest(&resolved, value);
            into = &resolved;
        }
        avro_reader_memory_set_source(reader, (const char *)m[i].bytes.p, (int64_t)m[i].bytes.n);
        check(avro_value_read(reader, into), "avro_value_read");
    }
    if (resolver)
        avro_value_decref(&resolved);
    avro_reader_free(reader);
}

static void by_avro_c(const char *what, bool resolve) {
    static struct message m[EVENTS];
    struct str text = builtin_schema(SCHEMA_EVENT);
    avro_schema_t schema;
    avro_value_t value;
    size_t bytes = fill(FORMAT_AVRO, m);
    check(avro_schema_from_json_length(text.p, text.n, &schema), "avro_schema_from_json");
    avro_value_iface_t *iface = avro_generic_class_from_schema(schema);
    avro_value_iface_t *resolver = resolve ? avro_resolved_writer_new(schema, schema) : NULL;
    check(!iface || (resolve && !resolver), "avro-c's readers");
    check(avro_generic_value_new(iface, &value), "avro_generic_value_new");
    int64_t start = clock_mono_us();
    for (int round = 0; round < ROUNDS; round++)
        read_all(m, resolver, &value);
    report(what, clock_mono_us() - start, bytes);
    avro_value_decref(&value);
    if (resolver)
        avro_value_iface_decref(resolver);
    avro_value_iface_decref(iface);
    avro_schema_decref(schema);
    for (size_t i = 0; i < EVENTS; i++)
        buf_free(&m[i].bytes);
}

int main(void) {
    by_decoder("plan, decoded and validated", FORMAT_CONFLUENT);
    by_avro_c("avro-c, resolved, generic", true);
    by_avro_c("avro-c, generic", false);
    by_decoder("JSON, decoded and validated", FORMAT_JSON);
    return 0;
}
