/* The whole service with the users of deploy/redis-users.conf, and on a Redis Cluster. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "tests/support/cluster.h"
#include "tests/support/feed.h"

/* The lines "user NAME …" of the file as ACL SETUSER. */
static void make_users(redisContext *to) {
    autofree(free) char *path = NULL;
    cr_assert(asprintf(&path, "%s/deploy/redis-users.conf", getenv("BECKON_SOURCE_ROOT")) > 0);
    autofree(free) char *text = read_file(path, NULL);
    size_t users = 0;
    char *rest = text;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (strncmp(line, "user ", 5) != 0)
            continue;
        const char *argv[64] = {"ACL", "SETUSER"};
        int n = 2;
        line += 5;
        for (char *word; n < 64 && (word = strsep(&line, " "));)
            argv[n++] = word;
        redisReply *r = redisCommandArgv(to, n, argv, NULL);
        cr_assert_str_eq(r->str, "OK");
        freeReplyObject(r);
        users++;
    }
    cr_assert_eq(users, 3);
}

static void expect_nothing_denied(redisContext *eye) {
    redisReply *r = redisCommand(eye, "ACL LOG");
    cr_assert_eq(r->type, REDIS_REPLY_ARRAY);
    if (r->elements)
        cr_assert_fail("denied: %s %s", r->element[0]->element[5]->str,
                       r->element[0]->element[7]->str);
    freeReplyObject(r);
}

/* Exit code of `beckon COMMAND A B` as that user, its password being in the environment; ret_said:
 * what it printed. */
static int run_as(struct service *s, const char *user, const char *command, const char *a,
                  const char *b, char **ret_said) {
    autofree(free) char *log = temp_dir_file(&s->dir, "out");
    char name[64], address[160], campaigns[160];
    snprintf(name, sizeof name, "--redis.user=%s", user);
    snprintf(address, sizeof address, "--redis.address=%s", redis_server_socket(s->redis));
    snprintf(campaigns, sizeof campaigns, "--policy.campaigns=%s/campaigns.yaml", s->dir.path);
    char *argv[] = {(char *)beckon_path(),
                    (char *)command,
                    address,
                    name,
                    "--redis.password_env=BECKON_TEST_PASSWORD",
                    campaigns,
                    (char *)a,
                    (char *)b,
                    NULL};
    char password[64];
    snprintf(password, sizeof password, "CHANGE-%s", strchr(user, '-') + 1);
    setenv("BECKON_TEST_PASSWORD", password, 1);
    unlink(log);
    int rc = process_end(process_start(argv, log), 0, 20000);
    free(*ret_said);
    *ret_said = read_file(log, NULL);
    return rc;
}

static bool all_written(void *arg) {
    return service_keys(arg, "beckon:top:*") == FEED_USERS &&
           service_keys(arg, "beckon:user:*") == FEED_USERS &&
           service_keys(arg, "beckon:stats") == 1 && service_keys(arg, "beckon:triggers") == 1 &&
           service_keys(arg, "beckon:processes") == 1;
}

Test(users, have_what_they_need_and_no_more, .timeout = 300) {
    struct service s;
    struct feed feed;
    autofree(kafka_free) struct kafka *kafka = kafka_start(1);
    service_open(&s, kafka, 2, feed_campaigns);
    make_users(s.eye);
    autofree(free) char *file = temp_dir_file(&s.dir, "password");
    write_file(file, "CHANGE-service\n", 15);
    service_option(&s, "redis.user=beckon");
    service_option(&s, "redis.password_file=%s", file);
    feed_start(&feed, &s);
    service_start(&s);
    feed_while_not(&feed, all_written, &s);
    freeReplyObject(redisCommand(s.eye, "FLUSHDB"));
    feed_while_not(&feed, all_written, &s);
    service_drain(&s, 60000);
    expect_nothing_denied(s.eye);

    autofree(free) char *said = NULL;
    cr_assert_eq(run_as(&s, "beckon-look", "top", "u1", NULL, &said), 0, "%s", said);
    cr_assert(strstr(said, "rank  item"), "%s", said);
    cr_assert_eq(run_as(&s, "beckon-look", "user", "u1", NULL, &said), 0, "%s", said);
    cr_assert_eq(run_as(&s, "beckon-look", "status", NULL, NULL, &said), 0, "%s", said);
    cr_assert_eq(run_as(&s, "beckon-steer", "campaigns", "pause", "all", &said), 0, "%s", said);
    cr_assert_eq(run_as(&s, "beckon-steer", "campaigns", "resume", "all", &said), 0, "%s", said);
    expect_nothing_denied(s.eye);
    cr_assert_neq(run_as(&s, "beckon-look", "campaigns", "pause", "all", &said), 0);
    cr_assert(strstr(said, "NOPERM"), "%s", said);
    cr_assert_neq(run_as(&s, "beckon-steer", "top", "u1", NULL, &said), 0);
    cr_assert_null(strstr(said, "CHANGE-"), "no password is shown: %s", said);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}

struct clustered {
    struct nodes nodes;
    struct service s;
};

static long long lists(struct nodes *c) {
    long long n = 0;
    for (size_t i = 0; i < c->n; i++) {
        redisReply *role = c->pid[i] ? nodes_ask(c, i, "ROLE") : NULL;
        if (role && strcmp(role->element[0]->str, "master") == 0) {
            redisReply *r = nodes_ask(c, i, "KEYS beckon:top:*");
            n += (long long)r->elements;
            freeReplyObject(r);
        }
        freeReplyObject(role);
    }
    return n;
}

static bool at_work(void *arg) {
    struct clustered *c = arg;
    struct metrics m;
    service_metrics(&c->s, &m);
    return metric_get(&m.commits) > 3 && lists(&c->nodes) == FEED_USERS;
}

static bool paused(void *arg) {
    struct clustered *c = arg;
    struct metrics m;
    service_metrics(&c->s, &m);
    return metric_gauge(&m.paused) == 1;
}

static bool flowing(void *arg) {
    return !paused(arg);
}

static bool all_lists(void *arg) {
    struct clustered *c = arg;
    return lists(&c->nodes) == FEED_USERS;
}

static double events_of(struct nodes *c, int user) {
    for (size_t i = 0; i < c->n; i++) {
        redisReply *r = nodes_ask(c, i, "HGET beckon:user:{u%d} events", user);
        double events = r->type == REDIS_REPLY_STRING ? strtod(r->str, NULL) : -1;
        freeReplyObject(r);
        if (events >= 0)
            return events;
    }
    return 0;
}

/* Three masters, the first `replicas` of which have one. */
static void start_clustered(struct clustered *c, struct kafka *k, struct feed *feed,
                            size_t replicas) {
    cluster_start(&c->nodes, 3, replicas);
    service_open(&c->s, k, 2, feed_campaigns);
    char address[32];
    nodes_address(&c->nodes, 1, address);
    service_option(&c->s, "redis.profile_interval=0ms");
    service_option(&c->s, "redis.address=%s", address);
    service_option(&c->s, "redis.cluster=true");
    feed_start(feed, &c->s);
    service_start(&c->s);
    feed_while_not(feed, at_work, c);
}

static void end_clustered(struct clustered *c) {
    cr_assert_eq(service_stop(&c->s), STREAM_STOPPED);
    c->s.n_options -= 2; /* the other run has a Redis of its own */
    feed_expect_as_even(&c->s, test_brokers());
    c->s.n_options += 2;
    service_close(&c->s);
    nodes_free(&c->nodes);
}

struct counts {
    struct clustered *c;
    double events;
};

/* What was written last of each user is what is there. */
static bool profiles_complete(void *arg) {
    struct counts *w = arg;
    double sum = 0;
    for (int u = 0; u < FEED_USERS; u++)
        sum += events_of(&w->c->nodes, u);
    return sum == w->events;
}

struct moving {
    struct nodes *nodes;
    atomic_bool done;
};

/* A third of what the first node has, there and back and on. */
static void *move_slots(void *arg) {
    struct moving *m = arg;
    cluster_move(m->nodes, 0, 1, 0, 1800);
    cluster_move(m->nodes, 1, 0, 900, 1800);
    cluster_move(m->nodes, 0, 2, 900, 1800);
    atomic_store(&m->done, true);
    return NULL;
}

static bool moved(void *arg) {
    return atomic_load((atomic_bool *)arg);
}

/* Lists and profiles are those of the newest events wherever their slots went meanwhile. */
Test(users, of_a_cluster_stay_right_while_it_is_resharded, .timeout = 300) {
    struct clustered c;
    struct feed feed;
    autofree(kafka_free) struct kafka *kafka = kafka_start(1);
    start_clustered(&c, kafka, &feed, 0);
    struct moving m = {.nodes = &c.nodes};
    pthread_t thread;
    cr_assert_eq(pthread_create(&thread, NULL, move_slots, &m), 0);
    feed_while_not(&feed, moved, &m.done);
    pthread_join(thread, NULL);
    feed_some(&feed, 200);
    service_drain(&c.s, 60000);
    struct counts w = {&c, feed.n};
    cr_assert(wait_until(profiles_complete, &w, 20000), "not the newest profiles");
    cr_assert_eq(lists(&c.nodes), FEED_USERS);
    end_clustered(&c);
}

/* Intake waits until the replica has taken over; nothing is lost, nothing sent twice. */
Test(users, of_a_cluster_lose_nothing_when_a_master_dies, .timeout = 300) {
    struct clustered c;
    struct feed feed;
    autofree(kafka_free) struct kafka *kafka = kafka_start(1);
    start_clustered(&c, kafka, &feed, 1);
    nodes_kill(&c.nodes, 0);
    feed_while_not(&feed, paused, &c);
    feed_while_not(&feed, flowing, &c);
    feed_some(&feed, 200);
    service_drain(&c.s, 60000);
    cr_assert(wait_until(all_lists, &c, 20000), "%lld lists", lists(&c.nodes));
    end_clustered(&c);
}
