#include <stdio.h>
#include <sys/resource.h>

#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/replay_page.h"
#include "consumer/trial.h"

enum { BATCH_MAX = 1024 };

struct options {
    struct replay_files files;
    const char *at, *evaluate, *learn_on_test, *positive, *repeats, *json, *report;
    int64_t batch, epochs;
    bool baselines, ablate;
};

/* "5,10,20" → ascending numbers. */
static int parse_at(const char *text, struct replay_config *c) {
    for (const char *p = text; *p;) {
        char *end;
        long k = strtol(p, &end, 10);
        if (end == p || k < 1 || k >= TOP_MAX || c->n_k == RANK_KS_MAX ||
            (c->n_k && c->k[c->n_k - 1] >= (uint32_t)k)) {
            fprintf(
                stderr,
                "beckon replay: --at %s: up to %d ascending numbers from 1 to %d, as in 5,10,20\n",
                text, RANK_KS_MAX, TOP_MAX - 1);
            return -EINVAL;
        }
        c->k[c->n_k++] = (uint32_t)k;
        p = *end == ',' ? end + 1 : end;
    }
    return c->n_k ? 0 : -EINVAL;
}

/* Which of these words it is; -EINVAL: none, which is told. */
static int choose(const char *flag, const char *text, const char *const *words, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(text, words[i]) == 0)
            return (int)i;
    fprintf(stderr, "beckon replay: --%s %s: use ", flag, text);
    for (size_t i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i == 0 ? "" : i + 1 < n ? ", " : " or ", words[i]);
    fprintf(stderr, "\n");
    return -EINVAL;
}

static int parse_options(const struct options *o, const struct config *cfg,
                         struct replay_config *c) {
    static const char *const cases[] = {"every", "new", "last"}, *const no_yes[] = {"no", "yes"};
    int err = parse_at(o->at, c), word;
    if (err == 0)
        err = positive_parse(cfg, o->positive, &c->positive);
    if (err < 0 || (word = choose("evaluate", o->evaluate, cases, ARRAY_LEN(cases))) < 0)
        return -EINVAL;
    c->evaluate = (enum evaluate)word;
    if ((word = choose("learn-on-test", o->learn_on_test, no_yes, 2)) < 0)
        return -EINVAL;
    c->learn_on_test = word;
    if (*o->repeats && choose("repeats", o->repeats, no_yes, 2) < 0)
        return -EINVAL;
    const struct replay_files *f = &o->files;
    if (f->train.n + f->files.n + f->test.n == 0) {
        fprintf(stderr, "beckon replay: no file; see `beckon replay --help`\n");
        return -EINVAL;
    }
    if ((!c->learn_on_test || o->epochs > 1) && (!f->train.n || f->files.n + f->test.n == 0)) {
        fprintf(stderr, "beckon replay: --learn-on-test no and --epochs need --train and --test\n");
        return -EINVAL;
    }
    c->epochs = (uint32_t)o->epochs;
    c->batch = (size_t)o->batch;
    c->baselines = o->baselines;
    return 0;
}

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
    o->v = calloc(BASELINES + n_parts_alone + n_parts_without, sizeof *o->v);
    o->scores = calloc(n_parts_alone + n_parts_without, sizeof *o->scores);
    if (!o->v || !o->scores)
        return -ENOMEM;
    for (int b = 0; b < BASELINES && res->baseline; b++)
        o->v[o->n++] = (struct contender){baseline_name((enum baseline)b), CONTENDER_BASELINE,
                                          &res->baseline[b]};
    int err = opt->baselines ? run_parts(o, s, parts_alone, n_parts_alone, CONTENDER_ALONE) : 0;
    if (err == 0 && (opt->ablate || *opt->report))
        err = run_parts(o, s, parts_without, n_parts_without, CONTENDER_WITHOUT);
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
    s->c.first = s->data->first;
    s->c.repeats = *o->repeats ? strcmp(o->repeats, "yes") == 0
                               : s->data->sessions && s->c.evaluate != EVALUATE_NEW;
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

int cmd_replay(int argc, char **argv) {
    struct options o = {.files = {.items = "", .time_unit = "ms"},
                        .at = "5,10,20",
                        .evaluate = "every",
                        .learn_on_test = "yes",
                        .positive = "",
                        .repeats = "",
                        .json = "",
                        .report = "",
                        .batch = 64,
                        .epochs = 1};
    struct replay_files *f = &o.files;
    const struct flag flags[] = {
        {"train", FLAG_LIST, &f->train, "FILE", "learned, not judged, if anything else is", 0, 0},
        {"test", FLAG_LIST, &f->test, "FILE", "judged; comes after all others", 0, 0},
        {"items", FLAG_STR, &f->items, "FILE", "the catalogue", 0, 0},
        {"at", FLAG_STR, &o.at, "K,K,…", "list lengths to judge by", 0, 0},
        {"evaluate", FLAG_STR, &o.evaluate, "every|new|last",
         "cases: every event on an item but the first of its session (of its user, where there are "
         "no sessions); only items new to the user; only the last event of each session or user",
         0, 0},
        {"learn-on-test", FLAG_STR, &o.learn_on_test, "yes|no",
         "whether what users share is learned on in the judged part; a user's own history goes on "
         "in any case",
         0, 0},
        {"positive", FLAG_STR, &o.positive, "TYPE>=N|…",
         "which events count as a yes: 'rating>=5', 'purchase', 'click|view'; at first all whose "
         "type has a weight",
         0, 0},
        {"repeats", FLAG_STR, &o.repeats, "yes|no",
         "whether lists may hold what the user had before; at first yes where there are sessions, "
         "no for `new`",
         0, 0},
        {"epochs", FLAG_INT, &o.epochs, "N",
         "passes over --train; from the second on only embeddings are learned", 1, 1000},
        {"baselines", FLAG_BOOL, &o.baselines, NULL,
         "textbook recommenders beside it, on the same cases: popularity, recent popularity, "
         "item-kNN, session-kNN (V-SKNN); then each of the engine's parts alone",
         0, 0},
        {"ablate", FLAG_BOOL, &o.ablate, NULL, "then the engine without each of its parts", 0, 0},
        {"batch", FLAG_INT, &o.batch, "N",
         "events ranked side by side; 1: each with all before it learned", 1, BATCH_MAX},
        {"limit", FLAG_INT, &f->limit, "N", "stop after so many events; 0: all", 0, 1e15},
        {"map", FLAG_LIST, &f->maps, "COLUMN=FIELD", "as for `beckon load`", 0, 0},
        {"type-map", FLAG_LIST, &f->type_maps, "VALUE=TYPE", "as for `beckon load`", 0, 0},
        {"set", FLAG_LIST, &f->sets, "FIELD=VALUE", "as for `beckon load`", 0, 0},
        {"time-unit", FLAG_STR, &f->time_unit, "s|ms|us", "of the time column", 0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
        {"report", FLAG_STR, &o.report, "FILE.html",
         "a page with plots: over time, cold to warm, what each part adds (as --ablate), "
         "popularity "
         "bias",
         0, 0},
    };
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
        err = parse_options(&o, cfg, &s.c);
    }
    if (err == 0)
        err = replay_data_read(f, cfg, &data);
    if (err == 0)
        err = replay_files(&o, &s);
    if (err < 0 && err != -EINVAL)
        fprintf(stderr, "beckon replay: %s\n", strerror(-err));
    replay_data_done(&data);
    struct flag_list *lists[] = {&f->files, &f->train, &f->test, &f->maps, &f->type_maps, &f->sets};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++)
        flag_list_clear(lists[i]);
    cli_free_overrides(&sets);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
