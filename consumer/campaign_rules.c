/* What holds for all campaigns: what counts, whom to stay away from, what people approve. */
#include "consumer/campaign_keys.h"

static void read_margin_percent(struct yaml_walk *w, const yaml_node_t *v, void *reward) {
    double percent;
    if (value_number(w, v, 0, 100, &percent))
        ((struct reward_spec *)reward)->margin = percent / 100;
}

static void read_basket(struct yaml_walk *w, const yaml_node_t *v, void *reward) {
    value_number(w, v, 0, MONEY_MAX, &((struct reward_spec *)reward)->basket);
}

static void read_annoyance(struct yaml_walk *w, const yaml_node_t *v, void *reward) {
    value_number(w, v, 0, MONEY_MAX, &((struct reward_spec *)reward)->annoyance);
}

static void read_unsubscribe(struct yaml_walk *w, const yaml_node_t *v, void *reward) {
    value_number(w, v, 0, MONEY_MAX, &((struct reward_spec *)reward)->unsubscribe);
}

static void read_shipping(struct yaml_walk *w, const yaml_node_t *v, void *reward) {
    value_number(w, v, 0, MONEY_MAX, &((struct reward_spec *)reward)->shipping);
}

void read_reward(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {{"margin_percent", read_margin_percent, false},
                                           {"annoyance", read_annoyance, false},
                                           {"basket", read_basket, false},
                                           {"unsubscribe", read_unsubscribe, false},
                                           {"shipping", read_shipping, false}};
    walk_map(w, v, keys, ARRAY_LEN(keys), &((struct file *)file)->spec.reward);
}

static void read_minimum_age(struct yaml_walk *w, const yaml_node_t *v, void *protect) {
    int64_t age;
    if (value_integer(w, v, 1, 120, &age))
        ((struct protect_spec *)protect)->minimum_age = (uint32_t)age;
}

static void read_protected(struct yaml_walk *w, const yaml_node_t *v, void *protect) {
    struct protect_spec *p = protect;
    if (v->type != YAML_SEQUENCE_NODE) {
        walk_fault(w, v, "must be a list of categories, such as [health, religion]");
        return;
    }
    for (yaml_node_item_t *i = v->data.sequence.items.start; i < v->data.sequence.items.top; i++) {
        const char *text = walk_need_text(w, walk_node(w, *i), "a category's name");
        if (p->n_categories == PROTECTED_MAX) {
            walk_fault(w, v, "has more than %d categories", PROTECTED_MAX);
            return;
        }
        if (text)
            p->category[p->n_categories++] = str_of(text);
    }
}

void read_protect(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {{"minimum_age", read_minimum_age, false},
                                           {"categories", read_protected, false}};
    walk_map(w, v, keys, ARRAY_LEN(keys), &((struct file *)file)->spec.protect);
}

static void read_approve_percent(struct yaml_walk *w, const yaml_node_t *v, void *approval) {
    value_number(w, v, 0, 100, &((struct approval_spec *)approval)->percent);
}

static void read_approve_budget(struct yaml_walk *w, const yaml_node_t *v, void *approval) {
    int64_t n;
    if (value_integer(w, v, 0, 1000000000, &n))
        ((struct approval_spec *)approval)->budget = (uint32_t)n;
}

void read_approval(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    static const struct walk_key keys[] = {{"discount_percent", read_approve_percent, false},
                                           {"budget", read_approve_budget, false}};
    walk_map(w, v, keys, ARRAY_LEN(keys), &((struct file *)file)->spec.approval);
}

void read_budget_slack(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    int64_t percent;
    if (value_integer(w, v, 0, 1000, &percent))
        ((struct file *)file)->spec.budget_slack = (uint32_t)percent;
}
