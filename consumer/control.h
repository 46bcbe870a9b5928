/* What people command while it runs: the hash beckon:control, read about once a second.
 *
 *   all        pause                stops everything (the kill switch); any other value does not
 *   pause:ID   anything             pauses a campaign
 *   approve:ID its fingerprint      approves it as it is now: when its offers, audience, trigger,
 *                                   channel or budget change, it has to be approved again
 *
 * While Redis is away what was last read holds. One thread. */
#pragma once

#include "consumer/world.h"

struct control;
/* `w` is borrowed. 0, -ENOMEM, or -EINVAL after logging what is wrong in redis.*. */
int control_new(struct world *w, struct control **ret);
void control_free(struct control *c);
DEFINE_CLEANUP(struct control, control_free)
/* Reads it, waiting for Redis as long as redis.timeout. 0, or -EAGAIN: Redis is away. */
int control_read(struct control *c);

/* Puts what the hash says into effect, whole; what changes is logged. */
void control_apply(struct world *w, const struct key_value *kv, size_t n);
/* What stands in approve:ID. */
void control_fingerprint(const struct policy_set *set, size_t campaign, char ret[17]);
