/* Readers of a campaign's values, and what they fill. */
#pragma once

#include "consumer/options.h"
#include "consumer/yaml_walk.h"
#include "policy/spec.h"

/* One campaign, or the defaults, on the way to a spec. Texts are borrowed from the document. */
struct draft {
    const struct config *cfg;
    struct campaign_spec spec;
    char *offer;          /* owned: the JSON */
    struct str *audience; /* owned array */
    const yaml_node_t *node, *ends_node;
    const yaml_node_t **condition; /* owned, beside audience */
};

static inline struct campaign_spec *draft_spec(void *draft) {
    return &((struct draft *)draft)->spec;
}

/* campaign_values.c */
void read_trigger(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_offer(struct yaml_walk *w, const yaml_node_t *v, void *draft);
void read_audience(struct yaml_walk *w, const yaml_node_t *v, void *draft);
/* Conditions on the context need a trigger that is an event. */
void check_audience(struct yaml_walk *w, const struct draft *d);

/* campaign_limits.c */
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
bool value_none(const yaml_node_t *v); /* the word `none` */
bool value_bool(struct yaml_walk *w, const yaml_node_t *v, bool *ret);
