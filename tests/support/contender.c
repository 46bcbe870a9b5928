#include "tests/support/contender.h"

#include <assert.h>
#include <math.h>

#include "policy/uplift.h"

enum {
    SHARED = 10,
    OWN_EACH = 7, /* columns of a depth */
    OWN_ALL = 3,  /* of all depths */
    OWN = MARKET_DEPTHS * OWN_EACH + OWN_ALL + MARKET_CAMPAIGNS,
    STATE = 8,
    DEPTHS = 1 + MARKET_DEPTHS, /* what uplift and DQN choose: nothing, or how deep */
    UPLIFT_COLUMNS = 13,
    UPLIFT_DAYS = 5,    /* of even choices, until effects are known */
    REFRESH_EVERY = 64, /* outcomes, or a hundredth of all if that is more */
    LEARN_EVERY = 4,    /* transitions a step of the DQN */
};
#define UPLIFT_EXPLORE 0.05
#define DQN_EPSILON 0.01
#define MONEY 5.0 /* what counts as 1 for the DQN */

/* A choice whose outcome is not believed yet. */
struct choice {
    bool open, believed, gone;
    uint32_t day, action;
    float shared[SHARED], own[OWN]; /* uplift: its columns instead of the shared ones */
    float state[STATE];
    double p[DEPTHS]; /* of uplift */
    double brought, anyway;
};

struct contender {
    struct contender_config c;
    struct bandit *bandit;
    struct bandit_room *room;
    struct uplift *uplift;
    struct dqn *dqn;
    struct mlp_pass *pass;
    struct rng rng;
    struct choice *last; /* of each user */
    uint32_t day;        /* of the last choice */
    uint64_t told, stale, transitions;
};

struct contender_config contender_defaults(enum contender_kind kind, enum bandit_kind bandit) {
    return (struct contender_config){
        .kind = kind,
        .bandit = bandit,
        .explore = 0.01,
        .width = bandit == BANDIT_SQUARECB ? 10 : 1,
        .prior = 1,
        .gamma = 0.9,
        .dqn_days = 10,
    };
}

static int learners_new(struct contender *k) {
    const struct contender_config *c = &k->c;
    int r = 0;
    if (c->kind == CONTENDER_BANDIT || c->kind == CONTENDER_DQN) {
        struct bandit_config b = bandit_defaults(c->bandit, SHARED, OWN);
        b.arms_max = MARKET_ACTIONS - 1;
        b.explore = c->explore;
        b.alpha = b.gamma = c->width;
        b.prior = c->prior;
        b.noise = 5;
        b.seed = c->seed;
        r = bandit_new(&b, &k->bandit);
        if (r == 0)
            r = bandit_room_new(k->bandit, &k->room);
    }
    if (r == 0 && c->kind == CONTENDER_UPLIFT) {
        struct uplift_config u = uplift_defaults(UPLIFT_LINEAR, UPLIFT_COLUMNS, DEPTHS);
        r = uplift_new(&u, &k->uplift);
    }
    if (r == 0 && c->kind == CONTENDER_DQN) {
        struct dqn_config d = dqn_defaults(STATE, DEPTHS);
        d.hidden[0] = d.hidden[1] = 32;
        d.replay = 100000;
        d.warm = 5000;
        d.huber = 10;
        d.seed = c->seed;
        r = dqn_new(&d, &k->dqn);
        if (r == 0)
            r = mlp_pass_new(dqn_network(k->dqn), 1, &k->pass);
    }
    return r;
}

int contender_new(const struct contender_config *c, struct contender **ret) {
    autofree(contender_free) struct contender *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->c = *c;
    rng_seed(&k->rng, c->seed);
    k->last = calloc(c->users, sizeof *k->last);
    if (!k->last)
        return -ENOMEM;
    int r = learners_new(k);
    if (r == 0)
        *ret = TAKE(k);
    return r;
}

void contender_free(struct contender *k) {
    if (!k)
        return;
    bandit_free(k->bandit);
    bandit_room_free(k->room);
    uplift_free(k->uplift);
    dqn_free(k->dqn);
    mlp_pass_free(k->pass);
    free(k->last);
    free(k);
}

/* ---- what they see ------------------------------------------------------------- */

/* Money grows with baskets, and so do the columns. */
static void put_shared(const struct market_sight *s, float *ret) {
    float b = s->basket;
    const float x[SHARED] = {1,
                             b,
                             b * s->often,
                             b * s->often * s->often,
                             b * s->cart,
                             b * s->cart * s->often,
                             b * s->lately,
                             b * s->lately * s->often,
                             b * s->opens,
                             b * s->bargains};
    memcpy(ret, x, sizeof x);
}

static void put_own(const struct market_sight *s, uint32_t action, float *ret) {
    uint32_t campaign = (action - 1) / MARKET_DEPTHS, depth = (action - 1) % MARKET_DEPTHS;
    float b = s->basket;
    const float x[OWN_EACH] = {b,           b * s->often,  b * s->bargains,
                               b * s->cart, b * s->lately, b * s->fit[campaign],
                               b * s->opens};
    float fit = s->fit[campaign];
    const float all[OWN_ALL] = {b * fit * fit, b * fit * s->cart, b * fit * s->often};
    memset(ret, 0, OWN * sizeof *ret);
    memcpy(ret + depth * OWN_EACH, x, sizeof x);
    memcpy(ret + MARKET_DEPTHS * OWN_EACH, all, sizeof all);
    ret[MARKET_DEPTHS * OWN_EACH + OWN_ALL + campaign] = b;
}

static void put_effect(const struct market_sight *s, float *ret) {
    float b = s->basket, fit = s->fit[market_fitting(s)];
    const float x[UPLIFT_COLUMNS] = {1,
                                     b,
                                     b * s->often,
                                     b * s->often * s->often,
                                     b * s->cart,
                                     b * s->cart * s->often,
                                     b * s->lately,
                                     b * s->opens,
                                     b * s->bargains,
                                     b * fit,
                                     b * fit * fit,
                                     b * fit * s->cart,
                                     b * fit * s->often};
    memcpy(ret, x, sizeof x);
}

static void put_state(const struct market_sight *s, float *ret) {
    const float x[STATE] = {
        s->basket - 1, s->often, 2 * s->bargains - 1,      2 * s->opens - 1, s->lately / 2,
        s->cart,       s->gone,  s->fit[market_fitting(s)]};
    memcpy(ret, x, sizeof x);
}

/* ---- choosing ------------------------------------------------------------------ */

static uint32_t follow_rule(uint32_t rule, const struct market_sight *s) {
    if (rule < RULE_FITTING)
        return rule;
    if (rule < RULE_CARTS)
        return market_action(market_fitting(s), rule - RULE_FITTING);
    return s->cart > 0 ? market_action(market_fitting(s), rule - RULE_CARTS) : 0;
}

static uint32_t ask_bandit(struct contender *k, const struct market_sight *s, struct choice *ret) {
    float own[MARKET_ACTIONS - 1][OWN];
    put_shared(s, ret->shared);
    for (uint32_t a = 1; a < MARKET_ACTIONS; a++)
        put_own(s, a, own[a - 1]);
    if (!k->told) /* nothing is known: all alike */
        return rng_below(&k->rng, MARKET_ACTIONS);
    struct bandit_choice got = bandit_decide(
        k->bandit, k->room,
        &(struct bandit_arms){.n = MARKET_ACTIONS - 1, .shared = ret->shared, .own = own[0]},
        &k->rng);
    return (uint32_t)(got.arm + 1);
}

/* An action by its depth, from 1, of the campaign that fits best; 0: nothing. */
static uint32_t of_depth(const struct market_sight *s, uint32_t d) {
    return d ? market_action(market_fitting(s), d - 1) : 0;
}

static uint32_t depth_of(uint32_t action) {
    return action ? 1 + (action - 1) % MARKET_DEPTHS : 0;
}

static uint32_t ask_uplift(struct contender *k, uint32_t day, const struct market_sight *s,
                           struct choice *ret) {
    uint32_t best = 0;
    double explore = day < UPLIFT_DAYS ? 1 : UPLIFT_EXPLORE, most = 0, mean, sd;
    put_effect(s, ret->shared);
    for (uint32_t t = 1; t < DEPTHS; t++) {
        uplift_effect(k->uplift, ret->shared, t, &mean, &sd);
        if (mean > most) {
            most = mean;
            best = t;
        }
    }
    for (uint32_t t = 0; t < DEPTHS; t++)
        ret->p[t] = explore / DEPTHS + (t == best ? 1 - explore : 0);
    return of_depth(s, rng_unit(&k->rng) < explore ? rng_below(&k->rng, DEPTHS) : best);
}

static struct dqn_actions allowed(const struct market_sight *s) {
    struct dqn_actions a = {0};
    for (uint32_t i = 0; i < (s->gone > 0 ? 1 : DEPTHS); i++)
        dqn_allow(&a, i);
    return a;
}

static uint32_t ask_dqn(struct contender *k, uint32_t day, const struct market_sight *s,
                        struct choice *ret) {
    struct dqn_actions open = allowed(s);
    uint32_t action = s->gone > 0 ? 0 : ask_bandit(k, s, ret);
    if (day < k->c.dqn_days)
        return action;
    struct dqn_choice got = dqn_decide(k->dqn, k->pass, ret->state, &open, DQN_EPSILON, &k->rng);
    return got.action == DQN_UNFAMILIAR ? action : of_depth(s, (uint32_t)got.action);
}

/* ---- learning ------------------------------------------------------------------ */

static void refresh(struct contender *k, uint32_t day) {
    k->told++;
    if (++k->stale < REFRESH_EVERY || k->stale * 100 < k->told)
        return;
    k->stale = 0;
    int r = k->bandit ? bandit_refresh(k->bandit, day) : uplift_refresh(k->uplift, day);
    assert(r == 0);
    (void)r;
}

static void believe(struct contender *k, const struct choice *l, uint32_t day) {
    if (l->gone)
        return;
    if (k->bandit) {
        bandit_learn(k->bandit, l->shared, l->action ? l->own : NULL, l->brought, 1, 0);
        refresh(k, day);
    } else if (k->uplift) {
        uplift_learn(k->uplift, &(struct uplift_sample){.x = l->shared,
                                                        .arm = depth_of(l->action),
                                                        .y = l->brought,
                                                        .p = l->p,
                                                        .weight = 1});
        refresh(k, day);
    }
}

/* What came of yesterday's choices. */
static void morning(struct contender *k, uint32_t day) {
    for (uint32_t user = 0; user < k->c.users; user++) {
        struct choice *l = &k->last[user];
        if (l->open && !l->believed)
            believe(k, l, day);
        l->believed = true;
    }
    k->day = day;
}

/* What he brings when left alone, as far as the bandit knows: as it does not depend on what was
 * done before, taking it off the reward changes no choice, but most of the noise. */
static double anyway(const struct contender *k, const struct market_sight *s) {
    struct market_sight rested = *s;
    float shared[SHARED];
    double mean;
    rested.lately = 0;
    put_shared(&rested, shared);
    bandit_estimate(k->bandit, shared, NULL, &mean, NULL);
    return mean;
}

/* What the choice was worth that day, as far as the bandit knows: one purchase says little. Of one
 * who is gone it knows nothing. */
static double that_day(const struct contender *k, const struct choice *l) {
    double mean;
    if (l->gone)
        return l->brought;
    bandit_estimate(k->bandit, l->shared, l->action ? l->own : NULL, &mean, NULL);
    return mean;
}

static void remember(struct contender *k, const struct choice *l, const struct choice *now,
                     const struct market_sight *s) {
    struct dqn_transition t = {
        .state = l->state,
        .next = now->state,
        .action = depth_of(l->action),
        .reward = (float)((that_day(k, l) - l->anyway) / MONEY),
        .discount = (float)pow(k->c.gamma, now->day - l->day),
        .next_allowed = allowed(s),
    };
    dqn_remember(k->dqn, &t, 0);
    if (++k->transitions % LEARN_EVERY == 0)
        dqn_learn(k->dqn, &k->rng, NULL);
    if (k->transitions % 20000 == 0)
        dqn_refresh(k->dqn, 0);
}

uint32_t contender_choose(struct contender *k, uint32_t user, uint32_t day,
                          const struct market_sight *s) {
    struct choice *l = &k->last[user], now = {.open = true, .day = day, .gone = s->gone > 0};
    if (k->c.kind == CONTENDER_RULE)
        return follow_rule(k->c.rule, s);
    put_state(s, now.state);
    if (day != k->day)
        morning(k, day);
    switch (k->c.kind) {
    case CONTENDER_BANDIT:
        now.action = s->gone > 0 ? 0 : ask_bandit(k, s, &now);
        break;
    case CONTENDER_UPLIFT:
        now.action = s->gone > 0 ? 0 : ask_uplift(k, day, s, &now);
        break;
    case CONTENDER_DQN:
        if (l->open)
            remember(k, l, &now, s);
        now.anyway = anyway(k, s);
        now.action = ask_dqn(k, day, s, &now);
        break;
    case CONTENDER_RULE:
        break;
    }
    if (now.action && k->bandit)
        put_own(s, now.action, now.own);
    *l = now;
    return now.action;
}

void contender_told(struct contender *k, uint32_t user, double brought) {
    k->last[user].brought = brought;
}
