#include "consumer/avro_wire.h"

#include <math.h>

enum wire_status wire_block(struct wire *w, const struct schema_node *of, size_t *ret) {
    int64_t n, bytes;
    enum wire_status st = wire_long(w, &n);
    if (st)
        return st;
    if (n < 0) {
        /* A negative count is followed by the block's size in bytes. */
        if (n == INT64_MIN)
            return WIRE_MALFORMED;
        n = -n;
        if ((st = wire_long(w, &bytes)))
            return st;
        if (bytes < 0)
            return WIRE_MALFORMED;
        if ((uint64_t)bytes > wire_left(w))
            return WIRE_TRUNCATED;
    }
    /* A map's entry begins with a key of at least one byte. Entries without any bytes hold
     * nothing that could be read: only their number is limited. */
    size_t least = of->kid[0]->min_bytes + (of->type == AT_MAP ? 1 : 0);
    if (least ? (uint64_t)n > wire_left(w) / least : n > SCHEMA_TEXT_MAX)
        return least ? WIRE_TRUNCATED : WIRE_MALFORMED;
    *ret = (size_t)n;
    return WIRE_OK;
}

static enum wire_status skip_blocks(struct wire *w, const struct schema_node *node, int depth) {
    for (;;) {
        size_t n;
        struct str key;
        enum wire_status st = wire_block(w, node, &n);
        if (st || n == 0)
            return st;
        if (node->type == AT_ARRAY && node->kid[0]->min_bytes == 0)
            continue;
        for (size_t i = 0; i < n; i++) {
            if (node->type == AT_MAP && (st = wire_bytes(w, &key)))
                return st;
            if ((st = wire_skip(w, node->kid[0], depth + 1)))
                return st;
        }
    }
}

enum wire_status wire_skip(struct wire *w, const struct schema_node *node, int depth) {
    int64_t v;
    bool b;
    size_t branch;
    struct str s;
    enum wire_status st;
    if (depth > SCHEMA_DEPTH_MAX)
        return WIRE_MALFORMED;
    switch (node->type) {
    case AT_NULL:
        return WIRE_OK;
    case AT_BOOLEAN:
        return wire_boolean(w, &b);
    case AT_INT:
        return wire_int(w, &v);
    case AT_LONG:
        return wire_long(w, &v);
    case AT_FLOAT:
        return wire_take(w, 4, &s);
    case AT_DOUBLE:
        return wire_take(w, 8, &s);
    case AT_BYTES:
    case AT_STRING:
        return wire_bytes(w, &s);
    case AT_FIXED:
        return wire_take(w, node->size, &s);
    case AT_ENUM:
        return wire_branch(w, node, &branch);
    case AT_ARRAY:
    case AT_MAP:
        return skip_blocks(w, node, depth);
    case AT_UNION:
        st = wire_branch(w, node, &branch);
        return st ? st : wire_skip(w, node->kid[branch], depth + 1);
    default:
        if (node->min_bytes == 0)
            return WIRE_OK;
        for (size_t i = 0; i < node->n; i++)
            if ((st = wire_skip(w, node->kid[i], depth + 1)))
                return st;
        return WIRE_OK;
    }
}

void wire_put_long(struct buf *out, int64_t v) {
    uint8_t t[10];
    size_t n = 0;
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    for (; z >= 0x80; z >>= 7)
        t[n++] = (uint8_t)(z | 0x80);
    t[n++] = (uint8_t)z;
    buf_put(out, t, n);
}

void wire_put_bytes(struct buf *out, struct str s) {
    wire_put_long(out, (int64_t)s.n);
    buf_put(out, s.p, s.n);
}

void wire_put_double(struct buf *out, double v) {
    buf_put(out, &v, sizeof v);
}

void wire_put_bool(struct buf *out, bool v) {
    buf_put(out, &(uint8_t){v}, 1);
}

void wire_put_maybe(struct buf *out, struct str s) {
    wire_put_long(out, s.n != 0);
    if (s.n)
        wire_put_bytes(out, s);
}

void wire_put_maybe_double(struct buf *out, double v) {
    wire_put_long(out, !isnan(v));
    if (!isnan(v))
        wire_put_double(out, v);
}
