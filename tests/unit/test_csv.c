#include "consumer/csv.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>
#include <zlib.h>

static char path[] = "/tmp/beckon-test-csv-XXXXXX";

static void remove_file(void) {
    unlink(path);
}

TestSuite(csv, .fini = remove_file);

static void write_bytes(const void *p, size_t n) {
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, p, n), (ssize_t)n);
    close(fd);
}

static struct table_file *open_text(const char *text) {
    struct table_file *t = NULL;
    write_bytes(text, strlen(text));
    cr_assert_eq(table_open(path, &t), 0);
    return t;
}

static void expect(struct table_file *t, const char *column, const char *value) {
    struct str v = table_get(t, str_of(column));
    cr_assert(str_eq(v, str_of(value)), "line %lu, %s is '%.*s', not '%s'", table_line(t), column,
              (int)v.n, v.p, value);
}

static void expect_row(struct table_file *t, uint64_t line, const char *a, const char *b) {
    int r = table_next(t);
    cr_assert_eq(r, 1, "next gives %d: %s", r, table_error(t));
    cr_assert_eq(table_line(t), line, "line %lu, not %lu", table_line(t), line);
    expect(t, "a", a);
    expect(t, "b", b);
}

static void expect_broken(struct table_file *t, uint64_t line, const char *error) {
    cr_assert_eq(table_next(t), -EBADMSG);
    cr_assert_eq(table_line(t), line, "line %lu, not %lu", table_line(t), line);
    cr_assert_str_eq(table_error(t), error);
}

static void expect_end(struct table_file *t) {
    cr_assert_eq(table_next(t), 0);
    cr_assert_eq(table_next(t), 0);
    table_close(t);
}

Test(csv, plain_rows_come_with_names_and_lines) {
    struct table_file *t = open_text("a,b\n1,2\n3,\n,4\n");
    cr_assert_eq(table_columns(t), 2);
    cr_assert(str_eq(table_column(t, 1), STR("b")));
    expect_row(t, 2, "1", "2");
    cr_assert(str_eq(table_value(t, 0), STR("1")));
    cr_assert(str_eq(table_row(t), STR("1,2\n")));
    expect_row(t, 3, "3", "");
    expect(t, "unheard of", "");
    expect_row(t, 4, "", "4");
    expect_end(t);
}

Test(csv, last_line_needs_no_newline) {
    struct table_file *t = open_text("a,b\n1,2\n3,4");
    expect_row(t, 2, "1", "2");
    expect_row(t, 3, "3", "4");
    expect_end(t);
}

Test(csv, last_line_may_end_in_an_empty_field) {
    struct table_file *t = open_text("a,b\n1,");
    expect_row(t, 2, "1", "");
    expect_end(t);
}

Test(csv, carriage_returns_and_byte_order_mark_are_no_content) {
    struct table_file *t = open_text("\xef\xbb\xbf"
                                     "a,b\r\n1,2\r\n\"3\",\"4\"\r\nx\ry,5\r\n");
    expect_row(t, 2, "1", "2");
    expect_row(t, 3, "3", "4");
    expect_row(t, 4, "x\ry", "5");
    expect_end(t);
}

Test(csv, quotes_hold_commas_quotes_and_line_ends) {
    struct table_file *t = open_text("a,b\n"
                                     "\"x, y\",\"he said \"\"no\"\"\"\n"
                                     "\"two\nlines\r\nthree\",\"\"\n"
                                     "\"\"\"\",5\" screw\n"
                                     "\"last\",\"one\"");
    expect_row(t, 2, "x, y", "he said \"no\"");
    expect_row(t, 3, "two\nlines\r\nthree", "");
    expect_row(t, 6, "\"", "5\" screw");
    expect_row(t, 7, "last", "one");
    expect_end(t);
}

Test(csv, ragged_rows_are_told_and_passed_over) {
    struct table_file *t = open_text("a,b\n1\n1,2,3\n\n4,5\n");
    expect_broken(t, 2, "1 fields where the header has 2");
    expect_broken(t, 3, "3 fields where the header has 2");
    expect_row(t, 5, "4", "5");
    expect_end(t);
}

Test(csv, text_after_a_closing_quote_costs_one_line) {
    struct table_file *t = open_text("a,b\n\"1\"x,2\n3,4\n");
    expect_broken(t, 2, "text after the closing quote of field 1");
    expect_row(t, 3, "3", "4");
    expect_end(t);
}

Test(csv, a_quote_never_closed_costs_one_line) {
    struct table_file *t = open_text("a,b\n1,\"2\n3,4\n5,6\n");
    expect_broken(t, 2, "a quote that is never closed");
    expect_row(t, 3, "3", "4");
    expect_row(t, 4, "5", "6");
    expect_end(t);
}

Test(csv, repeated_column_names_are_numbered) {
    struct table_file *t = open_text("a,a,b,a\n1,2,3,4\n");
    cr_assert_eq(table_next(t), 1);
    expect(t, "a", "1");
    expect(t, "a_2", "2");
    expect(t, "a_3", "4");
    expect_end(t);
}

Test(csv, rows_beyond_the_bound_are_told_and_passed_over) {
    size_t n = 3 << 20;
    char *text = malloc(n + 64);
    cr_assert_not_null(text);
    size_t at = (size_t)sprintf(text, "a,b\n");
    memset(text + at, 'x', n);
    at += n;
    at += (size_t)sprintf(text + at, ",1\n2,3\n");
    write_bytes(text, at);
    free(text);
    struct table_file *t = NULL;
    cr_assert_eq(table_open(path, &t), 0);
    cr_assert_eq(table_next(t), -EBADMSG);
    cr_assert_eq(table_line(t), 2);
    expect_row(t, 3, "2", "3");
    expect_end(t);
}

/* Records of every length around the size of a read, so that each kind of cut happens. */
Test(csv, records_are_whole_wherever_a_read_ends) {
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    FILE *f = fdopen(fd, "w");
    fputs("a,b\n", f);
    for (int i = 0; i < 60000; i++)
        fprintf(f, "%d,\"%.*s\"\"\n%d\"\r\n", i, i % 37,
                "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq", i * 7);
    fclose(f);
    struct table_file *t = NULL;
    cr_assert_eq(table_open(path, &t), 0);
    for (int i = 0; i < 60000; i++) {
        char a[16], b[80];
        sprintf(a, "%d", i);
        sprintf(b, "%.*s\"\n%d", i % 37, "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopq", i * 7);
        expect_row(t, 2 + 2 * (uint64_t)i, a, b);
    }
    cr_assert_eq(table_bytes_read(t), table_bytes_total(t));
    expect_end(t);
}

static size_t gzip_file(size_t rows) {
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    gzFile gz = gzdopen(fd, "wb");
    gzputs(gz, "a,b\n");
    for (size_t i = 0; i < rows; i++)
        gzprintf(gz, "%zu,%zu\n", i, i * 2654435761u % 1000003);
    gzclose(gz);
    FILE *f = fopen(path, "r");
    fseek(f, 0, SEEK_END);
    size_t n = (size_t)ftell(f);
    fclose(f);
    return n;
}

Test(csv, gzip_is_read_through) {
    size_t bytes = gzip_file(100000);
    struct table_file *t = NULL;
    cr_assert_eq(table_open(path, &t), 0);
    cr_assert_eq(table_bytes_total(t), bytes);
    for (size_t i = 0; i < 100000; i++) {
        char a[24], b[24];
        sprintf(a, "%zu", i);
        sprintf(b, "%zu", i * 2654435761u % 1000003);
        expect_row(t, 2 + i, a, b);
    }
    cr_assert_eq(table_next(t), 0);
    cr_assert_eq(table_bytes_read(t), bytes);
    table_close(t);
}

Test(csv, gzip_that_is_cut_off_ends_with_an_error) {
    size_t bytes = gzip_file(100000);
    cr_assert_eq(truncate(path, (off_t)(bytes / 2)), 0);
    struct table_file *t = NULL;
    cr_assert_eq(table_open(path, &t), 0);
    size_t rows = 0;
    int r;
    while ((r = table_next(t)) == 1) {
        char a[24], b[24];
        sprintf(a, "%zu", rows);
        sprintf(b, "%zu", rows * 2654435761u % 1000003);
        expect(t, "a", a);
        expect(t, "b", b); /* never half a value */
        rows++;
    }
    cr_assert_eq(r, -EIO);
    cr_assert(rows > 10000 && rows < 100000, "%zu rows", rows);
    cr_assert(strstr(table_error(t), "cannot be read"), "%s", table_error(t));
    expect_end(t);
}

Test(csv, what_cannot_be_opened_is_refused) {
    struct table_file *t = NULL;
    cr_assert_eq(table_open("/nowhere/at/all.csv", &t), -ENOENT);
    cr_assert_eq(table_open("/tmp", &t), -EISDIR);
    write_bytes("", 0);
    cr_assert_eq(table_open(path, &t), -ENODATA);
    cr_assert_null(t);
}

Test(csv, json_lines_are_flattened) {
    struct table_file *t =
        open_text("{\"a\":\"x\",\"b\":12345678901234}\n"
                  "\n"
                  "{\"b\":1.5,\"context\":{\"country\":\"NL\",\"deep\":{\"er\":true}}}\r\n"
                  "{\"a\":null,\"tags\":[\"p\",\"q\",3],\"b\":\"\\u20ac\"}");
    expect_row(t, 1, "x", "12345678901234");
    expect_row(t, 3, "", "1.5");
    expect(t, "context.country", "NL");
    expect(t, "context.deep.er", "true");
    expect_row(t, 4, "", "\xe2\x82\xac");
    expect(t, "tags", "p|q|3");
    expect(t, "context.country", "");
    expect_end(t);
}

Test(csv, broken_json_lines_cost_one_line_each) {
    struct table_file *t = open_text("{\"a\":1}\n{\"a\":\n[1]\n{\"a\":2}\n");
    expect_row(t, 1, "1", "");
    cr_assert_eq(table_next(t), -EBADMSG);
    cr_assert_eq(table_line(t), 2);
    cr_assert(strstr(table_error(t), "not JSON"), "%s", table_error(t));
    expect_broken(t, 3, "not a JSON object");
    expect_row(t, 4, "2", "");
    expect_end(t);
}
