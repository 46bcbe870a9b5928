#include "policy/zone.h"

enum { DAY_S = 86400, DAY_MIN = 1440 };

static int64_t floor_div(int64_t a, int64_t b) {
    return a / b - (a % b < 0);
}

static int64_t floor_mod(int64_t a, int64_t b) {
    return a - floor_div(a, b) * b;
}

/* Index of the rule in force: the last with at_s <= at, or 0. */
static size_t rule_at(const struct tz_rules *tz, int64_t at_s) {
    size_t lo = 0, hi = tz->n;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (tz->at_s[mid] <= at_s)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

int32_t tz_offset_s(const struct tz_rules *tz, int64_t at_s) {
    return tz && tz->n ? tz->offset_s[rule_at(tz, at_s)] : 0;
}

int32_t tz_day(const struct tz_rules *tz, int64_t at_ms) {
    int64_t s = floor_div(at_ms, 1000);
    return (int32_t)floor_div(s + tz_offset_s(tz, s), DAY_S);
}

int64_t tz_day_start_ms(const struct tz_rules *tz, int32_t day) {
    int64_t local = (int64_t)day * DAY_S;
    int64_t before = local - tz_offset_s(tz, local - 2 * DAY_S);
    int64_t after = local - tz_offset_s(tz, local + 2 * DAY_S);
    /* Midnight may come twice (take the first) or never (the clock jumps over it). */
    if (before + tz_offset_s(tz, before) == local)
        return before * 1000;
    if (after + tz_offset_s(tz, after) == local)
        return after * 1000;
    return before * 1000;
}

int32_t days_from_civil(int year, unsigned month, unsigned day) {
    year -= month <= 2;
    int era = (year >= 0 ? year : year - 399) / 400;
    int yoe = year - era * 400;
    int doy = (153 * ((int)month + (month > 2 ? -3 : 9)) + 2) / 5 + (int)day - 1;
    int doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    return era * 146097 + doe - 719468;
}

/* Milliseconds of quiet left under one fixed offset, 0 when it is not quiet. */
static int64_t quiet_left_ms(const struct quiet_hours *q, int32_t offset_s, int64_t at_ms) {
    int64_t day_ms = (int64_t)DAY_S * 1000, length = q->to_min - q->from_min;
    int64_t since =
        floor_mod(at_ms + (int64_t)offset_s * 1000 - (int64_t)q->from_min * 60000, day_ms);
    length = (length < 0 ? length + DAY_MIN : length) * 60000;
    return since < length ? length - since : 0;
}

bool quiet_at(const struct quiet_hours *q, const struct tz_rules *tz, int64_t at_ms) {
    return q->on && quiet_left_ms(q, tz_offset_s(tz, floor_div(at_ms, 1000)), at_ms) > 0;
}

int64_t quiet_end_ms(const struct quiet_hours *q, const struct tz_rules *tz, int64_t at_ms) {
    for (;;) {
        size_t i = tz && tz->n ? rule_at(tz, floor_div(at_ms, 1000)) : 0;
        int64_t left = quiet_left_ms(q, tz && tz->n ? tz->offset_s[i] : 0, at_ms);
        if (!left)
            return at_ms;
        if (!tz || i + 1 >= tz->n || at_ms + left < tz->at_s[i + 1] * 1000)
            return at_ms + left;
        at_ms = tz->at_s[i + 1] * 1000;
    }
}
