/* What a choice is worth in the long run: a deep Q-network (Mnih et al. 2015) with double
 * Q-learning (van Hasselt, Guez and Silver 2016).
 *
 * A state is what is known of a customer and of what he was sent; actions are numbered by the
 * caller, offers by depth, and 0 is nothing. Guards tell which are allowed. Decisions of one
 * customer lie apart by any time, so each transition brings its own discount, γ to the power
 * of that time; 0 where nothing follows. Where too few similar states were seen the network
 * does not choose (policy/familiar.h) and the caller asks a bandit.
 *
 * Time and randomness come in. Thread: one at a time; deciding may share a network that nobody
 * trains, each thread with a pass of its own. */
#pragma once

#include "model/mlp.h"
#include "policy/familiar.h"

enum { DQN_ACTIONS_MAX = 256, DQN_NOTHING = 0, DQN_UNFAMILIAR = -1 };

struct dqn_actions {
    uint64_t bits[DQN_ACTIONS_MAX / 64];
};

static inline bool dqn_allowed(const struct dqn_actions *a, size_t i) {
    return a->bits[i / 64] >> i % 64 & 1;
}
static inline void dqn_allow(struct dqn_actions *a, size_t i) {
    a->bits[i / 64] |= UINT64_C(1) << i % 64;
}

struct dqn_config {
    uint32_t states;                     /* columns of a state */
    uint32_t actions;                    /* nothing counted; at most DQN_ACTIONS_MAX */
    uint32_t hidden[MLP_LAYERS_MAX - 1]; /* widths; ends with the first 0 */
    uint32_t replay;                     /* transitions remembered, the newest */
    uint32_t batch;                      /* transitions of one step */
    uint32_t warm;                       /* transitions before the first step */
    float huber;                         /* errors beyond it count linearly; > 0 */
    float target_rate;                   /* how fast the target network follows, (0, 1] */
    float epsilon_first, epsilon_last;   /* share of even choices ... */
    uint32_t epsilon_steps;              /* ... falling by a line over so many steps */
    struct mlp_optim_config optim;
    double familiar_min; /* similar states needed; 0: chooses always */
    uint32_t familiar_features;
    float familiar_reach;
    uint64_t seed;
};

struct dqn_config dqn_defaults(uint32_t states, uint32_t actions);

struct dqn;
int dqn_new(const struct dqn_config *c, struct dqn **ret);
void dqn_free(struct dqn *d);
DEFINE_CLEANUP(struct dqn, dqn_free)
/* The network that chooses, to look at and to make passes for. */
const struct mlp *dqn_network(const struct dqn *d);

/* ---- choosing ---------------------------------------------------------------- */
/* Whether enough similar states were seen. */
bool dqn_familiar(const struct dqn *d, const float *state);
/* What each action is worth in a state, float[actions]; false where too few similar ones were seen.
 */
bool dqn_worth(const struct dqn *d, struct mlp_pass *pass, const float *state, float *ret);
struct dqn_choice {
    int action;        /* or DQN_UNFAMILIAR */
    double propensity; /* of that action */
};

/* The share of even choices after the steps learned so far. */
double dqn_epsilon(const struct dqn *d);
/* The allowed action worth most, or with probability epsilon any allowed one. Nothing is always
 * allowed. */
struct dqn_choice dqn_decide(const struct dqn *d, struct mlp_pass *pass, const float *state,
                             const struct dqn_actions *allowed, double epsilon, struct rng *rng);

/* ---- learning ---------------------------------------------------------------- */
struct dqn_transition {
    const float *state, *next; /* copied; next is ignored where discount is 0 */
    uint32_t action;
    float reward;                    /* of unit scale, best */
    float discount;                  /* [0, 1] */
    struct dqn_actions next_allowed; /* nothing is, whether said or not */
};

/* False, and nothing remembered, if a number is not finite or out of bounds. */
bool dqn_remember(struct dqn *d, const struct dqn_transition *t, int64_t time_ms);
/* One step on a batch drawn evenly from what is remembered; *ret_loss, which may be NULL: its
 * mean Huber loss. 0, -EAGAIN before `warm` transitions, or -EDOM when the gradient was not
 * finite, and nothing learned. */
int dqn_learn(struct dqn *d, struct rng *rng, double *ret_loss);
/* What was remembered counts as familiar from now on. 0 or -EDOM. */
int dqn_refresh(struct dqn *d, int64_t now_ms);
uint64_t dqn_steps(const struct dqn *d);
uint32_t dqn_remembered(const struct dqn *d);

/* ---- state ------------------------------------------------------------------- */
/* Both networks, the optimiser and familiar states, but no transitions: those are made again as
 * decisions are answered. Restoring needs the same shapes, else -EBADMSG, and refreshes by
 * itself. */
int dqn_encode(const struct dqn *d, struct buf *out);
int dqn_restore(struct dqn *d, const void *p, size_t n, int64_t now_ms, size_t *ret_n);
