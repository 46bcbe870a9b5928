/* One worker on Kafka and Redis: a consumer in the group, the lanes of the partitions
 * it was given, a transactional producer. Everything here runs on one thread, the
 * rebalance callbacks included (they are served from consumer polls).
 *
 * Life of a partition: assigned → its lane is read back (restorer.h) while
 * the partition is paused → ready → events → revoked (what was processed is
 * committed first) or lost (dropped).
 *
 * A commit: lists to Redis, then one transaction of triggers, decisions, dead
 * letters, changed state and offsets; it ends only after Redis acknowledged the
 * lists, so that no list is lost between the two. If it is aborted, every lane is
 * dropped and restored from what was last committed. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "consumer/campaign_sums.h"
#include "consumer/restorer.h"
#include "consumer/worker.h"

enum stream_end {
    STREAM_STOPPED, /* asked to */
    STREAM_STALLED, /* hung for so long that the broker aborted its transaction: start it anew */
    STREAM_UNDONE,  /* what it learned since the last commit does not count: start it anew */
    STREAM_FENCED,  /* another process runs with the same app.instance */
    STREAM_FAILED,  /* logged */
};

struct stream_hooks { /* for the demo: events as the engine sees them; may be NULL */
    void (*batch)(void *ctx, struct worker *w, struct input *in, size_t n);
    void *ctx;
};

struct stream_config {
    struct world *world;
    struct restorer *restorer; /* outlives the stream */
    uint32_t index;
    struct metrics *metrics;
    const atomic_bool *stop;
    int32_t partitions; /* of the clickstream topic */
    atomic_uint *owned; /* partitions owned by the whole process, for budget shares */
    atomic_bool *leads; /* set while a worker of the process owns partition 0: what one process of
                         * the group has to do is done by that one */
    bool static_member; /* join with group.instance.id, so that a restart takes over at once */
    struct stream_hooks hooks;
    struct campaign_sums *sums; /* per campaign; owned by the caller */
};

/* Runs until *stop or an end that cannot be mended. */
enum stream_end stream_run(const struct stream_config *c);
