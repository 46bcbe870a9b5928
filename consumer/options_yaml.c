/* The configuration file: sections of keys, each with its line. */
#include <limits.h>

#include "consumer/log.h"
#include "consumer/nearest.h"
#include "consumer/options_loader.h"
#include "consumer/yaml_walk.h"

static int line_of(const yaml_node_t *n) {
    return (int)MIN(n->start_mark.line, (size_t)INT_MAX - 1) + 1;
}

/* The scalar's text; NULL if it is none or holds a NUL byte. */
static const char *scalar(const yaml_node_t *n) {
    if (n->type != YAML_SCALAR_NODE ||
        strlen((const char *)n->data.scalar.value) != n->data.scalar.length)
        return NULL;
    return (const char *)n->data.scalar.value;
}

/* YAML's ways to write "nothing" unquoted. */
static bool is_null(const yaml_node_t *n) {
    const char *s = scalar(n);
    return s && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
           (!*s || !strcmp(s, "~") || !strcmp(s, "null"));
}

static bool known_section(const char *name) {
    for (size_t i = 0; i < n_option_sections; i++)
        if (strcmp(option_sections[i].name, name) == 0)
            return true;
    return strcmp(name, "kafka") == 0 || strcmp(name, "events") == 0;
}

static void unknown_section(struct loader *l, int line, const char *name) {
    const char *dot = strchr(name, '.');
    autofree(free) char *head = strndup(name, dot ? (size_t)(dot - name) : strlen(name));
    if (!head) {
        l->no_memory = true;
        return;
    }
    if (dot && known_section(head)) {
        fault_at(l, line, name, "in a file, write %s: under %s:", log_q(dot + 1), head);
        return;
    }
    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(strchr(options[i].key, '.') + 1, name) == 0) {
            fault_at(l, line, name, "unknown section; %s belongs under a section, as in %s", name,
                     options[i].key);
            return;
        }
    }
    struct nearest near = {.word = name};
    for (size_t i = 0; i < n_option_sections; i++)
        nearest_offer(&near, option_sections[i].name);
    nearest_offer(&near, "kafka");
    nearest_offer(&near, "events");
    if (near.best) {
        fault_at(l, line, name, "unknown section; did you mean %s?", near.best);
        return;
    }
    char all[200] = "";
    for (size_t i = 0; i < n_option_sections; i++) {
        strncat(all, option_sections[i].name, sizeof all - strlen(all) - 1);
        strncat(all, ", ", sizeof all - strlen(all) - 1);
    }
    fault_at(l, line, name, "unknown section; there are %skafka and events", all);
}

static bool duplicate(struct loader *l, yaml_document_t *doc, const yaml_node_t *map,
                      const yaml_node_pair_t *pair, const char *key, const char *full) {
    for (const yaml_node_pair_t *p = map->data.mapping.pairs.start; p < pair; p++) {
        const yaml_node_t *other = yaml_document_get_node(doc, p->key);
        const char *s = scalar(other);
        if (s && strcmp(s, key) == 0) {
            fault_at(l, line_of(yaml_document_get_node(doc, pair->key)), full,
                     "is set twice, in line %d already; remove one", line_of(other));
            return true;
        }
    }
    return false;
}

static void read_section(struct loader *l, yaml_document_t *doc, const char *name,
                         const yaml_node_t *map) {
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *k = yaml_document_get_node(doc, p->key),
                          *v = yaml_document_get_node(doc, p->value);
        const char *key = scalar(k);
        if (!key) {
            fault_at(l, line_of(k), name, "a key must be a plain word");
            continue;
        }
        autofree(free) char *full = NULL;
        if (asprintf(&full, "%s.%s", name, key) < 0) {
            full = NULL;
            l->no_memory = true;
            return;
        }
        if (duplicate(l, doc, map, p, key, full))
            continue;
        const char *text = scalar(v);
        if (!text)
            fault_at(l, line_of(v), full, "must be one value, found %s",
                     v->type == YAML_MAPPING_NODE    ? "a group of keys"
                     : v->type == YAML_SEQUENCE_NODE ? "a list"
                                                     : "a NUL byte");
        else
            set_key(l, line_of(k), full, is_null(v) ? "" : text);
    }
}

static void read_document(struct loader *l, yaml_document_t *doc) {
    const yaml_node_t *root = yaml_document_get_root_node(doc);
    if (is_null(root))
        return; /* an empty file: the defaults */
    if (root->type != YAML_MAPPING_NODE) {
        fault_at(l, line_of(root), NULL, "must hold sections, as in\n  model:\n    dim: 64");
        return;
    }
    for (yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *k = yaml_document_get_node(doc, p->key),
                          *v = yaml_document_get_node(doc, p->value);
        const char *name = scalar(k);
        if (!name)
            fault_at(l, line_of(k), NULL, "the name of a section must be a plain word");
        else if (!known_section(name))
            unknown_section(l, line_of(k), name);
        else if (duplicate(l, doc, root, p, name, name) || is_null(v))
            continue;
        else if (v->type != YAML_MAPPING_NODE)
            fault_at(l, line_of(k), name, "is a section: its keys go below it, indented");
        else
            read_section(l, doc, name, v);
    }
}

void read_yaml(struct loader *l, const char *text, size_t n) {
    struct yaml_walk w;
    bool any = walk_load(&w, text, n);
    for (size_t i = 0; i < w.n_faults; i++)
        fault_at(l, w.fault[i].line, NULL, "%s", w.fault[i].text);
    l->no_memory |= w.no_memory;
    if (any)
        read_document(l, &w.doc);
    walk_free(&w);
}
