/* What a worker counts of each campaign since it began: decisions by reason, and what became of
 * them. One thread counts; any may read meanwhile, each number by itself. */
#pragma once

#include "policy/policy.h"

/* Of messages whose windows closed; `nothing` alone is of choices to send none. */
#define CAMPAIGN_COUNTS(X)                                                                         \
    X(OUTCOMES, "outcomes", "windows of messages that closed")                                     \
    X(NOTHING, "nothing", "windows of choices to send nothing that closed")                        \
    X(OPENED, "opened", "messages opened")                                                         \
    X(REDEEMED, "redeemed", "coupons redeemed")                                                    \
    X(CONVERTED, "converted", "messages after which something was bought")                         \
    X(PURCHASES, "purchases", "things bought")                                                     \
    X(RETURNED, "returned", "messages after which something came back")                            \
    X(UNSUBSCRIBED, "unsubscribed", "messages after which somebody had enough")                    \
    X(ANSWERS, "answers", "survey scores")                                                         \
    X(PROMOTERS, "promoters", "scores of 9 and 10")                                                \
    X(DETRACTORS, "detractors", "scores of 6 and less")

#define CAMPAIGN_MONEY(X)                                                                          \
    X(REVENUE, "revenue", "paid, less what came back")                                             \
    X(MARGIN, "margin", "of it, before discounts")                                                 \
    X(DISCOUNT, "discount", "given")                                                               \
    X(COST, "cost", "of contacts")                                                                 \
    X(ANNOYANCE, "annoyance", "of messages nobody wanted")                                         \
    X(REWARD, "reward", "margin less discount, cost and annoyance")

enum campaign_count {
#define X(sym, name, help) CC_##sym,
    CAMPAIGN_COUNTS(X)
#undef X
        CC_COUNT
};
enum campaign_money {
#define X(sym, name, help) CM_##sym,
    CAMPAIGN_MONEY(X)
#undef X
        CM_COUNT
};
const char *campaign_count_name(enum campaign_count c);
const char *campaign_money_name(enum campaign_money m);

/* Zeroed is empty. */
struct campaign_sums {
    _Atomic uint64_t reason[PR_COUNT], count[CC_COUNT];
    _Atomic double money[CM_COUNT];
};

void campaign_sums_decision(struct campaign_sums *s, enum policy_reason r);
void campaign_sums_outcome(struct campaign_sums *s, const struct outcome *o);
void campaign_sums_add(struct campaign_sums *to, const struct campaign_sums *from);
