/* Experiments as people see them: what each process counts goes into its tally as sums that add up,
 * and the totals of all become beckon:experiment:{ID}. */
#pragma once

#include "consumer/tally.h"
#include "policy/evidence.h"

/* This process's sums of experiment i. */
void experiment_view_put(const struct policy_set *set, size_t i, struct tally *own);
/* The totals that `all` adds up to, read back. */
void experiment_view_sums(const struct policy_set *set, size_t i, struct tally *all,
                          struct experiment_sums *ret);
/* What a campaign earns by the experiment that tells (policy_campaign_study), into its own hash:
 * per user, in the experiment's metric, against those who do not get it. Nothing if none tells. */
void experiment_view_campaign(const struct policy_set *set, size_t campaign, struct tally *all,
                              struct tally *ret);
/* What they prove, as fields for people; returns arms that are to be stopped, a bit each. */
uint32_t experiment_view_results(const struct policy_set *set, size_t i,
                                 const struct experiment_sums *sums, struct tally *ret);
