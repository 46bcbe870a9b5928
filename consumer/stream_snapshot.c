/* Snapshots of the partitions of one stream, one at a time, a slice of users per turn.
 *
 * Records are of different moments, all after the offset that the file says: whoever changed
 * meanwhile is in the changelog behind that offset, too, and the newer record wins. Who differs
 * from what is committed when his turn comes is left out; the next commit brings him, so the file
 * gets its name only after one. Whatever goes wrong, the file is dropped and the stream goes on. */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "consumer/snapshot.h"
#include "consumer/stream_internal.h"

enum { SLICE_US = 2000, SLICE_IDLE_US = 20000, SLICE_USERS = 128 };

static bool final_path(const struct stream *s, char *ret) {
    return snapshot_path(s->cfg, s->snap.partition, ret, PATH_MAX);
}

/* Of this worker alone, so that processes may share a folder. */
static bool temporary_path(const struct stream *s, char *ret) {
    char path[PATH_MAX];
    return final_path(s, path) &&
           snprintf(ret, PATH_MAX, "%s.%s-%u", path, s->cfg->app_instance, s->c->index) < PATH_MAX;
}

static void end(struct stream *s) {
    if (s->snap.fd >= 0)
        close(s->snap.fd);
    buf_free(&s->snap.block);
    s->snap = (struct snapping){.fd = -1};
}

void stream_snapshot_drop(struct stream *s) {
    char path[PATH_MAX];
    if (s->snap.fd >= 0 && temporary_path(s, path))
        unlink(path);
    end(s);
}

static void failed(struct stream *s, const char *why) {
    metric_add(&s->metrics->snapshots_failed, 1);
    log_warning("snapshot-failed", "partition=%d dir=%s why=%s", s->snap.partition,
                log_q(s->cfg->state_dir), log_q(why));
    stream_snapshot_drop(s);
}

static int write_all(int fd, const uint8_t *p, size_t n) {
    while (n) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno != EINTR)
            return -errno;
        if (done > 0) {
            p += done;
            n -= (size_t)done;
        }
    }
    return 0;
}

/* Writes the block and makes it empty. */
static int write_out(struct stream *s) {
    struct buf *b = &s->snap.block;
    if (b->failed)
        return -ENOMEM;
    if ((s->snap.bytes += (int64_t)b->n) > s->cfg->state_snapshot_max)
        return -EFBIG;
    int r = write_all(s->snap.fd, b->p, b->n);
    /* It goes to the disk meanwhile, so that the sync in the end has little to wait for. */
    sync_file_range(s->snap.fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    buf_reset(b);
    return r;
}

static int close_block(struct stream *s) {
    int r = 0;
    if (s->snap.in_block) {
        snapshot_end_block(&s->snap.block, s->snap.in_block);
        r = write_out(s);
    }
    s->snap.in_block = 0;
    snapshot_begin_block(&s->snap.block);
    return r;
}

static int put(void *ctx, const void *key, size_t key_n, const void *value, size_t value_n) {
    struct stream *s = ctx;
    snapshot_put(&s->snap.block, key, key_n, value, value_n);
    s->snap.in_block++;
    s->snap.records++;
    return s->snap.block.n >= SNAPSHOT_BLOCK ? close_block(s) : 0;
}

static void start(struct stream *s, struct slot *slot) {
    char path[PATH_MAX];
    s->snap.partition = slot->partition;
    s->snap.offset = slot->changelog_next;
    s->snap.started_us = clock_mono_us();
    if (!temporary_path(s, path)) {
        failed(s, "the path is too long");
        return;
    }
    s->snap.fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    const struct snapshot_head h = {slot->partition, slot->changelog_next, clock_wall_ms(),
                                    restorer_origin(s->c->restorer), slot->lane->epoch};
    snapshot_put_head(&s->snap.block, &h);
    int r = s->snap.fd < 0 ? -errno : write_out(s);
    snapshot_begin_block(&s->snap.block);
    if (r < 0)
        failed(s, strerror(-r));
}

static int publish(struct stream *s) {
    char from[PATH_MAX], to[PATH_MAX];
    buf_reset(&s->snap.block);
    snapshot_put_end(&s->snap.block, s->snap.records);
    int r = write_out(s);
    if (r < 0)
        return r;
    if (!temporary_path(s, from) || !final_path(s, to))
        return -ENAMETOOLONG;
    return fdatasync(s->snap.fd) < 0 || rename(from, to) < 0 ? -errno : 0;
}

void stream_snapshot_committed(struct stream *s) {
    if (s->snap.fd < 0 || !s->snap.walked)
        return;
    struct slot *slot = slot_of(s, s->snap.partition);
    int r = publish(s);
    if (r < 0) {
        failed(s, strerror(-r));
        return;
    }
    slot->snapshot_offset = s->snap.offset;
    metric_add(&s->metrics->snapshots, 1);
    log_info("snapshot",
             "partition=%d offset=%" PRId64 " records=%" PRIu64 " bytes=%" PRId64 " ms=%" PRId64,
             s->snap.partition, s->snap.offset, s->snap.records, s->snap.bytes,
             (clock_mono_us() - s->snap.started_us) / 1000);
    end(s);
}

static void walk(struct stream *s, struct slot *slot, bool busy) {
    int64_t until = clock_mono_us() + (busy ? SLICE_US : SLICE_IDLE_US);
    int r = 1;
    while (r == 1 && clock_mono_us() < until)
        r = lane_committed(slot->lane, &s->snap.cursor, SLICE_USERS, put, s);
    if (r == 0)
        r = close_block(s);
    else if (r == 1)
        return;
    if (r < 0)
        failed(s, strerror(-r));
    else
        s->snap.walked = true;
}

/* The partition whose snapshot is due, if anything changed since the last one. */
static struct slot *due(struct stream *s) {
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < s->n_slots; i++) {
        struct slot *slot = &s->slots[i];
        if (!slot->ready || slot->changelog_next <= slot->snapshot_offset ||
            now < slot->snapshot_due_us)
            continue;
        slot->snapshot_due_us = now + s->cfg->state_snapshot_interval * 1000;
        return slot;
    }
    return NULL;
}

void stream_snapshot(struct stream *s, bool busy) {
    if (!*s->cfg->state_dir || !restorer_origin(s->c->restorer))
        return;
    if (s->snap.fd < 0) {
        struct slot *slot = due(s);
        if (slot)
            start(s, slot);
        return;
    }
    struct slot *slot = slot_of(s, s->snap.partition);
    if (!slot || !slot->ready)
        stream_snapshot_drop(s);
    else if (!s->snap.walked)
        walk(s, slot, busy);
    else if (lane_clean(slot->lane) && !s->uncommitted)
        stream_snapshot_committed(s);
}
