/* Between the parts of the loader: options_load.c (keys and their values) and options_yaml.c
 * (the file they stand in). */
#pragma once

#include <librdkafka/rdkafka.h>

#include "consumer/options_table.h"

enum {
    LINE_COMMAND = 0,
    LINE_DEFAULT = -1
}; /* where a key was set, if not in a line of the file */

struct said { /* one line of what is wrong */
    int line;
    size_t number; /* in which order they were found */
    char *text;
};

struct loader {
    struct config *c;
    const char *name; /* of the file */
    FILE *faults;
    size_t n_faults;
    struct said *said; /* until all is read: then they come in the order of the file's lines */
    size_t n_said;
    int *line; /* where each option was set, parallel to options[] */
    int weight_line[EV_MAX];
    rd_kafka_conf_t *kafka; /* thrown away; librdkafka checks the properties on it */
    bool no_memory;
};

/* Tells of a fault in a line (or LINE_…); `key` NULL: of none in particular. */
void fault_at(struct loader *l, int line, const char *key, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
/* Sets "section.key" from its text, or tells of a fault. */
void set_key(struct loader *l, int line, const char *full, const char *text);
/* Every key of a file, with set_key. */
void read_yaml(struct loader *l, const char *text, size_t n);
