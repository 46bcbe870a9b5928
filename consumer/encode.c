#include "consumer/encode.h"

#include <math.h>
#include <poll.h>
#include <stdio.h>

#include "consumer/avro_wire.h"
#include "consumer/clock.h"
#include "consumer/json_write.h"
#include "consumer/log.h"
#include "consumer/registry.h"
#include "consumer/schema_store.h"

enum {
    LAST_SCHEMA = SCHEMA_OUTCOME,
    WAIT_FIRST_MS = 200,
    WAIT_LONGEST_MS = 5000,
    WAIT_STEP_MS = 50
};

struct encoder {
    const struct config *cfg;
    enum data_format format;
    struct registry *registry;   /* NULL: none */
    int32_t id[LAST_SCHEMA + 1]; /* on the wire, by built-in id; -1: not registered yet */
};

/* What Beckon itself writes. */
static const int32_t outputs[] = {SCHEMA_TRIGGER, SCHEMA_DECISION, SCHEMA_OUTCOME, SCHEMA_LETTER};

/* A folder that gives an output's id another meaning would make its readers misread. */
static int check_folder(const struct config *cfg) {
    autofree(schema_store_free) struct schema_store *store = NULL;
    int rc = schema_store_new(cfg, &store);
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(outputs); i++) {
        char err[160];
        const struct schema *theirs;
        autofree(schema_free) struct schema *ours = NULL;
        if ((rc = schema_store_get(store, outputs[i], true, err, &theirs)) ||
            (rc = schema_parse(builtin_schema(outputs[i]), err, &ours)))
            break;
        if (!schema_same(ours, theirs)) {
            fprintf(stderr,
                    "topics.schema_dir: %s/%d.avsc differs from what Beckon writes under this id; "
                    "move your schema to another id\n",
                    cfg->topics_schema_dir, outputs[i]);
            rc = -EINVAL;
        }
    }
    return rc;
}

static const char *topic_of(const struct config *cfg, int32_t schema) {
    const char *const topics[LAST_SCHEMA + 1] = {
        [SCHEMA_EVENT] = cfg->topics_clickstream, [SCHEMA_ITEM] = cfg->topics_items,
        [SCHEMA_TRIGGER] = cfg->topics_triggers,  [SCHEMA_DECISION] = cfg->topics_decisions,
        [SCHEMA_LETTER] = cfg->topics_dlq,        [SCHEMA_CONTROL] = cfg->topics_control,
        [SCHEMA_OUTCOME] = cfg->topics_outcomes,
    };
    return topics[schema];
}

static int register_schema(struct encoder *e, int32_t schema, char err[160]) {
    return registry_register(e->registry, topic_of(e->cfg, schema), builtin_schema(schema),
                             clock_mono_us(), err, &e->id[schema]);
}

static int start_registry(struct encoder *e) {
    int rc = registry_open(e->cfg->topics_registry, e->cfg->topics_registry_timeout, &e->registry);
    if (rc == -EINVAL)
        fprintf(stderr, "topics.registry: not an http or https URL\n");
    for (int32_t i = 0; i <= LAST_SCHEMA; i++)
        e->id[i] = -1;
    return rc;
}

/* False: asked to stop. */
static bool wait(int ms, const atomic_bool *stop) {
    for (; ms > 0 && !atomic_load(stop); ms -= WAIT_STEP_MS)
        poll(NULL, 0, MIN(ms, (int)WAIT_STEP_MS));
    return !atomic_load(stop);
}

static int register_patiently(struct encoder *e, int32_t schema, const atomic_bool *stop) {
    char err[160] = "";
    int rc, pause_ms = WAIT_FIRST_MS;
    while ((rc = register_schema(e, schema, err)) == -EAGAIN && stop) {
        log_warning("registry-wait", "topic=%s retry_ms=%d error=%s", topic_of(e->cfg, schema),
                    pause_ms, log_q(err));
        if (!wait(pause_ms, stop))
            return -EINTR;
        pause_ms = MIN(2 * pause_ms, (int)WAIT_LONGEST_MS);
    }
    if (rc)
        fprintf(stderr, "topics.registry: schema for %s not registered: %s\n",
                topic_of(e->cfg, schema), rc == -ENOMEM ? strerror(ENOMEM) : err);
    return rc;
}

int encoder_register(struct encoder *e, const int32_t *schemas, size_t n, const atomic_bool *stop) {
    for (size_t i = 0; i < n; i++) {
        const char *topic = topic_of(e->cfg, schemas[i]);
        int rc =
            e->id[schemas[i]] < 0 && topic && *topic ? register_patiently(e, schemas[i], stop) : 0;
        if (rc)
            return rc;
    }
    return 0;
}

int encoder_new(const struct config *cfg, enum data_format format, struct encoder **ret) {
    autofree(encoder_free) struct encoder *e = calloc(1, sizeof *e);
    if (!e)
        return -ENOMEM;
    e->cfg = cfg;
    e->format = format;
    for (int32_t i = 0; i <= LAST_SCHEMA; i++)
        e->id[i] = i;
    if (format != FORMAT_JSON && cfg->topics_schema_dir && *cfg->topics_schema_dir) {
        int rc = check_folder(cfg);
        if (rc)
            return rc;
    }
    if (format == FORMAT_CONFLUENT && cfg->topics_registry && *cfg->topics_registry) {
        int rc = start_registry(e);
        if (rc)
            return rc;
    }
    *ret = TAKE(e);
    return 0;
}

void encoder_free(struct encoder *e) {
    if (!e)
        return;
    registry_close(e->registry);
    free(e);
}

static int begin(struct encoder *e, int32_t schema, struct buf *out) {
    buf_reset(out);
    if (e->format == FORMAT_CONFLUENT) {
        char err[160];
        if (e->id[schema] < 0) {
            int rc = register_schema(e, schema, err);
            if (rc)
                return rc;
        }
        uint32_t id = (uint32_t)e->id[schema];
        uint8_t head[5] = {0, (uint8_t)(id >> 24), (uint8_t)(id >> 16), (uint8_t)(id >> 8),
                           (uint8_t)id};
        buf_put(out, head, sizeof head);
    }
    return 0;
}

static int done(const struct buf *out) {
    return out->failed ? -ENOMEM : 0;
}

static void put_texts(struct buf *out, const struct str *s, size_t n) {
    if (n) {
        wire_put_long(out, (int64_t)n);
        for (size_t i = 0; i < n; i++)
            wire_put_bytes(out, s[i]);
    }
    wire_put_long(out, 0);
}

/* ["null", long]: absent unless positive. */
static void put_maybe_time(struct buf *out, int64_t ms) {
    wire_put_long(out, ms > 0);
    if (ms > 0)
        wire_put_long(out, ms);
}

/* ["null", "bytes"], where empty is not null. */
static void put_maybe_bytes(struct buf *out, const void *p, size_t n) {
    wire_put_long(out, p != NULL);
    if (p)
        wire_put_bytes(out, (struct str){p, n});
}

static void avro_event(struct buf *out, const struct event *e, const char *type_name) {
    wire_put_maybe(out, e->id);
    wire_put_bytes(out, e->user);
    wire_put_maybe(out, e->item);
    wire_put_bytes(out, str_of(type_name));
    wire_put_long(out, e->time_ms);
    wire_put_maybe(out, e->session);
    wire_put_maybe_double(out, e->value);
    wire_put_maybe_double(out, e->dwell_ms);
    wire_put_maybe(out, e->query);
    wire_put_maybe(out, e->decision);
    if (e->n_ctx) {
        wire_put_long(out, e->n_ctx);
        for (size_t i = 0; i < e->n_ctx; i++) {
            wire_put_bytes(out, e->ctx[i].key);
            wire_put_bytes(out, e->ctx[i].value);
        }
    }
    wire_put_long(out, 0);
}

static void avro_item(struct buf *out, const struct item_info *i) {
    wire_put_bytes(out, i->id);
    put_texts(out, i->category, i->n_category);
    wire_put_maybe(out, i->brand);
    wire_put_maybe_double(out, i->price);
    put_texts(out, i->tags, i->n_tags);
    wire_put_maybe(out, i->description);
    if (i->n_dense) {
        wire_put_long(out, (int64_t)i->n_dense);
        buf_put(out, i->dense, i->n_dense * sizeof *i->dense);
    }
    wire_put_long(out, 0);
    wire_put_bool(out, i->available);
    wire_put_maybe_double(out, i->margin);
    wire_put_bool(out, i->flags & ITEM_RESTRICTED);
    wire_put_bool(out, i->flags & ITEM_ADULT);
    wire_put_bool(out, i->flags & ITEM_SENSITIVE);
    wire_put_bool(out, i->flags & ITEM_NO_DISCOUNT);
}

static void avro_control(struct buf *out, const struct control_info *c) {
    wire_put_bytes(out, c->user);
    wire_put_maybe(out, c->tz);
    if (c->n) {
        wire_put_long(out, (int64_t)c->n);
        for (size_t i = 0; i < c->n; i++) {
            wire_put_bytes(out, c->consent[i].channel);
            wire_put_bool(out, c->consent[i].granted);
        }
    }
    wire_put_long(out, 0);
}

static void avro_trigger(struct buf *out, const struct trigger_record *t, bool decision) {
    wire_put_bytes(out, str_of(t->id));
    wire_put_bytes(out, t->user);
    wire_put_bytes(out, t->campaign);
    wire_put_bytes(out, t->channel);
    wire_put_bytes(out, t->offer);
    wire_put_maybe(out, t->cause);
    wire_put_maybe(out, t->item);
    wire_put_maybe_double(out, t->old_price);
    wire_put_maybe_double(out, t->new_price);
    wire_put_long(out, t->time_ms);
    put_maybe_time(out, t->valid_until_ms);
    wire_put_double(out, t->propensity);
    put_texts(out, t->items, t->n_items);
    if (decision) {
        wire_put_bool(out, t->sent);
        wire_put_bytes(out, str_of(t->reason));
    }
    wire_put_maybe(out, t->variant);
    wire_put_maybe(out, t->code);
    if (decision) {
        wire_put_maybe(out, t->arms);
        wire_put_bool(out, t->exposed);
        wire_put_maybe(out, t->would_campaign);
        wire_put_maybe(out, t->would_variant);
        wire_put_maybe_double(out, t->would_propensity > 0 ? t->would_propensity : NAN);
    }
}

static void avro_dead_letter(struct buf *out, const struct dead_letter *d) {
    wire_put_bytes(out, str_of(dead_reason_name(d->reason)));
    wire_put_bytes(out, str_of(d->detail));
    wire_put_long(out, d->schema_id >= 0);
    if (d->schema_id >= 0)
        wire_put_long(out, d->schema_id);
    wire_put_bytes(out, str_of(d->origin.topic));
    wire_put_long(out, d->origin.partition);
    wire_put_long(out, d->origin.offset);
    put_maybe_time(out, d->origin.timestamp_ms);
    put_maybe_bytes(out, d->key, d->key_n);
    put_maybe_bytes(out, d->payload, MIN(d->payload_n, (size_t)DEAD_LETTER_PAYLOAD_MAX));
    wire_put_long(out, (int64_t)MAX(d->payload_bytes, d->payload_n));
    wire_put_long(out, d->time_ms);
}

static void avro_outcome(struct buf *out, const struct outcome_record *r) {
    const struct outcome *o = r->o;
    wire_put_bytes(out, str_of(r->id));
    wire_put_bytes(out, r->user);
    wire_put_bytes(out, r->campaign);
    wire_put_bytes(out, r->channel);
    wire_put_long(out, o->sent_ms);
    wire_put_long(out, o->closed_ms);
    wire_put_bool(out, !o->nothing);
    wire_put_double(out, o->propensity);
    wire_put_bool(out, o->opened);
    wire_put_bool(out, o->redeemed);
    wire_put_long(out, o->purchases);
    wire_put_bool(out, o->returned);
    wire_put_bool(out, o->unsubscribed);
    wire_put_maybe_double(out, o->survey);
    wire_put_double(out, o->value);
    wire_put_double(out, o->margin);
    wire_put_double(out, o->discount);
    wire_put_double(out, o->contact_cost);
    wire_put_double(out, o->annoyance);
    wire_put_double(out, o->reward);
    wire_put_bool(out, o->cut);
}

static int encode_trigger_as(struct encoder *e, int32_t schema, const struct trigger_record *t,
                             struct buf *out) {
    bool decision = schema == SCHEMA_DECISION;
    int rc = begin(e, schema, out);
    if (rc)
        return rc;
    if (t->n_items > ARRAY_LEN(t->items) || !memchr(t->id, 0, sizeof t->id))
        return -EINVAL;
    if (e->format == FORMAT_JSON)
        json_write_trigger(out, t, decision);
    else
        avro_trigger(out, t, decision);
    return done(out);
}

int encode_trigger(struct encoder *e, const struct trigger_record *t, struct buf *out) {
    return encode_trigger_as(e, SCHEMA_TRIGGER, t, out);
}

int encode_decision(struct encoder *e, const struct trigger_record *t, struct buf *out) {
    return encode_trigger_as(e, SCHEMA_DECISION, t, out);
}

int encode_outcome(struct encoder *e, const struct outcome_record *r, struct buf *out) {
    int rc = begin(e, SCHEMA_OUTCOME, out);
    if (rc)
        return rc;
    if (e->format == FORMAT_JSON)
        json_write_outcome(out, r);
    else
        avro_outcome(out, r);
    return done(out);
}

int encode_dead_letter(struct encoder *e, const struct dead_letter *d, struct buf *out) {
    int rc = begin(e, SCHEMA_LETTER, out);
    if (rc)
        return rc;
    if (e->format == FORMAT_JSON)
        json_write_dead_letter(out, d);
    else
        avro_dead_letter(out, d);
    return done(out);
}

int encode_event(struct encoder *e, const struct event *ev, const char *type_name,
                 struct buf *out) {
    int rc = begin(e, SCHEMA_EVENT, out);
    if (rc)
        return rc;
    if (!type_name || ev->n_ctx > EVENT_CTX_MAX)
        return -EINVAL;
    if (e->format == FORMAT_JSON)
        json_write_event(out, ev, type_name);
    else
        avro_event(out, ev, type_name);
    return done(out);
}

int encode_item(struct encoder *e, const struct item_info *i, struct buf *out) {
    int rc = begin(e, SCHEMA_ITEM, out);
    if (rc)
        return rc;
    if (i->deleted || i->n_category > ITEM_CATEGORY_MAX || i->n_tags > ITEM_TAGS_MAX ||
        i->n_dense > ITEM_DENSE_MAX)
        return -EINVAL;
    if (e->format == FORMAT_JSON)
        json_write_item(out, i);
    else
        avro_item(out, i);
    return done(out);
}

int encode_control(struct encoder *e, const struct control_info *c, struct buf *out) {
    int rc = begin(e, SCHEMA_CONTROL, out);
    if (rc)
        return rc;
    if (c->deleted || c->n > ARRAY_LEN(c->consent))
        return -EINVAL;
    if (e->format == FORMAT_JSON)
        json_write_control(out, c);
    else
        avro_control(out, c);
    return done(out);
}
