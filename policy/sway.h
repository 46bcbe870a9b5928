/* Whom an offer changes: a treatment-effect learner (policy/uplift.h) that chooses for a group, so
 * that coupons do not go to those who buy anyway. Treatments are depths of discount; nothing is the
 * control. The depth that changes the user most for the better is taken, or nothing, and of its
 * offers the one that the group's bandit expects most of. Now and then any depth is taken, so that
 * propensities are true: they are those of the depth, as the offer is certain then. Effects count
 * as the mean of the learner's and what the bandit expects beyond nothing: the first is right where
 * the second is bent, and varies more. Until effects are known the bandit's stand in for them.
 *
 * Thread: the caller's to guard; any number may choose while nobody learns. */
#pragma once

#include "policy/policy.h"

struct sway;
int sway_new(struct sway **ret); /* 0 or -ENOMEM */
void sway_free(struct sway *s);
DEFINE_CLEANUP(struct sway, sway_free)

/* mean[i]: what the bandit expects of arm i beyond nothing; explore: share of decisions spread
 * evenly over depths. Remembers which arm nothing was chosen instead of. */
void sway_choose(const struct sway *s, const struct arms *arms, const float *mean, double explore,
                 struct rng *rng, struct choice *ret);
/* False: nothing was learned, as it was decided otherwise. */
bool sway_learn(struct sway *s, const struct outcome *o);
void sway_refresh(struct sway *s, int64_t now_ms); /* or decide by the old effects */

/* Samples of this process, as a block of model/block.h. -ENOMEM. */
int sway_encode(const struct sway *s, struct buf *out);
/* Samples by sway_encode of `who`, 0: of this process; they replace what was known of it, and n 0
 * forgets it. 0, -EBADMSG or -ENOMEM, and nothing changed. */
int sway_restore(struct sway *s, uint64_t who, const void *p, size_t n, int64_t now_ms);
