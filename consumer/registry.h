/* A Confluent-compatible schema registry over HTTP (GET schemas/ids/ID, POST
 * subjects/SUBJECT/versions). One per process and URL, shared by all threads; what it answered
 * is kept. Thread: any; a question holds up other questions, never answers that are known. */
#pragma once

#include "model/base.h"

struct registry;
/* `url`: http or https, may carry user:password@ and a path. Asks nothing yet. 0, -EINVAL
 * (no such URL), -ENOMEM. Each open needs a close. */
int registry_open(const char *url, int64_t timeout_ms, struct registry **ret);
void registry_close(struct registry *r);
DEFINE_CLEANUP(struct registry, registry_close)

/* The schema's text, followed by the ones it refers to placed before it; lives as long as the
 * registry. 0; -ENOENT: no such id (asked again after a few seconds); -EINVAL: there is one, but
 * it is no Avro schema, `err` tells; -EAGAIN: the registry is away, slow, or talks nonsense: the
 * record may be good, so wait; -ENOMEM. `now_us` is monotonic. After a fault, questions are
 * answered -EAGAIN for a while without asking. A flood of ids that nobody knows is answered
 * -ENOENT without asking each. */
int registry_schema(struct registry *r, int32_t id, int64_t now_us, char err[160], struct str *ret);

/* Registers a schema for the values of `topic` and tells its id. 0, -EINVAL (refused, `err` tells
 * why), -EAGAIN, -ENOMEM. */
int registry_register(struct registry *r, const char *topic, struct str schema, int64_t now_us,
                      char err[160], int32_t *ret_id);
