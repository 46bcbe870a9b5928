/* Names of categories by key. A key is a hash of the name alone, so that it means the
 * same in every process and profile; of two names with one hash the later one is known
 * by the name of the first. */
#include "model/internal.h"

static struct str key_bytes(const void *owner, uint32_t row) {
    const struct categories *c = owner;
    return (struct str){(const char *)&c->key[row], sizeof c->key[row]};
}

static uint32_t key_of(struct str name) {
    uint32_t key = (uint32_t)hash_str(name, 0);
    return key ? key : 1;
}

int categories_init(struct model *m) {
    return id_index_init(&m->categories.index, m->hash_seed, key_bytes, &m->categories);
}

void categories_done(struct model *m) {
    struct categories *c = &m->categories;
    for (uint32_t i = 0; i < c->n; i++)
        free((void *)(uintptr_t)c->name[i].p);
    free(c->name);
    free(c->key);
    id_index_done(&c->index);
}

static uint32_t find(const struct categories *c, uint32_t key) {
    return id_index_find(&c->index, (struct str){(const char *)&key, sizeof key});
}

uint32_t categories_add(struct model *m, struct str name) {
    struct categories *c = &m->categories;
    uint32_t key = key_of(name);
    if (name.n == 0)
        return 0;
    if (find(c, key) != INDEX_NONE)
        return key;
    if (c->n == c->cap) {
        uint32_t cap = c->cap ? 2 * c->cap : 64;
        struct str *names = realloc(c->name, cap * sizeof *names);
        if (!names)
            return 0;
        c->name = names;
        uint32_t *keys = realloc(c->key, cap * sizeof *keys);
        if (!keys)
            return 0;
        c->key = keys;
        c->cap = cap;
    }
    char *copy = malloc(name.n);
    if (!copy)
        return 0;
    memcpy(copy, name.p, name.n);
    c->key[c->n] = key;
    c->name[c->n] = (struct str){copy, name.n};
    if (id_index_add(&c->index, (struct str){(const char *)&key, sizeof key}, c->n) < 0) {
        free(copy);
        return 0;
    }
    c->n++;
    return key;
}

struct str model_category_name(const struct model *m, uint32_t key) {
    uint32_t row = find(&m->categories, key);
    return row == INDEX_NONE ? STR("") : m->categories.name[row];
}

uint32_t model_category_key(const struct model *m, struct str name) {
    uint32_t key = key_of(name);
    return name.n && find(&m->categories, key) != INDEX_NONE ? key : 0;
}
