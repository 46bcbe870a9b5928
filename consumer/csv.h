/* CSV (RFC 4180, header line) and JSON-lines files, gzip or not, as records of named
 * fields, streamed; what `load` and `replay` read. */
#pragma once

#include "consumer/decode.h"
#include "consumer/options.h"

struct table_file;
/* Format by content: '{' first means JSON lines, else CSV. "-": standard input. Prints and
 * returns -errno when it cannot be opened or has no header.
 * CSV: quoted fields may hold commas, quotes ("") and line ends; line ends are LF or CRLF; empty
 * lines are passed over; a repeated column name gets its number (price, price_2).
 * JSON: one object per line; inner objects become columns like context.country, lists are
 * joined by '|', null is empty; columns join as they are first seen. */
int table_open(const char *path, struct table_file **ret);
void table_close(struct table_file *t);
DEFINE_CLEANUP(struct table_file, table_close)
/* Next record: 1, 0 at the end, -EBADMSG for a broken one (skip it and go on; table_error
 * tells), -EIO once when the rest of the file cannot be read (damaged gzip; then 0). */
int table_next(struct table_file *t);
/* Of the current record; empty: absent. Borrowed until the next table_next. */
struct str table_get(const struct table_file *t, struct str column);
size_t table_columns(const struct table_file *t);
struct str table_column(const struct table_file *t, size_t i); /* the name; lives as long as `t` */
struct str table_value(const struct table_file *t, size_t i);
struct str table_row(const struct table_file *t); /* the record's own bytes, to hash */
uint64_t table_line(const struct table_file *t);  /* where the current (or broken) record begins */
const char *
table_error(const struct table_file *t); /* "12 fields where the header has 11"; no line */
const char *table_path(const struct table_file *t);
/* Differs for every table opened: for those who remember what its columns mean. */
uint64_t table_serial(const struct table_file *t);
/* Compressed bytes read and in all (0: unknown), for a progress bar. */
uint64_t table_bytes_read(const struct table_file *t);
uint64_t table_bytes_total(const struct table_file *t);

/* How columns become event fields. --map column=field (fields: id, user, item, type, time,
 * session, value, dwell, query, decision, or context.NAME; no field drops the column),
 * --type-map value=type or value=type:field (what stands as item is moved to that field: searches
 * that log their words in the item column; no type drops the row), --set field=value (whatever
 * the file says). Each is split at its last '='.
 * Defaults fit the column names ts_ms,user_id,session_id,type,item_id,value; other columns become
 * context. Catalogue fields: item (or id), category, brand, price, tags, description, available,
 * margin, dense, restricted, adult, sensitive, no_discount, deleted. Control fields: user, tz,
 * consent.CHANNEL, deleted. */
struct field_map;
int field_map_new(const struct config *cfg, char *const *maps, size_t n_maps,
                  char *const *type_maps, size_t n_type_maps, char *const *sets, size_t n_sets,
                  struct field_map **ret); /* prints faults */
void field_map_free(struct field_map *m);
DEFINE_CLEANUP(struct field_map, field_map_free)
/* What numbers in the time column count: "s", "ms" (at first) or "us". Dates (ISO 8601,
 * UTC unless they say otherwise) are known by their form. Prints and returns -EINVAL. */
int field_map_time_unit(struct field_map *m, const char *unit);
/* The current record as an event (strings borrowed until the next table_next); no event id in the
 * file: derived from path, line and content. Types: name or id unknown → EV_UNKNOWN;
 * ret_type_name is the text (NUL-terminated), for re-encoding. A time that is missing or not one
 * is INT64_MIN, a number that is not one is infinite, so that validation refuses them.
 * Returns 1, or 0 when the type map drops the row. */
int field_map_event(struct field_map *m, const struct table_file *t, struct event *ret,
                    struct str *ret_type_name);
/* And as a catalogue record: item_id (or id), category (path split at '/' or '|'), brand, price,
 * tags (a|b|c), description, available, margin, dense (numbers separated by spaces, '|' or ',').
 * 0, or -EBADMSG (field_map_error tells). */
int field_map_item(struct field_map *m, const struct table_file *t, struct item_info *ret);
/* And as a control record: user_id, tz, consent.CHANNEL (true or false), deleted. As above. */
int field_map_control(struct field_map *m, const struct table_file *t, struct control_info *ret);
const char *field_map_error(const struct field_map *m);
