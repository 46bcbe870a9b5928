/* Text as it comes and goes: UTF-8 checks, JSON strings and numbers, base64, ISO 8601 times. */
#pragma once

#include "model/base.h"

enum text_rule {
    TEXT_ID,   /* UTF-8 without control characters */
    TEXT_PROSE /* tab, line feed and carriage return as well */
};

/* Where the text first breaks the rule; s.n: nowhere. Overlong forms, surrogates and code
 * points beyond U+10FFFF are no UTF-8 (RFC 3629). */
size_t text_bad_at(struct str s, enum text_rule rule);

/* For showing what need not be UTF-8: the character that s begins with (s.n > 0), 0 for what is
 * none; returns its bytes. */
size_t text_char(struct str s, uint32_t *ret);
/* A terminal would obey this character, break the line or turn the direction of what follows. */
bool text_commands(uint32_t c);

/* JSON (RFC 8259) onto a buffer. A string is quoted and escaped; bytes that are no UTF-8
 * become U+FFFD. A number is the shortest decimal that reads back the same; null if not finite. */
void text_put_json(struct buf *out, struct str s);
void text_put_number(struct buf *out, double v);
void text_put_float(struct buf *out, float v); /* the shortest that reads back as this float */
void text_put_long(struct buf *out, int64_t v);

/* Base64 (RFC 4648, padded). Decoding writes at most 3 * s.n / 4 bytes; -EBADMSG if it is none. */
void text_put_base64(struct buf *out, const void *p, size_t n);
int text_base64_decode(struct str s, uint8_t *to, size_t *ret_n);

/* 2026-01-02T03:04:05.678Z; also without fraction or seconds, a blank for the T, an offset
 * (+02:00, +0200, +02) or none (UTC), a date alone. False if it is none. */
bool text_time(struct str s, int64_t *ret_ms);
void text_put_time(struct buf *out,
                   int64_t ms); /* as the first form, quoted; years 0 to 9999, else a number */
