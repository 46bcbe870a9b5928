/* What policy's files share: the compiled set, a shard's books, a user's state. */
#pragma once

#include "policy/deep.h"
#include "policy/evidence.h"
#include "policy/spec.h"

#define TIME_NEVER INT64_MAX
#define TIME_UNSET INT64_MIN

struct campaign {
    struct campaign_spec spec; /* strings point into the set's memory; audience unused */
    uint64_t hash;             /* of the id */
    uint16_t channel;
    uint32_t channel_hash;
    struct condition *audience;
    size_t n_audience;
    int64_t start_ms, end_ms; /* decided within [start, end) */
    int64_t keep_ms;          /* how long a send matters to its caps and re-entry */
    uint16_t group;
    uint32_t category_hash; /* of the trigger's category */
    int follows;            /* index of the campaign that its trigger names; -1: none */
    uint64_t holdout_seed, fingerprint;
    bool has_budget;
    uint64_t holdout_key, holdout_print; /* of its hold-out: which, and what must not change */
    uint64_t fairness_key;               /* of its bound */
    int holdout_study;                   /* what its hold-out tells; -1: it has none */
    float cost;                          /* FO_COST of policy/features.h */
    float factor[OFFERS_MAX][FEATURES_FACTORS]; /* of its offers: features_factors */
    /* Those of its offers, a bit each, that lower a price, that want approval, that take coupon
     * codes from a pool. */
    uint32_t discounted, deep, pooled;
};

#define HOLDOUT_STUDY "holdout/" /* begins the names of what hold-outs tell */

/* An experiment, compiled: which of a campaign's offers an arm makes, a bit each. */
struct experiment {
    struct experiment_arms spec;         /* spec.arm is owned */
    uint64_t hash, print;                /* of its name; of what must not change */
    bool *about;                         /* per campaign, owned */
    uint16_t *offers;                    /* [arm][campaign], owned */
    uint32_t rules[EXPERIMENT_ARMS_MAX]; /* groups in which the rules choose, a bit each */
    int holdout;                         /* campaign whose hold-out it is, that all are in: arm 0 is
                                          * held out; -1: one of the file */
};
struct policy_set;
/* Campaigns and groups are there already; *text: where the set keeps texts. */
int experiments_compile(struct policy_set *s, const struct policy_spec *spec, char **text);
struct str text_keep(char **to, struct str s);
void experiment_free(struct experiment *e);

struct group {
    struct group_spec spec;
    const struct policy_kind *kind;
    void *self;
    struct learned *learned; /* owned; NULL: does not learn */
    struct deep *deep;       /* owned; NULL: is not dqn */
};

struct pool {
    uint64_t hash; /* of its name */
    uint32_t n;
    uint32_t *at; /* where code i begins in the text; it ends where the next begins */
    char *text;
};

/* Copies the codes. 0, -E2BIG or -ENOMEM; pool_free in either case. */
int pool_new(const struct pool_spec *spec, struct pool *ret);
void pool_free(struct pool *p);
struct str pool_code(const struct pool *p, uint32_t i);

struct channel {
    struct str name;
    uint32_t hash;
    struct caps caps;
    int64_t keep_ms;
};

struct index_list {
    uint16_t n;
    uint16_t *i; /* campaigns in file order */
};

struct policy_set {
    size_t n, n_channels;
    struct campaign *c;
    struct channel channel[POLICY_CHANNELS_MAX];
    struct reward_spec reward;
    struct caps user_caps;
    int64_t user_keep_ms;
    const struct tz_rules *tz;
    uint64_t trigger_seed, holdout_seed;
    uint32_t holdout;
    uint64_t holdout_key, holdout_print;
    uint64_t arm_seed;
    size_t n_experiments, n_designed; /* the file's come first, then hold-outs */
    struct experiment *experiment;
    struct evidence_list *evidence; /* of all shards; changes */
    bool consent_granted;
    /* who may answer what; lapsed by days, the others in file order */
    struct index_list by_type[EV_MAX], welcome, price_drop, lapsed, follows;
    int64_t views_keep_s; /* how long views matter to `viewed` campaigns; 0: there are none */
    bool views_all;       /* to one of them, views of every category do */
    uint16_t *index_memory;
    char *text_memory;
    bool has_fairness;           /* some campaign has a bound */
    struct protect_spec protect; /* categories unused: */
    uint32_t protected_hash[PROTECTED_MAX];
    struct approval_spec approval;
    uint32_t budget_slack;
    size_t n_groups, n_pools;
    struct group group[GROUPS_MAX + 1]; /* 0: of campaigns without a group */
    struct pool pool[POOLS_MAX];
    struct ledger *ledger; /* the one part that changes: totals of daily budgets */
};

/* ---- daily budgets ----------------------------------------------------------
 * A cell is what all shards of the process sent of one campaign on one day. Shards
 * find a cell once a day under the ledger's lock and then compare-and-swap on it. */
struct user_ext;
struct pending;
struct cell;
int ledger_new(struct ledger **ret);
void ledger_free(struct ledger *l);
void ledger_share(struct ledger *l, uint32_t owned, uint32_t total);
struct cell *ledger_cell(struct ledger *l, uint16_t campaign,
                         int32_t day); /* NULL: out of memory */
bool ledger_left(struct ledger *l, const struct cell *c, uint32_t budget);
bool ledger_reserve(struct ledger *l, struct cell *c, uint32_t budget);
void ledger_add(struct cell *c, uint32_t n);
void ledger_take(struct cell *c, uint32_t n);

/* Called with the time of whatever comes first: from then on new campaigns know users
 * as lapsed, so that a campaign added today does not address everyone who ever left. */
void shard_begin(struct policy_shard *s, int64_t now_ms);
int64_t shard_since_ms(const struct policy_shard *s, size_t campaign);
/* Of a campaign that has one. */
bool shard_budget_left(struct policy_shard *s, size_t campaign, int64_t now_ms);
/* Part of the budget that may be spent by then: all of it, or evenly over the day. */
uint32_t budget_by(const struct policy_set *set, size_t campaign, int64_t now_ms);
/* PR_SENT, PR_BUDGET or PR_COUNT (out of memory). */
enum policy_reason shard_budget_reserve(struct policy_shard *s, size_t campaign, int64_t now_ms);
/* Codes of a pool go to partitions in turn: the k-th of this one is number partition + k · total,
 * so that no two ever give the same. */
bool shard_code_left(const struct policy_shard *s, size_t pool);
struct str shard_code_take(struct policy_shard *s, size_t pool); /* while one is left */
void shard_count(struct policy_shard *s, size_t campaign, enum policy_reason r);

/* ---- evidence: policy/evidence.h ------------------------------------------------ */
struct evidence;
int evidence_list_new(struct evidence_list **ret);
void evidence_list_free(struct evidence_list *l);
int evidence_new(const struct policy_set *set, struct evidence **ret);
void evidence_free(struct evidence *e);
int evidence_encode(const struct evidence *e, struct buf *out);
/* Replaces what it holds; NULL: empties it. -EBADMSG, -ENOMEM or -EKEYREJECTED: nothing changed. */
int evidence_restore(struct evidence *e, const void *p, size_t n);
const char *evidence_conflict(const struct evidence *e);
struct evidence *shard_evidence(struct policy_shard *s); /* to be changed: it is dirty then */
/* Notes that hold-outs decide from now on. -ENOMEM. */
int evidence_holdouts(struct policy_shard *s, uint16_t campaign);
/* Whether a campaign's hold-out has the user. */
bool campaign_holds_out(const struct campaign *k, struct str user);
/* PR_SENT, PR_CAMPAIGN_HOLDOUT or PR_COUNT (out of memory), of a campaign that has a hold-out.
 * Exposes the user to it, be he in it or not. */
enum policy_reason guard_holdout(const struct policy_context *c, int64_t now_ms,
                                 const struct candidate *cand);
/* PR_SENT, PR_EXPERIMENT or PR_COUNT (out of memory). Exposes the user. */
enum policy_reason guard_experiments(const struct policy_context *c, int64_t now_ms,
                                     const struct candidate *cand);
/* Offers that the user's arms leave a campaign, a bit each. */
uint32_t experiment_offers(const struct policy_context *c, uint16_t campaign);
/* Whether the rules choose in this group, by the user's arms. */
bool experiment_rules_choose(const struct policy_context *c, size_t group);
/* Whether a decision about the campaign is the first after an exposure; says so once. */
bool exposure_told(const struct policy_context *c, uint16_t campaign);
/* Purchases, returns and scores to the exposures whose window is open. */
void exposure_on_event(const struct policy_context *c, const struct event *e, double amount,
                       double margin);
/* What discounts and contacts cost, of a message whose window closes. */
void exposure_on_outcome(struct user_ext *x, const struct pending *p, double more);
int64_t exposure_due(const struct user_ext *x);
void exposure_close_due(const struct policy_context *c, int64_t now_ms);
/* What an open message will cost by what is known. */
double feedback_cost(const struct policy_context *c, const struct pending *p);
/* PR_SENT or PR_FAIRNESS, and counts the candidate, of a campaign with a bound. */
enum policy_reason guard_fairness(const struct policy_context *c, uint16_t campaign);
void fairness_sent(const struct policy_context *c, uint16_t campaign);
/* Remembers the attributes that bounds go by. -ENOMEM. */
int fairness_note(const struct policy_context *c, const struct event *e);

/* ---- a user's state ---------------------------------------------------------- */
/* Follow: a message of the campaign that this one follows is due for its answer; cause_hash is
 * that message's trigger_hash[0]. */
enum timer_kind { TIMER_CART, TIMER_POSTPONED, TIMER_FOLLOW, TIMER_KINDS };

struct timer {
    int64_t due_ms, since_ms; /* since: when it was set off */
    uint64_t cause_hash;
    double old_price, new_price;
    uint32_t item;
    uint16_t campaign;
    uint8_t kind;
};

struct sent {
    int64_t time_ms;
    uint64_t trigger, campaign; /* halves of ids: trigger_hash[0], id hash */
    uint32_t channel;           /* hash of its name */
    bool counts;                /* against caps */
};

struct mark { /* when a `viewed` campaign last answered; views up to then are used up */
    int64_t time_ms;
    uint16_t campaign;
};

struct viewed {
    uint32_t time_s, item, category; /* hashes of the names; 0: none */
};
enum { VIEWS_MAX = VIEWED_TIMES_MAX };

/* A decision whose window is open. */
enum { PENDING_MAX = 16, BOUGHT_MAX = 4 };
enum pending_flags {
    PENDING_OPENED = 1 << 0,
    PENDING_REDEEMED = 1 << 1,
    PENDING_RETURNED = 1 << 2,
    PENDING_UNSUBSCRIBED = 1 << 3,
    PENDING_NOTHING = 1 << 4, /* nothing was sent */
};
struct pending {
    uint64_t trigger[2];
    int64_t sent_ms, until_ms;            /* answers count in [sent, until) */
    double paid, given_back, margin, off; /* margin of what was paid; off: said when redeemed */
    float *x;                             /* features of the choice, owned; NULL: none */
    float propensity, survey;             /* survey NAN: none */
    uint32_t bought[BOUGHT_MAX];          /* hashes of the newest items; 0: none */
    uint16_t campaign, purchases;
    uint8_t offer, flags;
};

/* Somebody does not want to hear from us: over a channel (hash of its name) or at all (0). */
enum { DENIALS_MAX = 16 };
struct denial {
    int64_t time_ms;
    uint32_t channel;
};

/* His part in an experiment, kept after its window closed. */
struct exposure {
    uint64_t experiment; /* hash of its name */
    int64_t time_ms, until_ms;
    double before;       /* spent by then */
    double paid, margin; /* since; less what came back, discounts and contacts */
    float survey;        /* NAN: none */
    uint8_t arm;
    bool bought, open, fresh; /* fresh: no decision told of it; not durable */
};

struct trait { /* a value of an attribute, both hashes */
    uint32_t attribute, value;
};

struct step;
/* Arrays hold room for the next power of two of their n, and none when n is 0. */
struct user_ext {
    int64_t clock_ms; /* newest decision or fired timer */
    int64_t lapse_ms; /* lapses due up to here have fired */
    uint16_t n_timers, n_sends, n_marks, n_views, n_pending, n_denials, n_steps;
    bool minor;               /* said to be younger than protect.minimum_age */
    uint8_t messages, opened; /* halved together when the first is full */
    uint8_t redeemed;         /* coupons; saturates */
    struct timer *timers;     /* by due time, then campaign: at most TIMER_KINDS per campaign */
    struct sent *sends;       /* oldest first: what caps, re-entry or repeats still need */
    struct mark *marks;       /* by campaign */
    struct viewed *views;     /* oldest first; only what `viewed` campaigns may count */
    struct pending *pending;  /* oldest first, at most PENDING_MAX */
    struct denial *denials;   /* each channel once, at most DENIALS_MAX */
    uint16_t n_exposures, n_traits;
    struct exposure *exposures; /* each experiment once */
    struct trait *traits;       /* each attribute once */
    struct step **steps;        /* policy/steps.h, oldest first */
};

/* Sends kept beyond what caps need, so that a repeat of their event is known. */
enum { SENDS_REMEMBERED = 8 };

/* Room for one more in an array whose capacity is the power of two at or above n. 0, -ENOMEM or
 * -E2BIG. */
int ext_grow(void **array, size_t n, size_t width);
struct user_ext *ext_get(struct user *u); /* makes one if needed; NULL: out of memory */
void ext_drop_if_empty(struct user *u);
int ext_timer_set(struct user_ext *x,
                  const struct timer *t); /* replaces the campaign's of its kind */
bool ext_timer_find(const struct user_ext *x, uint16_t campaign, enum timer_kind k,
                    struct timer *ret);
void ext_timer_remove(struct user_ext *x, size_t i);
int ext_sent_reserve(struct user_ext *x); /* room for one more */
void ext_sent_add(struct user_ext *x, const struct policy_set *set, const struct sent *s);
int ext_view_add(struct user_ext *x, const struct policy_set *set, const struct viewed *v);
int ext_mark_set(struct user_ext *x, uint16_t campaign, int64_t time_ms);
int64_t ext_mark(const struct user_ext *x, uint16_t campaign); /* TIME_UNSET: none */
int ext_pending_reserve(struct user_ext *x);                   /* room for one more */
void ext_messaged(struct user_ext *x);                         /* counts one more */
void ext_pending_remove(struct user_ext *x, size_t i);
/* The newest word about a channel counts; too many channels become all of them. -ENOMEM. */
int ext_deny(struct user_ext *x, uint32_t channel, int64_t time_ms);

/* ---- answers ------------------------------------------------------------------ */
/* Attributes an event to the open windows, and takes an unsubscribe at its word. -ENOMEM. */
int feedback_on_event(const struct policy_context *c, const struct event *e, uint32_t item_row);
/* When the next window closes; TIME_NEVER: none is open. */
int64_t feedback_due(const struct user_ext *x);
/* Closes what ends at or before `now_ms`. */
void feedback_close_due(const struct policy_context *c, int64_t now_ms, struct decisions *out);
/* Room for one more window, if need be by closing the oldest one. False: memory is out. */
bool feedback_reserve(const struct policy_context *c, int64_t now_ms, struct decisions *out);
/* Whether a message's window is open and nothing of what `unless` asks for has happened. */
bool feedback_silent(const struct user_ext *x, uint64_t trigger, enum follow_unless unless);
/* Opens a window in the room that was reserved. `nothing`: nothing is sent. x_taken: features of
 * the choice, moves in; may be NULL. */
void feedback_open(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
                   double propensity, bool nothing, float *x_taken);
/* Whether the user unsubscribed from the channel after `said_ms`. */
bool feedback_denies(const struct user *u, uint32_t channel, int64_t said_ms);

/* ---- deciding ----------------------------------------------------------------- */
int64_t user_clock(const struct user *u, int64_t now_ms); /* now, or the newest time reached */
int64_t next_due(const struct policy_set *set, const struct policy_shard *s, const struct user *u);
/* What guards know of a user before they look at a campaign. */
struct guarded {
    bool bot, minor, held; /* held: in the hold-out of all campaigns */
};
struct guarded guard_user(const struct policy_context *c, int64_t now_ms);
/* Why a campaign may not be sent now; PR_SENT: it may. The audience is asked apart. */
enum policy_reason guard(const struct policy_context *c, int64_t now_ms,
                         const struct candidate *cand, struct guarded who);
/* Notes what guard_offers asks of a campaign's offers; the set knows what wants approval. */
void guard_compile(const struct policy_set *set, struct campaign *k);
/* Remembers what an event says of its user's age: context `age` in years, or `minor`. -ENOMEM. */
int guard_note_age(const struct policy_context *c, const struct event *e);
/* Its offers that may be made now, a bit each. 0: none, and *ret_why is why not the first. */
uint32_t guard_offers(const struct policy_context *c, const struct candidate *cand,
                      enum policy_reason *ret_why);
const struct tz_rules *guard_zone(const struct policy_context *c); /* the user's, or the default */
/* A coupon code by its template: {hash} becomes ten characters of `hash` that nobody misreads
 * (Crockford's base 32). Longer ones are cut. */
void code_print(struct str template, uint64_t hash, char ret[CODE_MAX]);
/* Guards, choice, budget, memory and record for what was set off at one moment. `e` is
 * the event, NULL for timers and price drops. Fills in trigger ids. */
void decide(const struct policy_context *c, const struct event *e, int64_t now_ms,
            struct candidate *cand, size_t n, struct decisions *out);
bool audience_holds(const struct policy_context *c, const struct campaign *k, const struct event *e,
                    uint32_t item, int64_t now_ms, bool context_only);
