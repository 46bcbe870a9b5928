/* Reads users' state back from the changelog: threads of their own, so that partitions are read in
 * parallel and the workers go on with those they have. One per process.
 *
 * A partition that a worker was given is read up to the changelog's end, from the newest of
 *   - the lane that stood by here, if `state.standby` names the partition,
 *   - the snapshot in `state.dir`, if there is a good one,
 *   - the changelog's beginning,
 * and its lane is then the worker's. While another process has it, a partition named by
 * `state.standby` is followed: its lane stays as new as that process's commits, at the cost of its
 * memory and of reading everything once more.
 *
 * A snapshot is passed over, with a warning, when it is damaged, larger than state.snapshot_max,
 * older than state.snapshot_max_age (a compacted topic forgets deletions after
 * delete.retention.ms), or not of this changelog: of another cluster, topic, or lane epoch, or
 * from an offset that the topic no longer or not yet has. If only what follows shows that, the
 * lane is dropped and all is read.
 *
 * Thread: any, except that a partition's calls come from the worker that has it. */
#pragma once

#include <stdatomic.h>

#include "consumer/lane.h"
#include "consumer/metrics.h"

struct restorer;
enum { RESTORER_THREADS_MAX = 17 }; /* one follows what stands by */

/* `stop`: set when the process is to end; waiting for brokers ends then. Faults are logged. 0,
 * -EINVAL, -ENOMEM. */
int restorer_new(struct world *w, const atomic_bool *stop, struct restorer **ret);
void restorer_free(struct restorer *r);
DEFINE_CLEANUP(struct restorer, restorer_free)

/* Name of the changelog topic; as long as the restorer lives. */
const char *restorer_topic(const struct restorer *r);
/* Which cluster and topic, for snapshots; 0 while the cluster was not asked. */
uint64_t restorer_origin(const struct restorer *r);
/* "DIR/APP-PARTITION.snapshot" into `ret`; false: no state.dir, or too long. */
bool snapshot_path(const struct config *cfg, int32_t partition, char *ret, size_t n);

/* The partition is ours: read its state. Until taken, cancelled or kept it stays so. */
void restorer_begin(struct restorer *r, int32_t partition);

enum restored_from { FROM_CHANGELOG, FROM_SNAPSHOT, FROM_STANDBY };
struct restored {
    struct lane *lane; /* moves to the caller */
    int64_t next;      /* offset in the changelog up to which it holds everything */
    int64_t records;   /* read from the changelog since restorer_begin */
    int64_t us;        /* since restorer_begin */
    enum restored_from from;
};
/* 1: there it is; 0: not yet; -EIO: it cannot be read (logged). Never waits. */
int restorer_take(struct restorer *r, int32_t partition, struct restored *ret);
/* The partition is not ours any more, whether its lane was taken or not. A clean lane (see
 * lane_clean) whose place in the changelog is known (next >= 0) moves in and stands by if
 * state.standby names the partition; else it is freed. `lane` may be NULL. */
void restorer_give_back(struct restorer *r, int32_t partition, struct lane *lane, int64_t next);

/* What thread i counts, for i < the number of threads. */
size_t restorer_threads(const struct restorer *r);
const struct metrics *restorer_metrics(const struct restorer *r, size_t i);

/* Whether `state.standby` ("all", or partitions as in "0-3,7") names the partition. */
bool standby_has(const char *list, int32_t partition);
bool standby_ok(const char *list); /* can be read */
