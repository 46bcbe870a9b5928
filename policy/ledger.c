/* Process-wide totals of daily budgets. */
#include <pthread.h>
#include <stdatomic.h>

#include "policy/internal.h"

enum { BUCKETS = 1024 };

struct cell {
    struct cell *next;
    int32_t day;
    uint16_t campaign;
    _Atomic uint32_t used;
};

/* Cells live as long as the ledger: one per campaign and day that was spent on, so that
 * a shard that lags behind in event time still meets what the others spent. */
struct ledger {
    pthread_mutex_t lock; /* of the buckets, not of the cells' numbers */
    struct cell *bucket[BUCKETS];
    _Atomic uint64_t share; /* owned << 32 | total */
};

int ledger_new(struct ledger **ret) {
    struct ledger *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    pthread_mutex_init(&l->lock, NULL);
    ledger_share(l, 1, 1);
    *ret = l;
    return 0;
}

void ledger_free(struct ledger *l) {
    if (!l)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        for (struct cell *c = l->bucket[i], *next; c; c = next) {
            next = c->next;
            free(c);
        }
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void ledger_share(struct ledger *l, uint32_t owned, uint32_t total) {
    if (owned > total)
        owned = total;
    atomic_store(&l->share, (uint64_t)owned << 32 | total);
}

struct cell *ledger_cell(struct ledger *l, uint16_t campaign, int32_t day) {
    size_t at = (campaign * 367u + (uint32_t)day) % BUCKETS;
    pthread_mutex_lock(&l->lock);
    struct cell *c = l->bucket[at];
    while (c && (c->campaign != campaign || c->day != day))
        c = c->next;
    if (!c && (c = calloc(1, sizeof *c))) {
        c->campaign = campaign;
        c->day = day;
        c->next = l->bucket[at];
        l->bucket[at] = c;
    }
    pthread_mutex_unlock(&l->lock);
    return c;
}

static uint64_t limit(struct ledger *l, uint32_t budget) {
    uint64_t share = atomic_load_explicit(&l->share, memory_order_relaxed);
    uint32_t owned = (uint32_t)(share >> 32), total = (uint32_t)share;
    return total ? (uint64_t)budget * owned / total : 0;
}

bool ledger_left(struct ledger *l, const struct cell *c, uint32_t budget) {
    return atomic_load_explicit(&c->used, memory_order_relaxed) < limit(l, budget);
}

bool ledger_reserve(struct ledger *l, struct cell *c, uint32_t budget) {
    uint64_t most = limit(l, budget);
    uint32_t used = atomic_load_explicit(&c->used, memory_order_relaxed);
    do {
        if (used >= most)
            return false;
    } while (!atomic_compare_exchange_weak(&c->used, &used, used + 1));
    return true;
}

void ledger_add(struct cell *c, uint32_t n) {
    atomic_fetch_add(&c->used, n);
}

void ledger_take(struct cell *c, uint32_t n) {
    atomic_fetch_sub(&c->used, n);
}
