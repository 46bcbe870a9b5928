/* How a simulated customer answers an offer, or none: chances, and what they are worth. What he is
 * like is hidden from those who decide; simulations, and oracles that know everything, share it.
 *
 * A basket is bought with chance σ(urge + CUSTOMER_CART if a cart is full − weariness), where
 * weariness = world.fatigue · impatience · fatigue / 4 and fatigue is the number of messages
 * lately, of which CUSTOMER_KEEP remains the next day. A message is opened with chance 0.6 · exp(
 * −weariness). Whoever opens it feels
 *   1.3 · fit + sensitivity · 0.8 · (discount / 0.1)^0.8
 * on top of his urge, or a fifth of it if he is sure to buy anyway; and what he then buys is so
 * much cheaper. Each message may make him unsubscribe, the more, the wearier he is and the less it
 * fits; who did gets no more of them and buys less from then on. So a discount is wasted on the
 * sure, a message costs what others later would have earned, and what suits one customer puts off
 * another.
 *
 * Pure; randomness comes in. Thread: any. */
#pragma once

#include "model/base.h"

enum { CUSTOMER_TASTES = 8 };
#define CUSTOMER_CART 1.2
#define CUSTOMER_KEEP 0.8

/* The same for all. */
struct customer_world {
    double fatigue;      /* how much messages weary; 0: not at all, and nobody unsubscribes */
    double margin;       /* share of the price */
    double contact_cost; /* of one message */
};
struct customer_world customer_world_default(void);

struct customer {
    /* hidden, and for good */
    bool sure;                    /* buys anyway */
    float urge;                   /* logit of buying when he looks around */
    float sensitivity;            /* to prices, about 1 */
    float impatience;             /* with messages, about 1 */
    float value;                  /* of what he buys */
    float activity;               /* chance of looking around on a day */
    float taste[CUSTOMER_TASTES]; /* a normal variable each */
    /* what happened to him */
    float fatigue;
    bool gone; /* unsubscribed */
};

void customer_draw(struct customer *c, struct rng *rng);

/* What he is sent. */
struct customer_offer {
    double fit;      /* how well it suits him: a standard normal variable over customers, about */
    double discount; /* share of the price, [0, 1) */
};

struct customer_odds {
    double open;        /* 0 without a message */
    double buy_open;    /* chance of buying if he opened it ... */
    double buy_unseen;  /* ... and if not */
    double unsubscribe; /* because of this message */
};
/* `offer` NULL: nothing is sent, which is all that is possible once he is gone. */
struct customer_odds customer_odds(const struct customer_world *w, const struct customer *c,
                                   bool cart, const struct customer_offer *offer);
/* Expected margin less discount and contact cost. */
double customer_worth(const struct customer_world *w, const struct customer *c,
                      const struct customer_odds *odds, const struct customer_offer *offer);

struct customer_answer {
    bool opened, bought, redeemed, unsubscribed;
    double margin, discount, cost; /* money; what it brings is margin - discount - cost */
};
/* Draws what he does, always by three numbers of `rng`, and changes fatigue and gone. */
struct customer_answer customer_answer(const struct customer_world *w, struct customer *c,
                                       bool cart, const struct customer_offer *offer,
                                       struct rng *rng);
/* A day went by. */
static inline void customer_rest(struct customer *c) {
    c->fatigue *= (float)CUSTOMER_KEEP;
}
