#include "consumer/dump.h"

#include <pthread.h>

enum {
    TYPE_ZSET_LISTPACK = 17,
    RDB_VERSION = 10,
    LISTPACK_HEAD = 6, /* bytes in all, entries */
    ENTRY_MAX = DUMP_MEMBER_MAX + 4 /* header of 2, backward length of 2 */ + 16 /* its score */,
    LISTPACK_MAX = LISTPACK_HEAD + DUMP_ENTRIES_MAX * ENTRY_MAX + 1,
    BEFORE = 3, /* type, length */
    BEHIND = 10 /* version, checksum */,
};
_Static_assert(LISTPACK_MAX < 16384, "its length is written in one or two bytes");

/* Eight tables, so that eight bytes are taken at a time (Kounavis and Berry 2005). */
static uint64_t crc_table[8][256];

static void make_crc_table(void) {
    const uint64_t poly = 0x95ac9329ac4bc9b5u; /* ad93d23594c935a9 reflected */
    for (uint64_t i = 0; i < 256; i++) {
        uint64_t v = i;
        for (int bit = 0; bit < 8; bit++)
            v = v & 1 ? v >> 1 ^ poly : v >> 1;
        crc_table[0][i] = v;
    }
    for (size_t k = 1; k < 8; k++)
        for (size_t i = 0; i < 256; i++)
            crc_table[k][i] = crc_table[0][crc_table[k - 1][i] & 255] ^ crc_table[k - 1][i] >> 8;
}

uint64_t dump_crc64(const void *p, size_t n) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_crc_table);
    const uint8_t *b = p;
    uint64_t crc = 0;
    for (; n >= 8; n -= 8, b += 8) {
        for (int k = 0; k < 8; k++)
            crc ^= (uint64_t)b[k] << (8 * k);
        uint64_t next = 0;
        for (int k = 0; k < 8; k++)
            next ^= crc_table[7 - k][crc >> (8 * k) & 255];
        crc = next;
    }
    for (; n; n--, b++)
        crc = crc_table[0][(crc ^ *b) & 255] ^ crc >> 8;
    return crc;
}

static uint8_t *put_le(uint8_t *w, uint64_t v, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        *w++ = (uint8_t)(v >> (8 * i));
    return w;
}

/* The length of the entry that began at `from`, for walking backwards. */
static uint8_t *put_backward(uint8_t *w, const uint8_t *from) {
    size_t n = (size_t)(w - from);
    if (n > 127)
        *w++ = (uint8_t)(n >> 7);
    *w++ = (uint8_t)(n > 127 ? n | 128 : n);
    return w;
}

static uint8_t *put_int(uint8_t *w, int64_t v) {
    uint8_t *from = w;
    if (v >= 0 && v <= 127) {
        *w++ = (uint8_t)v;
    } else if (v >= -4096 && v <= 4095) {
        *w++ = (uint8_t)(0xc0 | ((uint64_t)v >> 8 & 0x1f));
        *w++ = (uint8_t)v;
    } else {
        size_t bytes = v >= INT16_MIN && v <= INT16_MAX   ? 2
                       : v >= -0x800000 && v <= 0x7fffff  ? 3
                       : v >= INT32_MIN && v <= INT32_MAX ? 4
                                                          : 8;
        *w++ = (uint8_t)(bytes == 8 ? 0xf4 : 0xef + bytes);
        w = put_le(w, (uint64_t)v, bytes);
    }
    return put_backward(w, from);
}

/* A number that prints as the very same text, which Redis keeps as a number. */
static bool is_number(struct str s, int64_t *ret) {
    if (s.n == 0 || s.n > 18 || (s.n > 1 && s.p[0] == '0'))
        return false;
    int64_t v = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        v = v * 10 + (s.p[i] - '0');
    }
    *ret = v;
    return true;
}

static uint8_t *put_member(uint8_t *w, struct str s) {
    int64_t v;
    if (is_number(s, &v))
        return put_int(w, v);
    uint8_t *from = w;
    if (s.n < 64) {
        *w++ = (uint8_t)(0x80 | s.n);
    } else {
        *w++ = (uint8_t)(0xe0 | s.n >> 8);
        *w++ = (uint8_t)s.n;
    }
    if (s.n)
        memcpy(w, s.p, s.n);
    return put_backward(w + s.n, from);
}

static bool fits(const struct dump_entry *e, size_t n) {
    uint64_t hash[DUMP_ENTRIES_MAX];
    if (n == 0 || n > DUMP_ENTRIES_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (e[i].member.n > DUMP_MEMBER_MAX)
            return false;
        hash[i] = hash_str(e[i].member, 0);
        bool twice = false;
        for (size_t k = 0; k < i; k++)
            twice |= hash[k] == hash[i];
        if (twice)
            return false;
    }
    return true;
}

bool dump_zset(struct buf *out, const struct dump_entry *e, size_t n) {
    if (!fits(e, n))
        return false;
    uint8_t bytes[BEFORE + LISTPACK_MAX + BEHIND], *list = bytes + BEFORE;
    uint8_t *w = list + LISTPACK_HEAD;
    for (size_t i = n; i-- > 0;) { /* lowest score first */
        w = put_member(w, e[i].member);
        w = put_int(w, e[i].score);
    }
    *w++ = 0xff;
    size_t size = (size_t)(w - list);
    put_le(list, size, 4);
    put_le(list + 4, 2 * n, 2);
    uint8_t *from = list;
    *--from = (uint8_t)size;
    if (size >= 64)
        *--from = (uint8_t)(0x40 | size >> 8);
    *--from = TYPE_ZSET_LISTPACK;
    w = put_le(w, RDB_VERSION, 2);
    w = put_le(w, dump_crc64(from, (size_t)(w - from)), 8);
    buf_put(out, from, (size_t)(w - from));
    return true;
}
