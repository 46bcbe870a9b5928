/* What every room shares: borrowed strings, ownership helpers, hashing, random
 * numbers. The lowest header of the program; includes nothing of ours. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A borrowed run of bytes, not NUL-terminated. Valid as long as its owner says. */
struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})

static inline struct str str_of(const char *z) {
    return (struct str){z, z ? strlen(z) : 0};
}

static inline bool str_eq(struct str a, struct str b) {
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Orders by bytes, then by length: the order of every deterministic tie. */
static inline int str_cmp(struct str a, struct str b) {
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n ? memcmp(a.p, b.p, n) : 0;
    return c ? c : (a.n > b.n) - (a.n < b.n);
}

/* Scope-bound ownership: `autofree(table_free) struct table *t = …` calls
 * table_free(t) on every way out unless `TAKE(t)` moved it away. */
#define autofree(fn) __attribute__((cleanup(fn##_p)))
#define DEFINE_CLEANUP(type, fn)                                                                   \
    static inline void fn##_p(type **p) {                                                          \
        fn(*p);                                                                                    \
    }
#define TAKE(p)                                                                                    \
    ({                                                                                             \
        __auto_type take_p_ = &(p);                                                                \
        __auto_type take_v_ = *take_p_;                                                            \
        *take_p_ = NULL;                                                                           \
        take_v_;                                                                                   \
    })

static inline void free_p(void *p) {
    free(*(void **)p);
}

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* 64-bit hash of bytes under a seed (XXH3, Yann Collet, xxhash 0.8). Seeds of
 * tables that hold outside input are random per process; seeds that decide
 * anything durable (experiments, trigger ids) are configuration. */
uint64_t hash_bytes(const void *p, size_t n, uint64_t seed);

static inline uint64_t hash_str(struct str s, uint64_t seed) {
    return hash_bytes(s.p, s.n, seed);
}

/* xoshiro256** (Blackman and Vigna 2018): one per owner, never shared. */
struct rng {
    uint64_t s[4];
};

void rng_seed(struct rng *r, uint64_t seed); /* splitmix64 expansion */
uint64_t rng_u64(struct rng *r);
uint32_t rng_below(struct rng *r, uint32_t n); /* in [0, n), n > 0, unbiased (Lemire 2019) */
double rng_unit(struct rng *r);                /* in [0, 1), 53 bits */
double rng_normal(struct rng *r);              /* standard normal (Marsaglia polar) */

/* A growing byte buffer; `n` bytes used. Zero-initialised is empty. Appending
 * fails sticky: once out of memory `failed` stays set and appends do nothing,
 * so a writer checks once at its end. */
struct buf {
    uint8_t *p;
    size_t n, cap;
    bool failed;
};

void buf_reset(struct buf *b); /* n = 0, keeps memory */
void buf_free(struct buf *b);
void buf_put(struct buf *b, const void *p, size_t n);
