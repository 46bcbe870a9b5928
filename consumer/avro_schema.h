/* An Avro schema (specification 1.11) parsed from JSON into nodes that decoding walks.
 * Kept apart from avro-c, whose schema tree drops logical types and whose reader copies
 * every string; the tests hold both to the same bytes. */
#pragma once

#include "consumer/arena.h"

enum schema_type {
    AT_NULL,
    AT_BOOLEAN,
    AT_INT,
    AT_LONG,
    AT_FLOAT,
    AT_DOUBLE,
    AT_BYTES,
    AT_STRING,
    AT_FIXED,
    AT_ENUM,
    AT_ARRAY,
    AT_MAP,
    AT_RECORD,
    AT_UNION
};

enum schema_logical { LT_NONE, LT_MILLIS, LT_MICROS, LT_NANOS, LT_OTHER };

struct schema_node {
    uint8_t type;             /* enum schema_type */
    uint8_t logical;          /* enum schema_logical: unit of a timestamp */
    bool measured;            /* min_bytes is known, or about to be */
    uint32_t min_bytes;       /* no value is shorter; 0: every value is empty */
    size_t n;                 /* fields, symbols, branches or (array, map) 1 */
    struct schema_node **kid; /* of fields, branches, items or values */
    struct str *name;         /* of fields or symbols */
    struct str full_name;     /* records, enums, fixed */
    size_t size;              /* fixed */
};

struct schema {
    struct schema_node *root;
    struct arena arena; /* holds the nodes */
};

enum { SCHEMA_TEXT_MAX = 1 << 20, SCHEMA_DEPTH_MAX = 64, SCHEMA_NODES_MAX = 20000 };

/* Several schemas may follow one another: the last one is meant, those before it define names
 * that it uses. 0; -EINVAL with a line in `err` for people; -ENOMEM. */
int schema_parse(struct str text, char err[160], struct schema **ret);
void schema_free(struct schema *s);
DEFINE_CLEANUP(struct schema, schema_free)
const char *schema_type_name(uint8_t type);
/* Whether values of one are written exactly like values of the other: same types, field
 * names and symbols in the same order. */
bool schema_same(const struct schema *a, const struct schema *b);
