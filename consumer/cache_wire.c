#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/cache_internal.h"
#include "consumer/clock.h"
#include "consumer/cluster.h"
#include "consumer/dump.h"
#include "consumer/log.h"

enum { MARKER_US = 1000 * 1000, WANDERING_MAX = 16 };

/* Whose backoff holds for all. */
static struct redis *home(const struct cache *c) {
    return c->guide ? c->guide : c->pipe[0]->redis;
}

struct pipe *cache_pipe(const struct cache *c, uint16_t slot) {
    if (!c->guide)
        return c->pipe[0];
    return c->stale ? NULL : c->of_node[c->map.at[slot]];
}

bool cache_restores(const struct cache *c) {
    bool all = true;
    size_t n = 0;
    for (size_t i = 0; i < c->n_pipes; i++)
        if (c->pipe[i]->listed) {
            all &= c->pipe[i]->tried && c->pipe[i]->restores;
            n++;
        }
    return n && all;
}

/* ---- giving out ---- */

static void give_out(struct cache *c) {
    for (size_t i = 0; i < c->all.n; i++) {
        struct pipe *p = cache_pipe(c, c->all.ops[i].slot);
        if (p && pipe_add(p, i, false) < 0)
            c->wiped = true; /* as if Redis had lost it */
    }
}

static void note_lost(struct cache *c, const struct pipe *p) {
    for (size_t i = p->acked; i < p->n && pipe_touched(p, i); i++) {
        struct op *op = &c->all.ops[pipe_op(p, i)];
        if (op->kind == OP_ONCE && !op->done) {
            op->lost = true;
            c->stats.triggers_lost++;
        }
    }
}

/* Everything is given out again, without what must not be repeated: markers, and XADDs that were
 * stored or (where the connection broke: nobody knows) may have been. */
static void rewind_all(struct cache *c) {
    size_t kept = 0, at = 0, begin = 0;
    bool sent = false;
    for (size_t i = 0; i < c->n_pipes; i++) {
        sent |= c->pipe[i]->n && pipe_touched(c->pipe[i], 0);
        if (c->pipe[i]->broken)
            note_lost(c, c->pipe[i]);
        pipe_reset(c->pipe[i]);
    }
    for (size_t i = 0; i < c->all.n; i++) {
        struct op op = c->all.ops[i];
        size_t n = op.end - begin;
        if (!op_looks(&op) && !(op.kind == OP_ONCE && (op.done || op.lost))) {
            memmove(c->all.out.p + at, c->all.out.p + begin, n);
            at += n;
            op.end = at;
            op.done = false;
            c->all.ops[kept++] = op;
        }
        begin += n;
    }
    c->stats.resent += sent;
    c->all.out.n = at;
    c->all.n = kept;
    c->waits = c->trouble = false;
    give_out(c);
}

static void start_over(struct cache *c) {
    for (size_t i = 0; i < c->n_pipes; i++) {
        pipe_reset(c->pipe[i]);
        if (redis_up(c->pipe[i]->redis))
            redis_good(c->pipe[i]->redis);
    }
    if (c->guide)
        redis_good(c->guide);
    buf_reset(&c->all.out);
    c->all.n = 0;
    c->wandering = 0;
}

/* ---- replies ---- */

static void to_do_again(struct cache *c, bool waits) {
    c->trouble = true;
    c->waits |= waits;
    c->stale = c->guide != NULL;
}

static void note_error(struct cache *c, const struct reply *r) {
    memcpy(c->error, r->text, r->n + 1);
    if (r->fate == REPLY_WAIT || r->fate == REPLY_MOVED || r->fate == REPLY_ASK)
        return;
    c->stats.refused++;
    size_t word = MIN(strcspn(r->text, " "), sizeof c->logged - 1);
    if (strncmp(c->logged, r->text, word) == 0 && c->logged[word] == 0)
        return;
    memcpy(c->logged, r->text, word);
    c->logged[word] = 0;
    log_error("redis-refused", "error=%s", log_q(r->text));
}

/* The key is on its way to another node. */
static void ask_there(struct cache *c, const struct pipe *p, size_t op, const struct reply *r) {
    struct redirect to;
    struct pipe *q = NULL;
    if (redirect_parse((struct str){r->text, r->n}, redis_at(p->redis), &to) == 0)
        q = cluster_pipe_at(c, &to.node);
    if (!q || pipe_add(q, op, true) < 0)
        to_do_again(c, true);
}

/* Whether the operation is done with. */
static bool on_error(struct cache *c, struct pipe *p, size_t i, const struct reply *r) {
    const struct op *op = &c->all.ops[i];
    if (r->fate == REPLY_TYPE && op->kind == OP_ONCE && !op->second_try) {
        cache_again_without_key(c, i);
        return true;
    }
    note_error(c, r);
    if (r->fate == REPLY_ASK && c->guide) {
        ask_there(c, p, i, r);
        return false;
    }
    if (r->fate == REPLY_ASK || r->fate == REPLY_MOVED) {
        if (!c->guide)
            snprintf(c->error, sizeof c->error, "this is a Redis Cluster: set redis.cluster");
        to_do_again(c, !c->guide);
        return false;
    }
    if (r->fate == REPLY_WAIT)
        to_do_again(c, true);
    return r->fate != REPLY_WAIT;
}

static void check_marker(struct cache *c, const struct op *op, const struct reply *r) {
    struct marker *m = NULL;
    for (size_t i = 0; i < c->n_pipes && !m; i++)
        if (c->pipe[i]->listed && c->pipe[i]->marker.slot == op->slot)
            m = &c->pipe[i]->marker;
    if (!m)
        return;
    uint64_t found = r->nil ? 0 : strtoull(r->text, NULL, 10);
    if (found < m->acked) {
        log_warning("redis-wiped", "marker=%llu found=%llu", (unsigned long long)m->acked,
                    (unsigned long long)found);
        c->wiped = true;
    }
    m->acked = op->seq;
}

/* The first time it is only learned, unless something was to be written before it was asked for. */
static void check_word(struct cache *c, const struct reply *r) {
    bool known = c->word_known || cache_overwrites(c);
    c->word_known = true;
    if (r->nil) /* expired */
        return;
    uint64_t word = hash_bytes(r->text, r->n, 0);
    if (known && word != c->word) {
        log_warning("redis-rewrite", "word=%s", log_q(r->text));
        c->wiped = true;
    }
    c->word = word;
}

/* Only the first error to an operation tells why: in a transaction later ones, EXEC's above all,
 * only say that there was one. */
static void on_reply(void *ctx, struct pipe *p, size_t i, const struct reply *r, bool last) {
    struct cache *c = ctx;
    if (r->fate == REPLY_DONE) {
        c->stats.commands++;
        if (c->all.ops[i].seq)
            check_marker(c, &c->all.ops[i], r);
        else if (c->all.ops[i].kind == OP_ASK)
            check_word(c, r);
        if (last && !p->failed)
            c->all.ops[i].done = true;
    } else if (!p->failed) {
        p->failed = true;
        bool done = on_error(c, p, i, r);
        c->all.ops[i].done = done;
    }
    if (last)
        p->failed = false;
}

/* ---- connections ---- */

/* After connecting, before anything else is on its way: does this server take a list in its own
 * form? 0, or -EAGAIN: it cannot say now. */
static int try_restore(struct cache *c, struct pipe *p, int64_t deadline_us) {
    p->restores = false;
    buf_reset(&c->payload);
    struct str key = cache_marker_key(c, p, ":try");
    const struct dump_entry e[] = {{STR("beckon"), 1000}, {STR("17"), -1}};
    if (!dump_zset(&c->payload, e, ARRAY_LEN(e)) || c->payload.failed || c->key.failed)
        return 0;
    /* Expired long ago: it is looked at, but nothing is stored. */
    struct str payload = {(const char *)c->payload.p, c->payload.n};
    struct str args[] = {STR("RESTORE"), key, STR("1"), payload, STR("REPLACE"), STR("ABSTTL")};
    redisReply *reply = redis_call(p->redis, deadline_us, ARRAY_LEN(args), args);
    if (!reply)
        return -EAGAIN;
    struct str text = {reply->str ? reply->str : "", reply->str ? reply->len : 0};
    bool error = reply->type == REDIS_REPLY_ERROR;
    enum reply_fate fate = error ? reply_fate(text) : REPLY_DONE;
    int rc = 0;
    if (fate == REPLY_WAIT) {
        redis_postpone(p->redis, text.p);
        rc = -EAGAIN;
    } else if (fate != REPLY_MOVED && fate != REPLY_ASK) {
        p->tried = true;
        p->restores = !error;
        log_debug("redis-lists", "written_by=%s", error ? "transactions" : "restore");
    }
    freeReplyObject(reply);
    return rc;
}

/* Nothing is on its way. */
static bool quiet(const struct pipe *p) {
    return p->acked == p->n || !pipe_touched(p, p->acked);
}

static void give_up(struct cache *c, struct pipe *p) {
    p->broken = true;
    snprintf(c->error, sizeof c->error, "%s", redis_error(p->redis));
    to_do_again(c, false);
}

static void connect_all(struct cache *c, int64_t deadline_us) {
    for (size_t i = 0; i < c->n_pipes; i++) {
        struct pipe *p = c->pipe[i];
        if (p->broken || (!p->listed && !p->n))
            continue;
        if (!redis_up(p->redis)) {
            if (redis_ready(p->redis, deadline_us) < 0) {
                give_up(c, p);
                continue;
            }
            p->tried = false;
            if (p->listed) { /* the first things to know */
                cache_put_marker(c, p);
                cache_ask_word(c);
            }
        }
        if (p->listed && !p->tried && quiet(p) && try_restore(c, p, deadline_us) < 0)
            give_up(c, p);
    }
}

static void move_all(struct cache *c) {
    for (size_t i = 0; i < c->n_pipes; i++) {
        struct pipe *p = c->pipe[i];
        if (p->broken || !redis_up(p->redis))
            continue;
        bool moved = quiet(p);
        if (pipe_move(p, &c->all, on_reply, c, &moved) < 0) {
            give_up(c, p);
            continue;
        }
        int64_t now = clock_mono_us();
        if (moved)
            p->moved_us = now;
        if (!pipe_idle(p) && now - p->moved_us >= c->timeout_us) {
            redis_down(p->redis, "no answer within redis.timeout");
            give_up(c, p);
        }
    }
}

static bool settled(const struct cache *c) {
    for (size_t i = 0; i < c->n_pipes; i++)
        if (!c->pipe[i]->broken && !pipe_idle(c->pipe[i]))
            return false;
    return true;
}

static bool all_sent(const struct cache *c) {
    for (size_t i = 0; i < c->n_pipes; i++)
        if (!pipe_sent(c->pipe[i]))
            return false;
    return !c->trouble;
}

static void wait_for_any(const struct cache *c, int64_t deadline_us) {
    struct pollfd fds[64];
    nfds_t n = 0;
    for (size_t i = 0; i < c->n_pipes && n < ARRAY_LEN(fds); i++) {
        const struct pipe *p = c->pipe[i];
        if (p->broken || pipe_idle(p) || !redis_up(p->redis))
            continue;
        deadline_us = MIN(deadline_us, p->moved_us + c->timeout_us);
        fds[n++] = (struct pollfd){.fd = redis_fd(p->redis),
                                   .events = (short)(POLLIN | (pipe_sent(p) ? 0 : POLLOUT))};
    }
    poll(fds, n, clock_ms_until(deadline_us));
}

/* After all pipes came to rest, something having gone wrong: 0 if it makes sense to go on at
 * once, or -EAGAIN. */
static int begin_again(struct cache *c) {
    bool waits = c->waits, broken = false;
    for (size_t i = 0; i < c->n_pipes; i++)
        broken |= c->pipe[i]->broken;
    rewind_all(c);
    if (c->guide && !waits && !broken && ++c->wandering <= WANDERING_MAX)
        return 0;
    if (c->guide || (waits && !broken))
        redis_postpone(home(c), c->error);
    return -EAGAIN;
}

static int learn(struct cache *c, int64_t deadline_us) {
    if (cluster_learn(c, deadline_us) == 0) {
        give_out(c);
        return 0;
    }
    snprintf(c->error, sizeof c->error, "%s", redis_error(c->guide));
    return -EAGAIN;
}

enum until { UNTIL_SENT, UNTIL_ACKED };

/* All that may be outdated is stored. False: there is nothing to say, or no memory now. */
static bool say_word(struct cache *c) {
    if (c->outdated)
        cache_put_word(c);
    return c->all.n > 0;
}

static int pump(struct cache *c, enum until until, int64_t deadline_us) {
    if (clock_mono_us() < redis_retry_us(home(c)))
        return -EAGAIN;
    for (;;) {
        if (c->stale && !c->trouble && learn(c, deadline_us) < 0)
            return -EAGAIN;
        if (!c->trouble)
            connect_all(c, deadline_us);
        if (!c->all.n && !c->trouble && !say_word(c))
            return 0;
        move_all(c);
        if (settled(c)) {
            if (!c->trouble) {
                start_over(c);
                if (!say_word(c))
                    return 0;
                continue;
            }
            if (begin_again(c) < 0)
                return -EAGAIN;
            continue;
        }
        if (until == UNTIL_SENT && all_sent(c))
            return 0;
        if (clock_mono_us() >= deadline_us)
            return -EAGAIN; /* slow, but alive */
        wait_for_any(c, deadline_us);
    }
}

/* ---- the caller's ---- */

int cache_send(struct cache *c) {
    return pump(c, UNTIL_SENT, clock_mono_us() + c->timeout_us);
}

static void sleep_until(int64_t at_us) {
    int64_t us;
    while ((us = at_us - clock_mono_us()) > 0)
        usleep((useconds_t)MIN(us, (int64_t)100000));
}

int cache_wait(struct cache *c) {
    int64_t now = clock_mono_us(), deadline = now + c->timeout_us;
    if (now < redis_retry_us(home(c))) {
        sleep_until(MIN(deadline, redis_retry_us(home(c))));
        if (clock_mono_us() < redis_retry_us(home(c)))
            return -EAGAIN;
    }
    bool open = c->all.n && !op_looks(&c->all.ops[c->all.n - 1]);
    if (open || now - c->marker_us >= MARKER_US)
        cache_put_markers(c);
    return pump(c, UNTIL_ACKED, deadline);
}

bool cache_wiped(struct cache *c) {
    int64_t now = clock_mono_us();
    bool up = c->n_pipes > 0, busy = false;
    for (size_t i = 0; i < c->n_pipes; i++) {
        up &= redis_up(c->pipe[i]->redis);
        busy |= redis_up(c->pipe[i]->redis) && !quiet(c->pipe[i]);
    }
    if (now - c->marker_us >= MARKER_US && now >= redis_retry_us(home(c))) {
        if (up)
            cache_put_markers(c);
        pump(c, UNTIL_SENT, up ? now : now + c->timeout_us);
    } else if (busy) {
        pump(c, UNTIL_SENT, now);
    }
    bool wiped = c->wiped;
    c->wiped = false;
    return wiped;
}
