#include "tests/support/support.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <unistd.h>

Test(support, redis_answers_and_forgets_on_restart) {
    autofree(redis_server_free) struct redis_server *s = redis_server_start();
    redisContext *c = redis_server_connect(s);
    freeReplyObject(redisCommand(c, "SET a 1"));
    redisFree(c);
    redis_server_restart(s);
    c = redis_server_connect(s);
    redisReply *r = redisCommand(c, "GET a");
    cr_assert(eq(int, r->type, REDIS_REPLY_NIL));
    freeReplyObject(r);
    redisFree(c);
}

Test(support, kafka_gives_back_what_was_put) {
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    char topic[TOPIC_NAME];
    kafka_topic(k, "support", 2, false, topic);
    kafka_put(k, topic, 1, STR("key"), STR("second partition"));
    kafka_put(k, topic, 0, STR("key"), STR("first"));
    kafka_put(k, topic, 0, STR("key"), (struct str){0});
    kafka_flush(k);
    struct records r;
    kafka_read(k, topic, true, &r);
    cr_assert(eq(sz, r.n, 3));
    cr_assert(eq(str, (char *)r.v[0].value.p, "first"));
    cr_assert(r.v[1].value.p == NULL);
    cr_assert(eq(str, (char *)r.v[1].key.p, "key"));
    cr_assert(eq(i32, r.v[2].partition, 1));
    records_free(&r);
}

Test(support, processes_report_how_they_ended) {
    char *fails[] = {"false", NULL};
    char *waits[] = {"sleep", "60", NULL};
    cr_assert(eq(int, process_end(process_start(fails, NULL), 0, 5000), 1));
    pid_t pid = process_start(waits, NULL);
    cr_assert(process_running(pid));
    cr_assert(eq(int, process_end(pid, SIGTERM, 5000), 128 + SIGTERM));
}

Test(support, temporary_folders_vanish_with_their_contents) {
    struct temp_dir d;
    temp_dir_make(&d);
    autofree(free) char *file = temp_dir_file(&d, "x");
    write_file(file, "abc", 3);
    autofree(free) char *text = read_file(file, NULL);
    cr_assert(eq(str, text, "abc"));
    temp_dir_remove(&d);
    cr_assert(access(file, F_OK) != 0);
}
