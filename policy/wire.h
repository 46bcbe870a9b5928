/* Little-endian numbers into a buffer and out of bytes that nobody vouches for. */
#pragma once

#include "model/base.h"

static inline void wire_put(struct buf *b, uint64_t v, size_t bytes) {
    uint8_t p[8];
    for (size_t i = 0; i < bytes; i++)
        p[i] = (uint8_t)(v >> 8 * i);
    buf_put(b, p, bytes);
}

/* Reading past the end gives zeros and sets `bad` for good. */
struct wire {
    const uint8_t *p;
    size_t n;
    bool bad;
};

static inline const void *wire_bytes(struct wire *w, size_t n) {
    if (w->bad || n > w->n) {
        w->bad = true;
        return NULL;
    }
    const void *p = w->p;
    w->p += n;
    w->n -= n;
    return p;
}

static inline uint64_t wire_get(struct wire *w, size_t bytes) {
    const uint8_t *p = wire_bytes(w, bytes);
    uint64_t v = 0;
    for (size_t i = 0; p && i < bytes; i++)
        v |= (uint64_t)p[i] << 8 * i;
    return v;
}

static inline void wire_put_double(struct buf *b, double x) {
    uint64_t v;
    memcpy(&v, &x, sizeof v);
    wire_put(b, v, 8);
}

static inline double wire_get_double(struct wire *w) {
    uint64_t v = wire_get(w, 8);
    double x;
    memcpy(&x, &v, sizeof x);
    return x;
}

/* A block: version, length of the payload, payload, checksum over all of it. */
enum { BLOCK_HEAD = 5, BLOCK_SUM = 4 };

static inline size_t block_begin(struct buf *b, uint8_t version) {
    size_t at = b->n;
    wire_put(b, version, 1);
    wire_put(b, 0, 4);
    return at;
}

static inline int block_end(struct buf *b, size_t at) {
    size_t n = b->n - at - BLOCK_HEAD;
    if (b->failed)
        return -ENOMEM;
    if (n > UINT32_MAX)
        return -EOVERFLOW;
    for (size_t i = 0; i < 4; i++)
        b->p[at + 1 + i] = (uint8_t)(n >> 8 * i);
    wire_put(b, hash_bytes(b->p + at, b->n - at, 0), BLOCK_SUM);
    return b->failed ? -ENOMEM : 0;
}

/* The payload of the block that `p` begins with. */
static inline int block_open(const void *p, size_t n, uint8_t version, struct wire *ret,
                             size_t *ret_n) {
    struct wire w = {p, n, false};
    uint64_t v = wire_get(&w, 1), len = wire_get(&w, 4);
    const void *payload = wire_bytes(&w, len);
    uint64_t sum = wire_get(&w, BLOCK_SUM);
    if (w.bad || v != version || sum != (uint32_t)hash_bytes(p, BLOCK_HEAD + len, 0))
        return -EBADMSG;
    *ret = (struct wire){payload, len, false};
    *ret_n = BLOCK_HEAD + len + BLOCK_SUM;
    return 0;
}
