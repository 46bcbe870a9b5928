/* Every reason, the order of the guards, and what is chosen. */
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

TestSuite(guard, .init = setup, .fini = teardown);

static size_t count(const char *campaign, enum policy_reason r) {
    return kit_count(k, campaign, r);
}

/* The reason of the only decision since the last call. */
static enum policy_reason only(void) {
    cr_assert_eq(k->out.n, 1, "%zu decisions", k->out.n);
    kit_forget(k);
    cr_assert(k->out.d[0].send == (k->out.d[0].reason == PR_SENT));
    return k->out.d[0].reason;
}

static enum policy_reason favorite(int64_t at_ms) {
    kit_do(k, &u, EV_FAVORITE, "i1", at_ms);
    return only();
}

Test(guard, reasons_have_names) {
    kit_start(k);
    cr_assert_str_eq(policy_reason_name(PR_SENT), "sent");
    cr_assert_str_eq(policy_reason_name(PR_QUIET), "quiet-hours");
    cr_assert_str_eq(policy_reason_name(PR_COUNT), "unknown");
}

Test(guard, audience_misses_are_counted_and_not_logged) {
    const struct str audience[] = {STR("favorites >= 2")};
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->audience = audience;
    c->n_audience = 1;
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    cr_assert_eq(k->out.n, 0);
    cr_assert_eq(policy_shard_counts(k->shard)->by_reason[0][PR_AUDIENCE], 1);
    cr_assert_eq(favorite(MONDAY + 1), PR_SENT);
    cr_assert_eq(policy_shard_counts(k->shard)->by_reason[0][PR_SENT], 1);
}

Test(guard, shares_of_categories_open_the_audience) {
    const struct str audience[] = {STR("category_share(hats) > 0.5"),
                                   STR("category_share(unheard of) == 0")};
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->audience = audience;
    c->n_audience = 2;
    kit_start(k);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 1);
    cr_assert_eq(k->out.n, 0);
    kit_do(k, &u, EV_VIEW, "i1", MONDAY + 2);
    kit_do(k, &u, EV_VIEW, "i4", MONDAY + 3);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 4);
    cr_assert_eq(only(), PR_SENT);
}

/* Floods the profile until it is marked. */
static void become_bot(int64_t at_ms) {
    static const struct profile_params params = {.flood_per_minute = 1, .bot_minutes = 1};
    struct event e = {.type = EV_SEARCH, .value = NAN, .dwell_ms = NAN, .time_ms = at_ms};
    enum learn_result r = LEARN_OK;
    for (uint64_t i = 1; i < 100 && r != LEARN_BOT; i++) {
        r = profile_observe(&u.u.prof, &e, i, ROW_NONE, 0, NAN, 0, &params, NULL);
        e.time_ms += i % 3 ? 1 : MINUTE;
    }
    cr_assert_eq(r, LEARN_BOT);
}

/* Asks the policy alone; the profile would refuse what a bot does. */
static enum policy_reason ask(uint8_t type, uint32_t item, int64_t at_ms) {
    char id[32];
    snprintf(id, sizeof id, "ask-%lld", (long long)at_ms);
    struct event e = {
        .id = str_of(id), .type = type, .time_ms = at_ms, .value = NAN, .dwell_ms = NAN};
    struct policy_context c = kit_context(k, &u);
    policy_on_event(&c, &e, item, &k->out);
    return only();
}

Test(guard, bots_get_nothing) {
    kit_campaign(k, "a", EV_FAVORITE);
    kit_start(k);
    become_bot(MONDAY);
    cr_assert_eq(ask(EV_FAVORITE, ROW_NONE, MONDAY + HOUR), PR_BOT);
    cr_assert_eq(ask(EV_FAVORITE, ROW_NONE, MONDAY + 3 * DAY), PR_SENT);
}

Test(guard, paused_by_file_by_people_or_altogether) {
    kit_campaign(k, "file", EV_FAVORITE)->paused = true;
    kit_campaign(k, "people", EV_SEARCH);
    kit_start(k);
    cr_assert_eq(favorite(MONDAY), PR_PAUSED);
    uint8_t paused[] = {0, 1};
    struct event e = {
        .id = STR("s1"), .type = EV_SEARCH, .time_ms = MONDAY + 1, .value = NAN, .dwell_ms = NAN};
    struct policy_context c = kit_context(k, &u);
    c.paused_campaigns = paused;
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    cr_assert_eq(only(), PR_PAUSED);
    paused[1] = 0;
    c.paused_all = true;
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    cr_assert_eq(only(), PR_KILLED);
    c.paused_all = false;
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    cr_assert_eq(only(), PR_SENT);
}

Test(guard, days_of_a_campaign_are_the_default_zones) {
    static const int64_t at[] = {0};
    static const int32_t offset[] = {3600};
    static const struct tz_rules winter = {"x", 1, at, offset};
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->start_day = c->end_day = days_from_civil(2026, 3, 3);
    k->spec.tz = &winter;
    kit_start(k);
    cr_assert_eq(favorite(MONDAY + DAY - HOUR - 1), PR_EXPIRED);
    cr_assert_eq(favorite(MONDAY + DAY - HOUR), PR_SENT);
    cr_assert_eq(k->out.d[0].valid_until_ms,
                 MONDAY + 2 * DAY - HOUR); /* no longer than the campaign */
    cr_assert_eq(favorite(MONDAY + 2 * DAY - HOUR - 1), PR_SENT);
    cr_assert_eq(favorite(MONDAY + 2 * DAY - HOUR), PR_EXPIRED);
}

Test(guard, consent_is_of_the_channel_and_else_the_default) {
    kit_campaign(k, "mail", EV_FAVORITE);
    kit_campaign(k, "push", EV_SEARCH)->channel = STR("push");
    k->spec.consent_granted = false;
    kit_start(k);
    uint32_t mail = 1u << policy_channel_find(k->set, STR("email")),
             push = 1u << policy_channel_find(k->set, STR("push"));
    cr_assert_eq(favorite(MONDAY), PR_NO_CONSENT);
    u.consent = (struct consent){.known = true, .granted = push};
    cr_assert_eq(favorite(MONDAY + 1), PR_NO_CONSENT);
    u.consent.granted |= mail;
    cr_assert_eq(favorite(MONDAY + 2), PR_SENT);
    u.consent.denied = mail; /* said both: no is no */
    cr_assert_eq(favorite(MONDAY + 3), PR_NO_CONSENT);
    u.consent = (struct consent){.known = false, .granted = mail};
    cr_assert_eq(favorite(MONDAY + 4), PR_NO_CONSENT);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    k->spec.consent_granted = true;
    kit_start(k);
    cr_assert_eq(favorite(MONDAY + 5), PR_SENT);
    u.consent = (struct consent){.known = true, .denied = mail};
    cr_assert_eq(favorite(MONDAY + 6), PR_NO_CONSENT);
}

Test(guard, touchy_items_are_no_reason_to_address_somebody) {
    kit_campaign(k, "a", EV_FAVORITE);
    kit_campaign(k, "coupon", EV_RATING)->offer[0].discount = true;
    kit_start(k);
    const char *const items[] = {"i8", "i9", "i10", "i11"};
    for (int i = 0; i < 4; i++) {
        kit_do(k, &u, EV_FAVORITE, items[i], MONDAY + 2 * i);
        cr_assert_eq(only(), i < 3 ? PR_SENSITIVE : PR_SENT);
    }
    kit_do(k, &u, EV_RATING, "i11", MONDAY + 20);
    cr_assert_eq(only(), PR_SENSITIVE);
    kit_do(k, &u, EV_RATING, "i1", MONDAY + 21);
    cr_assert_eq(only(), PR_SENT);
}

Test(guard, holdout_is_its_share_of_users_stable_and_moves_with_the_salt) {
    enum { USERS = 20000 };
    static bool held[USERS];
    kit_campaign(k, "a", EV_FAVORITE);
    k->spec.holdout = 500;
    size_t moved = 0;
    for (int round = 0; round < 3; round++) {
        k->spec.salt = round < 2 ? STR("salt") : STR("pepper");
        kit_start(k);
        size_t n = 0;
        for (int i = 0; i < USERS; i++) {
            struct kit_user v;
            char id[16];
            snprintf(id, sizeof id, "u%d", i);
            kit_user(&v, id);
            kit_do(k, &v, EV_FAVORITE, "i1", MONDAY + round);
            bool h = only() == PR_HOLDOUT;
            n += h;
            if (round == 1)
                cr_assert_eq(h, held[i]);
            moved += round == 2 && h != held[i];
            held[i] = h;
            kit_user_free(&v);
        }
        /* 1000 expected, standard deviation 30.8: four of them */
        cr_assert(n > 876 && n < 1124, "%zu of %d", n, USERS);
        policy_shard_free(k->shard);
        policy_set_free(k->set);
        k->shard = NULL;
        k->set = NULL;
    }
    cr_assert(moved > 1500, "%zu", moved);
}

/* ---- caps ---- */

Test(guard, caps_are_rolling_windows_by_user_channel_and_campaign) {
    kit_campaign(k, "a", EV_FAVORITE)->caps = (struct caps){1, {{1, 2 * DAY}}};
    kit_campaign(k, "b", EV_SEARCH);
    kit_campaign(k, "p", EV_RATING)->channel = STR("push");
    k->spec.user_caps = (struct caps){2, {{3, DAY}, {4, 10 * DAY}}};
    k->spec.n_channel_caps = 1;
    k->spec.channel_caps[0].channel = STR("email");
    k->spec.channel_caps[0].caps = (struct caps){1, {{2, DAY}}};
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + HOUR);
    cr_assert(count("a", PR_SENT) == 1 && count("a", PR_CAP_CAMPAIGN) == 1);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + 2 * HOUR);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + 3 * HOUR);
    cr_assert(count("b", PR_SENT) == 1 && count("b", PR_CAP_CHANNEL) == 1);
    kit_do(k, &u, EV_RATING, NULL, MONDAY + 4 * HOUR);
    kit_do(k, &u, EV_RATING, NULL, MONDAY + 5 * HOUR);
    cr_assert(count("p", PR_SENT) == 1 && count("p", PR_CAP_USER) == 1);
    kit_forget(k);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + DAY - 1);
    cr_assert_eq(only(), PR_CAP_USER);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + DAY); /* the first one is a whole window ago */
    cr_assert_eq(only(), PR_SENT);
    kit_do(k, &u, EV_RATING, NULL, MONDAY + 9 * DAY); /* four within ten days */
    cr_assert_eq(only(), PR_CAP_USER);
    kit_do(k, &u, EV_RATING, NULL, MONDAY + 10 * DAY);
    cr_assert_eq(only(), PR_SENT);
}

Test(guard, transactional_skips_caps_and_quiet_hours_and_uses_up_none) {
    struct campaign_spec *t = kit_campaign(k, "t", EV_SURVEY);
    t->transactional = true;
    t->quiet = (struct quiet_hours){.on = true, .from_min = 0, .to_min = 1439};
    t->caps = (struct caps){1, {{1, DAY}}};
    kit_campaign(k, "a", EV_FAVORITE);
    k->spec.user_caps = (struct caps){1, {{1, DAY}}};
    kit_start(k);
    kit_do(k, &u, EV_SURVEY, NULL, MONDAY);
    cr_assert_eq(only(), PR_SENT);
    cr_assert_eq(favorite(MONDAY + 1), PR_SENT);
    kit_do(k, &u, EV_SURVEY, NULL, MONDAY + 2);
    cr_assert_eq(only(), PR_SENT);
    cr_assert_eq(favorite(MONDAY + 3), PR_CAP_USER);
    u.consent = (struct consent){.known = true, .denied = 1};
    kit_do(k, &u, EV_SURVEY, NULL, MONDAY + 4);
    cr_assert_eq(only(), PR_NO_CONSENT);
}

Test(guard, reentry_is_always_after_a_time_or_never) {
    struct campaign_spec *c = kit_campaign(k, "after", EV_FAVORITE);
    c->reentry = REENTRY_AFTER;
    c->reentry_ms = 30 * DAY;
    kit_campaign(k, "never", EV_SEARCH)->reentry = REENTRY_NEVER;
    kit_start(k);
    cr_assert_eq(favorite(MONDAY), PR_SENT);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY);
    cr_assert_eq(only(), PR_SENT);
    for (int i = 1; i < 30; i++)
        cr_assert_eq(favorite(MONDAY + i * DAY), PR_CAP_CAMPAIGN);
    cr_assert_eq(favorite(MONDAY + 30 * DAY), PR_SENT);
    for (int i = 2; i < 40; i++) /* however many sends come between */
        cr_assert_eq(favorite(MONDAY + i * 30 * DAY), PR_SENT);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + 2000 * DAY);
    cr_assert_eq(only(), PR_CAP_CAMPAIGN);
    cr_assert_lt(policy_user_bytes(&u.u), 800, "what nobody needs is forgotten");
}

Test(guard, a_late_event_is_decided_at_the_newest_time_so_caps_hold_for_what_leaves) {
    kit_campaign(k, "a", EV_FAVORITE)->caps = (struct caps){1, {{1, DAY}}};
    kit_start(k);
    cr_assert_eq(favorite(MONDAY + 2 * DAY), PR_SENT);
    cr_assert_eq(favorite(MONDAY), PR_CAP_CAMPAIGN);
    cr_assert_eq(k->out.d[0].time_ms, MONDAY + 2 * DAY);
}

/* ---- quiet hours ---- */

static struct campaign_spec *quiet(const char *id, uint8_t type, bool drop) {
    struct campaign_spec *c = kit_campaign(k, id, type);
    c->quiet =
        (struct quiet_hours){.on = true, .drop = drop, .from_min = 21 * 60, .to_min = 8 * 60};
    return c;
}

Test(guard, quiet_hours_drop_or_wait_until_their_end) {
    quiet("drop", EV_FAVORITE, true);
    quiet("wait", EV_SEARCH, false);
    kit_start(k);
    int64_t night = MONDAY + 22 * HOUR, morning = MONDAY + 32 * HOUR;
    cr_assert_eq(favorite(night), PR_QUIET);
    kit_do(k, &u, EV_SEARCH, "i1", night);
    struct decision waits = k->out.d[0];
    cr_assert_eq(only(), PR_POSTPONED);
    cr_assert_eq(u.u.due_ms, morning);
    kit_time(k, &u, morning + 5 * HOUR);
    struct decision goes = k->out.d[0];
    cr_assert_eq(only(), PR_SENT);
    cr_assert(goes.time_ms == morning && goes.item == k->item[1] &&
              goes.cause_hash == waits.cause_hash);
    cr_assert_arr_eq(goes.trigger_hash, waits.trigger_hash, sizeof goes.trigger_hash);
    cr_assert_eq(goes.valid_until_ms, morning + 2 * DAY);
}

Test(guard, quiet_hours_are_the_users_across_clock_changes) {
    static const int64_t berlin_at[] = {0, 1774746000};
    static const int32_t berlin_off[] = {3600, 7200};
    static const struct tz_rules berlin = {"Europe/Berlin", 2, berlin_at, berlin_off};
    static const int64_t ny_at[] = {0, 1772953200};
    static const int32_t ny_off[] = {-18000, -14400};
    static const struct tz_rules new_york = {"America/New_York", 2, ny_at, ny_off};
    static const int64_t kolkata_at[] = {0};
    static const int32_t kolkata_off[] = {19800};
    static const struct tz_rules kolkata = {"Asia/Kolkata", 1, kolkata_at, kolkata_off};
    quiet("wait", EV_SEARCH, false);
    k->spec.tz = &berlin; /* who has not said where he is */
    kit_start(k);
    const struct {
        const struct tz_rules *tz;
        int64_t at_s, due_s;
    } cases[] = {
        {&berlin, 1774746000 - 2 * 3600,
         1774746000 + 5 * 3600}, /* 23:00; 8:00 is 5 hours after 3:00 */
        {&new_york, 1772953200 - 3 * 3600, 1772953200 + 5 * 3600},         /* likewise */
        {&kolkata, 1774746000 + 16 * 3600, 1774746000 + 25 * 3600 + 1800}, /* 22:30 to 8:00 */
        {NULL, 1774746000 + 20 * 3600, 1774746000 + 29 * 3600}, /* 23:00 to 8:00 in Berlin */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit_user v;
        char id[8] = {(char)('a' + i)};
        kit_user(&v, id);
        v.consent = (struct consent){.known = true, .tz = cases[i].tz};
        kit_do(k, &v, EV_SEARCH, NULL, cases[i].at_s * SECOND);
        cr_assert_eq(only(), PR_POSTPONED);
        cr_assert_eq(v.u.due_ms, cases[i].due_s * SECOND, "case %zu: %lld", i,
                     (long long)v.u.due_ms / 1000);
        kit_user_free(&v);
    }
}

Test(guard, what_waited_meets_all_guards_again) {
    quiet("wait", EV_SEARCH, false);
    struct campaign_spec *brief = quiet("brief", EV_RATING, false);
    brief->valid_ms = 6 * HOUR;
    kit_start(k);
    int64_t night = MONDAY + 22 * HOUR, morning = MONDAY + 32 * HOUR;
    for (int day = 0; day < 3; day++) {
        kit_do(k, &u, EV_SEARCH, NULL, night + day * DAY);
        cr_assert_eq(only(), PR_POSTPONED);
        if (day == 0)
            u.consent = (struct consent){.known = true, .denied = 1}; /* said no in the night */
        if (day == 1) {
            kit_do(k, &u, EV_PURCHASE, NULL, night + day * DAY + MINUTE); /* bought meanwhile */
            cr_assert_eq(u.u.due_ms, INT64_MAX);
            continue;
        }
        kit_time(k, &u, morning + day * DAY);
        cr_assert_eq(only(), day == 0 ? PR_NO_CONSENT : PR_SENT);
        u.consent = (struct consent){0};
    }
    kit_do(k, &u, EV_RATING, NULL, night + 5 * DAY);
    cr_assert_eq(only(), PR_POSTPONED);
    kit_time(k, &u, morning + 5 * DAY);
    cr_assert_eq(only(), PR_EXPIRED); /* ten hours are more than six */
}

Test(guard, an_abandoned_cart_that_waited_is_called_off_when_emptied) {
    struct campaign_spec *c = quiet("cart", EV_VIEW, false);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
    kit_start(k);
    kit_do(k, &u, EV_CART_ADD, "i1", MONDAY + 22 * HOUR);
    kit_time(k, &u, MONDAY + 23 * HOUR);
    cr_assert_eq(only(), PR_POSTPONED);
    kit_do(k, &u, EV_CART_REMOVE, "i1", MONDAY + 24 * HOUR);
    cr_assert_eq(u.u.due_ms, INT64_MAX);
    kit_time(k, &u, MONDAY + 2 * DAY);
    cr_assert_eq(k->out.n, 0);
}

/* ---- budget ---- */

Test(guard, budget_is_of_the_calendar_day_and_shared_by_the_processs_shards) {
    kit_campaign(k, "a", EV_FAVORITE)->budget = 3;
    kit_start(k);
    struct policy_shard *first = k->shard, *second;
    cr_assert_eq(policy_shard_new(k->set, &second), 0);
    cr_assert_eq(favorite(MONDAY), PR_SENT);
    k->shard = second;
    cr_assert_eq(favorite(MONDAY + HOUR), PR_SENT);
    cr_assert(policy_shard_dirty(second));
    cr_assert_eq(favorite(MONDAY + 2 * HOUR), PR_SENT);
    cr_assert_eq(favorite(MONDAY + 3 * HOUR), PR_BUDGET);
    k->shard = first;
    cr_assert_eq(favorite(MONDAY + DAY - 1), PR_BUDGET);
    cr_assert_eq(favorite(MONDAY + DAY), PR_SENT);
    /* The second shard moves to another process and back: its two are taken along. */
    struct buf b = {0};
    cr_assert_eq(policy_shard_encode(second, &b), 0);
    cr_assert(!policy_shard_dirty(second));
    policy_shard_free(second);
    cr_assert_eq(policy_shard_new(k->set, &second), 0);
    cr_assert_eq(policy_shard_restore(second, b.p, b.n), 0);
    struct kit_user v;
    kit_user(&v, "ben");
    kit_do(k, &v, EV_FAVORITE, NULL, MONDAY + HOUR);
    cr_assert_eq(only(), PR_BUDGET);
    policy_shard_free(second);
    kit_do(k, &v, EV_FAVORITE, NULL, MONDAY + 2 * HOUR);
    cr_assert_eq(only(), PR_SENT);
    kit_user_free(&v);
    buf_free(&b);
}

Test(guard, budget_share_is_rounded_down) {
    kit_campaign(k, "a", EV_FAVORITE)->budget = 10;
    kit_start(k);
    policy_set_budget_share(k->set, 1, 3);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(favorite(MONDAY + i), i < 3 ? PR_SENT : PR_BUDGET);
    policy_set_budget_share(k->set, 2, 3);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(favorite(MONDAY + MINUTE + i), i < 3 ? PR_SENT : PR_BUDGET);
    policy_set_budget_share(k->set, 0, 3);
    cr_assert_eq(favorite(MONDAY + DAY), PR_BUDGET);
}

Test(guard, budget_of_days_long_closed_is_spent) {
    kit_campaign(k, "a", EV_FAVORITE)->budget = 1;
    kit_start(k);
    struct kit_user v;
    kit_user(&v, "late");
    for (int day = 0; day < 9; day++)
        cr_assert_eq(favorite(MONDAY + day * DAY), PR_SENT);
    kit_do(k, &v, EV_FAVORITE, NULL, MONDAY + HOUR);
    cr_assert_eq(only(), PR_BUDGET);
    kit_user_free(&v);
}

/* ---- choice ---- */

Test(guard, the_highest_priority_then_the_first_in_the_file_goes_out) {
    kit_campaign(k, "low", EV_FAVORITE)->priority = 1;
    kit_campaign(k, "high", EV_FAVORITE)->priority = 9;
    kit_campaign(k, "same", EV_FAVORITE)->priority = 9;
    kit_campaign(k, "top", EV_FAVORITE)->priority = 99;
    k->campaign[3].paused = true;
    k->campaign[1].budget = 1;
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    cr_assert(k->out.n == 4 && count("high", PR_SENT) == 1 && count("top", PR_PAUSED) == 1);
    cr_assert(count("low", PR_NOT_BEST) == 1 && count("same", PR_NOT_BEST) == 1);
    kit_forget(k);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 1); /* without money the next one goes */
    cr_assert(count("same", PR_SENT) == 1 && count("high", PR_BUDGET) == 1 &&
              count("low", PR_NOT_BEST) == 1);
}

Test(guard, what_waited_for_the_same_morning_competes) {
    quiet("low", EV_SEARCH, false)->priority = 1;
    quiet("high", EV_RATING, false)->priority = 2;
    kit_start(k);
    kit_do(k, &u, EV_SEARCH, NULL, MONDAY + 22 * HOUR);
    kit_do(k, &u, EV_RATING, NULL, MONDAY + 23 * HOUR);
    kit_forget(k);
    kit_time(k, &u, MONDAY + 2 * DAY);
    cr_assert(k->out.n == 2 && count("high", PR_SENT) == 1 && count("low", PR_NOT_BEST) == 1);
}

struct learned {
    int action;
    size_t asked, offered;
};

static void learned_decide(void *self, const struct policy_context *c, int64_t now_ms,
                           uint64_t seed, const struct arms *arms, struct choice *ret) {
    struct learned *l = self;
    (void)now_ms;
    cr_assert_eq(c->user, &u.u);
    cr_assert(arms->cand[0].trigger_hash[0] == seed && !arms->shared);
    l->asked++;
    l->offered = arms->n;
    *ret = (struct choice){.index = l->action, .propensity = 0.25};
}

Test(guard, another_policy_may_take_the_place_of_the_rules) {
    static const struct policy_kind learned = {.name = "learned", .decide = learned_decide};
    struct learned self = {.action = 0};
    kit_campaign(k, "low", EV_FAVORITE);
    kit_campaign(k, "high", EV_FAVORITE)->priority = 9;
    kit_campaign(k, "paused", EV_FAVORITE)->paused = true;
    kit_start(k);
    policy_set_use(k->set, 0, &learned, &self);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    cr_assert(self.asked == 1 && self.offered == 2 && count("low", PR_SENT) == 1 &&
              count("high", PR_NOT_BEST) == 1);
    for (size_t i = 0; i < k->out.n; i++)
        cr_assert_eq(k->out.d[i].propensity, k->out.d[i].reason == PR_PAUSED ? 1 : 0.25);
    kit_forget(k);
    self.action = -1;
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 1);
    cr_assert(count("low", PR_POLICY) == 1 && count("high", PR_POLICY) == 1 &&
              count("low", PR_SENT) == 0);
}

Test(guard, the_first_refusal_in_the_documented_order_is_the_reason) {
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    const struct str audience[] = {STR("favorites >= 2")};
    const struct quiet_hours always = {.on = true, .drop = true, .from_min = 1, .to_min = 0};
    c->audience = audience;
    c->n_audience = 1;
    c->paused = true;
    c->end_day = days_from_civil(2026, 3, 1);
    c->quiet = always;
    c->budget = 1;
    k->spec.consent_granted = false;
    k->spec.holdout = 10000;
    k->spec.user_caps = (struct caps){1, {{1, DAY}}};
    k->spec.n_channel_caps = 1;
    k->spec.channel_caps[0].channel = STR("email");
    k->spec.channel_caps[0].caps = (struct caps){1, {{1, DAY}}};
    c->caps = (struct caps){1, {{1, DAY}}};
    const enum policy_reason order[] = {
        PR_AUDIENCE,  PR_BOT,     PR_PAUSED,   PR_EXPIRED,     PR_NO_CONSENT,
        PR_SENSITIVE, PR_HOLDOUT, PR_CAP_USER, PR_CAP_CHANNEL, PR_CAP_CAMPAIGN,
        PR_QUIET,     PR_BUDGET,  PR_SENT,
    };
    /* A send of the same campaign an hour ago, by a set that refuses nothing. */
    struct kit *generous = kit_new();
    struct kit_user twin;
    struct buf state = {0};
    size_t used;
    kit_campaign(generous, "a", EV_FAVORITE);
    kit_start(generous);
    kit_user(&twin, "anna");
    kit_do(generous, &twin, EV_FAVORITE, NULL, MONDAY);
    cr_assert_eq(policy_user_encode(generous->set, &twin.u, generous->model, &state), 0);
    kit_user_free(&twin);
    kit_free(generous);

    /* Each round lifts the guard that refused in the one before. */
    uint32_t item = k->item[10];
    become_bot(MONDAY);
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        switch (i ? order[i - 1] : PR_COUNT) {
        case PR_AUDIENCE:
            c->n_audience = 0;
            break;
        case PR_BOT:
            profile_done(&u.u.prof);
            break;
        case PR_PAUSED:
            c->paused = false;
            break;
        case PR_EXPIRED:
            c->end_day = INT32_MAX;
            break;
        case PR_NO_CONSENT:
            k->spec.consent_granted = true;
            break;
        case PR_SENSITIVE:
            item = k->item[1];
            break;
        case PR_HOLDOUT:
            k->spec.holdout = 0;
            break;
        case PR_CAP_USER:
            k->spec.user_caps.n = 0;
            break;
        case PR_CAP_CHANNEL:
            k->spec.channel_caps[0].caps.n = 0;
            break;
        case PR_CAP_CAMPAIGN:
            c->caps.n = 0;
            break;
        case PR_QUIET:
            c->quiet.on = false;
            break;
        default:
            break;
        }
        kit_start(k);
        policy_set_budget_share(k->set, order[i] == PR_SENT, 1);
        cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, state.p, state.n, &used), 0);
        if (order[i] == PR_AUDIENCE) {
            struct event e = {
                .id = STR("e"), .type = EV_FAVORITE, .time_ms = MONDAY + HOUR, .value = NAN};
            struct policy_context ctx = kit_context(k, &u);
            policy_on_event(&ctx, &e, item, &k->out);
            cr_assert(k->out.n == 0 &&
                      policy_shard_counts(k->shard)->by_reason[0][PR_AUDIENCE] == 1);
        } else {
            enum policy_reason r = ask(EV_FAVORITE, item, MONDAY + HOUR);
            cr_assert_eq(r, order[i], "%s, not %s", policy_reason_name(r),
                         policy_reason_name(order[i]));
        }
        policy_shard_free(k->shard);
        policy_set_free(k->set);
        k->shard = NULL;
        k->set = NULL;
    }
    buf_free(&state);
}
