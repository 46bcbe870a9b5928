/* The engine over a tape, without Kafka or Redis: each case's user is ranked with what is known
 * so far, the case is judged against that list, then the event is learned (prequential evaluation;
 * Vinagre, Jorge and Gama 2014). The very worker_step of the service. */
#pragma once

#include "consumer/cli.h"
#include "consumer/judge.h"
#include "consumer/metrics.h"
#include "consumer/worker.h"
#include "model/baselines.h"

struct replay_config {
    const struct config *cfg;
    uint32_t k[RANK_KS_MAX]; /* list lengths judged, ascending */
    size_t n_k;
    size_t batch;      /* events ranked side by side; a user's next event always starts a new one */
    size_t first;      /* events before it are learned, not judged; 0: all are both */
    size_t begin, end; /* events of the tape that are played; end 0: to its end */
    enum evaluate evaluate;
    struct positive positive;
    bool learn_on_test; /* else what all users share is frozen from `first` on */
    bool repeats;       /* what a user had a positive event with may be listed again */
    bool baselines;     /* run beside, on the same cases */
    uint32_t epochs;    /* passes over the events before `first` */
};

struct replay_result {
    uint64_t events, refused[DEAD_COUNT], floods, bots;
    double engine_s;                       /* processor time spent ranking and learning */
    const struct score *beckon, *baseline; /* the replay's; BASELINES of them, or NULL */
    uint64_t items, users;
    uint64_t decided[POLICY_CAMPAIGNS_MAX][PR_COUNT];
};

/* Sets what the judge must have of the engine: lists one longer than the longest judged, so that
 * ties beyond their end show, and longer still where items seen before are taken out of them;
 * bought items as `repeats` has them; no event too late, because files are whole; the rating that
 * `positive` asks for as the least that is learned as liking. */
void replay_prepare(struct config *cfg, const struct replay_config *c, const struct tape *t);

struct replay;
/* `c` and `t` are borrowed, `policies` move in. The tape must be complete. */
int replay_new(const struct replay_config *c, const struct tape *t, struct policy_set *policies,
               struct replay **ret);
void replay_free(struct replay *r);
DEFINE_CLEANUP(struct replay, replay_free)
int replay_item(struct replay *r, const struct item_info *info);
/* Plays the whole tape. `p`: shown as it goes on, NULL: not. 0 or -ENOMEM. */
int replay_run(struct replay *r, struct progress *p);
void replay_result(const struct replay *r, struct replay_result *ret);
/* Beckon's score, for who needs the replay no more; it is the caller's to free. */
void replay_take_score(struct replay *r, struct score *ret);
const struct policy_set *replay_policies(const struct replay *r);
const struct judge *replay_judge(const struct replay *r);
/* NULL: lists are not ordered by it (model.rank). */
const struct ranker *replay_ranker(const struct replay *r);
