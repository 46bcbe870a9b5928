/* Experiments of a campaign file, and the bounds on how fair a campaign is. */
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_keys.h"

/* One on its way. */
struct reading {
    const struct file *file;
    struct experiment_arms *e;
    struct arm_spec *arm;
};

static struct arm_spec *arm_of(void *reading) {
    return ((struct reading *)reading)->arm;
}

static const struct campaign_spec *campaign_named(struct yaml_walk *w, const yaml_node_t *v,
                                                  const struct file *f, const char *text) {
    const char *names[POLICY_CAMPAIGNS_MAX];
    size_t n = 0;
    char near[96];
    for (size_t i = 0; text && i < f->n_read; i++) {
        if (!f->draft[i].spec.id.n)
            continue;
        if (str_eq(f->draft[i].spec.id, str_of(text)))
            return &f->draft[i].spec;
        names[n++] = f->draft[i].spec.id.p;
    }
    if (text)
        walk_fault(w, v, "no campaign %s%s", text, walk_suggest(near, text, names, n));
    return NULL;
}

static void read_arm_name(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_label(w, v, "a name", &arm_of(reading)->name);
}

static void read_share(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    int64_t share;
    if (value_integer(w, v, 1, 10000, &share))
        arm_of(reading)->share = (uint32_t)share;
}

/* A list of words; false: none, or too long. */
static bool is_list(struct yaml_walk *w, const yaml_node_t *v, const char *like, size_t most) {
    if (v->type != YAML_SEQUENCE_NODE) {
        walk_fault(w, v, "must be a list, such as %s", like);
        return false;
    }
    if ((size_t)(v->data.sequence.items.top - v->data.sequence.items.start) <= most)
        return true;
    walk_fault(w, v, "has more than %zu entries", most);
    return false;
}

static void read_off(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    struct arm_spec *a = arm_of(reading);
    if (!is_list(w, v, "[cart-rescue]", ARM_WORDS_MAX))
        return;
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const yaml_node_t *item = walk_node(w, *i);
        const struct campaign_spec *c =
            campaign_named(w, item, ((struct reading *)reading)->file,
                           walk_need_text(w, item, "the id of a campaign"));
        if (c)
            a->off[a->n_off++] = c->id;
    }
}

static void read_arm_offers(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    struct arm_spec *a = arm_of(reading);
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must be like {CAMPAIGN: OFFER}");
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = walk_node(w, p->key), *value = walk_node(w, p->value);
        const struct campaign_spec *c =
            campaign_named(w, key, ((struct reading *)reading)->file,
                           walk_need_text(w, key, "the id of a campaign"));
        const char *text = walk_need_text(w, value, "the name of an offer"), *names[OFFERS_MAX];
        char near[96];
        size_t k = 0;
        if (!c || !text)
            continue;
        for (; k < c->n_offers && !str_eq(c->offer[k].name, str_of(text)); k++)
            names[k] = c->offer[k].name.n ? c->offer[k].name.p : "";
        if (k == c->n_offers)
            walk_fault(w, value, "campaign %s has no offer named %s%s", c->id.p, text,
                       walk_suggest(near, text, names, k));
        else if (a->n_offers == ARM_WORDS_MAX)
            walk_fault(w, key, "more than %d campaigns", ARM_WORDS_MAX);
        else {
            a->offers[a->n_offers].campaign = c->id;
            a->offers[a->n_offers++].offer = c->offer[k].name;
        }
    }
}

static void read_rules(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    struct arm_spec *a = arm_of(reading);
    const struct policy_spec *s = &((struct reading *)reading)->file->spec;
    if (!is_list(w, v, "[coupons]", GROUPS_MAX))
        return;
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const yaml_node_t *item = walk_node(w, *i);
        const char *text = walk_need_text(w, item, "the name of a group"), *names[GROUPS_MAX];
        char near[96];
        size_t k = 0;
        for (; text && k < s->n_groups && !str_eq(s->group[k].name, str_of(text)); k++)
            names[k] = s->group[k].name.p;
        if (text && k == s->n_groups)
            walk_fault(w, item, "no group %s%s", text, walk_suggest(near, text, names, k));
        else if (text)
            a->rules[a->n_rules++] = s->group[k].name;
    }
}

static void read_arms(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    static const struct walk_key keys[] = {{"name", read_arm_name, true},
                                           {"share", read_share, true},
                                           {"off", read_off, false},
                                           {"offers", read_arm_offers, false},
                                           {"rules", read_rules, false}};
    struct reading *r = reading;
    struct experiment_arms *e = r->e;
    bool differs = false;
    size_t faults = w->n_faults;
    if (!is_list(w, v, "[{name: control, share: 50, off: [cart-rescue]}, {name: on, share: 50}]",
                 EXPERIMENT_ARMS_MAX))
        return;
    size_t n = (size_t)(v->data.sequence.items.top - v->data.sequence.items.start);
    e->arm = calloc(n + 1, sizeof *e->arm);
    if (!e->arm) {
        w->no_memory = true;
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const yaml_node_t *item = walk_node(w, v->data.sequence.items.start[i]);
        r->arm = &e->arm[e->spec.n_arms++];
        walk_map(w, item, keys, ARRAY_LEN(keys), r);
        e->spec.weight[i] = r->arm->share;
        differs |= r->arm->n_off || r->arm->n_offers || r->arm->n_rules;
        for (size_t k = 0; k < i; k++)
            if (r->arm->name.n && str_eq(e->arm[k].name, r->arm->name))
                walk_fault(w, item, "two arms are named %s", r->arm->name.p);
    }
    if (n < 2)
        walk_fault(w, v, "needs two arms at least; the first is the control");
    else if (!differs && faults == w->n_faults)
        walk_fault(w, v,
                   "no arm differs: say what one leaves `off`, `offers` or decides by `rules`");
}

static void read_experiment_id(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_label(w, v, "a name", &((struct reading *)reading)->e->name);
}

static void read_salt(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_label(w, v, "a text", &((struct reading *)reading)->e->spec.id);
}

static void read_layer(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_label(w, v, "a name", &((struct reading *)reading)->e->spec.layer);
}

static void read_bucket(struct yaml_walk *w, const yaml_node_t *v, double least, uint32_t *ret) {
    double percent;
    if (value_number(w, v, least, 100, &percent))
        *ret = (uint32_t)(percent * EXPERIMENT_BUCKETS / 100 + 0.5);
}

static void read_first(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    read_bucket(w, v, 0, &((struct reading *)reading)->e->spec.first);
}

static void read_percent(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    read_bucket(w, v, .01, &((struct reading *)reading)->e->spec.buckets);
}

static void read_experiment_window(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_span(w, v, &((struct reading *)reading)->e->window_ms);
}

static void read_metric(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    const char *text = walk_need_text(w, v, "conversion, revenue or margin");
    for (int m = 0; text && m < EXP_METRICS; m++)
        if (strcmp(text, experiment_metric_name((enum experiment_metric)m)) == 0) {
            ((struct reading *)reading)->e->metric = (enum experiment_metric)m;
            return;
        }
    if (text)
        walk_fault(w, v, "must be conversion, revenue or margin, found %s", text);
}

static void read_stop(struct yaml_walk *w, const yaml_node_t *v, void *reading) {
    value_bool(w, v, &((struct reading *)reading)->e->stop);
}

/* Names fit and arms are right by now: what is left is how it lies among the others. */
static void check_layer(struct yaml_walk *w, const yaml_node_t *v, const struct file *f) {
    const struct experiment_arms *e = &f->experiment[f->spec.n_experiments];
    const struct experiment_spec *s = &e->spec;
    for (size_t i = 0; i < f->spec.n_experiments; i++) {
        const struct experiment_arms *o = &f->experiment[i];
        if (str_eq(o->name, e->name))
            walk_fault(w, v, "the id is taken by another experiment; choose another");
        else if (str_eq(o->spec.layer, s->layer) && o->spec.first < s->first + s->buckets &&
                 s->first < o->spec.first + o->spec.buckets)
            walk_fault(w, v,
                       "has users of experiment %s, which is of the same layer and has those from "
                       "%g to %g %%; choose another `from` or `layer`",
                       o->name.p, o->spec.first / 100.0, (o->spec.first + o->spec.buckets) / 100.0);
    }
    if (s->first + s->buckets > EXPERIMENT_BUCKETS)
        walk_fault(w, v, "`from` and `percent` together are more than 100");
}

static void read_experiment(struct yaml_walk *w, const yaml_node_t *v, struct file *f) {
    static const struct walk_key keys[] = {
        {"id", read_experiment_id, true}, {"salt", read_salt, false},
        {"layer", read_layer, false},     {"from", read_first, false},
        {"percent", read_percent, false}, {"window", read_experiment_window, true},
        {"metric", read_metric, false},   {"stop", read_stop, false},
        {"arms", read_arms, true},
    };
    struct experiment_arms *e = &f->experiment[f->spec.n_experiments];
    struct reading r = {.file = f, .e = e};
    size_t faults = w->n_faults;
    *e = (struct experiment_arms){.metric = EXP_MARGIN, .spec.buckets = EXPERIMENT_BUCKETS};
    walk_map(w, v, keys, ARRAY_LEN(keys), &r);
    if (!e->spec.id.n)
        e->spec.id = e->name;
    if (!e->spec.layer.n)
        e->spec.layer = e->name;
    if (faults == w->n_faults)
        check_layer(w, v, f);
    f->spec.n_experiments++;
}

void read_experiments(struct yaml_walk *w, const yaml_node_t *v, struct file *f) {
    if (!is_list(w, v, "`- id: NAME` with arms", EXPERIMENTS_MAX))
        return;
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const yaml_node_t *item = walk_node(w, *i), *id = walk_find(w, item, "id");
        const char *name = id ? walk_text(id) : NULL;
        char numbered[32];
        snprintf(numbered, sizeof numbered, "%zu", f->spec.n_experiments + 1);
        size_t mark = walk_enter(w, name && *name && strlen(name) <= 64 ? name : numbered);
        read_experiment(w, item, f);
        walk_leave(w, mark);
    }
    f->spec.experiment = f->experiment;
}

/* ---- fairness --------------------------------------------------------------------- */

static void read_attribute(struct yaml_walk *w, const yaml_node_t *v, void *fair) {
    value_label(w, v, "a key of the context", &((struct fairness_spec *)fair)->attribute);
}

static void read_ratio(struct yaml_walk *w, const yaml_node_t *v, void *fair) {
    struct fairness_spec *f = fair;
    if (!is_list(w, v, "[0.8, 1.25]", 2))
        return;
    yaml_node_item_t *i = v->data.sequence.items.start;
    if (v->data.sequence.items.top - i != 2) {
        walk_fault(w, v, "must be the lowest and the highest ratio, such as [0.8, 1.25]");
        return;
    }
    value_number(w, walk_node(w, i[0]), 0, 1, &f->low);
    value_number(w, walk_node(w, i[1]), 1, 1000, &f->high);
}

static void read_least(struct yaml_walk *w, const yaml_node_t *v, void *fair) {
    value_number(w, v, 1, 1e9, &((struct fairness_spec *)fair)->least);
}

static void read_breach(struct yaml_walk *w, const yaml_node_t *v, void *fair) {
    const char *text = walk_need_text(w, v, "withhold or pause");
    if (text && strcmp(text, "withhold") != 0 && strcmp(text, "pause") != 0)
        walk_fault(w, v, "must be withhold or pause, found %s", text);
    ((struct fairness_spec *)fair)->pause = text && strcmp(text, "pause") == 0;
}

void read_fairness(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    static const struct walk_key keys[] = {{"attribute", read_attribute, true},
                                           {"ratio", read_ratio, true},
                                           {"least", read_least, false},
                                           {"then", read_breach, false}};
    struct fairness_spec *f = &draft_spec(draft)->fairness;
    *f = (struct fairness_spec){.least = FAIR_LEAST};
    if (!value_none(v))
        walk_map(w, v, keys, ARRAY_LEN(keys), f);
}
