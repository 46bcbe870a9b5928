/* Who may be addressed at all: the guards, in the order of policy.h. */
#include <math.h>

#include "policy/internal.h"

bool audience_holds(const struct policy_context *c, const struct campaign *k, const struct event *e,
                    uint32_t item, int64_t now_ms, bool context_only) {
    for (size_t i = 0; i < k->n_audience; i++)
        if ((!context_only || k->audience[i].kind == CONDITION_CONTEXT) &&
            !condition_holds(&k->audience[i], c->model, c->user, e, item, now_ms))
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

static bool item_has(const struct policy_context *c, uint32_t item, uint32_t flags) {
    return model_item_flags(c->model, item) & flags;
}

static bool protected_item(const struct policy_context *c, uint32_t item) {
    struct item_view v;
    if (item_has(c, item, ITEM_RESTRICTED | ITEM_ADULT | ITEM_SENSITIVE))
        return true;
    if (!c->set->protect.n_categories || item >= model_items(c->model))
        return false;
    model_item_view(c->model, item, &v);
    uint32_t hash = (uint32_t)hash_str(v.category, 0);
    for (size_t i = 0; v.category.n && i < c->set->protect.n_categories; i++)
        if (c->set->protected_hash[i] == hash)
            return true;
    return false;
}

struct guarded guard_user(const struct policy_context *c, int64_t now_ms) {
    const struct policy_set *set = c->set;
    const struct user *u = c->user;
    const struct user_ext *x = u->ext;
    return (struct guarded){
        .bot = profile_value(&u->prof, PF_BOT, now_ms) > 0,
        .minor = x && x->minor,
        .held = set->holdout && hash_str(u->id, set->holdout_seed) % 10000 < set->holdout,
    };
}

int guard_note_age(const struct policy_context *c, const struct event *e) {
    struct str age = event_ctx_get(e, STR("age")), minor = event_ctx_get(e, STR("minor"));
    uint32_t years = 0;
    if (!c->set->protect.minimum_age || (!age.n && !minor.n))
        return 0;
    for (size_t i = 0; i < age.n && i < 4; i++) {
        if (age.p[i] < '0' || age.p[i] > '9')
            return 0;
        years = 10 * years + (uint32_t)(age.p[i] - '0');
    }
    bool is = age.n ? years < c->set->protect.minimum_age
                    : !str_eq(minor, STR("false")) && !str_eq(minor, STR("0")) &&
                          !str_eq(minor, STR("no"));
    if (!is && !c->user->ext)
        return 0;
    struct user_ext *x = ext_get(c->user);
    if (!x)
        return -ENOMEM;
    x->minor = is;
    return 0;
}

static bool approved(const struct policy_context *c, uint16_t campaign) {
    return c->approved_campaigns && c->approved_campaigns[campaign];
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

const struct tz_rules *guard_zone(const struct policy_context *c) {
    return c->consent.tz ? c->consent.tz : c->set->tz;
}

/* The order is policy.h's, the audience has been asked already. */
enum policy_reason guard(const struct policy_context *c, int64_t now_ms,
                         const struct candidate *cand, struct guarded who) {
    const struct policy_set *set = c->set;
    const struct campaign *k = &set->c[cand->campaign];
    if (who.bot)
        return PR_BOT;
    if (c->paused_all)
        return PR_KILLED;
    if (k->spec.paused || (c->paused_campaigns && c->paused_campaigns[cand->campaign]))
        return PR_PAUSED;
    if (now_ms < k->start_ms || now_ms >= k->end_ms || now_ms - cand->since_ms > k->spec.valid_ms)
        return PR_EXPIRED;
    if (!consents(c, k->channel))
        return PR_NO_CONSENT;
    if (protected_item(c, cand->item) || who.minor)
        return PR_SENSITIVE;
    if ((set->holdout || k->spec.holdout) && evidence_holdouts(c->shard, cand->campaign) < 0)
        return PR_COUNT;
    if (who.held)
        return PR_HOLDOUT;
    enum policy_reason r = k->spec.holdout ? guard_holdout(c, now_ms, cand) : PR_SENT;
    if (r == PR_SENT && set->n_designed)
        r = guard_experiments(c, now_ms, cand);
    if (r == PR_SENT)
        r = guard_caps(c, k, now_ms);
    if (r != PR_SENT)
        return r;
    if (!k->spec.transactional && quiet_at(&k->spec.quiet, guard_zone(c), now_ms))
        return k->spec.quiet.drop ? PR_QUIET : PR_POSTPONED;
    if (k->has_budget && !shard_budget_left(c->shard, cand->campaign, now_ms))
        return PR_BUDGET;
    if (k->spec.budget > set->approval.budget && !approved(c, cand->campaign))
        return PR_APPROVAL;
    return k->spec.fairness.attribute.n ? guard_fairness(c, cand->campaign) : PR_SENT;
}

void guard_compile(const struct policy_set *set, struct campaign *k) {
    for (size_t i = 0; i < k->spec.n_offers; i++) {
        const struct offer_spec *o = &k->spec.offer[i];
        k->discounted |= (uint32_t)o->discount << i;
        k->deep |= (uint32_t)(o->percent > set->approval.percent) << i;
        k->pooled |= (uint32_t)(o->pool > 0) << i;
    }
}

/* Offers whose pool is used up. */
static uint32_t without_code(const struct policy_context *c, const struct campaign *k) {
    uint32_t bits = 0;
    for (size_t i = 0; k->pooled >> i; i++)
        if (k->pooled >> i & 1 && !shard_code_left(c->shard, k->spec.offer[i].pool - 1))
            bits |= 1u << i;
    return bits;
}

uint32_t guard_offers(const struct policy_context *c, const struct candidate *cand,
                      enum policy_reason *ret_why) {
    const struct campaign *k = &c->set->c[cand->campaign];
    const struct {
        enum policy_reason why;
        uint32_t offers;
    } shut[] = {
        {PR_SENSITIVE, item_has(c, cand->item, ITEM_NO_DISCOUNT) ? k->discounted : 0},
        {PR_EXPERIMENT, c->set->n_designed ? ~experiment_offers(c, cand->campaign) : 0},
        {PR_APPROVAL, approved(c, cand->campaign) ? 0 : k->deep},
        {PR_NO_CODE, without_code(c, k)},
    };
    uint32_t open = (1u << k->spec.n_offers) - 1;
    *ret_why = PR_SENT;
    for (size_t i = 0; i < ARRAY_LEN(shut); i++) {
        open &= ~shut[i].offers;
        if (*ret_why == PR_SENT && shut[i].offers & 1)
            *ret_why = shut[i].why;
    }
    return open;
}
