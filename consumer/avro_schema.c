#include "consumer/avro_schema.h"

#include <stdarg.h>
#include <stdio.h>

#include "consumer/json_load.h"

static const char *const type_names[] = {"null",   "boolean", "int",    "long",  "float",
                                         "double", "bytes",   "string", "fixed", "enum",
                                         "array",  "map",     "record", "union"};

const char *schema_type_name(uint8_t type) {
    return type_names[type];
}

struct parser {
    struct arena *arena;
    struct schema_node **named;
    size_t n_named, cap_named, n_nodes;
    char *err;
    int rc;
};

static struct schema_node *fail(struct parser *p, int rc, const char *fmt, ...) {
    if (!p->rc) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(p->err, 160, fmt, ap);
        va_end(ap);
        p->rc = rc;
    }
    return NULL;
}

static struct schema_node *node_new(struct parser *p, enum schema_type type, size_t n) {
    if (++p->n_nodes > SCHEMA_NODES_MAX || n > SCHEMA_NODES_MAX)
        return fail(p, -EINVAL, "more than %d parts", SCHEMA_NODES_MAX);
    struct schema_node *node = arena_get(p->arena, sizeof *node);
    if (!node)
        return fail(p, -ENOMEM, "out of memory");
    *node = (struct schema_node){.type = (uint8_t)type, .n = n};
    if (n) {
        node->kid = arena_get(p->arena, n * sizeof(*node->kid));
        node->name = arena_get(p->arena, n * sizeof(*node->name));
        if (!node->kid || !node->name)
            return fail(p, -ENOMEM, "out of memory");
        memset(node->kid, 0, n * sizeof(*node->kid));
        memset(node->name, 0, n * sizeof(*node->name));
    }
    return node;
}

static struct str copy(struct parser *p, struct str s) {
    struct str c = arena_copy(p->arena, s);
    if (!c.p)
        fail(p, -ENOMEM, "out of memory");
    return c;
}

static struct str json_str(const json_t *j) {
    return (struct str){json_string_value(j), json_string_length(j)};
}

/* "name" in "space": a dotted name is whole already. */
static struct str full_name(struct parser *p, struct str name, struct str space) {
    if (memchr(name.p, '.', name.n) || space.n == 0)
        return copy(p, name);
    char *t = arena_get(p->arena, space.n + name.n + 2);
    if (!t) {
        fail(p, -ENOMEM, "out of memory");
        return (struct str){0};
    }
    memcpy(t, space.p, space.n);
    t[space.n] = '.';
    memcpy(t + space.n + 1, name.p, name.n);
    t[space.n + 1 + name.n] = 0;
    return (struct str){t, space.n + 1 + name.n};
}

static struct str space_of(struct str full) {
    const char *dot = memrchr(full.p, '.', full.n);
    return (struct str){full.p, dot ? (size_t)(dot - full.p) : 0};
}

static struct schema_node *find_named(const struct parser *p, struct str name) {
    for (size_t i = 0; i < p->n_named; i++)
        if (str_eq(p->named[i]->full_name, name))
            return p->named[i];
    return NULL;
}

static bool define(struct parser *p, struct schema_node *node, const json_t *j, struct str space) {
    struct str name = json_str(json_object_get(j, "name"));
    const json_t *own = json_object_get(j, "namespace");
    if (name.n == 0) {
        fail(p, -EINVAL, "a %s without a name", schema_type_name(node->type));
        return false;
    }
    node->full_name = full_name(p, name, json_is_string(own) ? json_str(own) : space);
    if (p->rc)
        return false;
    if (find_named(p, node->full_name)) {
        fail(p, -EINVAL, "%s is defined twice", node->full_name.p);
        return false;
    }
    if (p->n_named == p->cap_named) {
        size_t cap = p->cap_named ? 2 * p->cap_named : 16;
        struct schema_node **named = realloc(p->named, cap * sizeof(*named));
        if (!named) {
            fail(p, -ENOMEM, "out of memory");
            return false;
        }
        p->named = named;
        p->cap_named = cap;
    }
    p->named[p->n_named++] = node;
    return true;
}

static struct schema_node *parse(struct parser *p, const json_t *j, struct str space, int depth);

static struct schema_node *parse_record(struct parser *p, const json_t *j, struct str space,
                                        int depth) {
    const json_t *fields = json_object_get(j, "fields");
    if (!json_is_array(fields))
        return fail(p, -EINVAL, "a record without fields");
    struct schema_node *node = node_new(p, AT_RECORD, json_array_size(fields));
    if (!node || !define(p, node, j, space))
        return NULL;
    for (size_t i = 0; i < node->n; i++) {
        const json_t *field = json_array_get(fields, i);
        const json_t *type = json_object_get(field, "type");
        struct str name = json_str(json_object_get(field, "name"));
        if (!type || name.n == 0)
            return fail(p, -EINVAL, "field %zu of %s lacks name or type", i, node->full_name.p);
        for (size_t k = 0; k < i; k++)
            if (str_eq(node->name[k], name))
                return fail(p, -EINVAL, "%s has two fields %s", node->full_name.p, name.p);
        node->name[i] = copy(p, name);
        node->kid[i] = parse(p, type, space_of(node->full_name), depth + 1);
        if (p->rc)
            return NULL;
    }
    return node;
}

static struct schema_node *parse_enum(struct parser *p, const json_t *j, struct str space) {
    const json_t *symbols = json_object_get(j, "symbols");
    if (!json_is_array(symbols) || json_array_size(symbols) == 0)
        return fail(p, -EINVAL, "an enum without symbols");
    struct schema_node *node = node_new(p, AT_ENUM, json_array_size(symbols));
    if (!node || !define(p, node, j, space))
        return NULL;
    for (size_t i = 0; i < node->n; i++) {
        const json_t *symbol = json_array_get(symbols, i);
        if (!json_is_string(symbol))
            return fail(p, -EINVAL, "a symbol of %s is no string", node->full_name.p);
        node->name[i] = copy(p, json_str(symbol));
    }
    return p->rc ? NULL : node;
}

static struct schema_node *parse_fixed(struct parser *p, const json_t *j, struct str space) {
    const json_t *size = json_object_get(j, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        json_integer_value(size) > INT32_MAX)
        return fail(p, -EINVAL, "a fixed without a size");
    struct schema_node *node = node_new(p, AT_FIXED, 0);
    if (!node || !define(p, node, j, space))
        return NULL;
    node->size = (size_t)json_integer_value(size);
    return node;
}

static struct schema_node *parse_union(struct parser *p, const json_t *j, struct str space,
                                       int depth) {
    if (json_array_size(j) == 0)
        return fail(p, -EINVAL, "an empty union");
    struct schema_node *node = node_new(p, AT_UNION, json_array_size(j));
    for (size_t i = 0; node && i < node->n; i++) {
        node->kid[i] = parse(p, json_array_get(j, i), space, depth + 1);
        if (!node->kid[i])
            return NULL;
        if (node->kid[i]->type == AT_UNION)
            return fail(p, -EINVAL, "a union within a union");
    }
    return node;
}

static struct schema_node *parse_named(struct parser *p, struct str name, struct str space) {
    for (uint8_t t = AT_NULL; t <= AT_STRING; t++)
        if (str_eq(name, str_of(type_names[t])))
            return node_new(p, t, 0);
    struct schema_node *node = NULL;
    if (name.n) {
        struct str full = full_name(p, name, space);
        node = full.p ? find_named(p, full) : NULL;
        if (!node)
            node = find_named(p, name);
    }
    return node ? node : fail(p, -EINVAL, "unknown type %.80s", name.p ? name.p : "");
}

static void set_logical(struct schema_node *node, const json_t *j) {
    static const struct {
        const char *name;
        uint8_t logical;
    } known[] = {
        {"timestamp-millis", LT_MILLIS},
        {"local-timestamp-millis", LT_MILLIS},
        {"timestamp-micros", LT_MICROS},
        {"local-timestamp-micros", LT_MICROS},
        {"timestamp-nanos", LT_NANOS},
        {"local-timestamp-nanos", LT_NANOS},
        {"date", LT_OTHER},
        {"time-millis", LT_OTHER},
        {"time-micros", LT_OTHER},
        {"decimal", LT_OTHER},
        {"duration", LT_OTHER},
    };
    const char *name = json_string_value(json_object_get(j, "logicalType"));
    for (size_t i = 0; name && i < ARRAY_LEN(known); i++)
        if (strcmp(name, known[i].name) == 0)
            node->logical = known[i].logical;
}

static struct schema_node *parse(struct parser *p, const json_t *j, struct str space, int depth) {
    if (depth > SCHEMA_DEPTH_MAX)
        return fail(p, -EINVAL, "nested deeper than %d", SCHEMA_DEPTH_MAX);
    if (json_is_string(j))
        return parse_named(p, json_str(j), space);
    if (json_is_array(j))
        return parse_union(p, j, space, depth);
    const json_t *type = json_object_get(j, "type");
    if (json_is_object(type) || json_is_array(type))
        return parse(p, type, space, depth + 1);
    if (!json_is_string(type))
        return fail(p, -EINVAL, "a type is neither name, union nor object");
    struct str name = json_str(type);
    if (str_eq(name, STR("record")) || str_eq(name, STR("error")))
        return parse_record(p, j, space, depth);
    if (str_eq(name, STR("enum")))
        return parse_enum(p, j, space);
    struct schema_node *node;
    if (str_eq(name, STR("fixed"))) {
        node = parse_fixed(p, j, space);
    } else if (str_eq(name, STR("array")) || str_eq(name, STR("map"))) {
        node = node_new(p, name.p[0] == 'a' ? AT_ARRAY : AT_MAP, 1);
        if (node)
            node->kid[0] = parse(p, json_object_get(j, node->type == AT_ARRAY ? "items" : "values"),
                                 space, depth + 1);
        return p->rc ? NULL : node;
    } else {
        node = parse_named(p, name, space);
    }
    /* A reference to a named type keeps what its definition says. */
    if (node && (node->type <= AT_STRING || node->type == AT_FIXED))
        set_logical(node, j);
    return node;
}

/* Shortest encodings, to bound block counts by the bytes that are left. Recursion runs only
 * through records; one that is under way counts as 1, for no finite value contains itself. */
static uint32_t measure(struct schema_node *node) {
    const uint32_t ceiling = 1 << 20;
    switch (node->type) {
    case AT_NULL:
        return 0;
    case AT_FLOAT:
        return node->min_bytes = 4;
    case AT_DOUBLE:
        return node->min_bytes = 8;
    case AT_FIXED:
        return node->min_bytes = (uint32_t)MIN(node->size, (size_t)ceiling);
    case AT_RECORD:
        if (!node->measured) {
            uint32_t sum = 0;
            node->measured = true;
            node->min_bytes = 1;
            for (size_t i = 0; i < node->n; i++)
                sum = MIN(sum + measure(node->kid[i]), ceiling);
            node->min_bytes = sum;
        }
        return node->min_bytes;
    case AT_ARRAY:
    case AT_MAP:
    case AT_UNION:
        if (!node->measured) {
            node->measured = true;
            node->min_bytes = 1;
            for (size_t i = 0; i < node->n; i++)
                measure(node->kid[i]);
        }
        return 1;
    default:
        return node->min_bytes = 1;
    }
}

/* What follows the first `n` bytes and the blanks after them. */
static struct str behind(struct str s, size_t n) {
    n = MIN(n, s.n);
    while (n < s.n && strchr(" \t\r\n", s.p[n]) && s.p[n])
        n++;
    return (struct str){s.p + n, s.n - n};
}

int schema_parse(struct str text, char err[160], struct schema **ret) {
    json_error_t jerr;
    struct arena arena = {0};
    if (text.n > SCHEMA_TEXT_MAX) {
        snprintf(err, 160, "longer than %d bytes", SCHEMA_TEXT_MAX);
        return -EINVAL;
    }
    struct parser p = {.arena = &arena, .err = err};
    struct schema_node *root = NULL;
    do {
        json_t *j = NULL;
        int rc = json_load(text.p, text.n, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &jerr, &j);
        if (rc == -ENOMEM)
            fail(&p, rc, "out of memory");
        else if (rc < 0)
            fail(&p, -EINVAL, "line %d: %.120s", jerr.line, jerr.text);
        if (rc < 0)
            break;
        root = parse(&p, j, (struct str){"", 0}, 0);
        json_decref(j);
        text = behind(text, (size_t)jerr.position);
    } while (root && text.n);
    free(p.named);
    if (p.rc)
        root = NULL;
    struct schema *s = root ? calloc(1, sizeof *s) : NULL;
    if (!s) {
        arena_free(&arena);
        return p.rc ? p.rc : -ENOMEM;
    }
    measure(root);
    s->root = root;
    s->arena = arena;
    *ret = s;
    return 0;
}

void schema_free(struct schema *s) {
    if (!s)
        return;
    arena_free(&s->arena);
    free(s);
}

static bool same(const struct schema_node *a, const struct schema_node *b, int depth) {
    if (a->type != b->type || a->n != b->n || a->size != b->size || a->logical != b->logical)
        return false;
    if (a == b || depth > SCHEMA_DEPTH_MAX)
        return true;
    for (size_t i = 0; i < a->n; i++)
        if (!str_eq(a->name[i], b->name[i]) ||
            (a->kid[i] && !same(a->kid[i], b->kid[i], depth + 1)))
            return false;
    return true;
}

bool schema_same(const struct schema *a, const struct schema *b) {
    return same(a->root, b->root, 0);
}
