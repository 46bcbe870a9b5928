/* `beckon top`, `user`, `similar` and `status` as a person runs them. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <unistd.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "tests/support/support.h"

struct fixture {
    struct redis_server *server;
    struct config *cfg;
    struct cache *cache;
    struct temp_dir dir;
    char address[128];
    char *said; /* both outputs of the last command */
};

static void set_up(struct fixture *f) {
    *f = (struct fixture){.server = redis_server_start()};
    temp_dir_make(&f->dir);
    snprintf(f->address, sizeof f->address, "--redis.address=%s", redis_server_socket(f->server));
    char *options[] = {f->address + 2};
    cr_assert_eq(config_load(NULL, options, 1, &f->cfg), 0);
    cr_assert_eq(cache_new(f->cfg, &f->cache), 0);
}

static void tear_down(struct fixture *f) {
    cache_free(f->cache);
    config_free(f->cfg);
    redis_server_free(f->server);
    temp_dir_remove(&f->dir);
    free(f->said);
}

/* Exit code of `beckon A B C D`, on the fixture's Redis. */
static int beckon(struct fixture *f, const char *a, const char *b, const char *c, const char *d) {
    autofree(free) char *log = temp_dir_file(&f->dir, "out");
    char *argv[] = {
        (char *)beckon_path(), (char *)a, f->address, (char *)b, (char *)c, (char *)d, NULL};
    unlink(log);
    int rc = process_end(process_start(argv, log), 0, 20000);
    free(f->said);
    f->said = read_file(log, NULL);
    return rc;
}

Test(look, top_shows_rank_item_and_score) {
    struct fixture f;
    set_up(&f);
    struct cache_entry e[] = {{STR("shoe"), 2.5f},
                              {STR("hat\n"), 1},
                              {STR("sock"), -0.25f},
                              {STR("\xe2\x80\xaeta\xe2\x80\xac \xc3\xa9 \x9b"), -1}};
    cache_top(f.cache, STR("u{1}"), e, 3);
    cache_top(f.cache, STR("u2"), e + 3, 1);
    cache_similar(f.cache, STR("hat\n"), e, 1);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "top", "u{1}", "-n", "2"), 0);
    cr_assert_str_eq(f.said, "rank  item         score\n"
                             "   1  shoe         2.500\n"
                             "   2  hat%0A       1.000\n");
    cr_assert_eq(beckon(&f, "top", "u{1}", "--json", NULL), 0);
    cr_assert_str_eq(f.said, "{\"user\":\"u{1}\",\"key\":\"beckon:top:{u%7B1%7D}\",\"items\":["
                             "{\"rank\":1,\"item\":\"shoe\",\"score\":2.5},"
                             "{\"rank\":2,\"item\":\"hat\\n\",\"score\":1.0},"
                             "{\"rank\":3,\"item\":\"sock\",\"score\":-0.25}]}\n");
    /* What turns the direction, and what is no UTF-8. */
    cr_assert_eq(beckon(&f, "top", "u2", NULL, NULL), 0);
    cr_assert(strstr(f.said, "  1  %E2%80%AEta%E2%80%AC \xc3\xa9 %9B  "), "%s", f.said);
    cr_assert_eq(beckon(&f, "similar", "hat%0A", "--escaped", "--json"), 0);
    cr_assert(strstr(f.said, "{\"item\":\"hat\\n\","), "%s", f.said);
    tear_down(&f);
}

Test(look, explain_says_why_each_item_is_there) {
    struct fixture f;
    set_up(&f);
    struct cache_entry e[] = {{STR("shoe"), 2.5f}, {STR("hat"), 1}};
    cache_top(f.cache, STR("u1"), e, 2);
    cache_why(f.cache, STR("u1"), STR("similar explored=0.0125"));
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "explain", "u1", NULL, NULL), 0);
    cr_assert_str_eq(
        f.said,
        "   1  shoe       2.500  similar: it goes together with what the user met\n"
        "   2  hat        1.000  explored: by chance, to learn of it (drawn with a chance of "
        "0.0125)\n");
    cr_assert_eq(beckon(&f, "explain", "u1", "hat", "--json"), 0);
    cr_assert_str_eq(f.said, "{\"user\":\"u1\",\"items\":[{\"rank\":2,\"item\":\"hat\",\"score\":"
                             "1.0,\"reason\":\"explored\",\"propensity\":0.0125}]}\n");
    cr_assert_eq(beckon(&f, "explain", "u1", "sock", NULL), 1);
    cr_assert(strstr(f.said, "not on the user's list"), "%s", f.said);
    cache_forget(f.cache, STR("u1"));
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "explain", "u1", NULL, NULL), 1);
    cr_assert(strstr(f.said, "no list"), "%s", f.said);
    tear_down(&f);
}

Test(look, user_shows_the_profile_aligned) {
    struct fixture f;
    set_up(&f);
    struct key_value kv[] = {{"events", "12", 0}, {"categories", "shoes 60%, hats 40%", 0}};
    cache_hash(f.cache, "user", STR("u1"), kv, 2, 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "user", "u1", NULL, NULL), 0);
    cr_assert_str_eq(f.said, "events      12\n"
                             "categories  shoes 60%, hats 40%\n");
    cr_assert_eq(beckon(&f, "user", "u1", "--json", NULL), 0);
    cr_assert_str_eq(f.said, "{\"user\":\"u1\",\"profile\":{\"events\":12,"
                             "\"categories\":\"shoes 60%, hats 40%\"}}\n");
    tear_down(&f);
}

Test(look, campaigns_results_tell_who_is_in_charge_of_a_group) {
    static const char text[] = "defaults: {channel: email}\n"
                               "groups: {g: {policy: dqn}}\n"
                               "campaigns:\n"
                               "  - {id: hello, trigger: {event: {type: survey}}, group: g,\n"
                               "     offer: {kind: message}}\n";
    struct fixture f;
    set_up(&f);
    autofree(free) char *file = temp_dir_file(&f.dir, "campaigns.yaml");
    write_file(file, text, sizeof text - 1);
    struct key_value sent = {"sent", "3", 0};
    struct key_value network[] = {{"in_charge", "bandit", 0}, {"judged", "1234", 0}};
    cache_hash(f.cache, "campaign", STR("hello"), &sent, 1, 0);
    cache_hash(f.cache, "policy", STR("g"), network, 2, 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "campaigns", "results", file, NULL), 0, "%s", f.said);
    cr_assert(strstr(f.said, "group g\n  in_charge              bandit\n"), "%s", f.said);
    cr_assert_eq(beckon(&f, "campaigns", "results", file, "--json"), 0, "%s", f.said);
    cr_assert_str_eq(f.said, "[{\"id\":\"hello\",\"sent\":3},"
                             "{\"group\":\"g\",\"in_charge\":\"bandit\",\"judged\":1234}]\n");
    tear_down(&f);
}

Test(look, status_shows_every_counter_in_its_section) {
    struct fixture f;
    set_up(&f);
    char now[32];
    snprintf(now, sizeof now, "%lld", (long long)clock_wall_ms());
    struct key_value kv[] = {{"updated_ms", now, 0},
                             {"events", "1000", 0},
                             {"suppressed:budget", "4", 0},
                             {"dead:bad-json", "3", 0},
                             {"event_to_list_ms_p99", "3.2", 0},
                             {"unheard_of", "x", 0}};
    cache_hash(f.cache, "stats", (struct str){0}, kv, ARRAY_LEN(kv), 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "status", NULL, NULL, NULL), 0);
    cr_assert_str_eq(f.said, "stream\n"
                             "  events                           1000\n"
                             "latency\n"
                             "  event_to_list_ms_p99              3.2\n"
                             "suppressed, by reason\n"
                             "  budget                              4\n"
                             "dead letters, by reason\n"
                             "  bad-json                            3\n"
                             "other\n"
                             "  unheard_of                          x\n");
    kv[0].value = "1700000000000";
    cache_hash(f.cache, "stats", (struct str){0}, kv, ARRAY_LEN(kv), 0);
    cr_assert_eq(cache_wait(f.cache), 0);
    cr_assert_eq(beckon(&f, "status", NULL, NULL, NULL), 0);
    cr_assert(strstr(f.said, "does `beckon run` still run?"), "%s", f.said);
    cr_assert_eq(beckon(&f, "status", "--json", NULL, NULL), 0);
    cr_assert(strstr(f.said, "\"events\":1000,\"suppressed:budget\":4,"), "%s", f.said);
    tear_down(&f);
}

Test(look, what_is_not_there_fails_and_says_what_to_check) {
    struct fixture f;
    set_up(&f);
    cr_assert_eq(beckon(&f, "top", "nobody", NULL, NULL), 1);
    cr_assert(strstr(f.said, "nothing at beckon:top:{nobody}"), "%s", f.said);
    cr_assert_eq(beckon(&f, "similar", "nothing", NULL, NULL), 1);
    cr_assert_eq(beckon(&f, "user", "nobody", NULL, NULL), 1);
    cr_assert_eq(beckon(&f, "status", NULL, NULL, NULL), 1);
    cr_assert(strstr(f.said, "Is `beckon run` running?"), "%s", f.said);
    redis_server_kill(f.server);
    cr_assert_eq(beckon(&f, "top", "nobody", NULL, NULL), 1);
    cr_assert(strstr(f.said, "Is redis.address right"), "%s", f.said);
    cr_assert_eq(beckon(&f, "top", NULL, NULL, NULL), 2);
    tear_down(&f);
}
