#include "consumer/campaign_sums.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct outcome bought = {
    .opened = true,
    .redeemed = true,
    .purchases = 2,
    .value = 80,
    .survey = 9,
    .margin = 30,
    .discount = 8,
    .contact_cost = .5,
    .reward = 21.5,
};
static const struct outcome annoyed = {
    .unsubscribed = true,
    .survey = 3,
    .contact_cost = .5,
    .annoyance = 5,
    .reward = -5.5,
};

Test(campaign_sums, add_up_what_became_of_messages) {
    struct campaign_sums s = {0};
    campaign_sums_outcome(&s, &bought);
    campaign_sums_outcome(&s, &annoyed);
    const uint64_t want[CC_COUNT] = {[CC_OUTCOMES] = 2,  [CC_OPENED] = 1,    [CC_REDEEMED] = 1,
                                     [CC_CONVERTED] = 1, [CC_PURCHASES] = 2, [CC_UNSUBSCRIBED] = 1,
                                     [CC_ANSWERS] = 2,   [CC_PROMOTERS] = 1, [CC_DETRACTORS] = 1};
    for (int i = 0; i < CC_COUNT; i++)
        cr_assert_eq(s.count[i], want[i], "%s", campaign_count_name((enum campaign_count)i));
    cr_assert_eq(s.money[CM_REVENUE], 80);
    cr_assert_eq(s.money[CM_MARGIN], 30);
    cr_assert_eq(s.money[CM_DISCOUNT], 8);
    cr_assert_eq(s.money[CM_COST], 1);
    cr_assert_eq(s.money[CM_ANNOYANCE], 5);
    cr_assert_eq(s.money[CM_REWARD], 16);
}

Test(campaign_sums, earn_nothing_by_what_happened_without_a_message) {
    struct campaign_sums s = {0};
    struct outcome o = bought;
    o.nothing = true;
    campaign_sums_outcome(&s, &o);
    cr_assert_eq(s.count[CC_NOTHING], 1);
    cr_assert_eq(s.count[CC_OUTCOMES], 0);
    cr_assert_eq(s.count[CC_CONVERTED], 0);
    cr_assert_eq(s.money[CM_REVENUE], 0);
}

Test(campaign_sums, no_score_is_no_answer) {
    struct campaign_sums s = {0};
    struct outcome o = bought;
    o.survey = NAN;
    campaign_sums_outcome(&s, &o);
    cr_assert_eq(s.count[CC_ANSWERS], 0);
    cr_assert_eq(s.count[CC_PROMOTERS], 0);
    cr_assert_eq(s.count[CC_DETRACTORS], 0);
}

Test(campaign_sums, of_several_workers_are_one) {
    struct campaign_sums a = {0}, b = {0}, all = {0};
    campaign_sums_decision(&a, PR_SENT);
    campaign_sums_decision(&b, PR_SENT);
    campaign_sums_decision(&b, PR_BUDGET);
    campaign_sums_outcome(&a, &bought);
    campaign_sums_outcome(&b, &annoyed);
    campaign_sums_add(&all, &a);
    campaign_sums_add(&all, &b);
    cr_assert_eq(all.reason[PR_SENT], 2);
    cr_assert_eq(all.reason[PR_BUDGET], 1);
    cr_assert_eq(all.count[CC_OUTCOMES], 2);
    cr_assert_eq(all.money[CM_REWARD], 16);
}
