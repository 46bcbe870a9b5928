/* How long reading a million users back takes: BECKON_TEST_BROKERS names a broker, to which a
 * changelog of four partitions is written first. The users are some thousands that a simulated shop
 * made, with all they have, each again under other ids. The catalogue is known, as it is when
 * a service has started.
 *
 * Usage: bench_restore [users [section.key=value ...]] */
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/campaign_file.h"
#include "consumer/clock.h"
#include "consumer/kafka_util.h"
#include "consumer/restorer.h"
#include "consumer/sim.h"
#include "consumer/worker.h"

enum { PARTITIONS = 4, MODELS = 5000, EVENTS = 50000 };

static void die(const char *what) {
    fprintf(stderr, "bench_restore: %s\n", what);
    exit(1);
}

static void live(struct world *w, struct lane *l) {
    struct sim_config c;
    struct sim *sim;
    struct worker *worker;
    static struct metrics metrics;
    static const struct sink nowhere;
    sim_config_default(&c);
    c.users = MODELS;
    c.items = 10000;
    if (sim_new(&c, &sim) < 0 || worker_new(w, 0, &nowhere, &metrics, &worker) < 0)
        die("no memory");
    worker_set_ranking(worker, false);
    for (size_t i = 0; i < EVENTS; i++) {
        struct input in = {.lane = l};
        sim_next(sim, &in.ev);
        if (worker_step(worker, &in, 1, in.ev.time_ms) < 0)
            die("no memory");
    }
    worker_free(worker);
    sim_free(sim);
}

struct output {
    rd_kafka_t *producer;
    const char *topic;
    size_t copies, users, bytes;
};

static int put(void *ctx, const void *key, size_t key_n, const void *value, size_t value_n) {
    struct output *o = ctx;
    char id[256];
    if (*(const char *)key != 'u' || key_n > 200)
        return 0;
    for (size_t i = 0; i < o->copies; i++, o->users++) {
        int n = snprintf(id, sizeof id, "%.*s.%zu", (int)key_n, (const char *)key, i);
        while (rd_kafka_producev(o->producer, RD_KAFKA_V_TOPIC(o->topic),
                                 RD_KAFKA_V_PARTITION((int32_t)(o->users % PARTITIONS)),
                                 RD_KAFKA_V_KEY(id, (size_t)n),
                                 RD_KAFKA_V_VALUE((void *)(uintptr_t)value, value_n),
                                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                 RD_KAFKA_V_END) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(o->producer, 50);
        rd_kafka_poll(o->producer, 0);
        o->bytes += (size_t)n + value_n;
    }
    return 0;
}

static size_t write_changelog(const struct config *cfg, struct lane *l, size_t users) {
    char topic[256];
    snprintf(topic, sizeof topic, "beckon-%s-changelog", cfg->app_name);
    const char *const props[] = {"linger.ms", "20", "queue.buffering.max.kbytes", "262144", NULL};
    struct output o = {.producer = kafka_client(cfg, RD_KAFKA_PRODUCER, props), .topic = topic};
    const struct topic_spec spec = {topic, PARTITIONS, true};
    if (!o.producer || kafka_ensure_topics(cfg, o.producer, &spec, 1, NULL) < 0)
        die("no topic");
    o.copies = users / shard_users(l->users) + 1;
    if (lane_changes(l, put, &o) < 0 || rd_kafka_flush(o.producer, 120000))
        die("the changelog was not written");
    rd_kafka_destroy(o.producer);
    return o.bytes;
}

static void read_back(struct world *w, size_t bytes) {
    static const atomic_bool stop;
    struct restorer *r;
    struct lane *lane[PARTITIONS] = {0};
    size_t users = 0;
    int64_t start = clock_mono_us();
    if (restorer_new(w, &stop, &r) < 0)
        die("no restorer");
    for (int32_t p = 0; p < PARTITIONS; p++)
        restorer_begin(r, p);
    for (int left = PARTITIONS; left;)
        for (int32_t p = 0; p < PARTITIONS; p++) {
            struct restored done;
            int e = lane[p] ? 0 : restorer_take(r, p, &done);
            if (e < 0)
                die("not read back");
            if (e == 0) {
                poll(NULL, 0, 1);
                continue;
            }
            lane[p] = done.lane;
            users += shard_users(done.lane->users);
            left--;
        }
    double s = (double)(clock_mono_us() - start) / 1e6;
    printf("%zu users, %.0f MB in %.2f s: %.0f users/s, %.0f MB/s\n", users, (double)bytes / 1e6, s,
           (double)users / s, (double)bytes / 1e6 / s);
    for (int32_t p = 0; p < PARTITIONS; p++)
        lane_free(lane[p]);
    restorer_free(r);
}

int main(int argc, char **argv) {
    const char *brokers = getenv("BECKON_TEST_BROKERS");
    if (!brokers) {
        printf("BECKON_TEST_BROKERS names no broker\n");
        return 77;
    }
    char kafka[512], app[64];
    snprintf(kafka, sizeof kafka, "kafka.bootstrap.servers=%s", brokers);
    snprintf(app, sizeof app, "app.name=restore-%d-%lld", getpid(), (long long)clock_wall_ms());
    char *set[64] = {kafka, app};
    size_t n = 2;
    for (int i = 2; i < argc && n < ARRAY_LEN(set); i++)
        set[n++] = argv[i];
    struct config *cfg = NULL;
    struct policy_set *policies = NULL;
    struct world *w;
    struct lane *l;
    if (config_load(NULL, set, n, &cfg) < 0 || campaign_file_load(cfg, &policies) < 0 ||
        world_new(cfg, policies, 1, &w) < 0)
        die("no world");
    w->partitions = PARTITIONS;
    if (lane_new(w, 0, &l) < 0)
        die("no memory");
    live(w, l);
    size_t bytes = write_changelog(cfg, l, argc > 1 ? strtoul(argv[1], NULL, 10) : 1000000);
    lane_free(l);
    for (int i = 0; i < 3; i++)
        read_back(w, bytes);
    world_free(w);
    config_free(cfg);
    return 0;
}
