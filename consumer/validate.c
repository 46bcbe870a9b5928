#include <math.h>

#include "consumer/fields.h"
#include "consumer/text.h"

static const char *const names[] = {
#define X(sym, name, help) name,
    DEAD_REASONS(X)
#undef X
};

static const char *const helps[] = {
#define X(sym, name, help) help,
    DEAD_REASONS(X)
#undef X
};

const char *dead_reason_name(enum dead_reason r) {
    return r >= 0 && r < DEAD_COUNT ? names[r] : r == DECODE_RETRY ? "retry" : "none";
}

const char *dead_reason_help(enum dead_reason r) {
    return r >= 0 && r < DEAD_COUNT ? helps[r] : "";
}

static enum dead_reason check_text(const struct config *cfg, const char *field, struct str s,
                                   enum text_rule rule, struct dead *why) {
    if (s.n > (uint64_t)cfg->stream_max_string)
        return dead_set(why, DEAD_LONG_STRING, "%s: %zu bytes", field, s.n);
    size_t at = text_bad_at(s, rule);
    if (at < s.n)
        return dead_set(why, DEAD_UTF8, "%s: byte 0x%02x at %zu", field, (uint8_t)s.p[at], at);
    return DEAD_NONE;
}

/* Whether a type means nothing without an item. Pages and result lists may be viewed, shown
 * and clicked without one. */
static bool needs_item(uint8_t type) {
    switch (type) {
    case EV_FAVORITE:
    case EV_CART_ADD:
    case EV_CART_REMOVE:
    case EV_PURCHASE:
    case EV_RETURN:
    case EV_RATING:
    case EV_REVIEW:
        return true;
    default:
        return false;
    }
}

/* Prices, ratings and scores are never negative; a survey's answer goes from 0 to 10 (NPS). Some
 * shops book what they give back as a negative amount: a return's sign is dropped. What a custom
 * type's value means only its inventor knows: any finite number. */
static enum dead_reason check_value(struct event *e, struct dead *why) {
    const double absurd = 1e12;
    if (e->type == EV_RETURN)
        e->value = fabs(e->value);
    if (isnan(e->value))
        return DEAD_NONE;
    if (!isfinite(e->value))
        return dead_set(why, DEAD_VALUE, "value: infinite");
    if (e->value < 0 && e->type < EV_BUILTIN)
        return dead_set(why, DEAD_VALUE, "value: negative");
    if (fabs(e->value) > absurd || (e->type == EV_SURVEY && e->value > 10))
        return dead_set(why, DEAD_VALUE, "value: too large");
    return DEAD_NONE;
}

static enum dead_reason check_time(const struct config *cfg, int64_t now_ms, int64_t time_ms,
                                   struct dead *why) {
    /* Below it, seconds were sent for milliseconds (any second until the year 5138); above,
     * microseconds, or a year beyond 9999. */
    const int64_t least = 100000000000, most = 253402300799999;
    if (time_ms <= 0)
        return dead_set(why, DEAD_TIME, "time: missing, zero or negative");
    if (time_ms < least || time_ms > most)
        return dead_set(why, DEAD_TIME, "time: not in milliseconds since 1970");
    if (now_ms != INT64_MAX && time_ms - now_ms > cfg->stream_max_ahead)
        return dead_set(why, DEAD_AHEAD, "time: %lld ms ahead", (long long)(time_ms - now_ms));
    return DEAD_NONE;
}

enum dead_reason validate_event(const struct config *cfg, int64_t now_ms, struct event *e,
                                struct dead *why) {
    const struct {
        const char *name;
        struct str s;
        enum text_rule rule;
    } texts[] = {
        {"user_id", e->user, TEXT_ID},         {"event_id", e->id, TEXT_ID},
        {"item_id", e->item, TEXT_ID},         {"session_id", e->session, TEXT_ID},
        {"decision_id", e->decision, TEXT_ID}, {"query", e->query, TEXT_PROSE},
    };
    enum dead_reason dead;
    if (e->user.n == 0)
        return dead_set(why, DEAD_NO_USER, "user_id: missing or empty");
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        dead = check_text(cfg, texts[i].name, texts[i].s, texts[i].rule, why);
        if (dead != DEAD_NONE)
            return dead;
    }
    for (size_t i = 0; i < e->n_ctx; i++) {
        dead = check_text(cfg, "context key", e->ctx[i].key, TEXT_ID, why);
        if (dead == DEAD_NONE)
            dead = check_text(cfg, "context value", e->ctx[i].value, TEXT_PROSE, why);
        if (dead != DEAD_NONE)
            return dead;
    }
    if (e->type >= EV_BUILTIN + cfg->n_custom)
        return dead_set(why, DEAD_TYPE, "type: neither built in nor configured");
    if (e->item.n == 0 && needs_item(e->type))
        return dead_set(why, DEAD_NO_ITEM, "item_id: missing or empty");
    if ((dead = check_value(e, why)) != DEAD_NONE)
        return dead;
    if (!isnan(e->dwell_ms) && !(e->dwell_ms >= 0 && isfinite(e->dwell_ms)))
        return dead_set(why, DEAD_VALUE, "dwell_ms: negative or infinite");
    return check_time(cfg, now_ms, e->time_ms, why);
}

enum dead_reason validate_item(const struct config *cfg, const struct item_info *i,
                               struct dead *why) {
    enum dead_reason dead;
    if (i->id.n == 0)
        return dead_set(why, DEAD_NO_ITEM, "item_id: missing or empty");
    if ((dead = check_text(cfg, "item_id", i->id, TEXT_ID, why)) != DEAD_NONE ||
        (dead = check_text(cfg, "brand", i->brand, TEXT_ID, why)) != DEAD_NONE)
        return dead;
    for (size_t k = 0; k < i->n_category; k++)
        if ((dead = check_text(cfg, "category", i->category[k], TEXT_ID, why)) != DEAD_NONE)
            return dead;
    for (size_t k = 0; k < i->n_tags; k++)
        if ((dead = check_text(cfg, "tags", i->tags[k], TEXT_ID, why)) != DEAD_NONE)
            return dead;
    /* Only the message's size limits a description. */
    size_t at = text_bad_at(i->description, TEXT_PROSE);
    if (at < i->description.n)
        return dead_set(why, DEAD_UTF8, "description: byte 0x%02x at %zu",
                        (uint8_t)i->description.p[at], at);
    if (!isnan(i->price) && !(i->price >= 0 && i->price <= 1e12))
        return dead_set(why, DEAD_VALUE, "price: negative or too large");
    if (!isnan(i->margin) && !(i->margin >= -1 && i->margin <= 1))
        return dead_set(why, DEAD_VALUE, "margin: not a share of the price");
    return DEAD_NONE;
}

enum dead_reason validate_control(const struct config *cfg, const struct control_info *c,
                                  struct dead *why) {
    enum dead_reason dead;
    if (c->user.n == 0)
        return dead_set(why, DEAD_NO_USER, "user_id: missing or empty");
    if ((dead = check_text(cfg, "user_id", c->user, TEXT_ID, why)) != DEAD_NONE ||
        (dead = check_text(cfg, "timezone", c->tz, TEXT_ID, why)) != DEAD_NONE)
        return dead;
    for (size_t i = 0; i < c->n; i++)
        if ((dead = check_text(cfg, "consent", c->consent[i].channel, TEXT_ID, why)) != DEAD_NONE)
            return dead;
    return DEAD_NONE;
}
