#include "consumer/sender.h"

#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/interrupt.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"

enum { POLL_EVERY = 1024, SLICE_MS = 100, LAST_FLUSH_MS = 10000 };

struct sender {
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    struct sender_counts counts;
};

static void note_failure(struct sender *s, rd_kafka_resp_err_t err, uint64_t n) {
    if (s->counts.failed == 0)
        snprintf(s->counts.error, sizeof s->counts.error, "%s", rd_kafka_err2str(err));
    s->counts.failed += n;
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    (void)rk;
    if (m->err)
        note_failure(opaque, m->err, 1);
}

static int make_client(const struct config *cfg, struct sender *s) {
    static const char *const defaults[][2] = {
        {"linger.ms", "50"},
        {"batch.size", "1000000"},
        {"batch.num.messages", "50000"},
        {"queue.buffering.max.messages", "200000"},
        {"queue.buffering.max.kbytes", "65536"},
        {"compression.codec", "lz4"},
        {"enable.idempotence", "true"},
    };
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = NULL;
    int r = kafka_conf_new(cfg, &conf);
    for (size_t i = 0; i < ARRAY_LEN(defaults) && r == 0; i++)
        r = kafka_conf_default(cfg, conf, defaults[i][0], defaults[i][1]);
    if (r == 0)
        r = kafka_conf_set(conf, "partitioner", "murmur2_random");
    if (r == 0)
        r = kafka_conf_set(conf, "delivery.report.only.error", "true");
    if (r < 0)
        return r;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    rd_kafka_conf_set_opaque(conf, s);
    s->rk = kafka_client_new(RD_KAFKA_PRODUCER, TAKE(conf));
    return s->rk ? 0 : -EINVAL;
}

int sender_new(const struct config *cfg, const char *topic, int32_t partitions, bool compacted,
               struct sender **ret) {
    autofree(sender_free) struct sender *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    int r = make_client(cfg, s);
    if (r < 0)
        return r;
    struct topic_spec spec = {topic, partitions, compacted};
    r = kafka_ensure_topics(cfg, s->rk, &spec, 1, NULL);
    if (r < 0)
        return r;
    s->topic = rd_kafka_topic_new(s->rk, topic, NULL);
    if (!s->topic) {
        log_error("topic-refused", "topic=%s reason=%s", log_q(topic),
                  log_q(rd_kafka_err2str(rd_kafka_last_error())));
        return -EINVAL;
    }
    *ret = TAKE(s);
    return 0;
}

void sender_free(struct sender *s) {
    if (!s)
        return;
    if (s->topic)
        rd_kafka_topic_destroy(s->topic);
    if (s->rk) {
        rd_kafka_purge(s->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(s->rk);
    }
    free(s);
}

int sender_put(struct sender *s, struct str key, struct str value) {
    while (rd_kafka_produce(s->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)value.p,
                            value.n, key.n ? key.p : NULL, key.n, NULL) == -1) {
        rd_kafka_resp_err_t err = rd_kafka_last_error();
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            if (interrupted())
                return -EINTR;
            rd_kafka_poll(s->rk, SLICE_MS);
            continue;
        }
        note_failure(s, err, 1);
        s->counts.sent++;
        return err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE ? 0 : -EIO;
    }
    s->counts.sent++;
    s->counts.bytes += key.n + value.n;
    if (s->counts.sent % POLL_EVERY == 0)
        rd_kafka_poll(s->rk, 0);
    return 0;
}

void sender_wait(struct sender *s, int timeout_ms) {
    rd_kafka_poll(s->rk, timeout_ms);
}

void sender_flush(struct sender *s) {
    int64_t left_ms = INT64_MAX;
    int64_t since_us = clock_mono_us();
    while (rd_kafka_flush(s->rk, SLICE_MS) != RD_KAFKA_RESP_ERR_NO_ERROR && left_ms > 0) {
        int64_t now_us = clock_mono_us();
        if (!interrupted())
            since_us = now_us;
        left_ms = LAST_FLUSH_MS - (now_us - since_us) / 1000;
    }
    int left = rd_kafka_outq_len(s->rk);
    if (left > 0)
        note_failure(s, RD_KAFKA_RESP_ERR__TIMED_OUT, (uint64_t)left);
}

const struct sender_counts *sender_counts(const struct sender *s) {
    return &s->counts;
}
