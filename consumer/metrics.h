/* Counters, gauges and latencies (metrics.def). Each worker has a struct metrics that it alone
 * writes; any thread may read or merge it at any time (relaxed atomics: a reader may see one
 * number newer than another). */
#pragma once

#include <stdatomic.h>

#include "consumer/decode.h"
#include "policy/policy.h"

/* Two buckets per octave from 8 µs to 25 minutes, and one for what is longer. */
enum { HIST_BUCKETS = 56, HIST_SHIFT = 3 };
struct hist {
    _Atomic uint64_t bucket[HIST_BUCKETS + 1];
    _Atomic uint64_t sum_us, max_us;
};

struct metrics {
#define X(kind, field, name, help) METRIC_TYPE_##kind field;
#define LABELLED(field, name, label, count, rows, help) _Atomic uint64_t field[count];
#define METRIC_TYPE_COUNTER _Atomic uint64_t
#define METRIC_TYPE_SUM _Atomic int64_t
#define METRIC_TYPE_MAX _Atomic int64_t
#define METRIC_TYPE_AGE _Atomic int64_t
#define METRIC_TYPE_HIST struct hist
#include "consumer/metrics.def"
#undef X
#undef LABELLED
};

/* The writer's side: plain loads and stores, as nobody else writes. */
static inline void metric_add(_Atomic uint64_t *m, uint64_t n) {
    atomic_store_explicit(m, atomic_load_explicit(m, memory_order_relaxed) + n,
                          memory_order_relaxed);
}
static inline void metric_total(_Atomic uint64_t *m, uint64_t n) { /* a counter kept elsewhere */
    atomic_store_explicit(m, n, memory_order_relaxed);
}
static inline void metric_set(_Atomic int64_t *m, int64_t v) {
    atomic_store_explicit(m, v, memory_order_relaxed);
}
void hist_add(struct hist *h, int64_t us); /* negative counts as 0 */

static inline uint64_t metric_get(const _Atomic uint64_t *m) {
    return atomic_load_explicit(m, memory_order_relaxed);
}
static inline int64_t metric_gauge(const _Atomic int64_t *m) {
    return atomic_load_explicit(m, memory_order_relaxed);
}
static inline int64_t metrics_bytes_per_user(const struct metrics *m) { /* 0: no users */
    int64_t users = metric_gauge(&m->users);
    return users > 0 ? metric_gauge(&m->user_bytes) / users : 0;
}
uint64_t hist_count(const struct hist *h);
/* The value, in µs, that a share q of the samples do not exceed; NAN if there are none.
 * Interpolated within a bucket, whose ends differ by a factor of √2. */
double hist_percentile(const struct hist *h, double q);

/* All workers' numbers as one; `ret` need not be initialised. */
void metrics_merge(const struct metrics *const *all, size_t n, struct metrics *ret);
/* Appends the Prometheus text format, version 0.0.4. */
void metrics_prometheus(const struct metrics *m, struct buf *out);

/* ---- over HTTP ------------------------------------------------------------- */

struct metrics_source {
    void *ctx;
    /* Called on the server's thread. */
    void (*collect)(void *ctx, struct metrics *ret);
    bool (*healthy)(void *ctx, char *why, size_t n); /* false: `why` says what is wrong */
};

/* Serves GET /metrics and GET /health (200, or 503 with the reason) at "address:port",
 * "[v6 address]:port" or ":port", which is 127.0.0.1. Logs one line and returns -errno if that
 * cannot be; -EINVAL for a bad address. */
struct metrics_server;
int metrics_serve(const char *listen, const struct metrics_source *source,
                  struct metrics_server **ret);
unsigned
metrics_port(const struct metrics_server *s); /* the one bound, where port 0 was asked for */
void metrics_stop(struct metrics_server *s);
DEFINE_CLEANUP(struct metrics_server, metrics_stop)

struct sockaddr_storage;
/* "address:port" (numeric, or localhost) as a socket address. 0 or -EINVAL. */
int listen_parse(const char *text, struct sockaddr_storage *ret);
