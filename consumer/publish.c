#include "consumer/publish.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/control.h"
#include "consumer/experiment_view.h"
#include "consumer/log.h"
#include "consumer/processes.h"
#include "consumer/ranker_view.h"
#include "policy/deep.h"

enum { STATS_MS = 1000, CONTROL_MS = 500, OWN_TTL_MS = 10000, TICK_MS = 50, LEARNER_INDEX = 1000 };

struct publisher {
    struct engine *engine;
    const struct config *cfg;
    struct cache *cache;
    struct processes *processes;
    struct tally own, all;
    struct learner *learner;
    struct control *control;
    struct metrics metrics;
    struct list list;
    uint64_t last_events;
    int64_t started_us, last_us;
    atomic_bool quit;
    pthread_t thread;
};

static void count(struct tally *t, const char *key, const _Atomic uint64_t *m) {
    tally_put(t, key, "%llu", (unsigned long long)metric_get(m));
}

static void gauge(struct tally *t, const char *key, const _Atomic int64_t *m) {
    tally_put(t, key, "%lld", (long long)metric_gauge(m));
}

static void percentiles(struct tally *t, const char *what, const struct hist *h) {
    static const int q[] = {50, 99};
    for (size_t i = 0; i < ARRAY_LEN(q); i++) {
        double us = hist_percentile(h, q[i] / 100.0);
        char key[48];
        snprintf(key, sizeof key, "%s_p%d", what, q[i]);
        if (!isnan(us))
            tally_put(t, key, "%.1f", us / 1000);
    }
}

/* One field per row of a labelled counter that is not zero; returns their sum. */
static uint64_t by_reason(struct tally *t, const char *what, const _Atomic uint64_t *m, int n,
                          const char *(*name)(int)) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        uint64_t v = metric_get(&m[i]);
        char key[48];
        snprintf(key, sizeof key, "%s:%s", what, name(i));
        if (v)
            tally_put(t, key, "%llu", (unsigned long long)v);
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

/* A field of beckon:stats:{INSTANCE} that is for a campaign: "campaign:NAME:ID". */
static const char campaign_prefix[] = "campaign:";

static void campaign_key(char out[TALLY_KEY], const char *name, struct str id) {
    snprintf(out, TALLY_KEY, "%s%s:%.*s", campaign_prefix, name, (int)id.n, id.p);
}

static void put_campaign(struct tally *t, const char *name, struct str id, uint64_t n) {
    char key[TALLY_KEY];
    campaign_key(key, name, id);
    if (n)
        tally_put(t, key, "%llu", (unsigned long long)n);
}

static void put_campaigns(struct publisher *p, struct tally *t) {
    const struct policy_set *set = engine_world(p->engine)->policies;
    struct campaign_sums all = {0};
    for (size_t c = 0; c < policy_campaigns(set); c++) {
        struct campaign_sums sums;
        struct str id = policy_campaign_id(set, c);
        engine_campaign(p->engine, c, &sums);
        campaign_sums_add(&all, &sums);
        for (int r = 0; r < PR_COUNT; r++)
            put_campaign(t, policy_name(r), id, sums.reason[r]);
        for (int k = 0; k < CC_COUNT; k++)
            put_campaign(t, campaign_count_name((enum campaign_count)k), id, sums.count[k]);
        for (int k = 0; k < CM_COUNT && sums.count[CC_OUTCOMES]; k++) {
            char key[TALLY_KEY];
            campaign_key(key, campaign_money_name((enum campaign_money)k), id);
            tally_put(t, key, "%.2f", (double)sums.money[k]);
        }
    }
    for (int k = 0; k < CC_COUNT && policy_campaigns(set); k++)
        count(t, campaign_count_name((enum campaign_count)k), &all.count[k]);
    for (int k = 0; k < CM_COUNT && policy_campaigns(set); k++)
        tally_put(t, campaign_money_name((enum campaign_money)k), "%.2f", (double)all.money[k]);
}

static void publish_own(struct publisher *p) {
    struct tally *t = &p->own;
    tally_clear(t);
    struct metrics *m = &p->metrics;
    engine_metrics(p->engine, m);
    int64_t now = clock_mono_us();
    uint64_t events = metric_get(&m->events);
    tally_put(t, "uptime_s", "%lld", (long long)(now - p->started_us) / 1000000);
    count(t, "events", &m->events);
    tally_put(t, "events_per_s", "%.0f",
              (double)(events - p->last_events) * 1e6 / (double)MAX(1, now - p->last_us));
    p->last_events = events;
    p->last_us = now;
    gauge(t, "lag", &m->lag);
    gauge(t, "paused", &m->paused);
    gauge(t, "partitions", &m->partitions);
    gauge(t, "restoring", &m->restoring);
    count(t, "commits", &m->commits);
    count(t, "aborts", &m->aborts);
    percentiles(t, "event_to_list_ms", &m->list_latency);
    percentiles(t, "batch_ms", &m->batch_latency);
    percentiles(t, "redis_ms", &m->redis_latency);
    percentiles(t, "commit_ms", &m->commit_latency);
    count(t, "lists_written", &m->lists_written);
    count(t, "lists_unchanged", &m->lists_unchanged);
    gauge(t, "users", &m->users);
    gauge(t, "items", &m->items);
    tally_put(t, "bytes_per_user", "%lld", (long long)metrics_bytes_per_user(m));
    gauge(t, "bytes_per_item", &m->bytes_per_item);
    count(t, "learn_steps", &m->learn_steps);
    count(t, "nan_guarded", &m->learn_nan);
    count(t, "heard", &m->heard);
    gauge(t, "model_lag", &m->model_lag);
    gauge(t, "leads", &m->leads);
    if (p->cfg->model_rank) {
        const struct ranker *r = model_ranker(engine_world(p->engine)->model);
        tally_put(t, "ranker_cases", "%llu", (unsigned long long)ranker_cases(r));
        tally_put(t, "ranker_loss", "%.4f", ranker_loss(r));
    }
    count(t, "floods", &m->floods);
    count(t, "bots", &m->bots);
    count(t, "duplicates", &m->duplicates);
    count(t, "refused_records", &m->refused_records);
    count(t, "triggers_sent", &m->triggers);
    by_reason(t, "suppressed", m->suppressed, PR_COUNT, policy_name);
    uint64_t dead = by_reason(t, "dead", m->dead, DEAD_COUNT, dead_name);
    tally_put(t, "dead_letters", "%llu", (unsigned long long)dead);
    put_campaigns(p, t);
    const struct policy_set *set = engine_world(p->engine)->policies;
    for (size_t i = 0; i < policy_experiments(set); i++)
        experiment_view_put(set, i, t);
    tally_write(t, p->cache, "stats", str_of(p->cfg->app_instance), OWN_TTL_MS, "");
}

/* Copies a campaign's number from the totals; if there is none, as `none` unless that is NULL. */
static void copy_campaign(struct tally *to, struct tally *all, const char *name, const char *as,
                          struct str id, const char *none) {
    char key[TALLY_KEY];
    campaign_key(key, name, id);
    const char *n = tally_get(all, key);
    if (n || none)
        tally_put(to, as, "%s", n ? n : none);
}

static void publish_campaigns(struct publisher *p, struct tally *all) {
    const struct policy_set *set = engine_world(p->engine)->policies;
    struct tally *t = &p->own;
    for (size_t c = 0; c < policy_campaigns(set); c++) {
        struct str channel = policy_campaign_channel(set, c), id = policy_campaign_id(set, c);
        tally_clear(t);
        tally_put(t, "channel", "%.*s", (int)channel.n, channel.p);
        for (int r = 0; r < PR_COUNT; r++) {
            char as[TALLY_KEY];
            bool sent = r == PR_SENT;
            snprintf(as, sizeof as, sent ? "%s" : "suppressed:%s", policy_name(r));
            copy_campaign(t, all, policy_name(r), as, id, sent ? "0" : NULL);
        }
        for (int k = 0; k < CC_COUNT; k++) {
            const char *name = campaign_count_name((enum campaign_count)k);
            copy_campaign(t, all, name, name, id, "0");
        }
        for (int k = 0; k < CM_COUNT; k++) {
            const char *name = campaign_money_name((enum campaign_money)k);
            copy_campaign(t, all, name, name, id, "0.00");
        }
        experiment_view_campaign(set, c, all, t);
        tally_write(t, p->cache, "campaign", id, 0, "");
    }
}

/* Networks of groups, of which each process trains its own: that of the one that wrote last. */
static void publish_networks(struct publisher *p) {
    const struct policy_set *set = engine_world(p->engine)->policies;
    struct tally *t = &p->own;
    for (size_t g = 0; g < policy_groups(set); g++) {
        struct deep_state s;
        if (!policy_group_deep(set, g))
            continue;
        deep_look(policy_group_deep(set, g), &s);
        tally_clear(t);
        tally_put(t, "process", "%s", p->cfg->app_instance);
        tally_put(t, "in_charge", s.leads ? "network" : "bandit");
        tally_put(t, "why", "%s", deep_why(&s));
        tally_put(t, "judged", "%llu", (unsigned long long)s.judged);
        tally_put(t, "contested", "%.0f", s.contested);
        if (!isnan(s.advantage)) {
            tally_put(t, "other_earns_more", "%.4f", s.advantage);
            tally_put(t, "other_earns_more_low", "%.4f", s.advantage - 1.645 * s.se);
            tally_put(t, "other_earns_more_high", "%.4f", s.advantage + 1.645 * s.se);
        }
        tally_put(t, "unfamiliar_percent", "%.1f", 100 * s.unfamiliar);
        tally_put(t, "steps", "%llu", (unsigned long long)s.steps);
        if (!isnan(s.loss))
            tally_put(t, "loss", "%.4f", s.loss);
        tally_put(t, "epsilon_percent", "%.1f", 100 * s.epsilon);
        tally_write(t, p->cache, "policy", policy_group_name(set, g), 0, "");
    }
}

static void publish_experiments(struct publisher *p, struct tally *all) {
    const struct policy_set *set = engine_world(p->engine)->policies;
    for (size_t i = 0; i < policy_experiments(set); i++) {
        const struct experiment_arms *e = policy_experiment(set, i);
        struct experiment_sums sums;
        experiment_view_sums(set, i, all, &sums);
        tally_clear(&p->own);
        uint32_t stop = experiment_view_results(set, i, &sums, &p->own);
        tally_write(&p->own, p->cache, "experiment", e->name, 0, "");
        policy_experiment_stop(set, i, stop);
        for (size_t a = 0; a < e->spec.n_arms; a++)
            if (stop >> a & 1)
                log_info("arm-stopped", "audit=yes experiment=%s arm=%s metric=%s users=%.0f",
                         e->name.p, e->arm[a].name.p, experiment_metric_name(e->metric),
                         sums.state.arm[a].metric[0].n);
    }
}

static void publish_totals(struct publisher *p) {
    struct tally *all = &p->all;
    tally_clear(all);
    size_t n = processes_add_up(p->processes, all);
    if (n == 0)
        return;
    tally_put(all, "updated_ms", "%lld", (long long)clock_wall_ms());
    tally_put(all, "processes", "%zu", n);
    tally_write(all, p->cache, "stats", (struct str){0}, 0, campaign_prefix);
    publish_campaigns(p, all);
    publish_networks(p);
    publish_experiments(p, all);
}

/* Reads what workers learn on, without a lock: single numbers, each as it is just now. */
static void publish_ranker(struct publisher *p) {
    struct tally *t = &p->own;
    if (!p->cfg->model_rank)
        return;
    tally_clear(t);
    ranker_view_tally(model_ranker(engine_world(p->engine)->model), t);
    tally_write(t, p->cache, "ranker", (struct str){0}, 0, "");
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

/* What is pending is in Redis. */
static bool stored(struct publisher *p) {
    return !cache_pending(p->cache) || (cache_send(p->cache) == 0 && cache_wait(p->cache) == 0);
}

static void *publish(void *arg) {
    struct publisher *p = arg;
    int64_t stats_due_us = 0, trending_due_us = 0, control_due_us = 0;
    for (bool last = false; !last;) {
        last = atomic_load(&p->quit);
        int64_t now = clock_mono_us();
        if (!last && now >= control_due_us) {
            control_read(p->control);
            control_due_us = now + CONTROL_MS * 1000;
        }
        if (cache_wiped(p->cache))
            stats_due_us = trending_due_us = 0;
        /* While Redis is away nothing piles up here: the numbers come again. */
        bool room = cache_pending(p->cache) == 0;
        if (room && (last || now >= stats_due_us)) {
            publish_own(p);
            if (stored(p)) {
                publish_totals(p);
                publish_ranker(p);
            }
            stats_due_us = now + STATS_MS * 1000;
        }
        if (room && (last || now >= trending_due_us)) {
            publish_trending(p);
            trending_due_us = now + p->cfg->lists_trending_interval * 1000;
        }
        stored(p);
        if (!last)
            poll(NULL, 0, TICK_MS);
    }
    processes_leave(p->processes);
    return NULL;
}

static void publisher_free(struct publisher *p) {
    if (!p)
        return;
    control_free(p->control);
    cache_free(p->cache);
    processes_free(p->processes);
    tally_free(&p->own);
    tally_free(&p->all);
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
        r = processes_new(cfg, &p->processes);
    if (r == 0)
        r = control_new(engine_world(e), &p->control);
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
