/* Guards, choice, and what is remembered of it. */
#include <math.h>
#include <xxhash.h>

#include "policy/internal.h"

int64_t user_clock(const struct user *u, int64_t now_ms) {
    const struct user_ext *x = u->ext;
    now_ms = MAX(now_ms, u->prof.last_ms);
    return x ? MAX(now_ms, x->clock_ms) : now_ms;
}

static void trigger_id(const struct policy_set *set, const struct user *u, struct candidate *cand) {
    XXH128_hash_t user = XXH3_128bits_withSeed(u->id.p, u->id.n, set->trigger_seed);
    uint64_t parts[4] = {user.high64, user.low64, set->c[cand->campaign].hash, cand->cause_hash};
    XXH128_hash_t h = XXH3_128bits_withSeed(parts, sizeof parts, set->trigger_seed);
    cand->trigger_hash[0] = h.high64;
    cand->trigger_hash[1] = h.low64;
}

bool audience_holds(const struct policy_context *c, const struct campaign *k, const struct event *e,
                    int64_t now_ms, bool context_only) {
    for (size_t i = 0; i < k->n_audience; i++)
        if ((!context_only || k->audience[i].kind == CONDITION_CONTEXT) &&
            !condition_holds(&k->audience[i], c->model, c->user, e, now_ms))
            return false;
    return true;
}

static bool consents(const struct policy_context *c, uint16_t channel) {
    uint32_t bit = 1u << channel;
    if (feedback_denies(c->user, c->set->channel[channel].hash, c->consent.said_ms))
        return false;
    if (c->consent.known && c->consent.denied & bit)
        return false;
    if (c->consent.known && c->consent.granted & bit)
        return true;
    return c->set->consent_granted;
}

static bool item_is_touchy(const struct policy_context *c, const struct campaign *k,
                           uint32_t item) {
    struct item_view v;
    if (item >= model_items(c->model))
        return false;
    model_item_view(c->model, item, &v);
    uint32_t refused = ITEM_RESTRICTED | ITEM_ADULT | ITEM_SENSITIVE;
    return v.flags & (k->spec.discount ? refused | ITEM_NO_DISCOUNT : refused);
}

enum scope { SCOPE_USER, SCOPE_CHANNEL, SCOPE_CAMPAIGN };

/* Whether one more send at `now_ms` would exceed a cap: sends less than the window ago. */
static bool capped(const struct user_ext *x, const struct caps *caps, enum scope scope,
                   const struct campaign *k, int64_t now_ms) {
    for (size_t i = 0; i < caps->n; i++) {
        uint32_t n = 0;
        for (size_t j = 0; j < x->n_sends; j++) {
            const struct sent *s = &x->sends[j];
            n += s->counts && now_ms - s->time_ms < caps->cap[i].per_ms &&
                 (scope == SCOPE_USER || (scope == SCOPE_CHANNEL ? s->channel == k->channel_hash
                                                                 : s->campaign == k->hash));
        }
        if (n >= caps->cap[i].n)
            return true;
    }
    return false;
}

static bool may_reenter(const struct user_ext *x, const struct campaign *k, int64_t now_ms) {
    if (k->spec.reentry == REENTRY_ALWAYS)
        return true;
    for (size_t j = 0; j < x->n_sends; j++)
        if (x->sends[j].campaign == k->hash &&
            (k->spec.reentry == REENTRY_NEVER || now_ms - x->sends[j].time_ms < k->spec.reentry_ms))
            return false;
    return true;
}

static enum policy_reason guard_caps(const struct policy_context *c, const struct campaign *k,
                                     int64_t now_ms) {
    const struct user_ext *x = c->user->ext;
    if (!x || !x->n_sends)
        return PR_SENT;
    if (!k->spec.transactional) {
        if (capped(x, &c->set->user_caps, SCOPE_USER, k, now_ms))
            return PR_CAP_USER;
        if (capped(x, &c->set->channel[k->channel].caps, SCOPE_CHANNEL, k, now_ms))
            return PR_CAP_CHANNEL;
        if (capped(x, &k->spec.caps, SCOPE_CAMPAIGN, k, now_ms))
            return PR_CAP_CAMPAIGN;
    }
    return may_reenter(x, k, now_ms) ? PR_SENT : PR_CAP_CAMPAIGN;
}

static const struct tz_rules *zone_of(const struct policy_context *c) {
    return c->consent.tz ? c->consent.tz : c->set->tz;
}

/* The order is policy.h's, the audience has been asked already. */
static enum policy_reason guard(const struct policy_context *c, int64_t now_ms,
                                const struct candidate *cand) {
    const struct policy_set *set = c->set;
    const struct campaign *k = &set->c[cand->campaign];
    if (profile_value(&c->user->prof, PF_BOT, now_ms) > 0)
        return PR_BOT;
    if (c->paused_all || k->spec.paused ||
        (c->paused_campaigns && c->paused_campaigns[cand->campaign]))
        return PR_PAUSED;
    if (now_ms < k->start_ms || now_ms >= k->end_ms || now_ms - cand->since_ms > k->spec.valid_ms)
        return PR_EXPIRED;
    if (!consents(c, k->channel))
        return PR_NO_CONSENT;
    if (item_is_touchy(c, k, cand->item))
        return PR_SENSITIVE;
    if (hash_str(c->user->id, set->holdout_seed) % 10000 < set->holdout)
        return PR_HOLDOUT;
    enum policy_reason r = guard_caps(c, k, now_ms);
    if (r != PR_SENT)
        return r;
    if (!k->spec.transactional && quiet_at(&k->spec.quiet, zone_of(c), now_ms))
        return k->spec.quiet.drop ? PR_QUIET : PR_POSTPONED;
    return shard_budget_left(c->shard, cand->campaign, now_ms) ? PR_SENT : PR_BUDGET;
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
    struct decision *d = &out->d[out->n++];
    *d = (struct decision){
        .campaign = cand->campaign,
        .reason = reason,
        .send = reason == PR_SENT,
        .trigger_hash = {cand->trigger_hash[0], cand->trigger_hash[1]},
        .time_ms = now_ms,
        .valid_until_ms = MIN(now_ms + k->spec.valid_ms, k->end_ms),
        .propensity = propensity,
        .item = cand->item,
        .old_price = cand->old_price,
        .new_price = cand->new_price,
        .cause_hash = cand->cause_hash,
        .user = c->user,
    };
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
                                     .due_ms = quiet_end_ms(&k->spec.quiet, zone_of(c), now_ms),
                                     .since_ms = cand->since_ms,
                                     .cause_hash = cand->cause_hash,
                                     .old_price = cand->old_price,
                                     .new_price = cand->new_price,
                                     .item = cand->item,
                                     .campaign = cand->campaign,
                                     .kind = TIMER_POSTPONED,
                                 });
}

/* Budget and memory first: what goes out is remembered, whatever happens. */
static enum policy_reason send(const struct policy_context *c, int64_t now_ms,
                               const struct candidate *cand, double propensity,
                               struct decisions *out) {
    const struct campaign *k = &c->set->c[cand->campaign];
    struct user_ext *x = ext_get(c->user);
    if (!x || ext_sent_reserve(x) < 0 || !feedback_reserve(c, now_ms, out))
        return PR_COUNT;
    enum policy_reason r = shard_budget_reserve(c->shard, cand->campaign, now_ms);
    if (r != PR_SENT)
        return r;
    ext_sent_add(x, c->set,
                 &(struct sent){
                     .time_ms = now_ms,
                     .trigger = cand->trigger_hash[0],
                     .campaign = k->hash,
                     .channel = k->channel_hash,
                     .counts = !k->spec.transactional,
                 });
    feedback_open(c, now_ms, cand, propensity, false);
    x->clock_ms = MAX(x->clock_ms, now_ms);
    return record(c, now_ms, cand, PR_SENT, propensity, out) ? PR_SENT : PR_COUNT;
}

/* One of those that passed goes out, or none. */
static void choose(const struct policy_context *c, int64_t now_ms, struct candidate *cand, size_t n,
                   struct decisions *out) {
    while (n) {
        struct choice choice = {-1, 1};
        c->set->kind->decide(c->set->kind_self, c, now_ms, cand, n, &choice);
        enum policy_reason others = PR_NOT_BEST;
        if (choice.index < 0 || (size_t)choice.index >= n) {
            others = PR_POLICY;
            choice.index = -1;
        } else {
            enum policy_reason r = send(c, now_ms, &cand[choice.index], choice.propensity, out);
            if (r == PR_COUNT) {
                out->failed = true;
                return;
            }
            if (r == PR_BUDGET) { /* another thread spent the last of it just now */
                record(c, now_ms, &cand[choice.index], PR_BUDGET, 1, out);
                n--;
                memmove(cand + choice.index, cand + choice.index + 1,
                        (n - (size_t)choice.index) * sizeof *cand);
                continue;
            }
        }
        for (size_t i = 0; i < n; i++)
            if ((int)i != choice.index)
                record(c, now_ms, &cand[i], others, choice.propensity, out);
        return;
    }
}

void decide(const struct policy_context *c, const struct event *e, int64_t now_ms,
            struct candidate *cand, size_t n, struct decisions *out) {
    size_t eligible = 0;
    for (size_t i = 0; i < n; i++) {
        if (!audience_holds(c, &c->set->c[cand[i].campaign], e, now_ms, false)) {
            shard_count(c->shard, cand[i].campaign, PR_AUDIENCE);
            continue;
        }
        trigger_id(c->set, c->user, &cand[i]);
        if (already_sent(c->user, &cand[i]))
            continue;
        enum policy_reason r = guard(c, now_ms, &cand[i]);
        if (e && c->set->c[cand[i].campaign].spec.trigger.kind == TRIGGER_VIEWED) {
            struct user_ext *x = ext_get(c->user);
            if (!x || ext_mark_set(x, cand[i].campaign, e->time_ms) < 0) {
                out->failed = true;
                return;
            }
        }
        if (r == PR_SENT) {
            cand[eligible++] = cand[i];
            continue;
        }
        if (r == PR_POSTPONED && postpone(c, now_ms, &cand[i]) < 0) {
            out->failed = true;
            return;
        }
        record(c, now_ms, &cand[i], r, 1, out);
    }
    choose(c, now_ms, cand, eligible, out);
}

static void rules_decide(void *self, const struct policy_context *c, int64_t now_ms,
                         const struct candidate *cand, size_t n, struct choice *ret) {
    (void)self;
    (void)now_ms;
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (c->set->c[cand[i].campaign].spec.priority >
            c->set->c[cand[best].campaign].spec.priority)
            best = i;
    *ret = (struct choice){(int)best, 1};
}

const struct policy_kind policy_rules = {"rules", rules_decide};
