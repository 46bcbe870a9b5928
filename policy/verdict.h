/* Would a challenger have earned more in the long run than the policy in charge? Off-policy
 * evaluation (policy/ope.h) of trials, each by all that came after it. In a trial both are asked
 * and a coin decides which is obeyed, so that what was done has the mean of both probabilities and
 * none weighs more than twice. The challenger deciding once and the one in charge going on is worth
 * more at each decision only if it is the better one (policy improvement, Sutton and Barto
 * 2018, 4.2).
 *
 * A decision is judged once half the horizon has passed since, so that most of what follows is
 * known. Where there are more decisions than can be kept so long, only some users' are, chosen by
 * hash. Thread: one at a time. */
#pragma once

#include "policy/ope.h"
#include "policy/wear.h"

struct verdict_config {
    int64_t horizon_ms; /* what comes after a gap counts 10^-(gap / horizon) */
    uint32_t room;      /* decisions kept, at most */
    uint32_t least;     /* contested trials below which there is no verdict */
};

struct verdict;
int verdict_new(const struct verdict_config *c, struct verdict **ret);
void verdict_free(struct verdict *v);
DEFINE_CLEANUP(struct verdict, verdict_free)

struct verdict_case {
    uint64_t user, trigger, before; /* before: trigger of the user's last decision; 0: not known */
    int64_t at_ms;
    double gain;   /* what came of it by itself */
    double usual;  /* what was to be expected of that, whatever was done, and of each next one */
    double weight; /* in a trial: probability of it by the challenger over the mean of both; NAN:
                    * none was, but it followed others */
    struct wear_sample wear; /* remembered for the user's next decision */
};
/* The case of a trigger; NULL: it is not kept. Valid until the next one is noted. */
const struct verdict_case *verdict_find(const struct verdict *v, uint64_t trigger);
/* Cases of one user in the order of their times. */
void verdict_note(struct verdict *v, const struct verdict_case *k);
void verdict_clear(struct verdict *v);

struct verdict_result {
    size_t n;             /* trials judged */
    double contested;     /* of them, in which one policy did what the other would not have done */
    double advantage, se; /* of the challenger a decision, in units of gain; NAN: too few */
    unsigned warnings;    /* of enum ope_warning */
};
/* 0; -ENODATA: too few contested trials yet, ret tells how many; -ENOMEM. */
int verdict_judge(struct verdict *v, struct verdict_result *ret);
/* What comes after a gap counts. */
double verdict_discount(int64_t gap_ms, int64_t horizon_ms);
