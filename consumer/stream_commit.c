#include "consumer/stream_internal.h"

enum fate stream_fate(struct stream *s, rd_kafka_error_t *e, const char *what) {
    if (!e)
        return FATE_OK;
    enum fate f = rd_kafka_error_is_fatal(e)             ? FATE_FATAL
                  : rd_kafka_error_txn_requires_abort(e) ? FATE_ABORT
                  : rd_kafka_error_is_retriable(e)       ? FATE_RETRY
                                                         : FATE_ABORT;
    rd_kafka_resp_err_t code = rd_kafka_error_code(e);
    log_line(f == FATE_FATAL ? LOG_ERROR : LOG_WARNING, what, "worker=%u error=%s", s->c->index,
             log_q(rd_kafka_error_string(e)));
    if (f == FATE_FATAL)
        stop_with(s, code == RD_KAFKA_RESP_ERR__FENCED ? STREAM_FENCED : STREAM_FAILED);
    rd_kafka_error_destroy(e);
    return f;
}

static void abort_transaction(struct stream *s) {
    metric_add(&s->metrics->aborts, 1);
    for (int tries = 0; tries < 20; tries++)
        if (stream_fate(s, rd_kafka_abort_transaction(s->producer, API_TIMEOUT_MS),
                        "abort-failed") != FATE_RETRY)
            return;
}

static int put_changelog(void *ctx, const void *key, size_t key_n, const void *value,
                         size_t value_n) {
    struct {
        struct stream *s;
        int32_t partition;
    } *c = ctx;
    return outbox_put(&c->s->outbox, c->s->changelog, c->partition, key, key_n, value, value_n, 0,
                      NULL);
}

static int collect_changes(struct stream *s) {
    for (size_t i = 0; i < s->n_slots; i++) {
        if (!s->slots[i].ready)
            continue;
        struct {
            struct stream *s;
            int32_t partition;
        } ctx = {s, s->slots[i].lane->partition};
        int r = lane_changes(s->slots[i].lane, put_changelog, &ctx);
        if (r < 0)
            return r;
    }
    return 0;
}

static void add_positions(struct stream *s, bool only_moved,
                          rd_kafka_topic_partition_list_t *list) {
    for (size_t i = 0; i < s->n_slots; i++) {
        const struct slot *slot = &s->slots[i];
        if (slot->ready && slot->next_offset >= 0 && (slot->moved || !only_moved))
            rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream,
                                              slot->lane->partition)
                ->offset = slot->next_offset;
    }
}

/* Never none where there is one: it is by its offsets that a transaction is refused when the
 * group has given our partitions to another meanwhile, who fires the same timers. */
static rd_kafka_topic_partition_list_t *positions(struct stream *s) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots + 1);
    add_positions(s, true, list);
    if (!list->cnt)
        add_positions(s, false, list);
    return list;
}

bool stream_wait_for_cache(struct stream *s) {
    if (cache_wait(s->cache) == 0)
        return true;
    log_warning("redis-away", "worker=%u error=%s intake=paused", s->c->index,
                log_q(cache_error(s->cache)));
    metric_set(&s->metrics->paused, 1);
    stream_pause(s);
    while (running(s) && cache_wait(s->cache) < 0) {
        stream_restore(s);
        poll(NULL, 0, 50);
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->consumer, 0);
        if (!m)
            continue;
        if (!m->err) {
            stream_keep(s, m);
            continue;
        }
        stream_on_error(s, m);
        rd_kafka_message_destroy(m);
    }
    metric_set(&s->metrics->paused, 0);
    if (!running(s))
        return false;
    log_info("redis-back", "worker=%u intake=resumed", s->c->index);
    stream_resume(s);
    return true;
}

static bool commit_exactly_once(struct stream *s, rd_kafka_topic_partition_list_t *offsets) {
    if (stream_fate(s, rd_kafka_begin_transaction(s->producer), "begin-failed") != FATE_OK)
        return false;
    enum fate f = FATE_OK;
    rd_kafka_resp_err_t err = outbox_produce(&s->outbox, s->producer);
    if (err) {
        log_warning("produce-failed", "worker=%u error=%s", s->c->index,
                    log_q(rd_kafka_err2str(err)));
        f = FATE_ABORT;
    }
    if (f == FATE_OK && offsets->cnt) {
        rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(s->consumer);
        do
            f = stream_fate(
                s,
                rd_kafka_send_offsets_to_transaction(s->producer, offsets, group, API_TIMEOUT_MS),
                "offsets-failed");
        while (f == FATE_RETRY);
        rd_kafka_consumer_group_metadata_destroy(group);
    }
    if (f == FATE_OK)
        do
            f = stream_fate(s, rd_kafka_commit_transaction(s->producer, API_TIMEOUT_MS),
                            "commit-failed");
        while (f == FATE_RETRY);
    if (f == FATE_ABORT)
        abort_transaction(s);
    return f == FATE_OK;
}

/* Waits until all that was handed over is delivered; not for ever when asked to stop. */
static bool delivered(struct stream *s) {
    for (int tries = 0; rd_kafka_outq_len(s->producer) > 0 && !s->ended;) {
        if (!running(s) && tries++ == 2 * API_TIMEOUT_MS / 1000)
            return false;
        rd_kafka_flush(s->producer, 500);
    }
    return !s->failed_delivery;
}

/* What people shall receive before the state that remembers it as done: a crash between the
 * two repeats triggers, the other way round it would lose them. */
static bool commit_at_least_once(struct stream *s, size_t outcomes,
                                 rd_kafka_topic_partition_list_t *offsets) {
    s->failed_delivery = false;
    rd_kafka_resp_err_t err = outbox_produce_first(&s->outbox, s->producer, outcomes);
    bool ok = !err && delivered(s);
    if (ok) {
        err = outbox_produce(&s->outbox, s->producer);
        ok = !err && delivered(s);
    }
    outbox_clear(&s->outbox);
    if (ok && offsets->cnt)
        err = rd_kafka_commit(s->consumer, offsets, 0);
    if (err || !ok)
        log_warning("commit-failed", "worker=%u error=%s", s->c->index,
                    log_q(err ? rd_kafka_err2str(err) : "not delivered"));
    return ok && !err;
}

void stream_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct stream *s = opaque;
    (void)rk;
    if (m->err)
        s->failed_delivery = true;
}

bool stream_commit(struct stream *s, bool patient) {
    if (s->must_rewind || (s->ended && s->end != STREAM_STOPPED))
        return false;
    size_t outcomes = s->outbox.n;
    if (collect_changes(s) < 0) {
        log_error("out-of-memory", "worker=%u while=\"collecting changes\"", s->c->index);
        stop_with(s, STREAM_FAILED);
        return false;
    }
    bool nothing = s->outbox.n == 0 && s->uncommitted == 0;
    bool sent = cache_send(s->cache) == 0;
    if (patient ? !stream_wait_for_cache(s) : !sent || cache_wait(s->cache) < 0) {
        outbox_clear(&s->outbox);
        return nothing;
    }
    if (s->must_rewind) /* partitions were taken away while we waited */
        return false;
    if (nothing)
        return true;
    int64_t start = clock_mono_us();
    rd_kafka_topic_partition_list_t *offsets = positions(s);
    bool ok = exactly_once(s) ? commit_exactly_once(s, offsets)
                              : commit_at_least_once(s, outcomes, offsets);
    rd_kafka_topic_partition_list_destroy(offsets);
    if (!ok)
        return false;
    metric_add(&s->metrics->commits, 1);
    hist_add(&s->metrics->commit_latency, clock_mono_us() - start);
    for (size_t i = 0; i < s->n_slots; i++)
        s->slots[i].moved = false;
    s->uncommitted = 0;
    worker_drops_committed(s->worker);
    stream_show_notices(s);
    return true;
}
