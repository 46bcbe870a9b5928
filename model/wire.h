/* Durable records, byte by byte: little-endian numbers, varints (LEB128), strings by
 * length. Writing goes to a buf (which fails sticky); reading is sticky as well: past the
 * end or malformed everything reads as 0 or empty and `bad` is set, so that a reader checks
 * once at its end. */
#pragma once

#include "model/base.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "durable records are written as little-endian memory"
#endif

/* buf_put, inlined where there is room. */
static inline void wire_put(struct buf *b, const void *p, size_t n) {
    if (b->failed || n > b->cap - b->n || n == 0) {
        buf_put(b, p, n);
        return;
    }
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

static inline void wire_put_u8(struct buf *b, uint8_t v) {
    wire_put(b, &v, sizeof v);
}
static inline void wire_put_u32(struct buf *b, uint32_t v) {
    wire_put(b, &v, sizeof v);
}
static inline void wire_put_u64(struct buf *b, uint64_t v) {
    wire_put(b, &v, sizeof v);
}
static inline void wire_put_f32(struct buf *b, float v) {
    wire_put(b, &v, sizeof v);
}
static inline void wire_put_f64(struct buf *b, double v) {
    wire_put(b, &v, sizeof v);
}

static inline void wire_put_varint(struct buf *b, uint64_t v) {
    uint8_t out[10];
    size_t n = 0;
    for (; v >= 0x80; v >>= 7)
        out[n++] = (uint8_t)(v | 0x80);
    out[n++] = (uint8_t)v;
    wire_put(b, out, n);
}

/* Small numbers of either sign (zigzag). */
static inline void wire_put_signed(struct buf *b, int64_t v) {
    wire_put_varint(b, (uint64_t)v << 1 ^ (uint64_t)(v >> 63));
}

static inline void wire_put_str(struct buf *b, struct str s) {
    wire_put_varint(b, s.n);
    wire_put(b, s.p, s.n);
}

struct wire {
    const uint8_t *p, *end;
    bool bad;
};

static inline struct wire wire_of(const void *p, size_t n) {
    return (struct wire){p, (const uint8_t *)p + n, false};
}

static inline void wire_get(struct wire *w, void *ret, size_t n) {
    if (w->bad || n > (size_t)(w->end - w->p)) {
        w->bad = true;
        memset(ret, 0, n);
        return;
    }
    memcpy(ret, w->p, n);
    w->p += n;
}

static inline uint8_t wire_get_u8(struct wire *w) {
    uint8_t v;
    wire_get(w, &v, sizeof v);
    return v;
}
static inline uint32_t wire_get_u32(struct wire *w) {
    uint32_t v;
    wire_get(w, &v, sizeof v);
    return v;
}
static inline uint64_t wire_get_u64(struct wire *w) {
    uint64_t v;
    wire_get(w, &v, sizeof v);
    return v;
}
static inline float wire_get_f32(struct wire *w) {
    float v;
    wire_get(w, &v, sizeof v);
    return v;
}

static inline double wire_get_f64(struct wire *w) {
    double v;
    wire_get(w, &v, sizeof v);
    return v;
}

static inline uint64_t wire_get_varint(struct wire *w) {
    uint64_t v = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
        uint8_t b = wire_get_u8(w);
        v |= (uint64_t)(b & 0x7f) << shift;
        if (!(b & 0x80))
            return w->bad ? 0 : v;
    }
    w->bad = true;
    return 0;
}

static inline int64_t wire_get_signed(struct wire *w) {
    uint64_t v = wire_get_varint(w);
    return (int64_t)(v >> 1 ^ -(v & 1));
}

/* Borrows from the record. */
static inline struct str wire_get_str(struct wire *w) {
    uint64_t n = wire_get_varint(w);
    if (w->bad || n > (size_t)(w->end - w->p)) {
        w->bad = true;
        return (struct str){0};
    }
    struct str s = {(const char *)w->p, n};
    w->p += n;
    return s;
}
