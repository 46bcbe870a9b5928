#include "policy/features.h"

#include <criterion/criterion.h>

#include "tests/support/policy_kit.h"

enum { CAMPAIGNS = 3, OFFERS = 4, ALL = CAMPAIGNS * OFFERS };

static struct kit *shop(void) {
    static const char *const name[] = {"0", "1", "2", "3"};
    static const char *const id[] = {"a", "b", "c"};
    struct kit *k = kit_new();
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        struct campaign_spec *c = kit_campaign(k, id[i], EV_FAVORITE);
        c->n_offers = OFFERS;
        c->contact_cost = 0.1 * (double)i;
        for (size_t o = 0; o < OFFERS; o++)
            c->offer[o] = (struct offer_spec){.name = str_of(name[o]), .json = STR("{}")};
        c->offer[1].percent = 5 + 10 * (double)i;
        c->offer[2].amount = 4 + 5 * (double)i; /* the last is worth more than the item */
        c->offer[3].percent = 12.5;
        c->offer[3].free_shipping = true;
    }
    kit_start(k);
    return k;
}

/* Some of the offers of each campaign, about one item. */
static size_t some(uint32_t which, uint32_t item, struct candidate *ret) {
    size_t n = 0;
    for (size_t i = 0; i < CAMPAIGNS; i++) {
        uint32_t offers = which >> i * OFFERS & ((1 << OFFERS) - 1);
        for (size_t o = 0; o < OFFERS; o++)
            if (offers >> o & 1)
                ret[n++] = (struct candidate){
                    .campaign = (uint16_t)i,
                    .offer = (uint8_t)o,
                    .more = (uint8_t)__builtin_popcount(offers >> (o + 1)),
                    .item = item,
                    .old_price = NAN,
                    .new_price = NAN,
                };
    }
    return n;
}

static void shops(struct kit *k, struct kit_user *u) {
    kit_do(k, u, EV_VIEW, "i2", MONDAY);
    kit_do(k, u, EV_PURCHASE, "i2", MONDAY + HOUR);
    kit_do(k, u, EV_CART_ADD, "i2", MONDAY + 2 * HOUR);
    kit_forget(k);
}

/* What features.h says of an offer's columns, one by one. */
static void check_offer(const struct offer_spec *o, double price, const float *shared,
                        const float *own) {
    double percent = o->percent / 20, value = (double)own[FO_VALUE];
    double amount = o->amount <= 0 ? 0 : price > o->amount ? o->amount / price : 1;
    const double want[FEATURES_DEPTH] = {
        [FO_AMOUNT] = amount,
        [FO_SHIPPING] = o->free_shipping,
        [FO_PERCENT_VALUE] = percent * value,
        [FO_PERCENT_BARGAINS] = percent * value * (double)shared[FS_BARGAINS],
        [FO_PERCENT_CART] = shared[FS_CART] > 0 ? percent * value : 0,
        [FO_PERCENT_OFTEN] = percent * value * (double)shared[FS_PURCHASES],
        [FO_PERCENT2_VALUE] = percent * percent * value,
    };
    for (size_t f = 0; f < FEATURES_DEPTH; f++)
        cr_assert_float_eq((double)own[f], want[f], 1e-6, "column %zu is %g, not %g", f,
                           (double)own[f], want[f]);
}

Test(features, an_offers_columns_are_its_own_whatever_else_there_is) {
    struct kit *k = shop();
    struct kit_user u;
    kit_user(&u, "user");
    for (size_t i = 0; i < ARRAY_LEN(u.emb); i++)
        u.emb[i] = (float)i - 20;
    for (int history = 0; history < 2; history++) {
        if (history)
            shops(k, &u);
        struct policy_context c = kit_context(k, &u);
        for (uint32_t which = 1; which < 1u << ALL; which += 7) {
            uint32_t item = which % 3 ? k->item[2] : ROW_NONE;
            double price = which % 3 ? 12 : NAN;
            struct candidate cand[ALL];
            float shared[FEATURES_SHARED], own[ALL][FEATURES_OWN], one[FEATURES_OWN];
            size_t n = some(which, item, cand);
            features(&c, MONDAY + DAY, cand, n, shared, *own);
            for (size_t i = 0; i < n; i++) {
                struct candidate alone = cand[i];
                float again[FEATURES_SHARED];
                alone.more = 0;
                features(&c, MONDAY + DAY, &alone, 1, again, one);
                cr_assert_eq(memcmp(own[i], one, sizeof one), 0);
                cr_assert_eq(memcmp(shared, again, sizeof again), 0);
                check_offer(&k->spec.campaign[cand[i].campaign].offer[cand[i].offer], price, shared,
                            own[i]);
            }
        }
    }
    kit_user_free(&u);
    kit_free(k);
}

Test(features, a_wide_embedding_is_folded_and_of_length_one) {
    struct kit *k = shop();
    struct kit_user u;
    struct candidate cand[ALL];
    float shared[FEATURES_SHARED], own[ALL][FEATURES_OWN];
    double want[FEATURES_EMBEDDING] = {0}, square = 0;
    kit_user(&u, "user");
    for (size_t i = 0; i < ARRAY_LEN(u.emb); i++) {
        u.emb[i] = (float)(i * i % 11) - 4;
        want[i % FEATURES_EMBEDDING] += (double)u.emb[i];
    }
    struct policy_context c = kit_context(k, &u);
    features(&c, MONDAY, cand, some(1, ROW_NONE, cand), shared, *own);
    for (size_t i = 0; i < FEATURES_EMBEDDING; i++)
        square += want[i] * want[i];
    for (size_t i = 0; i < FEATURES_EMBEDDING; i++)
        cr_assert_float_eq((double)shared[FEATURES_PROFILE + i], want[i] / sqrt(square), 1e-6);
    kit_user_free(&u);
    kit_free(k);
}
