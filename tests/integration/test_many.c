/* Several processes of one deployment: they learn what one would, whoever of them dies nothing that
 * was learned is lost, and one that is started anew stops nobody else. */
#include <criterion/criterion.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>

#include "consumer/kafka_util.h"
#include "consumer/metrics.h"
#include "model/internal.h"
#include "model/share.h"
#include "tests/support/feed.h"

enum { PARTITIONS = 3, USERS = 120, ITEMS = 900, ROUNDS = 24, EVENTS = USERS * ROUNDS, TOP = 5 };

/* Users walk from item to item, two times of three by one rule that all share: what is learned of
 * one is worth something for the others, and each step is seen two or three times only. */
static unsigned next_of(unsigned item) {
    return (item * 7 + 13) % ITEMS;
}

struct walk {
    struct rng r;
    unsigned at[USERS];
    unsigned n;
    bool met[ITEMS];
    unsigned n_met;
    int64_t start_ms;
};

static void walk_start(struct walk *w) {
    *w = (struct walk){.start_ms = service_now_ms() - 3600000};
    rng_seed(&w->r, 11);
    for (int u = 0; u < USERS; u++)
        w->at[u] = rng_below(&w->r, ITEMS);
}

static void walk_on(struct walk *w, struct service *s, int rounds) {
    for (int round = 0; round < rounds; round++)
        for (int u = 0; u < USERS; u++) {
            char id[16], user[16], item[16];
            w->at[u] = rng_below(&w->r, 3) ? next_of(w->at[u]) : rng_below(&w->r, ITEMS);
            w->n_met += !w->met[w->at[u]];
            w->met[w->at[u]] = true;
            snprintf(id, sizeof id, "e%u", w->n);
            snprintf(user, sizeof user, "u%d", u);
            snprintf(item, sizeof item, "i%u", w->at[u]);
            service_click(
                s, (struct click){id, user, item, "view", w->start_ms + w->n++ * INT64_C(100), 0});
        }
    kafka_flush(s->kafka);
}

/* ---- processes ---- */

static double heard(struct service *s, const char *instance, const char *field) {
    char key[64];
    snprintf(key, sizeof key, "beckon:stats:{%s}", instance);
    return service_field(s, key, field);
}

struct all_ears {
    struct service *s;
    const char *const *instance;
    size_t n;
    double events; /* told so far, by whomever */
};

/* Each has learned every event, its own or another's. */
static bool all_heard(void *arg) {
    struct all_ears *a = arg;
    for (size_t i = 0; i < a->n; i++)
        if (heard(a->s, a->instance[i], "events") + heard(a->s, a->instance[i], "heard") !=
            a->events)
            return false;
    return true;
}

static const char *const names[] = {"a", "b", "c"};

static void open_service(struct service *s, struct kafka *k, const char *campaigns) {
    service_open(s, k, PARTITIONS, campaigns);
    service_option(s, "kafka.session.timeout.ms=10000");
    service_option(s, "kafka.heartbeat.interval.ms=500");
    service_option(s, "lists.similar_interval=10ms");
}

/* n processes, each of which has partitions. */
static void run(struct service *s, pid_t *pid, size_t n) {
    for (size_t i = 0; i < n; i++) {
        pid[i] = service_run(s, names[i], NULL);
        service_await(s, names[i], "partition-ready", 1);
    }
}

static bool all_lists(void *s) {
    return service_keys(s, "beckon:top:*") == USERS;
}

/* ---- what was learned ---- */

/* Of how many users the next step stands among the first TOP of their lists, made anew. */
static double hits(struct service *s, const struct walk *w) {
    unsigned n = 0;
    freeReplyObject(redisCommand(s->eye, "FLUSHALL"));
    cr_assert(wait_until(all_lists, s, 30000), "lists are missing");
    for (int u = 0; u < USERS; u++) {
        redisReply *r = redisCommand(s->eye, "ZREVRANGE beckon:top:{u%d} 0 %d", u, TOP - 1);
        char want[16];
        snprintf(want, sizeof want, "i%u", next_of(w->at[u]));
        for (size_t i = 0; i < r->elements; i++)
            n += strcmp(r->element[i]->str, want) == 0;
        freeReplyObject(r);
    }
    return (double)n / USERS;
}

struct similar_lists {
    struct service *s;
    const struct walk *w;
};

/* Whatever was met stands beside something else. */
static bool all_similar(void *arg) {
    const struct similar_lists *l = arg;
    return service_keys(l->s, "beckon:similar:*") == l->w->n_met;
}

/* How close to each item what is most like it is; 0: nothing. */
static void closest(struct service *s, double ret[ITEMS]) {
    for (int i = 0; i < ITEMS; i++) {
        redisReply *r = redisCommand(s->eye, "ZREVRANGE beckon:similar:{i%d} 0 0 WITHSCORES", i);
        ret[i] = r->elements == 2 ? strtod(r->element[1]->str, NULL) : 0;
        freeReplyObject(r);
    }
}

/* Of how many items that is the same. */
static double alike(const double *a, const double *b) {
    int n = 0, same = 0;
    for (int i = 0; i < ITEMS; i++) {
        n += a[i] > 0;
        same += a[i] > 0 && fabs(a[i] - b[i]) < 0.01 * a[i];
    }
    return (double)same / n;
}

/* The same stream through n processes. */
static double learned_by(struct kafka *k, size_t n, bool share, double similar[ITEMS]) {
    struct service s;
    pid_t pid[ARRAY_LEN(names)];
    struct walk w;
    open_service(&s, k, NULL);
    service_option(&s, "model.share=%s", share ? "true" : "false");
    run(&s, pid, n);
    walk_start(&w);
    walk_on(&w, &s, ROUNDS);
    service_drain(&s, 60000);
    struct all_ears ears = {&s, names, n, EVENTS};
    if (share && !wait_until(all_heard, &ears, 30000))
        test_die("of %zu processes the first learned %g events and heard %g", n,
                 heard(&s, names[0], "events"), heard(&s, names[0], "heard"));
    double rate = hits(&s, &w);
    if (!wait_until(all_similar, &(struct similar_lists){&s, &w}, 30000))
        test_die("%lld items of %u have lists", service_keys(&s, "beckon:similar:*"), w.n_met);
    closest(&s, similar);
    for (size_t i = 0; i < n; i++)
        service_end(&s, pid[i], names[i]);
    service_close(&s);
    return rate;
}

Test(many, two_and_three_processes_learn_what_one_would, .timeout = 240) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    static double of_one[ITEMS], of_two[ITEMS], of_three[ITEMS], of_apart[ITEMS];
    double one = learned_by(k, 1, true, of_one), two = learned_by(k, 2, true, of_two),
           three = learned_by(k, 3, true, of_three), apart = learned_by(k, 3, false, of_apart);
    fprintf(stderr,
            "next step among the first %d: one %.3f two %.3f three %.3f, apart %.3f\n"
            "as similar as for one: two %.3f three %.3f, apart %.3f\n",
            TOP, one, two, three, apart, alike(of_one, of_two), alike(of_one, of_three),
            alike(of_one, of_apart));
    /* 120 users: a standard error is 0.045. */
    cr_assert_gt(one, 0.4);
    cr_assert_gt(two, one - 0.1);
    cr_assert_gt(three, one - 0.1);
    cr_assert_lt(apart, three - 0.15);
    /* Counts are the same, whoever made them. */
    cr_assert_gt(alike(of_one, of_two), 0.95);
    cr_assert_gt(alike(of_one, of_three), 0.95);
    cr_assert_lt(alike(of_one, of_apart), 0.5);
}

/* ---- dying ---- */

static bool has_partitions(void *s) {
    struct metrics m;
    service_metrics(s, &m);
    return metric_gauge(&m.partitions) > 0 && metric_gauge(&m.restoring) == 0;
}

static int64_t leads(struct service *s) {
    struct metrics m;
    service_metrics(s, &m);
    return metric_gauge(&m.leads);
}

struct ear {
    struct service *s;
    uint64_t events;
};

static bool knows_all(void *arg) {
    struct ear *e = arg;
    struct metrics m;
    service_metrics(e->s, &m);
    return metric_get(&m.events) + metric_get(&m.heard) >= e->events;
}

/* The rows saved have all that is told: none of it was in the midst of a commit then. */
static bool all_marked(void *arg) {
    struct service *s = arg;
    struct records r;
    struct share_mark mark = {0};
    char topic[TOPIC_NAME + 16];
    snprintf(topic, sizeof topic, "beckon-%s-model", s->app);
    kafka_glance(s->kafka, topic, &r);
    for (size_t i = 0; i < r.n; i++)
        if (share_is_mark(r.v[i].key))
            cr_assert_eq(share_mark_get(r.v[i].value.p, r.v[i].value.n, &mark), 0);
    size_t left = 0;
    for (size_t i = 0; i < r.n; i++) {
        struct share_reader told;
        if (share_is_told(r.v[i].key) && !share_open(&told, r.v[i].value.p, r.v[i].value.n))
            left += told.run == mark.run ? told.number >= mark.told : r.v[i].offset >= mark.offset;
    }
    records_free(&r);
    return left == 0 && !mark.open;
}

/* Times an event of the item was counted, at any age. */
static double count_of(struct model *m, unsigned i) {
    char id[16];
    struct item_view v;
    snprintf(id, sizeof id, "i%u", i);
    uint32_t row = model_item_find(m, str_of(id));
    if (row == ROW_NONE)
        return 0;
    model_item_view(m, row, &v);
    return v.popularity;
}

struct likeness {
    double counted, differ; /* events; how many of them only one of the two has */
    double apart;           /* distance of the vectors as a share of their length */
    size_t missing;
};

static struct likeness compare(struct service *a, struct service *b) {
    struct world *x = engine_world(a->engine), *y = engine_world(b->engine);
    struct likeness ret = {0};
    double length = 0, distance = 0;
    pthread_rwlock_rdlock(&x->model_lock);
    pthread_rwlock_rdlock(&y->model_lock);
    for (unsigned i = 0; i < ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%u", i);
        uint32_t p = model_item_find(x->model, str_of(id)),
                 q = model_item_find(y->model, str_of(id));
        ret.missing += p != ROW_NONE && q == ROW_NONE;
        ret.counted += count_of(x->model, i);
        ret.differ += fabs(count_of(x->model, i) - count_of(y->model, i));
        for (uint32_t d = 0; p != ROW_NONE && q != ROW_NONE && d < x->model->c.dim; d++) {
            double v = x->model->items.own[p * x->model->c.dim + d];
            double w = y->model->items.own[q * y->model->c.dim + d];
            length += v * v;
            distance += (v - w) * (v - w);
        }
    }
    pthread_rwlock_unlock(&y->model_lock);
    pthread_rwlock_unlock(&x->model_lock);
    ret.apart = sqrt(distance / length);
    return ret;
}

/* A child dies in the midst of events; whether it led is a matter of who came first. True: it
 * did. */
static bool one_of_two_dies(struct kafka *k, bool child_first) {
    struct service s, late;
    struct walk w;
    pid_t child = 0;
    open_service(&s, k, NULL);
    /* Counts that do not fade, so that they can be added up. */
    service_option(&s, "model.trend_half_life=3650d");
    service_option(&s, "model.save_interval=200ms");
    late = s;
    service_option(&late, "app.instance=late");
    if (child_first) {
        child = service_run(&s, "a", NULL);
        service_await(&s, "a", "partition-ready", PARTITIONS);
    }
    service_start(&s);
    if (!child_first) {
        cr_assert(wait_until(has_partitions, &s, 30000));
        child = service_run(&s, "a", NULL);
        service_await(&s, "a", "partition-ready", 1);
    }
    cr_assert(wait_until(has_partitions, &s, 30000));
    walk_start(&w);
    walk_on(&w, &s, ROUNDS / 2);
    service_drain(&s, 60000);
    walk_on(&w, &s, ROUNDS / 4);
    bool led = leads(&s) == 0;
    cr_assert_eq(process_end(child, SIGKILL, 5000), 128 + SIGKILL);
    walk_on(&w, &s, ROUNDS / 4);
    service_drain(&s, 60000);
    struct ear ear = {&s, EVENTS};
    cr_assert(wait_until(knows_all, &ear, 30000), "what the dead process told was not heard");
    cr_assert(wait_until(all_marked, &s, 30000), "what was told is not all in the rows saved");

    /* From Kafka alone. */
    service_start(&late);
    cr_assert(wait_until(has_partitions, &late, 30000));
    struct likeness like = compare(&s, &late);
    fprintf(stderr, "led=%d counted %.1f of %d, differing %.2f, vectors apart %.4f\n", led,
            like.counted, EVENTS, like.differ, like.apart);
    cr_assert_eq(like.missing, 0);
    cr_assert_float_eq(like.counted, EVENTS, 1);
    cr_assert_lt(like.differ, 1);
    cr_assert_lt(like.apart, 0.05);
    cr_assert_eq(service_stop(&late), STREAM_STOPPED);
    free(late.option[late.n_options - 1]);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
    return led;
}

Test(many, who_dies_takes_nothing_with_it, .timeout = 240) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    bool led = one_of_two_dies(k, true), led_again = one_of_two_dies(k, false);
    cr_assert(led != led_again, "only %s died", led ? "the leader" : "another than the leader");
}

/* ---- rolling restarts ---- */

struct progress {
    struct service *s;
    int except; /* partition that nobody reads for now */
};

/* All that is in the partitions but one is committed. */
static bool others_at_end(void *arg) {
    struct progress *p = arg;
    bool there[SERVICE_PARTITIONS_MAX];
    service_at_end(p->s, there);
    bool all = true;
    for (int i = 0; i < PARTITIONS; i++)
        all &= i == p->except || there[i];
    return all;
}

/* The one partition that an instance has. */
static int partition_of(struct service *s, const char *instance) {
    autofree(free) char *log = service_log(s, instance);
    const char *mark = "partition-ready partition=", *at = NULL;
    for (const char *p = log; (p = strstr(p, mark)); p += strlen(mark))
        at = p + strlen(mark);
    cr_assert_not_null(at);
    return atoi(at);
}

static size_t moves(struct service *s, const char *instance) {
    return service_said(s, instance, " assigned ") + service_said(s, instance, " revoked ");
}

Test(many, a_rolling_restart_stops_nobody_else, .timeout = 180) {
    if (!test_brokers())
        cr_skip_test("the mock cluster does not isolate transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s;
    struct feed f;
    pid_t pid[PARTITIONS];
    open_service(&s, k, feed_campaigns);
    feed_start(&f, &s);
    run(&s, pid, PARTITIONS);
    feed_some(&f, 300);
    service_drain(&s, 60000);
    for (int i = 0; i < PARTITIONS; i++) {
        size_t before[PARTITIONS];
        for (int j = 0; j < PARTITIONS; j++)
            before[j] = moves(&s, names[j]);
        struct progress p = {&s, partition_of(&s, names[i])};
        size_t ready = service_said(&s, names[i], "partition-ready");
        service_end(&s, pid[i], names[i]);
        feed_some(&f, 200);
        kafka_flush(k);
        cr_assert(wait_until(others_at_end, &p, 30000), "the others stand still");
        cr_assert(!service_drained(&s), "its partition has moved");
        pid[i] = service_run(&s, names[i], NULL);
        service_await(&s, names[i], "partition-ready", ready + 1);
        cr_assert_eq(partition_of(&s, names[i]), p.except);
        for (int j = 0; j < PARTITIONS; j++)
            cr_assert(j == i || moves(&s, names[j]) == before[j], "%s was interrupted", names[j]);
    }
    feed_some(&f, 200);
    service_drain(&s, 60000);
    for (int i = 0; i < PARTITIONS; i++)
        service_end(&s, pid[i], names[i]);
    feed_expect_as_even(&s, true);
    service_close(&s);
}
