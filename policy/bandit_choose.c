#include "policy/bandit_internal.h"

#include <assert.h>
#include <math.h>

int bandit_room_new(const struct bandit *b, struct bandit_room **ret) {
    autofree(bandit_room_free) struct bandit_room *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    size_t arms = b->c.arms_max + 1, lanes = b->c.kind == BANDIT_THOMPSON ? b->c.draws : b->own_ld;
    r->score = calloc(arms * lanes, sizeof *r->score);
    r->mean = calloc(arms, sizeof *r->mean);
    r->p = calloc(arms, sizeof *r->p);
    r->vector = calloc(MAX((size_t)RIDGE_DIM_MAX, lanes), sizeof *r->vector);
    r->first = calloc(arms * b->c.own, sizeof *r->first);
    r->first_score = calloc(arms * lanes, sizeof *r->first_score);
    r->at = calloc(arms, sizeof *r->at);
    if (!r->score || !r->mean || !r->p || !r->vector || !r->first || !r->first_score || !r->at)
        return -ENOMEM;
    *ret = TAKE(r);
    return 0;
}

void bandit_room_free(struct bandit_room *r) {
    if (!r)
        return;
    free(r->score);
    free(r->mean);
    free(r->p);
    free(r->vector);
    free(r->first);
    free(r->first_score);
    free(r->at);
    free(r);
}

/* What each arm adds to nothing, whose own mean is 0. */
static void means(const struct bandit *b, struct bandit_room *room,
                  const struct bandit_arms *arms) {
    b->k->matvec(arms->n, b->c.own, arms->own, b->mean_own, room->mean);
}

/* The best arm counted from 1; 0: nothing, which scores `nothing`. */
static size_t best_of(size_t n, const float *score, float nothing) {
    size_t best = 0;
    for (size_t i = 0; i < n; i++)
        if (score[i] > nothing) {
            nothing = score[i];
            best = i + 1;
        }
    return best;
}

/* n: a multiple of 16, as the lanes of matmul are. */
static void copy_row(float *to, const float *from, size_t n) {
    for (size_t i = 0; i < n; i += 16)
        memcpy(to + i, from + i, 16 * sizeof *to);
}

static void start_rows(float *score, size_t n, size_t ld, const float *start) {
    for (size_t i = 0; i < n; i++)
        copy_row(score + i * ld, start, ld);
}

/* room->score, row i: start + ownᵀ[i]·m, where m is float[own][ld] and start float[ld]. Of arms
 * that are alike, what they share is multiplied once. */
static void products(const struct bandit *b, struct bandit_room *room,
                     const struct bandit_arms *arms, const float *m, size_t ld,
                     const float *start) {
    size_t own = b->c.own, wide = arms->to - arms->from, n_first = 0;
    if (!arms->like) {
        start_rows(room->score, arms->n, ld, start);
        b->k->matmul(arms->n, ld, own, arms->own, own, 1, m, ld, room->score, ld);
        return;
    }
    for (size_t i = 0; i < arms->n; i++) {
        float *first = room->first + n_first * own;
        room->at[i] = arms->like[i] == i ? (uint16_t)n_first : room->at[arms->like[i]];
        if (arms->like[i] != i)
            continue;
        memcpy(first, arms->own + i * own, own * sizeof *first);
        memset(first + arms->from, 0, wide * sizeof *first);
        n_first++;
    }
    start_rows(room->first_score, n_first, ld, start);
    b->k->matmul(n_first, ld, own, room->first, own, 1, m, ld, room->first_score, ld);
    for (size_t i = 0; i < arms->n; i++)
        copy_row(room->score + i * ld, room->first_score + room->at[i] * ld, ld);
    b->k->matmul(arms->n, ld, wide, arms->own + arms->from, own, 1, m + arms->from * ld, ld,
                 room->score, ld);
}

/* mean + alpha · noise · √(xᵀA⁻¹x), less what shared columns add to every mean. Squares of
 * widths come apart: ownᵀ·(C·own + 2·B·shared) + sharedᵀ·S·shared. */
static size_t upper_best(const struct bandit *b, struct bandit_room *room,
                         const struct bandit_arms *arms) {
    const struct kernels *k = b->k;
    size_t own = b->c.own, shared = b->c.shared;
    float width = (float)(b->c.alpha * b->fit.noise), anyway = 0;
    means(b, room, arms);
    if (shared) {
        k->matvec(shared, shared, b->cov_shared, arms->shared, room->vector);
        anyway = k->dot(shared, room->vector, arms->shared);
    }
    memset(room->vector, 0, b->own_ld * sizeof *room->vector);
    k->matvec(own, shared, b->cov_cross, arms->shared, room->vector);
    for (size_t f = 0; f < own; f++)
        room->vector[f] *= 2;
    products(b, room, arms, b->cov_own, b->own_ld, room->vector);
    for (size_t i = 0; i < arms->n; i++) {
        float square = k->dot(own, arms->own + i * own, room->score + i * b->own_ld) + anyway;
        room->mean[i] += width * sqrtf(fmaxf(0, square));
    }
    return best_of(arms->n, room->mean, width * sqrtf(fmaxf(0, anyway)));
}

/* Four draws side by side, on vectors that every machine has. */
typedef float lanes __attribute__((vector_size(16), aligned(4)));
typedef int32_t whole __attribute__((vector_size(16), aligned(4)));
enum { LANES = sizeof(lanes) / sizeof(float), CHAINS = 4 };

/* Counts which arm, from 1, scores highest in each draw; 0: none above nothing's 0. Scores are
 * float[n][draws]. */
static void count_best(size_t n, size_t draws, const float *score, double each, double *p) {
    for (size_t at = 0; at < draws; at += LANES * CHAINS) {
        lanes best[CHAINS] = {0};
        whole who[CHAINS] = {0};
        for (size_t i = 0; i < n; i++)
            for (size_t q = 0; q < CHAINS; q++) {
                lanes s = *(const lanes *)(score + i * draws + at + q * LANES);
                whole hit = s > best[q]; /* all bits where true */
                best[q] = (lanes)(((whole)s & hit) | ((whole)best[q] & ~hit));
                who[q] = ((int32_t)(i + 1) & hit) | (who[q] & ~hit);
            }
        for (size_t q = 0; q < CHAINS; q++)
            for (size_t j = 0; j < LANES; j++)
                p[who[q][j]] += each;
    }
}

/* The share of draws in which each is the best. */
static void thompson(const struct bandit *b, struct bandit_room *room,
                     const struct bandit_arms *arms, double *p) {
    size_t draws = b->c.draws;
    memset(room->vector, 0, draws * sizeof *room->vector);
    products(b, room, arms, b->draws, draws, room->vector);
    count_best(arms->n, draws, room->score, 1.0 / (double)draws, p);
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

void bandit_probabilities(const struct bandit *b, struct bandit_room *room,
                          const struct bandit_arms *arms, double *ret) {
    size_t k = arms->n + 1;
    double even = 1.0 / (double)k, explore = b->c.kind == BANDIT_RANDOM ? 1 : b->c.explore;
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
