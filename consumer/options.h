/* The configuration: one table (options.def), one YAML file, overridden by the
 * command line. */
#pragma once

#include "model/event.h"

enum data_format { FORMAT_CONFLUENT, FORMAT_AVRO, FORMAT_JSON };
enum guarantee { EXACTLY_ONCE, AT_LEAST_ONCE };
enum consent_default { CONSENT_DENIED, CONSENT_GRANTED };

struct key_value {
    char *key, *value;
    int line; /* in the file; 0: command line */
};

struct config {
#define SECTION(name, help)
#define X(kind, field, ...) OPTION_TYPE_##kind field;
#define OPTION_TYPE_INT int64_t
#define OPTION_TYPE_NUM double
#define OPTION_TYPE_BOOL bool
#define OPTION_TYPE_STR char *
#define OPTION_TYPE_MS int64_t
#define OPTION_TYPE_BYTES int64_t
#define OPTION_TYPE_ENUM int
#include "consumer/options.def"
#undef SECTION
#undef X
    struct key_value *kafka; /* `kafka:` section: librdkafka properties, passed through */
    size_t n_kafka;
    /* `events:` section: weight per type; names that are not built in define custom
     * types, which get the ids from EV_BUILTIN on in this order. */
    size_t n_custom;
    char *custom_name[EV_MAX];
    float type_weight[EV_MAX];
    struct key_value *raw; /* ${file:…} and ${env:…} as written, by full key */
    size_t n_raw;
    char *path; /* of the file read, or NULL */
};

/* Reads `path` (NULL: defaults only), then applies overrides ("section.key=value",
 * also "kafka.some.property=value" and "events.type=weight"). Every fault is printed
 * to stderr with file, line, key and what to change. 0, or -EINVAL after printing
 * them all, -ENOMEM, or the error of opening the file (printed too). A text that is
 * ${file:/path} or ${env:NAME} as a whole is replaced by the file's content (without
 * trailing newlines) or the environment variable. */
int config_load(const char *path, char *const *overrides, size_t n, struct config **ret);
void config_free(struct config *c);
DEFINE_CLEANUP(struct config, config_free)

/* Prints the effective configuration as a YAML file that config_load reads back;
 * with `comments`, each key with its help, bounds and default (the sample file).
 * Values of kafka properties that hold secrets, and passwords in URLs, are printed as ****, which
 * config_load refuses; ${file:/path} and ${env:NAME} are printed as they were written. */
#include <stdio.h>
void config_print(const struct config *c, bool comments, FILE *to);

/* Type id by name (built in or custom), EV_UNKNOWN if none; and the reverse. */
uint8_t config_event_type(const struct config *c, struct str name);
/* The same for data: also as an enum's symbol has to be written, ADD_TO_CART. */
uint8_t config_event_type_written(const struct config *c, struct str name);
const char *config_event_name(const struct config *c, uint8_t type);
