#include "tests/unit/avro_c.h"

#include "consumer/avro_plan.h"
#include "tests/unit/codec.h"

static struct schema *schema;
static struct plan *plan;
static struct arena arena;
static struct buf out;
static struct dead why;
static struct event_record got;

static void stop(void) {
    plan_free(plan);
    schema_free(schema);
    arena_free(&arena);
    buf_free(&out);
}

TestSuite(plan, .fini = stop);

/* A writer's schema with these fields. */
static char *record(const char *fields) {
    char *text;
    cr_assert_gt(asprintf(&text, "{\"type\":\"record\",\"name\":\"E\",\"fields\":[%s]}", fields),
                 0);
    return text;
}

static int compile(const char *text) {
    char err[160] = "";
    plan_free(plan);
    schema_free(schema);
    plan = NULL;
    schema = NULL;
    cr_assert_eq(schema_parse(str_of(text), err, &schema), 0, "%s: %s", err, text);
    return plan_new(schema, &event_fields, &why, &plan);
}

/* What a value written by avro-c under these fields becomes; why it does not: `why`. */
static enum dead_reason read_as(const char *fields, const char *value) {
    autofree(free) char *text = record(fields);
    cr_assert_eq(compile(text), 0, "%s", why.detail);
    avro_c_encode(str_of(text), value, &out);
    event_record_init(&got);
    return plan_run(plan, out.p, out.n, &arena, &got, &why);
}

#define USER "{\"name\":\"user_id\",\"type\":\"string\"}"

Test(plan, fields_may_come_in_any_order_and_be_absent) {
    cr_assert_eq(
        read_as(
            "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"type\",\"type\":\"string\"}," USER,
            "{\"time\":5,\"type\":\"view\",\"user_id\":\"u\"}"),
        DEAD_NONE);
    ASSERT_STR(got.e.user, STR("u"));
    ASSERT_STR(got.type, STR("view"));
    cr_assert_eq(got.e.time_ms, 5);
    assert_same_number(got.e.value, NAN);
    cr_assert_eq(got.e.item.n, 0);
    cr_assert_eq(got.e.n_ctx, 0);
}

Test(plan, unknown_fields_of_every_shape_are_skipped) {
    static const char fields[] =
        "{\"name\":\"a\",\"type\":{\"type\":\"record\",\"name\":\"R\",\"fields\":["
        "{\"name\":\"x\",\"type\":\"int\"},{\"name\":\"y\",\"type\":[\"null\",\"string\"]}]}},"
        "{\"name\":\"b\",\"type\":{\"type\":\"array\",\"items\":\"R\"}},"
        "{\"name\":\"c\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":"
        "\"long\"}}},"
        "{\"name\":\"d\",\"type\":{\"type\":\"enum\",\"name\":\"N\",\"symbols\":[\"A\",\"B\"]}},"
        "{\"name\":\"e\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
        "{\"name\":\"f\",\"type\":[\"int\",\"R\",\"null\",\"double\"]},"
        "{\"name\":\"g\",\"type\":\"bytes\"},{\"name\":\"h\",\"type\":\"boolean\"},"
        "{\"name\":\"i\",\"type\":\"float\"},{\"name\":\"j\",\"type\":\"double\"},"
        "{\"name\":\"k\",\"type\":\"null\"},"
        "{\"name\":\"l\",\"type\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":"
        "\"Z\","
        "\"fields\":[]}}},"
        "{\"name\":\"list\",\"type\":{\"type\":\"record\",\"name\":\"L\",\"fields\":["
        "{\"name\":\"v\",\"type\":\"int\"},{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}}," USER;
    cr_assert_eq(
        read_as(fields,
                "{\"a\":{\"x\":-7,\"y\":{\"string\":\"s\"}},\"b\":[{\"x\":1,\"y\":null},"
                "{\"x\":2,\"y\":{\"string\":\"\"}}],\"c\":{\"p\":[1,2,3],\"q\":[]},\"d\":\"B\","
                "\"e\":\"abc\",\"f\":{\"R\":{\"x\":1,\"y\":null}},\"g\":\"bytes\",\"h\":true,"
                "\"i\":1.5,\"j\":2.5,\"k\":null,\"l\":[{},{},{}],\"list\":{\"v\":1,\"next\":"
                "{\"L\":{\"v\":2,\"next\":{\"L\":{\"v\":3,\"next\":null}}}}},\"user_id\":\"ute\"}"),
        DEAD_NONE, "%s", why.detail);
    ASSERT_STR(got.e.user, STR("ute"));
    /* Cut short anywhere, it is truncated. */
    for (size_t n = 0; n < out.n; n++) {
        autofree(free) uint8_t *part = malloc(n + 1);
        memcpy(part, out.p, n);
        cr_assert_eq(plan_run(plan, part, n, &arena, &got, &why), DEAD_TRUNCATED, "%zu: %s", n,
                     why.detail);
    }
}

Test(plan, numbers_are_promoted) {
    static const char *const types[] = {"int", "long", "float", "double"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        char fields[128];
        snprintf(fields, sizeof fields, "{\"name\":\"value\",\"type\":\"%s\"}", types[i]);
        cr_assert_eq(read_as(fields, "{\"value\":-12}"), DEAD_NONE);
        assert_same_number(got.e.value, -12);
    }
    cr_assert_eq(read_as("{\"name\":\"time\",\"type\":\"int\"}", "{\"time\":77}"), DEAD_NONE);
    cr_assert_eq(got.e.time_ms, 77);
}

Test(plan, text_may_be_bytes_an_enum_or_a_whole_number) {
    cr_assert_eq(read_as("{\"name\":\"user_id\",\"type\":\"bytes\"}", "{\"user_id\":\"u\"}"),
                 DEAD_NONE);
    ASSERT_STR(got.e.user, STR("u"));
    cr_assert_eq(read_as("{\"name\":\"user_id\",\"type\":\"long\"}", "{\"user_id\":-9000000000}"),
                 DEAD_NONE);
    ASSERT_STR(got.e.user, STR("-9000000000"));
    cr_assert_eq(
        read_as("{\"name\":\"type\",\"type\":{\"type\":\"enum\",\"name\":\"T\",\"symbols\":"
                "[\"VIEW\",\"ADD_TO_CART\"]}}",
                "{\"type\":\"ADD_TO_CART\"}"),
        DEAD_NONE);
    ASSERT_STR(got.type, STR("ADD_TO_CART"));
}

Test(plan, unions_come_in_any_order_and_only_a_useless_branch_is_refused) {
    static const char union_of[] = "{\"name\":\"item_id\",\"type\":[\"string\",\"null\",\"long\","
                                   "{\"type\":\"array\",\"items\":\"string\"}]}";
    cr_assert_eq(read_as(union_of, "{\"item_id\":{\"string\":\"x\"}}"), DEAD_NONE);
    ASSERT_STR(got.e.item, STR("x"));
    cr_assert_eq(read_as(union_of, "{\"item_id\":{\"long\":8}}"), DEAD_NONE);
    ASSERT_STR(got.e.item, STR("8"));
    cr_assert_eq(read_as(union_of, "{\"item_id\":null}"), DEAD_NONE);
    cr_assert_eq(got.e.item.n, 0);
    cr_assert_eq(read_as(union_of, "{\"item_id\":{\"array\":[]}}"), DEAD_SCHEMA);
    cr_assert_str_eq(why.detail, "field item_id: type array cannot be read as item_id");
    cr_assert_eq(read_as("{\"name\":\"item_id\",\"type\":\"null\"}," USER,
                         "{\"item_id\":null,\"user_id\":\"u\"}"),
                 DEAD_NONE);
    cr_assert_eq(read_as("{\"name\":\"item_id\",\"type\":[\"null\"]}," USER,
                         "{\"item_id\":null,\"user_id\":\"u\"}"),
                 DEAD_NONE);
    ASSERT_STR(got.e.user, STR("u"));
}

Test(plan, times_come_in_their_unit) {
    static const struct {
        const char *logical;
        int64_t want;
    } rows[] = {{"timestamp-millis", 1700000000123456},
                {"timestamp-micros", 1700000000123},
                {"local-timestamp-micros", 1700000000123},
                {"timestamp-nanos", 1700000000},
                {"something-new", 1700000000123456}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char fields[160];
        snprintf(fields, sizeof fields,
                 "{\"name\":\"time\",\"type\":{\"type\":\"long\",\"logicalType\":\"%s\"}}",
                 rows[i].logical);
        cr_assert_eq(read_as(fields, "{\"time\":1700000000123456}"), DEAD_NONE);
        cr_assert_eq(got.e.time_ms, rows[i].want, "%s", rows[i].logical);
    }
}

Test(plan, what_cannot_become_the_field_is_incompatible) {
    static const char *const fields[] = {
        "{\"name\":\"user_id\",\"type\":{\"type\":\"record\",\"name\":\"U\",\"fields\":[]}}",
        "{\"name\":\"user_id\",\"type\":\"double\"}",
        "{\"name\":\"user_id\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":16}}",
        "{\"name\":\"user\",\"type\":{\"type\":\"array\",\"items\":\"string\"}}",
        "{\"name\":\"user_id\",\"type\":[\"null\",\"boolean\"]}",
        "{\"name\":\"value\",\"type\":\"string\"}",
        "{\"name\":\"time\",\"type\":\"string\"}",
        "{\"name\":\"time\",\"type\":{\"type\":\"int\",\"logicalType\":\"date\"}}",
        "{\"name\":\"context\",\"type\":{\"type\":\"map\",\"values\":{\"type\":\"map\",\"values\":"
        "\"string\"}}}",
        "{\"name\":\"context\",\"type\":\"string\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        autofree(free) char *text = record(fields[i]);
        cr_assert_eq(compile(text), -EINVAL, "%s", fields[i]);
        cr_assert_eq(why.reason, DEAD_SCHEMA);
    }
    cr_assert_eq(compile("\"string\""), -EINVAL);
    cr_assert_str_eq(why.detail, "the schema is of type string, not a record");
}

Test(plan, the_field_by_name_goes_before_one_by_alias) {
    cr_assert_eq(
        read_as("{\"name\":\"ts\",\"type\":\"long\"},{\"name\":\"time\",\"type\":\"long\"},"
                "{\"name\":\"timestamp\",\"type\":\"string\"}",
                "{\"ts\":1,\"time\":2,\"timestamp\":\"x\"}"),
        DEAD_NONE);
    cr_assert_eq(got.e.time_ms, 2);
}

Test(plan, a_context_takes_values_of_many_types) {
    cr_assert_eq(read_as("{\"name\":\"context\",\"type\":{\"type\":\"map\",\"values\":[\"null\","
                         "\"string\",\"long\",\"double\",\"boolean\"]}}",
                         "{\"context\":{\"a\":{\"string\":\"x\"},\"b\":{\"long\":3},"
                         "\"c\":{\"double\":0.5},\"d\":{\"boolean\":true},\"e\":null}}"),
                 DEAD_NONE);
    cr_assert_eq(got.e.n_ctx, 4);
    ASSERT_STR(event_ctx_get(&got.e, STR("a")), STR("x"));
    ASSERT_STR(event_ctx_get(&got.e, STR("b")), STR("3"));
    ASSERT_STR(event_ctx_get(&got.e, STR("c")), STR("0.5"));
    ASSERT_STR(event_ctx_get(&got.e, STR("d")), STR("true"));
}

static enum dead_reason run(const char *p, size_t n) {
    event_record_init(&got);
    return plan_run(plan, p, n, &arena, &got, &why);
}

Test(plan, blocks_are_counted_by_what_is_left) {
    autofree(free) char *text =
        record("{\"name\":\"z\",\"type\":{\"type\":\"array\",\"items\":\"null\"}},"
               "{\"name\":\"context\",\"type\":{\"type\":\"map\",\"values\":\"string\"}}");
    cr_assert_eq(compile(text), 0);
    /* Nulls take no bytes: a count is passed at once, an absurd one refused. */
    cr_assert_eq(run("\x14\0\0", 3), DEAD_NONE);
    cr_assert_eq(run("\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0", 12), DEAD_MALFORMED);
    /* Two blocks, the second with a negative count and its size. */
    cr_assert_eq(run("\0\2\2a\2b\1\10\2c\2d\0", 13), DEAD_NONE, "%s", why.detail);
    cr_assert_eq(got.e.n_ctx, 2);
    ASSERT_STR(event_ctx_get(&got.e, STR("c")), STR("d"));
    /* INT64_MIN entries; a size beyond the end; a negative size; more entries than bytes. */
    cr_assert_eq(run("\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\2\0", 13), DEAD_MALFORMED);
    cr_assert_eq(run("\0\1\x7e\2c\2d\0", 8), DEAD_TRUNCATED);
    cr_assert_eq(run("\0\1\1\2c\2d\0", 8), DEAD_MALFORMED);
    cr_assert_eq(run("\0\x20\2c\2d\0", 7), DEAD_TRUNCATED);
}

Test(plan, recursion_has_an_end) {
    autofree(free) char *text = record(
        "{\"name\":\"list\",\"type\":{\"type\":\"record\",\"name\":\"L\",\"fields\":["
        "{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]}},"
        "{\"name\":\"self\",\"type\":[\"null\",{\"type\":\"record\",\"name\":\"S\",\"fields\":["
        "{\"name\":\"a\",\"type\":\"S\"},{\"name\":\"b\",\"type\":\"S\"}]}]}");
    cr_assert_eq(compile(text), 0);
    char deep[1000];
    memset(deep, 2, sizeof deep);
    memset(deep + 20, 0, 2);
    cr_assert_eq(run(deep, 22), DEAD_NONE, "%s", why.detail);
    cr_assert_eq(run(deep + 100, 900), DEAD_MALFORMED);
    cr_assert_eq(run("\0\2", 2), DEAD_MALFORMED);
}

Test(plan, doublings_cost_nothing) {
    /* 2^40 empty records, and 2^40 nulls in the schema's measure. */
    struct buf text = {0};
    char part[200];
    static const char head[] =
        "{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"f\",\"type\":"
        "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}}";
    buf_put(&text, head, strlen(head));
    for (int i = 1; i <= 40; i++) {
        snprintf(part, sizeof part,
                 ",{\"name\":\"f%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":["
                 "{\"name\":\"a\",\"type\":\"R%d\"},{\"name\":\"b\",\"type\":\"R%d\"}]}}",
                 i, i, i - 1, i - 1);
        buf_put(&text, part, strlen(part));
    }
    buf_put(&text, "]}", 3);
    cr_assert_eq(compile((char *)text.p), 0);
    cr_assert_eq(run("", 0), DEAD_NONE);
    cr_assert_eq(run("x", 1), DEAD_MALFORMED);
    buf_free(&text);
}

/* ---- random schemas, written by avro-c ------------------------------------ */

struct maker {
    struct rng rng;
    int named;
};

static void put(struct buf *b, const char *z) {
    buf_put(b, z, strlen(z));
}

static void random_type(struct maker *m, struct buf *text, int depth, bool in_union) {
    static const char *const simple[] = {"null",  "boolean", "int",   "long",
                                         "float", "double",  "bytes", "string"};
    char t[80];
    uint32_t kind = rng_below(&m->rng, depth > 3 ? 8 : 14);
    if (in_union && (kind == 13 || kind == 0))
        kind = 7;
    switch (kind) {
    case 8:
        snprintf(t, sizeof t, "{\"type\":\"fixed\",\"name\":\"N%d\",\"size\":%u}", m->named++,
                 1 + rng_below(&m->rng, 9));
        put(text, t);
        break;
    case 9:
        snprintf(t, sizeof t,
                 "{\"type\":\"enum\",\"name\":\"N%d\",\"symbols\":[\"A\",\"B\",\"C\"]}",
                 m->named++);
        put(text, t);
        break;
    case 10:
    case 11:
        put(text, kind == 10 ? "{\"type\":\"array\",\"items\":" : "{\"type\":\"map\",\"values\":");
        random_type(m, text, depth + 1, false);
        put(text, "}");
        break;
    case 12:
        snprintf(t, sizeof t, "{\"type\":\"record\",\"name\":\"N%d\",\"fields\":[", m->named++);
        put(text, t);
        for (uint32_t i = 0, n = 1 + rng_below(&m->rng, 4); i < n; i++) {
            snprintf(t, sizeof t, "%s{\"name\":\"f%u\",\"type\":", i ? "," : "", i);
            put(text, t);
            random_type(m, text, depth + 1, false);
            put(text, "}");
        }
        put(text, "]}");
        break;
    case 13:
        put(text, "[\"null\",");
        random_type(m, text, depth + 1, true);
        put(text, "]");
        break;
    default:
        put(text, "\"");
        put(text, simple[kind]);
        put(text, "\"");
    }
}

static void random_value(struct maker *m, avro_value_t *v) {
    avro_value_t kid;
    size_t n;
    char t[24];
    uint64_t r = rng_u64(&m->rng);
    switch (avro_value_get_type(v)) {
    case AVRO_NULL:
        avro_value_set_null(v);
        break;
    case AVRO_BOOLEAN:
        avro_value_set_boolean(v, (int)(r & 1));
        break;
    case AVRO_INT32:
        avro_value_set_int(v, (int32_t)r >> (r >> 59));
        break;
    case AVRO_INT64:
        avro_value_set_long(v, (int64_t)r >> (rng_u64(&m->rng) >> 58));
        break;
    case AVRO_FLOAT:
        avro_value_set_float(v, (float)rng_normal(&m->rng));
        break;
    case AVRO_DOUBLE:
        avro_value_set_double(v, rng_normal(&m->rng));
        break;
    case AVRO_STRING:
        snprintf(t, sizeof t, "%.*s", (int)(r % 17), "0123456789abcdefgh");
        avro_value_set_string(v, t);
        break;
    case AVRO_BYTES:
        avro_value_set_bytes(v, &r, r % 9);
        break;
    case AVRO_FIXED:
        avro_value_set_fixed(v, "0123456789",
                             (size_t)avro_schema_fixed_size(avro_value_get_schema(v)));
        break;
    case AVRO_ENUM:
        avro_value_set_enum(v, (int)(r % 3));
        break;
    case AVRO_ARRAY:
    case AVRO_MAP:
        for (uint64_t i = 0; i < r % 4; i++) {
            snprintf(t, sizeof t, "key%d", (int)i);
            if (avro_value_get_type(v) == AVRO_ARRAY)
                avro_value_append(v, &kid, NULL);
            else
                avro_value_add(v, t, &kid, NULL, NULL);
            random_value(m, &kid);
        }
        break;
    case AVRO_RECORD:
        avro_value_get_size(v, &n);
        for (size_t i = 0; i < n; i++) {
            avro_value_get_by_index(v, i, &kid, NULL);
            random_value(m, &kid);
        }
        break;
    case AVRO_UNION:
        avro_value_set_branch(v, (int)(r & 1), &kid);
        random_value(m, &kid);
        break;
    default:
        cr_assert_fail("no such type");
    }
}

Test(plan, finds_its_fields_among_random_ones) {
    struct maker m = {.named = 0};
    struct buf text = {0};
    rng_seed(&m.rng, 42);
    for (int round = 0; round < 2000; round++) {
        uint32_t n = rng_below(&m.rng, 8), at = rng_below(&m.rng, n + 1);
        buf_reset(&text);
        put(&text, "{\"type\":\"record\",\"name\":\"E\",\"fields\":[");
        for (uint32_t i = 0; i <= n; i++) {
            char t[64];
            snprintf(t, sizeof t, "%s{\"name\":\"%s%.*u\",\"type\":", i ? "," : "",
                     i == at ? "user_id" : "x", i == at ? 0 : 1, i == at ? 0 : i);
            put(&text, t);
            if (i == at)
                put(&text, "[\"null\",\"string\"]");
            else
                random_type(&m, &text, 0, false);
            put(&text, "}");
        }
        put(&text, "]}");
        struct str json = {(char *)text.p, text.n};
        struct avro_c a;
        avro_value_t user, branch;
        avro_c_start(&a, json);
        random_value(&m, &a.value);
        avro_value_get_by_index(&a.value, at, &user, NULL);
        avro_value_set_branch(&user, 1, &branch);
        avro_value_set_string(&branch, "the one");
        avro_c_write(&a.value, &out);
        avro_c_stop(&a);

        buf_put(&text, "", 1);
        cr_assert_eq(compile((char *)text.p), 0, "%s", why.detail);
        cr_assert_eq(run((char *)out.p, out.n), DEAD_NONE, "%s: %s", why.detail, (char *)text.p);
        ASSERT_STR(got.e.user, STR("the one"));
        /* Never beyond the end, whatever is cut or changed. */
        autofree(free) uint8_t *bent = malloc(out.n + 1);
        memcpy(bent, out.p, out.n);
        cr_assert(out.n == 0 || run((char *)bent, out.n - 1) != DEAD_NONE);
        for (int k = 0; k < 20 && out.n; k++) {
            bent[rng_below(&m.rng, (uint32_t)out.n)] = (uint8_t)rng_u64(&m.rng);
            run((char *)bent, out.n);
        }
        arena_reset(&arena);
    }
    buf_free(&text);
}
