/* The last guard: campaigns that reach people of one kind more often than others. */
#include "policy/evidence_internal.h"

static bool bounded(const struct policy_set *s, uint32_t attribute) {
    for (size_t i = 0; i < s->n; i++)
        if (s->c[i].spec.fairness.attribute.n &&
            (uint32_t)hash_str(s->c[i].spec.fairness.attribute, 0) == attribute)
            return true;
    return false;
}

int fairness_note(const struct policy_context *c, const struct event *e) {
    for (size_t k = 0; c->set->has_fairness && k < e->n_ctx; k++) {
        struct trait t = {(uint32_t)hash_str(e->ctx[k].key, 0),
                          (uint32_t)hash_str(e->ctx[k].value, 0)};
        if (!e->ctx[k].value.n || !bounded(c->set, t.attribute))
            continue;
        struct user_ext *x = ext_get(c->user);
        size_t i = 0;
        while (x && i < x->n_traits && x->traits[i].attribute != t.attribute)
            i++;
        if (x && i == x->n_traits && ext_grow((void **)&x->traits, i, sizeof *x->traits) == 0)
            x->traits[x->n_traits++] = t;
        if (!x || i == x->n_traits)
            return -ENOMEM;
        x->traits[i] = t;
    }
    return 0;
}

/* The user's group in the campaign's book; NULL: not known, or one value too many. */
static struct fair_group *group_of_user(const struct policy_context *c, struct fair_book *f,
                                        const struct fairness_spec *s, size_t *ret) {
    const struct user_ext *x = c->user->ext;
    uint32_t attribute = (uint32_t)hash_str(s->attribute, 0);
    for (size_t i = 0; x && i < x->n_traits; i++) {
        if (x->traits[i].attribute != attribute)
            continue;
        size_t g = 0;
        while (g < f->n && f->value[g] != x->traits[i].value)
            g++;
        if (g == FAIR_VALUES_MAX)
            return NULL;
        if (g == f->n)
            f->value[f->n++] = x->traits[i].value;
        *ret = g;
        return &f->group[g];
    }
    return NULL;
}

enum policy_reason guard_fairness(const struct policy_context *c, uint16_t campaign) {
    const struct fairness_spec *s = &c->set->c[campaign].spec.fairness;
    struct fair_result r[FAIR_VALUES_MAX];
    size_t mine;
    struct fair_book *f = &shard_evidence(c->shard)->fair[campaign];
    struct fair_group *g = group_of_user(c, f, s, &mine);
    if (g && !f->stopped) {
        g->n++;
        fair_compare(f->group, f->n, fair_z(.95, f->n),
                     &(struct fair_bounds){s->low, s->high, 0, s->least, false}, r);
        for (size_t i = 0; i < f->n; i++)
            f->stopped |= s->pause && r[i].breaches;
    }
    if (f->stopped)
        return PR_FAIRNESS;
    return g && !s->pause && r[mine].breaches & FAIR_RATIO_HIGH ? PR_FAIRNESS : PR_SENT;
}

void fairness_sent(const struct policy_context *c, uint16_t campaign) {
    const struct fairness_spec *s = &c->set->c[campaign].spec.fairness;
    size_t mine;
    if (!s->attribute.n)
        return;
    struct fair_book *f = &shard_evidence(c->shard)->fair[campaign];
    struct fair_group *g = group_of_user(c, f, s, &mine);
    if (g && g->got < g->n)
        g->got++;
}
