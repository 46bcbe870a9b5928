#include "consumer/warden.h"

#include <librdkafka/rdkafka.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "consumer/clock.h"
#include "consumer/kafka_util.h"
#include "consumer/log.h"

enum { CHECK_MS = 10000, STEP_MS = 100, ASK_MS = 2000, JOIN_MS = 30000 };

struct warden {
    const struct config *cfg;
    char topic[256], aside[256];
    int32_t partitions;
    bool *owned; /* [partitions] */
    rd_kafka_t *rk;
    pthread_t thread;
    bool started;
    atomic_bool quit;
};

/* ---- looking ---- */

/* What a member was given, as the consumers' protocol writes it: numbers with their highest byte
 * first. */
struct given {
    const uint8_t *p, *end;
    bool bad;
};

static int32_t get(struct given *g, size_t bytes) {
    uint32_t v = 0;
    if ((size_t)(g->end - g->p) < bytes) {
        g->bad = true;
        g->p = g->end;
        return 0;
    }
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | *g->p++;
    return (int32_t)v;
}

static void note_member(struct warden *w, const struct rd_kafka_group_member_info *m) {
    const uint8_t *p = m->member_assignment;
    struct given g = {p, p + m->member_assignment_size, false};
    get(&g, 2); /* version */
    for (int32_t topics = get(&g, 4); topics > 0 && !g.bad; topics--) {
        size_t n = (uint16_t)get(&g, 2);
        if ((size_t)(g.end - g.p) < n)
            return;
        bool ours = str_eq(str_of(w->topic), (struct str){(const char *)g.p, n});
        g.p += n;
        for (int32_t parts = get(&g, 4); parts > 0 && !g.bad; parts--) {
            int32_t part = get(&g, 4);
            if (ours && part >= 0 && part < w->partitions)
                w->owned[part] = true;
        }
    }
}

/* Partitions that nobody has, of a group that has settled; 0 as well if that is not known. */
static int32_t left_out(struct warden *w) {
    const struct rd_kafka_group_list *l;
    int32_t n = 0;
    if (rd_kafka_list_groups(w->rk, w->cfg->app_name, &l, ASK_MS))
        return 0;
    if (l->group_cnt == 1 && !l->groups[0].err && strcmp(l->groups[0].state, "Stable") == 0) {
        memset(w->owned, 0, (size_t)w->partitions * sizeof *w->owned);
        for (int i = 0; i < l->groups[0].member_cnt; i++)
            note_member(w, &l->groups[0].members[i]);
        for (int32_t p = 0; p < w->partitions; p++)
            n += !w->owned[p];
    }
    rd_kafka_group_list_destroy(l);
    return n;
}

/* ---- joining ---- */

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *parts, void *joined) {
    bool assign = err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
    rd_kafka_error_t *e =
        assign ? rd_kafka_incremental_assign(rk, parts) : rd_kafka_incremental_unassign(rk, parts);
    rd_kafka_error_destroy(e);
    *(bool *)joined |= assign;
}

static rd_kafka_t *visitor(struct warden *w, bool *joined) {
    autofree(kafka_conf_free) rd_kafka_conf_t *conf = NULL;
    if (kafka_conf_new(w->cfg, &conf) < 0 ||
        kafka_conf_set(conf, "group.id", w->cfg->app_name) < 0 ||
        kafka_conf_set(conf, "enable.auto.commit", "false") < 0 ||
        kafka_conf_set(conf, "partition.assignment.strategy", "cooperative-sticky") < 0 ||
        kafka_conf_set(conf, "session.timeout.ms", "10000") < 0 ||
        kafka_conf_set(conf, "heartbeat.interval.ms", "1000") < 0)
        return NULL;
    rd_kafka_conf_set_opaque(conf, joined);
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    return kafka_client_new(RD_KAFKA_CONSUMER, TAKE(conf));
}

static void join_for_a_moment(struct warden *w) {
    bool joined = false;
    rd_kafka_t *rk = visitor(w, &joined);
    autofree(kafka_list_free) rd_kafka_topic_partition_list_t *topics =
        rd_kafka_topic_partition_list_new(1);
    if (!rk)
        return;
    rd_kafka_poll_set_consumer(rk);
    rd_kafka_topic_partition_list_add(topics, w->aside, RD_KAFKA_PARTITION_UA);
    rd_kafka_subscribe(rk, topics);
    int64_t until = clock_mono_us() + JOIN_MS * INT64_C(1000);
    while (!joined && !atomic_load(&w->quit) && clock_mono_us() < until) {
        rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, STEP_MS);
        if (m)
            rd_kafka_message_destroy(m);
    }
    /* Brokers that are away must not delay the end of the process. */
    rd_kafka_destroy_flags(rk, atomic_load(&w->quit) ? RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE : 0);
}

/* ---- life ---- */

static void *watch(void *arg) {
    struct warden *w = arg;
    bool before = false;
    for (int64_t waited = 0; !atomic_load(&w->quit); waited += STEP_MS) {
        poll(NULL, 0, STEP_MS);
        if (waited < CHECK_MS)
            continue;
        waited = 0;
        int32_t n = left_out(w);
        if (n && before) {
            log_warning("partitions-unowned",
                        "partitions=%d do=\"joins the group for a moment, so that they are shared "
                        "out anew\"",
                        n);
            join_for_a_moment(w);
        }
        before = n && !before;
    }
    return NULL;
}

int warden_start(const struct config *cfg, const char *topic, int32_t partitions, const char *aside,
                 struct warden **ret) {
    struct warden *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->cfg = cfg;
    w->partitions = partitions;
    snprintf(w->topic, sizeof w->topic, "%s", topic);
    snprintf(w->aside, sizeof w->aside, "%s", aside);
    w->owned = calloc((size_t)partitions, sizeof *w->owned);
    w->rk = kafka_client(cfg, RD_KAFKA_PRODUCER, (const char *const[]){NULL});
    int r = !w->owned ? -ENOMEM : !w->rk ? -EINVAL : -pthread_create(&w->thread, NULL, watch, w);
    w->started = r == 0;
    if (r < 0)
        warden_stop(w);
    else
        *ret = w;
    return r;
}

void warden_stop(struct warden *w) {
    if (!w)
        return;
    atomic_store(&w->quit, true);
    if (w->started)
        pthread_join(w->thread, NULL);
    kafka_client_free(w->rk);
    free(w->owned);
    free(w);
}
