/* Whom to stay away from, what waits for people, how a budget is spread. */
#include "tests/support/policy_kit.h"

#include <criterion/criterion.h>

static struct kit *k;
static struct kit_user u;

static void setup(void) {
    k = kit_new();
    kit_user(&u, "anna");
}

static void teardown(void) {
    kit_user_free(&u);
    kit_free(k);
}

TestSuite(limits, .init = setup, .fini = teardown);

static enum policy_reason with_context(const char *key, const char *value, int64_t at_ms) {
    char id[32];
    snprintf(id, sizeof id, "e-%lld", (long long)at_ms);
    cr_assert(kit_event(k, &u,
                        (struct event){.id = str_of(id),
                                       .type = EV_FAVORITE,
                                       .time_ms = at_ms,
                                       .value = NAN,
                                       .dwell_ms = NAN,
                                       .n_ctx = key != NULL,
                                       .ctx = {{str_of(key), str_of(value)}}}));
    return k->out.d[k->out.n - 1].reason;
}

Test(limits, minors_are_remembered_and_not_addressed) {
    kit_campaign(k, "a", EV_FAVORITE);
    k->spec.protect.minimum_age = 18;
    kit_start(k);
    cr_assert_eq(with_context(NULL, NULL, MONDAY), PR_SENT);
    cr_assert_eq(with_context("age", "17", MONDAY + 1), PR_SENSITIVE);
    cr_assert_eq(with_context(NULL, NULL, MONDAY + 2), PR_SENSITIVE);
    struct buf b = {0};
    size_t used;
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &b), 0);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, b.p, b.n, &used), 0);
    buf_free(&b);
    cr_assert_eq(with_context("age", "unknown", MONDAY + 3), PR_SENSITIVE);
    cr_assert_eq(with_context("age", "18", MONDAY + 4), PR_SENT);
    cr_assert_eq(with_context("minor", "true", MONDAY + 5), PR_SENSITIVE);
    cr_assert_eq(with_context("minor", "false", MONDAY + 6), PR_SENT);
}

Test(limits, protected_categories_are_no_reason_to_address_somebody) {
    kit_campaign(k, "a", EV_FAVORITE);
    k->spec.protect.n_categories = 1;
    k->spec.protect.category[0] = STR("toys");
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, "i2", MONDAY);
    cr_assert_eq(k->out.d[0].reason, PR_SENSITIVE);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + 1);
    cr_assert_eq(k->out.d[1].reason, PR_SENT);
}

Test(limits, a_campaigns_holdout_is_its_own) {
    enum { USERS = 4000 };
    size_t n[4] = {0};
    kit_campaign(k, "a", EV_FAVORITE)->holdout = 2000;
    kit_campaign(k, "b", EV_SEARCH)->holdout = 2000;
    kit_start(k);
    for (int i = 0; i < USERS; i++) {
        struct kit_user v;
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&v, id);
        kit_do(k, &v, EV_FAVORITE, NULL, MONDAY);
        kit_do(k, &v, EV_SEARCH, NULL, MONDAY + 1);
        n[(kit_count(k, "a", PR_CAMPAIGN_HOLDOUT) ? 2 : 0) +
          (kit_count(k, "b", PR_CAMPAIGN_HOLDOUT) ? 1 : 0)]++;
        kit_forget(k);
        kit_user_free(&v);
    }
    /* independent: 160 in both, 640 in each alone; four standard deviations */
    cr_assert(n[3] > 110 && n[3] < 210, "%zu", n[3]);
    cr_assert(n[1] > 545 && n[1] < 735 && n[2] > 545 && n[2] < 735, "%zu %zu", n[1], n[2]);
}

/* ---- approval ---- */

static enum policy_reason ask(const uint8_t *approved, int64_t at_ms) {
    char id[32];
    snprintf(id, sizeof id, "e-%lld", (long long)at_ms);
    struct event e = {
        .id = str_of(id), .type = EV_FAVORITE, .time_ms = at_ms, .value = NAN, .dwell_ms = NAN};
    struct policy_context c = kit_context(k, &u);
    c.approved_campaigns = approved;
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    return k->out.d[k->out.n - 1].reason;
}

Test(limits, large_budgets_and_deep_discounts_wait_for_people) {
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->budget = 1001;
    k->spec.approval = (struct approval_spec){.percent = 20, .budget = 1000};
    kit_start(k);
    const uint8_t yes = 1;
    cr_assert(policy_campaign_needs_approval(k->set, 0));
    cr_assert_eq(ask(NULL, MONDAY), PR_APPROVAL);
    cr_assert_eq(ask(&yes, MONDAY + 1), PR_SENT);
    uint64_t before = policy_campaign_fingerprint(k->set, 0);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    c->budget = 1000;
    c->n_offers = 2;
    c->offer[0] = (struct offer_spec){
        .name = STR("deep"), .json = STR("{}"), .discount = true, .percent = 25};
    c->offer[1] = (struct offer_spec){
        .name = STR("flat"), .json = STR("{}"), .discount = true, .percent = 20};
    kit_start(k);
    cr_assert(policy_campaign_needs_approval(k->set, 0));
    cr_assert_neq(policy_campaign_fingerprint(k->set, 0), before);
    cr_assert_eq(ask(NULL, MONDAY + 2), PR_SENT);
    cr_assert_eq(k->out.d[k->out.n - 1].offer, 1, "what needs none goes out");
    cr_assert_eq(ask(&yes, MONDAY + 3), PR_SENT);
    cr_assert_eq(k->out.d[k->out.n - 1].offer, 0);
}

/* ---- budgets ---- */

static size_t send_until(int64_t from_ms, int64_t to_ms, int64_t step_ms) {
    kit_forget(k);
    for (int64_t at = from_ms; at < to_ms; at += step_ms)
        kit_do(k, &u, EV_FAVORITE, NULL, at);
    return kit_count(k, "a", PR_SENT);
}

Test(limits, an_even_budget_lasts_the_day) {
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->budget = 48;
    c->even = true;
    kit_start(k);
    cr_assert_eq(send_until(MONDAY, MONDAY + 1, 1), 1);
    cr_assert_eq(send_until(MONDAY + 1, MONDAY + 6 * HOUR, MINUTE), 12);
    cr_assert_eq(send_until(MONDAY + 6 * HOUR, MONDAY + 12 * HOUR, MINUTE), 12);
    cr_assert_eq(send_until(MONDAY + 23 * HOUR, MONDAY + DAY, MINUTE), 23, "what was left");
    cr_assert_eq(send_until(MONDAY + DAY, MONDAY + DAY + 1, 1), 1);
}

Test(limits, partitions_stay_within_their_parts_and_the_slack_wherever_they_are) {
    enum { PARTITIONS = 8, BUDGET = 30, SLACK = 20 };
    kit_campaign(k, "a", EV_FAVORITE)->budget = BUDGET;
    k->spec.budget_slack = SLACK;
    size_t all = 0;
    for (uint32_t p = 0; p < PARTITIONS; p++) { /* each in a process that believes it is alone */
        kit_start(k);
        policy_shard_place(k->shard, p, PARTITIONS);
        size_t sent = send_until(MONDAY + p * HOUR, MONDAY + p * HOUR + 100, 1);
        cr_assert(sent == 4 || sent == 5, "%zu", sent);
        all += sent;
        policy_shard_free(k->shard);
        policy_set_free(k->set);
        k->shard = NULL;
        k->set = NULL;
    }
    cr_assert_eq(all, BUDGET + BUDGET * SLACK / 100);
}
