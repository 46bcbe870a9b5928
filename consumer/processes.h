/* Which processes of the deployment are alive, and their numbers added up (publish.h says how they
 * get into Redis). One connection of its own; one thread. */
#pragma once

#include "consumer/tally.h"

struct processes;
/* Does not connect. 0, -ENOMEM or -EINVAL (see redis_new). */
int processes_new(const struct config *cfg, struct processes **ret);
void processes_free(struct processes *p);
DEFINE_CLEANUP(struct processes, processes_free)

/* Enters this process, whose numbers must be in Redis by now, and, if it has the first name of
 * those alive, merges everybody's numbers into `to` and returns how many processes they are of. 0:
 * the totals are another process's to write, or Redis is away. */
size_t processes_add_up(struct processes *p, struct tally *to);
/* Takes this process and its numbers out, so that the others' totals are without them at once. */
void processes_leave(struct processes *p);
