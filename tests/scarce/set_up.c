/* What is made once: configuration, campaigns, model, connections. */
#include <hiredis/hiredis.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/campaign_file.h"
#include "consumer/registry.h"
#include "consumer/resp.h"
#include "consumer/slots.h"
#include "consumer/world.h"
#include "tests/scarce/scarce.h"

static struct config *plain_config(void) {
    struct config *cfg = NULL;
    char *set[] = {"policy.consent_default=granted", "model.dim=16", "redis.address=127.0.0.1:1"};
    if (config_load(NULL, set, ARRAY_LEN(set), &cfg) < 0)
        abort();
    return cfg;
}

static int config(struct buf *out) {
    char path[4096];
    const char *root = getenv("BECKON_SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/deploy/beckon.yaml", root ? root : ".");
    char *set[] = {"kafka.sasl.password=${env:HOME}", "events.stroke=0.5", "model.dim=16"};
    autofree(config_free) struct config *cfg = NULL;
    int r = config_load(path, set, ARRAY_LEN(set), &cfg);
    scarce_stop();
    if (r < 0)
        return r;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        abort();
    config_print(cfg, false, f);
    fclose(f);
    buf_put(out, text, n);
    free(text);
    return 0;
}

static int campaigns(struct buf *out) {
    static struct config *cfg;
    static struct buf text;
    if (!cfg) {
        cfg = plain_config();
        text = source_file("deploy/campaigns.yaml");
        scarce_start(0, false);
    }
    autofree(policy_set_free) struct policy_set *set = NULL;
    int r = campaign_text_load(cfg, "campaigns.yaml", (const char *)text.p, text.n, &set);
    scarce_stop();
    for (size_t i = 0; r == 0 && i < policy_campaigns(set); i++) {
        uint64_t f = policy_campaign_fingerprint(set, i);
        struct str id = policy_campaign_id(set, i);
        buf_put(out, &f, sizeof f);
        buf_put(out, id.p, id.n);
    }
    return r;
}

static int put_model(const struct model *m, struct buf *out) {
    uint32_t n = model_items(m);
    buf_put(out, &n, sizeof n);
    for (uint32_t i = 0; i < n; i++) {
        struct item_view v;
        model_item_view(m, i, &v);
        buf_put(out, v.id.p, v.id.n);
        buf_put(out, v.category.p, v.category.n);
        buf_put(out, v.brand.p, v.brand.n);
    }
    return out->failed ? -ENOMEM : 0;
}

static int model(struct buf *out) {
    struct model_config mc;
    model_config_default(&mc);
    mc.dim = 16;
    mc.max_items = 1000;
    mc.max_users = 1000;
    autofree(model_free) struct model *m = NULL;
    autofree(shard_free) struct shard *s = NULL;
    autofree(learner_free) struct learner *l = NULL;
    int r = model_new(&mc, &m);
    if (r == 0)
        r = shard_new(m, &s);
    if (r == 0)
        r = learner_new(m, 0, &l);
    for (uint32_t i = 0; i < 40 && r == 0; i++) {
        char id[16], leaf[16], tag[16];
        const float dense[] = {1, 2, (float)i};
        snprintf(id, sizeof id, "item%u", i);
        snprintf(leaf, sizeof leaf, "leaf%u", i % 7);
        snprintf(tag, sizeof tag, "tag%u", i % 5);
        struct item_info info = {
            .id = str_of(id),
            .n_category = 2,
            .category = {STR("all"), str_of(leaf)},
            .brand = str_of(tag),
            .n_tags = 1,
            .tags = {str_of(tag)},
            .n_dense = ARRAY_LEN(dense),
            .dense = dense,
            .price = 10,
            .margin = 0.2,
            .available = true,
        };
        r = model_item_upsert(m, &info, 1000, NULL, NULL);
    }
    for (uint32_t i = 0; i < 40 && r == 0; i++) {
        char id[16];
        snprintf(id, sizeof id, "user%u", i);
        if (!shard_admit(s, str_of(id), 1000))
            r = -ENOMEM;
    }
    scarce_stop();
    return r < 0 ? r : put_model(m, out);
}

/* A record of nobody's, read by one that has the same columns. */
static int model_records(struct buf *out) {
    struct model_config mc;
    model_config_default(&mc);
    mc.dim = 16;
    autofree(model_free) struct model *a = NULL, *b = NULL;
    struct buf key = {0}, value = {0};
    int r = model_new(&mc, &a);
    struct item_info info = {.id = STR("boot"),
                             .n_category = 1,
                             .category = {STR("shoes")},
                             .price = 10,
                             .margin = 0.2,
                             .available = true};
    if (r == 0)
        r = model_item_upsert(a, &info, 1000, NULL, NULL);
    if (r == 0)
        r = model_new(&mc, &b);
    uint32_t cursor = 0, row;
    while (r == 0 && (row = model_dirty_next(a, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&value);
        r = model_item_encode(a, row, &key, &value);
        if (r == 0 && (key.failed || value.failed))
            r = -ENOMEM;
        if (r == 0)
            r = model_item_restore(b, (struct str){(char *)key.p, key.n}, value.p, value.n);
    }
    if (r == 0)
        model_restored(b);
    scarce_stop();
    buf_free(&key);
    buf_free(&value);
    return r < 0 ? r : put_model(b, out);
}

static int registry(struct buf *out) {
    (void)out;
    autofree(registry_close) struct registry *r = NULL;
    return registry_open("http://user:secret@127.0.0.1:1/path", 100, &r);
}

/* ---- Redis ---- */

/* Commands are collected, or their loss is told: the caller rewrites everything. */
static int commands(struct buf *out) {
    static struct config *cfg;
    if (!cfg) {
        cfg = plain_config();
        scarce_start(0, false);
    }
    autofree(cache_free) struct cache *c = NULL;
    int r = cache_new(cfg, &c);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "u{%u}", i);
        const struct cache_entry e[] = {{STR("boot"), 3}, {STR("sock"), 2}, {str_of(id), 1}};
        const struct key_value kv[] = {{"field", id, 0}};
        cache_top(c, str_of(id), e, ARRAY_LEN(e));
        cache_why(c, str_of(id), STR("taste taste trend"));
        cache_hash(c, "campaign", str_of(id), kv, ARRAY_LEN(kv), 0);
        cache_trigger(c, kv, ARRAY_LEN(kv));
        cache_forget(c, str_of(id));
    }
    scarce_stop();
    size_t n = cache_pending(c);
    buf_put(out, &n, sizeof n);
    return cache_wiped(c) ? -ENOMEM : 0;
}

static int replies(struct buf *out) {
    static const char wire[] = "+OK\r\n:5\r\n$5\r\nhello\r\n*2\r\n$-1\r\n-OOM no\r\n";
    autofree(replies_free) struct replies *p = NULL;
    int r = replies_new(&p);
    for (size_t i = 0; i < sizeof wire - 1 && r == 0; i++) {
        struct reply got;
        r = replies_feed(p, wire + i, 1);
        while (r == 0 && (r = replies_next(p, &got)) > 0) {
            buf_put(out, &got.fate, sizeof got.fate);
            buf_put(out, got.text, strlen(got.text));
            r = 0;
        }
    }
    return r == 0 && out->failed ? -ENOMEM : r;
}

static int answers(struct buf *out) {
    static const char wire[] = "*2\r\n$5\r\nhello\r\n:5\r\n";
    autofree(answers_free) struct answers *a = NULL;
    int r = answers_new(&a);
    if (r < 0 || (r = answers_feed(a, wire, sizeof wire - 1)) < 0)
        return r;
    redisReply *reply;
    if ((r = answers_next(a, &reply)) != 1)
        return r < 0 ? r : -EPROTO;
    buf_put(out, reply->element[0]->str, reply->element[0]->len);
    freeReplyObject(reply);
    return out->failed ? -ENOMEM : 0;
}

const struct scarce_case set_up_cases[] = {
    {"config", config},     {"campaigns", campaigns},
    {"model", model},       {"model-records", model_records},
    {"registry", registry}, {"commands", commands},
    {"replies", replies},   {"answers", answers},
    {NULL, NULL},
};
