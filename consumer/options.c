/* The table and its values: parsing, formatting, printing. Reading files is options_load.c. */
#include "consumer/options.h"

#include <inttypes.h>
#include <math.h>

#include "consumer/log.h"
#include "consumer/options_table.h"
#include "model/model.h"

/* Names in the order of the enums in options.h, log.h and model.h. */
#define ENUM_OPTIONS(X)                                                                            \
    X(app_log_level, "error", "warning", "info", "debug")                                          \
    X(topics_format, "confluent", "avro", "json")                                                  \
    X(topics_output_format, "confluent", "avro", "json")                                           \
    X(stream_guarantee, "exactly-once", "at-least-once")                                           \
    X(model_loss, "softmax", "bpr", "logistic", "squared")                                         \
    X(model_optimizer, "adagrad", "plain")                                                         \
    X(policy_consent_default, "denied", "granted")
#define X(field, ...) static const char *const names_##field[] = {__VA_ARGS__, NULL};
ENUM_OPTIONS(X)
#undef X

_Static_assert((int)LOG_DEBUG == 3 && (int)FORMAT_JSON == 2 && (int)AT_LEAST_ONCE == 1 &&
                   (int)LOSS_SQUARED == 3 && (int)OPT_PLAIN == 1 && (int)CONSENT_GRANTED == 1,
               "ENUM_OPTIONS follows the enums");

// clang-format off
#define ROW(k, field, key_, def_, help_) .kind = OPTION_##k, .key = key_, .def = def_, .help = help_, .offset = offsetof(struct config, field)
#define ROW_INT(f, key, d, a, b, h)   {ROW(INT, f, key, #d, h), .min = a, .max = b},
#define ROW_NUM(f, key, d, a, b, h)   {ROW(NUM, f, key, #d, h), .num_min = a, .num_max = b},
#define ROW_BOOL(f, key, d, a, b, h)  {ROW(BOOL, f, key, (d) ? "true" : "false", h)},
#define ROW_STR(f, key, d, a, b, h)   {ROW(STR, f, key, d, h), .min = a, .max = b},
#define ROW_MS(f, key, d, a, b, h)    {ROW(MS, f, key, d, h), .lo = a, .hi = b},
#define ROW_BYTES(f, key, d, a, b, h) {ROW(BYTES, f, key, d, h), .lo = a, .hi = b},
#define ROW_ENUM(f, key, d, a, b, h)  {ROW(ENUM, f, key, d, h), .names = names_##f},
// clang-format on

const struct option options[] = {
#define SECTION(name, help)
#define X(kind, ...) ROW_##kind(__VA_ARGS__)
#include "consumer/options.def"
#undef SECTION
#undef X
};
const size_t n_options = ARRAY_LEN(options);

const struct option_section option_sections[] = {
#define SECTION(name, help) {name, help},
#define X(...)
#include "consumer/options.def"
#undef SECTION
#undef X
};
const size_t n_option_sections = ARRAY_LEN(option_sections);

/* ---- values --------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t times;
};
static const struct unit ms_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
static const struct unit byte_units[] = {{"g", 1 << 30}, {"m", 1 << 20}, {"k", 1 << 10}, {"", 1}};

static int parse_units(const char *text, const struct unit *units, size_t n, int64_t *ret) {
    if (*text < '0' || *text > '9')
        return -EINVAL;
    char *end;
    double v = strtod(text, &end);
    if (strspn(text, "0123456789.") != (size_t)(end - text))
        return -EINVAL; /* no exponents, no hexadecimal */
    if (v == 0 && !*end) {
        *ret = 0;
        return 0;
    }
    for (size_t i = 0; i < n; i++) {
        if (strcmp(end, units[i].name) != 0)
            continue;
        v *= (double)units[i].times;
        if (v > 9e15 || v != floor(v))
            return -EINVAL;
        *ret = (int64_t)v;
        return 0;
    }
    return -EINVAL;
}

int parse_ms(const char *text, int64_t *ret) {
    return parse_units(text, ms_units, ARRAY_LEN(ms_units), ret);
}

int parse_bytes(const char *text, int64_t *ret) {
    return parse_units(text, byte_units, ARRAY_LEN(byte_units), ret);
}

static void format_units(int64_t v, const struct unit *units, size_t n, char out[VALUE_MAX]) {
    size_t i = 0;
    while (i + 1 < n && (v == 0 || v % units[i].times != 0))
        i++;
    snprintf(out, VALUE_MAX, "%" PRId64 "%s", v / units[i].times, units[i].name);
}

void format_ms(int64_t ms, char out[VALUE_MAX]) {
    format_units(ms, ms_units, ARRAY_LEN(ms_units), out);
}

/* The shortest text that reads back as the same number. */
static void format_num(double v, char out[VALUE_MAX]) {
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(out, VALUE_MAX, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

static void *field_of(const struct option *o, const struct config *c) {
    return (char *)c + o->offset;
}

void option_allowed(const struct option *o, char *out, size_t n) {
    char lo[VALUE_MAX], hi[VALUE_MAX];
    switch (o->kind) {
    case OPTION_INT:
        if (o->max == INT64_MAX)
            snprintf(out, n, "a whole number from %" PRId64, o->min);
        else
            snprintf(out, n, "a whole number from %" PRId64 " to %" PRId64, o->min, o->max);
        break;
    case OPTION_NUM:
        format_num(o->num_min, lo);
        format_num(o->num_max, hi);
        snprintf(out, n, "a number from %s to %s", lo, hi);
        break;
    case OPTION_BOOL:
        snprintf(out, n, "true or false");
        break;
    case OPTION_STR:
        if (o->min > 0)
            snprintf(out, n, "%" PRId64 " to %" PRId64 " characters", o->min, o->max);
        else
            snprintf(out, n, "up to %" PRId64 " characters", o->max);
        break;
    case OPTION_MS:
        snprintf(out, n, "a duration (ms, s, m, h, d) from %s to %s", o->lo, o->hi);
        break;
    case OPTION_BYTES:
        snprintf(out, n, "a size (k, m, g) from %s to %s", o->lo, o->hi);
        break;
    case OPTION_ENUM: {
        size_t used = 0;
        for (size_t i = 0; o->names[i] && used < n; i++) {
            const char *sep = i == 0 ? "" : o->names[i + 1] ? ", " : " or ";
            used += (size_t)snprintf(out + used, n - used, "%s%s", sep, o->names[i]);
        }
    }
    }
}

static int refuse(const struct option *o, const char *text, char *why, size_t n) {
    char allowed[200];
    option_allowed(o, allowed, sizeof allowed);
    snprintf(why, n, "found %s, allowed is %s", *text ? log_q(text) : "nothing", allowed);
    return -EINVAL;
}

int option_set(const struct option *o, struct config *c, const char *text, char *why, size_t n) {
    void *to = field_of(o, c);
    char *end;
    switch (o->kind) {
    case OPTION_INT: {
        errno = 0;
        long long v = strtoll(text, &end, 10);
        bool number = (*text == '-' || (*text >= '0' && *text <= '9')) && !*end && !errno;
        if (!number || v < o->min || v > o->max)
            return refuse(o, text, why, n);
        *(int64_t *)to = v;
        return 0;
    }
    case OPTION_NUM: {
        double v = strtod(text, &end);
        if (end == text || *end || !isfinite(v) || v < o->num_min || v > o->num_max)
            return refuse(o, text, why, n);
        *(double *)to = v;
        return 0;
    }
    case OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return refuse(o, text, why, n);
        *(bool *)to = text[0] == 't';
        return 0;
    case OPTION_STR: {
        size_t len = strlen(text);
        if (len < (size_t)o->min || len > (size_t)o->max)
            return refuse(o, text, why, n);
        for (size_t i = 0; i < len; i++) {
            if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) {
                snprintf(why, n, "found a control character in %s; remove it", log_q(text));
                return -EINVAL;
            }
        }
        char *copy = strdup(text);
        if (!copy)
            return -ENOMEM;
        free(*(char **)to);
        *(char **)to = copy;
        return 0;
    }
    case OPTION_MS:
    case OPTION_BYTES: {
        int (*parse)(const char *, int64_t *) = o->kind == OPTION_MS ? parse_ms : parse_bytes;
        int64_t v = 0, lo = 0, hi = 0;
        parse(o->lo, &lo);
        parse(o->hi, &hi);
        if (parse(text, &v) < 0 || v < lo || v > hi)
            return refuse(o, text, why, n);
        *(int64_t *)to = v;
        return 0;
    }
    case OPTION_ENUM:
        for (int i = 0; o->names[i]; i++) {
            if (strcmp(text, o->names[i]) == 0) {
                *(int *)to = i;
                return 0;
            }
        }
        return refuse(o, text, why, n);
    }
    return -EINVAL;
}

void option_format(const struct option *o, const struct config *c, char out[VALUE_MAX]) {
    const void *from = field_of(o, c);
    switch (o->kind) {
    case OPTION_INT:
        snprintf(out, VALUE_MAX, "%" PRId64, *(const int64_t *)from);
        break;
    case OPTION_NUM:
        format_num(*(const double *)from, out);
        break;
    case OPTION_BOOL:
        strcpy(out, *(const bool *)from ? "true" : "false");
        break;
    case OPTION_MS:
        format_ms(*(const int64_t *)from, out);
        break;
    case OPTION_BYTES:
        format_units(*(const int64_t *)from, byte_units, ARRAY_LEN(byte_units), out);
        break;
    case OPTION_ENUM:
        snprintf(out, VALUE_MAX, "%s", o->names[*(const int *)from]);
        break;
    case OPTION_STR:
        out[0] = '\0';
    }
}

/* ---- printing ------------------------------------------------------------- */

bool kafka_secret(const char *key) {
    return strstr(key, "password") || strstr(key, "secret") || strstr(key, "key.pem") ||
           strcmp(key, "ssl_key") == 0 || strcmp(key, "sasl.oauthbearer.config") == 0;
}

/* A YAML double-quoted scalar; control characters never get this far, but what Unicode calls
 * a line break (U+0085, U+2028, U+2029) does, and YAML would fold it to a space. */
static void print_quoted(const char *text, FILE *to) {
    putc('"', to);
    for (; *text; text++) {
        if (strncmp(text, "\xc2\x85", 2) == 0) {
            fputs("\\N", to);
            text += 1;
        } else if (strncmp(text, "\xe2\x80\xa8", 3) == 0 || strncmp(text, "\xe2\x80\xa9", 3) == 0) {
            fputs(text[2] == '\xa8' ? "\\L" : "\\P", to);
            text += 2;
        } else {
            if (*text == '"' || *text == '\\')
                putc('\\', to);
            putc(*text, to);
        }
    }
    putc('"', to);
}

static const char *raw_value(const struct config *c, const char *key, const char *value) {
    for (size_t i = 0; i < c->n_raw; i++)
        if (strcmp(c->raw[i].key, key) == 0)
            return c->raw[i].value;
    return value;
}

/* A URL's password masked, in memory of the caller's; NULL: there is none. */
static char *masked_url(const char *value) {
    const char *host = strstr(value, "://");
    const char *at = host ? strrchr(host + 3, '@') : NULL;
    const char *colon = at ? memchr(host + 3, ':', (size_t)(at - host - 3)) : NULL;
    char *masked = NULL;
    if (colon && asprintf(&masked, "%.*s" MASKED "%s", (int)(colon + 1 - value), value, at) < 0)
        return NULL;
    return masked;
}

/* Help text as comment lines of at most 96 columns. */
static void print_comment(const char *text, const char *indent, FILE *to) {
    const size_t width = 96 - strlen(indent);
    while (*text) {
        size_t n = strlen(text);
        if (n > width) {
            n = width;
            while (n > 0 && text[n] != ' ')
                n--;
            if (n == 0)
                n = strcspn(text, " ");
        }
        fprintf(to, "%s# %.*s\n", indent, (int)n, text);
        text += n;
        text += strspn(text, " ");
    }
}

/* The default stands below as the value; what a text or a word may be is in its help. */
static void print_option_comment(const struct option *o, FILE *to) {
    char allowed[200], text[800];
    option_allowed(o, allowed, sizeof allowed);
    bool bounds = o->kind != OPTION_STR && o->kind != OPTION_ENUM && o->kind != OPTION_BOOL;
    if (bounds)
        snprintf(text, sizeof text, "%s (%s)", o->help, allowed);
    else
        snprintf(text, sizeof text, "%s", o->help);
    print_comment(text, "  ", to);
}

static void print_section(const struct config *c, const struct option_section *s, bool comments,
                          FILE *to) {
    size_t n = strlen(s->name);
    if (comments)
        print_comment(s->help, "", to);
    fprintf(to, "%s:\n", s->name);
    for (size_t i = 0; i < n_options; i++) {
        const struct option *o = &options[i];
        if (strncmp(o->key, s->name, n) != 0 || o->key[n] != '.')
            continue;
        if (comments)
            print_option_comment(o, to);
        fprintf(to, "  %s: ", o->key + n + 1);
        if (o->kind == OPTION_STR) {
            const char *plain = *(char **)field_of(o, c), *value = raw_value(c, o->key, plain);
            autofree(free) char *masked = value == plain ? masked_url(value) : NULL;
            print_quoted(masked ? masked : value, to);
        } else {
            char value[VALUE_MAX];
            option_format(o, c, value);
            fputs(value, to);
        }
        putc('\n', to);
    }
}

static void print_kafka(const struct config *c, bool comments, FILE *to) {
    if (comments)
        print_comment("librdkafka's own properties, passed through to every client (its "
                      "CONFIGURATION.md lists "
                      "them). Secrets are better written as ${file:/path/of/secret} or "
                      "${env:NAME}, which works "
                      "for every text in this file.",
                      "", to);
    fputs("kafka:\n", to);
    for (size_t i = 0; i < c->n_kafka; i++) {
        const struct key_value *kv = &c->kafka[i];
        char key[300];
        snprintf(key, sizeof key, "kafka.%s", kv->key);
        const char *value = raw_value(c, key, kv->value);
        if (value == kv->value && kafka_secret(kv->key))
            value = MASKED;
        fprintf(to, "  %s: ", kv->key);
        print_quoted(value, to);
        putc('\n', to);
    }
}

static void print_events(const struct config *c, bool comments, FILE *to) {
    if (comments)
        print_comment("what each type of event teaches: 0 nothing, more than 0 a liking of that "
                      "weight, less than "
                      "0 a dislike. Names that are not built in define custom types.",
                      "", to);
    fputs("events:\n", to);
    for (size_t i = 0; i < EV_BUILTIN + c->n_custom; i++) {
        char value[VALUE_MAX];
        for (int digits = 3; digits <= 9; digits++) {
            snprintf(value, sizeof value, "%.*g", digits, (double)c->type_weight[i]);
            if (strtof(value, NULL) == c->type_weight[i])
                break;
        }
        fprintf(to, "  %s: %s\n", config_event_name(c, (uint8_t)i), value);
    }
}

void config_print(const struct config *c, bool comments, FILE *to) {
    if (comments)
        fputs("# Beckon's configuration: every key with its default.\n"
              "# Printed by `beckon config --sample`; `beckon config --check FILE` checks one. "
              "Every key\n"
              "# is a flag of every command too, and goes before the file: --section.key=value\n\n",
              to);
    for (size_t i = 0; i < n_option_sections; i++) {
        print_section(c, &option_sections[i], comments, to);
        if (comments)
            putc('\n', to);
    }
    print_kafka(c, comments, to);
    if (comments)
        putc('\n', to);
    print_events(c, comments, to);
}

/* ---- event types ---------------------------------------------------------- */

static const struct str builtin_types[] = {
#define X(sym, name, weight) {name, sizeof(name) - 1},
    EVENT_TYPES(X)
#undef X
};

uint8_t config_event_type(const struct config *c, struct str name) {
    for (uint8_t i = 0; i < EV_BUILTIN; i++)
        if (str_eq(builtin_types[i], name))
            return i;
    for (size_t i = 0; i < c->n_custom; i++)
        if (str_eq(str_of(c->custom_name[i]), name))
            return (uint8_t)(EV_BUILTIN + i);
    return EV_UNKNOWN;
}

uint8_t config_event_type_written(const struct config *c, struct str name) {
    char folded[64];
    uint8_t type = config_event_type(c, name);
    if (type != EV_UNKNOWN || name.n > sizeof folded)
        return type;
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        folded[i] = (char)(ch == '_' ? '-' : ch >= 'A' && ch <= 'Z' ? ch + ('a' - 'A') : ch);
    }
    return config_event_type(c, (struct str){folded, name.n});
}

const char *config_event_name(const struct config *c, uint8_t type) {
    if (type < EV_BUILTIN)
        return builtin_types[type].p;
    if ((size_t)(type - EV_BUILTIN) < c->n_custom)
        return c->custom_name[type - EV_BUILTIN];
    return "unknown";
}

static void free_pairs(struct key_value *kv, size_t n) {
    for (size_t i = 0; i < n; i++) {
        free(kv[i].key);
        free(kv[i].value);
    }
    free(kv);
}

void config_free(struct config *c) {
    if (!c)
        return;
    for (size_t i = 0; i < n_options; i++)
        if (options[i].kind == OPTION_STR)
            free(*(char **)field_of(&options[i], c));
    free_pairs(c->kafka, c->n_kafka);
    free_pairs(c->raw, c->n_raw);
    for (size_t i = 0; i < c->n_custom; i++)
        free(c->custom_name[i]);
    free(c->path);
    free(c);
}
