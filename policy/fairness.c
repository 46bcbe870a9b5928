#include "policy/fairness.h"

#include <math.h>

double fair_z(double level, size_t comparisons) {
    return z_fixed(1 - (1 - level) / (double)MAX(comparisons, 1));
}

static unsigned breaches(const struct fair_result *r, const struct fair_bounds *b) {
    unsigned found = 0;
    struct interval ratio = b->strict ? (struct interval){r->ratio, r->ratio} : r->ratio_range;
    struct interval gap = b->strict ? (struct interval){r->gap, r->gap} : r->gap_range;
    if (b->ratio_low != 0 || b->ratio_high != 0) {
        found |= ratio.high < b->ratio_low ? FAIR_RATIO_LOW : 0;
        found |= ratio.low > b->ratio_high ? FAIR_RATIO_HIGH : 0;
    }
    if (b->gap > 0 && (gap.low > b->gap || gap.high < -b->gap))
        found |= FAIR_GAP;
    return found;
}

void fair_compare(const struct fair_group *groups, size_t n, double z, const struct fair_bounds *b,
                  struct fair_result *ret) {
    double all = 0, got = 0;
    for (size_t i = 0; i < n; i++) {
        all += groups[i].n;
        got += groups[i].got;
    }
    for (size_t i = 0; i < n; i++) {
        const struct fair_group *g = &groups[i];
        double rest_n = all - g->n, rest_got = got - g->got;
        struct fair_result *r = &ret[i];
        *r = (struct fair_result){.share = all > 0 ? g->n / all : NAN,
                                  .rate = g->n > 0 ? g->got / g->n : NAN,
                                  .rest = rest_n > 0 ? rest_got / rest_n : NAN,
                                  .rate_range = share_interval(g->got, g->n, z)};
        r->ratio = r->rest > 0 ? r->rate / r->rest : NAN;
        r->gap = r->rate - r->rest;
        r->ratio_range = ratio_interval(rest_got, rest_n, g->got, g->n, z);
        r->gap_range = gap_interval(rest_got, rest_n, g->got, g->n, z);
        r->judged = g->n > 0 && rest_n > 0 && g->n >= b->least && rest_n >= b->least;
        r->breaches = r->judged ? breaches(r, b) : 0;
    }
}
