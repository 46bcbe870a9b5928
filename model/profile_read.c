#include "model/context.h"
#include "model/profile_more.h"

#include <math.h>

static const double DAY_MS = 24.0 * 3600 * 1000;

const char *profile_field_name(enum profile_field f) {
    static const char *const names[] = {
#define X(sym, name, help) name,
        PROFILE_FIELDS(X)
#undef X
    };
    return (unsigned)f < PF_COUNT ? names[f] : "";
}

enum profile_field profile_field_find(struct str name) {
    enum profile_field f = 0;
    while (f < PF_COUNT && !str_eq(name, str_of(profile_field_name(f))))
        f++;
    return f;
}

uint32_t profile_type_count(const struct profile *p, uint8_t type) {
    const uint32_t *w = pm_at(p, PM_TYPES);
    for (uint32_t i = 0, n = pm_n(p, PM_TYPES); i < n; i++)
        if (w[i] >> PM_TYPE_SHIFT == type)
            return w[i] & ((1u << PM_TYPE_SHIFT) - 1);
    return 0;
}

static double days(int64_t from_ms, int64_t to_ms) {
    return to_ms > from_ms ? ((double)to_ms - (double)from_ms) / DAY_MS : 0;
}

/* Asked at the last event's own time "the event before this one" is the one before it;
 * asked later, by a timer, it is the last one. */
static double days_since_seen(const struct profile *p, int64_t now_ms) {
    if (p->events == 0)
        return NAN;
    if (now_ms > p->last_ms)
        return days(p->last_ms, now_ms);
    return p->events > 1 ? days((int64_t)p->prev_s * 1000, now_ms) : NAN;
}

static double days_since_purchase(const struct profile *p, int64_t now_ms) {
    const uint32_t *s = pm_extra(p, PX_PURCHASE_S);
    return s ? days((int64_t)*s * 1000, now_ms) : INFINITY;
}

static double cart_value(const struct profile *p) {
    const uint32_t *w = pm_at(p, PM_CART);
    double sum = 0;
    for (uint32_t i = 0, n = pm_n(p, PM_CART); i < n; i++) {
        float price = pm_f32(w[3 * i + 2]);
        sum += isnan(price) ? 0 : (double)price;
    }
    return sum;
}

static double spend(const struct profile *p) {
    const uint32_t *w = pm_extra(p, PX_SPEND);
    double v = 0;
    if (w)
        memcpy(&v, w, sizeof v);
    return v;
}

static double extra_f32(const struct profile *p, enum pm_extra x) {
    const uint32_t *w = pm_extra(p, x);
    return w ? (double)pm_f32(*w) : NAN;
}

double profile_value(const struct profile *p, enum profile_field f, int64_t now_ms) {
    switch (f) {
    case PF_EVENTS:
        return p->events;
    case PF_VIEWS:
        return (double)profile_type_count(p, EV_VIEW) + profile_type_count(p, EV_CLICK);
    case PF_FAVORITES:
        return profile_type_count(p, EV_FAVORITE);
    case PF_CARTS:
        return profile_type_count(p, EV_CART_ADD);
    case PF_PURCHASES:
        return profile_type_count(p, EV_PURCHASE);
    case PF_RETURNS:
        return profile_type_count(p, EV_RETURN);
    case PF_SESSIONS:
        return p->sessions;
    case PF_SESSION_EVENTS:
        return p->session_events;
    case PF_SPEND:
        return spend(p);
    case PF_AVG_PRICE:
        return p->avg_price;
    case PF_AVG_DWELL_S:
        return extra_f32(p, PX_DWELL);
    case PF_LAST_SCORE:
        return extra_f32(p, PX_SCORE);
    case PF_DAYS_KNOWN:
        return p->events ? days((int64_t)p->first_s * 1000, now_ms) : NAN;
    case PF_DAYS_SINCE_SEEN:
        return days_since_seen(p, now_ms);
    case PF_DAYS_SINCE_PURCHASE:
        return days_since_purchase(p, now_ms);
    case PF_CART_ITEMS:
        return pm_n(p, PM_CART);
    case PF_CART_VALUE:
        return cart_value(p);
    case PF_BOT:
        return profile_is_bot(p, now_ms);
    case PF_COUNT:
        break;
    }
    return NAN;
}

/* ---- affinities ------------------------------------------------------------ */

static double affinity_total(const struct profile *p) {
    const uint32_t *w = pm_at(p, PM_AFFINITY);
    double sum = 0;
    for (uint32_t i = 0, n = pm_n(p, PM_AFFINITY); i < n; i++)
        sum += (double)pm_f32(w[2 * i + 1]);
    return sum;
}

double profile_category_share(const struct profile *p, uint32_t category_key, int64_t now_ms) {
    (void)now_ms;
    const uint32_t *w = pm_at(p, PM_AFFINITY);
    double total = affinity_total(p);
    for (uint32_t i = 0, n = pm_n(p, PM_AFFINITY); i < n; i++)
        if (w[2 * i] == category_key)
            return total > 0 ? (double)pm_f32(w[2 * i + 1]) / total : 0;
    return 0;
}

size_t profile_top_categories(const struct profile *p, int64_t now_ms, uint32_t *ret_keys,
                              double *ret_shares, size_t max) {
    (void)now_ms;
    const uint32_t *w = pm_at(p, PM_AFFINITY);
    double total = affinity_total(p);
    uint32_t keys[PROFILE_AFFINITY_MAX];
    double shares[PROFILE_AFFINITY_MAX];
    size_t n = total > 0 ? pm_n(p, PM_AFFINITY) : 0;
    for (size_t i = 0; i < n; i++) {
        double share = (double)pm_f32(w[2 * i + 1]) / total;
        size_t at = i;
        for (; at > 0 && shares[at - 1] < share; at--) {
            keys[at] = keys[at - 1];
            shares[at] = shares[at - 1];
        }
        keys[at] = w[2 * i];
        shares[at] = share;
    }
    n = MIN(n, max);
    memcpy(ret_keys, keys, n * sizeof *keys);
    memcpy(ret_shares, shares, n * sizeof *shares);
    return n;
}

/* ---- histories ------------------------------------------------------------- */

size_t profile_recent(const struct profile *p, struct recent_item *ret, size_t max) {
    const uint32_t *w = pm_at(p, PM_RECENT);
    const uint16_t *price = pm_prices(p);
    size_t n = pm_n(p, PM_RECENT), out = MIN(n, max);
    for (size_t i = 0; i < out; i++) {
        size_t at = n - 1 - i;
        ret[i] = (struct recent_item){.item = w[2 * at] & PM_ROW_MASK,
                                      .time_s = w[2 * at + 1],
                                      .type = (uint8_t)(w[2 * at] >> PM_TYPE_SHIFT),
                                      .price = price_unpack(price[at])};
    }
    return out;
}

size_t profile_trail(const struct profile *p, struct trail_item *ret, size_t max) {
    const uint32_t *w = pm_at(p, PM_TRAIL);
    size_t n = pm_n(p, PM_TRAIL), out = MIN(n, max);
    for (size_t i = 0; i < out; i++) {
        const uint32_t *e = w + 2 * (n - 1 - i);
        ret[i] = (struct trail_item){
            .item = e[0] & PM_ROW_MASK, .time_s = e[1], .first = e[0] >> PM_TYPE_SHIFT};
    }
    return out;
}

void profile_context(const struct profile *p, uint32_t *ret) {
    const uint32_t *w = pm_extra(p, PX_CONTEXT);
    if (w)
        memcpy(ret, w, CONTEXT_SLOTS * sizeof *ret);
    else
        memset(ret, 0, CONTEXT_SLOTS * sizeof *ret);
}

size_t profile_cart(const struct profile *p, struct recent_item *ret, size_t max) {
    const uint32_t *w = pm_at(p, PM_CART);
    size_t n = pm_n(p, PM_CART), out = MIN(n, max);
    for (size_t i = 0; i < out; i++) {
        const uint32_t *e = w + 3 * (n - 1 - i);
        ret[i] = (struct recent_item){
            .item = e[0], .time_s = e[1], .type = EV_CART_ADD, .price = pm_f32(e[2])};
    }
    return out;
}

size_t profile_bought(const struct profile *p, int64_t since_ms, uint32_t *ret_rows, size_t max) {
    const uint32_t *w = pm_at(p, PM_BOUGHT);
    size_t out = 0;
    for (size_t i = pm_n(p, PM_BOUGHT); i-- > 0 && out < max;) {
        /* the entry's second holds times up to 999 ms later */
        if ((int64_t)w[2 * i + 1] * 1000 + 999 < since_ms)
            break;
        ret_rows[out++] = w[2 * i];
    }
    return out;
}

size_t profile_seen(const struct profile *p, uint32_t *ret_rows, size_t max) {
    static const enum pm_section sections[] = {PM_RECENT, PM_CART, PM_BOUGHT, PM_TRAIL};
    size_t out = 0;
    for (size_t k = 0; k < ARRAY_LEN(sections); k++) {
        enum pm_section s = sections[k];
        const uint32_t *w = pm_at(p, s);
        for (size_t i = pm_n(p, s); i-- > 0 && out < max;) {
            uint32_t row = w[i * pm_width[s]] & pm_row_mask(s);
            size_t j = 0;
            while (j < out && ret_rows[j] != row)
                j++;
            if (j == out)
                ret_rows[out++] = row;
        }
    }
    return out;
}

size_t profile_bytes(const struct profile *p) {
    /* glibc's malloc: 8 bytes before a block, sizes in steps of 16, at least 32 */
    size_t n = pm_size(p);
    return n ? MAX((n + 8 + 15) / 16 * 16, (size_t)32) : 0;
}
