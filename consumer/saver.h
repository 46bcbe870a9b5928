/* What goes to the model topic from time to time: the rows of the model that moved, between marks
 * (model/share.h), and what policies learned. One thread. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "consumer/hearing.h"
#include "consumer/policy_records.h"
#include "consumer/refused.h"

struct saver_config { /* all borrowed */
    struct world *world;
    struct metrics *metrics;
    const char *topic;
    struct hearing *hearing;
    struct policy_records *policies;
    struct refused *refused;           /* of its letters those that do not arrive are counted */
    const atomic_bool *leading, *stop; /* who no longer leads breaks off, unless all stops */
};

struct saver;
int saver_new(const struct saver_config *c,
              struct saver **ret); /* 0, -ENOMEM, or -EINVAL: logged */
void saver_free(struct saver *s);
DEFINE_CLEANUP(struct saver, saver_free)

rd_kafka_t *saver_producer(struct saver *s); /* for others' records as well; not transactional */
/* What of this process's policies changed, and with `rows` the model's rows that did; nothing of
 * what is undone (world.h). */
void saver_save(struct saver *s, bool rows);
/* Whoever goes on from an image (model/image.h) after us must not go on from one that nobody keeps
 * up. */
void saver_end_image(struct saver *s);
void saver_flush(struct saver *s);
/* Kafka forbids it (logged). Thread: any. */
bool saver_failed(const struct saver *s);
