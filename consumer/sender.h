/* A producer for bulk: one topic, murmur2 by key as Java's, idempotent, large batches;
 * waits while its queue is full. Thread: its maker's. */
#pragma once

#include "consumer/options.h"

struct sender;
struct sender_counts {
    uint64_t sent, failed,
        bytes;       /* handed over; of those refused or undelivered; keys and values */
    char error[256]; /* the first failure */
};
/* Makes the topic if it is missing. 0 or -errno, logged. */
int sender_new(const struct config *cfg, const char *topic, int32_t partitions, bool compacted,
               struct sender **ret);
void sender_free(struct sender *s); /* what was not flushed is lost */
DEFINE_CLEANUP(struct sender, sender_free)
/* Copies key (empty: none) and value (p NULL: a tombstone). 0 (a record that is too large is
 * counted as failed), -EINTR when interrupted while waiting, -EIO when the producer is beyond help.
 */
int sender_put(struct sender *s, struct str key, struct str value);
/* Lets it work for so long, or until interrupted. */
void sender_wait(struct sender *s, int timeout_ms);
/* Waits until all is delivered or failed; once interrupted, 10 s at most. */
void sender_flush(struct sender *s);
const struct sender_counts *sender_counts(const struct sender *s);
