#include "tests/support/keeper.h"

#include "policy/passage.h"
#include "tests/support/policy_kit.h"

enum { CATEGORIES = 8, LEVELS = 24, PAST_STEPS = 73, PAST_STEP_DAYS = 5, PAST_MESSAGES = 20 };

static const char *const category[CATEGORIES] = {"c0", "c1", "c2", "c3", "r0", "r1", "r2", "r3"};
static const char *const campaign_id[MARKET_CAMPAIGNS] = {"first", "second", "third", "fourth"};
static const double depth[MARKET_DEPTHS] = {0, 5, 10, 20};

struct keeper {
    struct keeper_config c;
    struct market *market;
    struct kit *kit;
    struct kit_user *user;
    struct rng rng;
    struct str audience[MARKET_CAMPAIGNS][2];
    char words[MARKET_CAMPAIGNS][40];
    struct keeper_counts counts;
};

/* ---- the shop ------------------------------------------------------------------ */

static double level_price(uint32_t level) {
    return 5 * pow(1.25, level);
}

static void stock(struct kit *kit) {
    for (uint32_t c = 0; c < CATEGORIES; c++)
        for (uint32_t l = 0; l < LEVELS; l++) {
            char id[16];
            snprintf(id, sizeof id, "%s-%u", category[c], l);
            struct item_info info = {.id = str_of(id),
                                     .price = level_price(l),
                                     .margin = NAN,
                                     .available = true,
                                     .n_category = 1,
                                     .category = {str_of(category[c])}};
            KIT_CHECK(model_item_upsert(kit->model, &info, MONDAY, NULL, NULL) == 0);
        }
}

static struct offer_spec offer_of(uint32_t campaign, uint32_t d) {
    static const char *const name[MARKET_DEPTHS] = {"message", "five", "ten", "twenty"};
    return (struct offer_spec){.name = str_of(name[d]),
                               .json = STR("{}"),
                               .discount = d > 0,
                               .percent = depth[d],
                               .category = str_of(category[campaign])};
}

static bool takes_part(const struct keeper_config *c, uint32_t campaign) {
    return c->method != METHOD_RULES || c->rule >= RULE_FITTING ||
           (c->rule && (c->rule - 1) / MARKET_DEPTHS == campaign);
}

static void add_campaign(struct keeper *k, uint32_t i) {
    struct campaign_spec *c = kit_campaign(k->kit, campaign_id[i], EV_SEARCH);
    c->window_ms = 12 * HOUR;
    c->contact_cost = 0.05;
    c->quiet = (struct quiet_hours){.on = true, .from_min = 21 * 60, .to_min = 8 * 60};
    c->audience = k->audience[i];
    if (k->c.method != METHOD_RULES) {
        c->group = STR("g");
        c->n_offers = MARKET_DEPTHS;
        for (uint32_t d = 0; d < MARKET_DEPTHS; d++)
            c->offer[d] = offer_of(i, d);
        return;
    }
    bool fitting = k->c.rule >= RULE_FITTING;
    c->offer[0] = offer_of(i, fitting ? k->c.rule - RULE_FITTING : (k->c.rule - 1) % MARKET_DEPTHS);
    snprintf(k->words[i], sizeof k->words[i], "category_share(%s) > 0.2", category[i]);
    if (fitting)
        k->audience[i][c->n_audience++] = str_of(k->words[i]);
    if (k->c.carts)
        k->audience[i][c->n_audience++] = STR("cart_items > 0");
}

static void open_shop(struct keeper *k) {
    stock(k->kit);
    k->kit->spec.reward = (struct reward_spec){
        .margin = customer_world_default().margin, .annoyance = 0.02, .unsubscribe = 2};
    k->kit->spec.user_caps = (struct caps){.n = 1, .cap = {{2, DAY}}};
    k->kit->spec.salt = str_of("market");
    k->kit->spec.n_groups = 1;
    k->kit->spec.group[0] = (struct group_spec){.name = STR("g"), .method = k->c.method};
    for (uint32_t i = 0; i < MARKET_CAMPAIGNS; i++)
        if (takes_part(&k->c, i))
            add_campaign(k, i);
    struct campaign_spec *news = kit_campaign(k->kit, "newsletter", EV_REVIEW); /* of the past */
    news->window_ms = HOUR;
    kit_start(k->kit);
}

/* ---- what customers do; of millions of events a few are taken for repeated ones
 * --------------------------------------------------------- */

static void learn(struct keeper *k) {
    struct decisions *out = &k->kit->out;
    for (size_t i = 0; i < out->n_o; i++)
        policy_learn(k->kit->set, &out->o[i]);
    for (size_t i = 0; i < out->n_p; i++)
        policy_follow(k->kit->set, &out->p[i]);
    kit_forget(k->kit);
}

/* An item by his tastes and for his purse. */
static void fancy(struct keeper *k, uint32_t user, char ret[16]) {
    double weight[CATEGORIES], sum = 0;
    for (uint32_t c = 0; c < CATEGORIES; c++) {
        struct customer_offer offer = {.fit = 0.5}; /* the categories of no campaign */
        if (c < MARKET_CAMPAIGNS)
            market_offer(k->market, user, market_action(c, 0), &offer);
        sum += weight[c] = exp(offer.fit);
    }
    double x = rng_unit(&k->rng) * sum;
    uint32_t c = 0;
    while (c + 1 < CATEGORIES && (x -= weight[c]) > 0)
        c++;
    double price = market_customer(k->market, user)->value * exp(0.4 * rng_normal(&k->rng));
    double level = round(log(price / level_price(0)) / log(1.25));
    snprintf(ret, 16, "%s-%u", category[c], (uint32_t)fmin(fmax(level, 0), LEVELS - 1));
}

/* A year before: what the market says was bought, opened and redeemed. */
static void live_past(struct keeper *k, uint32_t user) {
    const struct market_history *h = market_past(k->market, user);
    struct kit_user *u = &k->user[user];
    uint32_t bought = (uint32_t)h->purchases, bargains = (uint32_t)h->bargains,
             opened = (uint32_t)h->opened, news = PAST_MESSAGES;
    char item[16];
    for (uint32_t step = 0, left; step < PAST_STEPS; step++) {
        int64_t at = MONDAY - (PAST_STEPS - step) * PAST_STEP_DAYS * DAY;
        left = PAST_STEPS - step;
        fancy(k, user, item);
        kit_try(k->kit, u, EV_VIEW, item, NAN, NULL, at);
        for (uint32_t due = bought / left + (rng_below(&k->rng, left) < bought % left); due;
             due--, bought--) {
            at += MINUTE;
            if (rng_below(&k->rng, bought) < bargains) {
                kit_try(k->kit, u, EV_CAMPAIGN_REDEEM, NULL, NAN, NULL, at - SECOND);
                bargains--;
            }
            kit_try(k->kit, u, EV_PURCHASE, NULL, (double)h->spent / (double)h->purchases, NULL,
                    at);
        }
        if (rng_below(&k->rng, left) < news) {
            kit_try(k->kit, u, EV_REVIEW, NULL, NAN, NULL, at + HOUR);
            if (rng_below(&k->rng, news) < opened) {
                kit_try(k->kit, u, EV_CAMPAIGN_OPEN, NULL, NAN, NULL, at + HOUR + MINUTE);
                opened--;
            }
            news--;
        }
        kit_time(k->kit, u, at + 3 * HOUR);
        kit_forget(k->kit);
    }
}

int keeper_new(const struct keeper_config *c, struct market *m, struct keeper **ret) {
    autofree(keeper_free) struct keeper *k = calloc(1, sizeof *k);
    if (!k)
        return -ENOMEM;
    k->c = *c;
    k->market = m;
    rng_seed(&k->rng, c->seed);
    k->user = calloc(c->users, sizeof *k->user);
    if (!k->user)
        return -ENOMEM;
    k->kit = kit_new();
    open_shop(k);
    for (uint32_t i = 0; i < c->users; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%u", i);
        kit_user(&k->user[i], id);
        if (c->method != METHOD_RULES || c->rule >= RULE_FITTING) /* others need no past */
            live_past(k, i);
    }
    *ret = TAKE(k);
    return 0;
}

void keeper_free(struct keeper *k) {
    if (!k)
        return;
    for (uint32_t i = 0; k->user && i < k->c.users; i++)
        kit_user_free(&k->user[i]);
    if (k->kit)
        kit_free(k->kit);
    free(k->user);
    free(k);
}

/* The action that was sent, 0: nothing; and its decision. */
static uint32_t sent(struct keeper *k, uint32_t user, uint64_t ret[2]) {
    const struct decisions *out = &k->kit->out;
    for (size_t i = 0; i < out->n; i++) {
        const struct decision *d = &out->d[i];
        if (!d->send)
            continue;
        const struct campaign_spec *c = policy_campaign_spec(k->kit->set, d->campaign);
        uint32_t campaign = 0, deep = 0;
        while (!str_eq(c->id, str_of(campaign_id[campaign])))
            campaign++;
        while (c->offer[d->offer].percent > depth[deep])
            deep++;
        memcpy(ret, d->trigger_hash, sizeof d->trigger_hash);
        k->counts.sent++;
        k->counts.coupons += deep > 0;
        k->counts.to_sure += deep > 0 && market_customer(k->market, user)->sure;
        return market_action(campaign, deep);
    }
    return 0;
}

static void answer(struct keeper *k, uint32_t user, const struct customer_answer *a,
                   const uint64_t decision[2], int64_t at) {
    struct kit_user *u = &k->user[user];
    double value = market_customer(k->market, user)->value;
    if (a->opened)
        kit_try(k->kit, u, EV_CAMPAIGN_OPEN, NULL, NAN, decision, at);
    if (a->redeemed)
        kit_try(k->kit, u, EV_CAMPAIGN_REDEEM, NULL, a->discount, decision, at + MINUTE);
    if (a->bought)
        kit_try(k->kit, u, EV_PURCHASE, NULL, value - a->discount, a->opened ? decision : NULL,
                at + 2 * MINUTE);
    if (a->unsubscribed)
        kit_try(k->kit, u, EV_UNSUBSCRIBE, NULL, NAN, decision, at + 3 * MINUTE);
}

double keeper_day(struct keeper *k, uint32_t user, uint32_t day) {
    struct kit_user *u = &k->user[user];
    enum occasion o = market_occasion(k->market, user, day);
    int64_t at = MONDAY + day * DAY + 10 * HOUR;
    uint32_t action = 0;
    uint64_t decision[2];
    char item[16];
    if (u->u.due_ms <= at) {
        kit_time(k->kit, u, at);
        learn(k);
    }
    if (o != OCCASION_NONE) {
        fancy(k, user, item);
        kit_try(k->kit, u, EV_VIEW, item, NAN, NULL, at);
        if (o == OCCASION_CART)
            kit_try(k->kit, u, EV_CART_ADD, item, NAN, NULL, at + MINUTE);
        kit_try(k->kit, u, EV_SEARCH, NULL, NAN, NULL, at + 2 * MINUTE);
        action = sent(k, user, decision);
    }
    struct customer_answer a = market_answer(k->market, user, day, action);
    answer(k, user, &a, decision, at + 5 * MINUTE);
    if (o == OCCASION_CART && !a.bought)
        kit_try(k->kit, u, EV_CART_REMOVE, item, NAN, NULL, at + HOUR);
    learn(k);
    return a.margin - a.discount - a.cost;
}

void keeper_counts(const struct keeper *k, struct keeper_counts *ret) {
    *ret = k->counts;
}

struct deep *keeper_deep(const struct keeper *k) {
    return policy_group_deep(k->kit->set, 1);
}
