/* What one process learned, told to the others: the events themselves, as small as they can be.
 *
 * All a model counts (co-visitation, pairs, sessions, trends, contexts) is a sum over events, and
 * its vectors are moved by steps of them. So an event is the smallest additive delta there is, and
 * who learns those of all processes knows what one process would that took the whole stream, but
 * for their order (as in Downpour SGD, Dean et al. 2012, where the updates of each replica reach
 * the others late). It is told in the transaction that commits the event, so that it counts once,
 * whoever dies.
 *
 * Users are told by hashes that are the same in every process. A listener keeps what it needs of
 * them, their trails, in two generations of SHARE_USERS each: when the newer one is full the older
 * one goes, and who was in it begins anew.
 *
 * A told record: version (1 byte), run (8), number (8), events. Event: type (5 bits) and what is
 * there of it (1 byte), time (signed varint, ms since the one before), user (8), session (4),
 * value (f32), item (varint length, bytes), which context values are there (1), each (4). It is
 * for processes of the same deployment: types mean the same there. Key: 'd' and a number below
 * SHARE_KEYS, so that compaction keeps so many of them, whoever wrote them.
 *
 * A mark says which of them are in the rows that were saved before it: who begins with those rows
 * learns the others. An open one, with what the mark before it said, stands in front of the next
 * rows: from there on until they are marked themselves, rows of two states are mixed. Version,
 * open (1), run, told, offset; key: 'k'. It is exact for what others told; of its saver's own
 * events those learned and not yet committed when a row was collected are in that row, and are told
 * later: who starts just then counts up to one commit's events twice. */
#pragma once

#include "model/context.h"
#include "model/model.h"
#include "model/wire.h"

enum { SHARE_USERS = 1 << 16, SHARE_BYTES = 64 << 10, SHARE_KEYS = 2048 };

/* ---- telling ---------------------------------------------------------------- */

/* A record being written; zeroed is empty. */
struct share_writer {
    struct buf buf;
    int64_t last_ms;
};

/* Appends an event that was learned. `known`: its item has a row (others count it as asked for
 * once otherwise, see model_item_admit). Sticky failure as buf. */
void share_put(struct share_writer *w, const struct event *e, bool known);
/* Completes the record, the number-th of this run (a random number of the process, nobody else's);
 * its key to `key`. It is full from SHARE_BYTES on. */
void share_end(struct share_writer *w, uint64_t run, uint64_t number, struct buf *key);
void share_reset(struct share_writer *w);

/* ---- reading ---------------------------------------------------------------- */

bool share_is_told(struct str key);
bool share_is_mark(struct str key);

struct share_reader {
    struct wire wire;
    int64_t last_ms;
    uint64_t run, number;
};

/* An event of another process; its strings are borrowed from itself and the record. */
struct heard {
    struct event e;
    uint64_t user, id;
    uint32_t session, context[CONTEXT_SLOTS];
    bool known;
    uint32_t row; /* the caller's */
};

/* 0, -EBADMSG, -EPROTO: of another version. */
int share_open(struct share_reader *r, const void *p, size_t n);
/* The next event; false: there is none, and wire.bad tells whether the record is damaged. */
bool share_next(struct share_reader *r, struct heard *ret);

struct share_mark {
    uint64_t run, told; /* the saver's: its own records below number `told` are in its rows */
    int64_t offset;     /* and so are others' below this offset */
    bool open;
};
void share_mark_put(const struct share_mark *m, struct buf *key, struct buf *value);
int share_mark_get(const void *p, size_t n, struct share_mark *ret); /* 0, -EBADMSG, -EPROTO */

/* ---- learning --------------------------------------------------------------- */

/* Learns what others tell. One thread. */
struct listener;
int listener_new(struct model *m, struct listener **ret); /* 0 or -ENOMEM */
void listener_free(struct listener *l);
DEFINE_CLEANUP(struct listener, listener_free)
/* One event of another process, whose item is in h->row. 0 or -ENOMEM. [shared] */
int listener_learn(struct listener *l, struct heard *h);
