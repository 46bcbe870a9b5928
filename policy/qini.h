/* How well a score ranks people by what a treatment does to them, measured on people whose
 * treatment was drawn by chance: uplift and Qini curves, the areas under them, and bootstrap
 * intervals. Pure.
 *
 * The first `share` of people by falling score have N_t treated with outcomes Y_t and N_c not
 * treated with Y_c. Per person of all N, N_T of them treated:
 *   uplift curve  (Y_t / N_t - Y_c / N_c) * share          (Jaskowski, Jaroszewicz 2012)
 *   Qini curve    (Y_t - Y_c N_t / N_c) / N_T              (Radcliffe 2007)
 * Both end at the average effect. AUUC is the area under the first; the Qini coefficient the area
 * between the second and the straight line to its end, which is what a random order earns. People
 * of one score stand in no order: between the ends of their group the curves are straight. */
#pragma once

#include "model/base.h"
#include "policy/stats.h"

enum { QINI_POINTS = 101, QINI_SCORES_MAX = 8 }; /* curves at 0 %, 1 %, …, 100 % of people */

/* Each score ranks the same people. Arrays are borrowed. */
struct qini_people {
    size_t n;
    const double *outcome;
    const bool *treated;
    const double *score[QINI_SCORES_MAX]; /* [n] each, finite */
    size_t n_scores;
};

struct qini_estimate {
    double value;
    struct interval range; /* percentile bootstrap over people */
};

struct qini_result {
    double curve[QINI_POINTS], low[QINI_POINTS], high[QINI_POINTS]; /* Qini, pointwise */
    double uplift[QINI_POINTS];
    struct qini_estimate qini, auuc;
    struct qini_estimate ahead; /* Qini coefficient less that of score 0, over the same people */
};

struct qini_config {
    double level;
    uint32_t resamples;
    uint64_t seed;
};

/* Fills ret[people->n_scores]. 0, -EINVAL (a score is not finite, too many scores), -ENODATA
 * (nobody treated or nobody not), -ENOMEM. */
int qini_measure(const struct qini_people *people, const struct qini_config *c,
                 struct qini_result *ret);
