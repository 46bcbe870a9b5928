/* What the policy said during a step, to the sink. */
#pragma once

#include "consumer/worker.h"

enum { EMIT_CHUNK = 128 };

struct emission {
    struct world *world;
    const struct sink *sink;
    struct learner *learner;
    struct decisions *decisions;
    struct list *lists; /* room for EMIT_CHUNK */
};

/* Outcomes to the policies that learn and to the sink, then decisions in their order; what is sent
 * carries the user's list as it is now. Takes the model's read lock. 0 or the sink's first error.
 */
int worker_emit(const struct emission *e);
