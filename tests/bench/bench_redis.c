/* Lists of 20 through the cache into a private Redis, next to what redis-benchmark gets with a
 * bare ZADD of 20 pairs, in one run; and what formatting them costs. Arguments are options of the
 * configuration (redis.address=host:port redis.tls=true), to try another Redis than the private
 * one. */
#include <fcntl.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "consumer/cache.h"
#include "consumer/clock.h"
#include "consumer/dump.h"
#include "consumer/resp.h"

enum { USERS = 20000, BATCH = 1000, ROUNDS = 5, ENTRIES = 20, ITEMS = 100000 };

static char dir[] = "/tmp/beckon-bench-XXXXXX";
static char path[64];

static pid_t start_redis(void) {
    pid_t pid = fork();
    if (pid)
        return pid;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_WRONLY);
    dup2(null, STDOUT_FILENO);
    execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", path, "--save", "",
           "--dir", dir, (char *)NULL);
    _exit(127);
}

struct workload {
    char user[USERS][12];
    char item[ITEMS][12];
    struct cache_entry list[USERS][ENTRIES];
};

static int descending(const void *a, const void *b) {
    float x = ((const struct cache_entry *)a)->score, y = ((const struct cache_entry *)b)->score;
    return (x < y) - (x > y);
}

static struct workload *make_workload(void) {
    struct workload *w = malloc(sizeof *w);
    if (!w)
        exit(1);
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < USERS; i++)
        snprintf(w->user[i], sizeof w->user[i], "u%d", i);
    for (int i = 0; i < ITEMS; i++)
        snprintf(w->item[i], sizeof w->item[i], "item%d", i);
    for (int i = 0; i < USERS; i++) {
        for (int k = 0; k < ENTRIES; k++)
            w->list[i][k] = (struct cache_entry){str_of(w->item[rng_below(&r, ITEMS)]),
                                                 (float)rng_unit(&r) * 5};
        qsort(w->list[i], ENTRIES, sizeof w->list[i][0], descending);
    }
    return w;
}

/* ns per ZADD of 20 pairs. */
static double time_formatting(const struct workload *w, bool own) {
    struct buf b = {0};
    int64_t start = clock_mono_us();
    for (int i = 0; i < USERS; i++) {
        if (own) {
            resp_array(&b, 2 + 2 * ENTRIES);
            resp_str(&b, STR("ZADD"));
            resp_str(&b, str_of(w->user[i]));
            for (int k = 0; k < ENTRIES; k++) {
                resp_int(&b, (int64_t)(w->list[i][k].score * CACHE_SCORE_SCALE));
                resp_str(&b, w->list[i][k].item);
            }
        } else {
            const char *argv[2 + 2 * ENTRIES] = {"ZADD", w->user[i]};
            size_t len[2 + 2 * ENTRIES] = {4, strlen(w->user[i])};
            char score[ENTRIES][24];
            for (int k = 0; k < ENTRIES; k++) {
                argv[2 + 2 * k] = score[k];
                len[2 + 2 * k] =
                    (size_t)snprintf(score[k], sizeof score[k], "%lld",
                                     (long long)(w->list[i][k].score * CACHE_SCORE_SCALE));
                argv[3 + 2 * k] = w->list[i][k].item.p;
                len[3 + 2 * k] = w->list[i][k].item.n;
            }
            char *cmd = NULL;
            int n = redisFormatCommandArgv(&cmd, ARRAY_LEN(argv), argv, len);
            buf_put(&b, cmd, (size_t)n);
            redisFreeCommand(cmd);
        }
        if (i % BATCH == BATCH - 1)
            buf_reset(&b);
    }
    int64_t us = clock_mono_us() - start;
    buf_free(&b);
    return (double)us * 1000 / USERS;
}

/* ns per list of 20 as a payload of RESTORE. */
static double time_payload(const struct workload *w) {
    struct buf b = {0};
    int64_t start = clock_mono_us();
    for (int i = 0; i < USERS; i++) {
        struct dump_entry e[ENTRIES];
        for (int k = 0; k < ENTRIES; k++)
            e[k] = (struct dump_entry){w->list[i][k].item,
                                       (int64_t)(w->list[i][k].score * (float)CACHE_SCORE_SCALE)};
        buf_reset(&b);
        dump_zset(&b, e, ENTRIES);
    }
    int64_t us = clock_mono_us() - start;
    buf_free(&b);
    return (double)us * 1000 / USERS;
}

static void store(struct cache *c) {
    for (int tries = 0; cache_wait(c) < 0; tries++)
        if (tries == 100) {
            fprintf(stderr, "redis-server does not answer: %s\n", cache_error(c));
            exit(1);
        }
}

/* Lists per second. */
static double time_cache(struct cache *c, const struct workload *w) {
    int64_t start = clock_mono_us();
    for (int i = 0; i < USERS; i++) {
        cache_top(c, str_of(w->user[i]), w->list[i], ENTRIES);
        if (i % BATCH == BATCH - 1) {
            cache_send(c);
            store(c);
        }
    }
    return USERS * 1e6 / (double)(clock_mono_us() - start);
}

/* ZADDs of 20 pairs, each to a key of its own, in a pipeline of 100; per second, or 0. */
static double time_redis_benchmark(const struct workload *w) {
    char command[4096];
    int n = snprintf(command, sizeof command,
                     "redis-benchmark -s %s -n %d -r 1000000000 -P 100 -c 1 --csv "
                     "zadd b:top:__rand_int__",
                     path, USERS * 2);
    for (int k = 0; k < ENTRIES; k++)
        n += snprintf(command + n, sizeof command - (size_t)n, " %d %s",
                      (int)(w->list[0][k].score * (float)CACHE_SCORE_SCALE), w->list[0][k].item.p);
    FILE *f = popen(command, "r");
    char line[4096];
    double rate = 0;
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, "\",\"");
        if (at && at[3] >= '0' && at[3] <= '9')
            rate = strtod(at + 3, NULL);
    }
    return f && pclose(f) == 0 ? rate : 0;
}

/* So that lists are written as for servers that take no payloads. */
static bool forbid_restore(void) {
    redisContext *eye = redisConnectUnix(path);
    redisReply *r = eye && !eye->err ? redisCommand(eye, "ACL SETUSER default -restore") : NULL;
    bool done = r && r->type == REDIS_REPLY_STATUS;
    freeReplyObject(r);
    if (eye)
        redisFree(eye);
    return done;
}

int main(int argc, char **argv) {
    if (!mkdtemp(dir))
        return 1;
    snprintf(path, sizeof path, "%s/redis.sock", dir);
    pid_t redis = start_redis();
    char address[96];
    snprintf(address, sizeof address, "redis.address=%s", path);
    char *options[16] = {address};
    size_t n_options = 1;
    for (int i = 1; i < argc && n_options < ARRAY_LEN(options); i++)
        options[n_options++] = argv[i];
    autofree(config_free) struct config *cfg = NULL;
    autofree(cache_free) struct cache *c = NULL;
    if (redis < 0 || config_load(NULL, options, n_options, &cfg) < 0 || cache_new(cfg, &c) < 0)
        return 1;
    autofree(free) struct workload *w = make_workload();
    store(c);
    double own = 1e9, hiredis = 1e9, payload = 1e9, lists = 0, transactions = 0, zadds = 0;
    for (int round = 0; round < ROUNDS; round++) {
        own = MIN(own, time_formatting(w, true));
        hiredis = MIN(hiredis, time_formatting(w, false));
        payload = MIN(payload, time_payload(w));
        lists = MAX(lists, time_cache(c, w));
        zadds = MAX(zadds, time_redis_benchmark(w));
    }
    autofree(cache_free) struct cache *plain = NULL;
    if (argc == 1 && forbid_restore() && cache_new(cfg, &plain) == 0) {
        store(plain);
        for (int round = 0; round < ROUNDS; round++)
            transactions = MAX(transactions, time_cache(plain, w));
    }
    printf("formatting a ZADD of 20: %.0f ns, by redisFormatCommandArgv %.0f ns, ratio %.2f; a "
           "payload of 20: %.0f ns\n",
           own, hiredis, own / hiredis, payload);
    printf("lists of 20 through the cache: %.0f lists/s; by transactions: %.0f lists/s, %.0f "
           "commands/s\n",
           lists, transactions, transactions * 5);
    if (zadds > 0)
        printf("redis-benchmark, ZADD of 20:   %.0f commands/s; lists/s to it: %.2f, by "
               "transactions %.2f\n",
               zadds, lists / zadds, transactions / zadds);
    else
        printf("redis-benchmark is not there\n");
    kill(redis, SIGTERM);
    waitpid(redis, NULL, 0);
    unlink(path);
    rmdir(dir);
    return 0;
}
