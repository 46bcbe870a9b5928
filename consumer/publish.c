#include "consumer/publish.h"

#include <math.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/clock.h"

enum { STATS_MS = 1000, TICK_MS = 50, LEARNER_INDEX = 1000 };

struct publisher {
    struct engine *engine;
    const struct config *cfg;
    struct cache *cache;
    struct learner *learner;
    struct metrics metrics;
    struct list list;
    uint64_t last_events;
    int64_t started_us, last_us;
    atomic_bool quit;
    pthread_t thread;
};

/* A hash being put together; keys and values live in it. */
struct fields {
    struct key_value kv[128];
    char key[128][48], value[128][64];
    size_t n;
};

__attribute__((format(printf, 3, 4))) static void field(struct fields *f, const char *key,
                                                        const char *fmt, ...) {
    if (f->n == ARRAY_LEN(f->kv))
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->value[f->n], sizeof f->value[0], fmt, ap);
    va_end(ap);
    snprintf(f->key[f->n], sizeof f->key[0], "%s", key);
    f->kv[f->n] = (struct key_value){.key = f->key[f->n], .value = f->value[f->n]};
    f->n++;
}

static void count(struct fields *f, const char *key, const _Atomic uint64_t *m) {
    field(f, key, "%llu", (unsigned long long)metric_get(m));
}

static void gauge(struct fields *f, const char *key, const _Atomic int64_t *m) {
    field(f, key, "%lld", (long long)metric_gauge(m));
}

static void percentiles(struct fields *f, const char *what, const struct hist *h) {
    static const int q[] = {50, 99};
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        double us = hist_percentile(h, q[i] / 100.0);
        char key[48];
        snprintf(key, sizeof key, "%s_p%d", what, q[i]);
        if (!isnan(us))
            field(f, key, "%.1f", us / 1000);
    }
}

/* One field per row of a labelled counter that is not zero; returns their sum. */
static uint64_t by_reason(struct fields *f, const char *what, const _Atomic uint64_t *m, int n,
                          const char *(*name)(int)) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        uint64_t v = metric_get(&m[i]);
        char key[48];
        snprintf(key, sizeof key, "%s:%s", what, name(i));
        if (v)
            field(f, key, "%llu", (unsigned long long)v);
        sum += v;
    }
    return sum;
}

static const char *dead_name(int i) {
    return dead_reason_name((enum dead_reason)i);
}

static const char *policy_name(int i) {
    return policy_reason_name((enum policy_reason)i);
}

static void publish_stats(struct publisher *p) {
    struct fields f;
    f.n = 0;
    struct metrics *m = &p->metrics;
    engine_metrics(p->engine, m);
    int64_t now = clock_mono_us();
    uint64_t events = metric_get(&m->events);
    field(&f, "updated_ms", "%lld", (long long)clock_wall_ms());
    field(&f, "uptime_s", "%lld", (long long)(now - p->started_us) / 1000000);
    count(&f, "events", &m->events);
    field(&f, "events_per_s", "%.0f",
          (double)(events - p->last_events) * 1e6 / (double)MAX(1, now - p->last_us));
    p->last_events = events;
    p->last_us = now;
    gauge(&f, "lag", &m->lag);
    gauge(&f, "paused", &m->paused);
    gauge(&f, "partitions", &m->partitions);
    gauge(&f, "restoring", &m->restoring);
    count(&f, "commits", &m->commits);
    count(&f, "aborts", &m->aborts);
    percentiles(&f, "event_to_list_ms", &m->list_latency);
    percentiles(&f, "batch_ms", &m->batch_latency);
    percentiles(&f, "redis_ms", &m->redis_latency);
    percentiles(&f, "commit_ms", &m->commit_latency);
    count(&f, "lists_written", &m->lists_written);
    count(&f, "lists_unchanged", &m->lists_unchanged);
    gauge(&f, "users", &m->users);
    gauge(&f, "items", &m->items);
    gauge(&f, "bytes_per_user", &m->bytes_per_user);
    gauge(&f, "bytes_per_item", &m->bytes_per_item);
    count(&f, "learn_steps", &m->learn_steps);
    count(&f, "nan_guarded", &m->learn_nan);
    count(&f, "floods", &m->floods);
    count(&f, "bots", &m->bots);
    count(&f, "duplicates", &m->duplicates);
    count(&f, "triggers_sent", &m->triggers);
    by_reason(&f, "suppressed", m->suppressed, PR_COUNT, policy_name);
    uint64_t dead = by_reason(&f, "dead", m->dead, DEAD_COUNT, dead_name);
    field(&f, "dead_letters", "%llu", (unsigned long long)dead);
    cache_hash(p->cache, "stats", (struct str){0}, f.kv, f.n);
}

static void publish_campaigns(struct publisher *p) {
    const struct policy_set *set = engine_world(p->engine)->policies;
    for (size_t c = 0; c < policy_campaigns(set); c++) {
        struct fields f;
        f.n = 0;
        struct str channel = policy_campaign_channel(set, c);
        field(&f, "channel", "%.*s", (int)channel.n, channel.p);
        for (int r = 0; r < PR_COUNT; r++) {
            uint64_t n = engine_decisions(p->engine, c, (enum policy_reason)r);
            char key[48];
            snprintf(key, sizeof key, r == PR_SENT ? "%s" : "suppressed:%s", policy_name(r));
            if (n || r == PR_SENT)
                field(&f, key, "%llu", (unsigned long long)n);
        }
        cache_hash(p->cache, "campaign", policy_campaign_id(set, c), f.kv, f.n);
    }
}

static void publish_trending(struct publisher *p) {
    struct cache_entry entries[TOP_MAX];
    struct world *w = engine_world(p->engine);
    pthread_rwlock_rdlock(&w->model_lock);
    model_trending(p->learner, (uint32_t)p->cfg->lists_n,
                   __atomic_load_n(&w->now_ms, __ATOMIC_RELAXED), &p->list);
    for (uint32_t i = 0; i < p->list.n; i++) {
        struct item_view v;
        model_item_view(w->model, p->list.e[i].item, &v);
        entries[i] = (struct cache_entry){v.id, p->list.e[i].score};
    }
    cache_trending(p->cache, entries, p->list.n);
    pthread_rwlock_unlock(&w->model_lock);
}

static void *publish(void *arg) {
    struct publisher *p = arg;
    int64_t stats_due_us = 0, trending_due_us = 0;
    for (bool last = false; !last;) {
        last = atomic_load(&p->quit);
        int64_t now = clock_mono_us();
        if (cache_wiped(p->cache))
            stats_due_us = trending_due_us = 0;
        /* While Redis is away nothing piles up here: the numbers come again. */
        bool room = cache_pending(p->cache) == 0;
        if (room && (last || now >= stats_due_us)) {
            publish_stats(p);
            publish_campaigns(p);
            stats_due_us = now + STATS_MS * 1000;
        }
        if (room && (last || now >= trending_due_us)) {
            publish_trending(p);
            trending_due_us = now + p->cfg->lists_trending_interval * 1000;
        }
        if (cache_pending(p->cache) && cache_send(p->cache) == 0)
            cache_wait(p->cache);
        if (!last)
            poll(NULL, 0, TICK_MS);
    }
    return NULL;
}

static void publisher_free(struct publisher *p) {
    if (!p)
        return;
    cache_free(p->cache);
    learner_free(p->learner);
    free(p);
}
DEFINE_CLEANUP(struct publisher, publisher_free)

int publisher_start(struct engine *e, const struct config *cfg, struct publisher **ret) {
    autofree(publisher_free) struct publisher *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->engine = e;
    p->cfg = cfg;
    p->started_us = p->last_us = clock_mono_us();
    int r = cache_new(cfg, &p->cache);
    if (r == 0)
        r = learner_new(engine_world(e)->model, LEARNER_INDEX, &p->learner);
    if (r == 0)
        r = -pthread_create(&p->thread, NULL, publish, p);
    if (r == 0)
        *ret = TAKE(p);
    return r;
}

void publisher_stop(struct publisher *p) {
    if (!p)
        return;
    atomic_store(&p->quit, true);
    pthread_join(p->thread, NULL);
    publisher_free(p);
}
