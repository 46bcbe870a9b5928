/* The arithmetic of the hot path: one table of kernels per instruction set, chosen
 * once. Every table gives the same bits: element i always goes to partial sum
 * i % 16, every multiply-add is fused, and the sixteen sums are folded in one order,
 * so that what is learned does not depend on the machine.
 *
 * Other threads may change item rows while a kernel reads them (Hogwild, Recht et
 * al. 2011): a torn row is noise to the learning. Kernels are therefore not
 * instrumented by the thread sanitizer; scalars shared the same way go through
 * load_relaxed and store_relaxed below. */
#pragma once

#include "model/base.h"

/* Reads and writes of shared weights that are not atomic on purpose. */
#define HOGWILD __attribute__((no_sanitize("thread")))

struct kernels {
    const char *name;
    /* sum of x[i]·y[i] */
    float (*dot)(size_t n, const float *x, const float *y);
    /* y = x */
    void (*copy)(size_t n, const float *x, float *y);
    /* y += a·x */
    void (*axpy)(size_t n, float a, const float *x, float *y);
    /* y = a·x + b·y */
    void (*axpby)(size_t n, float a, const float *x, float b, float *y);
    /* y[r] = dot(m[r], x), m row-major float[rows][n] */
    void (*matvec)(size_t rows, size_t n, const float *m, const float *x, float *y);
    /* y += sum over r of x[r]·m[r] */
    void (*matvec_t)(size_t rows, size_t n, const float *m, const float *x, float *y);
    /* m[r] = a·x[r]·y + b·m[r] */
    void (*rank1)(size_t rows, size_t n, float a, const float *x, const float *y, float b,
                  float *m);
    /* c[i][j] += sum over p < k of a[i·ai + p·ap]·b[p][j] for i < m, j < n: one chain of fused
     * multiply-adds in order of p. n is a multiple of 16; rows of b and c are ldb and ldc
     * floats apart. With ai = 1 it is aᵀ·b. For matrices that fit in cache. */
    void (*matmul)(size_t m, size_t n, size_t k, const float *a, size_t ai, size_t ap,
                   const float *b, size_t ldb, float *c, size_t ldc);
    /* ret[i] += sum over j < n of x[i][at + j]·(b[which[i]][j] + sum over p < k of
     * x[i][p]·m[p][j]), for i < rows: forms that are quadratic in x. n is at most 16. */
    void (*forms)(size_t rows, size_t n, size_t k, const float *x, size_t ldx, size_t at,
                  const float *m, size_t ldm, const float *b, size_t ldb, const uint16_t *which,
                  float *ret);
    /* Writes to ret, in order, every i with score[i] + base[i] >= least; at most `max`. Returns
     * how many; *ret_next is where to go on, n at the end. Never one whose sum is NaN. */
    size_t (*select)(size_t n, const float *score, const float *base, float least, uint32_t *ret,
                     size_t max, size_t *ret_next);
    /* Of each column of c, float[m][n], which row is highest, counted from 1, the first of equal
     * ones; 0 where none is above 0. n is a multiple of 16; a NaN is never the highest. */
    void (*highest)(size_t m, size_t n, const float *c, uint32_t *ret);
};

/* The best table for this machine. */
const struct kernels *kernels_best(void);
/* All tables this machine can run, the reference first; returns how many. */
size_t kernels_all(const struct kernels *ret[static 3]);

static inline float load_relaxed(const float *p) {
    float v;
    __atomic_load(p, &v, __ATOMIC_RELAXED);
    return v;
}

static inline void store_relaxed(float *p, float v) {
    __atomic_store(p, &v, __ATOMIC_RELAXED);
}
