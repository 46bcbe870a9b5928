/* A bandit (policy/bandit.h) taught the first rounds of a log, as a policy to be valued by the
 * others. */
#pragma once

#include "policy/bandit.h"
#include "policy/ope.h"

struct ope_bandit;

/* Learns rounds [0, learn) of `log`, which must outlive it. An action is a column of its own, with
 * what is known of the round beside it, and crossed with it where there is room. `nothing`: which
 * action is none; n_actions: the log has no such, and the bandit must choose among the others.
 * 0, -EINVAL (more actions than RIDGE_DIM_MAX), -EDOM or -ENOMEM. */
int ope_bandit_new(const struct ope_log *log, size_t learn, enum bandit_kind kind, size_t nothing,
                   uint64_t seed, struct ope_bandit **ret);
void ope_bandit_free(struct ope_bandit *b);
DEFINE_CLEANUP(struct ope_bandit, ope_bandit_free)

/* An ope_policy over the rounds from `learn` on, round 0 being the first of them; `arg` is a
 * struct ope_bandit. Thread: one at a time. */
void ope_bandit_choose(const void *arg, size_t i, double *ret_p);
