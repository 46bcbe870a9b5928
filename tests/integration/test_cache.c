#include "consumer/cache.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "consumer/log.h"
#include "consumer/redis.h"
#include "tests/support/support.h"

/* A private Redis, a cache on it, and an eye of its own on the data. */
struct fixture {
    struct redis_server *server;
    struct config *cfg;
    struct cache *cache;
    redisContext *eye;
};

/* `option`: NULL for none. */
static void set_up(struct fixture *f, const char *option) {
    log_set_level(LOG_ERROR);
    f->server = redis_server_start();
    char address[128];
    snprintf(address, sizeof address, "redis.address=%s", redis_server_socket(f->server));
    char *options[] = {address, "redis.timeout=500ms", "app.instance=a1", (char *)option};
    cr_assert_eq(config_load(NULL, options, option ? 4 : 3, &f->cfg), 0);
    cr_assert_eq(cache_new(f->cfg, &f->cache), 0);
    f->eye = redis_server_connect(f->server);
}

static void tear_down(struct fixture *f) {
    redisFree(f->eye);
    cache_free(f->cache);
    config_free(f->cfg);
    redis_server_free(f->server);
}

static redisReply *ask(struct fixture *f, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(f->eye, fmt, ap);
    va_end(ap);
    cr_assert_not_null(r, "%s: %s", fmt, f->eye->errstr);
    return r;
}

static long long ask_integer(struct fixture *f, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(f->eye, fmt, ap);
    va_end(ap);
    cr_assert(r && r->type == REDIS_REPLY_INTEGER, "%s: %s", fmt, r ? r->str : f->eye->errstr);
    long long v = r->integer;
    freeReplyObject(r);
    return v;
}

static void look_again(struct fixture *f) {
    redisFree(f->eye);
    f->eye = redis_server_connect(f->server);
}

/* "a:3000 b:2000" of a sorted set, best first; "name=value name=value" of a hash. */
static void expect_pairs(struct fixture *f, const char *command, struct str key, char between,
                         const char *expected) {
    const char *argv[] = {command, key.p, "0", "-1", "WITHSCORES"};
    size_t len[] = {strlen(command), key.n, 1, 2, 10};
    bool hash = between == '=';
    redisReply *r = redisCommandArgv(f->eye, hash ? 2 : 5, argv, len);
    cr_assert(r && r->type == REDIS_REPLY_ARRAY);
    struct buf b = {0};
    for (size_t i = 0; i + 1 < r->elements; i += 2) {
        if (i)
            buf_put(&b, " ", 1);
        buf_put(&b, r->element[i]->str, r->element[i]->len);
        buf_put(&b, &between, 1);
        buf_put(&b, r->element[i + 1]->str, r->element[i + 1]->len);
    }
    buf_put(&b, "", 1);
    cr_assert_str_eq((char *)b.p, expected);
    buf_free(&b);
    freeReplyObject(r);
}

static void expect_list(struct fixture *f, const char *key, const char *expected) {
    expect_pairs(f, "ZREVRANGE", str_of(key), ':', expected);
}

static bool stored(void *arg) {
    return cache_wait(arg) == 0;
}

static void put_one(struct fixture *f, const char *user, const char *item, float score) {
    struct cache_entry e = {str_of(item), score};
    cache_top(f->cache, str_of(user), &e, 1);
}

Test(cache, lists_are_replaced_whole_and_keep_their_order) {
    struct fixture f;
    set_up(&f, NULL);
    struct cache_entry first[] = {
        {STR("b"), 3}, {STR("a"), 1.5f}, {STR("z"), 1.5f}, {STR("c"), -2}};
    cache_top(f.cache, STR("u1"), first, 4);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_list(&f, "beckon:top:{u1}", "b:3000 a:1500 z:1499 c:-2000");
    struct cache_entry second[] = {{STR("d"), 0.0001f}, {STR("e"), 0.00005f}};
    cache_top(f.cache, STR("u1"), second, 2);
    cache_similar(f.cache, STR("i1"), first, 1);
    cache_trending(f.cache, first, 2);
    cr_assert(cache_pending(f.cache) > 0);
    cr_assert_eq(cache_send(f.cache), 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(cache_pending(f.cache), 0);
    expect_list(&f, "beckon:top:{u1}", "d:0 e:-1");
    expect_list(&f, "beckon:similar:{i1}", "b:3000");
    expect_list(&f, "beckon:trending", "b:3000 a:1500");
    cache_top(f.cache, STR("u1"), NULL, 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(ask_integer(&f, "EXISTS beckon:top:{u1}"), 0);
    tear_down(&f);
}

/* Ids as long and lists as long as they get, numbers that look like numbers, and repetitions: by
 * RESTORE where it goes, by a transaction where it does not or where the server refuses it. */
static void expect_written_and_read_back(struct fixture *f) {
    struct rng r;
    rng_seed(&r, 5);
    for (int round = 0; round < 200; round++) {
        static char id[TOP_MAX][200];
        struct cache_entry e[TOP_MAX];
        size_t n = 1 + rng_below(&r, round % 10 ? 20 : TOP_MAX);
        float score = 1e6f;
        for (size_t i = 0; i < n; i++) {
            size_t len = round % 3 ? 0 : rng_below(&r, round % 2 ? 64 : 190);
            int k = snprintf(id[i], sizeof id[i], round % 5 ? "%zu" : "-%zu",
                             i + 256 * (((size_t)1 << 5 * (i % 9)) - 1));
            k += i % 9 ? 0 : snprintf(id[i] + k, 8, "x%zu", i);
            memset(id[i] + k, 'a', len > (size_t)k ? len - (size_t)k : 0);
            e[i] = (struct cache_entry){{id[i], MAX(len, (size_t)k)}, score};
            score -= (float)rng_below(&r, 1u << rng_below(&r, 21)) / 1000;
        }
        cache_top(f->cache, STR("u"), e, n);
        cr_assert_eq(cache_wait(f->cache), 0, "%s", cache_error(f->cache));
        redisReply *list = ask(f, "ZREVRANGE beckon:top:{u} 0 -1 WITHSCORES");
        cr_assert_eq(list->elements, 2 * n, "round %d", round);
        for (size_t i = 0; i < n; i++) {
            struct str got = {list->element[2 * i]->str, list->element[2 * i]->len};
            cr_assert(str_eq(got, e[i].item), "round %d, entry %zu", round, i);
            cr_assert(fabs(atof(list->element[2 * i + 1]->str) - e[i].score * 1000) < 300);
            redisReply *rank = ask(f, "ZREVRANK beckon:top:{u} %b", got.p, got.n);
            cr_assert_eq(rank->integer, i);
            freeReplyObject(rank);
        }
        freeReplyObject(list);
        cr_assert(ask_integer(f, "PTTL beckon:top:{u}") > 0);
    }
    struct cache_stats s;
    cache_stats(f->cache, &s);
    cr_assert_eq(s.refused, 0);
}

Test(cache, lists_of_all_shapes_come_back_as_they_were) {
    struct fixture f;
    set_up(&f, NULL);
    freeReplyObject(ask(&f, "CONFIG SET sanitize-dump-payload yes"));
    expect_written_and_read_back(&f);
    tear_down(&f);
}

Test(cache, lists_of_all_shapes_come_back_from_a_server_that_takes_no_payloads) {
    struct fixture f;
    set_up(&f, NULL);
    freeReplyObject(ask(&f, "ACL SETUSER default -restore"));
    expect_written_and_read_back(&f);
    tear_down(&f);
}

Test(cache, an_item_that_is_there_twice_is_written_once) {
    struct fixture f;
    set_up(&f, NULL);
    cr_assert_eq(cache_wait(f.cache), 0);
    struct cache_entry e[] = {{STR("a"), 3}, {STR("b"), 2}, {STR("a"), 1}};
    cache_top(f.cache, STR("u1"), e, 3);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_list(&f, "beckon:top:{u1}", "b:2000 a:1000");
    tear_down(&f);
}

Test(cache, every_key_has_a_ttl) {
    struct fixture f;
    set_up(&f, "redis.ttl=1h");
    struct key_value kv[] = {{"sent", "3", 0}, {"held back", "", 0}};
    put_one(&f, "u1", "a", 1);
    cache_similar(f.cache, STR("i1"), &(struct cache_entry){STR("a"), 1}, 1);
    cache_trending(f.cache, &(struct cache_entry){STR("a"), 1}, 1);
    cache_hash(f.cache, "stats", (struct str){0}, kv, 2, 0);
    cache_hash(f.cache, "campaign", STR("c1"), kv, 2, 0);
    cache_trigger(f.cache, kv, 2);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_pairs(&f, "HGETALL", STR("beckon:campaign:{c1}"), '=', "sent=3 held back=");
    redisReply *keys = ask(&f, "KEYS *");
    cr_assert_eq(keys->elements, 7, "with the marker");
    for (size_t i = 0; i < keys->elements; i++) {
        redisReply *key = keys->element[i];
        long long ms = ask_integer(&f, "PTTL %b", key->str, key->len);
        cr_assert(ms > 3590000 && ms <= 3600000, "%s: %lld", key->str, ms);
    }
    freeReplyObject(keys);
    cr_assert_eq(ask_integer(&f, "EXISTS beckon:stats beckon:triggers beckon:trending"), 3);
    tear_down(&f);
}

Test(cache, ids_of_any_bytes_stay_apart_and_are_found_again) {
    struct fixture f;
    set_up(&f, NULL);
    char long_id[1024];
    memset(long_id, '}', sizeof long_id);
    const struct str ids[] = {STR("u"),
                              STR("{u}"),
                              STR("u}"),
                              STR("a b"),
                              STR("a\nb"),
                              STR("a\0b"),
                              STR("a%00b"),
                              STR("%7B"),
                              STR("\x7f"),
                              STR("\xc3\xa9"),
                              {long_id, sizeof long_id}};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct cache_entry e = {ids[i], (float)i};
        cache_top(f.cache, ids[i], &e, 1);
    }
    cr_assert_eq(cache_wait(f.cache), 0);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct buf key = {0}, expected = {0};
        cache_key(&key, "beckon:", "top", ids[i]);
        redisReply *r = ask(&f, "ZREVRANGE %b 0 -1 WITHSCORES", key.p, key.n);
        cr_assert_eq(r->elements, 2, "id %zu", i);
        cr_assert(str_eq((struct str){r->element[0]->str, r->element[0]->len}, ids[i]));
        cr_assert_eq(atoi(r->element[1]->str), (int)i * 1000);
        freeReplyObject(r);
        /* The hash tag is the whole escaped id. */
        const char *open = memchr(key.p, '{', key.n);
        const char *close = memchr(key.p, '}', key.n);
        cr_assert(open && close == (const char *)key.p + key.n - 1);
        id_unescape(&expected, (struct str){open + 1, (size_t)(close - open - 1)});
        cr_assert(str_eq((struct str){(char *)expected.p, expected.n}, ids[i]), "id %zu", i);
        buf_free(&key);
        buf_free(&expected);
    }
    cache_forget(f.cache, ids[1]);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(ask_integer(&f, "EXISTS beckon:top:{%%7Bu%%7D} beckon:top:{u}"), 1);
    tear_down(&f);
}

/* Some thousand users, each with a list of his own. */
enum { MANY = 3000 };

static void put_many(struct fixture *f) {
    for (int i = 0; i < MANY; i++) {
        char user[16], item[16];
        snprintf(user, sizeof user, "u%d", i);
        snprintf(item, sizeof item, "i%d", i * 7);
        put_one(f, user, item, (float)i);
    }
}

static void expect_many(struct fixture *f) {
    for (int i = 0; i < MANY; i++) {
        char expected[16];
        snprintf(expected, sizeof expected, "i%d", i * 7);
        redisReply *r = ask(f, "ZREVRANGE beckon:top:{u%d} 0 -1", i);
        cr_assert(r->elements == 1 && strcmp(r->element[0]->str, expected) == 0, "u%d", i);
        freeReplyObject(r);
    }
}

Test(cache, a_redis_that_dies_in_the_middle_gets_everything_again) {
    struct fixture f;
    set_up(&f, NULL);
    put_one(&f, "early", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    redis_server_hang(f.server); /* takes bytes, answers nothing */
    put_many(&f);
    struct key_value kv[] = {{"n", "1", 0}};
    cache_trigger(f.cache, kv, 1);
    cache_send(f.cache);
    redis_server_kill(f.server);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    cr_assert(cache_pending(f.cache) > 0);
    cr_assert(cache_error(f.cache)[0]);
    put_one(&f, "u0", "i0", 5); /* while it is away */
    redis_server_restart(f.server);
    look_again(&f);
    cr_assert(wait_until(stored, f.cache, 10000));
    cr_assert(cache_wiped(f.cache), "the new one is empty");
    cr_assert_not(cache_wiped(f.cache));
    expect_many(&f);
    cr_assert_eq(ask_integer(&f, "EXISTS beckon:top:{early}"), 0, "was acknowledged: the caller's");
    struct cache_stats s;
    cache_stats(f.cache, &s);
    cr_assert(s.resent >= 1);
    cr_assert_eq(s.triggers_lost + (uint64_t)ask_integer(&f, "XLEN beckon:triggers"), 1);
    tear_down(&f);
}

Test(cache, what_is_collected_before_redis_is_there_arrives_once) {
    struct fixture f;
    set_up(&f, NULL);
    redis_server_kill(f.server);
    struct key_value kv[] = {{"n", "1", 0}};
    put_one(&f, "u1", "a", 1);
    cache_trigger(f.cache, kv, 1);
    cr_assert_eq(cache_send(f.cache), -EAGAIN);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    redis_server_restart(f.server);
    look_again(&f);
    cr_assert(wait_until(stored, f.cache, 10000));
    expect_list(&f, "beckon:top:{u1}", "a:1000");
    cr_assert_eq(ask_integer(&f, "XLEN beckon:triggers"), 1);
    cr_assert_not(cache_wiped(f.cache), "it never held anything");
    tear_down(&f);
}

static bool noticed(void *arg) {
    return cache_wiped(arg);
}

Test(cache, a_flush_is_noticed_once) {
    struct fixture f;
    set_up(&f, NULL);
    put_one(&f, "u1", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_not(cache_wiped(f.cache));
    freeReplyObject(ask(&f, "FLUSHALL"));
    cr_assert(wait_until(noticed, f.cache, 5000));
    put_one(&f, "u1", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_not(cache_wiped(f.cache));
    tear_down(&f);
}

Test(cache, an_old_copy_counts_as_lost_data) {
    struct fixture f;
    set_up(&f, NULL);
    put_one(&f, "u1", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    redisReply *keys = ask(&f, "KEYS beckon:marker:{a1}:*");
    cr_assert_eq(keys->elements, 1);
    redisReply *old = ask(&f, "GET %s", keys->element[0]->str);
    put_one(&f, "u2", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    freeReplyObject(ask(&f, "SET %s %s", keys->element[0]->str, old->str));
    put_one(&f, "u3", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert(cache_wiped(f.cache));
    cr_assert_not(cache_wiped(f.cache));
    freeReplyObject(old);
    freeReplyObject(keys);
    tear_down(&f);
}

Test(cache, a_full_redis_is_waited_for) {
    struct fixture f;
    set_up(&f, NULL);
    put_one(&f, "u1", "old", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    freeReplyObject(ask(&f, "CONFIG SET maxmemory 1"));
    put_one(&f, "u1", "new", 1);
    struct key_value kv[] = {{"n", "1", 0}};
    cache_trigger(f.cache, kv, 1);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    cr_assert(strncmp(cache_error(f.cache), "OOM ", 4) == 0, "%s", cache_error(f.cache));
    expect_list(&f, "beckon:top:{u1}", "old:1000");
    freeReplyObject(ask(&f, "CONFIG SET maxmemory 0"));
    cr_assert(wait_until(stored, f.cache, 10000));
    expect_list(&f, "beckon:top:{u1}", "new:1000");
    cr_assert_eq(ask_integer(&f, "XLEN beckon:triggers"), 1,
                 "was refused before: not a repetition");
    struct cache_stats s;
    cache_stats(f.cache, &s);
    cr_assert_eq(s.refused, 0);
    tear_down(&f);
}

Test(cache, a_hanging_redis_holds_nobody_longer_than_the_timeout) {
    struct fixture f;
    set_up(&f, NULL);
    put_one(&f, "u0", "a", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    redis_server_hang(f.server);
    for (int round = 0; round < 2; round++) { /* more than a socket takes, too */
        put_many(&f);
        int64_t start = test_clock_ms();
        cache_send(f.cache);
        cr_assert(test_clock_ms() - start < 900);
        start = test_clock_ms();
        cr_assert_eq(cache_wait(f.cache), -EAGAIN);
        cr_assert(test_clock_ms() - start < 900);
    }
    redis_server_wake(f.server);
    cr_assert(wait_until(stored, f.cache, 10000));
    expect_many(&f);
    tear_down(&f);
}

Test(cache, a_read_only_replica_is_waited_for) {
    struct fixture f;
    set_up(&f, NULL);
    cr_assert_eq(cache_wait(f.cache), 0);
    freeReplyObject(ask(&f, "REPLICAOF 127.0.0.1 1")); /* nobody there: the role is enough */
    put_one(&f, "u1", "a", 1);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    cr_assert(strncmp(cache_error(f.cache), "READONLY", 8) == 0, "%s", cache_error(f.cache));
    freeReplyObject(ask(&f, "REPLICAOF NO ONE"));
    cr_assert(wait_until(stored, f.cache, 10000));
    expect_list(&f, "beckon:top:{u1}", "a:1000");
    tear_down(&f);
}

Test(cache, keys_of_others_give_way) {
    struct fixture f;
    set_up(&f, NULL);
    freeReplyObject(ask(&f, "SET beckon:top:{u1} mine"));
    freeReplyObject(ask(&f, "SET beckon:triggers mine"));
    put_one(&f, "u1", "a", 1);
    struct key_value kv[] = {{"n", "1", 0}};
    cache_trigger(f.cache, kv, 1);
    cache_trigger(f.cache, kv, 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_list(&f, "beckon:top:{u1}", "a:1000");
    cr_assert_geq(ask_integer(&f, "XLEN beckon:triggers"), 1);
    struct cache_stats s;
    cache_stats(f.cache, &s);
    cr_assert_eq(s.refused, 0);
    tear_down(&f);
}

Test(cache, what_redis_refuses_for_good_is_counted_and_passed_over) {
    struct fixture f;
    set_up(&f, NULL);
    freeReplyObject(ask(&f, "ACL SETUSER default -zadd -restore"));
    log_set_level(LOG_ERROR);
    struct key_value kv[] = {{"sent", "3", 0}};
    put_one(&f, "u1", "a", 1);
    cache_hash(f.cache, "stats", (struct str){0}, kv, 1, 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    expect_pairs(&f, "HGETALL", STR("beckon:stats"), '=', "sent=3");
    struct cache_stats s;
    cache_stats(f.cache, &s);
    cr_assert_eq(s.refused, 1);
    cr_assert(strncmp(cache_error(f.cache), "NOPERM", 6) == 0);
    tear_down(&f);
}

Test(cache, password_user_and_database_are_used) {
    struct fixture f;
    set_up(&f, NULL);
    cache_free(f.cache);
    config_free(f.cfg);
    struct temp_dir dir;
    temp_dir_make(&dir);
    autofree(free) char *file = temp_dir_file(&dir, "password");
    write_file(file, "s3 cret\n", 8);
    char address[128], password[128];
    snprintf(address, sizeof address, "redis.address=%s", redis_server_socket(f.server));
    snprintf(password, sizeof password, "redis.password_file=%s", file);
    char *options[] = {address, password, "redis.user=clerk", "redis.db=3", "redis.timeout=500ms"};
    cr_assert_eq(config_load(NULL, options, 5, &f.cfg), 0);
    cr_assert_eq(cache_new(f.cfg, &f.cache), 0);
    put_one(&f, "u1", "a", 1);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN, "nobody of that name");
    cr_assert(strstr(cache_error(f.cache), "WRONGPASS"), "%s", cache_error(f.cache));
    cr_assert_null(strstr(cache_error(f.cache), "s3"));
    const char *acl[] = {"ACL", "SETUSER", "clerk", "on", ">s3 cret", "~*", "+@all"};
    freeReplyObject(redisCommandArgv(f.eye, 7, acl, NULL));
    cr_assert(wait_until(stored, f.cache, 10000));
    freeReplyObject(ask(&f, "SELECT 3"));
    expect_list(&f, "beckon:top:{u1}", "a:1000");
    temp_dir_remove(&dir);
    tear_down(&f);
}

Test(cache, the_stream_of_triggers_is_capped) {
    struct fixture f;
    set_up(&f, "redis.triggers_max=100");
    for (int i = 0; i < 1000; i++) {
        char n[16];
        snprintf(n, sizeof n, "%d", i);
        struct key_value kv[] = {{"n", n, 0}};
        cache_trigger(f.cache, kv, 1);
    }
    cr_assert_eq(cache_wait(f.cache), 0);
    long long n = ask_integer(&f, "XLEN beckon:triggers");
    cr_assert(n >= 100 && n <= 300, "%lld", n);
    redisReply *r = ask(&f, "XREVRANGE beckon:triggers + - COUNT 1");
    cr_assert_str_eq(r->element[0]->element[1]->element[1]->str, "999");
    freeReplyObject(r);
    tear_down(&f);
}

Test(cache, a_prefix_with_braces_is_refused) {
    log_set_level(LOG_ERROR);
    struct config *cfg;
    char *options[] = {"redis.prefix=shop{1}:"};
    cr_assert_eq(config_load(NULL, options, 1, &cfg), 0);
    struct cache *c = NULL;
    cr_assert_eq(cache_new(cfg, &c), -EINVAL);
    cr_assert_null(c);
    config_free(cfg);
}

/* Two caches, as of two processes. The word comes after all that may be outdated; it is news to the
 * other one, once. */
Test(cache, who_wrote_too_late_makes_the_others_write_again) {
    struct fixture f;
    set_up(&f, NULL);
    autofree(cache_free) struct cache *other = NULL;
    cr_assert_eq(cache_new(f.cfg, &other), 0);
    cr_assert_eq(cache_wait(other), 0);
    put_one(&f, "u1", "old", 1);
    cache_outdated(f.cache);
    cr_assert_eq(cache_wait(other), 0);
    cr_assert_not(cache_wiped(other), "nothing was written yet");
    cr_assert(cache_pending(f.cache) > 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(cache_pending(f.cache), 0);
    expect_list(&f, "beckon:top:{u1}", "old:1000");
    cr_assert_gt(ask_integer(&f, "PTTL beckon:rewrite"), 0);
    cr_assert(wait_until(noticed, other, 5000));
    cr_assert(wait_until(noticed, f.cache, 5000), "it writes again what it has now, too");
    struct cache_entry e = {STR("new"), 1};
    cache_top(other, STR("u1"), &e, 1);
    cr_assert_eq(cache_wait(other), 0);
    cr_assert_not(cache_wiped(other), "told once");
    /* By hand; and when it expires, nobody minds. */
    freeReplyObject(ask(&f, "SET beckon:rewrite please"));
    cr_assert(wait_until(noticed, f.cache, 5000));
    cr_assert(wait_until(noticed, other, 5000));
    freeReplyObject(ask(&f, "DEL beckon:rewrite"));
    put_one(&f, "u1", "new", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_not(cache_wiped(f.cache));
    tear_down(&f);
}

/* With nothing collected, and with Redis away: the word is kept until it can be said. */
Test(cache, the_word_is_kept_while_redis_is_away) {
    struct fixture f;
    set_up(&f, NULL);
    cr_assert_eq(cache_wait(f.cache), 0);
    redis_server_kill(f.server);
    cr_assert_not(cache_overwrites(f.cache));
    cache_outdated(f.cache);
    cache_outdated(f.cache); /* one is enough */
    cr_assert(cache_pending(f.cache) > 0);
    cr_assert_not(cache_overwrites(f.cache));
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    redis_server_restart(f.server);
    look_again(&f);
    cr_assert(wait_until(stored, f.cache, 10000));
    cr_assert_eq(ask_integer(&f, "EXISTS beckon:rewrite"), 1);
    tear_down(&f);
}

/* What it is to write may have been collected before another one said so. */
Test(cache, who_finds_a_word_with_lists_in_hand_writes_again) {
    struct fixture f;
    set_up(&f, NULL);
    freeReplyObject(ask(&f, "SET beckon:rewrite please"));
    autofree(cache_free) struct cache *fresh = NULL;
    cr_assert_eq(cache_new(f.cfg, &fresh), 0);
    cr_assert_eq(cache_wait(fresh), 0);
    cr_assert_not(cache_wiped(fresh), "it has written nothing");
    put_one(&f, "u1", "old", 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert(cache_wiped(f.cache));
    tear_down(&f);
}
