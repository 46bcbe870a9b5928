/* avro-c as the other opinion on the same bytes. */
#pragma once

#include <avro.h>
#include <criterion/criterion.h>
#include <jansson.h>

#include "model/base.h"

struct avro_c {
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
};

static inline void avro_c_start(struct avro_c *a, struct str schema) {
    cr_assert_eq(avro_schema_from_json_length(schema.p, schema.n, &a->schema), 0, "%s: %.*s",
                 avro_strerror(), (int)schema.n, schema.p);
    a->iface = avro_generic_class_from_schema(a->schema);
    cr_assert_not_null(a->iface);
    cr_assert_eq(avro_generic_value_new(a->iface, &a->value), 0);
}

static inline void avro_c_stop(struct avro_c *a) {
    avro_value_decref(&a->value);
    avro_value_iface_decref(a->iface);
    avro_schema_decref(a->schema);
}

/* Sets a value from JSON as Avro encodes it: unions as null or {"branch": value}. */
static inline void avro_c_set(avro_value_t *v, json_t *j) {
    avro_value_t kid;
    size_t i;
    const char *key;
    json_t *one;
    avro_schema_t schema = avro_value_get_schema(v);
    switch (avro_value_get_type(v)) {
    case AVRO_NULL:
        avro_value_set_null(v);
        break;
    case AVRO_BOOLEAN:
        avro_value_set_boolean(v, json_is_true(j));
        break;
    case AVRO_INT32:
        avro_value_set_int(v, (int32_t)json_integer_value(j));
        break;
    case AVRO_INT64:
        avro_value_set_long(v, json_integer_value(j));
        break;
    case AVRO_FLOAT:
        avro_value_set_float(v, (float)json_number_value(j));
        break;
    case AVRO_DOUBLE:
        avro_value_set_double(v, json_number_value(j));
        break;
    case AVRO_STRING:
        avro_value_set_string_len(v, json_string_value(j), json_string_length(j) + 1);
        break;
    case AVRO_BYTES:
        avro_value_set_bytes(v, (void *)json_string_value(j), json_string_length(j));
        break;
    case AVRO_FIXED:
        avro_value_set_fixed(v, (void *)json_string_value(j), json_string_length(j));
        break;
    case AVRO_ENUM:
        avro_value_set_enum(v, avro_schema_enum_get_by_name(schema, json_string_value(j)));
        break;
    case AVRO_ARRAY:
        json_array_foreach(j, i, one) {
            avro_value_append(v, &kid, NULL);
            avro_c_set(&kid, one);
        }
        break;
    case AVRO_MAP:
        json_object_foreach(j, key, one) {
            avro_value_add(v, key, &kid, NULL, NULL);
            avro_c_set(&kid, one);
        }
        break;
    case AVRO_RECORD:
        json_object_foreach(j, key, one) {
            cr_assert_eq(avro_value_get_by_name(v, key, &kid, NULL), 0, "%s", key);
            avro_c_set(&kid, one);
        }
        break;
    case AVRO_UNION:
        for (i = 0; i < avro_schema_union_size(schema); i++) {
            const char *name = avro_schema_type_name(avro_schema_union_branch(schema, (int)i));
            if (json_is_null(j) ? strcmp(name, "null") == 0 : json_object_get(j, name) != NULL)
                break;
        }
        cr_assert_lt(i, avro_schema_union_size(schema), "no branch fits");
        avro_value_set_branch(v, (int)i, &kid);
        avro_c_set(&kid, json_is_null(j) ? j : json_object_iter_value(json_object_iter(j)));
        break;
    default:
        cr_assert_fail("no such type");
    }
}

static inline void avro_c_write(avro_value_t *v, struct buf *out) {
    size_t n = 0;
    cr_assert_eq(avro_value_sizeof(v, &n), 0);
    autofree(free) char *bytes = malloc(n + 1);
    avro_writer_t w = avro_writer_memory(bytes, (int64_t)n);
    cr_assert_eq(avro_value_write(w, v), 0, "%s", avro_strerror());
    avro_writer_free(w);
    buf_reset(out);
    buf_put(out, bytes, n);
}

/* The bytes avro-c writes for a value given as JSON. */
static inline void avro_c_encode(struct str schema, const char *value, struct buf *out) {
    struct avro_c a;
    json_error_t err;
    json_t *j = json_loads(value, 0, &err);
    cr_assert_not_null(j, "%s: %s", err.text, value);
    avro_c_start(&a, schema);
    avro_c_set(&a.value, j);
    avro_c_write(&a.value, out);
    avro_c_stop(&a);
    json_decref(j);
}

/* Whether avro-c reads the bytes as exactly this value (JSON), and all of them. */
static inline void avro_c_assert(struct str schema, const void *p, size_t n, const char *want) {
    struct avro_c a;
    char *got;
    json_error_t err;
    avro_c_start(&a, schema);
    avro_reader_t r = avro_reader_memory(p, (int64_t)n);
    cr_assert_eq(avro_value_read(r, &a.value), 0, "%s", avro_strerror());
    char left;
    cr_assert_neq(avro_read(r, &left, 1), 0, "bytes behind the record");
    avro_reader_free(r);
    cr_assert_eq(avro_value_to_json(&a.value, 1, &got), 0);
    json_t *is = json_loads(got, 0, &err), *should = json_loads(want, 0, &err);
    cr_assert_not_null(should, "%s", err.text);
    cr_assert(json_equal(is, should), "%s\nis not\n%s", got, want);
    json_decref(is);
    json_decref(should);
    free(got);
    avro_c_stop(&a);
}
