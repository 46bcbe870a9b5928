#include "consumer/parse.h"

#include <criterion/criterion.h>

static void number_is(const char *text, double want) {
    double d = -1;
    cr_assert(parse_number(str_of(text), &d), "'%s' refused", text);
    cr_assert(d == want, "'%s' is %.17g, not %.17g", text, d, want);
}

Test(parse, numbers_are_exact) {
    number_is("0", 0);
    number_is("-2.50", -2.5);
    number_is("+.5", 0.5);
    number_is("7.", 7);
    number_is("1e3", 1000);
    number_is("0.1", 0.1);
    number_is("123456.789", 123456.789);
    number_is("1485630413.0", 1485630413.0);
    number_is("0.02940176470588235", 0.02940176470588235);
    number_is("179769313486231570000000", 179769313486231570000000.0);
}

Test(parse, what_is_no_number_is_refused) {
    static const char *const bad[] = {"",    ".",   "-",     "1,5",   "1 ", " 1", "nan",
                                      "inf", "0x1", "1e999", "1.2.3", "e5", "12a"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        double d;
        cr_assert_not(parse_number(str_of(bad[i]), &d), "'%s' taken", bad[i]);
    }
}

static void time_is(const char *text, int64_t unit_us, int64_t want) {
    int64_t ms = -1;
    cr_assert(parse_time(str_of(text), unit_us, &ms), "'%s' refused", text);
    cr_assert_eq(ms, want, "'%s' is %ld, not %ld", text, ms, want);
}

Test(parse, times_count_units_or_are_dates) {
    time_is("1541548939000", 1000, 1541548939000);
    time_is("1485630413.0", 1000000, 1485630413000);
    time_is("1485630413.25", 1000000, 1485630413250);
    time_is("1541548939000123", 1, 1541548939000);
    time_is("-1500", 1000, -1500);
    time_is("1970-01-01", 1000, 0);
    time_is("2024-02-29T12:34:56Z", 1000, 1709210096000);
    time_is("2024-02-29 12:34:56.7", 1000, 1709210096700);
    time_is("2019-11-24 00:01:03.979311+00:00", 1000, 1574553663979);
    time_is("2024-02-29T14:34:56+02:00", 1000, 1709210096000);
    time_is("2024-02-29T07:04:56-0530", 1000, 1709210096000);
    time_is("2024-02-29T12:34", 1000, 1709210040000);
    time_is("1969-12-31T23:59:59Z", 1000, -1000);
}

Test(parse, what_is_no_time_is_refused) {
    static const char *const bad[] = {"",
                                      "yesterday",
                                      "2023-02-29",
                                      "2024-13-01",
                                      "2024-01-01T25:00",
                                      "2024-01-01T10:00+",
                                      "2024-01-01T10:00Zz",
                                      "2024-1-1",
                                      "99999999999999999999"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t ms;
        cr_assert_not(parse_time(str_of(bad[i]), 1000000, &ms), "'%s' taken", bad[i]);
    }
}

Test(parse, spans_have_units) {
    int64_t ms;
    cr_assert(parse_span(STR("250ms"), &ms) && ms == 250);
    cr_assert(parse_span(STR("1.5h"), &ms) && ms == 5400000);
    cr_assert(parse_span(STR("7d"), &ms) && ms == 604800000);
    cr_assert_not(parse_span(STR("7"), &ms));
    cr_assert_not(parse_span(STR("h"), &ms));
    cr_assert_not(parse_span(STR("-1h"), &ms));
}
