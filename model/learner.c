#include "model/context.h"
#include "model/covisit.h"
#include "model/late.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/topn.h"
#include "model/trend.h"

#include <math.h>

enum { LEARN_FROM = 120 }; /* candidates of a case that the ranker learns from */

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
