/* Small things every Kafka client of ours needs. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "consumer/options.h"

/* A client configuration with the `kafka:` section applied, log lines routed to
 * log.h, and default bootstrap servers. The caller sets what is its own and passes it
 * to rd_kafka_new. Faults are logged. 0, -EINVAL, -ENOMEM. */
int kafka_conf_new(const struct config *cfg, rd_kafka_conf_t **ret);

/* A producer or consumer on top of it; `props`: name, value, …, NULL. NULL after logging why. */
rd_kafka_t *kafka_client(const struct config *cfg, rd_kafka_type_t type, const char *const *props);

/* How many partitions a topic has; waits up to 30 s for brokers and topic. 0,
 * -ENOENT (no such topic), -EIO (nobody answers; logged). */
int kafka_partitions(rd_kafka_t *rk, const char *topic, int32_t *ret_n);

struct topic_spec {
    const char *name;
    int32_t partitions;
    bool compacted;
};
/* Creates the topics that are missing (topics.replication) and leaves the others as
 * they are. A broker that cannot create topics is an error that names them. 0 or -EIO (logged). */
int kafka_ensure_topics(const struct config *cfg, rd_kafka_t *rk, const struct topic_spec *specs,
                        size_t n);
