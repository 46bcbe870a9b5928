/* What the files of restorer share; nobody else includes it.
 *   restorer.c  threads, partitions, their consumers
 *   backlog.c   one partition's lane while it is read back
 *   standby.c   which partitions stand by */
#pragma once

#include <librdkafka/rdkafka.h>

#include "consumer/restorer.h"

/* A lane and how far in the changelog it is. */
struct backlog {
    struct lane *lane; /* NULL: nothing yet */
    int64_t next;
    uint64_t epoch; /* what came from a snapshot is of this epoch; 0: nothing did */
    bool distrust;  /* a snapshot that was not of this changelog is not tried again */
    enum restored_from from;
};

/* Makes it ready to apply what follows `next`: as it is, if there is a lane whose place is within
 * low..end, else from a snapshot, else from `low`. 0, -ENOMEM, -EINTR. */
int backlog_open(struct backlog *b, struct world *w, int32_t partition, int64_t low, int64_t end,
                 uint64_t origin, const atomic_bool *stop, struct metrics *m);
/* One record. -ESTALE: it shows that the snapshot was not of this changelog: open again. Other
 * errors as lane_restore. */
int backlog_apply(struct backlog *b, const rd_kafka_message_t *m);
void backlog_drop(struct backlog *b);
