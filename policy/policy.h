/* Whether, what and when to offer: campaigns, their triggers and guards, behind
 * one interface that learned policies can take.
 *
 * `struct policy_set` is the compiled campaign file: immutable, shared by all
 * threads. `struct policy_shard` holds what one partition spent (budgets, counts)
 * and belongs to the worker that owns it. A user's part (caps, trackers, timers,
 * pending decisions) hangs off `user.ext`. Pure: time comes in; no I/O.
 *
 * Everything is decided per event in the user's order, from event time, so that
 * batches, restarts and replays cannot change an outcome. A decision's time is the
 * event's (or the timer's due time) and never goes back for one user: what arrives
 * late is decided at the newest time the user has reached, because that is when the
 * message would leave.
 *
 * Guards, in this order; the first that refuses is the reason:
 *   audience → bot → kill switch → paused → expired → consent → sensitive (minors, items)
 *   → hold-out → the campaign's hold-out → the arm of an experiment
 *   → caps (user, channel, campaign and re-entry) → quiet hours → budget → approval → fairness
 *   → for each of its offers: sensitive (discounts) → the arm → approval → codes left
 * then the policy of the campaign's group (struct policy_kind) chooses one among those left.
 * Audience misses are only counted (there are too many to log). Transactional campaigns skip caps
 * and quiet hours, and their sends use up nobody's cap; all other guards hold for them. A postponed
 * trigger meets all guards again when it fires, except conditions on the context of the event that
 * set it off: those were met then.
 */
#pragma once

#include "policy/outcome.h"

enum {
    POLICY_CHANNELS_MAX = 16,
    POLICY_CAMPAIGNS_MAX = 256,
    OFFERS_MAX = 16,
    POLICY_GROUPS_MAX = 17
};
enum { POLICY_PAIRS_MAX = 1024 /* of campaign and offer */, CODE_MAX = 64 };

/* Why a campaign that was triggered did or did not reach the user. One code per
 * decision: the first guard that refused. Names are what people read in Redis,
 * metrics and the decision log. */
#define POLICY_REASONS(X)                                                                          \
    X(SENT, "sent", "the offer went out")                                                          \
    X(AUDIENCE, "audience", "the user is not in the campaign's audience")                          \
    X(PAUSED, "paused", "the campaign is paused")                                                  \
    X(NO_CONSENT, "no-consent", "no consent for the channel")                                      \
    X(SENSITIVE, "sensitive", "the item or audience must not be addressed")                        \
    X(BOT, "bot", "the user is marked as a bot")                                                   \
    X(HOLDOUT, "holdout", "the user is in the global hold-out")                                    \
    X(CAP_USER, "cap-user", "the user's frequency cap over all channels is reached")               \
    X(CAP_CHANNEL, "cap-channel", "the user's cap for this channel is reached")                    \
    X(CAP_CAMPAIGN, "cap-campaign", "the user's cap for this campaign is reached")                 \
    X(QUIET, "quiet-hours", "quiet hours at the user's place; campaign drops rather than waits")   \
    X(POSTPONED, "postponed", "quiet hours at the user's place; waits for their end")              \
    X(BUDGET, "budget", "the campaign's budget for the day is spent")                              \
    X(NOT_BEST, "not-best", "another campaign with a higher priority answered at the same moment") \
    X(EXPIRED, "expired", "outside the campaign's validity, or waited too long")                   \
    X(POLICY, "policy", "the policy chose to send nothing")                                        \
    X(KILLED, "kill-switch", "everything is stopped by people")                                    \
    X(CAMPAIGN_HOLDOUT, "holdout-campaign", "the user is in the campaign's hold-out")              \
    X(APPROVAL, "not-approved", "waits for people to approve it")                                  \
    X(NO_CODE, "no-code", "the pool of coupon codes is used up")                                   \
    X(EXPERIMENT, "experiment", "the user's arm of an experiment does not get it")                 \
    X(FAIRNESS, "fairness", "people like the user get it too often, or it is stopped for that")

enum policy_reason {
#define X(sym, name, help) PR_##sym,
    POLICY_REASONS(X)
#undef X
        PR_COUNT
};
const char *policy_reason_name(enum policy_reason r);

/* Hours a place is off UTC: transitions of one time zone, oldest first; before the
 * first one `offset_s[0]` holds. Filled by the caller from the system's tz database. */
struct tz_rules {
    char name[48];
    size_t n;
    const int64_t *at_s;     /* Unix seconds; at_s[0] is ignored */
    const int32_t *offset_s; /* east of UTC, from at_s[i] on */
};

/* What `user-control` says of a user; absent record: `known` false. */
struct consent {
    bool known;
    int64_t said_ms;           /* when; an unsubscribe after it is newer. 0: not known */
    uint32_t granted, denied;  /* bit per channel index */
    const struct tz_rules *tz; /* NULL: the policy's default zone */
};

struct policy_set;
struct policy_shard;
struct passage;

/* What a group's policy would have done where the rules acted for it (apprentice, log-only). */
struct would {
    bool known;
    uint8_t offer;
    int16_t campaign; /* -1: nothing */
    double propensity;
};

/* One trigger or suppression, to be logged and (if sent) emitted. */
struct decision {
    uint16_t campaign; /* index into the set */
    uint8_t offer;     /* which of the campaign's; 0 where it did not come to that */
    enum policy_reason reason;
    bool send;                /* reason == PR_SENT */
    uint64_t trigger_hash[2]; /* trigger id: 128 bits (XXH3) of (salt, user id, campaign id,
                               * cause_hash); printed as 32 hex digits, [0] first. A postponed
                               * trigger keeps its id when it is decided again. */
    int64_t time_ms;          /* when decided: event time or the timer's due time */
    int64_t valid_until_ms;   /* of the offer */
    double propensity;        /* of the action taken, in (0, 1] */
    uint32_t item; /* the item it is about (abandoned, dropped in price, viewed), ROW_NONE: none */
    double old_price, new_price; /* price drops; NAN otherwise */
    char code[CODE_MAX];         /* coupon code that goes with it; empty: none */
    uint64_t cause_hash; /* hash_str(id of the event that set it off, 0); for price drops and
                          * lapses, of the timer's identity */
    bool exposed;        /* the first decision after an exposure to an experiment */
    struct would would;
    struct user *user;
};

/* What the policy has to say: decisions, and outcomes of earlier ones. Zeroed is empty. */
struct decisions {
    struct decision *d;
    size_t n, cap;
    struct outcome *o;
    size_t n_o, cap_o;
    struct passage *p; /* policy/passage.h */
    size_t n_p, cap_p;
    bool failed;
};
void policy_decisions_reset(struct decisions *out); /* empty again, memory kept */
void policy_decisions_free(struct decisions *out);

/* Counts a worker publishes. */
struct policy_counts {
    uint64_t by_reason[POLICY_CAMPAIGNS_MAX][PR_COUNT];
};

struct policy_context {
    const struct policy_set *set;
    struct policy_shard *shard;
    const struct model *model;
    struct user
        *user; /* profile already holds the event; ext is the policy's to create and change */
    struct consent consent;
    const uint8_t *paused_campaigns;   /* byte per campaign, may be NULL: none is */
    const uint8_t *approved_campaigns; /* byte per campaign, may be NULL: none is */
    bool paused_all;                   /* the kill switch */
};

/* One event (after model_learn returned LEARN_OK). Updates trackers and timers and
 * appends what was decided to `out`. Sets user->due_ms to the earliest timer.
 * Call policy_on_time(event time) BEFORE model_learn takes the event: timers due
 * before it are decided on the profile as it was then (a lapsed user who returns has
 * lapsed first). `out->failed`: out of memory, and the user's state may lack what was
 * not decided; nothing is ever sent without being remembered. Thread: the shard's. */
void policy_on_event(const struct policy_context *c, const struct event *e, uint32_t item_row,
                     struct decisions *out);
/* An unsubscribe that policy_on_event does not get to see (of somebody marked as a bot, or one
 * that comes very late): acts on consent all the same. 0 or -ENOMEM. */
int policy_on_unsubscribe(const struct policy_context *c, const struct event *e);
/* Fires every timer due at or before `now_ms` and closes every window that ended by then, in order;
 * decisions carry the due time.
 * Costs nothing while user->due_ms lies later. Sets user->due_ms. */
void policy_on_time(const struct policy_context *c, int64_t now_ms, struct decisions *out);
/* A viewed item became cheaper. The caller finds the users (profile_recent) and calls
 * policy_on_time(now_ms) first. The same price of the same item is one trigger a day. */
void policy_on_price_drop(const struct policy_context *c, uint32_t item, double old_price,
                          double new_price, int64_t now_ms, struct decisions *out);
/* Whether any campaign waits for prices to drop. */
bool policy_wants_price_drops(const struct policy_set *s);

/* ---- state ---------------------------------------------------------------- */
/* The part of each daily budget this process may spend: owned partitions over all of
 * them, rounded down (1 of 1 until told). Kept by the caller. Thread: any. */
void policy_set_budget_share(struct policy_set *s, uint32_t owned, uint32_t total);
/* The set outlives the shard and the users. It is partition 0 of 1 until told. */
int policy_shard_new(const struct policy_set *set, struct policy_shard **ret);
/* Which partition of how many, before anything is decided or restored: coupon codes are
 * allotted by it. */
void policy_shard_place(struct policy_shard *s, uint32_t partition, uint32_t total);
void policy_shard_free(struct policy_shard *s);
DEFINE_CLEANUP(struct policy_shard, policy_shard_free)
void policy_user_free(void *ext);               /* for shard_set_ext_free */
size_t policy_user_bytes(const struct user *u); /* heap bytes behind user.ext */
/* Durable encodings, appended after the model's part of the record; versioned,
 * length-checked and carrying their own checksum, so that any cut or flipped bit is
 * -EBADMSG (and leaves the user or shard as it was). Campaigns are stored by id hash,
 * so that the file may be reordered; items by id. What belongs to campaigns no longer
 * in the file is dropped (open windows too), but their sends still count for caps. Restoring a user
 * needs his profile first, sets user->due_ms and replaces user->ext. */
int policy_user_encode(const struct policy_set *set, const struct user *u, const struct model *m,
                       struct buf *out);
int policy_user_restore(const struct policy_set *set, struct user *u, struct model *m,
                        const void *p, size_t n, size_t *ret_n);
/* The same where others use the model: -EAGAIN if an item has to be made known to it. */
int policy_user_restore_shared(const struct policy_set *set, struct user *u, const struct model *m,
                               const void *p, size_t n, size_t *ret_n);
bool policy_shard_dirty(const struct policy_shard *s); /* spent something since last encoded */
int policy_shard_encode(struct policy_shard *s, struct buf *out); /* clears dirty */
/* Replaces what the shard holds; the process-wide budget totals follow. -EKEYREJECTED: a hold-out
 * or an experiment that is in use is another in the set (policy_shard_conflict names it). */
int policy_shard_restore(struct policy_shard *s, const void *p, size_t n);
const char *policy_shard_conflict(const struct policy_shard *s); /* empty: none */

/* ---- the set -------------------------------------------------------------- */
size_t policy_campaigns(const struct policy_set *s);
struct str policy_campaign_id(const struct policy_set *s, size_t i);
int policy_campaign_find(const struct policy_set *s, struct str id); /* index or -1 */
struct str policy_campaign_channel(const struct policy_set *s, size_t i);
/* One of a campaign's offers as a JSON object, as configured. */
struct str policy_campaign_offer(const struct policy_set *s, size_t i, size_t offer);
size_t policy_groups(const struct policy_set *s); /* group 0 is that of campaigns without one */
/* What people approve: another one when offers, audience, trigger, channel or budget change. */
uint64_t policy_campaign_fingerprint(const struct policy_set *s, size_t i);
/* Whether a part of it goes out only once approved. */
bool policy_campaign_needs_approval(const struct policy_set *s, size_t i);
size_t policy_channels(const struct policy_set *s);
struct str policy_channel_name(const struct policy_set *s, size_t i);
int policy_channel_find(const struct policy_set *s, struct str name); /* index or -1 */
void policy_set_free(struct policy_set *s);
DEFINE_CLEANUP(struct policy_set, policy_set_free)
/* The empty set: no campaigns, nothing is ever decided. */
int policy_set_empty(struct policy_set **ret);
const struct policy_counts *
policy_shard_counts(const struct policy_shard *s); /* since the shard was made */

/* ---- choosing ------------------------------------------------------------- */
/* An offer of a campaign that passed every guard and now competes for the user. */
struct candidate {
    uint16_t campaign;
    uint8_t offer;
    uint8_t more;                /* candidates behind it that are other offers of the campaign */
    uint32_t item;               /* ROW_NONE: none */
    double old_price, new_price; /* NAN: none */
    uint64_t cause_hash, trigger_hash[2];
    int64_t since_ms; /* when it was set off */
};

/* What a policy chooses among, besides nothing: offers of one group's campaigns, the campaigns in
 * file order and each one's offers in theirs. Features (policy/features.h) only for kinds that
 * ask for them. */
struct arms {
    size_t n; /* at least 1 */
    const struct candidate *cand;
    const float *shared; /* float[FEATURES_SHARED]: the user and the moment */
    const float *own;    /* float[n][FEATURES_OWN]: the offer */
};

struct choice {
    int index;         /* into the candidates; -1: send nothing */
    size_t instead;    /* of nothing: 1 + the candidate whose features go with it, 0: none */
    double propensity; /* probability of this very action, in (0, 1] */
    int by;            /* enum decider, policy/passage.h; 0 from policies that do not look ahead */
    double by_network; /* of theirs: see struct passage */
};

/* What decides for a group. One `self` may serve several threads at once: what it changes is its
 * own to guard. */
struct policy_kind {
    const char *name;
    bool features;    /* wants them, and outcomes carry those of what was chosen */
    bool looks_ahead; /* wants passages */
    /* A pure function of its arguments and `self` at that moment; randomness comes from
     * `seed`, which is another for each moment and user and the same when it is decided again.
     * May be called again with fewer arms when the chosen one's budget was spent by another
     * thread. */
    void (*decide)(void *self, const struct policy_context *c, int64_t now_ms, uint64_t seed,
                   const struct arms *arms, struct choice *ret);
    /* What became of a choice (NULL: learns nothing). Called by whoever takes the outcomes, once
     * for each one of the group whose mode is online or apprentice. */
    void (*learn)(void *self, const struct outcome *o);
    /* How a user went on from a decision; may be NULL. As `learn`. */
    void (*follow)(void *self, const struct passage *p);
};
/* The highest priority, then file order; propensity 1. What every group starts with. */
extern const struct policy_kind policy_rules;
/* Every arm and nothing alike. */
extern const struct policy_kind policy_random;
/* Gives a group its policy, before any event is decided. `self` is borrowed. In modes other than
 * online the rules act all the same. */
void policy_set_use(struct policy_set *s, size_t group, const struct policy_kind *kind, void *self);
struct str policy_group_name(const struct policy_set *s, size_t group);
struct learned; /* policy/learned.h */
/* What the group learned; NULL: its policy does not learn. */
struct learned *policy_group_learned(const struct policy_set *s, size_t group);
struct deep; /* policy/deep.h */
/* NULL: the group's policy is not dqn. */
struct deep *policy_group_deep(const struct policy_set *s, size_t group);
/* Hands outcomes to the policies that learn from them, and passages likewise. */
void policy_learn(const struct policy_set *s, const struct outcome *o);
void policy_follow(const struct policy_set *s, const struct passage *p);
