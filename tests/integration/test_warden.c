/* Partitions that a rebalance left with nobody find somebody. */
#include <criterion/criterion.h>
#include <stdio.h>

#include "consumer/warden.h"
#include "tests/support/support.h"

enum { PARTITIONS = 4 };

struct member {
    rd_kafka_t *rk;
    int owned;
    bool told, dies; /* something was revoked; it does not live to give it back */
};

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *parts, void *opaque) {
    struct member *m = opaque;
    bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    m->told |= !assign;
    if (!assign && m->dies)
        return;
    m->owned += assign ? parts->cnt : -parts->cnt;
    rd_kafka_error_destroy(assign ? rd_kafka_incremental_assign(rk, parts)
                                  : rd_kafka_incremental_unassign(rk, parts));
}

static void join(struct member *m, struct kafka *k, const char *group, const char *name,
                 const char *topic) {
    char err[256];
    const char *const set[][2] = {
        {"bootstrap.servers", kafka_brokers(k)},
        {"group.id", group},
        {"group.instance.id", name},
        {"session.timeout.ms", "45000"},
        {"partition.assignment.strategy", "cooperative-sticky"},
    };
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < ARRAY_LEN(set); i++)
        cr_assert_eq(rd_kafka_conf_set(conf, set[i][0], set[i][1], err, sizeof err),
                     RD_KAFKA_CONF_OK, "%s", err);
    rd_kafka_conf_set_opaque(conf, m);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    m->rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, err, sizeof err);
    cr_assert_not_null(m->rk, "%s", err);
    rd_kafka_poll_set_consumer(m->rk);
    rd_kafka_topic_partition_list_t *topics = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(topics, topic, RD_KAFKA_PARTITION_UA);
    cr_assert_eq(rd_kafka_subscribe(m->rk, topics), 0);
    rd_kafka_topic_partition_list_destroy(topics);
}

static void serve(struct member *m) {
    rd_kafka_message_t *got = m->rk ? rd_kafka_consumer_poll(m->rk, 10) : NULL;
    if (got)
        rd_kafka_message_destroy(got);
}

struct pair {
    struct member *x, *y;
    int of_x, of_y; /* what they are to own; -1: any */
};

static bool own(void *arg) {
    struct pair *p = arg;
    serve(p->x);
    serve(p->y);
    return (p->of_x < 0 || p->x->owned == p->of_x) && (p->of_y < 0 || p->y->owned == p->of_y);
}

static bool told(void *arg) {
    struct pair *p = arg;
    serve(p->y);
    serve(p->x);
    return p->x->told;
}

Test(warden, partitions_that_nobody_has_are_shared_out_anew, .timeout = 150) {
    if (!test_brokers())
        cr_skip_test("the mock cluster knows no static members");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    char topic[TOPIC_NAME], aside[TOPIC_NAME], group[TOPIC_NAME];
    kafka_topic(k, "clicks", PARTITIONS, false, topic);
    kafka_topic(k, "aside", 1, false, aside);
    unique_name("group", group);
    struct member x = {0}, y = {0};
    struct pair p = {&x, &y, PARTITIONS, 0};
    join(&x, k, group, "x", topic);
    cr_assert(wait_until(own, &p, 30000));

    /* Half of them are on their way to y when x dies; it comes back with the other half. */
    x.dies = true;
    join(&y, k, group, "y", topic);
    cr_assert(wait_until(told, &p, 60000));
    rd_kafka_destroy_flags(x.rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    x = (struct member){0};
    join(&x, k, group, "x", topic);
    p = (struct pair){&x, &y, PARTITIONS / 2, 0};
    cr_assert(wait_until(own, &p, 30000), "x owns %d and y %d", x.owned, y.owned);

    char brokers[200], name[120];
    snprintf(brokers, sizeof brokers, "kafka.bootstrap.servers=%s", kafka_brokers(k));
    snprintf(name, sizeof name, "app.name=%s", group);
    char *option[] = {brokers, name};
    struct config *cfg = NULL;
    struct warden *w = NULL;
    cr_assert_eq(config_load(NULL, option, ARRAY_LEN(option), &cfg), 0);
    cr_assert_eq(warden_start(cfg, topic, PARTITIONS, aside, &w), 0);
    p = (struct pair){&x, &y, PARTITIONS / 2, PARTITIONS / 2};
    cr_assert(wait_until(own, &p, 60000), "x owns %d and y %d", x.owned, y.owned);
    cr_assert_not(x.told, "who had something lost it");
    warden_stop(w);
    config_free(cfg);
    rd_kafka_consumer_close(x.rk);
    rd_kafka_destroy(x.rk);
    rd_kafka_consumer_close(y.rk);
    rd_kafka_destroy(y.rk);
}
