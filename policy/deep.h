/* A deep Q-network (policy/dqn.h) as the policy of a group, together with a bandit that chooses
 * first, and always where the network has seen too few similar states.
 *
 * States, actions and rewards are those of passages (policy/passage.h): an action is an offer of a
 * campaign, so each depth of discount is one, and what comes later counts 10^-(gap / horizon), a
 * tenth at the group's horizon, beyond which nothing is awaited. The network learns from the reward
 * that the bandit expects of what was done, less what it expects of nothing after a rest: outcomes
 * reach it through the bandit, which averages over thousands of them, because single ones say
 * little (most people buy nothing) and a network that bootstraps would learn their noise.
 *
 * Who is in charge is a matter of evidence. Each decision is judged once it is known what followed:
 * by the rewards that really came, of it and of the user's next ones, discounted, and by the
 * probability with which the other policy would have done the same (policy/ope.h, importance
 * weighting). When the newest decisions say beyond doubt (by a confidence sequence of 99.8 %) that
 * the other one would earn more, and nothing warns of it, it takes charge: the network of the
 * bandit, and the bandit back of the network. A network is judged before it learns from a decision,
 * and a bandit on every eighth decision of the network, where it says what it would have done.
 *
 * Thread: any. */
#pragma once

#include "policy/learned.h"
#include "policy/passage.h"

enum { DEEP_OFFERS_MAX = DQN_ACTIONS_MAX - 1 /* of one group */ };

struct deep;
/* `bandit` is borrowed, and is the group's as well. */
int deep_new(struct learned *bandit, int64_t horizon_ms, uint64_t seed, struct deep **ret);
void deep_free(struct deep *d);
DEFINE_CLEANUP(struct deep, deep_free)
/* Its `self` is a struct deep. */
extern const struct policy_kind policy_deep;

/* A number from 1 for each offer, by a hash of its campaign's id and its name, so that the others
 * keep theirs when the file changes. taken: those given already, in the order of the file. */
uint8_t deep_action(uint64_t campaign, struct str offer, struct dqn_actions *taken);

struct deep_state {
    bool leads;        /* the network is in charge */
    uint64_t passages; /* learned from, by this process since it began */
    uint64_t steps;    /* of the network, since it was made */
    uint64_t judged;   /* decisions that the verdict rests on */
    double advantage,
        se;            /* of the policy that is not in charge, money a decision; NAN: too early */
    unsigned warnings; /* of enum ope_warning, with the verdict */
    double unfamiliar; /* share of the newest decisions that the network leaves to the bandit */
    double loss;       /* mean Huber loss of its newest steps; NAN: none yet */
    double epsilon;    /* share of its choices that are even */
};
void deep_look(struct deep *d, struct deep_state *ret);
/* Why the one is in charge that is, for people: "too early to judge", ... */
const char *deep_why(const struct deep_state *s);

/* The network, what it takes for familiar, and who is in charge; not the decisions to judge by.
 * *ret_passages: learned from so far. 0 or -ENOMEM, or -EDOM. */
int deep_encode(struct deep *d, struct buf *out, uint64_t *ret_passages);
/* 0, -EBADMSG or -ENOMEM, and nothing changed. */
int deep_restore(struct deep *d, const void *p, size_t n);
/* How many steps the network of a record has taken, to choose among records; 0: damaged. */
uint64_t deep_record_steps(const void *p, size_t n);
