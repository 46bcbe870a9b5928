#include "consumer/policy_records.h"

#include "policy/learned.h"

enum { KEY_POLICY = 'P' };

void policy_records_free(struct policy_records *p) {
    for (size_t i = 0; i < p->n; i++) {
        buf_free(&p->r[i].key);
        buf_free(&p->r[i].value);
    }
    free(p->r);
    *p = (struct policy_records){0};
}

bool policy_record_is(struct str key) {
    return key.n && key.p[0] == KEY_POLICY;
}

static struct str text(const struct buf *b) {
    return (struct str){(const char *)b->p, b->n};
}

int policy_records_note(struct policy_records *p, struct str key, const void *value, size_t n) {
    size_t i = 0;
    while (i < p->n && !str_eq(text(&p->r[i].key), key))
        i++;
    if (i == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        struct policy_record *more = reallocarray(p->r, cap, sizeof *more);
        if (!more)
            return -ENOMEM;
        p->r = more;
        p->cap = cap;
    }
    struct policy_record *r = &p->r[i];
    if (i == p->n) {
        *r = (struct policy_record){0};
        buf_put(&r->key, key.p, key.n);
        p->n++;
    }
    buf_reset(&r->value);
    buf_put(&r->value, value, n);
    return r->key.failed || r->value.failed ? -ENOMEM : 0;
}

static void put_key(struct buf *to, struct str group, struct str instance) {
    uint8_t kind = KEY_POLICY;
    buf_reset(to);
    buf_put(to, &kind, 1);
    buf_put(to, group.p, group.n);
    buf_put(to, "", 1);
    buf_put(to, instance.p, instance.n);
}

/* The group a key is of; policy_groups(set): of none any more. */
static size_t group_of(const struct policy_set *set, struct str key) {
    size_t i = 0;
    for (; i < policy_groups(set); i++) {
        struct str name = policy_group_name(set, i);
        if (policy_group_learned(set, i) && key.n > name.n + 1 && key.p[1 + name.n] == 0 &&
            str_eq(name, (struct str){key.p + 1, name.n}))
            break;
    }
    return i;
}

size_t policy_records_learn(struct policy_records *p, const struct policy_set *set,
                            struct str instance) {
    struct buf mine = {0};
    size_t bad = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct policy_record *r = &p->r[i];
        size_t g = group_of(set, text(&r->key));
        if (g == policy_groups(set))
            continue;
        put_key(&mine, policy_group_name(set, g), instance);
        bad += learned_restore(policy_group_learned(set, g), str_eq(text(&mine), text(&r->key)),
                               r->value.p, r->value.n) < 0;
    }
    buf_free(&mine);
    policy_records_free(p);
    return bad;
}

bool policy_records_next(struct policy_records *p, const struct policy_set *set,
                         struct str instance, size_t *group, struct buf *key, struct buf *value) {
    for (; *group < policy_groups(set); ++*group) {
        struct learned *l = policy_group_learned(set, *group);
        uint64_t samples = 0;
        buf_reset(value);
        if (!l || learned_encode(l, value, &samples) < 0 || samples == p->saved[*group])
            continue;
        p->saved[*group] = samples;
        put_key(key, policy_group_name(set, *group), instance);
        ++*group;
        if (!key->failed)
            return true;
    }
    return false;
}
