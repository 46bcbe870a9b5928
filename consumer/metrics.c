#include "consumer/metrics.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- histograms ------------------------------------------------------------ */

/* Upper end of a bucket in µs: 8 · 2^(i/2). */
static double bucket_end(size_t i) {
    return ldexp(i % 2 ? M_SQRT2 : 1.0, (int)(i / 2) + HIST_SHIFT);
}

static size_t bucket_of(uint64_t us) {
    if (us <= 1u << HIST_SHIFT)
        return 0;
    unsigned octave = 63u - (unsigned)__builtin_clzll(us); /* 2^octave <= us */
    size_t i = 2 * (size_t)(octave - HIST_SHIFT);
    i = MIN(i, HIST_BUCKETS);
    while (i < HIST_BUCKETS && (double)us > bucket_end(i)) /* two steps at most */
        i++;
    return i;
}

void hist_add(struct hist *h, int64_t us) {
    uint64_t v = us > 0 ? (uint64_t)us : 0;
    metric_add(&h->bucket[bucket_of(v)], 1);
    metric_add(&h->sum_us, v);
    if (v > metric_get(&h->max_us))
        metric_total(&h->max_us, v);
}

uint64_t hist_count(const struct hist *h) {
    uint64_t n = 0;
    for (size_t i = 0; i <= HIST_BUCKETS; i++)
        n += metric_get(&h->bucket[i]);
    return n;
}

double hist_percentile(const struct hist *h, double q) {
    const double max = (double)metric_get(&h->max_us), want = q * (double)hist_count(h);
    double below = 0;
    for (size_t i = 0; i <= HIST_BUCKETS; i++) {
        double n = (double)metric_get(&h->bucket[i]);
        if (n > 0 && below + n >= want) {
            double lo = i ? bucket_end(i - 1) : 0;
            double hi = i < HIST_BUCKETS ? MIN(bucket_end(i), max) : max;
            return hi > lo ? lo + (hi - lo) * (want - below) / n : hi;
        }
        below += n;
    }
    return below > 0 ? max : NAN;
}

/* ---- merging --------------------------------------------------------------- */

static void merge_COUNTER(_Atomic uint64_t *to, const _Atomic uint64_t *from) {
    metric_add(to, metric_get(from));
}

static void merge_SUM(_Atomic int64_t *to, const _Atomic int64_t *from) {
    metric_set(to, metric_gauge(to) + metric_gauge(from));
}

static void merge_MAX(_Atomic int64_t *to, const _Atomic int64_t *from) {
    metric_set(to, MAX(metric_gauge(to), metric_gauge(from)));
}

static void merge_AGE(_Atomic int64_t *to, const _Atomic int64_t *from) {
    merge_MAX(to, from);
}

static void merge_HIST(struct hist *to, const struct hist *from) {
    for (size_t i = 0; i <= HIST_BUCKETS; i++)
        merge_COUNTER(&to->bucket[i], &from->bucket[i]);
    merge_COUNTER(&to->sum_us, &from->sum_us);
    metric_total(&to->max_us, MAX(metric_get(&to->max_us), metric_get(&from->max_us)));
}

void metrics_merge(const struct metrics *const *all, size_t n, struct metrics *ret) {
    memset(ret, 0, sizeof *ret);
    for (size_t w = 0; w < n; w++) {
#define X(kind, field, name, help) merge_##kind(&ret->field, &all[w]->field);
#define LABELLED(field, name, label, count, rows, help)                                            \
    for (size_t i = 0; i < (count); i++)                                                           \
        merge_COUNTER(&ret->field[i], &all[w]->field[i]);
#include "consumer/metrics.def"
#undef X
#undef LABELLED
    }
}

/* ---- Prometheus ------------------------------------------------------------ */

static void put(struct buf *out, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(struct buf *out, const char *fmt, ...) {
    char line[512];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n > 0)
        buf_put(out, line, MIN((size_t)n, sizeof line - 1));
}

static void head(struct buf *out, const char *name, const char *type, const char *help) {
    put(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void put_COUNTER(struct buf *out, const char *name, const char *help,
                        const _Atomic uint64_t *m) {
    head(out, name, "counter", help);
    put(out, "%s %" PRIu64 "\n", name, metric_get(m));
}

static void put_SUM(struct buf *out, const char *name, const char *help, const _Atomic int64_t *m) {
    head(out, name, "gauge", help);
    put(out, "%s %" PRId64 "\n", name, metric_gauge(m));
}

static void put_MAX(struct buf *out, const char *name, const char *help, const _Atomic int64_t *m) {
    put_SUM(out, name, help, m);
}

static void put_AGE(struct buf *out, const char *name, const char *help, const _Atomic int64_t *m) {
    head(out, name, "gauge", help);
    put(out, "%s %.3f\n", name, (double)metric_gauge(m) / 1e3);
}

static void put_HIST(struct buf *out, const char *name, const char *help, const struct hist *h) {
    head(out, name, "histogram", help);
    uint64_t n = 0;
    for (size_t i = 0; i < HIST_BUCKETS; i++) {
        n += metric_get(&h->bucket[i]);
        put(out, "%s_bucket{le=\"%.6g\"} %" PRIu64 "\n", name, bucket_end(i) / 1e6, n);
    }
    n += metric_get(&h->bucket[HIST_BUCKETS]);
    put(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, n);
    put(out, "%s_sum %.6f\n%s_count %" PRIu64 "\n", name, (double)metric_get(&h->sum_us) / 1e6,
        name, n);
}

static void put_labelled(struct buf *out, const char *name, const char *help, const char *label,
                         const char *const *values, const _Atomic uint64_t *m, size_t n) {
    head(out, name, "counter", help);
    for (size_t i = 0; i < n; i++)
        put(out, "%s{%s=\"%s\"} %" PRIu64 "\n", name, label, values[i], metric_get(&m[i]));
}

void metrics_prometheus(const struct metrics *m, struct buf *out) {
#define ROW_NAME(sym, name, help) name,
#define X(kind, field, name, help) put_##kind(out, name, help, &m->field);
#define LABELLED(field, name, label, count, rows, help)                                            \
    {                                                                                              \
        static const char *const values[] = {rows(ROW_NAME)};                                      \
        put_labelled(out, name, help, label, values, m->field, count);                             \
    }
#include "consumer/metrics.def"
#undef X
#undef LABELLED
#undef ROW_NAME
}
