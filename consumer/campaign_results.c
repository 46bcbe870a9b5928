#include "consumer/campaign_results.h"

#include "consumer/cache.h"
#include "consumer/cli.h"
#include "consumer/look.h"

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

/* A campaign's or a policy's hash, to be freed; NULL after printing why. */
static redisReply *read_hash(struct redis *r, const struct config *cfg, const char *what,
                             struct str id) {
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, what, id);
    const struct str args[] = {STR("HGETALL"), {(const char *)key.p, key.n}};
    redisReply *hash = key.failed ? NULL : look_ask(r, cfg, ARRAY_LEN(args), args);
    buf_free(&key);
    return hash;
}

static struct str field(const redisReply *hash, const char *name) {
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (str_eq(text_of(hash->element[i]), str_of(name)))
            return text_of(hash->element[i + 1]);
    return STR("-");
}

static void print_row(struct str id, int wide, const redisReply *hash) {
    static const char *const columns[] = {"sent",    "outcomes", "opened", "converted",
                                          "revenue", "margin",   "cost",   "reward"};
    printf("%-*.*s", wide, (int)id.n, id.p);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        struct str v = hash ? field(hash, columns[i]) : str_of(columns[i]);
        printf("  %10.*s", (int)v.n, v.n ? v.p : "");
    }
    if (!hash)
        printf("  %10s  %s\n", "lift", "always within");
    else
        printf("  %10s  %s .. %s\n", field(hash, "lift").p, field(hash, "lift_low").p,
               field(hash, "lift_high").p);
}

static json_t *row_json(const char *kind, struct str id, const redisReply *hash) {
    json_t *j = json_object();
    json_object_set_new(j, kind, json_stringn(id.p, id.n));
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        json_object_set_new(j, text_of(hash->element[i]).p,
                            look_json_value(text_of(hash->element[i + 1])));
    return j;
}

static void print_network(struct str group, const redisReply *hash) {
    printf("\ngroup %.*s\n", (int)group.n, group.p);
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        printf("  %-22s %s\n", text_of(hash->element[i]).p, text_of(hash->element[i + 1]).p);
}

/* Who is in charge of groups with a network, and why; printed, or added to `all` unless it is NULL.
 */
static bool tell_networks(struct redis *r, const struct config *cfg, const struct policy_set *set,
                          json_t *all) {
    for (size_t g = 0; g < policy_groups(set); g++) {
        struct str name = policy_group_name(set, g);
        if (!policy_group_deep(set, g))
            continue;
        redisReply *hash = read_hash(r, cfg, "policy", name);
        bool good = hash && hash->type == REDIS_REPLY_ARRAY;
        if (good && all)
            json_array_append_new(all, row_json("group", name, hash));
        else if (good)
            print_network(name, hash);
        freeReplyObject(hash);
        if (!good)
            return false;
    }
    return true;
}

int campaign_results(const struct config *cfg, const struct policy_set *set, bool json) {
    autofree(redis_free) struct redis *r = NULL;
    if (look_open(cfg, &r) < 0)
        return EXIT_FAILED;
    size_t wide = strlen("campaign");
    for (size_t i = 0; i < policy_campaigns(set); i++)
        wide = MAX(wide, policy_campaign_id(set, i).n);
    json_t *all = json_array();
    bool good = true;
    if (!json)
        print_row(STR("campaign"), (int)wide, NULL);
    for (size_t i = 0; i < policy_campaigns(set) && good; i++) {
        struct str id = policy_campaign_id(set, i);
        redisReply *hash = read_hash(r, cfg, "campaign", id);
        good = hash && hash->type == REDIS_REPLY_ARRAY;
        if (good && json)
            json_array_append_new(all, row_json("id", id, hash));
        else if (good)
            print_row(id, (int)wide, hash);
        freeReplyObject(hash);
    }
    if (good)
        good = tell_networks(r, cfg, set, json ? all : NULL);
    if (good && json)
        return look_print_json(all);
    json_decref(all);
    return good ? EXIT_DONE : EXIT_FAILED;
}
