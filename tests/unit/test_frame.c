#include "consumer/frame.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/features.h"

static char path[] = "/tmp/beckon-frame-XXXXXX";
static struct frame *frame;
static struct features features;

static void begin(void) {
    cr_redirect_stderr();
}

static void end(void) {
    frame_free(frame);
    features_free(&features);
    unlink(path);
}

TestSuite(frame, .init = begin, .fini = end);

static int read_text(const char *text) {
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
    return frame_read("beckon test", path, &frame);
}

static const struct frame_column *column(const char *name) {
    const struct frame_column *c = frame_find(frame, str_of(name));
    cr_assert_not_null(c);
    return c;
}

static void assert_text(const char *name, size_t row, const char *want) {
    cr_assert(str_eq(frame_text(column(name), row), str_of(want)));
}

/* What was printed since the redirection began must hold this. */
static void assert_said(const char *want) {
    char got[2000] = "";
    fflush(stderr);
    FILE *f = cr_get_redirected_stderr();
    size_t n = fread(got, 1, sizeof got - 1, f);
    got[n] = '\0';
    cr_assert_not_null(strstr(got, want), "no \"%s\" in: %s", want, got);
}

static const char PEOPLE[] = "who,age,city\nann,30,Wien\nbob,,Graz\ncy,41.5,Wien\n";

Test(frame, reads_columns_as_codes_texts_and_numbers) {
    cr_assert_eq(read_text(PEOPLE), 0);
    cr_assert_eq(frame->n, 3);
    cr_assert_eq(frame->n_columns, 3);
    assert_text("who", 1, "bob");
    assert_text("age", 1, "");
    cr_assert_eq(column("age")->code[1], 0);
    cr_assert_eq(frame_number(column("age"), 2), 41.5);
    cr_assert(isnan(frame_number(column("age"), 1)));
    cr_assert(isnan(frame_number(column("city"), 0)));
    cr_assert(column("age")->numeric);
    cr_assert_not(column("city")->numeric);
    cr_assert_eq(column("city")->n_values, 3);
    cr_assert_eq(column("city")->code[0], column("city")->code[2]);
    cr_assert_eq(frame_code(column("city"), STR("Graz")), column("city")->code[1]);
    cr_assert_eq(frame_code(column("city"), STR("Linz")), 0);
    cr_assert_eq(frame->line[2], 4);
}

Test(frame, lets_columns_of_json_lines_join_late) {
    cr_assert_eq(read_text("{\"a\":1}\n{\"b\":{\"c\":\"x\"}}\n{\"a\":3,\"b\":{\"c\":\"y\"}}\n"), 0);
    cr_assert_eq(frame->n, 3);
    assert_text("a", 1, "");
    assert_text("b.c", 0, "");
    assert_text("b.c", 2, "y");
    cr_assert_eq(frame_code(column("a"), STR("3")), column("a")->code[2]);
}

Test(frame, leaves_out_broken_rows_and_names_the_first) {
    cr_assert_eq(read_text("a,b\n1,2\n3\n4,5\n6\n"), 0);
    cr_assert_eq(frame->n, 2);
    cr_assert_eq(frame->broken, 2);
    assert_said(":3: ");
}

Test(frame, refuses_a_file_without_rows) {
    cr_assert_eq(read_text("a,b\n"), -ENODATA);
    assert_said("no rows to read");
}

Test(frame, keeps_the_rows_asked_for) {
    cr_assert_eq(read_text(PEOPLE), 0);
    char *where[] = {"city=Wien", "age=41.5"}, *none[] = {"city=Linz"}, *bad[] = {"city"};
    cr_assert_eq(frame_filter("beckon test", frame, where, 1), 0);
    cr_assert_eq(frame->n, 2);
    assert_text("who", 1, "cy");
    cr_assert_eq(frame->line[1], 4);
    cr_assert_eq(frame_filter("beckon test", frame, bad, 1), -EINVAL);
    cr_assert_eq(frame_filter("beckon test", frame, where, 2), 0);
    cr_assert_eq(frame->n, 1);
    cr_assert_eq(frame_filter("beckon test", frame, none, 1), -ENODATA);
    assert_said("no row has");
}

Test(frame, takes_rows_in_another_order) {
    cr_assert_eq(read_text(PEOPLE), 0);
    cr_assert_eq(frame_order(frame, (size_t[]){2, 0, 0, 1}, 4), 0);
    cr_assert_eq(frame->n, 4);
    assert_text("who", 0, "cy");
    assert_text("who", 2, "ann");
    cr_assert_eq(frame->line[3], 3);
}

Test(frame, finds_roles_by_map_or_by_their_usual_names) {
    cr_assert_eq(read_text(PEOPLE), 0);
    struct frame_role roles[] = {{"years", {"age"}, "say which", NULL},
                                 {"name", {"nombre"}, "say which", NULL},
                                 {"shoe", {"size"}, NULL, NULL}};
    char *maps[] = {"who=name"};
    cr_assert_eq(frame_roles("beckon test", frame, maps, 1, roles, 3), 0);
    cr_assert_eq(roles[0].column, column("age"));
    cr_assert_eq(roles[1].column, column("who"));
    cr_assert_null(roles[2].column);
}

Test(frame, says_which_role_has_no_column) {
    cr_assert_eq(read_text(PEOPLE), 0);
    struct frame_role role = {"name", {"nombre"}, "Say --map COLUMN=name.", NULL};
    cr_assert_eq(frame_roles("beckon test", frame, NULL, 0, &role, 1), -EINVAL);
    assert_said("which column is the name? Say --map COLUMN=name.");
}

Test(frame, says_what_was_perhaps_meant) {
    cr_assert_eq(read_text(PEOPLE), 0);
    struct frame_role role = {"name", {"nombre"}, "", NULL};
    char *maps[] = {"whoo=name"};
    cr_assert_eq(frame_roles("beckon test", frame, maps, 1, &role, 1), -EINVAL);
    assert_said("did you mean who?");
}

Test(frame, checks_numbers_with_line_and_column) {
    cr_assert_eq(read_text(PEOPLE), 0);
    double v;
    cr_assert_eq(frame_bounded("beckon test", frame, column("age"), 1, 7, 0, 99, &v), 0);
    cr_assert_eq(v, 7);
    cr_assert_eq(frame_bounded("beckon test", frame, column("city"), 1, 0, 0, 99, &v), -EINVAL);
    assert_said(":3: city is Graz; it must be a number from 0 to 99");
}

Test(frame, matches_columns_by_their_beginning) {
    cr_assert_eq(read_text("x_a,x_b,y\n1,2,3\n"), 0);
    const struct frame_column *got[4];
    size_t n = 0;
    cr_assert_eq(frame_match("beckon test", frame, "x_*", got, 4, &n), 0);
    cr_assert_eq(frame_match("beckon test", frame, "y", got, 4, &n), 0);
    cr_assert_eq(n, 3);
    cr_assert_eq(got[1], column("x_b"));
    cr_assert_eq(got[2], column("y"));
    cr_assert_eq(frame_match("beckon test", frame, "z*", got, 4, &n), -EINVAL);
    cr_assert_eq(frame_match("beckon test", frame, "z", got, 4, &n), -EINVAL);
}

/* age: mean 35.75, deviation 5.75; city: codes 1 and 2 behind it */
Test(frame, makes_numbers_and_values_features) {
    cr_assert_eq(read_text(PEOPLE), 0);
    const struct frame_column *columns[] = {column("age"), column("city")};
    cr_assert_eq(features_new("beckon test", frame, columns, 2, 1, true, &features), 0);
    cr_assert_eq(features.x.n, 3);
    cr_assert_eq(features.x.dim, 5);
    static const size_t START[] = {0, 3, 5, 8};
    static const uint32_t INDEX[] = {0, 1, 3, 0, 4, 0, 1, 3};
    static const float VALUE[] = {1, -1, 1, 1, 1, 1, 1, 1};
    cr_assert_eq(memcmp(features.start, START, sizeof START), 0);
    cr_assert_eq(memcmp(features.index, INDEX, sizeof INDEX), 0);
    for (size_t k = 0; k < ARRAY_LEN(VALUE); k++)
        cr_assert_float_eq(features.value[k], VALUE[k], 1e-6);
}
