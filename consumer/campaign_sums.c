#include "consumer/campaign_sums.h"

#include <math.h>
#include <stdatomic.h>

const char *campaign_count_name(enum campaign_count c) {
    static const char *const names[] = {
#define X(sym, name, help) name,
        CAMPAIGN_COUNTS(X)
#undef X
    };
    return names[c];
}

const char *campaign_money_name(enum campaign_money m) {
    static const char *const names[] = {
#define X(sym, name, help) name,
        CAMPAIGN_MONEY(X)
#undef X
    };
    return names[m];
}

static void more(_Atomic uint64_t *to, uint64_t n) {
    atomic_fetch_add_explicit(to, n, memory_order_relaxed);
}

/* Whoever adds is the only one who does. */
static void more_money(_Atomic double *to, double v) {
    double old = atomic_load_explicit(to, memory_order_relaxed);
    atomic_store_explicit(to, old + v, memory_order_relaxed);
}

void campaign_sums_decision(struct campaign_sums *s, enum policy_reason r) {
    more(&s->reason[r], 1);
}

void campaign_sums_outcome(struct campaign_sums *s, const struct outcome *o) {
    if (o->nothing) {
        more(&s->count[CC_NOTHING], 1);
        return;
    }
    bool answered = !isnan(o->survey);
    const uint64_t counts[CC_COUNT] = {
        [CC_OUTCOMES] = 1,
        [CC_OPENED] = o->opened,
        [CC_REDEEMED] = o->redeemed,
        [CC_CONVERTED] = o->purchases > 0,
        [CC_PURCHASES] = o->purchases,
        [CC_RETURNED] = o->returned,
        [CC_UNSUBSCRIBED] = o->unsubscribed,
        [CC_ANSWERS] = answered,
        [CC_PROMOTERS] = answered && o->survey >= 9,
        [CC_DETRACTORS] = answered && o->survey <= 6,
    };
    const double money[CM_COUNT] = {
        [CM_REVENUE] = o->value,     [CM_MARGIN] = o->margin,       [CM_DISCOUNT] = o->discount,
        [CM_COST] = o->contact_cost, [CM_ANNOYANCE] = o->annoyance, [CM_REWARD] = o->reward,
    };
    for (int i = 0; i < CC_COUNT; i++)
        more(&s->count[i], counts[i]);
    for (int i = 0; i < CM_COUNT; i++)
        more_money(&s->money[i], money[i]);
}

void campaign_sums_add(struct campaign_sums *to, const struct campaign_sums *from) {
    for (int i = 0; i < PR_COUNT; i++)
        more(&to->reason[i], atomic_load_explicit(&from->reason[i], memory_order_relaxed));
    for (int i = 0; i < CC_COUNT; i++)
        more(&to->count[i], atomic_load_explicit(&from->count[i], memory_order_relaxed));
    for (int i = 0; i < CM_COUNT; i++)
        more_money(&to->money[i], atomic_load_explicit(&from->money[i], memory_order_relaxed));
}
