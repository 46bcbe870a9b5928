/* One step of stochastic gradient descent on everything an event touches.
 *
 * Score: s(u, i) = <φ·u + t, v_i> + b_i, with v_i and b_i an item's effective vector and bias
 * (items.h) and t the user's intent: the weighted mean of the `in` vectors of the items he met
 * last. LOSS_SQUARED adds the user's own bias. With i the event's item, j_1..j_K the sampled
 * negatives, w the weight:
 *   softmax   w · (log(e^s_i + sum over k of e^s_jk) - s_i)   (sampled softmax, without a
 *             correction for how negatives are drawn; Jean et al. 2015)
 *   BPR       w/K · sum over k of softplus(s_jk - s_i)     (Rendle et al. 2009, eq. 4)
 *   logistic  w · (softplus(-s_i) + 1/K · sum over k of softplus(s_jk))
 *   squared   w/2 · ((s_i - target)² + 1/K · sum over k of s_jk²)
 * A dislike has no negatives: w·softplus(s_i), or the squared loss with target -1. An
 * explicit rating under LOSS_SQUARED has none either.
 *
 * All gradients are taken at the weights before the step. AdaGrad (Duchi et al. 2011)
 * keeps one accumulator per row, of the mean squared gradient (as FBGEMM's row-wise
 * variant for DLRM does). L2 acts on the rows the event touches. */
#pragma once

#include "model/internal.h"

enum { NEGATIVES_MAX = 64 };

/* What a step changes: all of the score's parts, the user's row and φ, or the others. */
enum sgd_side { SGD_BOTH, SGD_USER, SGD_ITEMS };

struct learner {
    struct model *m;
    const struct kernels *k;
    struct rng rng;
    struct learn_stats stats;
    bool frozen;                /* see learner_freeze */
    bool hears;                 /* see learner_hear */
    uint32_t map_due, proj_due; /* steps until φ and P are updated again */
    float *mapped;              /* φ·u */
    float *pull;                /* sum of c_j·v_j: the loss's derivative by φ·u */
    float *grad;                /* its derivative by u */
    float *dense;               /* sum of c_j·dense_j, float[n_dense] */
    uint32_t n_dense;
    /* coefficient of each feature in this step: a sparse set over the feature rows */
    uint32_t *feature_slot;
    uint32_t n_features;
    struct {
        uint32_t feature;
        float c;
    } feature[(NEGATIVES_MAX + 1) * ITEM_FEATURES_MAX];
    struct rank_scratch *rank; /* topn.c */
    struct shortlist *shortlist;
    struct ranking *ranking;
    /* What the user did before the event at hand, newest first: his intent. */
    struct trail_item trail[PROFILE_TRAIL_MAX];
    size_t n_trail;
    enum sgd_side side; /* what a step changes; both unless set */
};

/* φ and P are common to all threads, and large: they are stepped once in so many events. */
enum { MAP_EVERY = 8, PROJ_EVERY = 4 };
/* They also move every user or item at once: slower than rows. */
#define MAP_RATE 0.05f
#define PROJ_RATE 0.1f

/* The user's side of the score: φ·u + the mean of the trail's newest items' intent vectors, the
 * older ones less (u may be NULL: what somebody unknown would want next). */
void sgd_map(const struct learner *l, const struct user *u, const struct trail_item *trail,
             size_t n, float *ret);
/* Learns that the user liked `item` (weight > 0), against sampled negatives, or
 * disliked it (weight < 0). */
void sgd_event(struct learner *l, struct user *u, uint32_t item, float weight);
/* Learns an explicit value in [-1, 1]; LOSS_SQUARED only. */
void sgd_value(struct learner *l, struct user *u, uint32_t item, float weight, float target);
/* The step itself: item[0] is the event's, the others negatives. */
void sgd_step(struct learner *l, struct user *u, const uint32_t *item, uint32_t n, float weight,
              float target, bool dislike);

/* Draws a row by popularity^alpha; ROW_NONE when there is none. */
uint32_t sampler_draw(const struct model *m, struct rng *r);
/* Rebuilds the table from the counts of rows that can be listed. 0, -ENOMEM (the old one
 * stays). [structural] */
int sampler_build(struct model *m);
int sampler_init(struct sampler *s, uint32_t cap); /* 0 or -ENOMEM */
void sampler_done(struct sampler *s);
