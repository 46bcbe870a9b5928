/* Catalogue items with features and dense vectors, few rows so that they are evicted and used
 * again, records written meanwhile: threads under a read lock, structural calls under the write
 * lock; for the thread sanitizer, and for the invariants at the end. */
#include "model/sgd.h"
#include "tests/support/people.h"

#include <pthread.h>

enum { THREADS = 4, EVENTS = 1500, USERS = 16, GOODS = 300 };

static struct model *m;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static void learn_and_rank(struct learner *l, struct user **u, struct rng *r, int i) {
    static _Thread_local struct list lists[USERS];
    char id[24], item[16];
    struct user *who = u[rng_below(r, USERS)];
    snprintf(id, sizeof id, "%p-%d", (void *)l, i);
    snprintf(item, sizeof item, "g%u", rng_below(r, GOODS));
    struct event e = {.id = str_of(id),
                      .user = who->id,
                      .item = str_of(item),
                      .time_ms = 1000000 + i * 100,
                      .type = rng_below(r, 5) ? EV_VIEW : EV_PURCHASE,
                      .value = NAN,
                      .dwell_ms = NAN};
    pthread_rwlock_rdlock(&lock);
    uint32_t row = model_item_find(m, e.item);
    pthread_rwlock_unlock(&lock);
    if (row == ROW_NONE) {
        pthread_rwlock_wrlock(&lock);
        row = model_item_admit(m, e.item, e.time_ms);
        pthread_rwlock_unlock(&lock);
    }
    pthread_rwlock_rdlock(&lock);
    model_learn(l, NULL, who, &e, row);
    if (i % 50 == 0) {
        model_rank(l, u, i % 100 ? 1 : USERS, false, lists);
        model_similar(l, row, 10, &lists[0]);
        model_trending(l, 10, e.time_ms, &lists[1]);
    }
    if (i % 70 == 0) {
        struct buf key = {0}, rec = {0};
        uint32_t cursor = 0;
        for (int k = 0; k < 5; k++) {
            uint32_t dirty = model_dirty_next(m, &cursor);
            if (dirty != ROW_NONE)
                model_item_encode(m, dirty, &key, &rec);
        }
        buf_free(&key);
        buf_free(&rec);
    }
    pthread_rwlock_unlock(&lock);
    if (i % 200 == 100) {
        pthread_rwlock_wrlock(&lock);
        model_maintain(m, e.time_ms);
        pthread_rwlock_unlock(&lock);
    }
}

static void *worker(void *arg) {
    uint32_t index = (uint32_t)(uintptr_t)arg;
    struct learner *l;
    struct user *u[USERS];
    struct rng r;
    rng_seed(&r, index);
    if (learner_new(m, index, &l) < 0)
        abort();
    for (int i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%u-%d", index, i);
        u[i] = person_new(m, id);
    }
    for (int i = 0; i < EVENTS; i++)
        learn_and_rank(l, u, &r, i);
    for (int i = 0; i < USERS; i++)
        person_free(u[i]);
    learner_free(l);
    return NULL;
}

static void catalogue(void) {
    for (int i = 0; i < GOODS / 2; i++) {
        char id[16], brand[8];
        float dense[8] = {(float)i, 1, 2, 3};
        snprintf(id, sizeof id, "g%d", i);
        snprintf(brand, sizeof brand, "b%d", i % 7);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 1,
                                 .category = {i % 2 ? STR("odd") : STR("even")},
                                 .brand = str_of(brand),
                                 .price = 1 + i,
                                 .margin = NAN,
                                 .n_dense = 8,
                                 .dense = dense,
                                 .available = true};
        if (model_item_upsert(m, &info, 1, NULL, NULL) < 0)
            abort();
    }
}

int main(void) {
    struct model_config c;
    model_config_default(&c);
    c.dim = 32;
    c.max_items = 250; /* so that rows are evicted and used again */
    c.flood_per_minute = 0;
    if (model_new(&c, &m) < 0)
        return 1;
    catalogue();
    pthread_t t[THREADS];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, worker, (void *)(uintptr_t)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    int bad = m->events != (uint64_t)THREADS * EVENTS;
    for (size_t i = 0; i < (size_t)m->items.rows * c.dim; i++)
        bad += !isfinite(m->items.own[i]) || !isfinite(m->items.eff[i]);
    for (size_t i = 0; i < (size_t)c.dim * c.dim; i++)
        bad += !isfinite(m->phi[i]);
    printf("%lu events, %u items, %d faults\n", (unsigned long)m->events, m->items.live, bad);
    model_free(m);
    return bad != 0;
}
