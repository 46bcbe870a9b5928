/* What learned policies know, as records of the model topic: one per group and process, of the
 * samples that process took. All of them together are what is known; each process writes its own
 * and takes over the others' as they are written. A process that is gone leaves its last record
 * behind: its samples stay known until the record is deleted. Key: 'P', group, NUL, app.instance.
 *
 * Networks do not add up: each process trains one of its own (key 'N', likewise), and one that has
 * none yet begins with that of another process that was trained longest. */
#pragma once

#include "policy/policy.h"

struct policy_records {
    struct policy_record {
        struct buf key, value;
    } * r;
    size_t n, cap;
    /* By group: samples, and passages, in the record last written. */
    uint64_t saved[POLICY_GROUPS_MAX], saved_network[POLICY_GROUPS_MAX];
};
void policy_records_free(struct policy_records *p);

bool policy_record_is(struct str key);
/* Notes a record read; a newer one of the same key replaces it. 0 or -ENOMEM. */
int policy_records_note(struct policy_records *p, struct str key, const void *value, size_t n);
/* Teaches the groups of `set` all that was noted, and forgets it; how many records were damaged or
 * of other columns. */
size_t policy_records_learn(struct policy_records *p, const struct policy_set *set,
                            struct str instance);
/* Another process's record as it comes in: replaces what was known of that process, none (n 0)
 * forgets it. Our own, networks' and those of groups that are no more teach nothing. 0, or an
 * error as of learned_restore. Thread: any, while others decide and learn. */
int policy_records_take(const struct policy_set *set, struct str instance, struct str key,
                        const void *value, size_t n);
/* The next record from number *at on (0 at first) of a group that took samples since it was last
 * saved, or whose network learned from NETWORK_SAVE passages, as key and value; false: there is
 * none. */
bool policy_records_next(struct policy_records *p, const struct policy_set *set,
                         struct str instance, size_t *at, struct buf *key, struct buf *value);
