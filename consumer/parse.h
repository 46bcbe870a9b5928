/* Text of files and flags as numbers and times; no locale. */
#pragma once

#include "model/base.h"

/* A whole text as a decimal number (1, -2.5, 1e3, .5). False: it is not one, or not finite. */
bool parse_number(struct str s, double *ret);
/* true, yes, 1 and false, no, 0. */
bool parse_bool(struct str s, bool *ret);
/* A number counts units of `unit_us` microseconds since 1970; else ISO 8601:
 * 2024-05-06, 2024-05-06T07:08, 2024-05-06 07:08:09.123456+02:00 or …Z; UTC without a zone. */
bool parse_time(struct str s, int64_t unit_us, int64_t *ret_ms);
/* 250ms, 30s, 10m, 2h, 7d. */
bool parse_span(struct str s, int64_t *ret_ms);
