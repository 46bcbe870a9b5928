#include "consumer/json_record.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "consumer/json_load.h"
#include "consumer/text.h"

struct reading {
    struct arena *arena;
    void *record;
    struct dead *why;
};

static enum dead_reason wrong(struct reading *r, const struct field *f, const char *wanted) {
    return dead_set(r->why, DEAD_FIELD, "field %s: not %s", f->name, wanted);
}

static enum dead_reason no_memory(struct reading *r) {
    return dead_set(r->why, DECODE_RETRY, "out of memory");
}

static enum dead_reason keep(struct reading *r, struct str s, struct str *ret) {
    *ret = arena_copy(r->arena, s);
    return ret->p ? DEAD_NONE : no_memory(r);
}

/* Strings, and whole numbers as decimal text; with `any` fractions and booleans too. */
static enum dead_reason text(struct reading *r, const struct field *f, const json_t *j, bool any,
                             struct str *ret) {
    char t[40];
    int n;
    if (json_is_string(j))
        return keep(r, (struct str){json_string_value(j), json_string_length(j)}, ret);
    if (json_is_integer(j))
        n = snprintf(t, sizeof t, "%" JSON_INTEGER_FORMAT, json_integer_value(j));
    else if (any && json_is_real(j))
        n = snprintf(t, sizeof t, "%.17g", json_real_value(j));
    else if (any && json_is_boolean(j))
        n = snprintf(t, sizeof t, "%s", json_is_true(j) ? "true" : "false");
    else
        return wrong(r, f, "text");
    return keep(r, (struct str){t, (size_t)n}, ret);
}

static enum dead_reason time_ms(struct reading *r, const struct field *f, const json_t *j,
                                int64_t *ret) {
    if (json_is_integer(j)) {
        *ret = json_integer_value(j);
        return DEAD_NONE;
    }
    if (json_is_real(j)) {
        double v = json_real_value(j);
        if (!(fabs(v) < 9e15))
            return dead_set(r->why, DEAD_TIME, "field %s: out of range", f->name);
        *ret = (int64_t)v;
        return DEAD_NONE;
    }
    if (!json_is_string(j))
        return wrong(r, f, "a time");
    struct str s = {json_string_value(j), json_string_length(j)};
    char *end;
    if (s.n && s.n < 18 && strspn(s.p, "0123456789") == s.n) {
        *ret = strtoll(s.p, &end, 10);
        return DEAD_NONE;
    }
    if (!text_time(s, ret))
        return dead_set(r->why, DEAD_TIME, "field %s: neither milliseconds nor ISO 8601", f->name);
    return DEAD_NONE;
}

static enum dead_reason texts(struct reading *r, const struct field *f, const json_t *j) {
    size_t i;
    const json_t *one;
    struct str s;
    enum dead_reason dead;
    if (json_is_string(j)) {
        if ((dead = text(r, f, j, false, &s)) != DEAD_NONE)
            return dead;
        f->add(r->record, (struct str){0}, s);
        return DEAD_NONE;
    }
    if (!json_is_array(j))
        return wrong(r, f, "a list of texts");
    json_array_foreach(j, i, one) {
        if (json_is_null(one))
            continue;
        if ((dead = text(r, f, one, false, &s)) != DEAD_NONE)
            return dead;
        if (!f->add(r->record, (struct str){0}, s))
            return dead_set(r->why, DEAD_FIELD, "field %s: too many entries", f->name);
    }
    return DEAD_NONE;
}

static enum dead_reason map(struct reading *r, const struct field *f, json_t *j) {
    const char *name;
    json_t *one;
    enum dead_reason dead;
    if (!json_is_object(j))
        return wrong(r, f, "an object");
    json_object_foreach(j, name, one) {
        struct str key, value;
        if (json_is_null(one))
            continue;
        if ((dead = keep(r, str_of(name), &key)) != DEAD_NONE)
            return dead;
        if (f->kind == FIELD_BOOL_MAP) {
            if (!json_is_boolean(one))
                return wrong(r, f, "an object of true and false");
            value = json_is_true(one) ? STR("1") : STR("");
        } else if ((dead = text(r, f, one, true, &value)) != DEAD_NONE) {
            return dead;
        }
        if (!f->add(r->record, key, value))
            return dead_set(r->why, DEAD_FIELD, "field %s: too many entries", f->name);
    }
    return DEAD_NONE;
}

static enum dead_reason floats(struct reading *r, const struct field *f, const json_t *j,
                               struct floats *ret) {
    size_t i;
    const json_t *one;
    if (!json_is_array(j))
        return wrong(r, f, "a list of numbers");
    if (json_array_size(j) > f->arg)
        return dead_set(r->why, DEAD_VALUE, "field %s: more than %u numbers", f->name, f->arg);
    float *v = arena_get(r->arena, json_array_size(j) * sizeof *v);
    if (!v)
        return no_memory(r);
    json_array_foreach(j, i, one) {
        if (!json_is_number(one))
            return wrong(r, f, "a list of numbers");
        v[i] = (float)json_number_value(one);
        if (!isfinite(v[i]))
            return dead_set(r->why, DEAD_VALUE, "field %s: number %zu is not finite", f->name, i);
    }
    *ret = (struct floats){v, json_array_size(j)};
    return DEAD_NONE;
}

static enum dead_reason bytes(struct reading *r, const struct field *f, const json_t *j,
                              bool base64, struct str *ret) {
    if (!json_is_string(j))
        return wrong(r, f, "text");
    struct str s = {json_string_value(j), json_string_length(j)};
    if (!base64)
        return keep(r, s, ret);
    uint8_t *to = arena_get(r->arena, s.n + 1);
    if (!to)
        return no_memory(r);
    if (text_base64_decode(s, to, &ret->n))
        return wrong(r, f, "base64");
    ret->p = (char *)to;
    return DEAD_NONE;
}

static enum dead_reason member(struct reading *r, const struct field *f, json_t *j, bool base64) {
    char *to = (char *)r->record + f->offset;
    switch (f->kind) {
    case FIELD_TEXT:
        return text(r, f, j, false, (struct str *)to);
    case FIELD_BYTES:
        return bytes(r, f, j, base64, (struct str *)to);
    case FIELD_TIME:
        return time_ms(r, f, j, (int64_t *)to);
    case FIELD_LONG:
        if (!json_is_integer(j))
            return wrong(r, f, "a whole number");
        *(int64_t *)to = json_integer_value(j);
        return DEAD_NONE;
    case FIELD_NUMBER:
        if (!json_is_number(j))
            return wrong(r, f, "a number");
        *(double *)to = json_number_value(j);
        return DEAD_NONE;
    case FIELD_BOOL:
        if (!json_is_boolean(j))
            return wrong(r, f, "true or false");
        *(bool *)to = json_is_true(j);
        return DEAD_NONE;
    case FIELD_FLAG:
        if (!json_is_boolean(j))
            return wrong(r, f, "true or false");
        if (json_is_true(j))
            *(uint32_t *)to |= f->arg;
        return DEAD_NONE;
    case FIELD_TEXTS:
        return texts(r, f, j);
    case FIELD_TEXT_MAP:
    case FIELD_BOOL_MAP:
        return map(r, f, j);
    case FIELD_FLOATS:
        return floats(r, f, j, (struct floats *)to);
    }
    return DEAD_NONE;
}

static const struct field *find(const struct field_table *fields, struct str name, size_t *ret_rank,
                                bool *ret_base64) {
    static const struct str suffix = {"_base64", 7};
    const struct field *f = field_find(fields, name, ret_rank);
    *ret_base64 = false;
    if (f || name.n <= suffix.n || memcmp(name.p + name.n - suffix.n, suffix.p, suffix.n) != 0)
        return f;
    name.n -= suffix.n;
    f = field_find(fields, name, ret_rank);
    *ret_base64 = true;
    return f && f->kind == FIELD_BYTES ? f : NULL;
}

static enum dead_reason members(struct reading *r, const struct field_table *fields, json_t *j) {
    struct {
        json_t *value;
        size_t rank;
        bool base64;
    } found[FIELDS_MAX] = {0};
    const char *name;
    json_t *value;
    json_object_foreach(j, name, value) {
        size_t rank;
        bool base64;
        const struct field *f = find(fields, str_of(name), &rank, &base64);
        size_t k = f ? (size_t)(f - fields->field) : 0;
        if (!f || json_is_null(value) || (found[k].value && found[k].rank <= rank))
            continue;
        found[k].value = value;
        found[k].rank = rank;
        found[k].base64 = base64;
    }
    for (size_t i = 0; i < fields->n; i++) {
        enum dead_reason dead = found[i].value
                                    ? member(r, &fields->field[i], found[i].value, found[i].base64)
                                    : DEAD_NONE;
        if (dead != DEAD_NONE)
            return dead;
    }
    return DEAD_NONE;
}

static bool may_be_object(const char *p, size_t n) {
    while (n && strchr(" \t\r\n", *p) && *p)
        p++, n--;
    return n && *p == '{';
}

enum dead_reason json_record(const void *p, size_t n, const struct field_table *fields,
                             struct arena *arena, void *record, struct dead *why) {
    struct reading r = {arena, record, why};
    json_error_t err;
    json_t *j = NULL;
    if (json_load(p, n, JSON_ALLOW_NUL, &err, &j) == -ENOMEM)
        return no_memory(&r);
    /* The error's text may quote the message; only its place is told. */
    if (!j && json_error_code(&err) == json_error_invalid_utf8)
        return dead_set(why, DEAD_UTF8, "not UTF-8 at byte %d", err.position);
    if (!j && !may_be_object(p, n))
        return dead_set(why, DEAD_JSON, "not an object: does not begin with '{'");
    if (!j)
        return dead_set(why, DEAD_JSON, "broken at byte %d (error %d)", err.position,
                        json_error_code(&err));
    enum dead_reason dead = json_is_object(j) ? members(&r, fields, j)
                                              : dead_set(why, DEAD_JSON, "a list, not an object");
    json_decref(j);
    return dead;
}
