#include "consumer/avro_plan.h"
#include "consumer/json_record.h"
#include "consumer/schema_store.h"

#include <inttypes.h>
#include <stdio.h>

enum kind { KIND_EVENT, KIND_ITEM, KIND_CONTROL, KIND_LETTER, KIND_COUNT };

static const struct {
    const struct field_table *fields;
    int32_t schema; /* of plain Avro */
} kinds[KIND_COUNT] = {
    [KIND_EVENT] = {&event_fields, SCHEMA_EVENT},
    [KIND_ITEM] = {&item_fields, SCHEMA_ITEM},
    [KIND_CONTROL] = {&control_fields, SCHEMA_CONTROL},
    [KIND_LETTER] = {&letter_fields, SCHEMA_LETTER},
};

/* What became of a writer's schema for one kind of record; incompatible once is for good. */
struct compiled {
    int32_t id;
    bool local;
    enum kind kind;
    struct plan *plan; /* NULL: `dead` tells */
    struct dead dead;
};

struct decoder {
    const struct config *cfg;
    struct schema_store *store;
    struct arena arena;
    struct compiled **compiled;
    size_t n_compiled, cap_compiled;
    const struct compiled *last; /* found by find_plan; mostly the next one too */
};

int decoder_new(const struct config *cfg, struct decoder **ret) {
    autofree(decoder_free) struct decoder *d = calloc(1, sizeof *d);
    if (!d)
        return -ENOMEM;
    d->cfg = cfg;
    int rc = schema_store_new(cfg, &d->store);
    if (rc)
        return rc;
    *ret = TAKE(d);
    return 0;
}

void decoder_free(struct decoder *d) {
    if (!d)
        return;
    for (size_t i = 0; i < d->n_compiled; i++) {
        plan_free(d->compiled[i]->plan);
        free(d->compiled[i]);
    }
    free(d->compiled);
    schema_store_free(d->store);
    arena_free(&d->arena);
    free(d);
}

struct schema_store *decoder_schemas(struct decoder *d) {
    return d->store;
}

void decoder_reset(struct decoder *d) {
    arena_reset(&d->arena);
}

static int compile(struct decoder *d, int32_t id, bool local, enum kind kind,
                   const struct schema *schema, const char *err) {
    if (d->n_compiled == d->cap_compiled) {
        size_t cap = d->cap_compiled ? 2 * d->cap_compiled : 8;
        struct compiled **all = realloc(d->compiled, cap * sizeof(*all));
        if (!all)
            return -ENOMEM;
        d->compiled = all;
        d->cap_compiled = cap;
    }
    autofree(free) struct compiled *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    *c = (struct compiled){.id = id, .local = local, .kind = kind};
    if (!schema)
        dead_set(&c->dead, DEAD_SCHEMA, "schema %d: %.120s", id, err);
    else if (plan_new(schema, kinds[kind].fields, &c->dead, &c->plan) == -ENOMEM)
        return -ENOMEM;
    d->last = c;
    d->compiled[d->n_compiled++] = TAKE(c);
    return 0;
}

static enum dead_reason find_plan(struct decoder *d, int32_t id, bool local, enum kind kind,
                                  const struct plan **ret, struct dead *why) {
    const struct compiled *c = d->last;
    if (!c || c->id != id || c->local != local || c->kind != kind) {
        c = NULL;
        for (size_t i = 0; !c && i < d->n_compiled; i++)
            if (d->compiled[i]->id == id && d->compiled[i]->local == local &&
                d->compiled[i]->kind == kind)
                c = d->compiled[i];
        if (!c) {
            char err[160] = "";
            const struct schema *schema = NULL;
            int rc = schema_store_get(d->store, id, local, err, &schema);
            if (rc == -ENOENT)
                return dead_set(why, DEAD_SCHEMA_ID, "schema %d", id);
            if (rc == 0 || rc == -EINVAL)
                rc = compile(d, id, local, kind, schema, err);
            if (rc)
                return dead_set(why, DECODE_RETRY, "schema %d: %s", id, strerror(-rc));
            c = d->last;
        }
        d->last = c;
    }
    if (!c->plan)
        return dead_set(why, c->dead.reason, "%s", c->dead.detail);
    *ret = c->plan;
    return DEAD_NONE;
}

static enum dead_reason read_avro(struct decoder *d, const uint8_t *p, size_t n, bool framed,
                                  enum kind kind, void *record, struct dead *why) {
    const struct plan *plan = NULL;
    int32_t id = kinds[kind].schema;
    if (framed) {
        if (p[0] != 0)
            return dead_set(why, DEAD_MAGIC, "first byte is 0x%02x", p[0]);
        if (n < 5)
            return dead_set(why, DEAD_TRUNCATED, "%zu bytes are too few for a schema id", n);
        id = (int32_t)((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]);
        why->schema_id = id;
        p += 5;
        n -= 5;
    }
    enum dead_reason dead = find_plan(d, id, !framed, kind, &plan, why);
    return dead == DEAD_NONE ? plan_run(plan, p, n, &d->arena, record, why) : dead;
}

static enum dead_reason read_record(struct decoder *d, const void *p, size_t n, enum kind kind,
                                    void *record, struct dead *why) {
    why->schema_id = -1;
    why->detail[0] = 0;
    if (n == 0)
        return dead_set(why, DEAD_EMPTY, "no payload");
    if (n > (uint64_t)d->cfg->stream_max_message)
        return dead_set(why, DEAD_OVERSIZE, "%zu bytes", n);
    if (d->cfg->topics_format == FORMAT_JSON)
        return json_record(p, n, kinds[kind].fields, &d->arena, record, why);
    return read_avro(d, p, n, d->cfg->topics_format == FORMAT_CONFLUENT, kind, record, why);
}

/* An event without an id gets the one nobody else can have. */
static enum dead_reason derive_id(struct decoder *d, const struct origin *o, struct event *e,
                                  struct dead *why) {
    char t[300];
    int n = snprintf(t, sizeof t, "%.249s/%d/%" PRId64, o->topic, o->partition, o->offset);
    e->id = arena_copy(&d->arena, (struct str){t, (size_t)n});
    return e->id.p ? DEAD_NONE : dead_set(why, DECODE_RETRY, "out of memory");
}

enum dead_reason decode_event(struct decoder *d, const void *p, size_t n, struct str key,
                              const struct origin *o, int64_t now_ms, struct event *ret,
                              struct dead *why) {
    (void)key;
    struct event_record r;
    event_record_init(&r);
    enum dead_reason dead = read_record(d, p, n, KIND_EVENT, &r, why);
    if (dead == DEAD_NONE && r.e.id.n == 0)
        dead = derive_id(d, o, &r.e, why);
    if (dead != DEAD_NONE)
        return dead;
    r.e.type = config_event_type_written(d->cfg, r.type);
    dead = validate_event(d->cfg, now_ms, &r.e, why);
    if (dead == DEAD_NONE) {
        memcpy(ret, &r.e, offsetof(struct event, ctx));
        memcpy(ret->ctx, r.e.ctx, r.e.n_ctx * sizeof r.e.ctx[0]);
    }
    return dead;
}

enum dead_reason decode_item(struct decoder *d, const void *p, size_t n, struct str key,
                             const struct origin *o, struct item_info *ret, struct dead *why) {
    (void)o;
    struct item_record r;
    item_record_init(&r);
    enum dead_reason dead = DEAD_NONE;
    if (p) {
        dead = read_record(d, p, n, KIND_ITEM, &r, why);
        r.i.dense = r.dense.p;
        r.i.n_dense = r.dense.n;
    } else {
        why->schema_id = -1;
        r.i.id = key;
        r.i.deleted = true;
    }
    if (dead == DEAD_NONE)
        dead = validate_item(d->cfg, &r.i, why);
    if (dead == DEAD_NONE)
        *ret = r.i;
    return dead;
}

enum dead_reason decode_control(struct decoder *d, const void *p, size_t n, struct str key,
                                const struct origin *o, struct control_info *ret,
                                struct dead *why) {
    (void)o;
    struct control_record r;
    control_record_init(&r);
    enum dead_reason dead = DEAD_NONE;
    if (p) {
        dead = read_record(d, p, n, KIND_CONTROL, &r, why);
    } else {
        why->schema_id = -1;
        r.c.user = key;
        r.c.deleted = true;
    }
    if (dead == DEAD_NONE)
        dead = validate_control(d->cfg, &r.c, why);
    if (dead == DEAD_NONE)
        *ret = r.c;
    return dead;
}

static enum dead_reason reason_of(struct str name) {
    for (int i = 0; i < DEAD_COUNT; i++)
        if (str_eq(name, str_of(dead_reason_name(i))))
            return i;
    return DEAD_NONE;
}

int decode_dead_letter(struct decoder *d, const void *p, size_t n, struct dead_letter *ret) {
    struct letter_record r;
    struct dead why = {.schema_id = -1};
    letter_record_init(&r);
    if (n == 0)
        return -EBADMSG;
    /* Plain Avro begins with the length of the reason: neither zero nor odd. */
    uint8_t first = *(const uint8_t *)p;
    enum dead_reason dead = first == '{' ? json_record(p, n, &letter_fields, &d->arena, &r, &why)
                                         : read_avro(d, p, n, first == 0, KIND_LETTER, &r, &why);
    if (dead == DECODE_RETRY)
        return -EAGAIN;
    if (dead != DEAD_NONE || r.topic.n == 0 || memchr(r.topic.p, 0, r.topic.n))
        return -EBADMSG;
    struct str topic = arena_copy(&d->arena, r.topic), detail = arena_copy(&d->arena, r.detail);
    if (!topic.p || !detail.p)
        return -ENOMEM;
    *ret = (struct dead_letter){
        .reason = reason_of(r.reason),
        .detail = detail.p,
        .schema_id = (int32_t)r.schema_id,
        .origin = {topic.p, (int32_t)r.partition, r.offset, r.timestamp_ms},
        .key = r.key.p,
        .payload = r.payload.p,
        .key_n = r.key.n,
        .payload_n = r.payload.n,
        .payload_bytes = (size_t)MAX(r.payload_bytes, (int64_t)r.payload.n),
        .time_ms = r.time_ms,
    };
    return 0;
}
