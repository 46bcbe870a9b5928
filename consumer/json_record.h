/* A JSON object read against the fields Beckon looks for. */
#pragma once

#include "consumer/arena.h"
#include "consumer/fields.h"

/* Unknown members are ignored, null counts as absent, of repeated members the last wins. Text
 * is copied into the arena. DEAD_NONE, or JSON, UTF8, FIELD, TIME or VALUE with `why` filled. */
enum dead_reason json_record(const void *p, size_t n, const struct field_table *fields,
                             struct arena *arena, void *record, struct dead *why);
