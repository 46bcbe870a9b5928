/* Each element of the product is a chain of fused multiply-adds in one register lane: what
 * an instruction set changes is how many elements are at work at once, never their bits.
 * `a` is read one number at a time and spread over the lanes, so that its strides are free
 * and a transposed `a` costs no more. */
#include "model/matmul.h"

#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define HOGWILD __attribute__((no_sanitize("thread")))

HOGWILD void matmul_c(MATMUL_ARGS) {
    for (size_t i = 0; i < m; i++)
        for (size_t p = 0; p < k; p++)
            for (size_t j = 0; j < n; j++)
                c[i * ldc + j] = fmaf(a[i * ai + p * ap], b[p * ldb + j], c[i * ldc + j]);
}

#if defined(__x86_64__)

enum { ROWS_MAX = 8, COLS_MAX = 8 };

#define UNROLL _Pragma("GCC unroll 8")

/* R rows by C vectors of the product, kept in registers while p runs. */
#define BLOCK(isa, vec, load, store, spread, fma)                                                  \
    HOGWILD static inline __attribute__((always_inline)) void block_##isa(                         \
        size_t R, size_t C, size_t k, const float *a, size_t ai, size_t ap, const float *b,        \
        size_t ldb, float *c, size_t ldc) {                                                        \
        enum { W = sizeof(vec) / sizeof(float) };                                                  \
        vec s[ROWS_MAX][COLS_MAX];                                                                 \
        UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t q = 0; q < C; q++) s[r][q] =      \
            load(c + r * ldc + q * W);                                                             \
        for (size_t p = 0; p < k; p++) {                                                           \
            vec bq[COLS_MAX];                                                                      \
            UNROLL for (size_t q = 0; q < C; q++) bq[q] = load(b + p * ldb + q * W);               \
            UNROLL for (size_t r = 0; r < R; r++) {                                                \
                vec x = spread(a[r * ai + p * ap]);                                                \
                UNROLL for (size_t q = 0; q < C; q++) s[r][q] = fma(x, bq[q], s[r][q]);            \
            }                                                                                      \
        }                                                                                          \
        UNROLL for (size_t r = 0; r < R; r++) UNROLL for (size_t q = 0; q < C; q++)                \
            store(c + r * ldc + q * W, s[r][q]);                                                   \
    }

/* Takes `cols` columns of c from j on; tall blocks first, single rows last. */
#define PANEL(isa, R, C, cols)                                                                     \
    for (; j + (cols) <= n; j += (cols)) {                                                         \
        size_t i = 0;                                                                              \
        for (; i + (R) <= m; i += (R))                                                             \
            block_##isa(R, C, k, a + i * ai, ai, ap, b + j, ldb, c + i * ldc + j, ldc);            \
        for (; i + 2 <= m; i += 2)                                                                 \
            block_##isa(2, C, k, a + i * ai, ai, ap, b + j, ldb, c + i * ldc + j, ldc);            \
        if (i < m)                                                                                 \
            block_##isa(1, C, k, a + i * ai, ai, ap, b + j, ldb, c + i * ldc + j, ldc);            \
    }

/* The only row: as many vectors side by side as registers hold, because each waits for its own last
 * sum. */
#define ONE_ROW_OF(isa, C)                                                                         \
    case C:                                                                                        \
        block_##isa(1, C, k, a, ai, ap, b + j, ldb, c + j, ldc);                                   \
        break;
#define ONE_ROW(isa, W)                                                                            \
    for (size_t cols; m == 1 && j < n; j += cols * W) {                                            \
        cols = MIN((n - j) / W, COLS_MAX);                                                         \
        switch (cols) {                                                                            \
            ONE_ROW_OF(isa, 1)                                                                     \
            ONE_ROW_OF(isa, 2)                                                                     \
            ONE_ROW_OF(isa, 3)                                                                     \
            ONE_ROW_OF(isa, 4)                                                                     \
            ONE_ROW_OF(isa, 5)                                                                     \
            ONE_ROW_OF(isa, 6)                                                                     \
            ONE_ROW_OF(isa, 7)                                                                     \
            ONE_ROW_OF(isa, 8)                                                                     \
        }                                                                                          \
    }

#define AVX2 __attribute__((target("avx2,fma")))
AVX2 BLOCK(avx2, __m256, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps)

AVX2 HOGWILD void matmul_avx2(MATMUL_ARGS) {
    size_t j = 0;
    ONE_ROW(avx2, 8)
    PANEL(avx2, 3, 4, 32)
    PANEL(avx2, 5, 2, 16)
}

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))
AVX512 BLOCK(avx512, __m512, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_set1_ps, _mm512_fmadd_ps)

AVX512 HOGWILD void matmul_avx512(MATMUL_ARGS) {
    size_t j = 0;
    ONE_ROW(avx512, 16)
    PANEL(avx512, 6, 4, 64)
    PANEL(avx512, 8, 2, 32)
    PANEL(avx512, 8, 1, 16)
}

#endif
