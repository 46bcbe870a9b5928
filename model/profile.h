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
    X(SESSIONS, "sessions", "sessions (a pause of 30 minutes or another session id starts one)")   \
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

enum {
    PROFILE_RECENT_MAX = 16,
    PROFILE_CART_MAX = 16,
    PROFILE_BOUGHT_MAX = 32,
    PROFILE_DEDUP_MAX = 64,
    PROFILE_AFFINITY_MAX = 8,
    PROFILE_TRAIL_MAX = 32
};

/* Rows from here on are not remembered in a history (27 bits a row, 5 a type). */
#define PROFILE_ROW_MAX (UINT32_C(1) << 27)
_Static_assert(EV_MAX <= 32, "an event type has 5 bits in a history");

struct recent_item {
    uint32_t item;   /* row */
    uint32_t time_s; /* Unix seconds */
    uint8_t type;
    float price; /* when seen, to 3 digits (exact in a cart); NAN unknown */
};

/* An item of interest as it came, repeats included. */
struct trail_item {
    uint32_t item; /* row */
    uint32_t time_s;
    bool first; /* a session, told by its id, began with it */
};

/* Times are event times. Late events never move last_ms back: they count, but
 * with the weight their age leaves them. */
struct profile {
    int64_t last_ms;
    struct profile_more *more; /* the variable part, owned; see profile_more.h */
    uint32_t first_s;          /* Unix seconds of the first event */
    uint32_t prev_s;           /* of the event before the last, 0: none */
    uint32_t events;
    float avg_price;         /* NAN: unknown */
    float price_weight;      /* decayed number of prices behind avg_price */
    uint32_t session;        /* 32-bit hash of the session id, 0: none */
    uint32_t minute;         /* Unix minute of the newest event, dropped ones included */
    uint16_t minute_count;   /* events of that minute, dropped ones included */
    uint16_t late_count;     /* events of the minute `late_back` minutes before it */
    uint16_t sessions;       /* saturates */
    uint16_t session_events; /* saturates */
    uint16_t late_back;      /* 0: no such minute */
    bool bot;                /* see profile_is_bot */
};

/* What became of one event. */
enum learn_result {
    LEARN_OK, /* profile updated, embeddings stepped if the type has a weight and the item a row */
    LEARN_DUPLICATE, /* event id seen within the user's window: nothing changed */
    LEARN_FLOOD,     /* dropped by the rate rule: only its counter changed */
    LEARN_BOT,       /* dropped, user marked as bot */
};

struct profile_params {
    int64_t half_life_ms;      /* of affinities and means; <= 0: no decay */
    uint32_t flood_per_minute; /* 0: no rule; above 65534 as that */
    uint32_t bot_minutes;      /* 0: no rule; above 255 as that */
};

/* What the learner wants to know of an event it has just put into the profile. */
struct profile_change {
    bool new_session; /* the event began a session */
    bool repeat_last; /* its item already was the newest of the history (a reload) */
    bool repeat;      /* its item already was in the history */
};

/* Takes in one event, in this order:
 *  - Duplicate: `event_hash` (of the event id) agrees in 32 bits with one of the last
 *    PROFILE_DEDUP_MAX events that were accepted. False alarms: 64 in 2^32 events.
 *    Dropped events are not remembered, so a repeated one is judged anew.
 *  - Rate: events are counted per Unix minute of event time, for the newest minute and
 *    for one late one (the minute before, as a rule; an event of another late minute
 *    takes its place). Beyond flood_per_minute in a minute they are dropped; a user with
 *    bot_minutes flooded minutes in a row is a bot until a day has passed without a
 *    flooded minute, and as long dropped altogether.
 *  - Profile: everything documented in this header.
 * event_hash: of the event id, by the same function and seed for good, because
 * fingerprints are durable; item_row: the event's item or ROW_NONE (then nothing is
 * remembered of the item); category_key: of the item, 0: unknown; price: of the item, NAN:
 * unknown; interest: what the event says of the user's liking, > 0 for a positive: it alone
 * enters history, affinities and the mean price. The trail takes every rating, too: what
 * somebody rated, he knew. A purchase or return counts the event's own
 * value and, without one, the item's price. A purchase takes its item out of the cart, one
 * without an item empties the cart. `ret` (optional) is written when LEARN_OK is returned.
 * Out of memory: the event counts, but what did not fit is not remembered. */
enum learn_result profile_observe(struct profile *p, const struct event *e, uint64_t event_hash,
                                  uint32_t item_row, uint32_t category_key, double price,
                                  float interest, const struct profile_params *params,
                                  struct profile_change *ret);

void profile_init(struct profile *p);
void profile_done(struct profile *p); /* frees the variable part; leaves p as initialised */
size_t
profile_bytes(const struct profile *p); /* of the variable part, allocator's share included */
/* Whether the bot mark holds at `now_ms`: it lapses a day after the last flooded minute. */
bool profile_is_bot(const struct profile *p, int64_t now_ms);

/* Value of a field at `now_ms` (NAN where unknown). */
double profile_value(const struct profile *p, enum profile_field f, int64_t now_ms);
/* The name a condition uses, and back (PF_COUNT: no such field). */
const char *profile_field_name(enum profile_field f);
enum profile_field profile_field_find(struct str name);
/* Events of one type counted so far. */
uint32_t profile_type_count(const struct profile *p, uint8_t type);

/* The user's affinity, in [0, 1], to a category key (its share of decayed interest). The
 * eight strongest are kept (space-saving, Metwally et al. 2005: a ninth takes the place
 * and the weight of the weakest). All decay alike, so shares do not depend on now_ms. */
double profile_category_share(const struct profile *p, uint32_t category_key, int64_t now_ms);
/* Strongest categories: keys and shares, best first; at most PROFILE_AFFINITY_MAX. */
size_t profile_top_categories(const struct profile *p, int64_t now_ms, uint32_t *ret_keys,
                              double *ret_shares, size_t max);

/* Items of positive events, each once (an item seen again moves up), newest first;
 * returns how many were written (at most max). */
size_t profile_recent(const struct profile *p, struct recent_item *ret, size_t max);
/* The trail, newest first. */
size_t profile_trail(const struct profile *p, struct trail_item *ret, size_t max);
/* The context of the newest event that had one (context.h); zeros before. */
void profile_context(const struct profile *p, uint32_t *ret);
/* As an event of such a context would; nothing if all are 0. */
void profile_set_context(struct profile *p, const uint32_t *values);
/* What is in the cart, newest first. */
size_t profile_cart(const struct profile *p, struct recent_item *ret, size_t max);
/* Rows bought at or after since_ms, newest first: of the last PROFILE_BOUGHT_MAX items. */
size_t profile_bought(const struct profile *p, int64_t since_ms, uint32_t *ret_rows, size_t max);
/* Rows the history still remembers: recent, in the cart or bought; each once. */
enum {
    PROFILE_SEEN_MAX =
        PROFILE_RECENT_MAX + PROFILE_CART_MAX + PROFILE_BOUGHT_MAX + PROFILE_TRAIL_MAX
};
size_t profile_seen(const struct profile *p, uint32_t *ret_rows, size_t max);
/* Forgets every item for which stale(ctx, row, time_s) is true (its row now means another
 * item). Returns how many entries went. */
size_t profile_drop_items(struct profile *p,
                          bool (*stale)(void *ctx, uint32_t row, uint32_t time_s), void *ctx);
