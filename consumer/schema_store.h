/* Writer schemas by id: from a folder (topics.schema_dir), a registry (topics.registry), or,
 * where there is no registry, the built-in ones of deploy/schemas. One store per thread. */
#pragma once

#include "consumer/avro_schema.h"
#include "consumer/options.h"

/* Ids of the built-in schemas, and what plain Avro is written with. */
enum {
    SCHEMA_EVENT = 1,
    SCHEMA_ITEM,
    SCHEMA_TRIGGER,
    SCHEMA_DECISION,
    SCHEMA_LETTER,
    SCHEMA_CONTROL,
    SCHEMA_OUTCOME
};

struct builtin_schema {
    int32_t id;
    struct str text;
};
extern const struct builtin_schema builtin_schemas[];
extern const size_t n_builtin_schemas;
struct str builtin_schema(int32_t id); /* empty: none */

struct schema_store;
/* Reads the folder; what cannot be read is printed to stderr, -EINVAL. */
int schema_store_new(const struct config *cfg, struct schema_store **ret);
void schema_store_free(struct schema_store *s);
DEFINE_CLEANUP(struct schema_store, schema_store_free)

/* The schema lives as long as the store. 0; -ENOENT (nobody knows the id), -EINVAL (no Avro
 * schema; `err` filled), -EAGAIN (the registry does not answer now), -ENOMEM. `local`: of plain
 * Avro, whose ids are not the registry's. */
int schema_store_get(struct schema_store *s, int32_t id, bool local, char err[160],
                     const struct schema **ret);
