/* A deep Q-network (policy/dqn.h) as the policy of a group, together with a bandit that chooses
 * first, and always where the network has seen too few similar states.
 *
 * What a choice is worth is what the bandit expects it to bring at once, less what the network says
 * a message costs later: how much less that which comes will bring because of it. The network
 * chooses as the bandit does (Thompson sampling), with half that cost taken off every offer: one
 * that knows nothing yet is the bandit. What comes after a gap counts 10^-(gap / horizon).
 *
 * The network learns from passages (policy/passage.h). Of the weariness that a message leaves, what
 * remains at the user's next decision is known (features.h), and what it takes off the reward of
 * what was done there is learned (policy/wear.h); what the network says of the weariness that goes
 * on from there comes on top. So neither what people buy anyway nor how much single purchases
 * differ is learned by a network that bootstraps: both are many times larger than what a message
 * costs.
 *
 * Who is in charge is a matter of evidence. One decision in a few is a trial: both are asked and a
 * coin decides which is obeyed. Each trial is judged once it is known what followed: by the rewards
 * that really came, of it and of the user's next decisions, discounted, and by the probabilities of
 * both (policy/verdict.h). When the newest trials say beyond doubt (by a confidence sequence of 99
 * %) that the other one would earn more, it takes charge: the network of the bandit, and the bandit
 * back of the network.
 *
 * Thread: any. */
#pragma once

#include "policy/learned.h"
#include "policy/passage.h"

struct deep;
/* `bandit` is borrowed, and is the group's as well. */
int deep_new(struct learned *bandit, int64_t horizon_ms, uint64_t seed, struct deep **ret);
void deep_free(struct deep *d);
DEFINE_CLEANUP(struct deep, deep_free)
/* Its `self` is a struct deep. */
extern const struct policy_kind policy_deep;

struct deep_state {
    bool leads;        /* the network is in charge */
    uint64_t passages; /* learned from, by this process since it began */
    uint64_t steps;    /* of the network, since it was made */
    uint64_t judged;   /* trials that the verdict rests on, */
    double contested;  /* and of them those in which the other would have done something else */
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
/* 0, -EBADMSG or -ENOMEM, and nothing changed. Of a record of an older form only what is of use. */
int deep_restore(struct deep *d, const void *p, size_t n);
/* How many steps the network of a record has taken, to choose among records; 0: damaged or of an
 * older form. */
uint64_t deep_record_steps(const void *p, size_t n);
