#include "consumer/json_write.h"

#include <math.h>
#include <stdio.h>

#include "consumer/json_load.h"
#include "consumer/text.h"

static void put(struct buf *out, const char *z) {
    buf_put(out, z, strlen(z));
}

void json_name(struct buf *out, const char *name) {
    if (out->n && out->p[out->n - 1] != '{')
        put(out, ",");
    text_put_json(out, str_of(name));
    put(out, ":");
}

void json_bytes(struct buf *out, const char *name, struct str bytes) {
    char base64_name[80];
    if (text_bad_at(bytes, TEXT_PROSE) == bytes.n) {
        json_name(out, name);
        text_put_json(out, bytes);
        return;
    }
    snprintf(base64_name, sizeof base64_name, "%.70s_base64", name);
    json_name(out, base64_name);
    put(out, "\"");
    text_put_base64(out, bytes.p, bytes.n);
    put(out, "\"");
}

static void name_text(struct buf *out, const char *name, struct str s) {
    if (s.n == 0)
        return;
    json_name(out, name);
    text_put_json(out, s);
}

static void name_number(struct buf *out, const char *name, double v) {
    if (!isfinite(v))
        return;
    json_name(out, name);
    text_put_number(out, v);
}

static void name_long(struct buf *out, const char *name, int64_t v) {
    json_name(out, name);
    text_put_long(out, v);
}

static void name_bool(struct buf *out, const char *name, bool v) {
    json_name(out, name);
    put(out, v ? "true" : "false");
}

static void name_texts(struct buf *out, const char *name, const struct str *s, size_t n) {
    if (n == 0)
        return;
    json_name(out, name);
    for (size_t i = 0; i < n; i++) {
        put(out, i ? "," : "[");
        text_put_json(out, s[i]);
    }
    put(out, "]");
}

void json_write_event(struct buf *out, const struct event *e, const char *type_name) {
    put(out, "{");
    name_text(out, "event_id", e->id);
    name_text(out, "user_id", e->user);
    name_text(out, "item_id", e->item);
    name_text(out, "type", str_of(type_name));
    name_long(out, "time", e->time_ms);
    name_text(out, "session_id", e->session);
    name_number(out, "value", e->value);
    name_number(out, "dwell_ms", e->dwell_ms);
    name_text(out, "query", e->query);
    name_text(out, "decision_id", e->decision);
    if (e->n_ctx) {
        json_name(out, "context");
        for (size_t i = 0; i < e->n_ctx; i++) {
            put(out, i ? "," : "{");
            text_put_json(out, e->ctx[i].key);
            put(out, ":");
            text_put_json(out, e->ctx[i].value);
        }
        put(out, "}");
    }
    put(out, "}");
}

void json_write_item(struct buf *out, const struct item_info *i) {
    put(out, "{");
    name_text(out, "item_id", i->id);
    name_texts(out, "category", i->category, i->n_category);
    name_text(out, "brand", i->brand);
    name_number(out, "price", i->price);
    name_texts(out, "tags", i->tags, i->n_tags);
    name_text(out, "description", i->description);
    if (i->n_dense) {
        json_name(out, "embedding");
        for (size_t k = 0; k < i->n_dense; k++) {
            put(out, k ? "," : "[");
            text_put_float(out, i->dense[k]);
        }
        put(out, "]");
    }
    name_bool(out, "available", i->available);
    name_number(out, "margin", i->margin);
    name_bool(out, "restricted", i->flags & ITEM_RESTRICTED);
    name_bool(out, "adult", i->flags & ITEM_ADULT);
    name_bool(out, "sensitive", i->flags & ITEM_SENSITIVE);
    name_bool(out, "no_discount", i->flags & ITEM_NO_DISCOUNT);
    put(out, "}");
}

void json_write_control(struct buf *out, const struct control_info *c) {
    put(out, "{");
    name_text(out, "user_id", c->user);
    name_text(out, "timezone", c->tz);
    if (c->n) {
        json_name(out, "consent");
        for (size_t i = 0; i < c->n; i++) {
            put(out, i ? "," : "{");
            text_put_json(out, c->consent[i].channel);
            put(out, c->consent[i].granted ? ":true" : ":false");
        }
        put(out, "}");
    }
    put(out, "}");
}

/* On one line, and proven to be an object before it is set in unquoted. */
void json_object_text(struct buf *out, const char *name, struct str text) {
    json_t *j = NULL;
    int rc = text.n ? json_load(text.p, text.n, 0, NULL, &j) : -EBADMSG;
    char *line = json_is_object(j) ? json_text(j, JSON_COMPACT) : NULL;
    if (rc == -ENOMEM || (json_is_object(j) && !line)) {
        out->failed = true;
    } else if (line) {
        json_name(out, name);
        put(out, line);
    } else {
        name_text(out, name, text);
    }
    free(line);
    json_decref(j);
}

void json_write_trigger(struct buf *out, const struct trigger_record *t, bool decision) {
    put(out, "{");
    name_text(out, "trigger_id", str_of(t->id));
    name_text(out, "user_id", t->user);
    name_text(out, "campaign_id", t->campaign);
    name_text(out, "channel", t->channel);
    json_object_text(out, "offer", t->offer);
    name_text(out, "cause", t->cause);
    name_text(out, "item_id", t->item);
    name_number(out, "old_price", t->old_price);
    name_number(out, "new_price", t->new_price);
    name_long(out, "time", t->time_ms);
    if (t->valid_until_ms > 0)
        name_long(out, "valid_until", t->valid_until_ms);
    name_number(out, "propensity", t->propensity);
    name_texts(out, "items", t->items, t->n_items);
    if (decision) {
        name_bool(out, "sent", t->sent);
        name_text(out, "reason", str_of(t->reason));
    }
    name_text(out, "variant", t->variant);
    name_text(out, "code", t->code);
    if (decision) {
        name_text(out, "arms", t->arms);
        if (t->exposed)
            name_bool(out, "exposed", true);
        name_text(out, "would_campaign", t->would_campaign);
        name_text(out, "would_variant", t->would_variant);
        name_number(out, "would_propensity", t->would_propensity > 0 ? t->would_propensity : NAN);
    }
    put(out, "}");
}

void json_write_outcome(struct buf *out, const struct outcome_record *r) {
    const struct outcome *o = r->o;
    put(out, "{");
    name_text(out, "trigger_id", str_of(r->id));
    name_text(out, "user_id", r->user);
    name_text(out, "campaign_id", r->campaign);
    name_text(out, "channel", r->channel);
    name_long(out, "time", o->sent_ms);
    name_long(out, "closed", o->closed_ms);
    name_bool(out, "sent", !o->nothing);
    name_number(out, "propensity", o->propensity);
    name_bool(out, "opened", o->opened);
    name_bool(out, "redeemed", o->redeemed);
    name_long(out, "purchases", o->purchases);
    name_bool(out, "returned", o->returned);
    name_bool(out, "unsubscribed", o->unsubscribed);
    name_number(out, "survey", o->survey);
    name_number(out, "value", o->value);
    name_number(out, "margin", o->margin);
    name_number(out, "discount", o->discount);
    name_number(out, "contact_cost", o->contact_cost);
    name_number(out, "annoyance", o->annoyance);
    name_number(out, "reward", o->reward);
    name_bool(out, "cut", o->cut);
    put(out, "}");
}

void json_write_dead_letter(struct buf *out, const struct dead_letter *d) {
    put(out, "{");
    name_text(out, "reason", str_of(dead_reason_name(d->reason)));
    name_text(out, "detail", str_of(d->detail));
    if (d->schema_id >= 0)
        name_long(out, "schema_id", d->schema_id);
    name_text(out, "topic", str_of(d->origin.topic));
    name_long(out, "partition", d->origin.partition);
    name_long(out, "offset", d->origin.offset);
    if (d->origin.timestamp_ms > 0)
        name_long(out, "timestamp", d->origin.timestamp_ms);
    if (d->key)
        json_bytes(out, "key", (struct str){d->key, d->key_n});
    if (d->payload)
        json_bytes(out, "payload",
                   (struct str){d->payload, MIN(d->payload_n, (size_t)DEAD_LETTER_PAYLOAD_MAX)});
    name_long(out, "payload_bytes", (int64_t)MAX(d->payload_bytes, d->payload_n));
    name_long(out, "time", d->time_ms);
    put(out, "}");
}
