/* A partition's notes: counts of experiments, what is in use, and how fair campaigns are. */
#include "policy/evidence.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "model/block.h"
#include "policy/evidence_internal.h"

struct evidence_list {
    pthread_mutex_t lock; /* of the list, and of what others read of its members: studies, locks */
    struct evidence *first;
    _Atomic uint32_t stopped[EXPERIMENTS_MAX + POLICY_CAMPAIGNS_MAX];
};

int evidence_list_new(struct evidence_list **ret) {
    struct evidence_list *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    *ret = l;
    return 0;
}

void evidence_list_free(struct evidence_list *l) {
    if (!l)
        return;
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void evidence_hold(const struct evidence *e) {
    pthread_mutex_lock(&e->set->evidence->lock);
}

void evidence_let(const struct evidence *e) {
    pthread_mutex_unlock(&e->set->evidence->lock);
}

int evidence_new(const struct policy_set *set, struct evidence **ret) {
    struct evidence *e = calloc(1, sizeof *e);
    struct study *study = calloc(set->n_experiments + 1, sizeof *study);
    struct fair_book *fair = calloc(set->n + 1, sizeof *fair);
    if (!e || !study || !fair) {
        free(e);
        free(study);
        free(fair);
        return -ENOMEM;
    }
    *e = (struct evidence){.set = set, .study = study, .fair = fair};
    for (size_t i = 0; i < set->n_experiments; i++)
        study[i].state.n_arms = set->experiment[i].spec.spec.n_arms;
    evidence_hold(e);
    e->next = set->evidence->first;
    set->evidence->first = e;
    evidence_let(e);
    *ret = e;
    return 0;
}

void evidence_free(struct evidence *e) {
    if (!e)
        return;
    evidence_hold(e);
    struct evidence **at = &e->set->evidence->first;
    while (*at && *at != e)
        at = &(*at)->next;
    if (*at)
        *at = e->next;
    evidence_let(e);
    free(e->study);
    free(e->fair);
    free(e->in_use);
    free(e);
}

const char *evidence_conflict(const struct evidence *e) {
    return e->conflict;
}

/* ---- what is in use ------------------------------------------------------------- */

/* The print that the set has under a key; false: it has no such thing. */
static bool print_of(const struct policy_set *s, uint64_t key, uint64_t *ret, char *name,
                     size_t n) {
    if (key == s->holdout_key) {
        *ret = s->holdout_print;
        snprintf(name, n, "the hold-out (share or policy.salt); `name:` begins another one");
        return true;
    }
    for (size_t i = 0; i < s->n; i++)
        if (s->c[i].holdout_key == key) {
            *ret = s->c[i].holdout_print;
            snprintf(name, n,
                     "the hold-out of campaign %s (share or policy.salt); `holdout_name:` begins "
                     "another one",
                     s->c[i].spec.id.p);
            return true;
        }
    for (size_t i = 0; i < s->n_experiments; i++)
        if (s->experiment[i].hash == key) {
            *ret = s->experiment[i].print;
            snprintf(name, n, "experiment %s; give the changed one another id",
                     s->experiment[i].spec.name.p);
            return true;
        }
    return false;
}

/* A hold-out cannot disappear without a word; campaigns and experiments may end. */
static bool conflicts(const struct policy_set *next, const struct in_use *u, size_t n, char *ret,
                      size_t room) {
    uint64_t print;
    for (size_t i = 0; i < n; i++)
        if (print_of(next, u[i].key, &print, ret, room) && print != u[i].print)
            return true;
    *ret = 0;
    return false;
}

bool policy_set_conflicts(const struct policy_set *s, const struct policy_set *next, char *ret,
                          size_t n) {
    bool found = false;
    *ret = 0;
    pthread_mutex_lock(&s->evidence->lock);
    for (const struct evidence *e = s->evidence->first; e && !found; e = e->next)
        found = conflicts(next, e->in_use, e->n_in_use, ret, n);
    pthread_mutex_unlock(&s->evidence->lock);
    return found;
}

int evidence_use(struct evidence *e, uint64_t key, uint64_t print) {
    for (size_t i = 0; i < e->n_in_use; i++)
        if (e->in_use[i].key == key)
            return 0;
    evidence_hold(e);
    struct in_use *more = reallocarray(e->in_use, e->n_in_use + 1, sizeof *more);
    if (more) {
        more[e->n_in_use++] = (struct in_use){key, print};
        e->in_use = more;
    }
    evidence_let(e);
    return more ? 1 : -ENOMEM;
}

int evidence_holdouts(struct policy_shard *s, uint16_t campaign) {
    struct evidence *e = shard_evidence_look(s);
    const struct policy_set *set = e->set;
    const struct campaign *k = &set->c[campaign];
    int r = set->holdout ? evidence_use(e, set->holdout_key, set->holdout_print) : 0;
    int r2 = r >= 0 && k->spec.holdout ? evidence_use(e, k->holdout_key, k->holdout_print) : 0;
    if (r > 0 || r2 > 0)
        shard_evidence(s);
    return r < 0 ? r : r2 < 0 ? r2 : 0;
}

/* ---- sums ------------------------------------------------------------------------ */

size_t policy_experiments(const struct policy_set *s) {
    return s->n_experiments;
}

const struct experiment_arms *policy_experiment(const struct policy_set *s, size_t i) {
    return &s->experiment[i].spec;
}

void policy_experiment_sums(const struct policy_set *s, size_t i, struct experiment_sums *ret) {
    *ret = (struct experiment_sums){.state.n_arms = s->experiment[i].spec.spec.n_arms};
    pthread_mutex_lock(&s->evidence->lock);
    for (const struct evidence *e = s->evidence->first; e; e = e->next) {
        experiment_merge(&ret->state, &e->study[i].state);
        for (size_t a = 0; a < ret->state.n_arms; a++)
            ret->exposed[a] += e->study[i].exposed[a];
    }
    pthread_mutex_unlock(&s->evidence->lock);
}

uint32_t policy_experiment_stopped(const struct policy_set *s, size_t i) {
    return atomic_load_explicit(&s->evidence->stopped[i], memory_order_relaxed);
}

void policy_experiment_stop(const struct policy_set *s, size_t i, uint32_t arms) {
    atomic_fetch_or_explicit(&s->evidence->stopped[i], arms, memory_order_relaxed);
}

/* ---- the durable form -------------------------------------------------------------- */

enum { EVIDENCE_VERSION = 1 };

int evidence_encode(const struct evidence *e, struct buf *out) {
    const struct policy_set *set = e->set;
    size_t at = block_begin(out, EVIDENCE_VERSION), n_fair = 0;
    wire_put_varint(out, e->n_in_use);
    for (size_t i = 0; i < e->n_in_use; i++) {
        wire_put_u64(out, e->in_use[i].key);
        wire_put_u64(out, e->in_use[i].print);
    }
    wire_put_varint(out, set->n_experiments);
    for (size_t i = 0; i < set->n_experiments; i++) {
        const struct study *s = &e->study[i];
        struct buf counts = {0};
        int r = experiment_encode(&s->state, &counts);
        wire_put_u64(out, set->experiment[i].hash);
        wire_put_u32(out, s->stopped);
        wire_put_varint(out, s->state.n_arms);
        for (size_t a = 0; a < s->state.n_arms; a++)
            wire_put_f64(out, s->exposed[a]);
        wire_put_str(out, (struct str){(const char *)counts.p, counts.n});
        buf_free(&counts);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < set->n; i++)
        n_fair += e->fair[i].n > 0;
    wire_put_varint(out, n_fair);
    for (size_t i = 0; i < set->n; i++) {
        const struct fair_book *f = &e->fair[i];
        if (!f->n)
            continue;
        wire_put_u64(out, set->c[i].fairness_key);
        wire_put_u8(out, f->stopped);
        wire_put_varint(out, f->n);
        for (size_t g = 0; g < f->n; g++) {
            wire_put_u32(out, f->value[g]);
            wire_put_f64(out, f->group[g].n);
            wire_put_f64(out, f->group[g].got);
        }
    }
    return block_end(out, at);
}

static bool get_study(struct wire *w, struct study *ret, uint64_t *ret_key) {
    *ret = (struct study){0};
    *ret_key = wire_get_u64(w);
    ret->stopped = wire_get_u32(w);
    uint64_t arms = wire_get_varint(w);
    if (arms > EXPERIMENT_ARMS_MAX)
        return false;
    for (size_t a = 0; a < arms; a++)
        ret->exposed[a] = wire_get_f64(w);
    uint64_t n = wire_get_varint(w);
    size_t used;
    if (w->bad || n > (size_t)(w->end - w->p) ||
        experiment_decode(w->p, (size_t)n, &ret->state, &used) < 0 || used != n)
        return false;
    w->p += n;
    return ret->state.n_arms == arms;
}

static bool get_fair(struct wire *w, struct fair_book *ret, uint64_t *ret_key) {
    *ret = (struct fair_book){0};
    *ret_key = wire_get_u64(w);
    ret->stopped = wire_get_u8(w) != 0;
    uint64_t n = wire_get_varint(w);
    if (n > FAIR_VALUES_MAX)
        return false;
    for (ret->n = 0; ret->n < n; ret->n++) {
        ret->value[ret->n] = wire_get_u32(w);
        ret->group[ret->n].n = wire_get_f64(w);
        ret->group[ret->n].got = wire_get_f64(w);
        if (!(ret->group[ret->n].got >= 0 && ret->group[ret->n].got <= ret->group[ret->n].n))
            return false;
    }
    return !w->bad;
}

/* Fills what is fresh; what belongs to nothing in the file any more is dropped, but for what is in
 * use: that it was stays known. */
static int get_all(struct wire *w, struct evidence *fresh) {
    const struct policy_set *set = fresh->set;
    uint64_t n = wire_get_varint(w), key;
    if (w->bad || n > (size_t)(w->end - w->p) / 16)
        return -EBADMSG;
    fresh->in_use = calloc((size_t)n + 1, sizeof *fresh->in_use);
    if (!fresh->in_use)
        return -ENOMEM;
    for (; fresh->n_in_use < n; fresh->n_in_use++) {
        fresh->in_use[fresh->n_in_use].key = wire_get_u64(w);
        fresh->in_use[fresh->n_in_use].print = wire_get_u64(w);
    }
    for (n = wire_get_varint(w); n && !w->bad; n--) {
        struct study s;
        if (!get_study(w, &s, &key))
            return -EBADMSG;
        for (size_t i = 0; i < set->n_experiments; i++)
            if (set->experiment[i].hash == key &&
                set->experiment[i].spec.spec.n_arms == s.state.n_arms)
                fresh->study[i] = s;
    }
    for (n = wire_get_varint(w); n && !w->bad; n--) {
        struct fair_book f;
        if (!get_fair(w, &f, &key))
            return -EBADMSG;
        for (size_t i = 0; i < set->n; i++)
            if (set->c[i].fairness_key == key)
                fresh->fair[i] = f;
    }
    return w->bad || w->p != w->end ? -EBADMSG : 0;
}

DEFINE_CLEANUP(struct evidence, evidence_free)

int evidence_restore(struct evidence *e, const void *p, size_t n) {
    autofree(evidence_free) struct evidence *fresh = NULL;
    struct wire w = {0};
    size_t used;
    int r = evidence_new(e->set, &fresh);
    if (r == 0 && p && (block_open(p, n, EVIDENCE_VERSION, &w, &used) < 0 || used != n))
        r = -EBADMSG;
    evidence_hold(e);
    if (r == 0 && p)
        r = get_all(&w, fresh);
    if (r == 0 &&
        conflicts(e->set, fresh->in_use, fresh->n_in_use, e->conflict, sizeof e->conflict))
        r = -EKEYREJECTED;
    if (r == 0) { /* what was there goes with `fresh` */
        struct evidence old = *e;
        e->study = fresh->study;
        e->fair = fresh->fair;
        e->in_use = fresh->in_use;
        e->n_in_use = fresh->n_in_use;
        fresh->study = old.study;
        fresh->fair = old.fair;
        fresh->in_use = old.in_use;
        for (size_t i = 0; i < e->set->n_experiments; i++)
            policy_experiment_stop(e->set, i, e->study[i].stopped);
    }
    if (fresh) { /* until it leaves the list nobody sees it */
        fresh->n_in_use = 0;
        for (size_t i = 0; i < e->set->n_experiments; i++)
            fresh->study[i] = (struct study){.state.n_arms = e->study[i].state.n_arms};
    }
    evidence_let(e);
    return r;
}
