#include <stdio.h>
#include <sys/resource.h>

#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/replay_flags.h"
#include "consumer/replay_page.h"
#include "consumer/trial.h"

struct options {
    struct replay_flags flags;
    const char *json, *report;
    bool baselines, ablate, costs;
};

static int write_json(const char *path, json_t *o) {
    FILE *f = strcmp(path, "-") == 0 ? stdout : fopen(path, "w");
    int r = f && o ? json_dumpf(o, f, JSON_INDENT(2) | JSON_SORT_KEYS) : -1;
    if (f)
        fputc('\n', f);
    if (f && f != stdout && fclose(f))
        r = -1;
    json_decref(o);
    if (r < 0)
        fprintf(stderr, "beckon replay: cannot write %s\n", path);
    return r < 0 ? -EIO : 0;
}

static uint64_t peak_memory(void) {
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return (uint64_t)ru.ru_maxrss * 1024;
}

/* Everything beside the engine as it is configured. */
struct others {
    struct contender *v;
    struct score *scores; /* of the parts; those of the baselines are the replay's */
    size_t n, n_scores;
};

static int run_parts(struct others *o, const struct trial_setup *s, const struct part_trial *parts,
                     size_t n, enum contender_kind kind) {
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++) {
        struct score *score = &o->scores[o->n_scores];
        err = part_run(s, &parts[i], score);
        if (err == 0) {
            o->n_scores++;
            o->v[o->n++] = (struct contender){parts[i].name, kind, score};
        }
    }
    return err;
}

static int run_others(struct others *o, const struct options *opt, const struct trial_setup *s,
                      const struct replay_result *res) {
    size_t parts = n_parts_alone + n_parts_without + n_parts_costs;
    o->v = calloc(BASELINES + parts, sizeof *o->v);
    o->scores = calloc(parts, sizeof *o->scores);
    if (!o->v || !o->scores)
        return -ENOMEM;
    for (int b = 0; b < BASELINES && res->baseline; b++)
        o->v[o->n++] = (struct contender){baseline_name((enum baseline)b), CONTENDER_BASELINE,
                                          &res->baseline[b]};
    int err = opt->baselines ? run_parts(o, s, parts_alone, n_parts_alone, CONTENDER_ALONE) : 0;
    if (err == 0 && (opt->ablate || *opt->report))
        err = run_parts(o, s, parts_without, n_parts_without, CONTENDER_WITHOUT);
    if (err == 0 && opt->costs)
        err = run_parts(o, s, parts_costs, n_parts_costs, CONTENDER_COST);
    return err;
}

static void others_done(struct others *o) {
    for (size_t i = 0; i < o->n_scores; i++)
        score_done(&o->scores[i]);
    free(o->scores);
    free(o->v);
}

static int report(const struct options *o, const struct replay_report *rep) {
    if (strcmp(o->json, "-") != 0)
        replay_report_text(rep, stdout);
    int err = *o->json ? write_json(o->json, replay_report_json(rep)) : 0;
    if (err == 0 && *o->report && (err = replay_page_write(rep, o->report)) < 0)
        fprintf(stderr, "beckon replay: cannot write %s\n", o->report);
    return err;
}

static int replay_files(const struct options *o, struct trial_setup *s) {
    struct others others = {0};
    struct trial t;
    int64_t start = clock_mono_us();
    replay_flags_data(&o->flags, s->data, &s->c);
    int err = trial_run(s, NULL, 0, "replaying", &t);
    if (err == 0) {
        struct replay_report rep = {.c = &t.c,
                                    .data = s->data,
                                    .replay = t.replay,
                                    .seconds = (double)(clock_mono_us() - start) / 1e6,
                                    .catalogue = judge_items(replay_judge(t.replay)),
                                    .rss_bytes = peak_memory()};
        replay_result(t.replay, &rep.result);
        err = run_others(&others, o, s, &rep.result);
        rep.others = others.v;
        rep.n_others = others.n;
        if (err == 0)
            err = report(o, &rep);
    }
    others_done(&others);
    trial_done(&t);
    return err;
}

/* What must be given together. */
static int check_files(const struct replay_flags *f) {
    bool two = f->files.train.n && f->files.files.n + f->files.test.n;
    if (two || (strcmp(f->learn_on_test, "no") != 0 && f->epochs == 1))
        return 0;
    fprintf(stderr, "beckon replay: --learn-on-test no and --epochs need --train and --test\n");
    return -EINVAL;
}

int cmd_replay(int argc, char **argv) {
    struct options o = {.flags = REPLAY_FLAGS_DEFAULT, .json = "", .report = ""};
    struct replay_files *f = &o.flags.files;
    const struct flag own[] = {
        {"train", FLAG_LIST, &f->train, "FILE", "learned, not judged, if anything else is", 0, 0},
        {"test", FLAG_LIST, &f->test, "FILE", "judged; comes after all others", 0, 0},
        {"baselines", FLAG_BOOL, &o.baselines, NULL,
         "textbook recommenders beside it, on the same cases: popularity, recent popularity, "
         "item-kNN, session-kNN (V-SKNN); then each of the engine's parts alone",
         0, 0},
        {"ablate", FLAG_BOOL, &o.ablate, NULL, "then the engine without each of its parts", 0, 0},
        {"costs", FLAG_BOOL, &o.costs, NULL,
         "then with lists.per_category, diversity, novelty and exploration, one at a time: what "
         "each costs and gains",
         0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
        {"report", FLAG_STR, &o.report, "FILE.html",
         "a page with plots: over time, cold to warm, what each part adds (as --ablate), "
         "popularity "
         "bias",
         0, 0},
    };
    struct flag flags[ARRAY_LEN(own) + REPLAY_FLAGS];
    memcpy(flags, own, sizeof own);
    replay_flags_rows(&o.flags, flags + ARRAY_LEN(own));
    const struct usage usage = {
        .synopsis = "replay [FILE…] [--train FILE…] [--test FILE…] [--evaluate every|new|last]",
        .text =
            "Runs the engine over files, without Kafka or Redis. Each event is first a question: "
            "is its item on the list that the user would have been shown just before? Then it is "
            "learned, once. Files given with --train are learned and not judged, unless there is "
            "nothing else. Ranking is over the whole catalogue; items of one score stand in the "
            "place of the last of them; an unknown user counts with the list he would see; an item "
            "never seen before is a miss. What --positive does not name is no case; it teaches as "
            "the configuration says, but a rating must be what --positive asks for to be learned "
            "as liking. With --policy.campaigns=FILE the campaigns decide as well, and their "
            "reasons are counted.\n"
            "Files are CSV or JSON lines, gzip or not; rows out of time order are put in order.",
        .examples =
            "  beckon replay clicks.csv.gz\n"
            "  beckon replay ratings.csv --evaluate new --positive 'rating>=5' --at 10\n"
            "  beckon replay --train a.csv --test b.csv --evaluate last --learn-on-test no\n"
            "  beckon replay clicks.csv.gz --model.covisit_weight=0     what co-visitation adds\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 0,
        .max_args = -1,
    };
    autofree(config_free) struct config *cfg = NULL;
    struct flag_list sets = {0};
    struct replay_data data = {0};
    struct trial_setup s = {.sets = &sets, .files = f, .data = &data};
    int r = cli_scan(&usage, argc, argv, &f->files, &sets, &s.path);
    if (r)
        return r - 1;
    int err = config_load(s.path, sets.v, sets.n, &cfg);
    err = err == -ENOMEM ? err : err < 0 ? -EINVAL : 0;
    if (err == 0) {
        log_set_level((enum log_level)cfg->app_log_level);
        err = replay_flags_parse(&o.flags, "replay", cfg, &s.c);
        s.c.baselines = o.baselines;
    }
    if (err == 0)
        err = check_files(&o.flags);
    if (err == 0)
        err = replay_data_read(f, cfg, &data);
    if (err == 0)
        err = replay_files(&o, &s);
    if (err < 0 && err != -EINVAL)
        fprintf(stderr, "beckon replay: %s\n", strerror(-err));
    replay_data_done(&data);
    replay_flags_clear(&o.flags);
    cli_free_overrides(&sets);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
