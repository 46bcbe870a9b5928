/* Avro's binary encoding, byte by byte: reading that never leaves its bounds, and writing. */
#pragma once

#include "consumer/avro_schema.h"

enum wire_status { WIRE_OK, WIRE_TRUNCATED, WIRE_MALFORMED };

struct wire {
    const uint8_t *p, *end;
};

static inline size_t wire_left(const struct wire *w) {
    return (size_t)(w->end - w->p);
}

/* Variable-length zig-zag, at most ten bytes. */
static inline enum wire_status wire_long(struct wire *w, int64_t *ret) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (w->p == w->end)
            return WIRE_TRUNCATED;
        uint8_t b = *w->p++;
        if (shift == 63 && b > 1)
            return WIRE_MALFORMED;
        v |= (uint64_t)(b & 0x7f) << shift;
        if (b < 0x80) {
            *ret = (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
            return WIRE_OK;
        }
    }
    return WIRE_MALFORMED;
}

static inline enum wire_status wire_int(struct wire *w, int64_t *ret) {
    enum wire_status st = wire_long(w, ret);
    return st ? st : *ret < INT32_MIN || *ret > INT32_MAX ? WIRE_MALFORMED : WIRE_OK;
}

static inline enum wire_status wire_take(struct wire *w, size_t n, struct str *ret) {
    if (n > wire_left(w))
        return WIRE_TRUNCATED;
    *ret = (struct str){(const char *)w->p, n};
    w->p += n;
    return WIRE_OK;
}

/* A string or bytes: length, then so many bytes. */
static inline enum wire_status wire_bytes(struct wire *w, struct str *ret) {
    int64_t n = 0;
    enum wire_status st = wire_long(w, &n);
    if (st)
        return st;
    return n < 0 ? WIRE_MALFORMED : wire_take(w, (uint64_t)n, ret);
}

static inline enum wire_status wire_boolean(struct wire *w, bool *ret) {
    if (w->p == w->end)
        return WIRE_TRUNCATED;
    uint8_t b = *w->p++;
    *ret = b == 1;
    return b > 1 ? WIRE_MALFORMED : WIRE_OK;
}

static inline enum wire_status wire_float(struct wire *w, double *ret) {
    float v;
    if (wire_left(w) < sizeof v)
        return WIRE_TRUNCATED;
    memcpy(&v, w->p, sizeof v);
    w->p += sizeof v;
    *ret = (double)v;
    return WIRE_OK;
}

static inline enum wire_status wire_double(struct wire *w, double *ret) {
    if (wire_left(w) < sizeof *ret)
        return WIRE_TRUNCATED;
    memcpy(ret, w->p, sizeof *ret);
    w->p += sizeof *ret;
    return WIRE_OK;
}

static inline enum wire_status wire_branch(struct wire *w, const struct schema_node *u,
                                           size_t *ret) {
    int64_t i = 0;
    enum wire_status st = wire_long(w, &i);
    *ret = (size_t)i;
    return st ? st : i < 0 || (uint64_t)i >= u->n ? WIRE_MALFORMED : WIRE_OK;
}

/* Head of a block of an array or map (`kid`: its items or values): `ret` 0 at the end. Counts
 * that the bytes left cannot hold are refused before anybody counts to them. */
enum wire_status wire_block(struct wire *w, const struct schema_node *of, size_t *ret);
/* Passes one value of any schema, at most SCHEMA_DEPTH_MAX deep. */
enum wire_status wire_skip(struct wire *w, const struct schema_node *node, int depth);

void wire_put_long(struct buf *out, int64_t v);
void wire_put_bytes(struct buf *out, struct str s);
void wire_put_double(struct buf *out, double v);
void wire_put_bool(struct buf *out, bool v);
/* ["null", "string"] (an empty one is null) and ["null", "double"] (NaN is null). */
void wire_put_maybe(struct buf *out, struct str s);
void wire_put_maybe_double(struct buf *out, double v);
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are copied as Avro writes them");
