#include "consumer/saver.h"

#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/outbox.h"
#include "model/image.h"

enum { SAVE_BATCH = 256, FLUSH_MS = 10000 };

struct saver {
    struct saver_config c;
    rd_kafka_t *producer;
    struct buf key, value;
    struct outbox outbox;
    uint64_t undelivered; /* since the last warning */
    atomic_bool failed;
};

static void put_pair(struct saver *s) {
    outbox_put(&s->outbox, s->c.topic, 0, s->key.p, s->key.n, s->value.p, s->value.n, 0, NULL);
}

/* Encodes up to SAVE_BATCH changed rows; false: there are no more. */
static bool collect_rows(struct saver *s, uint32_t *cursor) {
    bool more = true;
    pthread_rwlock_rdlock(&s->c.world->model_lock);
    for (int i = 0; i < SAVE_BATCH && more; i++) {
        uint32_t row = model_dirty_next(s->c.world->model, cursor);
        buf_reset(&s->key);
        buf_reset(&s->value);
        more = row != ROW_NONE;
        if (more && model_item_encode(s->c.world->model, row, &s->key, &s->value) == 0)
            put_pair(s);
    }
    pthread_rwlock_unlock(&s->c.world->model_lock);
    return more;
}

static void collect_policies(struct saver *s) {
    for (size_t group = 0;
         policy_records_next(s->c.policies, s->c.world->policies,
                             str_of(s->c.world->cfg->app_instance), &group, &s->key, &s->value);)
        put_pair(s);
}

/* How many records were handed to the producer. */
static size_t produce_collected(struct saver *s) {
    uint64_t dropped = 0;
    size_t n = s->outbox.n;
    rd_kafka_resp_err_t err = outbox_produce(&s->outbox, s->producer, 0, n, &dropped);
    outbox_clear(&s->outbox);
    if (err)
        log_warning("model-not-saved", "error=%s", log_q(rd_kafka_err2str(err)));
    rd_kafka_poll(s->producer, 0);
    return n - dropped;
}

static void put_mark(struct saver *s, struct share_mark mark) {
    buf_reset(&s->key);
    buf_reset(&s->value);
    share_mark_put(&mark, &s->key, &s->value);
    put_pair(s);
}

/* Who comes to lead saves all that moved: older rows must not follow its own. */
static bool may_save(const struct saver *s) {
    return !s->c.world->cfg->model_share || atomic_load(s->c.leading) || atomic_load(s->c.stop);
}

/* The rows that moved, between marks. Where none did, a mark alone still says that the rows have
 * what was told since the last one: events that were in the midst of a commit then. */
static void save_rows(struct saver *s) {
    struct share_mark mark = hearing_mark(s->c.hearing);
    uint32_t cursor = 0;
    size_t saved = 0;
    put_mark(s, hearing_last_mark(s->c.hearing));
    for (bool more = true; more;) {
        more = collect_rows(s, &cursor);
        if (!more && !saved && s->outbox.n == 1)
            outbox_clear(&s->outbox); /* nothing moved */
        saved += produce_collected(s);
        if (!may_save(s))
            return;
    }
    if (!saved && !hearing_unmarked(s->c.hearing))
        return;
    put_mark(s, mark);
    produce_collected(s);
    metric_add(&s->c.metrics->model_saved, saved ? saved - 1 : 0);
}

void saver_end_image(struct saver *s) {
    buf_reset(&s->key);
    image_head_key(&s->key);
    outbox_put(&s->outbox, s->c.topic, 0, s->key.p, s->key.n, NULL, 0, 0, NULL);
    produce_collected(s);
}

void saver_save(struct saver *s, bool rows) {
    if (__atomic_load_n(&s->c.world->undone, __ATOMIC_ACQUIRE))
        return;
    collect_policies(s);
    produce_collected(s);
    if (rows)
        save_rows(s);
    /* What is lost here is learned again, or saved with its next change. */
    if (s->undelivered) {
        log_warning("model-not-saved", "rows=%llu", (unsigned long long)s->undelivered);
        s->undelivered = 0;
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct saver *s = opaque;
    (void)rk;
    if (kafka_forbids(m->err) && !atomic_exchange(&s->failed, true))
        kafka_say_forbidden(rd_kafka_topic_name(m->rkt), m->err);
    if (m->err && strcmp(rd_kafka_topic_name(m->rkt), s->c.topic) != 0)
        refused_undelivered(s->c.refused);
    else if (m->err)
        s->undelivered++;
}

static rd_kafka_t *producer(struct saver *s) {
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = NULL;
    if (kafka_conf_new(s->c.world->cfg, &conf) < 0 ||
        kafka_conf_set(conf, "enable.idempotence", "true") < 0 ||
        kafka_conf_default(s->c.world->cfg, conf, "linger.ms", "20") < 0 ||
        kafka_conf_default(s->c.world->cfg, conf, "partitioner", "murmur2_random") < 0)
        return NULL;
    rd_kafka_conf_set_opaque(conf, s);
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    return kafka_client_new(RD_KAFKA_PRODUCER, TAKE(conf));
}

int saver_new(const struct saver_config *c, struct saver **ret) {
    autofree(saver_free) struct saver *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->c = *c;
    s->producer = producer(s);
    if (!s->producer)
        return -EINVAL;
    *ret = TAKE(s);
    return 0;
}

void saver_free(struct saver *s) {
    if (!s)
        return;
    if (s->producer)
        rd_kafka_destroy(s->producer);
    buf_free(&s->key);
    buf_free(&s->value);
    outbox_free(&s->outbox);
    free(s);
}

rd_kafka_t *saver_producer(struct saver *s) {
    return s->producer;
}

void saver_flush(struct saver *s) {
    rd_kafka_flush(s->producer, FLUSH_MS);
}

bool saver_failed(const struct saver *s) {
    return atomic_load(&s->failed);
}
