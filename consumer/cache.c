#include "consumer/cache.h"

#include <math.h>
#include <stdio.h>
#include <sys/random.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "consumer/dump.h"
#include "consumer/log.h"
#include "consumer/redis.h"

/* DESIGN
 * `out` holds the collection as raw commands, `ops` where each operation in it ends and how many
 * replies it gets. Sending moves `sent` through `out`, replies move `acked` through `ops`. When
 * all is acknowledged, both start over. When the connection breaks, or Redis says that it cannot
 * now, `sent` and `acked` go back to the start and all is sent again in the same order: an older
 * list resent alone could overwrite a newer one.
 *
 * A list is replaced by one RESTORE of it in Redis's own form where the server takes that form
 * (tried after connecting), else by MULTI, DEL, ZADD, PEXPIRE, EXEC, best first, because then each
 * pair finds its place at the head. Redis 7.0 needed 3 us for a list of 20 by RESTORE, 8 us by the
 * transaction, which costs little more than its three commands bare; 24 us by a script. */

enum { MARKER_US = 1000 * 1000 };

enum op_kind {
    OP_REPLACE, /* may be repeated */
    OP_ONCE,    /* may not */
    OP_MARKER,  /* GET and SET of the marker; appended anew rather than repeated */
};

struct op {
    size_t end;   /* in `out`; begins where the one before ends */
    uint64_t seq; /* marker */
    uint8_t kind, replies;
    bool second_try; /* of a refused XADD */
    bool waits;      /* answered with "not now" */
};

struct cache {
    const struct config *cfg;
    struct redis *redis;
    int64_t timeout_us;
    struct buf out, key, payload;
    bool tried;    /* whether this server takes RESTORE; then: */
    bool restores; /* it does */
    struct op *ops;
    size_t n_ops, cap_ops;
    size_t sent;      /* bytes of out */
    size_t acked;     /* ops */
    uint8_t heard;    /* replies of ops[acked] */
    bool failed;      /* ops[acked] had an error reply */
    bool again;       /* ops[acked] is to be tried once more, without the key in its way */
    bool waits;       /* some operation has to wait */
    int64_t moved_us; /* when a byte last went or came */
    char error[REPLY_TEXT_MAX];
    char logged[32]; /* first word of the refusal last logged */
    struct cache_stats stats;
    /* The marker holds a number that grows: finding an older one, or none, means that Redis lost
     * something. */
    char token[17];
    uint64_t marker_next, marker_acked; /* acked: 0 before the first */
    int64_t marker_us;
    bool wiped;
};

int cache_new(const struct config *cfg, struct cache **ret) {
    autofree(cache_free) struct cache *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    if (strpbrk(cfg->redis_prefix, "{}")) {
        log_error("redis-prefix",
                  "prefix=%s error=\"must not hold braces: they mark the hash tag\"",
                  log_q(cfg->redis_prefix));
        return -EINVAL;
    }
    c->cfg = cfg;
    c->timeout_us = cfg->redis_timeout * 1000;
    c->marker_next = 1;
    uint64_t token = 0;
    if (getrandom(&token, sizeof token, 0) != sizeof token)
        return -EIO;
    snprintf(c->token, sizeof c->token, "%016llx", (unsigned long long)token);
    int rc = redis_new(cfg, &c->redis);
    if (rc < 0)
        return rc;
    *ret = TAKE(c);
    return 0;
}

void cache_free(struct cache *c) {
    if (!c)
        return;
    redis_free(c->redis);
    buf_free(&c->out);
    buf_free(&c->key);
    buf_free(&c->payload);
    free(c->ops);
    free(c);
}

/* ---- collecting ---- */

static struct str key_of(struct cache *c, const char *kind, struct str tag) {
    buf_reset(&c->key);
    cache_key(&c->key, c->cfg->redis_prefix, kind, tag);
    return (struct str){(const char *)c->key.p, c->key.n};
}

static size_t op_begin(const struct cache *c, size_t i) {
    return i ? c->ops[i - 1].end : 0;
}

/* Ends the operation that was appended since the last one. Without memory it is taken back; as the
 * collection is then no longer what the caller thinks it is, he is told to rewrite everything. */
static void op_end(struct cache *c, enum op_kind kind, uint8_t replies) {
    bool failed = c->out.failed || c->key.failed;
    if (!failed && c->n_ops == c->cap_ops) {
        size_t cap = c->cap_ops ? c->cap_ops * 2 : 256;
        struct op *ops = reallocarray(c->ops, cap, sizeof *ops);
        if (ops) {
            c->ops = ops;
            c->cap_ops = cap;
        } else {
            failed = true;
        }
    }
    if (failed) {
        c->out.n = op_begin(c, c->n_ops);
        c->out.failed = false;
        c->wiped = true;
        log_error("redis-memory", "pending_bytes=%zu", c->out.n);
        return;
    }
    c->ops[c->n_ops++] = (struct op){.end = c->out.n, .kind = (uint8_t)kind, .replies = replies};
}

static void put_word(struct cache *c, size_t n_args, struct str word) {
    resp_array(&c->out, n_args);
    resp_str(&c->out, word);
}

static void put_expire_in(struct cache *c, struct str key, int64_t ttl_ms) {
    put_word(c, 3, STR("PEXPIRE"));
    resp_str(&c->out, key);
    resp_int(&c->out, ttl_ms);
}

static void put_expire(struct cache *c, struct str key) {
    put_expire_in(c, key, c->cfg->redis_ttl);
}

static void put_del(struct cache *c, struct str key) {
    put_word(c, 2, STR("DEL"));
    resp_str(&c->out, key);
}

/* Thousandths, each below the one before; beyond what a double holds exactly, the edge. */
static int64_t score_of(float score, int64_t before) {
    const double edge = 0x1p52;
    double v = (double)score * CACHE_SCORE_SCALE;
    if (isnan(v) || v < -edge)
        v = -edge;
    int64_t s = v > edge ? (int64_t)edge : llrint(v);
    return MIN(s, before - 1);
}

static bool put_restore(struct cache *c, struct str key, const struct dump_entry *e, size_t n) {
    buf_reset(&c->payload);
    if (!c->restores || !dump_zset(&c->payload, e, n) || c->payload.failed)
        return false;
    put_word(c, 5, STR("RESTORE"));
    resp_str(&c->out, key);
    resp_int(&c->out, c->cfg->redis_ttl);
    resp_bulk(&c->out, c->payload.p, c->payload.n);
    resp_str(&c->out, STR("REPLACE"));
    op_end(c, OP_REPLACE, 1);
    return true;
}

static void put_list(struct cache *c, const char *kind, struct str tag, const struct cache_entry *e,
                     size_t n) {
    struct str key = key_of(c, kind, tag);
    struct dump_entry scored[TOP_MAX];
    n = MIN(n, (size_t)TOP_MAX);
    if (n == 0) {
        put_del(c, key);
        op_end(c, OP_REPLACE, 1);
        return;
    }
    int64_t score = INT64_MAX;
    for (size_t i = 0; i < n; i++) {
        score = score_of(e[i].score, score);
        scored[i] = (struct dump_entry){e[i].item, score};
    }
    if (put_restore(c, key, scored, n))
        return;
    put_word(c, 1, STR("MULTI"));
    put_del(c, key);
    put_word(c, 2 + 2 * n, STR("ZADD"));
    resp_str(&c->out, key);
    for (size_t i = 0; i < n; i++) {
        resp_int(&c->out, scored[i].score);
        resp_str(&c->out, scored[i].member);
    }
    put_expire(c, key);
    put_word(c, 1, STR("EXEC"));
    op_end(c, OP_REPLACE, 5);
}

void cache_top(struct cache *c, struct str user, const struct cache_entry *e, size_t n) {
    put_list(c, "top", user, e, n);
}

void cache_why(struct cache *c, struct str user, struct str text) {
    struct str key = key_of(c, "why", user);
    if (text.n == 0) {
        put_del(c, key);
    } else {
        put_word(c, 5, STR("SET"));
        resp_str(&c->out, key);
        resp_str(&c->out, text);
        resp_str(&c->out, STR("PX"));
        resp_int(&c->out, c->cfg->redis_ttl);
    }
    op_end(c, OP_REPLACE, 1);
}

void cache_similar(struct cache *c, struct str item, const struct cache_entry *e, size_t n) {
    put_list(c, "similar", item, e, n);
}

void cache_trending(struct cache *c, const struct cache_entry *e, size_t n) {
    put_list(c, "trending", (struct str){0}, e, n);
}

void cache_forget(struct cache *c, struct str user) {
    put_del(c, key_of(c, "top", user));
    put_del(c, key_of(c, "why", user));
    put_del(c, key_of(c, "user", user));
    op_end(c, OP_REPLACE, 3);
}

static void put_pairs(struct cache *c, const struct key_value *kv, size_t n) {
    for (size_t i = 0; i < n; i++) {
        resp_str(&c->out, str_of(kv[i].key));
        resp_str(&c->out, str_of(kv[i].value));
    }
}

void cache_hash(struct cache *c, const char *name, struct str tag, const struct key_value *kv,
                size_t n, int64_t ttl_ms) {
    struct str key = key_of(c, name, tag);
    if (n == 0) {
        put_del(c, key);
        op_end(c, OP_REPLACE, 1);
        return;
    }
    put_word(c, 1, STR("MULTI"));
    put_del(c, key);
    put_word(c, 2 + 2 * n, STR("HSET"));
    resp_str(&c->out, key);
    put_pairs(c, kv, n);
    put_expire_in(c, key, ttl_ms ? ttl_ms : c->cfg->redis_ttl);
    put_word(c, 1, STR("EXEC"));
    op_end(c, OP_REPLACE, 5);
}

void cache_trigger(struct cache *c, const struct key_value *kv, size_t n) {
    if (n == 0)
        return;
    struct str key = key_of(c, "triggers", (struct str){0});
    put_word(c, 6 + 2 * n, STR("XADD"));
    resp_str(&c->out, key);
    resp_str(&c->out, STR("MAXLEN"));
    resp_str(&c->out, STR("~"));
    resp_int(&c->out, c->cfg->redis_triggers_max);
    resp_str(&c->out, STR("*"));
    put_pairs(c, kv, n);
    put_expire(c, key);
    op_end(c, OP_ONCE, 2);
}

/* Somebody else's key stands where the stream belongs: away with it, and once more. */
static void again_without_key(struct cache *c, size_t i) {
    size_t begin = op_begin(c, i), n = c->ops[i].end - begin;
    put_del(c, key_of(c, "triggers", (struct str){0}));
    uint8_t *copy = malloc(n);
    if (copy) {
        memcpy(copy, c->out.p + begin, n);
        buf_put(&c->out, copy, n);
        free(copy);
    }
    op_end(c, OP_ONCE, copy ? 3 : 1);
    if (c->n_ops > i + 1)
        c->ops[c->n_ops - 1].second_try = true;
}

static struct str marker_key(struct cache *c, const char *more) {
    key_of(c, "marker", str_of(c->cfg->app_instance));
    buf_put(&c->key, ":", 1);
    buf_put(&c->key, c->token, strlen(c->token));
    buf_put(&c->key, more, strlen(more));
    return (struct str){(const char *)c->key.p, c->key.n};
}

static void put_marker(struct cache *c) {
    struct str key = marker_key(c, "");
    put_word(c, 2, STR("GET"));
    resp_str(&c->out, key);
    put_word(c, 5, STR("SET"));
    resp_str(&c->out, key);
    resp_int(&c->out, (int64_t)c->marker_next);
    resp_str(&c->out, STR("PX"));
    resp_int(&c->out, c->cfg->redis_ttl);
    size_t before = c->n_ops;
    op_end(c, OP_MARKER, 2);
    if (c->n_ops > before)
        c->ops[before].seq = c->marker_next++;
    c->marker_us = clock_mono_us();
}

/* ---- replies ---- */

static void start_over(struct cache *c) {
    buf_reset(&c->out);
    c->n_ops = c->acked = c->sent = 0;
    c->heard = 0;
    c->waits = false;
}

/* Back to the start of the collection, without what must not be repeated: markers, and XADDs that
 * were stored or (`broken`: nobody knows) may have been. */
static void rewind_all(struct cache *c, bool broken) {
    size_t kept = 0, at = 0, begin = 0;
    for (size_t i = 0; i < c->n_ops; i++) {
        struct op op = c->ops[i];
        size_t n = op.end - begin;
        bool drop = op.kind == OP_MARKER;
        if (op.kind == OP_ONCE) {
            bool lost = broken && begin < c->sent && i >= c->acked;
            drop = lost || (i < c->acked && !op.waits);
            c->stats.triggers_lost += lost;
        }
        if (!drop) {
            memmove(c->out.p + at, c->out.p + begin, n);
            at += n;
            op.end = at;
            op.waits = false;
            c->ops[kept++] = op;
        }
        begin += n;
    }
    c->stats.resent += c->sent > 0;
    c->out.n = at;
    c->n_ops = kept;
    c->sent = c->acked = 0;
    c->heard = 0;
    c->failed = c->again = c->waits = false;
}

static void note_error(struct cache *c, const struct reply *r) {
    memcpy(c->error, r->text, r->n + 1);
    if (r->fate == REPLY_WAIT) {
        c->waits = c->ops[c->acked].waits = true;
        return;
    }
    c->stats.refused++;
    size_t word = MIN(strcspn(r->text, " "), sizeof c->logged - 1);
    if (strncmp(c->logged, r->text, word) == 0 && c->logged[word] == 0)
        return;
    memcpy(c->logged, r->text, word);
    c->logged[word] = 0;
    log_error("redis-refused", "error=%s", log_q(r->text));
}

static void check_marker(struct cache *c, const struct reply *r) {
    if (c->heard == 0) {
        uint64_t found = r->nil ? 0 : strtoull(r->text, NULL, 10);
        if (c->marker_acked && found < c->marker_acked) {
            log_warning("redis-wiped", "marker=%llu found=%llu",
                        (unsigned long long)c->marker_acked, (unsigned long long)found);
            c->wiped = true;
            c->marker_acked = 0; /* told once, whatever becomes of the SET */
        }
    } else {
        c->marker_acked = c->ops[c->acked].seq;
    }
}

/* One reply to the operation in turn. Only its first error tells why: in a transaction later
 * ones, EXEC's above all, only say that there was one. */
static void on_reply(struct cache *c, const struct reply *r) {
    const struct op *op = &c->ops[c->acked];
    if (r->fate == REPLY_DONE) {
        c->stats.commands++;
        if (op->kind == OP_MARKER)
            check_marker(c, r);
    } else if (!c->failed) {
        c->failed = true;
        c->again = r->fate == REPLY_TYPE && op->kind == OP_ONCE && !op->second_try;
        if (!c->again)
            note_error(c, r);
    }
    if (++c->heard < op->replies)
        return;
    if (c->again)
        again_without_key(c, c->acked);
    c->failed = c->again = false;
    c->heard = 0;
    c->acked++;
}

/* ---- the wire ---- */

enum until { UNTIL_SENT, UNTIL_ACKED };

static bool all_acked(const struct cache *c) {
    return c->acked == c->n_ops && c->sent == c->out.n;
}

/* Moves what can be moved now. 0, or -ECONNRESET. ret_moved: whether anything did. */
static int move(struct cache *c, bool *ret_moved) {
    *ret_moved = false;
    while (c->sent < c->out.n) {
        ssize_t k = redis_send(c->redis, c->out.p + c->sent, c->out.n - c->sent);
        if (k < 0)
            return -ECONNRESET;
        if (k == 0)
            break;
        c->sent += (size_t)k;
        *ret_moved = true;
    }
    for (;;) {
        ssize_t k = redis_recv(c->redis);
        if (k <= 0)
            return k < 0 ? -ECONNRESET : 0;
        *ret_moved = true;
        struct reply r;
        int rc;
        while ((rc = redis_reply(c->redis, &r)) == 1) {
            if (c->acked == c->n_ops) {
                redis_down(c->redis, "more replies than commands");
                return -ECONNRESET;
            }
            on_reply(c, &r);
        }
        if (rc < 0)
            return -ECONNRESET;
    }
}

static int broken(struct cache *c) {
    snprintf(c->error, sizeof c->error, "%s", redis_error(c->redis));
    rewind_all(c, true);
    return -EAGAIN;
}

/* After the last reply. */
static int settle(struct cache *c) {
    if (c->waits) {
        redis_postpone(c->redis, c->error);
        rewind_all(c, false);
        return -EAGAIN;
    }
    redis_good(c->redis);
    start_over(c);
    return 0;
}

/* After connecting, before anything else is on its way: does this server take a list in its own
 * form? 0, or -EAGAIN: it cannot say now. */
static int try_restore(struct cache *c, int64_t deadline_us) {
    c->restores = false;
    buf_reset(&c->payload);
    struct str key = marker_key(c, ":try");
    const struct dump_entry e[] = {{STR("beckon"), 1000}, {STR("17"), -1}};
    if (!dump_zset(&c->payload, e, ARRAY_LEN(e)) || c->payload.failed || c->key.failed)
        return 0;
    /* Expired long ago: it is looked at, but nothing is stored. */
    struct str payload = {(const char *)c->payload.p, c->payload.n};
    struct str args[] = {STR("RESTORE"), key, STR("1"), payload, STR("REPLACE"), STR("ABSTTL")};
    redisReply *reply = redis_call(c->redis, deadline_us, ARRAY_LEN(args), args);
    if (!reply)
        return -EAGAIN;
    struct str text = {reply->str ? reply->str : "", reply->str ? reply->len : 0};
    bool error = reply->type == REDIS_REPLY_ERROR;
    int rc = 0;
    if (error && reply_fate(text) == REPLY_WAIT) {
        redis_postpone(c->redis, text.p);
        rc = -EAGAIN;
    } else {
        c->tried = true;
        c->restores = !error;
        log_debug("redis-lists", "written_by=%s", error ? "transactions" : "restore");
    }
    freeReplyObject(reply);
    return rc;
}

static int pump(struct cache *c, enum until until, int64_t deadline_us) {
    if (clock_mono_us() < redis_retry_us(c->redis))
        return -EAGAIN;
    if (!redis_up(c->redis)) {
        if (redis_ready(c->redis, deadline_us) < 0)
            return broken(c);
        c->tried = false;
        put_marker(c); /* the first thing to know */
    }
    if (!c->tried && try_restore(c, deadline_us) < 0)
        return broken(c);
    if (!c->n_ops)
        return 0;
    if (c->sent == op_begin(c, c->acked))
        c->moved_us = clock_mono_us(); /* nothing was on its way */
    for (;;) {
        bool moved;
        if (move(c, &moved) < 0)
            return broken(c);
        int64_t now = clock_mono_us();
        if (moved)
            c->moved_us = now;
        if (all_acked(c))
            return settle(c);
        if (until == UNTIL_SENT && c->sent == c->out.n)
            return 0;
        if (now - c->moved_us >= c->timeout_us) {
            redis_down(c->redis, "no answer within redis.timeout");
            return broken(c);
        }
        if (now >= deadline_us)
            return -EAGAIN; /* slow, but alive */
        redis_poll(c->redis, c->sent < c->out.n, MIN(deadline_us, c->moved_us + c->timeout_us));
    }
}

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
    if (now < redis_retry_us(c->redis)) {
        sleep_until(MIN(deadline, redis_retry_us(c->redis)));
        if (clock_mono_us() < redis_retry_us(c->redis))
            return -EAGAIN;
    }
    if (redis_up(c->redis)) {
        bool open = c->n_ops && c->ops[c->n_ops - 1].kind != OP_MARKER;
        if (open || now - c->marker_us >= MARKER_US)
            put_marker(c);
    }
    return pump(c, UNTIL_ACKED, deadline);
}

bool cache_wiped(struct cache *c) {
    int64_t now = clock_mono_us();
    if (now - c->marker_us >= MARKER_US && now >= redis_retry_us(c->redis)) {
        if (redis_up(c->redis))
            put_marker(c);
        pump(c, UNTIL_SENT, redis_up(c->redis) ? now : now + c->timeout_us);
    } else if (redis_up(c->redis) && c->sent > op_begin(c, c->acked)) {
        pump(c, UNTIL_SENT, now);
    }
    bool wiped = c->wiped;
    c->wiped = false;
    return wiped;
}

size_t cache_pending(const struct cache *c) {
    bool only_marker = c->n_ops == 1 && c->ops[0].kind == OP_MARKER;
    return only_marker ? 0 : c->out.n;
}

void cache_stats(const struct cache *c, struct cache_stats *ret) {
    *ret = c->stats;
}

uint64_t cache_commands(const struct cache *c) {
    return c->stats.commands;
}

const char *cache_error(const struct cache *c) {
    return c->error;
}
