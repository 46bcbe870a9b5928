/* A table (csv.h) read whole, for what needs all rows at once: columns of codes, each code with its
 * text and, where it is one, its number. Errors name command, file, line and column. */
#pragma once

#include "consumer/csv.h"
#include "model/index.h"

struct frame_column {
    char *name;
    uint32_t *code;  /* [n] what the row has; 0: empty */
    size_t n_values; /* codes are below it */
    struct str *value;
    double *number; /* by code; NAN: not a number */
    bool numeric;   /* every value that is there is a number, and one is */
    size_t room;
    struct id_index index;
    struct id_arena arena;
};

struct frame {
    const char *path; /* borrowed */
    size_t n, n_columns;
    struct frame_column *column;
    uint64_t *line;
    uint64_t broken; /* rows left out */
};

/* Reads a file with progress; broken rows are counted and the first is told on stderr. Prints and
 * returns -errno; -ENODATA if there is no row. `command`: "beckon ope", for what is printed. */
int frame_read(const char *command, const char *path, struct frame **ret);
void frame_free(struct frame *f);
DEFINE_CLEANUP(struct frame, frame_free)

/* NULL: no such column. */
const struct frame_column *frame_find(const struct frame *f, struct str name);
/* As frame_find, but prints what is there, and what was perhaps meant, and how to say it. */
const struct frame_column *frame_need(const char *command, const struct frame *f, const char *name,
                                      const char *hint);
/* Columns whose name a pattern fits ("age", or "context.*" for all that begin so), appended to
 * ret[max] unless already there; prints and returns -EINVAL if it fits none. */
int frame_match(const char *command, const struct frame *f, const char *pattern,
                const struct frame_column **ret, size_t max, size_t *ret_n);

/* Keeps the rows that have `value` in `column`, for each "column=value". Prints; -EINVAL, or
 * -ENODATA if none is left. */
int frame_filter(const char *command, struct frame *f, char *const *where, size_t n);

/* Row k becomes what row[k] was: rows may be left out or repeated. 0, -ENOMEM. */
int frame_order(struct frame *f, const size_t *row, size_t n);

/* What a column is to a command: found by "--map column=role", else by the first of its usual names
 * that is there. */
struct frame_role {
    const char *name;
    const char *usual[5];
    const char *missing; /* what to do when a needed one is not there; NULL: it is not needed */
    const struct frame_column *column; /* found, or NULL */
};
/* Prints and returns -EINVAL for a needed role without a column or a map that names nothing. */
int frame_roles(const char *command, const struct frame *f, char *const *maps, size_t n_maps,
                struct frame_role *roles, size_t n_roles);
/* The number in a row, within bounds; `empty` where there is nothing. Prints and returns -EINVAL if
 * it is none. */
int frame_bounded(const char *command, const struct frame *f, const struct frame_column *c,
                  size_t row, double empty, double min, double max, double *ret);

struct str frame_text(const struct frame_column *c, size_t row);
double frame_number(const struct frame_column *c, size_t row);
/* The code of a text in this column; 0: never there. */
uint32_t frame_code(const struct frame_column *c, struct str text);
