#include "consumer/stream_internal.h"

enum { STOP_TRIES = 2, STOP_TIMEOUT_MS = 3000 };

/* Who is fenced was replaced by a newer one of its name, or hung in a transaction for longer than
 * the broker waits (SIGSTOP, a paused container): the answers are alike, the clock tells. */
static enum stream_end fenced(const struct stream *s) {
    int64_t us = s->transaction_us ? clock_mono_us() - s->transaction_us : 0;
    return us > s->transaction_ms * 1000 ? STREAM_STALLED : STREAM_FENCED;
}

/* INVALID_TXN_STATE: asked to end what the broker never began or has ended by itself, as after an
 * outage of all brokers. This producer is of no more use; a new one begins where it was. */
static enum stream_end end_for(const struct stream *s, rd_kafka_resp_err_t code) {
    return code == RD_KAFKA_RESP_ERR__FENCED             ? fenced(s)
           : code == RD_KAFKA_RESP_ERR_INVALID_TXN_STATE ? STREAM_STALLED
                                                         : STREAM_FAILED;
}

enum fate stream_fate(struct stream *s, rd_kafka_error_t *e, const char *what) {
    if (!e)
        return FATE_OK;
    enum fate f = rd_kafka_error_is_fatal(e)             ? FATE_FATAL
                  : rd_kafka_error_txn_requires_abort(e) ? FATE_ABORT
                  : rd_kafka_error_is_retriable(e)       ? FATE_RETRY
                                                         : FATE_ABORT;
    rd_kafka_resp_err_t code = rd_kafka_error_code(e);
    if (kafka_forbids(code)) {
        stream_forbidden(s, s->name, code);
        rd_kafka_error_destroy(e);
        return FATE_FATAL;
    }
    log_line(f == FATE_FATAL ? LOG_ERROR : LOG_WARNING, what, "worker=%u error=%s", s->c->index,
             log_q(rd_kafka_error_string(e)));
    if (f == FATE_FATAL)
        stop_with(s, end_for(s, code));
    rd_kafka_error_destroy(e);
    return f;
}

/* Retriable faults are retried while we run, and a few times when asked to stop: what is left
 * undecided then, the next start of the same transactional id decides. */
static int patience(const struct stream *s) {
    return running(s) ? API_TIMEOUT_MS : STOP_TIMEOUT_MS;
}

static bool again(const struct stream *s, int *tries) {
    return running(s) || ++*tries < STOP_TRIES;
}

static void abort_transaction(struct stream *s) {
    metric_add(&s->metrics->aborts, 1);
    int tries = 0;
    while (stream_fate(s, rd_kafka_abort_transaction(s->producer, patience(s)), "abort-failed") ==
               FATE_RETRY &&
           again(s, &tries))
        ;
}

static int put_changelog(void *ctx, const void *key, size_t key_n, const void *value,
                         size_t value_n) {
    struct {
        struct stream *s;
        int32_t partition;
    } *c = ctx;
    return outbox_put(&c->s->outbox, restorer_topic(c->s->c->restorer), c->partition, key, key_n,
                      value, value_n, 0, NULL);
}

static int put_model(void *ctx, const void *key, size_t key_n, const void *value, size_t value_n) {
    struct stream *s = ctx;
    return outbox_put(&s->outbox, s->model_topic, 0, key, key_n, value, value_n, 0, NULL);
}

/* All of the model goes with all partitions. */
static int collect_model(struct stream *s) {
    if (!s->c->world->exact || (!s->outbox.n && !s->uncommitted))
        return 0;
    if (s->n_slots == (size_t)s->c->partitions)
        return exact_changes(s->c->world->exact, put_model, s);
    log_error("not-alone",
              "partitions=%zu of=%d fix=\"with model.save_interval 0 run one process\"", s->n_slots,
              s->c->partitions);
    return -EBUSY;
}

static int collect_changes(struct stream *s) {
    for (size_t i = 0; i < s->n_slots; i++) {
        if (!s->slots[i].ready)
            continue;
        struct {
            struct stream *s;
            int32_t partition;
        } ctx = {s, s->slots[i].partition};
        int r = lane_changes(s->slots[i].lane, put_changelog, &ctx);
        if (r < 0)
            return r;
    }
    return collect_model(s);
}

/* Where all ready lanes are, moved or not: naming them in every transaction lets the group
 * refuse one whose partitions somebody else owns by now. */
static rd_kafka_topic_partition_list_t *positions(struct stream *s) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots + 1);
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].ready && s->slots[i].next_offset >= 0)
            rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream,
                                              s->slots[i].partition)
                ->offset = s->slots[i].next_offset;
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
        stream_restored(s);
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

static rd_kafka_resp_err_t produce(struct stream *s, size_t from, size_t to) {
    uint64_t dropped = 0;
    rd_kafka_resp_err_t err = outbox_produce(&s->outbox, s->producer, from, to, &dropped);
    metric_add(&s->metrics->produced, to - from - dropped);
    metric_add(&s->metrics->too_large, dropped);
    if (err)
        log_warning("produce-failed", "worker=%u error=%s", s->c->index,
                    log_q(rd_kafka_err2str(err)));
    return err;
}

static bool commit_exactly_once(struct stream *s, rd_kafka_topic_partition_list_t *offsets) {
    s->transaction_us = clock_mono_us();
    enum fate f = stream_fate(s, rd_kafka_begin_transaction(s->producer), "begin-failed");
    if (f != FATE_OK) { /* an abort that was given up stands in the way */
        if (f != FATE_FATAL)
            abort_transaction(s);
        return false;
    }
    int tries = 0;
    if (produce(s, 0, s->outbox.n))
        f = FATE_ABORT;
    if (f == FATE_OK && offsets->cnt) {
        rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(s->consumer);
        do
            f = stream_fate(
                s, rd_kafka_send_offsets_to_transaction(s->producer, offsets, group, patience(s)),
                "offsets-failed");
        while (f == FATE_RETRY && again(s, &tries));
        rd_kafka_consumer_group_metadata_destroy(group);
        if (f == FATE_RETRY)
            f = FATE_ABORT;
    }
    if (f == FATE_OK)
        do
            f = stream_fate(s, rd_kafka_commit_transaction(s->producer, patience(s)),
                            "commit-failed");
        while (f == FATE_RETRY && again(s, &tries));
    if (f == FATE_ABORT)
        abort_transaction(s);
    return f == FATE_OK;
}

/* Delivered, all of it. */
static bool flush(struct stream *s) {
    for (int tries = 0; rd_kafka_outq_len(s->producer) > 0 && !s->ended && again(s, &tries);)
        rd_kafka_flush(s->producer, patience(s));
    return !s->failed_delivery && rd_kafka_outq_len(s->producer) == 0;
}

/* What goes out first, then the state that remembers it, then the offsets: whatever stops it in
 * between, an event is done again rather than taken for done. */
static bool commit_at_least_once(struct stream *s, rd_kafka_topic_partition_list_t *offsets,
                                 size_t results) {
    s->failed_delivery = false;
    if (produce(s, 0, results) || !flush(s) || produce(s, results, s->outbox.n) || !flush(s))
        return false;
    rd_kafka_resp_err_t err =
        offsets->cnt ? rd_kafka_commit(s->consumer, offsets, 0) : RD_KAFKA_RESP_ERR_NO_ERROR;
    if (err)
        log_warning("commit-failed", "worker=%u error=%s", s->c->index,
                    log_q(rd_kafka_err2str(err)));
    return !err;
}

void stream_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque) {
    struct stream *s = opaque;
    (void)rk;
    if (m->err) {
        s->failed_delivery = true;
    } else if (strcmp(rd_kafka_topic_name(m->rkt), restorer_topic(s->c->restorer)) == 0) {
        struct slot *slot = slot_of(s, m->partition);
        if (slot)
            slot->changelog_sent = MAX(slot->changelog_sent, m->offset + 1);
    }
    if (kafka_forbids(m->err))
        stream_forbidden(s, rd_kafka_topic_name(m->rkt), m->err);
}

static bool try_commit(struct stream *s, bool patient) {
    if (s->must_rewind || (s->ended && s->end != STREAM_STOPPED) ||
        rd_kafka_assignment_lost(s->consumer))
        return false;
    int r = stream_tell(s);
    size_t results = s->outbox.n;
    if (r == 0)
        r = collect_changes(s);
    if (r == -EBUSY) {
        stop_with(s, STREAM_FAILED);
        return false;
    }
    if (r < 0) {
        log_error("out-of-memory", "worker=%u while=\"collecting changes\"", s->c->index);
        stop_with(s, STREAM_FAILED);
        return false;
    }
    bool sent = cache_send(s->cache) == 0;
    if (patient ? !stream_wait_for_cache(s) : !sent || cache_wait(s->cache) < 0)
        return s->outbox.n == 0 && s->uncommitted == 0;
    if (s->must_rewind) /* partitions were taken away while we waited */
        return false;
    if (s->outbox.n == 0 && s->uncommitted == 0)
        return true;
    int64_t start = clock_mono_us();
    rd_kafka_topic_partition_list_t *offsets = positions(s);
    bool ok = exactly_once(s) ? commit_exactly_once(s, offsets)
                              : commit_at_least_once(s, offsets, results);
    rd_kafka_topic_partition_list_destroy(offsets);
    if (!ok)
        return false;
    metric_add(&s->metrics->commits, 1);
    hist_add(&s->metrics->commit_latency, clock_mono_us() - start);
    s->uncommitted = 0;
    s->rewinds_in_a_row = 0;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].ready) {
            s->slots[i].drops_committed = s->slots[i].lane->drops_seen;
            s->slots[i].changelog_next = s->slots[i].changelog_sent;
        }
    stream_snapshot_committed(s);
    stream_show_notices(s);
    return true;
}

bool stream_commit(struct stream *s, bool patient) {
    bool ok = try_commit(s, patient);
    /* What had changed is no longer marked as such: only a rewind makes it good. */
    if (!ok) {
        s->must_rewind = true;
        if (s->c->world->exact)
            __atomic_store_n(&s->c->world->undone, true, __ATOMIC_RELEASE);
    }
    share_reset(&s->told);
    outbox_clear(&s->outbox);
    return ok;
}
