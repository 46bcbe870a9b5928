#include "consumer/kafka_util.h"

#include <poll.h>
#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/log.h"

enum { POLL_MS = 50, SLICE_MS = 500, WAIT_MS = 30000, CONTROLLER_MS = 250, REASON_MAX = 512 };

/* syslog's levels to ours; brokers that come and go are no error of ours. What librdkafka
 * finds odd about settings (a consumer's property on a producer) is no fault here: one
 * `kafka:` section serves both. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    enum log_level l = level <= 2 ? LOG_ERROR : level <= 4 ? LOG_WARNING : LOG_DEBUG;
    if (level == 5 || level == 6)
        l = LOG_INFO;
    if (strcmp(facility, "CONFWARN") == 0)
        l = LOG_DEBUG;
    if (l <= log_level())
        log_line(l, "librdkafka", "client=%s facility=%s text=%s",
                 log_q(rk ? rd_kafka_name(rk) : "-"), log_q(facility), log_q(text));
}

static bool configured(const struct config *cfg, const char *name) {
    for (size_t i = 0; i < cfg->n_kafka; i++)
        if (strcmp(cfg->kafka[i].key, name) == 0)
            return true;
    return false;
}

int kafka_conf_set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char reason[REASON_MAX];
    if (rd_kafka_conf_set(conf, name, value, reason, sizeof reason) == RD_KAFKA_CONF_OK)
        return 0;
    log_error("kafka-config", "property=%s reason=%s", log_q(name), log_q(reason));
    return -EINVAL;
}

int kafka_conf_default(const struct config *cfg, rd_kafka_conf_t *conf, const char *name,
                       const char *value) {
    return configured(cfg, name) ? 0 : kafka_conf_set(conf, name, value);
}

int kafka_conf_new(const struct config *cfg, rd_kafka_conf_t **ret) {
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char id[80];
    snprintf(id, sizeof id, "beckon-%s", cfg->app_name);
    rd_kafka_conf_set_log_cb(conf, on_log);
    int fault = kafka_conf_set(conf, "client.id", id);
    if (!configured(cfg, "metadata.broker.list"))
        fault |= kafka_conf_set(conf, "bootstrap.servers", "127.0.0.1:9092");
    for (size_t i = 0; i < cfg->n_kafka; i++)
        fault |= kafka_conf_set(conf, cfg->kafka[i].key, cfg->kafka[i].value);
    if (fault)
        return -EINVAL;
    *ret = TAKE(conf);
    return 0;
}

bool kafka_forbids(rd_kafka_resp_err_t err) {
    return err == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           err == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           err == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           err == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

void kafka_say_forbidden(const char *what, rd_kafka_resp_err_t err) {
    log_error("kafka-forbids", "what=%s reason=%s do=%s", log_q(what), log_q(rd_kafka_err2str(err)),
              log_q("grant what `beckon config --acls` prints for this configuration"));
}

static bool uses_tokens(const rd_kafka_conf_t *conf) {
    char mechanism[32] = "";
    size_t n = sizeof mechanism;
    return rd_kafka_conf_get(conf, "sasl.mechanisms", mechanism, &n) == RD_KAFKA_CONF_OK &&
           strcmp(mechanism, "OAUTHBEARER") == 0;
}

rd_kafka_t *kafka_client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char reason[REASON_MAX];
    bool tokens = uses_tokens(conf);
    if (tokens)
        rd_kafka_conf_enable_sasl_queue(conf, 1);
    rd_kafka_t *rk = rd_kafka_new(type, conf, reason, sizeof reason);
    if (!rk) {
        log_error("kafka-client", "reason=%s", log_q(reason));
        rd_kafka_conf_destroy(conf);
        return NULL;
    }
    /* Else the first token waits for a poll, which waits for the answers it is needed for. */
    if (tokens)
        rd_kafka_error_destroy(rd_kafka_sasl_background_callbacks_enable(rk));
    return rk;
}

rd_kafka_t *kafka_client(const struct config *cfg, rd_kafka_type_t type, const char *const *props) {
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = NULL;
    if (kafka_conf_new(cfg, &conf) < 0)
        return NULL;
    for (; *props; props += 2)
        if (kafka_conf_set(conf, props[0], props[1]) < 0)
            return NULL;
    return kafka_client_new(type, TAKE(conf));
}

/* ---- topics ---- */

static int remaining(int64_t until_us) {
    int64_t left = (until_us - clock_mono_us()) / 1000;
    return left < 0 ? 0 : left > INT32_MAX ? INT32_MAX : (int)left;
}

static bool stopped(const atomic_bool *stop) {
    return stop && atomic_load(stop);
}

/* rd_kafka_metadata, of one topic or of all, in slices so that a stop is heard; longer ones once a
 * broker is there that only needs longer. */
static rd_kafka_resp_err_t metadata(rd_kafka_t *rk, rd_kafka_topic_t *topic, int64_t until_us,
                                    const atomic_bool *stop, const rd_kafka_metadata_t **ret) {
    for (int slice = SLICE_MS;;) {
        int ms = MAX(MIN(slice, remaining(until_us)), 1);
        rd_kafka_resp_err_t err = rd_kafka_metadata(rk, !topic, topic, ret, ms);
        bool again = err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT;
        if (!again || stopped(stop) || !remaining(until_us))
            return err;
        if (err == RD_KAFKA_RESP_ERR__TIMED_OUT)
            slice *= 2;
        else
            poll(NULL, 0, POLL_MS);
    }
}

static int partitions_in(const rd_kafka_metadata_t *md, const char *topic) {
    for (int i = 0; i < md->topic_cnt; i++) {
        const rd_kafka_metadata_topic_t *t = &md->topics[i];
        if (strcmp(t->topic, topic) != 0)
            continue;
        if (t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
            return -ENOENT;
        if (t->err || t->partition_cnt == 0)
            return -EAGAIN;
        for (int p = 0; p < t->partition_cnt; p++)
            if (t->partitions[p].leader < 0)
                return -EAGAIN;
        return t->partition_cnt;
    }
    return -ENOENT;
}

/* Partitions of the topic or a reason why not: -ENOENT, -EAGAIN (no leaders yet),
 * -ETIMEDOUT, -EINTR. A request for all topics creates none, unlike one by name. */
static int look_up(rd_kafka_t *rk, const char *topic, int64_t until_us, const atomic_bool *stop) {
    const rd_kafka_metadata_t *md;
    if (metadata(rk, NULL, until_us, stop, &md))
        return stopped(stop) ? -EINTR : -ETIMEDOUT;
    int n = partitions_in(md, topic);
    rd_kafka_metadata_destroy(md);
    return n;
}

int kafka_partitions(rd_kafka_t *rk, const char *topic, const atomic_bool *stop, int32_t *ret_n) {
    int64_t until_us = clock_mono_us() + (int64_t)WAIT_MS * 1000;
    int r;
    while ((r = look_up(rk, topic, until_us, stop)) == -EAGAIN && remaining(until_us) &&
           !stopped(stop))
        poll(NULL, 0, POLL_MS);
    if (r > 0) {
        *ret_n = r;
        return 0;
    }
    if (r == -ENOENT)
        return r;
    if (stopped(stop))
        return -EINTR;
    log_error("kafka-unreachable", "topic=%s reason=%s do=%s", log_q(topic),
              r == -EAGAIN ? "no-leader" : "no-answer", log_q("check kafka.bootstrap.servers"));
    return -EIO;
}

static int ask_by_name(rd_kafka_t *rk, const char *topic, int64_t until_us,
                       const atomic_bool *stop) {
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    const rd_kafka_metadata_t *md;
    if (!rkt)
        return -EINVAL;
    int n = -ETIMEDOUT;
    if (!metadata(rk, rkt, until_us, stop, &md)) {
        n = partitions_in(md, topic);
        rd_kafka_metadata_destroy(md);
    }
    rd_kafka_topic_destroy(rkt);
    return n;
}

/* `which`: RD_KAFKA_OFFSET_BEGINNING or _END; to the broker both are times like others. */
static rd_kafka_resp_err_t one_end(rd_kafka_t *rk, const char *topic, int32_t partition,
                                   int64_t which, int64_t until_us, int64_t *ret) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_t *p = rd_kafka_topic_partition_list_add(list, topic, partition);
    p->offset = which;
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, remaining(until_us));
    *ret = p->offset;
    return err ? err : p->err;
}

/* rd_kafka_query_watermark_offsets() would wait for a dead leader without end. */
rd_kafka_resp_err_t kafka_ends(rd_kafka_t *rk, const char *topic, int32_t partition,
                               int64_t *ret_low, int64_t *ret_high, int timeout_ms) {
    int64_t until_us = clock_mono_us() + (int64_t)timeout_ms * 1000;
    rd_kafka_resp_err_t err =
        one_end(rk, topic, partition, RD_KAFKA_OFFSET_BEGINNING, until_us, ret_low);
    if (!err)
        err = one_end(rk, topic, partition, RD_KAFKA_OFFSET_END, until_us, ret_high);
    if (err && !kafka_forbids(err))
        ask_by_name(rk, topic, clock_mono_us() + (int64_t)timeout_ms * 1000, NULL);
    return err;
}

static rd_kafka_NewTopic_t *new_topic(const struct config *cfg, const struct topic_spec *t) {
    char reason[REASON_MAX];
    int partitions = t->partitions ? t->partitions : (int)cfg->topics_partitions;
    rd_kafka_NewTopic_t *n = rd_kafka_NewTopic_new(
        t->name, partitions, (int)cfg->topics_replication, reason, sizeof reason);
    if (!n)
        log_error("topic-refused", "topic=%s reason=%s", log_q(t->name), log_q(reason));
    else if (t->compacted)
        rd_kafka_NewTopic_set_config(n, "cleanup.policy", "compact");
    return n;
}

static int topic_fate(const struct config *cfg, const struct topic_spec *t, rd_kafka_resp_err_t err,
                      const char *text) {
    switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        log_info("topic-created", "topic=%s partitions=%d replication=%d compacted=%d",
                 log_q(t->name), t->partitions ? t->partitions : (int)cfg->topics_partitions,
                 (int)cfg->topics_replication, t->compacted);
        return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
        return 0;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        log_error("topic-missing", "topic=%s reason=%s do=%s", log_q(t->name),
                  log_q(rd_kafka_err2str(err)),
                  log_q("create it, or let this user see it: `beckon config --acls` prints the "
                        "rights it needs"));
        return -EIO;
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
        log_error("topic-missing", "topic=%s reason=%s do=%s", log_q(t->name),
                  log_q(text ? text : rd_kafka_err2str(err)),
                  log_q("lower topics.replication to the number of brokers"));
        return -EIO;
    default:
        log_error("topic-missing", "topic=%s reason=%s", log_q(t->name),
                  log_q(text ? text : rd_kafka_err2str(err)));
        return -EIO;
    }
}

static const struct topic_spec *spec_of(const struct topic_spec *const *t, size_t n,
                                        const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(t[i]->name, name) == 0)
            return t[i];
    return NULL;
}

/* The mock cluster names a controller that is none of its brokers, and a request to create
 * topics would wait for it. */
static bool has_controller(rd_kafka_t *rk, const rd_kafka_metadata_t *md) {
    int32_t id = rd_kafka_controllerid(rk, CONTROLLER_MS);
    for (int i = 0; i < md->broker_cnt; i++)
        if (md->brokers[i].id == id)
            return true;
    return false;
}

/* One request for all of them. -ENOTSUP: the broker knows no such request. */
static int request_topics(const struct config *cfg, rd_kafka_t *rk,
                          const struct topic_spec *const *t, size_t n, int timeout_ms) {
    rd_kafka_NewTopic_t **news = calloc(n, sizeof(*news));
    if (!news)
        return -ENOMEM;
    int r = 0;
    char reason[REASON_MAX];
    for (size_t i = 0; i < n && r == 0; i++)
        if (!(news[i] = new_topic(cfg, t[i])))
            r = -EINVAL;
    rd_kafka_AdminOptions_t *options =
        rd_kafka_AdminOptions_new(rk, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, reason, sizeof reason);
    rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, reason, sizeof reason);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    if (r == 0) {
        rd_kafka_CreateTopics(rk, news, n, options, queue);
        rd_kafka_event_t *e = rd_kafka_queue_poll(queue, timeout_ms + 1000);
        rd_kafka_resp_err_t err = e ? rd_kafka_event_error(e) : RD_KAFKA_RESP_ERR__TIMED_OUT;
        const rd_kafka_CreateTopics_result_t *result =
            e && !err ? rd_kafka_event_CreateTopics_result(e) : NULL;
        size_t n_results = 0;
        const rd_kafka_topic_result_t **results =
            result ? rd_kafka_CreateTopics_result_topics(result, &n_results) : NULL;
        for (size_t i = 0; i < n_results; i++) {
            const struct topic_spec *spec = spec_of(t, n, rd_kafka_topic_result_name(results[i]));
            int one = spec ? topic_fate(cfg, spec, rd_kafka_topic_result_error(results[i]),
                                        rd_kafka_topic_result_error_string(results[i]))
                           : 0;
            r = one ? one : r;
        }
        if (err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
            r = -ENOTSUP;
        else if (err)
            r = topic_fate(cfg, t[0], err, e ? rd_kafka_event_error_string(e) : NULL);
        if (e)
            rd_kafka_event_destroy(e);
    }
    rd_kafka_queue_destroy(queue);
    rd_kafka_AdminOptions_destroy(options);
    for (size_t i = 0; i < n; i++)
        if (news[i])
            rd_kafka_NewTopic_destroy(news[i]);
    free(news);
    return r;
}

static int wait_leaders(rd_kafka_t *rk, const struct topic_spec *const *t, size_t n,
                        int64_t until_us, const atomic_bool *stop) {
    for (size_t i = 0; i < n;) {
        int r = look_up(rk, t[i]->name, until_us, stop);
        if (r > 0) {
            i++;
            continue;
        }
        if (stopped(stop))
            return -EINTR;
        if (remaining(until_us) == 0) {
            log_error("topic-not-ready", "topic=%s reason=%s", log_q(t[i]->name),
                      r == -ENOENT ? "missing" : "no-leader");
            return -EIO;
        }
        poll(NULL, 0, POLL_MS);
    }
    return 0;
}

/* Until 2.6.1 librdkafka sent its nonce twice, which brokers refuse since 3.8.1 as they should
 * (RFC 5802): all that they say is that the credentials are invalid. */
static void warn_of_scram(const struct config *cfg) {
    enum { GOOD = 0x020601ff };
    for (size_t i = 0; i < cfg->n_kafka; i++)
        if ((strcmp(cfg->kafka[i].key, "sasl.mechanisms") == 0 ||
             strcmp(cfg->kafka[i].key, "sasl.mechanism") == 0) &&
            strncmp(cfg->kafka[i].value, "SCRAM", 5) == 0 && rd_kafka_version() < GOOD)
            log_warning("scram-too-old", "librdkafka=%s reason=%s do=%s", rd_kafka_version_str(),
                        log_q("brokers since 3.8.1 refuse its SCRAM, whatever the password"),
                        log_q("librdkafka 2.6.1 or newer, PLAIN over TLS, or certificates"));
}

int kafka_ensure_topics(const struct config *cfg, rd_kafka_t *rk, const struct topic_spec *topics,
                        size_t n, const atomic_bool *stop) {
    int64_t until_us = clock_mono_us() + (int64_t)WAIT_MS * 1000;
    autofree(free) const struct topic_spec **all = calloc(n + 1, sizeof(*all));
    autofree(free) const struct topic_spec **missing = calloc(n + 1, sizeof(*missing));
    if (!all || !missing)
        return -ENOMEM;
    const rd_kafka_metadata_t *md;
    warn_of_scram(cfg);
    rd_kafka_resp_err_t err = metadata(rk, NULL, until_us, stop, &md);
    if (err && stopped(stop))
        return -EINTR;
    if (err) {
        log_error("kafka-unreachable", "reason=%s do=%s", log_q(rd_kafka_err2str(err)),
                  log_q("check kafka.bootstrap.servers and that the broker runs"));
        return -EIO;
    }
    size_t n_all = 0, n_missing = 0;
    for (size_t i = 0; i < n; i++) {
        if (!topics[i].name || !*topics[i].name)
            continue;
        all[n_all++] = &topics[i];
        if (partitions_in(md, topics[i].name) == -ENOENT)
            missing[n_missing++] = &topics[i];
    }
    int r = 0;
    if (n_missing)
        r = has_controller(rk, md)
                ? request_topics(cfg, rk, missing, n_missing, MAX(remaining(until_us), 1))
                : -ENOTSUP;
    rd_kafka_metadata_destroy(md);
    if (r < 0 && r != -ENOTSUP)
        return -EIO;
    for (size_t i = 0; r == -ENOTSUP && i < n_missing; i++)
        if (ask_by_name(rk, missing[i]->name, until_us, stop) == -ENOENT) {
            log_error("topic-missing", "topic=%s reason=%s do=%s", log_q(missing[i]->name),
                      log_q("the broker creates no topics by request"),
                      log_q("create it yourself"));
            return -EIO;
        }
    return wait_leaders(rk, all, n_all, until_us, stop);
}
