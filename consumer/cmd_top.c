#include "consumer/look.h"

int cmd_top(int argc, char **argv) {
    struct look_list list = {
        .kind = "top",
        .what = "user",
        .missing =
            "Did this user do anything since `beckon run` started, or within redis.ttl? Does "
            "`beckon status` show events? Are redis.address, redis.db and redis.prefix those "
            "it writes to?",
        .n = 20,
    };
    const struct flag flags[] = {
        {"n", FLAG_INT, &list.n, "N", "entries to show", 1, 200},
        {"json", FLAG_BOOL, &list.json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &list.escaped, NULL, "USER is written with %XX, as in Redis keys", 0,
         0},
    };
    const struct usage usage = {
        .synopsis = "top USER [-n N] [--json]",
        .text = "Shows the list Redis holds for a user, best first: rank, item, score. What "
                "`redis-cli zrevrange 'beckon:top:{USER}' 0 -1 withscores` shows, where scores are "
                "in thousandths. Exit code 1 if there is no list. `beckon explain` says why.",
        .examples = "  beckon top u42\n"
                    "  beckon top u42 -n 5 --json | jq -r '.items[].item'\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    return look_run(&usage, argc, argv, &list.escaped, look_list, &list);
}
