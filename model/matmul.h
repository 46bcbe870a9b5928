/* The product of small matrices, one for each table of model/kernels.h; not to be called but
 * through it. */
#pragma once

#include "model/base.h"

#define MATMUL_ARGS                                                                                \
    size_t m, size_t n, size_t k, const float *a, size_t ai, size_t ap, const float *b,            \
        size_t ldb, float *c, size_t ldc

void matmul_c(MATMUL_ARGS);
#if defined(__x86_64__)
void matmul_avx2(MATMUL_ARGS);
void matmul_avx512(MATMUL_ARGS);
#endif
