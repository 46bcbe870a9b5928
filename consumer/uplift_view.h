/* How `beckon uplift` shows what it found: on the terminal, as JSON, as a page. */
#pragma once

#include "policy/qini.h"
#include "policy/stats.h"

enum { UPLIFT_BANDS = 5, UPLIFT_GROUPS_MAX = 64 };

/* The effect of a treatment in some part of people. */
struct uplift_part {
    char name[96];
    double n, predicted; /* NAN: no prediction */
    struct mean effect;
    struct interval range;
};

/* One treatment against the control. */
struct uplift_arm {
    struct str name;
    struct mean outcome, control, effect;
    struct interval effect_range, lift_range;
    struct qini_result two_model, learner;       /* held out */
    struct uplift_part band[UPLIFT_BANDS];       /* by predicted effect, highest first */
    struct uplift_part group[UPLIFT_GROUPS_MAX]; /* by the values of features */
    size_t n_groups;
};

struct uplift_view {
    const char *log, *outcome;
    struct str control;
    size_t n, features, folds;
    bool binary;
    double level, mismatch; /* mismatch: probability of arms filled as unevenly, NAN: not asked */
    const struct uplift_arm *arms;
    size_t n_arms;
};

void uplift_view_print(const struct uplift_view *v);
int uplift_view_json(const struct uplift_view *v, const char *path); /* 0 or -errno, printed */
int uplift_view_page(const struct uplift_view *v, const char *path);
