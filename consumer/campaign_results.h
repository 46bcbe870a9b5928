/* `beckon campaigns results`: what beckon:campaign:{ID} says of every campaign. */
#pragma once

#include "consumer/options.h"
#include "policy/policy.h"

/* Prints them as a table, or `json`; an exit code. */
int campaign_results(const struct config *cfg, const struct policy_set *set, bool json);
