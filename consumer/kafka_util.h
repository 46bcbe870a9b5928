/* Small things every Kafka client of ours needs. Thread: any, as far as the client is. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "consumer/options.h"

/* A client configuration with the `kafka:` section applied, log lines routed to
 * log.h, and default bootstrap servers. The caller sets what is its own and passes it
 * to rd_kafka_new. Faults are logged. 0, -EINVAL, -ENOMEM. */
int kafka_conf_new(const struct config *cfg, rd_kafka_conf_t **ret);
/* One property more. Faults are logged. 0 or -EINVAL. */
int kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value);
/* As kafka_conf_set, unless the `kafka:` section names the property. */
int kafka_conf_default(const struct config *cfg, rd_kafka_conf_t *conf, const char *name,
                       const char *value);
/* A client of these settings, which it takes over in any case. NULL after logging why. */
rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf);

/* A producer or consumer on top of it; `props`: name, value, …, NULL. NULL after logging why. */
rd_kafka_t *kafka_client(const struct config *cfg, rd_kafka_type_t type, const char *const *props);

/* The broker forbids it, and goes on forbidding it until somebody changes its ACLs. */
bool kafka_forbids(rd_kafka_resp_err_t err);
/* Says so in one line, with what to do. `what`: a topic or group, or what was tried. */
void kafka_say_forbidden(const char *what, rd_kafka_resp_err_t err);

static inline void kafka_conf_free(rd_kafka_conf_t *c) {
    if (c)
        rd_kafka_conf_destroy(c);
}
DEFINE_CLEANUP(rd_kafka_conf_t, kafka_conf_free)
static inline void kafka_client_free(rd_kafka_t *rk) {
    if (rk)
        rd_kafka_destroy(rk);
}
DEFINE_CLEANUP(rd_kafka_t, kafka_client_free)
static inline void kafka_list_free(rd_kafka_topic_partition_list_t *l) {
    if (l)
        rd_kafka_topic_partition_list_destroy(l);
}
DEFINE_CLEANUP(rd_kafka_topic_partition_list_t, kafka_list_free)

/* Where a partition begins and ends now. After an error it looks for the leader anew, for the next
 * try: librdkafka keeps to the one it once knew of a topic that it does not consume. */
rd_kafka_resp_err_t kafka_ends(rd_kafka_t *rk, const char *topic, int32_t partition,
                               int64_t *ret_low, int64_t *ret_high, int timeout_ms);
/* How many partitions a topic has; waits up to 30 s for brokers and leaders, or until *stop (may be
 * NULL) is set. Never makes the topic. 0, -ENOENT (no such topic), -EIO (nobody answers; logged),
 * -EINTR (stopped). */
int kafka_partitions(rd_kafka_t *rk, const char *topic, const atomic_bool *stop, int32_t *ret_n);

struct topic_spec {
    const char *name;   /* NULL or empty: passed over */
    int32_t partitions; /* 0: topics.partitions */
    bool compacted;
};
/* Creates the topics that are missing (topics.replication copies), leaves the others as
 * they are, and waits until all have leaders. A broker without the request (the mock
 * cluster) is asked for them by name, which makes it create them if it does so at all; if not,
 * that is an error that names them. 0, -EIO (logged, with what to do), or -EINTR: *stop (may be
 * NULL) was set meanwhile. */
int kafka_ensure_topics(const struct config *cfg, rd_kafka_t *rk, const struct topic_spec *specs,
                        size_t n, const atomic_bool *stop);
