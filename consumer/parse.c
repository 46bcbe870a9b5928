#include "consumer/parse.h"

#include <math.h>

#include "consumer/text.h"

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
        return text_time(s, ret_ms);
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
