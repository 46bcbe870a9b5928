/* Sees to it that every partition of the clickstream belongs to somebody of the group.
 *
 * Who dies between the two halves of a cooperative rebalance (KIP-429) and returns as the same
 * static member (KIP-345) is given back what it had after the first half, and nobody asks for the
 * second: what was on its way from it to another member belongs to nobody, for good. A warden that
 * finds the group stable and partitions left out twice in a row joins it for a moment, with another
 * topic than the clickstream: then all is shared out anew, and nobody loses what he has. */
#pragma once

#include "consumer/options.h"

struct warden;
/* Starts its thread. `topic`: of the group, with so many partitions; `aside`: what it joins with.
 * 0, -ENOMEM, -EINVAL (logged). */
int warden_start(const struct config *cfg, const char *topic, int32_t partitions, const char *aside,
                 struct warden **ret);
void warden_stop(struct warden *w);
