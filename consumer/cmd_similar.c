#include "consumer/cli.h"
#include "consumer/look.h"

int cmd_similar(int argc, char **argv) {
    int64_t n = 20;
    bool json = false, escaped = false;
    const struct flag flags[] = {
        {"n", FLAG_INT, &n, "N", "entries to show", 1, 200},
        {"json", FLAG_BOOL, &json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &escaped, NULL, "ITEM is written with %XX, as in Redis keys", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "similar ITEM [-n N] [--json]",
        .text = "Shows the items Redis holds as similar to an item, best first: rank, item, score. "
                "Exit code 1 if there are none.",
        .examples = "  beckon similar shoe-17\n"
                    "  beckon similar shoe-17 --json\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct buf id = look_id(args.v[0], escaped);
    r = look_list(&(struct look_list){
        .kind = "similar",
        .what = "item",
        .missing =
            "Did anybody touch this item since `beckon run` started, or within redis.ttl? Is "
            "lists.similar_n above 0? Are redis.address, redis.db and redis.prefix those it "
            "writes to?",
        .cfg = cfg,
        .id = {(const char *)id.p, id.n},
        .n = n,
        .json = json,
    });
    buf_free(&id);
    flag_list_clear(&args);
    return r;
}
