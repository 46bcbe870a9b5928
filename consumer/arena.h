/* Memory that is released all at once: what decoding has to copy lives here until the
 * batch is done. Under AddressSanitizer each piece is an allocation of its own, so that
 * overflows inside are seen. */
#pragma once

#include "model/base.h"

struct arena_chunk;
struct arena {
    struct arena_chunk *chunks; /* newest first */
    size_t used;                /* of the newest */
};

/* `n` bytes aligned for any type, or NULL when out of memory. */
void *arena_get(struct arena *a, size_t n);
/* A copy with a NUL behind it (not counted); p is NULL when out of memory. */
struct str arena_copy(struct arena *a, struct str s);
void arena_reset(struct arena *a); /* everything handed out becomes invalid; keeps one chunk */
void arena_free(struct arena *a);
