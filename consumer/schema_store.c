#include "consumer/schema_store.h"

#include <dirent.h>
#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/registry.h"

enum source { FOLDER, BUILTIN, REGISTRY };

struct entry {
    int32_t id;
    enum source source;
    struct schema *schema; /* NULL: `err` tells why */
    char err[160];
};

struct schema_store {
    struct registry *registry; /* NULL: none */
    struct entry *entry;
    size_t n, cap;
};

struct str builtin_schema(int32_t id) {
    for (size_t i = 0; i < n_builtin_schemas; i++)
        if (builtin_schemas[i].id == id)
            return builtin_schemas[i].text;
    return (struct str){0};
}

static struct entry *find(const struct schema_store *s, int32_t id, enum source source) {
    for (size_t i = 0; i < s->n; i++)
        if (s->entry[i].id == id && s->entry[i].source == source)
            return &s->entry[i];
    return NULL;
}

/* Parses and keeps a schema, good or bad. */
static int add(struct schema_store *s, int32_t id, enum source source, struct str text,
               struct entry **ret) {
    if (s->n == s->cap) {
        size_t cap = s->cap ? 2 * s->cap : 16;
        struct entry *e = realloc(s->entry, cap * sizeof *e);
        if (!e)
            return -ENOMEM;
        s->entry = e;
        s->cap = cap;
    }
    struct entry *e = &s->entry[s->n];
    *e = (struct entry){.id = id, .source = source};
    int rc = schema_parse(text, e->err, &e->schema);
    if (rc == -ENOMEM)
        return rc;
    s->n++;
    *ret = e;
    return 0;
}

static int read_file(const char *path, struct buf *out) {
    FILE *f = fopen(path, "re");
    if (!f)
        return -errno;
    char block[4096];
    size_t n;
    while ((n = fread(block, 1, sizeof block, f)) > 0 && out->n <= SCHEMA_TEXT_MAX)
        buf_put(out, block, n);
    int rc = ferror(f) ? -EIO : out->failed ? -ENOMEM : 0;
    fclose(f);
    return rc;
}

/* The id of "ID.avsc", or -1. */
static int32_t id_of(const char *name) {
    char *end;
    errno = 0;
    long id = strtol(name, &end, 10);
    return name[0] >= '0' && name[0] <= '9' && strcmp(end, ".avsc") == 0 && !errno &&
                   id <= INT32_MAX
               ? (int32_t)id
               : -1;
}

static int load_one(struct schema_store *s, const char *dir, const char *name, int32_t id) {
    autofree(free) char *path = NULL;
    struct buf text = {0};
    struct entry *e = NULL;
    if (asprintf(&path, "%s/%s", dir, name) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    int rc = read_file(path, &text);
    if (rc)
        fprintf(stderr, "%s: %s\n", path, strerror(-rc));
    else
        rc = add(s, id, FOLDER, (struct str){(char *)text.p, text.n}, &e);
    if (!rc && !e->schema) {
        fprintf(stderr, "%s: not an Avro schema: %s\n", path, e->err);
        rc = -EINVAL;
    }
    buf_free(&text);
    return rc;
}

static int load_dir(struct schema_store *s, const char *dir) {
    DIR *d = opendir(dir);
    if (!d) {
        fprintf(stderr, "topics.schema_dir: %s: %s\n", dir, strerror(errno));
        return -EINVAL;
    }
    int rc = 0;
    size_t found = 0;
    for (struct dirent *f; (f = readdir(d));) {
        int32_t id = id_of(f->d_name);
        if (id < 0)
            continue;
        int one = load_one(s, dir, f->d_name, id);
        found++;
        rc = rc ? rc : one;
    }
    closedir(d);
    if (!found) {
        fprintf(stderr, "topics.schema_dir: %s holds no file named ID.avsc\n", dir);
        rc = -EINVAL;
    }
    return rc == -ENOMEM || rc == 0 ? rc : -EINVAL;
}

int schema_store_new(const struct config *cfg, struct schema_store **ret) {
    autofree(schema_store_free) struct schema_store *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    if (cfg->topics_schema_dir && *cfg->topics_schema_dir) {
        int rc = load_dir(s, cfg->topics_schema_dir);
        if (rc)
            return rc;
    }
    if (cfg->topics_registry && *cfg->topics_registry) {
        int rc = registry_open(cfg->topics_registry, cfg->topics_registry_timeout, &s->registry);
        if (rc == -EINVAL)
            fprintf(stderr, "topics.registry: not an http or https URL\n");
        if (rc)
            return rc;
    }
    *ret = TAKE(s);
    return 0;
}

void schema_store_free(struct schema_store *s) {
    if (!s)
        return;
    for (size_t i = 0; i < s->n; i++)
        schema_free(s->entry[i].schema);
    free(s->entry);
    registry_close(s->registry);
    free(s);
}

int schema_store_get(struct schema_store *s, int32_t id, bool local, char err[160],
                     const struct schema **ret) {
    enum source source = s->registry && !local ? REGISTRY : BUILTIN;
    struct entry *e = find(s, id, FOLDER);
    if (!e)
        e = find(s, id, source);
    if (!e) {
        struct str text = builtin_schema(id);
        int rc = source == REGISTRY ? registry_schema(s->registry, id, clock_mono_us(), err, &text)
                 : text.n           ? 0
                                    : -ENOENT;
        if (rc == 0)
            rc = add(s, id, source, text, &e);
        if (rc)
            return rc;
    }
    if (!e->schema) {
        snprintf(err, 160, "%s", e->err);
        return -EINVAL;
    }
    *ret = e->schema;
    return 0;
}
