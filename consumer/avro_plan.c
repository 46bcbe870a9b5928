#include "consumer/avro_plan.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "consumer/avro_wire.h"

enum step_op {
    OP_SKIP,
    OP_SKIP_LONG,
    OP_SKIP_BYTES,
    OP_NOTHING,
    OP_UNION,   /* `arg`: its first step in plan.branch */
    OP_USELESS, /* a branch that cannot become the field */
    OP_BYTES,
    OP_TEXT, /* anything that is not bytes: the slow way through read_text */
    OP_LONG,
    OP_INT,
    OP_TIME, /* `arg`: units per ms */
    OP_NUMBER,
    OP_DOUBLE,
    OP_BOOL,
    OP_TEXTS,
    OP_FLOATS,
};

struct step {
    uint8_t op;
    uint32_t arg;
    const struct field *field; /* NULL: unknown to us */
    const struct schema_node *node;
    struct str name; /* the writer's */
};

struct plan {
    size_t n, n_branch;
    struct step *step, *branch;
};

static bool is_text(const struct schema_node *n, bool numbers) {
    switch (n->type) {
    case AT_STRING:
    case AT_BYTES:
    case AT_ENUM:
        return true;
    case AT_INT:
    case AT_LONG:
        return n->logical == LT_NONE;
    case AT_BOOLEAN:
    case AT_FLOAT:
    case AT_DOUBLE:
        return numbers;
    default:
        return false;
    }
}

static bool is_number(const struct schema_node *n) {
    return (n->type == AT_INT || n->type == AT_LONG || n->type == AT_FLOAT ||
            n->type == AT_DOUBLE) &&
           n->logical == LT_NONE;
}

/* Elements may be unions as well, as long as one branch is of use and none is in the way. */
static bool all_branches(const struct schema_node *n, bool (*fits)(const struct schema_node *)) {
    if (n->type != AT_UNION)
        return fits(n);
    bool any = false;
    for (size_t i = 0; i < n->n; i++) {
        if (n->kid[i]->type == AT_NULL)
            continue;
        if (!fits(n->kid[i]))
            return false;
        any = true;
    }
    return any;
}

static bool fits_text(const struct schema_node *n) {
    return is_text(n, false);
}

static bool fits_text_or_number(const struct schema_node *n) {
    return is_text(n, true);
}

static bool fits_boolean(const struct schema_node *n) {
    return n->type == AT_BOOLEAN;
}

/* How a value of `n` (no union) becomes the field: OP_USELESS if it cannot. */
static struct step step_for(const struct field *f, const struct schema_node *n, struct str name) {
    struct step s = {.op = OP_USELESS, .field = f, .node = n, .name = name};
    if (n->type == AT_NULL) {
        s.op = OP_NOTHING;
        return s;
    }
    if (!f) {
        s.op = n->type == AT_LONG                            ? OP_SKIP_LONG
               : n->type == AT_STRING || n->type == AT_BYTES ? OP_SKIP_BYTES
                                                             : OP_SKIP;
        return s;
    }
    bool whole = n->type == AT_INT || n->type == AT_LONG;
    switch (f->kind) {
    case FIELD_TEXT:
        if (n->type == AT_STRING || n->type == AT_BYTES)
            s.op = OP_BYTES;
        else if (is_text(n, false))
            s.op = OP_TEXT;
        break;
    case FIELD_BYTES:
        if (n->type == AT_STRING || n->type == AT_BYTES)
            s.op = OP_BYTES;
        break;
    case FIELD_TIME:
        if (whole && n->logical != LT_OTHER) {
            s.op = OP_TIME;
            s.arg = n->logical == LT_MICROS ? 1000 : n->logical == LT_NANOS ? 1000000 : 1;
        }
        break;
    case FIELD_LONG:
        if (whole && n->logical == LT_NONE)
            s.op = n->type == AT_INT ? OP_INT : OP_LONG;
        break;
    case FIELD_NUMBER:
        if (n->type == AT_DOUBLE)
            s.op = OP_DOUBLE;
        else if (is_number(n))
            s.op = OP_NUMBER;
        break;
    case FIELD_BOOL:
    case FIELD_FLAG:
        if (n->type == AT_BOOLEAN)
            s.op = OP_BOOL;
        break;
    case FIELD_TEXTS:
        if (n->type == AT_ARRAY && all_branches(n->kid[0], fits_text))
            s.op = OP_TEXTS;
        break;
    case FIELD_TEXT_MAP:
        if (n->type == AT_MAP && all_branches(n->kid[0], fits_text_or_number))
            s.op = OP_TEXTS;
        break;
    case FIELD_BOOL_MAP:
        if (n->type == AT_MAP && all_branches(n->kid[0], fits_boolean))
            s.op = OP_TEXTS;
        break;
    case FIELD_FLOATS:
        if (n->type == AT_ARRAY && is_number(n->kid[0]))
            s.op = OP_FLOATS;
        break;
    }
    return s;
}

/* The field each writer field feeds: where several claim one, the best name wins. */
static void match_fields(const struct schema_node *root, const struct field_table *t,
                         const struct field **match) {
    size_t owner[FIELDS_MAX], rank[FIELDS_MAX];
    for (size_t i = 0; i < t->n; i++)
        rank[i] = SIZE_MAX;
    for (size_t i = 0; i < root->n; i++) {
        size_t r;
        const struct field *f = field_find(t, root->name[i], &r);
        size_t k = f ? (size_t)(f - t->field) : 0;
        if (!f || rank[k] <= r)
            continue;
        if (rank[k] != SIZE_MAX)
            match[owner[k]] = NULL;
        match[i] = f;
        owner[k] = i;
        rank[k] = r;
    }
}

static int compile(struct plan *p, const struct schema_node *root, const struct field **match,
                   struct dead *why) {
    for (size_t i = 0; i < root->n; i++) {
        const struct field *f = match[i];
        const struct schema_node *n = root->kid[i];
        struct step *s = &p->step[p->n];
        bool useful = false;
        *s = step_for(f, n, root->name[i]);
        if (n->type == AT_UNION && f) {
            s->op = OP_UNION;
            s->arg = (uint32_t)p->n_branch;
            for (size_t k = 0; k < n->n; k++) {
                struct step *b = &p->branch[p->n_branch++];
                *b = step_for(f, n->kid[k], root->name[i]);
                useful |= b->op != OP_USELESS && b->op != OP_NOTHING;
            }
        } else {
            useful = s->op != OP_USELESS;
        }
        if (f && !useful && !(n->type == AT_UNION && n->n == 1 && n->kid[0]->type == AT_NULL)) {
            dead_set(why, DEAD_SCHEMA, "field %.60s has type %s, which cannot be read as %s",
                     root->name[i].p, schema_type_name(n->type), f->name);
            return -EINVAL;
        }
        if (s->op != OP_NOTHING)
            p->n++;
    }
    return 0;
}

int plan_new(const struct schema *writer, const struct field_table *fields, struct dead *why,
             struct plan **ret) {
    const struct schema_node *root = writer->root;
    if (root->type != AT_RECORD) {
        dead_set(why, DEAD_SCHEMA, "the schema is of type %s, not a record",
                 schema_type_name(root->type));
        return -EINVAL;
    }
    size_t branches = 1;
    for (size_t i = 0; i < root->n; i++)
        branches += root->kid[i]->type == AT_UNION ? root->kid[i]->n : 0;
    autofree(plan_free) struct plan *p = calloc(1, sizeof *p);
    autofree(free) const struct field **match = calloc(root->n + 1, sizeof *match);
    if (!p || !match)
        return -ENOMEM;
    p->step = calloc(root->n + 1, sizeof *p->step);
    p->branch = calloc(branches, sizeof *p->branch);
    if (!p->step || !p->branch)
        return -ENOMEM;
    match_fields(root, fields, match);
    int rc = compile(p, root, match, why);
    if (rc == 0)
        *ret = TAKE(p);
    return rc;
}

void plan_free(struct plan *p) {
    if (!p)
        return;
    free(p->step);
    free(p->branch);
    free(p);
}

struct run {
    struct wire w;
    struct arena *arena;
    void *record;
    struct dead *why;
    bool no_memory;
};

static enum wire_status text_of(struct run *r, struct str *ret, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum wire_status text_of(struct run *r, struct str *ret, const char *fmt, ...) {
    char t[40];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(t, sizeof t, fmt, ap);
    va_end(ap);
    *ret = arena_copy(r->arena, (struct str){t, (size_t)n});
    r->no_memory |= !ret->p;
    return WIRE_OK;
}

/* Text from whatever fits_text_or_number lets through; a null leaves `ret` without a pointer. */
static enum wire_status read_text(struct run *r, const struct schema_node *n, struct str *ret) {
    size_t i;
    int64_t v;
    double d;
    bool b;
    enum wire_status st;
    *ret = (struct str){0};
    switch (n->type) {
    case AT_STRING:
    case AT_BYTES:
        return wire_bytes(&r->w, ret);
    case AT_ENUM:
        if ((st = wire_branch(&r->w, n, &i)))
            return st;
        *ret = n->name[i];
        return WIRE_OK;
    case AT_UNION:
        st = wire_branch(&r->w, n, &i);
        return st ? st : read_text(r, n->kid[i], ret);
    case AT_INT:
    case AT_LONG:
        st = n->type == AT_INT ? wire_int(&r->w, &v) : wire_long(&r->w, &v);
        return st ? st : text_of(r, ret, "%" PRId64, v);
    case AT_FLOAT:
        st = wire_float(&r->w, &d);
        return st ? st : text_of(r, ret, "%.9g", d);
    case AT_DOUBLE:
        st = wire_double(&r->w, &d);
        return st ? st : text_of(r, ret, "%.17g", d);
    case AT_BOOLEAN:
        if ((st = wire_boolean(&r->w, &b)))
            return st;
        *ret = b ? STR("true") : STR("false");
        return WIRE_OK;
    default:
        return WIRE_OK;
    }
}

static enum wire_status read_number(struct run *r, const struct schema_node *n, double *ret) {
    int64_t v = 0;
    enum wire_status st;
    switch (n->type) {
    case AT_FLOAT:
        return wire_float(&r->w, ret);
    case AT_DOUBLE:
        return wire_double(&r->w, ret);
    default:
        st = n->type == AT_INT ? wire_int(&r->w, &v) : wire_long(&r->w, &v);
        *ret = (double)v;
        return st;
    }
}

static enum dead_reason bad_wire(struct run *r, const struct step *s, enum wire_status st) {
    return dead_set(r->why, st == WIRE_TRUNCATED ? DEAD_TRUNCATED : DEAD_MALFORMED,
                    "field %.60s: %s, %zu bytes left", s->name.p,
                    st == WIRE_TRUNCATED ? "ends early" : "length, count or branch out of range",
                    wire_left(&r->w));
}

static enum dead_reason run_texts(struct run *r, const struct step *s) {
    const struct schema_node *kid = s->node->kid[0];
    bool map = s->node->type == AT_MAP, booleans = s->field->kind == FIELD_BOOL_MAP;
    for (;;) {
        size_t n;
        enum wire_status st = wire_block(&r->w, s->node, &n);
        if (st)
            return bad_wire(r, s, st);
        if (n == 0)
            return DEAD_NONE;
        for (size_t i = 0; i < n; i++) {
            struct str key = {0}, value;
            if ((map && (st = wire_bytes(&r->w, &key))) || (st = read_text(r, kid, &value)))
                return bad_wire(r, s, st);
            if (!value.p)
                continue;
            if (booleans)
                value.n = value.n == 4 ? 1 : 0;
            if (!s->field->add(r->record, key, value))
                return dead_set(r->why, DEAD_FIELD, "field %.60s: too many entries", s->name.p);
        }
    }
}

static enum dead_reason run_floats(struct run *r, const struct step *s) {
    const struct schema_node *kid = s->node->kid[0];
    struct floats *to = (struct floats *)((char *)r->record + s->field->offset);
    float *all = NULL;
    size_t total = 0, cap = 0;
    for (;;) {
        size_t n;
        enum wire_status st = wire_block(&r->w, s->node, &n);
        if (st)
            return bad_wire(r, s, st);
        if (n == 0)
            break;
        if (n > s->field->arg - total)
            return dead_set(r->why, DEAD_VALUE, "field %.60s: more than %u numbers", s->name.p,
                            s->field->arg);
        if (total + n > cap) {
            /* Mostly one block holds them all. */
            cap = total ? s->field->arg : n;
            float *more = arena_get(r->arena, cap * sizeof *more);
            if (!more)
                return dead_set(r->why, DECODE_RETRY, "out of memory");
            if (total)
                memcpy(more, all, total * sizeof *more);
            all = more;
        }
        for (size_t i = 0; i < n; i++) {
            double v;
            if ((st = read_number(r, kid, &v)))
                return bad_wire(r, s, st);
            all[total + i] = (float)v;
            if (!isfinite(all[total + i]))
                return dead_set(r->why, DEAD_VALUE, "field %.60s: number %zu is not finite",
                                s->name.p, total + i);
        }
        total += n;
    }
    *to = (struct floats){all, total};
    return DEAD_NONE;
}

static enum dead_reason run_step(struct run *r, const struct plan *p, const struct step *s) {
    enum wire_status st = WIRE_OK;
    if (s->op == OP_UNION) {
        size_t i;
        if ((st = wire_branch(&r->w, s->node, &i)))
            return bad_wire(r, s, st);
        s = &p->branch[s->arg + i];
    }
    char *to = s->field ? (char *)r->record + s->field->offset : NULL;
    int64_t v;
    double d;
    bool b;
    struct str t;
    switch ((enum step_op)s->op) {
    case OP_SKIP:
        st = wire_skip(&r->w, s->node, 0);
        break;
    case OP_SKIP_LONG:
        st = wire_long(&r->w, &v);
        break;
    case OP_SKIP_BYTES:
        st = wire_bytes(&r->w, &t);
        break;
    case OP_BYTES:
        st = wire_bytes(&r->w, (struct str *)to);
        break;
    case OP_TEXT:
        st = read_text(r, s->node, (struct str *)to);
        break;
    case OP_LONG:
        st = wire_long(&r->w, (int64_t *)to);
        break;
    case OP_INT:
        st = wire_int(&r->w, (int64_t *)to);
        break;
    case OP_TIME:
        st = s->node->type == AT_INT ? wire_int(&r->w, &v) : wire_long(&r->w, &v);
        if (!st)
            *(int64_t *)to = s->arg == 1 ? v : v / (int64_t)s->arg;
        break;
    case OP_NUMBER:
    case OP_DOUBLE:
        st = s->op == OP_DOUBLE ? wire_double(&r->w, &d) : read_number(r, s->node, &d);
        if (st)
            break;
        if (isnan(d))
            return dead_set(r->why, DEAD_VALUE, "field %.60s: NaN", s->name.p);
        *(double *)to = d;
        break;
    case OP_BOOL:
        if ((st = wire_boolean(&r->w, &b)))
            break;
        if (s->field->kind == FIELD_BOOL)
            *(bool *)to = b;
        else if (b)
            *(uint32_t *)to |= s->field->arg;
        break;
    case OP_TEXTS:
        return run_texts(r, s);
    case OP_FLOATS:
        return run_floats(r, s);
    case OP_USELESS:
        return dead_set(r->why, DEAD_SCHEMA, "field %.60s: type %s cannot be read as %s", s->name.p,
                        schema_type_name(s->node->type), s->field->name);
    case OP_NOTHING:
    case OP_UNION:
        break;
    }
    return st ? bad_wire(r, s, st) : DEAD_NONE;
}

enum dead_reason plan_run(const struct plan *p, const void *bytes, size_t n, struct arena *arena,
                          void *record, struct dead *why) {
    struct run r = {
        .w = {bytes, (const uint8_t *)bytes + n}, .arena = arena, .record = record, .why = why};
    for (size_t i = 0; i < p->n; i++) {
        enum dead_reason dead = run_step(&r, p, &p->step[i]);
        if (dead != DEAD_NONE)
            return dead;
    }
    if (r.no_memory)
        return dead_set(why, DECODE_RETRY, "out of memory");
    if (r.w.p != r.w.end)
        return dead_set(why, DEAD_MALFORMED, "%zu bytes behind the record", wire_left(&r.w));
    return DEAD_NONE;
}
