/* A market of simulated customers (consumer/customer.h) over days, for benches: what is known of
 * them, what can be done, what comes of it, and oracles that know all.
 *
 * On a day a customer looks around or not, and if he does, his cart may be full: an occasion, at
 * which one action may be taken. Occasions and the numbers that answers are drawn by depend on
 * seed, customer and day alone, so that policies compete on the same days, and customers may be
 * taken one after the other or day by day. */
#pragma once

#include "consumer/customer.h"

enum {
    MARKET_CAMPAIGNS = 4,
    MARKET_DEPTHS = 4,                                     /* a message, 5 %, 10 %, 20 % */
    MARKET_ACTIONS = 1 + MARKET_CAMPAIGNS * MARKET_DEPTHS, /* 0: nothing */
};

enum occasion { OCCASION_NONE, OCCASION_VISIT, OCCASION_CART };

struct market_config {
    uint32_t users, days;
    uint64_t seed;
    struct customer_world world;
};

/* What a shop knows of a customer: counts of the past, and numbers that err. */
struct market_sight {
    float basket;                /* mean of what he bought, over 55 */
    float often;                 /* log(1 + purchases) / 2 */
    float bargains;              /* share of purchases with a discount, smoothed */
    float opens;                 /* share of messages opened, smoothed */
    float lately;                /* messages lately, each fading by CUSTOMER_KEEP a day */
    float cart;                  /* 1: something is in it */
    float gone;                  /* 1: unsubscribed */
    float fit[MARKET_CAMPAIGNS]; /* of each campaign, by his tastes as far as they are known */
};

/* What happened with a customer, as the shop counted it. */
struct market_history {
    float purchases, spent, bargains, sent, opened;
    float fit[MARKET_CAMPAIGNS];
};

struct market;
int market_new(const struct market_config *c, struct market **ret);
void market_free(struct market *m);
DEFINE_CLEANUP(struct market, market_free)
/* As on the first day. */
void market_reset(struct market *m);

const struct customer *market_customer(const struct market *m, uint32_t user);
const struct market_history *market_past(const struct market *m, uint32_t user); /* first day */
enum occasion market_occasion(const struct market *m, uint32_t user, uint32_t day);
void market_look(const struct market *m, uint32_t user, enum occasion o, struct market_sight *ret);
/* What an action sends; false: nothing. */
bool market_offer(const struct market *m, uint32_t user, uint32_t action,
                  struct customer_offer *ret);
/* The campaign that seems to fit best, from 0. */
uint32_t market_fitting(const struct market_sight *s);
static inline uint32_t market_action(uint32_t campaign, uint32_t depth) {
    return 1 + campaign * MARKET_DEPTHS + depth;
}

/* One day of one customer, in the order of days for each. Of one who unsubscribed, or has no
 * occasion, every action is nothing. What he did. */
struct customer_answer market_answer(struct market *m, uint32_t user, uint32_t day,
                                     uint32_t action);
/* What it brought. */
static inline double market_day(struct market *m, uint32_t user, uint32_t day, uint32_t action) {
    struct customer_answer a = market_answer(m, user, day, action);
    return a.margin - a.discount - a.cost;
}

/* ---- oracles ------------------------------------------------------------------- */
/* The action of the highest expected margin today. */
uint32_t market_best_now(const struct market *m, uint32_t user, enum occasion o);

/* The highest expected margin over all days that are left, by dynamic programming over fatigue
 * (linear between the points of a grid), days backward; one customer at a time. */
enum { PLAN_GRID = 21, PLAN_DAYS_MAX = 366 };
struct market_plan {
    float here[PLAN_DAYS_MAX + 1][PLAN_GRID], gone[PLAN_DAYS_MAX + 1][PLAN_GRID];
};
void market_plan(const struct market *m, uint32_t user, struct market_plan *ret);
uint32_t market_best_ever(const struct market *m, const struct market_plan *p, uint32_t user,
                          uint32_t day, enum occasion o);
