/* A durable record that vouches for itself: version, length of the payload, payload, checksum
 * over all of it. */
#pragma once

#include "model/wire.h"

enum { BLOCK_HEAD = 5, BLOCK_SUM = 4 };

static inline size_t block_begin(struct buf *b, uint8_t version) {
    size_t at = b->n;
    wire_put_u8(b, version);
    wire_put_u32(b, 0);
    return at;
}

/* 0, -ENOMEM, or -EOVERFLOW for a payload of more than 4 GiB. */
static inline int block_end(struct buf *b, size_t at) {
    if (b->failed)
        return -ENOMEM;
    size_t n = b->n - at - BLOCK_HEAD;
    if (n > UINT32_MAX)
        return -EOVERFLOW;
    uint32_t len = (uint32_t)n;
    memcpy(b->p + at + 1, &len, sizeof len);
    wire_put_u32(b, (uint32_t)hash_bytes(b->p + at, b->n - at, 0));
    return b->failed ? -ENOMEM : 0;
}

/* The payload of the block that `p` begins with; *ret_n is what the block takes. 0 or -EBADMSG. */
static inline int block_open(const void *p, size_t n, uint8_t version, struct wire *ret,
                             size_t *ret_n) {
    struct wire w = wire_of(p, n);
    uint8_t v = wire_get_u8(&w);
    uint32_t len = wire_get_u32(&w);
    if (w.bad || v != version || (size_t)len + BLOCK_SUM > (size_t)(w.end - w.p))
        return -EBADMSG;
    *ret = wire_of(w.p, len);
    w.p += len;
    if (wire_get_u32(&w) != (uint32_t)hash_bytes(p, (size_t)BLOCK_HEAD + len, 0))
        return -EBADMSG;
    *ret_n = (size_t)BLOCK_HEAD + len + BLOCK_SUM;
    return 0;
}
