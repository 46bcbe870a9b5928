#include "consumer/stream_internal.h"

enum { RESTORE_SLICE_US = 50000 }; /* how long restoring may keep the other partitions waiting */

void stream_drop_slot(struct stream *s, size_t i) {
    lane_free(s->slots[i].lane);
    s->slots[i] = s->slots[--s->n_slots];
}

static void share_budget(struct stream *s, int delta) {
    unsigned owned = atomic_fetch_add(s->c->owned, (unsigned)delta) + (unsigned)delta;
    policy_set_budget_share(s->c->world->policies, owned, (uint32_t)s->c->partitions);
}

/* Tells the restorer which changelog partitions are still being read. */
static int assign_restorer(struct stream *s) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots + 1);
    for (size_t i = 0; i < s->n_slots; i++)
        if (!s->slots[i].ready)
            rd_kafka_topic_partition_list_add(list, s->changelog, s->slots[i].lane->partition)
                ->offset = s->slots[i].restore_next;
    rd_kafka_resp_err_t err = rd_kafka_assign(s->restorer, list->cnt ? list : NULL);
    rd_kafka_topic_partition_list_destroy(list);
    if (err) {
        log_error("restore-failed", "error=%s", log_q(rd_kafka_err2str(err)));
        return -EIO;
    }
    return 0;
}

/* How far the changelog reaches, uncommitted records included: reading up to there
 * waits for transactions that are still being decided. */
static int changelog_end(struct stream *s, int32_t partition, int64_t *ret_low, int64_t *ret_end) {
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int tries = 0; tries < 30 && running(s); tries++) {
        err = rd_kafka_query_watermark_offsets(s->probe, s->changelog, partition, ret_low, ret_end,
                                               API_TIMEOUT_MS);
        if (!err)
            return 0;
        log_warning("changelog-waits", "partition=%d error=%s", partition,
                    log_q(rd_kafka_err2str(err)));
        poll(NULL, 0, 200);
    }
    log_error("changelog-unreachable", "topic=%s partition=%d error=%s", s->changelog, partition,
              log_q(rd_kafka_err2str(err)));
    return -EIO;
}

static int begin_restore(struct stream *s, struct slot *slot) {
    int64_t low = 0;
    int r = changelog_end(s, slot->lane->partition, &low, &slot->restore_end);
    if (r < 0)
        return r;
    slot->restore_next = low;
    slot->ready = slot->restore_end <= low;
    slot->restore_started_us = clock_mono_us();
    slot->restored = 0;
    return 0;
}

/* Positions as committed, stable (transactions decided). */
static int committed_offsets(struct stream *s, rd_kafka_topic_partition_list_t *list) {
    for (int tries = 0; tries < 100; tries++) {
        rd_kafka_resp_err_t err = rd_kafka_committed(s->consumer, list, API_TIMEOUT_MS);
        for (int i = 0; i < list->cnt && !err; i++)
            err = list->elems[i].err;
        if (!err)
            return 0;
        if (!running(s))
            return -EINTR;
        log_warning("offsets-wait", "error=%s", log_q(rd_kafka_err2str(err)));
        poll(NULL, 0, 200);
    }
    log_error("offsets-unreachable", "after=100 tries");
    return -EIO;
}

static void pause_partitions(struct stream *s, bool only_unready) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots + 1);
    for (size_t i = 0; i < s->n_slots; i++)
        if (!only_unready || !s->slots[i].ready)
            rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream,
                                              s->slots[i].lane->partition);
    if (list->cnt)
        rd_kafka_pause_partitions(s->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void stream_pause(struct stream *s) {
    pause_partitions(s, false);
}

/* Lets a ready partition flow, again from the first message that came too early. */
static void resume(struct stream *s, struct slot *slot) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream, slot->lane->partition)
        ->offset = slot->held;
    if (slot->held >= 0) {
        rd_kafka_error_t *e = rd_kafka_seek_partitions(s->consumer, list, API_TIMEOUT_MS);
        if (e)
            stop_with(s, STREAM_FAILED);
        else if (list->elems[0].err) /* what was held back must not be passed over */
            s->must_rewind = true;
        rd_kafka_error_destroy(e);
        slot->held = -1;
    }
    rd_kafka_resume_partitions(s->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void slot_ready(struct stream *s, struct slot *slot) {
    slot->ready = true;
    metric_set(&s->metrics->restore_ms, MAX(metric_gauge(&s->metrics->restore_ms),
                                            (clock_mono_us() - slot->restore_started_us) / 1000));
    slot->rewriting = true; /* the cache may lack what a crash kept from it */
    slot->rewrite_cursor = 0;
    log_info("partition-ready", "partition=%d offset=%lld restored=%lld users=%zu ms=%lld",
             slot->lane->partition, (long long)slot->next_offset, (long long)slot->restored,
             shard_users(slot->lane->users),
             (long long)(clock_mono_us() - slot->restore_started_us) / 1000);
    resume(s, slot);
}

static int add_slot(struct stream *s, int32_t partition, int64_t offset) {
    struct slot *p = reallocarray(s->slots, s->n_slots + 1, sizeof *p);
    if (!p)
        return -ENOMEM;
    s->slots = p;
    struct slot *slot = &p[s->n_slots];
    *slot = (struct slot){.next_offset = offset, .held = -1};
    int r = lane_new(s->c->world, partition, &slot->lane);
    if (r < 0)
        return r;
    s->n_slots++;
    return begin_restore(s, slot);
}

static int assigned(struct stream *s, rd_kafka_topic_partition_list_t *parts) {
    int r = parts->cnt ? committed_offsets(s, parts) : 0;
    size_t before = s->n_slots;
    for (int i = 0; i < parts->cnt && r == 0; i++) {
        rd_kafka_topic_partition_t *p = &parts->elems[i];
        if (p->offset < 0)
            p->offset = RD_KAFKA_OFFSET_INVALID; /* none committed: auto.offset.reset decides */
        r = add_slot(s, p->partition, p->offset);
        if (p->offset == RD_KAFKA_OFFSET_INVALID)
            p->offset = RD_KAFKA_OFFSET_STORED;
    }
    if (r < 0)
        return r;
    rd_kafka_error_t *e = rd_kafka_incremental_assign(s->consumer, parts);
    if (e) {
        log_error("assign-failed", "error=%s", log_q(rd_kafka_error_string(e)));
        rd_kafka_error_destroy(e);
        return -EIO;
    }
    share_budget(s, parts->cnt);
    pause_partitions(s, true);
    for (size_t i = before; i < s->n_slots; i++)
        if (s->slots[i].ready)
            slot_ready(s, &s->slots[i]);
    return assign_restorer(s);
}

static void forget_messages(struct stream *s, int32_t partition) {
    size_t kept = 0;
    for (size_t i = 0; i < s->n_msgs; i++)
        if (s->msgs[i]->partition == partition)
            rd_kafka_message_destroy(s->msgs[i]);
        else
            s->msgs[kept++] = s->msgs[i];
    s->n_msgs = kept;
}

static void revoked(struct stream *s, rd_kafka_topic_partition_list_t *parts, bool lost) {
    for (int i = 0; i < parts->cnt; i++)
        forget_messages(s, parts->elems[i].partition);
    /* Lost: somebody else owns them already, and what is not committed is his to do. */
    if (lost || !stream_commit(s, false))
        s->must_rewind = true;
    for (int i = 0; i < parts->cnt; i++) {
        struct slot *slot = slot_of(s, parts->elems[i].partition);
        if (slot)
            stream_drop_slot(s, (size_t)(slot - s->slots));
    }
    share_budget(s, -parts->cnt);
    assign_restorer(s);
}

void stream_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *parts, void *opaque) {
    struct stream *s = opaque;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        log_info("assigned", "worker=%u partitions=%d", s->c->index, parts->cnt);
        if (assigned(s, parts) < 0)
            stop_with(s, STREAM_FAILED);
        return;
    }
    metric_add(&s->metrics->rebalances, 1);
    bool lost = rd_kafka_assignment_lost(rk);
    log_info(lost ? "lost" : "revoked", "worker=%u partitions=%d", s->c->index, parts->cnt);
    revoked(s, parts, lost);
    rd_kafka_error_t *e = rd_kafka_incremental_unassign(rk, parts);
    if (e) {
        log_warning("unassign-failed", "error=%s", log_q(rd_kafka_error_string(e)));
        rd_kafka_error_destroy(e);
    }
}

/* Reads the changelog for a while; partitions whose end is reached become ready. */
void stream_restore(struct stream *s) {
    int64_t until = clock_mono_us() + RESTORE_SLICE_US;
    bool any = false;
    for (size_t i = 0; i < s->n_slots; i++)
        any |= !s->slots[i].ready;
    if (!any)
        return;
    while (clock_mono_us() < until && !s->ended) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(s->restorer, 10);
        if (!m)
            return;
        struct slot *slot = m->rkt ? slot_of(s, m->partition) : NULL;
        if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            log_warning("restore-waits", "error=%s", log_q(rd_kafka_message_errstr(m)));
        } else if (slot && !slot->ready) {
            if (!m->err) {
                int r = lane_restore(slot->lane, m->key, m->key_len, m->payload, m->len);
                if (r < 0) {
                    log_error("state-corrupt",
                              "topic=%s partition=%d offset=%lld error=%s fix=\"model.dim must be "
                              "what it was; "
                              "else delete the topic to start from nothing\"",
                              s->changelog, m->partition, (long long)m->offset,
                              log_q(strerror(-r)));
                    stop_with(s, STREAM_FAILED);
                }
                slot->restored++;
                metric_add(&s->metrics->restored_users, 1);
            }
            slot->restore_next = m->err ? m->offset : m->offset + 1;
            if (slot->restore_next >= slot->restore_end)
                slot_ready(s, slot);
        }
        rd_kafka_message_destroy(m);
    }
}

/* Back to what is committed: every lane is dropped and restored. */
void stream_rewind(struct stream *s) {
    s->must_rewind = false;
    metric_add(&s->metrics->rewinds, 1);
    for (size_t i = 0; i < s->n_msgs; i++)
        rd_kafka_message_destroy(s->msgs[i]);
    s->n_msgs = 0;
    s->uncommitted = 0;
    worker_drops_lost(s->worker);
    outbox_clear(&s->outbox);
    buf_reset(&s->notices);
    if (!s->n_slots)
        return;
    stream_pause(s);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots);
    for (size_t i = 0; i < s->n_slots; i++)
        rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream,
                                          s->slots[i].lane->partition);
    int r = committed_offsets(s, list);
    for (size_t i = 0; i < s->n_slots && r == 0; i++) {
        struct slot *slot = &s->slots[i];
        int32_t partition = slot->lane->partition;
        rd_kafka_topic_partition_t *p = &list->elems[i];
        if (p->offset < 0)
            p->offset = RD_KAFKA_OFFSET_BEGINNING;
        lane_free(slot->lane);
        slot->lane = NULL;
        slot->moved = slot->at_end = false;
        slot->held = -1;
        slot->next_offset = p->offset;
        r = lane_new(s->c->world, partition, &slot->lane);
        if (r == 0)
            r = begin_restore(s, slot);
    }
    if (r == 0) {
        rd_kafka_error_t *e = rd_kafka_seek_partitions(s->consumer, list, API_TIMEOUT_MS);
        if (e) {
            log_error("seek-failed", "error=%s", log_q(rd_kafka_error_string(e)));
            rd_kafka_error_destroy(e);
            r = -EIO;
        }
        /* __STATE: not fetched from yet; that begins where it was assigned, which is there. */
        for (int i = 0; i < list->cnt && r == 0; i++)
            if (list->elems[i].err && list->elems[i].err != RD_KAFKA_RESP_ERR__STATE) {
                log_error("seek-failed", "partition=%d error=%s", list->elems[i].partition,
                          log_q(rd_kafka_err2str(list->elems[i].err)));
                r = -EIO;
            }
    }
    rd_kafka_topic_partition_list_destroy(list);
    if (r == 0)
        r = assign_restorer(s);
    if (r < 0) {
        stop_with(s, STREAM_FAILED);
        return;
    }
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].ready)
            slot_ready(s, &s->slots[i]);
    log_warning("rewound", "worker=%u partitions=%zu", s->c->index, s->n_slots);
}

void stream_resume(struct stream *s) {
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].ready)
            resume(s, &s->slots[i]);
}

void stream_keep(struct stream *s, rd_kafka_message_t *m) {
    struct slot *slot = slot_of(s, m->partition);
    if (slot && slot->ready && slot->held < 0 && m->offset >= slot->next_offset &&
        s->n_msgs < (size_t)s->cfg->stream_batch) {
        slot->at_end = false;
        s->msgs[s->n_msgs++] = m;
        return;
    }
    if (slot && slot->held < 0 && m->offset >= slot->next_offset)
        slot->held = m->offset;
    rd_kafka_message_destroy(m);
}
