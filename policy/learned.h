/* A bandit (policy/bandit.h) as the policy of a group: shared by all threads of the process, and
 * by all processes in that each one's samples are kept apart and added up by the others. A process
 * that is gone leaves its samples behind; they stay part of what is known, once, for as long as its
 * record is there. */
#pragma once

#include "policy/spec.h"

struct learned;
/* For egreedy, linucb, thompson, squarecb or uplift; -ENOTSUP for others, -ENOMEM. */
int learned_new(enum policy_method m, uint64_t seed, struct learned **ret);
void learned_free(struct learned *l);
DEFINE_CLEANUP(struct learned, learned_free)
/* Its `self` is a struct learned. */
extern const struct policy_kind policy_learned;

/* ---- for policies that ask it; thread: any ------------------------------------- */
/* The probability of nothing, ret[0], and of each arm, ret[1 + i], if each of these cost so much
 * more than is known. False: memory is out. */
bool learned_probabilities(struct learned *l, const struct arms *arms, double cost, double *ret);
/* Expected reward of a choice, as of the last refresh; own NULL: of nothing. */
double learned_mean(struct learned *l, const float *shared, const float *own);
/* Standard deviation of rewards, and how many were told, by all processes. */
double learned_noise(struct learned *l, double *ret_samples);

/* Share of decisions spread evenly over offers and nothing, before anything is decided. */
void learned_explore(struct learned *l, double share);

/* ---- records ------------------------------------------------------------------- */
/* The samples of this process, whole. Thread: any. 0 or -ENOMEM; *ret_samples: how many it took
 * since it was made. */
int learned_encode(struct learned *l, struct buf *out, uint64_t *ret_samples);
/* Samples written by learned_encode, of `who` (a hash of its name): they replace what was known of
 * that process. 0: of this one before it was restarted; they go on to be its own, and replace what
 * it was told since. n 0: that process's samples are forgotten. Thread: any, while others decide
 * and learn. 0, -EBADMSG, -EINVAL (other columns) or -ENOMEM, and nothing changed. */
int learned_restore(struct learned *l, uint64_t who, const void *p, size_t n);
/* All that its later choices depend on, so that another goes on from it bit by bit: the posterior
 * too, which is older than the samples. Resuming comes after learned_restore. Thread: any. 0,
 * -ENOMEM, or when resuming -EBADMSG or -EDOM; then it is to be made anew. */
int learned_keep(struct learned *l, struct buf *out);
int learned_resume(struct learned *l, const void *p, size_t n);
uint64_t learned_told(struct learned *l); /* outcomes so far */
