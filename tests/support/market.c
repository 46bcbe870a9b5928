#include "tests/support/market.h"

#include <math.h>

static const double depth[MARKET_DEPTHS] = {0, 0.05, 0.1, 0.2};
#define CART_SHARE 0.35 /* of occasions */
#define FATIGUE_STEP 0.25
#define TASTE_NOISE 0.5

struct market {
    struct market_config c;
    float campaign[MARKET_CAMPAIGNS][CUSTOMER_TASTES]; /* of length 1 */
    struct customer *customer;
    struct market_history *history, *first; /* now, and on the first day */
};

static void draw_campaigns(struct market *m, struct rng *rng) {
    for (size_t c = 0; c < MARKET_CAMPAIGNS; c++) {
        double norm = 0;
        for (size_t i = 0; i < CUSTOMER_TASTES; i++) {
            m->campaign[c][i] = (float)rng_normal(rng);
            norm += (double)m->campaign[c][i] * m->campaign[c][i];
        }
        for (size_t i = 0; i < CUSTOMER_TASTES; i++)
            m->campaign[c][i] = (float)(m->campaign[c][i] / sqrt(norm));
    }
}

static double fit_of(const struct market *m, const float *taste, uint32_t campaign) {
    double sum = 0;
    for (size_t i = 0; i < CUSTOMER_TASTES; i++)
        sum += (double)m->campaign[campaign][i] * taste[i];
    return sum;
}

/* A year without us: purchases by his urge, some at a discount, some messages. */
static void draw_history(const struct market *m, const struct customer *c, struct market_history *h,
                         struct rng *rng) {
    double bargain = 1 / (1 + exp(1.5 - c->sensitivity)), open = 0.6 * exp(-0.25 * c->impatience);
    for (uint32_t day = 0; day < 365; day++) {
        if (rng_unit(rng) > c->activity)
            continue;
        struct customer_odds o = customer_odds(&m->c.world, c, rng_unit(rng) < CART_SHARE, NULL);
        if (rng_unit(rng) < o.buy_unseen) {
            h->purchases++;
            h->spent += (float)(c->value * exp(0.3 * rng_normal(rng) - 0.045));
            h->bargains += rng_unit(rng) < bargain;
        }
    }
    for (int i = 0; i < 20; i++) {
        h->sent++;
        h->opened += rng_unit(rng) < open;
    }
    float seen[CUSTOMER_TASTES];
    for (size_t i = 0; i < CUSTOMER_TASTES; i++)
        seen[i] = (float)(c->taste[i] + TASTE_NOISE * rng_normal(rng));
    for (uint32_t i = 0; i < MARKET_CAMPAIGNS; i++)
        h->fit[i] = (float)fit_of(m, seen, i);
}

int market_new(const struct market_config *c, struct market **ret) {
    if (!c->users || !c->days || c->days > PLAN_DAYS_MAX)
        return -EINVAL;
    autofree(market_free) struct market *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->c = *c;
    m->customer = calloc(c->users, sizeof *m->customer);
    m->history = calloc(c->users, sizeof *m->history);
    m->first = calloc(c->users, sizeof *m->first);
    if (!m->customer || !m->history || !m->first)
        return -ENOMEM;
    struct rng rng;
    rng_seed(&rng, c->seed);
    draw_campaigns(m, &rng);
    for (uint32_t i = 0; i < c->users; i++) {
        customer_draw(&m->customer[i], &rng);
        draw_history(m, &m->customer[i], &m->first[i], &rng);
    }
    market_reset(m);
    *ret = TAKE(m);
    return 0;
}

void market_free(struct market *m) {
    if (!m)
        return;
    free(m->customer);
    free(m->history);
    free(m->first);
    free(m);
}

void market_reset(struct market *m) {
    memcpy(m->history, m->first, m->c.users * sizeof *m->history);
    for (uint32_t i = 0; i < m->c.users; i++) {
        m->customer[i].fatigue = 0;
        m->customer[i].gone = false;
    }
}

const struct customer *market_customer(const struct market *m, uint32_t user) {
    return &m->customer[user];
}

/* The numbers of one customer's day. */
static void dice(const struct market *m, uint32_t user, uint32_t day, struct rng *ret) {
    uint32_t of[2] = {user, day};
    rng_seed(ret, hash_bytes(of, sizeof of, m->c.seed));
}

static enum occasion draw_occasion(const struct customer *c, struct rng *rng) {
    double looks = rng_unit(rng), cart = rng_unit(rng);
    return looks >= c->activity ? OCCASION_NONE
           : cart < CART_SHARE  ? OCCASION_CART
                                : OCCASION_VISIT;
}

const struct market_history *market_past(const struct market *m, uint32_t user) {
    return &m->first[user];
}

enum occasion market_occasion(const struct market *m, uint32_t user, uint32_t day) {
    struct rng rng;
    dice(m, user, day, &rng);
    return draw_occasion(&m->customer[user], &rng);
}

void market_look(const struct market *m, uint32_t user, enum occasion o, struct market_sight *s) {
    const struct market_history *h = &m->history[user];
    *s = (struct market_sight){
        .basket = (h->spent + 55) / (h->purchases + 1) / 55,
        .often = logf(1 + h->purchases) / 2,
        .bargains = (h->bargains + 1) / (h->purchases + 2),
        .opens = (h->opened + 1) / (h->sent + 2),
        .lately = m->customer[user].fatigue,
        .cart = o == OCCASION_CART,
    };
    s->gone = m->customer[user].gone;
    memcpy(s->fit, h->fit, sizeof s->fit);
}

bool market_offer(const struct market *m, uint32_t user, uint32_t action,
                  struct customer_offer *ret) {
    const struct customer *c = &m->customer[user];
    if (!action)
        return false;
    *ret = (struct customer_offer){
        .fit = fit_of(m, c->taste, (action - 1) / MARKET_DEPTHS),
        .discount = depth[(action - 1) % MARKET_DEPTHS],
    };
    return true;
}

static uint32_t best_fit(const struct market *m, const float *taste) {
    uint32_t best = 0;
    for (uint32_t c = 1; c < MARKET_CAMPAIGNS; c++)
        if (fit_of(m, taste, c) > fit_of(m, taste, best))
            best = c;
    return best;
}

uint32_t market_fitting(const struct market_sight *s) {
    uint32_t best = 0;
    for (uint32_t c = 1; c < MARKET_CAMPAIGNS; c++)
        if (s->fit[c] > s->fit[best])
            best = c;
    return best;
}

struct customer_answer market_answer(struct market *m, uint32_t user, uint32_t day,
                                     uint32_t action) {
    struct customer *c = &m->customer[user];
    struct market_history *h = &m->history[user];
    struct customer_answer a = {0};
    struct customer_offer offer;
    struct rng rng;
    dice(m, user, day, &rng);
    enum occasion o = draw_occasion(c, &rng);
    if (o != OCCASION_NONE) {
        bool sent = !c->gone && market_offer(m, user, action, &offer);
        a = customer_answer(&m->c.world, c, o == OCCASION_CART, sent ? &offer : NULL, &rng);
        h->sent += sent;
        h->opened += a.opened;
        h->purchases += a.bought;
        h->spent += a.bought ? c->value : 0;
        h->bargains += a.redeemed;
    }
    customer_rest(c);
    return a;
}

/* ---- oracles ------------------------------------------------------------------- */

/* Of one depth the campaign that fits best sells most and repels least. */
static uint32_t sensible(const struct market *m, uint32_t user, uint32_t *ret) {
    uint32_t campaign = best_fit(m, m->customer[user].taste);
    ret[0] = 0;
    for (uint32_t d = 0; d < MARKET_DEPTHS; d++)
        ret[1 + d] = market_action(campaign, d);
    return 1 + MARKET_DEPTHS;
}

static double worth_now(const struct market *m, const struct customer *c, uint32_t user,
                        enum occasion o, uint32_t action, struct customer_odds *ret_odds) {
    struct customer_offer offer;
    bool sent = market_offer(m, user, action, &offer);
    *ret_odds = customer_odds(&m->c.world, c, o == OCCASION_CART, sent ? &offer : NULL);
    return customer_worth(&m->c.world, c, ret_odds, sent ? &offer : NULL);
}

uint32_t market_best_now(const struct market *m, uint32_t user, enum occasion o) {
    uint32_t action[1 + MARKET_DEPTHS], n = sensible(m, user, action), best = 0;
    double most = -INFINITY;
    struct customer_odds odds;
    for (uint32_t i = 0; i < n; i++) {
        double worth = worth_now(m, &m->customer[user], user, o, action[i], &odds);
        if (worth > most) {
            most = worth;
            best = action[i];
        }
    }
    return best;
}

static double at(const float *grid, double fatigue) {
    double x = fmin(fatigue / FATIGUE_STEP, PLAN_GRID - 1);
    size_t i = (size_t)fmin(x, PLAN_GRID - 2);
    return grid[i] + (x - (double)i) * ((double)grid[i + 1] - grid[i]);
}

/* What an action brings today, and the state it leaves for tomorrow. */
struct step {
    float now, leaves;
    uint32_t sent;
};

static double ahead(const struct market_plan *p, uint32_t day, double fatigue, bool sent,
                    double leaves) {
    double next = (fatigue + sent) * CUSTOMER_KEEP, here = at(p->here[day + 1], next);
    return leaves > 0 ? here + leaves * (at(p->gone[day + 1], next) - here) : here;
}

void market_plan(const struct market *m, uint32_t user, struct market_plan *p) {
    static const double share[] = {[OCCASION_VISIT] = 1 - CART_SHARE, [OCCASION_CART] = CART_SHARE};
    struct step step[3][PLAN_GRID][1 + MARKET_DEPTHS];
    float alone[3][PLAN_GRID]; /* nothing for one who is gone */
    uint32_t action[1 + MARKET_DEPTHS], n = sensible(m, user, action), days = m->c.days;
    struct customer c = m->customer[user];
    for (enum occasion o = OCCASION_VISIT; o <= OCCASION_CART; o++)
        for (size_t g = 0; g < PLAN_GRID; g++) {
            struct customer_odds odds;
            c.fatigue = (float)((double)g * FATIGUE_STEP);
            c.gone = true;
            alone[o][g] = (float)worth_now(m, &c, user, o, 0, &odds);
            c.gone = false;
            for (uint32_t i = 0; i < n; i++) {
                float now = (float)worth_now(m, &c, user, o, action[i], &odds);
                step[o][g][i] = (struct step){now, (float)odds.unsubscribe, action[i] != 0};
            }
        }
    memset(p->here[days], 0, sizeof p->here[days]);
    memset(p->gone[days], 0, sizeof p->gone[days]);
    for (uint32_t day = days; day-- > 0;)
        for (size_t g = 0; g < PLAN_GRID; g++) {
            double fatigue = (double)g * FATIGUE_STEP;
            double rest[2] = {ahead(p, day, fatigue, false, 0), ahead(p, day, fatigue, true, 0)};
            double lost = at(p->gone[day + 1], (fatigue + 1) * CUSTOMER_KEEP);
            double here = (1 - c.activity) * rest[0];
            double gone = at(p->gone[day + 1], fatigue * CUSTOMER_KEEP);
            for (enum occasion o = OCCASION_VISIT; o <= OCCASION_CART; o++) {
                double most = -INFINITY;
                for (uint32_t i = 0; i < n; i++) {
                    const struct step *s = &step[o][g][i];
                    double next = rest[s->sent];
                    most = fmax(most, s->now + next + s->leaves * (lost - next));
                }
                here += c.activity * share[o] * most;
                gone += c.activity * share[o] * alone[o][g];
            }
            p->here[day][g] = (float)here;
            p->gone[day][g] = (float)gone;
        }
}

uint32_t market_best_ever(const struct market *m, const struct market_plan *p, uint32_t user,
                          uint32_t day, enum occasion o) {
    uint32_t action[1 + MARKET_DEPTHS], n = sensible(m, user, action), best = 0;
    const struct customer *c = &m->customer[user];
    double most = -INFINITY;
    for (uint32_t i = 0; i < n; i++) {
        struct customer_odds odds;
        double worth = worth_now(m, c, user, o, action[i], &odds);
        worth += ahead(p, day, c->fatigue, action[i] != 0, odds.unsubscribe);
        if (worth > most) {
            most = worth;
            best = action[i];
        }
    }
    return best;
}
