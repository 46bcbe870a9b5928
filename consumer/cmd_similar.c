#include "consumer/look.h"

int cmd_similar(int argc, char **argv) {
    struct look_list list = {
        .kind = "similar",
        .what = "item",
        .missing =
            "Did anybody touch this item since `beckon run` started, or within redis.ttl? Is "
            "lists.similar_n above 0? Are redis.address, redis.db and redis.prefix those it "
            "writes to?",
        .n = 20,
    };
    const struct flag flags[] = {
        {"n", FLAG_INT, &list.n, "N", "entries to show", 1, 200},
        {"json", FLAG_BOOL, &list.json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &list.escaped, NULL, "ITEM is written with %XX, as in Redis keys", 0,
         0},
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
    return look_run(&usage, argc, argv, &list.escaped, look_list, &list);
}
