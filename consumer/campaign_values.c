/* A campaign's trigger and audience. */
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_keys.h"
#include "consumer/options_table.h"
#include "consumer/parse.h"

enum { AUDIENCE_MAX = 32 };

/* ---- values ---------------------------------------------------------------- */

bool value_span(struct yaml_walk *w, const yaml_node_t *v, int64_t *ret_ms) {
    const char *text = walk_need_text(w, v, "a time such as 30m, 48h or 7d");
    if (!text)
        return false;
    if (parse_ms(text, ret_ms) == 0 && *ret_ms > 0)
        return true;
    walk_fault(w, v, "must be a time such as 30m, 48h or 7d, found %s", text);
    return false;
}

bool value_number(struct yaml_walk *w, const yaml_node_t *v, double min, double max, double *ret) {
    const char *text = walk_need_text(w, v, "a number");
    if (!text)
        return false;
    if (parse_number(str_of(text), ret) && *ret >= min && *ret <= max)
        return true;
    walk_fault(w, v, "must be a number from %.15g to %.15g, found %s", min, max, text);
    return false;
}

bool value_integer(struct yaml_walk *w, const yaml_node_t *v, int64_t min, int64_t max,
                   int64_t *ret) {
    const char *text = walk_need_text(w, v, "a whole number");
    double x;
    if (!text)
        return false;
    if (parse_number(str_of(text), &x) && x == floor(x) && x >= (double)min && x <= (double)max) {
        *ret = (int64_t)x;
        return true;
    }
    walk_fault(w, v, "must be a whole number from %lld to %lld, found %s", (long long)min,
               (long long)max, text);
    return false;
}

bool value_bool(struct yaml_walk *w, const yaml_node_t *v, bool *ret) {
    const char *text = walk_need_text(w, v, "true or false");
    if (!text)
        return false;
    if (parse_bool(str_of(text), ret))
        return true;
    walk_fault(w, v, "must be true or false, found %s", text);
    return false;
}

/* ---- trigger --------------------------------------------------------------- */

static struct trigger_spec *trigger(void *draft) {
    return &((struct draft *)draft)->spec.trigger;
}

static void read_after(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_span(w, v, &trigger(draft)->after_ms);
}

static void read_within(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_span(w, v, &trigger(draft)->within_ms);
}

static void read_days(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    int64_t days;
    if (value_integer(w, v, 1, 3650, &days))
        trigger(draft)->days_ms = days * 86400000;
}

static void read_percent(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_number(w, v, 0, 100, &trigger(draft)->percent);
}

static void read_times(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    int64_t times;
    if (value_integer(w, v, 1, VIEWED_TIMES_MAX, &times))
        trigger(draft)->times = (uint32_t)times;
}

static void read_session(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    int64_t session;
    if (value_integer(w, v, 1, 65534, &session))
        trigger(draft)->session = (uint32_t)session;
}

static void read_without_purchase(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_bool(w, v, &trigger(draft)->without_purchase);
}

static void read_viewed_category(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct trigger_spec *t = trigger(draft);
    const char *text = walk_need_text(w, v, "a category's name, `same` or `any`");
    if (!text)
        return;
    t->subject = strcmp(text, "any") == 0    ? VIEWS_OF_ANYTHING
                 : strcmp(text, "same") == 0 ? VIEWS_OF_SAME_CATEGORY
                                             : VIEWS_OF_CATEGORY;
    t->category = t->subject == VIEWS_OF_CATEGORY ? str_of(text) : (struct str){0};
}

static void read_viewed_item(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const char *text = walk_need_text(w, v, "`same`");
    if (text && strcmp(text, "same") != 0)
        walk_fault(w, v, "must be `same` (the same item again and again), found %s", text);
    trigger(draft)->subject = VIEWS_OF_SAME_ITEM;
}

static void read_event_category(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const char *text = walk_need_text(w, v, "a category's name");
    trigger(draft)->category = str_of(text);
}

static void read_event_type(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const struct config *cfg = ((struct draft *)draft)->cfg;
    const char *names[EV_MAX], *text = walk_need_text(w, v, "an event type such as survey");
    char near[96];
    size_t n = 0;
    if (!text)
        return;
    trigger(draft)->type = config_event_type(cfg, str_of(text));
    if (trigger(draft)->type != EV_UNKNOWN)
        return;
    for (; n < EV_BUILTIN + cfg->n_custom; n++)
        names[n] = config_event_name(cfg, (uint8_t)n);
    walk_suggest(near, text, names, n);
    walk_fault(w, v, "no event type %s%s", text,
               *near ? near : "; custom ones are named under `events:` of the configuration");
}

static void read_min(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_number(w, v, -1e12, 1e12, &trigger(draft)->min_value);
}

static void read_max(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    value_number(w, v, -1e12, 1e12, &trigger(draft)->max_value);
}

static void read_follows(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const char *text = walk_need_text(w, v, "the id of a campaign");
    trigger(draft)->campaign = str_of(text);
}

static void read_unless(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    const char *text = walk_need_text(w, v, "opened or redeemed");
    if (text && strcmp(text, "opened") != 0 && strcmp(text, "redeemed") != 0)
        walk_fault(w, v, "must be opened or redeemed, found %s", text);
    trigger(draft)->unless =
        text && strcmp(text, "redeemed") == 0 ? FOLLOW_UNLESS_REDEEMED : FOLLOW_UNLESS_OPENED;
}

static const struct walk_key follows_keys[] = {
    {"campaign", read_follows, true}, {"after", read_after, true}, {"unless", read_unless, false}};
static const struct walk_key cart_keys[] = {{"after", read_after, true}};
static const struct walk_key viewed_keys[] = {{"category", read_viewed_category, false},
                                              {"item", read_viewed_item, false},
                                              {"times", read_times, true},
                                              {"within", read_within, true},
                                              {"without_purchase", read_without_purchase, false}};
static const struct walk_key drop_keys[] = {{"percent", read_percent, true},
                                            {"within", read_within, true}};
static const struct walk_key lapsed_keys[] = {{"days", read_days, true}};
static const struct walk_key event_keys[] = {{"type", read_event_type, true},
                                             {"min", read_min, false},
                                             {"max", read_max, false},
                                             {"category", read_event_category, false}};
static const struct walk_key welcome_keys[] = {{"session", read_session, false}};

/* In the order of enum trigger_kind. */
static const struct {
    const struct walk_key *keys;
    size_t n;
    const char *example;
} kinds[TRIGGER_COUNT] = {
    {cart_keys, ARRAY_LEN(cart_keys), "cart_abandoned: {after: 30m}"},
    {viewed_keys, ARRAY_LEN(viewed_keys), "viewed: {category: shoes, times: 3, within: 2d}"},
    {drop_keys, ARRAY_LEN(drop_keys), "price_drop: {percent: 10, within: 14d}"},
    {lapsed_keys, ARRAY_LEN(lapsed_keys), "lapsed: {days: 30}"},
    {event_keys, ARRAY_LEN(event_keys), "event: {type: survey, max: 6}"},
    {welcome_keys, ARRAY_LEN(welcome_keys), "welcome: {session: 1}"},
    {follows_keys, ARRAY_LEN(follows_keys),
     "follows: {campaign: cart-rescue, after: 2d, unless: opened}"},
};

void read_trigger(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct draft *d = draft;
    const char *names[TRIGGER_COUNT];
    char near[96];
    for (size_t k = 0; k < TRIGGER_COUNT; k++)
        names[k] = trigger_kind_name((enum trigger_kind)k);
    if (v->type != YAML_MAPPING_NODE ||
        v->data.mapping.pairs.top - v->data.mapping.pairs.start != 1) {
        walk_fault(w, v, "must be one kind of trigger with its keys, such as {%s}",
                   kinds[0].example);
        return;
    }
    const yaml_node_t *key = walk_node(w, v->data.mapping.pairs.start->key),
                      *value = walk_node(w, v->data.mapping.pairs.start->value);
    const char *name = walk_text(key);
    size_t k = 0;
    while (k < TRIGGER_COUNT && (!name || strcmp(names[k], name) != 0))
        k++;
    if (k == TRIGGER_COUNT) {
        walk_suggest(near, name ? name : "", names, TRIGGER_COUNT);
        walk_fault(w, key, "no trigger %s%s", name ? name : "of that kind",
                   *near ? near
                         : "; there are cart_abandoned, viewed, price_drop, lapsed, event, welcome "
                           "and follows");
        return;
    }
    d->spec.trigger = (struct trigger_spec){.kind = (enum trigger_kind)k,
                                            .without_purchase = true,
                                            .session = 1,
                                            .min_value = NAN,
                                            .max_value = NAN};
    size_t mark = walk_enter(w, name), faults = w->n_faults;
    if (value->type == YAML_MAPPING_NODE)
        walk_map(w, value, kinds[k].keys, kinds[k].n, draft);
    else
        walk_fault(w, value, "must be a group of keys, such as {%s}", kinds[k].example);
    const struct trigger_spec *t = &d->spec.trigger;
    if (faults == w->n_faults && t->min_value > t->max_value)
        walk_fault(w, value, "min is larger than max");
    if (k == TRIGGER_VIEWED && walk_find(w, value, "category") && walk_find(w, value, "item"))
        walk_fault(w, value, "says both category and item; keep one");
    walk_leave(w, mark);
}

/* ---- audience -------------------------------------------------------------- */

static void add_condition(struct yaml_walk *w, const yaml_node_t *v, struct draft *d,
                          struct str text) {
    if (d->spec.n_audience == AUDIENCE_MAX) {
        walk_fault(w, v, "has, with its segments, more than %d conditions", AUDIENCE_MAX);
        return;
    }
    d->condition[d->spec.n_audience] = v;
    d->audience[d->spec.n_audience++] = text;
}

/* segment(NAME): the conditions that stand under `segments:`. */
static void read_segment(struct yaml_walk *w, const yaml_node_t *v, struct draft *d,
                         struct str rest) {
    const char *names[SEGMENTS_MAX];
    char near[96], name[64];
    size_t n = 0;
    while (n < d->file->n_segments && n < SEGMENTS_MAX) {
        const struct segment *s = &d->file->segment[n];
        if (rest.n && rest.p[rest.n - 1] == ')' &&
            str_eq(s->name, (struct str){rest.p, rest.n - 1})) {
            for (size_t i = 0; i < s->n; i++)
                add_condition(w, v, d, s->condition[i]);
            return;
        }
        names[n++] = s->name.p;
    }
    snprintf(name, sizeof name, "%.*s", (int)MIN(rest.n ? rest.n - 1 : 0, sizeof name - 1), rest.p);
    walk_fault(w, v, "no segment %s%s", name,
               *walk_suggest(near, name, names, n)
                   ? near
                   : "; describe it under `segments:` at the top of the file");
}

static void read_condition(struct yaml_walk *w, const yaml_node_t *v, struct draft *d) {
    static const char *const names[] = {
#define X(sym, name, help) name,
        PROFILE_FIELDS(X)
#undef X
#define X(name) name,
            CONDITION_CONTEXT_KEYS(X)
#undef X
                "category_share",
        "item.price",
        "item.margin",
        "item.category",
        "item.brand",
        "item.id",
        "segment",
    };
    const char *text = walk_need_text(w, v, "a condition such as `purchases >= 1`");
    struct condition c;
    if (text && strncmp(text, "segment(", 8) == 0) {
        read_segment(w, v, d, (struct str){text + 8, strlen(text) - 8});
        return;
    }
    struct condition_fault fault;
    char near[96] = "", name[64];
    if (!text)
        return;
    int r = condition_parse(str_of(text), &c, &fault);
    if (r == 0) {
        condition_free(&c);
        add_condition(w, v, d, str_of(text));
        return;
    }
    if (r == -ENOMEM) {
        w->no_memory = true;
        return;
    }
    if (fault.unknown.n) {
        snprintf(name, sizeof name, "%.*s", (int)MIN(fault.unknown.n, sizeof name - 1),
                 fault.unknown.p);
        walk_suggest(near, name, names, ARRAY_LEN(names));
        if (!*near)
            snprintf(near, sizeof near, "; a key of the event's context is written context.NAME");
    }
    walk_fault(w, v, "%s: %s%s", text, fault.text, near);
}

void read_audience(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct draft *d = draft;
    bool list = v->type == YAML_SEQUENCE_NODE;
    size_t n = list ? (size_t)(v->data.sequence.items.top - v->data.sequence.items.start) : 1;
    if (n > AUDIENCE_MAX) {
        walk_fault(w, v, "has %zu conditions; at most %d", n, AUDIENCE_MAX);
        return;
    }
    d->audience = calloc(AUDIENCE_MAX, sizeof *d->audience);
    d->condition = calloc(AUDIENCE_MAX, sizeof *d->condition);
    if (!d->audience || !d->condition) {
        w->no_memory = true;
        return;
    }
    d->spec.audience = d->audience;
    for (size_t i = 0; i < n; i++)
        read_condition(w, list ? walk_node(w, v->data.sequence.items.start[i]) : v, d);
}

/* A segment is read as an audience of nobody's. */
void read_segments(struct yaml_walk *w, const yaml_node_t *v, void *file) {
    struct file *f = file;
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must name segments, such as {loyal: [purchases >= 3]}");
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = walk_node(w, p->key);
        struct draft d = {.cfg = f->cfg, .file = f};
        struct str name;
        if (f->n_segments == SEGMENTS_MAX) {
            walk_fault(w, key, "more than %d segments", SEGMENTS_MAX);
            return;
        }
        if (!value_label(w, key, "a name", &name))
            continue;
        size_t mark = walk_enter(w, name.p);
        read_audience(w, walk_node(w, p->value), &d);
        walk_leave(w, mark);
        free(d.condition);
        f->segment[f->n_segments++] = (struct segment){name, d.spec.n_audience, d.audience};
    }
}

void check_audience(struct yaml_walk *w, const struct draft *d) {
    enum trigger_kind k = d->spec.trigger.kind;
    if (k != TRIGGER_LAPSED && k != TRIGGER_PRICE_DROP && k != TRIGGER_FOLLOWS)
        return;
    size_t mark = walk_enter(w, "audience");
    for (size_t i = 0; i < d->spec.n_audience; i++) {
        struct condition c;
        struct condition_fault fault;
        if (condition_parse(d->audience[i], &c, &fault) < 0)
            continue;
        if (c.kind == CONDITION_CONTEXT)
            walk_fault(
                w, d->condition[i],
                "%s: `%s` is not set off by an event of the user, so there is no %.*s to ask",
                d->audience[i].p, trigger_kind_name(k), (int)MIN(c.name.n, 60), c.name.p);
        condition_free(&c);
    }
    walk_leave(w, mark);
}
