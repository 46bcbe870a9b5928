/* Which items' lists of similar ones are to be written, and when: as soon as an item is touched,
 * but no more often than every `interval`. What is touched meanwhile is written when that is over,
 * so that no list is behind for longer. One thread. */
#pragma once

#include "model/base.h"

/* First in, first out. */
struct due_ring {
    struct due_entry {
        uint32_t row;
        int64_t since_ms;
    } * v;
    size_t first, n, cap; /* cap: a power of two */
};

struct due {
    uint8_t *state; /* per item row */
    uint32_t rows;
    struct due_ring waiting, resting; /* resting: written less than an interval ago */
};

/* Zeroed is empty. */
void due_free(struct due *d);
/* Without memory it is left out until the next time. */
void due_touch(struct due *d, uint32_t row);
/* Every row that was ever touched is to be written now. */
void due_all(struct due *d);
/* Up to `max` rows whose lists are to be written now; they count as written. */
size_t due_take(struct due *d, int64_t now_ms, int64_t interval_ms, uint32_t *ret, size_t max);
