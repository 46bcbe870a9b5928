/* Events of files kept in memory, so that they can be put in order, looked ahead and played
 * again: 56 bytes an event, 8 a context pair, every text once. */
#pragma once

#include "model/event.h"

/* Texts are numbered from 1 in the order they came; 0 is the empty one. Users, sessions and items
 * share the numbers. */
struct taped {
    int64_t time_ms;
    double value;
    uint64_t id; /* hash of the event id */
    uint32_t user, item, session, query, decision;
    uint32_t ctx; /* first of its pairs */
    float dwell_ms;
    uint8_t type, n_ctx;
};

struct tape;
int tape_new(struct tape **ret);
void tape_free(struct tape *t);
DEFINE_CLEANUP(struct tape, tape_free)

int tape_add(struct tape *t, const struct event *e); /* copies it; 0, -ENOMEM, -E2BIG */
size_t tape_n(const struct tape *t);
const struct taped *tape_at(const struct tape *t, size_t i);

/* The number of a text, given it if it has none; 0 too when memory is out. */
uint32_t tape_intern(struct tape *t, struct str s);
uint32_t tape_find(const struct tape *t, struct str s); /* UINT32_MAX: has none */
struct str tape_text(const struct tape *t, uint32_t number);
uint32_t tape_texts(const struct tape *t); /* one more than the largest number */

/* Puts events [from, n) in order of time, those of one time as they came. Returns how many stood
 * before an earlier one. -ENOMEM. */
int64_t tape_sort(struct tape *t, size_t from);
/* Gives the i-th event another user and session. */
void tape_rename(struct tape *t, size_t i, uint32_t user, uint32_t session);
void tape_shift(struct tape *t, size_t from, int64_t ms); /* moves [from, n) by so much time */

/* The i-th event; its texts are the tape's, its id is written into `id`: 16 hexadecimal digits
 * of the hash. */
enum { TAPE_ID = 16 };
void tape_event(const struct tape *t, size_t i, char id[TAPE_ID], struct event *ret);
