/* One dead letter on its way to topics.dead_letters. */
#pragma once

#include <librdkafka/rdkafka.h>

#include "consumer/encode.h"
#include "consumer/outbox.h"

/* Puts the letter about a message that was refused into the outbox: with the message's key (cut to
 * DEAD_LETTER_KEY_MAX), its headers, and the reason as one header more. `scratch` is overwritten.
 * Nothing where no topic is configured. 0, -ENOMEM, or what encode_dead_letter says. */
int letter_put(struct outbox *to, const struct config *cfg, struct encoder *e, struct buf *scratch,
               const rd_kafka_message_t *m, const struct origin *from, const struct dead *why);
