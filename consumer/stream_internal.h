/* What the files of stream share; nobody else includes it.
 *   stream.c             life, gathering, decoding, upkeep
 *   stream_partitions.c  assignment, restoring, rewinding
 *   stream_output.c      results of a step, as messages and cache commands
 *   stream_commit.c      one commit: Redis, then the transaction
 *   stream_snapshot.c    snapshots of the lanes, a slice per turn */
#pragma once

#include <poll.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/exact.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/outbox.h"
#include "consumer/stream.h"
#include "model/share.h"

enum {
    API_TIMEOUT_MS = 10000,
};

/* A partition of ours. */
struct slot {
    int32_t partition;
    struct lane *lane;   /* NULL: not ready, the restorer has it */
    int64_t next_offset; /* first event not processed; < 0: where auto.offset.reset says */
    bool ready;
    int64_t changelog_next; /* the changelog up to here is what was committed of the lane; -1: not
                             * known */
    int64_t changelog_sent; /* the same if the commit that is under way succeeds */
    uint32_t rewrite_cursor;
    bool rewriting, rewrite_again;            /* another whole round after this one */
    int64_t snapshot_due_us, snapshot_offset; /* the last snapshot's place in the changelog */
    int64_t first_offset;                     /* first event ever taken; -1: none */
    uint64_t drops_committed;                 /* lane->drops_seen at the last commit */
    bool at_end;                              /* read up to the end of the partition */
    int64_t held; /* first message that came while restoring: read again when ready; -1: none */
};

/* The snapshot that is being written. */
struct snapping {
    int fd; /* -1: none */
    int32_t partition;
    uint32_t cursor, in_block;
    bool walked; /* all users are in; a commit is due before it counts */
    struct buf block;
    int64_t offset, bytes, started_us;
    uint64_t records;
};

struct stream {
    const struct stream_config *c;
    const struct config *cfg;
    struct metrics *metrics;
    struct worker *worker;
    struct sink sink;
    struct cache *cache;
    struct decoder *decoder;
    struct encoder *encoder;
    rd_kafka_t *consumer, *producer;
    char name[160]; /* transactional id and group instance */

    struct slot *slots;
    size_t n_slots;
    rd_kafka_message_t **msgs; /* polled, not yet processed */
    size_t n_msgs;
    struct input *inputs;
    struct outbox outbox;
    struct snapping snap;
    struct buf scratch;
    struct buf notices; /* triggers for beckon:triggers, kept until their transaction is through */
    struct share_writer told; /* what was learned and is not in the outbox yet */
    char model_topic[256];    /* where that goes */

    int64_t lost_us;        /* when the consumer last lost a broker; 0: never */
    bool failing;           /* a fatal error of the consumer was seen, and is yet to be explained */
    int64_t transaction_ms; /* after which the broker aborts one */
    int64_t transaction_us; /* when the running one began */
    size_t uncommitted;     /* events processed since the last commit */
    int64_t oldest_uncommitted_us, upkeep_ms, measured_ms;
    int64_t polled_us;    /* when the oldest of `msgs` was polled */
    int rewinds_in_a_row; /* without a commit between them */
    bool failed_delivery; /* at-least-once: something was not delivered */
    bool must_rewind, ended;
    enum stream_end end;
};

static inline void stop_with(struct stream *s, enum stream_end end) {
    if (!s->ended)
        s->end = end;
    s->ended = true;
}

static inline bool running(const struct stream *s) {
    return !s->ended && !atomic_load_explicit(s->c->stop, memory_order_relaxed);
}

static inline struct slot *slot_of(struct stream *s, int32_t partition) {
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].partition == partition)
            return &s->slots[i];
    return NULL;
}

static inline bool exactly_once(const struct stream *s) {
    return s->cfg->stream_guarantee == EXACTLY_ONCE;
}

/* stream.c */
/* What a poll of the consumer gave instead of a message. */
void stream_on_error(struct stream *s, const rd_kafka_message_t *m);
/* The consumer cannot go on; librdkafka may have taken its partitions away without a word. */
void stream_on_fatal(struct stream *s);
/* A right is missing: says so and stops, for no waiting brings it. */
void stream_forbidden(struct stream *s, const char *what, rd_kafka_resp_err_t err);

/* stream_output.c */
struct sink stream_sink(struct stream *s);
int stream_dead(struct stream *s, const struct input *in, const struct dead *why);
void stream_show_notices(struct stream *s); /* sent triggers to beckon:triggers */
int stream_tell(struct stream *s);          /* what was learned into the outbox; 0 or -ENOMEM */

/* stream_partitions.c */
void stream_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *parts, void *opaque);
void stream_restored(struct stream *s); /* takes the lanes that were read back */
void stream_rewind(struct stream *s);   /* back to what is committed */
void stream_pause(struct stream *s);    /* all partitions */
void stream_resume(struct stream *s);   /* those that are ready */
/* `committed`: its lane is as it was last committed, and may stand by. */
void stream_drop_slot(struct stream *s, size_t i, bool committed);
/* A polled message into the batch, unless its partition is not ours, not ready, or
 * is ahead or behind of where we are (then it will be read again at its time). */
void stream_keep(struct stream *s, rd_kafka_message_t *m);

/* stream_snapshot.c */
void stream_snapshot(struct stream *s, bool busy); /* goes on with one, or begins one that is due */
void stream_snapshot_committed(struct stream *s);  /* a commit succeeded */
void stream_snapshot_drop(struct stream *s);       /* lanes go back, or away */

/* stream_commit.c */
enum fate { FATE_OK, FATE_RETRY, FATE_ABORT, FATE_FATAL };
/* What an error of the transaction interface asks for; logs and takes it. */
enum fate stream_fate(struct stream *s, rd_kafka_error_t *e, const char *what);
/* Lists to Redis, the rest in one transaction. `patient`: wait while Redis is away
 * (else give up: the events will be processed again). False: rewind. */
bool stream_commit(struct stream *s, bool patient);
/* Until Redis has everything: while it is away or full intake pauses, the consumer stays in
 * the group, nothing is dropped. False when asked to stop meanwhile. */
bool stream_wait_for_cache(struct stream *s);
void stream_on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *m, void *opaque);
