/* What a partition knows of experiments, hold-outs and fairness: who was exposed and what came of
 * it, which hold-outs are in use, how often people of each kind could have got a campaign and did.
 * Durable with the partition (policy_shard_encode); all partitions of a process add up.
 *
 * An experiment is met right after the hold-outs, when a campaign that it is about could go to a
 * user for the first time: that is his exposure. Whatever he buys within the experiment's window
 * from then on counts for his arm, whether a message was sent or not; when the window closes it is
 * added to the arm's counts, once, with what he had spent before as covariate.
 *
 * What is in use cannot change: a hold-out's share and salt, an experiment's arms, shares, layer,
 * window and meaning are noted with the partition when they first decide about somebody, and a
 * partition with other notes than the file is not taken over (-EKEYREJECTED).
 *
 * Fairness, the last guard: of a campaign's candidates (moments at which all other guards let it
 * pass) a share is sent to people of each value of an attribute. A group that gets certainly more
 * than `high` times the rest waits (withhold) until it is within bounds, or the campaign stops
 * (pause) once any group is certainly out of them, for good: another bound begins new counts.
 * Each partition judges by its own counts. People whose attribute is not known are not counted. */
#pragma once

#include "policy/experiment.h"
#include "policy/fairness.h"
#include "policy/spec.h"

/* A campaign's own hold-out tells what the campaign earns: it is an experiment, too, named
 * "holdout/ID", of the arms `holdout` and `rest`, over the campaign's window. It is met at the
 * guard of hold-outs; it comes after those of the file. */

/* All partitions of this process. */
struct experiment_sums {
    struct experiment_state state;
    double exposed[EXPERIMENT_ARMS_MAX]; /* users; those of `state` have closed windows */
};

/* Those of the file, then campaigns' hold-outs. */
size_t policy_experiments(const struct policy_set *s);
const struct experiment_arms *policy_experiment(const struct policy_set *s, size_t i);
/* Thread: any. */
void policy_experiment_sums(const struct policy_set *s, size_t i, struct experiment_sums *ret);
/* Arms that are stopped, a bit each. A stop is durable once a partition met the arm again; it
 * holds in this process at once. Only an experiment with `stop` heeds it. Thread: any. */
uint32_t policy_experiment_stopped(const struct policy_set *s, size_t i);
void policy_experiment_stop(const struct policy_set *s, size_t i, uint32_t arms);
/* The arms of a user in all experiments about a campaign, as "ID:ARM,ID:ARM"; cut to fit. */
void policy_arms_print(const struct policy_set *s, size_t campaign, struct str user, char *ret,
                       size_t n);

/* The experiment that tells what a campaign earns: its hold-out, or else the first whose control
 * does not get it; *ret_arm: the arm that does. -1: nothing tells. */
int policy_campaign_study(const struct policy_set *s, size_t campaign, size_t *ret_arm);

/* Whether `next` changes what partitions of `s` have in use: names it in ret[n]. Thread: any. */
bool policy_set_conflicts(const struct policy_set *s, const struct policy_set *next, char *ret,
                          size_t n);
