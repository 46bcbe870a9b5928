/* Reading the configuration: a YAML file, then the command line's overrides, then what the
 * options say of each other. Every fault is reported before giving up. */
#include <errno.h>
#include <math.h>
#include <stdarg.h>

#include "consumer/log.h"
#include "consumer/nearest.h"
#include "consumer/options_loader.h"

enum {
    CONFIG_FILE_MAX = 1 << 20,
    SECRET_FILE_MAX = 64 << 10,
    FAULTS_SHOWN = 50,
    WHY_MAX = 700,
};
#define WEIGHT_MAX 1000.0

/* ---- faults --------------------------------------------------------------- */

static void say_at(struct loader *l, int line, const char *key, const char *fmt, va_list ap) {
    struct said s = {.line = line, .number = l->n_said};
    struct said *more = reallocarray(l->said, l->n_said + 1, sizeof *more);
    if (more)
        l->said = more;
    size_t n;
    FILE *to = more ? open_memstream(&s.text, &n) : NULL;
    if (!to) {
        l->no_memory = true;
        return;
    }
    if (line == LINE_COMMAND)
        fputs("command line: ", to);
    else if (line == LINE_DEFAULT)
        fprintf(to, "%s: ", l->name ? l->name : "configuration");
    else
        fprintf(to, "%s:%d: ", l->name, line);
    if (key)
        fprintf(to, "%s: ", log_q(key));
    vfprintf(to, fmt, ap);
    putc('\n', to);
    if (fclose(to) == 0)
        l->said[l->n_said++] = s;
    else
        l->no_memory = true;
}

/* The file's lines in their order, then what stands in none. */
static int by_line(const void *a, const void *b) {
    const struct said *x = a, *y = b;
    if ((x->line > 0) != (y->line > 0))
        return x->line > 0 ? -1 : 1;
    if (x->line > 0 && x->line != y->line)
        return x->line < y->line ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static void tell_all(struct loader *l) {
    if (l->n_said)
        qsort(l->said, l->n_said, sizeof *l->said, by_line);
    for (size_t i = 0; i < l->n_said; i++) {
        fputs(l->said[i].text, l->faults);
        free(l->said[i].text);
    }
    free(l->said);
    if (l->n_faults > FAULTS_SHOWN)
        fprintf(l->faults, "… and %zu more\n", l->n_faults - FAULTS_SHOWN);
    if (l->n_faults)
        fprintf(l->faults, "%zu fault%s in the configuration\n", l->n_faults,
                l->n_faults == 1 ? "" : "s");
}

void fault_at(struct loader *l, int line, const char *key, const char *fmt, ...) {
    if (l->n_faults++ >= FAULTS_SHOWN)
        return;
    va_list ap;
    va_start(ap, fmt);
    say_at(l, line, key, fmt, ap);
    va_end(ap);
}

static void note_at(struct loader *l, int line, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void note_at(struct loader *l, int line, const char *key, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    say_at(l, line, key, fmt, ap);
    va_end(ap);
}

static int find_option(const char *key) {
    for (size_t i = 0; i < n_options; i++)
        if (strcmp(options[i].key, key) == 0)
            return (int)i;
    return -1;
}

static void cross_fault(void *ctx, const char *key, const char *fmt, ...) {
    struct loader *l = ctx;
    int i = find_option(key), line = i < 0 ? LINE_DEFAULT : l->line[i];
    if (strncmp(key, "kafka.", 6) == 0)
        for (size_t k = 0; k < l->c->n_kafka; k++)
            if (strcmp(l->c->kafka[k].key, key + 6) == 0)
                line = l->c->kafka[k].line;
    if (l->n_faults++ >= FAULTS_SHOWN)
        return;
    va_list ap;
    va_start(ap, fmt);
    say_at(l, line, key, fmt, ap);
    va_end(ap);
}

/* ---- files ---------------------------------------------------------------- */

/* A whole file as a NUL-terminated text of at most `max` bytes. 0, -errno, -EFBIG. */
static int read_file(const char *path, size_t max, char **ret, size_t *ret_n) {
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    char *text = malloc(max + 1);
    if (!text) {
        fclose(f);
        return -ENOMEM;
    }
    errno = 0;
    size_t n = fread(text, 1, max + 1, f);
    int err = ferror(f) ? (errno ? -errno : -EIO) : n > max ? -EFBIG : 0;
    fclose(f);
    if (err) {
        free(text);
        return err;
    }
    text[n] = '\0';
    *ret = text;
    *ret_n = n;
    return 0;
}

static int add_pair(struct key_value **v, size_t *n, const char *key, const char *value, int line) {
    struct key_value *grown = realloc(*v, (*n + 1) * sizeof **v);
    if (!grown)
        return -ENOMEM;
    *v = grown;
    autofree(free) char *k = strdup(key), *t = strdup(value);
    if (!k || !t)
        return -ENOMEM;
    (*v)[(*n)++] = (struct key_value){TAKE(k), TAKE(t), line};
    return 0;
}

/* The text behind ${file:/path} or ${env:NAME}, or a copy of any other text. What was written
 * is kept for printing; a later setting of the same key forgets it. 0, or -EINVAL after a fault. */
static int resolve(struct loader *l, int line, const char *key, const char *text, char **ret) {
    struct config *c = l->c;
    for (size_t i = 0; i < c->n_raw; i++) {
        if (strcmp(c->raw[i].key, key) == 0) {
            free(c->raw[i].key);
            free(c->raw[i].value);
            c->raw[i] = c->raw[--c->n_raw];
            break;
        }
    }
    size_t n = strlen(text);
    bool indirect = n > 3 && strncmp(text, "${", 2) == 0 && text[n - 1] == '}';
    if (!indirect) {
        *ret = strdup(text);
        l->no_memory |= !*ret;
        return *ret ? 0 : -ENOMEM;
    }
    if (add_pair(&c->raw, &c->n_raw, key, text, line) < 0) {
        l->no_memory = true;
        return -ENOMEM;
    }
    autofree(free) char *inner = strndup(text + 2, n - 3);
    if (!inner) {
        l->no_memory = true;
        return -ENOMEM;
    }
    if (strncmp(inner, "env:", 4) == 0) {
        const char *v = getenv(inner + 4);
        if (!v) {
            fault_at(l, line, key, "the environment variable %s is not set", log_q(inner + 4));
            return -EINVAL;
        }
        *ret = strdup(v);
        l->no_memory |= !*ret;
        return *ret ? 0 : -ENOMEM;
    }
    if (strncmp(inner, "file:", 5) == 0) {
        size_t size = 0;
        int r = read_file(inner + 5, SECRET_FILE_MAX, ret, &size);
        if (r == 0 && strlen(*ret) != size) {
            free(TAKE(*ret));
            r = -EBADMSG;
        }
        if (r < 0) {
            fault_at(l, line, key, "cannot read %s: %s", log_q(inner + 5),
                     r == -EFBIG     ? "longer than 64k"
                     : r == -EBADMSG ? "not a text"
                                     : strerror(-r));
            return -EINVAL;
        }
        while (size && ((*ret)[size - 1] == '\n' || (*ret)[size - 1] == '\r'))
            (*ret)[--size] = '\0';
        return 0;
    }
    fault_at(l, line, key, "found %s; write ${file:/path} or ${env:NAME}", log_q(text));
    return -EINVAL;
}

/* ---- one key -------------------------------------------------------------- */

static void set_option(struct loader *l, int line, size_t i, const char *text) {
    autofree(free) char *value = NULL;
    char why[WHY_MAX];
    if (options[i].kind == OPTION_STR) {
        if (resolve(l, line, options[i].key, text, &value) < 0)
            return;
        text = value;
        if (strstr(text, "://") && strstr(text, ":" MASKED "@")) {
            fault_at(
                l, line, options[i].key,
                "its password is masked; write it, or the whole as ${file:/path} or ${env:NAME}");
            return;
        }
    }
    int r = option_set(&options[i], l->c, text, why, sizeof why);
    if (r == -ENOMEM)
        l->no_memory = true;
    else if (r < 0)
        fault_at(l, line, options[i].key, "%s", why);
    l->line[i] = line;
}

/* Properties that Beckon sets itself, and why. */
static const struct {
    const char *key, *why;
} own_properties[] = {
    {"group.id", "Beckon's own; it is made from app.name"},
    {"group.instance.id", "Beckon's own; it is made from app.instance"},
    {"transactional.id", "Beckon's own; it is made from app.name, app.instance and the worker"},
    {"isolation.level", "Beckon's own; its inputs and its state are always read committed"},
    {"enable.auto.commit", "Beckon's own; offsets are committed with what they produced"},
    {"enable.auto.offset.store", "Beckon's own; offsets are committed with what they produced"},
    {"auto.commit.enable", "Beckon's own; offsets are committed with what they produced"},
    {"auto.commit.interval.ms", "Beckon's own; see stream.commit_interval"},
    {"enable.idempotence", "Beckon's own; see stream.guarantee"},
    {"enable.partition.eof", "Beckon's own; the end of a restore is found with it"},
    {"partition.assignment.strategy", "Beckon's own; assignment is cooperative"},
};

static const char *own_property(const char *key) {
    for (size_t i = 0; i < ARRAY_LEN(own_properties); i++)
        if (strcmp(own_properties[i].key, key) == 0)
            return own_properties[i].why;
    return NULL;
}

/* Offers every property librdkafka knows: the first column of its own documentation. */
static void offer_properties(struct nearest *near, char **ret_text) {
    size_t n = 0;
    FILE *f = open_memstream(ret_text, &n);
    if (!f)
        return;
    rd_kafka_conf_properties_show(f);
    if (fclose(f) != 0)
        return;
    for (char *line = *ret_text, *next; line && *line; line = next) {
        if ((next = strchr(line, '\n')))
            *next++ = '\0';
        size_t word = strcspn(line, " |");
        if (word && line[word] == ' ') {
            line[word] = '\0';
            nearest_offer(near, line);
        }
    }
}

static void unknown_property(struct loader *l, int line, const char *full) {
    struct nearest near = {.word = full + strlen("kafka.")};
    autofree(free) char *text = NULL;
    offer_properties(&near, &text);
    if (near.best)
        fault_at(l, line, full, "librdkafka knows no such property; did you mean kafka.%s?",
                 near.best);
    else
        fault_at(l, line, full,
                 "librdkafka knows no such property; its CONFIGURATION.md lists them");
}

static void set_kafka(struct loader *l, int line, const char *full, const char *text) {
    const char *key = full + strlen("kafka.");
    const char *own = own_property(key);
    if (own) {
        fault_at(l, line, full, "not to be set: it is %s", own);
        return;
    }
    autofree(free) char *value = NULL;
    if (resolve(l, line, full, text, &value) < 0)
        return;
    bool secret = kafka_secret(key), raw = strcmp(value, text) != 0;
    if (secret && strcmp(value, MASKED) == 0) {
        fault_at(l, line, full, "is masked; write the secret, ${file:/path} or ${env:NAME}");
        return;
    }
    if (secret && !raw && line == LINE_COMMAND) {
        fault_at(l, line, full,
                 "everybody can see a command line; write ${file:/path} or ${env:NAME}");
        return;
    }
    for (const char *p = value; *p && !raw; p++) {
        if ((unsigned char)*p < ' ' || *p == 0x7f) {
            fault_at(l, line, full, "found a control character; remove it or use ${file:/path}");
            return;
        }
    }
    char why[512] = "";
    switch (rd_kafka_conf_set(l->kafka, key, value, why, sizeof why)) {
    case RD_KAFKA_CONF_OK:
        break;
    case RD_KAFKA_CONF_UNKNOWN:
        unknown_property(l, line, full);
        return;
    default:
        fault_at(l, line, full, "librdkafka refuses it: %s",
                 secret ? "bad value of a secret" : why);
        return;
    }
    struct config *c = l->c;
    for (size_t i = 0; i < c->n_kafka; i++) {
        if (strcmp(c->kafka[i].key, key) == 0) {
            free(c->kafka[i].value);
            c->kafka[i].value = TAKE(value);
            c->kafka[i].line = line;
            return;
        }
    }
    if (add_pair(&c->kafka, &c->n_kafka, key, value, line) < 0)
        l->no_memory = true;
}

static bool type_name_ok(const char *s) {
    size_t n = strlen(s);
    return n >= 1 && n <= 64 && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
}

/* A mistyped name silently defines a custom type, and the weight meant never arrives. */
static void note_typo(struct loader *l, int line, const char *full, const char *name) {
    struct nearest near = {.word = name};
    for (uint8_t i = 0; i < EV_BUILTIN; i++)
        nearest_offer(&near, config_event_name(l->c, i));
    if (near.best)
        note_at(l, line, full, "note: defines a custom type; did you mean the built-in %s?",
                near.best);
}

static void set_event(struct loader *l, int line, const char *full, const char *text) {
    struct config *c = l->c;
    const char *name = full + strlen("events.");
    char *end;
    double w = strtod(text, &end);
    if (end == text || *end || !isfinite(w) || fabs(w) > WEIGHT_MAX) {
        fault_at(l, line, full, "found %s, allowed is a number from -1000 to 1000",
                 *text ? log_q(text) : "nothing");
        return;
    }
    uint8_t type = config_event_type(c, str_of(name));
    if (type == EV_UNKNOWN) {
        if (!type_name_ok(name)) {
            fault_at(
                l, line, full,
                "allowed in the name of a custom type are 1 to 64 of a-z, 0-9, '-', '_' and '.'");
            return;
        }
        if (EV_BUILTIN + c->n_custom >= EV_MAX) {
            fault_at(l, line, full, "one custom type too many; allowed are %d",
                     EV_MAX - EV_BUILTIN);
            return;
        }
        note_typo(l, line, full, name);
        type = (uint8_t)(EV_BUILTIN + c->n_custom);
        if (!(c->custom_name[c->n_custom] = strdup(name))) {
            l->no_memory = true;
            return;
        }
        c->n_custom++;
    }
    c->type_weight[type] = (float)w;
    l->weight_line[type] = line;
}

static void unknown_key(struct loader *l, int line, const char *full) {
    const char *dot = strchr(full, '.');
    if (!dot) {
        fault_at(l, line, full, "unknown key; keys are written section.key");
        return;
    }
    /* The right key in the wrong section first, then a mistyped one. */
    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(strchr(options[i].key, '.'), dot) == 0) {
            fault_at(l, line, full, "unknown key; did you mean %s?", options[i].key);
            return;
        }
    }
    struct nearest near = {.word = full};
    for (size_t i = 0; i < n_options; i++)
        nearest_offer(&near, options[i].key);
    if (near.best)
        fault_at(l, line, full, "unknown key; did you mean %s?", near.best);
    else
        fault_at(l, line, full, "unknown key; `beckon config --sample` lists them all");
}

void set_key(struct loader *l, int line, const char *full, const char *text) {
    int i;
    if (strncmp(full, "kafka.", 6) == 0 && full[6])
        set_kafka(l, line, full, text);
    else if (strncmp(full, "events.", 7) == 0)
        set_event(l, line, full, text);
    else if ((i = find_option(full)) >= 0)
        set_option(l, line, (size_t)i, text);
    else
        unknown_key(l, line, full);
}

/* ---- together ------------------------------------------------------------- */

static void apply_overrides(struct loader *l, char *const *overrides, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const char *eq = strchr(overrides[i], '=');
        if (!eq) {
            fault_at(l, LINE_COMMAND, overrides[i], "has no value; write --%s=…", overrides[i]);
            continue;
        }
        autofree(free) char *key = strndup(overrides[i], (size_t)(eq - overrides[i]));
        if (key)
            set_key(l, LINE_COMMAND, key, eq + 1);
        else
            l->no_memory = true;
    }
}

static int load(struct loader *l, const char *text, size_t n, char *const *overrides,
                size_t n_overrides) {
    struct config *c = l->c;
    for (size_t i = 0; i < n_options; i++) {
        char why[WHY_MAX];
        l->line[i] = LINE_DEFAULT;
        int r = option_set(&options[i], c, options[i].def, why, sizeof why);
        if (r < 0)
            return r;
    }
#define X(sym, name, weight) c->type_weight[EV_##sym] = (float)weight;
    EVENT_TYPES(X)
#undef X
    if (l->name && !(c->path = strdup(l->name)))
        return -ENOMEM;
    if (text)
        read_yaml(l, text, n);
    apply_overrides(l, overrides, n_overrides);
    bool servers = false;
    for (size_t i = 0; i < c->n_kafka; i++)
        servers |= !strcmp(c->kafka[i].key, "bootstrap.servers") ||
                   !strcmp(c->kafka[i].key, "metadata.broker.list");
    if (!servers)
        set_kafka(l, LINE_DEFAULT, "kafka.bootstrap.servers", "127.0.0.1:9092");
    config_cross_check(c, cross_fault, l);
    return l->no_memory ? -ENOMEM : l->n_faults ? -EINVAL : 0;
}

int config_load_text(const char *name, const char *text, size_t n, char *const *overrides,
                     size_t n_overrides, FILE *faults, struct config **ret) {
    autofree(config_free) struct config *c = calloc(1, sizeof *c);
    autofree(free) int *line = calloc(n_options, sizeof *line);
    struct loader l = {.c = c, .name = name, .faults = faults, .line = line};
    if (!c || !line || !(l.kafka = rd_kafka_conf_new()))
        return -ENOMEM;
    int r = load(&l, text, n, overrides, n_overrides);
    tell_all(&l);
    rd_kafka_conf_destroy(l.kafka);
    if (r < 0)
        return r;
    *ret = TAKE(c);
    return 0;
}

int config_load(const char *path, char *const *overrides, size_t n, struct config **ret) {
    autofree(free) char *text = NULL;
    size_t size = 0;
    if (path) {
        int r = read_file(path, CONFIG_FILE_MAX, &text, &size);
        if (r < 0) {
            fprintf(stderr, "%s: %s\n", log_q(path),
                    r == -EFBIG ? "longer than 1m, not a configuration" : strerror(-r));
            return r;
        }
    }
    return config_load_text(path, text, size, overrides, n, stderr, ret);
}
