#include "consumer/text.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

static bool plain_word(uint64_t w) {
    const uint64_t ones = UINT64_MAX / 255, high = ones * 128;
    uint64_t del = w ^ (ones * 0x7f);
    /* Some byte below 0x20, equal to 0x7f, or with its high bit set. */
    return !((((w - ones * 0x20) & ~w) | ((del - ones) & ~del) | w) & high);
}

/* Length of the sequence that starts at p (n bytes left, first one not ASCII), 0 if it is none. */
static size_t sequence(const uint8_t *p, size_t n) {
    uint8_t lead = p[0];
    size_t len = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    if (lead < 0xc2 || lead > 0xf4 || len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((lead == 0xe0 && p[1] < 0xa0) || (lead == 0xed && p[1] > 0x9f) ||
        (lead == 0xf0 && p[1] < 0x90) || (lead == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

size_t text_bad_at(struct str s, enum text_rule rule) {
    const uint8_t *p = (const uint8_t *)s.p;
    size_t i = 0;
    while (i < s.n) {
        uint64_t w;
        while (i + 8 <= s.n && (memcpy(&w, p + i, 8), plain_word(w)))
            i += 8;
        if (i == s.n)
            break;
        uint8_t c = p[i];
        if (c < 0x80) {
            bool blank = c == '\t' || c == '\n' || c == '\r';
            if ((c < 0x20 && !(blank && rule == TEXT_PROSE)) || c == 0x7f)
                return i;
            i++;
        } else {
            size_t len = sequence(p + i, s.n - i);
            if (!len)
                return i;
            /* U+0080 to U+009F: control characters too. */
            if (c == 0xc2 && p[i + 1] < 0xa0)
                return i;
            i += len;
        }
    }
    return s.n;
}

size_t text_char(struct str s, uint32_t *ret) {
    const uint8_t *p = (const uint8_t *)s.p;
    size_t len = p[0] < 0x80 ? 1 : sequence(p, s.n), i = 1;
    *ret = 0;
    if (len) {
        uint32_t c = len == 1 ? p[0] : p[0] & (0xffu >> (len + 1));
        for (; i < len; i++)
            c = c << 6 | (p[i] & 0x3f);
        *ret = c;
        return len;
    }
    while (p[0] >= 0xc0 && i < MIN(s.n, (size_t)4) && (p[i] & 0xc0) == 0x80)
        i++;
    return i;
}

bool text_commands(uint32_t c) {
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x061c || c == 0x200e || c == 0x200f ||
           (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

void text_put_json(struct buf *out, struct str s) {
    const uint8_t *p = (const uint8_t *)s.p;
    size_t from = 0, i = 0;
    buf_put(out, "\"", 1);
    while (i < s.n) {
        uint8_t c = p[i];
        size_t len = c < 0x80 ? 1 : sequence(p + i, s.n - i);
        char esc[8];
        int n = 0;
        if (c == '"' || c == '\\')
            n = snprintf(esc, sizeof esc, "\\%c", c);
        else if (c == '\n')
            n = snprintf(esc, sizeof esc, "\\n");
        else if (c == '\r')
            n = snprintf(esc, sizeof esc, "\\r");
        else if (c == '\t')
            n = snprintf(esc, sizeof esc, "\\t");
        else if (c < 0x20 || c == 0x7f)
            n = snprintf(esc, sizeof esc, "\\u%04x", c);
        else if (!len)
            n = snprintf(esc, sizeof esc, "\xef\xbf\xbd");
        if (n) {
            buf_put(out, p + from, i - from);
            buf_put(out, esc, (size_t)n);
            from = i + 1;
        }
        i += n ? 1 : len;
    }
    buf_put(out, p + from, s.n - from);
    buf_put(out, "\"", 1);
}

void text_put_number(struct buf *out, double v) {
    char t[40];
    if (!isfinite(v)) {
        buf_put(out, "null", 4);
        return;
    }
    if (v == floor(v) && fabs(v) < 1e15) {
        text_put_long(out, (int64_t)v);
        return;
    }
    int n = 0;
    for (int digits = 15; digits <= 17; digits++) {
        n = snprintf(t, sizeof t, "%.*g", digits, v);
        if (strtod(t, NULL) == v)
            break;
    }
    buf_put(out, t, (size_t)n);
}

void text_put_float(struct buf *out, float v) {
    char t[24];
    if (!isfinite(v)) {
        buf_put(out, "null", 4);
        return;
    }
    int n = 0;
    for (int digits = 6; digits <= 9; digits++) {
        n = snprintf(t, sizeof t, "%.*g", digits, (double)v);
        if (strtof(t, NULL) == v)
            break;
    }
    buf_put(out, t, (size_t)n);
}

void text_put_long(struct buf *out, int64_t v) {
    char t[24];
    int n = snprintf(t, sizeof t, "%" PRId64, v);
    buf_put(out, t, (size_t)n);
}

static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_put_base64(struct buf *out, const void *bytes, size_t n) {
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = MIN(n - i, (size_t)3);
        uint32_t w = (uint32_t)p[i] << 16;
        if (left > 1)
            w |= (uint32_t)p[i + 1] << 8;
        if (left > 2)
            w |= p[i + 2];
        char t[4] = {base64[w >> 18], base64[(w >> 12) & 63], '=', '='};
        if (left > 1)
            t[2] = base64[(w >> 6) & 63];
        if (left > 2)
            t[3] = base64[w & 63];
        buf_put(out, t, 4);
    }
}

int text_base64_decode(struct str s, uint8_t *to, size_t *ret_n) {
    size_t n = 0, pad = 0;
    if (s.n % 4)
        return -EBADMSG;
    for (size_t i = 0; i < s.n; i += 4) {
        uint32_t w = 0;
        for (size_t j = 0; j < 4; j++) {
            char c = s.p[i + j];
            const char *at = c ? memchr(base64, c, 64) : NULL;
            if (c == '=' && i + 4 == s.n && j >= 2)
                pad++;
            else if (!at || pad)
                return -EBADMSG;
            w = w << 6 | (uint32_t)(at ? at - base64 : 0);
        }
        for (size_t j = 0; j < 3 - (i + 4 == s.n ? pad : 0); j++)
            to[n++] = (uint8_t)(w >> (16 - 8 * j));
    }
    *ret_n = n;
    return 0;
}

/* Days since 1970-01-01 of a day in the proleptic Gregorian calendar, and back (Howard
 * Hinnant, "chrono-compatible low-level date algorithms", 2013). */
static int64_t days_of(int64_t y, int m, int d) {
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400, yoe = y - era * 400;
    int64_t doy = (153 * (m + (m > 2 ? -3 : 9)) + 2) / 5 + d - 1;
    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719468;
}

static void date_of(int64_t days, int *y, int *m, int *d) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, doe = days - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100), mp = (5 * doy + 2) / 153;
    *d = (int)(doy - (153 * mp + 2) / 5 + 1);
    *m = (int)(mp < 10 ? mp + 3 : mp - 9);
    *y = (int)(yoe + era * 400 + (*m <= 2));
}

struct scan {
    const char *p, *end;
};

static bool digits(struct scan *s, int n, int *ret) {
    int v = 0;
    if (s->end - s->p < n)
        return false;
    for (int i = 0; i < n; i++) {
        char c = s->p[i];
        if (c < '0' || c > '9')
            return false;
        v = v * 10 + (c - '0');
    }
    s->p += n;
    *ret = v;
    return true;
}

static bool one_of(struct scan *s, const char *set) {
    if (s->p == s->end || !*s->p || !strchr(set, *s->p))
        return false;
    s->p++;
    return true;
}

static bool zone(struct scan *s, int64_t *ret_ms) {
    int h, m = 0;
    if (s->p == s->end || one_of(s, "Zz"))
        return true;
    int sign = *s->p == '-' ? -1 : 1;
    if (!one_of(s, "+-") || !digits(s, 2, &h))
        return false;
    one_of(s, ":");
    if (s->p != s->end && !digits(s, 2, &m))
        return false;
    if (h > 18 || m > 59)
        return false;
    *ret_ms -= sign * (h * 60 + m) * 60000;
    return true;
}

bool text_time(struct str str, int64_t *ret_ms) {
    struct scan s = {str.p, str.p + str.n};
    int y, mo, d, h = 0, mi = 0, se = 0;
    if (!digits(&s, 4, &y) || !one_of(&s, "-") || !digits(&s, 2, &mo) || !one_of(&s, "-") ||
        !digits(&s, 2, &d))
        return false;
    static const int length[] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    if (mo < 1 || mo > 12 || d < 1 || d > length[mo - 1] || (mo == 2 && d == 29 && !leap))
        return false;
    int64_t ms = 0;
    if (one_of(&s, "Tt ")) {
        if (!digits(&s, 2, &h) || !one_of(&s, ":") || !digits(&s, 2, &mi))
            return false;
        if (one_of(&s, ":")) {
            if (!digits(&s, 2, &se))
                return false;
            if (one_of(&s, ".,")) {
                int scale = 100, v;
                if (!digits(&s, 1, &v))
                    return false;
                do {
                    ms += v * scale;
                    scale /= 10;
                } while (digits(&s, 1, &v));
            }
        }
        if (h > 23 || mi > 59 || se > 60 || !zone(&s, &ms))
            return false;
    }
    if (s.p != s.end)
        return false;
    *ret_ms = ms + 1000 * (se + 60 * (mi + 60 * (h + 24 * days_of(y, mo, d))));
    return true;
}

void text_put_time(struct buf *out, int64_t ms) {
    const int64_t day = 86400000, first = -62167219200000, last = 253402300799999;
    if (ms < first || ms > last) {
        text_put_long(out, ms);
        return;
    }
    int64_t days = ms >= 0 ? ms / day : -((day - 1 - ms) / day);
    int rest = (int)(ms - days * day), y, m, d;
    date_of(days, &y, &m, &d);
    char t[40];
    int n = snprintf(t, sizeof t, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"", y, m, d,
                     rest / 3600000, rest / 60000 % 60, rest / 1000 % 60, rest % 1000);
    buf_put(out, t, (size_t)n);
}
