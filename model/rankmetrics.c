#include "model/rankmetrics.h"

#include <math.h>

struct sums {
    double cases, of[RANK_METRICS][RANK_KS_MAX];
};

struct rankmetrics {
    size_t n_k;
    uint32_t k[RANK_KS_MAX];
    uint64_t cases;
    /* Per row and list length: how often it stood within that length and beyond the one before. */
    uint32_t *listed;
    size_t rows;
    double info[RANK_KS_MAX], places[RANK_KS_MAX]; /* in the same way, over all rows */
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
    free(m->listed);
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

static int reserve_rows(struct rankmetrics *m, size_t rows) {
    if (rows <= m->rows)
        return 0;
    size_t n = MAX(rows, 2 * m->rows);
    uint32_t *listed = reallocarray(m->listed, n * m->n_k, sizeof *listed);
    if (!listed)
        return -ENOMEM;
    memset(listed + m->rows * m->n_k, 0, (n - m->rows) * m->n_k * sizeof *listed);
    m->listed = listed;
    m->rows = n;
    return 0;
}

int rankmetrics_listed(struct rankmetrics *m, const uint32_t *rows, const float *info, size_t n) {
    size_t band = 0;
    for (size_t i = 0; i < n; i++) {
        while (band < m->n_k && i >= m->k[band])
            band++;
        if (band == m->n_k)
            break;
        int r = reserve_rows(m, (size_t)rows[i] + 1);
        if (r < 0)
            return r;
        m->listed[rows[i] * m->n_k + band]++;
        m->info[band] += info ? (double)info[i] : 0;
        m->places[band]++;
    }
    return 0;
}

int rankmetrics_merge(struct rankmetrics *to, const struct rankmetrics *from) {
    if (to->n_k != from->n_k || memcmp(to->k, from->k, to->n_k * sizeof *to->k) != 0)
        return -EINVAL;
    int r = reserve_rows(to, from->rows);
    if (r < 0)
        return r;
    for (size_t i = 0; i < from->rows * from->n_k; i++)
        to->listed[i] += from->listed[i];
    for (size_t i = 0; i < to->n_k; i++) {
        to->info[i] += from->info[i];
        to->places[i] += from->places[i];
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

uint64_t rankmetrics_times(const struct rankmetrics *m, size_t i, uint32_t row) {
    uint64_t times = 0;
    for (size_t band = 0; row < m->rows && band <= i; band++)
        times += m->listed[row * m->n_k + band];
    return times;
}

uint64_t rankmetrics_covered(const struct rankmetrics *m, size_t i) {
    uint64_t rows = 0;
    for (size_t row = 0; row < m->rows; row++)
        rows += rankmetrics_times(m, i, (uint32_t)row) > 0;
    return rows;
}

static int by_count(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

double rankmetrics_gini(const struct rankmetrics *m, size_t i, uint64_t catalogue) {
    uint64_t n = 0, *times = malloc(MAX(m->rows, (size_t)1) * sizeof *times);
    double sum = 0, weighted = 0;
    if (!times)
        return NAN;
    for (size_t row = 0; row < m->rows; row++)
        if ((times[n] = rankmetrics_times(m, i, (uint32_t)row)) > 0)
            n++;
    qsort(times, n, sizeof *times, by_count);
    /* rows that no list has stand before them, with nothing */
    double all = (double)MAX(catalogue, n), before = all - (double)n;
    for (uint64_t j = 0; j < n; j++) {
        sum += (double)times[j];
        weighted += (2 * (before + (double)j + 1) - all - 1) * (double)times[j];
    }
    free(times);
    return weighted / (all * sum);
}

double rankmetrics_novelty(const struct rankmetrics *m, size_t i) {
    double info = 0, places = 0;
    for (size_t band = 0; band <= i; band++) {
        info += m->info[band];
        places += m->places[band];
    }
    return info / places;
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
