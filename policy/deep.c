#include "policy/deep.h"

#include <math.h>
#include <pthread.h>

#include "model/block.h"
#include "policy/bandit.h"
#include "policy/dqn.h"
#include "policy/stats.h"
#include "policy/steps.h"
#include "policy/verdict.h"

enum {
    DEEP_VERSION = 2,
    DEEP_VERSION_OFFERS = 1, /* of a network with an output for each offer, which no one can use */
    PASSES = 64,
    LATER = 0,            /* the network's output: what a message just sent adds later */
    BANDIT_FIRST = 500,   /* samples before its noise is the unit, */
    BANDIT_KNOWS = 5000,  /* and before what differs from its expectations tells of weariness */
    WEAR_FIRST = 1500,    /* pairs of decisions, as they weigh, */
    STEPS_FIRST = 4000,   /* and steps of the network before it is tried */
    LEARN_EVERY = 4,      /* passages a step of the network from then on; one each before */
    REFRESH_EVERY = 1000, /* passages, of what is familiar and of weariness */
    TRIAL = 4,            /* of so many decisions one is a trial; */
    TRIAL_LED = 8,        /* while the network is in charge */
    JUDGED_MAX = 1 << 18, /* decisions that a verdict rests on */
    CONTESTED_MIN = 200,
    CONTESTED_TIGHT = 2000, /* where the verdict's confidence sequence is tightest */
    JUDGE_EVERY = 1000,     /* passages, or a sixteenth of the trials judged the last time */
    NEWEST = 1000,          /* passages that rates of the newest are about */
};
#define EXPLORE 0.02
/* So much of the cost counts that the network expects: where it comes close to what a message
 * brings at once, both are uncertain. Half was better than all in simulated markets. */
#define COUNTED 0.5
/* Of a verdict that is valid however often one is asked for. */
#define LEVEL 0.99

#define DAY_MS 86400000.0

struct deep {
    struct learned *bandit;
    int64_t horizon_ms;
    pthread_rwlock_t lock; /* of all below; deciding reads */
    struct dqn *dqn;
    struct wear wear;
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
    struct dqn_config c = dqn_defaults(STATE_COLUMNS, 1);
    c.hidden[1] = 32;
    c.replay = 20000;
    c.huber = 10;
    c.familiar_reach = 3; /* an embedding has length 1 */
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
    learned_explore(bandit, EXPLORE); /* or nothing could be told of the network by it */
    d->horizon_ms = horizon_ms;
    d->last = (struct verdict_result){.advantage = NAN, .se = NAN};
    d->unfamiliar = 1;
    d->loss = NAN;
    rng_seed(&d->rng, seed);
    struct dqn_config c = network_of(seed);
    int r = wear_init(&d->wear);
    if (r == 0)
        r = dqn_new(&c, &d->dqn);
    if (r == 0)
        r = verdict_new(&(struct verdict_config){horizon_ms, JUDGED_MAX, CONTESTED_MIN},
                        &d->verdict);
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
    wear_done(&d->wear);
    verdict_free(d->verdict);
    pthread_mutex_destroy(&d->pass_lock);
    pthread_rwlock_destroy(&d->lock);
    free(d);
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

/* What a message costs later; false: the network does not know such states. */
static bool cost_of(struct deep *d, const struct policy_context *c, const struct arms *arms,
                    double *ret) {
    float state[STATE_COLUMNS], worth[1];
    struct mlp_pass *pass = pass_take(d);
    if (!pass)
        return false;
    step_state(c, arms, state);
    pthread_rwlock_rdlock(&d->lock);
    bool known = dqn_worth(d->dqn, pass, state, worth);
    if (known)
        *ret = -(double)worth[LATER] * d->unit * COUNTED;
    pthread_rwlock_unlock(&d->lock);
    pass_give(d, pass);
    return known;
}

/* Which of the two decides. A coin does in a trial, for which both have to be asked. */
struct roles {
    bool network, trial;
};

static struct roles roles(struct deep *d, struct rng *rng) {
    pthread_rwlock_rdlock(&d->lock);
    bool leads = d->leads,
         able = leads || (dqn_steps(d->dqn) >= STEPS_FIRST && d->wear.fit.n >= WEAR_FIRST);
    pthread_rwlock_unlock(&d->lock);
    bool trial = able && rng_below(rng, leads ? TRIAL_LED : TRIAL) == 0;
    return (struct roles){trial ? rng_below(rng, 2) == 0 : leads, trial};
}

/* False: memory is out, or the network does not know such states. */
static bool network_decides(struct deep *d, const struct policy_context *c, const struct arms *arms,
                            struct roles r, struct rng *rng, struct choice *ret) {
    double cost, p[POLICY_PAIRS_MAX + 1], bandit[POLICY_PAIRS_MAX + 1];
    if (!cost_of(d, c, arms, &cost) || !learned_probabilities(d->bandit, arms, cost, p) ||
        (r.trial && !learned_probabilities(d->bandit, arms, 0, bandit)))
        return false;
    int index = bandit_draw(r.network ? p : bandit, arms->n, rng);
    double by_network = p[1 + index];
    *ret = (struct choice){
        .index = index,
        .propensity = r.trial ? (by_network + bandit[1 + index]) / 2 : by_network,
        .by = r.network ? BY_NETWORK : BY_BANDIT,
        .by_network = r.trial ? by_network : NAN,
    };
    return true;
}

static void deep_decide(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                        const struct arms *arms, struct choice *ret) {
    struct deep *d = self;
    struct rng rng;
    rng_seed(&rng, hash_bytes(&seed, sizeof seed, 0)); /* `seed` itself is the bandit's */
    struct roles r = roles(d, &rng);
    if ((r.trial || r.network) && network_decides(d, c, arms, r, &rng, ret))
        return;
    policy_learned.decide(d->bandit, c, now_ms, seed, arms, ret);
    ret->by = BY_BANDIT;
    ret->by_network = NAN;
}

/* ---- who is in charge ---------------------------------------------------------- */

/* Of the verdict's case; NAN: it was no trial. */
static double weigh(const struct deep *d, const struct passage *p) {
    if (p->by == BY_RULES || !(p->propensity > 0))
        return NAN;
    double network = p->by_network / p->propensity;
    return d->leads ? 2 - network : network;
}

/* How far from 0 an advantage must be, in standard errors. */
static double certain(double contested) {
    return z_always(LEVEL, contested, CONTESTED_TIGHT);
}

static void judge(struct deep *d) {
    if (verdict_judge(d->verdict, &d->last) < 0 || d->last.warnings ||
        !(d->last.advantage > certain(d->last.contested) * d->last.se))
        return;
    d->leads = !d->leads;
    verdict_clear(d->verdict); /* what others decided tells nothing of what this one earns */
}

/* ---- learning ------------------------------------------------------------------ */

/* Weariness at a passage's decision, and what came instead of what is expected without it. */
static struct wear_sample wear_of(struct deep *d, const struct passage *p, bool knows) {
    float shared[FEATURES_SHARED], own[FEATURES_OWN];
    struct wear_sample ret;
    memcpy(shared, p->step, sizeof shared);
    memcpy(own, p->step + STATE_COLUMNS, sizeof own);
    ret.messages = 2 * shared[FS_WEARY];
    features_wear(shared, own, ret.column);
    features_rest(shared, own);
    ret.value = shared[FS_BASKET];
    ret.rest = knows ? p->reward - learned_mean(d->bandit, shared, own) : NAN;
    return ret;
}

/* What one message more shortly before takes off a decision, by what was done there. */
static double loss_of(const struct deep *d, const float *step) {
    float column[WEAR_COLUMNS];
    features_wear(step, step + STATE_COLUMNS, column);
    return wear_loss(&d->wear, column);
}

/* What remains of a message's weariness counts when the next decision comes. */
static double remains(const struct deep *d, int64_t gap_ms) {
    return verdict_discount(gap_ms, d->horizon_ms) *
           exp(-(double)gap_ms / DAY_MS / FEATURES_WEARY_DAYS);
}

static void learn(struct deep *d, const struct passage *p) {
    struct dqn_transition t = {.state = p->step, .next = p->next, .action = LATER};
    double loss;
    if (p->next) {
        double left = remains(d, p->next_ms - p->at_ms);
        t.reward = (float)(-left * loss_of(d, p->next) / d->unit);
        t.discount = (float)left;
    }
    if (!dqn_remember(d->dqn, &t, p->at_ms))
        return;
    uint64_t every = dqn_steps(d->dqn) < STEPS_FIRST ? 1 : LEARN_EVERY;
    if (++d->passages % every == 0 && dqn_learn(d->dqn, &d->rng, &loss) == 0)
        d->loss = isnan(d->loss) ? loss : d->loss + (loss - d->loss) / NEWEST;
    if (d->passages % REFRESH_EVERY == 0) { /* or go by the old ones */
        dqn_refresh(d->dqn, p->at_ms);
        wear_refresh(&d->wear, p->at_ms);
    }
}

static void deep_follow(void *self, const struct passage *p) {
    struct deep *d = self;
    double samples, noise = learned_noise(d->bandit, &samples);
    struct verdict_case now = {.user = p->user,
                               .trigger = p->trigger,
                               .before = p->before,
                               .at_ms = p->at_ms,
                               .gain = p->reward,
                               .usual = learned_mean(d->bandit, p->step, NULL),
                               .wear = wear_of(d, p, samples >= BANDIT_KNOWS)};
    pthread_rwlock_wrlock(&d->lock);
    now.weight = weigh(d, p);
    d->unfamiliar += (!dqn_familiar(d->dqn, p->step) - d->unfamiliar) / NEWEST;
    if (!(d->unit > 0) && samples >= BANDIT_FIRST)
        d->unit = noise / 3;
    if (d->unit > 0) {
        const struct verdict_case *before = verdict_find(d->verdict, p->before);
        if (before)
            wear_learn(&d->wear, &before->wear, &now.wear, p->at_ms);
        learn(d, p);
    }
    verdict_note(d->verdict, &now);
    if (++d->since_judged >= MAX(JUDGE_EVERY, d->last.n / 16)) {
        d->since_judged = 0;
        judge(d);
    }
    pthread_rwlock_unlock(&d->lock);
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
                               .contested = d->last.contested,
                               .advantage = d->last.advantage,
                               .se = d->last.se,
                               .warnings = d->last.warnings,
                               .unfamiliar = d->unfamiliar,
                               .loss = d->loss,
                               .epsilon = EXPLORE};
    pthread_rwlock_unlock(&d->lock);
}

const char *deep_why(const struct deep_state *s) {
    double bound = certain(s->contested) * s->se;
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
    int r = wear_encode(&d->wear, out);
    if (r == 0)
        r = dqn_encode(d->dqn, out);
    pthread_rwlock_unlock(&d->lock);
    if (r == 0)
        r = block_end(out, at);
    if (r < 0)
        out->n = at;
    return r;
}

/* Of an older network nothing is of use but the unit. */
static int restore_older(struct deep *d, const void *p, size_t n) {
    struct wire w;
    size_t used;
    int r = block_open(p, n, DEEP_VERSION_OFFERS, &w, &used);
    if (r < 0)
        return r;
    wire_get_varint(&w); /* steps */
    double unit = wire_get_f64(&w);
    if (w.bad || !(unit >= 0) || !isfinite(unit))
        return -EBADMSG;
    pthread_rwlock_wrlock(&d->lock);
    d->unit = d->unit > 0 ? d->unit : unit;
    pthread_rwlock_unlock(&d->lock);
    return 0;
}

int deep_restore(struct deep *d, const void *p, size_t n) {
    struct wire w;
    size_t used, rest;
    int r = block_open(p, n, DEEP_VERSION, &w, &used);
    if (r < 0)
        return restore_older(d, p, n);
    wire_get_varint(&w); /* steps */
    double unit = wire_get_f64(&w);
    bool leads = wire_get_u8(&w) != 0;
    if (w.bad || !(unit >= 0) || !isfinite(unit))
        return -EBADMSG;
    struct wear wear;
    r = wear_init(&wear);
    if (r == 0)
        r = wear_restore(&wear, w.p, (size_t)(w.end - w.p), 0, &used);
    pthread_rwlock_wrlock(&d->lock);
    if (r == 0)
        r = dqn_restore(d->dqn, w.p + used, (size_t)(w.end - w.p) - used, 0, &rest);
    if (r == 0) {
        struct wear old = d->wear;
        d->wear = wear;
        wear = old;
        d->unit = unit;
        d->leads = leads;
        verdict_clear(d->verdict);
    }
    pthread_rwlock_unlock(&d->lock);
    wear_done(&wear);
    return r;
}

uint64_t deep_record_steps(const void *p, size_t n) {
    struct wire w;
    size_t used;
    if (block_open(p, n, DEEP_VERSION, &w, &used) < 0)
        return 0;
    uint64_t steps = wire_get_varint(&w);
    return w.bad ? 0 : steps;
}
