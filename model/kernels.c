#include "model/kernels.h"
#include "model/matmul.h"

#include <math.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum { LANES = 16 };

/* ---- reference ------------------------------------------------------------- */

HOGWILD static float fold(float s[LANES]) {
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            s[i] += s[i + half];
    return s[0];
}

HOGWILD static float dot_c(size_t n, const float *x, const float *y) {
    float s[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        s[i % LANES] = fmaf(x[i], y[i], s[i % LANES]);
    return fold(s);
}

/* A loop, because memcpy is instrumented. */
HOGWILD static void copy_c(size_t n, const float *x, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = x[i];
}

HOGWILD static void axpy_c(size_t n, float a, const float *x, float *y) {
    for (size_t i = 0; i < n; i++)
        y[i] = fmaf(a, x[i], y[i]);
}

HOGWILD static void axpby_c(size_t n, float a, const float *x, float b, float *y) {
    for (size_t i = 0; i < n; i++) {
        float scaled = b * y[i];
        y[i] = fmaf(a, x[i], scaled);
    }
}

HOGWILD static size_t select_c(size_t n, const float *score, const float *base, float least,
                               uint32_t *ret, size_t max, size_t *ret_next) {
    size_t k = 0, i = 0;
    for (; i < n && k < max; i++)
        if (score[i] + base[i] >= least)
            ret[k++] = (uint32_t)i;
    *ret_next = i;
    return k;
}

HOGWILD static void forms_c(size_t rows, size_t n, size_t k, const float *x, size_t ldx, size_t at,
                            const float *m, size_t ldm, const float *b, size_t ldb,
                            const uint16_t *which, float *ret) {
    for (size_t i = 0; i < rows; i++, x += ldx) {
        float s[LANES] = {0};
        for (size_t j = 0; j < n; j++) {
            float t = b[which[i] * ldb + j];
            for (size_t p = 0; p < k; p++)
                t = fmaf(x[p], m[p * ldm + j], t);
            s[j] = x[at + j] * t;
        }
        ret[i] += fold(s);
    }
}

HOGWILD static void highest_c(size_t m, size_t n, const float *c, uint32_t *ret) {
    for (size_t j = 0; j < n; j++) {
        float most = 0;
        ret[j] = 0;
        for (size_t i = 0; i < m; i++)
            if (c[i * n + j] > most) {
                most = c[i * n + j];
                ret[j] = (uint32_t)i + 1;
            }
    }
}

/* The matrix kernels are rows of the vector ones; this gives each table its own,
 * so that the inner calls inline. */
#define MATRIX_KERNELS(isa, ...)                                                                   \
    __VA_ARGS__ HOGWILD static void matvec_##isa(size_t rows, size_t n, const float *m,            \
                                                 const float *x, float *y) {                       \
        size_t r = 0;                                                                              \
        for (; r + 4 <= rows; r += 4)                                                              \
            four_dots_##isa(n, m + r * n, x, y + r);                                               \
        for (; r < rows; r++)                                                                      \
            y[r] = dot_##isa(n, m + r * n, x);                                                     \
    }                                                                                              \
    __VA_ARGS__ HOGWILD static void matvec_t_##isa(size_t rows, size_t n, const float *m,          \
                                                   const float *x, float *y) {                     \
        for (size_t r = 0; r < rows; r++)                                                          \
            axpy_##isa(n, x[r], m + r * n, y);                                                     \
    }                                                                                              \
    __VA_ARGS__ HOGWILD static void rank1_##isa(size_t rows, size_t n, float a, const float *x,    \
                                                const float *y, float b, float *m) {               \
        for (size_t r = 0; r < rows; r++)                                                          \
            axpby_##isa(n, a *x[r], y, b, m + r * n);                                              \
    }                                                                                              \
    static const struct kernels table_##isa = {                                                    \
        .name = #isa,                                                                              \
        .dot = dot_##isa,                                                                          \
        .copy = copy_##isa,                                                                        \
        .axpy = axpy_##isa,                                                                        \
        .axpby = axpby_##isa,                                                                      \
        .matvec = matvec_##isa,                                                                    \
        .matvec_t = matvec_t_##isa,                                                                \
        .rank1 = rank1_##isa,                                                                      \
        .matmul = matmul_##isa,                                                                    \
        .forms = forms_##isa,                                                                      \
        .select = select_##isa,                                                                    \
        .highest = highest_##isa,                                                                  \
    };

HOGWILD static void four_dots_c(size_t n, const float *m, const float *x, float *y) {
    for (size_t r = 0; r < 4; r++)
        y[r] = dot_c(n, m + r * n, x);
}

MATRIX_KERNELS(c)

#if defined(__x86_64__)

/* ---- AVX2 ------------------------------------------------------------------ */

#define AVX2 __attribute__((target("avx2,fma")))

AVX2 HOGWILD static inline float fold8(__m256 s) {
    __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    q = _mm_add_ps(q, _mm_movehl_ps(q, q));
    return _mm_cvtss_f32(_mm_add_ss(q, _mm_movehdup_ps(q)));
}

AVX2 HOGWILD static inline __m256i tail_mask(size_t left) {
    const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)left), lane);
}

AVX2 HOGWILD static inline float dot_avx2(size_t n, const float *x, const float *y) {
    __m256 lo = _mm256_setzero_ps(), hi = lo;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        lo = _mm256_fmadd_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i), lo);
        hi = _mm256_fmadd_ps(_mm256_loadu_ps(x + i + 8), _mm256_loadu_ps(y + i + 8), hi);
    }
    if (i < n) {
        __m256i k = tail_mask(n - i);
        lo = _mm256_fmadd_ps(_mm256_maskload_ps(x + i, k), _mm256_maskload_ps(y + i, k), lo);
        if (n - i > 8) {
            k = tail_mask(n - i - 8);
            hi = _mm256_fmadd_ps(_mm256_maskload_ps(x + i + 8, k), _mm256_maskload_ps(y + i + 8, k),
                                 hi);
        }
    }
    return fold8(_mm256_add_ps(lo, hi));
}

/* The sums of four rows, folded side by side. */
AVX2 HOGWILD static inline __m128 fold_four_avx2(const __m256 *lo, const __m256 *hi) {
    __m256 s[4];
    for (size_t r = 0; r < 4; r++)
        s[r] = _mm256_add_ps(lo[r], hi[r]);
    __m256 a = _mm256_add_ps(_mm256_permute2f128_ps(s[0], s[2], 0x20),
                             _mm256_permute2f128_ps(s[0], s[2], 0x31));
    __m256 b = _mm256_add_ps(_mm256_permute2f128_ps(s[1], s[3], 0x20),
                             _mm256_permute2f128_ps(s[1], s[3], 0x31));
    a = _mm256_add_ps(_mm256_unpacklo_ps(a, b),
                      _mm256_unpackhi_ps(a, b)); /* rows 0 1 0 1, 2 3 2 3 */
    __m128 low = _mm256_castps256_ps128(a), high = _mm256_extractf128_ps(a, 1);
    return _mm_add_ps(_mm_movelh_ps(low, high), _mm_movehl_ps(high, low));
}

AVX2 HOGWILD static inline void four_dots_avx2(size_t n, const float *m, const float *x, float *y) {
    __m256 lo[4], hi[4];
    for (size_t r = 0; r < 4; r++)
        lo[r] = hi[r] = _mm256_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t r = 0; r < 4; r++) {
            const float *row = m + r * n + i;
            lo[r] = _mm256_fmadd_ps(_mm256_loadu_ps(row), _mm256_loadu_ps(x + i), lo[r]);
            hi[r] = _mm256_fmadd_ps(_mm256_loadu_ps(row + 8), _mm256_loadu_ps(x + i + 8), hi[r]);
        }
    if (i < n) {
        __m256i k = tail_mask(n - i), k8 = tail_mask(n - i > 8 ? n - i - 8 : 0);
        for (size_t r = 0; r < 4; r++) {
            const float *row = m + r * n + i;
            lo[r] =
                _mm256_fmadd_ps(_mm256_maskload_ps(row, k), _mm256_maskload_ps(x + i, k), lo[r]);
            hi[r] = _mm256_fmadd_ps(_mm256_maskload_ps(row + 8, k8),
                                    _mm256_maskload_ps(x + i + 8, k8), hi[r]);
        }
    }
    _mm_storeu_ps(y, fold_four_avx2(lo, hi));
}

AVX2 HOGWILD static inline void copy_avx2(size_t n, const float *x, float *y) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i, _mm256_loadu_ps(x + i));
    copy_c(n - i, x + i, y + i);
}

AVX2 HOGWILD static inline void axpy_avx2(size_t n, float a, const float *x, float *y) {
    __m256 va = _mm256_set1_ps(a);
    size_t i = 0;
    for (; i + 8 <= n; i += 8)
        _mm256_storeu_ps(y + i,
                         _mm256_fmadd_ps(va, _mm256_loadu_ps(x + i), _mm256_loadu_ps(y + i)));
    if (i < n) {
        __m256i k = tail_mask(n - i);
        _mm256_maskstore_ps(
            y + i, k,
            _mm256_fmadd_ps(va, _mm256_maskload_ps(x + i, k), _mm256_maskload_ps(y + i, k)));
    }
}

AVX2 HOGWILD static inline void axpby_avx2(size_t n, float a, const float *x, float b, float *y) {
    __m256 va = _mm256_set1_ps(a), vb = _mm256_set1_ps(b);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256 scaled = _mm256_mul_ps(vb, _mm256_loadu_ps(y + i));
        _mm256_storeu_ps(y + i, _mm256_fmadd_ps(va, _mm256_loadu_ps(x + i), scaled));
    }
    if (i < n) {
        __m256i k = tail_mask(n - i);
        __m256 scaled = _mm256_mul_ps(vb, _mm256_maskload_ps(y + i, k));
        _mm256_maskstore_ps(y + i, k, _mm256_fmadd_ps(va, _mm256_maskload_ps(x + i, k), scaled));
    }
}

AVX2 HOGWILD static size_t select_avx2(size_t n, const float *score, const float *base, float least,
                                       uint32_t *ret, size_t max, size_t *ret_next) {
    __m256 t = _mm256_set1_ps(least);
    size_t k = 0, i = 0;
    for (; i + 8 <= n && k + 8 <= max; i += 8) {
        __m256 s = _mm256_add_ps(_mm256_loadu_ps(score + i), _mm256_loadu_ps(base + i));
        unsigned hit = (unsigned)_mm256_movemask_ps(_mm256_cmp_ps(s, t, _CMP_GE_OQ));
        for (; hit; hit &= hit - 1)
            ret[k++] = (uint32_t)(i + (size_t)__builtin_ctz(hit));
    }
    size_t next;
    size_t more = select_c(n - i, score + i, base + i, least, ret + k, max - k, &next);
    for (size_t j = 0; j < more; j++)
        ret[k + j] += (uint32_t)i;
    *ret_next = i + next;
    return k + more;
}

AVX2 HOGWILD static void forms_avx2(size_t rows, size_t n, size_t k, const float *x, size_t ldx,
                                    size_t at, const float *m, size_t ldm, const float *b,
                                    size_t ldb, const uint16_t *which, float *ret) {
    __m256i k0 = tail_mask(n), k8 = tail_mask(n > 8 ? n - 8 : 0);
    size_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * ldx) {
        __m256 lo[4], hi[4];
        for (size_t r = 0; r < 4; r++) {
            lo[r] = _mm256_maskload_ps(b + which[i + r] * ldb, k0);
            hi[r] = _mm256_maskload_ps(b + which[i + r] * ldb + 8, k8);
        }
        for (size_t p = 0; p < k; p++) {
            __m256 low = _mm256_maskload_ps(m + p * ldm, k0);
            __m256 high = _mm256_maskload_ps(m + p * ldm + 8, k8);
            for (size_t r = 0; r < 4; r++) {
                __m256 v = _mm256_set1_ps(x[r * ldx + p]);
                lo[r] = _mm256_fmadd_ps(v, low, lo[r]);
                hi[r] = _mm256_fmadd_ps(v, high, hi[r]);
            }
        }
        for (size_t r = 0; r < 4; r++) {
            lo[r] = _mm256_mul_ps(lo[r], _mm256_maskload_ps(x + r * ldx + at, k0));
            hi[r] = _mm256_mul_ps(hi[r], _mm256_maskload_ps(x + r * ldx + at + 8, k8));
        }
        __m128 sums = fold_four_avx2(lo, hi);
        _mm_storeu_ps(ret + i, _mm_add_ps(_mm_loadu_ps(ret + i), sums));
    }
    forms_c(rows - i, n, k, x, ldx, at, m, ldm, b, ldb, which + i, ret + i);
}

/* Two vectors side by side, because each comparison waits for the last. */
AVX2 HOGWILD static void highest_avx2(size_t m, size_t n, const float *c, uint32_t *ret) {
    for (size_t j = 0; j < n; j += LANES) {
        __m256 most[2] = {_mm256_setzero_ps(), _mm256_setzero_ps()}, who[2] = {most[0], most[0]};
        for (size_t i = 0; i < m; i++) {
            __m256 row = _mm256_castsi256_ps(_mm256_set1_epi32((int)i + 1));
            for (size_t q = 0; q < 2; q++) {
                __m256 s = _mm256_loadu_ps(c + i * n + j + 8 * q);
                __m256 more = _mm256_cmp_ps(s, most[q], _CMP_GT_OQ);
                most[q] = _mm256_blendv_ps(most[q], s, more);
                who[q] = _mm256_blendv_ps(who[q], row, more);
            }
        }
        _mm256_storeu_si256((__m256i *)(ret + j), _mm256_castps_si256(who[0]));
        _mm256_storeu_si256((__m256i *)(ret + j + 8), _mm256_castps_si256(who[1]));
    }
}

MATRIX_KERNELS(avx2, AVX2)

/* ---- AVX-512 --------------------------------------------------------------- */

#define AVX512 __attribute__((target("avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")))

AVX512 HOGWILD static inline float fold16(__m512 s) {
    return fold8(_mm256_add_ps(_mm512_castps512_ps256(s), _mm512_extractf32x8_ps(s, 1)));
}

AVX512 HOGWILD static inline float dot_avx512(size_t n, const float *x, const float *y) {
    __m512 s = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        s = _mm512_fmadd_ps(_mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i), s);
    if (i < n) {
        __mmask16 k = (__mmask16)((1u << (n - i)) - 1);
        s = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, x + i), _mm512_maskz_loadu_ps(k, y + i),
                                  s, k);
    }
    return fold16(s);
}

/* The sums of four rows, folded side by side. */
AVX512 HOGWILD static inline __m128 fold_four_avx512(const __m512 *s) {
    __m512 a = _mm512_add_ps(_mm512_shuffle_f32x4(s[0], s[2], 0x44),
                             _mm512_shuffle_f32x4(s[0], s[2], 0xee));
    __m512 b = _mm512_add_ps(_mm512_shuffle_f32x4(s[1], s[3], 0x44),
                             _mm512_shuffle_f32x4(s[1], s[3], 0xee));
    /* quarters: rows 0 2 and 1 3 */
    __m512 c = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x88), _mm512_shuffle_f32x4(a, b, 0xdd));
    c = _mm512_add_ps(c, _mm512_permute_ps(c, 0x4e));
    c = _mm512_add_ps(c, _mm512_permute_ps(c, 0xb1)); /* in each quarter the sum: 0 2 1 3 */
    __m512i pick = _mm512_castsi128_si512(_mm_setr_epi32(0, 8, 4, 12));
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(pick, c));
}

AVX512 HOGWILD static inline void four_dots_avx512(size_t n, const float *m, const float *x,
                                                   float *y) {
    __m512 s[4];
    for (size_t r = 0; r < 4; r++)
        s[r] = _mm512_setzero_ps();
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t r = 0; r < 4; r++)
            s[r] = _mm512_fmadd_ps(_mm512_loadu_ps(m + r * n + i), _mm512_loadu_ps(x + i), s[r]);
    if (i < n) {
        __mmask16 k = (__mmask16)((1u << (n - i)) - 1);
        for (size_t r = 0; r < 4; r++)
            s[r] = _mm512_mask3_fmadd_ps(_mm512_maskz_loadu_ps(k, m + r * n + i),
                                         _mm512_maskz_loadu_ps(k, x + i), s[r], k);
    }
    _mm_storeu_ps(y, fold_four_avx512(s));
}

AVX512 HOGWILD static void forms_avx512(size_t rows, size_t n, size_t k, const float *x, size_t ldx,
                                        size_t at, const float *m, size_t ldm, const float *b,
                                        size_t ldb, const uint16_t *which, float *ret) {
    __mmask16 some = (__mmask16)((1u << n) - 1);
    size_t i = 0;
    for (; i + 4 <= rows; i += 4, x += 4 * ldx) {
        __m512 s[4];
        for (size_t r = 0; r < 4; r++)
            s[r] = _mm512_maskz_loadu_ps(some, b + which[i + r] * ldb);
        for (size_t p = 0; p < k; p++) {
            __m512 row = _mm512_maskz_loadu_ps(some, m + p * ldm);
            for (size_t r = 0; r < 4; r++)
                s[r] = _mm512_fmadd_ps(_mm512_set1_ps(x[r * ldx + p]), row, s[r]);
        }
        for (size_t r = 0; r < 4; r++)
            s[r] = _mm512_mul_ps(s[r], _mm512_maskz_loadu_ps(some, x + r * ldx + at));
        __m128 sums = fold_four_avx512(s);
        _mm_storeu_ps(ret + i, _mm_add_ps(_mm_loadu_ps(ret + i), sums));
    }
    forms_c(rows - i, n, k, x, ldx, at, m, ldm, b, ldb, which + i, ret + i);
}

AVX512 HOGWILD static inline void copy_avx512(size_t n, const float *x, float *y) {
    size_t i = 0;
    for (; i + 16 <= n; i += 16)
        _mm512_storeu_ps(y + i, _mm512_loadu_ps(x + i));
    copy_c(n - i, x + i, y + i);
}

AVX512 HOGWILD static inline void axpy_avx512(size_t n, float a, const float *x, float *y) {
    __m512 va = _mm512_set1_ps(a);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        _mm512_storeu_ps(y + i,
                         _mm512_fmadd_ps(va, _mm512_loadu_ps(x + i), _mm512_loadu_ps(y + i)));
    if (i < n) {
        __mmask16 k = (__mmask16)((1u << (n - i)) - 1);
        __m512 s =
            _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(k, x + i), _mm512_maskz_loadu_ps(k, y + i));
        _mm512_mask_storeu_ps(y + i, k, s);
    }
}

AVX512 HOGWILD static inline void axpby_avx512(size_t n, float a, const float *x, float b,
                                               float *y) {
    __m512 va = _mm512_set1_ps(a), vb = _mm512_set1_ps(b);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        __m512 scaled = _mm512_mul_ps(vb, _mm512_loadu_ps(y + i));
        _mm512_storeu_ps(y + i, _mm512_fmadd_ps(va, _mm512_loadu_ps(x + i), scaled));
    }
    if (i < n) {
        __mmask16 k = (__mmask16)((1u << (n - i)) - 1);
        __m512 scaled = _mm512_mul_ps(vb, _mm512_maskz_loadu_ps(k, y + i));
        _mm512_mask_storeu_ps(y + i, k,
                              _mm512_fmadd_ps(va, _mm512_maskz_loadu_ps(k, x + i), scaled));
    }
}

AVX512 HOGWILD static size_t select_avx512(size_t n, const float *score, const float *base,
                                           float least, uint32_t *ret, size_t max,
                                           size_t *ret_next) {
    __m512 t = _mm512_set1_ps(least);
    size_t k = 0, i = 0;
    for (; i + LANES <= n && k + LANES <= max; i += LANES) {
        __m512 s = _mm512_add_ps(_mm512_loadu_ps(score + i), _mm512_loadu_ps(base + i));
        unsigned hit = _mm512_cmp_ps_mask(s, t, _CMP_GE_OQ);
        for (; hit; hit &= hit - 1)
            ret[k++] = (uint32_t)(i + (size_t)__builtin_ctz(hit));
    }
    size_t next;
    size_t more = select_c(n - i, score + i, base + i, least, ret + k, max - k, &next);
    for (size_t j = 0; j < more; j++)
        ret[k + j] += (uint32_t)i;
    *ret_next = i + next;
    return k + more;
}

AVX512 HOGWILD static inline void highest_of(size_t m, size_t n, size_t vectors, const float *c,
                                             uint32_t *ret) {
    __m512 most[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    __m512i who[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (size_t i = 0; i < m; i++)
        for (size_t q = 0; q < vectors; q++) {
            __m512 s = _mm512_loadu_ps(c + i * n + LANES * q);
            __mmask16 more = _mm512_cmp_ps_mask(s, most[q], _CMP_GT_OQ);
            most[q] = _mm512_mask_mov_ps(most[q], more, s);
            who[q] = _mm512_mask_set1_epi32(who[q], more, (int)i + 1);
        }
    for (size_t q = 0; q < vectors; q++)
        _mm512_storeu_si512(ret + LANES * q, who[q]);
}

AVX512 HOGWILD static void highest_avx512(size_t m, size_t n, const float *c, uint32_t *ret) {
    size_t j = 0;
    for (; j + 2 * LANES <= n; j += 2 * LANES)
        highest_of(m, n, 2, c + j, ret + j);
    if (j < n)
        highest_of(m, n, 1, c + j, ret + j);
}

MATRIX_KERNELS(avx512, AVX512)

#endif

size_t kernels_all(const struct kernels *ret[static 3]) {
    size_t n = 0;
    ret[n++] = &table_c;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        ret[n++] = &table_avx2;
    if (n == 2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw"))
        ret[n++] = &table_avx512;
#endif
    return n;
}

const struct kernels *kernels_best(void) {
    const struct kernels *all[3];
    return all[kernels_all(all) - 1];
}
