#include "consumer/slots.h"

#include <hiredis/hiredis.h>

static uint16_t crc16(struct str s) {
    static const uint16_t nibble[16] = {0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5,
                                        0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b,
                                        0xc18c, 0xd1ad, 0xe1ce, 0xf1ef};
    unsigned crc = 0;
    for (size_t i = 0; i < s.n; i++) {
        uint8_t b = (uint8_t)s.p[i];
        crc = (crc << 4 ^ nibble[(crc >> 12 ^ b >> 4) & 15]) & 0xffff;
        crc = (crc << 4 ^ nibble[(crc >> 12 ^ b) & 15]) & 0xffff;
    }
    return (uint16_t)crc;
}

uint16_t slot_of(struct str key) {
    const char *open = key.n ? memchr(key.p, '{', key.n) : NULL;
    if (open) {
        size_t left = key.n - (size_t)(open + 1 - key.p);
        const char *close = left ? memchr(open + 1, '}', left) : NULL;
        if (close && close > open + 1)
            key = (struct str){open + 1, (size_t)(close - open - 1)};
    }
    return crc16(key) % SLOTS;
}

int redirect_parse(struct str e, const struct address *from, struct redirect *ret) {
    const char *end = e.p + e.n, *p = e.n ? memchr(e.p, ' ', e.n) : NULL;
    if (!p)
        return -EPROTO;
    unsigned slot = 0;
    const char *first = ++p;
    for (; p < end && *p >= '0' && *p <= '9' && slot < SLOTS; p++)
        slot = slot * 10 + (unsigned)(*p - '0');
    if (p == first || p == end || *p != ' ' || slot >= SLOTS)
        return -EPROTO;
    ret->slot = (uint16_t)slot;
    struct str node = {p + 1, (size_t)(end - p - 1)};
    return address_parse(node, from, &ret->node) < 0 ? -EPROTO : 0;
}

void slot_map_free(struct slot_map *m) {
    free(m->node);
    m->node = NULL;
    m->n_nodes = 0;
}

bool slot_map_whole(const struct slot_map *m) {
    for (size_t i = 0; i < SLOTS; i++)
        if (m->at[i] < 0)
            return false;
    return true;
}

/* The first node of a range is its master: host (nil or "": the one that was asked), port, id. */
static int read_node(const redisReply *r, const struct address *from, struct address *ret) {
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 2 ||
        r->element[1]->type != REDIS_REPLY_INTEGER)
        return -EPROTO;
    const redisReply *host = r->element[0];
    long long port = r->element[1]->integer;
    *ret = *from;
    if (port < 1 || port > 65535)
        return -EPROTO;
    ret->port = (int)port;
    if (host->type == REDIS_REPLY_STRING && host->len > 0) {
        if (host->len >= sizeof ret->host || memchr(host->str, 0, host->len))
            return -EPROTO;
        memset(ret->host, 0, sizeof ret->host);
        memcpy(ret->host, host->str, host->len);
    }
    return 0;
}

static int index_of(struct slot_map *m, const struct address *a) {
    for (size_t i = 0; i < m->n_nodes; i++)
        if (address_eq(&m->node[i], a))
            return (int)i;
    if (m->n_nodes == SLOT_NODES_MAX)
        return -EPROTO;
    struct address *node = reallocarray(m->node, m->n_nodes + 1, sizeof *node);
    if (!node)
        return -ENOMEM;
    m->node = node;
    node[m->n_nodes] = *a;
    return (int)m->n_nodes++;
}

static int read_range(const redisReply *r, const struct address *from, struct slot_map *m) {
    if (r->type != REDIS_REPLY_ARRAY || r->elements < 3 ||
        r->element[0]->type != REDIS_REPLY_INTEGER || r->element[1]->type != REDIS_REPLY_INTEGER)
        return -EPROTO;
    long long first = r->element[0]->integer, last = r->element[1]->integer;
    struct address a;
    if (first < 0 || last < first || last >= SLOTS || read_node(r->element[2], from, &a) < 0)
        return -EPROTO;
    int i = index_of(m, &a);
    for (long long s = first; i >= 0 && s <= last; s++)
        m->at[s] = (int16_t)i;
    return i < 0 ? i : 0;
}

int slot_map_read(const redisReply *reply, const struct address *from, struct slot_map *ret) {
    if (reply->type != REDIS_REPLY_ARRAY)
        return -EPROTO;
    struct slot_map m = {0};
    memset(m.at, -1, sizeof m.at);
    int rc = 0;
    for (size_t i = 0; i < reply->elements && rc == 0; i++)
        rc = read_range(reply->element[i], from, &m);
    if (rc < 0)
        slot_map_free(&m);
    else
        *ret = m;
    return rc;
}
