#include "consumer/frame.h"

#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/log.h"
#include "consumer/nearest.h"
#include "consumer/parse.h"

enum { SHOW_EVERY = 4096 };

static struct str text_of_code(const void *owner, uint32_t code) {
    return ((const struct frame_column *)owner)->value[code];
}

static void column_free(struct frame_column *c) {
    for (size_t i = 0; i < c->n_values; i++)
        id_arena_drop(&c->arena, c->value[i].p, c->value[i].n);
    id_index_done(&c->index);
    id_arena_done(&c->arena);
    free(c->name);
    free(c->code);
    free(c->value);
    free(c->number);
}

void frame_free(struct frame *f) {
    if (!f)
        return;
    for (size_t i = 0; i < f->n_columns; i++)
        column_free(&f->column[i]);
    free(f->column);
    free(f->line);
    free(f);
}

/* A new code for a text, with its number. */
static int add_value(struct frame_column *c, struct str text, uint32_t *ret) {
    if (c->n_values == c->room) {
        size_t room = MAX(16, 2 * c->room);
        struct str *value = realloc(c->value, room * sizeof *value);
        if (value)
            c->value = value;
        double *number = realloc(c->number, room * sizeof *number);
        if (number)
            c->number = number;
        if (!value || !number)
            return -ENOMEM;
        c->room = room;
    }
    struct str copy;
    if (!id_arena_copy(&c->arena, text, &copy))
        return -ENOMEM;
    uint32_t code = (uint32_t)c->n_values++;
    c->value[code] = copy;
    if (!parse_number(text, &c->number[code]))
        c->number[code] = NAN;
    *ret = code;
    return code == 0 ? 0 : id_index_add(&c->index, copy, code);
}

static int code_of(struct frame_column *c, struct str text, uint32_t *ret) {
    *ret = text.n ? id_index_find(&c->index, text) : 0;
    return *ret == INDEX_NONE ? add_value(c, text, ret) : 0;
}

/* Columns of JSON lines join as they are first seen: rows before have nothing there. */
static int add_columns(struct frame *f, const struct table_file *t, size_t room) {
    size_t n = table_columns(t);
    if (n == f->n_columns)
        return 0;
    struct frame_column *column = calloc(n, sizeof *column);
    if (!column)
        return -ENOMEM;
    if (f->n_columns)
        memcpy(column, f->column, f->n_columns * sizeof *column);
    free(f->column);
    f->column = column;
    for (size_t i = 0; i < f->n_columns; i++)
        column[i].index.owner = &column[i];
    while (f->n_columns < n) {
        struct frame_column *c = &f->column[f->n_columns];
        struct str name = table_column(t, f->n_columns++);
        uint32_t empty;
        c->name = strndup(name.p, name.n);
        c->code = calloc(room, sizeof *c->code);
        if (!c->name || !c->code || id_index_init(&c->index, 0, text_of_code, c) < 0 ||
            add_value(c, (struct str){0}, &empty) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int grow(struct frame *f, size_t room) {
    uint64_t *line = realloc(f->line, room * sizeof *line);
    if (!line)
        return -ENOMEM;
    f->line = line;
    for (size_t i = 0; i < f->n_columns; i++) {
        uint32_t *code = realloc(f->column[i].code, room * sizeof *code);
        if (!code)
            return -ENOMEM;
        f->column[i].code = code;
    }
    return 0;
}

static int add_row(struct frame *f, const struct table_file *t, size_t *room) {
    int err = 0;
    if (f->n == *room) {
        *room = MAX(1024, 2 * *room);
        err = grow(f, *room);
    }
    if (err == 0)
        err = add_columns(f, t, *room);
    for (size_t i = 0; i < f->n_columns && err == 0; i++)
        err = code_of(&f->column[i], table_value(t, i), &f->column[i].code[f->n]);
    if (err == 0)
        f->line[f->n++] = table_line(t);
    return err;
}

static void find_numeric(struct frame_column *c) {
    c->numeric = c->n_values > 1;
    for (size_t i = 1; i < c->n_values; i++)
        c->numeric &= !isnan(c->number[i]);
}

int frame_read(const char *command, const char *path, struct frame **ret) {
    autofree(table_close) struct table_file *t = NULL;
    autofree(frame_free) struct frame *f = calloc(1, sizeof *f);
    size_t room = 0;
    int got = 0, err = f ? table_open(path, &t) : -ENOMEM;
    if (err < 0)
        return err;
    f->path = path;
    struct progress p = {.what = "reading", .total = table_bytes_total(t), .unit = "rows"};
    while (err == 0 && (got = table_next(t)) != 0) {
        if (got > 0)
            err = add_row(f, t, &room);
        else if (f->broken++ == 0)
            fprintf(stderr, "%s: %s:%llu: %s; such rows are left out\n", command, path,
                    (unsigned long long)table_line(t), table_error(t));
        if (f->n % SHOW_EVERY == 0)
            progress_show(&p, table_bytes_read(t), f->n, path);
    }
    progress_done(&p, f->n);
    if (err == 0 && f->n == 0) {
        fprintf(stderr, "%s: %s: no rows to read\n", command, path);
        err = -ENODATA;
    }
    if (err == -ENOMEM)
        fprintf(stderr, "%s: %s: out of memory\n", command, path);
    if (err < 0)
        return err;
    for (size_t i = 0; i < f->n_columns; i++)
        find_numeric(&f->column[i]);
    *ret = TAKE(f);
    return 0;
}

const struct frame_column *frame_find(const struct frame *f, struct str name) {
    for (size_t i = 0; i < f->n_columns; i++)
        if (str_eq(str_of(f->column[i].name), name))
            return &f->column[i];
    return NULL;
}

static void print_columns(const struct frame *f) {
    fprintf(stderr, "its columns:");
    for (size_t i = 0; i < f->n_columns; i++)
        fprintf(stderr, " %s%s", *f->column[i].name ? log_q(f->column[i].name) : "\"\"",
                i + 1 < f->n_columns ? "," : "\n");
}

const struct frame_column *frame_need(const char *command, const struct frame *f, const char *name,
                                      const char *hint) {
    const struct frame_column *c = frame_find(f, str_of(name));
    if (c)
        return c;
    struct nearest near = {.word = name};
    for (size_t i = 0; i < f->n_columns; i++)
        nearest_offer(&near, f->column[i].name);
    fprintf(stderr, "%s: %s has no column %s%s%s%s; %s\n", command, f->path, log_q(name),
            near.best ? " (did you mean " : "", near.best ? near.best : "", near.best ? "?)" : "",
            hint);
    print_columns(f);
    return NULL;
}

int frame_match(const char *command, const struct frame *f, const char *pattern,
                const struct frame_column **ret, size_t max, size_t *ret_n) {
    size_t n = strlen(pattern), found = 0;
    bool open = n && pattern[n - 1] == '*';
    for (size_t i = 0; i < f->n_columns && *ret_n < max; i++)
        if (open ? strncmp(f->column[i].name, pattern, n - 1) == 0
                 : strcmp(f->column[i].name, pattern) == 0) {
            ret[(*ret_n)++] = &f->column[i];
            found++;
        }
    if (found)
        return 0;
    if (!open) {
        frame_need(command, f, pattern, "name one of its columns, or several as in PRE*");
        return -EINVAL;
    }
    fprintf(stderr, "%s: %s has no column that fits %s\n", command, f->path, log_q(pattern));
    print_columns(f);
    return -EINVAL;
}

/* "column=value", split at the first '='. */
static int filter(const char *command, struct frame *f, const char *where) {
    const char *eq = strchr(where, '=');
    autofree(free) char *name = eq ? strndup(where, (size_t)(eq - where)) : NULL;
    if (!eq) {
        fprintf(stderr, "%s: --where %s: write column=value\n", command, log_q(where));
        return -EINVAL;
    }
    const struct frame_column *c =
        name ? frame_need(command, f, name, "--where names a column") : NULL;
    if (!c)
        return name ? -EINVAL : -ENOMEM;
    uint32_t want = frame_code(c, str_of(eq + 1));
    size_t n = 0;
    for (size_t i = 0; i < f->n; i++) {
        if (c->code[i] != want || (want == 0 && eq[1]))
            continue;
        for (size_t k = 0; k < f->n_columns; k++)
            f->column[k].code[n] = f->column[k].code[i];
        f->line[n++] = f->line[i];
    }
    f->n = n;
    if (n)
        return 0;
    fprintf(stderr, "%s: %s: no row has %s\n", command, f->path, log_q(where));
    return -ENODATA;
}

int frame_filter(const char *command, struct frame *f, char *const *where, size_t n) {
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = filter(command, f, where[i]);
    return err;
}

int frame_order(struct frame *f, const size_t *row, size_t n) {
    for (size_t k = 0; k < f->n_columns; k++) {
        uint32_t *code = malloc(MAX(n, 1) * sizeof *code);
        if (!code)
            return -ENOMEM;
        for (size_t i = 0; i < n; i++)
            code[i] = f->column[k].code[row[i]];
        free(f->column[k].code);
        f->column[k].code = code;
    }
    uint64_t *line = malloc(MAX(n, 1) * sizeof *line);
    if (!line)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        line[i] = f->line[row[i]];
    free(f->line);
    f->line = line;
    f->n = n;
    return 0;
}

static struct frame_role *role_named(struct frame_role *roles, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(roles[i].name, name) == 0)
            return &roles[i];
    return NULL;
}

static int map_role(const char *command, const struct frame *f, const char *map,
                    struct frame_role *roles, size_t n_roles) {
    const char *eq = strrchr(map, '=');
    struct frame_role *role = eq ? role_named(roles, n_roles, eq + 1) : NULL;
    if (!role) {
        fprintf(stderr, "%s: --map %s: write COLUMN=FIELD; the fields are", command, log_q(map));
        for (size_t i = 0; i < n_roles; i++)
            fprintf(stderr, " %s%s", roles[i].name, i + 1 < n_roles ? "," : "\n");
        return -EINVAL;
    }
    autofree(free) char *name = strndup(map, (size_t)(eq - map));
    if (!name)
        return -ENOMEM;
    role->column = frame_need(command, f, name, "--map names a column");
    return role->column ? 0 : -EINVAL;
}

int frame_roles(const char *command, const struct frame *f, char *const *maps, size_t n_maps,
                struct frame_role *roles, size_t n_roles) {
    int err = 0;
    for (size_t i = 0; i < n_maps && err == 0; i++)
        err = map_role(command, f, maps[i], roles, n_roles);
    for (size_t i = 0; i < n_roles && err == 0; i++) {
        struct frame_role *r = &roles[i];
        for (size_t k = 0; k < ARRAY_LEN(r->usual) && r->usual[k] && !r->column; k++)
            r->column = frame_find(f, str_of(r->usual[k]));
        if (r->column || !r->missing)
            continue;
        fprintf(stderr, "%s: %s: which column is the %s? %s\n", command, f->path, r->name,
                r->missing);
        print_columns(f);
        err = -EINVAL;
    }
    return err;
}

int frame_bounded(const char *command, const struct frame *f, const struct frame_column *c,
                  size_t row, double empty, double min, double max, double *ret) {
    *ret = c->code[row] ? frame_number(c, row) : empty;
    if (*ret >= min && *ret <= max)
        return 0;
    char text[64];
    struct str s = frame_text(c, row);
    snprintf(text, sizeof text, "%.*s", (int)MIN(s.n, 60), s.n ? s.p : "");
    fprintf(stderr, "%s: %s:%llu: %s is %s; it must be a number from %g to %g\n", command, f->path,
            (unsigned long long)f->line[row], c->name, s.n ? log_q(text) : "empty", min, max);
    return -EINVAL;
}

struct str frame_text(const struct frame_column *c, size_t row) {
    return c->value[c->code[row]];
}

double frame_number(const struct frame_column *c, size_t row) {
    return c->number[c->code[row]];
}

uint32_t frame_code(const struct frame_column *c, struct str text) {
    uint32_t code = text.n ? id_index_find(&c->index, text) : 0;
    return code == INDEX_NONE ? 0 : code;
}
