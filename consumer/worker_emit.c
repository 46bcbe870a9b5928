#include "consumer/worker_emit.h"

#include <stdio.h>

#include "policy/evidence.h"
#include "policy/passage.h"
#include "policy/spec.h"

enum { TRIGGER_ITEMS = 10, ARMS_TEXT = 1024 };

static void print_trigger(char ret[33], const uint64_t hash[2]) {
    snprintf(ret, 33, "%016llx%016llx", (unsigned long long)hash[0], (unsigned long long)hash[1]);
}

static int emit_outcomes(const struct emission *w) {
    const struct policy_set *set = w->world->policies;
    int r = 0;
    for (size_t i = 0; i < w->decisions->n_o && r == 0; i++) {
        const struct outcome *o = &w->decisions->o[i];
        struct outcome_record rec = {
            .user = o->user->id,
            .campaign = policy_campaign_id(set, o->campaign),
            .channel = policy_campaign_channel(set, o->campaign),
            .o = o,
        };
        print_trigger(rec.id, o->trigger_hash);
        policy_learn(set, o);
        if (w->sink->outcome)
            r = w->sink->outcome(w->sink->ctx, &rec);
    }
    return r;
}

static int emit_decision(const struct emission *w, const struct decision *d,
                         const struct list *list) {
    const struct policy_set *set = w->world->policies;
    const struct offer_spec *o = &policy_campaign_spec(set, d->campaign)->offer[d->offer];
    struct trigger_record t = {
        .user = d->user->id,
        .campaign = policy_campaign_id(set, d->campaign),
        .channel = policy_campaign_channel(set, d->campaign),
        .offer = policy_campaign_offer(set, d->campaign, d->offer),
        .variant = o->name,
        .code = str_of(d->code),
        .old_price = d->old_price,
        .new_price = d->new_price,
        .time_ms = d->time_ms,
        .valid_until_ms = d->valid_until_ms,
        .propensity = d->propensity,
        .reason = policy_reason_name(d->reason),
        .sent = d->send,
    };
    if (d->would.known) {
        t.would_propensity = d->would.propensity;
        if (d->would.campaign >= 0) {
            size_t campaign = (size_t)d->would.campaign;
            t.would_campaign = policy_campaign_id(set, campaign);
            t.would_variant = policy_campaign_spec(set, campaign)->offer[d->would.offer].name;
        }
    }
    char arms[ARMS_TEXT];
    policy_arms_print(set, d->campaign, d->user->id, arms, sizeof arms);
    t.arms = str_of(arms);
    t.exposed = d->exposed;
    print_trigger(t.id, d->trigger_hash);
    char cause[17];
    snprintf(cause, sizeof cause, "%016llx", (unsigned long long)d->cause_hash);
    t.cause = str_of(cause);
    struct item_view v;
    if (d->item != ROW_NONE) {
        model_item_view(w->world->model, d->item, &v);
        t.item = v.id;
    }
    size_t want = o->items ? o->items : TRIGGER_ITEMS;
    uint32_t refused =
        ITEM_RESTRICTED | ITEM_ADULT | ITEM_SENSITIVE | (o->discount ? ITEM_NO_DISCOUNT : 0);
    for (uint32_t k = 0; list && k < list->n && t.n_items < want; k++) {
        model_item_view(w->world->model, list->e[k].item, &v);
        if (!(v.flags & refused) && (!o->category.n || str_eq(o->category, v.category)))
            t.items[t.n_items++] = v.id;
    }
    return w->sink->decision ? w->sink->decision(w->sink->ctx, d, &t) : 0;
}

/* Decisions of the step to the sink, in their order; what is sent carries the user's list as it
 * is after the step. */
static int emit_decisions(const struct emission *w) {
    int r = 0;
    for (size_t at = 0; at < w->decisions->n && r == 0; at += EMIT_CHUNK) {
        const struct decision *d = &w->decisions->d[at];
        size_t n = MIN(w->decisions->n - at, (size_t)EMIT_CHUNK), sent = 0;
        struct user *users[EMIT_CHUNK];
        for (size_t i = 0; i < n; i++)
            if (d[i].send)
                users[sent++] = d[i].user;
        /* Ids are the model's: they are encoded before it can change. */
        pthread_rwlock_rdlock(&w->world->model_lock);
        model_rank(w->learner, users, sent, w->world->cfg->lists_exclude_seen, w->lists);
        for (size_t i = 0, k = 0; i < n && r == 0; i++)
            r = emit_decision(w, &d[i], d[i].send ? &w->lists[k++] : NULL);
        pthread_rwlock_unlock(&w->world->model_lock);
    }
    return r;
}

int worker_emit(const struct emission *e) {
    for (size_t i = 0; i < e->decisions->n_p; i++)
        policy_follow(e->world->policies, &e->decisions->p[i]);
    int r = e->decisions->n_o ? emit_outcomes(e) : 0;
    return r == 0 && e->decisions->n ? emit_decisions(e) : r;
}
