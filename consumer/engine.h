/* The service as a whole: topics, campaigns, catalogue, worker threads, and the
 * thread that publishes counters. What `beckon run` and `beckon demo` start. */
#pragma once

#include "consumer/metrics.h"
#include "consumer/stream.h"

struct engine;

struct engine_config {
    const struct config *cfg; /* outlives the engine */
    const atomic_bool *stop;  /* set by a signal: starting is abandoned, workers drain */
    bool static_member;       /* see stream.h */
    struct stream_hooks hooks;
};

/* Creates missing topics, loads the campaigns, reads the catalogue, starts everything. Faults are
 * logged or printed. 0; -EINVAL: configuration; -EINTR: stopped; -EIO and others: could not start.
 */
int engine_start(const struct engine_config *c, struct engine **ret);
/* True while all workers run. */
bool engine_running(const struct engine *e);
/* Waits for the workers (after *stop was set, or when one ended by itself), saves
 * the model and frees everything. The worst end of any worker. */
enum stream_end engine_finish(struct engine *e);

/* Counters of all workers, added up. */
void engine_metrics(const struct engine *e, struct metrics *ret);
struct world *engine_world(struct engine *e);
/* What all workers counted of a campaign. */
void engine_campaign(const struct engine *e, size_t campaign, struct campaign_sums *ret);
