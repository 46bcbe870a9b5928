/* A writer's schema compiled against the fields Beckon reads: a flat list of steps, one per
 * writer field, that carries a record's bytes into a struct without allocating (only whole
 * numbers that serve as ids, and embeddings, are copied into the arena).
 *
 * Resolution follows the Avro specification (fields by name, then by the reader's aliases;
 * unknown ones skipped, absent ones left as they are; numeric promotions, string and bytes
 * alike, unions in any order), and is more lenient where producers differ: the record's own
 * name does not matter, whole numbers serve as ids, an enum as its name, and timestamps may
 * be in ms, µs or ns. */
#pragma once

#include "consumer/avro_schema.h"
#include "consumer/fields.h"

struct plan;
/* 0; -EINVAL with `why` filled (incompatible-schema) if the schema cannot be read so; -ENOMEM.
 * The plan borrows the schema. */
int plan_new(const struct schema *writer, const struct field_table *fields, struct dead *why,
             struct plan **ret);
void plan_free(struct plan *p);
DEFINE_CLEANUP(struct plan, plan_free)

/* Reads one record that fills the bytes exactly. DEAD_NONE, or TRUNCATED, MALFORMED, VALUE
 * (NaN), FIELD (does not fit) or SCHEMA (a union branch of no use) with `why` filled. */
enum dead_reason plan_run(const struct plan *p, const void *bytes, size_t n, struct arena *arena,
                          void *record, struct dead *why);
