#include "consumer/sim.h"

#include <math.h>
#include <stdio.h>

enum { FAVOURITES = 3, CANDIDATES = 24, CART = 4, ANSWERS_MAX = 4096 };
#define MARGIN 0.4 /* of all items, share of the price */

static const char *const category_names[] = {
    "shoes",  "jackets", "shirts",  "jeans",    "dresses", "bags",  "watches", "jewelry",
    "phones", "laptops", "audio",   "cameras",  "games",   "books", "toys",    "garden",
    "tools",  "kitchen", "bedding", "lighting", "beauty",  "food",  "pets",    "sports",
};
static const char *const section_of[] = {"fashion", "accessories", "electronics",
                                         "leisure", "home",        "daily"};
static const char *const devices[] = {"mobile", "desktop", "tablet"};
static const char *const countries[] = {"DE", "AT", "FR", "US"};
static const char *const zones[] = {"Europe/Berlin", "Europe/Vienna", "Europe/Paris",
                                    "America/New_York"};

struct sim_item {
    char id[16], brand_name[16];
    uint32_t category, brand;
    float quality; /* what everybody likes in it */
    float price;
};

struct sim_user {
    int64_t next_ms; /* of his next action; the heap's key */
    uint32_t favourite[FAVOURITES], brand[2];
    float activity, price_level;
    uint8_t country, device, panel;
    struct customer who; /* how he answers offers */
    /* session */
    uint32_t session, left; /* actions left; 0: not in a session */
    uint32_t intent;        /* category */
    uint32_t looking_at;    /* item + 1 viewed last */
    uint32_t cart[CART];
    uint8_t n_cart;
};

/* An answer to a coupon, due later. */
struct answer {
    int64_t time_ms;
    uint32_t user, item;
    uint8_t type;
    double value; /* money of the event */
    char trigger[33];
};

struct sim {
    struct sim_config c;
    struct rng rng;
    struct sim_item *items;
    uint32_t **by_category;
    uint32_t *n_by_category;
    struct sim_user *users;
    uint32_t *heap; /* users by next_ms */
    double mean_gap_ms;
    struct answer answers[ANSWERS_MAX];
    size_t n_answers;
    struct customer_world world;
    struct sim_earnings earned[PANELS];
    uint64_t events;
    /* strings of the event handed out last */
    char id[32], user[16], session[32], query[32], trigger[33];
};

void sim_config_default(struct sim_config *c) {
    *c = (struct sim_config){
        .users = 2000,
        .items = 2000,
        .categories = ARRAY_LEN(category_names),
        .brands = 40,
        .seed = 1,
        .start_ms = 1767225600000,
        .events_per_s = 20,
    };
}

static double exponential(struct rng *r, double mean) {
    return -log(1 - rng_unit(r)) * mean;
}

static void make_item(struct sim *s, uint32_t i) {
    struct sim_item *it = &s->items[i];
    snprintf(it->id, sizeof it->id, "i%u", i + 1);
    it->category = rng_below(&s->rng, s->c.categories);
    it->brand = rng_below(&s->rng, s->c.brands);
    snprintf(it->brand_name, sizeof it->brand_name, "brand-%u", it->brand + 1);
    it->quality = (float)(0.8 * rng_normal(&s->rng));
    it->price =
        (float)(round(100 * exp(3 + 0.3 * (it->category % 5) + 0.6 * rng_normal(&s->rng))) / 100);
}

static void make_user(struct sim *s, uint32_t i) {
    struct sim_user *u = &s->users[i];
    for (size_t k = 0; k < FAVOURITES; k++)
        u->favourite[k] = rng_below(&s->rng, s->c.categories);
    for (size_t k = 0; k < ARRAY_LEN(u->brand); k++)
        u->brand[k] = rng_below(&s->rng, s->c.brands);
    u->activity = (float)exp(0.7 * rng_normal(&s->rng));
    u->price_level = (float)rng_normal(&s->rng);
    customer_draw(&u->who, &s->rng);
    /* Most learn, so that there is something to learn from. */
    u->panel = i % 5 < 3 ? PANEL_LEARNED : i % 5 == 3 ? PANEL_RULES : PANEL_RANDOM;
    s->earned[u->panel].users++;
    u->country = (uint8_t)rng_below(&s->rng, ARRAY_LEN(countries));
    u->device = (uint8_t)rng_below(&s->rng, ARRAY_LEN(devices));
    u->next_ms = s->c.start_ms + (int64_t)exponential(&s->rng, s->mean_gap_ms / u->activity);
}

static void sift_down(struct sim *s, size_t i) {
    uint32_t u = s->heap[i];
    for (size_t child; (child = 2 * i + 1) < s->c.users; i = child) {
        if (child + 1 < s->c.users &&
            s->users[s->heap[child + 1]].next_ms < s->users[s->heap[child]].next_ms)
            child++;
        if (s->users[u].next_ms <= s->users[s->heap[child]].next_ms)
            break;
        s->heap[i] = s->heap[child];
    }
    s->heap[i] = u;
}

static int index_categories(struct sim *s) {
    for (uint32_t c = 0; c < s->c.categories; c++)
        if (!(s->by_category[c] = malloc(s->c.items * sizeof(uint32_t))))
            return -ENOMEM;
    for (uint32_t i = 0; i < s->c.items; i++) {
        uint32_t c = s->items[i].category;
        s->by_category[c][s->n_by_category[c]++] = i;
    }
    return 0;
}

int sim_new(const struct sim_config *c, struct sim **ret) {
    if (!c->users || !c->items || !c->brands || !c->categories ||
        c->categories > ARRAY_LEN(category_names) || !(c->events_per_s > 0))
        return -EINVAL;
    autofree(sim_free) struct sim *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->c = *c;
    s->world = customer_world_default();
    s->world.margin = MARGIN;
    rng_seed(&s->rng, c->seed);
    s->items = calloc(c->items, sizeof *s->items);
    s->users = calloc(c->users, sizeof *s->users);
    s->heap = calloc(c->users, sizeof *s->heap);
    s->by_category = calloc(c->categories, sizeof *s->by_category);
    s->n_by_category = calloc(c->categories, sizeof *s->n_by_category);
    if (!s->items || !s->users || !s->heap || !s->by_category || !s->n_by_category)
        return -ENOMEM;
    /* A session has about 9 events and lasts about 3 minutes. */
    s->mean_gap_ms = MAX(1000.0, 9.0 * c->users / c->events_per_s * 1000 * 1.28 - 180e3);
    for (uint32_t i = 0; i < c->items; i++)
        make_item(s, i);
    if (index_categories(s) < 0)
        return -ENOMEM;
    for (uint32_t i = 0; i < c->users; i++) {
        make_user(s, i);
        s->heap[i] = i;
    }
    for (size_t i = c->users / 2 + 1; i-- > 0;)
        sift_down(s, i);
    *ret = TAKE(s);
    return 0;
}

void sim_free(struct sim *s) {
    if (!s)
        return;
    for (uint32_t c = 0; s->by_category && c < s->c.categories; c++)
        free(s->by_category[c]);
    free(s->by_category);
    free(s->n_by_category);
    free(s->items);
    free(s->users);
    free(s->heap);
    free(s);
}

uint32_t sim_items(const struct sim *s) {
    return s->c.items;
}

void sim_item(const struct sim *s, uint32_t i, struct item_info *ret) {
    const struct sim_item *it = &s->items[i];
    *ret = (struct item_info){
        .id = str_of(it->id),
        .n_category = 2,
        .category = {str_of(section_of[it->category / 4]), str_of(category_names[it->category])},
        .brand = str_of(it->brand_name),
        .n_tags = 1,
        .tags = {it->quality > 1 ? STR("bestseller") : STR("regular")},
        .price = it->price,
        .margin = MARGIN,
        .available = true,
    };
}

void sim_user_id(const struct sim *s, uint32_t user, char ret[16]) {
    (void)s;
    snprintf(ret, 16, "u%u", user + 1);
}

bool sim_consents(const struct sim *s, uint32_t user) {
    return hash_bytes(&user, sizeof user, s->c.seed) % 10 != 0;
}

double sim_utility(const struct sim *s, uint32_t user, uint32_t item) {
    const struct sim_user *u = &s->users[user];
    const struct sim_item *it = &s->items[item];
    double v = it->quality;
    for (size_t k = 0; k < FAVOURITES; k++)
        if (it->category == u->favourite[k])
            v += 2.0 - 0.5 * (double)k;
    for (size_t k = 0; k < ARRAY_LEN(u->brand); k++)
        if (it->brand == u->brand[k])
            v += 1.5;
    double level = (log(it->price) - 3.6) / 0.7 - u->price_level;
    return v - 0.25 * level * level;
}

/* Among items he happens upon, one in proportion to exp(utility). */
static uint32_t choose_item(struct sim *s, uint32_t user) {
    const struct sim_user *u = &s->users[user];
    uint32_t candidate[CANDIDATES];
    double weight[CANDIDATES], sum = 0;
    for (size_t k = 0; k < CANDIDATES; k++) {
        uint32_t n = s->n_by_category[u->intent];
        candidate[k] = n && rng_unit(&s->rng) < 0.85
                           ? s->by_category[u->intent][rng_below(&s->rng, n)]
                           : rng_below(&s->rng, s->c.items);
        weight[k] = exp(1.5 * sim_utility(s, user, candidate[k]));
        sum += weight[k];
    }
    double x = rng_unit(&s->rng) * sum;
    size_t k = 0;
    while (k + 1 < CANDIDATES && (x -= weight[k]) > 0)
        k++;
    return candidate[k];
}

static void begin_session(struct sim *s, struct sim_user *u) {
    static const double favourite_share[FAVOURITES] = {0.5, 0.75, 0.9};
    double x = rng_unit(&s->rng);
    u->intent = rng_below(&s->rng, s->c.categories);
    for (size_t k = FAVOURITES; k-- > 0;)
        if (x < favourite_share[k])
            u->intent = u->favourite[k];
    u->session++;
    u->left = 3 + (uint32_t)exponential(&s->rng, 6);
    u->looking_at = 0;
    u->n_cart = 0;
}

/* What he does next in his session. */
static uint8_t choose_type(struct sim *s, struct sim_user *u, uint32_t user) {
    if (u->left == 1 && u->n_cart)
        return rng_unit(&s->rng) < 0.55 ? EV_PURCHASE : EV_VIEW;
    if (!u->looking_at)
        return rng_unit(&s->rng) < 0.25 ? EV_SEARCH : EV_VIEW;
    double like = 1 / (1 + exp(2.5 - sim_utility(s, user, u->looking_at - 1)));
    double x = rng_unit(&s->rng);
    if (x < 0.2 * like && u->n_cart < CART)
        return EV_CART_ADD;
    if (x < 0.25 * like)
        return EV_FAVORITE;
    return EV_VIEW;
}

static void fill_event(struct sim *s, struct event *e, uint32_t user, uint8_t type, uint32_t item,
                       int64_t time_ms) {
    const struct sim_user *u = &s->users[user];
    snprintf(s->id, sizeof s->id, "e%llu", (unsigned long long)++s->events);
    snprintf(s->user, sizeof s->user, "u%u", user + 1);
    snprintf(s->session, sizeof s->session, "%s-%u", s->user, u->session);
    *e = (struct event){
        .id = str_of(s->id),
        .user = str_of(s->user),
        .session = str_of(s->session),
        .time_ms = time_ms,
        .value = NAN,
        .dwell_ms = NAN,
        .type = type,
        .n_ctx = 4,
        .ctx = {{STR("device"), str_of(devices[u->device])},
                {STR("country"), str_of(countries[u->country])},
                {STR("tz"), str_of(zones[u->country])},
                {STR("panel"), str_of(sim_panel_name(u->panel))}},
    };
    if (item != UINT32_MAX) {
        e->item = str_of(s->items[item].id);
        e->value = s->items[item].price;
    }
}

static bool due_answer(struct sim *s, int64_t before_ms, size_t *ret) {
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < s->n_answers; i++)
        if (s->answers[i].time_ms <= before_ms &&
            (best == SIZE_MAX || s->answers[i].time_ms < s->answers[best].time_ms))
            best = i;
    *ret = best;
    return best != SIZE_MAX;
}

void sim_next(struct sim *s, struct event *e) {
    uint32_t user = s->heap[0];
    struct sim_user *u = &s->users[user];
    size_t a;
    if (due_answer(s, u->next_ms, &a)) {
        struct answer ans = s->answers[a];
        s->answers[a] = s->answers[--s->n_answers];
        memcpy(s->trigger, ans.trigger, sizeof s->trigger);
        fill_event(s, e, ans.user, ans.type, ans.item, ans.time_ms);
        e->decision = str_of(s->trigger);
        e->value = ans.value;
        return;
    }
    int64_t now = u->next_ms;
    if (!u->left)
        begin_session(s, u);
    uint8_t type = choose_type(s, u, user);
    uint32_t item = UINT32_MAX;
    if (type == EV_VIEW) {
        item = choose_item(s, user);
        u->looking_at = item + 1;
    } else if (type == EV_CART_ADD || type == EV_FAVORITE) {
        item = u->looking_at - 1;
        if (type == EV_CART_ADD)
            u->cart[u->n_cart++] = item;
    } else if (type == EV_PURCHASE) {
        item = u->cart[--u->n_cart];
        u->left += u->n_cart > 0; /* everything in the cart is bought, one event each */
    }
    fill_event(s, e, user, type, item, now);
    if (type == EV_VIEW)
        e->dwell_ms = round(2000 + exponential(&s->rng, 20000));
    if (type == EV_SEARCH) {
        snprintf(s->query, sizeof s->query, "%s", category_names[u->intent]);
        e->query = str_of(s->query);
    }
    u->who.fatigue *= 0.98f;
    u->next_ms =
        now + 1000 + (int64_t)exponential(&s->rng, --u->left ? 20e3 : s->mean_gap_ms / u->activity);
    sift_down(s, 0);
}

static void expect(struct sim *s, uint32_t user, uint32_t item, uint8_t type, double value,
                   int64_t time_ms, struct str trigger) {
    if (s->n_answers == ANSWERS_MAX)
        return;
    struct answer *a = &s->answers[s->n_answers++];
    *a = (struct answer){
        .time_ms = time_ms, .user = user, .item = item, .type = type, .value = value};
    memcpy(a->trigger, trigger.p, MIN(trigger.n, sizeof a->trigger - 1));
}

static uint32_t number_behind(struct str id, char letter, uint32_t max) {
    if (id.n < 2 || id.n > 10 || id.p[0] != letter)
        return UINT32_MAX;
    uint64_t n = 0;
    for (size_t i = 1; i < id.n; i++) {
        if (id.p[i] < '0' || id.p[i] > '9')
            return UINT32_MAX;
        n = n * 10 + (uint64_t)(id.p[i] - '0');
    }
    return n >= 1 && n <= max ? (uint32_t)n - 1 : UINT32_MAX;
}

const char *sim_panel_name(enum sim_panel p) {
    static const char *const name[] = {"learned", "rules", "random"};
    return name[p];
}

void sim_earned(const struct sim *s, enum sim_panel p, struct sim_earnings *ret) {
    *ret = s->earned[p];
}

static double worth(const struct sim *s, const struct customer *c, bool cart,
                    const struct customer_offer *offer) {
    struct customer_odds o = customer_odds(&s->world, c, cart, offer);
    return customer_worth(&s->world, c, &o, offer);
}

/* Books what the decision is worth, and what the best would have been. */
static void book(struct sim *s, uint8_t panel, const struct customer *c, bool cart,
                 const struct customer_offer *offer, double fit) {
    static const double depth[] = {0, 0.05, 0.1, 0.2};
    struct sim_earnings *e = &s->earned[panel];
    double nothing = worth(s, c, cart, NULL), best = nothing;
    for (size_t i = 0; i < ARRAY_LEN(depth) && !c->gone; i++)
        best = fmax(best, worth(s, c, cart, &(struct customer_offer){fit, depth[i]}));
    e->moments++;
    e->sent += offer != NULL;
    e->gained += worth(s, c, cart, offer) - nothing;
    e->possible += best - nothing;
}

bool sim_decided(struct sim *s, const struct sim_decision *d) {
    uint32_t n = number_behind(d->user, 'u', s->c.users),
             it = number_behind(d->item, 'i', s->c.items);
    if (n == UINT32_MAX)
        return false;
    struct sim_user *u = &s->users[n];
    if (it == UINT32_MAX) /* whatever he happens upon */
        it = rng_below(&s->rng, s->c.items);
    double price = s->items[it].price;
    struct customer_offer offer = {(sim_utility(s, n, it) - 1) / 1.5, d->discount};
    bool sent = d->sent && !u->who.gone, cart = u->n_cart > 0;
    u->who.value = (float)price;
    if (!d->service)
        book(s, u->panel, &u->who, cart, sent ? &offer : NULL, offer.fit);
    struct customer_answer a =
        customer_answer(&s->world, &u->who, cart, sent ? &offer : NULL, &s->rng);
    int64_t at = d->time_ms + (int64_t)exponential(&s->rng, 20e3);
    if (a.opened)
        expect(s, n, UINT32_MAX, EV_CAMPAIGN_OPEN, NAN, at, d->trigger_id);
    if (a.unsubscribed)
        expect(s, n, UINT32_MAX, EV_UNSUBSCRIBE, NAN, at + 1000, d->trigger_id);
    at += 5000 + (int64_t)exponential(&s->rng, 20e3);
    if (a.redeemed)
        expect(s, n, it, EV_CAMPAIGN_REDEEM, a.discount, at, d->trigger_id);
    if (a.bought)
        expect(s, n, it, EV_PURCHASE, price - a.discount, at + 1000,
               a.opened ? d->trigger_id : (struct str){0});
    return true;
}
