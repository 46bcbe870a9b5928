/* Whether groups of people are treated alike: shares, rate ratios and gaps against everybody else,
 * and bounds on them. Pure. */
#pragma once

#include "model/base.h"
#include "policy/stats.h"

/* People of one group: considered, and of those the ones who got it (an offer, a reward). */
struct fair_group {
    double n, got;
};

struct fair_bounds {
    double ratio_low, ratio_high; /* of the rate ratio, as .8 and 1.25 (the four-fifths rule); 0, 0:
                                     none */
    double gap;                   /* largest difference of rates; 0: none */
    double least;                 /* groups, or rests, of fewer people are not judged */
    bool strict; /* a breach is an estimate out of bounds; else only an interval wholly out */
};

enum fair_breach { FAIR_RATIO_LOW = 1, FAIR_RATIO_HIGH = 2, FAIR_GAP = 4 };

struct fair_result {
    double share;               /* of all people */
    double rate, rest;          /* share of the group, and of everybody else, who got it */
    struct interval rate_range; /* Wilson */
    double ratio, gap;          /* rate / rest, rate - rest; NAN where there is no rest */
    struct interval ratio_range, gap_range;
    bool judged;
    unsigned breaches; /* of enum fair_breach; 0 unless judged */
};

/* Compares each group with the rest, z standard errors wide; ret[n]. With many groups use a wider
 * z: fair_z spreads the chance of one false alarm over all comparisons (Bonferroni). */
void fair_compare(const struct fair_group *groups, size_t n, double z, const struct fair_bounds *b,
                  struct fair_result *ret);
double fair_z(double level, size_t comparisons);
