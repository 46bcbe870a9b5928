/* Each kind of trigger, through the doors the engine uses. */
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

TestSuite(trigger, .init = setup, .fini = teardown);

static size_t sent(const char *campaign) {
    return kit_count(k, campaign, PR_SENT);
}

/* ---- event, welcome ---- */

Test(trigger, event_answers_its_type_only_and_names_item_cause_and_validity) {
    kit_campaign(k, "fav", EV_FAVORITE);
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + HOUR);
    cr_assert_eq(k->out.n, 1);
    struct decision d = k->out.d[0];
    cr_assert(d.send && d.reason == PR_SENT && d.campaign == 0 && d.user == &u.u);
    cr_assert(d.item == k->item[1] && isnan(d.old_price) && d.propensity == 1);
    cr_assert(d.time_ms == MONDAY + HOUR && d.valid_until_ms == MONDAY + HOUR + 2 * DAY);
    char id[64];
    snprintf(id, sizeof id, "anna-%lld-%u-i1", (long long)(MONDAY + HOUR), EV_FAVORITE);
    cr_assert_eq(d.cause_hash, hash_str(str_of(id), 0));
    cr_assert(d.trigger_hash[0] && d.trigger_hash[1]);
}

Test(trigger, event_bounds_are_inclusive_and_need_a_value) {
    struct campaign_spec *c = kit_campaign(k, "unhappy", EV_SURVEY);
    c->trigger.max_value = 6;
    kit_campaign(k, "happy", EV_SURVEY)->trigger.min_value = 9;
    kit_start(k);
    const double scores[] = {6, 6.5, 9, NAN, 0};
    for (size_t i = 0; i < ARRAY_LEN(scores); i++) {
        char id[8] = {(char)('a' + i)};
        kit_event(k, &u,
                  (struct event){.id = str_of(id),
                                 .type = EV_SURVEY,
                                 .time_ms = MONDAY + (int64_t)i * HOUR,
                                 .value = scores[i],
                                 .dwell_ms = NAN});
    }
    cr_assert(sent("unhappy") == 2 && sent("happy") == 1 && k->out.n == 3);
}

Test(trigger, event_of_a_category_answers_its_items_only) {
    kit_campaign(k, "hats", EV_VIEW)->trigger.category = STR("hats");
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    kit_do(k, &u, EV_VIEW, NULL, MONDAY + 1);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i4", MONDAY + 2);
    cr_assert_eq(sent("hats"), 1);
}

Test(trigger, welcome_answers_the_first_event_of_its_session) {
    kit_campaign(k, "first", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_WELCOME, .session = 1};
    kit_campaign(k, "third", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_WELCOME, .session = 3};
    kit_start(k);
    for (int day = 0; day < 4; day++) {
        kit_do(k, &u, EV_SEARCH, NULL, MONDAY + day * DAY);
        cr_assert_eq(sent("first"), 1);
        cr_assert_eq(sent("third"), day >= 2);
        kit_do(k, &u, EV_VIEW, "i0", MONDAY + day * DAY + MINUTE);
    }
    cr_assert_eq(k->out.n, 2);
}

/* ---- viewed ---- */

static void viewed(enum view_subject subject, uint32_t times, int64_t within_ms) {
    struct campaign_spec *c = kit_campaign(k, "v", EV_VIEW);
    c->trigger =
        (struct trigger_spec){.kind = TRIGGER_VIEWED,
                              .subject = subject,
                              .category = subject == VIEWS_OF_CATEGORY ? STR("shoes") : STR(""),
                              .times = times,
                              .within_ms = within_ms,
                              .without_purchase = true};
    kit_start(k);
}

Test(trigger, viewed_category_counts_its_views_in_the_window) {
    viewed(VIEWS_OF_CATEGORY, 3, HOUR);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY + MINUTE); /* a hat */
    kit_do(k, &u, EV_CLICK, "i3", MONDAY + 2 * MINUTE);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY + HOUR); /* the first view is an hour old: outside */
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY + HOUR + MINUTE);
    cr_assert_eq(sent("v"), 1);
    cr_assert_eq(k->out.d[0].item, k->item[0]);
}

Test(trigger, viewed_uses_up_the_views_it_answered) {
    viewed(VIEWS_OF_CATEGORY, 2, DAY);
    for (int i = 0; i < 7; i++)
        kit_do(k, &u, EV_VIEW, "i0", MONDAY + i * MINUTE);
    cr_assert_eq(sent("v"), 3);
}

Test(trigger, viewed_same_item_does_not_mix_items) {
    viewed(VIEWS_OF_SAME_ITEM, 3, DAY);
    const char *const items[] = {"i0", "i3", "i0", "i3", "i6"};
    for (int i = 0; i < 5; i++)
        kit_do(k, &u, EV_VIEW, items[i], MONDAY + i * MINUTE);
    kit_do(k, &u, EV_VIEW, NULL, MONDAY + 5 * MINUTE);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i3", MONDAY + 6 * MINUTE);
    cr_assert(sent("v") == 1 && k->out.d[0].item == k->item[3]);
}

Test(trigger, viewed_same_category_and_anything) {
    viewed(VIEWS_OF_SAME_CATEGORY, 2, DAY);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY + MINUTE);
    kit_do(k, &u, EV_VIEW, "i2", MONDAY + 2 * MINUTE);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i4", MONDAY + 3 * MINUTE);
    cr_assert_eq(sent("v"), 1);
}

Test(trigger, viewed_anything_counts_every_view) {
    viewed(VIEWS_OF_ANYTHING, 3, DAY);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    kit_do(k, &u, EV_VIEW, NULL, MONDAY + MINUTE);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + 2 * MINUTE);
    kit_do(k, &u, EV_VIEW, "i2", MONDAY + 3 * MINUTE);
    cr_assert_eq(sent("v"), 1);
}

Test(trigger, viewed_is_silent_after_a_purchase_in_the_window) {
    viewed(VIEWS_OF_CATEGORY, 2, DAY);
    kit_do(k, &u, EV_PURCHASE, "i1", MONDAY);
    for (int i = 1; i < 6; i++)
        kit_do(k, &u, EV_VIEW, "i0", MONDAY + i * MINUTE);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY + DAY + SECOND);
    cr_assert_eq(sent("v"), 1);
}

/* ---- cart_abandoned ---- */

static void abandoned(int64_t after_ms) {
    kit_campaign(k, "cart", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = after_ms};
    kit_start(k);
}

Test(trigger, cart_fires_at_its_due_time_whenever_it_is_asked) {
    abandoned(30 * MINUTE);
    kit_do(k, &u, EV_CART_ADD, "i1", MONDAY);
    cr_assert_eq(u.u.due_ms, MONDAY + 30 * MINUTE);
    kit_time(k, &u, MONDAY + 30 * MINUTE - 1);
    cr_assert_eq(k->out.n, 0);
    kit_time(k, &u, MONDAY + 9 * HOUR);
    cr_assert(sent("cart") == 1 && k->out.d[0].time_ms == MONDAY + 30 * MINUTE);
    cr_assert(k->out.d[0].item == k->item[1]);
    cr_assert_eq(u.u.due_ms, MONDAY + 30 * MINUTE + 2 * DAY, "only its window is left");
    kit_time(k, &u, MONDAY + 10 * HOUR);
    cr_assert_eq(k->out.n, 1);
}

Test(trigger, cart_waits_anew_after_each_addition) {
    abandoned(30 * MINUTE);
    kit_do(k, &u, EV_CART_ADD, "i1", MONDAY);
    kit_do(k, &u, EV_CART_ADD, "i2", MONDAY + 20 * MINUTE);
    kit_time(k, &u, MONDAY + 49 * MINUTE);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i5",
           MONDAY + 55 * MINUTE); /* the next event fires what is due before it */
    cr_assert(sent("cart") == 1 && k->out.d[0].time_ms == MONDAY + 50 * MINUTE);
    cr_assert_eq(k->out.d[0].item, k->item[2]);
}

Test(trigger, cart_is_called_off_by_a_purchase) {
    abandoned(30 * MINUTE);
    kit_do(k, &u, EV_CART_ADD, "i1", MONDAY);
    kit_do(k, &u, EV_CART_ADD, "i2", MONDAY + MINUTE);
    kit_do(k, &u, EV_PURCHASE, "i1", MONDAY + 2 * MINUTE);
    cr_assert(u.u.due_ms == INT64_MAX && u.u.ext == NULL);
    kit_time(k, &u, MONDAY + DAY);
    cr_assert_eq(k->out.n, 0);
}

Test(trigger, cart_is_called_off_when_emptied_and_speaks_of_what_is_left) {
    abandoned(30 * MINUTE);
    kit_do(k, &u, EV_CART_ADD, "i1", MONDAY);
    kit_do(k, &u, EV_CART_REMOVE, "i1", MONDAY + MINUTE);
    cr_assert_eq(u.u.due_ms, INT64_MAX);
    kit_do(k, &u, EV_CART_ADD, "i2", MONDAY + 2 * MINUTE);
    kit_do(k, &u, EV_CART_ADD, "i4", MONDAY + 3 * MINUTE);
    kit_do(k, &u, EV_CART_REMOVE, "i4", MONDAY + 4 * MINUTE);
    kit_time(k, &u, MONDAY + HOUR);
    cr_assert(sent("cart") == 1 && k->out.d[0].item == k->item[2]);
}

Test(trigger, cart_asks_the_context_of_the_addition) {
    const struct str audience[] = {STR("country == DE"), STR("carts >= 1")};
    struct campaign_spec *c = kit_campaign(k, "cart", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
    c->audience = audience;
    c->n_audience = 2;
    kit_start(k);
    struct event e = {.id = STR("a"),
                      .item = STR("i1"),
                      .type = EV_CART_ADD,
                      .time_ms = MONDAY,
                      .value = NAN,
                      .dwell_ms = NAN,
                      .n_ctx = 1,
                      .ctx = {{STR("country"), STR("FR")}}};
    kit_event(k, &u, e);
    cr_assert_eq(u.u.due_ms, INT64_MAX);
    e.id = STR("b");
    e.time_ms += MINUTE;
    e.ctx[0].value = STR("DE");
    kit_event(k, &u, e);
    kit_time(k, &u, MONDAY + DAY);
    cr_assert_eq(sent("cart"), 1);
}

/* ---- price_drop ---- */

static void drop(const char *item, double from, double to, int64_t now) {
    struct policy_context c = kit_context(k, &u);
    policy_on_price_drop(&c, model_item_find(k->model, str_of(item)), from, to, now, &k->out);
}

Test(trigger, price_drop_needs_the_percentage_and_a_recent_view) {
    kit_campaign(k, "drop", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_PRICE_DROP, .percent = 20, .within_ms = 7 * DAY};
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY);
    drop("i2", 100, 50, MONDAY + HOUR); /* not viewed */
    drop("i1", 100, 81, MONDAY + HOUR);
    drop("i1", 100, 120, MONDAY + HOUR);
    drop("i1", NAN, 50, MONDAY + HOUR);
    drop("i1", 100, 50, MONDAY + 8 * DAY);
    cr_assert_eq(k->out.n, 0);
    drop("i1", 100, 80, MONDAY + HOUR);
    cr_assert_eq(sent("drop"), 1);
    cr_assert(k->out.d[0].old_price == 100 && k->out.d[0].new_price == 80 &&
              k->out.d[0].item == k->item[1]);
    drop("i1", 100, 80, MONDAY + 90 * MINUTE); /* said twice */
    cr_assert_eq(k->out.n, 1);
    drop("i1", 80, 40, MONDAY + 2 * HOUR);
    cr_assert_eq(sent("drop"), 2);
    cr_assert_neq(k->out.d[0].trigger_hash[0], k->out.d[1].trigger_hash[0]);
}

Test(trigger, price_drop_is_nothing_to_who_has_bought_it) {
    kit_campaign(k, "drop", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_PRICE_DROP, .percent = 5, .within_ms = 7 * DAY};
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY);
    kit_do(k, &u, EV_PURCHASE, "i1", MONDAY + MINUTE);
    drop("i1", 100, 50, MONDAY + HOUR);
    cr_assert_eq(k->out.n, 0);
}

/* ---- lapsed ---- */

static void lapsed(const char *id, int64_t days) {
    kit_campaign(k, id, EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_LAPSED, .days_ms = days * DAY};
}

Test(trigger, lapsed_fires_each_number_of_days_once_per_silence) {
    lapsed("d60", 60);
    lapsed("d30", 30);
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY);
    cr_assert(u.u.due_ms == MONDAY + 30 * DAY && u.u.ext == NULL);
    kit_time(k, &u, MONDAY + 30 * DAY);
    cr_assert(sent("d30") == 1 && sent("d60") == 0 && u.u.due_ms == MONDAY + 32 * DAY);
    kit_time(k, &u, MONDAY + 32 * DAY);
    cr_assert_eq(u.u.due_ms, MONDAY + 60 * DAY);
    kit_time(k, &u, MONDAY + 59 * DAY);
    cr_assert_eq(k->out.n, 1);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY + 70 * DAY); /* lapsed before he returned */
    cr_assert(sent("d60") == 1 && k->out.d[1].time_ms == MONDAY + 60 * DAY);
    cr_assert_eq(u.u.due_ms, MONDAY + 100 * DAY);
    kit_time(k, &u, MONDAY + 365 * DAY);
    cr_assert(sent("d30") == 2 && sent("d60") == 2 && k->out.n == 4 && u.u.due_ms == INT64_MAX);
}

Test(trigger, lapsed_leaves_alone_who_left_before_the_campaign_began) {
    kit_campaign(k, "other", EV_SURVEY);
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY);
    struct buf record = {0}, user = {0};
    cr_assert_eq(policy_shard_encode(k->shard, &record), 0);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &user), 0);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    lapsed("d30", 30); /* the file changes 45 days later */
    kit_start(k);
    size_t used;
    cr_assert_eq(policy_shard_restore(k->shard, record.p, record.n), 0);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, user.p, user.n, &used), 0);
    struct kit_user other;
    kit_user(&other, "ben");
    kit_do(k, &other, EV_VIEW, "i1", MONDAY + 45 * DAY);
    kit_time(k, &u, MONDAY + 45 * DAY);
    cr_assert(k->out.n == 0 && u.u.due_ms == INT64_MAX);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY + 50 * DAY);
    kit_time(k, &u, MONDAY + 90 * DAY);
    cr_assert_eq(sent("d30"), 1);
    kit_user_free(&other);
    buf_free(&record);
    buf_free(&user);
}

/* ---- follows ---- */

static void rescue_and_reminder(enum follow_unless unless) {
    struct campaign_spec *c = kit_campaign(k, "reminder", EV_VIEW); /* before what it follows */
    c->channel = STR("push");
    c->trigger = (struct trigger_spec){
        .kind = TRIGGER_FOLLOWS, .campaign = STR("rescue"), .after_ms = DAY, .unless = unless};
    kit_campaign(k, "rescue", EV_FAVORITE)->window_ms = 2 * DAY;
    kit_start(k);
}

Test(trigger, a_second_touch_goes_to_those_who_did_not_open_the_first) {
    rescue_and_reminder(FOLLOW_UNLESS_OPENED);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    cr_assert_eq(u.u.due_ms, MONDAY + DAY);
    struct buf b = {0}; /* the timer outlives a restart */
    size_t used;
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &b), 0);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, b.p, b.n, &used), 0);
    buf_free(&b);
    kit_time(k, &u, MONDAY + 9 * DAY);
    cr_assert_eq(sent("reminder"), 1);
    cr_assert(k->out.d[1].time_ms == MONDAY + DAY && k->out.d[1].item == k->item[1] &&
              k->out.d[1].cause_hash == k->out.d[0].trigger_hash[0]);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + 10 * DAY);
    kit_do(k, &u, EV_CAMPAIGN_OPEN, NULL, MONDAY + 10 * DAY + HOUR);
    kit_time(k, &u, MONDAY + 20 * DAY);
    cr_assert_eq(sent("reminder"), 1);
}

Test(trigger, who_bought_is_not_followed_whatever_was_asked_for) {
    rescue_and_reminder(FOLLOW_ALWAYS);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    kit_do(k, &u, EV_CAMPAIGN_OPEN, NULL, MONDAY + HOUR);
    kit_time(k, &u, MONDAY + 9 * DAY);
    cr_assert_eq(sent("reminder"), 1);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + 10 * DAY);
    kit_do(k, &u, EV_PURCHASE, "i2", MONDAY + 10 * DAY + HOUR);
    kit_time(k, &u, MONDAY + 20 * DAY);
    cr_assert_eq(sent("reminder"), 1);
}

Test(trigger, opening_is_not_redeeming) {
    rescue_and_reminder(FOLLOW_UNLESS_REDEEMED);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    kit_do(k, &u, EV_CAMPAIGN_OPEN, NULL, MONDAY + HOUR);
    kit_time(k, &u, MONDAY + 9 * DAY);
    cr_assert_eq(sent("reminder"), 1);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + 10 * DAY);
    kit_do(k, &u, EV_CAMPAIGN_REDEEM, NULL, MONDAY + 10 * DAY + HOUR);
    kit_time(k, &u, MONDAY + 20 * DAY);
    cr_assert_eq(sent("reminder"), 1);
}

Test(trigger, a_window_that_closes_before_it_is_asked_cannot_be_followed) {
    rescue_and_reminder(FOLLOW_ALWAYS);
    struct policy_set *set = NULL;
    k->campaign[1].window_ms = DAY;
    cr_assert_eq(policy_set_new(&k->spec, &set), -EINVAL);
    k->campaign[1].window_ms = DAY + 1;
    k->campaign[0].trigger.campaign = STR("nobody");
    cr_assert_eq(policy_set_new(&k->spec, &set), -EINVAL);
}

Test(trigger, an_audience_may_look_at_the_item) {
    static const struct str audience[] = {STR("item.price >= 14"), STR("item.category in [hats]")};
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->audience = audience;
    c->n_audience = 2;
    kit_start(k);
    const char *const items[] = {"i1", "i4", "i5", "i7"}; /* i4 and i7: hats for 14 and 17 */
    for (int i = 0; i < 4; i++)
        kit_do(k, &u, EV_FAVORITE, items[i], MONDAY + i);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 9);
    cr_assert(sent("a") == 2 && k->out.d[0].item == k->item[4] && k->out.d[1].item == k->item[7]);
}
