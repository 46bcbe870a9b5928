/* Policies that compete in a market (tests/support/market.h): rules, and what the policy room
 * learns. They see what a shop sees, and hear what came of a choice a day later. */
#pragma once

#include "policy/bandit.h"
#include "policy/dqn.h"
#include "tests/support/market.h"

enum contender_kind {
    CONTENDER_RULE,   /* always the same */
    CONTENDER_BANDIT, /* policy/bandit.h */
    CONTENDER_UPLIFT, /* the depth that changes him most for the better, or nothing; campaign by fit
                       */
    CONTENDER_DQN,    /* policy/dqn.h; until it knows enough, a bandit chooses */
};

/* What rules send, besides an action of the market. */
enum {
    RULE_FITTING = MARKET_ACTIONS,             /* + depth: of the campaign that fits best */
    RULE_CARTS = RULE_FITTING + MARKET_DEPTHS, /* + depth: likewise, if something is in the cart */
    RULES = RULE_CARTS + MARKET_DEPTHS,
};

struct contender_config {
    enum contender_kind kind;
    uint32_t rule;           /* CONTENDER_RULE */
    enum bandit_kind bandit; /* CONTENDER_BANDIT, and under a DQN */
    double explore, width;   /* of bandits: even share; alpha or gamma */
    double prior;
    double gamma;      /* DQN: worth of tomorrow's money */
    uint32_t dqn_days; /* DQN: chooses from this day on */
    uint32_t users;
    uint64_t seed;
};
/* As tuned on seeds that are not reported. */
struct contender_config contender_defaults(enum contender_kind kind, enum bandit_kind bandit);

struct contender;
int contender_new(const struct contender_config *c, struct contender **ret);
void contender_free(struct contender *c);
DEFINE_CLEANUP(struct contender, contender_free)
/* Once for each occasion, customers in the same order each day. Actions of the market. */
uint32_t contender_choose(struct contender *c, uint32_t user, uint32_t day,
                          const struct market_sight *s);
/* What it brought: believed from the next day on. */
void contender_told(struct contender *c, uint32_t user, double brought);
