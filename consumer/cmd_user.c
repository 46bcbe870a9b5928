#include "consumer/cache.h"
#include "consumer/look.h"

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

static int show_json(struct str id, const redisReply *hash) {
    json_t *out = json_object(), *profile = json_object();
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        struct str name = text_of(hash->element[i]);
        json_object_set_new(profile, name.p, look_json_value(text_of(hash->element[i + 1])));
    }
    json_object_set_new(out, "user", look_json(id));
    json_object_set_new(out, "profile", profile);
    return look_print_json(out);
}

static int show_table(const redisReply *hash) {
    size_t width = 0;
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        width = MAX(width, hash->element[i]->len);
    for (size_t i = 0; i + 1 < hash->elements; i += 2) {
        struct str name = text_of(hash->element[i]), value = text_of(hash->element[i + 1]);
        look_print_text(stdout, name);
        printf("%*s", (int)(width - name.n) + 2, "");
        look_print_text(stdout, value);
        putchar('\n');
    }
    return fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}

static int show(const struct config *cfg, struct str id, void *json) {
    autofree(redis_free) struct redis *r = NULL;
    if (look_open(cfg, &r) < 0)
        return EXIT_FAILED;
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, "user", id);
    struct str args[] = {STR("HGETALL"), {(const char *)key.p, key.n}};
    redisReply *hash = key.failed ? NULL : look_ask(r, cfg, ARRAY_LEN(args), args);
    int rc = EXIT_FAILED;
    if (hash && hash->type == REDIS_REPLY_ARRAY && hash->elements)
        rc = *(const bool *)json ? show_json(id, hash) : show_table(hash);
    else if (hash)
        look_nothing(args[1], "Did this user do anything since `beckon run` started, or within "
                              "redis.ttl? Are redis.address, redis.db and redis.prefix those it "
                              "writes to?");
    freeReplyObject(hash);
    buf_free(&key);
    return rc;
}

int cmd_user(int argc, char **argv) {
    bool json = false, escaped = false;
    const struct flag flags[] = {
        {"json", FLAG_BOOL, &json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &escaped, NULL, "USER is written with %XX, as in Redis keys", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "user USER [--json]",
        .text = "Shows the profile Redis holds of a user: when he was seen, what he did, what he "
                "likes, what he looked at last. Exit code 1 if there is none. It is written at "
                "most every redis.profile_interval.",
        .examples = "  beckon user u42\n"
                    "  beckon user u42 --json | jq .profile.spend\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    return look_run(&usage, argc, argv, &escaped, show, &json);
}
