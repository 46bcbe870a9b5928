/* The newest events whose items are still to be stepped: a queue of LATE places, in which what
 * goes in comes out when LATE others went in.
 *
 * Thread: any, side by side (relaxed atomics; what is torn names no item of its session and is
 * passed over); [structural]: alone. */
#pragma once

#include "model/regions.h"

enum { LATE = 256 };

struct late_event {
    uint32_t session, at; /* place within it; session 0: none */
    float weight;
};

struct late;
int late_new(struct late **ret); /* 0 or -ENOMEM */
void late_free(struct late *q);
DEFINE_CLEANUP(struct late, late_free)

/* Puts an event in; returns the one it pushes out. */
struct late_event late_put(struct late *q, struct late_event e);

/* All that is in it as a durable record, and back. *ret_n: bytes it took. 0, or -EBADMSG (queue
 * unchanged); restore [structural]. */
void late_encode(const struct late *q, struct buf *out);
int late_restore(struct late *q, const void *p, size_t n, size_t *ret_n);
void late_regions(struct late *q, struct regions *s); /* see regions.h */
