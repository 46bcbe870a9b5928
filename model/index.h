/* Tables of ids: an open-addressing index from id bytes to row, the arena its id
 * bytes live in, and address space for rows that never move. */
#pragma once

#include "model/base.h"

#define INDEX_NONE UINT32_MAX

/* Power-of-two table, linear probing, 8 bytes a slot: row and 32 bits of the hash,
 * so that a probe reads an id only when 32 bits agree, growing reads none, and
 * deletion shifts back instead of leaving tombstones. The ids stay with the rows'
 * owner, who tells them by `id_of`. */
struct id_slot {
    uint32_t row, tag; /* row INDEX_NONE: empty */
};

struct id_index {
    struct id_slot *slots;
    uint64_t mask; /* slots - 1 */
    uint64_t n;
    uint64_t seed;
    struct str (*id_of)(const void *owner, uint32_t row);
    const void *owner;
};

/* 0, -ENOMEM. `owner` and `id_of` must outlive the index. */
int id_index_init(struct id_index *x, uint64_t seed,
                  struct str (*id_of)(const void *owner, uint32_t row), const void *owner);
void id_index_done(struct id_index *x); /* accepts a zeroed one */
/* Row of the id or INDEX_NONE. Safe side by side with itself. */
uint32_t id_index_find(const struct id_index *x, struct str id);
/* Adds an id that is not in the table; the row's id must already be readable by
 * id_of. 0, -ENOMEM (table unchanged). */
int id_index_add(struct id_index *x, struct str id, uint32_t row);
/* Removes an id; its bytes must still be readable. Returns its row or INDEX_NONE. */
uint32_t id_index_remove(struct id_index *x, struct str id);
size_t id_index_bytes(const struct id_index *x);

/* Small byte strings with reuse: size classes of 8 bytes up to 1 KiB (larger ones
 * by malloc), carved from 64 KiB chunks, freed ones kept on a list per class.
 * Blocks are 8-byte aligned. */
enum { ARENA_CLASSES = 128 };

struct id_arena {
    void *free_list[ARENA_CLASSES];
    void *chunks;
    uint8_t *next;
    size_t left, bytes; /* bytes: taken from the system */
};

void *id_arena_take(struct id_arena *a, size_t n);               /* NULL: out of memory */
void id_arena_drop(struct id_arena *a, const void *p, size_t n); /* n as taken; p may be NULL */
/* A copy of `s` in the arena; {NULL, 0} for an empty one. False: out of memory. */
bool id_arena_copy(struct id_arena *a, struct str s, struct str *ret);
void id_arena_done(
    struct id_arena *a); /* frees all but blocks above 1 KiB, which the owner drops */

/* Zeroed, page-aligned address space for n rows of `size` bytes; memory is used
 * only where it is touched. NULL: out of address space or overflow. */
void *rows_map(size_t n, size_t size);
void rows_unmap(void *p, size_t n, size_t size); /* accepts NULL */
