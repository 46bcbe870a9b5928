/* What a campaign sends, where its coupon codes come from, and who chooses. */
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_keys.h"
#include "consumer/json_load.h"
#include "consumer/parse.h"

enum { OFFER_DEPTH = 8, OFFER_VALUES = 1000, OFFER_ITEMS_MAX = 32, CODES_BYTES_MAX = 256 << 20 };

/* Aliases may multiply and loop: `left` bounds the values, `depth` the levels. */
static json_t *to_json(struct yaml_walk *w, const yaml_node_t *v, int depth, size_t *left);

static json_t *had(struct yaml_walk *w, json_t *v) {
    w->no_memory |= !v;
    return v;
}

static json_t *scalar_json(struct yaml_walk *w, const yaml_node_t *v) {
    const char *text = walk_text(v);
    double x;
    if (!text) {
        walk_fault(w, v, "holds a NUL byte");
        return NULL;
    }
    if (v->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (!*text || !strcmp(text, "null") || !strcmp(text, "~"))
            return json_null();
        if (!strcmp(text, "true") || !strcmp(text, "false"))
            return json_boolean(*text == 't');
        /* 007 and +1 are labels, not numbers */
        bool label = text[0] == '+' || (text[0] == '0' && text[1] >= '0' && text[1] <= '9');
        if (!label && parse_number(str_of(text), &x))
            return had(w, x == floor(x) && fabs(x) < 9e15 ? json_integer((json_int_t)x)
                                                          : json_real(x));
    }
    return had(w, json_string(text)); /* libyaml lets nothing but UTF-8 through */
}

static json_t *map_json(struct yaml_walk *w, const yaml_node_t *v, int depth, size_t *left) {
    json_t *map = had(w, json_object());
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; map && p < v->data.mapping.pairs.top;
         p++) {
        const char *key = walk_text(walk_node(w, p->key));
        if (!key) {
            walk_fault(w, v, "a key must be a plain word");
            continue;
        }
        json_t *value = to_json(w, walk_node(w, p->value), depth + 1, left);
        if (value && json_object_set_new(map, key, value) < 0)
            w->no_memory = true;
    }
    return map;
}

static json_t *to_json(struct yaml_walk *w, const yaml_node_t *v, int depth, size_t *left) {
    if (!*left)
        return NULL; /* said already */
    if (!--*left) {
        walk_fault(w, v, "holds more than %d values", OFFER_VALUES);
        return NULL;
    }
    if (v->type == YAML_SCALAR_NODE)
        return scalar_json(w, v);
    if (depth > OFFER_DEPTH) {
        walk_fault(w, v, "is nested deeper than %d levels", OFFER_DEPTH);
        return NULL;
    }
    if (v->type == YAML_MAPPING_NODE)
        return map_json(w, v, depth, left);
    json_t *list = had(w, json_array());
    for (yaml_node_item_t *i = v->data.sequence.items.start; list && i < v->data.sequence.items.top;
         i++) {
        json_t *value = to_json(w, walk_node(w, *i), depth + 1, left);
        if (value && json_array_append_new(list, value) < 0)
            w->no_memory = true;
    }
    return list;
}

/* ---- one offer --------------------------------------------------------------- */

/* One offer on its way, and who asks for it. */
struct reading {
    struct draft *draft;
    struct offer_spec *to;
};

/* Keys that mean nothing to Beckon are the sending side's; these do. */
static void read_percent(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    value_number(w, v, 0, 100, &r->to->percent);
}

static void read_amount(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    value_number(w, v, 0, 1e9, &r->to->amount);
}

static void read_shipping(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    value_bool(w, v, &r->to->free_shipping);
}

static void read_code(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    const char *text = walk_need_text(w, v, "a code such as SPRING-{hash}");
    if (!text)
        return;
    if (strlen(text) >= CODE_MAX - 10)
        walk_fault(w, v, "is longer than %d characters", CODE_MAX - 11);
    r->to->code = str_of(text);
}

static void read_pool(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    const char *text = walk_need_text(w, v, "the name of a pool"), *names[POOLS_MAX];
    const struct policy_spec *s = &r->draft->file->spec;
    char near[96];
    for (size_t i = 0; i < s->n_pools; i++) {
        names[i] = s->pool[i].name.p;
        if (text && strcmp(names[i], text) == 0)
            r->to->pool = (uint32_t)i + 1;
    }
    if (text && !r->to->pool)
        walk_fault(w, v, "no pool %s%s", text,
                   *walk_suggest(near, text, names, s->n_pools)
                       ? near
                       : "; name its file under `pools:` at the top of the file");
}

static void read_items_n(struct yaml_walk *w, const yaml_node_t *v, void *offer) {
    int64_t n;
    if (value_integer(w, v, 1, OFFER_ITEMS_MAX, &n))
        ((struct offer_spec *)offer)->items = (uint32_t)n;
}

static void read_items_category(struct yaml_walk *w, const yaml_node_t *v, void *offer) {
    const char *text = walk_need_text(w, v, "a category's name");
    ((struct offer_spec *)offer)->category = str_of(text);
}

static void read_items(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    static const struct walk_key keys[] = {{"n", read_items_n, false},
                                           {"category", read_items_category, false}};
    if (v->type == YAML_MAPPING_NODE)
        walk_map(w, v, keys, ARRAY_LEN(keys), r->to);
    else
        walk_fault(w, v, "must be like {n: 3, category: shoes}");
}

static void read_name(struct yaml_walk *w, const yaml_node_t *v, struct reading *r) {
    value_label(w, v, "a name", &r->to->name);
}

static void read_one(struct yaml_walk *w, const yaml_node_t *v, struct draft *d) {
    static const struct {
        const char *key;
        void (*read)(struct yaml_walk *w, const yaml_node_t *v, struct reading *r);
    } known[] = {
        {"name", read_name},   {"discount_percent", read_percent},
        {"code", read_code},   {"discount_amount", read_amount},
        {"pool", read_pool},   {"free_shipping", read_shipping},
        {"items", read_items},
    };
    struct reading r = {d, &d->spec.offer[d->spec.n_offers]};
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must be a group of keys, such as {kind: coupon, discount_percent: 10}");
        return;
    }
    *r.to = (struct offer_spec){0};
    const yaml_node_t *kind = walk_find(w, v, "kind");
    if (!kind || !walk_text(kind) || !*walk_text(kind))
        walk_fault(w, v, "needs a kind, such as coupon or message");
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        const yaml_node_t *value = walk_find(w, v, known[i].key);
        size_t mark = walk_enter(w, known[i].key);
        if (value)
            known[i].read(w, value, &r);
        walk_leave(w, mark);
    }
    if (r.to->code.n && r.to->pool)
        walk_fault(w, v, "says both code and pool; keep one");
    r.to->discount = r.to->percent > 0 || r.to->amount > 0;
    size_t left = OFFER_VALUES;
    json_t *offer = to_json(w, v, 0, &left);
    char *json = offer ? json_text(offer, JSON_COMPACT) : NULL;
    if (!json)
        w->no_memory |= w->n_faults == 0;
    r.to->json = str_of(json);
    d->json[d->spec.n_offers++] = json;
    json_decref(offer);
}

void read_offer(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct draft *d = draft;
    if (d->spec.n_offers)
        walk_fault(w, v, "says both offer and offers; keep one");
    else
        read_one(w, v, d);
}

void read_offers(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct draft *d = draft;
    size_t n = v->type == YAML_SEQUENCE_NODE
                   ? (size_t)(v->data.sequence.items.top - v->data.sequence.items.start)
                   : 0;
    if (d->spec.n_offers) {
        walk_fault(w, v, "says both offer and offers; keep one");
    } else if (n < 1 || n > OFFERS_MAX) {
        walk_fault(w, v, "must be a list of 1 to %d offers", OFFERS_MAX);
    } else {
        for (size_t i = 0; i < n; i++) {
            const yaml_node_t *node = walk_node(w, v->data.sequence.items.start[i]);
            char number[8];
            snprintf(number, sizeof number, "%zu", i + 1);
            size_t mark = walk_enter(w, number);
            read_one(w, node, d);
            const struct offer_spec *o = &d->spec.offer[i];
            for (size_t k = 0; k < i && d->spec.n_offers > i; k++)
                if (str_eq(d->spec.offer[k].name, o->name)) {
                    walk_fault(w, node, "needs a name of its own, such as {name: ten, ...}");
                    break;
                }
            walk_leave(w, mark);
        }
    }
}

/* ---- pools --------------------------------------------------------------------- */

/* One code a line; empty lines do not count. */
static int split_codes(struct pool_file *f, size_t n) {
    size_t lines = 1;
    for (size_t i = 0; i < n; i++)
        lines += f->text[i] == '\n';
    f->code = calloc(lines, sizeof *f->code);
    if (!f->code)
        return -ENOMEM;
    for (size_t from = 0, i = 0; i <= n; i++)
        if (i == n || f->text[i] == '\n') {
            size_t len = i - from;
            while (len && (f->text[from + len - 1] == '\r' || f->text[from + len - 1] == ' '))
                len--;
            if (len)
                f->code[f->n++] = (struct str){f->text + from, len};
            from = i + 1;
        }
    return 0;
}

static int by_text(const void *a, const void *b) {
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* What would be given to two people, or does not fit. */
static void check_codes(struct yaml_walk *w, const yaml_node_t *v, const struct pool_file *f) {
    autofree(free) struct str *sorted = calloc(f->n + 1, sizeof *sorted);
    if (!sorted) {
        w->no_memory = true;
        return;
    }
    memcpy(sorted, f->code, f->n * sizeof *sorted);
    qsort(sorted, f->n, sizeof *sorted, by_text);
    for (size_t i = 0; i < f->n; i++) {
        if (i && str_eq(sorted[i], sorted[i - 1])) {
            walk_fault(w, v, "has the code %.*s twice", (int)MIN(sorted[i].n, 60), sorted[i].p);
            return;
        }
        if (sorted[i].n >= CODE_MAX) {
            walk_fault(w, v, "has a code longer than %d characters", CODE_MAX - 1);
            return;
        }
    }
}

static void read_pool_file(struct yaml_walk *w, const yaml_node_t *v, const char *folder,
                           struct pool_file *f) {
    const char *name = walk_need_text(w, v, "a file with one code a line");
    char path[4096];
    if (!name)
        return;
    snprintf(path, sizeof path, "%s%s%s", *name == '/' ? "" : folder, *name == '/' ? "" : "/",
             name);
    FILE *file = fopen(path, "re");
    size_t n = 0, room = 0;
    int r = file ? 0 : -errno;
    while (r == 0) {
        if (n == room) {
            char *more = realloc(f->text, room = room ? 2 * room : 65536);
            if (!more) {
                r = -ENOMEM;
                break;
            }
            f->text = more;
        }
        size_t got = fread(f->text + n, 1, room - n, file);
        n += got;
        if (n > CODES_BYTES_MAX)
            r = -EFBIG;
        if (!got)
            break;
    }
    if (r == 0 && ferror(file))
        r = -EIO;
    if (file)
        fclose(file);
    if (r == 0)
        r = split_codes(f, n);
    if (r < 0)
        walk_fault(w, v, "%s: %s", path, strerror(-r));
    else
        check_codes(w, v, f);
}

void read_pools(struct yaml_walk *w, const yaml_node_t *v, const char *folder,
                struct policy_spec *spec, struct pool_file *files) {
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must name files, such as {spring: spring-codes.txt}");
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = walk_node(w, p->key);
        struct str name;
        if (spec->n_pools == POOLS_MAX) {
            walk_fault(w, key, "more than %d pools", POOLS_MAX);
            return;
        }
        if (!value_label(w, key, "a name", &name))
            continue;
        size_t mark = walk_enter(w, name.p);
        struct pool_file *f = &files[spec->n_pools];
        read_pool_file(w, walk_node(w, p->value), folder, f);
        spec->pool[spec->n_pools++] = (struct pool_spec){name, f->n, f->code};
        walk_leave(w, mark);
    }
}

/* ---- groups -------------------------------------------------------------------- */

static void read_method(struct yaml_walk *w, const yaml_node_t *v, void *group) {
    const char *text = walk_need_text(w, v, "rules or random"), *names[METHOD_COUNT];
    char near[96];
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        names[i] = policy_method_name((enum policy_method)i);
        if (text && strcmp(text, names[i]) == 0) {
            ((struct group_spec *)group)->method = (enum policy_method)i;
            return;
        }
    }
    if (text)
        walk_fault(
            w, v, "no policy %s%s", text,
            *walk_suggest(near, text, names, METHOD_COUNT)
                ? near
                : "; there are rules, random, egreedy, linucb, thompson, squarecb, uplift and dqn");
}

static void read_mode(struct yaml_walk *w, const yaml_node_t *v, void *group) {
    static const char *const modes[] = {"online", "apprentice", "log-only"};
    const char *text = walk_need_text(w, v, "online, apprentice or log-only");
    for (size_t i = 0; i < ARRAY_LEN(modes); i++)
        if (text && strcmp(text, modes[i]) == 0) {
            ((struct group_spec *)group)->mode = (enum policy_mode)i;
            return;
        }
    if (text)
        walk_fault(w, v, "must be online, apprentice or log-only, found %s", text);
}

static void read_horizon(struct yaml_walk *w, const yaml_node_t *v, void *group) {
    value_span(w, v, &((struct group_spec *)group)->horizon_ms);
}

void read_groups(struct yaml_walk *w, const yaml_node_t *v, void *policy_spec) {
    static const struct walk_key keys[] = {{"policy", read_method, true},
                                           {"mode", read_mode, false},
                                           {"horizon", read_horizon, false}};
    struct policy_spec *s = policy_spec;
    if (v->type != YAML_MAPPING_NODE) {
        walk_fault(w, v, "must name groups, such as {coupons: {policy: random}}");
        return;
    }
    for (yaml_node_pair_t *p = v->data.mapping.pairs.start; p < v->data.mapping.pairs.top; p++) {
        const yaml_node_t *key = walk_node(w, p->key), *value = walk_node(w, p->value);
        struct group_spec *g = &s->group[s->n_groups];
        struct str name;
        if (s->n_groups == GROUPS_MAX) {
            walk_fault(w, key, "more than %d groups", GROUPS_MAX);
            return;
        }
        if (!value_label(w, key, "a name", &name))
            continue;
        size_t mark = walk_enter(w, name.p);
        *g = (struct group_spec){.name = name};
        if (value->type == YAML_MAPPING_NODE)
            walk_map(w, value, keys, ARRAY_LEN(keys), g);
        else
            walk_fault(w, value, "must be like {policy: random, mode: online}");
        s->n_groups++;
        walk_leave(w, mark);
    }
}

void read_group(struct yaml_walk *w, const yaml_node_t *v, void *draft) {
    struct draft *d = draft;
    const char *text = walk_need_text(w, v, "the name of a group"), *names[GROUPS_MAX];
    char near[96];
    for (size_t i = 0; i < d->file->spec.n_groups; i++) {
        names[i] = d->file->spec.group[i].name.p;
        if (text && strcmp(text, names[i]) == 0)
            d->spec.group = d->file->spec.group[i].name;
    }
    if (text && !d->spec.group.n)
        walk_fault(w, v, "no group %s%s", text,
                   *walk_suggest(near, text, names, d->file->spec.n_groups)
                       ? near
                       : "; describe it under `groups:` at the top of the file");
}
