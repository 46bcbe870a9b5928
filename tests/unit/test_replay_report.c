#include "consumer/replay_page.h"

#include <criterion/criterion.h>
#include <math.h>
#include <unistd.h>

#include "consumer/ranker_view.h"
#include "consumer/trial.h"

/* A shop in which b always follows a; files as `replay` reads them. */
static char train[256], test[256];

static int temporary(char path[256]) {
    const char *base = getenv("TMPDIR");
    snprintf(path, 256, "%s/replay-XXXXXX", base ? base : "/tmp");
    return mkstemp(path);
}

static void write_part(char *path, int first, int n) {
    FILE *f = fdopen(temporary(path), "w");
    cr_assert_not_null(f);
    fprintf(f, "ts_ms,user_id,session_id,type,item_id,value\n");
    for (int i = 0; i < n; i++)
        for (int k = 0; k < 2; k++)
            fprintf(f, "%lld,s%d,s%d,view,i%d,\n", 1400000000000LL + 60000LL * i + 1000 * k,
                    first + i, first + i, 2 * (i % 5) + k);
    cr_assert_eq(fclose(f), 0);
}

static void clean(void) {
    unlink(train);
    unlink(test);
}

/* Everything a report is made of. */
struct kit {
    char *train_path[1], *test_path[1];
    struct flag_list sets;
    struct replay_files files;
    struct replay_data data;
    struct trial_setup s;
    struct trial t;
    struct replay_report rep;
};

static void play_from(struct kit *k, int first) {
    write_part(train, 0, 200);
    write_part(test, first, 20);
    k->train_path[0] = train;
    k->test_path[0] = test;
    k->files = (struct replay_files){
        .train = {k->train_path, 1}, .test = {k->test_path, 1}, .items = "", .time_unit = "ms"};
    struct config *cfg = NULL;
    cr_assert_eq(config_load(NULL, NULL, 0, &cfg), 0);
    cr_assert_eq(replay_data_read(&k->files, cfg, &k->data), 0);
    config_free(cfg);
    k->s = (struct trial_setup){.sets = &k->sets,
                                .files = &k->files,
                                .data = &k->data,
                                .c = {.k = {1, 5},
                                      .n_k = 2,
                                      .batch = 8,
                                      .first = k->data.first,
                                      .evaluate = EVALUATE_LAST,
                                      .repeats = true,
                                      .baselines = true,
                                      .epochs = 1}};
    cr_assert_eq(trial_run(&k->s, NULL, 0, NULL, &k->t), 0);
    k->rep = (struct replay_report){.c = &k->t.c,
                                    .data = &k->data,
                                    .replay = k->t.replay,
                                    .catalogue = judge_items(replay_judge(k->t.replay)),
                                    .seconds = 1,
                                    .rss_bytes = 1000};
    replay_result(k->t.replay, &k->rep.result);
}

static void play(struct kit *k) {
    play_from(k, 1000);
}

static void done(struct kit *k) {
    trial_done(&k->t);
    replay_data_done(&k->data);
    clean();
}

Test(replay_report, a_part_whose_clock_began_anew_is_moved_behind_the_first) {
    struct kit k = {0};
    play(&k);
    cr_assert_eq(k.data.first, 400);
    cr_assert(k.data.sessions);
    cr_assert(k.data.shifted_ms > 0);
    cr_assert(tape_at(k.data.tape, 400)->time_ms > tape_at(k.data.tape, 399)->time_ms);
    cr_assert_eq(k.rep.catalogue, 10);
    done(&k);
}

Test(replay_report, ids_that_begin_anew_are_other_sessions) {
    struct kit k = {0};
    play_from(&k, 100); /* as the train part's from s100 on, but the last of those is long over */
    cr_assert_eq(k.data.renamed, 20);
    struct str id = tape_text(k.data.tape, tape_at(k.data.tape, 400)->session);
    cr_assert(str_eq(id, STR("s100 (2)")));
    cr_assert_eq(rankmetrics_cases(k.rep.result.beckon->age[1]), 20);
    done(&k);

    k = (struct kit){0};
    play_from(&k, 185); /* s185 to s199 ended less than half an hour before */
    cr_assert_eq(k.data.renamed, 0);
    cr_assert_eq(rankmetrics_cases(k.rep.result.beckon->age[1]), 5);
    done(&k);
}

Test(replay_report, json_has_the_keys_scripts_read) {
    struct kit k = {0};
    play(&k);
    struct contender other = {baseline_name(BASELINE_SESSION_KNN), CONTENDER_BASELINE,
                              &k.rep.result.baseline[BASELINE_SESSION_KNN]};
    k.rep.others = &other;
    k.rep.n_others = 1;
    json_t *o = replay_report_json(&k.rep);
    static const char *const by_k[] = {"hr",        "mrr",  "ndcg",     "recall",
                                       "precision", "gini", "coverage", "novelty"};
    for (size_t i = 0; i < ARRAY_LEN(by_k); i++) {
        json_t *m = json_object_get(o, by_k[i]);
        cr_assert(json_is_number(json_object_get(m, "1")), "%s", by_k[i]);
        cr_assert(json_is_number(json_object_get(m, "5")), "%s", by_k[i]);
    }
    cr_assert_eq(json_integer_value(json_object_get(o, "cases")), 20);
    cr_assert_eq(json_real_value(json_object_get(json_object_get(o, "hr"), "5")), 1);
    cr_assert_eq(json_integer_value(json_object_get(o, "rss_bytes")), 1000);
    cr_assert_gt(json_real_value(json_object_get(o, "events_per_s")), 0);
    json_t *ages = json_object_get(o, "by_age");
    cr_assert_eq(json_integer_value(json_object_get(json_object_get(ages, "1"), "cases")), 20);
    json_t *knn = json_object_get(json_object_get(o, "baselines"), "session-kNN");
    cr_assert_eq(json_real_value(json_object_get(json_object_get(knn, "hr"), "5")), 1);
    json_decref(o);
    done(&k);
}

Test(replay_report, the_page_holds_every_plot) {
    struct kit k = {0};
    play(&k);
    struct score without;
    cr_assert_eq(part_run(&k.s, &parts_without[0], &without), 0);
    struct contender others[] = {{"<popularity>", CONTENDER_BASELINE, k.rep.result.baseline},
                                 {parts_without[0].name, CONTENDER_WITHOUT, &without}};
    k.rep.others = others;
    k.rep.n_others = 2;
    char path[256];
    close(temporary(path));
    cr_assert_eq(replay_page_write(&k.rep, path), 0);
    FILE *f = fopen(path, "r");
    static char text[1 << 20];
    size_t n = fread(text, 1, sizeof text - 1, f);
    text[n] = '\0';
    fclose(f);
    unlink(path);
    static const char *const wanted[] = {"Hit rate over time",  "Cold to warm",
                                         "What each part adds", "Popularity bias",
                                         "&lt;popularity&gt;",  "</html>"};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        cr_assert_not_null(strstr(text, wanted[i]), "%s", wanted[i]);
    cr_assert_null(strstr(text, "nan"));
    score_done(&without);
    done(&k);
}

Test(replay_report, weights_are_shown_by_part_and_column) {
    struct kit k = {0};
    play(&k);
    const struct ranker *r = replay_ranker(k.rep.replay);
    struct ranker_column c[SHORTLIST_COLUMNS_MAX];
    size_t n = ranker_columns(r, c), parts = 0;
    cr_assert_eq(n, shortlist_columns());
    for (size_t i = 0; i < n; i++) {
        bool begins = i == 0 || strcmp(c[i].part, c[i - 1].part) != 0;
        parts += begins;
        cr_assert(*c[i].part && *c[i].name);
        cr_assert(begins || fabsf(c[i].weight) <= fabsf(c[i - 1].weight), "%s", c[i].name);
        for (size_t j = i + 1; begins && i > 0 && j < n; j++)
            cr_assert_str_neq(c[j].part, c[i - 1].part, "a part stands in one place");
    }
    cr_assert_geq(parts, 8);

    json_t *o = replay_report_json(&k.rep), *ranker = json_object_get(o, "ranker");
    cr_assert_gt(json_integer_value(json_object_get(ranker, "cases")), 0);
    cr_assert_eq((uint64_t)json_integer_value(json_object_get(ranker, "cases")), ranker_cases(r));
    for (size_t i = 0; i < n; i++) {
        json_t *part = json_object_get(json_object_get(ranker, "weights"), c[i].part);
        cr_assert_float_eq(json_real_value(json_object_get(part, c[i].name)), c[i].weight, 1e-6);
    }
    json_decref(o);

    struct tally t = {0};
    ranker_view_tally(r, &t);
    char key[TALLY_KEY];
    snprintf(key, sizeof key, "weight:%s:%s", c[0].part, c[0].name);
    cr_assert_float_eq(strtod(tally_get(&t, key), NULL), c[0].weight, 1e-4);
    tally_free(&t);
    done(&k);
}
