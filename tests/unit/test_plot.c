#include "consumer/plot.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <unistd.h>

static struct page page;

static void stop(void) {
    page_free(&page);
}

TestSuite(plot, .fini = stop);

/* What is on the page so far, NUL-terminated. */
static const char *html(void) {
    buf_put(&page.out, "", 1);
    cr_assert_not(page.out.failed);
    page.out.n--;
    return (const char *)page.out.p;
}

static void assert_has(const char *want) {
    cr_assert_not_null(strstr(html(), want), "no %s in\n%s", want, html());
}

static size_t count(const char *what) {
    size_t n = 0;
    for (const char *p = html(); (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

static void assert_number(double v, enum plot_unit unit, double step, const char *want) {
    char got[32];
    plot_number(got, v, unit, step);
    cr_assert_str_eq(got, want);
}

Test(plot, writes_numbers_as_people_read_them) {
    assert_number(0, UNIT_NUMBER, 0, "0");
    assert_number(.5, UNIT_NUMBER, .25, "0.5");
    assert_number(.25, UNIT_NUMBER, .05, "0.25");
    assert_number(-1e-12, UNIT_NUMBER, .1, "0.0");
    assert_number(1200, UNIT_NUMBER, 200, "1200");
    assert_number(25000, UNIT_NUMBER, 5000, "25k");
    assert_number(2.5e6, UNIT_NUMBER, 5e5, "2.5M");
    assert_number(.0766, UNIT_PERCENT, 0, "7.66 %");
    assert_number(.3, UNIT_PERCENT, .1, "30 %");
    assert_number(NAN, UNIT_PERCENT, 0, "–");
    assert_number(1767225600000, UNIT_TIME, 86400e3, "2026-01-01");
    assert_number(1767236400000, UNIT_TIME, 3600e3, "01-01 03:00");
}

Test(plot, escapes_every_text) {
    page_begin(&page, "a<b & \"c\"\x01", "<i>");
    page_heading(&page, "x>y");
    page_text(&page, "%d < %d", 1, 2);
    page_note(&page, TONE_BAD, "<script>");
    assert_has("<title>a&lt;b &amp; &quot;c&quot;</title>");
    assert_has("<p class=\"lead\">&lt;i&gt;</p>");
    assert_has("<h2>x&gt;y</h2>");
    assert_has("<p>1 &lt; 2</p>");
    assert_has("<p class=\"note bad\">&lt;script&gt;</p>");
}

Test(plot, needs_nothing_from_outside) {
    page_begin(&page, "t", NULL);
    plot_draw(&page, &(struct plot){.title = "p",
                                    .series = &(struct plot_series){.n = 2, .y = (double[]){1, 2}},
                                    .n_series = 1});
    cr_assert_eq(count("http"), 0);
    cr_assert_eq(count("<script"), 0);
    cr_assert_eq(count("url("), 0);
}

Test(plot, fills_up_the_last_row_of_a_table) {
    page_table(&page, (const char *[]){"who", "n"}, (bool[]){false, true}, 2);
    page_cell(&page, "%s", "a & b");
    page_cell(&page, "%d", 3);
    page_cell(&page, "c");
    page_table_end(&page);
    assert_has("<tr><td>a &amp; b</td><td class=\"n\">3</td></tr>\n<tr><td>c</td>"
               "<td class=\"n\"></td></tr>\n</tbody>");
}

Test(plot, shows_key_numbers) {
    page_tiles(&page,
               (struct page_tile[]){{"1 %", "rate", "low to high", TONE_GOOD},
                                    {"2", "n", NULL, TONE_PLAIN}},
               2);
    assert_has("<div class=\"tile good\"><b>1 %</b><span>rate</span><span>low to high</span></div>"
               "<div class=\"tile plain\"><b>2</b><span>n</span></div>");
}

/* The y axis goes from 0 at 254 up to 10 at 24, the x axis from 0 at 60 to 2 at 742. */
Test(plot, draws_a_line_where_its_numbers_are_with_its_band) {
    struct plot_series s = {.name = "only",
                            .n = 3,
                            .y = (double[]){0, 5, 10},
                            .low = (double[]){0, 4, 9},
                            .high = (double[]){1, 6, 10}};
    plot_draw(&page, &(struct plot){.title = "p", .series = &s, .n_series = 1});
    assert_has("d=\"M60.0 254.0L401.0 139.0L742.0 24.0\"");
    assert_has("d=\"M60.0 231.0L401.0 116.0L742.0 24.0L742.0 47.0L401.0 162.0L60.0 254.0Z\"");
    cr_assert_eq(count("class=\"legend\""), 0);
}

Test(plot, leaves_a_gap_where_a_number_is_missing) {
    struct plot_series s = {.n = 4, .y = (double[]){0, 10, NAN, 10}};
    plot_draw(&page, &(struct plot){.title = "p", .series = &s, .n_series = 1});
    assert_has("d=\"M60.0 254.0L287.3 24.0M742.0 24.0\"");
    cr_assert_eq(count("nan"), 0);
}

Test(plot, thins_long_lines_but_keeps_both_ends) {
    enum { N = 50000 };
    static double y[N];
    for (size_t i = 0; i < N; i++)
        y[i] = (double)i / (N - 1);
    struct plot_series s = {.n = N, .y = y, .low = y, .high = y};
    plot_draw(&page, &(struct plot){.title = "p", .series = &s, .n_series = 1});
    cr_assert_lt(page.out.n, 60000);
    assert_has("d=\"M60.0 254.0L");
    assert_has("L742.0 24.0\"/>");
}

Test(plot, sets_bars_of_one_place_side_by_side_with_names_and_whiskers) {
    struct plot_series s[] = {{.name = "a", .mark = MARK_BARS, .n = 2, .y = (double[]){1, 2}},
                              {.name = "b & c",
                               .mark = MARK_BARS,
                               .n = 2,
                               .y = (double[]){2, -1},
                               .low = (double[]){1, -2},
                               .high = (double[]){2, 0}}};
    plot_draw(&page, &(struct plot){.title = "p",
                                    .x = {.names = (const char *[]){"one", "two"}, .n_names = 2},
                                    .series = s,
                                    .n_series = 2});
    cr_assert_eq(count("<rect x=\"6\""), 2); /* the legend */
    cr_assert_eq(count("rx=\"1.5\""), 4);
    cr_assert_eq(count("stroke-width=\"1.2\""), 2);
    assert_has(">two</text>");
    assert_has("<title>b &amp; c: two, -1.00 (-2.00 to 0)</title>");
    assert_has("</svg>b &amp; c</span>");
}

Test(plot, draws_calibration_points_against_the_diagonal) {
    struct plot_series s = {
        .mark = MARK_POINTS, .n = 2, .x = (double[]){.1, .9}, .y = (double[]){.2, .8}};
    plot_draw(&page, &(struct plot){.title = "calibration",
                                    .x = {.min = 0, .max = 1, .unit = UNIT_PERCENT},
                                    .y = {.min = 0, .max = 1, .unit = UNIT_PERCENT},
                                    .series = &s,
                                    .n_series = 1,
                                    .diagonal = true});
    assert_has("<line class=\"ref\" x1=\"60.0\" y1=\"254.0\" x2=\"742.0\" y2=\"24.0\"/>");
    assert_has("<circle cx=\"128.2\" cy=\"208.0\"");
    assert_has("<title>calibration: 10.0 %, 20.0 %</title>");
}

Test(plot, draws_estimates_as_rows_and_marks_the_bad_ones) {
    double one = 1;
    struct plot_row rows[] = {{"north", 1.1, .9, 1.3, false}, {"south", .5, .4, .6, true}};
    plot_draw_rows(&page, &(struct plot_rows){.title = "rate ratio",
                                              .rows = rows,
                                              .n_rows = 2,
                                              .level = &one,
                                              .zone_low = .8,
                                              .zone_high = 1.25});
    assert_has("class=\"zone\"");
    assert_has("fill=\"var(--bad)\"");
    assert_has(">0.500 (0.400 to 0.600)</text>");
    assert_has(">1.10 (0.90 to 1.30)</text>");
    assert_has("class=\"ref\"");
}

Test(plot, survives_what_cannot_be_drawn) {
    plot_draw(&page, &(struct plot){.title = "nothing"});
    plot_draw(&page, &(struct plot){.title = "one",
                                    .series = &(struct plot_series){.n = 1, .y = (double[]){0}},
                                    .n_series = 1});
    plot_draw(&page, &(struct plot){.title = "infinite",
                                    .series = &(struct plot_series){.n = 1,
                                                                    .mark = MARK_POINTS,
                                                                    .y = (double[]){INFINITY}},
                                    .n_series = 1});
    plot_draw_rows(&page, &(struct plot_rows){.title = "empty"});
    plot_draw_rows(&page, &(struct plot_rows){.title = "unknown",
                                              .rows = &(struct plot_row){"a", NAN, NAN, NAN, 0},
                                              .n_rows = 1});
    cr_assert_eq(count("</figure>"), 5);
    cr_assert_eq(count("nan"), 0);
    cr_assert_eq(count("inf\""), 0);
}

Test(plot, saves_a_whole_page) {
    char path[] = "/tmp/beckon-plot-XXXXXX", got[64] = "";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    page_begin(&page, "t", NULL);
    cr_assert_eq(page_save(&page, path), 0);
    size_t n = page.out.n;
    cr_assert_eq((size_t)lseek(fd, 0, SEEK_END), n);
    cr_assert_eq(pread(fd, got, 15, 0), 15);
    cr_assert_str_eq(got, "<!DOCTYPE html>");
    cr_assert_eq(pread(fd, got, 15, (off_t)n - 15), 15);
    cr_assert_str_eq(got, "</body></html>\n");
    close(fd);
    unlink(path);
    cr_assert_eq(page_save(&page, "/nowhere/at/all.html"), -ENOENT);
}
