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
    LEARN_FROM = 120,       /* candidates of a case that the ranker learns from */
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

/* ---- learning -------------------------------------------------------------- */

int learner_new(struct model *m, uint32_t index, struct learner **ret) {
    autofree(learner_free) struct learner *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->m = m;
    l->k = m->items.k;
    l->map_due = MAP_EVERY;
    l->proj_due = PROJ_EVERY;
    rng_seed(&l->rng, hash_bytes(&index, sizeof index, m->c.seed));
    size_t bytes = (m->c.dim * sizeof(float) + 63) / 64 * 64;
    l->mapped = aligned_alloc(64, bytes);
    l->pull = aligned_alloc(64, bytes);
    l->grad = aligned_alloc(64, bytes);
    l->feature_slot = rows_map(m->items.features.cap, sizeof *l->feature_slot);
    if (!l->mapped || !l->pull || !l->grad || !l->feature_slot)
        return -ENOMEM;
    int r = shortlist_new(m, &l->shortlist);
    if (r == 0)
        r = ranking_new(m->ranker, &l->ranking);
    if (r < 0)
        return r;
    *ret = TAKE(l);
    return 0;
}

void learner_free(struct learner *l) {
    if (!l)
        return;
    rank_scratch_free(l->rank);
    shortlist_free(l->shortlist);
    ranking_free(l->ranking);
    rows_unmap(l->feature_slot, l->m->items.features.cap, sizeof *l->feature_slot);
    free(l->mapped);
    free(l->pull);
    free(l->grad);
    free(l->dense);
    free(l);
}

void learner_freeze(struct learner *l, bool frozen) {
    l->frozen = frozen;
}

void learner_hear(struct learner *l) {
    l->hears = true;
}

bool learner_frozen(const struct learner *l) {
    return l->frozen;
}

void learner_stats(const struct learner *l, struct learn_stats *ret) {
    *ret = l->stats;
}

/* What an event says of the user's liking: its type's weight, in a rating's case by its
 * value. */
static float interest_of(const struct model_config *c, const struct event *e) {
    float weight = e->type < EV_MAX ? c->type_weight[e->type] : 0;
    if (e->type != EV_RATING || isnan(e->value) || weight <= 0)
        return weight;
    return e->value >= c->rating_like ? weight : e->value <= c->rating_dislike ? -weight : 0;
}

/* A rating learned by its value, not as a like or dislike. */
static bool is_value(const struct model_config *c, const struct event *e) {
    return e->type == EV_RATING && c->loss == LOSS_SQUARED && !isnan(e->value);
}

static void learn_taste(struct learner *l, struct user *u, const struct event *e, uint32_t row,
                        float interest) {
    const struct model_config *c = &l->m->c;
    if (is_value(c, e)) {
        double target = 2 * (e->value - c->rating_min) / (c->rating_max - c->rating_min) - 1;
        sgd_value(l, u, row, fabsf(c->type_weight[EV_RATING]), (float)fmin(fmax(target, -1), 1));
    } else if (interest != 0) {
        sgd_event(l, u, row, interest);
    }
}

static void learn_company(struct learner *l, const struct user *u, const struct event *e,
                          uint32_t row, float interest) {
    const struct model *m = l->m;
    struct recent_item recent[COVISIT_RECENT + 1];
    size_t n = profile_recent(&u->prof, recent, ARRAY_LEN(recent)), kept = 0;
    for (size_t i = 0; i < n; i++)
        if (item_ref_valid(m, recent[i].item, recent[i].time_s))
            recent[kept++] = recent[i];
    covisit_observe(m->covisit, row, recent, kept, interest, e->time_ms);
    items_touch(&l->m->items, row);
    for (size_t i = 0; i < kept; i++)
        items_touch(&l->m->items, recent[i].item);
}

static bool item_ref_stale(void *model, uint32_t row, uint32_t time_s) {
    return !item_ref_valid(model, row, time_s);
}

/* The trail as it is before the event at hand. */
static void set_trail(struct learner *l, const struct user *u) {
    size_t n = profile_trail(&u->prof, l->trail, PROFILE_TRAIL_MAX);
    l->n_trail = 0;
    for (size_t i = 0; i < n; i++)
        if (item_ref_valid(l->m, l->trail[i].item, l->trail[i].time_s))
            l->trail[l->n_trail++] = l->trail[i];
}

size_t model_left_out(const struct model *m, const struct user *u, bool seen, uint32_t *ret) {
    if (seen)
        return profile_seen(&u->prof, ret, PROFILE_SEEN_MAX);
    if (m->c.bought_window_ms > 0)
        return profile_bought(&u->prof, u->prof.last_ms - m->c.bought_window_ms, ret,
                              PROFILE_SEEN_MAX);
    return 0;
}

/* Where the item stands among what would have been listed; ROW_NONE when it does not. */
static uint32_t foresee(struct learner *l, const struct user *u, uint32_t row) {
    uint32_t out[PROFILE_SEEN_MAX];
    size_t n_out = model_left_out(l->m, u, l->m->c.exclude_seen, out);
    shortlist_fill(l, u, out, n_out, LEARN_FROM);
    const uint32_t *item = shortlist_items(l->shortlist);
    uint32_t n = shortlist_n(l->shortlist), at = 0;
    while (at < n && item[at] != row)
        at++;
    if (at == n)
        return ROW_NONE;
    ranker_score(l->m->ranker, l->ranking, l->shortlist);
    return at;
}

/* Makes a stored session's items before `at` the trail; ROW_NONE when there is nothing to learn
 * from, else the item at `at`. */
static uint32_t recall(struct learner *l, uint32_t number, uint32_t at) {
    struct session s;
    uint32_t rows = l->m->items.rows;
    l->n_trail = 0;
    if (at == 0 || !sessions_get(l->m->sessions, number, &s) || at >= s.n)
        return ROW_NONE;
    for (uint32_t i = at; i-- > 0;) {
        uint32_t row = session_item(&s, i);
        if (row < rows && (l->m->items.hot[row].state & ITEM_LIVE))
            l->trail[l->n_trail++] = (struct trail_item){.item = row};
    }
    uint32_t item = session_item(&s, at);
    bool there = item < rows && (l->m->items.hot[item].state & ITEM_LIVE);
    return l->n_trail && there ? item : ROW_NONE;
}

static void step_stored(struct learner *l, uint32_t number, uint32_t at, float weight) {
    uint32_t item = recall(l, number, at);
    l->side = SGD_ITEMS;
    if (item != ROW_NONE)
        sgd_event(l, NULL, item, weight);
    l->side = SGD_BOTH;
}

/* A step on any stored session but the newest. */
static void learn_any(struct learner *l) {
    const struct sessions *store = l->m->sessions;
    uint32_t count = sessions_count(store), kept = MIN(count, sessions_capacity(store));
    struct session s;
    if (kept <= LATE)
        return;
    uint32_t number = count - LATE - rng_below(&l->rng, kept - LATE);
    if (sessions_get(store, number, &s) && s.n > 1)
        step_stored(l, number, 1 + rng_below(&l->rng, s.n - 1), 1);
}

/* The ranker learns how far to trust the embeddings from cases they have not been taught: the
 * steps of a running session must not be in the vectors that judge its next one. So an event's
 * items are stepped late, from the stored session it is in; and some of what was stepped before
 * is again. */
static void learn_late(struct learner *l, struct late_event e) {
    struct late_event due = late_put(l->m->late, e);
    if (due.session)
        step_stored(l, due.session, due.at, due.weight);
    for (uint32_t i = 0; i < l->m->c.replays; i++)
        learn_any(l);
}

/* What is counted and kept of an event, whether the user liked the item or not. */
static struct late_event keep_company(struct learner *l, struct user *u, uint32_t row,
                                      bool new_session) {
    struct model *m = l->m;
    uint32_t tick = __atomic_add_fetch(&m->tick, 1, __ATOMIC_RELAXED);
    pairs_observe(m->pairs, row, l->trail, l->n_trail, tick);
    pulse_observe(m->pulse, row, tick);
    uint32_t values[CONTEXT_SLOTS];
    profile_context(&u->prof, values);
    context_observe(m->context, row, values, tick);
    items_touch(&m->items, row);
    for (size_t i = 0; i < MIN(l->n_trail, (size_t)PAIRS_RECENT); i++)
        items_touch(&m->items, l->trail[i].item);
    __atomic_store_n(&m->counters_dirty, true, __ATOMIC_RELAXED);
    if (new_session)
        u->session_no = u->session_before = 0;
    uint32_t number = sessions_add(m->sessions, u->session_no, row);
    if (number != u->session_no) {
        u->session_before = u->session_no;
        u->session_no = number;
    }
    struct session s;
    return sessions_get(m->sessions, number, &s) ? (struct late_event){number, s.n - 1, 1}
                                                 : (struct late_event){0};
}

enum learn_result model_learn(struct learner *l, struct shard *s, struct user *u,
                              const struct event *e, uint32_t item_row) {
    (void)s;
    struct model *m = l->m;
    struct items *t = &m->items;
    bool item = item_row < t->rows && (t->hot[item_row].state & ITEM_LIVE);
    struct profile_params params = {
        .half_life_ms = m->c.profile_half_life_ms,
        .flood_per_minute = m->c.flood_per_minute,
        .bot_minutes = m->c.bot_minutes,
    };
    float interest = interest_of(&m->c, e);
    bool engaged = item && (interest > 0 || e->type == EV_RATING);
    uint32_t place = ROW_NONE;
    if (m->dropped) /* first, so that it does not matter when he was made durable */
        profile_drop_items(&u->prof, item_ref_stale, m);
    set_trail(l, u);
    if (m->c.rank && engaged && interest > 0 && !l->frozen && !l->hears &&
        ranker_wants(m->ranker, l->ranking))
        place = foresee(l, u, item_row);
    struct profile_change change;
    enum learn_result result =
        profile_observe(&u->prof, e, hash_str(e->id, 0), item ? item_row : ROW_NONE,
                        item ? t->hot[item_row].category_key : 0,
                        item ? t->cold[item_row].price : NAN, interest, &params, &change);
    if (result == LEARN_OK && item && l->frozen && m->c.rank && interest > 0) {
        l->side = SGD_USER; /* the user's own row is his history */
        learn_taste(l, u, e, item_row, interest);
        l->side = SGD_BOTH;
    }
    if (result != LEARN_OK || !item || l->frozen)
        return result;
    struct item_hot *h = &t->hot[item_row];
    int64_t time_s = MIN(e->time_ms / 1000, (int64_t)UINT32_MAX);
    if (time_s > __atomic_load_n(&h->seen_s, __ATOMIC_RELAXED))
        __atomic_store_n(&h->seen_s, (uint32_t)time_s, __ATOMIC_RELAXED);
    __atomic_fetch_add(&m->events, 1, __ATOMIC_RELAXED);
    if (place != ROW_NONE)
        ranker_learn(m->ranker, l->ranking, l->shortlist, place, &l->rng);
    bool later = m->c.rank && interest > 0 && !is_value(&m->c, e);
    l->side = later ? SGD_USER : SGD_BOTH;
    learn_taste(l, u, e, item_row, interest);
    l->side = SGD_BOTH;
    if (engaged) {
        struct late_event late =
            keep_company(l, u, item_row, change.new_session && e->session.n > 0);
        late.weight = interest;
        if (later)
            learn_late(l, late);
    }
    if (interest > 0) {
        if (!change.repeat_last)
            learn_company(l, u, e, item_row, interest);
        trend_observe(m->trend, item_row, 1, e->time_ms);
        items_rebase(t, item_row);
    }
    __atomic_store_n(&h->dirty, true, __ATOMIC_RELAXED);
    return result;
}

void model_learn_again(struct learner *l, struct user *u, const struct event *e,
                       uint32_t item_row) {
    const struct items *t = &l->m->items;
    l->n_trail = 0; /* what came before the event is not known any more */
    if (l->m->c.rank)
        learn_any(l);
    else if (item_row < t->rows && (t->hot[item_row].state & ITEM_LIVE))
        learn_taste(l, u, e, item_row, interest_of(&l->m->c, e));
}
