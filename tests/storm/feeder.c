#include <math.h>
#include <stdio.h>
#include <time.h>

#include "consumer/schema_store.h"
#include "tests/storm/storm.h"

enum { STEP_MS = 300, TICK_MS = 10 };

static unsigned draw(struct feeder *f, unsigned below) {
    f->random = f->random * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(f->random >> 33) % below;
}

/* Under the id that the registry has it by. */
static void put_avro(struct feeder *f, const char *topic, int32_t partition, struct str key,
                     int kind, int encoded, struct buf *b) {
    if (encoded < 0)
        test_die("cannot encode");
    int id = atomic_load(&f->schema) + kind;
    b->p[1] = b->p[2] = 0;
    b->p[3] = (uint8_t)(id >> 8);
    b->p[4] = (uint8_t)id;
    kafka_put(f->s->kafka, topic, partition, key, (struct str){(const char *)b->p, b->n});
    buf_free(b);
}

static void put_event(struct feeder *f, int32_t partition, const char *id, const char *user,
                      const char *item, const char *type) {
    if (atomic_load(&f->schema)) {
        struct event e = {.id = str_of(id),
                          .user = str_of(user),
                          .item = str_of(item),
                          .time_ms = f->time_ms,
                          .value = 5,
                          .dwell_ms = NAN};
        struct buf b = {0};
        put_avro(f, f->s->clickstream, partition, e.user, SCHEMA_EVENT,
                 encode_event(f->encoder, &e, type, &b), &b);
        return;
    }
    char json[256], about[48] = "";
    if (*item)
        snprintf(about, sizeof about, ",\"item_id\":\"%s\"", item);
    int n = snprintf(json, sizeof json,
                     "{\"event_id\":\"%s\",\"user_id\":\"%s\",\"type\":\"%s\",\"time\":%lld,"
                     "\"value\":5%s}",
                     id, user, type, (long long)f->time_ms, about);
    kafka_put(f->s->kafka, f->s->clickstream, partition, str_of(user),
              (struct str){json, (size_t)n});
}

static void put_item(struct feeder *f, const char *id, const char *category, double price) {
    if (!atomic_load(&f->schema)) {
        service_item(f->s, id, category, price, true);
        return;
    }
    struct item_info i = {.id = str_of(id),
                          .category = {str_of(category)},
                          .n_category = 1,
                          .price = price,
                          .available = true};
    struct buf b = {0};
    put_avro(f, f->s->items, RD_KAFKA_PARTITION_UA, i.id, SCHEMA_ITEM,
             encode_item(f->encoder, &i, &b), &b);
}

static void put(struct feeder *f) {
    static const char *const types[] = {"view", "view", "view", "view", "add-to-cart", "purchase"};
    bool hot_user = (int)draw(f, 100) < f->shape.hot_user_percent;
    bool hot_item = (int)draw(f, 100) < f->shape.hot_item_percent;
    unsigned u = hot_user ? 0 : draw(f, STORM_USERS), i = hot_item ? 0 : draw(f, STORM_ITEMS);
    unsigned long n = atomic_fetch_add(&f->n, 1);
    bool survey = draw(f, 200) == 0;
    const char *type = survey ? "survey" : types[draw(f, 6)];
    char item[16] = "", user[16], id[24];
    if (!survey)
        snprintf(item, sizeof item, "i%u", i);
    snprintf(user, sizeof user, "u%u", u);
    snprintf(id, sizeof id, "e%lu", n);
    f->time_ms += STEP_MS;
    int32_t partition =
        f->shape.silent_partition ? (int32_t)(u % (STORM_PARTITIONS - 1)) : RD_KAFKA_PARTITION_UA;
    put_event(f, partition, id, user, item, type);
    if (draw(f, 50) == 0) /* comes twice */
        put_event(f, partition, id, user, item, type);
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
                         .schema = atomic_load(&f->schema),
                         .rate = 300};
    if (config_load(NULL, NULL, 0, &f->cfg) < 0 ||
        encoder_new(f->cfg, FORMAT_CONFLUENT, &f->encoder) < 0)
        test_die("no encoder");
    for (int i = 0; i < STORM_ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        put_item(f, id, i % 4 ? "things" : "shoes", 10 + i);
    }
    kafka_flush(s->kafka);
    if (pthread_create(&f->thread, NULL, run, f))
        test_die("no thread");
}

void feeder_stop(struct feeder *f) {
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    kafka_flush(f->s->kafka);
    encoder_free(f->encoder);
    config_free(f->cfg);
}
