/* What a recommender has to beat: textbook ones, exact, bounded by neither memory nor time. They
 * share nothing with the model. Items and owners are the caller's numbers, small ones, because
 * tables are as long as the largest; an owner is a session or a user: whose events belong
 * together.
 *
 *   popularity     events per item
 *   recent …       the same, halved every hour or day
 *   item-kNN       sum over the owner's items i of cos(i, j) = c_ij / sqrt(c_i c_j), c counting
 *                  owners (Sarwar et al. 2001)
 *   session-kNN    V-SKNN (Ludewig and Jannach 2018): of the 1000 owners who most recently took
 *                  up one of the owner's items, the 100 most similar; an owner's items weigh by
 *                  their place, first 1/n, last 1; a neighbour's items gain its similarity, over
 *                  the distance of the newest item in common */
#pragma once

#include "model/base.h"

enum baseline {
    BASELINE_POPULARITY,
    BASELINE_RECENT_HOUR,
    BASELINE_RECENT_DAY,
    BASELINE_ITEM_KNN,
    BASELINE_SESSION_KNN,
    BASELINES
};
const char *baseline_name(enum baseline b);

struct baselines;
int baselines_new(struct baselines **ret);
void baselines_free(struct baselines *b);
DEFINE_CLEANUP(struct baselines, baselines_free)

/* One event goes into the owner's history and, with `learn`, into what all others get. In order of
 * time. -ENOMEM. */
int baselines_event(struct baselines *b, uint32_t owner, uint32_t item, int64_t time_ms,
                    bool learn);

struct baseline_list {
    uint32_t n;
    uint32_t *items; /* room for as many as were asked for, the caller's */
    uint32_t place;  /* of the target, from 1; 0: not among those asked for. All of one score stand
                      * in the place of the last of them. */
};
/* The best n items for an owner without those in `out`, and where `target` is. Items without a
 * score are not listed. -ENOMEM. */
int baselines_rank(struct baselines *b, enum baseline kind, uint32_t owner, const uint32_t *out,
                   size_t n_out, uint32_t target, uint32_t n, struct baseline_list *ret);
