/* The topics every process reads whole: the catalogue, people's wishes, and the
 * model as it was saved; what other processes learn from then on; and the saving of the model. One
 * thread. */
#pragma once

#include <stdatomic.h>

#include "consumer/world.h"

struct metrics;
struct globals;

/* Reads items, user-control and the model topic up to their present ends (progress in
 * the log), so that the first event finds them; then a thread goes on following
 * items, user-control and what other processes and their policies learned (hearing.h), and every
 * model.save_interval saves what our policies learned, and the rows of the model that changed.
 * The latter, if the model is shared, only where this process leads: who learns what all learn
 * need not save it as well, and who comes to lead saves all that moved since it started.
 * What cannot be used is counted and becomes a dead letter (refused.h); `leads`: this process
 * owns partition 0 of the clickstream.
 * 0, -EINTR when *stop was set meanwhile, or an error (logged). */
int globals_start(struct world *w, struct metrics *m, const atomic_bool *leads,
                  const atomic_bool *stop, struct globals **ret);
/* Kafka forbids what it has to do (logged); it does nothing more. Thread: any. */
bool globals_failed(const struct globals *g);
/* Saves what changed and ends the thread. */
void globals_stop(struct globals *g);
