#include "model/rankmetrics.h"

#include <math.h>

struct sums {
    double cases, of[RANK_METRICS][RANK_KS_MAX];
};

struct rankmetrics {
    size_t n_k;
    uint32_t k[RANK_KS_MAX];
    uint64_t cases, covered;
    uint64_t *seen; /* bit per row */
    size_t seen_words;
    struct sums groups[RANK_GROUPS];
};

const char *rank_metric_name(enum rank_metric m) {
    static const char *const names[] = {"hit", "recall", "precision", "mrr", "ndcg"};
    return (unsigned)m < RANK_METRICS ? names[m] : "";
}

int rankmetrics_new(const uint32_t *k, size_t n_k, struct rankmetrics **ret) {
    if (n_k == 0 || n_k > RANK_KS_MAX)
        return -EINVAL;
    for (size_t i = 0; i < n_k; i++)
        if (k[i] == 0)
            return -EINVAL;
    struct rankmetrics *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->n_k = n_k;
    memcpy(m->k, k, n_k * sizeof *k);
    *ret = m;
    return 0;
}

void rankmetrics_free(struct rankmetrics *m) {
    if (!m)
        return;
    free(m->seen);
    free(m);
}

void rankmetrics_add(struct rankmetrics *m, uint64_t group, const uint32_t *places,
                     size_t n_relevant, uint32_t list_n) {
    if (n_relevant == 0)
        return;
    struct sums *s = &m->groups[group % RANK_GROUPS];
    s->cases++;
    m->cases++;
    for (size_t i = 0; i < m->n_k; i++) {
        uint32_t k = m->k[i], first = 0, hits = 0;
        double gain = 0, ideal = 0;
        for (size_t j = 0; j < n_relevant; j++) {
            if (places[j] == 0 || places[j] > k || places[j] > list_n)
                continue;
            hits++;
            gain += 1 / log2(1 + (double)places[j]);
            if (first == 0 || places[j] < first)
                first = places[j];
        }
        if (hits == 0)
            continue;
        for (size_t j = 1; j <= MIN(n_relevant, (size_t)k); j++)
            ideal += 1 / log2(1 + (double)j);
        s->of[RANK_HIT][i] += 1;
        s->of[RANK_RECALL][i] += (double)hits / (double)n_relevant;
        s->of[RANK_PRECISION][i] += (double)hits / k;
        s->of[RANK_MRR][i] += 1.0 / first;
        s->of[RANK_NDCG][i] += gain / ideal;
    }
}

static int reserve_rows(struct rankmetrics *m, size_t words) {
    if (words <= m->seen_words)
        return 0;
    size_t n = MAX(words, 2 * m->seen_words);
    uint64_t *seen = realloc(m->seen, n * sizeof *seen);
    if (!seen)
        return -ENOMEM;
    memset(seen + m->seen_words, 0, (n - m->seen_words) * sizeof *seen);
    m->seen = seen;
    m->seen_words = n;
    return 0;
}

int rankmetrics_cover(struct rankmetrics *m, const uint32_t *rows, size_t n) {
    for (size_t i = 0; i < n; i++) {
        size_t word = rows[i] / 64;
        uint64_t bit = UINT64_C(1) << rows[i] % 64;
        int r = reserve_rows(m, word + 1);
        if (r < 0)
            return r;
        m->covered += !(m->seen[word] & bit);
        m->seen[word] |= bit;
    }
    return 0;
}

int rankmetrics_merge(struct rankmetrics *to, const struct rankmetrics *from) {
    if (to->n_k != from->n_k || memcmp(to->k, from->k, to->n_k * sizeof *to->k) != 0)
        return -EINVAL;
    int r = reserve_rows(to, from->seen_words);
    if (r < 0)
        return r;
    for (size_t w = 0; w < from->seen_words; w++) {
        to->covered += (uint64_t)__builtin_popcountll(from->seen[w] & ~to->seen[w]);
        to->seen[w] |= from->seen[w];
    }
    to->cases += from->cases;
    for (size_t g = 0; g < RANK_GROUPS; g++) {
        to->groups[g].cases += from->groups[g].cases;
        for (size_t metric = 0; metric < RANK_METRICS; metric++)
            for (size_t i = 0; i < to->n_k; i++)
                to->groups[g].of[metric][i] += from->groups[g].of[metric][i];
    }
    return 0;
}

uint64_t rankmetrics_cases(const struct rankmetrics *m) {
    return m->cases;
}

uint64_t rankmetrics_covered(const struct rankmetrics *m) {
    return m->covered;
}

double rankmetrics_value(const struct rankmetrics *m, enum rank_metric metric, size_t i) {
    double sum = 0;
    for (size_t g = 0; g < RANK_GROUPS; g++)
        sum += m->groups[g].of[metric][i];
    return m->cases ? sum / (double)m->cases : NAN;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Quantile with linear interpolation of n sorted values. */
static double quantile(const double *v, size_t n, double q) {
    double at = fmin(fmax(q, 0), 1) * (double)(n - 1);
    size_t low = (size_t)at, high = MIN(low + 1, n - 1);
    return v[low] + (v[high] - v[low]) * (at - (double)low);
}

/* b may be NULL: then of a alone. */
static struct rank_interval bootstrap(const struct rankmetrics *a, const struct rankmetrics *b,
                                      enum rank_metric metric, size_t i, double level,
                                      uint32_t resamples, uint64_t seed) {
    struct rank_interval ret = {NAN, NAN};
    double *mean = resamples ? malloc(resamples * sizeof *mean) : NULL;
    uint32_t used[RANK_GROUPS], n_used = 0, n = 0;
    for (uint32_t g = 0; g < RANK_GROUPS; g++)
        if (a->groups[g].cases > 0 && (!b || b->groups[g].cases > 0))
            used[n_used++] = g;
    struct rng r;
    rng_seed(&r, seed);
    for (uint32_t s = 0; mean && n_used && s < resamples; s++) {
        double sum_a = 0, cases_a = 0, sum_b = 0, cases_b = 0;
        for (uint32_t j = 0; j < n_used; j++) {
            uint32_t g = used[rng_below(&r, n_used)];
            sum_a += a->groups[g].of[metric][i];
            cases_a += a->groups[g].cases;
            sum_b += b ? b->groups[g].of[metric][i] : 0;
            cases_b += b ? b->groups[g].cases : 1;
        }
        mean[n++] = sum_a / cases_a - sum_b / cases_b;
    }
    if (n > 0) {
        qsort(mean, n, sizeof *mean, by_value);
        ret.low = quantile(mean, n, (1 - level) / 2);
        ret.high = quantile(mean, n, (1 + level) / 2);
    }
    free(mean);
    return ret;
}

struct rank_interval rankmetrics_interval(const struct rankmetrics *m, enum rank_metric metric,
                                          size_t i, double level, uint32_t resamples,
                                          uint64_t seed) {
    return bootstrap(m, NULL, metric, i, level, resamples, seed);
}

struct rank_interval rankmetrics_difference(const struct rankmetrics *a,
                                            const struct rankmetrics *b, enum rank_metric metric,
                                            size_t i, double level, uint32_t resamples,
                                            uint64_t seed) {
    return bootstrap(a, b, metric, i, level, resamples, seed);
}

uint32_t rank_place(const float *scores, size_t n, size_t target) {
    uint32_t place = 1;
    for (size_t i = 0; i < n; i++)
        place += i != target && !(scores[i] < scores[target]);
    return place;
}
