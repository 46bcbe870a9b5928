/* Columns to fields. What a column means is worked out once per table and column (a plan);
 * a record then costs one switch per column. */
#include "consumer/csv.h"
#include "consumer/parse.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* Field, the column names that mean it by default. */
#define FIELDS(X)                                                                                  \
    X(ID, "id", "event_id", "id")                                                                  \
    X(USER, "user", "user_id", "user")                                                             \
    X(ITEM, "item", "item_id", "item")                                                             \
    X(TYPE, "type", "type", "event_type")                                                          \
    X(TIME, "time", "ts_ms", "time", "time_ms", "ts", "timestamp")                                 \
    X(SESSION, "session", "session_id", "session")                                                 \
    X(VALUE, "value", "value")                                                                     \
    X(DWELL, "dwell", "dwell", "dwell_ms")                                                         \
    X(QUERY, "query", "query")                                                                     \
    X(DECISION, "decision", "decision_id", "decision", "trigger_id")                               \
    X(CATEGORY, "category", "category", "category_path")                                           \
    X(BRAND, "brand", "brand")                                                                     \
    X(PRICE, "price", "price")                                                                     \
    X(MARGIN, "margin", "margin")                                                                  \
    X(TAGS, "tags", "tags")                                                                        \
    X(DESCRIPTION, "description", "description")                                                   \
    X(DENSE, "dense", "embedding", "dense")                                                        \
    X(AVAILABLE, "available", "available")                                                         \
    X(RESTRICTED, "restricted", "restricted")                                                      \
    X(ADULT, "adult", "adult")                                                                     \
    X(SENSITIVE, "sensitive", "sensitive")                                                         \
    X(NO_DISCOUNT, "no_discount", "no_discount")                                                   \
    X(DELETED, "deleted", "deleted")                                                               \
    X(TZ, "tz", "timezone", "tz", "time_zone")

enum field {
#define X(sym, ...) F_##sym,
    FIELDS(X)
#undef X
        F_CONTEXT, /* context.NAME */
    F_CONSENT,     /* consent.CHANNEL */
    F_DROP,
};

static const char *const field_names[] = {
#define X(sym, name, ...) name,
    FIELDS(X)
#undef X
};

struct target {
    enum field field;
    struct str name; /* of a context entry or channel */
};

struct column_map {
    char *column;
    struct target target;
};

struct type_map {
    char *value;
    size_t n;
    uint8_t type;
    const char *type_name; /* NULL: drop the row */
    struct target item_to; /* F_ITEM: stays */
};

struct constant {
    struct target target;
    char *value;
};

struct field_map {
    const struct config *cfg;
    int64_t unit_us;
    size_t n_columns, n_types, n_sets;
    struct column_map *columns;
    struct type_map *types;
    struct constant *sets;
    char **kept; /* what targets borrow from */
    size_t n_kept;

    uint64_t planned_for; /* table_serial */
    size_t n_plan, cap_plan;
    struct target *plan;
    char id[48], type_text[128], error[160];
    float dense[ITEM_DENSE_MAX];
};

static bool starts_with(struct str s, struct str prefix) {
    return s.n > prefix.n && memcmp(s.p, prefix.p, prefix.n) == 0;
}

static struct str after(struct str s, size_t n) {
    return (struct str){s.p + n, s.n - n};
}

/* By one of the names that columns have by default; these are the schemas' own as well. */
static bool known_name(struct str s, enum field *ret) {
    static const char *const names[][6] = {
#define X(sym, name, ...) {__VA_ARGS__},
        FIELDS(X)
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t k = 0; k < 6 && names[i][k]; k++)
            if (str_eq(s, str_of(names[i][k]))) {
                *ret = (enum field)i;
                return true;
            }
    return false;
}

/* A field as people write it: "user" or "user_id", "context.device", "" (drop). */
static bool parse_target(struct str s, struct target *ret) {
    *ret = (struct target){.field = F_DROP};
    if (s.n == 0)
        return true;
    if (starts_with(s, STR("context."))) {
        *ret = (struct target){F_CONTEXT, after(s, 8)};
        return true;
    }
    if (starts_with(s, STR("consent."))) {
        *ret = (struct target){F_CONSENT, after(s, 8)};
        return true;
    }
    for (size_t i = 0; i < ARRAY_LEN(field_names); i++)
        if (str_eq(s, str_of(field_names[i]))) {
            ret->field = (enum field)i;
            return true;
        }
    return known_name(s, &ret->field);
}

static struct target default_target(struct str column) {
    struct target t = {.field = F_DROP};
    if (known_name(column, &t.field))
        return t;
    if (starts_with(column, STR("context.")) || starts_with(column, STR("consent.")))
        parse_target(column, &t);
    else
        t = (struct target){.field = column.n ? F_CONTEXT : F_DROP, .name = column};
    return t;
}

static void field_fault(const char *flag, const char *arg, struct str field) {
    fprintf(stderr, "--%s '%s': no field '%.*s'; use", flag, arg, (int)field.n, field.p);
    for (size_t i = 0; i < ARRAY_LEN(field_names); i++)
        fprintf(stderr, " %s,", field_names[i]);
    fprintf(stderr, " context.NAME or consent.CHANNEL\n");
}

/* Splits a copy at its last '='. */
static int split(struct field_map *m, const char *flag, const char *arg, char **ret_left,
                 struct str *ret_right) {
    char *copy = strdup(arg);
    if (!copy)
        return -ENOMEM;
    m->kept[m->n_kept++] = copy;
    char *eq = strrchr(copy, '=');
    if (!eq) {
        fprintf(stderr, "--%s '%s': write it as LEFT=RIGHT\n", flag, arg);
        return -EINVAL;
    }
    *eq = '\0';
    *ret_left = copy;
    *ret_right = str_of(eq + 1);
    return 0;
}

static int add_map(struct field_map *m, const char *arg) {
    struct column_map *c = &m->columns[m->n_columns];
    struct str right;
    int r = split(m, "map", arg, &c->column, &right);
    if (r < 0)
        return r;
    if (!parse_target(right, &c->target)) {
        field_fault("map", arg, right);
        return -EINVAL;
    }
    m->n_columns++;
    return 0;
}

static int add_type(struct field_map *m, const char *arg) {
    struct type_map *t = &m->types[m->n_types];
    struct str right;
    int r = split(m, "type-map", arg, &t->value, &right);
    if (r < 0)
        return r;
    t->n = strlen(t->value);
    t->item_to = (struct target){.field = F_ITEM};
    t->type = EV_UNKNOWN;
    const char *colon = right.n ? memchr(right.p, ':', right.n) : NULL;
    if (colon) {
        struct str to = after(right, (size_t)(colon - right.p) + 1);
        right.n = (size_t)(colon - right.p);
        if (!parse_target(to, &t->item_to)) {
            field_fault("type-map", arg, to);
            return -EINVAL;
        }
    }
    if (right.n) {
        t->type = config_event_type(m->cfg, right);
        if (t->type == EV_UNKNOWN) {
            fprintf(stderr,
                    "--type-map '%s': type '%.*s' is neither built in nor configured; add it "
                    "under events: with its weight\n",
                    arg, (int)right.n, right.p);
            return -EINVAL;
        }
        t->type_name = config_event_name(m->cfg, t->type);
    }
    m->n_types++;
    return 0;
}

static int add_set(struct field_map *m, const char *arg) {
    struct constant *c = &m->sets[m->n_sets];
    char *left;
    struct str right;
    int r = split(m, "set", arg, &left, &right);
    if (r < 0)
        return r;
    if (left[0] == '\0' || !parse_target(str_of(left), &c->target)) {
        field_fault("set", arg, str_of(left));
        return -EINVAL;
    }
    c->value = (char *)right.p;
    m->n_sets++;
    return 0;
}

int field_map_new(const struct config *cfg, char *const *maps, size_t n_maps,
                  char *const *type_maps, size_t n_type_maps, char *const *sets, size_t n_sets,
                  struct field_map **ret) {
    autofree(field_map_free) struct field_map *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->cfg = cfg;
    m->unit_us = 1000;
    m->columns = calloc(n_maps + 1, sizeof *m->columns);
    m->types = calloc(n_type_maps + 1, sizeof *m->types);
    m->sets = calloc(n_sets + 1, sizeof *m->sets);
    m->kept = calloc(n_maps + n_type_maps + n_sets + 1, sizeof *m->kept);
    if (!m->columns || !m->types || !m->sets || !m->kept)
        return -ENOMEM;
    int fault = 0, r;
    for (size_t i = 0; i < n_maps; i++)
        if ((r = add_map(m, maps[i])) < 0)
            fault = r;
    for (size_t i = 0; i < n_type_maps; i++)
        if ((r = add_type(m, type_maps[i])) < 0)
            fault = r;
    for (size_t i = 0; i < n_sets; i++)
        if ((r = add_set(m, sets[i])) < 0)
            fault = r;
    if (fault)
        return fault;
    *ret = TAKE(m);
    return 0;
}

void field_map_free(struct field_map *m) {
    if (!m)
        return;
    for (size_t i = 0; i < m->n_kept; i++)
        free(m->kept[i]);
    free(m->kept);
    free(m->columns);
    free(m->types);
    free(m->sets);
    free(m->plan);
    free(m);
}

int field_map_time_unit(struct field_map *m, const char *unit) {
    static const struct {
        const char *name;
        int64_t us;
    } units[] = {{"s", 1000000}, {"ms", 1000}, {"us", 1}};
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (strcmp(unit, units[i].name) == 0) {
            m->unit_us = units[i].us;
            return 0;
        }
    fprintf(stderr, "--time-unit '%s': use s, ms or us\n", unit);
    return -EINVAL;
}

const char *field_map_error(const struct field_map *m) {
    return m->error;
}

/* Brings the plan up to the table's columns (of a JSON file they grow). What a column
 * is called by --map goes first; false: out of memory. */
static bool plan(struct field_map *m, const struct table_file *t) {
    if (m->planned_for != table_serial(t)) {
        m->planned_for = table_serial(t);
        m->n_plan = 0;
    }
    size_t n = table_columns(t);
    if (n > m->cap_plan) {
        void *p = realloc(m->plan, n * sizeof *m->plan);
        if (!p)
            return false;
        m->plan = p;
        m->cap_plan = n;
    }
    for (; m->n_plan < n; m->n_plan++) {
        struct str column = table_column(t, m->n_plan);
        struct target *to = &m->plan[m->n_plan];
        *to = default_target(column);
        for (size_t k = 0; k < m->n_columns; k++)
            if (str_eq(column, str_of(m->columns[k].column)))
                *to = m->columns[k].target;
        for (size_t k = 0; k < m->n_sets; k++) /* constants win over columns */
            if (to->field == m->sets[k].target.field && str_eq(to->name, m->sets[k].target.name))
                to->field = F_DROP;
    }
    return true;
}

/* ---- events ---- */

static void add_context(struct event *e, struct str key, struct str value) {
    if (e->n_ctx < EVENT_CTX_MAX)
        e->ctx[e->n_ctx++] = (struct event_ctx){key, value};
}

static double number(struct str s) {
    double d;
    return parse_number(s, &d) ? d : (double)INFINITY;
}

static void event_field(struct field_map *m, struct event *e, struct target to, struct str v,
                        struct str *type) {
    switch (to.field) {
    case F_ID:
        e->id = v;
        break;
    case F_USER:
        e->user = v;
        break;
    case F_ITEM:
        e->item = v;
        break;
    case F_TYPE:
        *type = v;
        break;
    case F_TIME:
        if (!parse_time(v, m->unit_us, &e->time_ms))
            e->time_ms = INT64_MIN;
        break;
    case F_SESSION:
        e->session = v;
        break;
    case F_VALUE:
        e->value = number(v);
        break;
    case F_DWELL:
        e->dwell_ms = number(v);
        break;
    case F_QUERY:
        e->query = v;
        break;
    case F_DECISION:
        e->decision = v;
        break;
    case F_CONTEXT:
        add_context(e, to.name, v);
        break;
    case F_CONSENT:
    case F_DROP:
        break;
    default: /* an item's field: on an event it is circumstance */
        add_context(e, str_of(field_names[to.field]), v);
        break;
    }
}

/* False: the row is dropped. */
static bool event_type(struct field_map *m, struct event *e, struct str text, struct str *ret) {
    for (size_t i = 0; i < m->n_types; i++) {
        const struct type_map *t = &m->types[i];
        if (!str_eq(text, (struct str){t->value, t->n}))
            continue;
        e->type = t->type;
        *ret = str_of(t->type_name);
        if (t->item_to.field != F_ITEM && e->item.n) {
            struct str moved = e->item, ignored;
            e->item = (struct str){0};
            event_field(m, e, t->item_to, moved, &ignored);
        }
        return t->type_name != NULL;
    }
    e->type = config_event_type_written(m->cfg, text);
    if (e->type != EV_UNKNOWN) {
        *ret = str_of(config_event_name(m->cfg, e->type));
    } else {
        size_t n = MIN(text.n, sizeof m->type_text - 1);
        if (n)
            memcpy(m->type_text, text.p, n);
        m->type_text[n] = '\0';
        *ret = (struct str){m->type_text, n};
    }
    return true;
}

/* Line, content and path: a file loaded again brings the same ids, another one of the
 * same name does not. HASH-LINE, without printf's price. */
static struct str derive_id(struct field_map *m, const struct table_file *t) {
    uint64_t seed = hash_str(str_of(table_path(t)), 0), line = table_line(t);
    uint64_t h = hash_str(table_row(t), seed + line);
    char digits[24], *d = digits + sizeof digits;
    do {
        *--d = (char)('0' + line % 10);
        line /= 10;
    } while (line);
    size_t n = (size_t)(digits + sizeof digits - d);
    for (int i = 0; i < 16; i++)
        m->id[i] = "0123456789abcdef"[h >> (60 - 4 * i) & 15];
    m->id[16] = '-';
    memcpy(m->id + 17, d, n);
    return (struct str){m->id, 17 + n};
}

int field_map_event(struct field_map *m, const struct table_file *t, struct event *ret,
                    struct str *ret_type_name) {
    struct event *e = ret;
    struct str type = {0};
    memset(e, 0, offsetof(struct event, ctx));
    e->value = e->dwell_ms = NAN;
    e->time_ms = INT64_MIN;
    e->type = EV_UNKNOWN;
    *ret_type_name = STR("");
    if (!plan(m, t))
        return 0;
    for (size_t i = 0; i < m->n_sets; i++)
        event_field(m, e, m->sets[i].target, str_of(m->sets[i].value), &type);
    for (size_t i = 0; i < m->n_plan; i++) {
        struct str v = table_value(t, i);
        if (v.n)
            event_field(m, e, m->plan[i], v, &type);
    }
    if (!e->id.n)
        e->id = derive_id(m, t);
    return event_type(m, e, type, ret_type_name) ? 1 : 0;
}

/* ---- catalogue and control records ---- */

static int refuse(struct field_map *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int refuse(struct field_map *m, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(m->error, sizeof m->error, fmt, ap);
    va_end(ap);
    return -EBADMSG;
}

/* The next part of a list of parts; empty ones are passed over. */
static bool next_part(struct str *rest, const char *separators, struct str *ret) {
    while (rest->n && strchr(separators, rest->p[0]))
        *rest = after(*rest, 1);
    size_t n = 0;
    while (n < rest->n && !strchr(separators, rest->p[n]))
        n++;
    *ret = (struct str){rest->p, n};
    *rest = after(*rest, n);
    return n > 0;
}

static size_t parts(struct str s, const char *separators, struct str *out, size_t max) {
    size_t n = 0;
    while (n < max && next_part(&s, separators, &out[n]))
        n++;
    return n;
}

static int dense(struct field_map *m, struct str s, struct item_info *i) {
    struct str part;
    while (next_part(&s, " |,", &part)) {
        double d;
        if (i->n_dense == ITEM_DENSE_MAX)
            return refuse(m, "more than %d numbers in dense", ITEM_DENSE_MAX);
        if (!parse_number(part, &d))
            return refuse(m, "dense holds something that is not a number");
        m->dense[i->n_dense++] = (float)d;
    }
    i->dense = m->dense;
    return 0;
}

static int item_number(struct field_map *m, const char *name, struct str v, double *ret) {
    return parse_number(v, ret) ? 0 : refuse(m, "%s is not a number", name);
}

static int item_bool(struct field_map *m, enum field f, struct str v, bool *ret) {
    return parse_bool(v, ret) ? 0 : refuse(m, "%s is neither true nor false", field_names[f]);
}

static int item_flag(struct field_map *m, enum field f, struct str v, uint32_t flag,
                     struct item_info *i) {
    bool on = false;
    int r = item_bool(m, f, v, &on);
    i->flags = on ? i->flags | flag : i->flags & ~flag;
    return r;
}

static int item_field(struct field_map *m, struct item_info *i, struct target to, struct str v,
                      struct str *id) {
    switch (to.field) {
    case F_ITEM:
        i->id = v;
        return 0;
    case F_ID:
        *id = v;
        return 0;
    case F_CATEGORY:
        i->n_category = parts(v, "/|", i->category, ITEM_CATEGORY_MAX);
        return 0;
    case F_BRAND:
        i->brand = v;
        return 0;
    case F_DESCRIPTION:
        i->description = v;
        return 0;
    case F_TAGS:
        i->n_tags = parts(v, "|", i->tags, ITEM_TAGS_MAX);
        return 0;
    case F_PRICE:
        return item_number(m, "price", v, &i->price);
    case F_MARGIN:
        return item_number(m, "margin", v, &i->margin);
    case F_DENSE:
        return dense(m, v, i);
    case F_AVAILABLE:
        return item_bool(m, to.field, v, &i->available);
    case F_DELETED:
        return item_bool(m, to.field, v, &i->deleted);
    case F_RESTRICTED:
        return item_flag(m, to.field, v, ITEM_RESTRICTED, i);
    case F_ADULT:
        return item_flag(m, to.field, v, ITEM_ADULT, i);
    case F_SENSITIVE:
        return item_flag(m, to.field, v, ITEM_SENSITIVE, i);
    case F_NO_DISCOUNT:
        return item_flag(m, to.field, v, ITEM_NO_DISCOUNT, i);
    default:
        return 0;
    }
}

int field_map_item(struct field_map *m, const struct table_file *t, struct item_info *ret) {
    struct str id = {0};
    *ret = (struct item_info){.price = NAN, .margin = NAN, .available = true};
    if (!plan(m, t))
        return -ENOMEM;
    int r = 0;
    for (size_t i = 0; i < m->n_sets && r == 0; i++)
        r = item_field(m, ret, m->sets[i].target, str_of(m->sets[i].value), &id);
    for (size_t i = 0; i < m->n_plan && r == 0; i++) {
        struct str v = table_value(t, i);
        if (v.n)
            r = item_field(m, ret, m->plan[i], v, &id);
    }
    if (r < 0)
        return r;
    if (!ret->id.n)
        ret->id = id;
    return ret->id.n ? 0 : refuse(m, "no item id");
}

static int control_field(struct field_map *m, struct control_info *c, struct target to,
                         struct str v) {
    bool on;
    switch (to.field) {
    case F_USER:
        c->user = v;
        return 0;
    case F_TZ:
        c->tz = v;
        return 0;
    case F_DELETED:
        return item_bool(m, to.field, v, &c->deleted);
    case F_CONSENT:
        if (!parse_bool(v, &on))
            return refuse(m, "consent is neither true nor false");
        if (c->n == ARRAY_LEN(c->consent))
            return refuse(m, "more than %zu channels", ARRAY_LEN(c->consent));
        c->consent[c->n].channel = to.name;
        c->consent[c->n++].granted = on;
        return 0;
    default:
        return 0;
    }
}

int field_map_control(struct field_map *m, const struct table_file *t, struct control_info *ret) {
    *ret = (struct control_info){0};
    if (!plan(m, t))
        return -ENOMEM;
    int r = 0;
    for (size_t i = 0; i < m->n_sets && r == 0; i++)
        r = control_field(m, ret, m->sets[i].target, str_of(m->sets[i].value));
    for (size_t i = 0; i < m->n_plan && r == 0; i++) {
        struct str v = table_value(t, i);
        if (v.n)
            r = control_field(m, ret, m->plan[i], v);
    }
    if (r < 0)
        return r;
    return ret->user.n ? 0 : refuse(m, "no user id");
}
