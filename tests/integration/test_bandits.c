/* What two processes learn of offers is one: each knows the other's outcomes, and those of one that
 * was killed stay known, to newcomers too. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>

#include "policy/learned.h"
#include "tests/support/feed.h"

static const char campaigns[] =
    "defaults: {channel: push, valid_for: 30d, window: 30m}\n"
    "caps: {user: 20 per 12h}\n"
    "groups: {offers: {policy: linucb, mode: online}}\n"
    "campaigns:\n"
    "  - {id: cart, group: offers, trigger: {cart_abandoned: {after: 10m}},\n"
    "     offer: {kind: coupon, discount_percent: 10}}\n"
    "  - {id: view, group: offers, trigger: {viewed: {category: same, times: 2, within: 2h}},\n"
    "     offer: {kind: message, message: look}}\n";

enum { PARTITIONS = 2, EVENTS = 1500 };

static struct learned *bandit(struct service *s) {
    const struct policy_set *set = engine_world(s->engine)->policies;
    size_t group = 0;
    while (group < policy_groups(set) && !policy_group_learned(set, group))
        group++;
    cr_assert_lt(group, policy_groups(set));
    return policy_group_learned(set, group);
}

static bool has_partitions(void *s) {
    struct metrics m;
    service_metrics(s, &m);
    return metric_gauge(&m.partitions) > 0 && metric_gauge(&m.restoring) == 0;
}

struct known {
    struct service *s;
    double samples;
};

/* Outcomes that all processes together were told. That an unknown one is forgotten adds up the
 * others' anew. */
static double samples_of(struct service *s) {
    double samples;
    cr_assert_eq(learned_restore(bandit(s), 1, NULL, 0), 0);
    learned_noise(bandit(s), &samples);
    return samples;
}

static bool knows(void *arg) {
    struct known *k = arg;
    return samples_of(k->s) == k->samples;
}

static void expect_known(struct service *s, double want) {
    cr_assert(wait_until(knows, &(struct known){s, want}, 20000),
              "%g outcomes are known to %s, %g were there", samples_of(s), s->cfg->app_instance,
              want);
}

static double outcomes(struct service *s) {
    struct sents l;
    service_sents(s, s->outcomes, &l);
    double n = (double)l.n;
    sents_free(&l);
    return n;
}

Test(bandits, processes_share_what_they_learn_and_a_killed_one_leaves_it_behind, .timeout = 180) {
    if (!test_brokers())
        cr_skip_test("the mock cluster has no transactions");
    autofree(kafka_free) struct kafka *k = kafka_start(1);
    struct service s, late;
    struct feed f;
    service_open(&s, k, PARTITIONS, campaigns);
    service_option(&s, "model.save_interval=100ms");
    service_option(&s, "kafka.session.timeout.ms=10000");
    late = s;
    service_option(&late, "app.instance=late");
    pid_t other = service_run(&s, "other", NULL);
    service_await(&s, "other", "partition-ready", PARTITIONS);
    service_start(&s);
    cr_assert(wait_until(has_partitions, &s, 30000));

    feed_start(&f, &s);
    feed_some(&f, EVENTS);
    service_drain(&s, 60000);
    double both = outcomes(&s), own = (double)learned_told(bandit(&s));
    cr_assert(own > 20 && both - own > 20, "%g of %g outcomes are ours", own, both);
    expect_known(&s, both);

    /* Nobody is told anything while it dies. */
    cr_assert_eq(process_end(other, SIGKILL, 5000), 128 + SIGKILL);
    feed_some(&f, EVENTS / 2);
    service_drain(&s, 60000);
    double all = outcomes(&s);
    cr_assert_gt(all, both + 20);
    cr_assert_eq((double)learned_told(bandit(&s)), own + all - both,
                 "the dead one's users are ours");
    service_start(&late); /* from Kafka alone */
    expect_known(&late, all);
    cr_assert_eq(service_stop(&late), STREAM_STOPPED);
    free(late.option[late.n_options - 1]);
    cr_assert_eq(service_stop(&s), STREAM_STOPPED);
    service_close(&s);
}
