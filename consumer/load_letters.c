/* Dead letters back onto the stream. How far they were sent is the committed position of the
 * group APP-from-dlq, moved in the same transaction as the records, so that neither a second
 * run nor a crash sends twice, and a run beside it is fenced off. A run for one reason passes the
 * others over without losing them: its position goes into the metadata of the commit
 * ("missing-user=120 bad-time=77") and the offset itself stays. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/edit.h"
#include "consumer/interrupt.h"
#include "consumer/kafka_util.h"
#include "consumer/load.h"
#include "consumer/log.h"
#include "consumer/topic_render.h"

enum { TIMEOUT_MS = 30000, POLL_MS = 100, BATCH = 500, SHOWN = 10 };

struct partition {
    int64_t low, end;            /* what there is */
    int64_t floor;               /* everything before it was sent */
    int64_t sent_to[DEAD_COUNT]; /* of one reason; at least floor */
    int64_t next;                /* where this run is */
    bool done, moved;
};

struct letters {
    const struct load_options *o;
    const char *topic;
    int reason; /* DEAD_NONE: all */
    rd_kafka_t *consumer, *producer;
    struct decoder *decoder, *json_decoder;
    struct config json_config; /* a shallow copy that reads JSON */
    struct encoder *encoder;
    struct partition *partition;
    int32_t n_partitions;
    struct buf line, value;
    bool in_transaction;
    uint64_t in_batch;
    uint64_t read, sent, other_reason, sent_before, not_a_letter, no_payload, edited_out;
    uint64_t still_bad[DEAD_COUNT], by_reason[DEAD_COUNT];
};

/* ---- positions ---- */

static void read_metadata(struct partition *p, const char *text, size_t n) {
    char copy[2048], *save = NULL;
    if (!text || n >= sizeof copy)
        return;
    memcpy(copy, text, n);
    copy[n] = '\0';
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        char *eq = strchr(w, '=');
        if (!eq)
            continue;
        *eq = '\0';
        for (int i = 0; i < DEAD_COUNT; i++)
            if (strcmp(w, dead_reason_name((enum dead_reason)i)) == 0)
                p->sent_to[i] = MAX(p->sent_to[i], strtoll(eq + 1, NULL, 10));
    }
}

static char *write_metadata(const struct partition *p) {
    struct buf b = {0};
    for (int i = 0; i < DEAD_COUNT; i++)
        if (p->sent_to[i] > p->floor) {
            char word[96];
            int n = snprintf(word, sizeof word, "%s%s=%" PRId64, b.n ? " " : "",
                             dead_reason_name((enum dead_reason)i), p->sent_to[i]);
            buf_put(&b, word, (size_t)n);
        }
    buf_put(&b, "", 1);
    if (b.failed)
        buf_free(&b);
    return (char *)b.p;
}

static int fail(const char *what, rd_kafka_resp_err_t err) {
    log_error("dead-letters", "failed=%s reason=%s", what, log_q(rd_kafka_err2str(err)));
    return -EIO;
}

static int read_position(struct letters *l, const rd_kafka_topic_partition_t *committed) {
    struct partition *p = &l->partition[committed->partition];
    rd_kafka_resp_err_t err =
        kafka_ends(l->consumer, l->topic, committed->partition, &p->low, &p->end, TIMEOUT_MS);
    if (err)
        return fail("offsets", err);
    p->floor = p->low;
    if (!l->o->from_start && committed->offset > p->low)
        p->floor = committed->offset;
    for (int i = 0; i < DEAD_COUNT; i++)
        p->sent_to[i] = p->floor;
    if (!l->o->from_start)
        read_metadata(p, committed->metadata, committed->metadata_size);
    p->next = l->reason == DEAD_NONE ? p->floor : p->sent_to[l->reason];
    p->done = p->next >= p->end;
    return 0;
}

static int assign(struct letters *l) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(l->n_partitions);
    for (int32_t i = 0; i < l->n_partitions; i++)
        rd_kafka_topic_partition_list_add(list, l->topic, i);
    rd_kafka_resp_err_t err = rd_kafka_committed(l->consumer, list, TIMEOUT_MS);
    if (err)
        return fail("position", err);
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *from =
        rd_kafka_topic_partition_list_new(l->n_partitions);
    for (int i = 0; i < list->cnt; i++) {
        int r = read_position(l, &list->elems[i]);
        if (r < 0)
            return r;
        const struct partition *p = &l->partition[list->elems[i].partition];
        if (!p->done)
            rd_kafka_topic_partition_list_add(from, l->topic, list->elems[i].partition)->offset =
                p->next;
    }
    err = rd_kafka_assign(l->consumer, from);
    return err ? fail("assign", err) : 0;
}

/* ---- transactions ---- */

static int fail_transaction(const char *what, rd_kafka_error_t *e) {
    bool fenced = rd_kafka_error_code(e) == RD_KAFKA_RESP_ERR__FENCED;
    log_error("dead-letters", "failed=%s reason=%s%s", what, log_q(rd_kafka_error_string(e)),
              fenced ? " do=\"another run took over; start this one again when it is done\"" : "");
    rd_kafka_error_destroy(e);
    return -EIO;
}

static int begin(struct letters *l) {
    if (l->in_transaction)
        return 0;
    rd_kafka_error_t *e = rd_kafka_begin_transaction(l->producer);
    if (e)
        return fail_transaction("begin", e);
    l->in_transaction = true;
    return 0;
}

static int commit(struct letters *l) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(l->n_partitions);
    for (int32_t i = 0; i < l->n_partitions; i++) {
        struct partition *p = &l->partition[i];
        if (!p->moved)
            continue;
        if (l->reason == DEAD_NONE)
            p->floor = p->next;
        else
            p->sent_to[l->reason] = p->next;
        rd_kafka_topic_partition_t *to = rd_kafka_topic_partition_list_add(list, l->topic, i);
        to->offset = p->floor;
        to->metadata = write_metadata(p);
        if (!to->metadata)
            return -ENOMEM;
        to->metadata_size = strlen(to->metadata);
        p->moved = false;
    }
    if (list->cnt == 0)
        return 0;
    int r = begin(l);
    if (r < 0)
        return r;
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(l->consumer);
    rd_kafka_error_t *e =
        rd_kafka_send_offsets_to_transaction(l->producer, list, group, TIMEOUT_MS);
    rd_kafka_consumer_group_metadata_destroy(group);
    if (e)
        return fail_transaction("position", e);
    if ((e = rd_kafka_commit_transaction(l->producer, TIMEOUT_MS)))
        return fail_transaction("commit", e);
    l->in_transaction = false;
    l->in_batch = 0;
    return 0;
}

/* Those the record came with, then where it has been. */
static rd_kafka_headers_t *headers_of(const rd_kafka_message_t *m, const struct dead_letter *d) {
    char origin[320];
    snprintf(origin, sizeof origin, "%s/%" PRId32 "/%" PRId64,
             d->origin.topic ? d->origin.topic : "", d->origin.partition, d->origin.offset);
    rd_kafka_headers_t *had = NULL;
    rd_kafka_headers_t *h = rd_kafka_message_headers(m, &had) == RD_KAFKA_RESP_ERR_NO_ERROR && had
                                ? rd_kafka_headers_copy(had)
                                : rd_kafka_headers_new(2);
    static const char *const ours[] = {"beckon-reason", "beckon-dlq-origin", "beckon-dlq-reason"};
    for (size_t i = 0; i < ARRAY_LEN(ours); i++)
        rd_kafka_header_remove(h, ours[i]);
    rd_kafka_header_add(h, "beckon-dlq-origin", -1, origin, -1);
    rd_kafka_header_add(h, "beckon-dlq-reason", -1, dead_reason_name(d->reason), -1);
    return h;
}

static int produce(struct letters *l, const char *topic, struct str key, struct str value,
                   const rd_kafka_message_t *m, const struct dead_letter *d) {
    int r = begin(l);
    for (;;) {
        if (r < 0)
            return r;
        rd_kafka_headers_t *headers = headers_of(m, d);
        rd_kafka_resp_err_t err = rd_kafka_producev(
            l->producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
            RD_KAFKA_V_KEY(key.n ? key.p : NULL, key.n), RD_KAFKA_V_VALUE((void *)value.p, value.n),
            RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_END);
        if (err)
            rd_kafka_headers_destroy(headers);
        if (err != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return err ? fail("send", err) : 0;
        rd_kafka_poll(l->producer, POLL_MS);
        r = interrupted() ? -EINTR : 0;
    }
}

/* ---- one letter ---- */

/* The record as a line of JSON, for the command: as it came, decoded, or its bytes. */
static int line_of(struct letters *l, const struct dead_letter *d) {
    json_t *o = json_loadb(d->payload, d->payload_n, JSON_REJECT_DUPLICATES, NULL);
    if (o) {
        char *text = json_dumps(o, JSON_COMPACT);
        json_decref(o);
        if (!text)
            return -ENOMEM;
        buf_reset(&l->line);
        buf_put(&l->line, text, strlen(text));
        free(text);
        return l->line.failed ? -ENOMEM : 0;
    }
    return topic_render(l->o->cfg, l->decoder, d->origin.topic ? d->origin.topic : "", d->payload,
                        d->payload_n, &l->line);
}

/* What the command made of it, checked and encoded. 1: `key` and l->value are to be sent; 0:
 * not to be sent (counted). */
static int mend(struct letters *l, const struct dead_letter *d, const char *topic,
                struct str *key) {
    int r = line_of(l, d);
    if (r < 0) {
        l->still_bad[d->reason]++;
        return 0;
    }
    struct edit_vars vars = {dead_reason_name(d->reason), d->detail ? d->detail : "", *key,
                             d->origin.topic ? d->origin.topic : ""};
    r = edit_run(l->o->edit, &vars, (struct str){(const char *)l->line.p, l->line.n}, &l->value);
    if (r < 0)
        return r;
    if (l->value.n == 0) {
        l->edited_out++;
        return 0;
    }
    buf_reset(&l->line);
    buf_put(&l->line, l->value.p, l->value.n);
    struct dead why = {.schema_id = -1};
    struct event e;
    struct item_info i;
    struct control_info c;
    enum dead_reason dead;
    const void *p = l->line.p;
    size_t n = l->line.n;
    const struct config *cfg = l->o->cfg;
    if (strcmp(topic, cfg->topics_items) == 0) {
        dead = decode_item(l->json_decoder, p, n, *key, &d->origin, &i, &why);
        r = dead == DEAD_NONE ? encode_item(l->encoder, &i, &l->value) : 0;
        *key = i.id;
    } else if (strcmp(topic, cfg->topics_control) == 0) {
        dead = decode_control(l->json_decoder, p, n, *key, &d->origin, &c, &why);
        r = dead == DEAD_NONE ? encode_control(l->encoder, &c, &l->value) : 0;
        *key = c.user;
    } else {
        dead = decode_event(l->json_decoder, p, n, *key, &d->origin, INT64_MAX, &e, &why);
        r = dead == DEAD_NONE
                ? encode_event(l->encoder, &e, config_event_name(cfg, e.type), &l->value)
                : 0;
        *key = e.user;
    }
    if (r < 0)
        return r;
    if (dead != DEAD_NONE) {
        l->still_bad[dead]++;
        return 0;
    }
    return 1;
}

static void show(const struct letters *l, const struct dead_letter *d, const char *topic) {
    if (l->sent <= SHOWN)
        printf("%-18s %s/%" PRId32 "/%" PRId64 " to %s: %s\n", dead_reason_name(d->reason),
               d->origin.topic ? d->origin.topic : "?", d->origin.partition, d->origin.offset,
               topic, d->detail ? d->detail : "");
}

static int send_letter(struct letters *l, const rd_kafka_message_t *m,
                       const struct dead_letter *d) {
    const char *topic = l->o->topic ? l->o->topic : d->origin.topic;
    if (!topic || !*topic)
        topic = l->o->cfg->topics_clickstream;
    struct str key = {d->key, d->key_n}, value = {d->payload, d->payload_n};
    if (value.n == 0 || d->payload_bytes > d->payload_n) {
        l->no_payload++;
        return 0;
    }
    if (l->o->edit) {
        int r = mend(l, d, topic, &key);
        if (r <= 0)
            return r;
        value = (struct str){(const char *)l->value.p, l->value.n};
    }
    l->sent++;
    l->by_reason[d->reason]++;
    if (l->o->dry_run) {
        show(l, d, topic);
        return 0;
    }
    l->in_batch++;
    return produce(l, topic, key, value, m, d);
}

static int take_message(struct letters *l, const rd_kafka_message_t *m) {
    struct partition *p = &l->partition[m->partition];
    if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        p->done = true;
        return 0;
    }
    if (m->err)
        return fail("read", m->err);
    if (m->offset >= p->end) {
        p->done = true;
        return 0;
    }
    l->read++;
    struct dead_letter d;
    int r = 0;
    if (!m->payload || decode_dead_letter(l->decoder, m->payload, m->len, &d) < 0)
        l->not_a_letter++;
    else if (l->reason != DEAD_NONE && d.reason != (enum dead_reason)l->reason)
        l->other_reason++;
    else if (d.reason >= 0 && d.reason < DEAD_COUNT && m->offset < p->sent_to[d.reason])
        l->sent_before++;
    else
        r = send_letter(l, m, &d);
    decoder_reset(l->decoder);
    if (l->json_decoder)
        decoder_reset(l->json_decoder);
    if (r < 0)
        return r;
    p->next = m->offset + 1;
    p->moved = true;
    p->done = p->next >= p->end;
    return 0;
}

static bool all_done(const struct letters *l) {
    for (int32_t i = 0; i < l->n_partitions; i++)
        if (!l->partition[i].done)
            return false;
    return true;
}

static int send_all(struct letters *l) {
    uint64_t total = 0;
    for (int32_t i = 0; i < l->n_partitions; i++)
        total += (uint64_t)MAX(l->partition[i].end - l->partition[i].next, 0);
    struct progress progress = {.what = "dead letters", .total = total, .unit = "letters"};
    while (!all_done(l) && !interrupted() && !(l->o->limit && l->sent >= l->o->limit)) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(l->consumer, POLL_MS);
        int r = m ? take_message(l, m) : 0;
        if (m)
            rd_kafka_message_destroy(m);
        if (r == 0 && l->in_batch >= BATCH)
            r = commit(l);
        if (r < 0)
            return r;
        progress_show(&progress, l->read, l->sent, NULL);
    }
    progress_done(&progress, l->sent);
    return l->o->dry_run ? 0 : commit(l);
}

/* ---- the run ---- */

static int open_clients(struct letters *l) {
    const struct config *cfg = l->o->cfg;
    char name[96];
    snprintf(name, sizeof name, "%s-from-dlq", cfg->app_name);
    l->consumer =
        kafka_client(cfg, RD_KAFKA_CONSUMER,
                     (const char *[]){"group.id", name, "enable.auto.commit", "false",
                                      "isolation.level", "read_committed", "enable.partition.eof",
                                      "true", "auto.offset.reset", "earliest", NULL});
    if (!l->consumer)
        return -EINVAL;
    rd_kafka_poll_set_consumer(l->consumer);
    if (l->o->dry_run)
        return 0;
    l->producer = kafka_client(cfg, RD_KAFKA_PRODUCER,
                               (const char *[]){"transactional.id", name, "linger.ms", "5",
                                                "partitioner", "murmur2_random", NULL});
    if (!l->producer)
        return -EINVAL;
    /* Ends whatever another run has open, so that the positions read next are final. */
    rd_kafka_error_t *e = rd_kafka_init_transactions(l->producer, TIMEOUT_MS);
    return e ? fail_transaction("transactions", e) : 0;
}

static int open_codecs(struct letters *l) {
    const struct config *cfg = l->o->cfg;
    int r = decoder_new(cfg, &l->decoder);
    if (r < 0 || !l->o->edit)
        return r;
    l->json_config = *cfg;
    l->json_config.topics_format = FORMAT_JSON;
    r = decoder_new(&l->json_config, &l->json_decoder);
    return r < 0 ? r : encoder_new(cfg, l->o->format, &l->encoder);
}

static int prepare(struct letters *l) {
    int r = open_codecs(l);
    if (r == 0)
        r = open_clients(l);
    if (r < 0)
        return r;
    r = kafka_partitions(l->consumer, l->topic, NULL, &l->n_partitions);
    if (r == -ENOENT) {
        fprintf(stderr, "there is no topic %s, so there are no dead letters\n", l->topic);
        return r;
    }
    if (r < 0)
        return r;
    l->partition = calloc((size_t)l->n_partitions, sizeof *l->partition);
    return l->partition ? assign(l) : -ENOMEM;
}

static void report(const struct letters *l) {
    uint64_t bad = 0;
    printf("%s: %" PRIu64 " dead letters read, %" PRIu64 " %s\n", l->topic, l->read, l->sent,
           l->o->dry_run ? "would be sent" : "sent");
    for (int i = 0; i < DEAD_COUNT; i++)
        if (l->by_reason[i])
            printf("  %s %" PRIu64 "\n", dead_reason_name((enum dead_reason)i), l->by_reason[i]);
    for (int i = 0; i < DEAD_COUNT; i++)
        bad += l->still_bad[i];
    const struct {
        const char *why;
        uint64_t n;
    } left[] = {
        {"of other reasons", l->other_reason},        {"sent by an earlier run", l->sent_before},
        {"left out by the command", l->edited_out},   {"still bad", bad},
        {"without their whole bytes", l->no_payload}, {"that are no dead letters", l->not_a_letter},
    };
    for (size_t i = 0; i < ARRAY_LEN(left); i++)
        if (left[i].n)
            printf("  not sent: %" PRIu64 " %s\n", left[i].n, left[i].why);
    for (int i = 0; i < DEAD_COUNT; i++)
        if (l->still_bad[i])
            printf("    %s %" PRIu64 "\n", dead_reason_name((enum dead_reason)i), l->still_bad[i]);
}

static void letters_close(struct letters *l) {
    if (l->in_transaction) {
        rd_kafka_error_t *e = rd_kafka_abort_transaction(l->producer, TIMEOUT_MS);
        if (e)
            rd_kafka_error_destroy(e);
    }
    if (l->consumer)
        rd_kafka_consumer_close(l->consumer);
    kafka_client_free(l->consumer);
    kafka_client_free(l->producer);
    decoder_free(l->decoder);
    decoder_free(l->json_decoder);
    encoder_free(l->encoder);
    free(l->partition);
    buf_free(&l->line);
    buf_free(&l->value);
}

static int reason_of(const char *name) {
    for (int i = 0; i < DEAD_COUNT; i++)
        if (strcmp(name, dead_reason_name((enum dead_reason)i)) == 0)
            return i;
    fprintf(stderr, "--reason %s: use", name);
    for (int i = 0; i < DEAD_COUNT; i++)
        fprintf(stderr, "%s %s", i ? "," : "", dead_reason_name((enum dead_reason)i));
    fputc('\n', stderr);
    return -EINVAL;
}

int load_letters(const struct load_options *o) {
    struct letters l = {.o = o, .topic = o->cfg->topics_dlq, .reason = DEAD_NONE};
    if (!*l.topic) {
        fputs("topics.dead_letters is empty: dead letters are only counted\n", stderr);
        return EXIT_USAGE;
    }
    if (o->reason && (l.reason = reason_of(o->reason)) < 0)
        return EXIT_USAGE;
    interrupt_catch();
    int r = prepare(&l);
    if (r == 0) {
        r = send_all(&l);
        if (r == 0)
            report(&l);
    }
    letters_close(&l);
    return r < 0 ? EXIT_FAILED : EXIT_DONE;
}
