/* Choosing one of several arms, or nothing, from what similar choices earned: contextual
 * bandits that are linear in features.
 *
 * An arm's reward is sharedᵀ·θs + ownᵀ·θo + noise. `shared` is the same for all arms of one
 * decision (the customer), `own` belongs to the arm (the offer, and what of the customer
 * changes its worth); nothing is the arm whose `own` is all zeros. So θs learns what happens
 * anyway and θo what an arm adds to it. All columns share one posterior, and the split costs no
 * exactness: it only saves work that is the same for every arm. A decision over n arms costs
 * n × own² multiplications where widths of the upper confidence bounds are asked for, n × own ×
 * draws for Thompson sampling, and n × own otherwise, however wide `shared` is; arms that are told
 * to be alike cost only the columns in which they differ. For a hundred
 * arms in a few microseconds `own` should hold about 32 columns: offer and campaign, and the
 * embedding by a few of its directions.
 *
 * Learning adds to sums (policy/ridge.h); choosing uses the posterior as of the last
 * bandit_refresh. Time and randomness come in. Thread: one at a time changes a bandit; any
 * number may decide meanwhile only if nobody does; each with a room of its own. */
#pragma once

#include "policy/ridge.h"

enum { BANDIT_ARMS_MAX = 1024, BANDIT_DRAWS_MAX = 4096 };

#define BANDIT_KINDS(X)                                                                            \
    X(RANDOM, "random", "every arm and nothing alike")                                             \
    X(GREEDY, "epsilon-greedy", "the highest mean")                                                \
    X(LINUCB, "linucb", "the highest upper bound: Li, Chu, Langford and Schapire 2010")            \
    X(THOMPSON, "thompson", "as often as it is the best: Agrawal and Goyal 2013")                  \
    X(SQUARECB, "squarecb", "the less, the further behind the best: Foster and Rakhlin 2020")

enum bandit_kind {
#define X(sym, name, help) BANDIT_##sym,
    BANDIT_KINDS(X)
#undef X
        BANDIT_KIND_COUNT
};
const char *bandit_kind_name(enum bandit_kind k);

struct bandit_config {
    enum bandit_kind kind;
    uint32_t shared, own;      /* columns; own >= 1, together at most RIDGE_DIM_MAX */
    uint32_t arms_max;         /* of one decision, nothing not counted */
    uint64_t features;         /* what the columns mean */
    int64_t half_life_ms;      /* of what was learned; 0: kept for good */
    double prior;              /* ridge penalty, > 0 */
    double noise;              /* standard deviation of rewards, > 0, as if seen noise_n times */
    double noise_n;            /* >= 0; INFINITY: the noise is known */
    double explore;            /* share of decisions spread evenly over arms and nothing, [0, 1] */
    double explore_n;          /* >= 0; at least explore_n / (explore_n + samples) of them are */
    double alpha;              /* LinUCB, Thompson: widths are alpha · noise · √(xᵀA⁻¹x) */
    double gamma, gamma_power; /* SquareCB: γ = gamma · samples^gamma_power */
    uint32_t draws;            /* Thompson: posterior draws between refreshes, a multiple of 16 */
    uint64_t seed;             /* of the draws */
};

/* One twentieth explored; Thompson sampling by 32 draws. */
struct bandit_config bandit_defaults(enum bandit_kind kind, uint32_t shared, uint32_t own);

struct bandit;
/* The posterior is the prior until refreshed. 0, -EINVAL or -ENOMEM. */
int bandit_new(const struct bandit_config *c, struct bandit **ret);
void bandit_free(struct bandit *b);
DEFINE_CLEANUP(struct bandit, bandit_free)

/* ---- choosing ---------------------------------------------------------------- */
struct bandit_arms {
    size_t n;            /* at most arms_max; 0: nothing is all there is */
    const float *shared; /* float[shared], ignored if shared is 0 */
    const float *own;    /* float[n][own] */
    /* Saves work, and changes nothing but rounding: like[i] <= i is an arm alike itself
     * (like[like[i]] = like[i]) that differs from arm i in the columns [from, to) at most, as
     * offers of one campaign do. NULL: nothing is known. */
    const uint16_t *like;
    uint32_t from, to;
    float cost; /* taken off what every arm earns; nothing costs nothing */
};

struct bandit_choice {
    int arm;           /* -1: nothing */
    double propensity; /* probability of this very arm, in (0, 1] */
};

struct bandit_room;
int bandit_room_new(const struct bandit *b, struct bandit_room **ret);
void bandit_room_free(struct bandit_room *r);
DEFINE_CLEANUP(struct bandit_room, bandit_room_free)

/* The probability of nothing, ret[0], and of each arm i, ret[1 + i]; they sum to 1. These are
 * the probabilities by which bandit_decide chooses, not estimates of them: Thompson sampling
 * takes one of `draws` equally likely draws from the posterior, made anew at each refresh, and
 * the share of draws under which an arm is best is what its probability is. Without `explore`
 * LinUCB and greedy choices have probability 1, and others none; such a log evaluates nothing
 * but the policy that wrote it. Ties go to nothing, then to the first arm. */
void bandit_probabilities(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms, double *ret);
/* Draws by such probabilities: an arm, or -1. */
int bandit_draw(const double *p, size_t n, struct rng *rng);
struct bandit_choice bandit_decide(const struct bandit *b, struct bandit_room *room,
                                   const struct bandit_arms *arms, struct rng *rng);
/* What each arm is expected to add to nothing; float[n], valid until the room is used again. */
const float *bandit_gains(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms);
/* Posterior mean and standard deviation of one arm's expected reward; own NULL: of nothing. */
void bandit_estimate(const struct bandit *b, const float *shared, const float *own,
                     double *ret_mean, double *ret_sd);

/* ---- learning ---------------------------------------------------------------- */
/* What came of a decision; own NULL: of nothing. False if a number was not finite, and nothing
 * is learned. */
bool bandit_learn(struct bandit *b, const float *shared, const float *own, double reward,
                  double weight, int64_t time_ms);
/* Decides by all that was learned from now on, weighed as of now_ms. Costs dim³/2
 * multiplications. 0 or -EDOM, see ridge_solve: then the posterior is as it was. */
int bandit_refresh(struct bandit *b, int64_t now_ms);
double bandit_samples(const struct bandit *b);       /* behind the posterior, as they weigh */
void bandit_explore(struct bandit *b, double share); /* from now on; see bandit_config */
double bandit_explores(const struct bandit *b);      /* share of decisions spread evenly, now */
double bandit_noise(const struct bandit *b); /* standard deviation of rewards, as believed */

/* ---- state ------------------------------------------------------------------- */
/* All sums; records of policy/ridge.h. Restoring replaces them; refresh afterwards. */
int bandit_encode(const struct bandit *b, struct buf *out);
int bandit_restore(struct bandit *b, const void *p, size_t n, size_t *ret_n);
/* What bandit_learn was told since the last call, for the other processes, and their part
 * added to this one. Not to be told to oneself. */
int bandit_take_delta(struct bandit *b, struct buf *out);
int bandit_merge(struct bandit *b, const void *p, size_t n, size_t *ret_n);
/* Its sums become those of n parts, added up. -EINVAL when one is of other columns, and they are
 * as they were. */
int bandit_assemble(struct bandit *b, const struct ridge *const *part, size_t n);
/* All that later choices depend on, so that a bandit of the same configuration goes on from it bit
 * by bit: with the posterior, which is older than the sums. Resuming: 0, -ENOMEM, -EDOM or
 * -EBADMSG; then it is to be made anew. */
int bandit_keep(const struct bandit *b, struct buf *out);
int bandit_resume(struct bandit *b, const void *p, size_t n, size_t *ret_n);
