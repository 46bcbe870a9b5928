/* Workers that learn, rank and look up side by side on one model, while the model is
 * maintained and its changed rows are written out, as the service does it. */
#include <math.h>
#include <pthread.h>
#include <stdio.h>

#include "model/internal.h"
#include "model/ranker.h"

enum { WORKERS = 3, USERS = 40, ITEMS = 300, EVENTS = 3000, CHUNK = 100 };

struct world {
    pthread_rwlock_t lock;
    struct model *m;
};

struct worker {
    struct world *w;
    uint32_t index;
    size_t learned, ranked;
    struct learn_stats stats;
};

static void check(bool ok, const char *what) {
    if (ok)
        return;
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void item_name(char out[16], uint32_t i) {
    snprintf(out, 16, "item%u", i);
}

static void fill(struct model *m) {
    for (uint32_t i = 0; i < ITEMS; i++) {
        char id[16], category[16];
        item_name(id, i);
        snprintf(category, sizeof category, "c%u", i % 7);
        struct item_info info = {
            .id = str_of(id), .price = 1 + i, .margin = NAN, .available = true};
        info.n_category = 1;
        info.category[0] = str_of(category);
        check(model_item_upsert(m, &info, 1000, NULL, NULL) == 0, "no item");
    }
}

static void learn_one(struct worker *k, struct learner *l, struct shard *s, struct rng *r,
                      uint32_t n) {
    static const char *const devices[] = {"phone", "desktop", "tablet"};
    char event[32], item[16], user[24], session[16];
    int64_t now = 1000000 + (int64_t)n * 1000;
    snprintf(event, sizeof event, "e%u-%u", k->index, n);
    snprintf(user, sizeof user, "u%u-%u", k->index, rng_below(r, USERS));
    snprintf(session, sizeof session, "s%u", n / 200); /* some outgrow one of the store's */
    item_name(item, rng_below(r, ITEMS));
    struct event e = {
        .id = str_of(event),
        .user = str_of(user),
        .item = str_of(item),
        .session = str_of(session),
        .time_ms = now,
        .value = NAN,
        .dwell_ms = NAN,
        .type = n % 10 ? EV_VIEW : EV_PURCHASE,
    };
    e.ctx[e.n_ctx++] = (struct event_ctx){STR("device"), str_of(devices[n % 3])};
    struct user *u = shard_admit(s, e.user, now);
    check(u != NULL, "no user");
    uint32_t row = model_item_find(k->w->m, e.item);
    check(row != ROW_NONE, "an item was lost");
    if (model_learn(l, s, u, &e, row) == LEARN_OK)
        k->learned++;
}

static void rank_all(struct worker *k, struct learner *l, struct shard *s, int64_t now) {
    static _Thread_local struct list lists[USERS], other;
    struct user *users[USERS];
    uint32_t cursor = 0;
    size_t n = 0;
    for (struct user *u; n < USERS && (u = shard_next(s, &cursor));)
        users[n++] = u;
    model_rank(l, users, n, false, lists);
    for (size_t i = 0; i < n; i++)
        for (uint32_t j = 0; j < lists[i].n; j++)
            check(isfinite(lists[i].e[j].score), "a score is not finite");
    k->ranked += n;
    model_similar(l, 1, 10, &other);
    model_trending(l, 10, now, &other);
    struct buf b = {0};
    check(n == 0 || user_encode(k->w->m, users[0], &b) == 0, "a user cannot be encoded");
    buf_free(&b);
}

static void *work(void *arg) {
    struct worker *k = arg;
    struct learner *l = NULL;
    struct shard *s = NULL;
    struct rng r;
    rng_seed(&r, k->index);
    pthread_rwlock_wrlock(&k->w->lock);
    check(learner_new(k->w->m, k->index, &l) == 0 && shard_new(k->w->m, &s) == 0, "no worker");
    pthread_rwlock_unlock(&k->w->lock);
    for (uint32_t n = 0; n < EVENTS;) {
        pthread_rwlock_rdlock(&k->w->lock);
        for (uint32_t end = n + CHUNK; n < end; n++)
            learn_one(k, l, s, &r, n);
        if (n % (5 * CHUNK) == 0)
            rank_all(k, l, s, 1000000 + (int64_t)n * 1000);
        pthread_rwlock_unlock(&k->w->lock);
        if (n % (10 * CHUNK) == 0) {
            pthread_rwlock_wrlock(&k->w->lock);
            model_maintain(k->w->m, 1000000 + (int64_t)n * 1000);
            pthread_rwlock_unlock(&k->w->lock);
        }
    }
    learner_stats(l, &k->stats);
    learner_free(l);
    shard_free(s);
    return NULL;
}

/* What the model's writer does meanwhile. */
static size_t write_out(struct world *w) {
    struct buf key = {0}, value = {0};
    size_t rows = 0;
    pthread_rwlock_rdlock(&w->lock);
    uint32_t cursor = 0;
    for (uint32_t row; (row = model_dirty_next(w->m, &cursor)) != ROW_NONE; rows++) {
        buf_reset(&key);
        buf_reset(&value);
        check(model_item_encode(w->m, row, &key, &value) == 0, "a row cannot be encoded");
    }
    pthread_rwlock_unlock(&w->lock);
    buf_free(&key);
    buf_free(&value);
    return rows;
}

int main(void) {
    struct world w = {.lock = PTHREAD_RWLOCK_INITIALIZER};
    struct model_config c;
    model_config_default(&c);
    c.dim = 16;
    c.max_items = 1000;
    c.max_users = 1000;
    c.session_store = 64; /* taken anew under the readers' eyes */
    c.replays = 2;
    c.flood_per_minute = 0;
    check(model_new(&c, &w.m) == 0, "no model");
    fill(w.m);

    pthread_t thread[WORKERS];
    struct worker worker[WORKERS];
    for (uint32_t i = 0; i < WORKERS; i++) {
        worker[i] = (struct worker){.w = &w, .index = i};
        check(pthread_create(&thread[i], NULL, work, &worker[i]) == 0, "no thread");
    }
    size_t rows = 0;
    for (int i = 0; i < 50; i++)
        rows += write_out(&w);
    for (uint32_t i = 0; i < WORKERS; i++) {
        pthread_join(thread[i], NULL);
        check(worker[i].learned == EVENTS, "an event was not learned");
        check(worker[i].ranked > 0, "nobody was ranked");
        check(worker[i].stats.nan_guarded == 0, "learning went astray");
    }
    check(ranker_cases(w.m->ranker) > EVENTS, "the ranker learned from few cases");
    check(isfinite(ranker_loss(w.m->ranker)), "the ranker went astray");
    for (uint32_t i = 0; i < shortlist_columns(); i++)
        check(isfinite(ranker_weight(w.m->ranker, i)), "a weight is not finite");
    rows += write_out(&w);
    check(rows >= ITEMS, "rows were changed and not written");
    model_free(w.m);
    pthread_rwlock_destroy(&w.lock);
    return 0;
}
