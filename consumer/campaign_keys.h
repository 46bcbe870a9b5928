/* Readers of a campaign's values, and what they fill. */
#pragma once

#include "consumer/options.h"
#include "consumer/yaml_walk.h"
#include "policy/spec.h"

/* One campaign, or the defaults, on the way to a spec. Texts are borrowed from the document. */
struct draft {
    const struct config *cfg;
    struct campaign_spec spec;
    const struct file *file; /* what it may refer to, read before any campaign */
    char *json[OFFERS_MAX];  /* owned: the offers' JSON */
    struct str *audience;    /* owned array */
    const yaml_node_t *node, *ends_node;
    const yaml_node_t **condition; /* owned, beside audience */
};

enum { MONEY_MAX = 1000000, SEGMENTS_MAX = 64, FAIR_LEAST = 200 };

static inline struct campaign_spec *draft_spec(void *draft) {
    return &((struct draft *)draft)->spec;
}

struct segment {
    struct str name;
    size_t n;
    struct str *condition; /* owned array */
};

/* Codes of a pool, owned. */
struct pool_file {
    char *text;
    struct str *code;
    size_t n;
};

/* A whole file on its way. */
struct file {
    const struct config *cfg;
    struct policy_spec spec;
    struct draft defaults;
    struct draft *draft;
    size_t n_drafts, n_read;
    size_t n_segments;
    struct segment segment[SEGMENTS_MAX];
    const yaml_node_t *channel_cap[POLICY_CHANNELS_MAX];
    struct pool_file pool[POOLS_MAX];
    struct experiment_arms experiment[EXPERIMENTS_MAX]; /* arms owned */
};

/* campaign_values.c */
void read_trigger(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_audience(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_segments(struct yaml_walk *w, const yaml_node_t *v, void *file);
/* Conditions on the context need a trigger that is an event. */
void check_audience(struct yaml_walk *w, const struct draft *d);

/* campaign_offers.c */
void read_offer(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_offers(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_group(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_groups(struct yaml_walk *w, const yaml_node_t *v, void *policy_spec);
/* Files are looked for in `folder`; files[POOLS_MAX] keeps what spec->pool points into. */
void read_pools(struct yaml_walk *w, const yaml_node_t *v, const char *folder,
                struct policy_spec *spec, struct pool_file *files);

/* campaign_rules.c */
void read_reward(struct yaml_walk *w, const yaml_node_t *v, void *file);
void read_protect(struct yaml_walk *w, const yaml_node_t *v, void *file);
void read_approval(struct yaml_walk *w, const yaml_node_t *v, void *file);
void read_budget_slack(struct yaml_walk *w, const yaml_node_t *v, void *file);

/* campaign_experiments.c */
void read_experiments(struct yaml_walk *w, const yaml_node_t *v, struct file *f); /* after all */
void read_fairness(struct yaml_walk *w, const yaml_node_t *v, void *draft);

/* campaign_limits.c */
void read_pacing(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_campaign_holdout(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_holdout_name(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_campaign_caps(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_caps_value(struct yaml_walk *w, const yaml_node_t *v, struct caps *to);
void read_budget(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_starts(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_ends(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_quiet(struct yaml_walk *w, const yaml_node_t *v, void *draft);

/* Values; false after a fault. */
bool value_span(struct yaml_walk *w, const yaml_node_t *v, int64_t *ret_ms);
bool value_number(struct yaml_walk *w, const yaml_node_t *v, double min, double max, double *ret);
bool value_integer(struct yaml_walk *w, const yaml_node_t *v, int64_t min, int64_t max,
                   int64_t *ret);
/* A name of letters, digits, `-`, `_` and `.`. */
bool value_label(struct yaml_walk *w, const yaml_node_t *v, const char *what, struct str *ret);
bool value_none(const yaml_node_t *v); /* the word `none` */
bool value_bool(struct yaml_walk *w, const yaml_node_t *v, bool *ret);
