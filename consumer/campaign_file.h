/* The marketing team's file: YAML to a compiled policy_set, with every fault named by line and key. */
#pragma once

#include "consumer/options.h"
#include "policy/policy.h"

/* Reads cfg->policy_campaigns (empty: the empty set). Faults go to stderr, all at once. 0, -EINVAL, -errno. */
int campaign_file_load(const struct config *cfg, struct policy_set **ret);
int campaign_text_load(const struct config *cfg, const char *name, const char *text, size_t n, struct policy_set **ret);
