#include "consumer/tz.h"

#include <criterion/criterion.h>

static int32_t offset_at(const struct tz_rules *z, int64_t s) {
    size_t i = 0;
    while (i + 1 < z->n && z->at_s[i + 1] <= s)
        i++;
    return z->offset_s[i];
}

Test(tz, berlin_changes_its_clocks_on_the_last_sundays) {
    const struct tz_rules *z = tz_get(STR("Europe/Berlin"));
    cr_assert_not_null(z);
    cr_assert_str_eq(z->name, "Europe/Berlin");
    const int64_t spring = 1774746000,
                  autumn = 1792890000; /* 2026-03-29 01:00Z, 2026-10-25 01:00Z */
    cr_assert_eq(offset_at(z, spring - 1), 3600);
    cr_assert_eq(offset_at(z, spring), 7200);
    cr_assert_eq(offset_at(z, autumn - 1), 7200);
    cr_assert_eq(offset_at(z, autumn), 3600);
}

Test(tz, rules_go_on_beyond_what_files_list) {
    const struct tz_rules *z = tz_get(STR("Europe/Berlin"));
    cr_assert_eq(offset_at(z, 2381000000), 7200, "June 2045");
    cr_assert_eq(offset_at(z, 2367000000), 3600, "January 2045");
    cr_assert_eq(z->n, 121, "two changes a year from 1990 to 2049");
    for (size_t i = 2; i < z->n; i++)
        cr_assert(z->at_s[i] > z->at_s[i - 1] && z->offset_s[i] != z->offset_s[i - 1]);
}

Test(tz, zones_without_daylight_saving_have_one_offset) {
    cr_assert_eq(tz_get(STR("Asia/Kolkata"))->offset_s[0], 19800);
    cr_assert_eq(tz_get(STR("Asia/Kolkata"))->n, 1);
    cr_assert_eq(tz_get(STR("UTC"))->offset_s[0], 0);
    cr_assert_eq(tz_get(STR("UTC"))->n, 1);
    cr_assert_eq(tz_get(STR("Etc/GMT+5"))->offset_s[0], -18000);
}

Test(tz, half_hours_and_the_south_are_right) {
    const struct tz_rules *z = tz_get(STR("Australia/Lord_Howe"));
    cr_assert_eq(offset_at(z, 1767225600), 39600, "summer in January");
    cr_assert_eq(offset_at(z, 1783000000), 37800, "winter in July");
}

Test(tz, a_zone_is_loaded_once) {
    cr_assert_eq(tz_get(STR("America/New_York")), tz_get(STR("America/New_York")));
}

Test(tz, what_is_no_zone_is_null) {
    const char *bad[] = {"",
                         "Nope/Zone",
                         "/etc/passwd",
                         "../../etc/passwd",
                         "Europe/../UTC",
                         "+05:00",
                         "XYZ7",
                         "CET-1CEST,M3.5.0,M10.5.0/3",
                         "Europe",
                         "Europe/",
                         ":UTC",
                         "Europe//Berlin",
                         "-1",
                         "tzdata.zi",
                         "zone.tab",
                         "a very long name, longer than any zone of the world"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_null(tz_get(str_of(bad[i])), "%s", bad[i]);
    cr_assert_null(tz_get((struct str){"UTC\0x", 5}));
}
