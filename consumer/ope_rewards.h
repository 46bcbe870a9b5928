/* `beckon ope --rewards`: what became of decisions stands in another file (the topic outcomes). */
#pragma once

#include "consumer/ope_run.h"

/* Reads o->rewards into e->outcomes and leaves in both frames, row by row, what belongs together by
 * trigger_id. Of a trigger that was decided more than once (it waited, others had priority) the row
 * counts that the outcome is of: the one sent or, where nothing was sent, the one that the policy
 * chose so. Each outcome counts once, however often it was written. Prints; -EINVAL, -ENOMEM,
 * -ENODATA if no decision has an outcome, and what frame_read returns. */
int ope_join_rewards(struct evaluation *e);
/* Makes nothing the action of rows whose outcome says that nothing was sent. */
void ope_nothing_where_not_sent(struct evaluation *e);
