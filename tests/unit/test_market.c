#include "tests/support/market.h"

#include <criterion/criterion.h>

enum { USERS = 2000, DAYS = 30 };

static struct market *market(double fatigue) {
    struct market_config c = {USERS, DAYS, 11, customer_world_default()};
    struct market *m = NULL;
    c.world.fatigue = fatigue;
    cr_assert_eq(market_new(&c, &m), 0);
    return m;
}

/* What the oracle that looks ahead earns, or the one that does not, or an action for all. */
enum { NOW = MARKET_ACTIONS, EVER };

static double earns(struct market *m, uint32_t how) {
    static struct market_plan plan;
    double sum = 0;
    market_reset(m);
    for (uint32_t u = 0; u < USERS; u++) {
        if (how == EVER)
            market_plan(m, u, &plan);
        for (uint32_t day = 0; day < DAYS; day++) {
            enum occasion o = market_occasion(m, u, day);
            uint32_t action = o == OCCASION_NONE ? 0
                              : how == EVER      ? market_best_ever(m, &plan, u, day, o)
                              : how == NOW       ? market_best_now(m, u, o)
                                                 : how;
            sum += market_day(m, u, day, action);
        }
    }
    return sum;
}

Test(market, the_same_days_come_again) {
    struct market *m = market(1), *other = market(1);
    double first = earns(m, 3);
    cr_assert_eq(earns(m, 3), first);
    cr_assert_eq(earns(other, 3), first);
    market_free(m);
    market_free(other);
}

Test(market, who_knows_all_beats_every_rule) {
    struct market *m = market(1);
    double now = earns(m, NOW), ever = earns(m, EVER);
    cr_assert_gt(ever, now);
    for (uint32_t a = 0; a < MARKET_ACTIONS; a++)
        cr_assert_lt(earns(m, a), now);
    market_free(m);
}

Test(market, looking_ahead_changes_nothing_where_nothing_wearies) {
    struct market *m = market(0);
    cr_assert_float_eq(earns(m, EVER), earns(m, NOW), 1e-6);
    market_free(m);
}

Test(market, messages_to_all_cost_later_purchases) {
    struct market *calm = market(0), *weary = market(1);
    cr_assert_eq(earns(calm, 0), earns(weary, 0));
    for (uint32_t a = 1; a < MARKET_ACTIONS; a++)
        cr_assert_lt(earns(weary, a), earns(calm, a));
    market_free(calm);
    market_free(weary);
}

Test(market, the_plan_is_worth_what_it_says) {
    struct market *m = market(1);
    static struct market_plan plan;
    double said = 0, got = 0;
    for (uint32_t u = 0; u < USERS; u++) {
        market_plan(m, u, &plan);
        said += plan.here[0][0];
    }
    got = earns(m, EVER);
    cr_assert_float_eq(got / said, 1, 0.06, "%.0f instead of %.0f", got, said);
    market_free(m);
}
