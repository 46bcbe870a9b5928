/* What learned policies know of a user, a moment and an offer: numbers of about unit size. The
 * columns are part of what was learned: change FEATURES_VERSION with their meaning. */
#pragma once

#include "policy/policy.h"

enum { FEATURES_VERSION = 3 };

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
    X(WEEKEND, "1 on Saturday and Sunday")                                                         \
    X(WEARY, "messages remembered, each fading by exp(-days / 4.5), / 2")                          \
    X(OPENS, "share of messages opened, (1 + opened) / (3 + sent)")                                \
    X(BARGAINS, "share of purchases with a coupon, (1 + redeemed) / (3 + purchases)")              \
    X(BASKET, "mean price viewed / reward.basket, at most 8; 1: not known")                        \
    X(BASKET_OFTEN, "BASKET x PURCHASES")                                                          \
    X(BASKET_OFTEN2, "BASKET x PURCHASES squared")                                                 \
    X(BASKET_CART, "BASKET, 0: nothing is in the cart")                                            \
    X(BASKET_CART_OFTEN, "BASKET_CART x PURCHASES")                                                \
    X(BASKET_WEARY, "BASKET x WEARY")                                                              \
    X(BASKET_WEARY_OFTEN, "BASKET_WEARY x PURCHASES")                                              \
    X(BASKET_OPENS, "BASKET x OPENS")                                                              \
    X(BASKET_BARGAINS, "BASKET x BARGAINS")

enum feature_shared {
#define X(sym, help) FS_##sym,
    FEATURES_SHARED_COLUMNS(X)
#undef X
        FEATURES_PROFILE,
    FEATURES_EMBEDDING = 48,
    FEATURES_SHARED = FEATURES_PROFILE + FEATURES_EMBEDDING,
};

/* The first of an offer's columns; the last FEATURES_CAMPAIGNS are its campaign's (by a hash of
 * its id, so that they outlive changes of the file). What an offer changes grows with what is
 * bought, so most are times VALUE: the item's price, or else what the user looks at, as BASKET. */
#define FEATURES_OWN_COLUMNS(X)                                                                    \
    X(AMOUNT, "discount in money / item price, at most 1")                                         \
    X(SHIPPING, "1: free shipping")                                                                \
    X(PERCENT_VALUE, "discount in percent / 20, x VALUE")                                          \
    X(PERCENT_BARGAINS, "PERCENT_VALUE x BARGAINS")                                                \
    X(PERCENT_CART, "PERCENT_VALUE, 0: nothing is in the cart")                                    \
    X(PERCENT_OFTEN, "PERCENT_VALUE x PURCHASES")                                                  \
    X(PERCENT2_VALUE, "the same, but of the percent squared")                                      \
    X(ONE, "1")                                                                                    \
    X(DROP, "how far the price fell, 0..1")                                                        \
    X(MARGIN, "margin share of the item")                                                          \
    X(COST, "contact cost, log(1 + 100 cost)")                                                     \
    X(CAMPAIGN_SENT, "messages of this campaign that are remembered / 3")                          \
    X(FIT, "log(1 + 20 s) / 3 of the share s in the user's interest of the category that the "     \
           "campaign's first offer takes its items from, or else of the item's")                   \
    X(VALUE, "see above")                                                                          \
    X(VALUE_OFTEN, "VALUE x PURCHASES")                                                            \
    X(VALUE_CART, "VALUE, 0: nothing is in the cart")                                              \
    X(VALUE_WEARY, "VALUE x WEARY")                                                                \
    X(VALUE_OPENS, "VALUE x OPENS")                                                                \
    X(VALUE_FIT, "VALUE x FIT")                                                                    \
    X(VALUE_FIT2, "VALUE x FIT squared")

enum feature_own {
#define X(sym, help) FO_##sym,
    FEATURES_OWN_COLUMNS(X)
#undef X
        FEATURES_OFFER,
    FEATURES_DEPTH = FO_ONE, /* columns before it are the offer's, the others the campaign's */
    FEATURES_FACTORS = (FEATURES_DEPTH + 7) / 8 * 8, /* in whole vectors */
    FEATURES_CAMPAIGNS = 12,
    FEATURES_OWN = FEATURES_OFFER + FEATURES_CAMPAIGNS,
};

/* A message wearies the less, the longer ago it was: by exp(-days / this). */
#define FEATURES_WEARY_DAYS 4.5

#define FEATURES_BYTES ((FEATURES_SHARED + FEATURES_OWN) * sizeof(float))

/* What the first columns are times for this offer, whoever the user is; the others are alike for
 * all offers of a campaign. */
struct offer_spec;
void features_factors(const struct offer_spec *o, float ret[FEATURES_FACTORS]);

/* Of n candidates, those of one campaign side by side: ret_shared float[FEATURES_SHARED], ret_own
 * float[n][FEATURES_OWN]. */
void features(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
              size_t n, float *ret_shared, float *ret_own);
/* What one message adds to the columns of weariness: WEARY, BASKET_WEARY, BASKET_WEARY_OFTEN and,
 * of the offer's, VALUE_WEARY. */
enum { WEAR_SHARED = 3, WEAR_COLUMNS };
void features_wear(const float *shared, const float *own, float ret[WEAR_COLUMNS]);
/* Takes away what messages remembered add to any column. */
void features_rest(float *shared, float *own);
