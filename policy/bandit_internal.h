/* What choosing needs of a bandit's posterior. */
#pragma once

#include "model/kernels.h"
#include "policy/bandit.h"

struct bandit {
    struct bandit_config c;
    const struct kernels *k;
    struct ridge sums, delta;
    struct ridge_fit fit;
    uint64_t refreshed;
    size_t own_ld;     /* own, padded to the lanes of matmul */
    float *mean_own;   /* [own] */
    float *cov_own;    /* A⁻¹ of own × own, float[own][own_ld]; LinUCB */
    float *cov_cross;  /* of own × shared, float[own][shared] */
    float *cov_shared; /* of shared × shared */
    float *draws;      /* draws of θo, float[own][draws] */
    double *scratch;   /* double[dim][dim] for refreshing */
};

struct bandit_room {
    float *score;  /* float[arms_max][MAX(draws, own_ld)] */
    float *mean;   /* float[arms_max] */
    double *p;     /* double[arms_max + 1] */
    float *vector; /* float[MAX(dim, draws)] */
    /* Of arms that others are like, side by side: what they share with those,
     * float[arms_max][own], and its products, as `score`. */
    float *first, *first_score;
    uint16_t *at; /* uint16_t[arms_max]: which of `first` an arm is like */
};
