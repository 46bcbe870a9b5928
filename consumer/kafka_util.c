#include "consumer/kafka_util.h"

#include <poll.h>

#include "consumer/log.h"

enum { TIMEOUT_MS = 10000, TRIES = 30 };

static void on_log(const rd_kafka_t *rk, int level, const char *fac, const char *text) {
    (void)rk;
    enum log_level l = level <= 3 ? LOG_WARNING : level <= 5 ? LOG_INFO : LOG_DEBUG;
    if (log_level() >= l)
        log_line(l, "librdkafka", "facility=%s text=%s", fac, log_q(text));
}

int kafka_conf_new(const struct config *cfg, rd_kafka_conf_t **ret) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    if (!conf)
        return -ENOMEM;
    char err[512];
    rd_kafka_conf_set(conf, "bootstrap.servers", "127.0.0.1:9092", NULL, 0);
    rd_kafka_conf_set(conf, "client.id", cfg->app_name, NULL, 0);
    for (size_t i = 0; i < cfg->n_kafka; i++)
        if (rd_kafka_conf_set(conf, cfg->kafka[i].key, cfg->kafka[i].value, err, sizeof err) !=
            RD_KAFKA_CONF_OK) {
            log_error("kafka-config", "key=kafka.%s error=%s", cfg->kafka[i].key, log_q(err));
            rd_kafka_conf_destroy(conf);
            return -EINVAL;
        }
    rd_kafka_conf_set_log_cb(conf, on_log);
    *ret = conf;
    return 0;
}

rd_kafka_t *kafka_client(const struct config *cfg, rd_kafka_type_t type, const char *const *props) {
    rd_kafka_conf_t *conf;
    char err[512];
    if (kafka_conf_new(cfg, &conf) < 0)
        return NULL;
    for (; *props; props += 2)
        if (rd_kafka_conf_set(conf, props[0], props[1], err, sizeof err) != RD_KAFKA_CONF_OK) {
            log_error("kafka-config", "key=%s error=%s", props[0], log_q(err));
            rd_kafka_conf_destroy(conf);
            return NULL;
        }
    rd_kafka_t *rk = rd_kafka_new(type, conf, err, sizeof err);
    if (!rk) {
        log_error("kafka-client", "error=%s", log_q(err));
        rd_kafka_conf_destroy(conf);
    }
    return rk;
}

/* One look at a topic's metadata; fresh partitions without a leader count as not there yet. */
static rd_kafka_resp_err_t look_up(rd_kafka_t *rk, const char *topic, int32_t *ret_n) {
    rd_kafka_topic_conf_t *tc = rd_kafka_topic_conf_new();
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, tc);
    if (!rkt)
        return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
    const rd_kafka_metadata_t *md;
    rd_kafka_resp_err_t err = rd_kafka_metadata(rk, 0, rkt, &md, TIMEOUT_MS);
    rd_kafka_topic_destroy(rkt);
    if (err)
        return err;
    err = md->topic_cnt ? md->topics[0].err : RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
    for (int i = 0; !err && i < md->topics[0].partition_cnt; i++)
        if (md->topics[0].partitions[i].leader < 0)
            err = RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE;
    if (!err)
        *ret_n = md->topics[0].partition_cnt;
    rd_kafka_metadata_destroy(md);
    return err;
}

int kafka_partitions(rd_kafka_t *rk, const char *topic, int32_t *ret_n) {
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < TRIES; i++) {
        err = look_up(rk, topic, ret_n);
        if (!err)
            return 0;
        if (err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART ||
            err == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC)
            return -ENOENT;
        if (i == 0)
            log_info("kafka-waits", "topic=%s error=%s", topic, log_q(rd_kafka_err2str(err)));
        poll(NULL, 0, err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ? 100 : 1000);
    }
    log_error("kafka-unreachable", "topic=%s error=%s fix=\"check kafka.bootstrap.servers\"", topic,
              log_q(rd_kafka_err2str(err)));
    return -EIO;
}

static int create(const struct config *cfg, rd_kafka_t *rk, const struct topic_spec *t) {
    char err[512];
    rd_kafka_NewTopic_t *nt = rd_kafka_NewTopic_new(t->name, t->partitions,
                                                    (int)cfg->topics_replication, err, sizeof err);
    if (!nt) {
        log_error("topic-not-created", "topic=%s error=%s", t->name, log_q(err));
        return -EIO;
    }
    if (t->compacted)
        rd_kafka_NewTopic_set_config(nt, "cleanup.policy", "compact");
    rd_kafka_AdminOptions_t *opt = rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(opt, TIMEOUT_MS, err, sizeof err);
    rd_kafka_AdminOptions_set_operation_timeout(opt, TIMEOUT_MS, err, sizeof err);
    rd_kafka_queue_t *q = rd_kafka_queue_new(rk);
    rd_kafka_CreateTopics(rk, &nt, 1, opt, q);
    rd_kafka_event_t *ev = rd_kafka_queue_poll(q, 2 * TIMEOUT_MS);
    rd_kafka_resp_err_t code = ev ? rd_kafka_event_error(ev) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    snprintf(err, sizeof err, "%s",
             ev && code ? rd_kafka_event_error_string(ev) : rd_kafka_err2str(code));
    size_t n = 0;
    const rd_kafka_topic_result_t **res =
        ev && !code
            ? rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(ev), &n)
            : NULL;
    if (n && (code = rd_kafka_topic_result_error(res[0])))
        snprintf(err, sizeof err, "%s", rd_kafka_topic_result_error_string(res[0]));
    if (ev)
        rd_kafka_event_destroy(ev);
    rd_kafka_queue_destroy(q);
    rd_kafka_AdminOptions_destroy(opt);
    rd_kafka_NewTopic_destroy(nt);
    if (code && code != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
        log_error("topic-not-created", "topic=%s error=%s", t->name, log_q(err));
        return -EIO;
    }
    log_info("topic-created", "topic=%s partitions=%d compacted=%s", t->name, t->partitions,
             t->compacted ? "yes" : "no");
    return 0;
}

int kafka_ensure_topics(const struct config *cfg, rd_kafka_t *rk, const struct topic_spec *specs,
                        size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (!specs[i].name || !*specs[i].name)
            continue;
        int32_t have = 0;
        int r = kafka_partitions(rk, specs[i].name, &have);
        if (r == -ENOENT && create(cfg, rk, &specs[i]) < 0)
            return -EIO;
        /* Just made: wait until it has leaders. */
        for (int t = 0; r == -ENOENT && t < TRIES; t++) {
            r = kafka_partitions(rk, specs[i].name, &have);
            if (r == -ENOENT)
                poll(NULL, 0, 100);
        }
        if (r < 0)
            return -EIO;
    }
    return 0;
}
