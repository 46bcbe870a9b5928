/* Guards, choice, and what is remembered of it. */
#include <xxhash.h>

#include "policy/steps.h"

int64_t user_clock(const struct user *u, int64_t now_ms) {
    const struct user_ext *x = u->ext;
    now_ms = MAX(now_ms, u->prof.last_ms);
    return x ? MAX(now_ms, x->clock_ms) : now_ms;
}

/* `user`: his id's hash, the same for all candidates. */
static XXH128_hash_t trigger_id(const struct policy_set *set, XXH128_hash_t user,
                                const struct candidate *cand) {
    uint64_t parts[4] = {user.high64, user.low64, set->c[cand->campaign].hash, cand->cause_hash};
    return XXH3_128bits_withSeed(parts, sizeof parts, set->trigger_seed);
}

static bool already_sent(const struct user *u, uint64_t trigger) {
    const struct user_ext *x = u->ext;
    for (size_t i = 0; x && i < x->n_sends; i++)
        if (x->sends[i].trigger == trigger)
            return true;
    return false;
}

static struct decision *record(const struct policy_context *c, int64_t now_ms,
                               const struct candidate *cand, enum policy_reason reason,
                               double propensity, struct decisions *out) {
    const struct campaign *k = &c->set->c[cand->campaign];
    if (out->n == out->cap) {
        size_t cap = out->cap ? 2 * out->cap : 16;
        struct decision *d = realloc(out->d, cap * sizeof *d);
        if (!d) {
            out->failed = true;
            return NULL;
        }
        out->d = d;
        out->cap = cap;
    }
    struct decision *d = &out->d[out->n++]; /* field by field: most of it is the code */
    d->campaign = cand->campaign;
    d->offer = cand->offer;
    d->reason = reason;
    d->send = reason == PR_SENT;
    memcpy(d->trigger_hash, cand->trigger_hash, sizeof d->trigger_hash);
    d->time_ms = now_ms;
    d->valid_until_ms = MIN(now_ms + k->spec.valid_ms, k->end_ms);
    d->propensity = propensity;
    d->item = cand->item;
    d->old_price = cand->old_price;
    d->new_price = cand->new_price;
    d->code[0] = 0;
    d->would.known = false;
    d->cause_hash = cand->cause_hash;
    d->exposed = c->set->n_experiments && exposure_told(c, cand->campaign);
    d->user = c->user;
    shard_count(c->shard, cand->campaign, reason);
    return d;
}

/* Waits for the end of the quiet hours; a newer trigger of the campaign takes the place of
 * one that waits already. */
static int postpone(const struct policy_context *c, int64_t now_ms, const struct candidate *cand) {
    const struct campaign *k = &c->set->c[cand->campaign];
    struct user_ext *x = ext_get(c->user);
    return !x ? -ENOMEM
              : ext_timer_set(x, &(struct timer){
                                     .due_ms = quiet_end_ms(&k->spec.quiet, guard_zone(c), now_ms),
                                     .since_ms = cand->since_ms,
                                     .cause_hash = cand->cause_hash,
                                     .old_price = cand->old_price,
                                     .new_price = cand->new_price,
                                     .item = cand->item,
                                     .campaign = cand->campaign,
                                     .kind = TIMER_POSTPONED,
                                 });
}

/* Sets the timers of the campaigns that follow this one. */
static int follow_up(const struct policy_context *c, int64_t now_ms, const struct candidate *cand) {
    const struct policy_set *set = c->set;
    int r = 0;
    for (size_t i = 0; i < set->follows.n && r == 0; i++) {
        const struct campaign *k = &set->c[set->follows.i[i]];
        if (k->follows == cand->campaign)
            r = ext_timer_set(c->user->ext, &(struct timer){
                                                .due_ms = now_ms + k->spec.trigger.after_ms,
                                                .since_ms = now_ms,
                                                .cause_hash = cand->trigger_hash[0],
                                                .old_price = cand->old_price,
                                                .new_price = cand->new_price,
                                                .item = cand->item,
                                                .campaign = set->follows.i[i],
                                                .kind = TIMER_FOLLOW,
                                            });
    }
    return r;
}

/* What a group's policy wants, and what is to be remembered of it. */
struct answer {
    struct choice choice;
    struct would would;
    float *x;          /* features of the choice, NULL: the policy has none */
    struct step *step; /* NULL: it does not look ahead */
};

static void answer_done(struct answer *a) {
    free(a->x);
    free(a->step);
}

/* Opens the window of a choice in the room that was reserved. */
static void open_window(const struct policy_context *c, int64_t now_ms,
                        const struct candidate *cand, bool nothing, struct answer *a,
                        struct decisions *out) {
    feedback_open(c, now_ms, cand, a->choice.propensity, nothing, TAKE(a->x));
    if (a->step)
        steps_add(c, TAKE(a->step), out);
}

/* Budget, code and memory first: what goes out is remembered, whatever happens. */
static enum policy_reason send(const struct policy_context *c, int64_t now_ms,
                               const struct candidate *cand, struct answer *a,
                               struct decisions *out) {
    const struct campaign *k = &c->set->c[cand->campaign];
    const struct offer_spec *o = &k->spec.offer[cand->offer];
    struct user_ext *x = ext_get(c->user);
    if (!x || ext_sent_reserve(x) < 0 || !feedback_reserve(c, now_ms, out))
        return PR_COUNT;
    enum policy_reason r = shard_budget_reserve(c->shard, cand->campaign, now_ms);
    if (r != PR_SENT)
        return r;
    struct str code = o->pool ? shard_code_take(c->shard, o->pool - 1) : o->code;
    ext_sent_add(x, c->set,
                 &(struct sent){
                     .time_ms = now_ms,
                     .trigger = cand->trigger_hash[0],
                     .campaign = k->hash,
                     .channel = k->channel_hash,
                     .counts = !k->spec.transactional,
                 });
    ext_messaged(x);
    open_window(c, now_ms, cand, false, a, out);
    if (follow_up(c, now_ms, cand) < 0)
        return PR_COUNT;
    x->clock_ms = MAX(x->clock_ms, now_ms);
    fairness_sent(c, cand->campaign);
    struct decision *d = record(c, now_ms, cand, PR_SENT, a->choice.propensity, out);
    if (!d)
        return PR_COUNT;
    d->would = a->would;
    code_print(code, cand->trigger_hash[1], d->code);
    return PR_SENT;
}

/* Once per campaign of [from, from + n). */
static void record_all(const struct policy_context *c, int64_t now_ms, const struct candidate *from,
                       size_t n, int except, enum policy_reason reason, const struct answer *a,
                       struct decisions *out) {
    for (size_t i = 0; i < n; i += 1u + from[i].more) {
        if (from[i].campaign == except)
            continue;
        struct decision *d = record(c, now_ms, &from[i], reason, a->choice.propensity, out);
        if (d)
            d->would = a->would;
    }
}

static size_t group_of(const struct policy_set *set, const struct candidate *cand) {
    return set->c[cand->campaign].group;
}

/* The index of the highest priority, then the first. */
static size_t foremost(const struct policy_set *set, const struct candidate *cand, size_t n) {
    size_t best = 0;
    for (size_t i = 0; i < n; i += 1u + cand[i].more)
        if (set->c[cand[i].campaign].spec.priority > set->c[cand[best].campaign].spec.priority)
            best = i;
    return best;
}

/* Moves the candidates of a group to the front, keeping the order of both; returns how many. */
static size_t partition(const struct policy_set *set, size_t group, struct candidate *cand,
                        size_t n) {
    struct candidate others[POLICY_PAIRS_MAX];
    size_t mine = 0, rest = 0;
    while (mine < n && group_of(set, &cand[mine]) == group)
        mine += 1u + cand[mine].more;
    for (size_t i = mine; i < n; i++)
        if (group_of(set, &cand[i]) != group)
            others[rest++] = cand[i];
        else
            cand[mine++] = cand[i];
    memcpy(cand + mine, others, rest * sizeof *cand);
    return mine;
}

static void take_campaign_out(struct candidate *cand, size_t *n, uint16_t campaign) {
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++)
        if (cand[i].campaign != campaign)
            cand[kept++] = cand[i];
    *n = kept;
}

static struct would would_of(const struct choice *choice, const struct candidate *cand) {
    bool nothing = choice->index < 0;
    return (struct would){.known = true,
                          .campaign = nothing ? -1 : (int16_t)cand[choice->index].campaign,
                          .offer = nothing ? 0 : cand[choice->index].offer,
                          .propensity = choice->propensity};
}

/* The policy itself, or the rules for it; then it says what it would have done. */
static void consult(const struct policy_context *c, int64_t now_ms, const struct group *g,
                    const struct arms *arms, struct answer *ret) {
    uint64_t seed = arms->cand[0].trigger_hash[0];
    struct choice choice = {.index = -1, .propensity = 1};
    bool acts = g->spec.mode == MODE_ONLINE &&
                !(c->set->n_designed && experiment_rules_choose(c, group_of(c->set, arms->cand)));
    g->kind->decide(g->self, c, now_ms, seed, arms, &choice);
    if (!acts && g->kind != &policy_rules) {
        ret->would = would_of(&choice, arms->cand);
        choice = (struct choice){.index = -1, .propensity = 1};
        policy_rules.decide(NULL, c, now_ms, seed, arms, &choice);
    }
    ret->choice = choice;
}

/* What one group's policy wants of its first `n` candidates; answer_done afterwards. False: memory
 * is out. */
static bool ask(const struct policy_context *c, int64_t now_ms, const struct group *g,
                const struct candidate *cand, size_t n, struct answer *ret) {
    struct arms arms = {.n = n, .cand = cand};
    *ret = (struct answer){0};
    if (!g->kind->features) {
        consult(c, now_ms, g, &arms, ret);
        return true;
    }
    _Alignas(64) float own[POLICY_PAIRS_MAX * FEATURES_OWN];
    float *x = ret->x = malloc(FEATURES_BYTES);
    if (!x)
        return false;
    features(c, now_ms, cand, n, x, own);
    arms.shared = x;
    arms.own = own;
    consult(c, now_ms, g, &arms, ret);
    if (g->kind->looks_ahead && g->spec.mode != MODE_LOG_ONLY) {
        ret->step = step_new(c, now_ms, &arms, &ret->choice);
        if (!ret->step)
            return false;
    }
    const struct choice *chosen = &ret->choice;
    size_t about = chosen->index >= 0 ? (size_t)chosen->index + 1 : chosen->instead;
    if (about)
        memcpy(x + FEATURES_SHARED, own + (about - 1) * FEATURES_OWN, FEATURES_OWN * sizeof *own);
    else
        memset(x + FEATURES_SHARED, 0, FEATURES_OWN * sizeof *own);
    return true;
}

/* That nothing was sent has an outcome too, if a policy that is to be judged chose it. */
static bool open_nothing(const struct policy_context *c, int64_t now_ms,
                         const struct candidate *cand, struct answer *a, struct decisions *out) {
    if (!ext_get(c->user) || !feedback_reserve(c, now_ms, out))
        return false;
    open_window(c, now_ms, cand, true, a, out);
    return true;
}

/* The first `mine` of n candidates are one group's. What became of them; PR_POLICY: nothing, and
 * the next group may. */
static enum policy_reason settle(const struct policy_context *c, int64_t now_ms,
                                 const struct group *g, const struct candidate *cand, size_t n,
                                 size_t mine, struct answer *a, struct decisions *out) {
    int index = a->choice.index;
    if (index < 0 || (size_t)index >= mine) {
        record_all(c, now_ms, cand, mine, -1, PR_POLICY, a, out);
        bool judged = g->kind != &policy_rules;
        return judged && !open_nothing(c, now_ms, cand, a, out) ? PR_COUNT : PR_POLICY;
    }
    enum policy_reason r = send(c, now_ms, &cand[index], a, out);
    if (r == PR_SENT)
        record_all(c, now_ms, cand, n, cand[index].campaign, PR_NOT_BEST, a, out);
    else if (r == PR_BUDGET) /* another thread spent the last of it just now */
        record(c, now_ms, &cand[index], PR_BUDGET, 1, out);
    return r;
}

/* One of those that passed goes out, or none: the groups are asked in the order of their foremost
 * candidates until one wants to send. */
static void choose(const struct policy_context *c, int64_t now_ms, struct candidate *cand, size_t n,
                   struct decisions *out) {
    const struct policy_set *set = c->set;
    while (n && !out->failed) {
        size_t g = group_of(set, &cand[foremost(set, cand, n)]);
        size_t mine = partition(set, g, cand, n);
        struct answer a;
        enum policy_reason r = PR_COUNT;
        if (ask(c, now_ms, &set->group[g], cand, mine, &a))
            r = settle(c, now_ms, &set->group[g], cand, n, mine, &a, out);
        answer_done(&a);
        switch (r) {
        case PR_SENT:
            return;
        case PR_BUDGET:
            take_campaign_out(cand, &n, cand[a.choice.index].campaign);
            break;
        case PR_POLICY:
            n -= mine;
            memmove(cand, cand + mine, n * sizeof *cand);
            break;
        default:
            out->failed = true;
        }
    }
}

/* The offers that a campaign may make now; if there is none, that is its decision. */
static size_t offers_of(const struct policy_context *c, int64_t now_ms,
                        const struct candidate *cand, struct candidate *ret, size_t room,
                        struct decisions *out) {
    enum policy_reason why;
    size_t n = 0;
    uint32_t open = guard_offers(c, cand, &why);
    for (; open && n < room; open &= open - 1) {
        ret[n] = *cand;
        ret[n++].offer = (uint8_t)__builtin_ctz(open);
    }
    for (size_t i = 0; i < n; i++)
        ret[i].more = (uint8_t)(n - 1 - i);
    if (!n)
        record(c, now_ms, cand, why, 1, out);
    return n;
}

void decide(const struct policy_context *c, const struct event *e, int64_t now_ms,
            struct candidate *cand, size_t n, struct decisions *out) {
    struct candidate pair[POLICY_PAIRS_MAX];
    size_t n_pairs = 0;
    XXH128_hash_t user = XXH3_128bits_withSeed(c->user->id.p, c->user->id.n, c->set->trigger_seed);
    struct guarded who = guard_user(c, now_ms);
    for (size_t i = 0; i < n; i++) {
        const struct campaign *k = &c->set->c[cand[i].campaign];
        if (k->n_audience && !audience_holds(c, k, e, cand[i].item, now_ms, false)) {
            shard_count(c->shard, cand[i].campaign, PR_AUDIENCE);
            continue;
        }
        XXH128_hash_t id = trigger_id(c->set, user, &cand[i]);
        if (already_sent(c->user, id.high64))
            continue;
        cand[i].trigger_hash[0] = id.high64;
        cand[i].trigger_hash[1] = id.low64;
        enum policy_reason r = guard(c, now_ms, &cand[i], who);
        if (r == PR_COUNT) {
            out->failed = true;
            return;
        }
        if (e && k->spec.trigger.kind == TRIGGER_VIEWED) {
            struct user_ext *x = ext_get(c->user);
            if (!x || ext_mark_set(x, cand[i].campaign, e->time_ms) < 0) {
                out->failed = true;
                return;
            }
        }
        if (r == PR_SENT) {
            n_pairs +=
                offers_of(c, now_ms, &cand[i], pair + n_pairs, POLICY_PAIRS_MAX - n_pairs, out);
            continue;
        }
        if (r == PR_POSTPONED && postpone(c, now_ms, &cand[i]) < 0) {
            out->failed = true;
            return;
        }
        record(c, now_ms, &cand[i], r, 1, out);
    }
    choose(c, now_ms, pair, n_pairs, out);
}

static void rules_decide(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                         const struct arms *arms, struct choice *ret) {
    (void)self;
    (void)now_ms;
    (void)seed;
    ret->index = (int)foremost(c->set, arms->cand, arms->n);
    ret->propensity = 1;
}

const struct policy_kind policy_rules = {.name = "rules", .decide = rules_decide};

static void random_decide(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                          const struct arms *arms, struct choice *ret) {
    struct rng r;
    (void)self;
    (void)c;
    (void)now_ms;
    rng_seed(&r, seed);
    ret->index = (int)rng_below(&r, (uint32_t)arms->n + 1) - 1;
    ret->propensity = 1 / ((double)arms->n + 1);
}

const struct policy_kind policy_random = {
    .name = "random", .features = true, .decide = random_decide};

void policy_learn(const struct policy_set *s, const struct outcome *o) {
    const struct group *g = &s->group[s->c[o->campaign].group];
    if (g->kind->learn && g->spec.mode != MODE_LOG_ONLY)
        g->kind->learn(g->self, o);
}

void policy_follow(const struct policy_set *s, const struct passage *p) {
    const struct group *g = &s->group[p->group];
    if (g->kind->follow && g->spec.mode != MODE_LOG_ONLY)
        g->kind->follow(g->self, p);
}
