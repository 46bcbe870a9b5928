#include "consumer/edit.h"

#include <criterion/criterion.h>

static struct buf out;

static int edit(const char *command, struct str line) {
    struct edit_vars v = {"bad-json", "at byte 3", STR("k1"), "clickstream"};
    return edit_run(command, &v, line, &out);
}

static void out_is(const char *want) {
    cr_assert(str_eq((struct str){(const char *)out.p, out.n}, str_of(want)), "'%.*s'", (int)out.n,
              (const char *)out.p);
    buf_free(&out);
}

Test(edit, the_first_line_printed_is_the_record) {
    cr_assert_eq(edit("sed s/a/b/; echo more", STR("{\"a\":1}")), 0);
    out_is("{\"b\":1}");
}

Test(edit, nothing_printed_is_no_record) {
    cr_assert_eq(edit("grep never || true", STR("x")), 0);
    out_is("");
}

Test(edit, the_command_knows_why_and_where_from) {
    cr_assert_eq(edit("echo \"$BECKON_REASON|$BECKON_DETAIL|$BECKON_KEY|$BECKON_TOPIC\"", STR("x")),
                 0);
    out_is("bad-json|at byte 3|k1|clickstream");
}

Test(edit, a_command_that_fails_is_an_error) {
    cr_assert_eq(edit("cat; exit 3", STR("x")), -ECHILD);
    buf_free(&out);
}

Test(edit, large_records_pass_even_if_never_read) {
    static char big[1 << 20];
    memset(big, 'x', sizeof big);
    cr_assert_eq(edit("cat", (struct str){big, sizeof big}), 0);
    cr_assert_eq(out.n, sizeof big);
    cr_assert_eq(edit("echo ignored", (struct str){big, sizeof big}), 0);
    out_is("ignored");
}
