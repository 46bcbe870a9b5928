#include <stdio.h>
#include <time.h>

#include "tests/storm/storm.h"

enum { STEP_MS = 300, TICK_MS = 10 };

static unsigned draw(struct feeder *f, unsigned below) {
    f->random = f->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(f->random >> 33) % below;
}

static void put(struct feeder *f) {
    static const char *const types[] = {"view", "view", "view", "view", "add-to-cart", "purchase"};
    bool hot_user = (int)draw(f, 100) < f->shape.hot_user_percent;
    bool hot_item = (int)draw(f, 100) < f->shape.hot_item_percent;
    unsigned u = hot_user ? 0 : draw(f, STORM_USERS), i = hot_item ? 0 : draw(f, STORM_ITEMS);
    unsigned long n = atomic_fetch_add(&f->n, 1);
    bool survey = draw(f, 200) == 0;
    char item[48] = "", json[256];
    if (!survey)
        snprintf(item, sizeof item, ",\"item_id\":\"i%u\"", i);
    f->time_ms += STEP_MS;
    int len = snprintf(json, sizeof json,
                       "{\"event_id\":\"e%lu\",\"user_id\":\"u%u\",\"type\":\"%s\",\"time\":%lld,"
                       "\"value\":5%s}",
                       n, u, survey ? "survey" : types[draw(f, 6)], (long long)f->time_ms, item);
    char user[16];
    snprintf(user, sizeof user, "u%u", u);
    int32_t partition =
        f->shape.silent_partition ? (int32_t)(u % (STORM_PARTITIONS - 1)) : RD_KAFKA_PARTITION_UA;
    kafka_put(f->s->kafka, f->s->clickstream, partition, str_of(user),
              (struct str){json, (size_t)len});
    if (draw(f, 50) == 0) /* comes twice */
        kafka_put(f->s->kafka, f->s->clickstream, partition, str_of(user),
                  (struct str){json, (size_t)len});
    if (draw(f, 500) == 0)
        kafka_put(f->s->kafka, f->s->clickstream, partition, str_of(user), STR("{nonsense"));
}

static void *run(void *arg) {
    struct feeder *f = arg;
    double due = 0;
    for (int64_t last = test_clock_ms(); !atomic_load(&f->stop);) {
        nanosleep(&(struct timespec){.tv_nsec = TICK_MS * 1000000}, NULL);
        int64_t now = test_clock_ms();
        /* What could not be put while Kafka was away is not made up for. */
        due += (double)atomic_load(&f->rate) * (double)MIN(now - last, 10 * TICK_MS) / 1000;
        last = now;
        for (; due >= 1; due--)
            put(f);
    }
    return NULL;
}

void feeder_start(struct feeder *f, struct service *s, struct shape shape, uint64_t seed) {
    *f = (struct feeder){.s = s,
                         .shape = shape,
                         .random = seed,
                         .time_ms = service_now_ms() - 5 * 86400000ll,
                         .rate = 300};
    for (int i = 0; i < STORM_ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        service_item(s, id, i % 4 ? "things" : "shoes", 10 + i, true);
    }
    kafka_flush(s->kafka);
    if (pthread_create(&f->thread, NULL, run, f))
        test_die("no thread");
}

void feeder_stop(struct feeder *f) {
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    kafka_flush(f->s->kafka);
}
