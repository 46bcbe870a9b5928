/* CSV (RFC 4180, header line) and JSON-lines files, gzip or not, as records of named
 * fields, streamed; what `load` and `replay` read. */
#pragma once

#include "consumer/options.h"

struct table_file;
/* Format by content: '{' first means JSON lines, else CSV. "-": standard input. Prints and
 * returns -errno when it cannot be opened or has no header. */
int table_open(const char *path, struct table_file **ret);
void table_close(struct table_file *t);
DEFINE_CLEANUP(struct table_file, table_close)
/* Next record: 1, 0 at the end, -EBADMSG for a broken one (skip it and go on; table_error tells). */
int table_next(struct table_file *t);
struct str table_get(const struct table_file *t, struct str column); /* of the current record; empty: absent */
size_t table_columns(const struct table_file *t);
struct str table_column(const struct table_file *t, size_t i);
struct str table_value(const struct table_file *t, size_t i);
uint64_t table_line(const struct table_file *t);
const char *table_error(const struct table_file *t);
/* Compressed bytes read and in all (0: unknown), for a progress bar. */
uint64_t table_bytes_read(const struct table_file *t);
uint64_t table_bytes_total(const struct table_file *t);

/* How columns become event fields. --map column=field (fields: id, user, item, type, time,
 * session, value, dwell, query, decision, or context.NAME), --type-map value=type, --set field=value.
 * Defaults fit the column names ts_ms,user_id,session_id,type,item_id,value; other columns become context. */
struct field_map;
int field_map_new(const struct config *cfg, char *const *maps, size_t n_maps, char *const *type_maps,
                  size_t n_type_maps, char *const *sets, size_t n_sets, struct field_map **ret); /* prints faults */
void field_map_free(struct field_map *m);
DEFINE_CLEANUP(struct field_map, field_map_free)
/* The current record as an event (strings borrowed until the next table_next); no event id in the
 * file: derived from path and line. Types: name or id unknown → EV_UNKNOWN; ret_type_name is the text, for re-encoding. */
void field_map_event(struct field_map *m, const struct table_file *t, struct event *ret, struct str *ret_type_name);
/* And as a catalogue record: item_id (or id), category (path split at '/' or '|'), brand, price, tags (a|b|c),
 * description, available, margin, dense (numbers separated by spaces). */
int field_map_item(struct field_map *m, const struct table_file *t, struct item_info *ret);
