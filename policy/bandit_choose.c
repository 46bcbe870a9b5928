#include "policy/bandit_internal.h"

#include <assert.h>
#include <math.h>

int bandit_room_new(const struct bandit *b, struct bandit_room **ret) {
    autofree(bandit_room_free) struct bandit_room *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    size_t arms = b->c.arms_max + 1, lanes = b->c.kind == BANDIT_THOMPSON ? b->c.draws : b->own_ld;
    r->score = bandit_floats(b->c.kind == BANDIT_THOMPSON ? arms * lanes : 0);
    r->first_score = bandit_floats(arms * lanes);
    r->first = bandit_floats(arms * b->c.own);
    r->first_square = calloc(arms, sizeof *r->first_square);
    r->at = calloc(arms, sizeof *r->at);
    r->mean = calloc(arms, sizeof *r->mean);
    r->square = calloc(arms, sizeof *r->square);
    r->p = calloc(arms, sizeof *r->p);
    r->which = calloc(lanes, sizeof *r->which);
    r->vector = bandit_floats(b->shared_ld + b->own_ld + lanes);
    if (!r->score || !r->first_score || !r->first || !r->first_square || !r->at || !r->mean ||
        !r->square || !r->p || !r->which || !r->vector)
        return -ENOMEM;
    *ret = TAKE(r);
    return 0;
}

void bandit_room_free(struct bandit_room *r) {
    if (!r)
        return;
    free(r->score);
    free(r->first_score);
    free(r->first);
    free(r->first_square);
    free(r->at);
    free(r->mean);
    free(r->square);
    free(r->p);
    free(r->which);
    free(r->vector);
    free(r);
}

/* What arms share and where they lie apart. Arms that nothing is known of share nothing. */
struct split {
    size_t n, from, wide; /* of firsts; columns apart */
    const float *first;   /* float[n][own] */
    const uint16_t *at;   /* [arms] */
};

static struct split split(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms) {
    size_t own = b->c.own;
    struct split s = {.first = room->first, .at = room->at};
    if (!arms->like) {
        for (size_t i = 0; i < arms->n; i++)
            room->at[i] = (uint16_t)i;
        s.first = arms->own;
        s.n = arms->n;
        return s;
    }
    s.from = arms->from;
    s.wide = arms->to - arms->from;
    for (size_t i = 0; i < arms->n; i++) {
        if (arms->like[i] != i) {
            room->at[i] = room->at[arms->like[i]];
            continue;
        }
        float *first = room->first + s.n * own;
        b->k->copy(own, arms->own + i * own, first);
        memset(first + s.from, 0, s.wide * sizeof *first);
        room->at[i] = (uint16_t)s.n++;
    }
    return s;
}

/* What each arm adds to nothing, whose own mean is 0. */
static void means(const struct bandit *b, struct bandit_room *room,
                  const struct bandit_arms *arms) {
    b->k->matvec(arms->n, b->c.own, arms->own, b->mean_own, room->mean);
    for (size_t i = 0; i < arms->n; i++)
        room->mean[i] -= arms->cost;
}

const float *bandit_gains(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms) {
    means(b, room, arms);
    return room->mean;
}

/* The best arm counted from 1; 0: nothing, which scores `nothing`. Sixteen maxima side by side,
 * because one chain of comparisons waits for each. */
static size_t best_of(size_t n, const float *score, float nothing) {
    enum { LANES = 16 };
    float most[LANES];
    for (size_t j = 0; j < LANES; j++)
        most[j] = nothing;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            most[j] = score[i + j] > most[j] ? score[i + j] : most[j];
    for (; i < n; i++)
        most[0] = score[i] > most[0] ? score[i] : most[0];
    for (size_t j = 1; j < LANES; j++)
        most[0] = most[j] > most[0] ? most[j] : most[0];
    if (!(most[0] > nothing))
        return 0;
    for (i = 0; !(score[i] == most[0]);)
        i++;
    return i + 1;
}

/* n: a multiple of BANDIT_LANES. */
static void copy_row(float *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; i += BANDIT_LANES)
        memcpy(to + i, from + i, BANDIT_LANES * sizeof *to);
}

/* room->first_score, row i: start + firstᵀ[i]·m, where m is float[own][ld] and start float[ld]. */
static void first_products(const struct bandit *b, struct bandit_room *room, const struct split *s,
                           const float *m, size_t ld, const float *start) {
    size_t own = b->c.own, to = s->from + s->wide;
    for (size_t i = 0; i < s->n; i++)
        copy_row(room->first_score + i * ld, start, ld);
    b->k->matmul(s->n, ld, s->from, s->first, own, 1, m, ld, room->first_score, ld);
    b->k->matmul(s->n, ld, own - to, s->first + to, own, 1, m + to * ld, ld, room->first_score, ld);
}

static void add_roots(size_t n, float by, const float *restrict square, float *restrict to) {
    for (size_t i = 0; i < n; i++)
        to[i] += by * sqrtf(square[i] > 0 ? square[i] : 0);
}

/* mean + alpha · noise · √(xᵀA⁻¹x), less what shared columns add to every mean. Squares of widths
 * come apart, with x = (s, f + d), g = C·f + 2·B·s, and C, B and S the parts of A⁻¹, into
 *
 *   sᵀ·S·s + fᵀ·g  +  dᵀ·(2·g - 2·B·s + C·d)
 *
 * whose first half is the same for arms that are alike. */
static size_t upper_best(const struct bandit *b, struct bandit_room *room,
                         const struct bandit_arms *arms) {
    const struct kernels *k = b->k;
    struct split s = split(b, room, arms);
    size_t own = b->c.own, shared = b->c.shared, ld = b->own_ld, all = b->shared_ld + ld;
    const float *turn = room->vector + b->shared_ld; /* 2·B·s */
    float width = (float)(b->c.alpha * b->fit.noise), anyway = 0;
    means(b, room, arms);
    memset(room->vector, 0, all * sizeof *room->vector);
    for (size_t i = 0; i < shared; i += BANDIT_LANES) /* what lies above the diagonal, blockwise */
        k->matmul(1, all - i, MIN(shared - i, (size_t)BANDIT_LANES), arms->shared + i, shared, 1,
                  b->cov_shared + i * all + i, all, room->vector + i, all);
    if (shared)
        anyway = k->dot(shared, room->vector, arms->shared);
    first_products(b, room, &s, b->cov_own, ld, turn);
    for (size_t i = 0; i < s.n; i++) {
        float *g = room->first_score + i * ld;
        room->first_square[i] = anyway + k->dot(own, s.first + i * own, g);
        k->axpby(ld, -1, turn, 2, g);
    }
    for (size_t i = 0; i < arms->n; i++)
        room->square[i] = room->first_square[s.at[i]];
    for (size_t j = 0; j < s.wide; j += BANDIT_LANES)
        k->forms(arms->n, MIN(s.wide - j, (size_t)BANDIT_LANES), s.wide, arms->own + s.from, own, j,
                 b->cov_own + s.from * ld + s.from + j, ld, room->first_score + s.from + j, ld,
                 s.at, room->square);
    add_roots(arms->n, width, room->square, room->mean);
    return best_of(arms->n, room->mean, width * sqrtf(fmaxf(0, anyway)));
}

/* The share of draws in which each is the best. */
static void thompson(const struct bandit *b, struct bandit_room *room,
                     const struct bandit_arms *arms, double *p) {
    struct split s = split(b, room, arms);
    size_t draws = b->c.draws;
    for (size_t i = 0; i < draws; i++)
        room->vector[i] = -arms->cost;
    first_products(b, room, &s, b->draws, draws, room->vector);
    for (size_t i = 0; i < arms->n; i++)
        copy_row(room->score + i * draws, room->first_score + s.at[i] * draws, draws);
    if (s.wide)
        b->k->matmul(arms->n, draws, s.wide, arms->own + s.from, b->c.own, 1,
                     b->draws + s.from * draws, draws, room->score, draws);
    b->k->highest(arms->n, draws, room->score, room->which);
    for (size_t i = 0; i < draws; i++)
        p[room->which[i]] += 1.0 / (double)draws;
}

/* Inverse gap weighting. Gaps are measured in standard deviations of the noise, so that gamma
 * does not depend on the currency. */
static void inverse_gaps(const struct bandit *b, struct bandit_room *room,
                         const struct bandit_arms *arms, double *p) {
    means(b, room, arms);
    size_t best = best_of(arms->n, room->mean, 0);
    double top = best ? room->mean[best - 1] : 0, others = 0;
    double gamma = b->c.gamma * pow(fmax(1, b->fit.n), b->c.gamma_power) / b->fit.noise;
    for (size_t i = 0; i <= arms->n; i++) {
        if (i == best)
            continue;
        double gap = top - (i ? room->mean[i - 1] : 0);
        p[i] = gap >= 0 ? 1 / ((double)(arms->n + 1) + gamma * gap) : 0; /* 0 if it is no number */
        others += p[i];
    }
    p[best] = 1 - others;
}

void bandit_explore(struct bandit *b, double share) {
    b->c.explore = share;
}

double bandit_explores(const struct bandit *b) {
    double first = b->c.explore_n;
    return b->c.kind == BANDIT_RANDOM ? 1
           : first > 0                ? fmax(b->c.explore, first / (first + b->fit.n))
                                      : b->c.explore;
}

void bandit_probabilities(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms, double *ret) {
    size_t k = arms->n + 1;
    double even = 1.0 / (double)k, explore = bandit_explores(b);
    assert(arms->n <= b->c.arms_max);
    memset(ret, 0, k * sizeof *ret);
    switch (b->c.kind) {
    case BANDIT_GREEDY:
        means(b, room, arms);
        ret[best_of(arms->n, room->mean, 0)] = 1;
        break;
    case BANDIT_LINUCB:
        ret[upper_best(b, room, arms)] = 1;
        break;
    case BANDIT_THOMPSON:
        thompson(b, room, arms, ret);
        break;
    case BANDIT_SQUARECB:
        inverse_gaps(b, room, arms, ret);
        break;
    case BANDIT_RANDOM:
    case BANDIT_KIND_COUNT:
        break;
    }
    for (size_t i = 0; i < k; i++)
        ret[i] = explore * even + (1 - explore) * ret[i];
}

int bandit_draw(const double *p, size_t n, struct rng *rng) {
    double u = rng_unit(rng);
    size_t chosen = 0;
    for (size_t i = 0; i <= n; i++) {
        if (!(p[i] > 0))
            continue;
        chosen = i; /* the last possible one takes what rounding leaves */
        u -= p[i];
        if (u < 0)
            break;
    }
    return (int)chosen - 1;
}

struct bandit_choice bandit_decide(const struct bandit *b, struct bandit_room *room,
                                   const struct bandit_arms *arms, struct rng *rng) {
    bandit_probabilities(b, room, arms, room->p);
    int arm = bandit_draw(room->p, arms->n, rng);
    return (struct bandit_choice){arm, room->p[1 + arm]};
}
