/* Guards, choice, and what is remembered of it. */
#include <xxhash.h>

#include "policy/features.h"
#include "policy/internal.h"

int64_t user_clock(const struct user *u, int64_t now_ms) {
    const struct user_ext *x = u->ext;
    now_ms = MAX(now_ms, u->prof.last_ms);
    return x ? MAX(now_ms, x->clock_ms) : now_ms;
}

/* `user`: his id's hash, the same for all candidates. */
static void trigger_id(const struct policy_set *set, XXH128_hash_t user, struct candidate *cand) {
    uint64_t parts[4] = {user.high64, user.low64, set->c[cand->campaign].hash, cand->cause_hash};
    XXH128_hash_t h = XXH3_128bits_withSeed(parts, sizeof parts, set->trigger_seed);
    cand->trigger_hash[0] = h.high64;
    cand->trigger_hash[1] = h.low64;
}

static bool already_sent(const struct user *u, const struct candidate *cand) {
    const struct user_ext *x = u->ext;
    for (size_t i = 0; x && i < x->n_sends; i++)
        if (x->sends[i].trigger == cand->trigger_hash[0])
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

/* Budget, code and memory first: what goes out is remembered, whatever happens. */
static enum policy_reason send(const struct policy_context *c, int64_t now_ms,
                               const struct candidate *cand, double propensity, float *x_taken,
                               struct decisions *out) {
    const struct campaign *k = &c->set->c[cand->campaign];
    const struct offer_spec *o = &k->spec.offer[cand->offer];
    struct user_ext *x = ext_get(c->user);
    if (!x || ext_sent_reserve(x) < 0 || !feedback_reserve(c, now_ms, out)) {
        free(x_taken);
        return PR_COUNT;
    }
    enum policy_reason r = shard_budget_reserve(c->shard, cand->campaign, now_ms);
    if (r != PR_SENT) {
        free(x_taken);
        return r;
    }
    struct str code = o->pool ? shard_code_take(c->shard, o->pool - 1) : o->code;
    ext_sent_add(x, c->set,
                 &(struct sent){
                     .time_ms = now_ms,
                     .trigger = cand->trigger_hash[0],
                     .campaign = k->hash,
                     .channel = k->channel_hash,
                     .counts = !k->spec.transactional,
                 });
    feedback_open(c, now_ms, cand, propensity, false, x_taken);
    if (follow_up(c, now_ms, cand) < 0)
        return PR_COUNT;
    x->clock_ms = MAX(x->clock_ms, now_ms);
    fairness_sent(c, cand->campaign);
    struct decision *d = record(c, now_ms, cand, PR_SENT, propensity, out);
    if (!d)
        return PR_COUNT;
    code_print(code, cand->trigger_hash[1], d->code);
    return PR_SENT;
}

/* Once per campaign of [from, from + n): its offers lie side by side. */
static void record_all(const struct policy_context *c, int64_t now_ms, const struct candidate *from,
                       size_t n, int except, enum policy_reason reason, double propensity,
                       struct decisions *out) {
    for (size_t i = 0; i < n; i++)
        if (from[i].campaign != except && (!i || from[i].campaign != from[i - 1].campaign))
            record(c, now_ms, &from[i], reason, propensity, out);
}

static size_t group_of(const struct policy_set *set, const struct candidate *cand) {
    return set->c[cand->campaign].group;
}

/* The index of the highest priority, then the first. */
static size_t foremost(const struct policy_set *set, const struct candidate *cand, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (cand[i].campaign != cand[i - 1].campaign &&
            set->c[cand[i].campaign].spec.priority > set->c[cand[best].campaign].spec.priority)
            best = i;
    return best;
}

/* Moves the candidates of a group to the front, keeping the order of both; returns how many. */
static size_t partition(const struct policy_set *set, size_t group, struct candidate *cand,
                        size_t n) {
    struct candidate others[POLICY_PAIRS_MAX];
    size_t mine = 0, rest = 0;
    for (size_t i = 0; i < n; i++)
        if (group_of(set, &cand[i]) != group)
            others[rest++] = cand[i];
        else if (mine++ != i)
            cand[mine - 1] = cand[i];
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

/* What one group's policy wants of its first `n` candidates. *ret_x: the features of the choice,
 * owned by the caller, NULL if the policy has none. False: memory is out. */
static bool ask(const struct policy_context *c, int64_t now_ms, const struct group *g,
                const struct candidate *cand, size_t n, struct choice *ret, float **ret_x) {
    bool acts = g->spec.mode == MODE_ONLINE &&
                !(c->set->n_experiments && experiment_rules_choose(c, group_of(c->set, cand)));
    struct arms arms = {.n = n, .cand = cand};
    *ret_x = NULL;
    *ret = (struct choice){-1, 1};
    if (!g->kind->features) {
        (acts ? g->kind : &policy_rules)
            ->decide(g->self, c, now_ms, cand[0].trigger_hash[0], &arms, ret);
        return true;
    }
    float own[POLICY_PAIRS_MAX * FEATURES_OWN];
    autofree(free) float *x = malloc(FEATURES_BYTES);
    if (!x)
        return false;
    features(c, now_ms, cand, n, x, own);
    arms.shared = x;
    arms.own = own;
    (acts ? g->kind : &policy_rules)
        ->decide(g->self, c, now_ms, cand[0].trigger_hash[0], &arms, ret);
    if (ret->index >= 0)
        memcpy(x + FEATURES_SHARED, own + (size_t)ret->index * FEATURES_OWN,
               FEATURES_OWN * sizeof *own);
    else
        memset(x + FEATURES_SHARED, 0, FEATURES_OWN * sizeof *own);
    *ret_x = TAKE(x);
    return true;
}

/* That nothing was sent has an outcome too, if a policy that is to be judged chose it. */
static bool open_nothing(const struct policy_context *c, int64_t now_ms,
                         const struct candidate *cand, double propensity, float *x_taken,
                         struct decisions *out) {
    if (!ext_get(c->user) || !feedback_reserve(c, now_ms, out)) {
        free(x_taken);
        return false;
    }
    feedback_open(c, now_ms, cand, propensity, true, x_taken);
    return true;
}

/* One of those that passed goes out, or none: the groups are asked in the order of their foremost
 * candidates until one wants to send. */
static void choose(const struct policy_context *c, int64_t now_ms, struct candidate *cand, size_t n,
                   struct decisions *out) {
    const struct policy_set *set = c->set;
    while (n && !out->failed) {
        size_t g = group_of(set, &cand[foremost(set, cand, n)]);
        size_t mine = partition(set, g, cand, n);
        struct choice choice;
        float *x;
        if (!ask(c, now_ms, &set->group[g], cand, mine, &choice, &x)) {
            out->failed = true;
            return;
        }
        if (choice.index < 0 || (size_t)choice.index >= mine) {
            record_all(c, now_ms, cand, mine, -1, PR_POLICY, choice.propensity, out);
            if (set->group[g].kind == &policy_rules ||
                !open_nothing(c, now_ms, cand, choice.propensity, TAKE(x), out))
                out->failed |= set->group[g].kind != &policy_rules;
            n -= mine;
            memmove(cand, cand + mine, n * sizeof *cand);
            continue;
        }
        struct candidate chosen = cand[choice.index];
        switch (send(c, now_ms, &chosen, choice.propensity, TAKE(x), out)) {
        case PR_SENT:
            record_all(c, now_ms, cand, n, chosen.campaign, PR_NOT_BEST, choice.propensity, out);
            return;
        case PR_BUDGET: /* another thread spent the last of it just now */
            record(c, now_ms, &chosen, PR_BUDGET, 1, out);
            take_campaign_out(cand, &n, chosen.campaign);
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
    const struct campaign *k = &c->set->c[cand->campaign];
    enum policy_reason first = PR_SENT;
    bool full_price = guard_full_price(c, cand->item);
    size_t n = 0;
    for (size_t i = 0; i < k->spec.n_offers && n < room; i++) {
        ret[n] = *cand;
        ret[n].offer = (uint8_t)i;
        enum policy_reason r = guard_offer(c, &ret[n], full_price);
        if (r == PR_SENT)
            n++;
        else if (first == PR_SENT)
            first = r;
    }
    if (!n)
        record(c, now_ms, cand, first, 1, out);
    return n;
}

void decide(const struct policy_context *c, const struct event *e, int64_t now_ms,
            struct candidate *cand, size_t n, struct decisions *out) {
    struct candidate pair[POLICY_PAIRS_MAX];
    size_t n_pairs = 0;
    XXH128_hash_t user = XXH3_128bits_withSeed(c->user->id.p, c->user->id.n, c->set->trigger_seed);
    for (size_t i = 0; i < n; i++) {
        if (!audience_holds(c, &c->set->c[cand[i].campaign], e, cand[i].item, now_ms, false)) {
            shard_count(c->shard, cand[i].campaign, PR_AUDIENCE);
            continue;
        }
        trigger_id(c->set, user, &cand[i]);
        if (already_sent(c->user, &cand[i]))
            continue;
        enum policy_reason r = guard(c, now_ms, &cand[i]);
        if (r == PR_COUNT) {
            out->failed = true;
            return;
        }
        if (e && c->set->c[cand[i].campaign].spec.trigger.kind == TRIGGER_VIEWED) {
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
    *ret = (struct choice){(int)foremost(c->set, arms->cand, arms->n), 1};
}

const struct policy_kind policy_rules = {.name = "rules", .decide = rules_decide};

static void random_decide(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                          const struct arms *arms, struct choice *ret) {
    struct rng r;
    (void)self;
    (void)c;
    (void)now_ms;
    rng_seed(&r, seed);
    *ret =
        (struct choice){(int)rng_below(&r, (uint32_t)arms->n + 1) - 1, 1 / ((double)arms->n + 1)};
}

const struct policy_kind policy_random = {
    .name = "random", .features = true, .decide = random_decide};

void policy_learn(const struct policy_set *s, const struct outcome *o) {
    const struct group *g = &s->group[s->c[o->campaign].group];
    if (g->kind->learn && g->spec.mode != MODE_LOG_ONLY)
        g->kind->learn(g->self, o);
}
