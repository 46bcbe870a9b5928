#include "consumer/arena.h"

#include <stdalign.h>

enum { CHUNK = 64 * 1024 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size;
    alignas(max_align_t) uint8_t data[];
};

#if defined(__SANITIZE_ADDRESS__)
static const size_t smallest = 0;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
static const size_t smallest = 0;
#else
static const size_t smallest = CHUNK;
#endif
#else
static const size_t smallest = CHUNK;
#endif

void *arena_get(struct arena *a, size_t n) {
    if (n > SIZE_MAX / 2)
        return NULL;
    size_t room = (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
    if (!a->chunks || !smallest || room > a->chunks->size - a->used) {
        size_t size = smallest ? MAX(room, smallest) : n;
        struct arena_chunk *c = malloc(sizeof *c + size);
        if (!c)
            return NULL;
        c->size = size;
        c->next = a->chunks;
        a->chunks = c;
        a->used = 0;
    }
    void *p = a->chunks->data + a->used;
    a->used += smallest ? room : n;
    return p;
}

struct str arena_copy(struct arena *a, struct str s) {
    char *p = arena_get(a, s.n + 1);
    if (!p)
        return (struct str){0};
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return (struct str){p, s.n};
}

static void free_chunks(struct arena_chunk *c) {
    while (c) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
}

void arena_reset(struct arena *a) {
    if (!smallest || (a->chunks && a->chunks->size > CHUNK)) {
        arena_free(a);
    } else if (a->chunks) {
        free_chunks(a->chunks->next);
        a->chunks->next = NULL;
    }
    a->used = 0;
}

void arena_free(struct arena *a) {
    free_chunks(a->chunks);
    *a = (struct arena){0};
}
