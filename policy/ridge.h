/* Ridge regression from sums: what a sample teaches is added, so that what several processes
 * learn is the sum of what each did, and nothing numerical accumulates between one solution
 * and the next. Samples lose half their weight every half-life (forward decay, model/decay.h),
 * in any order of arrival. */
#pragma once

#include "model/base.h"

enum { RIDGE_DIM_MAX = 192 };

struct ridge {
    uint32_t dim;
    int64_t half_life_ms; /* 0: nothing is forgotten */
    uint64_t features;    /* what the columns mean; sums of other columns do not mix */
    /* In units of the epoch: samples, Σ w·y², Σ w·y·x, and the lower triangle of Σ w·x·xᵀ,
     * row by row. */
    uint32_t epoch;
    double n, yy, *xy, *xx;
};

/* What is believed before any sample: θ ~ N(0, noise² · diag(1 / penalty)), and the variance of the
 * noise is noise² as if seen noise_n times; infinite: it is known. */
struct ridge_prior {
    const double *penalty; /* [dim], > 0 */
    double noise, noise_n;
};

/* The posterior of y = xᵀθ + noise. */
struct ridge_fit {
    uint32_t dim;
    double *mean;
    double *chol;    /* lower triangle L of penalties + Σ w·x·xᵀ = L·Lᵀ, row by row */
    double *work;    /* as large as chol */
    double n;        /* samples, as much as they still weigh */
    double noise;    /* standard deviation, see ridge_solve */
    double evidence; /* ln p(samples | prior), up to what is the same for all penalties */
};

/* -EINVAL: dim is 0 or beyond RIDGE_DIM_MAX. */
int ridge_init(struct ridge *r, uint32_t dim, int64_t half_life_ms, uint64_t features);
void ridge_done(struct ridge *r);
void ridge_clear(struct ridge *r);
void ridge_copy(const struct ridge *from, struct ridge *to); /* of one shape */
/* One sample, x float[dim]. False, and nothing learned, if a number is not finite or the weight
 * is not above 0. */
bool ridge_add(struct ridge *r, const float *x, double y, double weight, int64_t time_ms);
/* into += from. -EINVAL when dimension, half-life or features differ. */
int ridge_merge(const struct ridge *from, struct ridge *into);

int ridge_fit_init(struct ridge_fit *f, uint32_t dim);
void ridge_fit_done(struct ridge_fit *f);
/* Solves at a time, by Cholesky in double precision (Bishop 2006, 3.3 and 3.5, with the variance
 * of the noise integrated out by its prior). The noise is the root of the mean of prior noise² and
 * residuals, Σ w·y² - meanᵀ Σ w·y·x, which penalties are part of. 0, or -EDOM when rounding has
 * left no positive definite matrix, and then f is as it was. */
int ridge_solve(const struct ridge *r, const struct ridge_prior *prior, int64_t now_ms,
                struct ridge_fit *f);
/* x = L⁻ᵀ·x from row `from` on: turns independent normals of variance 1 into a draw of the
 * last dim - from coefficients around their mean, in units of the noise. */
void ridge_spread(const struct ridge_fit *f, uint32_t from, double *x);
/* Posterior mean and standard deviation of xᵀθ, without noise; x float[dim]. ret_sd may be NULL,
 * which spares dim²/2 multiplications. */
void ridge_estimate(const struct ridge_fit *f, const float *x, double *ret_mean, double *ret_sd);
/* (L·Lᵀ)⁻¹, double[dim][dim]; times noise² it is the covariance of the coefficients. */
void ridge_inverse(const struct ridge_fit *f, double *ret);

/* A block of model/block.h. */
int ridge_encode(const struct ridge *r, struct buf *out);
/* Replaces the sums. -EBADMSG when damaged or of another shape, and they are as they were. */
int ridge_restore(struct ridge *r, const void *p, size_t n, size_t *ret_n);
