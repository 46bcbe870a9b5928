/* Local time by transition tables, and hours in which people want to be left alone. */
#pragma once

#include "policy/policy.h"

/* Quiet from `from_min` up to, but not including, `to_min` (minutes of the local day);
 * from > to crosses midnight. */
struct quiet_hours {
    bool on, drop; /* drop: refuse; otherwise wait for the end */
    uint16_t from_min, to_min;
};

/* Offset in force at a moment; tz NULL is UTC. */
int32_t tz_offset_s(const struct tz_rules *tz, int64_t at_s);
/* The local calendar day, counted from 1970-01-01. */
int32_t tz_day(const struct tz_rules *tz, int64_t at_ms);
/* The first moment of a local day. */
int64_t tz_day_start_ms(const struct tz_rules *tz, int32_t day);
/* Days from 1970-01-01 to a date of the Gregorian calendar (Hinnant's days_from_civil). */
int32_t days_from_civil(int year, unsigned month, unsigned day);

bool quiet_at(const struct quiet_hours *q, const struct tz_rules *tz, int64_t at_ms);
/* The first moment after `at_ms`, which is quiet, that is not. Clock changes are
 * followed, so that the answer is never quiet itself. */
int64_t quiet_end_ms(const struct quiet_hours *q, const struct tz_rules *tz, int64_t at_ms);
