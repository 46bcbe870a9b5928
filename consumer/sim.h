/* A simulated shop: users with hidden tastes, a catalogue with categories, brands, tags and
 * prices, sessions, purchases, answers to coupons. Pure and deterministic for a seed.
 *
 * A user has hidden weights over a few favourite categories, favourite brands, a
 * price level, a patience for coupons. In a session he follows one intent (a
 * category), looks at items in proportion to exp(utility) among those he
 * happens upon, puts some in the cart and buys or walks away. What he does next
 * depends on nothing the recommender sees directly. */
#pragma once

#include "consumer/customer.h"
#include "model/event.h"

struct sim;
struct sim_config {
    uint32_t users, items, categories, brands;
    uint64_t seed;
    int64_t start_ms;    /* time of the first event */
    double events_per_s; /* of simulated time, about */
};
void sim_config_default(struct sim_config *c);
int sim_new(const struct sim_config *c, struct sim **ret);
void sim_free(struct sim *s);
DEFINE_CLEANUP(struct sim, sim_free)

uint32_t sim_items(const struct sim *s);
void sim_item(const struct sim *s, uint32_t i, struct item_info *ret);
/* Next event in time order; strings are valid until the next call. */
void sim_next(struct sim *s, struct event *ret);
/* What was decided for a user at `time_ms`; who buys anyway does so either way. */
struct sim_decision {
    struct str user, item, trigger_id; /* item: what it was about, or empty */
    bool sent;                         /* else nothing was, by choice */
    bool service;                      /* no choice, and not booked: everybody gets it */
    double discount;                   /* share of the price */
    int64_t time_ms;
};
/* He may open, redeem, buy or unsubscribe in events to come, by consumer/customer.h. False: nobody
 * we know. */
bool sim_decided(struct sim *s, const struct sim_decision *d);

/* Users are split by their number into panels, one for each way of deciding; events name it in
 * their context as `panel`. */
enum sim_panel { PANEL_LEARNED, PANEL_RULES, PANEL_RANDOM, PANELS };
const char *sim_panel_name(enum sim_panel p);
/* What decisions are worth beyond sending nothing, as expected by one who knows the users. */
struct sim_earnings {
    uint32_t users;
    uint64_t moments, sent; /* decided, nothing included */
    double gained;          /* margin less discounts and contact costs */
    double possible;        /* had the best depth, or nothing, been chosen at each of them */
};
void sim_earned(const struct sim *s, enum sim_panel p, struct sim_earnings *ret);
/* Users' ids, for user-control records: consent given by most, refused by some. */
void sim_user_id(const struct sim *s, uint32_t user, char ret[16]);
bool sim_consents(const struct sim *s, uint32_t user);
/* What the user would like best, for tests: expected utility of an item for him. */
double sim_utility(const struct sim *s, uint32_t user, uint32_t item);
