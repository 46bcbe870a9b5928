/* What learned policies know of a user, a moment and an offer: numbers of about unit size. The
 * columns are part of what was learned: change FEATURES_VERSION with their meaning. */
#pragma once

#include "policy/policy.h"

enum { FEATURES_VERSION = 2 };

/* The first FEATURES_PROFILE of the shared columns; the embedding follows, as much of it as fits
 * (a wider one is folded: column j holds the sum of what lies FEATURES_EMBEDDING apart), scaled to
 * length 1. */
#define FEATURES_SHARED_COLUMNS(X)                                                                 \
    X(ONE, "1")                                                                                    \
    X(EVENTS, "log(1 + events) / 8")                                                               \
    X(PURCHASES, "log(1 + purchases) / 4")                                                         \
    X(RETURNS, "log(1 + returns) / 4")                                                             \
    X(SPEND, "log(1 + spend) / 8")                                                                 \
    X(AVG_PRICE, "log(1 + average price) / 8")                                                     \
    X(RECENCY, "exp(-days since seen / 7)")                                                        \
    X(BOUGHT, "exp(-days since purchase / 30), 0: never")                                          \
    X(CART, "log(1 + cart value) / 8")                                                             \
    X(SESSIONS, "log(1 + sessions) / 4")                                                           \
    X(SCORE, "last survey score / 10 - 0.5, 0: none")                                              \
    X(SENT_DAY, "messages of the last day / 2")                                                    \
    X(SENT_WEEK, "messages of the last week / 5")                                                  \
    X(HOUR_SIN, "sin of the hour at the user's place")                                             \
    X(HOUR_COS, "cos of it")                                                                       \
    X(WEEKEND, "1 on Saturday and Sunday")

enum feature_shared {
#define X(sym, help) FS_##sym,
    FEATURES_SHARED_COLUMNS(X)
#undef X
        FEATURES_PROFILE,
    FEATURES_EMBEDDING = 64,
    FEATURES_SHARED = FEATURES_PROFILE + FEATURES_EMBEDDING,
};

/* The first of an offer's columns; the last FEATURES_CAMPAIGNS are its campaign's (by a hash of
 * its id, so that they outlive changes of the file). */
#define FEATURES_OWN_COLUMNS(X)                                                                    \
    X(PERCENT, "discount in percent / 20")                                                         \
    X(AMOUNT, "discount in money / item price, at most 1")                                         \
    X(SHIPPING, "1: free shipping")                                                                \
    X(PERCENT_BOUGHT, "PERCENT x BOUGHT")                                                          \
    X(PERCENT_CART, "PERCENT x CART")                                                              \
    X(PERCENT_PRICE, "PERCENT x average price paid, log(1 + x) / 8")                               \
    X(ONE, "1")                                                                                    \
    X(DROP, "how far the price fell, 0..1")                                                        \
    X(PRICE, "log(1 + item price) / 8")                                                            \
    X(MARGIN, "margin share of the item")                                                          \
    X(COST, "contact cost, log(1 + 100 cost)")                                                     \
    X(SENT, "messages of the last week / 5")                                                       \
    X(CAMPAIGN_SENT, "messages of this campaign that are remembered / 3")                          \
    X(CART, "log(1 + cart value) / 8")                                                             \
    X(BOUGHT, "exp(-days since purchase / 30)")                                                    \
    X(FIT, "share of the item's category in the user's interest")

enum feature_own {
#define X(sym, help) FO_##sym,
    FEATURES_OWN_COLUMNS(X)
#undef X
        FEATURES_OFFER,
    FEATURES_DEPTH = FO_ONE, /* columns before it are the offer's, the others the campaign's */
    FEATURES_CAMPAIGNS = 16,
    FEATURES_OWN = FEATURES_OFFER + FEATURES_CAMPAIGNS,
};

#define FEATURES_BYTES ((FEATURES_SHARED + FEATURES_OWN) * sizeof(float))

/* Of n candidates, those of one campaign side by side: ret_shared float[FEATURES_SHARED], ret_own
 * float[n][FEATURES_OWN]. */
void features(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
              size_t n, float *ret_shared, float *ret_own);
