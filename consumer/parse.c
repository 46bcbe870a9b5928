#include "consumer/parse.h"

#include <math.h>

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* Few digits and a small exponent are exact in double arithmetic (Clinger 1990); the rest
 * is strtod's. */
bool parse_number(struct str s, double *ret) {
    static const double power[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                   1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    size_t i = 0, digits = 0, decimals = 0;
    bool negative = s.n && s.p[0] == '-', point = false;
    uint64_t v = 0;
    if (s.n && (s.p[0] == '-' || s.p[0] == '+'))
        i++;
    for (; i < s.n && digits < 16; i++) {
        if (digit(s.p[i])) {
            v = 10 * v + (uint64_t)(s.p[i] - '0');
            digits++;
            decimals += point;
        } else if (s.p[i] == '.' && !point) {
            point = true;
        } else {
            break;
        }
    }
    if (i == s.n && digits > 0 && digits < 16) {
        double d = (double)v / power[decimals];
        *ret = negative ? -d : d;
        return true;
    }
    char z[64], *end;
    if (s.n == 0 || s.n >= sizeof z)
        return false;
    for (i = 0; i < s.n; i++) /* no hexadecimal, inf, nan, nor blanks */
        if (!digit(s.p[i]) && !memchr("+-.eE", s.p[i], 5))
            return false;
    memcpy(z, s.p, s.n);
    z[s.n] = '\0';
    double d = strtod(z, &end);
    if (end != z + s.n || !isfinite(d))
        return false;
    *ret = d;
    return true;
}

bool parse_bool(struct str s, bool *ret) {
    if (str_eq(s, STR("true")) || str_eq(s, STR("yes")) || str_eq(s, STR("1")))
        *ret = true;
    else if (str_eq(s, STR("false")) || str_eq(s, STR("no")) || str_eq(s, STR("0")))
        *ret = false;
    else
        return false;
    return true;
}

/* Days from 1970-01-01 in the proleptic Gregorian calendar (Hinnant, "chrono-compatible
 * low-level date algorithms"). */
static int64_t days_from_civil(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

/* `n` digits at *p; -1 if they are not. */
static int take(const char **p, const char *end, int n) {
    int v = 0;
    if (end - *p < n)
        return -1;
    for (; n > 0; n--, ++*p) {
        if (!digit(**p))
            return -1;
        v = 10 * v + (**p - '0');
    }
    return v;
}

static bool take_char(const char **p, const char *end, char c) {
    if (*p == end || **p != c)
        return false;
    ++*p;
    return true;
}

static int month_days(int y, int m) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    return days[m - 1] + (m == 2 && leap);
}

/* Z, +hh, +hhmm or +hh:mm to the end. */
static bool take_zone(const char **p, const char *end, int64_t *ret_minutes) {
    *ret_minutes = 0;
    if (*p == end)
        return true;
    if (take_char(p, end, 'Z'))
        return *p == end;
    int sign = **p == '-' ? -1 : 1;
    if (!take_char(p, end, '+') && !take_char(p, end, '-'))
        return false;
    int h = take(p, end, 2), m = 0;
    if (*p < end) {
        take_char(p, end, ':');
        m = take(p, end, 2);
    }
    if (h < 0 || h > 23 || m < 0 || m > 59 || *p != end)
        return false;
    *ret_minutes = sign * (60 * h + m);
    return true;
}

static bool parse_iso(struct str s, int64_t *ret_ms) {
    const char *p = s.p, *end = s.p + s.n;
    int y = take(&p, end, 4);
    if (y < 0 || !take_char(&p, end, '-'))
        return false;
    int mo = take(&p, end, 2);
    if (mo < 1 || mo > 12 || !take_char(&p, end, '-'))
        return false;
    int d = take(&p, end, 2), h = 0, mi = 0, sec = 0, ms = 0;
    if (d < 1 || d > month_days(y, mo))
        return false;
    int64_t zone = 0;
    if (p < end) {
        if (!take_char(&p, end, 'T') && !take_char(&p, end, ' '))
            return false;
        h = take(&p, end, 2);
        if (h < 0 || h > 23 || !take_char(&p, end, ':'))
            return false;
        mi = take(&p, end, 2);
        if (mi < 0 || mi > 59)
            return false;
        if (take_char(&p, end, ':')) {
            sec = take(&p, end, 2);
            if (sec < 0 || sec > 60)
                return false;
            if (take_char(&p, end, '.') || take_char(&p, end, ',')) {
                if (p == end || !digit(*p))
                    return false;
                for (int unit = 100; p < end && digit(*p); p++, unit /= 10)
                    ms += unit * (*p - '0');
            }
        }
        if (!take_zone(&p, end, &zone))
            return false;
    }
    int64_t minutes = (days_from_civil(y, mo, d) * 24 + h) * 60 + mi - zone;
    *ret_ms = (minutes * 60 + sec) * 1000 + ms;
    return true;
}

bool parse_time(struct str s, int64_t unit_us, int64_t *ret_ms) {
    bool negative = s.n && s.p[0] == '-';
    size_t i = negative;
    int64_t v = 0;
    while (i < s.n && digit(s.p[i]) && i < 18) {
        v = 10 * v + (s.p[i] - '0');
        i++;
    }
    if (i == s.n && i > negative) {
        if (__builtin_mul_overflow(v, unit_us, &v))
            return false;
        *ret_ms = (negative ? -v : v) / 1000;
        return true;
    }
    if (s.n >= 10 && s.p[4] == '-')
        return parse_iso(s, ret_ms);
    double d;
    if (!parse_number(s, &d) || !(fabs(d) * (double)unit_us < 9e18))
        return false;
    *ret_ms = (int64_t)(d * (double)unit_us / 1000);
    return true;
}

bool parse_span(struct str s, int64_t *ret_ms) {
    static const struct {
        struct str suffix;
        int64_t ms;
    } units[] = {{STR("ms"), 1},
                 {STR("s"), 1000},
                 {STR("m"), 60000},
                 {STR("h"), 3600000},
                 {STR("d"), 86400000}};
    size_t n = 0;
    while (n < s.n && (digit(s.p[n]) || s.p[n] == '.'))
        n++;
    double d;
    if (!parse_number((struct str){s.p, n}, &d))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(units); i++)
        if (str_eq(units[i].suffix, (struct str){s.p + n, s.n - n}) &&
            d * (double)units[i].ms < 1e15) {
            *ret_ms = (int64_t)(d * (double)units[i].ms);
            return true;
        }
    return false;
}
