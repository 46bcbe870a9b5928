/* What choosing needs of a bandit's posterior. */
#pragma once

#include "model/kernels.h"
#include "policy/bandit.h"

enum { BANDIT_LANES = 16 }; /* of matmul */

static inline size_t bandit_padded(size_t n) {
    return (n + BANDIT_LANES - 1) / BANDIT_LANES * BANDIT_LANES;
}

struct bandit {
    struct bandit_config c;
    const struct kernels *k;
    struct ridge sums, delta;
    struct ridge solved; /* the sums that the posterior is of, */
    int64_t solved_ms;   /* and as of when */
    struct ridge_fit fit;
    uint64_t refreshed;
    size_t own_ld, shared_ld; /* padded to the lanes of matmul */
    float *mean_own;          /* [own] */
    float *cov_own;           /* A⁻¹ of own × own, float[own][own_ld]; LinUCB */
    /* Of shared × shared, only blocks on and above the diagonal and the latter twice, and twice
     * that of shared × own: float[shared][shared_ld + own_ld] */
    float *cov_shared;
    float *draws;    /* draws of θo, float[own][draws] */
    double *scratch; /* double[dim][dim] for refreshing */
};

/* Arms that are alike are weighed once for what they share, and then by the columns in which they
 * lie apart. */
struct bandit_room {
    float *score;        /* float[arms_max][draws]; Thompson */
    float *first_score;  /* float[arms_max][draws or own_ld], of what arms share */
    float *first;        /* float[arms_max][own]: what arms share, zero where they lie apart */
    float *first_square; /* float[arms_max] */
    uint16_t *at;        /* uint16_t[arms_max]: which of `first` an arm is like */
    float *mean;         /* float[arms_max] */
    float *square;       /* float[arms_max] */
    double *p;           /* double[arms_max + 1] */
    float *vector;       /* float[MAX(shared_ld + own_ld, draws)] */
    uint32_t *which;     /* [draws]: the best arm of each */
};

/* n zeros, and a whole cache line begins with the first. NULL: memory is out. */
float *bandit_floats(size_t n);
