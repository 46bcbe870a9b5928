/* What a shortlist is ordered by: a linear model and a small network over its columns, summed,
 * learned online from what users did next (listwise softmax cross-entropy; ListNet with one
 * relevant item, Cao et al. 2007).
 *
 * Columns are standardised by running means and variances. Shared by all threads: they read
 * the weights while one of them steps (Hogwild); who finds another stepping keeps its
 * gradient for the next case. */
#pragma once

#include "model/regions.h"
#include "model/shortlist.h"

struct ranker;
int ranker_new(uint64_t seed, struct ranker **ret);
void ranker_free(struct ranker *r);
DEFINE_CLEANUP(struct ranker, ranker_free)

/* One thread's passes and gradients. */
struct ranking;
int ranking_new(const struct ranker *r, struct ranking **ret);
void ranking_free(struct ranking *k);
DEFINE_CLEANUP(struct ranking, ranking_free)

/* Scores of the shortlist's candidates, float[n], borrowed until the next call. */
const float *ranker_score(const struct ranker *r, struct ranking *k, const struct shortlist *s);
/* The user took candidate `target`; call after ranker_score with the same shortlist. */
void ranker_learn(struct ranker *r, struct ranking *k, const struct shortlist *s, uint32_t target,
                  struct rng *rng);
/* The cross-entropy's derivative by each candidate's score, share - (candidate is target), with
 * most of the small ones left out and the others of them raised, so that the mean of every one is
 * as it was. share: softmax of the scores, float[n]; ret_row, ret_slope: [n]. Returns how many
 * there are. */
uint32_t ranker_thin(const float *share, uint32_t n, uint32_t target, struct rng *rng,
                     uint32_t *ret_row, float *ret_slope);
/* Whether the next case should be learned from: each one at first, a share of them later, when
 * there are more than enough. */
bool ranker_wants(const struct ranker *r, struct ranking *k);

/* All it learned as a durable record, taken while nobody steps. 0, -ENOMEM, or -EDOM when a weight
 * is not finite. What threads have gathered and not stepped yet is not in it. */
int ranker_encode(struct ranker *r, struct buf *out);
/* 0, -ENOMEM, -EPROTO (made of other columns), -EBADMSG; then it stays as it was. [structural] */
int ranker_restore(struct ranker *r, const void *p, size_t n);
/* The memory of its state, and of what a thread has gathered; see regions.h. */
void ranker_regions(struct ranker *r, struct regions *s);
void ranking_regions(struct ranking *k, struct regions *s);
/* Whether it learned since last asked. */
bool ranker_changed(struct ranker *r);

uint64_t ranker_cases(const struct ranker *r); /* learned from */
double ranker_loss(const struct ranker *r);    /* running mean of the cross-entropy, nats */
/* Weight of a column in the linear part: what one standard deviation adds to the score. */
float ranker_weight(const struct ranker *r, uint32_t column);
