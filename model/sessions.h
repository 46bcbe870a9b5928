/* The newest sessions of all users, and which of them an item is in: what session
 * neighbours are found by (VS-KNN, Ludewig and Jannach 2018; STAN, Garg et al. 2019).
 *
 * A session is a run of a user's items in the order they came, repeats included, at most
 * SESSION_ITEMS of them; a longer one goes on as another. The store is a ring: a new session
 * takes the oldest one's place, so that memory is bounded and the sample is of the newest.
 * Postings are chunks of session numbers, newest first, in a ring of their own; both rings
 * are read while others write: every number met is checked against what it names.
 *
 * Thread: any, side by side (Hogwild, relaxed atomics); [structural]: alone. */
#pragma once

#include "model/model.h"
#include "model/regions.h"

enum { SESSION_ITEMS = 32, SESSIONS_MAX = 1 << 27 };

struct sessions;

/* capacity: sessions kept, rounded up to a power of two. Address space at once, memory where
 * touched. 0, -ENOMEM, -EINVAL (none, or more than SESSIONS_MAX). */
int sessions_new(uint32_t max_items, uint32_t capacity, struct sessions **ret);
void sessions_free(struct sessions *s);
DEFINE_CLEANUP(struct sessions, sessions_free)

/* Appends an item to session `number`, or to a new one if that is 0, full or no longer there;
 * returns the number it went to. */
uint32_t sessions_add(struct sessions *s, uint32_t number, uint32_t item);

struct session {
    uint32_t n;
    const uint32_t *item; /* the store's: may change under the reader's eyes, see session_item */
};
static inline uint32_t session_item(const struct session *s, uint32_t i) {
    return __atomic_load_n(&s->item[i], __ATOMIC_RELAXED);
}
/* False: that session is not there any more. */
bool sessions_get(const struct sessions *s, uint32_t number, struct session *ret);
uint32_t sessions_count(const struct sessions *s); /* begun so far; numbers are 1..count */
uint32_t sessions_capacity(const struct sessions *s);
uint32_t sessions_slot(const struct sessions *s, uint32_t number); /* below capacity */

void sessions_prefetch(const struct sessions *s, uint32_t slot); /* for a get soon */

/* Sessions with the item, newest first; at most max numbers to ret, of which some may be gone. */
size_t sessions_with(const struct sessions *s, uint32_t item, uint32_t *ret, size_t max);

/* What all sessions so far tell of an item. */
struct session_facts {
    uint32_t sessions; /* it was in */
    uint32_t begins;   /* that began with it */
    uint32_t ends;     /* that have ended with it, or stand at it now */
    uint32_t again;    /* times it followed itself */
};
struct session_facts sessions_facts(const struct sessions *s, uint32_t item);

/* [structural] */
void sessions_facts_set(struct sessions *s, uint32_t item, const struct session_facts *facts);

/* First slot from `slot` on whose session changed since it was last handed out, clearing its
 * mark; ROW_NONE: there are no more. */
uint32_t sessions_dirty_next(struct sessions *s, uint32_t slot);
/* The session in a slot as a durable record, items by their ids (those without one left out).
 * False: there is none, nothing was written. */
bool sessions_encode(const struct sessions *s, uint32_t slot,
                     struct str (*id_of)(const void *ctx, uint32_t row), const void *ctx,
                     struct buf *out);
/* Puts a session back under its number, unless its place has a newer one; items whose row_of_id
 * is no row are left out. To be found it has to be indexed. 0 or -EBADMSG. [structural] */
int sessions_restore(struct sessions *s, uint32_t (*row_of_id)(void *ctx, struct str id), void *ctx,
                     const void *p, size_t n);
/* Makes the postings anew from the sessions there are, as if they had come one after another;
 * those older than the ring is long go. After the last sessions_restore. [structural] */
void sessions_index(struct sessions *s);

/* Its places in sessions become ROW_NONE. [structural] */
void sessions_forget_row(struct sessions *s, uint32_t row);
/* The memory of its state, of the first `rows` items; see regions.h. */
void sessions_regions(struct sessions *s, uint32_t rows, struct regions *to);
/* Whether what was put there, from outside, leads nowhere else. */
bool sessions_sound(const struct sessions *s, uint32_t rows);
size_t sessions_bytes(const struct sessions *s); /* of what is in use */
