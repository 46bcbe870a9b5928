#include "model/context.h"
#include "model/profile_more.h"

#include <math.h>

enum { SESSION_PAUSE_MS = 30 * 60 * 1000, MINUTE_MS = 60 * 1000, BOT_MINUTES = 24 * 60 };
enum { TYPE_COUNT_MAX = (1 << PM_TYPE_SHIFT) - 1 };
/* Beyond it sums in single precision could become infinite. */
static const double AMOUNT_MAX = 1e30;

void profile_init(struct profile *p) {
    *p = (struct profile){.avg_price = NAN};
}

void profile_done(struct profile *p) {
    free(p->more);
    profile_init(p);
}

/* A price or duration as it may be summed up; NAN: unknown. */
static double known_amount(double v) {
    return v >= 0 ? fmin(v, AMOUNT_MAX) : NAN;
}

static uint32_t clamp_u32(int64_t v) {
    return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

static uint32_t seconds_of(int64_t t) {
    return clamp_u32(t / 1000);
}

static void count_u16(uint16_t *n) {
    if (*n < UINT16_MAX)
        ++*n;
}

/* ---- duplicates and rates -------------------------------------------------- */

static bool is_duplicate(const struct profile *p, uint32_t fingerprint) {
    const uint32_t *w = pm_at(p, PM_DEDUP);
    bool found = false;
    for (uint32_t i = 0, n = pm_n(p, PM_DEDUP); i < n; i++)
        found |= w[i] == fingerprint;
    return found;
}

static void remember_event(struct profile *p, uint32_t fingerprint) {
    uint32_t n = pm_n(p, PM_DEDUP);
    if (n < PROFILE_DEDUP_MAX) {
        if (pm_insert(p, PM_DEDUP, n))
            pm_at(p, PM_DEDUP)[n] = fingerprint;
        return;
    }
    struct profile_more *m = p->more;
    pm_at(p, PM_DEDUP)[m->dedup_head] = fingerprint;
    m->dedup_head = (uint8_t)((m->dedup_head + 1) % PROFILE_DEDUP_MAX);
}

static float decayed(float weight, float factor) {
    float f = weight * factor;
    return f < 1e-30f ? 0 : f; /* no denormals */
}

static float decay_factor(uint32_t minutes, int64_t half_life_ms) {
    return half_life_ms > 0 ? exp2f(-(float)minutes * MINUTE_MS / (float)half_life_ms) : 1;
}

/* The profile's minute moves on: what decays is kept as of that minute. */
static void advance(struct profile *p, uint32_t minute, const struct profile_params *params) {
    uint32_t back = minute - p->minute;
    p->late_back = p->minute_count && back <= UINT16_MAX ? (uint16_t)back : 0;
    p->late_count = p->minute_count;
    p->minute_count = 0;
    p->minute = minute;
    if (!p->events)
        return;
    float factor = decay_factor(back, params->half_life_ms);
    p->price_weight = decayed(p->price_weight, factor);
    uint32_t *w = pm_at(p, PM_AFFINITY);
    for (uint32_t i = 0, n = pm_n(p, PM_AFFINITY); i < n; i++)
        w[2 * i + 1] = pm_word(decayed(pm_f32(w[2 * i + 1]), factor));
    uint32_t *dwell = pm_extra(p, PX_DWELL);
    if (dwell)
        dwell[1] = pm_word(decayed(pm_f32(dwell[1]), factor));
}

/* Counts an event of `minute`, returns the minute's count. Minutes too far back to tell
 * apart are not counted. */
static uint32_t count_minute(struct profile *p, uint32_t minute,
                             const struct profile_params *params) {
    if (minute > p->minute)
        advance(p, minute, params);
    if (minute == p->minute) {
        count_u16(&p->minute_count);
        return p->minute_count;
    }
    uint32_t back = p->minute - minute;
    if (back > UINT16_MAX)
        return 0;
    if (back != p->late_back) {
        p->late_back = (uint16_t)back;
        p->late_count = 0;
    }
    count_u16(&p->late_count);
    return p->late_count;
}

/* Minutes may be found flooded out of their order, as long as they are adjacent. */
static void note_flood(struct profile *p, uint32_t minute, uint32_t bot_minutes) {
    bool known = pm_extra(p, PX_FLOOD);
    uint32_t *flood = pm_extra_make(p, PX_FLOOD);
    if (!flood)
        return;
    uint32_t run = MIN(flood[1], 254u);
    if (!known || minute > flood[0] + 1) {
        flood[0] = minute;
        flood[1] = 1;
    } else if (minute == flood[0] + 1) {
        flood[0] = minute;
        flood[1] = run + 1;
    } else if (minute + run == flood[0]) {
        flood[1] = run + 1;
    }
    if (bot_minutes && flood[1] >= MIN(bot_minutes, 255u))
        p->bot = true;
}

static bool bot_at(const struct profile *p, uint32_t minute) {
    const uint32_t *flood = p->bot ? pm_extra(p, PX_FLOOD) : NULL;
    return flood && minute < (uint64_t)flood[0] + BOT_MINUTES;
}

bool profile_is_bot(const struct profile *p, int64_t now_ms) {
    return bot_at(p, clamp_u32(now_ms / MINUTE_MS));
}

static enum learn_result check_rate(struct profile *p, uint32_t minute,
                                    const struct profile_params *params) {
    uint32_t limit = MIN(params->flood_per_minute, UINT16_MAX - 1u);
    uint32_t count = count_minute(p, minute, params);
    if (p->bot && !bot_at(p, p->minute)) {
        p->bot = false; /* a day without a flood: starts afresh */
        uint32_t *flood = pm_extra(p, PX_FLOOD);
        if (flood)
            flood[1] = 0;
    }
    bool flooded = limit && count > limit;
    if (flooded && count == limit + 1)
        note_flood(p, minute, params->bot_minutes);
    return p->bot ? LEARN_BOT : flooded ? LEARN_FLOOD : LEARN_OK;
}

/* ---- times, sessions, counts ----------------------------------------------- */

static bool observe_session(struct profile *p, const struct event *e) {
    uint32_t session = e->session.n ? (uint32_t)hash_str(e->session, 0) | 1 : 0;
    bool other = session && p->session && session != p->session;
    if (p->events && e->time_ms < p->last_ms) { /* late: of this session or of an older one */
        bool same = session ? session == p->session : e->time_ms >= p->last_ms - SESSION_PAUSE_MS;
        if (same)
            count_u16(&p->session_events);
        return false;
    }
    if (p->events && !other && e->time_ms - p->last_ms <= SESSION_PAUSE_MS) {
        if (session)
            p->session = session;
        count_u16(&p->session_events);
        return false;
    }
    p->session = session;
    p->session_events = 1;
    count_u16(&p->sessions);
    return true;
}

static void observe_time(struct profile *p, int64_t t, uint32_t time_s) {
    if (p->events == 0) {
        p->last_ms = t;
        p->first_s = time_s;
    } else if (t >= p->last_ms) {
        p->prev_s = seconds_of(p->last_ms);
        p->last_ms = t;
    } else {
        p->first_s = MIN(p->first_s, time_s);
        p->prev_s = MAX(p->prev_s, time_s);
    }
    if (p->events < UINT32_MAX)
        p->events++;
}

static void count_type(struct profile *p, uint8_t type) {
    uint32_t n = pm_n(p, PM_TYPES), i = 0, *w = pm_at(p, PM_TYPES);
    while (i < n && w[i] >> PM_TYPE_SHIFT != type)
        i++;
    if (i == n) {
        if (!pm_insert(p, PM_TYPES, n))
            return;
        w = pm_at(p, PM_TYPES);
        w[i] = (uint32_t)type << PM_TYPE_SHIFT;
    }
    if ((w[i] & TYPE_COUNT_MAX) < TYPE_COUNT_MAX)
        w[i]++;
}

/* ---- interest -------------------------------------------------------------- */

/* A mean of decayed weights takes in one more value of weight `w`. */
static void mean_add(float *mean, float *weight, double value, float w) {
    float v = (float)value;
    *weight += w;
    *mean = isnan(*mean) || *weight <= w ? v : *mean + (v - *mean) * (w / *weight);
}

static void observe_dwell(struct profile *p, double dwell_ms, float late) {
    uint32_t *dwell = dwell_ms >= 0 ? pm_extra_make(p, PX_DWELL) : NULL;
    if (!dwell)
        return;
    float mean = pm_f32(dwell[0]), weight = pm_f32(dwell[1]);
    mean_add(&mean, &weight, known_amount(dwell_ms) / 1000, late);
    dwell[0] = pm_word(mean);
    dwell[1] = pm_word(weight);
}

static void observe_category(struct profile *p, uint32_t key, float weight) {
    uint32_t n = pm_n(p, PM_AFFINITY), i = 0, low = 0, *w = pm_at(p, PM_AFFINITY);
    for (; i < n && w[2 * i] != key; i++)
        if (pm_f32(w[2 * i + 1]) < pm_f32(w[2 * low + 1]))
            low = i;
    if (i == n && n == PROFILE_AFFINITY_MAX) {
        i = low;
    } else if (i == n) {
        if (!pm_insert(p, PM_AFFINITY, n))
            return;
        w = pm_at(p, PM_AFFINITY);
    }
    w[2 * i] = key;
    w[2 * i + 1] = pm_word(fminf(pm_f32(w[2 * i + 1]) + weight, (float)AMOUNT_MAX));
}

/* ---- histories ------------------------------------------------------------- */

static uint32_t entry_of(const struct profile *p, enum pm_section s, uint32_t row) {
    const uint32_t *w = pm_at(p, s);
    uint32_t i = 0, n = pm_n(p, s), mask = pm_row_mask(s);
    while (i < n && (w[i * pm_width[s]] & mask) != row)
        i++;
    return i;
}

/* Entry for a row and time in a section sorted by time: the row's own one moved up, a new
 * one, or the oldest one's place; its words but the time are the caller's to set. NULL: the
 * row is there with a newer time, all others are newer, or out of memory. */
static uint32_t *place(struct profile *p, enum pm_section s, uint32_t row, uint32_t time_s,
                       uint32_t *ret_i) {
    uint32_t width = pm_width[s], n = pm_n(p, s), from = entry_of(p, s, row);
    uint32_t *w = pm_at(p, s), to = n;
    while (to > 0 && w[(to - 1) * width + 1] > time_s)
        to--;
    if (from < n) {
        if (w[from * width + 1] > time_s)
            return NULL;
        pm_move(p, s, from, --to);
    } else if (n < pm_max[s]) {
        if (!pm_insert(p, s, to))
            return NULL;
    } else {
        if (to == 0)
            return NULL;
        pm_move(p, s, 0, --to);
        memset(pm_at(p, s) + to * width, 0, 4 * width);
        if (s == PM_RECENT)
            pm_prices(p)[to] = price_pack(NAN);
    }
    w = pm_at(p, s) + to * width;
    w[1] = time_s;
    *ret_i = to;
    return w;
}

static void observe_recent(struct profile *p, uint32_t row, uint8_t type, uint32_t time_s,
                           double price, struct profile_change *change) {
    uint32_t n = pm_n(p, PM_RECENT), at = entry_of(p, PM_RECENT, row), i;
    change->repeat = at < n;
    change->repeat_last = at + 1 == n;
    uint32_t *w = place(p, PM_RECENT, row, time_s, &i);
    if (!w)
        return;
    w[0] = row | (uint32_t)type << PM_TYPE_SHIFT;
    if (!change->repeat || !isnan(price))
        pm_prices(p)[i] = price_pack((float)price);
}

/* Every item of interest goes to the trail's end, met before or not. */
static void observe_trail(struct profile *p, uint32_t row, uint32_t time_s, bool first) {
    uint32_t n = pm_n(p, PM_TRAIL);
    if (n == PROFILE_TRAIL_MAX)
        pm_move(p, PM_TRAIL, 0, --n);
    else if (!pm_insert(p, PM_TRAIL, n))
        return;
    uint32_t *w = pm_at(p, PM_TRAIL) + 2 * n;
    w[0] = row | (uint32_t)first << PM_TYPE_SHIFT;
    w[1] = time_s;
}

static void cart_remove(struct profile *p, uint32_t i, uint32_t time_s) {
    if (i < pm_n(p, PM_CART) && pm_at(p, PM_CART)[3 * i + 1] <= time_s)
        pm_erase(p, PM_CART, i);
}

static void cart_add(struct profile *p, uint32_t row, uint32_t time_s, double price) {
    uint32_t bought = entry_of(p, PM_BOUGHT, row), i;
    if (bought < pm_n(p, PM_BOUGHT) && pm_at(p, PM_BOUGHT)[2 * bought + 1] > time_s)
        return; /* late: bought since */
    uint32_t *w = place(p, PM_CART, row, time_s, &i);
    if (!w)
        return;
    w[0] = row;
    w[2] = pm_word((float)price);
}

static void observe_purchase(struct profile *p, const struct event *e, uint32_t row,
                             uint32_t time_s) {
    uint32_t *last = pm_extra_make(p, PX_PURCHASE_S), i;
    if (last)
        *last = MAX(*last, time_s);
    if (e->item.n == 0)
        for (uint32_t n = pm_n(p, PM_CART); n-- > 0;)
            cart_remove(p, n, time_s);
    if (row >= PROFILE_ROW_MAX)
        return;
    cart_remove(p, entry_of(p, PM_CART, row), time_s);
    uint32_t *w = place(p, PM_BOUGHT, row, time_s, &i);
    if (w)
        w[0] = row;
}

static void add_spend(struct profile *p, double amount) {
    uint32_t *w = isfinite(amount) ? pm_extra_make(p, PX_SPEND) : NULL;
    if (!w)
        return;
    double spend;
    memcpy(&spend, w, sizeof spend);
    spend = fmax(-AMOUNT_MAX, fmin(AMOUNT_MAX, spend + amount));
    memcpy(w, &spend, sizeof spend);
}

static void observe_type(struct profile *p, const struct event *e, uint32_t row, uint32_t time_s,
                         double price) {
    double amount = isfinite(e->value) ? e->value : price;
    switch (e->type) {
    case EV_CART_ADD:
        if (row < PROFILE_ROW_MAX)
            cart_add(p, row, time_s, isnan(price) ? known_amount(e->value) : price);
        break;
    case EV_CART_REMOVE:
        if (row < PROFILE_ROW_MAX)
            cart_remove(p, entry_of(p, PM_CART, row), time_s);
        break;
    case EV_PURCHASE:
        add_spend(p, amount);
        observe_purchase(p, e, row, time_s);
        break;
    case EV_RETURN:
        add_spend(p, -fabs(amount)); /* logs give returns either sign */
        break;
    case EV_SURVEY: {
        uint32_t *score = isfinite(e->value) ? pm_extra_make(p, PX_SCORE) : NULL;
        if (score)
            *score = pm_word((float)fmax(-AMOUNT_MAX, fmin(AMOUNT_MAX, e->value)));
        break;
    }
    default:
        break;
    }
}

void profile_set_context(struct profile *p, const uint32_t *values) {
    uint32_t any = 0;
    for (uint32_t k = 0; k < CONTEXT_SLOTS; k++)
        any |= values[k];
    uint32_t *w = any ? pm_extra_make(p, PX_CONTEXT) : NULL;
    if (w)
        memcpy(w, values, CONTEXT_SLOTS * sizeof *w);
}

static void observe_context(struct profile *p, const struct event *e) {
    uint32_t values[CONTEXT_SLOTS];
    context_of(e, values);
    profile_set_context(p, values);
}

enum learn_result profile_observe(struct profile *p, const struct event *e, uint64_t event_hash,
                                  uint32_t item_row, uint32_t category_key, double price,
                                  float interest, const struct profile_params *params,
                                  struct profile_change *ret) {
    uint32_t fingerprint = (uint32_t)event_hash, minute = clamp_u32(e->time_ms / MINUTE_MS);
    uint32_t time_s = seconds_of(e->time_ms);
    if (is_duplicate(p, fingerprint))
        return LEARN_DUPLICATE;
    enum learn_result r = check_rate(p, minute, params);
    if (r != LEARN_OK)
        return r;

    struct profile_change change = {0};
    float late = decay_factor(p->minute - MIN(minute, p->minute), params->half_life_ms);
    price = known_amount(price);
    remember_event(p, fingerprint);
    change.new_session = observe_session(p, e);
    observe_time(p, e->time_ms, time_s);
    if (e->type < EV_MAX)
        count_type(p, e->type);
    observe_dwell(p, e->dwell_ms, late);
    observe_type(p, e, item_row, time_s, price);
    observe_context(p, e);
    if (interest > 0) {
        if (!isnan(price))
            mean_add(&p->avg_price, &p->price_weight, price, late);
        if (category_key)
            observe_category(p, category_key, interest * late);
        if (item_row < PROFILE_ROW_MAX)
            observe_recent(p, item_row, e->type & (EV_MAX - 1), time_s, price, &change);
    }
    if ((interest > 0 || e->type == EV_RATING) && item_row < PROFILE_ROW_MAX)
        observe_trail(p, item_row, time_s, change.new_session && e->session.n > 0);
    if (ret)
        *ret = change;
    return LEARN_OK;
}

size_t profile_drop_items(struct profile *p,
                          bool (*stale)(void *ctx, uint32_t row, uint32_t time_s), void *ctx) {
    static const enum pm_section sections[] = {PM_RECENT, PM_CART, PM_BOUGHT, PM_TRAIL};
    size_t dropped = 0;
    for (size_t k = 0; k < ARRAY_LEN(sections); k++) {
        enum pm_section s = sections[k];
        uint32_t mask = pm_row_mask(s);
        for (uint32_t i = pm_n(p, s); i-- > 0;) {
            const uint32_t *w = pm_at(p, s) + i * pm_width[s];
            if (!stale(ctx, w[0] & mask, w[1]))
                continue;
            pm_erase(p, s, i);
            dropped++;
        }
    }
    return dropped;
}
