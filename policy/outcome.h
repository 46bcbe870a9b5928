/* What became of a decision: what people did in its window, in money. */
#pragma once

#include "model/model.h"

/* What counts, for all campaigns; money in the shop's currency. Zeros: only what is known. */
struct reward_spec {
    double margin;      /* share of the price where the catalogue does not say, 0..1 */
    double shipping;    /* of free shipping, where something was bought */
    double annoyance;   /* of a message that nobody answered */
    double unsubscribe; /* what it costs that somebody does not want to hear from us again */
    double basket;      /* what is typically bought for: learned policies measure by it; 0: 50 */
};

/* One per message sent (and per "nothing" that a policy chose), when its window closes.
 *
 *   reward = margin - discount - contact_cost - annoyance
 *
 * margin: of what was bought, at the price without the discount, less that of what came back.
 * Who answered which message: the one the event names (event.decision), or else the last one
 * sent before it whose window is open. An event that names a message whose window is closed
 * answers nothing. */
struct outcome {
    uint16_t campaign;        /* index into the set */
    uint64_t trigger_hash[2]; /* of the decision */
    int64_t sent_ms, closed_ms;
    double propensity;
    bool nothing; /* nothing was sent: what happened all the same */
    bool cut;     /* closed before its time: too many of one user were open */
    bool opened, redeemed, returned, unsubscribed;
    uint32_t purchases;
    double value;  /* paid, less what came back */
    double survey; /* the last score in the window; NAN: none */
    double margin, discount, contact_cost, annoyance, reward;
    struct user *user;
    uint8_t offer;
    float *x; /* float[FEATURES_SHARED + FEATURES_OWN] when it was decided, owned; NULL: none */
};
