#include "consumer/customer.h"

#include <math.h>

struct customer_world customer_world_default(void) {
    return (struct customer_world){.fatigue = 1, .margin = 0.3, .contact_cost = 0.05};
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

void customer_draw(struct customer *c, struct rng *rng) {
    *c = (struct customer){.sure = rng_unit(rng) < 0.1};
    c->urge = (float)(c->sure ? 0.5 * rng_normal(rng) : -4 + 0.7 * rng_normal(rng));
    c->sensitivity = (float)exp(0.9 * rng_normal(rng));
    c->impatience = (float)exp(0.6 * rng_normal(rng));
    c->value = (float)exp(4 + 0.5 * rng_normal(rng));
    c->activity = (float)(0.08 + 0.4 * pow(rng_unit(rng), 2));
    for (size_t i = 0; i < CUSTOMER_TASTES; i++)
        c->taste[i] = (float)rng_normal(rng);
}

struct customer_odds customer_odds(const struct customer_world *w, const struct customer *c,
                                   bool cart, const struct customer_offer *offer) {
    double weary = w->fatigue * c->impatience * c->fatigue / 4;
    double urge = c->urge + (cart ? CUSTOMER_CART : 0) - weary - (c->gone ? 0.5 : 0);
    struct customer_odds o = {.buy_unseen = sigmoid(urge)};
    if (!offer)
        return o;
    double gain = 1.3 * offer->fit + c->sensitivity * 0.8 * pow(offer->discount / 0.1, 0.8);
    o.open = 0.6 * exp(-weary);
    o.buy_open = sigmoid(urge + (c->sure ? 0.2 * gain : gain));
    o.unsubscribe = fmin(0.5, 0.004 * w->fatigue * (1 + 4 * weary) * exp(-0.5 * offer->fit));
    return o;
}

double customer_worth(const struct customer_world *w, const struct customer *c,
                      const struct customer_odds *odds, const struct customer_offer *offer) {
    double seen = odds->open * odds->buy_open, unseen = (1 - odds->open) * odds->buy_unseen;
    return c->value * (w->margin * (seen + unseen) - (offer ? offer->discount * seen : 0)) -
           (offer ? w->contact_cost : 0);
}

struct customer_answer customer_answer(const struct customer_world *w, struct customer *c,
                                       bool cart, const struct customer_offer *offer,
                                       struct rng *rng) {
    double draw[3] = {rng_unit(rng), rng_unit(rng), rng_unit(rng)};
    struct customer_odds o = customer_odds(w, c, cart, offer);
    struct customer_answer a = {.opened = draw[0] < o.open};
    a.bought = draw[1] < (a.opened ? o.buy_open : o.buy_unseen);
    if (a.bought)
        a.margin = w->margin * c->value;
    if (!offer)
        return a;
    a.redeemed = a.opened && a.bought && offer->discount > 0;
    a.discount = a.redeemed ? offer->discount * c->value : 0;
    a.cost = w->contact_cost;
    a.unsubscribed = draw[2] < o.unsubscribe;
    c->gone |= a.unsubscribed;
    c->fatigue += 1;
    return a;
}
