#include "consumer/yaml_walk.h"

#include <stdarg.h>
#include <stdio.h>

#include "consumer/nearest.h"
#include "model/base.h"

static void add_fault(struct yaml_walk *w, int line, const char *fmt, va_list ap) {
    struct yaml_fault *grown = realloc(w->fault, (w->n_faults + 1) * sizeof *grown);
    if (!grown) {
        w->no_memory = true;
        return;
    }
    w->fault = grown;
    autofree(free) char *text = NULL, *key = strdup(w->path);
    if (vasprintf(&text, fmt, ap) < 0 || !key) {
        w->no_memory = true;
        return;
    }
    w->fault[w->n_faults++] = (struct yaml_fault){line, TAKE(key), TAKE(text)};
}

void walk_fault(struct yaml_walk *w, const yaml_node_t *node, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    add_fault(w, node ? (int)node->start_mark.line + 1 : 1, fmt, ap);
    va_end(ap);
}

static void syntax_fault(struct yaml_walk *w, int line, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void syntax_fault(struct yaml_walk *w, int line, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    add_fault(w, line, fmt, ap);
    va_end(ap);
}

static void syntax(struct yaml_walk *w, const yaml_parser_t *p, const char *read, size_t n) {
    bool flow = p->context && strstr(p->context, "flow");
    bool tab = p->problem && strstr(p->problem, "cannot start any token");
    int line = (int)p->problem_mark.line + 1;
    if (p->error == YAML_READER_ERROR) /* knows bytes only */
        for (size_t i = 0; i < MIN(p->problem_offset, n); i++)
            line += read[i] == '\n';
    if (p->error == YAML_MEMORY_ERROR)
        w->no_memory = true;
    else
        syntax_fault(w, line, "not YAML: %s%s%s%s", p->problem ? p->problem : "cannot be read",
                     p->context ? " " : "", p->context ? p->context : "",
                     flow ? "; inside [ ] and { } a value with brackets or commas needs quotes, or "
                            "write one per line after `- `"
                     : tab ? "; indent with spaces, not tabs"
                           : "");
}

bool walk_load(struct yaml_walk *w, const char *text, size_t n) {
    yaml_parser_t parser;
    *w = (struct yaml_walk){0};
    if (!yaml_parser_initialize(&parser)) {
        w->no_memory = true;
        return false;
    }
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    w->loaded = yaml_parser_load(&parser, &w->doc);
    if (!w->loaded) {
        syntax(w, &parser, text, n);
    } else if (yaml_document_get_root_node(&w->doc)) {
        yaml_document_t more;
        if (!yaml_parser_load(&parser, &more)) {
            syntax(w, &parser, text, n);
        } else {
            const yaml_node_t *root = yaml_document_get_root_node(&more);
            if (root)
                walk_fault(w, root, "a second document begins here; keep one, without `---`");
            yaml_document_delete(&more);
        }
    }
    yaml_parser_delete(&parser);
    return w->loaded && yaml_document_get_root_node(&w->doc);
}

void walk_free(struct yaml_walk *w) {
    for (size_t i = 0; i < w->n_faults; i++) {
        free(w->fault[i].key);
        free(w->fault[i].text);
    }
    free(w->fault);
    if (w->loaded)
        yaml_document_delete(&w->doc);
    *w = (struct yaml_walk){0};
}

void walk_sort(struct yaml_walk *w) {
    for (size_t i = 1; i < w->n_faults; i++) /* stable, and few */
        for (size_t j = i; j && w->fault[j - 1].line > w->fault[j].line; j--) {
            struct yaml_fault t = w->fault[j];
            w->fault[j] = w->fault[j - 1];
            w->fault[j - 1] = t;
        }
}

size_t walk_enter(struct yaml_walk *w, const char *key) {
    size_t mark = strlen(w->path);
    snprintf(w->path + mark, sizeof w->path - mark, "%s%s", mark ? "." : "", key);
    return mark;
}

void walk_leave(struct yaml_walk *w, size_t mark) {
    w->path[mark] = '\0';
}

const yaml_node_t *walk_node(struct yaml_walk *w, int index) {
    return yaml_document_get_node(&w->doc, index);
}

const char *walk_text(const yaml_node_t *node) {
    if (node->type != YAML_SCALAR_NODE ||
        strlen((const char *)node->data.scalar.value) != node->data.scalar.length)
        return NULL;
    return (const char *)node->data.scalar.value;
}

const char *walk_need_text(struct yaml_walk *w, const yaml_node_t *node, const char *what) {
    const char *text = walk_text(node);
    if (!text || !*text) {
        walk_fault(w, node, "must be %s, found %s", what,
                   text                               ? "nothing"
                   : node->type == YAML_MAPPING_NODE  ? "a group of keys"
                   : node->type == YAML_SEQUENCE_NODE ? "a list"
                                                      : "a NUL byte");
        return NULL;
    }
    return text;
}

const char *walk_suggest(char out[96], const char *typed, const char *const *names, size_t n) {
    struct nearest near = {.word = typed};
    for (size_t i = 0; i < n; i++)
        nearest_offer(&near, names[i]);
    out[0] = '\0';
    if (near.best)
        snprintf(out, 96, "; did you mean %s?", near.best);
    return out;
}

static void unknown_key(struct yaml_walk *w, const yaml_node_t *node, const char *name,
                        const struct walk_key *keys, size_t n) {
    char all[400] = "";
    struct nearest near = {.word = name};
    for (size_t i = 0; i < n; i++) {
        nearest_offer(&near, keys[i].name);
        size_t at = strlen(all);
        snprintf(all + at, sizeof all - at, "%s%s", i ? ", " : "", keys[i].name);
    }
    if (near.best)
        walk_fault(w, node, "unknown key; did you mean %s?", near.best);
    else
        walk_fault(w, node, "unknown key; there are %s", all);
}

const yaml_node_t *walk_find(struct yaml_walk *w, const yaml_node_t *map, const char *key) {
    if (map->type != YAML_MAPPING_NODE)
        return NULL;
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const char *name = walk_text(walk_node(w, p->key));
        if (name && strcmp(name, key) == 0)
            return walk_node(w, p->value);
    }
    return NULL;
}

void walk_map(struct yaml_walk *w, const yaml_node_t *map, const struct walk_key *keys, size_t n,
              void *to) {
    if (map->type != YAML_MAPPING_NODE) {
        walk_fault(w, map, "must be a group of keys (`key: value`), found %s",
                   map->type == YAML_SEQUENCE_NODE ? "a list" : "one value");
        return;
    }
    for (yaml_node_pair_t *p = map->data.mapping.pairs.start; p < map->data.mapping.pairs.top;
         p++) {
        const yaml_node_t *node = walk_node(w, p->key), *value = walk_node(w, p->value);
        const char *name = walk_text(node);
        if (!name) {
            walk_fault(w, node, "a key must be a plain word");
            continue;
        }
        size_t i = 0, mark = walk_enter(w, name);
        while (i < n && strcmp(keys[i].name, name) != 0)
            i++;
        const yaml_node_t *first = walk_find(w, map, name);
        if (first != value && first)
            walk_fault(w, node, "is set twice, in line %d already; remove one",
                       (int)first->start_mark.line + 1);
        else if (i == n)
            unknown_key(w, node, name, keys, n);
        else
            keys[i].read(w, value, to);
        walk_leave(w, mark);
    }
    for (size_t i = 0; i < n; i++)
        if (keys[i].required && !walk_find(w, map, keys[i].name)) {
            size_t mark = walk_enter(w, keys[i].name);
            walk_fault(w, map, "is missing");
            walk_leave(w, mark);
        }
}
