/* The rows of options.def as data: what the loader, the printer and the tests share. */
#pragma once

#include <stdio.h>

#include "consumer/options.h"

enum option_kind {
    OPTION_INT,
    OPTION_NUM,
    OPTION_BOOL,
    OPTION_STR,
    OPTION_MS,
    OPTION_BYTES,
    OPTION_ENUM
};

struct option {
    enum option_kind kind;
    const char *key; /* "section.key" */
    const char *def; /* default, as one would write it */
    const char *help;
    size_t offset;            /* of the field in struct config */
    int64_t min, max;         /* INT; STR: length */
    double num_min, num_max;  /* NUM */
    const char *lo, *hi;      /* MS, BYTES: as written */
    const char *const *names; /* ENUM: NULL-terminated */
};
struct option_section {
    const char *name, *help;
};

extern const struct option options[];
extern const size_t n_options;
extern const struct option_section option_sections[];
extern const size_t n_option_sections;

enum { VALUE_MAX = 64 }; /* bytes of an option's value or bound as text; strings aside */

/* Parses `text` into the option's field of `c`. 0, -ENOMEM, or -EINVAL with `why` saying what
 * was found and what is allowed; the field is left as it was. */
int option_set(const struct option *o, struct config *c, const char *text, char *why, size_t n);
/* The value as one would write it (not for STR). */
void option_format(const struct option *o, const struct config *c, char out[VALUE_MAX]);
/* What the option accepts, for people: "8 to 512", "true or false", … */
void option_allowed(const struct option *o, char *out, size_t n);

/* "250ms", "1.5h", "7d", "0" to milliseconds; "64k", "2g", "512" to bytes (powers of 1024).
 * 0 or -EINVAL. */
int parse_ms(const char *text, int64_t *ret);
int parse_bytes(const char *text, int64_t *ret);
void format_ms(int64_t ms, char out[VALUE_MAX]);

/* Whether a librdkafka property holds a secret. */
bool kafka_secret(const char *key);
#define MASKED "****"

/* config_load over text instead of a file; faults go to `faults`. `name` stands for the file
 * (NULL: no text, defaults only). */
int config_load_text(const char *name, const char *text, size_t n, char *const *overrides,
                     size_t n_overrides, FILE *faults, struct config **ret);

/* Options that do not fit each other, after all were read. fault(ctx, key, …) is called for
 * each, with the key to change. */
typedef void config_fault_fn(void *ctx, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void config_cross_check(const struct config *c, config_fault_fn *fault, void *ctx);
