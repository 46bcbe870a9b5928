/* A process with others beside it: workers learn and rank what is theirs, a listener learns what
 * others told and takes over their vectors, one writes records, few rows so that they are evicted
 * and used again; for the thread sanitizer, and for the invariants at the end. */
#include "model/sgd.h"
#include "model/share.h"
#include "tests/support/people.h"

#include <pthread.h>

enum { THREADS = 3, EVENTS = 1500, USERS = 16, GOODS = 150, RECORD = 20 };

static struct model *ours, *theirs;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;

static struct event event_at(struct rng *r, struct str user, int i, char id[24], char item[16]) {
    snprintf(id, 24, "%p-%d", (void *)r, i);
    snprintf(item, 16, "g%u", rng_below(r, GOODS));
    return (struct event){.id = str_of(id),
                          .user = user,
                          .item = str_of(item),
                          .time_ms = 1000000 + i * 100,
                          .type = rng_below(r, 5) ? EV_VIEW : EV_PURCHASE,
                          .value = NAN,
                          .dwell_ms = NAN};
}

static uint32_t admit(struct str id, int64_t now_ms) {
    pthread_rwlock_rdlock(&lock);
    uint32_t row = model_item_find(ours, id);
    pthread_rwlock_unlock(&lock);
    if (row == ROW_NONE) {
        pthread_rwlock_wrlock(&lock);
        row = model_item_intern(ours, id, now_ms);
        pthread_rwlock_unlock(&lock);
    }
    return row;
}

static void *work(void *arg) {
    static _Thread_local struct list lists[USERS];
    uint32_t index = (uint32_t)(uintptr_t)arg;
    struct learner *l;
    struct user *u[USERS];
    struct rng r;
    rng_seed(&r, index);
    if (learner_new(ours, index, &l) < 0)
        abort();
    for (int i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%u-%d", index, i);
        u[i] = person_new(ours, id);
    }
    for (int i = 0; i < EVENTS; i++) {
        char id[24], item[16];
        struct user *who = u[rng_below(&r, USERS)];
        struct event e = event_at(&r, who->id, i, id, item);
        uint32_t row = admit(e.item, e.time_ms);
        pthread_rwlock_rdlock(&lock);
        model_learn(l, NULL, who, &e, row);
        if (i % 50 == 0)
            model_rank(l, u, USERS, false, lists);
        pthread_rwlock_unlock(&lock);
        if (i % 200 == 100) {
            pthread_rwlock_wrlock(&lock);
            model_maintain(ours, e.time_ms);
            pthread_rwlock_unlock(&lock);
        }
    }
    for (int i = 0; i < USERS; i++)
        person_free(u[i]);
    learner_free(l);
    return NULL;
}

static void hear(struct listener *l, const struct share_writer *w) {
    struct share_reader read;
    struct heard h;
    if (share_open(&read, w->buf.p, w->buf.n) < 0)
        abort();
    while (share_next(&read, &h)) {
        h.row = admit(h.e.item, h.e.time_ms);
        pthread_rwlock_rdlock(&lock);
        if (listener_learn(l, &h) < 0)
            abort();
        pthread_rwlock_unlock(&lock);
    }
}

/* What the other process saved, and what ours would. */
static void take_and_save(void) {
    struct buf key = {0}, rec = {0};
    uint32_t cursor = 0, row;
    while ((row = model_dirty_next(theirs, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&rec);
        if (model_item_encode(theirs, row, &key, &rec) < 0)
            continue;
        pthread_rwlock_rdlock(&lock);
        int r = model_vectors_take(ours, (struct str){(char *)key.p, key.n}, rec.p, rec.n);
        pthread_rwlock_unlock(&lock);
        if (r < 0 && r != -EAGAIN)
            abort();
    }
    pthread_rwlock_rdlock(&lock);
    cursor = 0;
    for (int i = 0; i < 20 && (row = model_dirty_next(ours, &cursor)) != ROW_NONE; i++) {
        buf_reset(&key);
        buf_reset(&rec);
        model_item_encode(ours, row, &key, &rec);
    }
    pthread_rwlock_unlock(&lock);
    buf_free(&key);
    buf_free(&rec);
}

static void *listen(void *arg) {
    struct listener *l = arg;
    struct learner *teller;
    struct share_writer w = {0};
    struct buf key = {0};
    struct rng r;
    rng_seed(&r, 99);
    struct user *who = person_new(theirs, "them");
    if (learner_new(theirs, 0, &teller) < 0)
        abort();
    for (int i = 0; i < EVENTS; i++) {
        char id[24], item[16];
        struct event e = event_at(&r, who->id, i, id, item);
        model_learn(teller, NULL, who, &e, model_item_intern(theirs, e.item, e.time_ms));
        share_put(&w, &e, true);
        if (i % RECORD != RECORD - 1)
            continue;
        share_end(&w, 1, (uint64_t)i, &key);
        hear(l, &w);
        take_and_save();
        share_reset(&w);
        buf_reset(&key);
    }
    person_free(who);
    learner_free(teller);
    buf_free(&w.buf);
    buf_free(&key);
    return NULL;
}

int main(void) {
    struct model_config c;
    struct listener *l;
    model_config_default(&c);
    c.dim = 16;
    c.max_items = 120; /* so that rows are evicted and used again */
    c.flood_per_minute = 0;
    if (model_new(&c, &ours) < 0 || model_new(&c, &theirs) < 0 || listener_new(ours, &l) < 0)
        return 1;
    pthread_t t[THREADS + 1];
    for (int i = 0; i < THREADS; i++)
        pthread_create(&t[i], NULL, work, (void *)(uintptr_t)i);
    pthread_create(&t[THREADS], NULL, listen, l);
    for (int i = 0; i <= THREADS; i++)
        pthread_join(t[i], NULL);
    int bad = ours->events > (uint64_t)(THREADS + 1) * EVENTS ||
              ours->events < (uint64_t)(THREADS + 1) * EVENTS * 99 / 100;
    for (size_t i = 0; i < (size_t)ours->items.rows * c.dim; i++)
        bad += !isfinite(ours->items.own[i]) || !isfinite(ours->items.eff[i]) ||
               !isfinite(ours->items.in[i]);
    for (size_t i = 0; i < (size_t)c.dim * c.dim; i++)
        bad += !isfinite(ours->phi[i]);
    printf("%lu events, %u items, %d faults\n", (unsigned long)ours->events, ours->items.live, bad);
    listener_free(l);
    model_free(ours);
    model_free(theirs);
    return bad != 0;
}
