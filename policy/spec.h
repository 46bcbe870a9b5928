/* What a campaign file says, as plain data: the way to make a policy_set. Strings are
 * borrowed; the set keeps copies. */
#pragma once

#include "policy/condition.h"
#include "policy/experiment.h"
#include "policy/zone.h"

enum {
    CAPS_MAX = 4,
    VIEWED_TIMES_MAX = 16,
    CAP_COUNT_MAX = 100,
    GROUPS_MAX = POLICY_GROUPS_MAX - 1,
    POOLS_MAX = 64
};

#define TRIGGER_KINDS(X)                                                                           \
    X(CART_ABANDONED, "cart_abandoned", "something was put into the cart and not bought")          \
    X(VIEWED, "viewed", "a thing was looked at again and again")                                   \
    X(PRICE_DROP, "price_drop", "a thing that was looked at became cheaper")                       \
    X(LAPSED, "lapsed", "nothing was heard for days")                                              \
    X(EVENT, "event", "an event of a kind happened")                                               \
    X(WELCOME, "welcome", "a session began")                                                       \
    X(FOLLOWS, "follows", "another campaign's message was not answered")

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

/* Nobody who bought meanwhile is followed. */
enum follow_unless { FOLLOW_ALWAYS, FOLLOW_UNLESS_OPENED, FOLLOW_UNLESS_REDEEMED };

/* Which fields count depends on the kind. */
struct trigger_spec {
    enum trigger_kind kind;
    int64_t after_ms;            /* cart_abandoned: without purchase or further cart activity;
                                  * follows: its window must be longer than it */
    struct str campaign;         /* follows: whose messages */
    enum follow_unless unless;   /* follows */
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

/* One variant of what a campaign sends: a depth of discount, a wording. */
struct offer_spec {
    struct str name; /* empty: the only one */
    struct str json; /* a JSON object, passed on to the sending side */
    struct str code; /* coupon code; {hash} becomes ten characters of the trigger id. Empty: none */
    uint32_t pool;   /* index + 1 of the pool that codes are taken from; 0: none */
    bool discount;   /* lowers a price (not for ITEM_NO_DISCOUNT) */
    bool free_shipping;
    double percent, amount; /* by how much, once redeemed; 0: not at all */
    uint32_t items;         /* of the user's list that go with it; 0: as many as usual */
    struct str category;    /* that they are of; empty: any */
};

/* Coupon codes that were made elsewhere; each is given to one message at most. */
struct pool_spec {
    struct str name;
    size_t n;
    const struct str *code;
};

#define POLICY_METHODS(X)                                                                          \
    X(RULES, "rules", "the highest priority, then the first in the file")                          \
    X(RANDOM, "random", "every offer and nothing alike")                                           \
    X(EGREEDY, "egreedy", "learned: mostly the best, now and then any")                            \
    X(LINUCB, "linucb", "learned: the best that it may still turn out to be")                      \
    X(THOMPSON, "thompson", "learned: as often as it is likely to be the best")                    \
    X(SQUARECB, "squarecb", "learned: the rarer the further behind the best")                      \
    X(UPLIFT, "uplift", "learned: what changes whom, not what those get who buy anyway")           \
    X(DQN, "dqn", "learned: what pays in the long run")

enum policy_method {
#define X(sym, name, help) METHOD_##sym,
    POLICY_METHODS(X)
#undef X
        METHOD_COUNT
};
const char *policy_method_name(enum policy_method m);

enum policy_mode {
    MODE_ONLINE,     /* acts and learns */
    MODE_APPRENTICE, /* learns from what the rules do */
    MODE_LOG_ONLY,   /* neither: the rules act, outcomes are only logged */
};

/* Campaigns among which one policy chooses. */
struct group_spec {
    struct str name;
    enum policy_method method;
    enum policy_mode mode;
    int64_t horizon_ms; /* dqn: what comes so long after counts a tenth; 0: 30 days */
};

/* Whom and what to stay away from, whatever a campaign says. */
enum { PROTECTED_MAX = 32 };
struct protect_spec {
    uint32_t minimum_age; /* who is known to be younger is not addressed; 0: no such rule */
    size_t n_categories;
    struct str category[PROTECTED_MAX]; /* items of these are sensitive */
};

/* What people have to approve first. */
struct approval_spec {
    double percent;  /* discounts deeper than it; INFINITY: none */
    uint32_t budget; /* campaigns that may send more a day; UINT32_MAX: none */
};

/* How often people of one value of an attribute may get a campaign, compared with all others:
 * policy/evidence.h. */
struct fairness_spec {
    struct str attribute;    /* of an event's context; empty: no bound */
    double low, high, least; /* of the rate ratio; fewer candidates are not judged */
    bool pause;              /* the campaign stops; else the group that gets too much waits */
};

/* What is different for an arm; nothing for most controls. */
enum { EXPERIMENTS_MAX = 32, ARM_WORDS_MAX = 32 };
struct arm_spec {
    struct str name;
    uint32_t share; /* as spec.weight */
    size_t n_off, n_offers, n_rules;
    struct str off[ARM_WORDS_MAX]; /* campaigns that are not sent */
    struct {
        struct str campaign, offer; /* the only one it makes, by name */
    } offers[ARM_WORDS_MAX];
    struct str rules[GROUPS_MAX]; /* groups in which the rules choose */
};
struct experiment_arms {
    struct str name;
    struct experiment_spec spec; /* spec.id: the salt */
    struct arm_spec *arm;        /* spec.n_arms; borrowed, the set keeps a copy */
    int64_t window_ms;           /* what a user does so long after his exposure counts */
    enum experiment_metric metric;
    bool stop; /* pause arms that certainly lose */
};

enum reentry { REENTRY_ALWAYS, REENTRY_AFTER, REENTRY_NEVER };

struct campaign_spec {
    struct str id, channel;
    size_t n_offers; /* at least 1 */
    struct offer_spec offer[OFFERS_MAX];
    struct str group;    /* empty: the rules choose */
    double contact_cost; /* of one message */
    int64_t window_ms;   /* what is done within it answers the message; 0: valid_ms */
    int32_t priority;
    struct trigger_spec trigger;
    size_t n_audience;
    const struct str *audience; /* conditions, all of which must hold */
    int64_t valid_ms;
    struct caps caps;
    uint32_t budget;         /* sends a day; UINT32_MAX: no limit */
    bool even;               /* spent evenly over the day */
    uint32_t holdout;        /* users of 10000 that never get this campaign */
    struct str holdout_name; /* another one is another hold-out, of other users */
    struct fairness_spec fairness;
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
    struct str holdout_name;   /* another one is another hold-out, of other users */
    size_t n_experiments;
    const struct experiment_arms *experiment;
    struct reward_spec reward;
    struct protect_spec protect;
    struct approval_spec approval;
    uint32_t budget_slack; /* percent that partitions may send beyond their part of a budget */
    size_t n_groups;
    struct group_spec group[GROUPS_MAX];
    size_t n_pools;
    struct pool_spec pool[POOLS_MAX];
    struct caps user_caps;
    size_t n_channel_caps;
    struct {
        struct str channel;
        struct caps caps;
    } channel_caps[POLICY_CHANNELS_MAX];
    size_t n;
    const struct campaign_spec *campaign;
};

/* Compiles. 0, -ENOMEM, -E2BIG (too many campaigns, offers or channels),
 * -EEXIST (two campaigns with one id) or -EINVAL (a condition that does not parse, a number out of
 * its bounds): the caller has checked these and told people about them. */
int policy_set_new(const struct policy_spec *spec, struct policy_set **ret);

int64_t policy_window_ms(const struct campaign_spec *c); /* of its answers */

/* What was compiled, for people to look at; audience is NULL. */
const struct campaign_spec *policy_campaign_spec(const struct policy_set *s, size_t i);
