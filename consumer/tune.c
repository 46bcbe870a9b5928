#include "consumer/tune.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <unistd.h>

#include "consumer/options_table.h"

const struct tune_param tune_params[] = {
    {"model.learning_rate", 0.02, 1, TUNE_LOG},
    {"model.l2", 1e-5, 0.1, TUNE_LOG},
    {"model.negatives", 1, 16, TUNE_LOG},
    {"model.negative_alpha", 0, 1, TUNE_LINEAR},
    {"model.phi", 0, 1, TUNE_EITHER},
    {"model.covisit_weight", 0.1, 10, TUNE_LOG},
    {"model.trend_weight", 0.01, 3, TUNE_LOG},
    {"model.trend_half_life", 1, 24 * 60, TUNE_LOG},
    {"model.item_expire", 24 * 10, 24 * 730, TUNE_LOG},
};
const size_t n_tune_params = ARRAY_LEN(tune_params);
_Static_assert(ARRAY_LEN(tune_params) <= TUNE_PARAMS_MAX, "a setting must have room");

/* ---- settings ---- */

static enum option_kind kind_of(const char *key) {
    for (size_t i = 0; i < n_options; i++)
        if (strcmp(options[i].key, key) == 0)
            return options[i].kind;
    return OPTION_STR;
}

static void write_value(enum option_kind kind, double v, char *out, size_t n) {
    switch (kind) {
    case OPTION_INT:
        snprintf(out, n, "%.0f", v);
        break;
    case OPTION_BOOL:
        snprintf(out, n, "%s", v >= 0.5 ? "true" : "false");
        break;
    case OPTION_MS:
        snprintf(out, n, "%.0fm", v * 60);
        break;
    default:
        snprintf(out, n, "%.4g", v);
    }
}

void tune_draw(uint64_t seed, uint32_t number, const bool *use, struct tune_setting *ret) {
    struct rng r;
    rng_seed(&r, hash_bytes(&number, sizeof number, seed));
    ret->n = 0;
    for (size_t i = 0; i < n_tune_params && number > 0; i++) {
        const struct tune_param *p = &tune_params[i];
        double u = rng_unit(&r), v = p->low + u * (p->high - p->low);
        if (p->scale == TUNE_LOG)
            v = p->low * pow(p->high / p->low, u);
        if (!use[i])
            continue;
        char *set = ret->set[ret->n++];
        int at = snprintf(set, TUNE_SET_MAX, "%s=", p->key);
        write_value(kind_of(p->key), v, set + at, TUNE_SET_MAX - (size_t)at);
    }
}

/* ---- rungs ---- */

enum { KEEP_ONE_OF = 3 };

size_t tune_rungs(uint32_t trials, struct tune_rung ret[TUNE_RUNGS_MAX]) {
    size_t n = 0;
    for (uint32_t left = MAX(trials, 1u); n < TUNE_RUNGS_MAX;) {
        ret[n++].n = left;
        if (left <= KEEP_ONE_OF)
            break;
        left = (left + KEEP_ONE_OF - 1) / KEEP_ONE_OF;
    }
    double share = 1;
    for (size_t i = n; i-- > 0; share /= KEEP_ONE_OF)
        ret[i].share = share;
    return n;
}

void tune_span(size_t first, size_t n, double share, size_t *ret_begin, size_t *ret_end) {
    *ret_begin = first - (size_t)((double)first * share);
    *ret_end = first + (size_t)ceil((double)(n - first) * share);
}

/* ---- state ---- */

struct result {
    uint32_t trial, rung;
    double value;
};

struct tune_state {
    FILE *file;
    struct result *v;
    size_t n, cap;
};

static int remember(struct tune_state *s, struct result r) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 64;
        struct result *v = reallocarray(s->v, cap, sizeof *v);
        if (!v)
            return -ENOMEM;
        s->v = v;
        s->cap = cap;
    }
    s->v[s->n++] = r;
    return 0;
}

/* One line; the first names the setup. 1: it was read, 0: it is cut off. */
static int read_line(struct tune_state *s, const char *line, bool first, const char *setup) {
    if (!strchr(line, '\n'))
        return 0;
    json_t *o = json_loads(line, 0, NULL);
    const char *theirs = json_string_value(json_object_get(o, "setup"));
    json_int_t trial = -1, rung = -1;
    double value = 0;
    int r = -EBADMSG;
    if (first && theirs)
        r = strcmp(theirs, setup) == 0 ? 1 : -ESTALE;
    else if (!first &&
             json_unpack(o, "{s:I,s:I,s:F}", "trial", &trial, "rung", &rung, "value", &value) ==
                 0 &&
             trial >= 0 && trial <= UINT32_MAX && rung >= 0 && rung < TUNE_RUNGS_MAX)
        r = remember(s, (struct result){(uint32_t)trial, (uint32_t)rung, value});
    json_decref(o);
    return r == 0 ? 1 : r;
}

static int read_state(struct tune_state *s, const char *setup) {
    autofree(free) char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    off_t whole = 0;
    int r = 1;
    for (bool first = true; r == 1 && (n = getline(&line, &cap, s->file)) > 0; first = false) {
        r = read_line(s, line, first, setup);
        whole += r == 1 ? n : 0;
    }
    if (r < 0)
        return r;
    if (ferror(s->file) || ftruncate(fileno(s->file), whole) < 0 ||
        fseeko(s->file, whole, SEEK_SET) < 0)
        return -EIO;
    return whole > 0;
}

int tune_state_open(const char *path, uint64_t setup, struct tune_state **ret) {
    autofree(tune_state_close) struct tune_state *s = calloc(1, sizeof *s);
    char name[17];
    if (!s)
        return -ENOMEM;
    snprintf(name, sizeof name, "%016llx", (unsigned long long)setup);
    s->file = fopen(path, "r+");
    if (!s->file && errno == ENOENT)
        s->file = fopen(path, "w+");
    if (!s->file)
        return -errno;
    int r = read_state(s, name);
    if (r == 0 && (fprintf(s->file, "{\"setup\": \"%s\"}\n", name) < 0 || fflush(s->file)))
        r = -EIO;
    if (r < 0)
        return r;
    *ret = TAKE(s);
    return 0;
}

void tune_state_close(struct tune_state *s) {
    if (!s)
        return;
    if (s->file)
        fclose(s->file);
    free(s->v);
    free(s);
}

bool tune_state_get(const struct tune_state *s, uint32_t trial, uint32_t rung, double *ret) {
    for (size_t i = 0; i < s->n; i++)
        if (s->v[i].trial == trial && s->v[i].rung == rung) {
            *ret = s->v[i].value;
            return true;
        }
    return false;
}

int tune_state_put(struct tune_state *s, uint32_t trial, uint32_t rung, double value) {
    int err = remember(s, (struct result){trial, rung, value});
    if (err == 0 && (fprintf(s->file, "{\"trial\": %u, \"rung\": %u, \"value\": %.17g}\n", trial,
                             rung, value) < 0 ||
                     fflush(s->file)))
        err = -EIO;
    return err;
}

size_t tune_state_n(const struct tune_state *s) {
    return s->n;
}
