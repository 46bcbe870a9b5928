/* What the decoder looks for in a record: one row per field, shared by Avro (any writer's
 * schema) and JSON. Names and aliases are those of deploy/schemas. */
#pragma once

#include "consumer/encode.h"

enum field_kind {
    FIELD_TEXT,     /* struct str; whole numbers become decimal text */
    FIELD_BYTES,    /* struct str, any bytes; in JSON text, or base64 under NAME_base64 */
    FIELD_TIME,     /* int64_t, ms */
    FIELD_LONG,     /* int64_t */
    FIELD_NUMBER,   /* double; never NaN once given */
    FIELD_BOOL,     /* bool */
    FIELD_FLAG,     /* bit `arg` of a uint32_t */
    FIELD_TEXTS,    /* array of text, handed to `add` */
    FIELD_TEXT_MAP, /* map of text, handed to `add` with its key; numbers and booleans become text
                     */
    FIELD_BOOL_MAP, /* map of booleans, handed to `add` with "1" or "" */
    FIELD_FLOATS,   /* array of numbers: struct floats in the arena */
};

/* False: no room, and dropping it would be wrong. */
typedef bool field_add(void *record, struct str key, struct str value);

struct field {
    const char *name;
    const char *aliases[4];
    enum field_kind kind;
    size_t offset;
    uint32_t arg;
    field_add *add;
};

struct floats {
    const float *p;
    size_t n;
};

struct field_table {
    const struct field *field;
    size_t n;
};

/* Records as they are read, before checks. Whoever reads fills in the absent values first. */
struct event_record {
    struct event e;
    struct str type;
};
struct item_record {
    struct item_info i;
    struct floats dense;
};
struct control_record {
    struct control_info c;
};
struct letter_record {
    struct str reason, detail, topic, key, payload;
    int64_t schema_id, partition, offset, timestamp_ms, time_ms, payload_bytes;
};

enum { FIELDS_MAX = 16 };
extern const struct field_table event_fields, item_fields, control_fields, letter_fields;

void event_record_init(struct event_record *r);
void item_record_init(struct item_record *r);
void control_record_init(struct control_record *r);
void letter_record_init(struct letter_record *r);

/* The field a name stands for, and how well it fits: 0 by name, 1, 2, … by alias. NULL: none. */
const struct field *field_find(const struct field_table *t, struct str name, size_t *ret_rank);
/* Fills in why a record is refused, and returns the reason. Never a value that was found. */
enum dead_reason dead_set(struct dead *why, enum dead_reason reason, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
