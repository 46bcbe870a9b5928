#include "consumer/refused.h"

#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/schema_store.h"

enum { SAY_EVERY_MS = 10000 };

struct letters {
    struct outbox out;
    uint64_t by_reason[DEAD_COUNT];
};

struct refused {
    const struct config *cfg;
    struct metrics *metrics;
    const atomic_bool *leads;
    struct encoder *encoder;
    struct buf scratch;
    struct letters recent, older; /* not sent, because the first partition is another's */
    int64_t aged_us;              /* when `recent` became `older` last */
    uint64_t count;
    uint64_t unsaid, lost; /* records and letters, since the last line in the log */
    int64_t said_us;
    char last[512]; /* the newest one, as the log shows it */
};

int refused_new(const struct config *cfg, struct metrics *m, const atomic_bool *leads,
                const atomic_bool *stop, struct refused **ret) {
    static const int32_t letter = SCHEMA_LETTER;
    autofree(refused_free) struct refused *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->cfg = cfg;
    r->metrics = m;
    r->leads = leads;
    int rc = encoder_new(cfg, (enum data_format)cfg->topics_output_format, &r->encoder);
    if (rc == 0)
        rc = encoder_register(r->encoder, &letter, 1, stop);
    if (rc < 0)
        return rc;
    *ret = TAKE(r);
    return 0;
}

void refused_free(struct refused *r) {
    if (!r)
        return;
    outbox_free(&r->recent.out);
    outbox_free(&r->older.out);
    buf_free(&r->scratch);
    encoder_free(r->encoder);
    free(r);
}

static void keep_letter(struct refused *r, const rd_kafka_message_t *m, const struct origin *from,
                        const struct dead *why) {
    if (r->recent.out.bytes.n + r->older.out.bytes.n >= REFUSED_MAX_BYTES ||
        letter_put(&r->recent.out, r->cfg, r->encoder, &r->scratch, m, from, why) < 0)
        r->lost++;
    else
        r->recent.by_reason[why->reason]++;
}

void refused_add(struct refused *r, const rd_kafka_message_t *m, const struct origin *from,
                 const struct dead *why, bool letter) {
    snprintf(r->last, sizeof r->last, "topic=%s partition=%d offset=%lld reason=%s detail=%s",
             from->topic, from->partition, (long long)from->offset,
             why->reason == DEAD_NONE ? "unusable" : dead_reason_name(why->reason),
             log_q(why->detail));
    log_debug("record-refused", "%s", r->last);
    metric_add(&r->metrics->refused_records, 1);
    r->count++;
    r->unsaid++;
    if (letter && why->reason != DEAD_NONE)
        keep_letter(r, m, from, why);
}

static void clear(struct letters *l) {
    outbox_clear(&l->out);
    memset(l->by_reason, 0, sizeof l->by_reason);
}

static void send_letters(struct refused *r, struct letters *l, rd_kafka_t *producer) {
    uint64_t dropped = 0;
    rd_kafka_resp_err_t err = outbox_produce(&l->out, producer, 0, l->out.n, &dropped);
    if (err)
        log_warning("letters-not-sent", "error=%s", log_q(rd_kafka_err2str(err)));
    metric_add(&r->metrics->too_large, dropped);
    for (int i = 0; i < DEAD_COUNT; i++)
        metric_add(&r->metrics->dead[i], l->by_reason[i]);
    clear(l);
}

static void age(struct refused *r, int64_t now_us) {
    if (now_us - r->aged_us < REFUSED_KEEP_MS * INT64_C(1000))
        return;
    r->aged_us = now_us;
    clear(&r->older);
    struct letters emptied = r->older;
    r->older = r->recent;
    r->recent = emptied;
}

void refused_turn(struct refused *r, rd_kafka_t *producer, int64_t now_us) {
    if (atomic_load(r->leads)) {
        send_letters(r, &r->older, producer);
        send_letters(r, &r->recent, producer);
    } else {
        age(r, now_us);
    }
    if (!(r->unsaid || r->lost) || now_us - r->said_us < SAY_EVERY_MS * INT64_C(1000))
        return;
    log_warning("records-refused", "count=%llu letters_lost=%llu last: %s",
                (unsigned long long)r->unsaid, (unsigned long long)r->lost, r->last);
    r->said_us = now_us;
    r->unsaid = r->lost = 0;
}

void refused_undelivered(struct refused *r) {
    r->lost++;
}

uint64_t refused_count(const struct refused *r) {
    return r->count;
}
