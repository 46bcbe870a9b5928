/* A simulated shop: users with hidden tastes, a catalogue with categories, brands, tags and
 * prices, sessions, purchases, answers to coupons. Pure and deterministic for a seed.
 *
 * A user has hidden weights over a few favourite categories, favourite brands, a
 * price level, a patience for coupons. In a session he follows one intent (a
 * category), looks at items in proportion to exp(utility) among those he
 * happens upon, puts some in the cart and buys or walks away. What he does next
 * depends on nothing the recommender sees directly. */
#pragma once

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
/* A coupon reached a user at `time_ms`: he may open, redeem and buy in events to
 * come; the more of them lately, the less he answers. `item`: what it was about, or empty. */
void sim_coupon(struct sim *s, struct str user, struct str item, struct str trigger_id,
                int64_t time_ms);
/* Users' ids, for user-control records: consent given by most, refused by some. */
void sim_user_id(const struct sim *s, uint32_t user, char ret[16]);
bool sim_consents(const struct sim *s, uint32_t user);
/* What the user would like best, for tests: expected utility of an item for him. */
double sim_utility(const struct sim *s, uint32_t user, uint32_t item);
