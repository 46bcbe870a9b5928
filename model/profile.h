/* What is known of one user besides the embedding: recency, frequency, dwell,
 * affinities, spend, session, recent items. Compact and bounded; the variable
 * parts grow with use, so that a user of few events costs little. */
#pragma once

#include "model/event.h"

/* Fields an audience condition may name (`purchases`, `days_since_seen`, …). */
#define PROFILE_FIELDS(X)                                                                          \
    X(EVENTS, "events", "events counted")                                                          \
    X(VIEWS, "views", "views and clicks")                                                          \
    X(FAVORITES, "favorites", "items marked as favorite")                                          \
    X(CARTS, "carts", "additions to the cart")                                                     \
    X(PURCHASES, "purchases", "purchases")                                                         \
    X(RETURNS, "returns", "returns")                                                               \
    X(SESSIONS, "sessions", "sessions (a pause of 30 minutes or another session id starts one)")    \
    X(SESSION_EVENTS, "session_events", "events of the current session")                           \
    X(SPEND, "spend", "sum of purchase values, returns taken off")                                 \
    X(AVG_PRICE, "avg_price", "mean price of items viewed, decayed")                               \
    X(AVG_DWELL_S, "avg_dwell_s", "mean dwell in seconds, decayed")                                \
    X(LAST_SCORE, "last_score", "last survey score")                                               \
    X(DAYS_KNOWN, "days_known", "days since first seen")                                           \
    X(DAYS_SINCE_SEEN, "days_since_seen", "days since the event before this one")                  \
    X(DAYS_SINCE_PURCHASE, "days_since_purchase", "days since the last purchase; none: infinite")  \
    X(CART_ITEMS, "cart_items", "items in the cart now")                                           \
    X(CART_VALUE, "cart_value", "their prices added up, where known")                              \
    X(BOT, "bot", "1 for a marked bot")

enum profile_field {
#define X(sym, name, help) PF_##sym,
    PROFILE_FIELDS(X)
#undef X
        PF_COUNT
};

enum { PROFILE_RECENT_MAX = 16, PROFILE_CART_MAX = 16, PROFILE_BOUGHT_MAX = 32, PROFILE_DEDUP_MAX = 64,
       PROFILE_AFFINITY_MAX = 8 };

struct recent_item {
    uint32_t item;  /* row */
    uint32_t time_s; /* Unix seconds */
    uint8_t type;
    float price;    /* when seen; NAN unknown */
};

struct profile {
    int64_t first_ms, last_ms, prev_ms; /* prev_ms: the event before the last (0: none) */
    struct profile_more *more; /* the variable part, owned; see profile.c */
    uint32_t events;
    float spend, avg_price, avg_dwell_s, last_score; /* NAN: unknown */
    /* further fixed fields belong to profile.c's owner and may be added here */
};

/* Value of a field at `now_ms` (NAN where unknown). */
double profile_value(const struct profile *p, enum profile_field f, int64_t now_ms);
/* The user's affinity, in [0, 1], to a category key (its share of decayed interest). */
double profile_category_share(const struct profile *p, uint32_t category_key, int64_t now_ms);
/* Recent items, newest first; returns how many were written (at most max). */
size_t profile_recent(const struct profile *p, struct recent_item *ret, size_t max);
size_t profile_cart(const struct profile *p, struct recent_item *ret, size_t max);
/* Strongest categories: keys and shares, best first; at most PROFILE_AFFINITY_MAX. */
size_t profile_top_categories(const struct profile *p, int64_t now_ms, uint32_t *ret_keys, double *ret_shares,
                              size_t max);
