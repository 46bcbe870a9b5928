/* What one transaction will hold: messages collected while events are processed,
 * produced together when the transaction begins. Owned by one worker. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "model/base.h"

struct outbox {
    struct out_msg *msg;
    size_t n, cap;
    struct buf bytes;
};

/* Copies key and value; `topic` must outlive the outbox, `headers` move in (may be
 * NULL). partition RD_KAFKA_PARTITION_UA: by key. value NULL: a tombstone. 0 or -ENOMEM. */
int outbox_put(struct outbox *o, const char *topic, int32_t partition, const void *key,
               size_t key_n, const void *value, size_t value_n, int64_t timestamp_ms,
               rd_kafka_headers_t *headers);
/* Hands messages from..to-1 to the producer (waits while its queue is full, serving
 * `producer`'s events). What is too large even without its headers is logged, counted in
 * *dropped and left out: sending it again would never succeed. Returns the first other error. */
rd_kafka_resp_err_t outbox_produce(struct outbox *o, rd_kafka_t *producer, size_t from, size_t to,
                                   uint64_t *dropped);
void outbox_clear(struct outbox *o);
void outbox_free(struct outbox *o);
