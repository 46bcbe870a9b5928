#include "consumer/engine.h"

#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include "consumer/campaign_file.h"
#include "consumer/control.h"
#include "consumer/globals.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/publish.h"
#include "consumer/redis.h"
#include "consumer/warden.h"

enum { WORKERS_MAX = 64 };

struct engine_worker {
    struct engine *engine;
    struct stream_config stream;
    struct metrics metrics;
    struct campaign_sums *sums; /* per campaign */
    pthread_t thread;
    atomic_int end; /* enum stream_end, -1: running */
};

struct engine {
    struct engine_config c;
    const struct config *cfg;
    struct world *world;
    struct globals *globals;
    struct restorer *restorer;
    atomic_bool stop; /* ours: set when the caller's is, or when a worker ended */
    atomic_uint owned;
    atomic_bool leads;
    int32_t partitions;
    struct metrics shared_metrics; /* of the globals thread */
    struct engine_worker *worker;
    size_t n_workers, n_started;
    struct publisher *publisher;
    struct metrics_server *server;
    struct warden *warden;
};

/* ---- start ---- */

static int32_t usual_workers(const struct config *cfg) {
    if (cfg->app_workers)
        return (int32_t)cfg->app_workers;
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > WORKERS_MAX ? WORKERS_MAX : (int32_t)n;
}

/* Missing topics; the changelog has as many partitions as the clickstream, because
 * a user's state lives in the partition of the same number. */
static int prepare_topics(struct engine *e) {
    const struct config *cfg = e->cfg;
    const char *props[] = {"group.id", cfg->app_name, NULL}; /* not to join it */
    rd_kafka_t *rk = kafka_client(cfg, RD_KAFKA_CONSUMER, props);
    if (!rk)
        return -EINVAL;
    int32_t n = (int32_t)cfg->topics_partitions, have = 0;
    const struct topic_spec first[] = {
        {cfg->topics_clickstream, n, false}, {cfg->topics_items, n, true},
        {cfg->topics_control, n, true},      {cfg->topics_triggers, n, false},
        {cfg->topics_decisions, n, false},   {cfg->topics_outcomes, n, false},
        {cfg->topics_dlq, n, false},
    };
    int r = kafka_ensure_topics(cfg, rk, first, ARRAY_LEN(first), e->c.stop);
    if (r == 0)
        r = kafka_partitions(rk, cfg->topics_clickstream, e->c.stop, &e->partitions);
    if (r == 0) {
        char changelog[256], model[256];
        snprintf(changelog, sizeof changelog, "beckon-%s-changelog", cfg->app_name);
        snprintf(model, sizeof model, "beckon-%s-model", cfg->app_name);
        const struct topic_spec own[] = {{changelog, e->partitions, true}, {model, 1, true}};
        r = kafka_ensure_topics(cfg, rk, own, ARRAY_LEN(own), e->c.stop);
        if (r == 0)
            r = kafka_partitions(rk, changelog, e->c.stop, &have);
        if (r == 0 && have < e->partitions) {
            log_error("changelog-too-small",
                      "topic=%s partitions=%d clickstream=%d fix=\"give it as many partitions as "
                      "the clickstream\"",
                      changelog, have, e->partitions);
            r = -EINVAL;
        }
    }
    rd_kafka_destroy(rk);
    return r;
}

static void *worker_main(void *arg) {
    struct engine_worker *w = arg;
    enum stream_end end = stream_run(&w->stream);
    atomic_store(&w->end, end);
    if (end != STREAM_STOPPED)
        atomic_store(&w->engine->stop, true);
    return NULL;
}

static int start_workers(struct engine *e) {
    for (size_t i = 0; i < e->n_workers; i++) {
        struct engine_worker *w = &e->worker[i];
        w->engine = e;
        w->stream = (struct stream_config){
            .world = e->world,
            .restorer = e->restorer,
            .index = (uint32_t)i,
            .metrics = &w->metrics,
            .stop = &e->stop,
            .partitions = e->partitions,
            .owned = &e->owned,
            .leads = &e->leads,
            .static_member = e->c.static_member,
            .hooks = e->c.hooks,
            .sums = w->sums,
        };
        int r = pthread_create(&w->thread, NULL, worker_main, w);
        if (r)
            return -r;
        e->n_started++;
    }
    return 0;
}

/* Where only one process may run, nothing can be on its way to another. */
static int start_warden(struct engine *e) {
    char model[256];
    snprintf(model, sizeof model, "beckon-%s-model", e->cfg->app_name);
    return e->world->exact
               ? 0
               : warden_start(e->cfg, e->cfg->topics_clickstream, e->partitions, model, &e->warden);
}

/* What people paused is paused from the first event on. */
static int obey_control(struct engine *e) {
    autofree(control_free) struct control *c = NULL;
    int r = control_new(e->world, &c);
    if (r == 0 && policy_campaigns(e->world->policies) && control_read(c) < 0)
        log_warning("control-not-read", "redis=%s pauses=none", log_q(e->cfg->redis_address));
    return r;
}

/* ---- what others ask ---- */

void engine_metrics(const struct engine *e, struct metrics *ret) {
    const struct metrics *all[1 + WORKERS_MAX + RESTORER_THREADS_MAX] = {&e->shared_metrics};
    size_t n = 1;
    for (size_t i = 0; i < e->n_workers; i++)
        all[n++] = &e->worker[i].metrics;
    for (size_t i = 0; i < restorer_threads(e->restorer); i++)
        all[n++] = restorer_metrics(e->restorer, i);
    metrics_merge(all, n, ret);
}

void engine_campaign(const struct engine *e, size_t campaign, struct campaign_sums *ret) {
    *ret = (struct campaign_sums){0};
    for (size_t i = 0; i < e->n_workers; i++)
        campaign_sums_add(ret, &e->worker[i].sums[campaign]);
}

static void collect(void *ctx, struct metrics *ret) {
    engine_metrics(ctx, ret);
}

static bool healthy(void *ctx, char *why, size_t n) {
    const struct engine *e = ctx;
    for (size_t i = 0; i < e->n_workers; i++) {
        const char *fault = atomic_load(&e->worker[i].end) >= 0 ? "has ended"
                            : metric_gauge(&e->worker[i].metrics.paused) != 0
                                ? "is paused: Redis is away"
                                : NULL;
        if (fault) {
            snprintf(why, n, "worker %zu %s", i, fault);
            return false;
        }
    }
    return true;
}

/* ---- life ---- */

static void engine_free(struct engine *e) {
    if (!e)
        return;
    metrics_stop(e->server);
    warden_stop(e->warden);
    globals_stop(e->globals);
    restorer_free(e->restorer);
    for (size_t i = 0; e->worker && i < e->n_workers; i++)
        free(e->worker[i].sums);
    free(e->worker);
    world_free(e->world);
    free(e);
}
DEFINE_CLEANUP(struct engine, engine_free)

int engine_start(const struct engine_config *c, struct engine **ret) {
    autofree(engine_free) struct engine *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->c = *c;
    e->cfg = c->cfg;
    autofree(policy_set_free) struct policy_set *policies = NULL;
    int r = campaign_file_load(c->cfg, &policies);
    uint64_t drawn[2] = {0};
    if (getrandom(drawn, sizeof drawn, 0) < 0)
        return -errno;
    if (r == 0)
        r = world_new(c->cfg, TAKE(policies), drawn[0], &e->world);
    autofree(redis_free) struct redis *redis = NULL;
    if (r == 0)
        r = redis_new(c->cfg, &redis); /* what is wrong with it is known before anything begins */
    if (r == 0)
        r = prepare_topics(e);
    if (r < 0)
        return r;
    e->world->partitions = e->partitions;
    e->world->run = drawn[1];
    e->n_workers = e->world->exact ? 1 : (size_t)MIN(usual_workers(c->cfg), e->partitions);
    e->worker = calloc(e->n_workers, sizeof *e->worker);
    if (!e->worker)
        return -ENOMEM;
    for (size_t i = 0; i < e->n_workers; i++)
        atomic_store(&e->worker[i].end, -1);
    for (size_t i = 0; i < e->n_workers; i++)
        if (!(e->worker[i].sums =
                  calloc(policy_campaigns(e->world->policies) + 1, sizeof *e->worker[i].sums)))
            return -ENOMEM;
    r = globals_start(e->world, &e->shared_metrics, &e->leads, c->stop, &e->globals);
    if (r == 0)
        r = restorer_new(e->world, &e->stop, &e->restorer);
    if (r == 0 && *c->cfg->app_metrics_listen)
        r = metrics_serve(c->cfg->app_metrics_listen, &(struct metrics_source){e, collect, healthy},
                          &e->server);
    if (r == 0)
        r = obey_control(e);
    if (r == 0)
        r = start_workers(e);
    if (r == 0)
        r = start_warden(e);
    if (r == 0)
        r = publisher_start(e, e->cfg, &e->publisher);
    if (r < 0) {
        atomic_store(&e->stop, true);
        for (size_t i = 0; i < e->n_started; i++)
            pthread_join(e->worker[i].thread, NULL);
        return r;
    }
    log_info("started", "app=%s instance=%s workers=%zu partitions=%d campaigns=%zu guarantee=%s",
             c->cfg->app_name, c->cfg->app_instance, e->n_workers, e->partitions,
             policy_campaigns(e->world->policies),
             c->cfg->stream_guarantee == EXACTLY_ONCE ? "exactly-once" : "at-least-once");
    *ret = TAKE(e);
    return 0;
}

bool engine_running(const struct engine *e) {
    for (size_t i = 0; i < e->n_workers; i++)
        if (atomic_load(&e->worker[i].end) >= 0)
            return false;
    return !globals_failed(e->globals);
}

enum stream_end engine_finish(struct engine *e) {
    while (engine_running(e) && !atomic_load(e->c.stop))
        poll(NULL, 0, 50);
    atomic_store(&e->stop, true);
    enum stream_end worst = STREAM_STOPPED;
    for (size_t i = 0; i < e->n_workers; i++) {
        pthread_join(e->worker[i].thread, NULL);
        worst = MAX(worst, (enum stream_end)atomic_load(&e->worker[i].end));
    }
    if (globals_failed(e->globals))
        worst = MAX(worst, STREAM_FAILED);
    publisher_stop(e->publisher);
    engine_free(e);
    return worst;
}

struct world *engine_world(struct engine *e) {
    return e->world;
}
