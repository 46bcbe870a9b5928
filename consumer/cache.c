#include "consumer/cache.h"

#include <math.h>
#include <stdio.h>
#include <sys/random.h>

#include "consumer/cache_internal.h"
#include "consumer/clock.h"
#include "consumer/dump.h"
#include "consumer/log.h"

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
    c->stale = cfg->redis_cluster;
    int rc = 0;
    if (cfg->redis_cluster) {
        rc = redis_new(cfg, &c->guide);
    } else {
        c->pipe = calloc(1, sizeof(struct pipe *));
        rc = c->pipe ? pipe_new(cfg, NULL, &c->pipe[0]) : -ENOMEM;
        c->n_pipes = rc == 0;
        if (rc == 0)
            c->pipe[0]->listed = true;
    }
    if (rc == 0)
        *ret = TAKE(c);
    return rc;
}

void cache_free(struct cache *c) {
    if (!c)
        return;
    redis_free(c->guide);
    for (size_t i = 0; i < c->n_pipes; i++)
        pipe_free(c->pipe[i]);
    free(c->pipe);
    free(c->of_node);
    slot_map_free(&c->map);
    buf_free(&c->all.out);
    buf_free(&c->key);
    buf_free(&c->payload);
    free(c->all.ops);
    free(c);
}

/* ---- collecting ---- */

static struct str key_of(struct cache *c, const char *kind, struct str tag) {
    buf_reset(&c->key);
    cache_key(&c->key, c->cfg->redis_prefix, kind, tag);
    return (struct str){(const char *)c->key.p, c->key.n};
}

/* Ends the operation that was appended since the last one; c->key is its key. Without memory it is
 * taken back; as the collection is then no longer what the caller thinks it is, he is told to
 * rewrite everything. */
static void op_end(struct cache *c, enum op_kind kind, uint8_t replies) {
    struct collection *all = &c->all;
    bool failed = all->out.failed || c->key.failed || all->n == UINT32_MAX;
    if (!failed && all->n == all->cap) {
        size_t cap = all->cap ? all->cap * 2 : 256;
        struct op *ops = reallocarray(all->ops, cap, sizeof *ops);
        if (ops) {
            all->ops = ops;
            all->cap = cap;
        } else {
            failed = true;
        }
    }
    uint16_t slot = 0;
    if (c->cfg->redis_cluster)
        slot = slot_of((struct str){(const char *)c->key.p, c->key.n});
    struct pipe *p = failed ? NULL : cache_pipe(c, slot);
    if (p)
        failed = pipe_add(p, all->n, false) < 0;
    if (failed) {
        all->out.n = op_begin(all, all->n);
        all->out.failed = false;
        c->wiped = true;
        log_error("redis-memory", "pending_bytes=%zu", all->out.n);
        return;
    }
    all->ops[all->n++] =
        (struct op){.end = all->out.n, .slot = slot, .kind = (uint8_t)kind, .replies = replies};
}

static void put_word(struct cache *c, size_t n_args, struct str word) {
    resp_array(&c->all.out, n_args);
    resp_str(&c->all.out, word);
}

static void put_expire_in(struct cache *c, struct str key, int64_t ttl_ms) {
    put_word(c, 3, STR("PEXPIRE"));
    resp_str(&c->all.out, key);
    resp_int(&c->all.out, ttl_ms);
}

static void put_expire(struct cache *c, struct str key) {
    put_expire_in(c, key, c->cfg->redis_ttl);
}

static void put_del(struct cache *c, struct str key) {
    put_word(c, 2, STR("DEL"));
    resp_str(&c->all.out, key);
}

static void put_set(struct cache *c, struct str key, struct str text) {
    put_word(c, 5, STR("SET"));
    resp_str(&c->all.out, key);
    resp_str(&c->all.out, text);
    resp_str(&c->all.out, STR("PX"));
    resp_int(&c->all.out, c->cfg->redis_ttl);
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
    if (!cache_restores(c) || !dump_zset(&c->payload, e, n) || c->payload.failed)
        return false;
    put_word(c, 5, STR("RESTORE"));
    resp_str(&c->all.out, key);
    resp_int(&c->all.out, c->cfg->redis_ttl);
    resp_bulk(&c->all.out, c->payload.p, c->payload.n);
    resp_str(&c->all.out, STR("REPLACE"));
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
    resp_str(&c->all.out, key);
    for (size_t i = 0; i < n; i++) {
        resp_int(&c->all.out, scored[i].score);
        resp_str(&c->all.out, scored[i].member);
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
        put_set(c, key, text);
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
    static const char *const kinds[] = {"top", "why", "user"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        put_del(c, key_of(c, kinds[i], user));
        op_end(c, OP_REPLACE, 1);
    }
}

static void put_pairs(struct cache *c, const struct key_value *kv, size_t n) {
    for (size_t i = 0; i < n; i++) {
        resp_str(&c->all.out, str_of(kv[i].key));
        resp_str(&c->all.out, str_of(kv[i].value));
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
    resp_str(&c->all.out, key);
    put_pairs(c, kv, n);
    put_expire_in(c, key, ttl_ms ? ttl_ms : c->cfg->redis_ttl);
    put_word(c, 1, STR("EXEC"));
    op_end(c, OP_REPLACE, 5);
}

void cache_trigger(struct cache *c, const struct key_value *kv, size_t n) {
    if (n == 0)
        return;
    struct str key = key_of(c, "triggers", (struct str){0});
    put_word(c, 1, STR("MULTI"));
    put_word(c, 6 + 2 * n, STR("XADD"));
    resp_str(&c->all.out, key);
    resp_str(&c->all.out, STR("MAXLEN"));
    resp_str(&c->all.out, STR("~"));
    resp_int(&c->all.out, c->cfg->redis_triggers_max);
    resp_str(&c->all.out, STR("*"));
    put_pairs(c, kv, n);
    put_expire(c, key);
    put_word(c, 1, STR("EXEC"));
    op_end(c, OP_ONCE, 4);
}

void cache_again_without_key(struct cache *c, size_t i) {
    size_t begin = op_begin(&c->all, i), n = c->all.ops[i].end - begin;
    put_del(c, key_of(c, "triggers", (struct str){0}));
    op_end(c, OP_REPLACE, 1);
    autofree(free) uint8_t *copy = malloc(n);
    if (!copy)
        return;
    memcpy(copy, c->all.out.p + begin, n);
    buf_put(&c->all.out, copy, n);
    size_t before = c->all.n;
    op_end(c, OP_ONCE, c->all.ops[i].replies);
    if (c->all.n > before)
        c->all.ops[before].second_try = true;
}

struct str cache_marker_key(struct cache *c, const struct pipe *p, const char *more) {
    char tag[320];
    if (p->marker.number)
        snprintf(tag, sizeof tag, "%s %u", c->cfg->app_instance, p->marker.number);
    else
        snprintf(tag, sizeof tag, "%s", c->cfg->app_instance);
    key_of(c, "marker", str_of(tag));
    buf_put(&c->key, ":", 1);
    buf_put(&c->key, c->token, strlen(c->token));
    buf_put(&c->key, more, strlen(more));
    return (struct str){(const char *)c->key.p, c->key.n};
}

void cache_put_marker(struct cache *c, struct pipe *p) {
    struct str key = cache_marker_key(c, p, "");
    put_word(c, 3, STR("GETSET"));
    resp_str(&c->all.out, key);
    resp_int(&c->all.out, (int64_t)c->marker_next);
    size_t before = c->all.n;
    op_end(c, OP_MARKER, 1);
    if (c->all.n > before)
        c->all.ops[before].seq = c->marker_next++;
    put_expire(c, key);
    op_end(c, OP_MARKER, 1);
    c->marker_us = clock_mono_us();
}

void cache_ask_word(struct cache *c) {
    struct str key = key_of(c, "rewrite", (struct str){0});
    put_word(c, 2, STR("GET"));
    resp_str(&c->all.out, key);
    op_end(c, OP_ASK, 1);
}

void cache_put_markers(struct cache *c) {
    for (size_t i = 0; i < c->n_pipes; i++)
        if (c->pipe[i]->listed && redis_up(c->pipe[i]->redis))
            cache_put_marker(c, c->pipe[i]);
    cache_ask_word(c);
}

void cache_put_word(struct cache *c) {
    char word[sizeof c->token + 24];
    snprintf(word, sizeof word, "%s-%llu", c->token, (unsigned long long)c->marker_next++);
    size_t before = c->all.n;
    put_set(c, key_of(c, "rewrite", (struct str){0}), str_of(word));
    op_end(c, OP_WORD, 1);
    c->outdated = c->all.n == before;
    if (!c->outdated)
        log_warning("redis-outdated", "word=%s do=\"all processes write their lists again\"", word);
}

static bool has(const struct cache *c, enum op_kind kind) {
    for (size_t i = 0; i < c->all.n; i++)
        if (c->all.ops[i].kind == kind)
            return true;
    return false;
}

bool cache_overwrites(const struct cache *c) {
    return has(c, OP_REPLACE);
}

void cache_outdated(struct cache *c) {
    /* One that waits will be after all there is. */
    c->outdated = cache_overwrites(c) || !has(c, OP_WORD);
    if (c->outdated && !c->all.n)
        cache_put_word(c);
}

size_t cache_pending(const struct cache *c) {
    for (size_t i = 0; i < c->all.n; i++)
        if (!op_looks(&c->all.ops[i]))
            return c->all.out.n;
    return 0;
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
