/* A cache on a Redis Cluster, behind Sentinels, and on a list of addresses: what is written is
 * there afterwards, the newest, wherever its slot went meanwhile. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/cache.h"
#include "consumer/log.h"
#include "consumer/redis.h"
#include "tests/support/cluster.h"

enum { USERS = 400, EVERY = 200 /* slots */ };

struct fixture {
    struct nodes nodes;
    struct config *cfg;
    struct cache *cache;
    int round; /* of put_all */
};

static void open_cache(struct fixture *f, const char *address, const char *option) {
    log_set_level(LOG_ERROR);
    char where[128];
    snprintf(where, sizeof where, "redis.address=%s", address);
    char *options[] = {where, "redis.timeout=1s", "app.instance=a1", (char *)option};
    cr_assert_eq(config_load(NULL, options, option ? 4 : 3, &f->cfg), 0);
    cr_assert_eq(cache_new(f->cfg, &f->cache), 0);
}

static void open_cluster(struct fixture *f, size_t masters, size_t replicas) {
    *f = (struct fixture){0};
    cluster_start(&f->nodes, masters, replicas);
    char address[32];
    nodes_address(&f->nodes, 0, address);
    open_cache(f, address, "redis.cluster=true");
}

static void tear_down(struct fixture *f) {
    cache_free(f->cache);
    config_free(f->cfg);
    nodes_free(&f->nodes);
}

static bool stored(void *arg) {
    return cache_wait(arg) == 0;
}

static void put_one(struct fixture *f, int user, const char *item) {
    char id[16];
    snprintf(id, sizeof id, "u%d", user);
    struct cache_entry e = {str_of(item), 1};
    cache_top(f->cache, str_of(id), &e, 1);
}

/* Everybody's list twice; the second one is to last. */
static void put_all(struct fixture *f) {
    char item[16];
    f->round++;
    for (int i = 0; i < USERS; i++) {
        put_one(f, i, "passing");
        snprintf(item, sizeof item, "i%d-%d", i, f->round);
        put_one(f, i, item);
    }
}

static void expect_all(struct fixture *f) {
    for (int i = 0; i < USERS; i++) {
        char key[32], item[16];
        snprintf(key, sizeof key, "beckon:top:{u%d}", i);
        snprintf(item, sizeof item, "i%d-%d", i, f->round);
        autofree(free) char *list = cluster_list(&f->nodes, key);
        cr_assert_str_eq(list, item, "%s", key);
    }
}

static void expect_nothing_refused(struct fixture *f) {
    struct cache_stats s;
    cache_stats(f->cache, &s);
    cr_assert_eq(s.refused, 0);
    cr_assert_eq(s.triggers_lost, 0);
}

static long long stream_length(struct fixture *f) {
    long long n = -1;
    for (size_t i = 0; i < f->nodes.n; i++) {
        redisReply *r = f->nodes.pid[i] ? nodes_ask(&f->nodes, i, "XLEN beckon:triggers") : NULL;
        if (r && r->type == REDIS_REPLY_INTEGER)
            n = r->integer;
        freeReplyObject(r);
    }
    return n;
}

Test(cluster, keys_go_to_the_nodes_of_their_slots, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    put_all(&f);
    /* Braces in ids are no hash tags of their own. */
    struct cache_entry e = {STR("x"), 1};
    cache_top(f.cache, STR("{u1}{u2}"), &e, 1);
    cache_top(f.cache, STR("}{"), &e, 1);
    cache_forget(f.cache, STR("nobody"));
    cr_assert_eq(cache_wait(f.cache), 0, "%s", cache_error(f.cache));
    expect_all(&f);
    for (size_t i = 0; i < 3; i++) {
        redisReply *r = nodes_ask(&f.nodes, i, "DBSIZE");
        cr_assert_gt(r->integer, USERS / 5, "node %zu has %lld keys", i, r->integer);
        freeReplyObject(r);
    }
    expect_nothing_refused(&f);
    tear_down(&f);
}

struct moving {
    struct nodes *nodes;
    atomic_bool done;
};

static void *move_slots(void *arg) {
    struct moving *m = arg;
    cluster_move(m->nodes, 0, 1, 0, 149);
    cluster_move(m->nodes, 1, 2, 100, 149);
    m->done = true;
    return NULL;
}

Test(cluster, resharding_under_load_loses_and_reorders_nothing, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    struct key_value kv[] = {{"n", "1", 0}};
    long long triggers = 0;
    struct moving m = {.nodes = &f.nodes};
    pthread_t t;
    cr_assert_eq(pthread_create(&t, NULL, move_slots, &m), 0);
    bool last;
    do {
        last = m.done; /* once more afterwards */
        put_all(&f);
        cache_trigger(f.cache, kv, 1);
        triggers++;
        cr_assert(wait_until(stored, f.cache, 10000), "%s", cache_error(f.cache));
    } while (!last);
    pthread_join(t, NULL);
    expect_all(&f);
    expect_nothing_refused(&f);
    cr_assert_eq(stream_length(&f), triggers);
    cr_assert_not(cache_wiped(f.cache), "moved is not lost");
    tear_down(&f);
}

/* Its keys are asked for at the other node while the slot is half moved. */
Test(cluster, a_slot_in_between_is_written_on_both_sides, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    char id[2][64];
    for (size_t i = 0; i < 2; i++) {
        redisReply *r = nodes_ask(&f.nodes, i, "CLUSTER MYID");
        snprintf(id[i], sizeof id[i], "%s", r->str);
        freeReplyObject(r);
    }
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0);
    for (int slot = 0; slot < 5461; slot += EVERY) {
        freeReplyObject(nodes_ask(&f.nodes, 1, "CLUSTER SETSLOT %d IMPORTING %s", slot, id[0]));
        freeReplyObject(nodes_ask(&f.nodes, 0, "CLUSTER SETSLOT %d MIGRATING %s", slot, id[1]));
    }
    char user[16];
    struct key_value kv[] = {{"a", "1", 0}};
    for (int i = 0; i < USERS; i++) { /* keys that are not there yet: transactions, too */
        snprintf(user, sizeof user, "u%d", i);
        cache_hash(f.cache, "user", str_of(user), kv, 1, 0);
        cache_similar(f.cache, str_of(user), &(struct cache_entry){STR("x"), 1}, 1);
        cache_similar(f.cache, str_of(user), &(struct cache_entry){STR("y"), 1}, 1);
    }
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0, "%s", cache_error(f.cache));
    expect_nothing_refused(&f);
    for (int slot = 0; slot < 5461; slot += EVERY) /* as it is when it has moved */
        cluster_move(&f.nodes, 0, 1, slot, slot);
    expect_all(&f);
    for (int i = 0; i < USERS; i++) {
        char key[32];
        snprintf(key, sizeof key, "beckon:similar:{u%d}", i);
        autofree(free) char *list = cluster_list(&f.nodes, key);
        cr_assert_str_eq(list, "y", "%s", key);
    }
    tear_down(&f);
}

Test(cluster, a_replica_takes_over_and_gets_everything, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 1);
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0);
    nodes_kill(&f.nodes, 0);
    put_all(&f);
    cr_assert(wait_until(stored, f.cache, 30000), "%s", cache_error(f.cache));
    redisReply *r = nodes_ask(&f.nodes, 3, "INFO replication");
    cr_assert_not_null(strstr(r->str, "role:master"));
    freeReplyObject(r);
    expect_all(&f);
    expect_nothing_refused(&f);
    tear_down(&f);
}

static bool noticed(void *arg) {
    return cache_wiped(arg);
}

Test(cluster, one_node_that_lost_its_data_is_noticed, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_not(cache_wiped(f.cache));
    freeReplyObject(nodes_ask(&f.nodes, 1, "FLUSHALL"));
    cr_assert(wait_until(noticed, f.cache, 5000));
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_not(cache_wiped(f.cache), "told once");
    expect_all(&f);
    tear_down(&f);
}

Test(cluster, a_process_that_wrote_too_late_is_heard_by_the_others, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    autofree(cache_free) struct cache *other = NULL;
    cr_assert_eq(cache_new(f.cfg, &other), 0);
    cr_assert_eq(cache_wait(other), 0);
    put_all(&f);
    cache_outdated(f.cache);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_all(&f);
    cr_assert(wait_until(noticed, other, 5000));
    expect_nothing_refused(&f);
    tear_down(&f);
}

Test(cluster, a_command_is_answered_by_whoever_knows, .timeout = 300) {
    struct fixture f;
    open_cluster(&f, 3, 0);
    put_all(&f);
    cr_assert_eq(cache_wait(f.cache), 0);
    autofree(redis_free) struct redis *r = NULL;
    cr_assert_eq(redis_new(f.cfg, &r), 0);
    for (int i = 0; i < 50; i++) {
        char key[32], item[16];
        snprintf(key, sizeof key, "beckon:top:{u%d}", i);
        snprintf(item, sizeof item, "i%d-1", i);
        int64_t deadline = test_clock_ms() * 1000 + 5000000;
        cr_assert_eq(redis_ready(r, deadline), 0);
        struct str args[] = {STR("ZREVRANGE"), str_of(key), STR("0"), STR("-1")};
        redisReply *reply = redis_call(r, deadline, ARRAY_LEN(args), args);
        cr_assert(reply && reply->type == REDIS_REPLY_ARRAY && reply->elements == 1);
        cr_assert_str_eq(reply->element[0]->str, item);
        freeReplyObject(reply);
    }
    tear_down(&f);
}

/* ---- a node that is none ---- */

struct impostor {
    int fd;
    const char *says;
    pthread_t thread;
};

static void *answer_all(void *arg) {
    const struct impostor *im = arg;
    char heard[4096];
    for (int fd; (fd = accept(im->fd, NULL, NULL)) >= 0; close(fd))
        if (read(fd, heard, sizeof heard) > 0 &&
            send(fd, im->says, strlen(im->says), MSG_NOSIGNAL) > 0)
            while (read(fd, heard, sizeof heard) > 0)
                ;
    return NULL;
}

static void impostor_start(struct impostor *im, char address[32]) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;
    im->fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert(bind(im->fd, (struct sockaddr *)&at, n) == 0 && listen(im->fd, 8) == 0 &&
              getsockname(im->fd, (struct sockaddr *)&at, &n) == 0);
    snprintf(address, 32, "127.0.0.1:%d", ntohs(at.sin_port));
    cr_assert_eq(pthread_create(&im->thread, NULL, answer_all, im), 0);
}

static void impostor_stop(struct impostor *im) {
    shutdown(im->fd, SHUT_RDWR);
    pthread_join(im->thread, NULL);
    close(im->fd);
}

Test(cluster, a_map_of_two_thousand_million_ranges_is_not_waited_for, .timeout = 300) {
    struct impostor im = {.says = "*2000000000\r\n"};
    struct fixture f = {0};
    char address[32];
    impostor_start(&im, address);
    open_cache(&f, address, "redis.cluster=true");
    put_one(&f, 1, "a");
    cr_assert_lt(cache_wait(f.cache), 0);
    cr_assert_str_eq(cache_error(f.cache), "it answers with more than Redis ever does");
    cache_free(f.cache);
    config_free(f.cfg);
    impostor_stop(&im);
}

/* ---- a single master ---- */

static void open_pair(struct fixture *f) {
    *f = (struct fixture){0};
    nodes_add(&f->nodes, false, NULL);
    char port[16];
    snprintf(port, sizeof port, "%d", f->nodes.port[0]);
    const char *const more[] = {"--replicaof", "127.0.0.1", port, NULL};
    nodes_add(&f->nodes, false, more);
    nodes_until(&f->nodes, 1, "INFO replication", "master_link_status:up");
}

Test(addresses, the_one_of_several_that_takes_writes_is_found, .timeout = 300) {
    struct fixture f;
    open_pair(&f);
    char address[96];
    snprintf(address, sizeof address, "127.0.0.1:%d, 127.0.0.1:%d", f.nodes.port[1],
             f.nodes.port[0]);
    open_cache(&f, address, NULL);
    put_all(&f);
    cr_assert(wait_until(stored, f.cache, 10000), "%s", cache_error(f.cache));
    nodes_kill(&f.nodes, 0);
    freeReplyObject(nodes_ask(&f.nodes, 1, "REPLICAOF NO ONE"));
    put_all(&f);
    cr_assert(wait_until(stored, f.cache, 10000), "%s", cache_error(f.cache));
    expect_all(&f);
    expect_nothing_refused(&f);
    tear_down(&f);
}

Test(addresses, sentinels_tell_where_the_master_went, .timeout = 300) {
    struct fixture f;
    open_pair(&f);
    size_t s = nodes_add_sentinel(&f.nodes, 0);
    nodes_until(&f.nodes, s, "INFO sentinel", "slaves=1");
    char address[96];
    snprintf(address, sizeof address, "127.0.0.1:1,127.0.0.1:%d", f.nodes.port[s]);
    open_cache(&f, address, "redis.sentinel_master=shop");
    put_all(&f);
    cr_assert(wait_until(stored, f.cache, 10000), "%s", cache_error(f.cache));
    nodes_kill(&f.nodes, 0);
    put_all(&f);
    cr_assert(wait_until(stored, f.cache, 30000), "%s", cache_error(f.cache));
    nodes_kill(&f.nodes, s); /* knows no lists */
    expect_all(&f);
    expect_nothing_refused(&f);
    tear_down(&f);
}
