/* What a commit holds besides the lanes when model.save_interval is 0: the memory of the model
 * (model/image.h) and of what policies learned, as they are after the last event of the
 * transaction. A process that begins with them goes on bit by bit as the one before would have, if
 * it is the only one of its app.name and has one worker; then there is nothing that others could
 * have done in between. Records of the model topic. */
#pragma once

#include "consumer/lane.h"

struct exact;

/* Before anything is read. 0 or -errno. */
int exact_new(struct world *w, struct exact **ret);
void exact_free(struct exact *x);
DEFINE_CLEANUP(struct exact, exact_free)

/* The one worker's. */
struct learner *exact_learner(struct exact *x);

bool exact_record_is(struct str key); /* of this kind */

/* A record read back, before exact_read; later ones are passed over. 0, -EBADMSG or -ENOMEM. */
int exact_take(struct exact *x, struct str key, const void *value, size_t n);
/* That was all of them; the catalogue is still to be read. Says in the log what it found. 0, also
 * where there was nothing to go on from; -ENOMEM, or -EBADMSG for what cannot be gone on from. */
int exact_read(struct exact *x);
/* There was a state, and it counts: records of rows do not. */
bool exact_going_on(const struct exact *x);
/* The catalogue and what policies shared have been read, too. 0 or -EBADMSG. */
int exact_settle(struct exact *x);

/* The records of a commit, as lane_changes. Takes the model's write lock. */
int exact_changes(struct exact *x, changelog_put *put, void *ctx);
