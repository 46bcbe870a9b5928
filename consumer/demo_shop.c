#include <jansson.h>
#include <librdkafka/rdkafka.h>
#include <poll.h>

#include "consumer/clock.h"
#include "consumer/demo.h"
#include "consumer/encode.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/parse.h"

enum {
    AHEAD_MAX = 20000, /* events the engine may be behind before the shop waits */
    DIRT_EVERY = 400,  /* one event in so many is followed by a damaged or repeated one */
};

struct shop {
    struct shop_config c;
    struct sim *sim;
    pthread_mutex_t sim_lock; /* events and answers to coupons come from two threads */
    struct encoder *encoder;
    struct decoder *decoder;
    rd_kafka_t *producer, *consumer;
    uint64_t (*processed)(void *ctx);
    void *processed_ctx;
    atomic_ulong sent, coupons;
    atomic_bool quit;
    pthread_t feeder, answerer;
    int threads;
    struct buf bytes;
};

static int produce(struct shop *s, const char *topic, struct str key, const void *p, size_t n) {
    for (;;) {
        rd_kafka_resp_err_t err =
            rd_kafka_producev(s->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key.p, key.n),
                              RD_KAFKA_V_VALUE((void *)p, n),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
        if (!err)
            return 0;
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            log_error("shop", "error=%s", log_q(rd_kafka_err2str(err)));
            return -EIO;
        }
        rd_kafka_poll(s->producer, 20);
    }
}

static int send_catalogue(struct shop *s) {
    int r = 0;
    for (uint32_t i = 0; i < sim_items(s->sim) && r == 0; i++) {
        struct item_info info;
        sim_item(s->sim, i, &info);
        r = encode_item(s->encoder, &info, &s->bytes);
        if (r == 0)
            r = produce(s, s->c.cfg->topics_items, info.id, s->bytes.p, s->bytes.n);
    }
    for (uint32_t u = 0; u < s->c.sim.users && r == 0; u++) {
        char id[16];
        sim_user_id(s->sim, u, id);
        struct control_info c = {.user = str_of(id), .n = 1};
        c.consent[0].channel = STR("*");
        c.consent[0].granted = sim_consents(s->sim, u);
        r = encode_control(s->encoder, &c, &s->bytes);
        if (r == 0)
            r = produce(s, s->c.cfg->topics_control, c.user, s->bytes.p, s->bytes.n);
    }
    if (r == 0 && rd_kafka_flush(s->producer, 30000))
        r = -EIO;
    return r;
}

int shop_open(const struct shop_config *c, struct shop **ret) {
    struct shop *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->c = *c;
    pthread_mutex_init(&s->sim_lock, NULL);
    const char *produce_props[] = {"bootstrap.servers", c->brokers, "partitioner", "murmur2_random",
                                   "linger.ms",         "5",        NULL};
    const char *consume_props[] = {
        "bootstrap.servers", c->brokers,        "group.id",       "shop", "auto.offset.reset",
        "earliest",          "isolation.level", "read_committed", NULL};
    int r = sim_new(&c->sim, &s->sim);
    if (r == 0)
        r = encoder_new(c->cfg, (enum data_format)c->cfg->topics_format, &s->encoder);
    if (r == 0)
        r = decoder_new(c->cfg, &s->decoder);
    if (r == 0 && (!(s->producer = kafka_client(c->cfg, RD_KAFKA_PRODUCER, produce_props)) ||
                   !(s->consumer = kafka_client(c->cfg, RD_KAFKA_CONSUMER, consume_props))))
        r = -EIO;
    if (r == 0) {
        rd_kafka_poll_set_consumer(s->consumer);
        r = send_catalogue(s);
    }
    if (r < 0) {
        shop_free(s);
        return r;
    }
    *ret = s;
    return 0;
}

void shop_free(struct shop *s) {
    if (!s)
        return;
    if (s->consumer) {
        rd_kafka_consumer_close(s->consumer);
        rd_kafka_destroy(s->consumer);
    }
    if (s->producer)
        rd_kafka_destroy(s->producer);
    encoder_free(s->encoder);
    decoder_free(s->decoder);
    sim_free(s->sim);
    buf_free(&s->bytes);
    pthread_mutex_destroy(&s->sim_lock);
    free(s);
}

/* What reaches every shop now and then: a record cut short, a type nobody knows, a retry. */
static int send_dirt(struct shop *s, struct event *e, uint64_t n) {
    size_t cut = s->bytes.n;
    if (n % 3 == 0) {
        cut = s->bytes.n / 2;
    } else if (n % 3 == 1) {
        int r = encode_event(s->encoder, e, "teleport", &s->bytes);
        if (r < 0)
            return r;
        cut = s->bytes.n;
    } /* else the same event again */
    return produce(s, s->c.cfg->topics_clickstream, e->user, s->bytes.p, cut);
}

static int send_one(struct shop *s) {
    struct event e;
    pthread_mutex_lock(&s->sim_lock);
    sim_next(s->sim, &e);
    int r = encode_event(s->encoder, &e, config_event_name(s->c.cfg, e.type), &s->bytes);
    if (r == 0)
        r = produce(s, s->c.cfg->topics_clickstream, e.user, s->bytes.p, s->bytes.n);
    uint64_t n = atomic_fetch_add(&s->sent, 1) + 1;
    if (r == 0 && n % DIRT_EVERY == 0) {
        r = send_dirt(s, &e, n / DIRT_EVERY);
        atomic_fetch_add(&s->sent, 1);
    }
    pthread_mutex_unlock(&s->sim_lock);
    return r;
}

static void *feed(void *arg) {
    struct shop *s = arg;
    int64_t start = clock_mono_us();
    uint64_t skipped = 0; /* not sent in time because the engine was behind */
    while (!atomic_load(&s->quit)) {
        uint64_t due = (uint64_t)((double)(clock_mono_us() - start) * s->c.rate / 1e6);
        uint64_t sent = atomic_load(&s->sent) + skipped;
        uint64_t behind =
            atomic_load(&s->sent) - MIN(atomic_load(&s->sent), s->processed(s->processed_ctx));
        if (behind > AHEAD_MAX && due > sent)
            skipped += due - sent;
        else if (sent < due && send_one(s) < 0)
            break;
        if (sent >= due || behind > AHEAD_MAX)
            rd_kafka_poll(s->producer, 5);
    }
    rd_kafka_flush(s->producer, 5000);
    return NULL;
}

static struct str text_of(const json_t *o, const char *key) {
    const char *t = json_string_value(json_object_get(o, key));
    return t ? str_of(t) : (struct str){0};
}

/* The share of the price that an offer takes off. */
static double discount_of(const json_t *decision) {
    json_t *offer = json_object_get(decision, "offer"), *parsed = NULL;
    if (json_is_string(offer)) /* as Avro carries it */
        offer = parsed = json_loads(json_string_value(offer), 0, NULL);
    double percent = json_number_value(json_object_get(offer, "discount_percent"));
    json_decref(parsed);
    return percent / 100;
}

/* What was sent, and what a policy chose not to send: who buys anyway does so then, too. */
static void answer_one(struct shop *s, const rd_kafka_message_t *m, struct buf *json) {
    buf_reset(json);
    if (render_json(s->decoder, m->payload, m->len, json) < 0 || json->failed)
        return;
    json_t *o = json_loadb((const char *)json->p, json->n, 0, NULL);
    decoder_reset(s->decoder);
    if (!o)
        return;
    struct sim_decision d = {
        .user = text_of(o, "user_id"),
        .item = text_of(o, "item_id"),
        .trigger_id = text_of(o, "trigger_id"),
        .sent = json_is_true(json_object_get(o, "sent")),
        .service = str_eq(text_of(o, "campaign_id"), STR("thanks")),
        .discount = discount_of(o),
    };
    bool chosen = d.sent || str_eq(text_of(o, "reason"), str_of(policy_reason_name(PR_POLICY)));
    if (chosen && parse_time(text_of(o, "time"), 1000, &d.time_ms)) {
        pthread_mutex_lock(&s->sim_lock);
        bool reached = sim_decided(s->sim, &d);
        pthread_mutex_unlock(&s->sim_lock);
        atomic_fetch_add(&s->coupons, d.sent && reached);
    }
    json_decref(o);
}

static void *answer(void *arg) {
    struct shop *s = arg;
    struct buf json = {0};
    while (!atomic_load(&s->quit)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->consumer, 100);
        if (!m)
            continue;
        if (!m->err)
            answer_one(s, m, &json);
        rd_kafka_message_destroy(m);
    }
    buf_free(&json);
    return NULL;
}

int shop_start(struct shop *s, uint64_t (*processed)(void *ctx), void *ctx) {
    s->processed = processed;
    s->processed_ctx = ctx;
    rd_kafka_topic_partition_list_t *t = rd_kafka_topic_partition_list_new(1);
    int32_t n = 0;
    int r = kafka_partitions(s->consumer, s->c.cfg->topics_decisions, NULL, &n);
    for (int32_t p = 0; p < n; p++)
        rd_kafka_topic_partition_list_add(t, s->c.cfg->topics_decisions, p)->offset =
            RD_KAFKA_OFFSET_BEGINNING;
    if (r == 0 && rd_kafka_assign(s->consumer, t))
        r = -EIO;
    rd_kafka_topic_partition_list_destroy(t);
    if (r == 0)
        r = -pthread_create(&s->feeder, NULL, feed, s);
    if (r == 0) {
        s->threads = 1;
        r = -pthread_create(&s->answerer, NULL, answer, s);
        s->threads += r == 0;
    }
    return r;
}

void shop_stop(struct shop *s) {
    if (!s)
        return;
    atomic_store(&s->quit, true);
    if (s->threads > 0)
        pthread_join(s->feeder, NULL);
    if (s->threads > 1)
        pthread_join(s->answerer, NULL);
    s->threads = 0;
}

uint64_t shop_sent(const struct shop *s) {
    return atomic_load(&s->sent);
}

uint64_t shop_coupons(const struct shop *s) {
    return atomic_load(&s->coupons);
}

void shop_earned(struct shop *s, enum sim_panel p, struct sim_earnings *ret) {
    pthread_mutex_lock(&s->sim_lock);
    sim_earned(s->sim, p, ret);
    pthread_mutex_unlock(&s->sim_lock);
}

/* ---- foresight ---- */

enum { CASES_PER_BATCH = 64 };

static bool on_list(const struct list *l, uint32_t row) {
    for (uint32_t i = 0; i < l->n; i++)
        if (l->e[i].item == row)
            return true;
    return false;
}

static void remember_user(struct foresight *f, struct str id) {
    int unset = 0;
    if (id.n < sizeof f->user && atomic_compare_exchange_strong(&f->user_lock, &unset, 1)) {
        memcpy(f->user, id.p, id.n);
        f->user[id.n] = 0;
        atomic_store(&f->user_lock, 2);
    }
}

void foresight_batch(void *ctx, struct worker *w, struct input *in, size_t n) {
    struct foresight *f = ctx;
    struct input *cases[CASES_PER_BATCH];
    size_t m = 0;
    /* A sample of the batch where it is large: spread evenly, never the same user's
     * next view twice in a row by choice. */
    size_t step = MAX(1, n / CASES_PER_BATCH);
    for (size_t i = 0; i < n && m < CASES_PER_BATCH; i += step)
        if (in[i].ev.type == EV_VIEW && in[i].ev.item.n)
            cases[m++] = &in[i];
    if (!m)
        return;
    struct list *lists = malloc((m + 1) * sizeof *lists);
    if (!lists)
        return;
    struct world *world = in[0].lane->world;
    worker_preview(w, cases, m, lists);
    pthread_rwlock_rdlock(&world->model_lock);
    model_popular(worker_learner(w), (uint32_t)world->cfg->lists_n, &lists[m]);
    for (size_t i = 0; i < m; i++) {
        uint32_t row = model_item_find(world->model, cases[i]->ev.item);
        atomic_fetch_add(&f->cases, 1);
        atomic_fetch_add(&f->hits, row != ROW_NONE && on_list(&lists[i], row));
        atomic_fetch_add(&f->popular_hits, row != ROW_NONE && on_list(&lists[m], row));
    }
    pthread_rwlock_unlock(&world->model_lock);
    free(lists);
    remember_user(f, cases[0]->ev.user);
}
