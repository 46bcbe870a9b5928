#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/restorer_internal.h"
#include "consumer/snapshot.h"

bool snapshot_path(const struct config *cfg, int32_t partition, char *ret, size_t n) {
    return *cfg->state_dir && (size_t)snprintf(ret, n, "%s/%s-%d.snapshot", cfg->state_dir,
                                               cfg->app_name, partition) < n;
}

void backlog_drop(struct backlog *b) {
    lane_free(b->lane);
    *b = (struct backlog){.distrust = b->distrust};
}

/* Why a snapshot does not fit, or NULL. */
static const char *misfit(const struct config *cfg, const struct snapshot_head *h,
                          int32_t partition, int64_t low, int64_t end, uint64_t origin) {
    if (h->partition != partition || h->origin != origin || !origin || !h->epoch)
        return "it is of another topic or cluster";
    if (h->offset < low)
        return "it is older than the beginning of the changelog";
    if (h->offset > end)
        return "it is newer than the end of the changelog";
    if (clock_wall_ms() - h->taken_ms > cfg->state_snapshot_max_age)
        return "it is older than state.snapshot_max_age";
    return NULL;
}

static int open_file(const struct config *cfg, const char *path, const char **ret_why) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* not to hang at a FIFO */
    struct stat st;
    if (fd < 0) {
        *ret_why = errno == ENOENT ? NULL : strerror(errno);
        return -1;
    }
    *ret_why = fstat(fd, &st) < 0                     ? strerror(errno)
               : !S_ISREG(st.st_mode)                 ? "it is not a regular file"
               : st.st_size > cfg->state_snapshot_max ? "it is larger than state.snapshot_max"
                                                      : NULL;
    if (!*ret_why)
        return fd;
    close(fd);
    return -1;
}

static int read_records(struct snapshot_reader *reader, struct lane *l, const atomic_bool *stop,
                        struct metrics *m) {
    struct str key, value;
    uint64_t n = 0;
    int r;
    while ((r = snapshot_next(reader, &key, &value)) == 1) {
        r = lane_restore(l, key.p, key.n, value.p, value.n);
        if (r == 0 && ++n % 4096 == 0 && atomic_load_explicit(stop, memory_order_relaxed))
            r = -EINTR;
        if (r < 0)
            break;
        metric_add(&m->restored_users, 1);
        metric_add(&m->restored_bytes, key.n + value.n);
    }
    return r;
}

/* 0: the lane is as the snapshot; -ENOENT: there is none that is good, and the lane is to be
 * dropped; -ENOMEM, -EINTR. */
static int from_snapshot(struct backlog *b, const struct config *cfg, int32_t partition,
                         int64_t low, int64_t end, uint64_t origin, const atomic_bool *stop,
                         struct metrics *m) {
    char path[PATH_MAX];
    if (b->distrust || !snapshot_path(cfg, partition, path, sizeof path))
        return -ENOENT;
    autofree(snapshot_close) struct snapshot_reader *reader = NULL;
    struct snapshot_head h;
    const char *why = NULL;
    int64_t start = clock_mono_us();
    int fd = open_file(cfg, path, &why), r = fd < 0 ? -ENOENT : snapshot_open(fd, &h, &reader);
    if (r == 0) {
        why = misfit(cfg, &h, partition, low, end, origin);
        r = why ? -ENOENT : read_records(reader, b->lane, stop, m);
    }
    if (r == 0) {
        b->lane->epoch = b->epoch = h.epoch;
        b->next = h.offset;
        b->from = FROM_SNAPSHOT;
        log_info("snapshot-read",
                 "partition=%d offset=%" PRId64 " left=%" PRId64 " users=%zu "
                 "ms=%" PRId64,
                 partition, h.offset, end - h.offset, shard_users(b->lane->users),
                 (clock_mono_us() - start) / 1000);
        return 0;
    }
    if (r == -ENOMEM || r == -EINTR)
        return r;
    if (r != -ENOENT)
        why = r == -EBADMSG ? "it is damaged" : strerror(-r);
    if (why) {
        metric_add(&m->snapshots_refused, 1);
        log_warning("snapshot-refused", "partition=%d file=%s why=%s instead=changelog", partition,
                    log_q(path), log_q(why));
    }
    return -ENOENT;
}

int backlog_open(struct backlog *b, struct world *w, int32_t partition, int64_t low, int64_t end,
                 uint64_t origin, const atomic_bool *stop, struct metrics *m) {
    if (b->lane && b->next >= low && b->next <= end) {
        b->from = FROM_STANDBY;
        return 0;
    }
    backlog_drop(b);
    int r = lane_new(w, partition, &b->lane);
    if (r == 0)
        r = from_snapshot(b, w->cfg, partition, low, end, origin, stop, m);
    if (r != -ENOENT)
        return r;
    backlog_drop(b); /* with what a bad snapshot left */
    b->next = low;
    b->from = FROM_CHANGELOG;
    return lane_new(w, partition, &b->lane);
}

int backlog_apply(struct backlog *b, const rd_kafka_message_t *m) {
    int r = lane_restore(b->lane, m->key, m->key_len, m->payload, m->len);
    if (r == 0 && b->epoch && b->lane->epoch != b->epoch) {
        log_warning("snapshot-refused",
                    "partition=%d why=\"the changelog was begun anew\" instead=changelog",
                    b->lane->partition);
        backlog_drop(b);
        b->distrust = true;
        return -ESTALE;
    }
    return r;
}
