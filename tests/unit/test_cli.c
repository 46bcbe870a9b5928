#include "consumer/cli.h"
#include "consumer/log.h"
#include "consumer/nearest.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <unistd.h>

static struct got {
    bool dry;
    int64_t seconds, wait_ms;
    double rate;
    const char *out;
    struct flag_list maps;
} got;

static int parse_into(struct flag_list *args, struct config **cfg, int argc, char **argv) {
    got = (struct got){.seconds = 60, .rate = 0.5};
    const struct flag flags[] = {
        {"dry", FLAG_BOOL, &got.dry, NULL, "do nothing", 0, 0},
        {"seconds", FLAG_INT, &got.seconds, "N", "how long", 1, 100},
        {"rate", FLAG_NUM, &got.rate, "R", "how fast", 0, 1},
        {"wait", FLAG_MS, &got.wait_ms, "TIME", "before starting", 0, 0},
        {"out", FLAG_STR, &got.out, "FILE", "where to", 0, 0},
        {"map", FLAG_LIST, &got.maps, "A=B", "column to field", 0, 0},
    };
    const struct usage u = {
        .synopsis = "try [FILE…]",
        .text = "Tries.",
        .examples = "  beckon try x\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 0,
        .max_args = 2,
    };
    return cli_parse(&u, argc, argv, args, cfg);
}

#define PARSE(args, cfg, ...)                                                                      \
    ({                                                                                             \
        char *argv_[] = {"try", __VA_ARGS__};                                                      \
        parse_into(args, cfg, (int)ARRAY_LEN(argv_), argv_);                                       \
    })

static void away_from_files(void) {
    cr_redirect_stderr();
    cr_redirect_stdout();
    unsetenv("BECKON_CONFIG");
    cr_assert_eq(chdir("/"), 0);
}

static const char *text_of(FILE *f) {
    static char text[20000];
    fflush(stdout);
    fflush(stderr);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    return text;
}

Test(cli, flags_take_their_value_behind_a_space_or_an_equals_sign, .init = away_from_files) {
    struct flag_list args = {0};
    struct config *c = NULL;
    int r =
        PARSE(&args, &c, "--seconds=5", "a", "--rate", "0.25", "--dry", "--wait", "2m", "--map=x=y",
              "--map", "z=w", "--out", "-", "-", "--model.dim=32", "--lists.n", "7");
    cr_assert_eq(r, 0);
    cr_assert(got.seconds == 5 && got.rate == 0.25 && got.dry && got.wait_ms == 120000);
    cr_assert_str_eq(got.out, "-");
    cr_assert_eq(got.maps.n, 2);
    cr_assert_str_eq(got.maps.v[0], "x=y");
    cr_assert_str_eq(got.maps.v[1], "z=w");
    cr_assert_eq(args.n, 2);
    cr_assert_str_eq(args.v[0], "a");
    cr_assert_str_eq(args.v[1], "-");
    cr_assert(c->model_dim == 32 && c->lists_n == 7);
    flag_list_clear(&args);
    flag_list_clear(&got.maps);
    config_free(c);
}

Test(cli, two_dashes_end_the_flags, .init = away_from_files) {
    struct flag_list args = {0};
    struct config *c = NULL;
    cr_assert_eq(PARSE(&args, &c, "--dry=false", "--", "--seconds"), 0);
    cr_assert(!got.dry && args.n == 1);
    cr_assert_str_eq(args.v[0], "--seconds");
    flag_list_clear(&args);
    config_free(c);
}

#define REFUSED(said, ...)                                                                         \
    do {                                                                                           \
        struct flag_list a_ = {0};                                                                 \
        struct config *c_ = NULL;                                                                  \
        cr_assert_eq(PARSE(&a_, &c_, __VA_ARGS__), EXIT_USAGE + 1);                                \
        cr_assert(!c_ && !a_.v);                                                                   \
        const char *t_ = text_of(cr_get_redirected_stderr());                                      \
        cr_assert_not_null(strstr(t_, said), "no \"%s\" in:\n%s", said, t_);                       \
    } while (0)

Test(cli, an_unknown_flag_gets_a_suggestion, .init = away_from_files) {
    REFUSED("beckon try: unknown flag --secnods; did you mean --seconds?", "--secnods=3");
}
Test(cli, a_key_without_its_section_gets_a_suggestion, .init = away_from_files) {
    REFUSED("unknown flag --learning_rate; did you mean --model.learning_rate?",
            "--learning_rate=3");
}
Test(cli, a_flag_out_of_bounds_names_them, .init = away_from_files) {
    REFUSED("--seconds takes a whole number from 1 to 100, found 101", "--seconds", "101");
}
Test(cli, a_flag_that_is_no_number_is_refused, .init = away_from_files) {
    REFUSED("--rate takes a number from 0 to 1, found nothing", "--rate=");
}
Test(cli, a_bad_duration_is_refused, .init = away_from_files) {
    REFUSED("--wait takes a duration such as 250ms, 30s, 10m, 2h or 7d, found 5", "--wait", "5");
}
Test(cli, a_missing_value_is_named, .init = away_from_files) {
    REFUSED("--out needs a value", "--out");
}
Test(cli, a_single_dash_is_no_flag, .init = away_from_files) {
    REFUSED("unknown flag -x; flags begin with --", "-x");
}
Test(cli, too_many_arguments_are_refused, .init = away_from_files) {
    REFUSED("does not take c: beckon try", "a", "b", "c");
}
Test(cli, a_wrong_override_is_named_as_of_the_command_line, .init = away_from_files) {
    REFUSED("command line: model.dim: found 9, allowed are multiples of 8", "--model.dim", "9");
}
Test(cli, a_missing_configuration_is_a_usage_fault, .init = away_from_files) {
    REFUSED("/nowhere: No such file or directory", "--config", "/nowhere");
}

Test(cli, help_teaches_the_flags_and_the_configuration, .init = away_from_files) {
    struct flag_list args = {0};
    struct config *c = NULL;
    cr_assert_eq(PARSE(&args, &c, "--help"), EXIT_DONE + 1);
    cr_assert_null(c);
    const char *t = text_of(cr_get_redirected_stdout());
    const char *want[] = {"usage: beckon try [FILE…]\n\nTries.\n",
                          "  --seconds N    how long (default 60)\n",
                          "  --map A=B      column to field (may be repeated)\n",
                          "  --config FILE  configuration",
                          "examples:\n  beckon try x\n",
                          "--section.key=value",
                          "beckon config --sample"};
    for (size_t i = 0; i < ARRAY_LEN(want); i++)
        cr_assert_not_null(strstr(t, want[i]), "no \"%s\" in:\n%s", want[i], t);
}

Test(cli, the_configuration_comes_from_the_environment, .init = away_from_files) {
    char path[] = "/tmp/beckon-cli-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_eq(write(fd, "model: {dim: 16}\n", 17), 17);
    close(fd);
    setenv("BECKON_CONFIG", path, 1);
    struct flag_list args = {0};
    struct config *c = NULL;
    int r = PARSE(&args, &c, "--app.log_level=error");
    unlink(path);
    cr_assert_eq(r, 0);
    cr_assert_eq(c->model_dim, 16);
    cr_assert_str_eq(c->path, path);
    cr_assert_eq(log_level(), LOG_ERROR);
    config_free(c);
}

Test(cli, a_command_without_configuration_knows_no_such_flags, .init = away_from_files) {
    struct flag_list args = {0};
    cr_assert_eq(PARSE(&args, NULL, "a"), 0);
    flag_list_clear(&args);
    cr_assert_eq(PARSE(&args, NULL, "--model.dim=8"), EXIT_USAGE + 1);
    cr_assert_eq(PARSE(&args, NULL, "--config=x"), EXIT_USAGE + 1);
}

Test(nearest, counts_edits) {
    cr_assert_eq(edit_distance("", "abc"), 3);
    cr_assert_eq(edit_distance("abc", "abc"), 0);
    cr_assert_eq(edit_distance("acb", "abc"), 1, "a swap is one edit");
    cr_assert_eq(edit_distance("kitten", "sitting"), 3);
    char longer[200];
    memset(longer, 'x', 199);
    longer[199] = '\0';
    cr_assert_eq(edit_distance(longer, ""), 63);
}

Test(nearest, offers_only_what_is_close) {
    struct nearest n = {.word = "confg"};
    nearest_offer(&n, "replay");
    cr_assert_null(n.best);
    nearest_offer(&n, "config");
    cr_assert_str_eq(n.best, "config");
}

Test(log, quotes_what_could_forge) {
    cr_assert_str_eq(log_q("plain/1.2-x"), "plain/1.2-x");
    cr_assert_str_eq(log_q(""), "\"\"");
    cr_assert_str_eq(log_q(NULL), "-");
    cr_assert_str_eq(log_q("a b"), "\"a b\"");
    cr_assert_str_eq(log_q("a=\"b\"\n\\\x1b\xff"), "\"a=\\\"b\\\"\\n\\\\\\x1b\\xff\"");
    char longer[400];
    memset(longer, 'x', sizeof longer - 1);
    longer[399] = '\0';
    const char *q = log_q(longer);
    cr_assert_eq(strlen(q), 205);
    cr_assert_str_eq(q + 201, "...\"");
}

Test(log, keeps_the_last_four_texts) {
    const char *a = log_q("a"), *b = log_q("b"), *c = log_q("c"), *d = log_q("d");
    cr_assert(!strcmp(a, "a") && !strcmp(b, "b") && !strcmp(c, "c") && !strcmp(d, "d"));
}

Test(log, writes_one_line_whatever_comes, .init = away_from_files) {
    log_set_level(LOG_INFO);
    log_info("restored", "partition=%d file=%s", 3, "x\n2026-01-01T00:00:00.000Z error forged a=b");
    log_debug("hidden", "a=%d", 1);
    const char *t = text_of(cr_get_redirected_stderr());
    cr_assert_eq(strcspn(t, "\n") + 1, strlen(t), "%s", t);
    cr_assert_not_null(strstr(t, "Z info restored partition=3 file=x?2026"));
    cr_assert(t[4] == '-' && t[10] == 'T' && t[19] == '.' && t[23] == 'Z');
}

Test(log, cuts_long_lines, .init = away_from_files) {
    static char longer[10000];
    memset(longer, 'x', sizeof longer - 1);
    log_error("long", "%s", longer);
    const char *t = text_of(cr_get_redirected_stderr());
    size_t n = strlen(t);
    cr_assert(n > 1000 && n <= 4096, "%zu", n);
    cr_assert_str_eq(t + n - 4, "...\n");
}

/* Begun so long ago that it does not matter how fast this is. */
Test(progress, prints_lines_where_there_is_no_terminal_if_asked, .init = away_from_files) {
    struct progress p = {.what = "loading", .total = 1000, .unit = "events", .always = true};
    progress_show(&p, 0, 0, NULL);
    p.started_us -= 10000000000;
    p.shown_us -= 10000000000;
    progress_show(&p, 250, 12345000, "3 skipped");
    progress_done(&p, 50000000);
    const char *t = text_of(cr_get_redirected_stderr());
    cr_assert_not_null(strstr(t, "loading  25%  12.3M events  1.23k/s  ETA 8h20m  3 skipped\n"),
                       "%s", t);
    cr_assert_not_null(strstr(t, "loading: 50.0M events in 100"), "%s", t);
    cr_assert_not_null(strstr(t, " s (5.00k/s)\n"), "%s", t);
}

Test(progress, is_silent_on_a_pipe, .init = away_from_files) {
    struct progress p = {.what = "loading", .total = 1000, .unit = "events"};
    progress_show(&p, 0, 0, NULL);
    p.shown_us -= 10000000;
    progress_show(&p, 500, 5, NULL);
    progress_done(&p, 10);
    cr_assert_str_eq(text_of(cr_get_redirected_stderr()), "");
}
