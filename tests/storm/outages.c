#include <signal.h>
#include <stdio.h>

#include "tests/storm/storm.h"

/* ---- Kafka ---- */

/* Broker 0: all of them. The brokers stay when this process ends. */
static void deploy_kafka(struct storm *st, const char *command, int broker) {
    char number[16];
    snprintf(number, sizeof number, "%d", broker);
    autofree(free) char *path = NULL;
    if (asprintf(&path, "%s/deploy/kafka", getenv("BECKON_SOURCE_ROOT")) < 0)
        test_die("out of memory");
    char *argv[] = {
        path, (char *)command, "--dir", (char *)st->kafka_dir, broker ? "--broker" : NULL, number,
        NULL};
    autofree(free) char *log = temp_dir_file(&st->s.dir, "kafka.log");
    pid_t pid = process_start(argv, log);
    while (process_running(pid))
        storm_wait(st, 50);
    int code = process_end(pid, 0, 1000);
    if (code)
        test_die("deploy/kafka %s --broker %d: %d\n%s", command, broker, code,
                 read_file(log, NULL));
    service_probe(&st->s);
}

static void kill_broker(struct storm *st, int broker) {
    autofree(free) char *path = NULL;
    if (asprintf(&path, "%s/broker-%d/pid", st->kafka_dir, broker) < 0)
        test_die("out of memory");
    autofree(free) char *pid = read_file(path, NULL);
    kill((pid_t)atoi(pid), SIGKILL);
}

static int any_broker(struct storm *st) {
    return 1 + (int)storm_draw(st, (unsigned)st->brokers);
}

static void restart(struct storm *st, int broker) {
    int64_t since = test_clock_ms();
    deploy_kafka(st, "stop", broker);
    storm_recover(st, since);
    deploy_kafka(st, "start", broker);
    storm_wait(st, 2000);
}

void strike_broker_restart(struct storm *st) {
    restart(st, any_broker(st));
}

void strike_broker_down(struct storm *st) {
    int broker = any_broker(st);
    int64_t since = test_clock_ms();
    kill_broker(st, broker);
    storm_recover(st, since);
    storm_wait(st, 3000);
    deploy_kafka(st, "start", broker);
    storm_wait(st, 2000);
}

void strike_all_brokers(struct storm *st) {
    for (int b = 1; b <= st->brokers; b++)
        kill_broker(st, b);
    storm_wait(st, 2000 + storm_draw(st, 8000));
    deploy_kafka(st, "start", 0);
    storm_recover(st, test_clock_ms());
    storm_wait(st, 2000);
}

/* Java's String.hashCode, by which Kafka spreads groups and transactions. */
static int32_t hash(const char *s) {
    uint32_t h = 0;
    for (; *s; s++)
        h = h * 31 + (unsigned char)*s;
    return (int32_t)(h & INT32_MAX);
}

static int coordinator(struct storm *st, const char *topic, const char *id) {
    const rd_kafka_metadata_t *md;
    rd_kafka_topic_t *t = rd_kafka_topic_new(st->s.probe, topic, NULL);
    int leader = -1;
    if (!rd_kafka_metadata(st->s.probe, 0, t, &md, 10000)) {
        int n = md->topics[0].partition_cnt;
        if (n > 0)
            leader = md->topics[0].partitions[hash(id) % n].leader;
        rd_kafka_metadata_destroy(md);
    }
    rd_kafka_topic_destroy(t);
    return leader > 0 ? leader : any_broker(st);
}

void strike_group_coordinator(struct storm *st) {
    restart(st, coordinator(st, "__consumer_offsets", st->s.app));
}

void strike_transaction_coordinator(struct storm *st) {
    char id[TOPIC_NAME + 8];
    snprintf(id, sizeof id, "%s-%c-0", st->s.app, storm_draw(st, 2) ? 'a' : 'b');
    restart(st, coordinator(st, "__transaction_state", id));
}

/* ---- Redis ---- */

static void tell(struct storm *st, const char *command) {
    redisReply *r = redisCommand(st->s.eye, command);
    if (!r || r->type == REDIS_REPLY_ERROR)
        test_die("%s: %s", command, r ? r->str : st->s.eye->errstr);
    freeReplyObject(r);
}

void strike_redis_restart(struct storm *st) {
    redis_server_kill(st->s.redis);
    storm_wait(st, storm_draw(st, 3000));
    service_redis_restart(&st->s);
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500);
}

void strike_redis_flush(struct storm *st) {
    tell(st, "FLUSHALL");
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500 + storm_draw(st, 1500));
}

void strike_redis_full(struct storm *st) {
    tell(st, "CONFIG SET maxmemory 1");
    storm_wait(st, 500 + storm_draw(st, 3000));
    tell(st, "CONFIG SET maxmemory 0");
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500);
}

void strike_redis_hang(struct storm *st) {
    redis_server_hang(st->s.redis);
    storm_wait(st, 1500 + storm_draw(st, 3000));
    redis_server_wake(st->s.redis);
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500);
}

void strike_redis_slow(struct storm *st) {
    for (int i = 0; i < 8; i++) {
        tell(st, "CLIENT PAUSE 300");
        storm_wait(st, 400);
    }
    storm_recover(st, test_clock_ms());
}

void strike_redis_readonly(struct storm *st) {
    tell(st, "REPLICAOF 127.0.0.1 1");
    storm_wait(st, 500 + storm_draw(st, 3000));
    tell(st, "REPLICAOF NO ONE");
    storm_recover(st, test_clock_ms());
    storm_wait(st, 500);
}

void strike_redis_cut(struct storm *st) {
    for (int i = 0; i < 20; i++) {
        tell(st, "CLIENT KILL TYPE normal SKIPME yes");
        storm_wait(st, 20 + storm_draw(st, 100));
    }
    storm_recover(st, test_clock_ms());
}
