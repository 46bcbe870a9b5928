#include "policy/ope.h"

#include <math.h>

#include "policy/stats.h"

enum { UNITS_MAX = 16384 };

const char *ope_estimator_name(enum ope_estimator e) {
    static const char *const NAMES[OPE_ESTIMATORS] = {"dm", "ips", "snips", "dr", "switch-dr"};
    return NAMES[e];
}

const char *ope_warning_text(enum ope_warning w) {
    switch (w) {
    case OPE_NO_SUPPORT:
        return "the policy would often choose what the log never shows: nothing but the model "
               "speaks for that; log with more exploration";
    case OPE_FEW_EFFECTIVE:
        return "few effective samples: the policies differ so much that a handful of rounds "
               "decides; collect more, or log with a policy closer to this one";
    case OPE_HEAVY_ROUND:
        return "a single user or round carries much of the weight: look at the smallest "
               "propensities, or clip";
    case OPE_BAD_WEIGHTS:
        return "the mean weight is not 1: the logged propensities are not those of the logging "
               "policy, or actions lack support; IPS and DR are off by as much";
    case OPE_FEW_REWARDS:
        return "fewer than ten rewarded rounds count: the intervals are too narrow to trust";
    case OPE_UNCALIBRATED:
        return "actions were not chosen as often as the logged propensities say: use --propensity "
               "estimated, unless actions were open only at times";
    default:
        return "";
    }
}

/* Every estimator is a sum over units (rounds or groups of them) divided by another one. */
struct unit {
    double over[OPE_ESTIMATORS], under[OPE_ESTIMATORS];
    double weight, reward, count;
};

struct ratio {
    double value, se;
};

struct sums {
    double over, under, over2, under2, cross;
};

static void sums_add(struct sums *s, double over, double under) {
    s->over += over;
    s->under += under;
    s->over2 += over * over;
    s->under2 += under * under;
    s->cross += over * under;
}

/* A ratio of sums over n units with its standard error by linearisation. */
static struct ratio ratio_of(const struct sums *s, double n) {
    double r = s->over / s->under;
    double square = s->over2 - 2 * r * s->cross + r * r * s->under2;
    return (struct ratio){r, sqrt(fmax(square, 0) * n / fmax(n - 1, 1)) / fabs(s->under)};
}

static void unit_add(struct unit *u, const struct ope_round *r, const struct ope_config *c) {
    double w = c->clip > 0 ? fmin(r->weight, c->clip) : r->weight;
    double rest = w * (r->reward - r->model);
    u->over[OPE_DM] += r->model_mean;
    u->over[OPE_IPS] += w * r->reward;
    u->over[OPE_SNIPS] += w * r->reward;
    u->over[OPE_DR] += r->model_mean + rest;
    u->over[OPE_SWITCH_DR] += r->model_mean + (r->weight <= c->tau ? rest : 0);
    for (int e = 0; e < OPE_ESTIMATORS; e++)
        u->under[e] += e == OPE_SNIPS ? w : 1;
    u->weight += r->weight;
    u->reward += r->reward;
    u->count++;
}

static void intervals(struct ope_estimate *e, double *values, double *t, size_t n, double level) {
    struct interval boot = middle_interval(values, n, level), by = middle_interval(t, n, level);
    e->boot_low = boot.low;
    e->boot_high = boot.high;
    e->low = e->value - by.high * e->se;
    e->high = e->value - by.low * e->se;
}

/* One draw of n units with replacement; its ratios for all estimators. */
static void resample(const struct unit *units, size_t n, struct rng *rng,
                     struct ratio ret[OPE_ESTIMATORS]) {
    struct sums sums[OPE_ESTIMATORS] = {0};
    for (size_t k = 0; k < n; k++) {
        const struct unit *u = &units[rng_below(rng, (uint32_t)n)];
        for (int e = 0; e < OPE_ESTIMATORS; e++)
            sums_add(&sums[e], u->over[e], u->under[e]);
    }
    for (int e = 0; e < OPE_ESTIMATORS; e++)
        ret[e] = ratio_of(&sums[e], (double)n);
}

static int bootstrap(const struct unit *units, size_t n, const struct ope_config *c,
                     struct ope_estimate *by) {
    size_t b = c->resamples, kept[OPE_ESTIMATORS] = {0};
    autofree(free) double *room = calloc(2 * OPE_ESTIMATORS * MAX(b, 1), sizeof *room);
    if (!room)
        return -ENOMEM;
    double *values = room, *t = room + OPE_ESTIMATORS * b;
    struct rng rng;
    rng_seed(&rng, c->seed);
    for (size_t k = 0; k < b; k++) {
        struct ratio got[OPE_ESTIMATORS];
        resample(units, n, &rng, got);
        for (int e = 0; e < OPE_ESTIMATORS; e++)
            if (isfinite(got[e].value) && got[e].se > 0) {
                size_t at = (size_t)e * b + kept[e]++;
                values[at] = got[e].value;
                t[at] = (got[e].value - by[e].value) / got[e].se;
            }
    }
    for (int e = 0; e < OPE_ESTIMATORS; e++)
        intervals(&by[e], values + (size_t)e * b, t + (size_t)e * b, kept[e], c->level);
    return 0;
}

static unsigned warnings(const struct ope_result *r) {
    unsigned w = 0;
    double off = fabs(r->weight_mean - 1);
    if (r->lost > .01)
        w |= OPE_NO_SUPPORT;
    if (r->effective < 100 || r->effective < .01 * (double)r->n)
        w |= OPE_FEW_EFFECTIVE;
    if (r->heaviest > .05)
        w |= OPE_HEAVY_ROUND;
    if (off > .02 && off > 4 * r->weight_mean_se)
        w |= OPE_BAD_WEIGHTS;
    if (r->rewarded < 10)
        w |= OPE_FEW_REWARDS;
    return w;
}

static bool chosen(const struct ope_round *r, int64_t position) {
    return position < 0 || r->position == (uint64_t)position;
}

/* What the rounds say of themselves. */
static void describe(const struct ope_round *rounds, size_t n, int64_t position,
                     const struct ope_config *c, struct ope_result *ret) {
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        const struct ope_round *r = &rounds[i];
        if (!chosen(r, position))
            continue;
        ret->n++;
        ret->weight_mean += r->weight;
        square += r->weight * r->weight;
        ret->weight_max = fmax(ret->weight_max, r->weight);
        ret->lost += r->lost;
        ret->clipped += c->clip > 0 && r->weight > c->clip;
        ret->rewarded += r->weight >= .1 && r->reward != 0;
    }
    if (ret->n == 0)
        return;
    double count = (double)ret->n;
    ret->effective = square > 0 ? ret->weight_mean * ret->weight_mean / square : 0;
    ret->weight_mean /= count;
    ret->lost /= count;
    ret->clipped /= count;
}

int ope_estimate(const struct ope_round *rounds, size_t n, int64_t position,
                 const struct ope_config *c, struct ope_result *ret) {
    *ret = (struct ope_result){0};
    if (!(c->level > 0 && c->level < 1) || !(c->tau >= 0))
        return -EINVAL;
    describe(rounds, n, position, c, ret);
    if (ret->n == 0)
        return -ENODATA;
    autofree(free) struct unit *units = calloc(UNITS_MAX, sizeof *units);
    if (!units)
        return -ENOMEM;
    bool own = true; /* each round its own group, and few enough of them */
    for (size_t i = 0; i < n && own; i++)
        own = rounds[i].group == i && n <= UNITS_MAX;
    for (size_t i = 0; i < n; i++)
        if (chosen(&rounds[i], position)) {
            uint64_t g = rounds[i].group;
            size_t at = own ? i : hash_bytes(&g, sizeof g, c->seed) % UNITS_MAX;
            unit_add(&units[at], &rounds[i], c);
        }
    size_t used = 0;
    struct sums logged = {0}, weight = {0}, sums[OPE_ESTIMATORS] = {0};
    for (size_t u = 0; u < UNITS_MAX; u++) {
        if (units[u].count == 0)
            continue;
        units[used++] = units[u];
        sums_add(&logged, units[u].reward, units[u].count);
        sums_add(&weight, units[u].weight, units[u].count);
        ret->heaviest = fmax(ret->heaviest, units[u].weight);
        for (int e = 0; e < OPE_ESTIMATORS; e++)
            sums_add(&sums[e], units[u].over[e], units[u].under[e]);
    }
    struct ratio r = ratio_of(&logged, (double)used);
    ret->logged = r.value;
    ret->logged_se = r.se;
    ret->weight_mean_se = ratio_of(&weight, (double)used).se;
    ret->heaviest = weight.over > 0 ? ret->heaviest / weight.over : 0;
    ret->groups = used;
    ret->warnings = warnings(ret);
    for (int e = 0; e < OPE_ESTIMATORS; e++) {
        r = ratio_of(&sums[e], (double)used);
        ret->by[e] = (struct ope_estimate){.value = r.value, .se = r.se};
    }
    return bootstrap(units, used, c, ret->by);
}
