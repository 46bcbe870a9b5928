#include "consumer/cli.h"
#include "consumer/look.h"

int cmd_top(int argc, char **argv) {
    int64_t n = 20;
    bool json = false, escaped = false;
    const struct flag flags[] = {
        {"n", FLAG_INT, &n, "N", "entries to show", 1, 200},
        {"json", FLAG_BOOL, &json, NULL, "one JSON object", 0, 0},
        {"escaped", FLAG_BOOL, &escaped, NULL, "USER is written with %XX, as in Redis keys", 0, 0},
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
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    struct buf id = look_id(args.v[0], escaped);
    r = look_list(&(struct look_list){
        .kind = "top",
        .what = "user",
        .missing =
            "Did this user do anything since `beckon run` started, or within redis.ttl? Does "
            "`beckon status` show events? Are redis.address, redis.db and redis.prefix those "
            "it writes to?",
        .cfg = cfg,
        .id = {(const char *)id.p, id.n},
        .n = n,
        .json = json,
    });
    buf_free(&id);
    flag_list_clear(&args);
    return r;
}
