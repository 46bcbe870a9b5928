/* The engine over files, without Kafka or Redis: each event's user is ranked with what is
 * known so far, the event is judged against that list, then learned (prequential evaluation;
 * Vinagre, Jorge and Gama 2014). The very worker_step of the service. */
#pragma once

#include "consumer/csv.h"
#include "consumer/metrics.h"
#include "consumer/worker.h"
#include "model/rankmetrics.h"

struct replay_config {
    const struct config *cfg;
    uint32_t k[RANK_KS_MAX]; /* list lengths judged, ascending */
    size_t n_k;
    size_t batch;  /* events ranked side by side; a user's next event always starts a new one */
    bool new_only; /* only items new to the user are cases, and lists leave seen ones out */
};

struct replay_result {
    uint64_t events, refused[DEAD_COUNT], floods, bots;
    const struct rankmetrics *beckon, *popular; /* the replay's */
    uint64_t items, users;
    uint64_t decided[POLICY_CAMPAIGNS_MAX][PR_COUNT];
};

struct replay;
int replay_new(const struct replay_config *c, struct policy_set *policies,
               struct replay **ret); /* policies move in */
void replay_free(struct replay *r);
DEFINE_CLEANUP(struct replay, replay_free)
int replay_item(struct replay *r, const struct item_info *info);
/* One event, in time order; its strings are copied. 0 or -ENOMEM. */
int replay_event(struct replay *r, const struct event *e);
/* Processes what is left and gives the result. */
int replay_finish(struct replay *r, struct replay_result *ret);
const struct policy_set *replay_policies(const struct replay *r);
