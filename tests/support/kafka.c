#include <stdio.h>

#include "consumer/kafka_util.h"
#include "tests/support/support.h"

enum { KAFKA_TIMEOUT_MS = 30000 };

struct kafka {
    rd_kafka_t *producer; /* also carries the mock cluster */
    rd_kafka_mock_cluster_t *mock;
    char *brokers;
    rd_kafka_resp_err_t delivery_error;
};

const char *test_brokers(void) {
    const char *b = getenv("BECKON_TEST_BROKERS");
    return b && *b ? b : NULL;
}

static rd_kafka_conf_t *conf_new(const char *const *kv) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char err[256];
    for (; *kv; kv += 2)
        if (rd_kafka_conf_set(conf, kv[0], kv[1], err, sizeof err) != RD_KAFKA_CONF_OK)
            test_die("%s", err);
    return conf;
}

static rd_kafka_t *client_new(rd_kafka_type_t type, rd_kafka_conf_t *conf) {
    char err[256];
    rd_kafka_t *rk = rd_kafka_new(type, conf, err, sizeof err);
    if (!rk)
        test_die("%s", err);
    return rk;
}

static void delivered(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    (void)rk;
    struct kafka *k = opaque;
    if (m->err)
        k->delivery_error = m->err;
}

static struct kafka *start(const char *brokers, int mock_brokers) {
    struct kafka *k = calloc(1, sizeof *k);
    if (!k)
        test_die("out of memory");
    char n[16];
    snprintf(n, sizeof n, "%d", mock_brokers);
    rd_kafka_conf_t *conf = conf_new((const char *[]){
        brokers ? "bootstrap.servers" : "test.mock.num.brokers",
        brokers ? brokers : n,
        "linger.ms",
        "1",
        "log_level",
        "3",
        NULL,
    });
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_opaque(conf, k);
    k->producer = client_new(RD_KAFKA_PRODUCER, conf);
    if (!brokers) {
        k->mock = rd_kafka_handle_mock_cluster(k->producer);
        brokers = rd_kafka_mock_cluster_bootstraps(k->mock);
    }
    k->brokers = strdup(brokers);
    if (!k->brokers)
        test_die("out of memory");
    return k;
}

struct kafka *kafka_start(int mock_brokers) {
    return start(test_brokers(), mock_brokers);
}

struct kafka *kafka_start_mock(int mock_brokers) {
    return start(NULL, mock_brokers);
}

void kafka_free(struct kafka *k) {
    if (!k)
        return;
    rd_kafka_destroy(k->producer);
    free(k->brokers);
    free(k);
}

const char *kafka_brokers(const struct kafka *k) {
    return k->brokers;
}

rd_kafka_mock_cluster_t *kafka_mock(const struct kafka *k) {
    return k->mock;
}

static void create_real(struct kafka *k, const char *name, int partitions, bool compacted) {
    char err[256];
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(name, partitions, -1, err, sizeof err);
    if (!topic)
        test_die("%s: %s", name, err);
    if (compacted)
        rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
    rd_kafka_queue_t *q = rd_kafka_queue_new(k->producer);
    rd_kafka_AdminOptions_t *o =
        rd_kafka_AdminOptions_new(k->producer, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_AdminOptions_set_operation_timeout(o, KAFKA_TIMEOUT_MS, err, sizeof err);
    rd_kafka_CreateTopics(k->producer, &topic, 1, o, q);
    rd_kafka_event_t *e = rd_kafka_queue_poll(q, KAFKA_TIMEOUT_MS * 2);
    if (!e || rd_kafka_event_error(e))
        test_die("%s: %s", name, e ? rd_kafka_event_error_string(e) : "no answer");
    size_t n;
    const rd_kafka_topic_result_t **r =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(e), &n);
    if (n != 1 || rd_kafka_topic_result_error(r[0]))
        test_die("%s: %s", name, n ? rd_kafka_topic_result_error_string(r[0]) : "no result");
    rd_kafka_event_destroy(e);
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_queue_destroy(q);
    rd_kafka_NewTopic_destroy(topic);
}

void kafka_topic(struct kafka *k, const char *what, int partitions, bool compacted,
                 char out[TOPIC_NAME]) {
    unique_name(what, out);
    kafka_topic_named(k, out, partitions, compacted);
}

void kafka_topic_named(struct kafka *k, const char *name, int partitions, bool compacted) {
    if (!k->mock) {
        create_real(k, name, partitions, compacted);
        return;
    }
    rd_kafka_resp_err_t e = rd_kafka_mock_topic_create(k->mock, name, partitions, 1);
    if (e)
        test_die("%s: %s", name, rd_kafka_err2str(e));
}

void kafka_limit(struct kafka *k, const char *topic, const char *bytes) {
    rd_kafka_ConfigResource_t *r = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_ConfigResource_set_config(r, "max.message.bytes", bytes);
    rd_kafka_queue_t *q = rd_kafka_queue_new(k->producer);
    rd_kafka_AlterConfigs(k->producer, &r, 1, NULL, q);
    rd_kafka_event_t *e = rd_kafka_queue_poll(q, KAFKA_TIMEOUT_MS);
    if (!e || rd_kafka_event_error(e))
        test_die("%s: %s", topic, e ? rd_kafka_event_error_string(e) : "no answer");
    rd_kafka_event_destroy(e);
    rd_kafka_queue_destroy(q);
    rd_kafka_ConfigResource_destroy(r);
}

void kafka_put(struct kafka *k, const char *topic, int32_t partition, struct str key,
               struct str value) {
    kafka_put_with(k, topic, partition, key, value, NULL);
}

void kafka_put_with(struct kafka *k, const char *topic, int32_t partition, struct str key,
                    struct str value, rd_kafka_headers_t *headers) {
    for (;;) {
        rd_kafka_resp_err_t e = rd_kafka_producev(
            k->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_PARTITION(partition),
            RD_KAFKA_V_KEY((void *)key.p, key.n), RD_KAFKA_V_VALUE((void *)value.p, value.n),
            RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        rd_kafka_poll(k->producer, e == RD_KAFKA_RESP_ERR__QUEUE_FULL ? 100 : 0);
        if (!e)
            return;
        if (e != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            test_die("%s: %s", topic, rd_kafka_err2str(e));
    }
}

void kafka_flush(struct kafka *k) {
    rd_kafka_resp_err_t e;
    int left;
    do { /* as long as it gets on */
        left = rd_kafka_outq_len(k->producer);
        e = rd_kafka_flush(k->producer, KAFKA_TIMEOUT_MS);
    } while (e == RD_KAFKA_RESP_ERR__TIMED_OUT && rd_kafka_outq_len(k->producer) < left);
    if (!e)
        e = k->delivery_error;
    if (e)
        test_die("not delivered: %s", rd_kafka_err2str(e));
}

static struct str str_copy(const void *p, size_t n) {
    if (!p)
        return (struct str){0};
    char *to = malloc(n + 1);
    if (!to)
        test_die("out of memory");
    memcpy(to, p, n);
    to[n] = '\0';
    return (struct str){to, n};
}

static struct str headers_of(const rd_kafka_message_t *m) {
    struct buf b = {0};
    rd_kafka_headers_t *h = NULL;
    const char *name;
    const void *value;
    size_t n;
    if (!rd_kafka_message_headers(m, &h))
        for (size_t i = 0; !rd_kafka_header_get_all(h, i, &name, &value, &n); i++) {
            buf_put(&b, name, strlen(name));
            buf_put(&b, "=", 1);
            buf_put(&b, value, n);
            buf_put(&b, "\n", 1);
        }
    buf_put(&b, "", 1);
    return (struct str){(char *)b.p, b.n - 1};
}

static void records_add(struct records *r, const rd_kafka_message_t *m) {
    if ((r->n & (r->n - 1)) == 0) {
        struct record *v = realloc(r->v, MAX((size_t)1, r->n * 2) * sizeof *v);
        if (!v)
            test_die("out of memory");
        r->v = v;
    }
    r->v[r->n++] = (struct record){
        .partition = m->partition,
        .offset = m->offset,
        .key = str_copy(m->key, m->key_len),
        .value = str_copy(m->payload, m->len),
        .headers = headers_of(m),
    };
}

static int by_place(const void *a, const void *b) {
    const struct record *x = a, *y = b;
    if (x->partition != y->partition)
        return x->partition < y->partition ? -1 : 1;
    return (x->offset > y->offset) - (x->offset < y->offset);
}

/* Partitions of the topic, from the beginning. */
static rd_kafka_topic_partition_list_t *partitions_of(rd_kafka_t *rk, const char *topic) {
    const rd_kafka_metadata_t *md = NULL;
    rd_kafka_topic_t *t = rd_kafka_topic_new(rk, topic, NULL);
    rd_kafka_resp_err_t e = rd_kafka_metadata(rk, 0, t, &md, KAFKA_TIMEOUT_MS);
    if (e || md->topic_cnt != 1 || md->topics[0].err)
        test_die("%s: %s", topic, rd_kafka_err2str(e ? e : md->topics[0].err));
    rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(md->topics[0].partition_cnt);
    for (int i = 0; i < md->topics[0].partition_cnt; i++)
        rd_kafka_topic_partition_list_add(list, topic, md->topics[0].partitions[i].id)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_metadata_destroy(md);
    rd_kafka_topic_destroy(t);
    return list;
}

static rd_kafka_t *reader_new(struct kafka *k, bool committed) {
    return client_new(RD_KAFKA_CONSUMER, conf_new((const char *[]){
                                             "bootstrap.servers",
                                             k->brokers,
                                             "group.id",
                                             "beckon-test-reader",
                                             "enable.auto.commit",
                                             "false",
                                             "enable.partition.eof",
                                             "true",
                                             "isolation.level",
                                             committed ? "read_committed" : "read_uncommitted",
                                             "log_level",
                                             "3",
                                             NULL,
                                         }));
}

struct ending {
    rd_kafka_t *rk;
    rd_kafka_topic_partition_t *p;
};

static bool ending_known(void *arg) {
    struct ending *e = arg;
    int64_t low;
    return !kafka_ends(e->rk, e->p->topic, e->p->partition, &low, &e->p->offset, KAFKA_TIMEOUT_MS);
}

/* Where each partition ends now, what is not decided yet included. A new topic may have no leader
 * yet. */
static void ends_of(struct kafka *k, rd_kafka_topic_partition_list_t *list) {
    rd_kafka_t *rk = reader_new(k, false);
    for (int i = 0; i < list->cnt; i++) {
        struct ending e = {rk, &list->elems[i]};
        if (!wait_until(ending_known, &e, KAFKA_TIMEOUT_MS))
            test_die("%s: nobody knows its end", e.p->topic);
    }
    rd_kafka_destroy(rk);
}

/* An end event comes at the end of what is decided already, so there may be several. */
static void read_up_to(struct kafka *k, const char *topic, bool committed, bool decided,
                       struct records *ret) {
    rd_kafka_t *rk = reader_new(k, committed);
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_t *list = partitions_of(rk, topic);
    *ret = (struct records){0};
    rd_kafka_assign(rk, list);
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = 0; /* any end will do */
    if (decided)
        ends_of(k, list);
    int64_t end = test_clock_ms() + KAFKA_TIMEOUT_MS;
    for (int left = list->cnt; left > 0;) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 100);
        if (test_clock_ms() > end)
            test_die("%s: its end does not come", topic);
        if (!m)
            continue;
        end = test_clock_ms() + KAFKA_TIMEOUT_MS; /* as long as it gets on */
        rd_kafka_topic_partition_t *p =
            rd_kafka_topic_partition_list_find(list, topic, m->partition);
        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && p && p->offset >= 0 &&
            m->offset >= p->offset) {
            p->offset = -1;
            left--;
        }
        if (!m->err)
            records_add(ret, m);
        rd_kafka_message_destroy(m);
    }
    if (ret->n)
        qsort(ret->v, ret->n, sizeof *ret->v, by_place);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
}

void kafka_read(struct kafka *k, const char *topic, bool committed, struct records *ret) {
    read_up_to(k, topic, committed, true, ret);
}

void kafka_glance(struct kafka *k, const char *topic, struct records *ret) {
    read_up_to(k, topic, true, false, ret);
}

void records_free(struct records *r) {
    for (size_t i = 0; i < r->n; i++) {
        free((void *)r->v[i].key.p);
        free((void *)r->v[i].value.p);
        free((void *)r->v[i].headers.p);
    }
    free(r->v);
    *r = (struct records){0};
}
