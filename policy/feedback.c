/* Who answered what: events find the open window they belong to, and a window that closes says in
 * money what came of it. */
#include <math.h>

#include "policy/steps.h"

/* 32 hex digits, as trigger ids are printed. */
static bool parse_id(struct str s, uint64_t ret[2]) {
    if (s.n != 32)
        return false;
    ret[0] = ret[1] = 0;
    for (size_t i = 0; i < 32; i++) {
        char ch = s.p[i];
        int digit = ch >= '0' && ch <= '9'   ? ch - '0'
                    : ch >= 'a' && ch <= 'f' ? ch - 'a' + 10
                    : ch >= 'A' && ch <= 'F' ? ch - 'A' + 10
                                             : -1;
        if (digit < 0)
            return false;
        ret[i / 16] = ret[i / 16] << 4 | (uint64_t)digit;
    }
    return true;
}

static struct pending *named(struct user_ext *x, const uint64_t id[2]) {
    for (size_t i = 0; i < x->n_pending; i++)
        if (x->pending[i].trigger[0] == id[0] && x->pending[i].trigger[1] == id[1])
            return &x->pending[i];
    return NULL;
}

/* The last message sent before the event; or, if there is none, the last "nothing". */
static struct pending *last_touch(struct user_ext *x, int64_t at_ms) {
    struct pending *nothing = NULL;
    for (size_t i = x->n_pending; i--;) {
        struct pending *p = &x->pending[i];
        if (at_ms < p->sent_ms || at_ms >= p->until_ms)
            continue;
        if (!(p->flags & PENDING_NOTHING))
            return p;
        if (!nothing)
            nothing = p;
    }
    return nothing;
}

/* The window in which the item was bought that comes back now. */
static struct pending *buyer_of(struct user_ext *x, uint32_t item) {
    for (size_t i = x->n_pending; i--;)
        for (size_t b = 0; b < BOUGHT_MAX; b++)
            if (item && x->pending[i].bought[b] == item)
                return &x->pending[i];
    return NULL;
}

/* Price and margin share of the event's item; what was paid counts before the list price. */
static double amount_of(const struct policy_context *c, const struct event *e, uint32_t row,
                        double *ret_margin) {
    struct item_view v = {.price = NAN, .margin = NAN};
    if (row < model_items(c->model))
        model_item_view(c->model, row, &v);
    *ret_margin = isnan(v.margin) ? c->set->reward.margin : v.margin;
    double amount = isfinite(e->value) ? e->value : v.price;
    return isfinite(amount) ? fabs(amount) : 0;
}

static void bought(const struct policy_context *c, struct pending *p, const struct event *e,
                   uint32_t row) {
    double share, paid = amount_of(c, e, row, &share);
    p->paid += paid;
    p->margin += paid * share;
    if (p->purchases < UINT16_MAX)
        p->purchases++;
    memmove(p->bought + 1, p->bought, sizeof p->bought - sizeof *p->bought);
    p->bought[0] = e->item.n ? (uint32_t)hash_str(e->item, 0) : 0;
}

static void came_back(const struct policy_context *c, struct pending *p, const struct event *e,
                      uint32_t row) {
    double share, back = amount_of(c, e, row, &share);
    p->given_back += back;
    p->margin -= back * share;
    p->flags |= PENDING_RETURNED;
    for (size_t b = 0; b < BOUGHT_MAX; b++)
        if (e->item.n && p->bought[b] == (uint32_t)hash_str(e->item, 0)) {
            p->bought[b] = 0;
            return;
        }
}

/* Over which channel somebody does not want to hear from us: the one he names, or that of the
 * message he answers; 0: any. What is not understood is taken for all of them. */
static uint32_t refused_channel(const struct policy_context *c, const struct event *e) {
    struct str name = event_ctx_get(e, STR("channel"));
    uint64_t id[2];
    const struct user_ext *x = c->user->ext;
    int ch = name.n ? policy_channel_find(c->set, name) : -1;
    if (ch >= 0)
        return c->set->channel[ch].hash;
    if (!name.n && parse_id(e->decision, id))
        for (size_t i = 0; x && i < x->n_sends; i++)
            if (x->sends[i].trigger == id[0])
                return x->sends[i].channel;
    return 0;
}

int policy_on_unsubscribe(const struct policy_context *c, const struct event *e) {
    uint32_t channel = refused_channel(c, e);
    struct user_ext *x = ext_get(c->user);
    /* What was consented to before, by whichever clock, is revoked. */
    return x ? ext_deny(x, channel, MAX(e->time_ms, c->consent.said_ms)) : -ENOMEM;
}

static void note_opened(struct user_ext *x, struct pending *p) {
    if (!(p->flags & (PENDING_OPENED | PENDING_NOTHING)) && x->opened < x->messages)
        x->opened++;
    p->flags |= PENDING_OPENED;
}

int feedback_on_event(const struct policy_context *c, const struct event *e, uint32_t item_row) {
    if (e->type == EV_UNSUBSCRIBE) {
        int r = policy_on_unsubscribe(c, e);
        if (r < 0)
            return r;
    }
    struct user_ext *x = c->user->ext;
    if (e->type == EV_CAMPAIGN_REDEEM) { /* of whichever message */
        if (!(x = ext_get(c->user)))
            return -ENOMEM;
        x->redeemed = (uint8_t)(x->redeemed + (x->redeemed < UINT8_MAX));
    }
    if (x && x->n_exposures &&
        (e->type == EV_PURCHASE || e->type == EV_RETURN || e->type == EV_SURVEY)) {
        double share, amount = amount_of(c, e, item_row, &share);
        exposure_on_event(c, e, amount, share);
    }
    if (!x || !x->n_pending)
        return 0;
    uint64_t id[2];
    bool by_name = parse_id(e->decision, id);
    struct pending *p = by_name ? named(x, id) : NULL;
    if (!by_name)
        p = e->type == EV_RETURN ? buyer_of(x, e->item.n ? (uint32_t)hash_str(e->item, 0) : 0)
                                 : last_touch(x, e->time_ms);
    if (!p || (!by_name && (p->flags & PENDING_NOTHING) && e->type != EV_PURCHASE &&
               e->type != EV_RETURN))
        return 0;
    switch (e->type) {
    case EV_CAMPAIGN_OPEN:
        note_opened(x, p);
        break;
    case EV_CAMPAIGN_REDEEM:
        note_opened(x, p);
        p->flags |= PENDING_REDEEMED;
        p->off += isfinite(e->value) ? e->value : 0;
        break;
    case EV_PURCHASE:
        bought(c, p, e, item_row);
        break;
    case EV_RETURN:
        came_back(c, p, e, item_row);
        break;
    case EV_SURVEY:
        p->survey = isfinite(e->value) ? (float)e->value : p->survey;
        break;
    case EV_UNSUBSCRIBE:
        p->flags |= PENDING_UNSUBSCRIBED;
        break;
    default:
        break;
    }
    return 0;
}

bool feedback_denies(const struct user *u, uint32_t channel, int64_t said_ms) {
    const struct user_ext *x = u->ext;
    for (size_t i = 0; x && i < x->n_denials; i++)
        if ((x->denials[i].channel == channel || !x->denials[i].channel) &&
            x->denials[i].time_ms >= said_ms)
            return true;
    return false;
}

/* ---- windows ------------------------------------------------------------------ */

bool feedback_silent(const struct user_ext *x, uint64_t trigger, enum follow_unless unless) {
    for (size_t i = 0; x && i < x->n_pending; i++) {
        const struct pending *p = &x->pending[i];
        if (p->trigger[0] == trigger && !(p->flags & PENDING_NOTHING))
            return unless == FOLLOW_ALWAYS || p->purchases ? !p->purchases
                   : unless == FOLLOW_UNLESS_OPENED        ? !(p->flags & PENDING_OPENED)
                                                           : !(p->flags & PENDING_REDEEMED);
    }
    return false;
}

int64_t feedback_due(const struct user_ext *x) {
    int64_t due = TIME_NEVER;
    for (size_t i = 0; x && i < x->n_pending; i++)
        due = MIN(due, x->pending[i].until_ms);
    return due;
}

/* What the discount took off the price, once the coupon was redeemed: the sum that the till said,
 * or else by the offer's depth; and the price as it was without it. */
static double discount_of(const struct policy_context *c, const struct pending *p) {
    const struct offer_spec *o = &c->set->c[p->campaign].spec.offer[p->offer];
    if (!(p->flags & PENDING_REDEEMED) || !p->purchases)
        return 0;
    if (p->off > 0)
        return p->off;
    return o->percent > 0 && o->percent < 100 ? p->paid * o->percent / (100 - o->percent)
                                              : o->amount;
}

static struct outcome weigh(const struct policy_context *c, const struct pending *p,
                            int64_t now_ms) {
    const struct campaign *k = &c->set->c[p->campaign];
    const struct reward_spec *w = &c->set->reward;
    bool nothing = p->flags & PENDING_NOTHING;
    struct outcome o = {
        .campaign = p->campaign,
        .offer = p->offer,
        .trigger_hash = {p->trigger[0], p->trigger[1]},
        .sent_ms = p->sent_ms,
        .closed_ms = MIN(p->until_ms, now_ms),
        .propensity = p->propensity,
        .nothing = nothing,
        .cut = now_ms < p->until_ms,
        .opened = p->flags & PENDING_OPENED,
        .redeemed = p->flags & PENDING_REDEEMED,
        .returned = p->flags & PENDING_RETURNED,
        .unsubscribed = p->flags & PENDING_UNSUBSCRIBED,
        .purchases = p->purchases,
        .value = p->paid - p->given_back,
        .survey = p->survey,
        .discount = discount_of(c, p),
        .contact_cost = nothing ? 0 : k->spec.contact_cost,
        .user = c->user,
    };
    /* The margin as it would be at the full price: the discount is booked by itself. */
    o.margin = p->paid > 0 ? p->margin * (1 + o.discount / p->paid) : p->margin;
    if (!nothing && o.purchases && k->spec.offer[p->offer].free_shipping)
        o.discount += w->shipping;
    if (!nothing && !o.opened && !o.purchases)
        o.annoyance = w->annoyance;
    if (o.unsubscribed)
        o.annoyance += w->unsubscribe;
    o.reward = o.margin - o.discount - o.contact_cost - o.annoyance;
    return o;
}

double feedback_cost(const struct policy_context *c, const struct pending *p) {
    struct outcome o = weigh(c, p, p->until_ms);
    return o.margin - p->margin - o.discount - o.contact_cost;
}

static void close_window(const struct policy_context *c, size_t i, int64_t now_ms,
                         struct decisions *out) {
    struct user_ext *x = c->user->ext;
    if (out->n_o == out->cap_o) {
        size_t cap = out->cap_o ? 2 * out->cap_o : 16;
        struct outcome *o = realloc(out->o, cap * sizeof *o);
        if (!o) {
            out->failed = true;
            return;
        }
        out->o = o;
        out->cap_o = cap;
    }
    exposure_on_outcome(x, &x->pending[i], feedback_cost(c, &x->pending[i]));
    out->o[out->n_o] = weigh(c, &x->pending[i], now_ms);
    out->o[out->n_o++].x = TAKE(x->pending[i].x);
    ext_pending_remove(x, i);
    steps_close(c, &out->o[out->n_o - 1], out);
}

void feedback_close_due(const struct policy_context *c, int64_t now_ms, struct decisions *out) {
    const struct user_ext *x = c->user->ext;
    for (size_t i = 0; x && i < x->n_pending && !out->failed;)
        if (x->pending[i].until_ms <= now_ms)
            close_window(c, i, now_ms, out);
        else
            i++;
}

bool feedback_reserve(const struct policy_context *c, int64_t now_ms, struct decisions *out) {
    struct user_ext *x = c->user->ext;
    if (x->n_pending == PENDING_MAX)
        close_window(c, 0, now_ms, out);
    return x->n_pending < PENDING_MAX && ext_pending_reserve(x) == 0;
}

void feedback_open(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
                   double propensity, bool nothing, float *x_taken) {
    const struct campaign *k = &c->set->c[cand->campaign];
    struct user_ext *x = c->user->ext;
    x->pending[x->n_pending++] = (struct pending){
        .trigger = {cand->trigger_hash[0], cand->trigger_hash[1]},
        .sent_ms = now_ms,
        .until_ms = now_ms + policy_window_ms(&k->spec),
        .propensity = (float)propensity,
        .survey = NAN,
        .x = x_taken,
        .campaign = cand->campaign,
        .offer = nothing ? 0 : cand->offer,
        .flags = nothing ? PENDING_NOTHING : 0,
    };
}

void policy_decisions_reset(struct decisions *out) {
    for (size_t i = 0; i < out->n_o; i++)
        free(out->o[i].x);
    for (size_t i = 0; i < out->n_p; i++) {
        free(out->p[i].step);
        free(out->p[i].next);
    }
    out->n = out->n_o = out->n_p = 0;
}

void policy_decisions_free(struct decisions *out) {
    policy_decisions_reset(out);
    free(out->d);
    free(out->o);
    free(out->p);
    *out = (struct decisions){0};
}
