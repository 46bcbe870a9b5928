/* What policies that look ahead learn from: how a user went from one decision of a group to his
 * next one. */
#pragma once

#include "policy/features.h"

/* A state: the shared features, messages remembered of each campaign (by the same hash as an
 * offer's columns, / 3), how well those that compete fit the user, and the columns of the item that
 * the decision was about. */
enum {
    STATE_HISTORY = FEATURES_SHARED,
    STATE_FIT = STATE_HISTORY + FEATURES_CAMPAIGNS,
    STATE_ITEM = STATE_FIT + FEATURES_CAMPAIGNS,
    STATE_COLUMNS = STATE_ITEM + 3,
};

enum decider { BY_RULES, BY_BANDIT, BY_NETWORK };

/* Of the state and what was taken there: the offer's columns behind it, zeros for nothing. */
enum { STEP_COLUMNS = STATE_COLUMNS + FEATURES_OWN };

struct passage {
    uint16_t group;
    uint64_t user;            /* hash of his id */
    uint64_t trigger, before; /* of the decision, and of his last one before it; 0: not known */
    int64_t at_ms, next_ms;   /* next_ms 0: nothing followed in time */
    float *step;              /* float[STEP_COLUMNS], owned */
    float *next;              /* the same of what followed; NULL: nothing did */
    enum decider by;
    double reward;     /* of the decision's own window */
    double propensity; /* of what was taken */
    double by_network; /* probability of it by the network, where both it and the bandit were asked
                        * and the propensity is the mean of both; NAN */
};
