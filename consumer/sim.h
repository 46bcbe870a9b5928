/* A simulated shop: users with hidden tastes, a catalogue with categories, brands, tags and
 * prices, sessions, purchases, answers to coupons. Pure and deterministic for a seed. */
#pragma once

#include "model/event.h"

struct sim;
struct sim_config {
    uint32_t users, items, categories, brands;
    uint64_t seed;
    int64_t start_ms;      /* time of the first event */
    double events_per_s;   /* of simulated time */
};
void sim_config_default(struct sim_config *c);
int sim_new(const struct sim_config *c, struct sim **ret);
void sim_free(struct sim *s);
DEFINE_CLEANUP(struct sim, sim_free)

uint32_t sim_items(const struct sim *s);
void sim_item(const struct sim *s, uint32_t i, struct item_info *ret);
/* Next event in time order; strings are valid until the next call. */
void sim_next(struct sim *s, struct event *ret);
/* A coupon reached a user: he may open, redeem and buy in events to come. */
void sim_trigger(struct sim *s, struct str user, struct str campaign, struct str item, struct str trigger_id, int64_t time_ms);
/* What the user would like best, for tests: expected utility of an item for him. */
double sim_utility(const struct sim *s, uint32_t user, uint32_t item);
