/* What a treatment does to whom, learned as decisions are answered, in two steps. All models are
 * ridge regressions from sums (policy/ridge.h), so that they merge between processes.
 *
 * Outcomes: mu_a(x) = link(x·base + x·gain_a), gain_0 = 0, one model of all arms. Gains differ
 * little from person to person; how much they shrink towards one gain for all is chosen by the
 * evidence (Bishop 2006, 3.5) at each refresh. A logit link is fitted by weighted least squares
 * of working responses (McCullagh and Nelder 1989, 2.5), each taken at the model of its time.
 *
 * Corrections: per treatment t a regression on x of
 *   [a = t] (y - mu_t(x)) / p_t - [a = 0] (y - mu_0(x)) / p_0
 * whose mean given x is what mu_t - mu_0 lacks of the effect, if the propensities p are true. The
 * effect is mu_t(x) - mu_0(x) and its correction, the doubly robust learner (Kennedy 2023, "Towards
 * optimal doubly robust estimation of heterogeneous causal effects"): right if the p are, however
 * wrong mu, or if mu is. Corrections shrink towards none as the evidence says.
 *
 * Thread: one at a time changes it; any number may estimate while nobody does. */
#pragma once

#include "policy/ridge.h"

enum { UPLIFT_ARMS_MAX = 16 };

enum uplift_link { UPLIFT_LINEAR, UPLIFT_LOGIT }; /* logit: outcomes from 0 to 1 */

struct uplift_config {
    enum uplift_link link;
    uint32_t columns;     /* of x; x[0] is 1, others of about unit scale; columns · arms is at most
                           * RIDGE_DIM_MAX */
    uint32_t arms;        /* 0 is the control, arms - 1 treatments */
    uint64_t features;    /* what the columns mean */
    int64_t half_life_ms; /* 0: nothing is forgotten */
    double least_p;       /* propensities below count as this; (0, 1) */
    double warm;          /* samples per arm before corrections are learned */
};

struct uplift_config uplift_defaults(enum uplift_link link, uint32_t columns, uint32_t arms);

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

/* Online. Each sample is first told to the corrections, by an outcome model that has not seen it,
 * and then to that model. What early samples told stays a correction of the early model: where
 * outcomes bend in ways no column shows, let old samples go by half_life_ms. False, and nothing
 * learned, if something is not finite or out of bounds. */
bool uplift_learn(struct uplift *u, const struct uplift_sample *s);
/* All models use what they were told from now on. 0 or -EDOM, see ridge_solve. */
int uplift_refresh(struct uplift *u, int64_t now_ms);
/* At once, replacing what was learned: each of `folds` parts, drawn by seed, tells the
 * corrections by an outcome model made from the others (Chernozhukov et al. 2018). Refreshed as of
 * the newest sample. 0, -EINVAL (folds below 2, or a sample as uplift_learn refuses it) or -EDOM.
 */
int uplift_fit(struct uplift *u, const struct uplift_sample *s, size_t n, uint32_t folds,
               uint64_t seed);

/* Mean and standard deviation of the effect of a treatment, 1 <= t < arms, and the expected
 * outcome of an arm, as of the last refresh; before one all is 0. The deviation adds those of
 * outcomes (delta method) and correction as if they were independent, which makes it too wide;
 * ret_sd NULL spares most of the work. */
void uplift_effect(const struct uplift *u, const float *x, uint32_t t, double *ret_mean,
                   double *ret_sd);
double uplift_outcome(const struct uplift *u, const float *x, uint32_t arm);

double uplift_samples(const struct uplift *u); /* behind the models, as they weigh */

/* Forgets the sums, not the models of the last refresh: what is learned from now on is a delta that
 * others may merge. */
void uplift_clear(struct uplift *u);
/* All sums, as a block of model/block.h. Restoring replaces, merging adds; -EBADMSG when damaged or
 * of another shape, and nothing has changed. Refresh afterwards. */
int uplift_encode(const struct uplift *u, struct buf *out);
int uplift_restore(struct uplift *u, const void *p, size_t n, size_t *ret_n);
int uplift_merge(struct uplift *u, const void *p, size_t n, size_t *ret_n);
