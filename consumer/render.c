#include <math.h>
#include <stdio.h>

#include "consumer/avro_wire.h"
#include "consumer/json_load.h"
#include "consumer/json_write.h"
#include "consumer/schema_store.h"
#include "consumer/text.h"

/* A schema may blow up a few bytes into endless empty records. */
enum { RENDER_MAX = 64 << 20 };

struct render {
    struct wire w;
    struct buf *out;
};

static enum wire_status value(struct render *r, const struct schema_node *node, int depth);

static void put(struct buf *out, const char *z) {
    buf_put(out, z, strlen(z));
}

static void put_bytes(struct buf *out, struct str s) {
    if (text_bad_at(s, TEXT_PROSE) == s.n) {
        text_put_json(out, s);
    } else {
        put(out, "\"");
        text_put_base64(out, s.p, s.n);
        put(out, "\"");
    }
}

static enum wire_status blocks(struct render *r, const struct schema_node *node, int depth) {
    bool map = node->type == AT_MAP, first = true;
    put(r->out, map ? "{" : "[");
    for (;;) {
        size_t n = 0;
        enum wire_status st = wire_block(&r->w, node, &n);
        if (st)
            return st;
        if (n == 0)
            break;
        for (size_t i = 0; i < n; i++) {
            struct str key;
            if (!first)
                put(r->out, ",");
            first = false;
            if (map) {
                if ((st = wire_bytes(&r->w, &key)))
                    return st;
                text_put_json(r->out, key);
                put(r->out, ":");
            }
            if ((st = value(r, node->kid[0], depth + 1)))
                return st;
        }
    }
    put(r->out, map ? "}" : "]");
    return WIRE_OK;
}

/* One field with its name: nulls are left out, bytes that are no text say so by their name, and
 * an offer is the object it holds. */
static enum wire_status field(struct render *r, struct str name, const struct schema_node *node,
                              int depth) {
    enum wire_status st;
    struct str s;
    if (node->type == AT_UNION) {
        size_t branch;
        if ((st = wire_branch(&r->w, node, &branch)))
            return st;
        node = node->kid[branch];
    }
    switch (node->type) {
    case AT_NULL:
        return WIRE_OK;
    case AT_BYTES:
    case AT_FIXED:
        st = node->type == AT_BYTES ? wire_bytes(&r->w, &s) : wire_take(&r->w, node->size, &s);
        if (!st)
            json_bytes(r->out, name.p, s);
        return st;
    case AT_STRING:
        if (!str_eq(name, STR("offer")))
            break;
        if (!(st = wire_bytes(&r->w, &s)))
            json_object_text(r->out, name.p, s);
        return st;
    default:
        break;
    }
    json_name(r->out, name.p);
    return value(r, node, depth + 1);
}

static enum wire_status value(struct render *r, const struct schema_node *node, int depth) {
    enum wire_status st = WIRE_OK;
    int64_t v = 0;
    double d = NAN;
    bool b = false;
    size_t i;
    struct str s = {0};
    if (depth > SCHEMA_DEPTH_MAX || r->out->n > RENDER_MAX)
        return WIRE_MALFORMED;
    switch (node->type) {
    case AT_NULL:
        put(r->out, "null");
        return WIRE_OK;
    case AT_BOOLEAN:
        st = wire_boolean(&r->w, &b);
        put(r->out, b ? "true" : "false");
        return st;
    case AT_INT:
    case AT_LONG:
        st = node->type == AT_INT ? wire_int(&r->w, &v) : wire_long(&r->w, &v);
        if (node->logical == LT_MILLIS)
            text_put_time(r->out, v);
        else if (node->logical == LT_MICROS)
            text_put_time(r->out, v / 1000);
        else if (node->logical == LT_NANOS)
            text_put_time(r->out, v / 1000000);
        else
            text_put_long(r->out, v);
        return st;
    case AT_FLOAT:
    case AT_DOUBLE:
        st = node->type == AT_FLOAT ? wire_float(&r->w, &d) : wire_double(&r->w, &d);
        if (node->type == AT_FLOAT)
            text_put_float(r->out, (float)d);
        else
            text_put_number(r->out, d);
        return st;
    case AT_BYTES:
    case AT_STRING:
        st = wire_bytes(&r->w, &s);
        if (node->type == AT_STRING)
            text_put_json(r->out, s);
        else
            put_bytes(r->out, s);
        return st;
    case AT_FIXED:
        st = wire_take(&r->w, node->size, &s);
        put_bytes(r->out, s);
        return st;
    case AT_ENUM:
        if ((st = wire_branch(&r->w, node, &i)))
            return st;
        text_put_json(r->out, node->name[i]);
        return WIRE_OK;
    case AT_ARRAY:
    case AT_MAP:
        return blocks(r, node, depth);
    case AT_UNION:
        st = wire_branch(&r->w, node, &i);
        return st ? st : value(r, node->kid[i], depth + 1);
    default:
        put(r->out, "{");
        for (i = 0; i < node->n; i++)
            if ((st = field(r, node->name[i], node->kid[i], depth)))
                return st;
        put(r->out, "}");
        return WIRE_OK;
    }
}

static int render_avro(struct decoder *d, int32_t id, bool local, const uint8_t *p, size_t n,
                       struct buf *out) {
    char err[160];
    const struct schema *schema;
    int rc = schema_store_get(decoder_schemas(d), id, local, err, &schema);
    if (rc)
        return rc == -ENOENT || rc == -EINVAL ? -EBADMSG : rc;
    struct render r = {.w = {p, p + n}, .out = out};
    if (value(&r, schema->root, 0) || r.w.p != r.w.end)
        return -EBADMSG;
    return out->failed ? -ENOMEM : 0;
}

/* As it came, but on one line: in JSON a line break stands only between tokens. */
static int render_text(const char *p, size_t n, struct buf *out) {
    json_t *j = NULL;
    int rc = json_load(p, n, JSON_ALLOW_NUL, NULL, &j);
    if (rc == 0 && !json_is_object(j))
        rc = -EBADMSG;
    json_decref(j);
    if (rc < 0)
        return rc;
    buf_put(out, p, n);
    if (out->failed)
        return -ENOMEM;
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] == '\n' || out->p[i] == '\r')
            out->p[i] = ' ';
    return 0;
}

int render_json(struct decoder *d, const void *bytes, size_t n, struct buf *out) {
    const uint8_t *p = bytes;
    buf_reset(out);
    if (n && p[0] == '{')
        return render_text(bytes, n, out);
    if (n < 5 || p[0] != 0)
        return -EBADMSG;
    uint32_t id = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    return render_avro(d, (int32_t)id, false, p + 5, n - 5, out);
}

int render_avro_json(struct decoder *d, int32_t schema_id, const void *bytes, size_t n,
                     struct buf *out) {
    buf_reset(out);
    return render_avro(d, schema_id, true, bytes, n, out);
}
