/* What a treatment does to whom: a doubly robust learner (Kennedy 2023, "Towards optimal doubly
 * robust estimation of heterogeneous causal effects") that learns as decisions are answered.
 *
 * Per arm an outcome model mu_a(x), per treatment t an effect model tau_t(x); all are ridge
 * regressions from sums (policy/ridge.h), so that they merge between processes. What sample
 * (x, a, y) tells of t is
 *   mu_t(x) - mu_0(x) + [a = t] (y - mu_t(x)) / p_t - [a = 0] (y - mu_0(x)) / p_0
 * whose mean given x is the effect if the propensities p are true, however wrong mu is, or if mu is
 * right, however wrong p. Effects differ little from person to person: how much the effect model
 * shrinks towards one effect for all is chosen by its evidence at each refresh.
 *
 * Thread: one at a time changes it; any number may estimate while nobody does. */
#pragma once

#include "policy/ridge.h"

enum { UPLIFT_ARMS_MAX = 16 };

struct uplift_config {
    uint32_t columns;     /* of x; x[0] is 1, others of about unit scale; at most RIDGE_DIM_MAX */
    uint32_t arms;        /* 0 is the control, arms - 1 treatments */
    uint64_t features;    /* what the columns mean */
    int64_t half_life_ms; /* 0: nothing is forgotten */
    double least_p;       /* propensities below count as this; (0, 1) */
    double warm;          /* samples of an arm before its outcome model is believed */
};

struct uplift_config uplift_defaults(uint32_t columns, uint32_t arms);

struct uplift;
int uplift_new(const struct uplift_config *c, struct uplift **ret);
void uplift_free(struct uplift *u);
DEFINE_CLEANUP(struct uplift, uplift_free)

struct uplift_sample {
    const float *x;  /* float[columns] */
    uint32_t arm;    /* the one he got */
    double y;        /* what came of it */
    const double *p; /* double[arms]: probability of each */
    double weight;   /* > 0 */
    int64_t time_ms;
};

/* Online. Each sample is first told to the effect models, by outcome models that have not seen it,
 * and then to its arm's outcome model; so no model corrects itself by its own residuals. Effects
 * learn nothing until control and treatment are warm. False, and nothing learned, if something is
 * not finite or out of bounds. */
bool uplift_learn(struct uplift *u, const struct uplift_sample *s);
/* All models use what they were told from now on. 0 or -EDOM, see ridge_solve. */
int uplift_refresh(struct uplift *u, int64_t now_ms);
/* At once, replacing what was learned: each of `folds` parts, drawn by seed, tells the effect
 * models by outcome models made from the others (Chernozhukov et al. 2018). Refreshed as of the
 * newest sample. 0, -EINVAL (folds below 2, or a sample as uplift_learn refuses it) or -EDOM. */
int uplift_fit(struct uplift *u, const struct uplift_sample *s, size_t n, uint32_t folds,
               uint64_t seed);

/* Mean and standard deviation of the effect of a treatment, 1 <= t < arms, and the expected
 * outcome of an arm. As of the last refresh; before one all is 0. */
void uplift_effect(const struct uplift *u, const float *x, uint32_t t, double *ret_mean,
                   double *ret_sd);
double uplift_outcome(const struct uplift *u, const float *x, uint32_t arm);

/* Forgets the sums, not the models of the last refresh: what is learned from now on is a delta that
 * others may merge. */
void uplift_clear(struct uplift *u);
/* All sums, as a block of model/block.h. Restoring replaces, merging adds; -EBADMSG when damaged or
 * of another shape, and nothing has changed. Refresh afterwards. */
int uplift_encode(const struct uplift *u, struct buf *out);
int uplift_restore(struct uplift *u, const void *p, size_t n, size_t *ret_n);
int uplift_merge(struct uplift *u, const void *p, size_t n, size_t *ret_n);
