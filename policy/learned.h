/* A bandit (policy/bandit.h) as the policy of a group: shared by all threads of the process, and
 * by all processes in that each one's samples are kept apart and added up by the others. */
#pragma once

#include "policy/spec.h"

struct learned;
/* For egreedy, linucb, thompson or squarecb; -ENOTSUP for others, -ENOMEM. */
int learned_new(enum policy_method m, uint64_t seed, struct learned **ret);
void learned_free(struct learned *l);
DEFINE_CLEANUP(struct learned, learned_free)
/* Its `self` is a struct learned. */
extern const struct policy_kind policy_learned;

/* The samples of this process, whole. Thread: any. 0 or -ENOMEM; *ret_samples: how many it took
 * since it was made. */
int learned_encode(struct learned *l, struct buf *out, uint64_t *ret_samples);
/* Samples written by learned_encode: of this process before it was restarted (`mine`: they go on
 * to be its own), or another's. Each once. 0, -EBADMSG or -EINVAL (other columns). */
int learned_restore(struct learned *l, bool mine, const void *p, size_t n);
