/* Redis behind TLS: what is written arrives, and nobody is talked to who is not who he should be.
 */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/cache.h"
#include "consumer/log.h"
#include "consumer/redis.h"
#include "consumer/tls.h"
#include "tests/support/cluster.h"

enum { USERS = 20000 };

struct fixture {
    struct nodes nodes;
    struct config *cfg;
    struct cache *cache;
    const char *timeout; /* redis.timeout; NULL: long */
};

/* `ca`, `who`: files in the nodes' folder, without ending; `who` NULL: no certificate. */
static void open_cache(struct fixture *f, int port, const char *ca, const char *who,
                       const char *name, bool cluster) {
    log_set_level(LOG_ERROR);
    char option[7][160];
    size_t n = 0;
    snprintf(option[n++], sizeof option[0], "redis.address=127.0.0.1:%d", port);
    snprintf(option[n++], sizeof option[0], "redis.tls_ca=%s/%s.pem", f->nodes.dir.path, ca);
    snprintf(option[n++], sizeof option[0], "redis.tls_name=%s", name);
    snprintf(option[n++], sizeof option[0], "redis.cluster=%s", cluster ? "true" : "false");
    if (who) {
        snprintf(option[n++], sizeof option[0], "redis.tls_cert=%s/%s.pem", f->nodes.dir.path, who);
        snprintf(option[n++], sizeof option[0], "redis.tls_key=%s/%s.key", f->nodes.dir.path, who);
    }
    snprintf(option[n++], sizeof option[0], "redis.timeout=%s", f->timeout ? f->timeout : "20s");
    char *options[9] = {"redis.tls=true", "app.instance=a1"};
    for (size_t i = 0; i < n; i++)
        options[2 + i] = option[i];
    cr_assert_eq(config_load(NULL, options, 2 + n, &f->cfg), 0);
    cr_assert_eq(cache_new(f->cfg, &f->cache), 0);
}

static void close_cache(struct fixture *f) {
    cache_free(f->cache);
    config_free(f->cfg);
}

static void start(struct fixture *f) {
    *f = (struct fixture){0};
    nodes_secure(&f->nodes);
    nodes_add(&f->nodes, false, NULL);
}

static void put_all(struct fixture *f, int from, int to) {
    for (int i = from; i < to; i++) {
        char id[16], item[16];
        snprintf(id, sizeof id, "u%d", i);
        snprintf(item, sizeof item, "i%d", i);
        struct cache_entry e[] = {{str_of(item), 2}, {STR("second"), 1}};
        cache_top(f->cache, str_of(id), e, ARRAY_LEN(e));
    }
}

static void expect_all(struct fixture *f, int every) {
    for (int i = 0; i < USERS; i += every) {
        char key[32], expected[32];
        snprintf(key, sizeof key, "beckon:top:{u%d}", i);
        snprintf(expected, sizeof expected, "i%d second", i);
        autofree(free) char *list = cluster_list(&f->nodes, key);
        cr_assert_str_eq(list, expected, "%s", key);
    }
}

static bool stored(void *arg) {
    return cache_wait(arg) == 0;
}

Test(tls, lists_arrive, .timeout = 120) {
    struct fixture f;
    start(&f);
    open_cache(&f, f.nodes.tls_port[0], "ca", "client", "redis.test", false);
    /* More than the socket takes at once, then small ones. */
    put_all(&f, 0, USERS / 2);
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    for (int i = 0; i < 100; i++) {
        put_all(&f, USERS / 2 + i, USERS / 2 + i + 1);
        cr_assert_eq(cache_wait(f.cache), 0, "%s", cache_error(f.cache));
    }
    put_all(&f, USERS / 2 + 100, USERS);
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    redisReply *r = nodes_ask(&f.nodes, 0, "DBSIZE");
    cr_assert_geq(r->integer, USERS);
    freeReplyObject(r);
    expect_all(&f, 97);
    /* Cut off: it connects anew and goes on. */
    freeReplyObject(nodes_ask(&f.nodes, 0, "CLIENT KILL TYPE normal SKIPME yes"));
    put_all(&f, 0, 1);
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    close_cache(&f);
    nodes_free(&f.nodes);
}

Test(tls, nodes_of_a_cluster_have_it_too, .timeout = 120) {
    struct fixture f = {0};
    cluster_start_secure(&f.nodes, 3);
    open_cache(&f, f.nodes.tls_port[1], "ca", "client", "redis.test", true);
    put_all(&f, 0, USERS);
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    expect_all(&f, 97);
    autofree(redis_free) struct redis *r = NULL;
    cr_assert_eq(redis_new(f.cfg, &r), 0);
    int64_t deadline = test_clock_ms() * 1000 + 20000000;
    for (int i = 0; i < 20; i++) { /* some of them another node's */
        char key[32];
        snprintf(key, sizeof key, "beckon:top:{u%d}", i);
        cr_assert_eq(redis_ready(r, deadline), 0, "%s", redis_error(r));
        const struct str args[] = {STR("ZCARD"), str_of(key)};
        redisReply *reply = redis_call(r, deadline, ARRAY_LEN(args), args);
        cr_assert(reply && reply->integer == 2, "%s", redis_error(r));
        freeReplyObject(reply);
    }
    close_cache(&f);
    nodes_free(&f.nodes);
}

static void expect_refused(struct fixture *f, const char *why) {
    put_all(f, 0, 1);
    cr_assert_eq(cache_wait(f->cache), -EAGAIN, "%s", why);
    cr_assert_not_null(strstr(cache_error(f->cache), why), "%s: %s", why, cache_error(f->cache));
    redisReply *r = nodes_ask(&f->nodes, 0, "DBSIZE");
    cr_assert_eq(r->integer, 0, "%s", why);
    freeReplyObject(r);
    close_cache(f);
}

Test(tls, strangers_are_not_talked_to, .timeout = 120) {
    struct fixture f;
    start(&f);
    int port = f.nodes.tls_port[0];
    open_cache(&f, port, "stranger", "client", "redis.test", false);
    expect_refused(&f, "its certificate: self-signed certificate");
    open_cache(&f, port, "ca", "client", "other.test", false);
    expect_refused(&f, "its certificate: hostname mismatch");
    open_cache(&f, port, "ca", "client", "", false); /* 127.0.0.1 is not in it */
    expect_refused(&f, "its certificate: IP address mismatch");
    open_cache(&f, port, "ca", NULL, "redis.test", false);
    expect_refused(&f, "certificate"); /* an alert, or a reset */
    f.timeout = "1s";
    open_cache(&f, f.nodes.port[0], "ca", "client", "redis.test", false);
    expect_refused(&f, "does it speak TLS?");
    kill(f.nodes.pid[0], SIGSTOP);
    open_cache(&f, port, "ca", "client", "redis.test", false);
    put_all(&f, 0, 1);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    cr_assert_not_null(strstr(cache_error(f.cache), "no handshake in time"), "%s",
                       cache_error(f.cache));
    kill(f.nodes.pid[0], SIGCONT);
    close_cache(&f);
    f.timeout = NULL;
    /* By an authority's word alone. */
    open_cache(&f, port, "ca", "client", "*", false);
    put_all(&f, 0, 1);
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    close_cache(&f);
    nodes_free(&f.nodes);
}

static void copy(struct fixture *f, const char *from, const char *to) {
    autofree(free) char *a = temp_dir_file(&f->nodes.dir, from);
    autofree(free) char *b = temp_dir_file(&f->nodes.dir, to);
    size_t n;
    autofree(free) char *text = read_file(a, &n);
    write_file(b, text, n);
}

static bool refused_there(void *arg) {
    return cache_wait(arg) < 0 && !strstr(cache_error(arg), "its certificate");
}

/* Certificates are replaced before they expire; nobody is started anew for that. */
Test(tls, files_are_read_again_when_they_no_longer_do, .timeout = 120) {
    struct fixture f;
    start(&f);
    copy(&f, "stranger.pem", "trusted.pem");
    copy(&f, "stranger.pem", "mine.pem");
    copy(&f, "stranger.key", "mine.key");
    open_cache(&f, f.nodes.tls_port[0], "trusted", "mine", "redis.test", false);
    put_all(&f, 0, 1);
    cr_assert_eq(cache_wait(f.cache), -EAGAIN);
    copy(&f, "ca.pem", "trusted.pem"); /* now it is the server that refuses */
    cr_assert(wait_until(refused_there, f.cache, 20000), "%s", cache_error(f.cache));
    copy(&f, "client.pem", "mine.pem");
    copy(&f, "client.key", "mine.key");
    cr_assert(wait_until(stored, f.cache, 20000), "%s", cache_error(f.cache));
    close_cache(&f);
    nodes_free(&f.nodes);
}

Test(tls, files_that_are_no_good_are_named) {
    struct nodes n = {0};
    nodes_secure(&n);
    char ca[128], cert[128], key[128];
    snprintf(ca, sizeof ca, "%s/ca.pem", n.dir.path);
    snprintf(cert, sizeof cert, "%s/client.pem", n.dir.path);
    snprintf(key, sizeof key, "%s/node.key", n.dir.path);
    const struct {
        struct tls_options o;
        const char *why;
    } bad[] = {
        {{.ca = "/none.pem", .cert = "", .key = "", .name = ""},
         "/none.pem: No such file or directory"},
        {{.ca = "/dev/null", .cert = "", .key = "", .name = ""}, "/dev/null: "},
        {{.ca = ca, .cert = key, .key = key, .name = ""}, "node.key: no start line"},
        {{.ca = ca, .cert = cert, .key = key, .name = ""}, "node.key: key values mismatch"},
        {{.ca = ca, .cert = cert, .key = cert, .name = ""}, "client.pem: "},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct tls *t;
        char error[TLS_ERROR_MAX];
        cr_assert_eq(tls_new(&bad[i].o, &t, error), -EINVAL, "%zu", i);
        cr_assert_not_null(strstr(error, bad[i].why), "%zu: %s", i, error);
    }
    nodes_free(&n);
}
