#include "model/late.h"

#include "model/kernels.h"
#include "model/wire.h"

struct late {
    uint64_t n; /* put in so far */
    struct late_event ring[LATE];
};

int late_new(struct late **ret) {
    *ret = calloc(1, sizeof **ret);
    return *ret ? 0 : -ENOMEM;
}

void late_free(struct late *q) {
    free(q);
}

static struct late_event get(const struct late_event *e) {
    return (struct late_event){__atomic_load_n(&e->session, __ATOMIC_RELAXED),
                               __atomic_load_n(&e->at, __ATOMIC_RELAXED), load_relaxed(&e->weight)};
}

struct late_event late_put(struct late *q, struct late_event e) {
    struct late_event *to = &q->ring[__atomic_fetch_add(&q->n, 1, __ATOMIC_RELAXED) % LATE];
    struct late_event due = get(to);
    __atomic_store_n(&to->session, e.session, __ATOMIC_RELAXED);
    __atomic_store_n(&to->at, e.at, __ATOMIC_RELAXED);
    store_relaxed(&to->weight, e.weight);
    return due;
}

void late_encode(const struct late *q, struct buf *out) {
    uint64_t end = __atomic_load_n(&q->n, __ATOMIC_RELAXED);
    uint64_t n = MIN(end, (uint64_t)LATE);
    wire_put_varint(out, n);
    for (uint64_t i = end - n; i < end; i++) {
        struct late_event e = get(&q->ring[i % LATE]);
        wire_put_varint(out, e.session);
        wire_put_varint(out, e.at);
        wire_put_f32(out, e.weight);
    }
}

int late_restore(struct late *q, const void *p, size_t n, size_t *ret_n) {
    struct wire w = wire_of(p, n);
    struct late read = {.n = wire_get_varint(&w)};
    if (w.bad || read.n > LATE)
        return -EBADMSG;
    for (uint64_t i = 0; i < read.n; i++) {
        uint64_t session = wire_get_varint(&w), at = wire_get_varint(&w);
        float weight = wire_get_f32(&w);
        if (w.bad || session > UINT32_MAX || at > UINT32_MAX || !__builtin_isfinite(weight))
            return -EBADMSG;
        read.ring[i] = (struct late_event){(uint32_t)session, (uint32_t)at, weight};
    }
    *q = read;
    *ret_n = (size_t)(w.p - (const uint8_t *)p);
    return 0;
}

void late_regions(struct late *q, struct regions *s) {
    regions_one(s, q);
}
