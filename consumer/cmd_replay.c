#include <jansson.h>
#include <stdio.h>
#include <sys/resource.h>

#include "consumer/campaign_file.h"
#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/replay.h"

enum { BATCH_MAX = 1024, SHOW_EVERY = 1024, RESAMPLES = 1000 };

struct options {
    const char *items, *at, *evaluate, *json;
    struct flag_list maps, type_maps, sets;
    const char *time_unit;
    int64_t batch, limit;
};

/* "5,10,20" → ascending numbers. */
static int parse_at(const char *text, struct replay_config *c) {
    for (const char *p = text; *p;) {
        char *end;
        long k = strtol(p, &end, 10);
        if (end == p || k < 1 || k > TOP_MAX || c->n_k == RANK_KS_MAX ||
            (c->n_k && c->k[c->n_k - 1] >= (uint32_t)k)) {
            fprintf(
                stderr,
                "beckon replay: --at %s: up to %d ascending numbers from 1 to %d, as in 5,10,20\n",
                text, RANK_KS_MAX, TOP_MAX);
            return -EINVAL;
        }
        c->k[c->n_k++] = (uint32_t)k;
        p = *end == ',' ? end + 1 : end;
    }
    return c->n_k ? 0 : -EINVAL;
}

static int read_items(struct replay *r, const char *path, struct field_map *map) {
    autofree(table_close) struct table_file *t = NULL;
    int err = table_open(path, &t);
    if (err < 0)
        return err;
    uint64_t broken = 0;
    int got;
    while ((got = table_next(t)) != 0) {
        struct item_info info;
        if (got < 0 || field_map_item(map, t, &info) < 0 || !info.id.n || replay_item(r, &info) < 0)
            broken++;
    }
    if (broken)
        fprintf(stderr, "beckon replay: %s: %llu records could not be used\n", path,
                (unsigned long long)broken);
    return 0;
}

static int read_events(struct replay *r, const char *path, struct field_map *map, int64_t limit,
                       uint64_t *events, uint64_t *broken) {
    autofree(table_close) struct table_file *t = NULL;
    int err = table_open(path, &t);
    if (err < 0)
        return err;
    struct progress p = {.what = "replaying", .total = table_bytes_total(t), .unit = "events"};
    int got;
    while (err == 0 && (!limit || *events < (uint64_t)limit) && (got = table_next(t)) != 0) {
        struct event e;
        struct str type;
        if (got < 0) {
            ++*broken;
            continue;
        }
        if (!field_map_event(map, t, &e, &type))
            continue;
        err = replay_event(r, &e);
        if (++*events % SHOW_EVERY == 0)
            progress_show(&p, table_bytes_read(t), *events, path);
    }
    progress_done(&p, *events);
    return err;
}

static double coverage(const struct replay_result *res) {
    return res->items ? (double)rankmetrics_covered(res->beckon) / (double)res->items : 0;
}

static void print_score(const char *name, const struct replay_config *c,
                        const struct rankmetrics *m) {
    for (size_t i = 0; i < c->n_k; i++) {
        struct rank_interval ci = rankmetrics_interval(m, RANK_HIT, i, 0.95, RESAMPLES, 1);
        printf("  %-12s %4u  %8.4f  %.4f-%.4f  %8.4f  %8.4f\n", i ? "" : name, c->k[i],
               rankmetrics_value(m, RANK_HIT, i), ci.low, ci.high,
               rankmetrics_value(m, RANK_MRR, i), rankmetrics_value(m, RANK_NDCG, i));
    }
}

static void print_result(const struct replay *r, const struct replay_config *c,
                         const struct replay_result *res, double seconds, uint64_t rss) {
    printf("events %llu in %.1f s (%.0f/s)   cases %llu   users %llu   items %llu   peak memory "
           "%.0f MB\n",
           (unsigned long long)res->events, seconds, (double)res->events / seconds,
           (unsigned long long)rankmetrics_cases(res->beckon), (unsigned long long)res->users,
           (unsigned long long)res->items, (double)rss / 1e6);
    for (int i = 0; i < DEAD_COUNT; i++)
        if (res->refused[i])
            printf("  refused: %-20s %llu\n", dead_reason_name((enum dead_reason)i),
                   (unsigned long long)res->refused[i]);
    if (res->floods || res->bots)
        printf("  left out: floods %llu, bots %llu\n", (unsigned long long)res->floods,
               (unsigned long long)res->bots);
    printf("\n  %-12s %4s  %8s  %13s  %8s  %8s\n", "", "k", "hit rate", "95 %", "MRR", "NDCG");
    print_score("beckon", c, res->beckon);
    print_score("popularity", c, res->popular);
    printf("  With one relevant item per case, recall is the hit rate.\n");
    printf("\n  items on any list: %llu (%.1f %% of the catalogue)\n",
           (unsigned long long)rankmetrics_covered(res->beckon), 100 * coverage(res));
    for (size_t i = 0; i < policy_campaigns(replay_policies(r)); i++) {
        struct str id = policy_campaign_id(replay_policies(r), i);
        printf("  campaign %.*s:", (int)id.n, id.p);
        for (int reason = 0; reason < PR_COUNT; reason++)
            if (res->decided[i][reason])
                printf("  %s %llu", policy_reason_name((enum policy_reason)reason),
                       (unsigned long long)res->decided[i][reason]);
        printf("\n");
    }
}

static json_t *score_json(const struct replay_config *c, const struct rankmetrics *m) {
    static const struct {
        const char *name;
        enum rank_metric metric;
    } metrics[] = {{"hr", RANK_HIT},
                   {"recall", RANK_RECALL},
                   {"precision", RANK_PRECISION},
                   {"mrr", RANK_MRR},
                   {"ndcg", RANK_NDCG}};
    json_t *o = json_object();
    for (size_t j = 0; j < ARRAY_LEN(metrics); j++) {
        json_t *by_k = json_object();
        for (size_t i = 0; i < c->n_k && rankmetrics_cases(m); i++) {
            char k[16];
            snprintf(k, sizeof k, "%u", c->k[i]);
            json_object_set_new(by_k, k, json_real(rankmetrics_value(m, metrics[j].metric, i)));
        }
        json_object_set_new(o, metrics[j].name, by_k);
    }
    return o;
}

static int write_json(const char *path, const struct replay_config *c,
                      const struct replay_result *res, double seconds, uint64_t rss) {
    json_t *o = score_json(c, res->beckon);
    json_object_set_new(o, "popularity", score_json(c, res->popular));
    json_object_set_new(o, "cases", json_integer((json_int_t)rankmetrics_cases(res->beckon)));
    json_object_set_new(o, "events", json_integer((json_int_t)res->events));
    json_object_set_new(o, "coverage", json_real(coverage(res)));
    json_object_set_new(o, "events_per_s", json_real((double)res->events / seconds));
    json_object_set_new(o, "rss_bytes", json_integer((json_int_t)rss));
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    int r = f ? json_dumpf(o, f, JSON_INDENT(2) | JSON_SORT_KEYS) : -1;
    if (f)
        fputc('\n', f);
    if (f && f != stdout && fclose(f))
        r = -1;
    json_decref(o);
    if (r < 0)
        fprintf(stderr, "beckon replay: cannot write %s\n", path);
    return r < 0 ? -EIO : 0;
}

static int replay_files(const struct options *o, const struct replay_config *c,
                        const struct flag_list *files) {
    autofree(policy_set_free) struct policy_set *policies = NULL;
    autofree(field_map_free) struct field_map *map = NULL, *item_map = NULL;
    autofree(replay_free) struct replay *r = NULL;
    int err = campaign_file_load(c->cfg, &policies);
    if (err == 0)
        err = field_map_new(c->cfg, o->maps.v, o->maps.n, o->type_maps.v, o->type_maps.n, o->sets.v,
                            o->sets.n, &map);
    if (err == 0)
        err = field_map_time_unit(map, o->time_unit);
    if (err == 0)
        err = field_map_new(c->cfg, NULL, 0, NULL, 0, NULL, 0, &item_map);
    if (err == 0)
        err = replay_new(c, TAKE(policies), &r);
    if (err == 0 && *o->items)
        err = read_items(r, o->items, item_map);
    uint64_t events = 0, broken = 0;
    int64_t start = clock_mono_us();
    for (size_t i = 0; i < files->n && err == 0; i++)
        err = read_events(r, files->v[i], map, o->limit, &events, &broken);
    autofree(free) struct replay_result *res = calloc(1, sizeof *res);
    if (err == 0)
        err = res ? replay_finish(r, res) : -ENOMEM;
    if (err < 0)
        return err;
    double seconds = (double)MAX(1, clock_mono_us() - start) / 1e6;
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    uint64_t rss = (uint64_t)ru.ru_maxrss * 1024;
    if (broken)
        fprintf(stderr, "beckon replay: %llu broken rows were left out\n",
                (unsigned long long)broken);
    if (strcmp(o->json, "-") != 0)
        print_result(r, c, res, seconds, rss);
    return *o->json ? write_json(o->json, c, res, seconds, rss) : 0;
}

int cmd_replay(int argc, char **argv) {
    struct options o = {.items = "",
                        .at = "5,10,20",
                        .evaluate = "every",
                        .json = "",
                        .time_unit = "ms",
                        .batch = 64};
    const struct flag flags[] = {
        {"items", FLAG_STR, &o.items, "FILE", "the catalogue", 0, 0},
        {"at", FLAG_STR, &o.at, "K,K,…", "list lengths to judge by", 0, 0},
        {"evaluate", FLAG_STR, &o.evaluate, "every|new",
         "cases: every event on an item, or only items new to the user (then lists leave seen ones "
         "out)",
         0, 0},
        {"batch", FLAG_INT, &o.batch, "N",
         "events ranked side by side; 1: each with all before it learned", 1, BATCH_MAX},
        {"limit", FLAG_INT, &o.limit, "N", "stop after so many events; 0: all", 0, 1e15},
        {"map", FLAG_LIST, &o.maps, "COLUMN=FIELD", "as for `beckon load`", 0, 0},
        {"type-map", FLAG_LIST, &o.type_maps, "VALUE=TYPE", "as for `beckon load`", 0, 0},
        {"set", FLAG_LIST, &o.sets, "FIELD=VALUE", "as for `beckon load`", 0, 0},
        {"time-unit", FLAG_STR, &o.time_unit, "s|ms|us", "of the time column", 0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "replay FILE… [--items FILE] [--at 5,10,20] [--evaluate every|new]",
        .text =
            "Runs the engine over files, without Kafka or Redis. Each event is first a question: "
            "is its item on "
            "the list that the user would have been shown just before? Then it is learned, once. "
            "The list of the "
            "most popular items answers the same questions beside it. Ranking is over the whole "
            "catalogue, an unknown "
            "user counts with the list he would see, an item never seen before is a miss. With "
            "--policy.campaigns=FILE the campaigns decide as well, and their reasons are counted.\n"
            "Files are CSV or JSON lines, gzip or not, in time order.",
        .examples =
            "  beckon replay clicks.csv.gz\n"
            "  beckon replay ratings.csv --evaluate new --at 10 --json result.json\n"
            "  beckon replay clicks.csv.gz --model.covisit_weight=0     what co-visitation adds\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = -1,
    };
    struct flag_list files = {0};
    autofree(config_free) struct config *cfg = NULL;
    int r = cli_parse(&usage, argc, argv, &files, &cfg);
    if (r)
        return r - 1;
    struct replay_config c = {.cfg = cfg, .batch = (size_t)o.batch};
    int err = parse_at(o.at, &c);
    if (err == 0 && strcmp(o.evaluate, "new") == 0) {
        c.new_only = cfg->lists_exclude_seen = true;
    } else if (err == 0 && strcmp(o.evaluate, "every") != 0) {
        fprintf(stderr, "beckon replay: --evaluate %s: every or new\n", o.evaluate);
        err = -EINVAL;
    }
    if (err == 0) {
        cfg->lists_n = c.k[c.n_k - 1];
        err = replay_files(&o, &c, &files);
        if (err < 0 && err != -EINVAL)
            fprintf(stderr, "beckon replay: %s\n", strerror(-err));
    }
    flag_list_clear(&files);
    flag_list_clear(&o.maps);
    flag_list_clear(&o.type_maps);
    flag_list_clear(&o.sets);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
