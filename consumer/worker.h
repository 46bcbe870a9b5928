/* The step every event goes through, apart from where events come from and where
 * the results go: clean, learn, decide, rank. `beckon run`, `demo` and `replay` call
 * the same one. Single-threaded per worker; deterministic for the same events,
 * seed and times. */
#pragma once

#include "consumer/encode.h"
#include "consumer/lane.h"

struct metrics;

/* One decoded event and where it came from. */
struct input {
    struct lane *lane;
    struct event ev;
    struct origin origin;     /* timestamp_ms <= 0: none */
    int32_t schema_id;        /* of the message's writer; -1: none */
    void *msg;                /* the caller's */
    uint32_t item_row;        /* filled by worker_step */
    enum learn_result result; /* filled by worker_step */
};

/* Where results go; called from inside the step. Any may be NULL. `dead`, `decision`, `outcome` and
 * `learned` (an event that the model took in; `known`: with its item) return 0 or an error that
 * ends the step. */
struct sink {
    void *ctx;
    int (*dead)(void *ctx, const struct input *in, const struct dead *why);
    int (*decision)(void *ctx, const struct decision *d, const struct trigger_record *t);
    int (*outcome)(void *ctx, const struct outcome_record *r);
    int (*learned)(void *ctx, const struct event *e, bool known);
    void (*list)(void *ctx, const struct user *u, const struct list *l);
    void (*similar)(void *ctx, uint32_t item, const struct list *l);
    void (*profile)(void *ctx, const struct user *u, int64_t now_ms);
};

struct worker;
/* `index`: which worker, for its random numbers. `metrics` borrowed, written by this worker alone.
 */
int worker_new(struct world *w, uint32_t index, const struct sink *sink, struct metrics *metrics,
               struct worker **ret);
void worker_free(struct worker *w);
DEFINE_CLEANUP(struct worker, worker_free)

/* One micro-batch, each lane's events in their order. Users touched end up in
 * their lanes' dirty lists; their new lists go to the sink when they changed. */
int worker_step(struct worker *w, struct input *in, size_t n, int64_t wall_ms);

/* A lane without events: its time moves on with the wall clock and timers fire. */
int worker_idle(struct worker *w, struct lane *l, int64_t wall_ms);

/* Some of the prices that fell since the lane last looked: asks the campaigns for every user of
 * the lane who viewed such an item. */
int worker_price_drops(struct worker *w, struct lane *l, int64_t wall_ms);

/* Ranks up to `max` users of the lane from *cursor on and passes their lists and
 * profiles to the sink, changed or not (the cache was wiped). False: that was the last. */
bool worker_rewrite(struct worker *w, struct lane *l, uint32_t *cursor, size_t max,
                    int64_t wall_ms);

/* Writes lists of similar items that are due, as a step does, for turns without one: 512 at most.
 * False: there are none. */
bool worker_similar(struct worker *w, int64_t wall_ms);
/* All that this worker wrote before are due. */
void worker_similar_again(struct worker *w);

/* For `replay`: lists of the users of these inputs as they stand before the step. */
void worker_preview(struct worker *w, struct input *const *in, size_t n, struct list *ret);

struct learner *worker_learner(struct worker *w);
/* Steps without ranking (what `replay` does where it ranks before each event). */
void worker_set_ranking(struct worker *w, bool on);
