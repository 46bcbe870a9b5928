#include "model/profile_more.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

enum { MINUTE = 60 * 1000 };
static const int64_t T0 = INT64_C(1700000000000) / MINUTE * MINUTE; /* a whole minute */
static const int64_t DAY = INT64_C(86400000);

static const struct profile_params PARAMS = {
    .half_life_ms = INT64_C(30) * 86400000, .flood_per_minute = 5, .bot_minutes = 3};
static const struct profile_params NO_RULES = {.half_life_ms = INT64_C(30) * 86400000};

/* One event of a test; zero means absent except for `type`. */
struct ev {
    int64_t t;
    uint8_t type;
    uint32_t item; /* row + 1 */
    uint32_t category;
    double price, value, dwell;
    const char *session;
    uint64_t id;
};

static uint64_t next_id;

static float interest_of(uint8_t type) {
    static const float weight[EV_BUILTIN] = {
#define X(sym, name, w) w,
        EVENT_TYPES(X)
#undef X
    };
    return type < EV_BUILTIN ? weight[type] : 0;
}

static enum learn_result see_with(struct profile *p, const struct profile_params *params,
                                  struct ev v, struct profile_change *change) {
    struct event e = {.time_ms = v.t,
                      .type = v.type,
                      .item = v.item ? STR("some item") : (struct str){0},
                      .session = str_of(v.session),
                      .value = v.value != 0 ? v.value : NAN,
                      .dwell_ms = v.dwell != 0 ? v.dwell : NAN};
    uint64_t id = v.id ? v.id : hash_bytes(&next_id, sizeof next_id, 1);
    next_id++;
    return profile_observe(p, &e, id, v.item ? v.item - 1 : ROW_NONE, v.category,
                           v.price != 0 ? v.price : NAN, interest_of(v.type), params, change);
}

#define SEE(p, ...) see_with(p, &NO_RULES, (struct ev){__VA_ARGS__}, NULL)
#define SEE_RULED(p, ...) see_with(p, &PARAMS, (struct ev){__VA_ARGS__}, NULL)

static void same_values(const struct profile *a, const struct profile *b, int64_t now) {
    for (enum profile_field f = 0; f < PF_COUNT; f++) {
        double x = profile_value(a, f, now), y = profile_value(b, f, now);
        cr_assert(memcmp(&x, &y, sizeof x) == 0, "%s: %g and %g", profile_field_name(f), x, y);
    }
}

Test(profile, knows_nothing_of_a_new_user) {
    struct profile p;
    profile_init(&p);
    cr_assert_eq(profile_value(&p, PF_EVENTS, T0), 0);
    cr_assert(isnan(profile_value(&p, PF_AVG_PRICE, T0)));
    cr_assert(isnan(profile_value(&p, PF_DAYS_SINCE_SEEN, T0)));
    cr_assert(isnan(profile_value(&p, PF_LAST_SCORE, T0)));
    cr_assert(isinf(profile_value(&p, PF_DAYS_SINCE_PURCHASE, T0)));
    cr_assert_eq(profile_value(&p, PF_SPEND, T0), 0);
    cr_assert_eq(profile_bytes(&p), 0);
    struct recent_item r[4];
    uint32_t rows[4];
    cr_assert_eq(profile_recent(&p, r, 4), 0);
    cr_assert_eq(profile_bought(&p, 0, rows, 4), 0);
    profile_done(&p);
}

Test(profile, finds_fields_by_name) {
    cr_assert_eq(profile_field_find(STR("days_since_purchase")), PF_DAYS_SINCE_PURCHASE);
    cr_assert_eq(profile_field_find(STR("nonsense")), PF_COUNT);
    cr_assert_str_eq(profile_field_name(PF_CART_VALUE), "cart_value");
    cr_assert_str_eq(profile_field_name(PF_COUNT), "");
}

Test(profile, counts_what_a_shopper_does) {
    struct profile p;
    profile_init(&p);
    SEE(&p, .t = T0, .type = EV_VIEW, .item = 1, .category = 7, .price = 10, .dwell = 4000);
    SEE(&p, .t = T0 + 1000, .type = EV_CLICK, .item = 2, .category = 7, .price = 30, .dwell = 8000);
    SEE(&p, .t = T0 + 2000, .type = EV_CART_ADD, .item = 2, .category = 7, .price = 30);
    SEE(&p, .t = T0 + 3000, .type = EV_CART_ADD, .item = 3, .category = 9, .price = 2.5);
    int64_t now = T0 + 3000;
    cr_assert_eq(profile_value(&p, PF_EVENTS, now), 4);
    cr_assert_eq(profile_value(&p, PF_VIEWS, now), 2);
    cr_assert_eq(profile_value(&p, PF_CARTS, now), 2);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, now), 2);
    cr_assert_eq(profile_value(&p, PF_CART_VALUE, now), 32.5);
    cr_assert_float_eq(profile_value(&p, PF_AVG_DWELL_S, now), 6, 1e-6);
    cr_assert_float_eq(profile_value(&p, PF_AVG_PRICE, now), (10 + 30 + 30 + 2.5) / 4, 1e-4);
    cr_assert_eq(profile_value(&p, PF_SESSIONS, now), 1);
    cr_assert_eq(profile_value(&p, PF_SESSION_EVENTS, now), 4);
    cr_assert_float_eq(profile_value(&p, PF_DAYS_SINCE_SEEN, now), 1000. / (double)DAY, 1e-12);

    SEE(&p, .t = T0 + 2 * DAY, .type = EV_PURCHASE, .item = 2, .price = 30, .value = 27);
    SEE(&p, .t = T0 + 2 * DAY + 1, .type = EV_PURCHASE, .item = 4, .price = 5);
    SEE(&p, .t = T0 + 3 * DAY, .type = EV_RETURN, .item = 4, .value = -5);
    SEE(&p, .t = T0 + 3 * DAY, .type = EV_SURVEY, .value = 9);
    now = T0 + 4 * DAY;
    cr_assert_eq(profile_value(&p, PF_PURCHASES, now), 2);
    cr_assert_eq(profile_value(&p, PF_RETURNS, now), 1);
    cr_assert_eq(profile_value(&p, PF_SPEND, now), 27);
    cr_assert_eq(profile_value(&p, PF_LAST_SCORE, now), 9);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, now), 1, "bought: out of the cart");
    cr_assert_eq(profile_value(&p, PF_SESSIONS, now), 3);
    cr_assert_float_eq(profile_value(&p, PF_DAYS_SINCE_PURCHASE, now), 2, 1e-6);
    cr_assert_eq(profile_value(&p, PF_DAYS_SINCE_SEEN, now), 1);
    cr_assert_eq(profile_value(&p, PF_DAYS_KNOWN, now), 4);

    uint32_t rows[8];
    cr_assert_eq(profile_bought(&p, T0, rows, 8), 2);
    cr_assert_eq(rows[0], 3);
    cr_assert_eq(rows[1], 1);
    cr_assert_eq(profile_bought(&p, T0 + 3 * DAY, rows, 8), 0);
    cr_assert_eq(profile_seen(&p, rows, 8), 4);
    SEE(&p, .t = now, .type = EV_PURCHASE, .value = 100);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, now), 0, "an order as a whole empties the cart");
    cr_assert_eq(profile_value(&p, PF_SPEND, now), 127);
    profile_done(&p);
}

Test(profile, keeps_recent_items_once_each_newest_first) {
    struct profile p;
    profile_init(&p);
    for (uint32_t i = 0; i < 20; i++)
        SEE(&p, .t = T0 + i * 1000, .type = EV_VIEW, .item = i + 1, .price = i + 0.5);
    struct profile_change change;
    see_with(&p, &NO_RULES, (struct ev){.t = T0 + 30000, .type = EV_CLICK, .item = 11}, &change);
    cr_assert(change.repeat && !change.repeat_last);
    see_with(&p, &NO_RULES, (struct ev){.t = T0 + 31000, .type = EV_CLICK, .item = 11}, &change);
    cr_assert(change.repeat && change.repeat_last && !change.new_session);
    /* late: between the views of rows 14 and 15 */
    SEE(&p, .t = T0 + 14500, .type = EV_VIEW, .item = 100);
    struct recent_item r[PROFILE_RECENT_MAX];
    cr_assert_eq(profile_recent(&p, r, PROFILE_RECENT_MAX), PROFILE_RECENT_MAX);
    static const uint32_t expected[] = {10, 19, 18, 17, 16, 15, 99, 14, 13, 12, 11, 9, 8, 7, 6, 5};
    for (size_t i = 0; i < PROFILE_RECENT_MAX; i++)
        cr_assert_eq(r[i].item, expected[i], "place %zu: %u", i, r[i].item);
    cr_assert_eq(r[0].type, EV_CLICK);
    cr_assert_eq(r[0].time_s, T0 / 1000 + 31);
    cr_assert_float_eq(r[0].price, 10.5, 0.01, "an unknown price leaves the known one");
    cr_assert(isnan(r[6].price));
    SEE(&p, .t = T0 - DAY, .type = EV_VIEW, .item = 200);
    cr_assert_eq(profile_recent(&p, r, 1), 1);
    cr_assert_eq(r[0].item, 10);
    cr_assert_eq(p.last_ms, T0 + 31000);
    cr_assert_eq(p.first_s, (T0 - DAY) / 1000);
    profile_done(&p);
}

Test(profile, leaves_impressions_and_dislikes_out_of_the_history) {
    struct profile p;
    profile_init(&p);
    SEE(&p, .t = T0, .type = EV_IMPRESSION, .item = 1, .category = 3, .price = 5);
    SEE(&p, .t = T0, .type = EV_CART_REMOVE, .item = 2, .category = 3, .price = 5);
    uint32_t rows[4];
    cr_assert_eq(profile_seen(&p, rows, 4), 0);
    cr_assert_eq(profile_category_share(&p, 3, T0), 0);
    cr_assert(isnan(profile_value(&p, PF_AVG_PRICE, T0)));
    cr_assert_eq(profile_value(&p, PF_EVENTS, T0), 2);
    cr_assert_eq(profile_type_count(&p, EV_IMPRESSION), 1);
    profile_done(&p);
}

Test(profile, drops_duplicates_within_the_window_and_nothing_changes) {
    struct profile p, before;
    profile_init(&p);
    for (uint64_t i = 1; i <= PROFILE_DEDUP_MAX; i++)
        cr_assert_eq(SEE(&p, .t = T0 + (int64_t)i, .type = EV_VIEW, .item = 1, .id = i), LEARN_OK);
    before = p;
    size_t size = pm_size(&p);
    void *copy = malloc(size);
    memcpy(copy, p.more, size);
    for (uint64_t i = 1; i <= PROFILE_DEDUP_MAX; i++)
        cr_assert_eq(SEE(&p, .t = T0 + DAY, .type = EV_PURCHASE, .item = 2, .id = i),
                     LEARN_DUPLICATE);
    cr_assert_eq(memcmp(&p, &before, sizeof p), 0);
    cr_assert_eq(memcmp(p.more, copy, size), 0);
    free(copy);
    /* one more event takes the oldest one's place */
    cr_assert_eq(SEE(&p, .t = T0 + 100, .type = EV_VIEW, .id = 1000), LEARN_OK);
    cr_assert_eq(SEE(&p, .t = T0 + 100, .type = EV_VIEW, .id = 2), LEARN_DUPLICATE);
    cr_assert_eq(SEE(&p, .t = T0 + 100, .type = EV_VIEW, .id = 1), LEARN_OK);
    cr_assert_eq(SEE(&p, .t = T0 + 100, .type = EV_VIEW, .id = 2), LEARN_OK);
    profile_done(&p);
}

Test(profile, drops_a_flood_per_minute_of_event_time) {
    struct profile p;
    profile_init(&p);
    for (int i = 0; i < 20; i++)
        cr_assert_eq(SEE_RULED(&p, .t = T0 + i, .type = EV_VIEW), i < 5 ? LEARN_OK : LEARN_FLOOD);
    cr_assert_eq(p.events, 5);
    cr_assert_eq(p.last_ms, T0 + 4);
    cr_assert_eq(SEE_RULED(&p, .t = T0 + MINUTE, .type = EV_VIEW), LEARN_OK);
    cr_assert_eq(SEE_RULED(&p, .t = T0 + 30, .type = EV_VIEW), LEARN_FLOOD,
                 "late, still that minute");
    cr_assert_eq(profile_value(&p, PF_BOT, T0), 0);
    profile_done(&p);
}

Test(profile, counts_floods_alike_in_any_order_of_adjacent_minutes) {
    struct rng r;
    rng_seed(&r, 5);
    for (int round = 0; round < 200; round++) {
        int64_t t[24];
        uint32_t n[2] = {0}, ok[2] = {0};
        for (size_t i = 0; i < ARRAY_LEN(t); i++) {
            uint32_t minute = rng_below(&r, 2);
            n[minute]++;
            t[i] = T0 + minute * MINUTE + rng_below(&r, MINUTE);
        }
        struct profile p;
        profile_init(&p);
        for (size_t i = 0; i < ARRAY_LEN(t); i++)
            ok[(t[i] - T0) / MINUTE] += SEE_RULED(&p, .t = t[i], .type = EV_VIEW) == LEARN_OK;
        for (int m = 0; m < 2; m++)
            cr_assert_eq(ok[m], MIN(n[m], 5u));
        const uint32_t *flood = pm_extra(&p, PX_FLOOD);
        cr_assert_eq(flood ? flood[1] : 0, (n[0] > 5) + (n[1] > 5));
        profile_done(&p);
    }
}

Test(profile, marks_a_bot_and_forgives_after_a_day_without_floods) {
    struct profile p;
    profile_init(&p);
    for (int m = 0; m < 3; m++)
        for (int i = 0; i < 6; i++) {
            enum learn_result r = SEE_RULED(&p, .t = T0 + m * MINUTE + i, .type = EV_VIEW);
            cr_assert_eq(r, i < 5 ? LEARN_OK : m < 2 ? LEARN_FLOOD : LEARN_BOT);
        }
    cr_assert(profile_is_bot(&p, T0 + 3 * MINUTE));
    cr_assert_eq(profile_value(&p, PF_BOT, T0 + 3 * MINUTE), 1);
    uint32_t events = p.events;
    cr_assert_eq(SEE_RULED(&p, .t = T0 + DAY, .type = EV_VIEW), LEARN_BOT);
    cr_assert_eq(p.events, events);
    /* the last flooded minute was T0 + 2 minutes */
    cr_assert_eq(profile_value(&p, PF_BOT, T0 + 2 * MINUTE + DAY - 1), 1);
    cr_assert_eq(profile_value(&p, PF_BOT, T0 + 2 * MINUTE + DAY), 0);
    cr_assert_eq(SEE_RULED(&p, .t = T0 + 2 * MINUTE + DAY, .type = EV_VIEW), LEARN_OK);
    cr_assert_eq(p.bot, false);
    /* one more flood is not yet a bot */
    for (int i = 0; i < 6; i++)
        SEE_RULED(&p, .t = T0 + 3 * MINUTE + DAY + i, .type = EV_VIEW);
    cr_assert_eq(p.bot, false);
    profile_done(&p);
}

Test(profile, does_not_mark_floods_with_a_pause_between) {
    struct profile p;
    profile_init(&p);
    for (int m = 0; m < 20; m++)
        for (int i = 0; i < (m % 3 == 2 ? 1 : 8); i++)
            SEE_RULED(&p, .t = T0 + m * MINUTE + i, .type = EV_VIEW);
    cr_assert_eq(profile_value(&p, PF_BOT, T0 + 20 * MINUTE), 0);
    profile_done(&p);
}

Test(profile, begins_a_session_by_pause_or_by_id) {
    struct profile p;
    profile_init(&p);
    struct profile_change c;
    see_with(&p, &NO_RULES, (struct ev){.t = T0, .type = EV_VIEW, .session = "a"}, &c);
    cr_assert(c.new_session);
    see_with(&p, &NO_RULES, (struct ev){.t = T0 + 30 * MINUTE, .type = EV_VIEW, .session = "a"},
             &c);
    cr_assert(!c.new_session);
    SEE(&p, .t = T0 + 31 * MINUTE, .type = EV_VIEW);
    cr_assert_eq(p.sessions, 1);
    cr_assert_eq(p.session_events, 3);
    SEE(&p, .t = T0 + 32 * MINUTE, .type = EV_VIEW, .session = "b");
    cr_assert_eq(p.sessions, 2);
    cr_assert_eq(p.session_events, 1);
    SEE(&p, .t = T0 + 31 * MINUTE, .type = EV_VIEW, .session = "a"); /* late, of the old one */
    cr_assert_eq(p.sessions, 2);
    cr_assert_eq(p.session_events, 1);
    SEE(&p, .t = T0 + 31 * MINUTE, .type = EV_VIEW, .session = "b"); /* late, of this one */
    cr_assert_eq(p.session_events, 2);
    SEE(&p, .t = T0 + 62 * MINUTE + 1, .type = EV_VIEW, .session = "b");
    cr_assert_eq(p.sessions, 3);
    profile_done(&p);
}

Test(profile, decays_affinities_by_half_life) {
    struct profile p;
    profile_init(&p);
    SEE(&p, .t = T0, .type = EV_VIEW, .item = 1, .category = 1, .price = 10);
    SEE(&p, .t = T0 + 30 * DAY, .type = EV_VIEW, .item = 2, .category = 2, .price = 20);
    cr_assert_float_eq(profile_category_share(&p, 2, T0), 2. / 3, 1e-6);
    cr_assert_float_eq(profile_value(&p, PF_AVG_PRICE, T0), (10 * .5 + 20) / 1.5, 1e-4);
    /* late by a half-life: counts half */
    SEE(&p, .t = T0, .type = EV_VIEW, .item = 1, .category = 1, .price = 10);
    cr_assert_float_eq(profile_category_share(&p, 1, T0), .5, 1e-6);
    cr_assert_eq(p.last_ms, T0 + 30 * DAY);
    cr_assert_float_eq(profile_value(&p, PF_AVG_PRICE, T0), (10 * .5 + 20 + 10 * .5) / 2, 1e-4);
    profile_done(&p);
}

Test(profile, keeps_the_strongest_categories) {
    struct profile p;
    profile_init(&p);
    for (int i = 0; i < 200; i++)
        SEE(&p, .t = T0 + i, .type = EV_VIEW, .item = 1, .category = i % 3 ? (uint32_t)i + 10 : 1);
    uint32_t keys[PROFILE_AFFINITY_MAX];
    double shares[PROFILE_AFFINITY_MAX], sum = 0;
    size_t n = profile_top_categories(&p, T0, keys, shares, PROFILE_AFFINITY_MAX);
    cr_assert_eq(n, PROFILE_AFFINITY_MAX);
    cr_assert_eq(keys[0], 1);
    for (size_t i = 0; i < n; i++) {
        cr_assert(i == 0 || shares[i] <= shares[i - 1]);
        cr_assert_eq(shares[i], profile_category_share(&p, keys[i], T0));
        sum += shares[i];
    }
    cr_assert_float_eq(sum, 1, 1e-9);
    cr_assert_geq(shares[0], 67. / 200);
    profile_done(&p);
}

Test(profile, does_not_put_a_late_item_back_into_the_cart) {
    struct profile p;
    profile_init(&p);
    SEE(&p, .t = T0 + 5000, .type = EV_PURCHASE, .item = 1, .value = 3);
    SEE(&p, .t = T0, .type = EV_CART_ADD, .item = 1, .price = 3);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, T0), 0);
    SEE(&p, .t = T0 + 9000, .type = EV_CART_ADD, .item = 1, .price = 3.25);
    struct recent_item cart[2];
    cr_assert_eq(profile_cart(&p, cart, 2), 1);
    cr_assert_eq(cart[0].item, 0);
    cr_assert_eq(cart[0].price, 3.25f);
    SEE(&p, .t = T0 + 8000, .type = EV_CART_REMOVE, .item = 1);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, T0), 1, "removed before it was added again");
    SEE(&p, .t = T0 + 10000, .type = EV_CART_REMOVE, .item = 1);
    cr_assert_eq(profile_value(&p, PF_CART_ITEMS, T0), 0);
    profile_done(&p);
}

Test(profile, packs_prices_to_three_digits) {
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 10000; i++) {
        float v = (float)exp(rng_normal(&r) * 3);
        cr_assert_float_eq(price_unpack(price_pack(v)) / v, 1, 0.0006);
    }
    cr_assert_eq(price_unpack(price_pack(0)), 0);
    cr_assert_eq(price_unpack(price_pack(1)), 1);
    cr_assert_eq(price_unpack(price_pack(1023)), 1023);
    cr_assert(isnan(price_unpack(price_pack(NAN))));
    cr_assert(isnan(price_unpack(price_pack(-1))));
    cr_assert(isfinite(price_unpack(price_pack(INFINITY))));
    cr_assert_eq(price_unpack(price_pack(1e-30f)), 0);
}

static bool odd_row(void *ctx, uint32_t row, uint32_t time_s) {
    (void)ctx;
    return row % 2 && time_s < (uint32_t)(T0 / 1000) + 8;
}

Test(profile, forgets_items_whose_rows_went) {
    struct profile p;
    profile_init(&p);
    for (uint32_t i = 0; i < 10; i++)
        SEE(&p, .t = T0 + i * 1000, .type = i < 5 ? EV_CART_ADD : EV_PURCHASE, .item = i + 1,
            .price = 10 + i);
    cr_assert_eq(profile_drop_items(&p, odd_row, NULL), 4 + 2 + 2 + 4);
    struct recent_item r[16];
    uint32_t rows[16];
    cr_assert_eq(profile_recent(&p, r, 16), 6);
    static const uint32_t left[] = {9, 8, 6, 4, 2, 0};
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(r[i].item, left[i]);
        cr_assert_eq(r[i].price, (float)(10 + left[i]));
    }
    cr_assert_eq(profile_cart(&p, r, 16), 3);
    cr_assert_eq(profile_bought(&p, 0, rows, 16), 3);
    cr_assert_eq(rows[2], 6);
    profile_done(&p);
}

/* Whatever comes, bounds hold and no field becomes NaN that was known. */
Test(profile, holds_its_invariants_on_random_events) {
    struct rng r;
    rng_seed(&r, 42);
    for (int round = 0; round < 60; round++) {
        struct profile p;
        profile_init(&p);
        uint32_t accepted = 0;
        int64_t newest = INT64_MIN;
        static const double odd[] = {0, NAN, -1, 1e300, INFINITY, -INFINITY, 1e-300, 5, 19.99, 1e9};
        for (int i = 0; i < 400; i++) {
            int64_t t = T0 + (int64_t)(rng_normal(&r) * 3e6) + i * (int64_t)rng_below(&r, 200000);
            if (rng_below(&r, 200) == 0)
                t = rng_below(&r, 2) ? (int64_t)rng_u64(&r) / 4 : -5;
            struct event e = {.time_ms = t,
                              .type = (uint8_t)rng_below(&r, EV_MAX),
                              .value = odd[rng_below(&r, ARRAY_LEN(odd))],
                              .dwell_ms = odd[rng_below(&r, ARRAY_LEN(odd))]};
            uint32_t row = rng_below(&r, 40);
            if (row > 37)
                row = row == 38 ? ROW_NONE : PROFILE_ROW_MAX;
            else
                e.item = STR("x");
            static char sessions[] = "abcd";
            e.session = (struct str){sessions + rng_below(&r, 4), rng_below(&r, 2)};
            enum learn_result res = profile_observe(
                &p, &e, rng_u64(&r), row, rng_below(&r, 12), odd[rng_below(&r, ARRAY_LEN(odd))],
                (float)rng_below(&r, 3) - 1, round % 2 ? &PARAMS : &NO_RULES, NULL);
            accepted += res == LEARN_OK;
            if (res == LEARN_OK)
                newest = MAX(newest, t);
            cr_assert_eq(p.events, accepted);
            cr_assert(!accepted || p.last_ms == newest);
            cr_assert(p.first_s <= MAX(p.last_ms, 0) / 1000 || p.first_s == UINT32_MAX);
            cr_assert_leq(p.sessions, p.events);
            for (int s = 0; s < PM_SECTIONS; s++)
                cr_assert_leq(pm_n(&p, (enum pm_section)s), pm_max[s]);
            static const enum pm_section timed[] = {PM_CART, PM_BOUGHT, PM_RECENT};
            for (size_t k = 0; k < ARRAY_LEN(timed); k++) {
                const uint32_t *w = pm_at(&p, timed[k]), width = pm_width[timed[k]];
                for (uint32_t j = 1; j < pm_n(&p, timed[k]); j++)
                    cr_assert_leq(w[(j - 1) * width + 1], w[j * width + 1]);
            }
            double sum = 0;
            for (uint32_t c = 1; c < 12; c++) {
                double share = profile_category_share(&p, c, t);
                cr_assert(share >= 0 && share <= 1 + 1e-9);
                sum += share;
            }
            cr_assert(sum < 1 + 1e-9);
            static const enum profile_field known[] = {PF_SPEND, PF_CART_VALUE, PF_CART_ITEMS,
                                                       PF_DAYS_SINCE_PURCHASE, PF_BOT};
            for (size_t k = 0; k < ARRAY_LEN(known); k++)
                cr_assert(!isnan(profile_value(&p, known[k], t)));
            cr_assert(isnan(p.avg_price) || (p.avg_price >= 0 && isfinite(p.avg_price)));
            double dwell = profile_value(&p, PF_AVG_DWELL_S, t);
            cr_assert(isnan(dwell) || (dwell >= 0 && isfinite(dwell)));
        }
        profile_done(&p);
    }
}

Test(profile, is_the_same_when_every_event_comes_twice) {
    struct profile a, b;
    profile_init(&a);
    profile_init(&b);
    for (uint32_t i = 0; i < 300; i++) {
        struct ev v = {.t = T0 + (int64_t)(i * i % 977) * 60000,
                       .type = (uint8_t)(i % 9),
                       .item = i * 7 % 31 + 1,
                       .category = i % 11,
                       .price = 1 + i % 13,
                       .dwell = i,
                       .id = i + 1};
        see_with(&a, &NO_RULES, v, NULL);
        see_with(&b, &NO_RULES, v, NULL);
        cr_assert_eq(see_with(&b, &PARAMS, v, NULL), LEARN_DUPLICATE);
        same_values(&a, &b, T0 + i * MINUTE);
    }
    cr_assert_eq(pm_size(&a), pm_size(&b));
    cr_assert_eq(memcmp(a.more, b.more, pm_size(&a)), 0);
    profile_done(&a);
    profile_done(&b);
}
