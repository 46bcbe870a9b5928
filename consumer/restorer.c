#include "consumer/restorer_internal.h"

#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"

enum {
    BATCH = 1024,
    RESTORE_WAIT_MS = 5, /* a batch that is not full is used after so long */
    STANDBY_WAIT_MS = 100,
    SHOW_US = 2000000,
    ENDS_TIMEOUT_MS = 10000,
    ENDS_WAIT_MS = 200,
    ENDS_SAY_US = 5000000,
    QUEUES_KB = 256 * 1024, /* fetched and not yet applied, by all readers together … */
    QUEUE_LEAST_KB = 32 * 1024,
};

/* Where a partition stands. The worker moves it but for WANTED → READY or FAILED. */
enum job_state { ELSEWHERE, WANTED, READY, FAILED, TAKEN };
enum { NOBODY = -1 };

struct job {
    /* Under the lock. */
    enum job_state state;
    uint32_t turn; /* counts restorer_begin and restorer_give_back */
    int holder;    /* reader that alone touches what follows, or NOBODY: then under the lock */
    uint32_t held; /* turn in which it was taken up */
    bool standby;  /* named by state.standby, and not given up */
    int64_t begun_us;
    struct backlog backlog;
    int64_t end; /* in the changelog; of a partition that stands by it moves on */
    int64_t records;
};

/* A thread with a consumer: some read up to the end, the last one follows what stands by. */
struct reader {
    struct restorer *r;
    int index;
    bool follows;
    rd_kafka_t *consumer;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *msgs[BATCH];
    size_t held; /* jobs */
    int64_t shown_us;
    uint64_t records;
    struct metrics metrics;
    pthread_t thread;
    bool started;
};

struct restorer {
    struct world *world;
    const struct config *cfg;
    const atomic_bool *stop;
    char topic[256];
    _Atomic uint64_t origin;
    rd_kafka_t *probe;
    struct reader *reader;
    size_t n_readers, n_restore; /* all; those that do not follow */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *job; /* per partition */
    int32_t partitions;
    bool quit;
};

const char *restorer_topic(const struct restorer *r) {
    return r->topic;
}

uint64_t restorer_origin(const struct restorer *r) {
    return atomic_load(&r->origin);
}

size_t restorer_threads(const struct restorer *r) {
    return r ? r->n_readers : 0;
}

const struct metrics *restorer_metrics(const struct restorer *r, size_t i) {
    return &r->reader[i].metrics;
}

/* ---- one partition, by the reader that holds it ---- */

static bool stopping(const struct restorer *r) {
    return atomic_load_explicit(r->stop, memory_order_relaxed);
}

/* How far the changelog reaches, uncommitted records included: reading up to there waits for
 * transactions that are still being decided. An outage is waited out. */
static int changelog_ends(struct restorer *r, int32_t partition, int64_t *ret_low,
                          int64_t *ret_end) {
    for (int64_t said_us = 0; !stopping(r);) {
        rd_kafka_resp_err_t err =
            kafka_ends(r->probe, r->topic, partition, ret_low, ret_end, ENDS_TIMEOUT_MS);
        if (!err)
            return 0;
        if (kafka_forbids(err)) {
            kafka_say_forbidden(r->topic, err);
            return -EACCES;
        }
        if (clock_mono_us() - said_us > ENDS_SAY_US) {
            said_us = clock_mono_us();
            log_warning("changelog-waits", "partition=%d error=%s", partition,
                        log_q(rd_kafka_err2str(err)));
        }
        poll(NULL, 0, ENDS_WAIT_MS);
    }
    return -EINTR;
}

static void know_origin(struct restorer *r) {
    if (atomic_load(&r->origin))
        return;
    char *id = rd_kafka_clusterid(r->probe, 1000);
    if (id)
        atomic_store(&r->origin, hash_str(str_of(r->topic), hash_str(str_of(id), 0)));
    rd_kafka_mem_free(r->probe, id);
}

static int assign(struct reader *d, int32_t partition, int64_t offset) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, d->r->topic, partition)->offset = offset;
    rd_kafka_error_t *e = rd_kafka_incremental_assign(d->consumer, list);
    if (!e)
        return 0;
    log_error("restore-failed", "partition=%d error=%s", partition,
              log_q(rd_kafka_error_string(e)));
    rd_kafka_error_destroy(e);
    return -EIO;
}

static void unassign(struct reader *d, int32_t partition) {
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *list =
        rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, d->r->topic, partition);
    rd_kafka_error_destroy(rd_kafka_incremental_unassign(d->consumer, list));
}

/* Gives the job back. `end`: READY or FAILED, for the worker; ELSEWHERE: it was asked for. */
static void let_go(struct reader *d, struct job *j, enum job_state end) {
    pthread_mutex_lock(&d->r->lock);
    j->holder = NOBODY;
    d->held--;
    if (end != ELSEWHERE && j->state == WANTED && j->held == j->turn)
        j->state = end;
    else if (end == FAILED)
        j->standby = false;
    if (end == FAILED || (j->state == ELSEWHERE && !j->standby))
        backlog_drop(&j->backlog);
    pthread_cond_broadcast(&d->r->changed);
    pthread_mutex_unlock(&d->r->lock);
}

static void finish(struct reader *d, struct job *j) {
    int64_t ms = (clock_mono_us() - j->begun_us) / 1000;
    metric_set(&d->metrics.restore_ms, MAX(metric_gauge(&d->metrics.restore_ms), ms));
    let_go(d, j, READY);
}

/* From the best there is: what stood by, a snapshot, nothing. */
static int open_backlog(struct reader *d, struct job *j, int32_t partition) {
    struct restorer *r = d->r;
    int64_t low = 0;
    int e = changelog_ends(r, partition, &low, &j->end);
    know_origin(r);
    if (e == 0)
        e = backlog_open(&j->backlog, r->world, partition, low, j->end, restorer_origin(r), r->stop,
                         &d->metrics);
    return e;
}

static void open_job(struct reader *d, int32_t partition) {
    struct job *j = &d->r->job[partition];
    j->records = 0;
    if (d->held == 1) { /* nothing was read for a while */
        int32_t n;
        d->shown_us = clock_mono_us();
        /* knowing leaders saves a second */
        kafka_partitions(d->consumer, d->r->topic, d->r->stop, &n);
    }
    int e = open_backlog(d, j, partition);
    if (e == 0 && !d->follows && j->backlog.next >= j->end) {
        finish(d, j);
        return;
    }
    if (e == 0)
        e = assign(d, partition, j->backlog.next);
    if (e < 0 && e != -EINTR && d->follows)
        log_warning("standby-given-up", "partition=%d", partition);
    if (e < 0)
        let_go(d, j, FAILED);
}

static void corrupt(const struct reader *d, const rd_kafka_message_t *m, int e) {
    log_error("state-corrupt",
              "topic=%s partition=%d offset=%" PRId64 " error=%s fix=\"model.dim must be what it "
              "was; else delete the topic to start from nothing\"",
              d->r->topic, m->partition, m->offset, log_q(strerror(-e)));
}

static void apply(struct reader *d, const rd_kafka_message_t *m) {
    struct job *j = m->rkt ? &d->r->job[m->partition] : NULL;
    if (kafka_forbids(m->err) && j && j->holder == d->index) {
        kafka_say_forbidden(d->r->topic, m->err);
        unassign(d, m->partition);
        let_go(d, j, FAILED);
        return;
    }
    if (m->err && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        log_warning("restore-waits", "error=%s", log_q(rd_kafka_message_errstr(m)));
        return;
    }
    /* What was fetched before the partition was let go comes too late. */
    if (!j || j->holder != d->index || m->offset < j->backlog.next)
        return;
    int e = m->err ? 0 : backlog_apply(&j->backlog, m);
    if (e == -ESTALE) {
        unassign(d, m->partition);
        open_job(d, m->partition);
        return;
    }
    if (e < 0) {
        corrupt(d, m, e);
        unassign(d, m->partition);
        let_go(d, j, FAILED);
        return;
    }
    j->backlog.next = m->err ? m->offset : m->offset + 1;
    if (!m->err) {
        j->records++;
        d->records++;
        metric_add(d->follows ? &d->metrics.standby_records : &d->metrics.restored_users, 1);
        metric_add(&d->metrics.restored_bytes, m->len + m->key_len);
    }
    if (!d->follows && j->backlog.next >= j->end) {
        unassign(d, m->partition);
        finish(d, j);
    }
}

/* ---- threads ---- */

/* The reader whom the job belongs to as it stands, or NOBODY. Locked. */
static int reader_for(const struct restorer *r, int32_t partition) {
    const struct job *j = &r->job[partition];
    if (j->state == WANTED)
        return partition % (int)r->n_restore;
    return j->state == ELSEWHERE && j->standby ? (int)r->n_restore : NOBODY;
}

/* A partition to let go (*ret_open false) or to take up, or -1. Waits while there is neither and
 * none is held. */
static int32_t next_change(struct reader *d, bool *ret_open) {
    struct restorer *r = d->r;
    int32_t found = -1;
    pthread_mutex_lock(&r->lock);
    while (!r->quit) {
        for (int32_t p = 0; p < r->partitions && found < 0; p++) {
            struct job *j = &r->job[p];
            bool mine = reader_for(r, p) == d->index;
            if (j->holder == d->index ? !mine || j->held != j->turn : mine && j->holder == NOBODY)
                found = p;
        }
        if (found >= 0 || d->held)
            break;
        pthread_cond_wait(&r->changed, &r->lock);
    }
    if (found >= 0) {
        struct job *j = &r->job[found];
        *ret_open = j->holder == NOBODY;
        if (*ret_open) {
            j->holder = d->index;
            j->held = j->turn;
            d->held++;
        }
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

static void measure(struct reader *d) {
    int64_t left = 0, standing_by = 0;
    for (int32_t p = 0; p < d->r->partitions && d->held; p++) {
        struct job *j = &d->r->job[p];
        if (j->holder != d->index)
            continue;
        int64_t low, end;
        if (d->follows &&
            !rd_kafka_get_watermark_offsets(d->consumer, d->r->topic, p, &low, &end) && end >= 0)
            j->end = end;
        left += MAX(0, j->end - j->backlog.next);
        standing_by += d->follows;
    }
    metric_set(d->follows ? &d->metrics.standby_lag : &d->metrics.restore_left, left);
    metric_set(&d->metrics.standby_partitions, standing_by);
    int64_t now = clock_mono_us();
    if (d->follows || !d->held)
        d->shown_us = now;
    if (now - d->shown_us < SHOW_US)
        return;
    d->shown_us = now;
    log_info("restoring", "partitions=%zu records=%" PRIu64 " left=%" PRId64, d->held, d->records,
             left);
}

static bool quitting(struct restorer *r) {
    pthread_mutex_lock(&r->lock);
    bool quit = r->quit;
    pthread_mutex_unlock(&r->lock);
    return quit;
}

static void *reader_main(void *arg) {
    struct reader *d = arg;
    while (!quitting(d->r)) {
        bool open = false;
        int32_t p = next_change(d, &open);
        if (p >= 0 && open) {
            open_job(d, p);
            continue;
        }
        if (p >= 0) {
            unassign(d, p);
            let_go(d, &d->r->job[p], ELSEWHERE);
            continue;
        }
        measure(d);
        ssize_t n = rd_kafka_consume_batch_queue(
            d->queue, d->follows ? STANDBY_WAIT_MS : RESTORE_WAIT_MS, d->msgs, BATCH);
        for (ssize_t i = 0; i < n; i++) {
            apply(d, d->msgs[i]);
            rd_kafka_message_destroy(d->msgs[i]);
        }
    }
    return NULL;
}

/* ---- what workers ask ---- */

void restorer_begin(struct restorer *r, int32_t partition) {
    struct job *j = &r->job[partition];
    pthread_mutex_lock(&r->lock);
    j->state = WANTED;
    j->turn++;
    j->begun_us = clock_mono_us();
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

int restorer_take(struct restorer *r, int32_t partition, struct restored *ret) {
    struct job *j = &r->job[partition];
    int e = 0;
    pthread_mutex_lock(&r->lock);
    if (j->state == READY) {
        e = 1;
        j->state = TAKEN;
        *ret = (struct restored){.next = j->backlog.next,
                                 .records = j->records,
                                 .us = clock_mono_us() - j->begun_us,
                                 .from = j->backlog.from};
        ret->lane = TAKE(j->backlog.lane);
    } else if (j->state == FAILED) {
        e = -EIO;
    }
    pthread_mutex_unlock(&r->lock);
    int restored = e == 1 ? lane_restored(ret->lane) : 0;
    if (restored < 0) {
        if (restored == -EKEYREJECTED)
            log_error("in-use", "partition=%d changed=%s fix=\"put it back as it was\"", partition,
                      log_q(lane_conflict(ret->lane)));
        else
            log_error("state-corrupt", "topic=%s partition=%d what=\"what campaigns spent\"",
                      r->topic, partition);
        lane_free(TAKE(ret->lane));
        e = -EIO;
    }
    return e;
}

void restorer_give_back(struct restorer *r, int32_t partition, struct lane *lane, int64_t next) {
    struct job *j = &r->job[partition];
    if (lane && (!j->standby || next < 0 || !lane_clean(lane) || lane_put_away(lane) < 0))
        lane_free(TAKE(lane));
    pthread_mutex_lock(&r->lock);
    j->state = ELSEWHERE;
    j->turn++;
    if (j->holder == NOBODY && (lane || !j->standby))
        backlog_drop(&j->backlog);
    if (lane)
        j->backlog = (struct backlog){.lane = lane, .next = next, .from = FROM_STANDBY};
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* ---- life ---- */

static int start_reader(struct restorer *r, size_t i) {
    struct reader *d = &r->reader[i];
    *d = (struct reader){.r = r, .index = (int)i, .follows = i >= r->n_restore};
    /* A consumer whose queue is full looks again after a second (before librdkafka 2.2 always,
     * later by default): it must hold what is applied meanwhile, or restoring stands still. */
    char queue_kb[24];
    snprintf(queue_kb, sizeof queue_kb, "%d", MAX(QUEUES_KB / (int)r->n_readers, QUEUE_LEAST_KB));
    const char *const props[] = {
        "group.id",
        r->cfg->app_name, /* never joined */
        "enable.auto.commit",
        "false",
        "isolation.level",
        "read_committed",
        "enable.partition.eof",
        "true",
        "auto.offset.reset",
        "earliest", /* a changelog is always read whole */
        "queued.max.messages.kbytes",
        queue_kb,
        "queued.min.messages",
        "10000000", /* bytes decide */
        /* The changelog's end is seen by an empty fetch. */
        "fetch.wait.max.ms",
        d->follows ? "500" : "10",
        NULL,
    };
    d->consumer = kafka_client(r->cfg, RD_KAFKA_CONSUMER, props);
    if (!d->consumer)
        return -EINVAL;
    rd_kafka_poll_set_consumer(d->consumer);
    d->queue = rd_kafka_queue_get_consumer(d->consumer);
    int e = pthread_create(&d->thread, NULL, reader_main, d);
    d->started = e == 0;
    return -e;
}

static size_t usual_threads(const struct config *cfg) {
    long n = cfg->state_threads ? (long)cfg->state_threads : sysconf(_SC_NPROCESSORS_ONLN);
    return (size_t)MAX(1, MIN(n, RESTORER_THREADS_MAX - 1));
}

void restorer_free(struct restorer *r) {
    if (!r)
        return;
    pthread_mutex_lock(&r->lock);
    r->quit = true;
    pthread_cond_broadcast(&r->changed);
    pthread_mutex_unlock(&r->lock);
    for (size_t i = 0; i < r->n_readers; i++) {
        struct reader *d = &r->reader[i];
        if (d->started)
            pthread_join(d->thread, NULL);
        if (d->queue)
            rd_kafka_queue_destroy(d->queue);
        if (d->consumer) {
            rd_kafka_consumer_close(d->consumer);
            rd_kafka_destroy(d->consumer);
        }
    }
    for (int32_t p = 0; r->job && p < r->partitions; p++)
        backlog_drop(&r->job[p].backlog);
    if (r->probe)
        rd_kafka_destroy(r->probe);
    pthread_mutex_destroy(&r->lock);
    pthread_cond_destroy(&r->changed);
    free(r->reader);
    free(r->job);
    free(r);
}

int restorer_new(struct world *w, const atomic_bool *stop, struct restorer **ret) {
    autofree(restorer_free) struct restorer *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->changed, NULL);
    r->world = w;
    r->cfg = w->cfg;
    r->stop = stop;
    snprintf(r->topic, sizeof r->topic, "beckon-%s-changelog", r->cfg->app_name);
    r->partitions = w->partitions;
    r->n_restore = MIN(usual_threads(r->cfg), (size_t)w->partitions);
    r->job = calloc((size_t)r->partitions, sizeof *r->job);
    r->reader = calloc(r->n_restore + 1, sizeof *r->reader);
    if (!r->job || !r->reader)
        return -ENOMEM;
    bool any = false;
    for (int32_t p = 0; p < r->partitions; p++) {
        r->job[p].holder = NOBODY;
        r->job[p].standby = standby_has(r->cfg->state_standby, p);
        any |= r->job[p].standby;
    }
    const char *const props[] = {"group.id", r->cfg->app_name, "isolation.level",
                                 "read_uncommitted", NULL};
    r->probe = kafka_client(r->cfg, RD_KAFKA_CONSUMER, props);
    if (!r->probe)
        return -EINVAL;
    r->n_readers = r->n_restore + any;
    int e = 0;
    for (size_t i = 0; i < r->n_readers && e == 0; i++)
        e = start_reader(r, i);
    if (e < 0)
        return e;
    *ret = TAKE(r);
    return 0;
}
