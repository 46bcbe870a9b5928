#include "consumer/policy_records.h"

#include "policy/deep.h"

enum { KEY_POLICY = 'P', KEY_NETWORK = 'N', NETWORK_SAVE = 256 };

void policy_records_free(struct policy_records *p) {
    for (size_t i = 0; i < p->n; i++) {
        buf_free(&p->r[i].key);
        buf_free(&p->r[i].value);
    }
    free(p->r);
    *p = (struct policy_records){0};
}

bool policy_record_is(struct str key) {
    return key.n && (key.p[0] == KEY_POLICY || key.p[0] == KEY_NETWORK);
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

static void put_key(struct buf *to, uint8_t kind, struct str group, struct str instance) {
    buf_reset(to);
    buf_put(to, &kind, 1);
    buf_put(to, group.p, group.n);
    buf_put(to, "", 1);
    buf_put(to, instance.p, instance.n);
}

/* The group a key is of, and whose it is; policy_groups(set): of none any more. */
static size_t group_of(const struct policy_set *set, struct str key, struct str *ret_instance) {
    size_t i = 0;
    for (; i < policy_groups(set); i++) {
        struct str name = policy_group_name(set, i);
        if (!policy_group_learned(set, i) || key.n <= name.n + 1 || key.p[1 + name.n] != 0 ||
            !str_eq(name, (struct str){key.p + 1, name.n}))
            continue;
        *ret_instance = (struct str){key.p + name.n + 2, key.n - name.n - 2};
        break;
    }
    return i;
}

/* Whose samples; 0 stands for our own. */
static uint64_t who_is(struct str instance, struct str us) {
    return str_eq(instance, us) ? 0 : hash_str(instance, 0) | 1;
}

int policy_records_take(const struct policy_set *set, struct str instance, struct str key,
                        const void *value, size_t n) {
    struct str of;
    size_t g = group_of(set, key, &of);
    if (key.p[0] != KEY_POLICY || g == policy_groups(set) || str_eq(of, instance))
        return 0;
    return learned_restore(policy_group_learned(set, g), who_is(of, instance), value, n);
}

/* Our own network, or else another's that was trained longest. */
static size_t learn_networks(const struct policy_records *p, const struct policy_set *set,
                             struct str instance) {
    size_t bad = 0;
    for (size_t g = 0; g < policy_groups(set); g++) {
        const struct policy_record *best = NULL;
        uint64_t most = 0;
        for (size_t i = 0; policy_group_deep(set, g) && i < p->n; i++) {
            struct str of, key = text(&p->r[i].key);
            if (key.p[0] != KEY_NETWORK || !p->r[i].value.n || group_of(set, key, &of) != g)
                continue;
            uint64_t steps = str_eq(of, instance)
                                 ? UINT64_MAX
                                 : deep_record_steps(p->r[i].value.p, p->r[i].value.n);
            if (!best || steps > most) {
                best = &p->r[i];
                most = steps;
            }
        }
        if (best)
            bad += deep_restore(policy_group_deep(set, g), best->value.p, best->value.n) < 0;
    }
    return bad;
}

size_t policy_records_learn(struct policy_records *p, const struct policy_set *set,
                            struct str instance) {
    size_t bad = learn_networks(p, set, instance);
    for (size_t i = 0; i < p->n; i++) {
        const struct policy_record *r = &p->r[i];
        struct str of, key = text(&r->key);
        size_t g = group_of(set, key, &of);
        if (key.p[0] == KEY_POLICY && g < policy_groups(set))
            bad += learned_restore(policy_group_learned(set, g), who_is(of, instance), r->value.p,
                                   r->value.n) < 0;
    }
    policy_records_free(p);
    return bad;
}

static bool samples_of(struct policy_records *p, const struct policy_set *set, size_t g,
                       struct buf *value) {
    struct learned *l = policy_group_learned(set, g);
    uint64_t samples = 0;
    if (!l || learned_encode(l, value, &samples) < 0 || samples == p->saved[g])
        return false;
    p->saved[g] = samples;
    return true;
}

static bool network_of(struct policy_records *p, const struct policy_set *set, size_t g,
                       struct buf *value) {
    struct deep *d = policy_group_deep(set, g);
    struct deep_state now;
    uint64_t passages = 0;
    if (!d)
        return false;
    deep_look(d, &now);
    if (now.passages < p->saved_network[g] + NETWORK_SAVE || deep_encode(d, value, &passages) < 0)
        return false;
    p->saved_network[g] = passages;
    return true;
}

bool policy_records_next(struct policy_records *p, const struct policy_set *set,
                         struct str instance, size_t *at, struct buf *key, struct buf *value) {
    while (*at < 2 * policy_groups(set)) {
        size_t g = *at / 2;
        bool network = (*at)++ % 2;
        buf_reset(value);
        if (!(network ? network_of : samples_of)(p, set, g, value))
            continue;
        put_key(key, network ? KEY_NETWORK : KEY_POLICY, policy_group_name(set, g), instance);
        if (!key->failed)
            return true;
    }
    return false;
}
