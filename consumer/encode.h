/* From Beckon's records to message bytes, in topics.output_format. One encoder per thread. */
#pragma once

#include <stdatomic.h>

#include "consumer/decode.h"
#include "policy/outcome.h"

/* What goes to campaign-triggers and (with suppressed ones) to decisions. */
struct trigger_record {
    char id[33]; /* trigger id, 32 hex digits: derived, so that readers can de-duplicate */
    struct str user, campaign, channel, offer; /* offer: JSON object, as configured */
    struct str variant, code;                  /* of the offer; empty: none */
    struct str cause;                          /* event id that set it off */
    struct str item;                           /* empty: none */
    double old_price, new_price;               /* NAN: none */
    int64_t time_ms, valid_until_ms;
    double propensity;
    const char *reason; /* policy_reason_name */
    struct str arms;    /* of experiments, "ID:ARM,…"; empty: none */
    bool exposed;       /* the user's first decision in one of them */
    bool sent;
    /* What a learned policy would have chosen where the rules chose for it; campaign empty:
     * nothing. Propensity 0: it chose itself. */
    struct str would_campaign, would_variant;
    double would_propensity;
    size_t n_items; /* the user's list at that moment, best first */
    struct str items[32];
};

/* What became of a decision, to the outcomes. */
struct outcome_record {
    char id[33]; /* of the decision */
    struct str user, campaign, channel;
    const struct outcome *o;
};

/* So that a letter fits into a message of a megabyte, in JSON (base64) as well. */
enum { DEAD_LETTER_PAYLOAD_MAX = 512 << 10, DEAD_LETTER_KEY_MAX = 16 << 10 };

struct dead_letter {
    enum dead_reason reason;
    const char *detail;
    int32_t schema_id;
    struct origin origin;
    const void *key, *payload; /* original bytes */
    size_t key_n, payload_n;   /* a payload longer than DEAD_LETTER_PAYLOAD_MAX is cut */
    size_t payload_bytes;      /* read back: how long it was; written: 0 means payload_n */
    int64_t time_ms;           /* when it was refused */
};

struct encoder;
/* Asks no registry yet: with one (topics.registry, format confluent) a schema is registered by
 * encoder_register, or when a record of its kind is first encoded. `format` is usually
 * cfg->topics_output_format. 0, -ENOMEM, or -EINVAL after printing why (schema folder, URL). */
int encoder_new(const struct config *cfg, enum data_format format, struct encoder **ret);
void encoder_free(struct encoder *e);
DEFINE_CLEANUP(struct encoder, encoder_free)

/* Registers these schemas (SCHEMA_…), so that a registry that refuses one is noticed now. With
 * `stop` it waits for a registry that is away, saying so in the log, at growing intervals of five
 * seconds at most, until *stop is set; without, that is a failure. Nothing to do without a
 * registry, and for a topic that is not configured. 0, -EINTR, and after printing why: -EINVAL
 * (refused), -EAGAIN (away), -ENOMEM. */
int encoder_register(struct encoder *e, const int32_t *schemas, size_t n, const atomic_bool *stop);

/* Each replaces the buffer's content. 0, -ENOMEM, or -EINVAL for a record that has no encoding
 * (more entries than fit, a tombstone: that is a message without payload; a schema that the
 * registry refuses), -EAGAIN (not registered before, and the registry does not answer now). */
int encode_trigger(struct encoder *e, const struct trigger_record *t, struct buf *out);
int encode_decision(struct encoder *e, const struct trigger_record *t, struct buf *out);
int encode_outcome(struct encoder *e, const struct outcome_record *r, struct buf *out);
int encode_dead_letter(struct encoder *e, const struct dead_letter *d, struct buf *out);
int encode_event(struct encoder *e, const struct event *ev, const char *type_name, struct buf *out);
int encode_item(struct encoder *e, const struct item_info *i, struct buf *out);
int encode_control(struct encoder *e, const struct control_info *c, struct buf *out);

/* Any message in Confluent wire format or JSON as one line of JSON (what `tail` prints); plain
 * Avro does not say what it is, so that its built-in schema id is asked for. Fields that are null
 * are left out, times are ISO 8601, bytes that are no text are base64 under NAME_base64. 0,
 * -EBADMSG, -EAGAIN (the registry does not answer now) or -ENOMEM. */
int render_json(struct decoder *d, const void *p, size_t n, struct buf *out);
int render_avro_json(struct decoder *d, int32_t schema_id, const void *p, size_t n,
                     struct buf *out);
/* A dead letter read back: original bytes, key and origin, borrowed from `p` or the
 * decoder's arena. 0, -EBADMSG, or -EAGAIN, -ENOMEM: not now. */
int decode_dead_letter(struct decoder *d, const void *p, size_t n, struct dead_letter *ret);
