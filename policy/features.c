#include "policy/features.h"

#include <math.h>

#include "policy/internal.h"

enum { DAY_MS = 86400000, WEEK_MS = 7 * DAY_MS };

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
    double norm = 0;
    memset(ret, 0, FEATURES_EMBEDDING * sizeof *ret);
    for (uint32_t i = 0; i < dim; i++)
        ret[i % FEATURES_EMBEDDING] += c->user->emb[i];
    for (uint32_t i = 0; i < FEATURES_EMBEDDING; i++)
        norm += (double)ret[i] * ret[i];
    for (uint32_t i = 0; norm > 0 && i < FEATURES_EMBEDDING; i++)
        ret[i] = (float)(ret[i] / sqrt(norm));
}

void features_shared(const struct policy_context *c, int64_t now_ms, float *ret) {
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
    put_embedding(c, ret + FEATURES_PROFILE);
}

void features_own(const struct policy_context *c, int64_t now_ms, const struct candidate *cand,
                  float *ret) {
    const struct campaign *k = &c->set->c[cand->campaign];
    const struct offer_spec *o = &k->spec.offer[cand->offer];
    const struct user_ext *x = c->user->ext;
    struct item_view v = {.price = NAN, .margin = NAN};
    if (cand->item < model_items(c->model))
        model_item_view(c->model, cand->item, &v);
    uint32_t of_campaign = 0;
    for (size_t i = 0; x && i < x->n_sends; i++)
        of_campaign += x->sends[i].campaign == k->hash;
    memset(ret, 0, FEATURES_OWN * sizeof *ret);
    ret[FO_ONE] = 1;
    ret[FO_PERCENT] = (float)(o->percent / 20);
    ret[FO_AMOUNT] = o->amount > 0 ? (float)(v.price > o->amount ? o->amount / v.price : 1) : 0;
    ret[FO_SHIPPING] = o->free_shipping;
    ret[FO_DROP] =
        cand->old_price > 0 ? (float)((cand->old_price - cand->new_price) / cand->old_price) : 0;
    ret[FO_PRICE] = log1(v.price, 8);
    ret[FO_MARGIN] = (float)(isnan(v.margin) ? c->set->reward.margin : v.margin);
    ret[FO_COST] = log1(100 * k->spec.contact_cost, 1);
    ret[FO_SENT] = (float)sent_within(x, now_ms, WEEK_MS) / 5;
    ret[FO_CAMPAIGN_SENT] = (float)of_campaign / 3;
    ret[FO_CART] = log1(field(c, PF_CART_VALUE, now_ms), 8);
    ret[FO_BOUGHT] = fading(field(c, PF_DAYS_SINCE_PURCHASE, now_ms), 30);
    ret[FO_PERCENT_BOUGHT] = ret[FO_PERCENT] * ret[FO_BOUGHT];
    ret[FO_PERCENT_CART] = ret[FO_PERCENT] * ret[FO_CART];
    ret[FO_PERCENT_PRICE] = ret[FO_PERCENT] * log1(field(c, PF_AVG_PRICE, now_ms), 8);
    ret[FO_FIT] =
        v.category_key ? (float)profile_category_share(&c->user->prof, v.category_key, now_ms) : 0;
    ret[FEATURES_OFFER + k->hash % FEATURES_CAMPAIGNS] = 1;
}
