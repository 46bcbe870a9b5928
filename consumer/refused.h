/* Catalogue and user-control records that could not be used. Every process reads them all, so
 * every process meets each bad one: all count it, one of them sends the dead letter. That is the
 * process that owns partition 0 of the clickstream, which Kafka gives to one process of the group
 * at a time. The others keep the letters of the last half minute to minute (as far as they fit
 * into REFUSED_MAX_BYTES), and send those too if the partition comes to them: between the death of
 * its owner and its taking over no letter is lost, and across a hand-over some may come twice
 * (a letter's origin tells).
 *
 * There are letters for what came after the start only: what lies in the topics was refused at
 * earlier starts as well. Owned by the globals thread. */
#pragma once

#include <stdatomic.h>

#include "consumer/letter.h"

struct metrics;
struct refused;

enum { REFUSED_KEEP_MS = 30000, REFUSED_MAX_BYTES = 4 << 20 };

/* `leads`: whether this process owns partition 0; `stop` ends the wait for a schema registry; all
 * are borrowed. 0, or what encoder_new and encoder_register say. */
int refused_new(const struct config *cfg, struct metrics *m, const atomic_bool *leads,
                const atomic_bool *stop, struct refused **ret);
void refused_free(struct refused *r);
DEFINE_CLEANUP(struct refused, refused_free)

/* Counts the record; with `letter`, and with a reason in `why`, keeps a letter about it. A line
 * in the log for each at debug, else one for all of every few seconds. */
void refused_add(struct refused *r, const rd_kafka_message_t *m, const struct origin *from,
                 const struct dead *why, bool letter);
/* Now and then: sends what is to be sent, forgets what need not be, and tells the log. */
void refused_turn(struct refused *r, rd_kafka_t *producer, int64_t now_us);
void refused_undelivered(struct refused *r);     /* the broker did not take a letter */
uint64_t refused_count(const struct refused *r); /* since the start */
