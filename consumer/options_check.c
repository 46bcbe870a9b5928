/* What the options say of each other, after every single one was found right. */
#include <inttypes.h>

#include <sys/socket.h>

#include "consumer/address.h"
#include "consumer/log.h"
#include "consumer/metrics.h"
#include "consumer/options_table.h"
#include "consumer/restorer.h"
#include "consumer/tz.h"
#include "model/model.h"

_Static_assert(TOP_MAX >= 200, "lists.n and lists.similar_n go up to 200");

enum { SAVE_LEAST_MS = 100 };

struct check {
    const struct config *c;
    config_fault_fn *fault;
    void *ctx;
};

static bool name_ok(const char *s) {
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               strlen(s) &&
           strcmp(s, ".") != 0 && strcmp(s, "..") != 0;
}

static void check_names(const struct check *k) {
    const struct config *c = k->c;
    const struct {
        const char *key, *name;
        bool topic;
    } names[] = {
        {"topics.clickstream", c->topics_clickstream, true},
        {"topics.items", c->topics_items, true},
        {"topics.user_control", c->topics_control, true},
        {"topics.triggers", c->topics_triggers, true},
        {"topics.decisions", c->topics_decisions, true},
        {"topics.outcomes", c->topics_outcomes, true},
        {"topics.dead_letters", c->topics_dlq, true},
        {"app.name", c->app_name, false},
        {"app.instance", c->app_instance, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (!name_ok(names[i].name))
            k->fault(k->ctx, names[i].key,
                     "found %s, allowed are letters, digits, '.', '_' and '-'",
                     log_q(names[i].name));
        for (size_t j = 0; j < i; j++)
            if (names[i].topic && names[j].topic && *names[i].name &&
                strcmp(names[i].name, names[j].name) == 0)
                k->fault(k->ctx, names[i].key, "is the same topic as %s: %s; each needs its own",
                         names[j].key, log_q(names[i].name));
    }
}

static void check_tls(const struct check *k) {
    const struct config *c = k->c;
    const struct {
        const char *key, *value;
    } of_tls[] = {{"redis.tls_ca", c->redis_tls_ca},
                  {"redis.tls_cert", c->redis_tls_cert},
                  {"redis.tls_key", c->redis_tls_key},
                  {"redis.tls_name", c->redis_tls_name}};
    for (size_t i = 0; i < ARRAY_LEN(of_tls); i++)
        if (!c->redis_tls && *of_tls[i].value)
            k->fault(k->ctx, of_tls[i].key, "has no use while redis.tls is false");
    if (c->redis_tls && *c->redis_tls_cert && !*c->redis_tls_key)
        k->fault(k->ctx, "redis.tls_cert", "needs redis.tls_key");
    if (c->redis_tls && *c->redis_tls_key && !*c->redis_tls_cert)
        k->fault(k->ctx, "redis.tls_key", "needs redis.tls_cert");
}

static void check_redis(const struct check *k) {
    const struct config *c = k->c;
    autofree(free) struct address *list = NULL;
    size_t n;
    if (address_list(c->redis_address, &list, &n) == -EINVAL)
        k->fault(k->ctx, "redis.address",
                 "found %s, allowed is host:port or /path/of/socket, or several, with commas",
                 log_q(c->redis_address));
    if (c->redis_cluster && c->redis_db)
        k->fault(k->ctx, "redis.db", "must be 0: a cluster has no others");
    if (c->redis_cluster && *c->redis_sentinel_master)
        k->fault(k->ctx, "redis.sentinel_master", "has no use with redis.cluster");
    if (*c->redis_sentinel_password_file && !*c->redis_sentinel_master)
        k->fault(k->ctx, "redis.sentinel_password_file", "needs redis.sentinel_master");
    if (*c->redis_password_file && *c->redis_password_env)
        k->fault(k->ctx, "redis.password_env", "has no use with redis.password_file");
    check_tls(k);
    if (*c->redis_user && !*c->redis_password_file && !*c->redis_password_env)
        k->fault(k->ctx, "redis.user", "needs redis.password_file or redis.password_env");
}

static void check_stream(const struct check *k) {
    const struct config *c = k->c;
    if (c->model_save_interval && c->model_save_interval < SAVE_LEAST_MS)
        k->fault(k->ctx, "model.save_interval", "found %" PRId64 "ms, allowed is 0 or from %dms on",
                 c->model_save_interval, SAVE_LEAST_MS);
    if (c->model_save_interval == 0 && c->app_workers > 1)
        k->fault(k->ctx, "app.workers", "must be 1: model.save_interval is 0");
    if (c->model_save_interval == 0 && c->stream_guarantee != EXACTLY_ONCE)
        k->fault(k->ctx, "stream.guarantee", "must be exactly-once: model.save_interval is 0");
    if (c->stream_guarantee != EXACTLY_ONCE)
        return;
    int64_t timeout = INT64_MAX; /* unless it is set, the stream chooses one that is long enough */
    for (size_t i = 0; i < c->n_kafka; i++)
        if (strcmp(c->kafka[i].key, "transaction.timeout.ms") == 0)
            timeout = strtoll(c->kafka[i].value, NULL, 10);
    if (timeout < 2 * c->stream_commit_interval) {
        char interval[VALUE_MAX];
        format_ms(c->stream_commit_interval, interval);
        k->fault(k->ctx, "stream.commit_interval",
                 "is %s, but kafka.transaction.timeout.ms is %" PRId64
                 ": it must be at least twice as long, or the broker aborts transactions",
                 interval, timeout);
    }
}

void config_cross_check(const struct config *c, config_fault_fn *fault, void *ctx) {
    const struct check k = {c, fault, ctx};
    check_names(&k);
    check_redis(&k);
    check_stream(&k);
    if (!standby_ok(c->state_standby))
        fault(ctx, "state.standby", "found %s, allowed is all, or partitions such as 0-3,7",
              log_q(c->state_standby));
    struct sockaddr_storage at;
    if (*c->app_metrics_listen && listen_parse(c->app_metrics_listen, &at) < 0)
        fault(ctx, "app.metrics_listen",
              "found %s, allowed is address:port, such as 127.0.0.1:9464 or, for the same, :9464",
              log_q(c->app_metrics_listen));
    if (!tz_get(str_of(c->policy_timezone)))
        fault(ctx, "policy.timezone",
              "found %s, which the system's time zones do not hold; allowed is a name such as "
              "Europe/Berlin (is the package tzdata there?)",
              log_q(c->policy_timezone));
    if (c->model_dim % 8 != 0)
        fault(ctx, "model.dim", "found %" PRId64 ", allowed are multiples of 8, such as %" PRId64,
              c->model_dim, (c->model_dim + 4) / 8 * 8);
}
