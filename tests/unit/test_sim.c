#include "consumer/sim.h"

#include <criterion/criterion.h>
#include <stdio.h>

static struct sim *shop(uint64_t seed) {
    struct sim_config c;
    sim_config_default(&c);
    c.users = 300;
    c.items = 300;
    c.seed = seed;
    struct sim *s = NULL;
    cr_assert_eq(sim_new(&c, &s), 0);
    return s;
}

Test(sim, events_come_in_the_order_of_time_and_at_the_rate_asked_for) {
    struct sim *s = shop(1);
    struct event e;
    sim_next(s, &e);
    int64_t first = e.time_ms, last = first;
    const int n = 40000;
    for (int i = 0; i < n; i++) {
        sim_next(s, &e);
        cr_assert(e.time_ms >= last);
        last = e.time_ms;
    }
    double rate = n * 1000.0 / (double)(last - first);
    cr_assert(rate > 10 && rate < 30, "%.1f events a second instead of 20", rate);
    sim_free(s);
}

Test(sim, the_same_seed_is_the_same_shop) {
    struct sim *a = shop(5), *b = shop(5), *other = shop(6);
    int different = 0;
    for (int i = 0; i < 2000; i++) {
        struct event x, y, z;
        sim_next(a, &x);
        sim_next(b, &y);
        sim_next(other, &z);
        cr_assert(str_eq(x.user, y.user) && str_eq(x.item, y.item) && x.time_ms == y.time_ms);
        different += !str_eq(x.item, z.item);
    }
    cr_assert(different > 1000);
    sim_free(a);
    sim_free(b);
    sim_free(other);
}

Test(sim, users_look_at_what_they_like) {
    struct sim *s = shop(2);
    double looked = 0, any = 0;
    int n = 0;
    for (int i = 0; i < 20000; i++) {
        struct event e;
        sim_next(s, &e);
        if (e.type != EV_VIEW)
            continue;
        uint32_t user = (uint32_t)atoi(strndupa(e.user.p + 1, e.user.n - 1)) - 1;
        uint32_t item = (uint32_t)atoi(strndupa(e.item.p + 1, e.item.n - 1)) - 1;
        looked += sim_utility(s, user, item);
        any += sim_utility(s, user, (uint32_t)i % sim_items(s));
        n++;
    }
    cr_assert(looked / n > any / n + 1, "%.2f against %.2f", looked / n, any / n);
    sim_free(s);
}

static bool decided(struct sim *s, const char *user, bool sent, double discount, int64_t time_ms) {
    return sim_decided(s,
                       &(struct sim_decision){.user = str_of(user),
                                              .item = STR("i7"),
                                              .trigger_id = STR("0123456789abcdef0123456789abcdef"),
                                              .sent = sent,
                                              .discount = discount,
                                              .time_ms = time_ms});
}

static void decide_for_all(struct sim *s, bool sent, double discount, int64_t time_ms) {
    for (int u = 1; u <= 300; u++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", u);
        cr_assert(decided(s, id, sent, discount, time_ms));
    }
}

Test(sim, coupons_are_answered_by_some_and_name_their_trigger) {
    struct sim *s = shop(3);
    struct event e;
    sim_next(s, &e);
    int opened = 0, redeemed = 0;
    decide_for_all(s, true, 0.2, e.time_ms);
    for (int i = 0; i < 20000; i++) {
        sim_next(s, &e);
        if (!e.decision.n)
            continue;
        cr_assert(str_eq(e.decision, STR("0123456789abcdef0123456789abcdef")));
        opened += e.type == EV_CAMPAIGN_OPEN;
        redeemed += e.type == EV_CAMPAIGN_REDEEM;
        cr_assert(e.type != EV_CAMPAIGN_REDEEM || e.value > 0);
    }
    cr_assert(opened > 50 && opened < 250 && redeemed > 10 && redeemed < opened,
              "%d opened, %d redeemed", opened, redeemed);
    sim_free(s);
}

Test(sim, nothing_gains_nothing_and_nothing_gains_more_than_is_possible) {
    struct sim *s = shop(3);
    struct sim_earnings e;
    decide_for_all(s, false, 0, 0);
    for (int p = 0; p < PANELS; p++) {
        sim_earned(s, (enum sim_panel)p, &e);
        cr_assert_eq(e.sent, 0);
        cr_assert_eq(e.moments, e.users);
        cr_assert_eq(e.gained, 0);
        cr_assert_gt(e.possible, 0);
    }
    decide_for_all(s, true, 0.1, 0);
    for (int p = 0; p < PANELS; p++) {
        sim_earned(s, (enum sim_panel)p, &e);
        cr_assert_eq(e.sent, e.users);
        cr_assert_neq(e.gained, 0);
        cr_assert_lt(e.gained, e.possible);
    }
    sim_free(s);
}

Test(sim, a_decision_for_nobody_is_ignored) {
    struct sim *s = shop(3);
    cr_assert_not(decided(s, "somebody", true, 0.1, 0));
    cr_assert_not(decided(s, "u99999", true, 0.1, 0));
    cr_assert_not(decided(s, "u1x", true, 0.1, 0));
    struct event e;
    for (int i = 0; i < 1000; i++) {
        sim_next(s, &e);
        cr_assert_eq(e.decision.n, 0);
    }
    sim_free(s);
}
