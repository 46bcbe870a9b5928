#include "consumer/outbox.h"

#include "consumer/log.h"

struct out_msg {
    const char *topic;
    rd_kafka_headers_t *headers;
    int64_t timestamp_ms;
    size_t key_at, key_n, value_at, value_n;
    int32_t partition;
    bool tombstone;
};

int outbox_put(struct outbox *o, const char *topic, int32_t partition, const void *key,
               size_t key_n, const void *value, size_t value_n, int64_t timestamp_ms,
               rd_kafka_headers_t *headers) {
    if (o->n == o->cap) {
        size_t cap = o->cap ? o->cap * 2 : 1024;
        struct out_msg *p = reallocarray(o->msg, cap, sizeof *p);
        if (!p)
            goto no_memory;
        o->msg = p;
        o->cap = cap;
    }
    struct out_msg *m = &o->msg[o->n];
    *m = (struct out_msg){
        .topic = topic,
        .headers = headers,
        .timestamp_ms = timestamp_ms,
        .key_at = o->bytes.n,
        .key_n = key_n,
        .value_at = o->bytes.n + key_n,
        .value_n = value_n,
        .partition = partition,
        .tombstone = !value,
    };
    buf_put(&o->bytes, key, key_n);
    buf_put(&o->bytes, value, value ? value_n : 0);
    if (o->bytes.failed)
        goto no_memory;
    o->n++;
    return 0;
no_memory:
    if (headers)
        rd_kafka_headers_destroy(headers);
    return -ENOMEM;
}

static rd_kafka_resp_err_t produce(rd_kafka_t *rk, const struct outbox *o, struct out_msg *m) {
    const uint8_t *b = o->bytes.p;
    for (;;) {
        rd_kafka_resp_err_t err = rd_kafka_producev(
            rk, RD_KAFKA_V_TOPIC(m->topic), RD_KAFKA_V_PARTITION(m->partition),
            RD_KAFKA_V_KEY(m->key_n ? b + m->key_at : NULL, m->key_n),
            RD_KAFKA_V_VALUE(m->tombstone ? NULL : (void *)(b + m->value_at), m->value_n),
            RD_KAFKA_V_TIMESTAMP(m->timestamp_ms), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_HEADERS(m->headers), RD_KAFKA_V_END);
        if (!err)
            m->headers = NULL; /* the producer's now */
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return err;
        rd_kafka_poll(rk, 50);
    }
}

rd_kafka_resp_err_t outbox_produce(struct outbox *o, rd_kafka_t *producer, size_t from, size_t to,
                                   uint64_t *dropped) {
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = from; i < to && !err; i++) {
        struct out_msg *m = &o->msg[i];
        err = produce(producer, o, m);
        if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE && m->headers) {
            rd_kafka_headers_destroy(m->headers);
            m->headers = NULL;
            err = produce(producer, o, m);
        }
        if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
            log_error("message-too-large", "topic=%s bytes=%zu", m->topic, m->key_n + m->value_n);
            ++*dropped;
            err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
        if (i % 1024 == 1023)
            rd_kafka_poll(producer, 0);
    }
    return err;
}

void outbox_clear(struct outbox *o) {
    for (size_t i = 0; i < o->n; i++)
        if (o->msg[i].headers)
            rd_kafka_headers_destroy(o->msg[i].headers);
    o->n = 0;
    buf_reset(&o->bytes);
}

void outbox_free(struct outbox *o) {
    outbox_clear(o);
    free(o->msg);
    buf_free(&o->bytes);
    *o = (struct outbox){0};
}
