#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/demo.h"
#include "consumer/log.h"

/* The marketing team's file of the simulated shop. The same two campaigns for each panel of users
 * (consumer/sim.h): in one, rules choose what to send, in one, chance, in one, what was learned. */
static const char demo_groups[] = "# Written by `beckon demo`.\n"
                                  "holdout: {percent: 5}\n"
                                  "caps: {user: 24 per 1d}\n"
                                  "defaults: {channel: email, contact_cost: 0.05, window: 10m}\n"
                                  "groups:\n"
                                  "  learned: {policy: squarecb}\n"
                                  "  rules: {policy: rules}\n"
                                  "  random: {policy: random}\n"
                                  "campaigns:\n"
                                  "  - id: thanks\n"
                                  "    trigger: {event: {type: purchase}}\n"
                                  "    audience: [spend > 100]\n"
                                  "    offer: {kind: message, message: thank-you}\n"
                                  "    valid_for: 7d\n"
                                  "    quiet_hours: {from: \"20:00\", to: \"09:00\", then: drop}\n"
                                  "    transactional: true\n"
                                  "    caps: 1 per 1d\n";
#define DEMO_OFFERS                                                                                \
    "    offers:\n"                                                                                \
    "      - {name: ten, kind: coupon, discount_percent: 10}\n"                                    \
    "      - {name: message, kind: message, message: look-again}\n"                                \
    "      - {name: five, kind: coupon, discount_percent: 5}\n"                                    \
    "      - {name: twenty, kind: coupon, discount_percent: 20}\n"
/* %1$s: the panel. */
static const char demo_panel[] =
    "  - id: cart-rescue-%1$s\n"
    "    group: %1$s\n"
    "    priority: 10\n"
    "    trigger: {cart_abandoned: {after: 10m}}\n"
    "    audience: [context.panel == %1$s]\n" DEMO_OFFERS "    valid_for: 2d\n"
    "    caps: 6 per 12h\n"
    "  - id: keen-browser-%1$s\n"
    "    group: %1$s\n"
    "    priority: 5\n"
    "    trigger: {viewed: {category: same, times: 4, within: 1h}}\n"
    "    audience: [context.panel == %1$s]\n" DEMO_OFFERS "    valid_for: 1d\n"
    "    caps: 6 per 6h\n"
    "    budget: 5000 per day\n";

enum {
    ACCELERATION = 120,
    TICK_MS = 250,
    LINE_MS = 5000,
    RATE_MS = 1000,
    PARTITIONS = 4,
    HORIZON_S = 24 * 3600
};

static atomic_bool stop;

static void on_signal(int sig) {
    (void)sig;
    atomic_store(&stop, true);
}

struct demo {
    struct config *cfg;
    struct private_redis redis;
    rd_kafka_t *mock_client;
    rd_kafka_mock_cluster_t *mock;
    struct shop *shop;
    struct engine *engine;
    struct foresight foresight;
    int64_t started_us, seconds;
    uint64_t rated_events;
    double rate; /* of about the last second: batches come in steps */
    int64_t rated_us, shown_us;
    bool terminal, greeted;
    int columns, lines; /* of the terminal; on it, to go back over */
};

/* ---- showing ---- */

static double percent(uint64_t part, uint64_t whole) {
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static uint64_t dead_letters(const struct metrics *m) {
    uint64_t n = 0;
    for (int i = 0; i < DEAD_COUNT; i++)
        n += metric_get(&m->dead[i]);
    return n;
}

static void line(struct demo *d, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(struct demo *d, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    int n = vprintf(fmt, ap);
    va_end(ap);
    putchar('\n');
    d->lines += d->columns && n > 0 ? (n + d->columns - 1) / d->columns : 1;
}

static int terminal_columns(void) {
    struct winsize size;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static void show_reasons(struct demo *d, const struct metrics *m) {
    char text[512];
    size_t n = 0;
    for (int i = 0; i < PR_COUNT && n < sizeof text; i++)
        if (metric_get(&m->suppressed[i]))
            n += (size_t)snprintf(text + n, sizeof text - n, "  %s %llu",
                                  policy_reason_name((enum policy_reason)i),
                                  (unsigned long long)metric_get(&m->suppressed[i]));
    line(d, "  suppressed       %s", n ? text : "  none yet");
    n = 0;
    for (int i = 0; i < DEAD_COUNT && n < sizeof text; i++)
        if (metric_get(&m->dead[i]))
            n += (size_t)snprintf(text + n, sizeof text - n, "  %s %llu",
                                  dead_reason_name((enum dead_reason)i),
                                  (unsigned long long)metric_get(&m->dead[i]));
    line(d, "  dead letters     %s", n ? text : "  none yet");
}

/* What each way of deciding earned beyond sending nothing, and what one who knows the users could
 * have at the same moments. */
static void margin_text(struct demo *d, char *ret, size_t size) {
    size_t n = 0;
    for (int p = 0; p < PANELS && n < size; p++) {
        struct sim_earnings e;
        shop_earned(d->shop, (enum sim_panel)p, &e);
        double users = 0.01 * (e.users ? e.users : 1);
        n += (size_t)snprintf(ret + n, size - n, "%s%s %+.1f of %.1f", n ? ", " : "",
                              sim_panel_name((enum sim_panel)p), e.gained / users,
                              e.possible / users);
    }
}

static void show_commands(struct demo *d) {
    line(d, "  redis-cli -s %s ZREVRANGE '%stop:{%s}' 0 9 WITHSCORES", d->redis.socket,
         d->cfg->redis_prefix, d->foresight.user);
    line(d, "  redis-cli -s %s HGETALL '%suser:{%s}'", d->redis.socket, d->cfg->redis_prefix,
         d->foresight.user);
    line(d, "  redis-cli -s %s XREVRANGE %striggers + - COUNT 3", d->redis.socket,
         d->cfg->redis_prefix);
}

static void show_live(struct demo *d, const struct metrics *m, double rate) {
    uint64_t cases = atomic_load(&d->foresight.cases);
    if (d->lines)
        printf("\033[%dA\033[J", d->lines);
    d->lines = 0;
    d->columns = terminal_columns(); /* a long line takes several rows */
    line(d, "beckon demo   %lld of %lld s   simulated time runs %d times as fast",
         (long long)(clock_mono_us() - d->started_us) / 1000000, (long long)d->seconds,
         ACCELERATION);
    line(d, "  events            %10llu   %8.0f/s   lag %lld",
         (unsigned long long)metric_get(&m->events), rate, (long long)metric_gauge(&m->lag));
    line(d, "  lists written     %10llu   from event to list: median %.1f ms, p99 %.1f ms",
         (unsigned long long)metric_get(&m->lists_written),
         hist_percentile(&m->list_latency, 0.5) / 1000,
         hist_percentile(&m->list_latency, 0.99) / 1000);
    line(d,
         "  next view on the user's list of %lld: %5.1f %%   on the list of the most popular: "
         "%5.1f %%",
         (long long)d->cfg->lists_n, percent(atomic_load(&d->foresight.hits), cases),
         percent(atomic_load(&d->foresight.popular_hits), cases));
    line(d, "  triggers sent     %10llu   answered by users: %llu",
         (unsigned long long)metric_get(&m->triggers), (unsigned long long)shop_coupons(d->shop));
    char margin[256];
    margin_text(d, margin, sizeof margin);
    line(d, "  margin per 100 users over sending nothing, and an oracle's:  %s", margin);
    show_reasons(d, m);
    if (atomic_load(&d->foresight.user_lock) == 2) {
        line(d, "%s", "");
        line(d, "While it runs, try in another terminal:");
        show_commands(d);
    }
    fflush(stdout);
}

static void show_line(struct demo *d, const struct metrics *m, double rate) {
    uint64_t cases = atomic_load(&d->foresight.cases);
    line(d,
         "%3lld s  events %llu (%.0f/s)  lag %lld  lists %llu  event-to-list p50 %.1f ms  hit@%lld "
         "%.1f %% "
         "(popularity %.1f %%)  triggers %llu  dead letters %llu",
         (long long)(clock_mono_us() - d->started_us) / 1000000,
         (unsigned long long)metric_get(&m->events), rate, (long long)metric_gauge(&m->lag),
         (unsigned long long)metric_get(&m->lists_written),
         hist_percentile(&m->list_latency, 0.5) / 1000, (long long)d->cfg->lists_n,
         percent(atomic_load(&d->foresight.hits), cases),
         percent(atomic_load(&d->foresight.popular_hits), cases),
         (unsigned long long)metric_get(&m->triggers), (unsigned long long)dead_letters(m));
    char margin[256];
    margin_text(d, margin, sizeof margin);
    line(d, "       margin per 100 users over sending nothing, and an oracle's: %s", margin);
    if (!d->greeted && atomic_load(&d->foresight.user_lock) == 2) {
        d->greeted = true;
        line(d, "While it runs, try in another terminal:");
        show_commands(d);
    }
    fflush(stdout);
}

static void watch(struct demo *d) {
    autofree(free) struct metrics *m = calloc(1, sizeof *m);
    int64_t end = d->started_us + d->seconds * 1000000, due = d->terminal ? TICK_MS : LINE_MS;
    d->shown_us = d->rated_us = clock_mono_us();
    while (m && engine_running(d->engine) && !atomic_load(&stop) &&
           (!d->seconds || clock_mono_us() < end)) {
        poll(NULL, 0, TICK_MS / 2);
        int64_t now = clock_mono_us();
        if (now - d->shown_us < due * 1000)
            continue;
        engine_metrics(d->engine, m);
        d->shown_us = now;
        if (now - d->rated_us >= RATE_MS * 1000) {
            uint64_t events = metric_get(&m->events);
            d->rate = (double)(events - d->rated_events) * 1e6 / (double)(now - d->rated_us);
            d->rated_events = events;
            d->rated_us = now;
        }
        if (d->terminal)
            show_live(d, m, d->rate);
        else
            show_line(d, m, d->rate);
    }
}

/* The last word, and whether it was a success. */
static bool summary(struct demo *d, const struct metrics *m) {
    uint64_t cases = atomic_load(&d->foresight.cases), hits = atomic_load(&d->foresight.hits),
             popular = atomic_load(&d->foresight.popular_hits);
    d->lines = 0;
    printf("\nSummary\n");
    line(d,
         "  %llu events in %.0f s; %llu lists, %llu triggers sent (%llu reached the simulated "
         "users)",
         (unsigned long long)metric_get(&m->events),
         (double)(clock_mono_us() - d->started_us) / 1e6,
         (unsigned long long)metric_get(&m->lists_written),
         (unsigned long long)metric_get(&m->triggers), (unsigned long long)shop_coupons(d->shop));
    line(d,
         "  of %llu views looked at, %.1f %% were on the user's list of %lld just before; "
         "popularity: %.1f %%",
         (unsigned long long)cases, percent(hits, cases), (long long)d->cfg->lists_n,
         percent(popular, cases));
    line(d, "  margin of what was decided, beyond that of sending nothing, per 100 users:");
    for (int p = 0; p < PANELS; p++) {
        struct sim_earnings e;
        shop_earned(d->shop, (enum sim_panel)p, &e);
        double users = 0.01 * (e.users ? e.users : 1);
        line(d, "    %-8s %8.2f   oracle %8.2f   %.0f %% of it   %llu moments, %llu sent",
             sim_panel_name((enum sim_panel)p), e.gained / users, e.possible / users,
             e.possible > 0 ? 100 * e.gained / e.possible : 0, (unsigned long long)e.moments,
             (unsigned long long)e.sent);
    }
    line(d, "  a user costs %lld bytes, an item %lld", (long long)metrics_bytes_per_user(m),
         (long long)metric_gauge(&m->bytes_per_item));
    show_reasons(d, m);
    line(d, "To look for yourself, while it runs (--seconds 0 runs until Ctrl-C):");
    show_commands(d);
    bool ok = true;
    const struct {
        bool good;
        const char *text;
    } checks[] = {
        {metric_get(&m->lists_written) > 0, "no list was written"},
        {metric_get(&m->triggers) > 0, "no trigger was sent"},
        {hits > popular, "the lists did not beat popularity"},
    };
    for (size_t i = 0; i < ARRAY_LEN(checks); i++)
        if (!checks[i].good) {
            printf("  FAILED: %s\n", checks[i].text);
            ok = false;
        }
    return ok;
}

/* ---- setting up ---- */

static int write_campaigns(const char *path) {
    FILE *f = fopen(path, "w");
    if (!f)
        return -errno;
    fputs(demo_groups, f);
    for (int p = 0; p < PANELS; p++)
        fprintf(f, demo_panel, sim_panel_name((enum sim_panel)p));
    return fclose(f) ? -errno : 0;
}

static int open_mock(struct demo *d) {
    char err[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    /* Only carries the cluster; it never connects anywhere. */
    rd_kafka_conf_set(conf, "bootstrap.servers", "127.0.0.1:1", NULL, 0);
    rd_kafka_conf_set(conf, "log_level", "0", NULL, 0);
    d->mock_client = rd_kafka_new(RD_KAFKA_PRODUCER, conf, err, sizeof err);
    d->mock = d->mock_client ? rd_kafka_mock_cluster_new(d->mock_client, 1) : NULL;
    if (!d->mock) {
        fprintf(stderr, "beckon demo: cannot start the embedded Kafka\n");
        return -EIO;
    }
    return 0;
}

/* The demo's settings come before the user's, so that his win. */
static int load_config(struct demo *d, const char *path, struct flag_list *user) {
    char text[8][256];
    const struct {
        const char *key, *value;
    } ours[] = {
        {"kafka.bootstrap.servers", rd_kafka_mock_cluster_bootstraps(d->mock)},
        {"redis.address", d->redis.socket},
        {"policy.campaigns", NULL},
        {"stream.commit_interval", "200ms"},
        {"app.log_level", "warning"},
    };
    struct flag_list all = {.v = calloc(ARRAY_LEN(ours) + user->n, sizeof(char *))};
    if (!all.v)
        return -ENOMEM;
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        if (ours[i].value)
            snprintf(text[i], sizeof text[i], "%s=%s", ours[i].key, ours[i].value);
        else
            snprintf(text[i], sizeof text[i], "%s=%s/campaigns.yaml", ours[i].key, d->redis.dir);
        all.v[all.n++] = strdup(text[i]);
    }
    for (size_t i = 0; i < user->n; i++)
        all.v[all.n++] = user->v[i];
    free(user->v);
    *user = (struct flag_list){0};
    return cli_load(path, &all, &d->cfg);
}

static void create_topics(struct demo *d) {
    const struct config *c = d->cfg;
    const char *names[] = {c->topics_clickstream, c->topics_items,     c->topics_control,
                           c->topics_triggers,    c->topics_decisions, c->topics_outcomes,
                           c->topics_dlq};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (*names[i])
            rd_kafka_mock_topic_create(d->mock, names[i], PARTITIONS, 1);
    char own[256];
    snprintf(own, sizeof own, "beckon-%s-changelog", c->app_name);
    rd_kafka_mock_topic_create(d->mock, own, PARTITIONS, 1);
    snprintf(own, sizeof own, "beckon-%s-model", c->app_name);
    rd_kafka_mock_topic_create(d->mock, own, 1, 1);
}

/* What the engine is through with, for the shop not to outrun it. */
static uint64_t processed(void *ctx) {
    struct demo *d = ctx;
    struct metrics m;
    engine_metrics(d->engine, &m);
    uint64_t decoded_dead = dead_letters(&m) - metric_get(&m.duplicates);
    return metric_get(&m.events) + decoded_dead;
}

static void close_demo(struct demo *d) {
    shop_free(d->shop);
    if (d->mock)
        rd_kafka_mock_cluster_destroy(d->mock);
    if (d->mock_client)
        rd_kafka_destroy(d->mock_client);
    private_redis_stop(&d->redis);
    config_free(d->cfg);
}

static int start(struct demo *d, const struct shop_config *shop, atomic_bool *engine_stop) {
    create_topics(d);
    int r = shop_open(shop, &d->shop);
    if (r < 0)
        return r;
    struct engine_config ec = {
        .cfg = d->cfg,
        .stop = engine_stop,
        .hooks = {.batch = foresight_batch, .ctx = &d->foresight},
    };
    r = engine_start(&ec, &d->engine);
    if (r == 0)
        r = shop_start(d->shop, processed, d);
    return r;
}

int cmd_demo(int argc, char **argv) {
    int64_t seconds = 60, users = 2000, items = 2000, rate = 2000, seed = 1;
    const struct flag flags[] = {
        {"seconds", FLAG_INT, &seconds, "N", "how long; 0: until Ctrl-C", 0, 86400},
        {"users", FLAG_INT, &users, "N", "simulated users", 1, 10000000},
        {"items", FLAG_INT, &items, "N", "items of the catalogue", 1, 1000000},
        {"rate", FLAG_INT, &rate, "N", "events per second", 1, 1000000},
        {"seed", FLAG_INT, &seed, "N", "of the simulation", 0, 1e15},
    };
    const struct usage usage = {
        .synopsis = "demo [--seconds N] [--users N] [--items N] [--rate N] [--seed N]",
        .text = "Everything in one process, nothing to set up: an embedded Kafka (librdkafka's "
                "mock cluster), "
                "a private redis-server on a Unix socket, a simulated shop whose users have hidden "
                "tastes and "
                "answer coupons, and the same engine as `beckon run` between them. Shows what it "
                "does while it "
                "runs, and redis-cli commands to look for yourself. Simulated time runs faster "
                "than the clock, "
                "so that abandoned carts and caps of hours can be seen in a minute.\n"
                "The users are split into panels: for one, rules choose among the offers, for one, "
                "chance, for one, a bandit that learns from their answers. What each earned beyond "
                "sending nothing is shown beside what one who knows the users could have.\n"
                "Exit code 0 only if lists were written, triggers were sent, and the lists foresaw "
                "what users "
                "looked at next better than the list of the most popular items.",
        .examples = "  beckon demo\n"
                    "  beckon demo --seconds 0 --rate 5000 --users 20000\n"
                    "  beckon demo --seconds 30 --model.covisit_weight=0\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .max_args = 0,
    };
    struct flag_list args = {0}, overrides = {0};
    const char *path = NULL;
    int r = cli_scan(&usage, argc, argv, &args, &overrides, &path);
    if (r)
        return r - 1;
    struct sigaction sa = {.sa_handler = on_signal};
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    signal(SIGPIPE, SIG_IGN);

    struct demo *d = calloc(1, sizeof *d);
    if (!d)
        return EXIT_FAILED;
    d->seconds = seconds;
    d->terminal = is_terminal(stdout);
    printf(
        "Starting an embedded Kafka, a private Redis and a shop of %lld users and %lld items …\n",
        (long long)users, (long long)items);
    fflush(stdout);
    char campaigns[96];
    bool ok = false;
    atomic_bool engine_stop = false;
    struct metrics *m = calloc(1, sizeof *m);
    r = m ? private_redis_start(&d->redis) : -ENOMEM;
    if (r == 0) {
        snprintf(campaigns, sizeof campaigns, "%s/campaigns.yaml", d->redis.dir);
        r = write_campaigns(campaigns);
    }
    if (r == 0)
        r = open_mock(d);
    if (r == 0 && (r = load_config(d, path, &overrides)))
        r = -EINVAL;
    if (r == 0) {
        struct shop_config sc = {
            .cfg = d->cfg,
            .brokers = rd_kafka_mock_cluster_bootstraps(d->mock),
            .rate = (double)rate,
            .acceleration = ACCELERATION,
        };
        sim_config_default(&sc.sim);
        sc.sim.users = (uint32_t)users;
        sc.sim.items = (uint32_t)items;
        sc.sim.seed = (uint64_t)seed;
        sc.sim.events_per_s = (double)rate / ACCELERATION;
        /* Simulated time ends about now. */
        sc.sim.start_ms = clock_wall_ms() - (seconds ? seconds : HORIZON_S) * ACCELERATION * 1000;
        d->started_us = clock_mono_us();
        r = start(d, &sc, &engine_stop);
    }
    if (r == 0) {
        d->started_us = clock_mono_us();
        watch(d);
        shop_stop(d->shop);
        engine_metrics(d->engine, m);
        ok = summary(d, m);
    }
    atomic_store(&engine_stop, true);
    if (d->engine && engine_finish(d->engine) != STREAM_STOPPED)
        ok = false;
    if (r < 0)
        fprintf(stderr, "beckon demo: could not start: %s\n", strerror(-r));
    close_demo(d);
    free(m);
    free(d);
    flag_list_clear(&args);
    return ok ? EXIT_DONE : r == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
