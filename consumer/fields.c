#include "consumer/fields.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

static bool add_context(void *record, struct str key, struct str value) {
    struct event *e = record;
    if (e->n_ctx < EVENT_CTX_MAX)
        e->ctx[e->n_ctx++] = (struct event_ctx){key, value};
    return true;
}

static bool add_category(void *record, struct str key, struct str value) {
    (void)key;
    struct item_info *i = record;
    if (i->n_category < ITEM_CATEGORY_MAX)
        i->category[i->n_category++] = value;
    return true;
}

static bool add_tag(void *record, struct str key, struct str value) {
    (void)key;
    struct item_info *i = record;
    if (i->n_tags < ITEM_TAGS_MAX)
        i->tags[i->n_tags++] = value;
    return true;
}

/* The last word on a channel counts. One that does not fit must not be lost silently. */
static bool add_consent(void *record, struct str key, struct str value) {
    struct control_info *c = record;
    size_t i = 0;
    while (i < c->n && !str_eq(c->consent[i].channel, key))
        i++;
    if (i == ARRAY_LEN(c->consent))
        return false;
    c->consent[i].channel = key;
    c->consent[i].granted = value.n != 0;
    c->n = MAX(c->n, i + 1);
    return true;
}

#define AT(type, member) offsetof(struct type, member)

static const struct field event_rows[] = {
    {"event_id", {"id"}, FIELD_TEXT, AT(event_record, e.id), 0, NULL},
    {"user_id", {"user"}, FIELD_TEXT, AT(event_record, e.user), 0, NULL},
    {"item_id", {"item"}, FIELD_TEXT, AT(event_record, e.item), 0, NULL},
    {"type", {"event_type"}, FIELD_TEXT, AT(event_record, type), 0, NULL},
    {"time",
     {"timestamp", "ts", "ts_ms", "time_ms"},
     FIELD_TIME,
     AT(event_record, e.time_ms),
     0,
     NULL},
    {"session_id", {"session"}, FIELD_TEXT, AT(event_record, e.session), 0, NULL},
    {"value", {NULL}, FIELD_NUMBER, AT(event_record, e.value), 0, NULL},
    {"dwell_ms", {"dwell"}, FIELD_NUMBER, AT(event_record, e.dwell_ms), 0, NULL},
    {"query", {NULL}, FIELD_TEXT, AT(event_record, e.query), 0, NULL},
    {"decision_id", {"decision", "trigger_id"}, FIELD_TEXT, AT(event_record, e.decision), 0, NULL},
    {"context", {NULL}, FIELD_TEXT_MAP, 0, 0, add_context},
};

static const struct field item_rows[] = {
    {"item_id", {"id", "item"}, FIELD_TEXT, AT(item_record, i.id), 0, NULL},
    {"category", {"category_path"}, FIELD_TEXTS, 0, 0, add_category},
    {"brand", {NULL}, FIELD_TEXT, AT(item_record, i.brand), 0, NULL},
    {"price", {NULL}, FIELD_NUMBER, AT(item_record, i.price), 0, NULL},
    {"tags", {NULL}, FIELD_TEXTS, 0, 0, add_tag},
    {"description", {NULL}, FIELD_TEXT, AT(item_record, i.description), 0, NULL},
    {"embedding", {"dense"}, FIELD_FLOATS, AT(item_record, dense), ITEM_DENSE_MAX, NULL},
    {"available", {NULL}, FIELD_BOOL, AT(item_record, i.available), 0, NULL},
    {"margin", {NULL}, FIELD_NUMBER, AT(item_record, i.margin), 0, NULL},
    {"restricted", {NULL}, FIELD_FLAG, AT(item_record, i.flags), ITEM_RESTRICTED, NULL},
    {"adult", {NULL}, FIELD_FLAG, AT(item_record, i.flags), ITEM_ADULT, NULL},
    {"sensitive", {NULL}, FIELD_FLAG, AT(item_record, i.flags), ITEM_SENSITIVE, NULL},
    {"no_discount", {NULL}, FIELD_FLAG, AT(item_record, i.flags), ITEM_NO_DISCOUNT, NULL},
};

static const struct field control_rows[] = {
    {"user_id", {"user"}, FIELD_TEXT, AT(control_record, c.user), 0, NULL},
    {"timezone", {"tz", "time_zone"}, FIELD_TEXT, AT(control_record, c.tz), 0, NULL},
    {"consent", {NULL}, FIELD_BOOL_MAP, 0, 0, add_consent},
};

static const struct field letter_rows[] = {
    {"reason", {NULL}, FIELD_TEXT, AT(letter_record, reason), 0, NULL},
    {"detail", {NULL}, FIELD_TEXT, AT(letter_record, detail), 0, NULL},
    {"schema_id", {NULL}, FIELD_LONG, AT(letter_record, schema_id), 0, NULL},
    {"topic", {NULL}, FIELD_TEXT, AT(letter_record, topic), 0, NULL},
    {"partition", {NULL}, FIELD_LONG, AT(letter_record, partition), 0, NULL},
    {"offset", {NULL}, FIELD_LONG, AT(letter_record, offset), 0, NULL},
    {"timestamp", {NULL}, FIELD_TIME, AT(letter_record, timestamp_ms), 0, NULL},
    {"key", {NULL}, FIELD_BYTES, AT(letter_record, key), 0, NULL},
    {"payload", {NULL}, FIELD_BYTES, AT(letter_record, payload), 0, NULL},
    {"payload_bytes", {NULL}, FIELD_LONG, AT(letter_record, payload_bytes), 0, NULL},
    {"time", {NULL}, FIELD_TIME, AT(letter_record, time_ms), 0, NULL},
};

const struct field_table event_fields = {event_rows, ARRAY_LEN(event_rows)};
const struct field_table item_fields = {item_rows, ARRAY_LEN(item_rows)};
const struct field_table control_fields = {control_rows, ARRAY_LEN(control_rows)};
const struct field_table letter_fields = {letter_rows, ARRAY_LEN(letter_rows)};
_Static_assert(ARRAY_LEN(event_rows) <= FIELDS_MAX && ARRAY_LEN(item_rows) <= FIELDS_MAX &&
                   ARRAY_LEN(letter_rows) <= FIELDS_MAX,
               "FIELDS_MAX");

void event_record_init(struct event_record *r) {
    /* The context array counts by n_ctx: clearing it would cost more than decoding. */
    memset(r, 0, offsetof(struct event_record, e.ctx));
    r->e.value = r->e.dwell_ms = NAN;
    r->type = (struct str){0};
}

void item_record_init(struct item_record *r) {
    memset(r, 0, sizeof *r);
    r->i.price = r->i.margin = NAN;
    r->i.available = true;
}

void control_record_init(struct control_record *r) {
    memset(r, 0, sizeof *r);
}

void letter_record_init(struct letter_record *r) {
    memset(r, 0, sizeof *r);
    r->schema_id = r->partition = r->offset = -1;
}

const struct field *field_find(const struct field_table *t, struct str name, size_t *ret_rank) {
    for (size_t i = 0; i < t->n; i++) {
        const struct field *f = &t->field[i];
        *ret_rank = 0;
        if (str_eq(name, str_of(f->name)))
            return f;
        for (size_t k = 0; k < ARRAY_LEN(f->aliases) && f->aliases[k]; k++) {
            *ret_rank = k + 1;
            if (str_eq(name, str_of(f->aliases[k])))
                return f;
        }
    }
    return NULL;
}

enum dead_reason dead_set(struct dead *why, enum dead_reason reason, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    why->reason = reason;
    vsnprintf(why->detail, sizeof why->detail, fmt, ap);
    va_end(ap);
    return reason;
}
