#include "consumer/hearing.h"

#include "consumer/metrics.h"

enum { CHUNK = 64 }; /* events under one read lock, as workers have them */

struct kept {
    int64_t offset;
    uint64_t run, number;
    struct buf record;
};

struct hearing {
    struct world *world;
    struct metrics *metrics;
    struct listener *listener;
    bool begun;
    int64_t next; /* offset behind the newest told record */
    uint64_t events;
    bool marked; /* there is a mark, the newest: */
    struct share_mark mark;
    struct kept *kept;
    size_t n_kept, cap_kept;
    struct heard chunk[CHUNK];
};

int hearing_new(struct world *w, struct metrics *m, struct hearing **ret) {
    autofree(hearing_free) struct hearing *h = calloc(1, sizeof *h);
    if (!h)
        return -ENOMEM;
    h->world = w;
    h->metrics = m;
    int r = listener_new(w->model, &h->listener);
    if (r < 0)
        return r;
    *ret = TAKE(h);
    return 0;
}

static void forget_kept(struct hearing *h) {
    for (size_t i = 0; i < h->n_kept; i++)
        buf_free(&h->kept[i].record);
    h->n_kept = 0;
}

void hearing_free(struct hearing *h) {
    if (!h)
        return;
    forget_kept(h);
    free(h->kept);
    listener_free(h->listener);
    free(h);
}

/* ---- learning ---- */

/* Finds the items, and makes those known that are new, as a worker does for its own events. */
static void find_items(struct hearing *h, size_t n) {
    struct model *m = h->world->model;
    bool missing = false;
    pthread_rwlock_rdlock(&h->world->model_lock);
    for (size_t i = 0; i < n; i++) {
        struct heard *x = &h->chunk[i];
        x->row = x->e.item.n ? model_item_find(m, x->e.item) : ROW_NONE;
        missing |= x->e.item.n && x->row == ROW_NONE;
    }
    pthread_rwlock_unlock(&h->world->model_lock);
    if (!missing)
        return;
    pthread_rwlock_wrlock(&h->world->model_lock);
    for (size_t i = 0; i < n; i++) {
        struct heard *x = &h->chunk[i];
        if (x->e.item.n && x->row == ROW_NONE)
            x->known ? model_item_intern(m, x->e.item, x->e.time_ms)
                     : model_item_admit(m, x->e.item, x->e.time_ms);
    }
    for (size_t i = 0; i < n; i++) /* all: a newcomer may have taken another's row */
        if (h->chunk[i].e.item.n)
            h->chunk[i].row = model_item_find(m, h->chunk[i].e.item);
    pthread_rwlock_unlock(&h->world->model_lock);
}

static int learn_chunk(struct hearing *h, size_t n) {
    int r = 0;
    find_items(h, n);
    pthread_rwlock_rdlock(&h->world->model_lock);
    for (size_t i = 0; i < n && r == 0; i++)
        r = listener_learn(h->listener, &h->chunk[i]);
    pthread_rwlock_unlock(&h->world->model_lock);
    h->events += n;
    metric_add(&h->metrics->heard, n);
    world_learned(h->world, n, h->chunk[n - 1].e.time_ms);
    return r;
}

static int learn(struct hearing *h, const void *p, size_t size) {
    struct share_reader reader;
    int r = share_open(&reader, p, size);
    while (r == 0) {
        size_t n = 0;
        while (n < CHUNK && share_next(&reader, &h->chunk[n]))
            n++;
        if (n == 0)
            break;
        r = learn_chunk(h, n);
    }
    return r == 0 && reader.wire.bad ? -EBADMSG : r;
}

/* ---- the start ---- */

static bool in_rows(const struct hearing *h, const struct kept *k) {
    return h->marked &&
           (k->run == h->mark.run ? k->number < h->mark.told : k->offset < h->mark.offset);
}

static void drop_saved(struct hearing *h) {
    size_t n = 0;
    for (size_t i = 0; i < h->n_kept; i++)
        if (in_rows(h, &h->kept[i]))
            buf_free(&h->kept[i].record);
        else
            h->kept[n++] = h->kept[i];
    h->n_kept = n;
}

static int keep(struct hearing *h, struct kept k, const void *p, size_t n) {
    if (in_rows(h, &k))
        return 0;
    if (h->n_kept == h->cap_kept) {
        size_t cap = h->cap_kept ? 2 * h->cap_kept : 256;
        struct kept *all = reallocarray(h->kept, cap, sizeof *all);
        if (!all)
            return -ENOMEM;
        h->kept = all;
        h->cap_kept = cap;
    }
    buf_put(&k.record, p, n);
    if (k.record.failed)
        return -ENOMEM;
    h->kept[h->n_kept++] = k;
    return 0;
}

uint64_t hearing_begin(struct hearing *h) {
    uint64_t before = h->events;
    h->begun = true;
    for (size_t i = 0; i < h->n_kept; i++)
        learn(h, h->kept[i].record.p, h->kept[i].record.n);
    forget_kept(h);
    return h->events - before;
}

/* ---- records ---- */

int hearing_record(struct hearing *h, struct str key, const void *p, size_t n, int64_t offset) {
    struct share_reader head;
    struct share_mark mark;
    if (share_is_mark(key)) {
        int r = share_mark_get(p, n, &mark);
        if (r == 0) {
            h->mark = mark;
            h->marked = true;
            drop_saved(h);
        }
        return r;
    }
    int r = share_open(&head, p, n);
    if (r < 0)
        return r;
    h->next = offset + 1;
    if (!h->begun)
        return keep(h, (struct kept){.offset = offset, .run = head.run, .number = head.number}, p,
                    n);
    return head.run == h->world->run ? 0 : learn(h, p, n);
}

int hearing_row(struct hearing *h, struct str key, const void *p, size_t n) {
    struct world *w = h->world;
    pthread_rwlock_rdlock(&w->model_lock);
    int r = model_vectors_take(w->model, key, p, n);
    pthread_rwlock_unlock(&w->model_lock);
    if (r != -EAGAIN)
        return r;
    /* Saved before the event that made it known was told. */
    pthread_rwlock_wrlock(&w->model_lock);
    uint32_t row = model_item_intern(w->model, (struct str){key.p + 1, key.n - 1}, 0);
    r = row == ROW_NONE ? -ENOMEM : model_vectors_take(w->model, key, p, n);
    pthread_rwlock_unlock(&w->model_lock);
    return r;
}

bool hearing_open(const struct hearing *h) {
    return h->marked && h->mark.open;
}

struct share_mark hearing_mark(const struct hearing *h) {
    return (struct share_mark){
        .run = h->world->run,
        .told = __atomic_load_n(&h->world->told, __ATOMIC_ACQUIRE),
        .offset = h->next,
    };
}

bool hearing_unmarked(const struct hearing *h) {
    struct share_mark now = hearing_mark(h);
    uint64_t marked = h->mark.run == now.run ? h->mark.told : 0;
    return now.told > marked || now.offset > h->mark.offset;
}

struct share_mark hearing_last_mark(const struct hearing *h) {
    struct share_mark m = h->mark;
    m.open = true;
    return m;
}
