#include "policy/condition.h"

#include <math.h>
#include <stdio.h>

static const char *const context_names[] = {
#define X(name) name,
    CONDITION_CONTEXT_KEYS(X)
#undef X
};

/* In the order of enum condition_op; longer signs before their beginnings. */
static const char *const op_signs[] = {"==", "!=", "<=", ">=", "<", ">"};

static bool is_space(char ch) {
    return ch == ' ' || ch == '\t' || ch == '\n' || ch == '\r';
}

static struct str trim(struct str s) {
    while (s.n && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

static struct str unquote(struct str s) {
    s = trim(s);
    if (s.n >= 2 && (s.p[0] == '"' || s.p[0] == '\'') && s.p[s.n - 1] == s.p[0])
        return (struct str){s.p + 1, s.n - 2};
    return s;
}

static bool is_name_char(char ch) {
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
           ch == '_' || ch == '-' || ch == '.';
}

static int find_name(struct str s, const char *const *names, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(s, str_of(names[i])))
            return (int)i;
    return -1;
}

/* A whole text as a decimal number: 3, -0.25, .5; no exponent, no locale. */
static bool parse_number(struct str s, double *ret) {
    double v = 0, unit = 1;
    size_t i = s.n && (s.p[0] == '-' || s.p[0] == '+'), digits = 0;
    bool point = false;
    for (; i < s.n && digits < 15; i++) {
        if (s.p[i] == '.' && !point) {
            point = true;
        } else if (s.p[i] >= '0' && s.p[i] <= '9') {
            v = 10 * v + (s.p[i] - '0');
            unit = point ? 10 * unit : unit;
            digits++;
        } else {
            return false;
        }
    }
    *ret = (s.n && s.p[0] == '-' ? -v : v) / unit;
    return digits && i == s.n;
}

#define FAULT(...) (snprintf(fault->text, sizeof fault->text, __VA_ARGS__), -EINVAL)

/* Splits "left op right"; the operator is the first sign outside brackets and quotes, or
 * the word `in`. */
static int split(struct str text, struct str *left, enum condition_op *op, struct str *right,
                 struct condition_fault *fault) {
    size_t depth = 0;
    for (size_t i = 0; i < text.n; i++) {
        char ch = text.p[i];
        depth += ch == '(';
        depth -= ch == ')' && depth > 0;
        if (depth)
            continue;
        size_t len = 0;
        if (i && is_space(text.p[i - 1]) && i + 2 < text.n && memcmp(text.p + i, "in", 2) == 0 &&
            (is_space(text.p[i + 2]) || text.p[i + 2] == '[')) {
            len = 2;
            *op = OP_IN;
        }
        for (size_t o = 0; !len && o < ARRAY_LEN(op_signs); o++)
            if (text.n - i >= strlen(op_signs[o]) &&
                memcmp(text.p + i, op_signs[o], strlen(op_signs[o])) == 0) {
                len = strlen(op_signs[o]);
                *op = (enum condition_op)o;
            }
        if (!len && ch == '=')
            return FAULT("write == for equal");
        if (!len)
            continue;
        *left = trim((struct str){text.p, i});
        *right = trim((struct str){text.p + i + len, text.n - i - len});
        if (right->n && right->p[0] == '=')
            return FAULT("the operators are ==, !=, <, <=, >, >= and in");
        if (!left->n || !right->n)
            return FAULT("write it as `name operator value`, such as `purchases >= 1`");
        return 0;
    }
    return FAULT("no operator; write it as `name operator value`, such as `purchases >= 1` or "
                 "`country in [DE, AT]`");
}

/* In the order of enum condition_item; the first two are numbers. */
static const char *const item_names[] = {"item.price", "item.margin", "item.category", "item.brand",
                                         "item.id"};

static int parse_left(struct str left, struct condition *c, struct condition_fault *fault) {
    static const struct str share = {"category_share", 14}, dot = {"context.", 8};
    c->field = profile_field_find(left);
    if (c->field != PF_COUNT) {
        c->kind = CONDITION_FIELD;
        return 0;
    }
    int item = find_name(left, item_names, ARRAY_LEN(item_names));
    if (item >= 0) {
        c->kind = item <= ITEM_MARGIN ? CONDITION_NUMBER : CONDITION_TEXT;
        c->item = (enum condition_item)item;
        c->name = left;
        return 0;
    }
    if (left.n > share.n && memcmp(left.p, share.p, share.n) == 0) {
        struct str rest = trim((struct str){left.p + share.n, left.n - share.n});
        if (rest.n > 2 && rest.p[0] == '(' && rest.p[rest.n - 1] == ')') {
            c->kind = CONDITION_SHARE;
            c->name = unquote((struct str){rest.p + 1, rest.n - 2});
            if (c->name.n)
                return 0;
        }
    }
    if (find_name(left, &share.p, 1) >= 0 ||
        (left.n > share.n && !memcmp(left.p, share.p, share.n)))
        return FAULT("write the category in brackets: category_share(shoes)");
    if (find_name(left, context_names, ARRAY_LEN(context_names)) >= 0) {
        c->kind = CONDITION_CONTEXT;
        c->name = left;
        return 0;
    }
    for (size_t k = 0; k < left.n; k++)
        if (!is_name_char(left.p[k]))
            return FAULT("`%.*s` is not a name", (int)MIN(left.n, 60), left.p);
    if (left.n > dot.n && memcmp(left.p, dot.p, dot.n) == 0) {
        c->kind = CONDITION_CONTEXT;
        c->name = (struct str){left.p + dot.n, left.n - dot.n};
        return 0;
    }
    fault->unknown = left;
    return FAULT("no field `%.*s`", (int)MIN(left.n, 60), left.p);
}

static int add_operand(struct condition *c, struct str value, struct condition_fault *fault) {
    bool text = c->kind == CONDITION_CONTEXT || c->kind == CONDITION_TEXT;
    bool numeric = !text || (c->op >= OP_LE && c->op <= OP_GT);
    value = unquote(value);
    if (value.n == 0)
        return FAULT("a value is missing");
    if (numeric && !parse_number(value, &c->number[c->n]))
        return FAULT("`%.*s` is not a number, and `%.*s` compares with numbers only",
                     (int)MIN(value.n, 60), value.p,
                     c->kind == CONDITION_FIELD ? 60 : (int)MIN(c->name.n, 60),
                     c->kind == CONDITION_FIELD ? profile_field_name(c->field) : c->name.p);
    c->text[c->n++] = value;
    return 0;
}

static int parse_right(struct str right, struct condition *c, struct condition_fault *fault) {
    bool list = right.p[0] == '[';
    size_t commas = 1;
    for (size_t i = 0; i < right.n; i++)
        commas += right.p[i] == ',';
    c->number = calloc(commas, sizeof *c->number);
    c->text = calloc(commas, sizeof *c->text);
    if (!c->number || !c->text)
        return -ENOMEM;
    if (c->op != OP_IN) {
        if (list)
            return FAULT("a list needs `in`: `country in [DE, AT]`");
        return add_operand(c, right, fault);
    }
    if (!list || right.p[right.n - 1] != ']')
        return FAULT("`in` needs a list in square brackets: `country in [DE, AT]`");
    for (size_t from = 1, i = 1; i < right.n; i++)
        if (right.p[i] == ',' || i == right.n - 1) {
            int r = add_operand(c, (struct str){right.p + from, i - from}, fault);
            if (r < 0)
                return r;
            from = i + 1;
        }
    return 0;
}

int condition_parse(struct str text, struct condition *ret, struct condition_fault *fault) {
    struct condition c = {0};
    struct str left, right;
    *fault = (struct condition_fault){0};
    text = trim(text);
    if (text.n == 0)
        return FAULT("an empty condition; write one such as `purchases >= 1`");
    c.memory = malloc(text.n);
    if (!c.memory)
        return -ENOMEM;
    memcpy(c.memory, text.p, text.n);
    const char *given = text.p;
    text.p = c.memory;
    int r = split(text, &left, &c.op, &right, fault);
    if (r == 0)
        r = parse_left(left, &c, fault);
    if (r == 0)
        r = parse_right(right, &c, fault);
    if (r < 0) {
        if (fault->unknown.n) /* the copy goes, the caller's text stays */
            fault->unknown.p = given + (fault->unknown.p - c.memory);
        condition_free(&c);
        return r;
    }
    *ret = c;
    return 0;
}

void condition_free(struct condition *c) {
    free(c->number);
    free(c->text);
    free(c->memory);
    *c = (struct condition){0};
}

static bool number_holds(const struct condition *c, double x) {
    double y = c->number[0];
    if (isnan(x))
        return false;
    switch (c->op) {
    case OP_EQ:
        return x == y;
    case OP_NE:
        return x != y;
    case OP_LT:
        return x < y;
    case OP_LE:
        return x <= y;
    case OP_GT:
        return x > y;
    case OP_GE:
        return x >= y;
    case OP_IN:
        for (size_t i = 0; i < c->n; i++)
            if (x == c->number[i])
                return true;
    }
    return false;
}

static bool text_holds(const struct condition *c, struct str v) {
    double x;
    if (v.n == 0)
        return false;
    if (c->op >= OP_LE && c->op <= OP_GT)
        return parse_number(v, &x) && number_holds(c, x);
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(v, c->text[i]))
            return c->op != OP_NE;
    return c->op == OP_NE;
}

static bool item_holds(const struct condition *c, const struct model *m, uint32_t item) {
    struct item_view v;
    if (item == ROW_NONE || item >= model_items(m))
        return false;
    model_item_view(m, item, &v);
    if (c->kind == CONDITION_NUMBER)
        return number_holds(c, c->item == ITEM_PRICE ? v.price : v.margin);
    return text_holds(c, c->item == ITEM_CATEGORY ? v.category
                         : c->item == ITEM_BRAND  ? v.brand
                                                  : v.id);
}

bool condition_holds(const struct condition *c, const struct model *m, const struct user *u,
                     const struct event *e, uint32_t item, int64_t now_ms) {
    switch (c->kind) {
    case CONDITION_FIELD:
        return number_holds(c, profile_value(&u->prof, c->field, now_ms));
    case CONDITION_SHARE: {
        uint32_t key = model_category_key(m, c->name);
        return number_holds(c, key ? profile_category_share(&u->prof, key, now_ms) : 0);
    }
    case CONDITION_CONTEXT:
        return !e || text_holds(c, event_ctx_get(e, c->name));
    case CONDITION_NUMBER:
    case CONDITION_TEXT:
        return item_holds(c, m, item);
    }
    return false;
}
