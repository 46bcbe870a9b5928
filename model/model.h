/* The recommender behind one door: who likes what, learned online.
 *
 * `struct model` is shared by a process's workers: the catalogue, item and
 * feature embeddings, co-visitation, trends. `struct shard` holds the users of
 * one partition and belongs to the one worker that owns the partition.
 * `struct learner` is a worker's scratch and random numbers.
 *
 * Locking is the caller's: functions marked [structural] need the model to
 * themselves (a write lock); [shared] ones may run side by side, one learner
 * and shard per thread (a read lock; Hogwild, Recht et al. 2011: item rows are
 * updated without locks, counters with relaxed atomics); [shard] ones touch only
 * the given shard. No clock, no I/O: times come in with the events, and one
 * thread with the same events and seed gives the same bits.
 */
#pragma once

#include "model/event.h"
#include "model/profile.h"

enum { TOP_MAX = 200 };
#define ROW_NONE UINT32_MAX

enum loss { LOSS_SOFTMAX, LOSS_BPR, LOSS_LOGISTIC, LOSS_SQUARED };
enum optimizer { OPT_ADAGRAD, OPT_PLAIN };

/* What speaks for an item on a list; each can be turned off. */
#define PARTS(X)                                                                                   \
    X(SESSIONS, "sessions", "what was taken in sessions like the running one")                     \
    X(PAIRS, "pairs", "what goes with the items met last")                                         \
    X(TRAIL, "trail", "whether and how the user met the item himself")                             \
    X(TASTE, "taste", "the embeddings")                                                            \
    X(CONTENT, "content", "category, tags, brand and price")                                       \
    X(LIVELY, "lively", "how lively the item is, and how new")                                     \
    X(CONTEXT, "context", "where and on what device it is taken")

enum part {
#define X(sym, name, help) PART_##sym,
    PARTS(X)
#undef X
        PART_COUNT
};

struct model_config {
    uint32_t dim;       /* embedding width, floats per row; multiple of 8, 8..512 */
    uint64_t seed;      /* of initial weights and negatives */
    uint64_t hash_seed; /* of the id tables; random per process where ids come from outside.
                         * Decides nothing but where things lie. */
    enum loss loss;
    enum optimizer optimizer;
    float learning_rate, l2, clip; /* clip: largest L2 norm of one gradient */
    uint32_t negatives;            /* sampled per positive */
    float negative_alpha;          /* sampling weight = popularity^alpha */
    bool learn_phi;                /* learn the user map φ (dim × dim, starts as identity) */
    float type_weight[EV_MAX]; /* 0: not learned; > 0: a positive of that weight; < 0: a dislike */
    /* A rating's value v: with LOSS_SQUARED the target is v mapped from [rating_min, rating_max]
     * to [-1, 1] (other positives have target 1, negatives 0, dislikes -1); with the other
     * losses v >= rating_like is a positive of the type's weight, v <= rating_dislike a dislike
     * of it, and what lies between is not learned. */
    float rating_min, rating_max, rating_like, rating_dislike;
    float covisit_weight, trend_weight; /* in the blended score; 0 turns the part off */
    int64_t trend_half_life_ms, profile_half_life_ms;
    bool exclude_seen;      /* what the ranker learns from leaves out what was seen, as lists do */
    uint32_t parts_off;     /* bit per enum part: the ranker does without it */
    bool rank;              /* order lists by the learned ranker over all parts */
    uint32_t session_store; /* newest sessions kept for finding neighbours */
    uint32_t replays;       /* embedding steps on stored sessions per event */
    uint32_t max_items, max_users; /* rows per model / per shard; beyond, the stalest are evicted */
    uint32_t item_admit; /* events before an item outside the catalogue gets a row (>= 1) */
    int64_t item_expire_ms,
        user_expire_ms;         /* since last event; 0: never. Catalogue items never expire. */
    int64_t bought_window_ms;   /* items bought within it are not recommended; 0: may come back */
    bool show_restricted_adult; /* let ITEM_ADULT into lists */
    /* How lists differ from the order of scores, see diversify.h; 0: not. */
    uint32_t per_category; /* places that items of one category may have */
    float diversity;       /* what being like an item before costs, against the score; 0..1 */
    float novelty;         /* what being little known adds, in ranges of the scores; 0..1 */
    float exploration;     /* share of the places given out by chance; 0..1 */
    uint32_t top_n;        /* list length, 1..TOP_MAX */
    /* denoising: events of a user within a minute beyond which he is a flood, and
     * sustained for `bot_minutes` minutes in a row a bot (0 turns the rule off) */
    uint32_t flood_per_minute, bot_minutes;
};

void model_config_default(struct model_config *c);

struct model;
struct shard;
struct learner;

int model_new(const struct model_config *c, struct model **ret);
void model_free(struct model *m);
DEFINE_CLEANUP(struct model, model_free)
const struct model_config *model_config_of(const struct model *m);

/* ---- items ---------------------------------------------------------------- */

/* What one may know of an item; strings live as long as the item does. */
struct item_view {
    struct str id, category, brand; /* category: the path's leaf name, for people */
    uint32_t category_key; /* leaf category, 0: none; same for every item of the category */
    double price, margin;  /* NAN: unknown */
    bool available, in_catalogue;
    uint32_t flags;
    float popularity; /* events, decayed by trend_half_life */
    int64_t last_ms;
};

/* Inserts or replaces a catalogue item; a tombstone (deleted) makes it unavailable
 * and drops it from the catalogue. Returns its row through ret_row and the old
 * price through ret_old_price (NAN if new), both optional. 0, -ENOMEM, -EINVAL
 * (dense width differs from the first one seen). [structural] */
int model_item_upsert(struct model *m, const struct item_info *info, int64_t now_ms,
                      uint32_t *ret_row, double *ret_old_price);

/* Row of an id, or ROW_NONE. [shared] */
uint32_t model_item_find(const struct model *m, struct str id);
/* Row of an id, made if needed once it was asked for item_admit times; ROW_NONE
 * before that and when memory is out. [structural] */
uint32_t model_item_admit(struct model *m, struct str id, int64_t now_ms);
/* The same whatever item_admit says. [structural] */
uint32_t model_item_intern(struct model *m, struct str id, int64_t now_ms);
void model_item_view(const struct model *m, uint32_t row, struct item_view *ret); /* [shared] */
/* Its `flags` alone, which costs less. [shared] */
uint32_t model_item_flags(const struct model *m, uint32_t row);
uint32_t model_items(const struct model *m); /* rows in use, dead ones included: rows are 0..n-1 */
/* Name of a category by its key ("" when unknown) and the reverse (0 when unknown). */
struct str model_category_name(const struct model *m, uint32_t key);
uint32_t model_category_key(const struct model *m, struct str name);

/* Expiry, eviction, and rebuilding of item vectors whose features moved; call
 * every few thousand events (counted, not timed, so that runs repeat). [structural] */
void model_maintain(struct model *m, int64_t now_ms);

/* What was learned as durable records (for the model topic), and back. Encoding is
 * versioned and checksummed; restore rejects damage with -EBADMSG and another dim, or
 * a ranker over other columns, with -EPROTO. `dirty` iterates what changed since the
 * last call: returns the next row after *cursor (0 at first) or ROW_NONE, clearing its
 * mark. What is counted of an item and others, and the parts shared by all items
 * (features, sessions, φ, the ranker, counters) travel as pseudo-rows the same way. A
 * session gone meanwhile is -EINVAL. After the last record that is restored comes
 * model_restored. A model restored from all records of another goes on as that one
 * would, but for what learners hold. encode [shared], restore, restored [structural] */
#define MODEL_SHARED_BASE 0xf0000000u
uint32_t model_dirty_next(struct model *m, uint32_t *cursor);
int model_item_encode(const struct model *m, uint32_t row, struct buf *key, struct buf *out);
int model_item_restore(struct model *m, struct str key, const void *p, size_t n);
void model_restored(struct model *m);
/* Of another process's record the vectors alone (items', features', φ, P), which replace ours
 * while we go on learning; of other records nothing. 0, -EAGAIN where the item has no row here but
 * there is one to be had (model_item_intern of what follows the key's first byte), or an error as
 * above. [shared] */
int model_vectors_take(struct model *m, struct str key, const void *p, size_t n);

/* ---- users ---------------------------------------------------------------- */

/* One user of a shard. Address stable until evicted. 128 bytes before the embedding. */
struct user {
    struct str id; /* owned by the shard */
    struct profile prof;
    void *ext;                  /* the policy's state of this user; see shard_set_ext_free */
    int64_t due_ms;             /* earliest timer, INT64_MAX: none; kept by the caller */
    uint32_t list_hash;         /* of the list last written to the cache; 0: none */
    uint32_t profile_written_s; /* when the profile was last written to the cache */
    uint32_t row;
    uint32_t session_no;      /* among the model's sessions, 0: none */
    uint32_t session_before;  /* the one it goes on from, 0: none */
    uint32_t timer_slot;      /* caller's: place among the timers, 0: none */
    uint32_t batch_mark;      /* caller's: last batch that touched this user */
    float acc;                /* AdaGrad accumulator of the row */
    float bias;               /* only learned with LOSS_SQUARED */
    bool dirty;               /* caller's: differs from what is durable */
    _Alignas(64) float emb[]; /* float[dim] */
};

int shard_new(const struct model *m, struct shard **ret);
void shard_free(struct shard *s);
DEFINE_CLEANUP(struct shard, shard_free)
void shard_set_ext_free(struct shard *s,
                        void (*fn)(void *ext));          /* called on eviction, removal, free */
struct user *shard_find(struct shard *s, struct str id); /* NULL: unknown. [shard] */
struct user *shard_admit(struct shard *s, struct str id,
                         int64_t now_ms);          /* NULL: out of memory. [shard] */
bool shard_remove(struct shard *s, struct str id); /* forget; false: was unknown */
size_t shard_users(const struct shard *s);
/* Iterates live users: start with *cursor = 0; NULL at the end. */
struct user *shard_next(struct shard *s, uint32_t *cursor);
/* Evicts expired users and, above max_users, the stalest; calls evicted(ctx, user)
 * before each is freed (write its tombstone there). Bounded work per call. */
void shard_maintain(struct shard *s, int64_t now_ms, void (*evicted)(void *ctx, struct user *u),
                    void *ctx);

/* A user's learned state (embedding, profile) appended to `out`, and back; items
 * are stored by id, so that rows may differ between processes. -EBADMSG on damage,
 * -EPROTO on another dim. Restoring interns item ids. encode [shared],
 * restore [structural]. ret_n: bytes consumed. */
int user_encode(const struct model *m, const struct user *u, struct buf *out);
int user_restore(struct model *m, struct shard *s, struct user *u, const void *p, size_t n,
                 size_t *ret_n);
/* The same, [shared]: -EAGAIN where an item has to be made known or dated back, which is for
 * user_restore to do. Side by side with learning. */
int user_restore_shared(const struct model *m, struct user *u, const void *p, size_t n,
                        size_t *ret_n);

/* ---- learning ------------------------------------------------------------- */

int learner_new(struct model *m, uint32_t index,
                struct learner **ret); /* index: which worker, for its random numbers */
void learner_free(struct learner *l);
DEFINE_CLEANUP(struct learner, learner_free)

/* One event: de-duplicate, denoise, profile, session, then one SGD step with
 * sampled negatives, co-visitation and trend. `item_row` is the event's item
 * (ROW_NONE: none or not admitted). [shared] */
enum learn_result model_learn(struct learner *l, struct shard *s, struct user *u,
                              const struct event *e, uint32_t item_row);

/* What further passes over stored events repeat: the embedding step alone. Profiles, counts and
 * co-visitation took the event in once and stay. [shared] */
void model_learn_again(struct learner *l, struct user *u, const struct event *e, uint32_t item_row);

/* A frozen learner's events go into the users' profiles only: what all users share (embeddings,
 * co-visitation, trend, sessions, the ranker) stays as it is. So do the users' own embeddings
 * unless lists are ordered by the ranker, to which they are history. For judging what was
 * learned; new items then are not to be admitted, nor the model maintained. */
void learner_freeze(struct learner *l, bool frozen);
bool learner_frozen(const struct learner *l);

/* Its events are those that another process learned (share.h): they are no cases for the ranker,
 * because it was that process's list, not ours, that the user had before him. */
void learner_hear(struct learner *l);

struct learn_stats {
    uint64_t steps, clipped, nan_guarded, negatives;
    double loss_sum; /* of the positives' losses, over `steps` */
};
void learner_stats(const struct learner *l, struct learn_stats *ret);

/* ---- lists ---------------------------------------------------------------- */

enum list_reason {
    BECAUSE_TASTE,    /* the user's embedding */
    BECAUSE_CONTENT,  /* the item's category, brand and other features */
    BECAUSE_SIMILAR,  /* what it was seen together with */
    BECAUSE_TREND,    /* how popular it is */
    BECAUSE_EXPLORED, /* by chance, see diversify.h */
    BECAUSE_COUNT
};
const char *list_reason_name(enum list_reason r); /* "taste", … */

struct list_entry {
    uint32_t item;
    float score;
    uint8_t because;  /* enum list_reason: the largest part of the score */
    float propensity; /* of an explored item: with what chance it was drawn; else 0 */
};
struct list {
    uint32_t n;
    struct list_entry e[TOP_MAX];
};

/* Exact top-N over the catalogue for n users at once: φ·U as one gemm per tile of
 * items with a bounded selection fused behind it; ties by item id bytes. Filters:
 * bought within the window, unavailable, restricted flags. `exclude_seen`: leave
 * out what the user already interacted with (as far as his history remembers).
 * Users may be NULL: the list of an unknown user. [shared] */
void model_rank(struct learner *l, struct user *const *users, size_t n, bool exclude_seen,
                struct list *ret);

/* Items most often seen with `item`, else nearest by vector; at most `n`. [shared] */
void model_similar(struct learner *l, uint32_t item, uint32_t n, struct list *ret);
/* Most popular with decay, at `now_ms`. [shared] */
void model_trending(struct learner *l, uint32_t n, int64_t now_ms, struct list *ret);
/* Like it without decay: what the popularity baseline recommends. */
void model_popular(struct learner *l, uint32_t n, struct list *ret);

/* What orders the lists, to be looked at (ranker.h). */
struct ranker;
const struct ranker *model_ranker(const struct model *m);

struct model_memory {
    uint64_t items, users; /* live rows; users: of the shard given */
    /* All tables, indexes and histories, divided by live rows; what was taken ahead for users to
     * come left out. A user costs about 420 bytes (dim 64) and what he did: about 210 more after
     * 10 events, 390 after 30, 700 at most (bench_users). */
    double bytes_per_item, bytes_per_user;
};
void model_memory(const struct model *m, const struct shard *s /* may be NULL */,
                  struct model_memory *ret);
