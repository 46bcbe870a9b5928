/* What people said in user-control: consent per channel and time zone, one record
 * per user, the last one counts. Thread: any (a read-write lock inside). */
#pragma once

#include "consumer/decode.h"
#include "policy/policy.h"

struct wishes;
int wishes_new(struct wishes **ret);
void wishes_free(struct wishes *w);
DEFINE_CLEANUP(struct wishes, wishes_free)

/* Replaces or (tombstone) removes a user's record. Channels no campaign of `set` uses
 * are ignored; an unknown zone counts as not said. 0 or -ENOMEM. */
int wishes_put(struct wishes *w, const struct policy_set *set, const struct control_info *c);
struct consent wishes_get(struct wishes *w, struct str user);
size_t wishes_users(struct wishes *w);
