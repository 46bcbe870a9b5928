#include "consumer/cli.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <unistd.h>

#include "consumer/log.h"
#include "consumer/nearest.h"
#include "consumer/options_table.h"

enum {
    LEAVE_DONE = EXIT_DONE + 1,
    LEAVE_FAILED = EXIT_FAILED + 1,
    LEAVE_USAGE = EXIT_USAGE + 1,
    WIDTH = 88
};

bool is_terminal(FILE *f) {
    return isatty(fileno(f)) == 1;
}

int cli_write_json(const char *command, const char *path, const json_t *value) {
    bool to_stdout = strcmp(path, "-") == 0;
    FILE *f = to_stdout ? stdout : fopen(path, "we");
    bool good =
        f && json_dumpf(value, f, JSON_INDENT(2) | JSON_SORT_KEYS) == 0 && fputc('\n', f) != EOF;
    if (f && (to_stdout ? fflush(f) : fclose(f)))
        good = false;
    if (!good)
        fprintf(stderr, "%s: cannot write %s: %s\n", command, path, strerror(errno));
    return good ? 0 : -EIO;
}

void flag_list_clear(struct flag_list *l) {
    free(l->v);
    *l = (struct flag_list){0};
}

static int list_add(struct flag_list *l, char *text) {
    char **v = realloc(l->v, (l->n + 1) * sizeof *v);
    if (!v)
        return -ENOMEM;
    l->v = v;
    l->v[l->n++] = text;
    return 0;
}

void cli_free_overrides(struct flag_list *l) {
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    flag_list_clear(l);
}

/* ---- help ----------------------------------------------------------------- */

/* Terminal columns of a text, near enough for aligning: its code points. */
static size_t text_columns(const char *s) {
    size_t n = 0;
    for (; *s; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

/* Words filled into lines of WIDTH columns, the first one starting at `column`, the others
 * indented to it. Line breaks in the text stay. */
static void print_filled(const char *text, size_t column) {
    size_t at = column;
    bool fresh = true;
    while (*text) {
        if (*text == '\n') {
            printf("\n%*s", (int)column, "");
            at = column;
            fresh = true;
            text++;
            continue;
        }
        if (*text == ' ') {
            text++;
            continue;
        }
        int n = (int)strcspn(text, " \n");
        size_t columns = 0;
        for (int i = 0; i < n; i++)
            columns += ((unsigned char)text[i] & 0xc0) != 0x80;
        if (!fresh && at + 1 + columns > WIDTH) {
            printf("\n%*s", (int)column, "");
            at = column;
            fresh = true;
        }
        printf("%s%.*s", fresh ? "" : " ", n, text);
        at += columns + !fresh;
        fresh = false;
        text += n;
    }
    putchar('\n');
}

static void flag_default(const struct flag *f, char *out, size_t n) {
    char value[VALUE_MAX];
    out[0] = '\0';
    switch (f->kind) {
    case FLAG_INT:
        if (*(int64_t *)f->to)
            snprintf(out, n, " (default %" PRId64 ")", *(int64_t *)f->to);
        break;
    case FLAG_NUM:
        if (*(double *)f->to != 0 && !isnan(*(double *)f->to))
            snprintf(out, n, " (default %g)", *(double *)f->to);
        break;
    case FLAG_STR:
        if (*(const char **)f->to && **(const char **)f->to)
            snprintf(out, n, " (default %s)", *(const char **)f->to);
        break;
    case FLAG_MS:
        if (*(int64_t *)f->to) {
            format_ms(*(int64_t *)f->to, value);
            snprintf(out, n, " (default %s)", value);
        }
        break;
    case FLAG_BOOL:
        break;
    case FLAG_LIST:
        snprintf(out, n, " (may be repeated)");
    }
}

static void print_flag(const char *name, const char *arg, const char *help, size_t column) {
    char left[200];
    snprintf(left, sizeof left, "  %s%s%s%s", name[1] ? "--" : "-", name, arg ? " " : "",
             arg ? arg : "");
    size_t columns = text_columns(left);
    fputs(left, stdout);
    if (columns + 2 > column) {
        putchar('\n');
        columns = 0;
    }
    printf("%*s", (int)(column - columns), "");
    print_filled(help, column);
}

static void print_usage(const struct usage *u, bool configured) {
    printf("usage: beckon %s\n\n", u->synopsis);
    print_filled(u->text, 0);
    size_t column = strlen("  --config FILE  ");
    for (size_t i = 0; i < u->n_flags; i++) {
        size_t arg = u->flags[i].arg ? text_columns(u->flags[i].arg) + 1 : 0;
        column = MAX(column, text_columns(u->flags[i].name) + arg + 6);
    }
    column = MIN(column, 34);
    printf("\nflags:\n");
    for (size_t i = 0; i < u->n_flags; i++) {
        char help[600], def[200];
        flag_default(&u->flags[i], def, sizeof def);
        snprintf(help, sizeof help, "%s%s", u->flags[i].help, def);
        print_flag(u->flags[i].name, u->flags[i].arg, help, column);
    }
    if (configured)
        print_flag("config", "FILE",
                   "configuration (default: $BECKON_CONFIG, else ./beckon.yaml, else none)",
                   column);
    print_flag("help", NULL, "this text", column);
    if (u->examples)
        printf("\nexamples:\n%s%s", u->examples,
               u->examples[strlen(u->examples) - 1] == '\n' ? "" : "\n");
    if (configured)
        printf("\nEvery key of the configuration is a flag too, and goes before the file:\n"
               "--section.key=value, for instance --model.dim=32. `beckon config --sample` lists "
               "them all.\n");
}

/* ---- parsing -------------------------------------------------------------- */

struct scan {
    const struct usage *u;
    const char *command;
    struct flag_list *args, *overrides;
    const char *path; /* --config */
};

static int complain(const struct scan *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static int complain(const struct scan *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "beckon %s: ", s->command);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\n(`beckon %s --help` tells more)\n", s->command);
    va_end(ap);
    return LEAVE_USAGE;
}

static int out_of_memory(void) {
    fputs("beckon: out of memory\n", stderr);
    return LEAVE_FAILED;
}

static bool out_of_bounds(const struct flag *f, double v) {
    return (f->min != 0 || f->max != 0) && (v < f->min || v > f->max);
}

static int bad_value(const struct scan *s, const struct flag *f, const char *what,
                     const char *text) {
    char bounds[100] = "";
    if (f->min != 0 || f->max != 0)
        snprintf(bounds, sizeof bounds, " from %.15g to %.15g", f->min, f->max);
    return complain(s, "--%s takes %s%s, found %s", f->name, what, bounds,
                    *text ? log_q(text) : "nothing");
}

static int set_flag(const struct scan *s, const struct flag *f, char *text) {
    char *end;
    switch (f->kind) {
    case FLAG_BOOL:
        if (text && strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return bad_value(s, f, "no value, or true or false", text);
        *(bool *)f->to = !text || text[0] == 't';
        return 0;
    case FLAG_INT: {
        errno = 0;
        long long v = strtoll(text, &end, 10);
        if (end == text || *end || errno || out_of_bounds(f, (double)v))
            return bad_value(s, f, "a whole number", text);
        *(int64_t *)f->to = v;
        return 0;
    }
    case FLAG_NUM: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || out_of_bounds(f, v))
            return bad_value(s, f, "a number", text);
        *(double *)f->to = v;
        return 0;
    }
    case FLAG_STR:
        *(const char **)f->to = text;
        return 0;
    case FLAG_MS: {
        int64_t v;
        if (parse_ms(text, &v) < 0)
            return complain(s, "--%s takes a duration such as 250ms, 30s, 10m, 2h or 7d, found %s",
                            f->name, *text ? log_q(text) : "nothing");
        *(int64_t *)f->to = v;
        return 0;
    }
    case FLAG_LIST:
        return list_add(f->to, text) < 0 ? out_of_memory() : 0;
    }
    return 0;
}

static int unknown_flag(const struct scan *s, const char *name) {
    struct nearest near = {.word = name};
    for (size_t i = 0; i < s->u->n_flags; i++)
        nearest_offer(&near, s->u->flags[i].name);
    nearest_offer(&near, "help");
    if (s->overrides)
        nearest_offer(&near, "config");
    if (near.best)
        return complain(s, "unknown flag --%s; did you mean --%s?", name, near.best);
    for (size_t i = 0; s->overrides && i < n_options; i++)
        if (strcmp(strchr(options[i].key, '.') + 1, name) == 0)
            return complain(s, "unknown flag --%s; did you mean --%s?", name, options[i].key);
    return complain(s, "unknown flag --%s", name);
}

/* One argument that begins with "--". `next`: the one behind it or NULL; *used: it was taken. */
static int scan_flag(struct scan *s, char *arg, char *next, bool *used) {
    char *eq = strchr(arg, '='), *value = eq ? eq + 1 : NULL;
    autofree(free) char *name = strndup(arg + 2, eq ? (size_t)(eq - arg - 2) : strlen(arg + 2));
    if (!name)
        return out_of_memory();
    if (strcmp(name, "help") == 0) {
        print_usage(s->u, s->overrides);
        return LEAVE_DONE;
    }
    const struct flag *f = NULL;
    for (size_t i = 0; i < s->u->n_flags; i++)
        if (strcmp(s->u->flags[i].name, name) == 0)
            f = &s->u->flags[i];
    bool config = s->overrides && !f && strcmp(name, "config") == 0;
    bool key = s->overrides && !f && strchr(name, '.');
    if (!f && !config && !key)
        return unknown_flag(s, name);
    if (!value && (!f || f->kind != FLAG_BOOL)) {
        if (!next)
            return complain(s, "--%s needs a value", name);
        value = next;
        *used = true;
    }
    if (f)
        return set_flag(s, f, value);
    if (config) {
        s->path = value;
        return 0;
    }
    char *override = NULL;
    if (asprintf(&override, "%s=%s", name, value) < 0)
        return out_of_memory();
    if (list_add(s->overrides, override) < 0) {
        free(override);
        return out_of_memory();
    }
    return 0;
}

/* -n for a flag named "n". */
static bool is_short(const struct usage *u, const char *arg) {
    for (size_t i = 0; i < u->n_flags; i++)
        if (arg[0] == '-' && arg[1] && strcmp(u->flags[i].name, arg + 1) == 0)
            return !arg[2];
    return false;
}

static int scan_args(struct scan *s, int argc, char **argv) {
    bool flags = true;
    for (int i = 1; i < argc; i++) {
        char *a = argv[i];
        int r = 0;
        bool used = false;
        if (flags && strcmp(a, "--") == 0)
            flags = false;
        else if (flags && strcmp(a, "-h") == 0)
            r = scan_flag(s, (char[]){"--help"}, NULL, &used);
        else if (flags && strncmp(a, "--", 2) == 0)
            r = scan_flag(s, a, i + 1 < argc ? argv[i + 1] : NULL, &used);
        else if (flags && is_short(s->u, a))
            r = scan_flag(s, (char[]){'-', '-', a[1], 0}, i + 1 < argc ? argv[i + 1] : NULL, &used);
        else if (flags && a[0] == '-' && a[1])
            r = complain(s, "unknown flag %s; flags begin with --, and what is none goes after --",
                         log_q(a));
        else if (list_add(s->args, a) < 0)
            r = out_of_memory();
        if (r)
            return r;
        i += used;
    }
    if (s->args->n < (size_t)s->u->min_args)
        return complain(s, "needs %s: beckon %s", s->args->n ? "more arguments" : "arguments",
                        s->u->synopsis);
    if (s->u->max_args >= 0 && s->args->n > (size_t)s->u->max_args)
        return complain(s, "does not take %s: beckon %s", log_q(s->args->v[s->u->max_args]),
                        s->u->synopsis);
    return 0;
}

int cli_scan(const struct usage *u, int argc, char **argv, struct flag_list *args,
             struct flag_list *overrides, const char **ret_path) {
    struct scan s = {.u = u, .command = argv[0], .args = args, .overrides = overrides};
    int r = scan_args(&s, argc, argv);
    if (r) {
        flag_list_clear(args);
        if (overrides)
            cli_free_overrides(overrides);
        return r;
    }
    if (!ret_path)
        return 0;
    const char *env = getenv("BECKON_CONFIG");
    *ret_path = s.path                             ? s.path
                : env && *env                      ? env
                : access("beckon.yaml", F_OK) == 0 ? "beckon.yaml"
                                                   : NULL;
    return 0;
}

int cli_load(const char *path, struct flag_list *overrides, struct config **ret_cfg) {
    int r = config_load(path, overrides->v, overrides->n, ret_cfg);
    cli_free_overrides(overrides);
    if (r == -ENOMEM)
        return out_of_memory();
    if (r < 0)
        return LEAVE_USAGE;
    log_set_level((enum log_level)(*ret_cfg)->app_log_level);
    return 0;
}

int cli_parse(const struct usage *u, int argc, char **argv, struct flag_list *args,
              struct config **ret_cfg) {
    struct flag_list overrides = {0};
    const char *path = NULL;
    int r = cli_scan(u, argc, argv, args, ret_cfg ? &overrides : NULL, ret_cfg ? &path : NULL);
    if (r || !ret_cfg)
        return r;
    r = cli_load(path, &overrides, ret_cfg);
    if (r)
        flag_list_clear(args);
    return r;
}
