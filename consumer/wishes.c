#include "consumer/wishes.h"

#include <pthread.h>
#include <sys/random.h>

#include "consumer/tz.h"

/* Open addressing, linear probing, whole ids compared: a hash collision must not
 * give one person another's consent. */
struct wish {
    char *id;
    size_t id_n;
    struct consent consent;
};

struct wishes {
    pthread_rwlock_t lock;
    struct wish *slot;
    size_t cap, n; /* cap: power of two */
    uint64_t seed; /* random: ids come from outside */
};

int wishes_new(struct wishes **ret) {
    struct wishes *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->cap = 1024;
    w->slot = calloc(w->cap, sizeof *w->slot);
    if (!w->slot) {
        free(w);
        return -ENOMEM;
    }
    if (getrandom(&w->seed, sizeof w->seed, 0) != sizeof w->seed)
        w->seed = (uintptr_t)w;
    pthread_rwlockattr_t attr;
    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&w->lock, &attr);
    pthread_rwlockattr_destroy(&attr);
    *ret = w;
    return 0;
}

void wishes_free(struct wishes *w) {
    if (!w)
        return;
    for (size_t i = 0; i < w->cap; i++)
        free(w->slot[i].id);
    free(w->slot);
    pthread_rwlock_destroy(&w->lock);
    free(w);
}

/* The slot that holds `id`, or the empty one where it would go. */
static struct wish *probe(struct wish *slot, size_t cap, uint64_t seed, struct str id) {
    size_t i = hash_str(id, seed) & (cap - 1);
    while (slot[i].id && !str_eq((struct str){slot[i].id, slot[i].id_n}, id))
        i = (i + 1) & (cap - 1);
    return &slot[i];
}

static int grow(struct wishes *w) {
    size_t cap = w->cap * 2;
    struct wish *slot = calloc(cap, sizeof *slot);
    if (!slot)
        return -ENOMEM;
    for (size_t i = 0; i < w->cap; i++)
        if (w->slot[i].id)
            *probe(slot, cap, w->seed, (struct str){w->slot[i].id, w->slot[i].id_n}) = w->slot[i];
    free(w->slot);
    w->slot = slot;
    w->cap = cap;
    return 0;
}

static struct consent read_record(const struct policy_set *set, const struct control_info *c) {
    struct consent out = {
        .known = true, .said_ms = c->said_ms, .tz = c->tz.n ? tz_get(c->tz) : NULL};
    uint32_t all = (uint32_t)((1ull << policy_channels(set)) - 1), named = 0;
    for (size_t i = 0; i < c->n; i++) {
        int ch = policy_channel_find(set, c->consent[i].channel);
        if (ch < 0)
            continue;
        uint32_t bit = 1u << ch;
        named |= bit;
        out.granted = c->consent[i].granted ? out.granted | bit : out.granted & ~bit;
    }
    for (size_t i = 0; i < c->n; i++)
        if (str_eq(c->consent[i].channel, STR("*")) && c->consent[i].granted)
            out.granted |= all & ~named;
        else if (str_eq(c->consent[i].channel, STR("*")))
            out.denied |= all & ~named;
    out.denied |= named & ~out.granted;
    return out;
}

/* Takes the entry out and moves up those behind it that would no longer be found (Knuth, TAOCP
 * 6.4, algorithm R). */
static void take_out(struct wishes *w, struct wish *s) {
    size_t mask = w->cap - 1, hole = (size_t)(s - w->slot);
    free(s->id);
    w->n--;
    for (size_t i = (hole + 1) & mask; w->slot[i].id; i = (i + 1) & mask) {
        struct str id = {w->slot[i].id, w->slot[i].id_n};
        size_t home = hash_str(id, w->seed) & mask;
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            w->slot[hole] = w->slot[i];
            hole = i;
        }
    }
    w->slot[hole] = (struct wish){0};
}

int wishes_put(struct wishes *w, const struct policy_set *set, const struct control_info *c) {
    struct consent said = c->deleted ? (struct consent){0} : read_record(set, c);
    int r = 0;
    pthread_rwlock_wrlock(&w->lock);
    struct wish *s = probe(w->slot, w->cap, w->seed, c->user);
    if (!s->id && !c->deleted) {
        char *id = malloc(c->user.n + 1);
        if (id) {
            memcpy(id, c->user.p, c->user.n);
            id[c->user.n] = 0;
            *s = (struct wish){.id = id, .id_n = c->user.n};
            w->n++;
        } else {
            r = -ENOMEM;
        }
    }
    if (s->id && c->deleted)
        take_out(w, s);
    else if (s->id)
        s->consent = said;
    if (r == 0 && w->n * 2 > w->cap)
        r = grow(w);
    pthread_rwlock_unlock(&w->lock);
    return r;
}

struct consent wishes_get(struct wishes *w, struct str user) {
    struct consent c = {0};
    pthread_rwlock_rdlock(&w->lock);
    const struct wish *s = probe(w->slot, w->cap, w->seed, user);
    if (s->id)
        c = s->consent;
    pthread_rwlock_unlock(&w->lock);
    return c;
}

size_t wishes_users(struct wishes *w) {
    pthread_rwlock_rdlock(&w->lock);
    size_t n = w->n;
    pthread_rwlock_unlock(&w->lock);
    return n;
}
