#include "policy/dqn.h"
#include "model/block.h"

#include <math.h>

enum { DQN_VERSION = 1, BATCH_MAX = 4096 };

struct memory {
    float reward, discount;
    uint32_t action;
    struct dqn_actions next_allowed;
};

struct dqn {
    struct dqn_config c;
    struct mlp *online, *target;
    struct mlp_optim *optim;
    struct familiar *familiar;
    uint32_t n, at;        /* remembered; where the next goes */
    struct memory *memory; /* [replay] */
    float *state, *next;   /* float[replay][states] */
    /* of one step */
    struct mlp_pass *pass;
    uint32_t *drawn;              /* [batch] */
    float *x, *q, *ahead, *worth; /* float[batch][states], float[batch][actions] thrice */
};

struct dqn_config dqn_defaults(uint32_t states, uint32_t actions) {
    struct dqn_config c = {
        .states = states,
        .actions = actions,
        .hidden = {64, 64},
        .replay = 50000,
        .batch = 64,
        .warm = 1000,
        .huber = 1,
        .target_rate = 0.01f,
        .epsilon_first = 1,
        .epsilon_last = 0.05f,
        .epsilon_steps = 20000,
        .optim = mlp_optim_defaults(MLP_ADAM),
        .familiar_min = 20,
        .familiar_features = 96,
        .familiar_reach = 2 * sqrtf((float)states),
        .seed = 1,
    };
    return c;
}

static bool sensible(const struct dqn_config *c) {
    return c->states >= 1 && c->states <= MLP_WIDTH_MAX && c->actions >= 1 &&
           c->actions <= DQN_ACTIONS_MAX && c->batch >= 1 && c->batch <= BATCH_MAX &&
           c->replay >= c->batch && c->warm <= c->replay && c->huber > 0 && c->target_rate > 0 &&
           c->target_rate <= 1 && c->epsilon_first >= 0 && c->epsilon_first <= 1 &&
           c->epsilon_last >= 0 && c->epsilon_last <= 1 && c->familiar_min >= 0;
}

static int networks_new(struct dqn *d) {
    const struct dqn_config *c = &d->c;
    struct mlp_config shape = {.seed = c->seed, .width = {c->states}};
    uint32_t l = 0;
    for (; l < MLP_LAYERS_MAX - 1 && c->hidden[l]; l++)
        shape.width[l + 1] = c->hidden[l];
    shape.width[l + 1] = c->actions;
    shape.layers = l + 1;
    int r = mlp_new(&shape, &d->online);
    if (r == 0)
        r = mlp_new(&shape, &d->target);
    if (r == 0)
        r = mlp_optim_new(&c->optim, d->online, &d->optim);
    if (r == 0)
        r = mlp_pass_new(d->online, c->batch, &d->pass);
    return r;
}

int dqn_new(const struct dqn_config *c, struct dqn **ret) {
    if (!sensible(c))
        return -EINVAL;
    autofree(dqn_free) struct dqn *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->c = *c;
    int r = networks_new(d);
    if (r < 0)
        return r;
    struct familiar_config f = {.states = c->states,
                                .features = c->familiar_features,
                                .reach = c->familiar_reach,
                                .seed = c->seed};
    r = c->familiar_min > 0 ? familiar_new(&f, &d->familiar) : 0;
    if (r < 0)
        return r;
    d->memory = calloc(c->replay, sizeof *d->memory);
    d->state = calloc((size_t)c->replay * c->states, sizeof *d->state);
    d->next = calloc((size_t)c->replay * c->states, sizeof *d->next);
    d->drawn = calloc(c->batch, sizeof *d->drawn);
    d->x = calloc((size_t)c->batch * c->states, sizeof *d->x);
    d->q = calloc((size_t)c->batch * c->actions, sizeof *d->q);
    d->ahead = calloc((size_t)c->batch * c->actions, sizeof *d->ahead);
    d->worth = calloc((size_t)c->batch * c->actions, sizeof *d->worth);
    if (!d->memory || !d->state || !d->next || !d->drawn || !d->x || !d->q || !d->ahead ||
        !d->worth)
        return -ENOMEM;
    *ret = TAKE(d);
    return 0;
}

void dqn_free(struct dqn *d) {
    if (!d)
        return;
    mlp_free(d->online);
    mlp_free(d->target);
    mlp_optim_free(d->optim);
    mlp_pass_free(d->pass);
    familiar_free(d->familiar);
    free(d->memory);
    free(d->state);
    free(d->next);
    free(d->drawn);
    free(d->x);
    free(d->q);
    free(d->ahead);
    free(d->worth);
    free(d);
}

const struct mlp *dqn_network(const struct dqn *d) {
    return d->online;
}

static size_t best_of(const float *q, size_t n, const struct dqn_actions *allowed) {
    size_t best = DQN_NOTHING;
    for (size_t a = 0; a < n; a++)
        if (dqn_allowed(allowed, a) && q[a] > q[best])
            best = a;
    return best;
}

double dqn_epsilon(const struct dqn *d) {
    double steps = (double)mlp_optim_steps(d->optim), all = d->c.epsilon_steps;
    double share = steps >= all ? 1 : steps / all;
    return d->c.epsilon_first + share * ((double)d->c.epsilon_last - d->c.epsilon_first);
}

bool dqn_familiar(const struct dqn *d, const float *state) {
    return !d->familiar || familiar_count(d->familiar, state) >= d->c.familiar_min;
}

bool dqn_worth(const struct dqn *d, struct mlp_pass *pass, const float *state, float *ret) {
    if (!dqn_familiar(d, state))
        return false;
    mlp_forward(d->online, pass, 1, state, d->c.states, ret);
    return true;
}

/* The best of what is open, nothing included, and of how many; false where too few similar states
 * were seen. */
static bool best_open(const struct dqn *d, struct mlp_pass *pass, const float *state,
                      struct dqn_actions *open, size_t *ret_best, size_t *ret_n) {
    float q[DQN_ACTIONS_MAX];
    if (!dqn_worth(d, pass, state, q))
        return false;
    dqn_allow(open, DQN_NOTHING);
    *ret_best = best_of(q, d->c.actions, open);
    *ret_n = 0;
    for (size_t a = 0; a < d->c.actions; a++)
        *ret_n += dqn_allowed(open, a);
    return true;
}

struct dqn_choice dqn_decide(const struct dqn *d, struct mlp_pass *pass, const float *state,
                             const struct dqn_actions *allowed, double epsilon, struct rng *rng) {
    struct dqn_actions open = *allowed;
    size_t best, n;
    if (!best_open(d, pass, state, &open, &best, &n))
        return (struct dqn_choice){DQN_UNFAMILIAR, 1};
    size_t chosen = best;
    if (rng_unit(rng) < epsilon) {
        size_t left = rng_below(rng, (uint32_t)n);
        for (chosen = 0; !dqn_allowed(&open, chosen) || left-- > 0;)
            chosen++;
    }
    double even = epsilon / (double)n;
    return (struct dqn_choice){(int)chosen, chosen == best ? 1 - epsilon + even : even};
}

static bool finite_row(const float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

bool dqn_remember(struct dqn *d, const struct dqn_transition *t, int64_t time_ms) {
    size_t states = d->c.states;
    bool goes_on = t->discount > 0;
    if (t->action >= d->c.actions || !isfinite(t->reward) || !(t->discount >= 0) ||
        t->discount > 1 || !finite_row(t->state, states) ||
        (goes_on && !finite_row(t->next, states)))
        return false;
    if (d->familiar && !familiar_add(d->familiar, t->state, time_ms))
        return false;
    struct memory *m = &d->memory[d->at];
    *m = (struct memory){t->reward, t->discount, t->action, t->next_allowed};
    dqn_allow(&m->next_allowed, DQN_NOTHING);
    memcpy(d->state + d->at * states, t->state, states * sizeof *t->state);
    if (goes_on)
        memcpy(d->next + d->at * states, t->next, states * sizeof *t->next);
    else
        memset(d->next + d->at * states, 0, states * sizeof *t->next);
    d->at = (d->at + 1) % d->c.replay;
    d->n = MIN(d->n + 1, d->c.replay);
    return true;
}

static void gather(struct dqn *d, const float *from) {
    for (uint32_t i = 0; i < d->c.batch; i++)
        memcpy(d->x + (size_t)i * d->c.states, from + (size_t)d->drawn[i] * d->c.states,
               d->c.states * sizeof *d->x);
}

/* Huber 1964: quadratic within ±limit, linear beyond; *ret_slope is its derivative. */
static double huber(double error, double limit, double *ret_slope) {
    *ret_slope = fmax(-limit, fmin(limit, error));
    return fabs(error) <= limit ? error * error / 2 : limit * (fabs(error) - limit / 2);
}

int dqn_learn(struct dqn *d, struct rng *rng, double *ret_loss) {
    size_t states = d->c.states, actions = d->c.actions, batch = d->c.batch;
    if (d->n < MAX(d->c.warm, 1u))
        return -EAGAIN;
    for (size_t i = 0; i < batch; i++)
        d->drawn[i] = rng_below(rng, d->n);
    gather(d, d->next);
    mlp_forward(d->online, d->pass, batch, d->x, states, d->ahead);
    mlp_forward(d->target, d->pass, batch, d->x, states, d->worth);
    gather(d, d->state);
    mlp_forward(d->online, d->pass, batch, d->x, states, d->q);
    double loss = 0;
    for (size_t i = 0; i < batch; i++) {
        const struct memory *m = &d->memory[d->drawn[i]];
        /* the online network says which action follows, the target what it is worth */
        size_t next = best_of(d->ahead + i * actions, actions, &m->next_allowed);
        double y = m->reward + (double)m->discount * d->worth[i * actions + next], slope;
        loss += huber(d->q[i * actions + m->action] - y, d->c.huber, &slope);
        memset(d->q + i * actions, 0, actions * sizeof *d->q);
        d->q[i * actions + m->action] = (float)(slope / (double)batch);
    }
    mlp_backward(d->online, d->pass, d->q);
    int r = mlp_step(d->online, d->optim, d->pass);
    if (r < 0)
        return r;
    mlp_follow(d->online, d->c.target_rate, d->target);
    if (ret_loss)
        *ret_loss = loss / (double)batch;
    return 0;
}

int dqn_refresh(struct dqn *d, int64_t now_ms) {
    return d->familiar ? familiar_refresh(d->familiar, now_ms) : 0;
}

uint64_t dqn_steps(const struct dqn *d) {
    return mlp_optim_steps(d->optim);
}

uint32_t dqn_remembered(const struct dqn *d) {
    return d->n;
}

int dqn_encode(const struct dqn *d, struct buf *out) {
    size_t at = block_begin(out, DQN_VERSION);
    int r = mlp_encode(d->online, out);
    if (r == 0)
        r = mlp_encode(d->target, out);
    if (r == 0)
        r = mlp_optim_encode(d->optim, d->online, out);
    if (r == 0 && d->familiar)
        r = ridge_encode(familiar_sums(d->familiar), out);
    if (r == 0)
        r = block_end(out, at);
    if (r < 0)
        out->n = at;
    return r;
}

/* Reads a network of d's shape; whatever follows in w is left there. */
static int network_of(const struct dqn *d, struct wire *w, struct mlp **ret) {
    size_t used;
    int r = mlp_decode(w->p, (size_t)(w->end - w->p), ret, &used);
    if (r < 0)
        return r;
    w->p += used;
    return mlp_same_shape(*ret, d->online) ? 0 : -EBADMSG;
}

int dqn_restore(struct dqn *d, const void *p, size_t n, int64_t now_ms, size_t *ret_n) {
    struct wire w;
    size_t taken, used;
    autofree(mlp_free) struct mlp *online = NULL, *target = NULL;
    autofree(mlp_optim_free) struct mlp_optim *optim = NULL;
    int r = block_open(p, n, DQN_VERSION, &w, &taken);
    if (r == 0)
        r = network_of(d, &w, &online);
    if (r == 0)
        r = network_of(d, &w, &target);
    if (r == 0)
        r = mlp_optim_new(&d->c.optim, d->online, &optim);
    if (r == 0)
        r = mlp_optim_restore(optim, d->online, w.p, (size_t)(w.end - w.p), &used);
    if (r < 0)
        return r;
    w.p += used;
    struct ridge seen = {0};
    if (d->familiar) {
        const struct ridge *now = familiar_sums(d->familiar);
        r = ridge_init(&seen, now->dim, now->half_life_ms, now->features);
        if (r == 0)
            r = ridge_restore(&seen, w.p, (size_t)(w.end - w.p), &used);
        w.p += r == 0 ? used : 0;
    }
    if (r == 0 && w.p != w.end)
        r = -EBADMSG;
    if (r == 0 && d->familiar) {
        ridge_clear(familiar_sums(d->familiar));
        r = ridge_merge(&seen, familiar_sums(d->familiar));
    }
    ridge_done(&seen);
    if (r < 0)
        return r;
    mlp_copy(online, d->online);
    mlp_copy(target, d->target);
    mlp_optim_free(d->optim);
    d->optim = TAKE(optim);
    *ret_n = taken;
    return dqn_refresh(d, now_ms);
}
