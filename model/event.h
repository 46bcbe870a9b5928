/* One thing a person did (or was shown), as every room sees it. */
#pragma once

#include "model/base.h"

/* Built-in types; custom ones from the configuration take the ids from
 * EV_BUILTIN upward, in the order they are configured. The names are those of
 * the click event schema. */
#define EVENT_TYPES(X)                                                                             \
    X(IMPRESSION, "impression", 0.0)                                                               \
    X(VIEW, "view", 1.0)                                                                           \
    X(CLICK, "click", 1.0)                                                                         \
    X(SEARCH, "search", 0.0)                                                                       \
    X(FAVORITE, "favorite", 2.0)                                                                   \
    X(CART_ADD, "add-to-cart", 3.0)                                                                \
    X(CART_REMOVE, "remove-from-cart", 0.0)                                                        \
    X(PURCHASE, "purchase", 5.0)                                                                   \
    X(RETURN, "return", 0.0)                                                                       \
    X(RATING, "rating", 1.0)                                                                       \
    X(REVIEW, "review", 1.0)                                                                       \
    X(CAMPAIGN_OPEN, "campaign-open", 0.0)                                                         \
    X(CAMPAIGN_REDEEM, "campaign-redeem", 0.0)                                                     \
    X(SURVEY, "survey", 0.0)                                                                       \
    X(UNSUBSCRIBE, "unsubscribe", 0.0)

enum event_type {
#define X(sym, name, weight) EV_##sym,
    EVENT_TYPES(X)
#undef X
        EV_BUILTIN,
    EV_MAX = 32, /* built-in and custom together */
    EV_UNKNOWN = 255
};

enum { EVENT_CTX_MAX = 24 };

struct event_ctx {
    struct str key, value;
};

/* Strings are borrowed from the message or the decoder's arena: valid until the
 * batch they came with is released. Empty strings mean "absent". */
struct event {
    struct str id;   /* never empty after decoding (derived from the origin when absent) */
    struct str user; /* never empty */
    struct str item; /* empty: none */
    struct str session;
    struct str query;
    struct str decision; /* decision id this event answers */
    int64_t time_ms;     /* event time, Unix epoch */
    double value;        /* price paid, rating or score, by type; NAN: absent */
    double dwell_ms;     /* NAN: absent */
    uint8_t type;        /* enum event_type or a custom id below EV_MAX */
    uint8_t n_ctx;
    struct event_ctx ctx[EVENT_CTX_MAX]; /* device, country, tz, channel, quantity, … */
};

/* The value of a context key, or an empty string. */
static inline struct str event_ctx_get(const struct event *e, struct str key) {
    for (size_t i = 0; i < e->n_ctx; i++)
        if (str_eq(e->ctx[i].key, key))
            return e->ctx[i].value;
    return (struct str){0};
}

/* One catalogue record (topic `items`). Borrowed strings, as above. */
enum { ITEM_CATEGORY_MAX = 6, ITEM_TAGS_MAX = 16, ITEM_DENSE_MAX = 1024 };

enum item_flags {
    ITEM_RESTRICTED = 1 << 0, /* never recommended nor offered (legal) */
    ITEM_ADULT = 1 << 1,      /* never offered by a campaign; not in lists unless configured */
    ITEM_SENSITIVE = 1 << 2,  /* never a reason to address somebody (health, …) */
    ITEM_NO_DISCOUNT = 1 << 3,
};

struct item_info {
    struct str id;
    size_t n_category; /* path, root first: "shoes", "running" */
    struct str category[ITEM_CATEGORY_MAX];
    struct str brand, description;
    size_t n_tags;
    struct str tags[ITEM_TAGS_MAX];
    size_t n_dense; /* 0: none; every item of a catalogue has the same width */
    const float *dense;
    double price;  /* NAN: unknown */
    double margin; /* share of the price, NAN: unknown */
    bool available;
    bool deleted;   /* tombstone: only id is set */
    uint32_t flags; /* enum item_flags */
};
