#include "policy/bandit_internal.h"

#include <assert.h>
#include <math.h>

int bandit_room_new(const struct bandit *b, struct bandit_room **ret) {
    autofree(bandit_room_free) struct bandit_room *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    size_t arms = b->c.arms_max + 1, lanes = b->c.kind == BANDIT_THOMPSON ? b->c.draws : b->own_ld;
    r->arms_ld = (arms + 15) / 16 * 16;
    r->score = calloc(arms * lanes, sizeof *r->score);
    r->first_score = calloc(arms * lanes, sizeof *r->first_score);
    r->first = calloc(arms * b->c.own, sizeof *r->first);
    r->first_mean = calloc(arms, sizeof *r->first_mean);
    r->first_square = calloc(arms, sizeof *r->first_square);
    r->first_bent = calloc(arms, sizeof *r->first_bent);
    r->at = calloc(arms, sizeof *r->at);
    r->apart = calloc(b->c.own * r->arms_ld, sizeof *r->apart);
    r->bent = calloc(b->c.own * r->arms_ld, sizeof *r->bent);
    r->mean = calloc(r->arms_ld, sizeof *r->mean);
    r->square = calloc(r->arms_ld, sizeof *r->square);
    r->p = calloc(arms, sizeof *r->p);
    r->which = calloc(lanes, sizeof *r->which);
    r->vector = calloc(b->shared_ld + b->own_ld + lanes, sizeof *r->vector);
    if (!r->score || !r->first_score || !r->first || !r->first_mean || !r->first_square ||
        !r->first_bent || !r->at || !r->apart || !r->bent || !r->mean || !r->square || !r->p ||
        !r->which || !r->vector)
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
    free(r->first_mean);
    free(r->first_square);
    free(r->first_bent);
    free(r->at);
    free(r->apart);
    free(r->bent);
    free(r->mean);
    free(r->square);
    free(r->p);
    free(r->which);
    free(r->vector);
    free(r);
}

/* What arms share and how they lie apart. Arms that nothing is known of share nothing. */
struct split {
    size_t n, wide, ld; /* of firsts; columns apart; arms, padded */
    const float *first; /* float[n][own] */
    const uint16_t *at; /* [arms] */
    const float *apart; /* float[wide][room->arms_ld] */
};

/* Turned: whole lines are written, as the products read them. */
static struct split split(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms) {
    size_t own = b->c.own, wide = arms->like ? arms->to - arms->from : 0, n = 0;
    struct split s = {.wide = wide,
                      .ld = (arms->n + 15) / 16 * 16,
                      .first = room->first,
                      .at = room->at,
                      .apart = room->apart};
    if (!arms->like) {
        for (size_t i = 0; i < arms->n; i++)
            room->at[i] = (uint16_t)i;
        s.first = arms->own;
        s.n = arms->n;
        return s;
    }
    for (size_t i = 0; i < arms->n; i++) {
        room->at[i] = arms->like[i] == i ? (uint16_t)n : room->at[arms->like[i]];
        if (arms->like[i] != i)
            continue;
        float *first = room->first + n++ * own;
        b->k->copy(own, arms->own + i * own, first);
        for (size_t f = arms->from; f < arms->to; f++)
            first[f] = 0;
    }
    for (size_t f = 0; f < wide; f++) {
        const float *restrict x = arms->own + arms->from + f;
        float *restrict column = room->apart + f * room->arms_ld;
        for (size_t i = 0; i < arms->n; i++)
            column[i] = x[i * own];
    }
    s.n = n;
    return s;
}

/* to[i] += a[i]·x[i], for i < n, a multiple of 16 */
static void add_products(size_t n, const float *restrict a, const float *restrict x,
                         float *restrict to) {
    for (size_t i = 0; i < n; i++)
        to[i] += a[i] * x[i];
}

/* What each arm adds to nothing, whose own mean is 0. */
static void means_of(const struct bandit *b, struct bandit_room *room,
                     const struct bandit_arms *arms, const struct split *s) {
    float *restrict mean = room->mean;
    b->k->matvec(s->n, b->c.own, s->first, b->mean_own, room->first_mean);
    for (size_t i = 0; i < arms->n; i++)
        mean[i] = room->first_mean[s->at[i]];
    for (size_t f = 0; f < s->wide; f++)
        b->k->axpy(arms->n, b->mean_own[arms->from + f], s->apart + f * room->arms_ld, mean);
}

static void means(const struct bandit *b, struct bandit_room *room,
                  const struct bandit_arms *arms) {
    struct split s = split(b, room, arms);
    means_of(b, room, arms, &s);
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

/* n: a multiple of 16, as the lanes of matmul are. */
static void copy_row(float *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; i += 16)
        memcpy(to + i, from + i, 16 * sizeof *to);
}

/* room->first_score, row i: start + firstᵀ[i]·m, where m is float[own][ld] and start float[ld]. */
static void first_products(const struct bandit *b, struct bandit_room *room, const struct split *s,
                           const float *m, size_t ld, const float *start) {
    for (size_t i = 0; i < s->n; i++)
        copy_row(room->first_score + i * ld, start, ld);
    b->k->matmul(s->n, ld, b->c.own, s->first, b->c.own, 1, m, ld, room->first_score, ld);
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
    means_of(b, room, arms, &s);
    memset(room->vector, 0, all * sizeof *room->vector);
    if (shared) {
        k->matmul(1, all, shared, arms->shared, shared, 1, b->cov_shared, all, room->vector, all);
        anyway = k->dot(shared, room->vector, arms->shared);
    }
    first_products(b, room, &s, b->cov_own, ld, turn);
    for (size_t i = 0; i < s.n; i++)
        room->first_square[i] = anyway + k->dot(own, s.first + i * own, room->first_score + i * ld);
    float *restrict bent = room->bent, *restrict square = room->square;
    for (size_t i = 0; i < arms->n; i++)
        square[i] = room->first_square[s.at[i]];
    for (size_t f = 0; f < s.wide; f++, bent += room->arms_ld) {
        float *restrict first = room->first_bent;
        for (size_t i = 0; i < s.n; i++)
            first[i] = 2 * room->first_score[i * ld + arms->from + f] - turn[arms->from + f];
        for (size_t i = 0; i < arms->n; i++)
            bent[i] = first[s.at[i]];
    }
    if (s.wide)
        k->matmul(s.wide, s.ld, s.wide, b->cov_own + arms->from * ld + arms->from, ld, 1, s.apart,
                  room->arms_ld, room->bent, room->arms_ld);
    for (size_t f = 0; f < s.wide; f++)
        add_products(s.ld, s.apart + f * room->arms_ld, room->bent + f * room->arms_ld, square);
    for (size_t i = 0; i < s.ld; i++)
        room->mean[i] += width * sqrtf(square[i] > 0 ? square[i] : 0);
    return best_of(arms->n, room->mean, width * sqrtf(fmaxf(0, anyway)));
}

/* The share of draws in which each is the best. */
static void thompson(const struct bandit *b, struct bandit_room *room,
                     const struct bandit_arms *arms, double *p) {
    struct split s = split(b, room, arms);
    size_t draws = b->c.draws, own = b->c.own;
    memset(room->vector, 0, draws * sizeof *room->vector);
    first_products(b, room, &s, b->draws, draws, room->vector);
    for (size_t i = 0; i < arms->n; i++)
        copy_row(room->score + i * draws, room->first_score + s.at[i] * draws, draws);
    if (s.wide)
        b->k->matmul(arms->n, draws, s.wide, arms->own + arms->from, own, 1,
                     b->draws + arms->from * draws, draws, room->score, draws);
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

struct bandit_choice bandit_decide(const struct bandit *b, struct bandit_room *room,
                                   const struct bandit_arms *arms, struct rng *rng) {
    bandit_probabilities(b, room, arms, room->p);
    double u = rng_unit(rng);
    size_t chosen = 0;
    for (size_t i = 0; i <= arms->n; i++) {
        if (!(room->p[i] > 0))
            continue;
        chosen = i; /* the last possible one takes what rounding leaves */
        u -= room->p[i];
        if (u < 0)
            break;
    }
    return (struct bandit_choice){(int)chosen - 1, room->p[chosen]};
}
