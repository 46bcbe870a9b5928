#include "consumer/campaign_file.h"

#include <criterion/criterion.h>
#include <stdio.h>

#include "policy/evidence.h"

static struct config cfg = {.policy_campaigns = (char *)"",
                            .policy_timezone = (char *)"UTC",
                            .policy_salt = (char *)"salt"};

static struct policy_set *good(const char *text) {
    struct yaml_walk w;
    struct policy_set *set = NULL;
    int r = campaign_text_check(&cfg, text, strlen(text), &w, &set);
    for (size_t i = 0; i < w.n_faults; i++)
        fprintf(stderr, "%d %s %s\n", w.fault[i].line, w.fault[i].key, w.fault[i].text);
    cr_assert(r == 0 && w.n_faults == 0, "%d", r);
    walk_free(&w);
    return set;
}

/* That the only fault is this one. */
static void bad(const char *text, int line, const char *key, const char *what) {
    struct yaml_walk w;
    struct policy_set *set = NULL;
    cr_assert_eq(campaign_text_check(&cfg, text, strlen(text), &w, &set), -EINVAL, "%s", text);
    cr_assert_null(set);
    cr_assert_eq(w.n_faults, 1, "%zu faults in %s", w.n_faults, text);
    cr_assert_eq(w.fault[0].line, line, "line %d of %s", w.fault[0].line, text);
    cr_assert_str_eq(w.fault[0].key, key);
    cr_assert_not_null(strstr(w.fault[0].text, what), "%s", w.fault[0].text);
    walk_free(&w);
}

/* A campaign in line 2 with one more line, which is line 6. */
static const char *with(const char *line) {
    static char text[1024];
    snprintf(text, sizeof text,
             "campaigns:\n"
             "  - id: a\n"
             "    channel: email\n"
             "    trigger: {lapsed: {days: 30}}\n"
             "    offer: {kind: coupon}\n"
             "    %s\n",
             line);
    return text;
}

/* The same with another trigger, in line 4. */
static const char *on(const char *trigger) {
    static char text[1024];
    snprintf(text, sizeof text,
             "campaigns:\n"
             "  - id: a\n"
             "    channel: email\n"
             "    trigger: %s\n"
             "    offer: {kind: coupon}\n",
             trigger);
    return text;
}

Test(campaign_file, the_sample_loads_and_has_every_kind_of_trigger) {
    char path[4096];
    struct yaml_walk w;
    struct policy_set *set = NULL;
    bool seen[TRIGGER_COUNT] = {0};
    snprintf(path, sizeof path, "%s/deploy/campaigns.yaml", getenv("BECKON_SOURCE_ROOT"));
    int r = campaign_file_check(&cfg, path, &w, &set);
    campaign_faults_print(path, &w);
    cr_assert_eq(r, 0);
    for (size_t i = 0; i < policy_campaigns(set); i++)
        seen[policy_campaign_spec(set, i)->trigger.kind] = true;
    for (size_t k = 0; k < TRIGGER_COUNT; k++)
        cr_assert(seen[k], "no %s", trigger_kind_name((enum trigger_kind)k));
    policy_set_free(set);
    walk_free(&w);
}

Test(campaign_file, no_file_is_the_empty_set) {
    struct policy_set *set = NULL;
    cr_assert_eq(campaign_file_load(&cfg, &set), 0);
    cr_assert_eq(policy_campaigns(set), 0);
    policy_set_free(set);
    set = good("campaigns:\n");
    cr_assert_eq(policy_campaigns(set), 0);
    policy_set_free(set);
}

Test(campaign_file, says_what_it_says) {
    struct policy_set *set =
        good("holdout: {percent: 2.5}\n"
             "caps: {user: [1 per 1d, 3 per 7d], channels: {sms: 1 per 7d}}\n"
             "campaigns:\n"
             "  - id: a\n"
             "    channel: email\n"
             "    priority: -7\n"
             "    trigger: {viewed: {category: same, times: 3, within: 90m}}\n"
             "    audience: purchases >= 1\n"
             "    offer: {kind: coupon, discount_percent: 12.5, code: '007', label: 007, n: 3,\n"
             "            tags: [x, true, null]}\n"
             "    valid_for: 1.5h\n"
             "    caps: 2 per 14d\n"
             "    budget: 10 per day\n"
             "    starts: 1970-01-03\n"
             "    ends: 1970-02-01\n"
             "    quiet_hours: {from: \"21:30\", to: \"08:00\", then: drop}\n"
             "    reentry: after 30d\n"
             "    paused: true\n"
             "    transactional: yes\n");
    const struct campaign_spec *c = policy_campaign_spec(set, 0);
    cr_assert(str_eq(c->id, STR("a")) && str_eq(c->channel, STR("email")) && c->priority == -7);
    cr_assert(c->trigger.kind == TRIGGER_VIEWED && c->trigger.subject == VIEWS_OF_SAME_CATEGORY);
    cr_assert(c->trigger.times == 3 && c->trigger.within_ms == 90 * 60000 &&
              c->trigger.without_purchase);
    cr_assert_str_eq(
        policy_campaign_offer(set, 0, 0).p,
        "{\"kind\":\"coupon\",\"discount_percent\":12.5,\"code\":\"007\",\"label\":\"007\",\"n\":3,"
        "\"tags\":[\"x\",true,null]}");
    cr_assert(c->offer[0].discount && c->valid_ms == 90 * 60000 && c->budget == 10);
    cr_assert(c->caps.n == 1 && c->caps.cap[0].n == 2 &&
              c->caps.cap[0].per_ms == 14 * INT64_C(86400000));
    cr_assert(c->start_day == 2 && c->end_day == 31);
    cr_assert(c->quiet.on && c->quiet.drop && c->quiet.from_min == 21 * 60 + 30 &&
              c->quiet.to_min == 480);
    cr_assert(c->reentry == REENTRY_AFTER && c->reentry_ms == 30 * INT64_C(86400000));
    cr_assert(c->paused && c->transactional);
    cr_assert_eq(policy_channel_find(set, STR("sms")), 1);
    cr_assert_eq(policy_campaign_find(set, STR("a")), 0);
    cr_assert_eq(policy_campaign_find(set, STR("b")), -1);
    policy_set_free(set);
}

Test(campaign_file, campaigns_take_and_change_the_defaults_wherever_they_stand) {
    struct policy_set *set = good("campaigns:\n"
                                  "  - id: a\n"
                                  "    trigger: {event: {type: survey}}\n"
                                  "    offer: {kind: x}\n"
                                  "  - id: b\n"
                                  "    trigger: {welcome: {}}\n"
                                  "    offer: {kind: x}\n"
                                  "    quiet_hours: {to: \"09:00\"}\n"
                                  "    caps: none\n"
                                  "    budget: none\n"
                                  "  - id: c\n"
                                  "    channel: push\n"
                                  "    trigger: {welcome: {}}\n"
                                  "    offer: {kind: x}\n"
                                  "    quiet_hours: none\n"
                                  "defaults:\n"
                                  "  channel: email\n"
                                  "  caps: 1 per 1d\n"
                                  "  budget: 5 per day\n"
                                  "  quiet_hours: {from: \"21:00\", to: \"08:00\"}\n");
    const struct campaign_spec *a = policy_campaign_spec(set, 0), *b = policy_campaign_spec(set, 1),
                               *c = policy_campaign_spec(set, 2);
    cr_assert(a->quiet.on && a->quiet.to_min == 480 && !a->quiet.drop && a->caps.n == 1 &&
              a->budget == 5);
    cr_assert(str_eq(a->channel, STR("email")) && a->valid_ms == 48 * 3600000);
    cr_assert(b->quiet.on && b->quiet.from_min == 21 * 60 && b->quiet.to_min == 540);
    cr_assert(b->caps.n == 0 && b->budget == UINT32_MAX && b->trigger.session == 1);
    cr_assert(!c->quiet.on && str_eq(c->channel, STR("push")));
    policy_set_free(set);
}

Test(campaign_file, every_fault_has_its_line_key_and_fix) {
    bad("", 1, "", "begin with `campaigns:`");
    bad("holdout: {percent: 5}\n", 1, "campaigns", "is missing");
    bad("campaigns:\n\nholdut: 5\n", 3, "holdut", "did you mean holdout?");
    bad("holdout: {percent: 101}\ncampaigns:\n", 1, "holdout.percent", "from 0 to 100");
    bad("campaigns: {a: 1}\n", 1, "campaigns", "begins with `- id: NAME`");
    bad("campaigns:\n  - 5\n", 2, "campaigns.1", "group of keys");
    bad("caps: {user: often}\ncampaigns:\n", 1, "caps.user", "3 per 7d");
    bad("caps: {user: 101 per 7d}\ncampaigns:\n", 1, "caps.user", "up to 100");
    bad("caps: {user: 3 per week}\ncampaigns:\n", 1, "caps.user", "week is no time");
    bad("defaults: {id: a}\ncampaigns:\n", 1, "defaults.id", "there are channel, priority");
    bad(with("chanel: sms"), 6, "campaigns.a.chanel", "did you mean channel?");
    bad(with("channel: sms"), 6, "campaigns.a.channel", "set twice, in line 3");
    bad(with("priority: high"), 6, "campaigns.a.priority", "whole number");
    bad(with("audience: [purchase > 1]"), 6, "campaigns.a.audience", "did you mean purchases?");
    bad(with("audience: [appversion > 1]"), 6, "campaigns.a.audience", "context.NAME");
    bad(with("audience: [country == DE]"), 6, "campaigns.a.audience", "there is no country to ask");
    bad(with("audience: [country in [DE, AT]]"), 6, "", "needs quotes");
    bad(with("valid_for: long"), 6, "campaigns.a.valid_for", "30m, 48h or 7d");
    bad(with("budget: 1000"), 6, "campaigns.a.budget", "1000 per day");
    bad(with("budget: 1000 per week"), 6, "campaigns.a.budget", "write 1000 per day");
    bad(with("starts: 2026-02-29"), 6, "campaigns.a.starts", "2026-12-31");
    bad(with("starts: 1.1.2026"), 6, "campaigns.a.starts", "2026-12-31");
    bad(with("starts: 2026-02-01\n    ends: 2026-01-31"), 7, "campaigns.a",
        "ends before it starts");
    bad(with("quiet_hours: {from: \"21:00\"}"), 6, "campaigns.a.quiet_hours.to", "missing");
    bad(with("quiet_hours: {from: \"21:00\", to: \"21:00\"}"), 6, "campaigns.a.quiet_hours",
        "write none");
    bad(with("quiet_hours: {from: \"24:00\", to: \"08:00\"}"), 6, "campaigns.a.quiet_hours.from",
        "23:59");
    bad(with("quiet_hours: {from: \"21:00\", to: \"08:00\", then: go}"), 6,
        "campaigns.a.quiet_hours.then", "wait or drop");
    bad(with("reentry: sometimes"), 6, "campaigns.a.reentry", "after 30d");
    bad(with("paused: perhaps"), 6, "campaigns.a.paused", "true or false");
    bad(with("\tpaused: true"), 6, "", "not tabs");
    bad(with("- x"), 6, "", "not YAML");
    bad("campaigns:\n---\n{}\n", 3, "", "second document");
    bad(on("{lapsed: {}}"), 4, "campaigns.a.trigger.lapsed.days", "missing");
    bad(on("{lapsd: {days: 3}}"), 4, "campaigns.a.trigger", "did you mean lapsed?");
    bad(on("{viewed: {times: 17, within: 1d}}"), 4, "campaigns.a.trigger.viewed.times",
        "from 1 to 16");
    bad(on("{viewed: {times: 2, within: 1d, item: other}}"), 4, "campaigns.a.trigger.viewed.item",
        "`same`");
    bad(on("{viewed: {times: 2, within: 1d, item: same, category: x}}"), 4,
        "campaigns.a.trigger.viewed", "keep one");
    bad(on("{event: {type: surveys}}"), 4, "campaigns.a.trigger.event.type",
        "did you mean survey?");
    bad(on("{event: {type: survey, min: 7, max: 6}}"), 4, "campaigns.a.trigger.event",
        "min is larger");
    bad(on("{lapsed: {days: 3}, welcome: {}}"), 4, "campaigns.a.trigger", "one kind");
    bad(on("welcome"), 4, "campaigns.a.trigger", "one kind");
    bad("campaigns:\n  - {id: a, channel: c, trigger: {welcome: {}}, offer: {discount: 3}}\n", 2,
        "campaigns.a.offer", "needs a kind");
    bad("campaigns:\n  - {channel: c, trigger: {welcome: {}}, offer: {kind: x}}\n", 2,
        "campaigns.1.id", "missing");
    bad("caps: {channels: {emial: 1 per 1d}}\n"
        "campaigns:\n  - {id: a, channel: email, trigger: {welcome: {}}, offer: {kind: x}}\n",
        1, "caps.channels", "did you mean email?");
    bad("campaigns:\n  - &a {id: a, channel: c, trigger: {welcome: {}}, offer: {kind: x}}\n  - "
        "*a\n",
        2, "campaigns.a", "the id is taken");
    bad("campaigns:\n  - \xff\n", 2, "", "not YAML");
}

Test(campaign_file, what_counts_is_said_in_money) {
    struct policy_set *set =
        good("reward: {margin_percent: 30, annoyance: 0.05, unsubscribe: 5}\n"
             "defaults: {contact_cost: 0.01, window: 7d}\n"
             "campaigns:\n"
             "  - {id: a, channel: email, trigger: {lapsed: {days: 30}}, offer: {kind: x}}\n"
             "  - {id: b, channel: email, trigger: {lapsed: {days: 30}}, contact_cost: 0.5,\n"
             "     offer: {kind: x, discount_percent: 15}}\n");
    const struct campaign_spec *a = policy_campaign_spec(set, 0), *b = policy_campaign_spec(set, 1);
    cr_assert(a->contact_cost == 0.01 && a->window_ms == 7 * 86400000 && !a->offer[0].discount);
    cr_assert(b->contact_cost == 0.5 && b->offer[0].percent == 15 && b->offer[0].discount);
    policy_set_free(set);
    bad("reward: {margin_percent: 130}\ncampaigns: []\n", 1, "reward.margin_percent",
        "from 0 to 100");
    bad("reward: {anoyance: 1}\ncampaigns: []\n", 1, "reward.anoyance", "annoyance");
    bad(with("window: soon"), 6, "campaigns.a.window", "30m");
    bad(with("contact_cost: -1"), 6, "campaigns.a.contact_cost", "from 0");
}

Test(campaign_file, offers_have_variants_codes_and_products) {
    struct policy_set *set =
        good("groups:\n"
             "  coupons: {policy: random, mode: apprentice}\n"
             "campaigns:\n"
             "  - id: a\n"
             "    channel: email\n"
             "    group: coupons\n"
             "    trigger: {lapsed: {days: 30}}\n"
             "    offers:\n"
             "      - {name: ten, kind: coupon, discount_percent: 10, code: 'S-{hash}'}\n"
             "      - {name: set, kind: bundle, items: {n: 3, category: shoes}}\n"
             "      - {name: ship, kind: coupon, free_shipping: true, discount_amount: 5}\n");
    const struct campaign_spec *c = policy_campaign_spec(set, 0);
    cr_assert(str_eq(c->group, STR("coupons")) && c->n_offers == 3 && policy_groups(set) == 2);
    cr_assert(str_eq(c->offer[0].name, STR("ten")) && c->offer[0].percent == 10 &&
              str_eq(c->offer[0].code, STR("S-{hash}")) && c->offer[0].discount);
    cr_assert(c->offer[1].items == 3 && str_eq(c->offer[1].category, STR("shoes")) &&
              !c->offer[1].discount);
    cr_assert(c->offer[2].free_shipping && c->offer[2].amount == 5);
    cr_assert_str_eq(policy_campaign_offer(set, 0, 1).p,
                     "{\"name\":\"set\",\"kind\":\"bundle\",\"items\":{\"n\":3,\"category\":"
                     "\"shoes\"}}");
    policy_set_free(set);
    bad(with("offers: [{kind: x}]"), 6, "campaigns.a.offers", "keep one");
    bad(with("group: coupons"), 6, "campaigns.a.group", "under `groups:`");
    bad("groups: {a: {policy: linuch}}\ncampaigns: []\n", 1, "groups.a.policy",
        "did you mean linucb?");
    bad("groups: {a: {policy: rules, mode: live}}\ncampaigns: []\n", 1, "groups.a.mode",
        "apprentice");
    bad("pools: {a: codes.txt}\ncampaigns: []\n", 1, "pools", "in a file only");
    static const char two[] = "campaigns:\n"
                              "  - id: a\n"
                              "    channel: email\n"
                              "    trigger: {lapsed: {days: 30}}\n"
                              "    offers:\n"
                              "      - {kind: coupon}\n"
                              "      - %s\n";
    const struct {
        const char *offer, *key, *what;
    } faults[] = {
        {"{kind: coupon}", "campaigns.a.offers.2", "a name of its own"},
        {"{name: b}", "campaigns.a.offers.2", "needs a kind"},
        {"{name: b, kind: x, pool: p}", "campaigns.a.offers.2.pool", "under `pools:`"},
        {"{name: b, kind: x, items: 3}", "campaigns.a.offers.2.items", "like {n: 3"},
        {"{name: b, kind: x, discount_percent: 120}", "campaigns.a.offers.2.discount_percent",
         "from 0 to 100"},
        {"{name: b, kind: x, code: 01234567890123456789012345678901234567890123456789012345}",
         "campaigns.a.offers.2.code", "longer than"},
    };
    for (size_t i = 0; i < ARRAY_LEN(faults); i++) {
        char text[512];
        snprintf(text, sizeof text, two, faults[i].offer);
        bad(text, 7, faults[i].key, faults[i].what);
    }
}

Test(campaign_file, limits_for_all_campaigns_and_for_one) {
    struct policy_set *set = good("protect: {minimum_age: 18, categories: [health, religion]}\n"
                                  "approval: {discount_percent: 25, budget: 100}\n"
                                  "budget_slack_percent: 0\n"
                                  "campaigns:\n"
                                  "  - {id: a, channel: email, trigger: {lapsed: {days: 30}},\n"
                                  "     budget: 100 per day, pacing: even, holdout_percent: 12.5,\n"
                                  "     offer: {kind: x, discount_percent: 26}}\n"
                                  "  - {id: b, channel: email, trigger: {lapsed: {days: 30}},\n"
                                  "     budget: 100 per day, offer: {kind: x}}\n"
                                  "  - {id: c, channel: email, trigger: {lapsed: {days: 30}},\n"
                                  "     offer: {kind: x}}\n");
    const struct campaign_spec *c = policy_campaign_spec(set, 0);
    cr_assert(c->even && c->holdout == 1250 && !policy_campaign_spec(set, 1)->even);
    cr_assert(policy_campaign_needs_approval(set, 0) && !policy_campaign_needs_approval(set, 1) &&
              policy_campaign_needs_approval(set, 2));
    policy_set_free(set);
    bad("protect: {minimum_age: old}\ncampaigns: []\n", 1, "protect.minimum_age", "whole number");
    bad("protect: {categories: health}\ncampaigns: []\n", 1, "protect.categories", "a list");
    bad("approval: {discount: 5}\ncampaigns: []\n", 1, "approval.discount", "discount_percent");
    bad("budget_slack_percent: -1\ncampaigns: []\n", 1, "budget_slack_percent", "from 0");
    bad(with("pacing: slow"), 6, "campaigns.a.pacing", "even or none");
    bad(with("holdout_percent: 101"), 6, "campaigns.a.holdout_percent", "from 0 to 100");
}

Test(campaign_file, segments_stand_for_their_conditions) {
    struct policy_set *set =
        good("campaigns:\n"
             "  - {id: a, channel: email, trigger: {lapsed: {days: 30}}, window: 3d,\n"
             "     audience: [segment(loyal), item.price > 5], offer: {kind: x}}\n"
             "  - {id: b, channel: email, audience: segment(loyal), offer: {kind: x},\n"
             "     trigger: {follows: {campaign: a, after: 2d, unless: opened}}}\n"
             "segments: {loyal: [purchases >= 3, days_since_purchase < 60]}\n");
    const struct trigger_spec *t = &policy_campaign_spec(set, 1)->trigger;
    cr_assert(str_eq(t->campaign, STR("a")) && t->after_ms == 2 * 86400000 &&
              t->unless == FOLLOW_UNLESS_OPENED);
    policy_set_free(set);
    bad(with("audience: [segment(loyal)]"), 6, "campaigns.a.audience", "under `segments:`");
    bad("segments: {a: [purchase > 3]}\ncampaigns: []\n", 1, "segments.a",
        "did you mean purchases?");
    bad(on("{follows: {campaign: b, after: 1d}}"), 2, "", "no other campaign b");
    bad("campaigns:\n"
        "  - {id: a, channel: x, trigger: {lapsed: {days: 30}}, window: 1d, offer: {kind: x}}\n"
        "  - {id: b, channel: x, trigger: {follows: {campaign: a, after: 1d}}, offer: {kind: x}}\n",
        3, "", "longer `window`");
}

Test(campaign_file, codes_stand_in_a_file_beside_it_one_a_line) {
    char folder[] = "/tmp/beckon-codes-XXXXXX", path[64], codes[64];
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/c.yaml", folder);
    snprintf(codes, sizeof codes, "%s/codes.txt", folder);
    const char *const contents[] = {"A1\r\nA2\n\nA3", "A1\nA2\nA1\n"};
    for (int i = 0; i < 2; i++) {
        FILE *f = fopen(path, "w");
        fputs("pools: {spring: codes.txt}\n"
              "campaigns:\n"
              "  - {id: a, channel: email, trigger: {lapsed: {days: 30}},\n"
              "     offer: {kind: coupon, pool: spring}}\n",
              f);
        fclose(f);
        f = fopen(codes, "w");
        fputs(contents[i], f);
        fclose(f);
        struct yaml_walk w;
        struct policy_set *set = NULL;
        cr_assert_eq(campaign_file_check(&cfg, path, &w, &set), i ? -EINVAL : 0);
        if (i)
            cr_assert(w.n_faults == 1 && strstr(w.fault[0].text, "the code A1 twice"));
        else
            cr_assert_eq(policy_campaign_spec(set, 0)->offer[0].pool, 1);
        walk_free(&w);
        policy_set_free(set);
    }
    remove(path);
    remove(codes);
    remove(folder);
}

Test(campaign_file, all_faults_are_found_at_once_in_order_of_lines) {
    const char *text = "holdout: {percent: x}\n"
                       "caps: {users: 3 per 7d}\n"
                       "campaigns:\n"
                       "  - id: a\n"
                       "    trigger: {lapsed: {days: 0}}\n"
                       "    offer: {kind: x}\n"
                       "    priority: y\n";
    struct yaml_walk w;
    struct policy_set *set = NULL;
    cr_assert_eq(campaign_text_check(&cfg, text, strlen(text), &w, &set), -EINVAL);
    const int lines[] = {1, 2, 4, 5, 7};
    cr_assert_eq(w.n_faults, ARRAY_LEN(lines));
    for (size_t i = 0; i < w.n_faults; i++)
        cr_assert_eq(w.fault[i].line, lines[i]);
    cr_assert_str_eq(w.fault[2].key, "campaigns.a.channel");
    walk_free(&w);
}

Test(campaign_file, a_loop_of_aliases_ends) {
    bad("campaigns:\n  - {id: a, channel: c, trigger: {welcome: {}}, offer: &o {kind: x, o: *o}}\n",
        2, "campaigns.a.offer", "deeper than");
}

Test(campaign_file, too_many_campaigns_are_refused) {
    struct buf b = {0};
    buf_put(&b, "campaigns:\n", 11);
    for (int i = 0; i <= POLICY_CAMPAIGNS_MAX; i++) {
        char line[128];
        int n = snprintf(line, sizeof line,
                         "- {id: c%d, channel: e, trigger: {welcome: {}}, offer: {kind: x}}\n", i);
        buf_put(&b, line, (size_t)n);
    }
    buf_put(&b, "", 1);
    bad((const char *)b.p, 2, "campaigns", "at most 256");
    buf_free(&b);
}

/* Two campaigns, a group, and from line 7 on what is given. */
static const char *with_experiments(const char *text) {
    static char all[2048];
    snprintf(all, sizeof all,
             "defaults: {channel: e}\n"
             "groups: {g: {policy: random}}\n"
             "campaigns:\n"
             "  - {id: a, trigger: {welcome: {}}, offer: {kind: x}}\n"
             "  - {id: b, trigger: {welcome: {}}, group: g, offers: [{name: ten, kind: x}, {name: "
             "five, kind: y}]}\n"
             "experiments:\n%s",
             text);
    return all;
}

#define ARMS "window: 7d, arms: [{name: x, share: 1, off: [a]}, {name: y, share: 3}]"

Test(campaign_file, reads_experiments) {
    struct policy_set *s = good(with_experiments(
        "  - {id: one, layer: l, percent: 40, stop: true, metric: revenue, " ARMS "}\n"
        "  - id: two\n"
        "    layer: l\n"
        "    from: 40\n"
        "    percent: 60\n"
        "    window: 14d\n"
        "    arms: [{name: c, share: 50}, {name: d, share: 50, offers: {b: five}, rules: [g]}]\n"));
    cr_assert_eq(policy_experiments(s), 2);
    const struct experiment_arms *one = policy_experiment(s, 0), *two = policy_experiment(s, 1);
    cr_assert(str_eq(one->name, STR("one")) && str_eq(one->spec.id, STR("one")));
    cr_assert(one->spec.first == 0 && one->spec.buckets == 4000 && one->stop);
    cr_assert(one->spec.weight[0] == 1 && one->spec.weight[1] == 3);
    cr_assert_eq(one->metric, EXP_REVENUE);
    cr_assert(two->spec.first == 4000 && two->spec.buckets == 6000 && !two->stop);
    cr_assert_eq(two->window_ms, INT64_C(14) * 86400000);
    cr_assert(str_eq(two->arm[1].name, STR("d")));
    policy_set_free(s);
}

Test(campaign_file, faults_of_experiments_say_what_to_write) {
    bad(with_experiments("  - {id: one, " ARMS "}\n  - {id: one, " ARMS "}\n"), 8,
        "experiments.one", "taken by another experiment");
    bad(with_experiments("  - {id: one, layer: l, percent: 50, " ARMS "}\n"
                         "  - {id: two, layer: l, from: 40, percent: 10, " ARMS "}\n"),
        8, "experiments.two", "those from 0 to 50 %");
    bad(with_experiments("  - {id: one, from: 60, percent: 50, " ARMS "}\n"), 7, "experiments.one",
        "more than 100");
    bad(with_experiments("  - {id: one, window: 7d, arms: [{name: x, share: 1, off: [a]}]}\n"), 7,
        "experiments.one.arms", "two arms");
    bad(with_experiments("  - {id: one, window: 7d, arms: [{name: x, share: 1}, "
                         "{name: y, share: 1}]}\n"),
        7, "experiments.one.arms", "no arm differs");
    bad(with_experiments("  - {id: one, window: 7d, arms: [{name: x, share: 1, off: [a]}, "
                         "{name: y, share: 1, off: [c]}]}\n"),
        7, "experiments.one.arms.off", "no campaign c");
    bad(with_experiments("  - {id: one, window: 7d, arms: [{name: x, share: 1}, "
                         "{name: y, share: 1, offers: {b: fife}}]}\n"),
        7, "experiments.one.arms.offers", "did you mean five?");
    bad(with_experiments("  - {id: one, metric: money, " ARMS "}\n"), 7, "experiments.one.metric",
        "conversion, revenue or margin");
}

Test(campaign_file, reads_bounds_of_fairness) {
    struct policy_set *s =
        good(with("fairness: {attribute: region, ratio: [0.8, 1.25], least: 90, then: pause}"));
    const struct fairness_spec *f = &policy_campaign_spec(s, 0)->fairness;
    cr_assert(str_eq(f->attribute, STR("region")) && f->pause);
    cr_assert(f->low == .8 && f->high == 1.25 && f->least == 90);
    policy_set_free(s);
    bad(with("fairness: {attribute: region, ratio: [1.2, 1.3]}"), 6, "campaigns.a.fairness.ratio",
        "from 0 to 1");
    bad(with("fairness: {attribute: region, ratio: [0.8, 1.3], then: stop}"), 6,
        "campaigns.a.fairness.then", "withhold or pause");
}
