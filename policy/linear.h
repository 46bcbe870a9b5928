/* Penalised linear and logistic regression over sparse features: the reward model of off-policy
 * evaluation and the baseline of uplift. Deterministic. */
#pragma once

#include "model/base.h"

/* Compressed rows: row i has the features index[k] with value[k] for start[i] <= k < start[i + 1].
 * Feature 0 is the intercept by convention: it is not penalised, and stands in each row. */
struct sparse {
    size_t n, dim;
    const size_t *start;
    const uint32_t *index;
    const float *value;
};

enum linear_link { LINK_IDENTITY, LINK_LOGIT };

/* Minimises sum over i of weight[i] * loss(y[i], x_i b) + penalty / 2 * |b without b_0|^2, the loss
 * being half the squared error or, for LINK_LOGIT, the log loss (y from 0 to 1), by Newton steps
 * whose equations are solved by conjugate gradients (Lin, Weng, Keerthi 2008).
 *   weight  NULL: 1 each
 *   b       double[x->dim], the start and the result
 * Returns 0, -EINVAL (no rows, penalty not above 0, an index beyond dim, something not finite), or
 * -ENOMEM. */
int linear_fit(const struct sparse *x, const double *y, const double *weight, enum linear_link link,
               double penalty, double *b);

/* x_i b for one row of n features, and as the link has it. */
double linear_score(const double *b, const uint32_t *index, const float *value, size_t n);
double linear_mean(enum linear_link link, double score);
