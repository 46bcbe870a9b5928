#include "consumer/customer.h"

#include <criterion/criterion.h>
#include <math.h>

static struct customer somebody(bool sure) {
    struct rng rng;
    struct customer c;
    rng_seed(&rng, 7);
    do
        customer_draw(&c, &rng);
    while (c.sure != sure);
    return c;
}

static const struct customer_offer fitting = {.fit = 1}, deep = {.fit = 1, .discount = 0.2};

Test(customer, messages_lately_lower_what_he_opens_and_buys) {
    struct customer_world w = customer_world_default();
    struct customer c = somebody(false);
    struct customer_odds fresh = customer_odds(&w, &c, false, &fitting);
    c.fatigue = 3;
    struct customer_odds weary = customer_odds(&w, &c, false, &fitting);
    cr_assert_lt(weary.open, fresh.open);
    cr_assert_lt(weary.buy_open, fresh.buy_open);
    cr_assert_lt(weary.buy_unseen, fresh.buy_unseen);
    cr_assert_gt(weary.unsubscribe, fresh.unsubscribe);
    w.fatigue = 0;
    struct customer_odds calm = customer_odds(&w, &c, false, &fitting);
    cr_assert_float_eq(calm.open, fresh.open, 1e-12);
    cr_assert_float_eq(calm.buy_unseen, fresh.buy_unseen, 1e-12);
    cr_assert_eq(calm.unsubscribe, 0);
}

Test(customer, the_sure_buy_anyway_and_a_discount_on_them_is_lost) {
    struct customer_world w = customer_world_default();
    struct customer c = somebody(true);
    struct customer_odds alone = customer_odds(&w, &c, true, NULL);
    struct customer_odds sent = customer_odds(&w, &c, true, &deep);
    cr_assert_gt(alone.buy_unseen, 0.5);
    cr_assert_lt(customer_worth(&w, &c, &sent, &deep), customer_worth(&w, &c, &alone, NULL));
}

Test(customer, what_suits_sells_and_what_does_not_puts_off) {
    struct customer_world w = customer_world_default();
    struct customer c = somebody(false);
    struct customer_offer wrong = {.fit = -1};
    double alone = customer_odds(&w, &c, false, NULL).buy_unseen;
    cr_assert_gt(customer_odds(&w, &c, false, &fitting).buy_open, 2 * alone);
    cr_assert_lt(customer_odds(&w, &c, false, &wrong).buy_open, alone);
}

Test(customer, answers_come_as_often_as_the_odds_say) {
    enum { N = 200000 };
    struct customer_world w = customer_world_default();
    struct customer c = somebody(false);
    struct customer_odds o = customer_odds(&w, &c, true, &deep);
    struct rng rng;
    double money = 0, opened = 0, redeemed = 0;
    rng_seed(&rng, 3);
    for (int i = 0; i < N; i++) {
        struct customer now = c;
        struct customer_answer a = customer_answer(&w, &now, true, &deep, &rng);
        cr_assert(!a.redeemed || (a.opened && a.bought));
        cr_assert_eq(now.fatigue, c.fatigue + 1);
        cr_assert_eq(now.gone, a.unsubscribed);
        money += (a.margin - a.discount - a.cost) / N;
        opened += (double)a.opened / N;
        redeemed += (double)a.redeemed / N;
    }
    cr_assert_float_eq(opened, o.open, 0.005);
    cr_assert_float_eq(redeemed, o.open * o.buy_open, 0.005);
    cr_assert_float_eq(money, customer_worth(&w, &c, &o, &deep), 0.05 * c.value * w.margin);
}

Test(customer, the_same_seed_draws_the_same_people) {
    struct rng a, b;
    rng_seed(&a, 5);
    rng_seed(&b, 5);
    for (int i = 0; i < 100; i++) {
        struct customer x, y;
        customer_draw(&x, &a);
        customer_draw(&y, &b);
        cr_assert_eq(x.urge, y.urge);
        cr_assert_eq(x.sensitivity, y.sensitivity);
        cr_assert_arr_eq(x.taste, y.taste, sizeof x.taste);
    }
}
