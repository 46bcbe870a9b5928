/* What integration tests share: temporary folders, waiting for a condition, child
 * processes, a private Redis, a Kafka. Everything started here dies with the test,
 * even if the test crashes. Helpers that cannot fail in a sound environment return
 * nothing and fail the test with a message instead. */
#pragma once

#include <hiredis/hiredis.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <sys/types.h>

#include "model/base.h"

/* Says what went wrong and ends the test (exit status 1). */
_Noreturn void test_die(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* ---- Waiting ---- */

/* Asks `done(arg)` at once and then ever more slowly (1 to 20 ms apart). True as soon
 * as it is, false when `timeout_ms` have passed. The way to wait in tests: for what
 * has to happen, never for a length of time. */
bool wait_until(bool (*done)(void *arg), void *arg, int64_t timeout_ms);
int64_t test_clock_ms(void); /* monotonic */

/* ---- Temporary folders ---- */

struct temp_dir {
    char path[64]; /* short enough for a Unix socket inside it */
};
void temp_dir_make(struct temp_dir *ret);
void temp_dir_remove(struct temp_dir *d); /* with all that is in it */
/* "DIR/name" in memory of the caller's to free. */
char *temp_dir_file(const struct temp_dir *d, const char *name);
void write_file(const char *path, const void *p, size_t n);
char *read_file(const char *path, size_t *ret_n); /* NUL-terminated; ret_n may be NULL */

/* ---- Child processes ---- */

/* Starts argv[0] (looked up in PATH); standard output and error go to `log_path`, or
 * stay where they are if it is NULL. The child is killed when this process dies. */
pid_t process_start(char *const argv[], const char *log_path);
bool process_running(pid_t pid);
/* Sends `sig` (0: none) and waits. Returns the exit status, 128 + signal if one ended
 * it, or -ETIMEDOUT after having killed it. */
int process_end(pid_t pid, int sig, int64_t timeout_ms);
/* The built `beckon`: BECKON_BUILD_ROOT/consumer/beckon. */
const char *beckon_path(void);

/* ---- Redis ---- */

struct redis_server;
struct redis_server *redis_server_start(void); /* on a Unix socket; answers when this returns */
void redis_server_free(struct redis_server *s);
DEFINE_CLEANUP(struct redis_server, redis_server_free)
const char *redis_server_socket(const struct redis_server *s);
/* A connection of the caller's (redisFree). */
redisContext *redis_server_connect(const struct redis_server *s);
void redis_server_kill(struct redis_server *s);    /* at once; its data are gone */
void redis_server_restart(struct redis_server *s); /* empty, on the same socket */
void redis_server_hang(struct redis_server *s);    /* stops answering, keeps connections */
void redis_server_wake(struct redis_server *s);

/* ---- Kafka ---- */

/* The real broker of this run (BECKON_TEST_BROKERS), or NULL. */
const char *test_brokers(void);

struct kafka;
/* A connection to the real broker if there is one, else a mock cluster of `mock_brokers`
 * inside this process. */
struct kafka *kafka_start(int mock_brokers);
/* Always a mock cluster: for tests that inject faults. */
struct kafka *kafka_start_mock(int mock_brokers);
void kafka_free(struct kafka *k);
DEFINE_CLEANUP(struct kafka, kafka_free)
const char *kafka_brokers(const struct kafka *k);           /* bootstrap.servers */
rd_kafka_mock_cluster_t *kafka_mock(const struct kafka *k); /* NULL: a real broker */

/* Creates a topic named after `what`, unlike any other's. Copies its name to `out`. */
enum { TOPIC_NAME = 96 };
void kafka_topic(struct kafka *k, const char *what, int partitions, bool compacted,
                 char out[TOPIC_NAME]);
void kafka_topic_named(struct kafka *k, const char *name, int partitions, bool compacted);
/* The topic of a real broker takes no records longer than that from now on. */
void kafka_limit(struct kafka *k, const char *topic, const char *bytes);
/* A name unlike any other's, for groups, transactions and topics made elsewhere. */
void unique_name(const char *what, char out[TOPIC_NAME]);

/* Produces one record and waits for its acknowledgement with kafka_flush. Partition
 * RD_KAFKA_PARTITION_UA: by key. `value.p` NULL: a tombstone. */
void kafka_put(struct kafka *k, const char *topic, int32_t partition, struct str key,
               struct str value);
/* With headers, which move in. */
void kafka_put_with(struct kafka *k, const char *topic, int32_t partition, struct str key,
                    struct str value, rd_kafka_headers_t *headers);
void kafka_flush(struct kafka *k);

/* Every record of a topic that a reader of committed (or all) records sees up to its
 * present end, by partition and offset. Note that the mock cluster does not isolate. */
struct record {
    int32_t partition;
    int64_t offset;
    struct str key, value; /* owned by the list; value.p NULL: tombstone */
    struct str headers;    /* "name=value\n" of each */
};
struct records {
    struct record *v;
    size_t n;
};
/* All that is in the topic; with `committed`, it waits until that is decided. */
void kafka_read(struct kafka *k, const char *topic, bool committed, struct records *ret);
/* What is committed in front of the first undecided record of each partition. Never waits. */
void kafka_glance(struct kafka *k, const char *topic, struct records *ret);
void records_free(struct records *r);
