#include "consumer/processes.h"

#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/redis.h"

struct processes {
    const struct config *cfg;
    struct redis *redis;
    struct str me;
    struct buf set, key;
};

int processes_new(const struct config *cfg, struct processes **ret) {
    autofree(processes_free) struct processes *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->cfg = cfg;
    p->me = str_of(cfg->app_instance);
    cache_key(&p->set, cfg->redis_prefix, "processes", (struct str){0});
    if (p->set.failed)
        return -ENOMEM;
    int r = redis_new(cfg, &p->redis);
    if (r == 0)
        *ret = TAKE(p);
    return r;
}

void processes_free(struct processes *p) {
    if (!p)
        return;
    redis_free(p->redis);
    buf_free(&p->set);
    buf_free(&p->key);
    free(p);
}

/* COMMAND KEY [MEMBER], or NULL when that did not work. */
static redisReply *ask(struct processes *p, struct str command, const struct buf *key,
                       struct str member) {
    int64_t deadline = clock_mono_us() + p->cfg->redis_timeout * 1000;
    const struct str args[] = {command, {(const char *)key->p, key->n}, member};
    redisReply *r = redis_ready(p->redis, deadline) < 0
                        ? NULL
                        : redis_call(p->redis, deadline, member.n ? 3 : 2, args);
    if (r && r->type != REDIS_REPLY_ERROR) {
        redis_good(p->redis);
        return r;
    }
    freeReplyObject(r);
    return NULL;
}

static redisReply *ask_about(struct processes *p, struct str command, struct str instance) {
    buf_reset(&p->key);
    cache_key(&p->key, p->cfg->redis_prefix, "stats", instance);
    return p->key.failed ? NULL : ask(p, command, &p->key, (struct str){0});
}

static bool tell(struct processes *p, struct str command, struct str arg) {
    redisReply *r = ask(p, command, &p->set, arg);
    freeReplyObject(r);
    return r != NULL;
}

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

/* 1 or 0, -1: not to be known now. */
static int is_alive(struct processes *p, struct str instance) {
    redisReply *r = ask_about(p, STR("EXISTS"), instance);
    int alive = r ? r->integer == 1 : -1;
    freeReplyObject(r);
    return alive;
}

static bool is_first(struct processes *p, const redisReply *names) {
    for (size_t i = 0; i < names->elements; i++) {
        struct str name = text_of(names->element[i]);
        if (str_cmp(name, p->me) < 0 && is_alive(p, name) != 0)
            return false;
    }
    return true;
}

/* 1: one more; 0: it is gone, and is forgotten; -1: Redis went away. */
static int add_one(struct processes *p, struct str instance, struct tally *to) {
    redisReply *r = ask_about(p, STR("HGETALL"), instance);
    if (!r || r->type != REDIS_REPLY_ARRAY) {
        freeReplyObject(r);
        return -1;
    }
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        tally_merge(to, text_of(r->element[i]).p, text_of(r->element[i + 1]).p);
    int one = r->elements > 0;
    freeReplyObject(r);
    if (!one)
        tell(p, STR("SREM"), instance);
    return one;
}

size_t processes_add_up(struct processes *p, struct tally *to) {
    char ttl[24];
    snprintf(ttl, sizeof ttl, "%lld", (long long)p->cfg->redis_ttl);
    if (!tell(p, STR("SADD"), p->me) || !tell(p, STR("PEXPIRE"), str_of(ttl)))
        return 0;
    redisReply *names = ask(p, STR("SMEMBERS"), &p->set, (struct str){0});
    size_t n = 0;
    bool complete = names && names->type == REDIS_REPLY_ARRAY && is_first(p, names);
    for (size_t i = 0; complete && i < names->elements; i++) {
        int one = add_one(p, text_of(names->element[i]), to);
        complete = one >= 0;
        n += one > 0;
    }
    freeReplyObject(names);
    return complete ? n : 0;
}

void processes_leave(struct processes *p) {
    tell(p, STR("SREM"), p->me);
    freeReplyObject(ask_about(p, STR("DEL"), p->me));
}
