/* The memory that a model's parts keep their state in, told by themselves: what image.h makes
 * durable byte for byte. A part names all that a later event may depend on, and no pointers. */
#pragma once

#include "model/base.h"

enum { REGIONS_MAX = 96 };

struct region {
    void *p;          /* NULL: not there yet */
    size_t used, cap; /* bytes; used <= cap, what is beyond is zero or means nothing */
    bool one;         /* a number by itself */
};

struct regions {
    uint32_t n;
    uint64_t layout; /* stands for the order, widths and meaning of all */
    struct region r[REGIONS_MAX];
};

/* `width` bytes a row, `used` rows of `cap`. */
static inline void regions_add(struct regions *s, void *p, size_t width, size_t used, size_t cap) {
    s->layout = hash_bytes(&width, sizeof width, s->layout);
    if (s->n < REGIONS_MAX)
        s->r[s->n] = (struct region){p, p ? width * used : 0, width * cap, false};
    s->n++;
}

/* One thing, always there. */
static inline void regions_add_one(struct regions *s, void *p, size_t width) {
    regions_add(s, p, width, 1, 1);
    s->layout++;
    if (s->n <= REGIONS_MAX)
        s->r[s->n - 1].one = true;
}

#define regions_one(s, x) regions_add_one((s), (x), sizeof *(x))
