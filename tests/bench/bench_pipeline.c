/* Events a second through ever more of the pipeline, on the same events, in one run: librdkafka's
 * consumer alone; + decode; + learn; + rank; + Redis; and the whole engine with its transactions.
 * Run by tests/bench/pipeline, which starts a broker and a Redis and loads a file. Arguments
 * are options of the configuration (kafka.bootstrap.servers=…, redis.address=…).
 *
 * Every stage reads the whole topic from its beginning with the same number of threads; its time
 * runs from the first event to the last. */
#include <poll.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/times.h>
#include <unistd.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/engine.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"

enum { THREADS = 2, BATCH = 4096, PARTITIONS_MAX = 256 };

enum stage { CONSUME, DECODE, LEARN, RANK, REDIS, ENGINE, STAGES };
static const char *const stage_names[STAGES] = {
    "librdkafka's consumer", "+ decode", "+ learn", "+ rank", "+ Redis", "+ transactions"};

struct bench {
    const struct config *cfg;
    enum stage stage;
    struct world *world;
    int32_t partitions;
    int64_t end[PARTITIONS_MAX];
    uint64_t events;
};

struct thread {
    struct bench *b;
    uint32_t index;
    pthread_t id;
    int64_t first_us, last_us;
    uint64_t events;
    struct metrics metrics;
    struct cache *cache;
};

static void die(const char *what) {
    fprintf(stderr, "bench_pipeline: %s\n", what);
    exit(1);
}

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

/* ---- the stages that are put together here ---- */

static size_t entries(struct thread *t, const struct list *l, struct cache_entry *ret) {
    for (uint32_t i = 0; i < l->n; i++) {
        struct item_view v;
        model_item_view(t->b->world->model, l->e[i].item, &v);
        ret[i] = (struct cache_entry){v.id, l->e[i].score};
    }
    return l->n;
}

static void on_list(void *ctx, const struct user *u, const struct list *l) {
    struct thread *t = ctx;
    struct cache_entry e[TOP_MAX];
    cache_top(t->cache, u->id, e, entries(t, l, e));
}

static void on_similar(void *ctx, uint32_t item, const struct list *l) {
    struct thread *t = ctx;
    struct cache_entry e[TOP_MAX];
    struct item_view v;
    model_item_view(t->b->world->model, item, &v);
    cache_similar(t->cache, v.id, e, entries(t, l, e));
}

static void on_profile(void *ctx, const struct user *u, int64_t now_ms) {
    struct thread *t = ctx;
    cache_user(t->cache, t->b->world->model, u, now_ms);
}

static rd_kafka_t *consumer(struct thread *t, int *ret_left) {
    const char *props[] = {
        "group.id", "bench", "enable.auto.commit", "false", "enable.partition.eof", "true", NULL};
    rd_kafka_t *rk = kafka_client(t->b->cfg, RD_KAFKA_CONSUMER, props);
    if (!rk)
        die("no consumer");
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *l = rd_kafka_topic_partition_list_new(8);
    for (int32_t p = (int32_t)t->index; p < t->b->partitions; p += THREADS)
        if (t->b->end[p] > 0)
            rd_kafka_topic_partition_list_add(l, t->b->cfg->topics_clickstream, p)->offset =
                RD_KAFKA_OFFSET_BEGINNING;
    *ret_left = l->cnt;
    rd_kafka_assign(rk, l);
    rd_kafka_topic_partition_list_destroy(l);
    return rk;
}

static size_t decode_batch(struct thread *t, struct decoder *d, rd_kafka_message_t **msgs, size_t n,
                           struct lane **lanes, struct input *in) {
    size_t good = 0;
    int64_t now = clock_wall_ms();
    for (size_t i = 0; i < n; i++) {
        rd_kafka_message_t *m = msgs[i];
        struct dead why;
        in[good] = (struct input){.lane = lanes ? lanes[m->partition] : NULL, .msg = m};
        in[good].origin = (struct origin){t->b->cfg->topics_clickstream, m->partition, m->offset,
                                          rd_kafka_message_timestamp(m, NULL)};
        good += decode_event(d, m->payload, m->len, (struct str){m->key, m->key_len},
                             &in[good].origin, now, &in[good].ev, &why) == DEAD_NONE;
    }
    return good;
}

static void *run_thread(void *arg) {
    struct thread *t = arg;
    struct bench *b = t->b;
    int left;
    rd_kafka_t *rk = consumer(t, &left);
    rd_kafka_message_t **msgs = calloc(BATCH, sizeof *msgs);
    struct input *in = calloc(BATCH, sizeof *in);
    struct decoder *d = NULL;
    struct worker *w = NULL;
    struct lane *lanes[PARTITIONS_MAX] = {0};
    struct sink sink = {.ctx = t};
    if (!msgs || !in || decoder_new(b->cfg, &d) < 0)
        die("no memory");
    if (b->stage >= REDIS) {
        if (cache_new(b->cfg, &t->cache) < 0)
            die("no cache");
        sink.list = on_list;
        sink.similar = on_similar;
        sink.profile = on_profile;
    }
    if (b->stage >= LEARN) {
        if (worker_new(b->world, t->index, &sink, &t->metrics, &w) < 0)
            die("no worker");
        worker_set_ranking(w, b->stage >= RANK);
        for (int32_t p = (int32_t)t->index; p < b->partitions; p += THREADS)
            if (lane_new(b->world, p, &lanes[p]) < 0)
                die("no lane");
    }
    while (left > 0) {
        size_t n = 0;
        while (n < BATCH && left > 0) {
            rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, n ? 0 : 100);
            if (!m && n)
                break;
            if (!m)
                continue;
            if (!m->err) {
                msgs[n++] = m;
                continue;
            }
            left -= m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
            rd_kafka_message_destroy(m);
        }
        if (n && !t->first_us)
            t->first_us = clock_mono_us();
        size_t good = b->stage >= DECODE ? decode_batch(t, d, msgs, n, w ? lanes : NULL, in) : n;
        if (w && worker_step(w, in, good, clock_wall_ms()) < 0)
            die("the step failed");
        if (t->cache && (cache_send(t->cache) < 0 || cache_wait(t->cache) < 0))
            die("Redis is away");
        for (size_t i = 0; i < n; i++)
            rd_kafka_message_destroy(msgs[i]);
        decoder_reset(d);
        t->events += n;
        if (n)
            t->last_us = clock_mono_us();
    }
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    worker_free(w);
    for (size_t p = 0; p < PARTITIONS_MAX; p++)
        lane_free(lanes[p]);
    cache_free(t->cache);
    decoder_free(d);
    free(msgs);
    free(in);
    return NULL;
}

static double run_stage(struct bench *b, double *ret_cpu) {
    struct policy_set *none = NULL;
    if (policy_set_empty(&none) < 0 || world_new(b->cfg, none, 0, &b->world) < 0)
        die("no memory");
    struct thread *t = calloc(THREADS, sizeof *t);
    double cpu = cpu_seconds();
    for (uint32_t i = 0; i < THREADS; i++) {
        t[i].b = b;
        t[i].index = i;
        if (pthread_create(&t[i].id, NULL, run_thread, &t[i]))
            die("no thread");
    }
    int64_t first = INT64_MAX, last = 0;
    uint64_t events = 0;
    for (uint32_t i = 0; i < THREADS; i++) {
        pthread_join(t[i].id, NULL);
        first = t[i].first_us ? MIN(first, t[i].first_us) : first;
        last = MAX(last, t[i].last_us);
        events += t[i].events;
    }
    *ret_cpu = cpu_seconds() - cpu;
    free(t);
    world_free(b->world);
    if (events != b->events)
        die("not every event was read");
    return (double)(last - first) / 1e6;
}

/* ---- the whole engine ---- */

static double run_engine(struct bench *b, double *ret_cpu, struct metrics *m) {
    atomic_bool stop = false;
    struct engine_config ec = {.cfg = b->cfg, .stop = &stop};
    struct engine *e;
    double cpu = cpu_seconds();
    if (engine_start(&ec, &e) < 0)
        die("the engine does not start");
    int64_t first = 0, last = 0;
    uint64_t seen = 0;
    while (engine_running(e)) {
        engine_metrics(e, m);
        uint64_t n = metric_get(&m->events);
        for (int i = 0; i < DEAD_COUNT; i++)
            n += i == DEAD_DUPLICATE || i == DEAD_BEHIND ? 0 : metric_get(&m->dead[i]);
        if (n && !first)
            first = clock_mono_us();
        if (n != seen)
            last = clock_mono_us();
        seen = n;
        if (n >= b->events)
            break;
        poll(NULL, 0, 5);
    }
    *ret_cpu = cpu_seconds() - cpu;
    atomic_store(&stop, true);
    engine_finish(e); /* commits the rest */
    return (double)(last - first) / 1e6;
}

static void find_events(struct bench *b) {
    const char *props[] = {"group.id", "bench", NULL};
    rd_kafka_t *rk = kafka_client(b->cfg, RD_KAFKA_CONSUMER, props);
    if (!rk || kafka_partitions(rk, b->cfg->topics_clickstream, NULL, &b->partitions) < 0 ||
        b->partitions > PARTITIONS_MAX)
        die("no clickstream topic; see tests/bench/pipeline");
    for (int32_t p = 0; p < b->partitions; p++) {
        int64_t low;
        if (kafka_ends(rk, b->cfg->topics_clickstream, p, &low, &b->end[p], 10000))
            die("no offsets");
        b->events += (uint64_t)(b->end[p] - low);
    }
    rd_kafka_destroy(rk);
}

static void print_latency(const char *what, const struct hist *h) {
    printf("  %-16s p50 %8.1f ms   p99 %8.1f ms\n", what, hist_percentile(h, 0.5) / 1000,
           hist_percentile(h, 0.99) / 1000);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        puts("bench_pipeline: skipped; run tests/bench/pipeline, which brings broker, Redis and "
             "events");
        return 77;
    }
    char app[64];
    snprintf(app, sizeof app, "app.name=bench-%d", (int)getpid());
    char **overrides = calloc((size_t)argc + 1, sizeof *overrides);
    for (int i = 1; i < argc; i++)
        overrides[i - 1] = argv[i];
    overrides[argc - 1] = app;
    struct config *cfg;
    if (config_load(NULL, overrides, (size_t)argc, &cfg) < 0)
        return 2;
    log_set_level(LOG_WARNING);
    struct bench b = {.cfg = cfg};
    find_events(&b);
    printf("%llu events, %d partitions, %d threads\n\n", (unsigned long long)b.events, b.partitions,
           THREADS);
    printf("%-24s %10s %12s %18s %16s\n", "stage", "seconds", "events/s", "CPU µs per event",
           "of the consumer");
    double alone = 0;
    struct metrics *m = calloc(1, sizeof *m);
    for (int s = CONSUME; s < STAGES; s++) {
        double cpu, seconds;
        b.stage = (enum stage)s;
        seconds = s == ENGINE ? run_engine(&b, &cpu, m) : run_stage(&b, &cpu);
        double rate = (double)b.events / seconds;
        alone = s == CONSUME ? rate : alone;
        printf("%-24s %10.2f %12.0f %18.2f %15.1f%%\n", stage_names[s], seconds, rate,
               cpu * 1e6 / (double)b.events, 100 * rate / alone);
        fflush(stdout);
    }
    printf("\nin the whole engine:\n");
    print_latency("micro-batch", &m->batch_latency);
    print_latency("ranking", &m->rank_latency);
    print_latency("Redis pipeline", &m->redis_latency);
    print_latency("transaction", &m->commit_latency);
    printf("  lists ranked %llu, written %llu, unchanged %llu; transactions %llu\n",
           (unsigned long long)metric_get(&m->lists_ranked),
           (unsigned long long)metric_get(&m->lists_written),
           (unsigned long long)metric_get(&m->lists_unchanged),
           (unsigned long long)metric_get(&m->commits));
    printf("  bytes per user %lld, per item %lld\n", (long long)metrics_bytes_per_user(m),
           (long long)metric_gauge(&m->bytes_per_item));
    free(m);
    free(overrides);
    config_free(cfg);
    return 0;
}
