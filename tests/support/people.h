/* Users and events for tests of the model that need no shard. */
#pragma once

#include "model/internal.h"
#include "model/profile.h"

#include <math.h>
#include <stdio.h>

static inline struct user *person_new(const struct model *m, const char *id) {
    struct user *u = aligned_alloc(64, (sizeof *u + m->c.dim * sizeof(float) + 63) / 64 * 64);
    *u = (struct user){.id = str_of(strdup(id))};
    user_init(m, u->id, u->emb);
    profile_init(&u->prof);
    return u;
}

static inline void person_free(struct user *u) {
    profile_done(&u->prof);
    free((char *)(uintptr_t)u->id.p);
    free(u);
}

/* An event with an id of its own; the id lives in a ring of 16. */
static inline struct event event_of(const struct user *u, const char *item, uint8_t type,
                                    int64_t time_ms) {
    static char ids[16][24];
    static unsigned n;
    char *id = ids[n % 16];
    snprintf(id, sizeof ids[0], "e%u", n++);
    return (struct event){.id = str_of(id),
                          .user = u->id,
                          .item = str_of(item),
                          .time_ms = time_ms,
                          .type = type,
                          .value = NAN,
                          .dwell_ms = NAN};
}
