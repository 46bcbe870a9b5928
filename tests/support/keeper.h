/* A shopkeeper in a market (tests/support/market.h) who has nothing but what Beckon gives:
 * campaigns with guards, groups in which a policy chooses, windows that close. Customers and their
 * answers come in as events, decisions go out; what customers are like shows in what they look at,
 * buy, open and redeem, a year of which lies behind them. Four campaigns with a message, 5, 10 and
 * 20 % off, all set off at every occasion, each of a category of items. */
#pragma once

#include "policy/spec.h"
#include "tests/support/market.h"

enum {
    RULE_FITTING = MARKET_ACTIONS, /* + depth: the first campaign whose category he looks at much */
    KEEPER_RULES = RULE_FITTING + MARKET_DEPTHS,
};

struct keeper_config {
    enum policy_method method; /* METHOD_RULES: */
    uint32_t rule;             /* an action of the market, or RULE_FITTING and a depth */
    bool carts;                /* a rule for full carts only */
    uint32_t users;
    uint64_t seed;
};

struct keeper;
/* 0 or -ENOMEM. The market is borrowed. */
int keeper_new(const struct keeper_config *c, struct market *m, struct keeper **ret);
void keeper_free(struct keeper *k);
DEFINE_CLEANUP(struct keeper, keeper_free)
/* One customer's day, in the order of days; what it brought, and what was sent if it may be told.
 */
double keeper_day(struct keeper *k, uint32_t user, uint32_t day);
/* Messages sent, those of them with a discount, and those to customers who buy anyway. */
struct keeper_counts {
    uint64_t sent, coupons, to_sure;
};
void keeper_counts(const struct keeper *k, struct keeper_counts *ret);
/* Of METHOD_DQN; NULL: another. */
struct deep *keeper_deep(const struct keeper *k);
