#include "consumer/control.h"

#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/redis.h"

struct control {
    struct world *world;
    struct redis *redis;
    struct buf key;
};

void control_fingerprint(const struct policy_set *set, size_t campaign, char ret[17]) {
    snprintf(ret, 17, "%016llx", (unsigned long long)policy_campaign_fingerprint(set, campaign));
}

/* The campaign that a field such as pause:ID names, or -1. */
static int named(const struct policy_set *set, const char *field, const char *what) {
    size_t n = strlen(what);
    return strncmp(field, what, n) == 0 ? policy_campaign_find(set, str_of(field + n)) : -1;
}

static void put(struct world *w, size_t i, uint8_t *byte, bool on, const char *what) {
    if (__atomic_exchange_n(byte, on, __ATOMIC_RELAXED) == on)
        return;
    struct str id = policy_campaign_id(w->policies, i);
    log_info("control", "campaign=%.*s %s=%s", (int)id.n, id.p, what, on ? "yes" : "no");
}

void control_apply(struct world *w, const struct key_value *kv, size_t n) {
    bool paused[POLICY_CAMPAIGNS_MAX] = {0}, approved[POLICY_CAMPAIGNS_MAX] = {0}, all = false;
    for (size_t i = 0; i < n; i++) {
        char fingerprint[17];
        int k;
        if (strcmp(kv[i].key, "all") == 0) {
            all = strcmp(kv[i].value, "pause") == 0;
        } else if ((k = named(w->policies, kv[i].key, "pause:")) >= 0) {
            paused[k] = true;
        } else if ((k = named(w->policies, kv[i].key, "approve:")) >= 0) {
            control_fingerprint(w->policies, (size_t)k, fingerprint);
            approved[k] = strcmp(kv[i].value, fingerprint) == 0;
        }
    }
    for (size_t i = 0; i < policy_campaigns(w->policies); i++) {
        put(w, i, &w->paused_campaign[i], paused[i], "paused");
        put(w, i, &w->approved_campaign[i], approved[i], "approved");
    }
    if (__atomic_exchange_n(&w->paused_all, all, __ATOMIC_RELAXED) != all)
        log_warning("control", "kill_switch=%s", all ? "on" : "off");
}

int control_new(struct world *w, struct control **ret) {
    autofree(control_free) struct control *c = calloc(1, sizeof *c);
    if (!c)
        return -ENOMEM;
    c->world = w;
    cache_key(&c->key, w->cfg->redis_prefix, "control", (struct str){0});
    if (c->key.failed)
        return -ENOMEM;
    int r = redis_new(w->cfg, &c->redis);
    if (r == 0)
        *ret = TAKE(c);
    return r;
}

void control_free(struct control *c) {
    if (!c)
        return;
    redis_free(c->redis);
    buf_free(&c->key);
    free(c);
}

int control_read(struct control *c) {
    int64_t deadline_us = clock_mono_us() + c->world->cfg->redis_timeout * 1000;
    const struct str args[] = {STR("HGETALL"), {(const char *)c->key.p, c->key.n}};
    if (redis_ready(c->redis, deadline_us) < 0)
        return -EAGAIN;
    redisReply *reply = redis_call(c->redis, deadline_us, ARRAY_LEN(args), args);
    int r = reply && reply->type == REDIS_REPLY_ARRAY ? 0 : -EAGAIN;
    autofree(free) struct key_value *kv =
        r == 0 ? calloc(reply->elements / 2 + 1, sizeof *kv) : NULL;
    for (size_t i = 0; kv && i < reply->elements / 2; i++)
        kv[i] = (struct key_value){.key = reply->element[2 * i]->str,
                                   .value = reply->element[2 * i + 1]->str};
    if (kv) {
        redis_good(c->redis);
        control_apply(c->world, kv, reply->elements / 2);
    }
    freeReplyObject(reply);
    return kv ? r : -EAGAIN;
}
