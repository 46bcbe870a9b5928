/* Experiments at work: how a file's experiments are compiled, who is exposed, and what he does in
 * his window. */
#include <math.h>
#include <stdio.h>

#include "policy/evidence_internal.h"

/* ---- the set's part -------------------------------------------------------------- */

void experiment_free(struct experiment *e) {
    free(e->spec.arm);
    free(e->about);
    free(e->offers);
}

static int offer_find(const struct campaign *k, struct str name) {
    for (size_t o = 0; o < k->spec.n_offers; o++)
        if (str_eq(k->spec.offer[o].name, name))
            return (int)o;
    return -1;
}

static int group_find(const struct policy_set *s, struct str name) {
    for (size_t g = 1; g < s->n_groups; g++)
        if (str_eq(s->group[g].spec.name, name))
            return (int)g;
    return -1;
}

/* What an arm means; `h` becomes a print of it. */
static int compile_arm(struct policy_set *s, struct experiment *e, size_t a, uint64_t *h) {
    const struct arm_spec *arm = &e->spec.arm[a];
    uint16_t *offers = e->offers + a * s->n;
    *h = hash_str(arm->name, *h + e->spec.spec.weight[a]);
    for (size_t i = 0; i < s->n; i++)
        offers[i] = UINT16_MAX;
    for (size_t i = 0; i < arm->n_off; i++) {
        int k = policy_campaign_find(s, arm->off[i]);
        if (k < 0)
            return -EINVAL;
        offers[k] = 0;
        e->about[k] = true;
        *h = hash_str(arm->off[i], *h + 1);
    }
    for (size_t i = 0; i < arm->n_offers; i++) {
        int k = policy_campaign_find(s, arm->offers[i].campaign);
        int o = k < 0 ? -1 : offer_find(&s->c[k], arm->offers[i].offer);
        if (o < 0)
            return -EINVAL;
        offers[k] = (uint16_t)(1u << o);
        e->about[k] = true;
        *h = hash_str(arm->offers[i].offer, hash_str(arm->offers[i].campaign, *h + 2));
    }
    for (size_t i = 0; i < arm->n_rules; i++) {
        int g = group_find(s, arm->rules[i]);
        if (g < 0)
            return -EINVAL;
        e->rules[a] |= UINT32_C(1) << g;
        for (size_t k = 0; k < s->n; k++)
            e->about[k] |= s->c[k].group == g;
        *h = hash_str(arm->rules[i], *h + 3);
    }
    return 0;
}

static int compile_one(struct policy_set *s, const struct experiment_arms *spec) {
    struct experiment *e = &s->experiment[s->n_experiments];
    struct experiment_spec others[EXPERIMENTS_MAX];
    for (size_t i = 0; i < s->n_experiments; i++) { /* the file's, so far */
        others[i] = s->experiment[i].spec.spec;
        if (str_eq(s->experiment[i].spec.name, spec->name))
            return -EEXIST;
    }
    int r = experiment_check(&spec->spec, others, s->n_experiments);
    if (r < 0 || spec->window_ms <= 0)
        return r < 0 ? r : -EINVAL;
    size_t n = spec->spec.n_arms;
    *e = (struct experiment){.spec = *spec, .holdout = -1};
    e->spec.arm = calloc(n, sizeof *e->spec.arm);
    e->about = calloc(s->n + 1, sizeof *e->about);
    e->offers = calloc(n * s->n + 1, sizeof *e->offers);
    s->n_experiments++;
    if (!e->spec.arm || !e->about || !e->offers)
        return -ENOMEM;
    memcpy(e->spec.arm, spec->arm, n * sizeof *e->spec.arm);
    e->hash = hash_str(spec->name, 5);
    uint64_t parts[] = {s->arm_seed,      hash_str(spec->spec.id, 0), hash_str(spec->spec.layer, 0),
                        spec->spec.first, spec->spec.buckets,         (uint64_t)spec->window_ms};
    e->print = hash_bytes(parts, sizeof parts, 0);
    for (size_t a = 0; a < n && r == 0; a++)
        r = compile_arm(s, e, a, &e->print);
    return r;
}

/* A campaign's hold-out as an experiment about what the campaign earns. */
static int compile_holdout(struct policy_set *s, size_t campaign, char **text) {
    struct experiment *e = &s->experiment[s->n_experiments];
    struct campaign *k = &s->c[campaign];
    struct str name = {*text, strlen(HOLDOUT_STUDY) + k->spec.id.n};
    memcpy(*text, HOLDOUT_STUDY, strlen(HOLDOUT_STUDY));
    *text += strlen(HOLDOUT_STUDY);
    text_keep(text, k->spec.id);
    *e = (struct experiment){
        .spec = {.name = name,
                 .spec = {.buckets = EXPERIMENT_BUCKETS,
                          .n_arms = 2,
                          .weight = {k->spec.holdout, EXPERIMENT_BUCKETS - k->spec.holdout}},
                 .arm = calloc(2, sizeof *e->spec.arm),
                 .window_ms = policy_window_ms(&k->spec),
                 .metric = EXP_MARGIN},
        .hash = k->holdout_key,
        .print = k->holdout_print,
        .about = calloc(s->n + 1, sizeof *e->about),
        .holdout = (int)campaign,
    };
    k->holdout_study = (int)s->n_experiments++;
    if (!e->spec.arm || !e->about)
        return -ENOMEM;
    e->spec.arm[0].name = STR("holdout");
    e->spec.arm[1].name = STR("rest");
    e->about[campaign] = true;
    return 0;
}

int experiments_compile(struct policy_set *s, const struct policy_spec *spec, char **text) {
    for (size_t i = 0; i < spec->n_experiments; i++) {
        int r = compile_one(s, &spec->experiment[i]);
        if (r < 0)
            return r;
        struct experiment_arms *e = &s->experiment[i].spec;
        e->name = text_keep(text, e->name);
        e->spec.id = text_keep(text, e->spec.id);
        e->spec.layer = text_keep(text, e->spec.layer);
        for (size_t a = 0; a < e->spec.n_arms; a++)
            e->arm[a].name = text_keep(text, e->arm[a].name);
    }
    s->n_designed = s->n_experiments;
    for (size_t k = 0; k < s->n; k++) {
        uint32_t share = s->c[k].spec.holdout;
        int r = share && share < EXPERIMENT_BUCKETS ? compile_holdout(s, k, text) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int arm_of(const struct policy_set *s, const struct experiment *e, struct str user) {
    if (e->holdout >= 0)
        return !campaign_holds_out(&s->c[e->holdout], user);
    return experiment_arm(&e->spec.spec, s->arm_seed, user);
}

int policy_campaign_study(const struct policy_set *s, size_t campaign, size_t *ret_arm) {
    *ret_arm = 1;
    if (s->c[campaign].holdout_study >= 0)
        return s->c[campaign].holdout_study;
    for (size_t i = 0; i < s->n_designed; i++) {
        const struct experiment *e = &s->experiment[i];
        if (e->offers[campaign])
            continue; /* the control gets it */
        for (size_t a = 1; a < e->spec.spec.n_arms; a++)
            if (e->offers[a * s->n + campaign]) {
                *ret_arm = a;
                return (int)i;
            }
    }
    return -1;
}

void policy_arms_print(const struct policy_set *s, size_t campaign, struct str user, char *ret,
                       size_t n) {
    size_t at = 0;
    *ret = 0;
    for (size_t i = 0; i < s->n_experiments; i++) {
        const struct experiment *e = &s->experiment[i];
        int arm = e->about[campaign] ? arm_of(s, e, user) : -1;
        if (arm < 0 || at >= n)
            continue;
        int k = snprintf(ret + at, n - at, "%s%s:%s", at ? "," : "", e->spec.name.p,
                         e->spec.arm[arm].name.p);
        at += k > 0 ? (size_t)k : 0;
    }
}

/* ---- exposure --------------------------------------------------------------------- */

static struct exposure *exposure_find(const struct user_ext *x, uint64_t experiment) {
    for (size_t i = 0; x && i < x->n_exposures; i++)
        if (x->exposures[i].experiment == experiment)
            return &x->exposures[i];
    return NULL;
}

/* Once per user. */
static int expose(const struct policy_context *c, int64_t now_ms, size_t i, uint8_t arm) {
    const struct experiment *e = &c->set->experiment[i];
    if (exposure_find(c->user->ext, e->hash))
        return 0;
    struct user_ext *x = ext_get(c->user);
    if (!x || ext_grow((void **)&x->exposures, x->n_exposures, sizeof *x->exposures) < 0)
        return -ENOMEM;
    struct evidence *notes = shard_evidence(c->shard);
    if (evidence_use(notes, e->hash, e->print) < 0)
        return -ENOMEM;
    double before = profile_value(&c->user->prof, PF_SPEND, now_ms);
    x->exposures[x->n_exposures++] = (struct exposure){
        .experiment = e->hash,
        .time_ms = now_ms,
        .until_ms = now_ms + e->spec.window_ms,
        .before = isfinite(before) ? before : 0,
        .survey = NAN,
        .arm = arm,
        .open = true,
        .fresh = true,
    };
    evidence_hold(notes);
    notes->study[i].exposed[arm]++;
    evidence_let(notes);
    return 0;
}

/* Whether an arm is stopped; notes it with the partition, which makes it durable. */
static bool stopped(const struct policy_context *c, size_t i, int arm) {
    uint32_t now = policy_experiment_stopped(c->set, i);
    if (!c->set->experiment[i].spec.stop || !(now >> arm & 1))
        return false;
    if (shard_evidence_look(c->shard)->study[i].stopped != now)
        shard_evidence(c->shard)->study[i].stopped = now;
    return true;
}

bool campaign_holds_out(const struct campaign *k, struct str user) {
    return hash_str(user, k->holdout_seed) % EXPERIMENT_BUCKETS < k->spec.holdout;
}

enum policy_reason guard_holdout(const struct policy_context *c, int64_t now_ms,
                                 const struct candidate *cand) {
    const struct campaign *k = &c->set->c[cand->campaign];
    bool held = campaign_holds_out(k, c->user->id);
    if (k->holdout_study >= 0 && expose(c, now_ms, (size_t)k->holdout_study, !held) < 0)
        return PR_COUNT;
    return held ? PR_CAMPAIGN_HOLDOUT : PR_SENT;
}

enum policy_reason guard_experiments(const struct policy_context *c, int64_t now_ms,
                                     const struct candidate *cand) {
    const struct policy_set *set = c->set;
    bool off = false;
    for (size_t i = 0; i < set->n_designed; i++) {
        const struct experiment *e = &set->experiment[i];
        int arm = e->about[cand->campaign] ? arm_of(set, e, c->user->id) : -1;
        if (arm < 0)
            continue;
        if (expose(c, now_ms, i, (uint8_t)arm) < 0)
            return PR_COUNT;
        off |= !e->offers[(size_t)arm * set->n + cand->campaign] || stopped(c, i, arm);
    }
    return off ? PR_EXPERIMENT : PR_SENT;
}

uint32_t experiment_offers(const struct policy_context *c, uint16_t campaign) {
    uint32_t offers = UINT16_MAX;
    for (size_t i = 0; i < c->set->n_designed; i++) {
        const struct experiment *e = &c->set->experiment[i];
        int arm = e->about[campaign] ? arm_of(c->set, e, c->user->id) : -1;
        if (arm >= 0)
            offers &= e->offers[(size_t)arm * c->set->n + campaign];
    }
    return offers;
}

bool experiment_rules_choose(const struct policy_context *c, size_t group) {
    for (size_t i = 0; i < c->set->n_designed; i++) {
        int arm = arm_of(c->set, &c->set->experiment[i], c->user->id);
        if (arm >= 0 && c->set->experiment[i].rules[arm] >> group & 1)
            return true;
    }
    return false;
}

bool exposure_told(const struct policy_context *c, uint16_t campaign) {
    bool fresh = false;
    for (size_t i = 0; i < c->set->n_experiments; i++) {
        const struct experiment *e = &c->set->experiment[i];
        struct exposure *of = e->about[campaign] ? exposure_find(c->user->ext, e->hash) : NULL;
        if (of) {
            fresh |= of->fresh;
            of->fresh = false;
        }
    }
    return fresh;
}

/* ---- his window --------------------------------------------------------------------- */

void exposure_on_event(const struct policy_context *c, const struct event *e, double amount,
                       double margin) {
    struct user_ext *x = c->user->ext;
    for (size_t i = 0; x && i < x->n_exposures; i++) {
        struct exposure *of = &x->exposures[i];
        if (!of->open || e->time_ms < of->time_ms || e->time_ms >= of->until_ms)
            continue;
        if (e->type == EV_SURVEY) {
            of->survey = isfinite(e->value) ? (float)e->value : of->survey;
            continue;
        }
        double sign = e->type == EV_RETURN ? -1 : 1;
        of->bought |= e->type == EV_PURCHASE;
        of->paid += sign * amount;
        of->margin += sign * amount * margin;
    }
}

void exposure_on_outcome(struct user_ext *x, const struct pending *p, double more) {
    for (size_t i = 0; i < x->n_exposures; i++)
        if (x->exposures[i].open && p->sent_ms >= x->exposures[i].time_ms)
            x->exposures[i].margin += more;
}

int64_t exposure_due(const struct user_ext *x) {
    int64_t due = TIME_NEVER;
    for (size_t i = 0; x && i < x->n_exposures; i++)
        if (x->exposures[i].open)
            due = MIN(due, x->exposures[i].until_ms);
    return due;
}

static void close_exposure(const struct policy_context *c, struct exposure *of) {
    const struct user_ext *x = c->user->ext;
    of->open = false;
    for (size_t i = 0; i < x->n_pending; i++)
        if (x->pending[i].sent_ms >= of->time_ms)
            of->margin += feedback_cost(c, &x->pending[i]);
    for (size_t i = 0; i < c->set->n_experiments; i++) {
        if (c->set->experiment[i].hash != of->experiment)
            continue;
        struct evidence *notes = shard_evidence(c->shard);
        evidence_hold(notes);
        experiment_add(&notes->study[i].state, of->arm,
                       &(struct experiment_outcome){of->bought, of->paid, of->margin,
                                                    (double)of->survey, of->before});
        evidence_let(notes);
    }
}

void exposure_close_due(const struct policy_context *c, int64_t now_ms) {
    struct user_ext *x = c->user->ext;
    for (size_t i = 0; x && i < x->n_exposures; i++)
        if (x->exposures[i].open && x->exposures[i].until_ms <= now_ms)
            close_exposure(c, &x->exposures[i]);
}
