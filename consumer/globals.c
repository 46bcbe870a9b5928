#include "consumer/globals.h"

#include <librdkafka/rdkafka.h>
#include <poll.h>

#include "consumer/clock.h"
#include "consumer/exact.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/saver.h"
#include "model/image.h"

enum { API_TIMEOUT_MS = 10000, END_TRIES = 50, TURN = 256, LAG_US = 1000000, MIXED_US = 5000000 };

struct globals {
    struct world *world;
    const struct config *cfg;
    struct metrics *metrics;
    const atomic_bool *leading, *stop;
    bool leads; /* this process saves; as of before it was told to stop */
    struct hearing *hearing;
    struct decoder *decoder;
    rd_kafka_t *consumer;
    char model_topic[256];
    struct end {                               /* where each partition ended when we started */
        rd_kafka_topic_partition_list_t *list; /* offset: the end; below it, not read yet */
        int left;
    } end;
    uint64_t records;
    bool early; /* only what exact.h goes on from counts yet */
    bool stale; /* there is such a state, which is no longer kept up */
    bool whole; /* all topics were read up to their ends of the start */
    struct refused *refused;
    rd_kafka_message_t *held; /* its schema cannot be had now: nothing overtakes it */
    struct policy_records policies;
    struct saver *saver;
    pthread_t thread;
    bool started;
    atomic_bool quit;
    atomic_bool failed; /* Kafka forbids what we have to do */
};

/* Whether the record came after the start: its partition was read up to the end found then. */
static bool is_new(const struct globals *g, const rd_kafka_message_t *m) {
    const rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_find(g->end.list, rd_kafka_topic_name(m->rkt), m->partition);
    return !p || p->offset < 0;
}

/* Rows are read at the start. From then on what is counted comes with the events that others tell;
 * vectors do, too, but each process's would drift apart: all take those of the one that leads. */
static int restore_row(struct globals *g, struct str key, const rd_kafka_message_t *m) {
    if (!m->payload || (g->world->exact && exact_going_on(g->world->exact)))
        return 0;
    if (g->whole)
        return world_shares(g->world) && !g->leads
                   ? hearing_row(g->hearing, key, m->payload, m->len)
                   : 0;
    pthread_rwlock_wrlock(&g->world->model_lock);
    int r = model_item_restore(g->world->model, key, m->payload, m->len);
    pthread_rwlock_unlock(&g->world->model_lock);
    return r;
}

static int note_policy(struct globals *g, struct str key, const rd_kafka_message_t *m) {
    if (g->whole)
        return policy_records_take(g->world->policies, str_of(g->cfg->app_instance), key,
                                   m->payload, m->payload ? m->len : 0);
    return policy_records_note(&g->policies, key, m->payload, m->payload ? m->len : 0);
}

/* A record of the model topic. */
static int apply_model(struct globals *g, struct str key, const rd_kafka_message_t *m) {
    if (exact_record_is(key)) {
        if (g->world->exact)
            return exact_take(g->world->exact, key, m->payload, m->payload ? m->len : 0);
        g->stale |= image_head_is(key) && m->payload;
        return 0;
    }
    if (g->early)
        return 0;
    if (share_is_told(key) || share_is_mark(key))
        return world_shares(g->world) && m->payload
                   ? hearing_record(g->hearing, key, m->payload, m->len, m->offset)
                   : 0;
    return policy_record_is(key) ? note_policy(g, key, m) : restore_row(g, key, m);
}

/* One record of any of the topics. False: it can only be read when the schema registry answers
 * again. */
static bool apply(struct globals *g, const rd_kafka_message_t *m) {
    const char *topic = rd_kafka_topic_name(m->rkt);
    struct str key = {m->key, m->key_len};
    struct origin o = {topic, m->partition, m->offset, rd_kafka_message_timestamp(m, NULL)};
    struct dead why = {.reason = DEAD_NONE, .schema_id = -1};
    enum dead_reason r = DEAD_NONE;
    int err = 0;
    _Atomic uint64_t *count = NULL;
    if (strcmp(topic, g->model_topic) == 0) {
        err = apply_model(g, key, m);
    } else if (strcmp(topic, g->cfg->topics_items) == 0) {
        struct item_info info;
        count = &g->metrics->catalogue;
        r = decode_item(g->decoder, m->payload, m->len, key, &o, &info, &why);
        if (r == DEAD_NONE)
            err =
                world_item(g->world, &info, o.timestamp_ms > 0 ? o.timestamp_ms : clock_wall_ms());
        if (err == -EINVAL) {
            why.reason = DEAD_FIELD;
            snprintf(why.detail, sizeof why.detail,
                     "%zu content numbers, which is not what the first item had", info.n_dense);
        }
    } else {
        struct control_info c;
        count = &g->metrics->controls;
        r = decode_control(g->decoder, m->payload, m->len, key, &o, &c, &why);
        c.said_ms = MAX(o.timestamp_ms, 0);
        if (r == DEAD_NONE)
            err = wishes_put(g->world->wishes, g->world->policies, &c);
    }
    decoder_reset(g->decoder);
    if (r == DECODE_RETRY)
        return false;
    g->records++;
    if (count)
        metric_add(count, 1);
    if (r == DEAD_NONE && err == 0)
        return true;
    if (!why.detail[0])
        snprintf(why.detail, sizeof why.detail, "%s", strerror(-err));
    refused_add(g->refused, m, &o, &why, count && is_new(g, m));
    return true;
}

static int add_topic(struct globals *g, rd_kafka_topic_partition_list_t *list, const char *topic) {
    int32_t n = 0;
    int r = kafka_partitions(g->consumer, topic, g->stop, &n);
    for (int32_t p = 0; p < n; p++)
        rd_kafka_topic_partition_list_add(list, topic, p)->offset = RD_KAFKA_OFFSET_BEGINNING;
    return r;
}

/* A topic made a moment ago may still be without a leader. */
static int find_end(struct globals *g, const rd_kafka_topic_partition_t *p, int64_t *ret_low,
                    int64_t *ret_high) {
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int tries = 0; tries < END_TRIES && !atomic_load(g->stop); tries++) {
        err = kafka_ends(g->consumer, p->topic, p->partition, ret_low, ret_high, API_TIMEOUT_MS);
        if (!err)
            return 0;
        poll(NULL, 0, 200);
    }
    if (atomic_load(g->stop))
        return -EINTR;
    log_error("offsets-unreachable", "topic=%s partition=%d error=%s", p->topic, p->partition,
              log_q(rd_kafka_err2str(err)));
    return -EIO;
}

static int find_ends(struct globals *g, rd_kafka_topic_partition_list_t *parts) {
    if (g->end.list)
        rd_kafka_topic_partition_list_destroy(g->end.list);
    g->end.list = rd_kafka_topic_partition_list_copy(parts);
    for (int i = 0; i < g->end.list->cnt; i++) {
        rd_kafka_topic_partition_t *p = &g->end.list->elems[i];
        int64_t low = 0, high = 0;
        int r = find_end(g, p, &low, &high);
        if (r < 0)
            return r;
        p->offset = high > low ? high : -1;
        g->end.left += p->offset >= 0;
    }
    return 0;
}

static void note_progress(struct globals *g, const rd_kafka_message_t *m) {
    if (!g->end.left || !m->rkt)
        return;
    rd_kafka_topic_partition_t *p =
        rd_kafka_topic_partition_list_find(g->end.list, rd_kafka_topic_name(m->rkt), m->partition);
    int64_t next = m->err ? m->offset : m->offset + 1;
    /* What a process that hangs or died left undecided in the model topic need not be waited for.
     */
    bool end = m->err && strcmp(rd_kafka_topic_name(m->rkt), g->model_topic) == 0;
    if (p && p->offset >= 0 && (end || next >= p->offset)) {
        p->offset = -1;
        g->end.left--;
    }
}

static void forbidden(struct globals *g, const char *what, rd_kafka_resp_err_t err) {
    if (!atomic_exchange(&g->failed, true))
        kafka_say_forbidden(what, err);
}

bool globals_failed(const struct globals *g) {
    return atomic_load(&g->failed) || saver_failed(g->saver);
}

/* False: there was nothing, or nothing that can be read now. */
static bool poll_once(struct globals *g, int timeout_ms) {
    rd_kafka_message_t *m = g->held ? g->held : rd_kafka_consumer_poll(g->consumer, timeout_ms);
    g->held = NULL;
    if (!m)
        return false;
    if (!m->err && !apply(g, m)) {
        g->held = m;
        poll(NULL, 0, timeout_ms);
        return false;
    }
    if (kafka_forbids(m->err))
        forbidden(g, m->rkt ? rd_kafka_topic_name(m->rkt) : g->cfg->app_name, m->err);
    else if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF)
        log_warning("consume", "error=%s", log_q(rd_kafka_message_errstr(m)));
    note_progress(g, m);
    rd_kafka_message_destroy(m);
    return true;
}

static int assign_topics(struct globals *g) {
    rd_kafka_topic_partition_list_t *parts = rd_kafka_topic_partition_list_new(8);
    int r = 0;
    /* Of the model the first one alone: rows, marks and what is told are in one order. */
    rd_kafka_topic_partition_list_add(parts, g->model_topic, 0)->offset = RD_KAFKA_OFFSET_BEGINNING;
    if (*g->cfg->topics_items && !g->early)
        r = add_topic(g, parts, g->cfg->topics_items);
    if (r == 0 && *g->cfg->topics_control && !g->early)
        r = add_topic(g, parts, g->cfg->topics_control);
    if (r == 0)
        r = find_ends(g, parts);
    if (r == 0 && rd_kafka_assign(g->consumer, parts))
        r = -EIO;
    rd_kafka_topic_partition_list_destroy(parts);
    return r;
}

/* Rows between an open mark and the one behind them are of two states. Who writes them is about to
 * be through; if it died, some of what is told may be in them already. */
static bool is_mixed(const struct globals *g, int64_t since_us) {
    return !g->early && hearing_open(g->hearing) && clock_mono_us() - since_us < MIXED_US;
}

static int read_to_ends(struct globals *g) {
    int64_t start = clock_mono_us(), shown = start;
    while ((g->end.left || is_mixed(g, start)) && !atomic_load(g->stop) && !globals_failed(g)) {
        poll_once(g, 100);
        int64_t now = clock_mono_us();
        if (now - shown > 2000000) {
            shown = now;
            log_info("reading", "records=%llu partitions_left=%d", (unsigned long long)g->records,
                     g->end.left);
        }
    }
    if (atomic_load(g->stop))
        return -EINTR;
    return globals_failed(g) ? -EACCES : 0;
}

/* Rows have their numbers before the catalogue names items: the model topic is read alone first. */
static int read_early(struct globals *g) {
    g->early = g->world->exact;
    int r = g->early ? assign_topics(g) : 0;
    if (r == 0 && g->early)
        r = read_to_ends(g);
    if (r == 0 && g->early)
        r = exact_read(g->world->exact);
    g->early = false;
    return r;
}

static int read_whole(struct globals *g) {
    int64_t start = clock_mono_us();
    int r = read_to_ends(g);
    if (r < 0)
        return r;
    g->whole = true;
    pthread_rwlock_wrlock(&g->world->model_lock);
    model_restored(g->world->model);
    pthread_rwlock_unlock(&g->world->model_lock);
    uint64_t heard = hearing_begin(g->hearing);
    size_t bad =
        policy_records_learn(&g->policies, g->world->policies, str_of(g->cfg->app_instance));
    if (bad)
        log_warning("policy-records-refused", "records=%zu", bad);
    r = g->world->exact ? exact_settle(g->world->exact) : 0;
    if (r < 0)
        return r;
    log_info("catalogue-ready", "records=%llu refused=%llu items=%u heard=%llu wishes=%zu ms=%lld",
             (unsigned long long)g->records, (unsigned long long)refused_count(g->refused),
             model_items(g->world->model), (unsigned long long)heard,
             wishes_users(g->world->wishes), (long long)(clock_mono_us() - start) / 1000);
    return 0;
}

/* ---- following ---- */

/* Whether this process has begun to lead. Partitions are given up once we are to stop: who led
 * until then saves for the last time. */
static bool note_lead(struct globals *g) {
    bool leads = atomic_load(g->leading), led = g->leads;
    if (!atomic_load(g->stop))
        g->leads = leads;
    metric_set(&g->metrics->leads, g->leads);
    return g->leads && !led;
}

/* How far behind the model topic we are. */
static void note_lag(struct globals *g) {
    rd_kafka_topic_partition_list_t *parts;
    int64_t lag = 0;
    if (rd_kafka_assignment(g->consumer, &parts))
        return;
    rd_kafka_position(g->consumer, parts);
    for (int i = 0; i < parts->cnt; i++) {
        const rd_kafka_topic_partition_t *p = &parts->elems[i];
        int64_t low, high;
        if (strcmp(p->topic, g->model_topic) == 0 && p->offset >= 0 &&
            !rd_kafka_get_watermark_offsets(g->consumer, p->topic, p->partition, &low, &high))
            lag += MAX(0, high - p->offset);
    }
    rd_kafka_topic_partition_list_destroy(parts);
    metric_set(&g->metrics->model_lag, lag);
}

static void save(struct globals *g) {
    if (g->stale)
        saver_end_image(g->saver);
    g->stale = false;
    saver_save(g->saver, g->leads || !world_shares(g->world));
}

static void *follow(void *arg) {
    struct globals *g = arg;
    int64_t saved = clock_mono_us(), measured = saved;
    while (!atomic_load(&g->quit)) {
        for (int n = 0; n < TURN && poll_once(g, n ? 0 : 100); n++)
            ;
        int64_t now = clock_mono_us();
        refused_turn(g->refused, saver_producer(g->saver), now);
        rd_kafka_poll(saver_producer(g->saver), 0);
        if (now - measured >= LAG_US) {
            note_lag(g);
            measured = now;
        }
        bool began = note_lead(g);
        if (!g->world->exact && (began || now - saved >= g->cfg->model_save_interval * 1000)) {
            save(g);
            saved = clock_mono_us();
        }
    }
    save(g);
    saver_flush(g->saver);
    return NULL;
}

static void globals_free(struct globals *g) {
    if (!g)
        return;
    if (g->held)
        rd_kafka_message_destroy(g->held);
    if (g->consumer) {
        rd_kafka_consumer_close(g->consumer);
        rd_kafka_destroy(g->consumer);
    }
    saver_free(g->saver);
    if (g->end.list)
        rd_kafka_topic_partition_list_destroy(g->end.list);
    decoder_free(g->decoder);
    hearing_free(g->hearing);
    refused_free(g->refused);
    policy_records_free(&g->policies);
    free(g);
}
DEFINE_CLEANUP(struct globals, globals_free)

int globals_start(struct world *w, struct metrics *m, const atomic_bool *leads,
                  const atomic_bool *stop, struct globals **ret) {
    autofree(globals_free) struct globals *g = calloc(1, sizeof *g);
    if (!g)
        return -ENOMEM;
    g->world = w;
    g->cfg = w->cfg;
    g->metrics = m;
    g->leading = leads;
    g->stop = stop;
    snprintf(g->model_topic, sizeof g->model_topic, "beckon-%s-model", g->cfg->app_name);
    const char *const consume[] = {
        "group.id",
        g->cfg->app_name, /* not to join it */
        "enable.auto.commit",
        "false",
        "auto.offset.reset",
        "earliest",
        "isolation.level",
        "read_committed",
        "enable.partition.eof",
        "true",
        "fetch.wait.max.ms",
        "100", /* how long an end takes to be seen */
        "queued.max.messages.kbytes",
        "131072", /* a full queue costs a second, see the restorer */
        "queued.min.messages",
        "10000000",
        NULL,
    };
    int r = decoder_new(g->cfg, &g->decoder);
    if (r == 0)
        r = hearing_new(w, m, &g->hearing);
    if (r == 0)
        r = refused_new(g->cfg, m, leads, stop, &g->refused);
    if (r == 0)
        r = saver_new(&(struct saver_config){w, m, g->model_topic, g->hearing, &g->policies,
                                             g->refused, leads, stop},
                      &g->saver);
    if (r < 0)
        return r;
    g->consumer = kafka_client(g->cfg, RD_KAFKA_CONSUMER, consume);
    if (!g->consumer)
        return -EINVAL;
    rd_kafka_poll_set_consumer(g->consumer);
    r = read_early(g);
    if (r == 0)
        r = assign_topics(g);
    if (r == 0)
        r = read_whole(g);
    if (r == 0)
        r = -pthread_create(&g->thread, NULL, follow, g);
    if (r < 0)
        return r;
    *ret = TAKE(g);
    return 0;
}

void globals_stop(struct globals *g) {
    if (!g)
        return;
    atomic_store(&g->quit, true);
    pthread_join(g->thread, NULL);
    globals_free(g);
}
