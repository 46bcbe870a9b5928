/* Sorted sets in the form of Redis's DUMP, for RESTORE: one command replaces a list and sets its
 * TTL, at a fraction of what Redis needs to insert entry by entry. Format: RDB version 10
 * (Redis 7.0 and later, Valkey), a listpack; redis/src/rdb.h, redis/src/listpack.c. */
#pragma once

#include "model/base.h"

enum {
    DUMP_ENTRIES_MAX = 128,
    DUMP_MEMBER_MAX = 64
}; /* what Redis keeps as a listpack by default */

struct dump_entry {
    struct str member;
    int64_t score;
};

/* Appends the payload of n >= 1 entries, scores falling. False, with nothing appended: too many, a
 * member is too long, or one is there twice (Redis would take that on trust). */
bool dump_zset(struct buf *out, const struct dump_entry *e, size_t n);

/* CRC-64 of Jones (reflected, polynomial ad93d23594c935a9), as Redis ends its payloads with. */
uint64_t dump_crc64(const void *p, size_t n);
