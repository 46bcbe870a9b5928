/* From a message's bytes to an event, catalogue record or control record: Avro in
 * Confluent wire format, plain Avro or JSON; then validation. Whatever is wrong has
 * a dead-letter reason. One decoder per thread. */
#pragma once

#include "consumer/options.h"
#include "model/event.h"

#define DEAD_REASONS(X)                                                                            \
    X(MAGIC, "bad-magic", "does not start with the magic byte 0 of the Confluent wire format")     \
    X(SCHEMA_ID, "unknown-schema-id",                                                              \
      "schema id is in neither the registry nor the schema folder")                                \
    X(SCHEMA, "incompatible-schema", "the writer's schema cannot be resolved to Beckon's")         \
    X(TRUNCATED, "truncated", "the record ends before its schema does")                            \
    X(MALFORMED, "malformed", "lengths, union branches or trailing bytes make no sense")           \
    X(JSON, "bad-json", "not a JSON object")                                                       \
    X(FIELD, "bad-field", "a field has the wrong type or too many entries")                        \
    X(EMPTY, "empty", "no payload")                                                                \
    X(OVERSIZE, "oversize", "the message is larger than stream.max_message")                       \
    X(LONG_STRING, "long-string", "an id or context value is longer than stream.max_string")       \
    X(UTF8, "invalid-utf8", "an id or text is not valid UTF-8, or holds control characters")       \
    X(NO_USER, "missing-user", "no user id")                                                       \
    X(NO_ITEM, "missing-item", "no item id where the record needs one")                            \
    X(TYPE, "unknown-type", "event type is neither built in nor configured")                       \
    X(VALUE, "bad-value", "value, price or dwell is NaN, infinite or negative")                    \
    X(TIME, "bad-time", "time is missing or absurd")                                               \
    X(AHEAD, "time-ahead", "further ahead of the clock than stream.max_ahead")                     \
    X(BEHIND, "time-behind", "further behind its partition than stream.max_behind")                \
    X(DUPLICATE, "duplicate", "event id seen before")

enum dead_reason {
#define X(sym, name, help) DEAD_##sym,
    DEAD_REASONS(X)
#undef X
        DEAD_COUNT,
    DEAD_NONE = -1,
    /* Nothing is wrong with the message, but it cannot be read now: the registry is away, or
     * memory ran out. Pause and decode the same bytes again. */
    DECODE_RETRY = -2
};
const char *dead_reason_name(enum dead_reason r);
const char *dead_reason_help(enum dead_reason r);

/* Why a message was refused. */
struct dead {
    enum dead_reason reason;
    int32_t schema_id; /* -1: none */
    char detail[160];  /* for people: field, offset, what was found */
};

/* Where a message came from. */
struct origin {
    const char *topic;
    int32_t partition;
    int64_t offset;
    int64_t timestamp_ms; /* of the message */
};

struct control_info { /* a user-control record */
    struct str user;
    struct str tz; /* IANA name; empty: not said */
    size_t n;
    struct {
        struct str channel;
        bool granted;
    } consent[16];   /* channel "*": all that are not named */
    bool deleted;    /* tombstone */
    int64_t said_ms; /* when it was said; filled by the caller, 0: not known */
};

struct decoder;
int decoder_new(const struct config *cfg,
                struct decoder **ret); /* prints and returns -EINVAL on unreadable schemas */
void decoder_free(struct decoder *d);
DEFINE_CLEANUP(struct decoder, decoder_free)
struct schema_store;
struct schema_store *decoder_schemas(struct decoder *d); /* the writers' schemas, by id */
void decoder_reset(
    struct decoder *d); /* releases the arena of the records decoded since; call once per batch */

/* DEAD_NONE and `ret` filled (strings borrowed from `p` and the arena), or a reason
 * with `why` filled. `now_ms`: wall clock for time-ahead; INT64_MAX: no such check.
 * time-behind is the caller's (it knows the partition). A NULL payload (tombstone) is
 * EMPTY for events and `deleted` for items and control records, with the key as id. */
enum dead_reason decode_event(struct decoder *d, const void *p, size_t n, struct str key,
                              const struct origin *o, int64_t now_ms, struct event *ret,
                              struct dead *why);
enum dead_reason decode_item(struct decoder *d, const void *p, size_t n, struct str key,
                             const struct origin *o, struct item_info *ret, struct dead *why);
enum dead_reason decode_control(struct decoder *d, const void *p, size_t n, struct str key,
                                const struct origin *o, struct control_info *ret, struct dead *why);

/* The checks that follow decoding, apart from it because file input shares them. */
enum dead_reason validate_event(const struct config *cfg, int64_t now_ms, struct event *e,
                                struct dead *why);
enum dead_reason validate_item(const struct config *cfg, const struct item_info *i,
                               struct dead *why);
enum dead_reason validate_control(const struct config *cfg, const struct control_info *c,
                                  struct dead *why);
