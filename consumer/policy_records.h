/* What learned policies know, as records of the model topic: one per group and process, of the
 * samples that process took. All of them together are what is known; each process reads the
 * others' at its start and adds its own from then on. Key: 'P', group, NUL, app.instance. */
#pragma once

#include "policy/policy.h"

struct policy_records {
    struct policy_record {
        struct buf key, value;
    } * r;
    size_t n, cap;
    uint64_t saved[POLICY_GROUPS_MAX]; /* samples in the record last written, by group */
};
void policy_records_free(struct policy_records *p);

bool policy_record_is(struct str key);
/* Notes a record read; a newer one of the same key replaces it. 0 or -ENOMEM. */
int policy_records_note(struct policy_records *p, struct str key, const void *value, size_t n);
/* Teaches the groups of `set` all that was noted, and forgets it; how many records were damaged or
 * of other columns. */
size_t policy_records_learn(struct policy_records *p, const struct policy_set *set,
                            struct str instance);
/* The next group from *group on that took samples since it was last saved, as key and value; false:
 * there is none. */
bool policy_records_next(struct policy_records *p, const struct policy_set *set,
                         struct str instance, size_t *group, struct buf *key, struct buf *value);
