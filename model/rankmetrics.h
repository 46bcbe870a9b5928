/* How good lists are, measured against what people then did: hit rate, recall, precision,
 * reciprocal rank and NDCG at several list lengths, with bootstrap intervals; and what the
 * lists are made of: how much of the catalogue they reach, how evenly, how well known it is. */
#pragma once

#include "model/base.h"

enum { RANK_KS_MAX = 8, RANK_GROUPS = 256 };

enum rank_metric {
    RANK_HIT,       /* 1 if any relevant item is among the first k */
    RANK_RECALL,    /* share of the relevant items among the first k */
    RANK_PRECISION, /* share of the k places that hold a relevant item */
    RANK_MRR,       /* 1 / place of the first relevant item, 0 beyond k */
    RANK_NDCG, /* sum of 1 / log2(1 + place) over the largest possible (Järvelin, Kekäläinen 2002)
                */
    RANK_METRICS
};
const char *rank_metric_name(enum rank_metric m); /* "hit", "recall", … */

struct rankmetrics;

/* Metrics at 1..RANK_KS_MAX list lengths, each above 0. 0, -EINVAL, -ENOMEM. */
int rankmetrics_new(const uint32_t *k, size_t n_k, struct rankmetrics **ret);
void rankmetrics_free(struct rankmetrics *m);
DEFINE_CLEANUP(struct rankmetrics, rankmetrics_free)

/* One case: a list of `list_n` items and the places (from 1) of the n_relevant items that
 * would have been right; 0 or beyond list_n: not in the list. `group`: hash of the user,
 * because the cases of one user are not independent. Nothing for n_relevant 0. */
void rankmetrics_add(struct rankmetrics *m, uint64_t group, const uint32_t *places,
                     size_t n_relevant, uint32_t list_n);
/* Notes a list of n rows, best first. `info`: of each row, its self-information, -log2 of its
 * share of all events (Zhou et al. 2010); NULL: none. 0, -ENOMEM. */
int rankmetrics_listed(struct rankmetrics *m, const uint32_t *rows, const float *info, size_t n);
/* Adds the cases and lists of `from`, of the same list lengths. 0, -EINVAL, -ENOMEM. */
int rankmetrics_merge(struct rankmetrics *to, const struct rankmetrics *from);

uint64_t rankmetrics_cases(const struct rankmetrics *m);
/* Of the lists cut to the i-th length: distinct rows; how often one stood there; how unevenly
 * the places went to the `catalogue` rows there are (Gini: 0 all alike, 1 all to one; NAN without
 * a list); mean self-information of a place (NAN without one). */
uint64_t rankmetrics_covered(const struct rankmetrics *m, size_t i);
uint64_t rankmetrics_times(const struct rankmetrics *m, size_t i, uint32_t row);
double rankmetrics_gini(const struct rankmetrics *m, size_t i, uint64_t catalogue);
double rankmetrics_novelty(const struct rankmetrics *m, size_t i);
/* Mean over all cases at the i-th list length; NAN without a case. */
double rankmetrics_value(const struct rankmetrics *m, enum rank_metric metric, size_t i);

struct rank_interval {
    double low, high;
};
/* Percentile bootstrap (Efron 1979) over RANK_GROUPS groups of users: `level` of the
 * resampled means lie within. Same seed, same interval. NANs without a case. */
struct rank_interval rankmetrics_interval(const struct rankmetrics *m, enum rank_metric metric,
                                          size_t i, double level, uint32_t resamples,
                                          uint64_t seed);
/* The same of the difference a - b over the same cases: its groups are drawn for both at
 * once, so that what makes cases easy or hard for both cancels out. */
struct rank_interval rankmetrics_difference(const struct rankmetrics *a,
                                            const struct rankmetrics *b, enum rank_metric metric,
                                            size_t i, double level, uint32_t resamples,
                                            uint64_t seed);

/* Place of `target` when n items are sorted by score, best first: ties stand before it, so
 * that a model that scores all alike gets no credit; so does whatever is NAN. */
uint32_t rank_place(const float *scores, size_t n, size_t target);
