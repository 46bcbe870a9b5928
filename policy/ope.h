/* Off-policy evaluation: what would a policy have earned, judged from the log of another one that
 * wrote down its propensities? Estimators as in the Open Bandit Pipeline (Saito et al. 2021), each
 * with a standard error, a percentile bootstrap and a studentized (bootstrap-t) interval, and with
 * warnings when support or weights make the answer worthless. Pure. */
#pragma once

#include "model/base.h"
#include "policy/linear.h"

/* A log of rounds. One round is one decision at one position: a slate of three places is three
 * rounds, each with the propensity of its action at its place. Arrays are borrowed. */
struct ope_log {
    size_t n, n_actions, n_positions; /* n_positions >= 1 */
    const uint32_t *action;           /* [n], below n_actions */
    const uint32_t *position;         /* [n], below n_positions; NULL: all 0 */
    const double *reward;             /* [n] */
    const double *propensity;         /* [n], of the logged action at its position; above 0 */
    const uint64_t *group;            /* [n], rounds of one group are not independent; NULL: own */
    struct sparse context;            /* n rows; dim 0: none */
    struct sparse trait;              /* n_actions rows of features of actions; dim 0: none */
};

/* The policy in question: writes its probability of each action in round i. They add up to 1. */
typedef void ope_policy(const void *arg, size_t i, double *ret_p);

/* What the estimators average over. */
struct ope_round {
    double reward;
    double weight;     /* policy's probability of the logged action / propensity */
    double model;      /* the reward model's value of the logged action */
    double model_mean; /* and its mean over the policy's actions */
    double lost;       /* policy's probability of actions never logged at that position */
    uint32_t position;
    uint64_t group;
};

struct ope_model_config {
    double penalty; /* of the reward model, linear.h */
    uint32_t
        folds; /* each round is valued by a model that did not see it; below 2: by one of all */
    uint64_t seed;
};

/* Fits the reward model, position, action, action at position, context, action by context and
 * traits of the action being its features (logistic when all rewards are 0 or 1, else ridge), and
 * fills rounds[log->n].
 * 0, -EINVAL (see ope_log), -ENOMEM. */
int ope_rounds(const struct ope_log *log, ope_policy *policy, const void *arg,
               const struct ope_model_config *c, struct ope_round *rounds);

/* Whether logged propensities agree with how often actions were chosen. Where an action is open in
 * every round, the mean of [it was chosen] / propensity is 1, whatever the propensities depend on.
 * Actions are pooled by their propensity, and what bins are off by, in standard errors, is squared
 * and added up. *ret: how much more that is than chance makes it, in standard deviations (chi
 * squared as Wilson and Hilferty 1931 have it); chance hardly ever exceeds OPE_CALIBRATED. 0 or
 * -ENOMEM. */
#define OPE_CALIBRATED 4.0
int ope_calibration(const struct ope_log *log, double *ret);

enum ope_estimator {
    OPE_DM,    /* direct method: mean of model_mean */
    OPE_IPS,   /* inverse propensity: mean of w r (Horvitz, Thompson 1952; Strehl et al. 2010) */
    OPE_SNIPS, /* sum of w r / sum of w (Swaminathan, Joachims 2015) */
    OPE_DR,    /* mean of model_mean + w (r - model) (Dudík et al. 2014) */
    OPE_SWITCH_DR, /* DR, but the model alone where w > tau (Wang et al. 2017) */
    OPE_ESTIMATORS
};
const char *ope_estimator_name(enum ope_estimator e); /* "dm", "ips", … */

struct ope_config {
    double clip;        /* no weight counts as more; 0: no bound */
    double tau;         /* of Switch-DR */
    double level;       /* of the intervals, as .95 */
    uint32_t resamples; /* of the bootstrap */
    uint64_t seed;
};

struct ope_estimate {
    double value, se;
    double low, high;           /* studentized bootstrap (Efron, Tibshirani 1993, 12.5) */
    double boot_low, boot_high; /* percentile bootstrap */
};

enum ope_warning {
    OPE_NO_SUPPORT = 1 << 0,    /* over 1 % of the policy's probability on actions never logged */
    OPE_FEW_EFFECTIVE = 1 << 1, /* effective sample below 100, or below 1 % of the rounds */
    OPE_HEAVY_ROUND = 1 << 2,   /* one group of rounds has over 5 % of all weight */
    OPE_BAD_WEIGHTS = 1 << 3,   /* mean weight over 4 standard errors (and 2 %) from 1: propensities
                                   or support are wrong */
    OPE_FEW_REWARDS = 1 << 4,   /* under 10 rounds that weigh have a reward */
    OPE_UNCALIBRATED = 1 << 5,  /* see ope_calibration; ope_estimate does not know */
    OPE_WARNINGS = 6
};
const char *ope_warning_text(enum ope_warning w); /* what it means and what to do */

struct ope_result {
    size_t n, groups;
    double logged, logged_se; /* mean reward of the logging policy */
    struct ope_estimate by[OPE_ESTIMATORS];
    double effective; /* (sum w)^2 / sum w^2 (Kish 1965), of the unclipped weights */
    double weight_mean, weight_mean_se, weight_max, heaviest; /* heaviest: share of a group */
    double lost, clipped; /* shares: of probability without support; of rounds clipped */
    size_t rewarded;      /* rounds with a reward that is not 0 and a weight of .1 or more */
    unsigned warnings;    /* of enum ope_warning */
};

/* Estimates over rounds[n]; `position` below 0: all of them. Groups beyond some thousands are
 * pooled by hash for the bootstrap. Same seed, same result. 0, -ENODATA (no such round), -EINVAL,
 * -ENOMEM. */
int ope_estimate(const struct ope_round *rounds, size_t n, int64_t position,
                 const struct ope_config *c, struct ope_result *ret);
