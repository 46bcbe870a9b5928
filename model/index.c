#include "model/index.h"

#include <sys/mman.h>

enum { INDEX_MIN = 64, ARENA_CHUNK = 64 * 1024, ARENA_GRAIN = 8, ARENA_MAX = 1024 };

static struct id_slot *slots_new(uint64_t n) {
    struct id_slot *s = malloc(n * sizeof *s);
    if (s)
        memset(s, 0xff, n * sizeof *s);
    return s;
}

int id_index_init(struct id_index *x, uint64_t seed,
                  struct str (*id_of)(const void *owner, uint32_t row), const void *owner) {
    *x = (struct id_index){.seed = seed, .id_of = id_of, .owner = owner, .mask = INDEX_MIN - 1};
    x->slots = slots_new(INDEX_MIN);
    return x->slots ? 0 : -ENOMEM;
}

void id_index_done(struct id_index *x) {
    free(x->slots);
    *x = (struct id_index){0};
}

/* Slot of the id, or of the empty slot that ends its run. */
static uint64_t slot_of(const struct id_index *x, struct str id, uint32_t tag) {
    uint64_t i = tag & x->mask;
    while (x->slots[i].row != INDEX_NONE) {
        if (x->slots[i].tag == tag && str_eq(x->id_of(x->owner, x->slots[i].row), id))
            break;
        i = (i + 1) & x->mask;
    }
    return i;
}

uint32_t id_index_find(const struct id_index *x, struct str id) {
    return x->slots[slot_of(x, id, (uint32_t)hash_str(id, x->seed))].row;
}

static void place(struct id_slot *slots, uint64_t mask, struct id_slot s) {
    uint64_t i = s.tag & mask;
    while (slots[i].row != INDEX_NONE)
        i = (i + 1) & mask;
    slots[i] = s;
}

static int grow(struct id_index *x) {
    uint64_t cap = (x->mask + 1) * 2;
    if (cap > (UINT64_C(1) << 32))
        return -ENOMEM; /* a tag tells no more than 2^32 homes apart */
    struct id_slot *s = slots_new(cap);
    if (!s)
        return -ENOMEM;
    for (uint64_t i = 0; i <= x->mask; i++)
        if (x->slots[i].row != INDEX_NONE)
            place(s, cap - 1, x->slots[i]);
    free(x->slots);
    x->slots = s;
    x->mask = cap - 1;
    return 0;
}

int id_index_add(struct id_index *x, struct str id, uint32_t row) {
    if (x->n + 1 > (x->mask + 1) / 4 * 3) {
        int r = grow(x);
        if (r < 0)
            return r;
    }
    place(x->slots, x->mask, (struct id_slot){row, (uint32_t)hash_str(id, x->seed)});
    x->n++;
    return 0;
}

uint32_t id_index_remove(struct id_index *x, struct str id) {
    uint64_t hole = slot_of(x, id, (uint32_t)hash_str(id, x->seed));
    uint32_t row = x->slots[hole].row;
    if (row == INDEX_NONE)
        return row;
    /* Knuth, TAOCP 3, 6.4 algorithm R: move back whatever the hole would cut off. */
    for (uint64_t i = (hole + 1) & x->mask; x->slots[i].row != INDEX_NONE; i = (i + 1) & x->mask) {
        uint64_t home = x->slots[i].tag & x->mask;
        if (((i - home) & x->mask) >= ((i - hole) & x->mask)) {
            x->slots[hole] = x->slots[i];
            hole = i;
        }
    }
    x->slots[hole] = (struct id_slot){INDEX_NONE, UINT32_MAX};
    x->n--;
    return row;
}

size_t id_index_bytes(const struct id_index *x) {
    return (x->mask + 1) * sizeof *x->slots;
}

static size_t class_bytes(size_t n) {
    return (n + ARENA_GRAIN - 1) / ARENA_GRAIN * ARENA_GRAIN;
}

void *id_arena_take(struct id_arena *a, size_t n) {
    if (n == 0)
        n = 1;
    if (n > ARENA_MAX)
        return malloc(n);
    size_t bytes = class_bytes(n), class = bytes / ARENA_GRAIN - 1;
    void *p = a->free_list[class];
    if (p) {
        memcpy(&a->free_list[class], p, sizeof p);
        return p;
    }
    if (a->left < bytes) {
        uint8_t *chunk = malloc(ARENA_CHUNK);
        if (!chunk)
            return NULL;
        memcpy(chunk, &a->chunks, sizeof a->chunks);
        a->chunks = chunk;
        a->next = chunk + ARENA_GRAIN;
        a->left = ARENA_CHUNK - ARENA_GRAIN;
        a->bytes += ARENA_CHUNK;
    }
    p = a->next;
    a->next += bytes;
    a->left -= bytes;
    return p;
}

void id_arena_drop(struct id_arena *a, const void *p, size_t n) {
    if (!p)
        return;
    if (n == 0)
        n = 1;
    void *q = (void *)(uintptr_t)p;
    if (n > ARENA_MAX) {
        free(q);
        return;
    }
    size_t class = class_bytes(n) / ARENA_GRAIN - 1;
    memcpy(q, &a->free_list[class], sizeof(void *));
    a->free_list[class] = q;
}

bool id_arena_copy(struct id_arena *a, struct str s, struct str *ret) {
    *ret = (struct str){0};
    if (s.n == 0)
        return true;
    char *p = id_arena_take(a, s.n);
    if (!p)
        return false;
    memcpy(p, s.p, s.n);
    *ret = (struct str){p, s.n};
    return true;
}

void id_arena_done(struct id_arena *a) {
    void *chunk = a->chunks;
    while (chunk) {
        void *next;
        memcpy(&next, chunk, sizeof next);
        free(chunk);
        chunk = next;
    }
    *a = (struct id_arena){0};
}

void *rows_map(size_t n, size_t size) {
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes == 0)
        return NULL;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

void rows_unmap(void *p, size_t n, size_t size) {
    if (p)
        munmap(p, n * size);
}
