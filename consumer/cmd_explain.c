#include "consumer/cache.h"
#include "consumer/cli.h"
#include "consumer/look.h"
#include "consumer/why.h"

enum { ATTEMPTS = 3 };

/* A user's list and its reasons, as Redis has them. */
struct answer {
    redisReply *list, *why;
};

static void answer_clear(struct answer *a) {
    freeReplyObject(a->list);
    freeReplyObject(a->why);
    *a = (struct answer){0};
}

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

static size_t words(const redisReply *why) {
    struct str text = text_of(why), reason;
    double propensity;
    size_t n = 0;
    while (why_next(&text, &reason, &propensity))
        n++;
    return n;
}

static redisReply *ask(struct redis *r, const struct config *cfg, const char *kind, struct str id) {
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, kind, id);
    struct str k = {(const char *)key.p, key.n};
    struct str list[] = {STR("ZREVRANGE"), k, STR("0"), STR("-1"), STR("WITHSCORES")};
    struct str get[] = {STR("GET"), k};
    bool top = strcmp(kind, "top") == 0;
    redisReply *reply = key.failed ? NULL : look_ask(r, cfg, top ? 5 : 2, top ? list : get);
    buf_free(&key);
    return reply;
}

/* Both; once more if the list was replaced in between. */
static bool ask_both(struct redis *r, const struct config *cfg, struct str id, struct answer *ret) {
    for (int i = 0; i < ATTEMPTS; i++) {
        answer_clear(ret);
        ret->list = ask(r, cfg, "top", id);
        ret->why = ret->list ? ask(r, cfg, "why", id) : NULL;
        if (!ret->why)
            return false;
        if (2 * words(ret->why) == ret->list->elements)
            break;
    }
    return true;
}

static json_t *entry_json(size_t rank, struct str item, double score, struct str reason,
                          double propensity) {
    json_t *o = json_object();
    json_object_set_new(o, "rank", json_integer((json_int_t)rank));
    json_object_set_new(o, "item", look_json(item));
    json_object_set_new(o, "score", json_real(score));
    json_object_set_new(o, "reason", reason.n ? look_json(reason) : json_null());
    if (propensity > 0)
        json_object_set_new(o, "propensity", json_real(propensity));
    return o;
}

static void print_entry(size_t rank, struct str item, double score, struct str reason,
                        double propensity, size_t width) {
    printf("%4zu  ", rank);
    look_print(stdout, item);
    printf("%*s  %10.3f  ", (int)(width - look_width(item)), "", score);
    look_print(stdout, reason);
    const char *meaning = why_meaning(reason);
    if (*meaning)
        printf(": %s", meaning);
    if (propensity > 0)
        printf(" (drawn with a chance of %.4g)", propensity);
    printf("\n");
}

/* The list's entries, or the only one that is asked for; an exit code. */
static int show(const struct answer *a, struct str user, const struct str *only, bool json) {
    const redisReply *list = a->list;
    struct str text = text_of(a->why);
    json_t *items = json_array();
    size_t width = 0, shown = 0;
    for (size_t i = 0; i + 1 < list->elements; i += 2)
        width = MAX(width, look_width(text_of(list->element[i])));
    for (size_t i = 0; i + 1 < list->elements; i += 2) {
        struct str item = text_of(list->element[i]), reason = {0};
        double propensity = 0, score = strtod(list->element[i + 1]->str, NULL) / CACHE_SCORE_SCALE;
        why_next(&text, &reason, &propensity);
        if (only && !str_eq(item, *only))
            continue;
        shown++;
        if (json)
            json_array_append_new(items, entry_json(i / 2 + 1, item, score, reason, propensity));
        else
            print_entry(i / 2 + 1, item, score, reason, propensity, only ? 0 : width);
    }
    if (shown == 0) {
        json_decref(items);
        fputs(list->elements ? "the item is not on the user's list of now\n"
                             : "there is no list of this user; see `beckon top --help`\n",
              stderr);
        return EXIT_FAILED;
    }
    if (!json) {
        json_decref(items);
        return fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
    }
    json_t *out = json_object();
    json_object_set_new(out, "user", look_json(user));
    json_object_set_new(out, "items", items);
    return look_print_json(out);
}

static int explain(const struct config *cfg, struct str user, const struct str *only, bool json) {
    autofree(redis_free) struct redis *r = NULL;
    if (look_open(cfg, &r) < 0)
        return EXIT_FAILED;
    struct answer a = {0};
    int rc = ask_both(r, cfg, user, &a) ? show(&a, user, only, json) : EXIT_FAILED;
    answer_clear(&a);
    return rc;
}

int cmd_explain(int argc, char **argv) {
    bool json = false, escaped = false;
    const struct flag flags[] = {
        {"json", FLAG_BOOL, &json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &escaped, NULL, "ids are written with %XX, as in Redis keys", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "explain USER [ITEM] [--json]",
        .text =
            "Shows why each item is on the user's list in Redis: which part of the engine speaks "
            "loudest for it, or that it was drawn by chance and how likely that was. With ITEM, "
            "only that one; exit code 1 if it is not on the list. What weight each part has in "
            "all, `redis-cli hgetall beckon:ranker` shows. Needs lists.reasons.",
        .examples = "  beckon explain u42\n"
                    "  beckon explain u42 shoe-17\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 2,
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct buf user = look_id(args.v[0], escaped);
    struct buf item = look_id(args.n > 1 ? args.v[1] : "", escaped);
    const struct str only = {(const char *)item.p, item.n};
    r = explain(cfg, (struct str){(const char *)user.p, user.n}, args.n > 1 ? &only : NULL, json);
    buf_free(&user);
    buf_free(&item);
    flag_list_clear(&args);
    return r;
}
