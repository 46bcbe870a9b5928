/* A deployment of Beckon for one test: an app.name and topics of its own, a private Redis,
 * campaigns, options; run as child processes or inside the test. JSON in and out unless an
 * option says otherwise. */
#pragma once

#include <stdatomic.h>

#include "consumer/engine.h"
#include "tests/support/support.h"

struct service {
    struct kafka *kafka; /* borrowed */
    struct redis_server *redis;
    redisContext *eye; /* a connection to it; NULL while it is away */
    struct temp_dir dir;
    char *clock; /* file of service_clock; NULL: the processes see the real one */
    int partitions;
    char app[TOPIC_NAME];
    char clickstream[TOPIC_NAME], items[TOPIC_NAME], control[TOPIC_NAME];
    char triggers[TOPIC_NAME], decisions[TOPIC_NAME], outcomes[TOPIC_NAME], dead[TOPIC_NAME];
    char *option[64];
    size_t n_options;
    rd_kafka_t *probe; /* asks for the group's offsets */
    struct config *cfg;
    struct engine *engine;
    struct stream_hooks hooks; /* of the engine in this process */
    atomic_bool stop;
};

/* `campaigns`: the text of the file, NULL for none. Consent is granted, timers of idle
 * partitions are off, transactions short; on the mock cluster there are none, because it
 * keeps no offsets of theirs. Options set later win. */
void service_open(struct service *s, struct kafka *k, int partitions, const char *campaigns);
/* Another deployment that reads the same topics and writes its own. */
void service_open_twin(struct service *s, const struct service *of, const char *campaigns);
void service_close(struct service *s);
/* A new `probe`: one that saw all brokers go may never find a leader again. */
void service_probe(struct service *s);
void service_option(struct service *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* `beckon run` as a child; its log is service_log's. `extra`: one more option, or NULL. */
pid_t service_run(struct service *s, const char *instance, const char *extra);
/* Lets processes started from now on have a wall clock that is `ms` ahead of the real one, at once
 * and while they run; service_clock alone: 0. */
void service_clock(struct service *s);
void service_clock_shift(struct service *s, int64_t ms);
char *service_log(struct service *s, const char *instance); /* the caller's to free */
/* How often a text stands in that log. */
size_t service_said(struct service *s, const char *instance, const char *text);
/* Waits for it; fails the test with the log when it does not come. */
void service_await(struct service *s, const char *instance, const char *text, size_t times);

/* The engine in this process. */
void service_start(struct service *s);
enum stream_end service_stop(struct service *s);
void service_metrics(struct service *s, struct metrics *ret);

/* ---- in ---- */
struct click {
    const char *id, *user, *item, *type; /* item NULL: none */
    int64_t time_ms;
    double value; /* 0: none */
};
void service_click(struct service *s, struct click c);
void service_raw(struct service *s, int32_t partition, struct str key, struct str value);
/* `category`: one level. */
void service_item(struct service *s, const char *id, const char *category, double price,
                  bool available);
void service_consent(struct service *s, const char *user, const char *channel, bool granted);
int64_t service_now_ms(void); /* wall clock */

/* All that is in the clickstream is committed by the group; fails the test once nothing more was
 * committed for `timeout_ms`. */
void service_drain(struct service *s, int64_t timeout_ms);
bool service_drained(struct service *s);
enum { SERVICE_PARTITIONS_MAX = 64 };
/* Of how many partitions that is so, and of which. */
int service_at_end(struct service *s, bool ret[SERVICE_PARTITIONS_MAX]);

/* ---- out ---- */
struct sent { /* a trigger or a decision */
    char *id, *user, *campaign, *item, *reason;
    int64_t time_ms;
};
struct sents {
    struct sent *v;
    size_t n;
};
/* Committed records of a topic, sorted by id, user, campaign and reason. */
void service_sents(struct service *s, const char *topic, struct sents *ret);
void sents_free(struct sents *l);
/* Drops repeated ids (at-least-once, or a cluster that does not isolate). */
void sents_unique(struct sents *l);
void sents_only(struct sents *l, const char *campaign);
size_t sents_count(const struct sents *l, const char *user, const char *campaign);
size_t sents_repeated(const struct sents *l); /* records whose id the one before them has */
/* NULL if both hold the same, else a description of the first difference (static). */
const char *sents_differ(const struct sents *a, const struct sents *b);
/* How many records only one of them has. */
void sents_tally(const struct sents *a, const struct sents *b, size_t *ret_only_a,
                 size_t *ret_only_b);

/* ---- Redis ---- */
/* "item item …", best first, of a user's list; "" if there is none. The caller's to free. */
char *service_list(struct service *s, const char *user);
long long service_keys(struct service *s, const char *pattern);
/* A field of a hash as a number; -1: none. */
double service_field(struct service *s, const char *key, const char *field);
void service_redis_restart(struct service *s); /* empty */
