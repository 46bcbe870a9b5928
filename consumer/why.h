/* Why the items of a list are there: one word for each place, in order, as beckon:why:{USER} holds
 * them: "similar trend explored=0.01099 taste". The number behind `explored` is the propensity of
 * its draw, which whoever logs what was shown needs to learn from it without bias. */
#pragma once

#include "model/model.h"

void why_write(struct buf *out, const struct list *l);
/* The next word of *text, which moves behind it, and its propensity (0: none); false at the end. */
bool why_next(struct str *text, struct str *ret_reason, double *ret_propensity);
/* What a reason means, as a sentence goes on after "because"; "" for one not known. */
const char *why_meaning(struct str reason);
