/* What a campaign file says, as plain data: the way to make a policy_set. Strings are
 * borrowed; the set keeps copies. */
#pragma once

#include "policy/condition.h"
#include "policy/zone.h"

enum { CAPS_MAX = 4, VIEWED_TIMES_MAX = 16, CAP_COUNT_MAX = 100 };

#define TRIGGER_KINDS(X)                                                                           \
    X(CART_ABANDONED, "cart_abandoned", "something was put into the cart and not bought")          \
    X(VIEWED, "viewed", "a thing was looked at again and again")                                   \
    X(PRICE_DROP, "price_drop", "a thing that was looked at became cheaper")                       \
    X(LAPSED, "lapsed", "nothing was heard for days")                                              \
    X(EVENT, "event", "an event of a kind happened")                                               \
    X(WELCOME, "welcome", "a session began")

enum trigger_kind {
#define X(sym, name, help) TRIGGER_##sym,
    TRIGGER_KINDS(X)
#undef X
        TRIGGER_COUNT
};
const char *trigger_kind_name(enum trigger_kind k);

enum view_subject {
    VIEWS_OF_ANYTHING,
    VIEWS_OF_CATEGORY,
    VIEWS_OF_SAME_CATEGORY,
    VIEWS_OF_SAME_ITEM
};

/* Which fields count depends on the kind. */
struct trigger_spec {
    enum trigger_kind kind;
    int64_t after_ms;            /* cart_abandoned: without purchase or further cart activity */
    enum view_subject subject;   /* viewed */
    struct str category;         /* viewed (VIEWS_OF_CATEGORY), event (empty: any) */
    uint32_t times;              /* viewed: 1..VIEWED_TIMES_MAX */
    int64_t within_ms;           /* viewed, price_drop */
    bool without_purchase;       /* viewed: none within `within_ms` */
    double percent;              /* price_drop: at least */
    int64_t days_ms;             /* lapsed: since the last event */
    uint8_t type;                /* event */
    double min_value, max_value; /* event: of the event's value; NAN: no bound */
    uint32_t session;            /* welcome: the n-th, from 1 */
};

struct cap { /* at most n per rolling window */
    uint32_t n;
    int64_t per_ms;
};

struct caps {
    size_t n;
    struct cap cap[CAPS_MAX];
};

enum reentry { REENTRY_ALWAYS, REENTRY_AFTER, REENTRY_NEVER };

struct campaign_spec {
    struct str id, channel, offer; /* offer: a JSON object */
    bool discount;                 /* the offer lowers a price (not for ITEM_NO_DISCOUNT) */
    double percent, amount;        /* by how much, once redeemed; 0: not at all */
    double contact_cost;           /* of one message */
    int64_t window_ms;             /* what is done within it answers the message; 0: valid_ms */
    int32_t priority;
    struct trigger_spec trigger;
    size_t n_audience;
    const struct str *audience; /* conditions, all of which must hold */
    int64_t valid_ms;
    struct caps caps;
    uint32_t budget;            /* sends a day; UINT32_MAX: no limit */
    int32_t start_day, end_day; /* inclusive, in the default zone; INT32_MIN, INT32_MAX: open */
    struct quiet_hours quiet;
    enum reentry reentry;
    int64_t reentry_ms; /* REENTRY_AFTER */
    bool paused, transactional;
};

struct policy_spec {
    struct str salt;
    const struct tz_rules *tz; /* default zone, borrowed for the set's life; NULL: UTC */
    bool consent_granted;      /* where a user's consent is not known */
    uint32_t holdout;          /* users of 10000 that get nothing */
    struct reward_spec reward;
    struct caps user_caps;
    size_t n_channel_caps;
    struct {
        struct str channel;
        struct caps caps;
    } channel_caps[POLICY_CHANNELS_MAX];
    size_t n;
    const struct campaign_spec *campaign;
};

/* Compiles. 0, -ENOMEM, -E2BIG (too many campaigns or channels), -EEXIST (two
 * campaigns with one id) or -EINVAL (a condition that does not parse, a number out of
 * its bounds): the caller has checked these and told people about them. */
int policy_set_new(const struct policy_spec *spec, struct policy_set **ret);

/* What was compiled, for people to look at; audience is NULL. */
const struct campaign_spec *policy_campaign_spec(const struct policy_set *s, size_t i);
