#include <inttypes.h>

#include "consumer/schema_store.h"
#include "consumer/stream_internal.h"

enum {
    REWRITE_SLICE = 256,     /* users ranked per turn while a wiped cache is filled again … */
    REWRITE_SLICE_BUSY = 32, /* … and when there are events as well */
    UPKEEP_MS = 100,
    MEASURE_MS = 1000,
    LOST_LATELY_US = 60000000,
};

/* ---- events ---- */

static void on_client_error(rd_kafka_t *rk, int err, const char *reason, void *opaque) {
    struct stream *s = opaque;
    (void)rk, (void)reason; /* logged by librdkafka */
    if (err == RD_KAFKA_RESP_ERR__TRANSPORT || err == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
        s->lost_us = clock_mono_us();
}

/* Whose coordinator dies with the answer to its joining is fenced by its own former self. If it
 * was another process after all, starting anew fences that one in turn: one of them stays. */
static bool lost_lately(const struct stream *s) {
    return s->lost_us && clock_mono_us() - s->lost_us < LOST_LATELY_US;
}

void stream_on_fatal(struct stream *s) {
    char text[256];
    rd_kafka_resp_err_t err = rd_kafka_fatal_error(s->consumer, text, sizeof text);
    log_error("consumer-failed", "worker=%u error=%s", s->c->index, log_q(text));
    s->must_rewind = true; /* nothing of it is ours to commit */
    stop_with(s, err != RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID ? STREAM_FAILED
                 : lost_lately(s)                            ? STREAM_STALLED
                                                             : STREAM_FENCED);
}

void stream_forbidden(struct stream *s, const char *what, rd_kafka_resp_err_t err) {
    if (!s->ended)
        kafka_say_forbidden(what, err);
    s->must_rewind = true;
    stop_with(s, STREAM_FAILED);
}

void stream_on_error(struct stream *s, const rd_kafka_message_t *m) {
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        struct slot *slot = slot_of(s, m->partition);
        if (slot)
            slot->at_end = true;
    } else if (rd_kafka_fatal_error(s->consumer, NULL, 0)) {
        stream_on_fatal(s);
    } else if (kafka_forbids(m->err)) {
        stream_forbidden(s, m->rkt ? rd_kafka_topic_name(m->rkt) : s->cfg->app_name, m->err);
    } else {
        log_warning("consume", "worker=%u error=%s", s->c->index,
                    log_q(rd_kafka_message_errstr(m)));
    }
}

static void gather(struct stream *s) {
    size_t max = (size_t)s->cfg->stream_batch;
    int64_t until = clock_mono_us() + s->cfg->stream_linger * 1000;
    int wait = s->uncommitted ? 1 : 20;
    while (s->n_msgs < max && running(s)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->consumer, s->n_msgs ? 0 : wait);
        if (!m) {
            if (!s->n_msgs || clock_mono_us() >= until)
                return;
            poll(NULL, 0, 1);
            continue;
        }
        if (!m->err) {
            if (!s->n_msgs)
                s->polled_us = clock_mono_us();
            stream_keep(s, m);
            continue;
        }
        stream_on_error(s, m);
        rd_kafka_message_destroy(m);
    }
}

/* Decodes what was gathered; what is not usable goes to the dead letters at once.
 * Stops early where the schema registry does not answer: the rest waits. */
static size_t decode(struct stream *s, int64_t wall_ms, size_t *ret_inputs) {
    size_t n = 0, i = 0;
    for (; i < s->n_msgs; i++) {
        rd_kafka_message_t *m = s->msgs[i];
        struct slot *slot = slot_of(s, m->partition);
        struct input *in = &s->inputs[n];
        memset(in, 0, offsetof(struct input, ev));
        in->lane = slot->lane;
        in->msg = m;
        in->origin = (struct origin){s->cfg->topics_clickstream, m->partition, m->offset,
                                     rd_kafka_message_timestamp(m, NULL)};
        struct dead why = {.schema_id = -1};
        struct str key = {m->key, m->key_len};
        metric_add(&s->metrics->bytes, m->len + m->key_len);
        enum dead_reason r =
            decode_event(s->decoder, m->payload, m->len, key, &in->origin, wall_ms, &in->ev, &why);
        in->schema_id = why.schema_id;
        if (r == DEAD_NONE)
            n++;
        else if (r == DECODE_RETRY)
            break;
        else if (stream_dead(s, in, &why) < 0)
            stop_with(s, STREAM_FAILED);
        slot->next_offset = m->offset + 1;
        if (!s->uncommitted++)
            s->oldest_uncommitted_us = clock_mono_us();
    }
    *ret_inputs = n;
    return i;
}

static void done_with(struct stream *s, size_t n) {
    for (size_t i = 0; i < n; i++)
        rd_kafka_message_destroy(s->msgs[i]);
    memmove(s->msgs, s->msgs + n, (s->n_msgs - n) * sizeof *s->msgs);
    s->n_msgs -= n;
    decoder_reset(s->decoder);
}

/* The schema registry does not answer: what was polled waits, no more is fetched, the consumer
 * stays in the group. */
static void wait_for_registry(struct stream *s) {
    stream_pause(s);
    metric_set(&s->metrics->paused, 1);
    poll(NULL, 0, 100);
    rd_kafka_message_t *m = rd_kafka_consumer_poll(s->consumer, 0);
    if (m && !m->err) {
        stream_keep(s, m);
    } else if (m) {
        stream_on_error(s, m);
        rd_kafka_message_destroy(m);
    }
    metric_set(&s->metrics->paused, 0);
    stream_resume(s);
}

/* How events fell into batches must not show where it is to go on as if it had never stopped: one
 * is looked up, learned and ranked before the next. */
static int step(struct stream *s, size_t n) {
    size_t at_once = s->c->world->exact ? 1 : n;
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i += at_once)
        r = worker_step(s->worker, s->inputs + i, at_once, clock_steady_ms());
    return r;
}

static void process(struct stream *s) {
    int64_t start = clock_mono_us(), polled = s->polled_us;
    size_t n = 0, done = decode(s, clock_wall_ms(), &n);
    bool unread = done < s->n_msgs;
    if (s->c->hooks.batch)
        s->c->hooks.batch(s->c->hooks.ctx, s->worker, s->inputs, n);
    if (step(s, n) < 0) {
        log_error("out-of-memory", "worker=%u while=\"processing events\"", s->c->index);
        stop_with(s, STREAM_FAILED);
    }
    /* Before anything polls: a rebalance may take partitions, and their messages, away. */
    done_with(s, done);
    metric_add(&s->metrics->batches, 1);
    int64_t sent = clock_mono_us();
    cache_send(s->cache);
    if (stream_wait_for_cache(s)) {
        int64_t now = clock_mono_us();
        hist_add(&s->metrics->redis_latency, now - sent);
        hist_add(&s->metrics->list_latency, now - polled);
        hist_add(&s->metrics->batch_latency, now - start);
    }
    if (unread)
        wait_for_registry(s);
}

/* Numbers that others keep. */
static void measure(struct stream *s) {
    struct metrics *m = s->metrics;
    struct learn_stats ls;
    learner_stats(worker_learner(s->worker), &ls);
    metric_total(&m->learn_steps, ls.steps);
    metric_total(&m->learn_negatives, ls.negatives);
    metric_total(&m->learn_clipped, ls.clipped);
    metric_total(&m->learn_nan, ls.nan_guarded);
    struct cache_stats cs;
    cache_stats(s->cache, &cs);
    metric_total(&m->redis_commands, cs.commands);
    metric_total(&m->redis_retries, cs.resent);
    int64_t restoring = 0;
    for (size_t i = 0; i < s->n_slots; i++)
        restoring += !s->slots[i].ready;
    metric_set(&m->partitions, (int64_t)s->n_slots);
    metric_set(&m->restoring, restoring);
    struct model_memory mm;
    size_t bytes = 0;
    pthread_rwlock_rdlock(&s->c->world->model_lock);
    model_memory(s->c->world->model, NULL, &mm);
    for (size_t i = 0; i < s->n_slots; i++)
        bytes += s->slots[i].lane ? lane_bytes(s->slots[i].lane) : 0;
    pthread_rwlock_unlock(&s->c->world->model_lock);
    metric_set(&m->items, (int64_t)mm.items);
    metric_set(&m->bytes_per_item, (int64_t)mm.bytes_per_item);
    metric_set(&m->user_bytes, (int64_t)bytes);
}

/* Timers of quiet lanes, price drops, a wiped cache, lag. */
static void upkeep(struct stream *s) {
    int64_t now = clock_steady_ms();
    if (now - s->upkeep_ms < UPKEEP_MS)
        return;
    s->upkeep_ms = now;
    int r = 0;
    /* At the second sight: what was polled meanwhile tells whether brokers were lost before it. */
    if (s->failing)
        stream_on_fatal(s);
    s->failing = rd_kafka_fatal_error(s->consumer, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    int64_t lag = 0, users = 0, delay = 0;
    for (size_t i = 0; i < s->n_slots && r == 0; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->ready)
            continue;
        users += (int64_t)shard_users(slot->lane->users);
        if (slot->lane->stream_ms != INT64_MIN)
            delay = MAX(delay, clock_wall_ms() - slot->lane->stream_ms);
        int64_t low, high;
        if (!rd_kafka_get_watermark_offsets(s->consumer, s->cfg->topics_clickstream,
                                            slot->partition, &low, &high) &&
            high >= 0 && slot->next_offset >= 0 && !slot->at_end)
            lag += MAX(0, high - slot->next_offset);
        /* Polled events that wait (for the registry, for Redis) come before any timer. */
        if (slot->at_end && !s->n_msgs && now - slot->lane->last_wall_ms >= s->cfg->stream_idle)
            r = worker_idle(s->worker, slot->lane, now);
        if (r == 0)
            r = worker_price_drops(s->worker, slot->lane, now);
    }
    metric_set(&s->metrics->lag, lag);
    metric_set(&s->metrics->users, users);
    metric_set(&s->metrics->stream_delay_ms, delay);
    if (now - s->measured_ms >= MEASURE_MS) {
        s->measured_ms = now;
        measure(s);
    }
    if (cache_wiped(s->cache)) {
        log_warning("rewriting", "worker=%u partitions=%zu", s->c->index, s->n_slots);
        for (size_t i = 0; i < s->n_slots; i++) {
            /* Not from the start, or frequent news would let none come to the end. */
            s->slots[i].rewrite_again = s->slots[i].rewriting && s->slots[i].rewrite_cursor;
            s->slots[i].rewriting = true;
        }
        worker_similar_again(s->worker);
    }
    if (r < 0)
        stop_with(s, STREAM_FAILED);
}

/* Lists of users of one lane that the cache lacks. */
static void rewrite_some(struct stream *s, size_t users) {
    for (size_t i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->ready || !slot->rewriting)
            continue;
        if (worker_rewrite(s->worker, slot->lane, &slot->rewrite_cursor, users, clock_steady_ms()))
            return;
        slot->rewrite_cursor = 0;
        slot->rewriting = slot->rewrite_again;
        slot->rewrite_again = false;
        return;
    }
}

static bool commit_due(const struct stream *s) {
    return s->uncommitted >= (size_t)s->cfg->stream_commit_events ||
           (s->uncommitted &&
            clock_mono_us() - s->oldest_uncommitted_us >= s->cfg->stream_commit_interval * 1000);
}

static void turn(struct stream *s) {
    stream_restored(s);
    gather(s);
    if (s->must_rewind) {
        stream_rewind(s);
        return;
    }
    bool busy = s->n_msgs > 0;
    if (busy)
        process(s);
    else
        worker_similar(s->worker, clock_steady_ms());
    stream_snapshot(s, busy);
    rewrite_some(s, busy ? REWRITE_SLICE_BUSY : REWRITE_SLICE);
    upkeep(s);
    bool unsent = s->outbox.n || cache_pending(s->cache);
    if (!s->ended && (commit_due(s) || (!s->uncommitted && unsent)))
        stream_commit(s, true);
    rd_kafka_poll(s->producer, 0);
}

/* ---- life ---- */

struct property {
    const char *name, *value;
    bool own; /* not for the `kafka:` section to change */
};

static rd_kafka_t *client(struct stream *s, rd_kafka_type_t type, bool in_group,
                          const struct property *p, size_t n) {
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = NULL;
    if (kafka_conf_new(s->cfg, &conf) < 0)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        int r = !p[i].value ? 0
                : p[i].own  ? kafka_conf_set(conf, p[i].name, p[i].value)
                            : kafka_conf_default(s->cfg, conf, p[i].name, p[i].value);
        if (r < 0)
            return NULL;
    }
    rd_kafka_conf_set_opaque(conf, s);
    if (in_group) {
        rd_kafka_conf_set_rebalance_cb(conf, stream_on_rebalance);
        rd_kafka_conf_set_error_cb(conf, on_client_error);
    }
    if (type == RD_KAFKA_PRODUCER)
        rd_kafka_conf_set_dr_msg_cb(conf, stream_on_delivery);
    return kafka_client_new(type, TAKE(conf));
}

static int open_clients(struct stream *s) {
    const struct config *cfg = s->cfg;
    snprintf(s->model_topic, sizeof s->model_topic, "beckon-%s-model", cfg->app_name);
    snprintf(s->name, sizeof s->name, "%s-%s-%u", cfg->app_name, cfg->app_instance, s->c->index);
    const struct property consume[] = {
        {"group.id", cfg->app_name, true},
        {"group.instance.id", s->c->static_member ? s->name : NULL, true},
        {"enable.auto.commit", "false", true},
        {"partition.assignment.strategy", "cooperative-sticky", true},
        {"isolation.level", "read_committed", true},
        {"enable.partition.eof", "true", true},
        {"auto.offset.reset", "earliest", false},
        {"session.timeout.ms", "15000", false},
    };
    char timeout[24];
    snprintf(timeout, sizeof timeout, "%" PRId64,
             MAX(INT64_C(10000), 3 * cfg->stream_commit_interval));
    const struct property produce[] = {
        {"transactional.id", exactly_once(s) ? s->name : NULL, true},
        {"enable.idempotence", "true", true},
        /* Who takes partitions over waits until what a dead process left undecided is. */
        {"transaction.timeout.ms", timeout, false},
        {"partitioner", "murmur2_random", false},
        {"linger.ms", "5", false},
        {"batch.num.messages", "50000", false},
        {"queue.buffering.max.messages", "500000", false},
    };
    s->consumer = client(s, RD_KAFKA_CONSUMER, true, consume, ARRAY_LEN(consume));
    s->producer = client(s, RD_KAFKA_PRODUCER, false, produce, ARRAY_LEN(produce));
    if (!s->consumer || !s->producer)
        return -EINVAL;
    size_t size = sizeof timeout;
    if (rd_kafka_conf_get(rd_kafka_conf(s->producer), "transaction.timeout.ms", timeout, &size) ==
        RD_KAFKA_CONF_OK)
        s->transaction_ms = strtoll(timeout, NULL, 10);
    rd_kafka_poll_set_consumer(s->consumer);
    while (exactly_once(s) && running(s)) {
        enum fate f = stream_fate(s, rd_kafka_init_transactions(s->producer, API_TIMEOUT_MS),
                                  "transactions-wait");
        if (f == FATE_OK)
            break;
        if (f != FATE_RETRY)
            return -EIO;
    }
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, cfg->topics_clickstream, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t err = rd_kafka_subscribe(s->consumer, topics);
    rd_kafka_topic_partition_list_destroy(topics);
    if (err)
        log_error("subscribe-failed", "error=%s", log_q(rd_kafka_err2str(err)));
    return err ? -EIO : 0;
}

static int open_stream(struct stream *s) {
    static const int32_t outputs[] = {SCHEMA_TRIGGER, SCHEMA_DECISION, SCHEMA_OUTCOME,
                                      SCHEMA_LETTER};
    s->sink = stream_sink(s);
    s->msgs = calloc((size_t)s->cfg->stream_batch, sizeof(void *));
    s->inputs = calloc((size_t)s->cfg->stream_batch, sizeof *s->inputs);
    if (!s->msgs || !s->inputs)
        return -ENOMEM;
    int r = worker_new(s->c->world, s->c->index, &s->sink, s->metrics, &s->worker);
    if (r == 0)
        r = cache_new(s->cfg, &s->cache);
    if (r == 0)
        r = decoder_new(s->cfg, &s->decoder);
    if (r == 0)
        r = encoder_new(s->cfg, (enum data_format)s->cfg->topics_output_format, &s->encoder);
    if (r == 0)
        r = encoder_register(s->encoder, outputs, ARRAY_LEN(outputs), s->c->stop);
    return r < 0 ? r : open_clients(s);
}

static void close_stream(struct stream *s) {
    bool had = s->n_slots > 0;
    if (s->consumer) {
        if (s->end == STREAM_STOPPED)
            stream_commit(s, false);
        rd_kafka_consumer_close(s->consumer); /* revokes: commits what is left, drops the lanes */
    }
    /* Slots that are left now were taken without a word, others may have had them for long. */
    if (had && (s->n_slots || s->end != STREAM_STOPPED))
        cache_outdated(s->cache);
    while (s->n_msgs)
        rd_kafka_message_destroy(s->msgs[--s->n_msgs]);
    stream_snapshot_drop(s);
    while (s->n_slots)
        stream_drop_slot(s, 0, false);
    if (s->producer)
        rd_kafka_destroy(s->producer);
    if (s->consumer)
        rd_kafka_destroy(s->consumer);
    if (s->cache)
        cache_send(s->cache), cache_wait(s->cache);
    cache_free(s->cache);
    decoder_free(s->decoder);
    encoder_free(s->encoder);
    worker_free(s->worker);
    outbox_free(&s->outbox);
    buf_free(&s->scratch);
    buf_free(&s->notices);
    buf_free(&s->told.buf);
    free(s->slots);
    free(s->msgs);
    free(s->inputs);
}

enum stream_end stream_run(const struct stream_config *c) {
    struct stream s = {.c = c,
                       .cfg = c->world->cfg,
                       .metrics = c->metrics,
                       .end = STREAM_STOPPED,
                       .snap = {.fd = -1}};
    int r = open_stream(&s);
    if (r < 0)
        stop_with(&s, r == -EINTR ? STREAM_STOPPED : STREAM_FAILED);
    while (running(&s))
        turn(&s);
    close_stream(&s);
    return s.end;
}
