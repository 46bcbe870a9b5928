#include "consumer/text.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static void assert_text(const struct buf *b, const char *want) {
    cr_assert(b->n == strlen(want) && (!b->n || memcmp(b->p, want, b->n) == 0),
              "'%.*s' is not '%s'", (int)b->n, (char *)b->p, want);
}

/* RFC 3629 by decoding, one code point at a time. */
static size_t slow_bad_at(struct str s, enum text_rule rule) {
    const uint8_t *p = (const uint8_t *)s.p;
    for (size_t i = 0; i < s.n;) {
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        size_t len = p[i] < 0x80       ? 1
                     : p[i] >> 5 == 6  ? 2
                     : p[i] >> 4 == 14 ? 3
                     : p[i] >> 3 == 30 ? 4
                                       : 0;
        if (!len || len > s.n - i)
            return i;
        uint32_t c = len == 1 ? p[i] : p[i] & (0xff >> (len + 1));
        for (size_t k = 1; k < len; k++) {
            if (p[i + k] >> 6 != 2)
                return i;
            c = c << 6 | (p[i + k] & 63);
        }
        bool blank = rule == TEXT_PROSE && (c == 9 || c == 10 || c == 13);
        if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ||
            (!blank && (c < 0x20 || (c >= 0x7f && c < 0xa0))))
            return i;
        i += len;
    }
    return s.n;
}

Test(text, is_judged_as_by_decoding_every_code_point) {
    struct rng r;
    char t[64];
    static const char *const good[] = {"a",
                                       "Z",
                                       " ",
                                       "~",
                                       "ü",
                                       "€",
                                       "\xf0\x9f\x98\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "\xc2\xa0",
                                       "\t"};
    rng_seed(&r, 1);
    for (int round = 0; round < 200000; round++) {
        size_t n = 0, want = rng_below(&r, 40);
        while (n < want) {
            const char *g = good[rng_below(&r, rng_below(&r, 4) ? 4 : ARRAY_LEN(good))];
            memcpy(t + n, g, strlen(g));
            n += strlen(g);
        }
        if (n && rng_below(&r, 2))
            t[rng_below(&r, (uint32_t)n)] = (char)rng_u64(&r);
        for (int rule = TEXT_ID; rule <= TEXT_PROSE; rule++)
            cr_assert_eq(text_bad_at((struct str){t, n}, rule),
                         slow_bad_at((struct str){t, n}, rule));
    }
}

Test(text, every_pair_and_triple_of_bytes_is_judged_right) {
    for (uint32_t w = 0; w < 1 << 16; w++) {
        char t[3] = {(char)w, (char)(w >> 8), 'x'};
        for (size_t n = 1; n <= 3; n++)
            cr_assert_eq(text_bad_at((struct str){t, n}, TEXT_ID),
                         slow_bad_at((struct str){t, n}, TEXT_ID), "%x", w);
    }
}

Test(text, json_strings_are_escaped_and_mended) {
    struct buf b = {0};
    text_put_json(&b, STR("a\"\\\n\r\t\x01\x7fü\xff\xc3z"));
    assert_text(&b, "\"a\\\"\\\\\\n\\r\\t\\u0001\\u007fü\xef\xbf\xbd\xef\xbf\xbdz\"");
    buf_free(&b);
}

Test(text, numbers_are_the_shortest_that_read_back) {
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0, "0"},      {-3, "-3"},          {59.9, "59.9"},
                {0.1, "0.1"},  {1e300, "1e+300"},   {1.0 / 3, "0.333333333333333315"},
                {NAN, "null"}, {-INFINITY, "null"}, {123456789012345, "123456789012345"}};
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        text_put_number(&b, rows[i].v);
        buf_put(&b, "", 1);
        if (isfinite(rows[i].v))
            cr_assert_eq(strtod((char *)b.p, NULL), rows[i].v);
        if (i != 5)
            cr_assert_str_eq((char *)b.p, rows[i].text);
    }
    buf_reset(&b);
    text_put_float(&b, 3.14159274f);
    assert_text(&b, "3.1415927");
    buf_free(&b);
}

Test(text, base64_goes_there_and_back) {
    static const char *const rows[][2] = {{"", ""},
                                          {"f", "Zg=="},
                                          {"fo", "Zm8="},
                                          {"foo", "Zm9v"},
                                          {"foob", "Zm9vYg=="},
                                          {"fooba", "Zm9vYmE="},
                                          {"foobar", "Zm9vYmFy"}};
    struct buf b = {0};
    uint8_t back[16];
    size_t n;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        buf_reset(&b);
        text_put_base64(&b, rows[i][0], strlen(rows[i][0]));
        assert_text(&b, rows[i][1]);
        cr_assert_eq(text_base64_decode(str_of(rows[i][1]), back, &n), 0);
        cr_assert(n == strlen(rows[i][0]) && memcmp(back, rows[i][0], n) == 0);
    }
    static const char *const bad[] = {
        "Zg", "Zg=", "Z===", "Zg==Zg==", "Z=g=", "Zm9*", "====", "Zm9v\n"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(text_base64_decode(str_of(bad[i]), back, &n), -EBADMSG, "%s", bad[i]);
    buf_free(&b);
}

Test(text, times_are_read_in_their_forms) {
    static const struct {
        const char *text;
        int64_t ms;
    } rows[] = {{"1970-01-01T00:00:00Z", 0},
                {"2026-01-02T03:04:05.678Z", 1767323045678},
                {"2026-01-02 03:04:05,678999", 1767323045678},
                {"2026-01-02T05:04:05.678+02:00", 1767323045678},
                {"2026-01-01T21:34:05.678-0530", 1767323045678},
                {"2026-01-02T05:04+02", 1767323040000},
                {"2026-01-02", 1767312000000},
                {"2024-02-29T23:59:60Z", 1709251200000},
                {"2000-02-29", 951782400000},
                {"0000-01-01", -62167219200000},
                {"1969-12-31T23:59:59.999Z", -1}};
    static const char *const bad[] = {"",
                                      "2026",
                                      "2026-13-01",
                                      "2026-02-29",
                                      "1900-02-29",
                                      "2026-1-1",
                                      "2026-01-01T",
                                      "2026-01-01T24:00:00",
                                      "2026-01-01T10:60",
                                      "2026-01-01T10:00:00.Z",
                                      "2026-01-01T10:00Zx",
                                      "2026-01-01T10:00+",
                                      "2026-01-01T10:00+99:00",
                                      "2026-00-10",
                                      "2026-01-00"};
    int64_t ms;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_assert(text_time(str_of(rows[i].text), &ms), "%s", rows[i].text);
        cr_assert_eq(ms, rows[i].ms, "%s: %lld", rows[i].text, (long long)ms);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert(!text_time(str_of(bad[i]), &ms), "%s", bad[i]);
}

Test(text, times_are_written_as_they_are_read) {
    struct rng r;
    struct buf b = {0};
    rng_seed(&r, 5);
    for (int i = 0; i < 20000; i++) {
        int64_t ms = (int64_t)(rng_u64(&r) % 315569520000000) - 62167219200000, back;
        buf_reset(&b);
        text_put_time(&b, ms);
        cr_assert(text_time((struct str){(char *)b.p + 1, b.n - 2}, &back));
        cr_assert_eq(back, ms);
    }
    buf_reset(&b);
    text_put_time(&b, INT64_MAX);
    assert_text(&b, "9223372036854775807");
    buf_free(&b);
}
