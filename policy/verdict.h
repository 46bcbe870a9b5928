/* Would another policy have earned more in the long run than the one that decides? Off-policy
 * evaluation (policy/ope.h) of the newest decisions, each by all that came after it: the other
 * policy deciding once and the one in charge going on is worth more at each decision only if it is
 * the better one (policy improvement, Sutton and Barto 2018, 4.2).
 *
 * A decision is judged once half the horizon has passed since, so that most of what follows is
 * known. Where there are more decisions than can be kept so long, only some users' are, chosen by
 * hash. Thread: one at a time. */
#pragma once

#include "policy/ope.h"

struct verdict_config {
    int64_t horizon_ms; /* what comes after a gap counts 10^-(gap / horizon) */
    uint32_t room;      /* decisions kept, at most */
    uint32_t least;     /* decisions below which there is no verdict */
};

struct verdict;
int verdict_new(const struct verdict_config *c, struct verdict **ret);
void verdict_free(struct verdict *v);
DEFINE_CLEANUP(struct verdict, verdict_free)

struct verdict_case {
    uint64_t user, trigger, before; /* before: trigger of the user's last decision; 0: not known */
    int64_t at_ms;
    double gain;   /* what came of it by itself */
    double weight; /* probability of it by the other policy over that of the one in charge; NAN: not
                    * known, but it followed others */
};
/* Cases of one user in the order of their times. */
void verdict_note(struct verdict *v, const struct verdict_case *k);
void verdict_clear(struct verdict *v);

struct verdict_result {
    size_t n;             /* decisions judged */
    double advantage, se; /* of the other policy a decision, in units of gain */
    unsigned warnings;    /* of enum ope_warning */
};
/* 0; -ENODATA: too few decisions yet, ret->n tells how many; -ENOMEM. */
int verdict_judge(struct verdict *v, struct verdict_result *ret);
/* What comes after a gap counts. */
double verdict_discount(int64_t gap_ms, int64_t horizon_ms);
