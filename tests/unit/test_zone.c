#include "policy/zone.h"

#include <criterion/criterion.h>

/* 2026's changes, Unix seconds; the row before them is winter time. */
static const int64_t berlin_at[] = {0, 1774746000, 1792890000};
static const int32_t berlin_off[] = {3600, 7200, 3600};
static const struct tz_rules berlin = {"Europe/Berlin", 3, berlin_at, berlin_off};
static const int64_t ny_at[] = {0, 1772953200, 1793512800};
static const int32_t ny_off[] = {-18000, -14400, -18000};
static const struct tz_rules new_york = {"America/New_York", 3, ny_at, ny_off};
static const int64_t kolkata_at[] = {0};
static const int32_t kolkata_off[] = {19800};
static const struct tz_rules kolkata = {"Asia/Kolkata", 1, kolkata_at, kolkata_off};

/* A local wall clock reading under an offset, as UTC milliseconds. */
static int64_t at(int month, int day, int hour, int minute, int32_t offset_s) {
    int64_t days = days_from_civil(2026, (unsigned)month, (unsigned)day);
    return (days * 86400 + hour * 3600 + minute * 60 - offset_s) * 1000;
}

static struct quiet_hours hours(int from_h, int from_m, int to_h, int to_m) {
    return (struct quiet_hours){.on = true,
                                .from_min = (uint16_t)(from_h * 60 + from_m),
                                .to_min = (uint16_t)(to_h * 60 + to_m)};
}

Test(zone, the_tables_of_these_tests_are_the_years) {
    cr_assert_eq(at(3, 29, 2, 0, 3600) / 1000, berlin_at[1]);
    cr_assert_eq(at(10, 25, 3, 0, 7200) / 1000, berlin_at[2]);
    cr_assert_eq(at(3, 8, 2, 0, -18000) / 1000, ny_at[1]);
    cr_assert_eq(at(11, 1, 2, 0, -14400) / 1000, ny_at[2]);
}

Test(zone, dates_count_from_1970) {
    cr_assert_eq(days_from_civil(1970, 1, 1), 0);
    cr_assert_eq(days_from_civil(2000, 3, 1), 11017);
    cr_assert_eq(days_from_civil(1969, 12, 31), -1);
    cr_assert_eq(days_from_civil(2024, 2, 29) + 1, days_from_civil(2024, 3, 1));
}

Test(zone, offset_changes_at_the_transition_and_the_first_rule_holds_before) {
    cr_assert_eq(tz_offset_s(&berlin, berlin_at[1] - 1), 3600);
    cr_assert_eq(tz_offset_s(&berlin, berlin_at[1]), 7200);
    cr_assert_eq(tz_offset_s(&berlin, berlin_at[2]), 3600);
    cr_assert_eq(tz_offset_s(&berlin, -5000000000), 3600);
    cr_assert_eq(tz_offset_s(NULL, 0), 0);
}

Test(zone, a_day_begins_at_local_midnight) {
    int32_t day = days_from_civil(2026, 3, 29);
    cr_assert_eq(tz_day_start_ms(&berlin, day), at(3, 29, 0, 0, 3600));
    cr_assert_eq(tz_day_start_ms(&berlin, day + 1), at(3, 30, 0, 0, 7200));
    cr_assert_eq(tz_day_start_ms(&berlin, day + 1) - tz_day_start_ms(&berlin, day), 23 * 3600000);
    cr_assert_eq(tz_day(&berlin, at(3, 29, 23, 59, 7200)), day);
    cr_assert_eq(tz_day(&berlin, at(3, 30, 0, 0, 7200)), day + 1);
    cr_assert_eq(tz_day(NULL, -1), -1);
}

Test(zone, a_day_whose_midnight_is_jumped_over_begins_after_the_jump) {
    int64_t jump = at(9, 6, 0, 0, -14400) / 1000; /* 00:00 becomes 01:00 */
    struct tz_rules z = {"", 2, (int64_t[]){0, jump}, (int32_t[]){-14400, -10800}};
    cr_assert_eq(tz_day_start_ms(&z, days_from_civil(2026, 9, 6)), jump * 1000);
    cr_assert_eq(tz_day(&z, jump * 1000), days_from_civil(2026, 9, 6));
    cr_assert_eq(tz_day(&z, jump * 1000 - 1), days_from_civil(2026, 9, 5));
}

Test(quiet, begins_with_from_and_ends_before_to) {
    struct quiet_hours q = hours(12, 0, 14, 30);
    cr_assert(!quiet_at(&q, &kolkata, at(1, 5, 11, 59, 19800)));
    cr_assert(quiet_at(&q, &kolkata, at(1, 5, 12, 0, 19800)));
    cr_assert(quiet_at(&q, &kolkata, at(1, 5, 14, 29, 19800) + 59999));
    cr_assert(!quiet_at(&q, &kolkata, at(1, 5, 14, 30, 19800)));
    cr_assert_eq(quiet_end_ms(&q, &kolkata, at(1, 5, 12, 0, 19800)), at(1, 5, 14, 30, 19800));
    q.on = false;
    cr_assert(!quiet_at(&q, &kolkata, at(1, 5, 13, 0, 19800)));
}

Test(quiet, crosses_midnight) {
    struct quiet_hours q = hours(21, 0, 8, 0);
    cr_assert(quiet_at(&q, NULL, at(1, 5, 23, 0, 0)) && quiet_at(&q, NULL, at(1, 6, 7, 59, 0)));
    cr_assert(!quiet_at(&q, NULL, at(1, 6, 8, 0, 0)) && !quiet_at(&q, NULL, at(1, 6, 20, 59, 0)));
    cr_assert_eq(quiet_end_ms(&q, NULL, at(1, 5, 21, 0, 0)), at(1, 6, 8, 0, 0));
    cr_assert_eq(quiet_end_ms(&q, NULL, at(1, 6, 1, 0, 0)), at(1, 6, 8, 0, 0));
}

Test(quiet, ends_at_the_wall_clocks_time_over_a_clock_change) {
    struct quiet_hours q = hours(21, 0, 8, 0);
    cr_assert_eq(quiet_end_ms(&q, &berlin, at(3, 28, 22, 0, 3600)), at(3, 29, 8, 0, 7200));
    cr_assert_eq(quiet_end_ms(&q, &berlin, at(10, 24, 22, 0, 7200)), at(10, 25, 8, 0, 3600));
    cr_assert_eq(quiet_end_ms(&q, &new_york, at(3, 7, 22, 0, -18000)), at(3, 8, 8, 0, -14400));
    cr_assert_eq(quiet_end_ms(&q, &new_york, at(10, 31, 22, 0, -14400)), at(11, 1, 8, 0, -18000));
}

Test(quiet, an_end_that_the_clock_jumps_over_is_the_jump) {
    struct quiet_hours q = hours(22, 0, 2, 30);
    cr_assert_eq(quiet_end_ms(&q, &berlin, at(3, 29, 1, 0, 3600)), berlin_at[1] * 1000);
    cr_assert_eq(quiet_end_ms(&q, &new_york, at(3, 8, 1, 0, -18000)), ny_at[1] * 1000);
}

Test(quiet, an_end_that_comes_twice_is_the_first_and_the_repeated_stretch_is_quiet_again) {
    struct quiet_hours q = hours(22, 0, 2, 30);
    int64_t first = at(10, 25, 2, 30, 7200), again = at(10, 25, 2, 0, 3600);
    cr_assert_eq(quiet_end_ms(&q, &berlin, at(10, 25, 1, 0, 7200)), first);
    cr_assert(!quiet_at(&q, &berlin, first));
    cr_assert(quiet_at(&q, &berlin, again));
    cr_assert_eq(quiet_end_ms(&q, &berlin, again), at(10, 25, 2, 30, 3600));
}

Test(quiet, a_stretch_that_begins_within_the_jump_is_not_missed) {
    struct quiet_hours q = hours(2, 15, 4, 0);
    cr_assert(!quiet_at(&q, &berlin, berlin_at[1] * 1000 - 1));
    cr_assert(quiet_at(&q, &berlin, berlin_at[1] * 1000)); /* it is 3:00 */
    cr_assert_eq(quiet_end_ms(&q, &berlin, berlin_at[1] * 1000), at(3, 29, 4, 0, 7200));
}

/* The definition, minute by minute, for every minute of the days around the changes. */
Test(quiet, the_end_is_the_first_moment_that_is_not_quiet) {
    const struct tz_rules *zones[] = {&berlin, &new_york, &kolkata, NULL};
    const struct quiet_hours spans[] = {hours(21, 0, 8, 0),  hours(0, 0, 2, 30),
                                        hours(1, 30, 1, 45), hours(2, 59, 2, 58),
                                        hours(8, 0, 0, 0),   hours(2, 0, 3, 0)};
    const int64_t days[] = {at(3, 8, 0, 0, 0), at(3, 29, 0, 0, 0), at(10, 25, 0, 0, 0),
                            at(11, 1, 0, 0, 0)};
    for (size_t z = 0; z < ARRAY_LEN(zones); z++)
        for (size_t s = 0; s < ARRAY_LEN(spans); s++)
            for (size_t d = 0; d < ARRAY_LEN(days); d++)
                for (int64_t next = -1, t = days[d] + 2 * 86400000; t >= days[d] - 86400000;
                     t -= 60000) {
                    if (!quiet_at(&spans[s], zones[z], t))
                        next = t;
                    else if (next >= 0)
                        cr_assert_eq(quiet_end_ms(&spans[s], zones[z], t), next,
                                     "zone %zu span %zu", z, s);
                }
}
