#include "consumer/snapshot.h"

#include <unistd.h>

#include "model/wire.h"

static const char magic[8] = {'B', 'E', 'C', 'K', 'O', 'N', 'S', 'N'};
enum { VERSION = 1, HEAD = 56, BLOCK_HEAD = 16 };

void snapshot_put_head(struct buf *b, const struct snapshot_head *h) {
    size_t at = b->n;
    buf_put(b, magic, sizeof magic);
    wire_put_u32(b, VERSION);
    wire_put_u32(b, (uint32_t)h->partition);
    wire_put_u64(b, (uint64_t)h->offset);
    wire_put_u64(b, (uint64_t)h->taken_ms);
    wire_put_u64(b, h->origin);
    wire_put_u64(b, h->epoch);
    if (!b->failed)
        wire_put_u64(b, hash_bytes(b->p + at, b->n - at, 0));
}

void snapshot_begin_block(struct buf *b) {
    static const uint8_t head[BLOCK_HEAD];
    buf_reset(b);
    buf_put(b, head, sizeof head);
}

void snapshot_put(struct buf *b, const void *key, size_t key_n, const void *value, size_t value_n) {
    wire_put_u32(b, (uint32_t)key_n);
    wire_put_u32(b, (uint32_t)value_n);
    wire_put(b, key, key_n);
    wire_put(b, value, value_n);
}

/* The head's numbers count as well: they are the seed. */
static uint64_t block_check(uint32_t bytes, uint32_t records, const void *p) {
    return hash_bytes(p, bytes, (uint64_t)bytes << 32 | records);
}

static void put_block_head(uint8_t *p, uint32_t bytes, uint32_t records, uint64_t check) {
    memcpy(p, &bytes, sizeof bytes);
    memcpy(p + 4, &records, sizeof records);
    memcpy(p + 8, &check, sizeof check);
}

void snapshot_end_block(struct buf *b, uint32_t records) {
    if (b->failed)
        return;
    uint32_t bytes = (uint32_t)(b->n - BLOCK_HEAD);
    put_block_head(b->p, bytes, records, block_check(bytes, records, b->p + BLOCK_HEAD));
}

void snapshot_put_end(struct buf *b, uint64_t records) {
    uint8_t head[BLOCK_HEAD];
    put_block_head(head, 0, 0, hash_bytes(&records, sizeof records, 0));
    buf_put(b, head, sizeof head);
}

/* ---- reading ---- */

struct snapshot_reader {
    int fd;
    uint8_t *block;
    size_t cap;
    struct wire w;     /* what is left of the block */
    uint32_t in_block; /* records left in it */
    uint64_t records;
    int end; /* 1: not yet; else what snapshot_next goes on answering */
};

/* All of n bytes. 0, -EBADMSG at the end of the file, -errno. */
static int read_all(int fd, void *to, size_t n) {
    for (uint8_t *p = to; n;) {
        ssize_t got = read(fd, p, n);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : -EBADMSG;
        p += got;
        n -= (size_t)got;
    }
    return 0;
}

void snapshot_close(struct snapshot_reader *r) {
    if (!r)
        return;
    close(r->fd);
    free(r->block);
    free(r);
}

int snapshot_open(int fd, struct snapshot_head *ret_head, struct snapshot_reader **ret) {
    autofree(snapshot_close) struct snapshot_reader *r = calloc(1, sizeof *r);
    if (!r) {
        close(fd);
        return -ENOMEM;
    }
    r->fd = fd;
    r->end = 1;
    uint8_t head[HEAD];
    int e = read_all(fd, head, sizeof head);
    if (e < 0)
        return e;
    struct wire w = wire_of(head + sizeof magic, sizeof head - sizeof magic);
    uint32_t version = wire_get_u32(&w);
    ret_head->partition = (int32_t)wire_get_u32(&w);
    ret_head->offset = (int64_t)wire_get_u64(&w);
    ret_head->taken_ms = (int64_t)wire_get_u64(&w);
    ret_head->origin = wire_get_u64(&w);
    ret_head->epoch = wire_get_u64(&w);
    if (memcmp(head, magic, sizeof magic) != 0 || version != VERSION ||
        wire_get_u64(&w) != hash_bytes(head, HEAD - sizeof(uint64_t), 0))
        return -EBADMSG;
    *ret = TAKE(r);
    return 0;
}

/* 1: a block with records; 0: the end; or an error. */
static int next_block(struct snapshot_reader *r) {
    uint8_t head[BLOCK_HEAD];
    int e = read_all(r->fd, head, sizeof head);
    if (e < 0)
        return e;
    struct wire w = wire_of(head, sizeof head);
    uint32_t bytes = wire_get_u32(&w);
    uint32_t records = wire_get_u32(&w);
    uint64_t check = wire_get_u64(&w);
    if (bytes == 0 || records == 0)
        return bytes == records && check == hash_bytes(&r->records, sizeof r->records, 0)
                   ? 0
                   : -EBADMSG;
    if (bytes > SNAPSHOT_BLOCK_MAX)
        return -EBADMSG;
    if (bytes > r->cap) {
        free(r->block);
        r->cap = 0;
        r->block = malloc(bytes);
        if (!r->block)
            return -ENOMEM;
        r->cap = bytes;
    }
    e = read_all(r->fd, r->block, bytes);
    if (e < 0)
        return e;
    if (check != block_check(bytes, records, r->block))
        return -EBADMSG;
    r->w = wire_of(r->block, bytes);
    r->in_block = records;
    r->records += records;
    return 1;
}

static bool take(struct wire *w, size_t n, struct str *ret) {
    if (n > (size_t)(w->end - w->p))
        return false;
    *ret = (struct str){(const char *)w->p, n};
    w->p += n;
    return true;
}

int snapshot_next(struct snapshot_reader *r, struct str *ret_key, struct str *ret_value) {
    if (r->end == 1 && r->in_block == 0)
        r->end = r->w.p == r->w.end ? next_block(r) : -EBADMSG;
    if (r->end < 1)
        return r->end;
    uint32_t key_n = wire_get_u32(&r->w);
    uint32_t value_n = wire_get_u32(&r->w);
    if (r->w.bad || !take(&r->w, key_n, ret_key) || !take(&r->w, value_n, ret_value))
        return r->end = -EBADMSG;
    r->in_block--;
    return 1;
}
