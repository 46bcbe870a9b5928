#include "consumer/tune.h"

#include <criterion/criterion.h>
#include <math.h>
#include <unistd.h>

static void temporary(char path[256]) {
    const char *base = getenv("TMPDIR");
    snprintf(path, 256, "%s/tune-XXXXXX", base ? base : "/tmp");
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
}

static void write_text(const char *path, const char *mode, const char *text) {
    FILE *f = fopen(path, mode);
    cr_assert_not_null(f);
    fputs(text, f);
    cr_assert_eq(fclose(f), 0);
}

static const bool ALL[TUNE_PARAMS_MAX] = {[0 ... TUNE_PARAMS_MAX - 1] = true};

Test(tune, every_setting_is_a_configuration) {
    struct tune_setting s;
    for (uint32_t number = 0; number < 200; number++) {
        tune_draw(1, number, ALL, &s);
        cr_assert_eq(s.n, number ? n_tune_params : 0);
        char *sets[TUNE_PARAMS_MAX];
        for (size_t i = 0; i < s.n; i++)
            sets[i] = s.set[i];
        struct config *cfg = NULL;
        cr_assert_eq(config_load(NULL, sets, s.n, &cfg), 0);
        cr_assert(cfg->model_learning_rate >= 0.02 || number == 0);
        config_free(cfg);
    }
}

Test(tune, a_number_always_is_the_same_setting_and_others_differ) {
    struct tune_setting a, b;
    tune_draw(7, 3, ALL, &a);
    tune_draw(7, 3, ALL, &b);
    for (size_t i = 0; i < a.n; i++)
        cr_assert_str_eq(a.set[i], b.set[i]);
    tune_draw(7, 4, ALL, &b);
    cr_assert_str_neq(a.set[0], b.set[0]);
    tune_draw(8, 3, ALL, &b);
    cr_assert_str_neq(a.set[0], b.set[0]);
    bool one[TUNE_PARAMS_MAX] = {[3] = true};
    tune_draw(7, 3, one, &b);
    cr_assert_eq(b.n, 1);
    cr_assert_str_eq(b.set[0], a.set[3], "what is searched beside it changes nothing");
}

Test(tune, settings_spread_over_their_ranges) {
    uint32_t low = 0, on = 0;
    struct tune_setting s;
    for (uint32_t i = 1; i <= 1000; i++) {
        tune_draw(1, i, ALL, &s);
        low += atof(strchr(s.set[0], '=') + 1) < sqrt(0.02 * 1);
        on += strcmp(s.set[4], "model.phi=true") == 0;
    }
    cr_assert(low > 440 && low < 560, "half of a logarithmic range: %u", low);
    cr_assert(on > 440 && on < 560, "%u", on);
}

Test(tune, rungs_play_a_third_of_the_settings_on_thrice_the_events) {
    struct tune_rung r[TUNE_RUNGS_MAX];
    cr_assert_eq(tune_rungs(27, r), 3);
    cr_assert(r[0].n == 27 && r[1].n == 9 && r[2].n == 3);
    cr_assert_float_eq(r[0].share, 1. / 9, 1e-12);
    cr_assert_eq(r[2].share, 1);
    cr_assert_eq(tune_rungs(1, r), 1);
    cr_assert(r[0].n == 1 && r[0].share == 1);
    cr_assert_eq(tune_rungs(10, r), 3);
    cr_assert(r[1].n == 4 && r[2].n == 2);
    cr_assert_eq(tune_rungs(10000, r), TUNE_RUNGS_MAX);
    size_t begin, end;
    tune_span(900, 1000, 1. / 3, &begin, &end);
    cr_assert(begin == 600 && end == 934);
    tune_span(900, 1000, 1, &begin, &end);
    cr_assert(begin == 0 && end == 1000);
}

Test(tune, a_search_goes_on_from_its_file) {
    char path[256];
    temporary(path);
    struct tune_state *s = NULL;
    double v = 0;
    cr_assert_eq(tune_state_open(path, 42, &s), 0);
    cr_assert(!tune_state_get(s, 3, 1, &v));
    cr_assert_eq(tune_state_put(s, 3, 1, 0.1), 0);
    cr_assert_eq(tune_state_put(s, 4, 0, 0.25), 0);
    tune_state_close(s);
    write_text(path, "a", "{\"trial\": 5, \"rung\": 0, \"val"); /* killed while it wrote */
    cr_assert_eq(tune_state_open(path, 42, &s), 0);
    cr_assert_eq(tune_state_n(s), 2);
    cr_assert(tune_state_get(s, 3, 1, &v) && v == 0.1);
    cr_assert(tune_state_get(s, 4, 0, &v) && v == 0.25);
    cr_assert_eq(tune_state_put(s, 5, 0, 0.5), 0);
    tune_state_close(s);
    cr_assert_eq(tune_state_open(path, 42, &s), 0);
    cr_assert_eq(tune_state_n(s), 3);
    cr_assert(tune_state_get(s, 5, 0, &v) && v == 0.5);
    tune_state_close(s);
    unlink(path);
}

Test(tune, a_file_of_something_else_is_left_alone) {
    static const struct {
        const char *text;
        int want;
    } files[] = {
        {"{\"setup\": \"000000000000002b\"}\n", -ESTALE},
        {"hello\n", -EBADMSG},
        {"[1]\n", -EBADMSG},
        {"{\"setup\": \"000000000000002a\"}\nhello\n", -EBADMSG},
        {"{\"setup\": \"000000000000002a\"}\n{\"trial\": -1, \"rung\": 0, \"value\": 1}\n",
         -EBADMSG},
        {"{\"setup\": \"000000000000002a\"}\n{\"trial\": 1, \"rung\": 99, \"value\": 1}\n",
         -EBADMSG},
        {"{\"setup\": \"000000000000002a\"}\n{\"trial\": 1, \"rung\": 0, \"value\": \"x\"}\n",
         -EBADMSG},
    };
    char path[256];
    temporary(path);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct tune_state *s = NULL;
        write_text(path, "w", files[i].text);
        cr_assert_eq(tune_state_open(path, 42, &s), files[i].want, "%s", files[i].text);
        FILE *f = fopen(path, "r");
        char text[256] = "";
        cr_assert_gt(fread(text, 1, sizeof text - 1, f), 0);
        fclose(f);
        cr_assert_str_eq(text, files[i].text);
    }
    cr_assert_eq(tune_state_open("/nowhere/state", 42, &(struct tune_state *){NULL}), -ENOENT);
    unlink(path);
}
