/* JSON read and written with jansson, where running out of memory must not pass for bad text or
 * cut it short: jansson itself reports an invalid token, and leaves out what it could not copy.
 * Thread: any. */
#pragma once

#include <jansson.h>

#include "model/base.h"

/* json_loadb. 0; -EBADMSG: not JSON, `err` (may be NULL) tells; -ENOMEM. */
int json_load(const void *p, size_t n, size_t flags, json_error_t *err, json_t **ret);
/* json_dumps: the whole text, or NULL. */
char *json_text(const json_t *j, size_t flags);
