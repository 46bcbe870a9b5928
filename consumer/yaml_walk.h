/* A YAML document against tables of keys: what is unknown, missing, set twice or of the wrong
 * kind is a fault with its line and path, and all faults are found in one go. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <yaml.h>

struct yaml_fault {
    int line;         /* 1-based */
    char *key, *text; /* path of the key, what is wrong and what to write; owned */
};

struct yaml_walk {
    yaml_document_t doc;
    bool loaded;
    bool no_memory;
    char path[256]; /* where the walk is: "campaigns.cart-rescue.trigger" */
    struct yaml_fault *fault;
    size_t n_faults;
};

/* Parses one document. Syntax faults are faults like others; true if there is a root. */
bool walk_load(struct yaml_walk *w, const char *text, size_t n);
void walk_free(struct yaml_walk *w);
void walk_sort(struct yaml_walk *w); /* faults by line */

/* A fault of the key the walk is at, in the node's line. */
void walk_fault(struct yaml_walk *w, const yaml_node_t *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Goes one level down, and back with what it returned. */
size_t walk_enter(struct yaml_walk *w, const char *key);
void walk_leave(struct yaml_walk *w, size_t mark);

const yaml_node_t *walk_node(struct yaml_walk *w, int index);
/* The scalar's text, NULL if it is none (no fault). */
const char *walk_text(const yaml_node_t *node);
/* The same with a fault that says what it must be. */
const char *walk_need_text(struct yaml_walk *w, const yaml_node_t *node, const char *what);

struct walk_key {
    const char *name;
    void (*read)(struct yaml_walk *w, const yaml_node_t *value, void *to);
    bool required;
};
/* Reads a mapping: each key by its row. */
void walk_map(struct yaml_walk *w, const yaml_node_t *map, const struct walk_key *keys, size_t n,
              void *to);
/* The value of a key, NULL: absent. */
const yaml_node_t *walk_find(struct yaml_walk *w, const yaml_node_t *map, const char *key);

/* "; did you mean X?" or "" for the nearest of the names. */
const char *walk_suggest(char out[96], const char *typed, const char *const *names, size_t n);
