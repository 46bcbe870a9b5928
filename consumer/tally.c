#include "consumer/tally.h"

#include <stdarg.h>
#include <stdio.h>

static struct tally_entry *find(struct tally *t, const char *key) {
    for (size_t k = 0; k < t->n; k++) {
        size_t i = (t->next + k) % t->n;
        if (strcmp(t->e[i].key, key) == 0) {
            t->next = i + 1;
            return &t->e[i];
        }
    }
    return NULL;
}

static struct tally_entry *add(struct tally *t, const char *key) {
    if (t->n == t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 64;
        struct tally_entry *p = reallocarray(t->e, cap, sizeof *p);
        if (!p) {
            t->failed = true;
            return NULL;
        }
        t->e = p;
        t->cap = cap;
    }
    struct tally_entry *e = &t->e[t->n++];
    snprintf(e->key, sizeof e->key, "%s", key);
    return e;
}

void tally_put(struct tally *t, const char *key, const char *fmt, ...) {
    struct tally_entry *e = add(t, key);
    if (!e)
        return;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(e->value, sizeof e->value, fmt, ap);
    va_end(ap);
}

const char *tally_get(struct tally *t, const char *key) {
    const struct tally_entry *e = find(t, key);
    return e ? e->value : NULL;
}

static bool ends_with(const char *key, const char *end) {
    size_t n = strlen(key), m = strlen(end);
    return n >= m && strcmp(key + n - m, end) == 0;
}

static bool largest_counts(const char *key) {
    static const char *const alike[] = {"uptime_s", "items", "bytes_per_item", "bytes_per_user",
                                        "ranker_loss"};
    for (size_t i = 0; i < ARRAY_LEN(alike); i++)
        if (strcmp(key, alike[i]) == 0)
            return true;
    return ends_with(key, "_p50") || ends_with(key, "_p99");
}

void tally_merge(struct tally *t, const char *key, const char *value) {
    struct tally_entry *e = find(t, key);
    if (!e) {
        tally_put(t, key, "%s", value);
        return;
    }
    bool add = !largest_counts(key);
    if (add && (strchr(e->value, '.') || strchr(value, '.')))
        snprintf(e->value, sizeof e->value, "%.2f", strtod(e->value, NULL) + strtod(value, NULL));
    else if (add)
        snprintf(e->value, sizeof e->value, "%lld",
                 strtoll(e->value, NULL, 10) + strtoll(value, NULL, 10));
    else if (strtod(value, NULL) > strtod(e->value, NULL))
        snprintf(e->value, sizeof e->value, "%s", value);
}

void tally_write(const struct tally *t, struct cache *c, const char *name, struct str tag,
                 int64_t ttl_ms, const char *but) {
    autofree(free) struct key_value *kv = calloc(t->n + 1, sizeof *kv);
    size_t n = 0, skip = strlen(but);
    if (!kv || t->failed)
        return;
    for (size_t i = 0; i < t->n; i++)
        if (!skip || strncmp(t->e[i].key, but, skip) != 0)
            kv[n++] = (struct key_value){.key = t->e[i].key, .value = t->e[i].value};
    cache_hash(c, name, tag, kv, n, ttl_ms);
}

void tally_clear(struct tally *t) {
    t->n = t->next = 0;
    t->failed = false;
}

void tally_free(struct tally *t) {
    free(t->e);
    *t = (struct tally){0};
}
