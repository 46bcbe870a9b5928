#include <jansson.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/campaign_file.h"
#include "consumer/cli.h"
#include "consumer/log.h"
#include "consumer/look.h"
#include "policy/evidence.h"

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

static const char *field(const redisReply *hash, struct str arm, const char *name) {
    char key[160];
    snprintf(key, sizeof key, "%.*s%s%s", (int)arm.n, arm.p, arm.n ? ":" : "", name);
    for (size_t i = 0; i + 1 < hash->elements; i += 2)
        if (str_eq(text_of(hash->element[i]), str_of(key)))
            return text_of(hash->element[i + 1]).p;
    return "-";
}

static void list_one(const struct experiment_arms *e, json_t *all) {
    if (!all) {
        printf("%s  layer %s, users %g to %g %%, metric %s%s\n", e->name.p, e->spec.layer.p,
               e->spec.first / 100.0, (e->spec.first + e->spec.buckets) / 100.0,
               experiment_metric_name(e->metric), e->stop ? ", stops losing arms" : "");
        for (size_t a = 0; a < e->spec.n_arms; a++)
            printf("  %-20s share %u%s\n", e->arm[a].name.p, e->spec.weight[a],
                   a ? "" : "  control");
        return;
    }
    json_t *j = json_object(), *arms = json_array();
    for (size_t a = 0; a < e->spec.n_arms; a++)
        json_array_append_new(arms, json_pack("{s:s, s:i}", "name", e->arm[a].name.p, "share",
                                              (int)e->spec.weight[a]));
    json_object_set_new(j, "id", json_string(e->name.p));
    json_object_set_new(j, "layer", json_string(e->spec.layer.p));
    json_object_set_new(j, "from_percent", json_real(e->spec.first / 100.0));
    json_object_set_new(j, "percent", json_real(e->spec.buckets / 100.0));
    json_object_set_new(j, "metric", json_string(experiment_metric_name(e->metric)));
    json_object_set_new(j, "stop", json_boolean(e->stop));
    json_object_set_new(j, "arms", arms);
    json_array_append_new(all, j);
}

static void result_text(const struct experiment_arms *e, const redisReply *hash) {
    const char *metric = experiment_metric_name(e->metric);
    char lift[48], low[48], high[48];
    snprintf(lift, sizeof lift, "%s_lift", metric);
    snprintf(low, sizeof low, "%s_lift_low", metric);
    snprintf(high, sizeof high, "%s_lift_high", metric);
    printf("%s  arms filled unevenly: %s (p %s)\n", e->name.p,
           field(hash, (struct str){0}, "mismatch"), field(hash, (struct str){0}, "mismatch_p"));
    printf("  %-16s  %8s  %8s  %10s  %10s  %10s  %6s  %9s  %-20s  %s\n", "arm", "exposed", "users",
           "conversion", "revenue", "margin", "nps", "lift", "always within", "verdict");
    for (size_t a = 0; a < e->spec.n_arms; a++) {
        struct str arm = e->arm[a].name;
        char range[100];
        snprintf(range, sizeof range, "%s .. %s", field(hash, arm, low), field(hash, arm, high));
        printf("  %-16s  %8s  %8s  %10s  %10s  %10s  %6s  %9s  %-20s  %s\n", arm.p,
               field(hash, arm, "exposed"), field(hash, arm, "users"),
               field(hash, arm, "conversion"), field(hash, arm, "revenue"),
               field(hash, arm, "margin"), field(hash, arm, "nps"), field(hash, arm, lift),
               a ? range : "-", field(hash, arm, "verdict"));
    }
}

static bool result_one(struct redis *r, const struct config *cfg, const struct experiment_arms *e,
                       json_t *all) {
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, "experiment", e->name);
    const struct str args[] = {STR("HGETALL"), {(const char *)key.p, key.n}};
    redisReply *hash = key.failed ? NULL : look_ask(r, cfg, ARRAY_LEN(args), args);
    bool good = hash && hash->type == REDIS_REPLY_ARRAY;
    buf_free(&key);
    if (good && all) {
        json_t *j = json_object();
        json_object_set_new(j, "id", json_string(e->name.p));
        for (size_t i = 0; i + 1 < hash->elements; i += 2)
            json_object_set_new(j, text_of(hash->element[i]).p,
                                look_json_value(text_of(hash->element[i + 1])));
        json_array_append_new(all, j);
    } else if (good) {
        result_text(e, hash);
    }
    freeReplyObject(hash);
    return good;
}

static int show(const struct config *cfg, const struct policy_set *set, bool results, bool json) {
    autofree(redis_free) struct redis *r = NULL;
    json_t *all = json ? json_array() : NULL;
    bool good = !results || look_open(cfg, &r) == 0;
    for (size_t i = 0; i < policy_experiments(set) && good; i++)
        if (results)
            good = result_one(r, cfg, policy_experiment(set, i), all);
        else
            list_one(policy_experiment(set, i), all);
    if (good && json)
        return look_print_json(all);
    json_decref(all);
    if (good && !policy_experiments(set))
        puts("no experiments; describe them under `experiments:` of the campaign file");
    return good ? EXIT_DONE : EXIT_FAILED;
}

int cmd_experiments(int argc, char **argv) {
    bool json = false;
    const struct flag flags[] = {
        {"json", FLAG_BOOL, &json, NULL, "one JSON value on standard output", 0, 0}};
    const struct usage usage = {
        .synopsis = "experiments list|results [--json]",
        .text =
            "Lists the experiments of policy.campaigns, or tells from Redis "
            "(beckon:experiment:{ID}) what they show so far.\n\n"
            "exposed: users who met the experiment; users: those of them whose window closed, whom "
            "all other numbers are about. conversion: share of them who bought; revenue and margin "
            "per user, discounts and contacts taken off the margin. lift: of the experiment's "
            "metric over the control, after what users spent before was allowed for (CUPED); "
            "`always within` holds however often you look (a confidence sequence, 95 % with all "
            "arms together). verdict: wait, wins, loses, stopped (a losing arm of an experiment "
            "with `stop: true`, for good), or mismatch: arms are not filled as their shares say, "
            "something is wrong, believe none of it.\n\n"
            "What is in use cannot be changed: give a changed experiment another id.",
        .examples = "  beckon experiments results\n"
                    "  beckon experiments results --json | jq '.[] | {id, mismatch}'\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    autofree(policy_set_free) struct policy_set *set = NULL;
    int r = cli_parse(&usage, argc, argv, &args, &cfg);
    if (r)
        return r - 1;
    bool results = strcmp(args.v[0], "results") == 0,
         known = results || strcmp(args.v[0], "list") == 0;
    if (!known)
        fprintf(stderr, "beckon experiments: %s is none of list, results\n", log_q(args.v[0]));
    else if (!*cfg->policy_campaigns)
        fprintf(stderr, "beckon experiments: set policy.campaigns\n");
    known &= *cfg->policy_campaigns && campaign_file_load(cfg, &set) == 0;
    r = known ? show(cfg, set, results, json) : EXIT_USAGE;
    flag_list_clear(&args);
    if (fflush(stdout) != 0) {
        perror("beckon experiments");
        return EXIT_FAILED;
    }
    return r;
}
