/* Messages as people see them. */
#pragma once

#include "consumer/encode.h"

/* One message of a topic as a line of JSON. Plain Avro does not say what it is: the
 * configuration tells which topics carry it, and what. 0, or render_json's errors. */
int topic_render(const struct config *cfg, struct decoder *d, const char *topic, const void *p,
                 size_t n, struct buf *out);
