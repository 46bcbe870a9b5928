/* The marketing team's file: YAML to a compiled policy_set, with every fault named by line and
 * key. policy/README.md says what each key means, deploy/campaigns.yaml shows them. */
#pragma once

#include "consumer/options.h"
#include "consumer/yaml_walk.h"
#include "policy/policy.h"

/* Reads cfg->policy_campaigns (empty: the empty set). Faults go to stderr, all at once. 0, -EINVAL,
 * -errno. */
int campaign_file_load(const struct config *cfg, struct policy_set **ret);
int campaign_text_load(const struct config *cfg, const char *name, const char *text, size_t n,
                       struct policy_set **ret);

/* The same, where a text cannot name other files, with the faults left to the caller, by line, in
 * w->fault; free with walk_free whatever is returned. */
int campaign_file_check(const struct config *cfg, const char *path, struct yaml_walk *w,
                        struct policy_set **ret);
int campaign_text_check(const struct config *cfg, const char *text, size_t n, struct yaml_walk *w,
                        struct policy_set **ret);
/* Faults on stderr, as `name:line: key: what is wrong and what to write`. */
void campaign_faults_print(const char *name, const struct yaml_walk *w);
