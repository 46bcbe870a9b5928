#include <time.h>

#include "consumer/cache.h"
#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/look.h"

enum { STALE_MS = 15000 };

/* Which section a field of beckon:stats belongs to; a name that ends in '*' is a prefix and shown
 * without it. What is not named here comes last, so that no field is hidden. */
static const struct section {
    const char *title;
    const char *fields[15];
} sections[] = {
    {"stream",
     {"events_per_s", "events", "duplicates", "lag", "partitions", "paused", "restoring", "commits",
      "aborts", "refused_records", "processes", "uptime_s"}},
    {"latency", {"event_to_list_ms*", "batch_ms*", "redis_ms*", "commit_ms*"}},
    {"lists", {"lists_written", "lists_unchanged", "lists*"}},
    {"model",
     {"users", "items", "bytes_per_user", "bytes_per_item", "learn_steps", "ranker_cases",
      "ranker_loss", "nan_guarded", "floods", "bots", "heard", "model_lag", "leads"}},
    {"triggers", {"triggers_sent", "triggers*"}},
    {"outcomes",
     {"outcomes", "opened", "redeemed", "converted", "purchases", "returned", "unsubscribed",
      "revenue", "margin", "discount", "cost", "annoyance", "reward", "nothing"}},
    {"surveys", {"answers", "promoters", "detractors"}},
    {"suppressed, by reason", {"suppressed:*"}},
    {"dead letters, by reason", {"dead_letters", "dead:*"}},
    {"other", {"*"}},
};

struct field {
    struct str name, value;
    const struct section *section;
};

static bool matches(const char *pattern, struct str name) {
    size_t n = strlen(pattern);
    if (n && pattern[n - 1] == '*')
        return name.n >= n - 1 && memcmp(name.p, pattern, n - 1) == 0;
    return n == name.n && memcmp(name.p, pattern, n) == 0;
}

static struct str shown_name(struct str name) {
    const char *colon = memchr(name.p, ':', name.n);
    if (!colon)
        return name;
    return (struct str){colon + 1, name.n - (size_t)(colon + 1 - name.p)};
}

static void show_field(struct field *f, const struct section *s) {
    f->section = s;
    struct str name = shown_name(f->name);
    printf("  %-22.*s %14.*s\n", (int)name.n, name.p, (int)f->value.n, f->value.p);
}

static void show_section(const struct section *s, struct field *f, size_t n) {
    bool titled = false;
    for (size_t k = 0; k < ARRAY_LEN(s->fields) && s->fields[k]; k++)
        for (size_t i = 0; i < n; i++) {
            if (f[i].section || !matches(s->fields[k], f[i].name))
                continue;
            if (!titled)
                printf("%s\n", s->title);
            titled = true;
            show_field(&f[i], s);
        }
}

static struct str text_of(const redisReply *r) {
    return (struct str){r->str ? r->str : "", r->str ? r->len : 0};
}

/* Milliseconds since the counters were written; 0 if they do not say. */
static int64_t age_ms(const struct field *f, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (str_eq(f[i].name, STR("updated_ms")))
            return MAX(clock_wall_ms() - strtoll(f[i].value.p, NULL, 10), (int64_t)0);
    return 0;
}

static int show(const redisReply *hash, bool json) {
    size_t n = hash->elements / 2;
    if (json) {
        json_t *out = json_object();
        for (size_t i = 0; i < n; i++)
            json_object_set_new(out, text_of(hash->element[2 * i]).p,
                                look_json_value(text_of(hash->element[2 * i + 1])));
        return look_print_json(out);
    }
    autofree(free) struct field *f = calloc(n, sizeof *f);
    if (!f)
        return EXIT_FAILED;
    for (size_t i = 0; i < n; i++)
        f[i] =
            (struct field){text_of(hash->element[2 * i]), text_of(hash->element[2 * i + 1]), NULL};
    int64_t age = age_ms(f, n);
    for (size_t i = 0; i < n; i++)
        if (str_eq(f[i].name, STR("updated_ms")))
            f[i].section = sections; /* shown as the age */
    for (size_t s = 0; s < ARRAY_LEN(sections); s++)
        show_section(&sections[s], f, n);
    if (age > STALE_MS)
        printf("\nwritten %lld s ago: does `beckon run` still run?\n", (long long)age / 1000);
    return fflush(stdout) == EOF ? EXIT_FAILED : EXIT_DONE;
}

static int status(const struct config *cfg, struct redis *r, bool json, bool clear) {
    struct buf key = {0};
    cache_key(&key, cfg->redis_prefix, "stats", (struct str){0});
    struct str args[] = {STR("HGETALL"), {(const char *)key.p, key.n}};
    redisReply *hash = key.failed ? NULL : look_ask(r, cfg, ARRAY_LEN(args), args);
    int rc = EXIT_FAILED;
    if (clear)
        fputs("\033[H\033[J", stdout);
    if (hash && hash->type == REDIS_REPLY_ARRAY && hash->elements)
        rc = show(hash, json);
    else if (hash)
        look_nothing(args[1], "Is `beckon run` running? Are redis.address, redis.db and "
                              "redis.prefix those it writes to?");
    freeReplyObject(hash);
    buf_free(&key);
    return rc;
}

/* Until interrupted; a Redis that goes away may come back. */
static int watch(const struct config *cfg, bool json) {
    bool clear = !json && is_terminal(stdout);
    autofree(redis_free) struct redis *r = NULL;
    while (!ferror(stdout)) {
        if (r && !redis_up(r)) {
            redis_free(r);
            r = NULL;
        }
        if (r || look_open(cfg, &r) == 0)
            status(cfg, r, json, clear);
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    return EXIT_FAILED;
}

int cmd_status(int argc, char **argv) {
    bool json = false, again = false;
    const struct flag flags[] = {
        {"watch", FLAG_BOOL, &again, NULL, "again every second, until interrupted", 0, 0},
        {"json", FLAG_BOOL, &json, NULL, "one JSON object (a line each, with --watch)", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "status [--watch] [--json]",
        .text =
            "Shows the counters that `beckon run` keeps in Redis, added up over its processes and "
            "counted since each of them started: throughput, lag, latency, "
            "lists, triggers sent and suppressed by reason, what became of them in money, dead "
            "letters by reason, the model. "
            "Exit code 1 if there are none.",
        .examples = "  beckon status\n"
                    "  beckon status --watch\n"
                    "  beckon status --json | jq .events_per_s\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
    };
    struct flag_list args = {0};
    autofree(config_free) struct config *cfg = NULL;
    int rc = cli_parse(&usage, argc, argv, &args, &cfg);
    if (rc)
        return rc - 1;
    flag_list_clear(&args);
    if (again)
        return watch(cfg, json);
    autofree(redis_free) struct redis *r = NULL;
    return look_open(cfg, &r) < 0 ? EXIT_FAILED : status(cfg, r, json, false);
}
