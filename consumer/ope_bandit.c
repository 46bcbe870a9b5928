#include "consumer/ope_bandit.h"

#include <math.h>

#include "policy/stats.h"

struct ope_bandit {
    const struct ope_log *log;
    size_t learn, nothing, shared, own;
    struct bandit *bandit;
    struct bandit_room *room;
    float *x, *arms; /* [shared]; [n_actions][own] */
    double *p;       /* [1 + n_actions] */
};

void ope_bandit_free(struct ope_bandit *b) {
    if (!b)
        return;
    bandit_room_free(b->room);
    bandit_free(b->bandit);
    free(b->x);
    free(b->arms);
    free(b->p);
    free(b);
}

/* What is known of the round, and each action's row: itself, and itself by that. */
static void look(struct ope_bandit *b, size_t i) {
    const struct sparse *c = &b->log->context;
    size_t n = b->log->n_actions;
    memset(b->x, 0, (b->shared + 1) * sizeof *b->x);
    for (size_t k = c->dim ? c->start[i] : 0; c->dim && k < c->start[i + 1]; k++)
        if (c->index[k] < b->shared)
            b->x[c->index[k]] = c->value[k];
    memset(b->arms, 0, n * b->own * sizeof *b->arms);
    for (size_t a = 0; a < n; a++) {
        float *row = b->arms + a * b->own;
        if (a == b->nothing)
            continue;
        row[a] = 1;
        for (size_t k = 0; b->own > n && k < b->shared; k++)
            row[n + a * b->shared + k] = b->x[k];
    }
}

static int teach(struct ope_bandit *b) {
    const struct ope_log *log = b->log;
    for (size_t i = 0; i < b->learn; i++) {
        size_t a = log->action[i];
        look(b, i);
        bandit_learn(b->bandit, b->x, a == b->nothing ? NULL : b->arms + a * b->own, log->reward[i],
                     1, 0);
    }
    return bandit_refresh(b->bandit, 0);
}

static double noise_of(const struct ope_log *log, size_t learn) {
    struct moments m = {0};
    for (size_t i = 0; i < learn; i++)
        moments_add(&m, log->reward[i], 0);
    return fmax(sqrt(moments_variance(&m)), 1e-6);
}

int ope_bandit_new(const struct ope_log *log, size_t learn, enum bandit_kind kind, size_t nothing,
                   uint64_t seed, struct ope_bandit **ret) {
    autofree(ope_bandit_free) struct ope_bandit *b = calloc(1, sizeof *b);
    size_t n = log->n_actions, context = log->context.dim;
    if (!b)
        return -ENOMEM;
    if (n > RIDGE_DIM_MAX || n > BANDIT_ARMS_MAX)
        return -EINVAL;
    b->log = log;
    b->learn = learn;
    b->nothing = nothing;
    b->shared = MIN(context, RIDGE_DIM_MAX - n);
    b->own = b->shared + n * (1 + b->shared) <= RIDGE_DIM_MAX ? n * (1 + b->shared) : n;
    struct bandit_config c = bandit_defaults(kind, (uint32_t)b->shared, (uint32_t)b->own);
    c.arms_max = (uint32_t)n;
    c.noise = noise_of(log, learn);
    c.seed = seed;
    int err = bandit_new(&c, &b->bandit);
    if (err == 0)
        err = bandit_room_new(b->bandit, &b->room);
    b->x = calloc(b->shared + 1, sizeof *b->x);
    b->arms = calloc(n * b->own, sizeof *b->arms);
    b->p = calloc(n + 1, sizeof *b->p);
    if (err == 0 && (!b->x || !b->arms || !b->p))
        err = -ENOMEM;
    if (err == 0)
        err = teach(b);
    if (err == 0)
        *ret = TAKE(b);
    return err;
}

void ope_bandit_choose(const void *arg, size_t i, double *ret_p) {
    struct ope_bandit *b = (struct ope_bandit *)arg;
    size_t n = b->log->n_actions;
    struct bandit_arms arms = {.n = n, .shared = b->x, .own = b->arms};
    double sum = 0;
    look(b, b->learn + i);
    bandit_probabilities(b->bandit, b->room, &arms, b->p);
    for (size_t a = 0; a < n; a++) {
        /* the row of nothing among the arms is the bandit's own nothing once more */
        ret_p[a] = b->p[1 + a] + (a == b->nothing ? b->p[0] : 0);
        sum += ret_p[a];
    }
    for (size_t a = 0; a < n; a++)
        ret_p[a] = sum > 0 ? ret_p[a] / sum : 1 / (double)n;
}
