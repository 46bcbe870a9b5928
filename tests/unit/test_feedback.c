/* Every decision ends in exactly one outcome: who is credited, how it is weighed, what survives. */
#include "tests/support/policy_kit.h"

#include <criterion/criterion.h>

static struct kit *k;
static struct kit_user u;

static void setup(void) {
    k = kit_new();
    kit_user(&u, "anna");
    k->spec.reward = (struct reward_spec){.margin = 0.5, .annoyance = 0.25, .unsubscribe = 4};
}

static void teardown(void) {
    kit_user_free(&u);
    kit_free(k);
}

TestSuite(feedback, .init = setup, .fini = teardown);

static struct campaign_spec *campaign(const char *id, uint8_t type, double cost) {
    struct campaign_spec *c = kit_campaign(k, id, type);
    c->contact_cost = cost;
    c->window_ms = DAY;
    return c;
}

/* Sends by an event of that type; the trigger's id. */
static const uint64_t *send(uint8_t type, int64_t at_ms) {
    static uint64_t id[8][2];
    static size_t n;
    kit_do(k, &u, type, NULL, at_ms);
    const struct decision *d = &k->out.d[k->out.n - 1];
    cr_assert(d->send, "%s", policy_reason_name(d->reason));
    uint64_t *to = id[n++ % 8];
    to[0] = d->trigger_hash[0];
    to[1] = d->trigger_hash[1];
    return to;
}

static struct outcome only(void) {
    cr_assert_eq(k->out.n_o, 1, "%zu outcomes", k->out.n_o);
    k->out.n_o = 0; /* no features to free */
    return k->out.o[0];
}

static void money(double got, double want) {
    cr_assert(fabs(got - want) < 1e-9, "%.12g, not %.12g", got, want);
}

Test(feedback, no_answer_in_time_is_an_answer) {
    campaign("a", EV_FAVORITE, 0.125);
    kit_start(k);
    const uint64_t *id = send(EV_FAVORITE, MONDAY);
    cr_assert_eq(u.u.due_ms, MONDAY + DAY);
    kit_time(k, &u, MONDAY + DAY - 1);
    cr_assert_eq(k->out.n_o, 0);
    kit_time(k, &u, MONDAY + 9 * DAY);
    struct outcome o = only();
    cr_assert(o.trigger_hash[0] == id[0] && o.trigger_hash[1] == id[1] && o.user == &u.u);
    cr_assert(o.sent_ms == MONDAY && o.closed_ms == MONDAY + DAY && o.propensity == 1);
    cr_assert(!o.opened && !o.redeemed && !o.purchases && isnan(o.survey) && !o.cut && !o.nothing);
    money(o.annoyance, 0.25);
    money(o.reward, -0.375);
    kit_time(k, &u, MONDAY + 20 * DAY);
    cr_assert_eq(k->out.n_o, 0, "once only");
    cr_assert_eq(u.u.due_ms, INT64_MAX);
}

Test(feedback, a_coupon_is_weighed_in_money) {
    struct campaign_spec *c = campaign("a", EV_FAVORITE, 0.5);
    c->offer[0].percent = 20;
    kit_start(k);
    send(EV_FAVORITE, MONDAY);
    kit_do(k, &u, EV_CAMPAIGN_OPEN, NULL, MONDAY + HOUR);
    kit_do(k, &u, EV_CAMPAIGN_REDEEM, NULL, MONDAY + 2 * HOUR);
    kit_answer(k, &u, EV_PURCHASE, "i1", 80, NULL, MONDAY + 3 * HOUR);
    kit_answer(k, &u, EV_SURVEY, NULL, 9, NULL, MONDAY + 4 * HOUR);
    kit_time(k, &u, MONDAY + DAY);
    struct outcome o = only();
    cr_assert(o.opened && o.redeemed && o.purchases == 1 && o.survey == 9);
    money(o.value, 80);
    money(o.discount, 20);
    money(o.margin, 50); /* half of the price of 100 */
    money(o.annoyance, 0);
    money(o.reward, 50 - 20 - 0.5);
}

Test(feedback, the_till_knows_the_discount_better) {
    campaign("a", EV_FAVORITE, 0)->offer[0].percent = 20;
    kit_start(k);
    send(EV_FAVORITE, MONDAY);
    kit_answer(k, &u, EV_PURCHASE, "i1", 80, NULL, MONDAY + HOUR);
    kit_answer(k, &u, EV_CAMPAIGN_REDEEM, NULL, 5, NULL, MONDAY + HOUR + 1);
    kit_time(k, &u, MONDAY + DAY);
    struct outcome o = only();
    money(o.discount, 5);
    money(o.margin, 42.5);
    money(o.reward, 37.5);
}

Test(feedback, what_is_not_redeemed_costs_no_discount) {
    campaign("a", EV_FAVORITE, 0)->offer[0].percent = 20;
    kit_start(k);
    send(EV_FAVORITE, MONDAY);
    kit_do(k, &u, EV_PURCHASE, "i5", MONDAY + HOUR); /* at its price, 15 */
    kit_time(k, &u, MONDAY + DAY);
    struct outcome o = only();
    money(o.value, 15);
    money(o.discount, 0);
    money(o.reward, 7.5);
}

Test(feedback, what_comes_back_is_taken_off_where_it_was_credited) {
    campaign("a", EV_FAVORITE, 0);
    campaign("b", EV_SEARCH, 0);
    kit_start(k);
    send(EV_FAVORITE, MONDAY);
    kit_answer(k, &u, EV_PURCHASE, "i1", 40, NULL, MONDAY + HOUR);
    send(EV_SEARCH, MONDAY + 2 * HOUR);
    kit_answer(k, &u, EV_RETURN, "i1", 40, NULL, MONDAY + 3 * HOUR);
    kit_answer(k, &u, EV_RETURN, "i2", 10, NULL, MONDAY + 4 * HOUR); /* bought before all this */
    kit_time(k, &u, MONDAY + 3 * DAY);
    cr_assert_eq(k->out.n_o, 2);
    cr_assert(k->out.o[0].campaign == 0 && k->out.o[0].returned && !k->out.o[1].returned);
    money(k->out.o[0].value, 0);
    money(k->out.o[0].reward, 0);
    money(k->out.o[1].reward, -0.25);
}

Test(feedback, the_named_message_is_credited_else_the_last_one_before) {
    campaign("a", EV_FAVORITE, 0);
    campaign("b", EV_SEARCH, 0);
    kit_start(k);
    const uint64_t *a = send(EV_FAVORITE, MONDAY);
    send(EV_SEARCH, MONDAY + HOUR);
    kit_do(k, &u, EV_CAMPAIGN_OPEN, NULL, MONDAY + 2 * HOUR);         /* b */
    kit_answer(k, &u, EV_PURCHASE, "i1", 10, a, MONDAY + 3 * HOUR);   /* a */
    kit_answer(k, &u, EV_PURCHASE, "i2", 7, NULL, MONDAY + HOUR / 2); /* late: before b was sent */
    kit_answer(k, &u, EV_PURCHASE, "i3", 99, NULL, MONDAY - HOUR);    /* before both */
    kit_answer(k, &u, EV_PURCHASE, "i4", 5, (uint64_t[]){1, 2}, MONDAY + 4 * HOUR); /* of nobody */
    kit_answer(k, &u, EV_PURCHASE, "i5", 3, a, MONDAY + DAY); /* a's window is closed */
    kit_time(k, &u, MONDAY + 3 * DAY);
    cr_assert_eq(k->out.n_o, 2);
    cr_assert(!k->out.o[0].opened && k->out.o[1].opened);
    money(k->out.o[0].value, 17);
    money(k->out.o[1].value, 0);
}

Test(feedback, too_many_open_windows_close_the_oldest_and_say_so) {
    campaign("a", EV_FAVORITE, 0);
    kit_start(k);
    for (int i = 0; i < 20; i++)
        send(EV_FAVORITE, MONDAY + i * MINUTE);
    cr_assert_eq(k->out.n_o, 4);
    for (int i = 0; i < 4; i++)
        cr_assert(k->out.o[i].cut && k->out.o[i].sent_ms == MONDAY + i * MINUTE &&
                  k->out.o[i].closed_ms == MONDAY + (16 + i) * MINUTE);
    kit_time(k, &u, MONDAY + 9 * DAY);
    cr_assert_eq(k->out.n_o, 20);
    cr_assert(!k->out.o[19].cut && k->out.o[19].closed_ms == MONDAY + 19 * MINUTE + DAY);
}

/* ---- unsubscribing ---- */

static enum policy_reason reason(uint8_t type, int64_t at_ms) {
    kit_do(k, &u, type, NULL, at_ms);
    return k->out.d[k->out.n - 1].reason;
}

static void unsubscribe(const char *channel, const uint64_t *decision, int64_t at_ms) {
    char id[32], answered[33] = "";
    snprintf(id, sizeof id, "un-%lld", (long long)at_ms);
    if (decision)
        snprintf(answered, sizeof answered, "%016llx%016llx", (unsigned long long)decision[0],
                 (unsigned long long)decision[1]);
    cr_assert(kit_event(k, &u,
                        (struct event){.id = str_of(id),
                                       .type = EV_UNSUBSCRIBE,
                                       .decision = str_of(answered),
                                       .time_ms = at_ms,
                                       .value = NAN,
                                       .dwell_ms = NAN,
                                       .n_ctx = channel != NULL,
                                       .ctx = {{STR("channel"), str_of(channel)}}}));
}

static void mail_and_push(void) {
    campaign("mail", EV_FAVORITE, 0);
    campaign("push", EV_SEARCH, 0)->channel = STR("push");
    kit_start(k);
}

Test(feedback, unsubscribing_acts_at_once_over_the_channel_that_is_named) {
    mail_and_push();
    unsubscribe("email", NULL, MONDAY);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 1), PR_NO_CONSENT);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + 2), PR_SENT);
    unsubscribe(NULL, NULL, MONDAY + 3);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + 4), PR_NO_CONSENT);
}

Test(feedback, unsubscribing_from_a_message_is_about_its_channel_and_costs) {
    mail_and_push();
    const uint64_t *id = send(EV_SEARCH, MONDAY);
    unsubscribe(NULL, id, MONDAY + 1);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + 2), PR_NO_CONSENT);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 3), PR_SENT);
    kit_time(k, &u, MONDAY + DAY);
    struct outcome o = only();
    cr_assert(o.unsubscribed);
    money(o.reward, -4.25);
}

Test(feedback, a_channel_nobody_knows_means_all_of_them) {
    mail_and_push();
    unsubscribe("pigeon", NULL, MONDAY);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 1), PR_NO_CONSENT);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + 2), PR_NO_CONSENT);
}

Test(feedback, consent_given_anew_counts_from_then_on) {
    mail_and_push();
    u.consent = (struct consent){.known = true, .granted = 3, .said_ms = MONDAY};
    unsubscribe(NULL, NULL, MONDAY + HOUR);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 2 * HOUR), PR_NO_CONSENT);
    u.consent.said_ms = MONDAY + 3 * HOUR;
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 4 * HOUR), PR_SENT);
    unsubscribe("email", NULL, MONDAY + 5 * HOUR);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 6 * HOUR), PR_NO_CONSENT);
}

Test(feedback, what_waits_for_the_morning_is_called_off_too) {
    struct campaign_spec *c = campaign("a", EV_FAVORITE, 0);
    c->quiet = (struct quiet_hours){.on = true, .from_min = 21 * 60, .to_min = 8 * 60};
    kit_start(k);
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + 22 * HOUR), PR_POSTPONED);
    unsubscribe(NULL, NULL, MONDAY + 23 * HOUR);
    kit_time(k, &u, MONDAY + 2 * DAY);
    cr_assert_eq(k->out.d[k->out.n - 1].reason, PR_NO_CONSENT);
}

Test(feedback, without_any_campaign_it_is_remembered_for_the_next) {
    kit_start(k);
    unsubscribe(NULL, NULL, MONDAY);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    mail_and_push();
    cr_assert_eq(reason(EV_FAVORITE, MONDAY + DAY), PR_NO_CONSENT);
}

Test(feedback, more_channels_than_are_remembered_become_all) {
    char name[20][8];
    for (int i = 0; i < 16; i++) {
        snprintf(name[i], sizeof name[i], "ch%d", i);
        campaign(name[i], EV_FAVORITE, 0)->channel = str_of(name[i]);
    }
    kit_start(k);
    for (int i = 0; i < 16; i++)
        unsubscribe(name[i], NULL, MONDAY + i);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    k->spec.n = 0;
    campaign("a", EV_FAVORITE, 0)->channel = STR("other");
    campaign("b", EV_SEARCH, 0)->channel = STR("quite another");
    kit_start(k);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + HOUR), PR_SENT);
    unsubscribe("other", NULL, MONDAY + 2 * HOUR);
    cr_assert_eq(reason(EV_SEARCH, MONDAY + 3 * HOUR), PR_NO_CONSENT);
}
