#include "policy/features.h"

#include <math.h>

#include "model/kernels.h"
#include "model/wide.h"
#include "policy/internal.h"

_Static_assert((int)FEATURES_FACTORS == 8 && FEATURES_OWN % 8 == 0, "whole vectors");

enum { DAY_MS = 86400000, WEEK_MS = 7 * DAY_MS };
#define BASKET_DEFAULT 50.0

static float log1(double x, double scale) {
    return x > 0 ? (float)(log1p(x) / scale) : 0;
}

static double field(const struct policy_context *c, enum profile_field f, int64_t now_ms) {
    return profile_value(&c->user->prof, f, now_ms);
}

static float fading(double days, double scale) {
    return isfinite(days) ? (float)exp(-fmax(days, 0) / scale) : 0;
}

static uint32_t sent_within(const struct user_ext *x, int64_t now_ms, int64_t span_ms) {
    uint32_t n = 0;
    for (size_t i = 0; x && i < x->n_sends; i++)
        n += now_ms - x->sends[i].time_ms < span_ms;
    return n;
}

/* The embedding, folded to its columns and scaled; a new user's is all zeros. */
static void put_embedding(const struct policy_context *c, float *ret) {
    uint32_t dim = model_config_of(c->model)->dim;
    memset(ret, 0, FEATURES_EMBEDDING * sizeof *ret);
    for (uint32_t from = 0; from < dim; from += FEATURES_EMBEDDING)
        for (uint32_t i = 0; i < MIN(dim - from, FEATURES_EMBEDDING); i++)
            ret[i] += c->user->emb[from + i];
    float square = kernels_best()->dot(FEATURES_EMBEDDING, ret, ret);
    float scale = square > 0 ? 1 / sqrtf(square) : 0;
    for (uint32_t i = 0; i < FEATURES_EMBEDDING; i++)
        ret[i] *= scale;
}

/* A price, by what is typically bought for. */
static float valued(const struct policy_context *c, double price) {
    double unit = c->set->reward.basket > 0 ? c->set->reward.basket : BASKET_DEFAULT;
    return price > 0 ? (float)fmin(price / unit, 8) : 1;
}

/* What messages did to him so far, and what he buys for. */
static void put_habits(const struct policy_context *c, int64_t now_ms, float *ret) {
    const struct user_ext *x = c->user->ext;
    double weary = 0, bought = field(c, PF_PURCHASES, now_ms);
    for (size_t i = 0; x && i < x->n_sends; i++)
        weary += fading((double)(now_ms - x->sends[i].time_ms) / DAY_MS, FEATURES_WEARY_DAYS);
    float often = ret[FS_PURCHASES], basket = valued(c, field(c, PF_AVG_PRICE, now_ms));
    float cart = ret[FS_CART] > 0 ? basket : 0;
    ret[FS_WEARY] = (float)(weary / 2);
    ret[FS_OPENS] = x ? (1 + (float)x->opened) / (3 + (float)x->messages) : 1 / 3.0f;
    ret[FS_BARGAINS] = (float)((1 + (x ? x->redeemed : 0)) / (3 + bought));
    ret[FS_BASKET] = basket;
    ret[FS_BASKET_OFTEN] = basket * often;
    ret[FS_BASKET_OFTEN2] = basket * often * often;
    ret[FS_BASKET_CART] = cart;
    ret[FS_BASKET_CART_OFTEN] = cart * often;
    ret[FS_BASKET_WEARY] = basket * ret[FS_WEARY];
    ret[FS_BASKET_WEARY_OFTEN] = ret[FS_BASKET_WEARY] * often;
    ret[FS_BASKET_OPENS] = basket * ret[FS_OPENS];
    ret[FS_BASKET_BARGAINS] = basket * ret[FS_BARGAINS];
}

static void put_shared(const struct policy_context *c, int64_t now_ms, float *ret) {
    const struct user_ext *x = c->user->ext;
    const struct tz_rules *tz = guard_zone(c);
    int64_t local_ms = now_ms + (int64_t)tz_offset_s(tz, now_ms / 1000) * 1000;
    double hour = (double)(((local_ms % DAY_MS) + DAY_MS) % DAY_MS) / DAY_MS * 2 * M_PI;
    double score = field(c, PF_LAST_SCORE, now_ms);
    int32_t weekday = (tz_day(tz, now_ms) % 7 + 10) % 7; /* 0: Monday; day 0 was a Thursday */
    ret[FS_ONE] = 1;
    ret[FS_EVENTS] = log1(field(c, PF_EVENTS, now_ms), 8);
    ret[FS_PURCHASES] = log1(field(c, PF_PURCHASES, now_ms), 4);
    ret[FS_RETURNS] = log1(field(c, PF_RETURNS, now_ms), 4);
    ret[FS_SPEND] = log1(field(c, PF_SPEND, now_ms), 8);
    ret[FS_AVG_PRICE] = log1(field(c, PF_AVG_PRICE, now_ms), 8);
    ret[FS_RECENCY] = fading(field(c, PF_DAYS_SINCE_SEEN, now_ms), 7);
    ret[FS_BOUGHT] = fading(field(c, PF_DAYS_SINCE_PURCHASE, now_ms), 30);
    ret[FS_CART] = log1(field(c, PF_CART_VALUE, now_ms), 8);
    ret[FS_SESSIONS] = log1(field(c, PF_SESSIONS, now_ms), 4);
    ret[FS_SCORE] = isnan(score) ? 0 : (float)(score / 10 - 0.5);
    ret[FS_SENT_DAY] = (float)sent_within(x, now_ms, DAY_MS) / 2;
    ret[FS_SENT_WEEK] = (float)sent_within(x, now_ms, WEEK_MS) / 5;
    ret[FS_HOUR_SIN] = (float)sin(hour);
    ret[FS_HOUR_COS] = (float)cos(hour);
    ret[FS_WEEKEND] = weekday >= 5;
    put_habits(c, now_ms, ret);
    put_embedding(c, ret + FEATURES_PROFILE);
}

/* What all offers of a campaign share. */
static void put_campaign(const struct policy_context *c, const struct campaign *k, float *ret) {
    const struct user_ext *x = c->user->ext;
    uint32_t sent = 0;
    for (size_t i = 0; x && i < x->n_sends; i++)
        sent += x->sends[i].campaign == k->hash;
    for (size_t i = 0; i < FEATURES_OWN / 8; i++)
        ((f32x8 *)ret)[i] = (f32x8){0};
    ret[FO_ONE] = 1;
    ret[FO_COST] = k->cost;
    ret[FO_CAMPAIGN_SENT] = (float)sent / 3;
    ret[FEATURES_OFFER + k->hash % FEATURES_CAMPAIGNS] = 1;
}

/* What candidates have in common more often than not: the last one's. */
struct about {
    uint32_t item, category;
    struct item_view v;
    float fit; /* of the category */
};

static void look_at(const struct policy_context *c, int64_t now_ms, uint32_t item,
                    const struct campaign *k, struct about *a) {
    struct str of = k->spec.offer[0].category;
    if (item != a->item) {
        a->item = item;
        a->v = (struct item_view){.price = NAN, .margin = NAN};
        if (item < model_items(c->model))
            model_item_view(c->model, item, &a->v);
    }
    uint32_t category = of.n ? model_category_key(c->model, of) : a->v.category_key;
    if (category == a->category)
        return;
    a->category = category;
    a->fit = log1(20 * profile_category_share(&c->user->prof, category, now_ms), 3);
}

static void put_item(const struct policy_context *c, const struct about *a,
                     const struct candidate *cand, float *ret) {
    const struct item_view *v = &a->v;
    ret[FO_DROP] =
        cand->old_price > 0 ? (float)((cand->old_price - cand->new_price) / cand->old_price) : 0;
    ret[FO_MARGIN] = (float)(isnan(v->margin) ? c->set->reward.margin : v->margin);
}

/* What the campaign's category, the item's price and the user make of each other. The first columns
 * are still without an offer's factors. */
static void put_value(const struct policy_context *c, double price, float fit, const float *shared,
                      float *ret) {
    float value = price > 0 ? valued(c, price) : shared[FS_BASKET];
    float often = value * shared[FS_PURCHASES], cart = shared[FS_CART] > 0 ? value : 0;
    ret[FO_AMOUNT] = price > 0 ? (float)(1 / price) : 1e30f;
    ret[FO_SHIPPING] = 1;
    ret[FO_PERCENT_VALUE] = value;
    ret[FO_PERCENT_BARGAINS] = value * shared[FS_BARGAINS];
    ret[FO_PERCENT_CART] = cart;
    ret[FO_PERCENT_OFTEN] = often;
    ret[FO_PERCENT2_VALUE] = value;
    ret[FO_FIT] = fit;
    ret[FO_VALUE] = value;
    ret[FO_VALUE_OFTEN] = often;
    ret[FO_VALUE_CART] = cart;
    ret[FO_VALUE_WEARY] = value * shared[FS_WEARY];
    ret[FO_VALUE_OPENS] = value * shared[FS_OPENS];
    ret[FO_VALUE_FIT] = value * fit;
    ret[FO_VALUE_FIT2] = value * fit * fit;
}

void features_factors(const struct offer_spec *o, float ret[FEATURES_FACTORS]) {
    float percent = (float)(o->percent / 20);
    for (size_t i = 0; i < FEATURES_FACTORS; i++)
        ret[i] = 1;
    ret[FO_AMOUNT] = o->amount > 0 ? (float)o->amount : 0;
    ret[FO_SHIPPING] = o->free_shipping;
    ret[FO_PERCENT_VALUE] = ret[FO_PERCENT_BARGAINS] = percent;
    ret[FO_PERCENT_CART] = ret[FO_PERCENT_OFTEN] = percent;
    ret[FO_PERCENT2_VALUE] = percent * percent;
}

/* From the row that lies where a campaign's first offer does. Apart from writing those rows, as a
 * vector of what was written piece by piece a moment ago is waited for. */
static WIDE_CLONES void put_offers(const struct policy_set *set, const struct candidate *cand,
                                   size_t n, float *own) {
    for (const struct candidate *end = cand + n; cand < end;) {
        const struct campaign *k = &set->c[cand->campaign];
        f32x8 row[FEATURES_OWN / 8];
        for (size_t j = 0; j < ARRAY_LEN(row); j++)
            row[j] = ((const f32x8 *)own)[j];
        for (size_t left = 1u + cand->more; left; left--, cand++, own += FEATURES_OWN) {
            f32x8 *to = (f32x8 *)own;
            to[0] = row[0] * *(const f32x8 *)k->factor[cand->offer];
            for (size_t j = 1; j < ARRAY_LEN(row); j++)
                to[j] = row[j];
            if (own[FO_AMOUNT] > 1)
                own[FO_AMOUNT] = 1;
        }
    }
}

void features(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
              size_t n, float *ret_shared, float *ret_own) {
    struct about about = {.item = ROW_NONE, .v = {.price = NAN, .margin = NAN}};
    put_shared(c, now_ms, ret_shared);
    for (size_t i = 0; i < n; i += 1u + cand[i].more) {
        const struct campaign *k = &c->set->c[cand[i].campaign];
        float *row = ret_own + i * FEATURES_OWN;
        look_at(c, now_ms, cand[i].item, k, &about);
        put_campaign(c, k, row);
        put_item(c, &about, &cand[i], row);
        put_value(c, about.v.price, about.fit, ret_shared, row);
    }
    put_offers(c->set, cand, n, ret_own);
}

void features_wear(const float *shared, const float *own, float ret[WEAR_COLUMNS]) {
    ret[0] = 0.5f;
    ret[1] = ret[0] * shared[FS_BASKET];
    ret[2] = ret[1] * shared[FS_PURCHASES];
    ret[3] = ret[0] * own[FO_VALUE];
}

void features_rest(float *shared, float *own) {
    shared[FS_SENT_DAY] = shared[FS_SENT_WEEK] = 0;
    shared[FS_WEARY] = shared[FS_BASKET_WEARY] = shared[FS_BASKET_WEARY_OFTEN] = 0;
    own[FO_CAMPAIGN_SENT] = own[FO_VALUE_WEARY] = 0;
}
