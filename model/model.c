#include "model/context.h"
#include "model/covisit.h"
#include "model/diversify.h"
#include "model/late.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/topn.h"
#include "model/trend.h"

#include <cblas.h>
#include <math.h>

enum {
    ASKED = MODEL_ASKED / 2,
    ASKED_FADE = 4 * ASKED, /* questions after which they are halved */
    REFRESH_MIN = 1024,     /* rows per call of model_maintain at least, */
    REFRESH_ROUND = 16,     /* and as many calls for a round at most */
    RESAMPLE_MIN = 1024,    /* events between two rebuilds of the sampler at least */
    COVISIT_TRENDS = 30,    /* half-lives of popularity in one of co-visitation */
    EXPIRE_WORK = 4096,     /* rows looked at per call of model_maintain */
};

/* A user starts nearly neutral: what the first event teaches outweighs it. */
#define USER_SCALE 0.01f

void model_config_default(struct model_config *c) {
    *c = (struct model_config){
        .dim = 64,
        .seed = 1,
        .loss = LOSS_SOFTMAX,
        .optimizer = OPT_ADAGRAD,
        .learning_rate = 0.2f,
        .l2 = 0.001f,
        .clip = 5,
        .negatives = 24,
        .negative_alpha = 0.5f,
        .rank = true,
        .session_store = 1 << 18,
        .replays = 1,
        .learn_phi = true,
        .rating_min = 1,
        .rating_max = 5,
        .rating_like = 4,
        .rating_dislike = 2,
        .covisit_weight = 1,
        .trend_weight = 0.1f,
        .trend_half_life_ms = INT64_C(86400000),
        .profile_half_life_ms = INT64_C(30) * 86400000,
        .max_items = 1000000,
        .max_users = 10000000,
        .item_admit = 1,
        .item_expire_ms = INT64_C(365) * 86400000,
        .user_expire_ms = INT64_C(365) * 86400000,
        .bought_window_ms = INT64_C(30) * 86400000,
        .top_n = 20,
        .flood_per_minute = 120,
        .bot_minutes = 5,
    };
#define X(sym, name, weight) c->type_weight[EV_##sym] = (float)(weight);
    EVENT_TYPES(X)
#undef X
}

static bool is_share(float v) {
    return v >= 0 && v <= 1;
}

static bool config_valid(const struct model_config *c) {
    return c->dim >= 8 && c->dim <= DIM_MAX && c->dim % 8 == 0 && c->top_n >= 1 &&
           c->top_n <= TOP_MAX && c->max_items >= 1 && c->max_items < PROFILE_ROW_MAX &&
           c->max_users >= 1 && c->item_admit >= 1 && c->item_admit <= UINT8_MAX &&
           c->negatives <= NEGATIVES_MAX && c->learning_rate > 0 && c->learning_rate <= 10 &&
           c->l2 >= 0 && c->l2 <= 10 && c->clip > 0 && c->clip <= 1e6f && c->negative_alpha >= 0 &&
           c->negative_alpha <= 1 && c->covisit_weight >= 0 && c->covisit_weight <= 1e6f &&
           c->trend_weight >= 0 && c->trend_weight <= 1e6f && c->rating_max > c->rating_min &&
           is_share(c->diversity) && is_share(c->novelty) && is_share(c->exploration);
}

int model_new(const struct model_config *c, struct model **ret) {
    if (!config_valid(c))
        return -EINVAL;
    autofree(model_free) struct model *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->c = *c;
    m->hash_seed = hash_bytes(&c->hash_seed, sizeof c->hash_seed, c->seed);
    int r = trend_new(c->max_items, c->trend_half_life_ms, &m->trend);
    if (r < 0)
        return r;
    int64_t half_life_ms = MIN(c->trend_half_life_ms, INT64_MAX / COVISIT_TRENDS) * COVISIT_TRENDS;
    struct covisit_config cc = {.max_items = c->max_items, .half_life_ms = half_life_ms};
    r = covisit_new(&cc, &m->covisit);
    if (r < 0)
        return r;
    r = items_init(&m->items, c, m->hash_seed, trend_scores(m->trend));
    if (r < 0)
        return r;
    r = categories_init(m);
    if (r < 0)
        return r;
    m->phi = aligned_alloc(64, (size_t)c->dim * c->dim * sizeof *m->phi);
    m->asked = c->item_admit > 1 ? calloc(2, ASKED) : NULL;
    if (!m->phi || (c->item_admit > 1 && !m->asked) || sampler_init(&m->sampler, c->max_items) < 0)
        return -ENOMEM;
    memset(m->phi, 0, (size_t)c->dim * c->dim * sizeof *m->phi);
    for (uint32_t i = 0; i < c->dim; i++)
        m->phi[(size_t)i * c->dim + i] = 1;
    r = sessions_new(c->max_items, c->session_store, &m->sessions);
    if (r == 0)
        r = pairs_new(c->max_items, &m->pairs);
    if (r == 0)
        r = pulse_new(c->max_items, &m->pulse);
    if (r == 0)
        r = late_new(&m->late);
    if (r == 0)
        r = ranker_new(c->seed, &m->ranker);
    if (r == 0)
        r = context_new(c->max_items, &m->context);
    if (r < 0)
        return r;
    openblas_set_num_threads(1);
    *ret = TAKE(m);
    return 0;
}

void model_free(struct model *m) {
    if (!m)
        return;
    items_done(&m->items);
    categories_done(m);
    sampler_done(&m->sampler);
    trend_free(m->trend);
    covisit_free(m->covisit);
    sessions_free(m->sessions);
    pairs_free(m->pairs);
    pulse_free(m->pulse);
    late_free(m->late);
    ranker_free(m->ranker);
    context_free(m->context);
    free(m->phi);
    free(m->asked);
    free(m);
}

const struct model_config *model_config_of(const struct model *m) {
    return &m->c;
}

void user_init(const struct model *m, struct str id, float *emb) {
    row_init(emb, m->c.dim, id, ~m->c.seed, USER_SCALE);
}

/* ---- items ----------------------------------------------------------------- */

static void item_drop(struct model *m, uint32_t row) {
    covisit_forget_row(m->covisit, row);
    trend_forget_row(m->trend, row);
    sessions_forget_row(m->sessions, row);
    pairs_forget_row(m->pairs, row);
    pulse_forget_row(m->pulse, row);
    context_forget_row(m->context, row);
    items_remove(&m->items, row);
    m->dropped = true;
}

uint32_t model_item_find(const struct model *m, struct str id) {
    return id_index_find(&m->items.index, id);
}

uint32_t model_item_intern(struct model *m, struct str id, int64_t now_ms) {
    uint32_t row = id_index_find(&m->items.index, id);
    if (row != ROW_NONE || id.n == 0)
        return row;
    if (m->items.live == m->items.cap) {
        uint32_t stale = items_stale(&m->items);
        if (stale == ROW_NONE)
            return ROW_NONE;
        item_drop(m, stale);
    }
    bool again = m->items.free_n > 0;
    row = items_add(&m->items, id, now_ms);
    if (row != ROW_NONE)
        newcomers_add(m, row);
    if (row != ROW_NONE && again)
        m->items.hot[row].born_s = (uint32_t)(MAX(trend_now(m->trend), (int64_t)0) / 1000);
    return row;
}

/* Counts by two hashes, the smaller of which is at least the true count (count-min,
 * Cormode and Muthukrishnan 2005); halved now and then, so that rare ids fade. */
static bool asked_enough(struct model *m, struct str id) {
    if (m->c.item_admit <= 1)
        return true;
    uint64_t h = hash_str(id, m->c.seed ^ 0xad317); /* the same in every process */
    uint8_t *a = &m->asked[h % ASKED], *b = &m->asked[ASKED + (h >> 32) % ASKED];
    *a = (uint8_t)MIN(*a + 1, UINT8_MAX);
    *b = (uint8_t)MIN(*b + 1, UINT8_MAX);
    bool enough = MIN(*a, *b) >= m->c.item_admit;
    if (++m->asked_n == ASKED_FADE) {
        for (size_t i = 0; i < 2 * ASKED; i++)
            m->asked[i] /= 2;
        m->asked_n = 0;
    }
    return enough;
}

uint32_t model_item_admit(struct model *m, struct str id, int64_t now_ms) {
    uint32_t row = id_index_find(&m->items.index, id);
    if (row != ROW_NONE || id.n == 0 || !asked_enough(m, id))
        return row;
    return model_item_intern(m, id, now_ms);
}

int model_item_upsert(struct model *m, const struct item_info *info, int64_t now_ms,
                      uint32_t *ret_row, double *ret_old_price) {
    uint32_t row = id_index_find(&m->items.index, info->id);
    double old_price = row == ROW_NONE ? NAN : m->items.cold[row].price;
    if (info->id.n == 0)
        return -EINVAL;
    if (info->deleted) {
        if (row != ROW_NONE)
            items_withdraw(&m->items, row);
    } else {
        bool fresh = row == ROW_NONE;
        if (fresh)
            row = model_item_intern(m, info->id, now_ms);
        if (row == ROW_NONE)
            return -ENOMEM;
        int r = items_describe(&m->items, row, info, now_ms);
        if (r < 0) {
            if (fresh)
                item_drop(m, row);
            return r;
        }
        if (info->n_category) {
            struct str leaf = info->category[info->n_category - 1];
            m->items.hot[row].category_key = categories_add(m, leaf);
        } else {
            m->items.hot[row].category_key = 0;
        }
    }
    if (ret_row)
        *ret_row = row;
    if (ret_old_price)
        *ret_old_price = old_price;
    return 0;
}

void model_item_view(const struct model *m, uint32_t row, struct item_view *ret) {
    *ret = (struct item_view){.price = NAN, .margin = NAN};
    if (row >= m->items.rows || !(m->items.hot[row].state & ITEM_LIVE))
        return;
    const struct item_hot *h = &m->items.hot[row];
    const struct item_cold *x = &m->items.cold[row];
    int64_t last_ms = (int64_t)__atomic_load_n(&h->seen_s, __ATOMIC_RELAXED) * 1000;
    *ret = (struct item_view){
        .id = x->id,
        .category = x->category,
        .brand = x->brand,
        .category_key = h->category_key,
        .price = x->price,
        .margin = x->margin,
        .available = h->state & ITEM_AVAILABLE,
        .in_catalogue = h->state & ITEM_CATALOGUE,
        .flags = h->flags,
        .popularity = trend_value(m->trend, row, last_ms),
        .last_ms = last_ms,
    };
}

uint32_t model_item_flags(const struct model *m, uint32_t row) {
    bool there = row < m->items.rows && m->items.hot[row].state & ITEM_LIVE;
    return there ? m->items.hot[row].flags : 0;
}

uint32_t model_items(const struct model *m) {
    return m->items.rows;
}

static void expire(struct model *m, int64_t now_ms) {
    struct items *t = &m->items;
    if (m->c.item_expire_ms <= 0)
        return;
    int64_t since_s = (now_ms - m->c.item_expire_ms) / 1000;
    for (uint32_t i = 0; i < MIN(t->rows, (uint32_t)EXPIRE_WORK); i++) {
        uint32_t row = m->expire_hand;
        m->expire_hand = row + 1 < t->rows ? row + 1 : 0;
        const struct item_hot *h = &t->hot[row];
        if ((h->state & ITEM_LIVE) && !(h->state & ITEM_CATALOGUE) && h->seen_s < since_s)
            item_drop(m, row);
    }
}

void model_maintain(struct model *m, int64_t now_ms) {
    expire(m, now_ms);
    uint32_t slice = MAX((uint32_t)REFRESH_MIN, m->items.rows / REFRESH_ROUND);
    slice = MIN(slice, m->items.rows);
    trend_refresh(m->trend, m->items.rows, now_ms, slice);
    items_refresh_some(&m->items, slice);
    newcomers_refresh(m);
    uint64_t since = m->events - m->sampler.built_at;
    if (m->sampler.n == 0 || since >= MAX((uint64_t)RESAMPLE_MIN, m->items.rows / 2))
        sampler_build(m); /* without memory the old one serves on */
}
