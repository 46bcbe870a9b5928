#include "tests/support/service.h"

#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "consumer/kafka_util.h"

/* ---- a deployment ---- */

static char *text(const char *fmt, va_list ap) {
    char *p;
    if (vasprintf(&p, fmt, ap) < 0)
        test_die("out of memory");
    return p;
}

void service_option(struct service *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    if (s->n_options == ARRAY_LEN(s->option))
        test_die("too many options");
    s->option[s->n_options++] = text(fmt, ap);
    va_end(ap);
}

void service_probe(struct service *s) {
    if (s->probe)
        rd_kafka_destroy(s->probe);
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", kafka_brokers(s->kafka), err, sizeof err);
    rd_kafka_conf_set(conf, "group.id", s->app, err, sizeof err);
    s->probe = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof err);
    if (!s->probe)
        test_die("%s", err);
}

static void outputs(struct service *s, const char *campaigns) {
    unique_name("app", s->app);
    kafka_topic(s->kafka, "triggers", s->partitions, false, s->triggers);
    kafka_topic(s->kafka, "decisions", s->partitions, false, s->decisions);
    kafka_topic(s->kafka, "outcomes", s->partitions, false, s->outcomes);
    kafka_topic(s->kafka, "dead", s->partitions, false, s->dead);
    char own[TOPIC_NAME * 2];
    snprintf(own, sizeof own, "beckon-%s-changelog", s->app);
    kafka_topic_named(s->kafka, own, s->partitions, true);
    snprintf(own, sizeof own, "beckon-%s-model", s->app);
    kafka_topic_named(s->kafka, own, 1, true);
    s->redis = redis_server_start();
    s->eye = redis_server_connect(s->redis);
    temp_dir_make(&s->dir);

    service_option(s, "app.name=%s", s->app);
    service_option(s, "app.workers=1");
    service_option(s, "kafka.bootstrap.servers=%s", kafka_brokers(s->kafka));
    service_option(s, "redis.address=%s", redis_server_socket(s->redis));
    service_option(s, "redis.timeout=1s");
    service_option(s, "topics.clickstream=%s", s->clickstream);
    service_option(s, "topics.items=%s", s->items);
    service_option(s, "topics.user_control=%s", s->control);
    service_option(s, "topics.triggers=%s", s->triggers);
    service_option(s, "topics.decisions=%s", s->decisions);
    service_option(s, "topics.outcomes=%s", s->outcomes);
    service_option(s, "topics.dead_letters=%s", s->dead);
    service_option(s, "topics.format=json");
    service_option(s, "topics.output_format=json");
    service_option(s, "topics.partitions=%d", s->partitions);
    /* The mock cluster keeps no offsets of transactions, and holds the partitions of one who left
     * until his session is over. */
    if (kafka_mock(s->kafka)) {
        service_option(s, "stream.guarantee=at-least-once");
        service_option(s, "kafka.session.timeout.ms=6000");
    }
    service_option(s, "stream.commit_interval=50ms");
    service_option(s, "stream.idle=1d");
    service_option(s, "model.dim=16");
    service_option(s, "model.save_interval=500ms");
    service_option(s, "policy.consent_default=granted");
    if (campaigns) {
        autofree(free) char *file = temp_dir_file(&s->dir, "campaigns.yaml");
        write_file(file, campaigns, strlen(campaigns));
        service_option(s, "policy.campaigns=%s", file);
    }
    service_probe(s);
}

void service_open(struct service *s, struct kafka *k, int partitions, const char *campaigns) {
    *s = (struct service){.kafka = k, .partitions = partitions};
    kafka_topic(k, "clickstream", partitions, false, s->clickstream);
    kafka_topic(k, "items", 1, true, s->items);
    kafka_topic(k, "control", 1, true, s->control);
    outputs(s, campaigns);
}

void service_open_twin(struct service *s, const struct service *of, const char *campaigns) {
    *s = (struct service){.kafka = of->kafka, .partitions = of->partitions};
    memcpy(s->clickstream, of->clickstream, sizeof s->clickstream);
    memcpy(s->items, of->items, sizeof s->items);
    memcpy(s->control, of->control, sizeof s->control);
    outputs(s, campaigns);
}

void service_close(struct service *s) {
    if (s->engine)
        service_stop(s);
    if (s->eye)
        redisFree(s->eye);
    redis_server_free(s->redis);
    rd_kafka_destroy(s->probe);
    for (size_t i = 0; i < s->n_options; i++)
        free(s->option[i]);
    free(s->clock);
    temp_dir_remove(&s->dir);
}

/* ---- running it ---- */

void service_clock(struct service *s) {
    if (!s->clock)
        s->clock = temp_dir_file(&s->dir, "clock");
    service_clock_shift(s, 0);
}

/* Into the file, not to a new one: processes have it mapped. */
void service_clock_shift(struct service *s, int64_t ms) {
    int fd = open(s->clock, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, &ms, sizeof ms, 0) != sizeof ms)
        test_die("%s: %s", s->clock, strerror(errno));
    close(fd);
}

/* "NAME=VALUE" of the environment that sets a process's clock. The address sanitizer wants to be
 * loaded first, but need not be. */
enum { CLOCK_VARIABLES = 3 };

static void clock_environment(struct service *s, char *ret[CLOCK_VARIABLES]) {
    const char *root = getenv("BECKON_BUILD_ROOT"), *asan = getenv("ASAN_OPTIONS");
    if (asprintf(&ret[0], "LD_PRELOAD=%s/tests/libtestclock.so", root) < 0 ||
        asprintf(&ret[1], "BECKON_TEST_CLOCK=%s", s->clock) < 0 ||
        asprintf(&ret[2], "ASAN_OPTIONS=%s:verify_asan_link_order=0", asan ? asan : "") < 0)
        test_die("out of memory");
}

static char *log_file(struct service *s, const char *instance) {
    char name[64];
    snprintf(name, sizeof name, "%s.log", instance);
    return temp_dir_file(&s->dir, name);
}

pid_t service_run(struct service *s, const char *instance, const char *extra) {
    char *argv[ARRAY_LEN(s->option) + 9], *environment[CLOCK_VARIABLES] = {NULL};
    size_t n = 0;
    autofree(free) char *name = NULL, *more = NULL;
    if (s->clock) {
        clock_environment(s, environment);
        argv[n++] = "env";
        for (size_t i = 0; i < CLOCK_VARIABLES; i++)
            argv[n++] = environment[i];
    }
    argv[n++] = (char *)beckon_path();
    argv[n++] = "run";
    if (asprintf(&name, "--app.instance=%s", instance) < 0 ||
        asprintf(&more, "--%s", extra ? extra : "") < 0)
        test_die("out of memory");
    char *made[ARRAY_LEN(s->option)];
    for (size_t i = 0; i < s->n_options; i++) {
        if (asprintf(&made[i], "--%s", s->option[i]) < 0)
            test_die("out of memory");
        argv[n++] = made[i];
    }
    argv[n++] = name;
    if (extra)
        argv[n++] = more;
    argv[n] = NULL;
    autofree(free) char *log = log_file(s, instance);
    pid_t pid = process_start(argv, log);
    for (size_t i = 0; i < s->n_options; i++)
        free(made[i]);
    for (size_t i = 0; i < CLOCK_VARIABLES; i++)
        free(environment[i]);
    return pid;
}

char *service_log(struct service *s, const char *instance) {
    autofree(free) char *path = log_file(s, instance);
    return access(path, R_OK) == 0 ? read_file(path, NULL) : strdup("");
}

size_t service_said(struct service *s, const char *instance, const char *what) {
    autofree(free) char *log = service_log(s, instance);
    size_t n = 0;
    for (const char *p = log; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

struct awaited {
    struct service *s;
    const char *instance, *text;
    size_t times;
};

static bool said(void *arg) {
    struct awaited *a = arg;
    return service_said(a->s, a->instance, a->text) >= a->times;
}

void service_await(struct service *s, const char *instance, const char *what, size_t times) {
    struct awaited a = {s, instance, what, times};
    if (wait_until(said, &a, 60000))
        return;
    autofree(free) char *log = service_log(s, instance);
    test_die("instance %s never said %s:\n%s", instance, what, log);
}

void service_start(struct service *s) {
    atomic_store(&s->stop, false);
    if (config_load(NULL, s->option, s->n_options, &s->cfg) < 0)
        test_die("the configuration is not good");
    struct engine_config c = {
        .cfg = s->cfg, .stop = &s->stop, .static_member = true, .hooks = s->hooks};
    int r = engine_start(&c, &s->engine);
    if (r < 0)
        test_die("engine_start: %s", strerror(-r));
}

enum stream_end service_stop(struct service *s) {
    atomic_store(&s->stop, true);
    enum stream_end end = engine_finish(s->engine);
    s->engine = NULL;
    config_free(s->cfg);
    s->cfg = NULL;
    return end;
}

void service_metrics(struct service *s, struct metrics *ret) {
    engine_metrics(s->engine, ret);
}

/* ---- in ---- */

int64_t service_now_ms(void) {
    return clock_wall_ms();
}

void service_raw(struct service *s, int32_t partition, struct str key, struct str value) {
    kafka_put(s->kafka, s->clickstream, partition, key, value);
}

void service_click(struct service *s, struct click c) {
    char item[128] = "", value[64] = "", json[512];
    if (c.item)
        snprintf(item, sizeof item, ",\"item_id\":\"%s\"", c.item);
    if (c.value > 0)
        snprintf(value, sizeof value, ",\"value\":%g", c.value);
    int n = snprintf(json, sizeof json,
                     "{\"event_id\":\"%s\",\"user_id\":\"%s\",\"type\":\"%s\",\"time\":%lld%s%s}",
                     c.id, c.user, c.type, (long long)c.time_ms, item, value);
    service_raw(s, RD_KAFKA_PARTITION_UA, str_of(c.user), (struct str){json, (size_t)n});
}

void service_item(struct service *s, const char *id, const char *category, double price,
                  bool available) {
    char json[256];
    int n = snprintf(json, sizeof json,
                     "{\"item_id\":\"%s\",\"category\":[\"%s\"],\"price\":%g,\"available\":%s}", id,
                     category, price, available ? "true" : "false");
    kafka_put(s->kafka, s->items, RD_KAFKA_PARTITION_UA, str_of(id), (struct str){json, (size_t)n});
}

void service_consent(struct service *s, const char *user, const char *channel, bool granted) {
    char json[256];
    int n = snprintf(json, sizeof json, "{\"user_id\":\"%s\",\"consent\":{\"%s\":%s}}", user,
                     channel, granted ? "true" : "false");
    kafka_put(s->kafka, s->control, RD_KAFKA_PARTITION_UA, str_of(user),
              (struct str){json, (size_t)n});
}

/* Committed offsets against ends: how many partitions are there, which, and as text into `why` one
 * that is not. */
static int at_end(struct service *s, bool *ret, char *why, size_t why_n) {
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(s->partitions);
    for (int p = 0; p < s->partitions; p++)
        rd_kafka_topic_partition_list_add(list, s->clickstream, p);
    rd_kafka_resp_err_t err = rd_kafka_committed(s->probe, list, 10000);
    int there = 0, known = err ? 0 : s->partitions;
    memset(ret, 0, (size_t)s->partitions * sizeof *ret);
    if (err)
        snprintf(why, why_n, "%s", rd_kafka_err2str(err));
    for (int p = 0; p < known; p++) {
        int64_t low, high;
        rd_kafka_topic_partition_t *e = &list->elems[p];
        err = kafka_ends(s->probe, s->clickstream, p, &low, &high, 10000);
        ret[p] = !err && !e->err && (e->offset == high || (e->offset < 0 && high == 0));
        there += ret[p];
        if (!ret[p] && there == p) /* the first one */
            snprintf(why, why_n, "partition %d: committed %lld of %lld, %s", p,
                     (long long)e->offset, (long long)high, rd_kafka_err2str(err ? err : e->err));
    }
    rd_kafka_topic_partition_list_destroy(list);
    return there;
}

int service_at_end(struct service *s, bool ret[SERVICE_PARTITIONS_MAX]) {
    char why[256];
    return at_end(s, ret, why, sizeof why);
}

bool service_drained(struct service *s) {
    bool there[SERVICE_PARTITIONS_MAX];
    return service_at_end(s, there) == s->partitions;
}

void service_drain(struct service *s, int64_t timeout_ms) {
    kafka_flush(s->kafka);
    int64_t end = test_clock_ms() + timeout_ms;
    char why[256] = "", before[256] = "";
    bool there[SERVICE_PARTITIONS_MAX];
    while (at_end(s, there, why, sizeof why) < s->partitions) {
        if (strcmp(why, before) != 0) { /* it gets on */
            memcpy(before, why, sizeof before);
            end = test_clock_ms() + timeout_ms;
        }
        if (test_clock_ms() > end)
            test_die("the stream is not at its end: %s", why);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
}

/* ---- out ---- */

static char *member(json_t *j, const char *name) {
    const char *v = json_string_value(json_object_get(j, name));
    char *p = strdup(v ? v : "");
    if (!p)
        test_die("out of memory");
    return p;
}

static int by_all(const void *a, const void *b) {
    const struct sent *x = a, *y = b;
    int r = strcmp(x->id, y->id);
    r = r ? r : strcmp(x->user, y->user);
    r = r ? r : strcmp(x->campaign, y->campaign);
    r = r ? r : strcmp(x->reason, y->reason);
    return r ? r : (x->time_ms > y->time_ms) - (x->time_ms < y->time_ms);
}

void service_sents(struct service *s, const char *topic, struct sents *ret) {
    struct records r;
    kafka_read(s->kafka, topic, true, &r);
    *ret = (struct sents){calloc(r.n + 1, sizeof *ret->v), r.n};
    if (!ret->v)
        test_die("out of memory");
    for (size_t i = 0; i < r.n; i++) {
        json_t *j = json_loadb(r.v[i].value.p, r.v[i].value.n, 0, NULL);
        if (!j)
            test_die("%s holds no JSON: %s", topic, r.v[i].value.p);
        ret->v[i] = (struct sent){
            member(j, "trigger_id"),  member(j, "user_id"),
            member(j, "campaign_id"), member(j, "item_id"),
            member(j, "reason"),      json_integer_value(json_object_get(j, "time")),
        };
        json_decref(j);
    }
    records_free(&r);
    qsort(ret->v, ret->n, sizeof *ret->v, by_all);
}

static void sent_free(struct sent *t) {
    free(t->id);
    free(t->user);
    free(t->campaign);
    free(t->item);
    free(t->reason);
}

void sents_free(struct sents *l) {
    for (size_t i = 0; i < l->n; i++)
        sent_free(&l->v[i]);
    free(l->v);
    *l = (struct sents){0};
}

void sents_unique(struct sents *l) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (n && by_all(&l->v[n - 1], &l->v[i]) == 0)
            sent_free(&l->v[i]);
        else
            l->v[n++] = l->v[i];
    l->n = n;
}

void sents_only(struct sents *l, const char *campaign) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        if (strcmp(l->v[i].campaign, campaign) != 0)
            sent_free(&l->v[i]);
        else
            l->v[n++] = l->v[i];
    l->n = n;
}

size_t sents_repeated(const struct sents *l) {
    size_t n = 0;
    for (size_t i = 1; i < l->n; i++)
        n += strcmp(l->v[i - 1].id, l->v[i].id) == 0;
    return n;
}

size_t sents_count(const struct sents *l, const char *user, const char *campaign) {
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += (!user || strcmp(l->v[i].user, user) == 0) &&
             (!campaign || strcmp(l->v[i].campaign, campaign) == 0);
    return n;
}

const char *sents_differ(const struct sents *a, const struct sents *b) {
    static char out[512];
    for (size_t i = 0; i < a->n || i < b->n; i++) {
        int c = i >= a->n ? 1 : i >= b->n ? -1 : by_all(&a->v[i], &b->v[i]);
        if (c == 0)
            continue;
        const struct sent *t = c < 0 ? &a->v[i] : &b->v[i];
        snprintf(out, sizeof out, "%zu and %zu records; only the %s has %s user=%s campaign=%s %s",
                 a->n, b->n, c < 0 ? "first" : "second", t->id, t->user, t->campaign, t->reason);
        return out;
    }
    return NULL;
}

void sents_tally(const struct sents *a, const struct sents *b, size_t *ret_only_a,
                 size_t *ret_only_b) {
    *ret_only_a = *ret_only_b = 0;
    for (size_t i = 0, k = 0; i < a->n || k < b->n;) {
        int c = i == a->n ? 1 : k == b->n ? -1 : by_all(&a->v[i], &b->v[k]);
        *ret_only_a += c < 0;
        *ret_only_b += c > 0;
        i += c <= 0;
        k += c >= 0;
    }
}

/* ---- Redis ---- */

static redisReply *ask(struct service *s, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    redisReply *r = redisvCommand(s->eye, fmt, ap);
    va_end(ap);
    if (!r || r->type == REDIS_REPLY_ERROR)
        test_die("%s: %s", fmt, r ? r->str : s->eye->errstr);
    return r;
}

char *service_list(struct service *s, const char *user) {
    redisReply *r = ask(s, "ZREVRANGE beckon:top:{%s} 0 -1", user);
    struct buf b = {0};
    for (size_t i = 0; i < r->elements; i++) {
        buf_put(&b, " ", i ? 1 : 0);
        buf_put(&b, r->element[i]->str, r->element[i]->len);
    }
    buf_put(&b, "", 1);
    freeReplyObject(r);
    return (char *)b.p;
}

long long service_keys(struct service *s, const char *pattern) {
    redisReply *r = ask(s, "KEYS %s", pattern);
    long long n = (long long)r->elements;
    freeReplyObject(r);
    return n;
}

double service_field(struct service *s, const char *key, const char *field) {
    redisReply *r = ask(s, "HGET %s %s", key, field);
    double v = r->type == REDIS_REPLY_STRING ? strtod(r->str, NULL) : -1;
    freeReplyObject(r);
    return v;
}

void service_redis_restart(struct service *s) {
    redisFree(s->eye);
    redis_server_restart(s->redis);
    s->eye = redis_server_connect(s->redis);
}
