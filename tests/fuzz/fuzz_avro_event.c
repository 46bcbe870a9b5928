/* Events under several writers' schemas (the first byte chooses one). What is accepted, avro-c
 * accepts too, to the last byte, with the same user. */
#include <avro.h>

#include "consumer/avro_plan.h"
#include "consumer/schema_store.h"
#include "tests/fuzz/codec.h"

/* With ' for ". */
static const char *const writers[] = {
    NULL, /* the built-in one */
    "{'type':'record','name':'E','fields':["
    "{'name':'type','type':{'type':'enum','name':'T','symbols':['VIEW','CLICK']}},"
    "{'name':'user_id','type':'bytes'},{'name':'time','type':'int'},"
    "{'name':'value','type':'float'}]}",
    "{'type':'record','name':'E','fields':["
    "{'name':'extra','type':{'type':'map','values':{'type':'array','items':['null','string']}}},"
    "{'name':'user','type':'string'},"
    "{'name':'f','type':{'type':'fixed','name':'F','size':5}}]}",
    "{'type':'record','name':'E','fields':["
    "{'name':'list','type':{'type':'record','name':'L','fields':["
    "{'name':'v','type':'long'},{'name':'next','type':['null','L']}]}},"
    "{'name':'user_id','type':['null','string']}]}",
    "{'type':'record','name':'E','fields':["
    "{'name':'user_id','type':['string','null','bytes']},"
    "{'name':'context','type':{'type':'map','values':['null','string']}},"
    "{'name':'ok','type':'boolean'}]}",
};

static struct str writer_text(size_t i) {
    static char text[1024];
    if (!writers[i])
        return builtin_schema(SCHEMA_EVENT);
    size_t n = strlen(writers[i]);
    MUST(n < sizeof text);
    for (size_t k = 0; k <= n; k++)
        text[k] = writers[i][k] == '\'' ? '"' : writers[i][k];
    return (struct str){text, n};
}

struct writer {
    struct schema *schema;
    struct plan *plan;
    avro_value_iface_t *iface; /* avro-c's */
};

static struct writer *writer_of(size_t i) {
    static struct writer all[ARRAY_LEN(writers)];
    struct writer *w = &all[i];
    if (!w->plan) {
        char err[160];
        struct dead why;
        struct str text = writer_text(i);
        avro_schema_t schema;
        MUST(schema_parse(text, err, &w->schema) == 0);
        MUST(plan_new(w->schema, &event_fields, &why, &w->plan) == 0);
        MUST(avro_schema_from_json_length(text.p, text.n, &schema) == 0);
        w->iface = avro_generic_class_from_schema(schema);
        MUST(w->iface);
        avro_schema_decref(schema);
    }
    return w;
}

/* The user as avro-c read it. */
static struct str user_of(const avro_value_t *value) {
    avro_value_t field, branch;
    const char *text = NULL;
    const void *bytes = NULL;
    size_t n = 0;
    if (avro_value_get_by_name(value, "user_id", &field, NULL))
        MUST(avro_value_get_by_name(value, "user", &field, NULL) == 0);
    if (avro_value_get_type(&field) == AVRO_UNION) {
        MUST(avro_value_get_current_branch(&field, &branch) == 0);
        field = branch;
    }
    if (avro_value_get_type(&field) == AVRO_STRING) {
        MUST(avro_value_get_string(&field, &text, &n) == 0);
        return (struct str){text, n - 1};
    }
    if (avro_value_get_type(&field) == AVRO_BYTES)
        MUST(avro_value_get_bytes(&field, &bytes, &n) == 0);
    return (struct str){bytes, n};
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n == 0)
        return 0;
    struct writer *w = writer_of(p[0] % ARRAY_LEN(writers));
    struct arena arena = {0};
    struct event_record r;
    struct dead why = {.reason = DEAD_NONE};
    event_record_init(&r);
    enum dead_reason dead = plan_run(w->plan, p + 1, n - 1, &arena, &r, &why);
    if (dead == DEAD_NONE) {
        char more;
        avro_reader_t reader = avro_reader_memory((const char *)p + 1, (int64_t)n - 1);
        avro_value_t value;
        MUST(avro_generic_value_new(w->iface, &value) == 0);
        MUST(avro_value_read(reader, &value) == 0);
        MUST(avro_read(reader, &more, 1) != 0);
        MUST(str_eq(user_of(&value), r.e.user));
        avro_value_decref(&value);
        avro_reader_free(reader);
    } else {
        MUST(why.reason == dead && memchr(why.detail, 0, sizeof why.detail));
    }
    arena_free(&arena);
    return 0;
}
