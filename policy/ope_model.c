/* The reward model of off-policy evaluation. */
#include <math.h>

#include "policy/ope.h"

/* Where each kind of feature begins: intercept, position, action, action at position, context,
 * action by context (a shared part and one of each action, as in Evgeniou and Pontil 2004), trait.
 */
struct layout {
    size_t position, action, both, context, crossed, trait, dim;
};

static struct layout layout_of(const struct ope_log *log) {
    struct layout l = {.position = 1};
    size_t many = log->n_positions > 1 ? log->n_positions : 0;
    l.action = l.position + many;
    l.both = l.action + log->n_actions;
    l.context = l.both + log->n_actions * many;
    l.crossed = l.context + log->context.dim;
    l.trait = l.crossed + log->n_actions * log->context.dim;
    l.dim = l.trait + log->trait.dim;
    return l;
}

static uint32_t position_of(const struct ope_log *log, size_t i) {
    return log->position ? log->position[i] : 0;
}

static size_t row_length(const struct sparse *s, size_t i) {
    return s->dim ? s->start[i + 1] - s->start[i] : 0;
}

static size_t features_max(const struct ope_log *log) {
    size_t context = 0, trait = 0;
    for (size_t i = 0; i < log->n; i++)
        context = MAX(context, row_length(&log->context, i));
    for (size_t a = 0; a < log->n_actions; a++)
        trait = MAX(trait, row_length(&log->trait, a));
    return 4 + 2 * context + trait;
}

/* The features of action `a` in round i; returns how many. */
static size_t features(const struct ope_log *log, const struct layout *l, size_t i, size_t a,
                       uint32_t *index, float *value) {
    size_t n = 0, from = log->context.dim ? log->context.start[i] : 0;
#define ADD(at, v) (index[n] = (uint32_t)(at), value[n++] = (v))
    ADD(0, 1);
    ADD(l->action + a, 1);
    if (log->n_positions > 1) {
        ADD(l->position + position_of(log, i), 1);
        ADD(l->both + a * log->n_positions + position_of(log, i), 1);
    }
    for (size_t k = 0; k < row_length(&log->context, i); k++) {
        ADD(l->context + log->context.index[from + k], log->context.value[from + k]);
        ADD(l->crossed + a * log->context.dim + log->context.index[from + k],
            log->context.value[from + k]);
    }
    for (size_t k = 0; k < row_length(&log->trait, a); k++)
        ADD(l->trait + log->trait.index[log->trait.start[a] + k],
            log->trait.value[log->trait.start[a] + k]);
#undef ADD
    return n;
}

static uint32_t fold_of(const struct ope_log *log, size_t i, const struct ope_model_config *c) {
    uint64_t unit = log->group ? log->group[i] : i;
    return c->folds < 2 ? 0 : (uint32_t)(hash_bytes(&unit, sizeof unit, c->seed) % c->folds);
}

struct work {
    struct layout layout;
    enum linear_link link;
    uint32_t *index;
    float *value;
    size_t *start;
    double *y, *b, *p;
    bool *logged; /* [position][action] */
};

static void work_free(struct work *w) {
    free(w->index);
    free(w->value);
    free(w->start);
    free(w->y);
    free(w->b);
    free(w->p);
    free(w->logged);
}

static int work_new(const struct ope_log *log, struct work *w) {
    size_t most = features_max(log);
    w->layout = layout_of(log);
    if (w->layout.dim > UINT32_MAX)
        return -EINVAL;
    w->index = calloc((log->n + 1) * most, sizeof *w->index);
    w->value = calloc((log->n + 1) * most, sizeof *w->value);
    w->start = calloc(log->n + 1, sizeof *w->start);
    w->y = calloc(log->n, sizeof *w->y);
    w->b = calloc(w->layout.dim, sizeof *w->b);
    w->p = calloc(log->n_actions, sizeof *w->p);
    w->logged = calloc(log->n_positions * log->n_actions, sizeof *w->logged);
    if (!w->index || !w->value || !w->start || !w->y || !w->b || !w->p || !w->logged)
        return -ENOMEM;
    w->link = LINK_LOGIT;
    for (size_t i = 0; i < log->n; i++) {
        w->logged[position_of(log, i) * log->n_actions + log->action[i]] = true;
        if (log->reward[i] != 0 && log->reward[i] != 1)
            w->link = LINK_IDENTITY;
    }
    return 0;
}

/* The intercept that gives the mean; of a share of 0 or 1 that of one half case in n. */
static double start_at(enum linear_link link, double mean, double n) {
    if (link == LINK_IDENTITY)
        return mean;
    double share = fmin(fmax(mean, .5 / (n + 1)), 1 - .5 / (n + 1));
    return log(share / (1 - share));
}

/* Learns from every round outside the fold (from all when there is one fold). */
static int fit(const struct ope_log *log, const struct ope_model_config *c, uint32_t fold,
               struct work *w) {
    size_t n = 0, used = 0;
    double sum = 0;
    for (size_t i = 0; i < log->n; i++) {
        if (c->folds >= 2 && fold_of(log, i, c) == fold)
            continue;
        used += features(log, &w->layout, i, log->action[i], w->index + used, w->value + used);
        sum += w->y[n] = log->reward[i];
        w->start[++n] = used;
    }
    memset(w->b, 0, w->layout.dim * sizeof *w->b);
    if (n == 0)
        return 0;
    double mean = sum / (double)n;
    bool constant = w->link == LINK_LOGIT && (mean <= 0 || mean >= 1);
    w->b[0] = start_at(w->link, mean, (double)n);
    struct sparse x = {n, w->layout.dim, w->start, w->index, w->value};
    return constant ? 0 : linear_fit(&x, w->y, NULL, w->link, c->penalty, w->b);
}

static void value_round(const struct ope_log *log, ope_policy *policy, const void *arg, size_t i,
                        struct work *w, struct ope_round *ret) {
    uint32_t position = position_of(log, i), action = log->action[i];
    *ret = (struct ope_round){
        .reward = log->reward[i], .position = position, .group = log->group ? log->group[i] : i};
    policy(arg, i, w->p);
    for (size_t a = 0; a < log->n_actions; a++) {
        if (w->p[a] == 0 && a != action)
            continue;
        size_t n = features(log, &w->layout, i, a, w->index, w->value);
        double q = linear_mean(w->link, linear_score(w->b, w->index, w->value, n));
        ret->model_mean += w->p[a] * q;
        if (a == action)
            ret->model = q;
        if (!w->logged[position * log->n_actions + a])
            ret->lost += w->p[a];
    }
    ret->weight = w->p[action] / log->propensity[i];
}

static bool usable(const struct ope_log *log) {
    if (log->n == 0 || log->n_actions == 0 || log->n_positions == 0)
        return false;
    for (size_t i = 0; i < log->n; i++)
        if (log->action[i] >= log->n_actions || position_of(log, i) >= log->n_positions ||
            !isfinite(log->reward[i]) || !(log->propensity[i] > 0 && log->propensity[i] <= 1))
            return false;
    return true;
}

int ope_rounds(const struct ope_log *log, ope_policy *policy, const void *arg,
               const struct ope_model_config *c, struct ope_round *rounds) {
    struct work w = {0};
    int err = usable(log) ? work_new(log, &w) : -EINVAL;
    for (uint32_t fold = 0; fold < MAX(c->folds, 1) && err == 0; fold++) {
        err = fit(log, c, fold, &w);
        for (size_t i = 0; i < log->n && err == 0; i++)
            if (fold_of(log, i, c) == fold)
                value_round(log, policy, arg, i, &w, &rounds[i]);
    }
    work_free(&w);
    return err;
}
