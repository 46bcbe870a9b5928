/* What the parts of `beckon ope` share: what was read, and the policy in question. */
#pragma once

#include "consumer/cli.h"
#include "consumer/features.h"
#include "consumer/ope_bandit.h"

enum ope_role { ACTION, REWARD, PROPENSITY, POSITION, GROUP, TARGET, ROLES };
extern const struct frame_role OPE_ROLES[ROLES];

struct ope_options {
    const char *policy, *propensity, *items, *json, *report, *rounds, *rewards;
    struct flag_list maps, contexts, where;
    double clip, tau, penalty, level;
    int64_t folds, resamples, seed;
};

/* Everything read, and the log as the estimators take it. */
struct evaluation {
    const struct ope_options *o;
    struct frame *frame, *other, *items; /* other: the log of the policy in question */
    struct frame *outcomes;              /* row by row of the frame's; NULL: they are in it */
    struct features context, trait;
    struct str *actions, *positions;
    struct frame_role role[ROLES];
    struct ope_log log, judged; /* judged: the rounds that value the policy */
    uint32_t *action, *position;
    double *reward, *propensity;
    uint64_t *group;
    double *p;            /* [position][action] of the policy in question */
    const double *target; /* [n] or NULL: its probability of the logged action is all we have */
    double *own;
    char name[200];
    bool uncalibrated; /* what the log says of its propensities does not hold */
    double truth, truth_se;
    size_t truth_n;
    bool learns; /* the policy is a bandit of this kind */
    enum bandit_kind kind;
    struct ope_bandit *bandit;
    struct ope_round *rounds;
};

/* Codes of a column → places in a list of names, which grows; empty is "nothing". 0, -ENOMEM. */
int ope_places(const struct frame *f, const struct frame_column *c, struct str **names, size_t *n,
               uint32_t **ret);

/* Takes the log's propensities or estimates them, as --propensity says. Prints; -EINVAL, -ENOMEM.
 */
int ope_set_propensities(struct evaluation *e);
/* Holds the log's propensities against what it chose; not where campaigns competed, of which only
 * some were open at a time. -ENOMEM. */
int ope_check_propensities(struct evaluation *e);
/* Prepares the policy that --policy names; may add actions and positions of another log. */
int ope_set_policy(struct evaluation *e);
/* Teaches it the first half of the log, if it is one that learns; e->judged becomes the rest. */
int ope_teach_policy(struct evaluation *e);
ope_policy *ope_policy_of(const struct evaluation *e, const void **ret_arg);
