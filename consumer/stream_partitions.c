#include "consumer/stream_internal.h"

#include <sys/random.h>

enum {
    REWIND_WAIT_MS = 50,
    REWIND_WAIT_MAX_MS = 3000,
    OFFSETS_WAIT_MS = 200,
    OFFSETS_SAY_US = 5000000,
};

/* A lane counts for this process's share of the budgets only while what it spent is known. */
static void set_ready(struct stream *s, struct slot *slot, bool ready) {
    if (slot->ready == ready)
        return;
    slot->ready = ready;
    if (slot->partition == 0)
        atomic_store(s->c->leads, ready);
    unsigned delta = ready ? 1 : -1u, owned = atomic_fetch_add(s->c->owned, delta) + delta;
    policy_set_budget_share(s->c->world->policies, owned, (uint32_t)s->c->partitions);
}

void stream_drop_slot(struct stream *s, size_t i, bool committed) {
    struct slot *slot = &s->slots[i];
    if (slot->partition == s->snap.partition)
        stream_snapshot_drop(s);
    set_ready(s, slot, false);
    restorer_give_back(s->c->restorer, slot->partition, slot->lane,
                       committed ? slot->changelog_next : -1);
    s->slots[i] = s->slots[--s->n_slots];
}

/* Positions as committed, stable (transactions decided). Waits for them as long as it takes: an
 * outage ends no worker. -EINTR: asked to stop; -EIO: none will come, and the stream has ended. */
static int committed_offsets(struct stream *s, rd_kafka_topic_partition_list_t *list) {
    for (int64_t said_us = 0;;) {
        rd_kafka_resp_err_t err = rd_kafka_committed(s->consumer, list, API_TIMEOUT_MS);
        for (int i = 0; i < list->cnt && !err; i++)
            err = list->elems[i].err;
        if (!err)
            return 0;
        if (!running(s))
            return -EINTR;
        if (rd_kafka_fatal_error(s->consumer, NULL, 0)) {
            stream_on_fatal(s);
            return -EIO;
        }
        if (kafka_forbids(err)) {
            stream_forbidden(s, s->cfg->app_name, err);
            return -EIO;
        }
        if (clock_mono_us() - said_us > OFFSETS_SAY_US) {
            said_us = clock_mono_us();
            log_warning("offsets-wait", "worker=%u error=%s", s->c->index,
                        log_q(rd_kafka_err2str(err)));
        }
        poll(NULL, 0, OFFSETS_WAIT_MS);
    }
}

static void pause_partitions(struct stream *s, bool only_unready) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)s->n_slots + 1);
    for (size_t i = 0; i < s->n_slots; i++)
        if (!only_unready || !s->slots[i].ready)
            rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream,
                                              s->slots[i].partition);
    if (list->cnt)
        rd_kafka_pause_partitions(s->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

void stream_pause(struct stream *s) {
    pause_partitions(s, false);
}

/* What cannot be done (in the middle of a rebalance, say) asks for another rewind. */
static void seek_all(struct stream *s, rd_kafka_topic_partition_list_t *list) {
    rd_kafka_error_t *e =
        list->cnt ? rd_kafka_seek_partitions(s->consumer, list, API_TIMEOUT_MS) : NULL;
    if (e) {
        log_warning("seek-failed", "error=%s", log_q(rd_kafka_error_string(e)));
        s->must_rewind = true;
    }
    rd_kafka_error_destroy(e);
    /* Positions per partition are errors of their own. */
    for (int i = 0; i < list->cnt; i++)
        /* __STATE: not fetched from yet; that begins where it was assigned, which is there. */
        if (list->elems[i].err && list->elems[i].err != RD_KAFKA_RESP_ERR__STATE) {
            log_warning("seek-failed", "partition=%d error=%s", list->elems[i].partition,
                        log_q(rd_kafka_err2str(list->elems[i].err)));
            s->must_rewind = true;
        }
}

/* Lets a ready partition flow, again from the first message that came too early. */
static void resume(struct stream *s, struct slot *slot) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream, slot->partition)->offset =
        slot->held;
    if (slot->held >= 0)
        seek_all(s, list);
    slot->held = -1;
    rd_kafka_resume_partitions(s->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void slot_ready(struct stream *s, struct slot *slot, const struct restored *r) {
    static const char *const from[] = {"changelog", "snapshot", "standby"};
    slot->lane = r->lane;
    slot->lane->drops_seen = slot->drops_committed;
    slot->changelog_next = slot->changelog_sent = r->next;
    if (!slot->lane->epoch) { /* a changelog that nobody began, or an older version */
        while (getrandom(&slot->lane->epoch, sizeof slot->lane->epoch, 0) < 0)
            ;
        slot->lane->epoch |= 1;
        slot->lane->changed = true;
    }
    set_ready(s, slot, true);
    slot->rewriting = true; /* the cache may lack what a crash kept from it */
    slot->rewrite_cursor = 0;
    log_info("partition-ready", "partition=%d offset=%lld restored=%lld users=%zu ms=%lld from=%s",
             slot->partition, (long long)slot->next_offset, (long long)r->records,
             shard_users(slot->lane->users), (long long)r->us / 1000, from[r->from]);
    resume(s, slot);
}

void stream_restored(struct stream *s) {
    for (size_t i = 0; i < s->n_slots && !s->ended; i++) {
        struct restored done;
        int r = s->slots[i].lane ? 0 : restorer_take(s->c->restorer, s->slots[i].partition, &done);
        if (r == 1)
            slot_ready(s, &s->slots[i], &done);
        else if (r < 0)
            stop_with(s, STREAM_FAILED);
    }
}

static int add_slot(struct stream *s, int32_t partition, int64_t offset) {
    struct slot *p = reallocarray(s->slots, s->n_slots + 1, sizeof *p);
    if (!p)
        return -ENOMEM;
    s->slots = p;
    p[s->n_slots++] = (struct slot){
        .partition = partition,
        .next_offset = offset,
        .held = -1,
        .first_offset = -1,
        /* Prices that fell before are not news. */
        .drops_committed = __atomic_load_n(&s->c->world->n_drops, __ATOMIC_RELAXED),
    };
    restorer_begin(s->c->restorer, partition);
    return 0;
}

static int assigned(struct stream *s, rd_kafka_topic_partition_list_t *parts) {
    int r = parts->cnt ? committed_offsets(s, parts) : 0;
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
    pause_partitions(s, true);
    return 0;
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
    bool committed = !lost && stream_commit(s, false);
    if (lost)
        s->must_rewind = true;
    /* Lists of ours went, or will go, to Redis over those of the next owner. */
    if (lost || cache_overwrites(s->cache))
        cache_outdated(s->cache);
    for (int i = 0; i < parts->cnt; i++) {
        struct slot *slot = slot_of(s, parts->elems[i].partition);
        if (slot)
            stream_drop_slot(s, (size_t)(slot - s->slots), committed);
    }
}

void stream_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *parts, void *opaque) {
    struct stream *s = opaque;
    if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        log_info("assigned", "worker=%u partitions=%d", s->c->index, parts->cnt);
        metric_add(&s->metrics->rebalances, 1);
        int r = assigned(s, parts);
        if (r < 0 && r != -EINTR)
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

/* The lane is dropped, to be read back and to go on from `offset`. */
static void rewind_slot(struct stream *s, struct slot *slot, int64_t offset) {
    slot->at_end = false;
    slot->held = -1;
    slot->next_offset = offset;
    if (!slot->lane) /* is being read back anyway */
        return;
    set_ready(s, slot, false);
    lane_free(TAKE(slot->lane));
    restorer_begin(s->c->restorer, slot->partition);
}

/* Where to go on: what is committed, else the first event ever taken, else nowhere yet. */
static int rewind_all(struct stream *s) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new((int)s->n_slots);
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *moved =
        rd_kafka_topic_partition_list_new((int)s->n_slots);
    for (size_t i = 0; i < s->n_slots; i++)
        rd_kafka_topic_partition_list_add(list, s->cfg->topics_clickstream, s->slots[i].partition);
    int r = committed_offsets(s, list);
    for (size_t i = 0; i < s->n_slots && r == 0; i++) {
        const rd_kafka_topic_partition_t *p = &list->elems[i];
        int64_t offset = p->offset >= 0 ? p->offset : s->slots[i].first_offset;
        if (offset >= 0)
            rd_kafka_topic_partition_list_add(moved, p->topic, p->partition)->offset = offset;
        rewind_slot(s, &s->slots[i], offset);
    }
    if (r == 0)
        seek_all(s, moved);
    return r;
}

void stream_rewind(struct stream *s) {
    s->must_rewind = false;
    stream_snapshot_drop(s);
    metric_add(&s->metrics->rewinds, 1);
    if (s->c->world->exact) { /* the model has to go back as well */
        log_warning("undone", "worker=%u do=\"starts anew from what is committed\"", s->c->index);
        stop_with(s, STREAM_UNDONE);
        return;
    }
    for (size_t i = 0; i < s->n_msgs; i++)
        rd_kafka_message_destroy(s->msgs[i]);
    s->n_msgs = 0;
    s->uncommitted = 0;
    outbox_clear(&s->outbox);
    buf_reset(&s->notices);
    share_reset(&s->told);
    if (!s->n_slots)
        return;
    /* What fails again and again must not keep everybody busy. */
    poll(NULL, 0, MIN(REWIND_WAIT_MS << MIN(s->rewinds_in_a_row, 6), REWIND_WAIT_MAX_MS));
    s->rewinds_in_a_row++;
    stream_pause(s);
    int r = rewind_all(s);
    if (r == 0)
        log_warning("rewound", "worker=%u partitions=%zu", s->c->index, s->n_slots);
    else if (r != -EINTR)
        stop_with(s, STREAM_FAILED);
}

void stream_resume(struct stream *s) {
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].ready)
            resume(s, &s->slots[i]);
}

void stream_keep(struct stream *s, rd_kafka_message_t *m) {
    struct slot *slot = slot_of(s, m->partition);
    if (slot && slot->first_offset < 0)
        slot->first_offset = m->offset;
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
