#include "policy/deep.h"

#include <math.h>
#include <pthread.h>

#include "model/block.h"
#include "policy/stats.h"
#include "policy/steps.h"
#include "policy/verdict.h"

enum {
    DEEP_VERSION = 1,
    PASSES = 64,
    BANDIT_FIRST = 500,   /* samples before its expectations teach the network */
    LEARN_EVERY = 4,      /* passages a step of the network */
    REFRESH_EVERY = 1000, /* passages, of what is familiar */
    JUDGED_MAX = 1 << 18, /* decisions that a verdict rests on */
    JUDGED_MIN = 2000,
    JUDGE_EVERY = 1000, /* decisions, or a sixteenth of those judged the last time */
    NEWEST = 1000,      /* passages that rates of the newest are about */
    ASK_OTHER = 8,      /* in charge, the network puts one of so many before the bandit */
};
#define EPSILON 0.02f
/* Of a verdict that is valid however often one is asked for. Strict, because it leaves out what
 * comes after half the horizon, and a wrong promotion costs until it is taken back. */
#define LEVEL 0.998

struct deep {
    struct learned *bandit;
    int64_t horizon_ms;
    pthread_rwlock_t lock; /* of all below; deciding reads */
    struct dqn *dqn;
    double unit; /* money that counts as 1; 0: not known yet */
    bool leads;
    struct verdict *verdict;
    struct verdict_result last; /* verdict */
    uint64_t passages, since_judged;
    double unfamiliar, loss; /* as in struct deep_state */
    struct rng rng;
    pthread_mutex_t pass_lock;
    struct mlp_pass *pass[PASSES]; /* that nobody uses now */
    size_t n_passes;
};

static struct dqn_config network_of(uint64_t seed) {
    struct dqn_config c = dqn_defaults(STATE_COLUMNS, DQN_ACTIONS_MAX);
    c.hidden[1] = 32;
    c.replay = 20000;
    c.huber = 10;
    c.epsilon_first = c.epsilon_last = EPSILON; /* the bandit explored before */
    c.familiar_reach = 3;                       /* an embedding has length 1 */
    c.seed = seed;
    return c;
}

int deep_new(struct learned *bandit, int64_t horizon_ms, uint64_t seed, struct deep **ret) {
    autofree(deep_free) struct deep *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    pthread_rwlock_init(&d->lock, NULL);
    pthread_mutex_init(&d->pass_lock, NULL);
    d->bandit = bandit;
    learned_explore(bandit, (double)EPSILON); /* or nothing could be told of the network by it */
    d->horizon_ms = horizon_ms;
    d->last = (struct verdict_result){.advantage = NAN, .se = NAN};
    d->unfamiliar = 1;
    d->loss = NAN;
    rng_seed(&d->rng, seed);
    struct dqn_config c = network_of(seed);
    int r = dqn_new(&c, &d->dqn);
    if (r == 0)
        r = verdict_new(&(struct verdict_config){horizon_ms, JUDGED_MAX, JUDGED_MIN}, &d->verdict);
    if (r == 0)
        *ret = TAKE(d);
    return r;
}

void deep_free(struct deep *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->n_passes; i++)
        mlp_pass_free(d->pass[i]);
    dqn_free(d->dqn);
    verdict_free(d->verdict);
    pthread_mutex_destroy(&d->pass_lock);
    pthread_rwlock_destroy(&d->lock);
    free(d);
}

uint8_t deep_action(uint64_t campaign, struct str offer, struct dqn_actions *taken) {
    size_t i = hash_str(offer, campaign) % DEEP_OFFERS_MAX;
    while (dqn_allowed(taken, 1 + i))
        i = (i + 1) % DEEP_OFFERS_MAX;
    dqn_allow(taken, 1 + i);
    return (uint8_t)(1 + i);
}

/* NULL: memory is out. */
static struct mlp_pass *pass_take(struct deep *d) {
    struct mlp_pass *pass = NULL;
    pthread_mutex_lock(&d->pass_lock);
    if (d->n_passes)
        pass = d->pass[--d->n_passes];
    pthread_mutex_unlock(&d->pass_lock);
    if (!pass && mlp_pass_new(dqn_network(d->dqn), 1, &pass) < 0)
        return NULL;
    return pass;
}

static void pass_give(struct deep *d, struct mlp_pass *pass) {
    pthread_mutex_lock(&d->pass_lock);
    if (d->n_passes < PASSES)
        d->pass[d->n_passes++] = TAKE(pass);
    pthread_mutex_unlock(&d->pass_lock);
    mlp_pass_free(pass);
}

/* ---- choosing ------------------------------------------------------------------ */

/* -1: nothing. */
static int arm_of(const struct policy_set *set, const struct arms *arms, int action) {
    for (size_t i = 0; i < arms->n; i++)
        if (step_action(set, &arms->cand[i]) == action)
            return (int)i;
    return -1;
}

static double bandit_would(struct deep *d, const struct arms *arms, int index) {
    double p[POLICY_PAIRS_MAX + 1];
    return learned_probabilities(d->bandit, arms, p) ? p[1 + index] : NAN;
}

/* False: the network does not choose here. */
static bool network_decides(struct deep *d, const struct policy_context *c, uint64_t seed,
                            const struct arms *arms, struct choice *ret) {
    float state[STATE_COLUMNS];
    struct dqn_actions open;
    struct rng rng;
    struct mlp_pass *pass = pass_take(d);
    if (!pass)
        return false;
    step_state(c, arms, state);
    step_allowed(c->set, arms, &open);
    rng_seed(&rng, seed);
    pthread_rwlock_rdlock(&d->lock);
    struct dqn_choice got = {.action = DQN_UNFAMILIAR};
    if (d->leads)
        got = dqn_decide(d->dqn, pass, state, &open, EPSILON, &rng);
    pthread_rwlock_unlock(&d->lock);
    pass_give(d, pass);
    if (got.action == DQN_UNFAMILIAR)
        return false;
    *ret = (struct choice){.index = arm_of(c->set, arms, got.action),
                           .propensity = got.propensity,
                           .by = BY_NETWORK,
                           .other = NAN};
    if (rng_below(&rng, ASK_OTHER) == 0)
        ret->other = bandit_would(d, arms, ret->index);
    return true;
}

static void deep_decide(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                        const struct arms *arms, struct choice *ret) {
    struct deep *d = self;
    pthread_rwlock_rdlock(&d->lock);
    bool leads = d->leads;
    pthread_rwlock_unlock(&d->lock);
    if (leads && network_decides(d, c, seed, arms, ret))
        return;
    policy_learned.decide(d->bandit, c, now_ms, seed, arms, ret);
    ret->by = BY_BANDIT;
    ret->other = NAN;
}

/* ---- who is in charge ---------------------------------------------------------- */

static void note_unfamiliar(struct deep *d, bool unfamiliar) {
    d->unfamiliar += (unfamiliar - d->unfamiliar) / NEWEST;
}

/* Probability by the other policy over that of the one in charge; NAN: not known. Where the network
 * leaves the choice to the bandit, both do the same. */
static double weigh(struct deep *d, struct mlp_pass *pass, const struct passage *p) {
    if (d->leads) {
        note_unfamiliar(d, p->by == BY_BANDIT);
        return p->by == BY_NETWORK ? p->other / p->propensity : p->by == BY_BANDIT ? 1 : NAN;
    }
    if (p->by != BY_BANDIT)
        return NAN;
    double other = dqn_probability(d->dqn, pass, p->state, &p->allowed, EPSILON, p->action);
    note_unfamiliar(d, isnan(other));
    return isnan(other) ? 1 : other / p->propensity;
}

/* How far from 0 an advantage must be, in standard errors. */
static double certain(double judged) {
    return z_always(LEVEL, judged, JUDGED_MAX / 8);
}

static void judge(struct deep *d) {
    if (verdict_judge(d->verdict, &d->last) < 0 || d->last.warnings ||
        !(d->last.advantage > certain((double)d->last.n) * d->last.se))
        return;
    d->leads = !d->leads;
    verdict_clear(d->verdict); /* what others decided tells nothing of what this one earns */
}

/* ---- learning ------------------------------------------------------------------ */

/* What is expected of nothing, were there no messages of the last days: as it does not depend on
 * what was done before, taking it off a reward changes no choice, but most of the noise. */
static double anyway(struct deep *d, const float *state) {
    float rested[FEATURES_SHARED];
    memcpy(rested, state, sizeof rested);
    rested[FS_SENT_DAY] = rested[FS_SENT_WEEK] = rested[FS_WEARY] = 0;
    rested[FS_BASKET_WEARY] = rested[FS_BASKET_WEARY_OFTEN] = 0;
    return learned_mean(d->bandit, rested, NULL);
}

static void learn(struct deep *d, const struct passage *p, double reward) {
    double samples, noise = learned_noise(d->bandit, &samples);
    if (!(d->unit > 0) && samples >= BANDIT_FIRST)
        d->unit = noise / 3;
    if (!(d->unit > 0))
        return;
    struct dqn_transition t = {
        .state = p->state,
        .next = p->next,
        .action = p->action,
        .reward = (float)(reward / d->unit),
        .discount = p->next ? (float)verdict_discount(p->next_ms - p->at_ms, d->horizon_ms) : 0,
        .next_allowed = p->next_allowed,
    };
    if (!dqn_remember(d->dqn, &t, p->at_ms))
        return;
    double loss;
    if (++d->passages % LEARN_EVERY == 0 && dqn_learn(d->dqn, &d->rng, &loss) == 0)
        d->loss = isnan(d->loss) ? loss : d->loss + (loss - d->loss) / NEWEST;
    if (d->passages % REFRESH_EVERY == 0)
        dqn_refresh(d->dqn, p->at_ms); /* or go by the old one */
}

static void deep_follow(void *self, const struct passage *p) {
    struct deep *d = self;
    const float *own = p->action == DQN_NOTHING ? NULL : p->state + STATE_COLUMNS;
    double left_alone = anyway(d, p->state), mean = learned_mean(d->bandit, p->state, own);
    struct mlp_pass *pass = pass_take(d);
    if (!pass)
        return;
    pthread_rwlock_wrlock(&d->lock);
    verdict_note(d->verdict, &(struct verdict_case){.user = p->user,
                                                    .trigger = p->trigger,
                                                    .before = p->before,
                                                    .at_ms = p->at_ms,
                                                    .gain = p->reward - left_alone,
                                                    .weight = weigh(d, pass, p)});
    learn(d, p, mean - left_alone);
    if (++d->since_judged >= MAX(JUDGE_EVERY, d->last.n / 16)) {
        d->since_judged = 0;
        judge(d);
    }
    pthread_rwlock_unlock(&d->lock);
    pass_give(d, pass);
}

static void deep_learn(void *self, const struct outcome *o) {
    struct deep *d = self;
    policy_learned.learn(d->bandit, o);
}

const struct policy_kind policy_deep = {.name = "deep",
                                        .features = true,
                                        .looks_ahead = true,
                                        .decide = deep_decide,
                                        .learn = deep_learn,
                                        .follow = deep_follow};

void deep_look(struct deep *d, struct deep_state *ret) {
    pthread_rwlock_rdlock(&d->lock);
    *ret = (struct deep_state){.leads = d->leads,
                               .passages = d->passages,
                               .steps = dqn_steps(d->dqn),
                               .judged = d->last.n,
                               .advantage = d->last.advantage,
                               .se = d->last.se,
                               .warnings = d->last.warnings,
                               .unfamiliar = d->unfamiliar,
                               .loss = d->loss,
                               .epsilon = (double)EPSILON};
    pthread_rwlock_unlock(&d->lock);
}

const char *deep_why(const struct deep_state *s) {
    double bound = certain((double)s->judged) * s->se;
    return isnan(s->advantage)     ? "too early to judge"
           : s->warnings           ? "what was decided tells too little of the other"
           : s->advantage > bound  ? "the other would earn more: it takes over"
           : s->advantage < -bound ? "the other would earn less"
                                   : "the difference is not certain";
}

/* ---- records ------------------------------------------------------------------- */

int deep_encode(struct deep *d, struct buf *out, uint64_t *ret_passages) {
    size_t at = block_begin(out, DEEP_VERSION);
    pthread_rwlock_rdlock(&d->lock);
    *ret_passages = d->passages;
    wire_put_varint(out, dqn_steps(d->dqn));
    wire_put_f64(out, d->unit);
    wire_put_u8(out, d->leads);
    int r = dqn_encode(d->dqn, out);
    pthread_rwlock_unlock(&d->lock);
    if (r == 0)
        r = block_end(out, at);
    if (r < 0)
        out->n = at;
    return r;
}

int deep_restore(struct deep *d, const void *p, size_t n) {
    struct wire w;
    size_t used;
    int r = block_open(p, n, DEEP_VERSION, &w, &used);
    if (r < 0)
        return r;
    wire_get_varint(&w); /* steps */
    double unit = wire_get_f64(&w);
    bool leads = wire_get_u8(&w) != 0;
    if (w.bad || !(unit >= 0) || !isfinite(unit))
        return -EBADMSG;
    pthread_rwlock_wrlock(&d->lock);
    r = dqn_restore(d->dqn, w.p, (size_t)(w.end - w.p), 0, &used);
    if (r == 0) {
        d->unit = unit;
        d->leads = leads;
        verdict_clear(d->verdict);
    }
    pthread_rwlock_unlock(&d->lock);
    return r;
}

uint64_t deep_record_steps(const void *p, size_t n) {
    struct wire w;
    size_t used;
    uint64_t steps = block_open(p, n, DEEP_VERSION, &w, &used) < 0 ? 0 : wire_get_varint(&w);
    return w.bad ? 0 : steps;
}
