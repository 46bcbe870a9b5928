/* What is known of a candidate, as numbers: the columns that the ranker weighs. */
#include "model/shortlist_internal.h"
#include "model/wide.h"

#include <math.h>

/* ---- columns ------------------------------------------------------------------- */

/* Columns that are logarithms come first, so that they are taken in one go. */
// clang-format off
#define COLUMNS_LOG(X)                                                                             \
    X(LOG_ONE) X(LOG_ONE_NEXT) X(LOG_COUNT) X(NEXT_SHORT_RAW) X(NEXT_LONG_RAW) X(AHEAD_RAW)        \
    X(BEHIND_RAW) X(LIVELY_0) X(LIVELY_1) X(LIVELY_2) X(LIVELY_3) X(EVENTS) X(AGE) X(IDLE)         \
    X(ENDS) X(BEGINS) X(CONTEXT_0) X(CONTEXT_1) X(CONTEXT_2) X(CONTEXT_3) X(CONTEXT_4)             \
    X(CONTEXT_5) X(LIFT)
#define COLUMNS_ITEM(X)                                                                            \
    X(ALL_PEAK) X(NEAR_PEAK) X(ONE_PEAK) X(ONE_NEXT_PEAK) X(HAS_ONE) X(HAS_BOTH) X(CLOSEST_RAW)    \
    X(COSINE) X(AGAIN) X(IN) X(IN_0) X(IN_1) X(IN_2) X(IN_RANK) X(IN_PLACE) X(IN_TIMES)            \
    X(IN_SHARE) X(IN_FIRST) X(IN_REPEATS) X(IN_0_RUNS) X(IN_0_RUN) X(IN_0_AGAIN) X(IN_0_TWICE)     \
    X(BEFORE_LAST) X(FOLLOWED) X(EARLIER) X(TASTE) X(TASTE_SHARE) X(TASTE_LAST)                    \
    X(TASTE_LAST_SHARE) X(CONTENT) X(CONTENT_LAST) X(CATEGORY_SHARE) X(CATEGORY_LAST) X(PRICE)
#define COLUMNS_CASE(X)                                                                            \
    X(N_SESSION) X(N_TRAIL) X(REPEATS) X(RUNS) X(RUN) X(LAST_EVENTS) X(N_NEIGHBOURS) X(LAST_AGAIN) \
    X(DIFFERENT) X(LAST_NEXT) X(LAST_AGE) X(LAST_LIVELY)
// clang-format on

enum column {
#define X(sym) C_##sym,
    C_SUMS_END = SUMS - 1,
    COLUMNS_LOG(X) COLUMNS_ITEM(X) COLUMNS_CASE(X)
#undef X
        COLUMNS
};
/* The last of those with a logarithm is LIFT. */
#define C_LOGS (C_LIFT + 1)
_Static_assert(CONTEXT_SLOTS == 6 && PULSE_HORIZONS == 4, "there is a column for each");
_Static_assert((int)COLUMNS <= (int)SHORTLIST_COLUMNS_MAX, "a row must hold all columns");

uint32_t shortlist_columns(void) {
    return COLUMNS;
}

const char *shortlist_column_name(uint32_t column) {
    static const char *const names[COLUMNS] = {
#define X(sym, help) [SUM_##sym] = #sym,
        SHORTLIST_SUMS(X)
#undef X
#define X(sym) [C_##sym] = #sym,
            COLUMNS_LOG(X) COLUMNS_ITEM(X) COLUMNS_CASE(X)
#undef X
    };
    return column < COLUMNS ? names[column] : "";
}

/* Which part a column belongs to; PART_COUNT: to none. */
static uint32_t part_of(uint32_t c) {
    if (c < SUMS)
        return c < (uint32_t)SUM_NEXT_SHORT ? PART_SESSIONS : PART_PAIRS;
    if (c >= C_CONTEXT_0 && c <= C_CONTEXT_5)
        return PART_CONTEXT;
    if ((c >= C_NEXT_SHORT_RAW && c <= C_BEHIND_RAW) || c == C_COSINE)
        return PART_PAIRS;
    if (c >= C_LIVELY_0 && c <= C_IDLE)
        return PART_LIVELY;
    if (c >= C_AGAIN && c <= C_EARLIER)
        return PART_TRAIL;
    if (c >= C_TASTE && c <= C_TASTE_LAST_SHARE)
        return PART_TASTE;
    if (c >= C_CONTENT && c <= C_PRICE)
        return PART_CONTENT;
    return c < C_N_SESSION ? PART_SESSIONS : PART_COUNT;
}

const char *shortlist_column_part(uint32_t column) {
    static const char *const names[] = {
#define X(sym, name, help) [PART_##sym] = name,
        PARTS(X)
#undef X
            [PART_COUNT] = "situation",
    };
    return column < COLUMNS ? names[part_of(column)] : "";
}

/* Columns of the parts that are turned off say nothing. */
static void blank(const struct shortlist *s) {
    for (uint32_t c = 0; c < COLUMNS; c++) {
        uint32_t part = part_of(c);
        if (part == PART_COUNT || shortlist_has(s, (enum part)part))
            continue;
        for (uint32_t i = 0; i < s->n; i++)
            s->matrix[(size_t)i * SHORTLIST_COLUMNS_MAX + c] = 0;
    }
}

struct scene {                                  /* what all candidates of a case share */
    float total[SUMS], share[SUMS], peak[SUMS]; /* share: 1/total, 0 without any */
    uint32_t tick, n_neighbours;
    bool own; /* the running session's events are in the counts of all */
    float repeats, runs, run;
    uint32_t last, first; /* of the running session */
    float last_again, price;
    uint32_t context[CONTEXT_SLOTS];
};

static float again_of(const struct model *m, uint32_t item, float own, float events) {
    return ((float)sessions_facts(m->sessions, item).again - own + 0.3f) / (MAX(events, 0) + 2);
}

/* All columns that are logarithms, at once: the loop runs in vector registers. */
WIDE_CLONES static void logs(float *f) {
    for (uint32_t c = 0; c < C_LOGS; c++)
        f[c] = fast_log(f[c]);
}

static void item_columns(const struct shortlist *s, const struct scene *sc, const struct sums *x,
                         const struct met *met, float *f) {
    const struct model *m = s->m;
    for (uint32_t k = 0; k < SUMS; k++)
        f[k] = x->v[k] * sc->share[k] + 1e-3f;
    f[C_ALL_PEAK] = x->v[SUM_ALL] / (sc->peak[SUM_ALL] + 1e-6f);
    f[C_NEAR_PEAK] = x->v[SUM_NEAR] / (sc->peak[SUM_NEAR] + 1e-6f);
    f[C_ONE_PEAK] = x->v[SUM_ONE] / (sc->peak[SUM_ONE] + 1e-6f);
    f[C_ONE_NEXT_PEAK] = x->v[SUM_ONE_NEXT] / (sc->peak[SUM_ONE_NEXT] + 1e-6f);
    f[C_LOG_ONE] = (1 + x->v[SUM_ONE]);
    f[C_LOG_ONE_NEXT] = (1 + x->v[SUM_ONE_NEXT]);
    f[C_LOG_COUNT] = (1 + x->v[SUM_COUNT]);
    f[C_HAS_ONE] = x->v[SUM_ONE] > 0;
    f[C_HAS_BOTH] = x->v[SUM_BOTH] > 0;
    f[C_CLOSEST_RAW] = x->v[SUM_CLOSEST];
    f[C_NEXT_SHORT_RAW] = (x->v[SUM_NEXT_SHORT] + 1e-3f);
    f[C_NEXT_LONG_RAW] = (x->v[SUM_NEXT_LONG] + 1e-3f);
    f[C_AHEAD_RAW] = (x->v[SUM_AHEAD] + 1e-2f);
    f[C_BEHIND_RAW] = (x->v[SUM_BEHIND] + 1e-2f);
    struct pulse_view p;
    pulse_look(m->pulse, x->item, sc->tick, &p);
    struct session_facts facts = sessions_facts(m->sessions, x->item);
    float own = sc->own && met && met->now ? (float)met->times : 0;
    float events = MAX(p.events - own, 0), sessions = (float)facts.sessions - (own > 0);
    f[C_COSINE] = (x->v[SUM_AHEAD] + 0.4f * x->v[SUM_BEHIND]) / sqrtf(events + 3);
    for (uint32_t h = 0; h < PULSE_HORIZONS; h++)
        f[C_LIVELY_0 + h] = (0.1f + MAX(p.value[h] - own, 0));
    f[C_EVENTS] = (1 + events);
    f[C_AGE] = (1 + (float)p.age);
    f[C_IDLE] = met && met->now ? 1 : (1 + (float)p.idle);
    context_lift(m->context, x->item, sc->context, p.value[2], sc->tick, &f[C_CONTEXT_0]);
    f[C_AGAIN] = again_of(m, x->item, 0, events);
    f[C_ENDS] = ((MAX((float)facts.ends - (own > 0 && x->item == sc->last), 0) + 0.5f) /
                 (MAX(sessions, 0) + 2));
    f[C_BEGINS] = ((MAX((float)facts.begins - (own > 0 && sc->first == x->item), 0) + 0.5f) /
                   (MAX(sessions, 0) + 2));
    f[C_LIFT] = f[C_LOG_COUNT] / f[C_EVENTS];
    logs(f);
}

static void trail_columns(const struct shortlist *s, const struct scene *sc, uint32_t item,
                          const struct met *met, float *f) {
    bool in = met && met->now, newest = in && met == s->met;
    float n = (float)MAX(s->n_session, 1u);
    for (uint32_t c = C_IN; c <= C_EARLIER; c++)
        f[c] = 0;
    f[C_EARLIER] = met && !met->now;
    if (!in)
        return;
    uint32_t rank = (uint32_t)(met - s->met);
    f[C_IN] = 1;
    f[C_IN_0] = newest;
    f[C_IN_1] = rank == 1;
    f[C_IN_2] = rank == 2;
    f[C_IN_RANK] = 1 / (1 + (float)rank);
    f[C_IN_PLACE] = expf(-(float)met->newest / 8);
    f[C_IN_TIMES] = fast_log((float)met->times);
    f[C_IN_SHARE] = (float)met->times / n;
    f[C_IN_FIRST] = 1 / (1 + n - 1 - (float)MIN(met->oldest, s->n_session - 1));
    f[C_IN_REPEATS] = sc->repeats;
    if (newest) {
        f[C_IN_0_RUNS] = sc->runs;
        f[C_IN_0_RUN] = sc->run;
        f[C_IN_0_AGAIN] = sc->last_again;
        f[C_IN_0_TWICE] = met->times > 1;
    }
    for (uint32_t i = 0; i + 1 < s->n_session; i++) {
        if (s->trail[i].item == item && s->trail[i + 1].item == sc->last)
            f[C_FOLLOWED] = 1; /* it came after an earlier visit of the newest item */
        if (i == met->newest && rank > 0 && s->trail[i + 1].item == sc->last)
            f[C_BEFORE_LAST] = 1;
    }
}

/* ---- content -------------------------------------------------------------------- */

/* Features of the trail's items, rare ones and those of newer items more. */
static void gather_taste(struct shortlist *s, float sign) {
    const struct items *t = &s->m->items;
    float w = 1;
    for (uint32_t k = 0; k < s->n_met && k < WIDE; k++, w *= 0.8f) {
        uint32_t row = s->met[k].item;
        for (uint32_t i = 0; i < t->hot[row].n_features; i++) {
            uint32_t f = t->cold[row].features[i];
            if (sign < 0)
                s->taste[f] = 0;
            else
                s->taste[f] += w * feature_share(t->hot[row].n_features);
        }
    }
}

static float rarity(const struct items *t, uint32_t feature) {
    return fast_log(((float)t->rows + 1) / ((float)t->features.f[feature].items + 1));
}

static void content_columns(const struct shortlist *s, const struct scene *sc, uint32_t item,
                            const struct user *u, float *f) {
    const struct items *t = &s->m->items;
    const struct item_hot *h = &t->hot[item];
    float share = feature_share(h->n_features), all = 0, last = 0;
    f[C_CATEGORY_SHARE] = f[C_CATEGORY_LAST] = f[C_PRICE] = 0;
    if (s->n_met) {
        const struct item_hot *lh = &t->hot[sc->last];
        const uint32_t *lf = t->cold[sc->last].features;
        for (uint32_t i = 0; i < h->n_features; i++) {
            uint32_t feature = t->cold[item].features[i];
            float r = rarity(t, feature);
            all += s->taste[feature] * r * share;
            for (uint32_t j = 0; j < lh->n_features; j++)
                last += lf[j] == feature ? r * share : 0;
        }
        f[C_CATEGORY_LAST] = h->category_key && h->category_key == lh->category_key;
    }
    f[C_CONTENT] = all;
    f[C_CONTENT_LAST] = last;
    if (u && h->category_key)
        f[C_CATEGORY_SHARE] =
            (float)profile_category_share(&u->prof, h->category_key, u->prof.last_ms);
    float price = t->cold[item].price;
    if (price > 0 && sc->price > 0)
        f[C_PRICE] = MAX(-3, MIN(3, fast_log(price / sc->price)));
}

/* ---- taste ---------------------------------------------------------------------- */

/* Scores by the embeddings, as they are and against the other candidates'. */
static void taste_columns(struct learner *l, struct shortlist *s) {
    const struct items *t = &l->m->items;
    float score[2][SHORTLIST_MAX];
    sgd_map(l, NULL, s->trail, s->n_trail, l->mapped);
    for (uint32_t i = 0; i < s->n; i++)
        score[0][i] = l->k->dot(t->dim, l->mapped, item_eff(t, s->item[i])) +
                      load_relaxed(&t->bias[s->item[i]]);
    sgd_map(l, NULL, s->trail, MIN(s->n_trail, 1u), l->mapped);
    for (uint32_t i = 0; i < s->n; i++)
        score[1][i] = l->k->dot(t->dim, l->mapped, item_eff(t, s->item[i]));
    static const enum column raw[2] = {C_TASTE, C_TASTE_LAST},
                             shared[2] = {C_TASTE_SHARE, C_TASTE_LAST_SHARE};
    for (int k = 0; k < 2; k++) {
        float most = -INFINITY, sum = 0;
        for (uint32_t i = 0; i < s->n; i++)
            most = MAX(most, score[k][i]);
        for (uint32_t i = 0; i < s->n; i++)
            sum += expf(score[k][i] - most);
        float log_sum = logf(MAX(sum, 1e-30f)) + most;
        for (uint32_t i = 0; i < s->n; i++) {
            float *f = s->matrix + (size_t)i * SHORTLIST_COLUMNS_MAX;
            f[raw[k]] = score[k][i];
            f[shared[k]] = MAX(score[k][i] - log_sum, -12);
        }
    }
}

static enum list_reason loudest(const float *f, const struct sums *x) {
    float company = x->v[SUM_ALL] + x->v[SUM_AHEAD] + x->v[SUM_BEHIND] + f[C_IN];
    if (company > 0)
        return BECAUSE_SIMILAR;
    if (f[C_CONTENT] > 0.5f)
        return BECAUSE_CONTENT;
    return f[C_TASTE_SHARE] > -3 ? BECAUSE_TASTE : BECAUSE_TREND;
}

/* ---- what a case is like --------------------------------------------------------- */

WIDE_CLONES static void add_up(const struct sums *pool, uint32_t n, struct scene *sc) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < SUMS; k++) {
            float v = pool[i].v[k];
            sc->total[k] += v;
            sc->peak[k] = sc->peak[k] > v ? sc->peak[k] : v;
        }
}

static void set_scene(const struct shortlist *s, const struct user *u, struct scene *sc) {
    const struct model *m = s->m;
    *sc = (struct scene){.tick = __atomic_load_n(&m->tick, __ATOMIC_RELAXED),
                         .own = u && u->session_no,
                         .price = u ? u->prof.avg_price : NAN};
    add_up(s->pool, s->n_pool, sc);
    if (u)
        profile_context(&u->prof, sc->context);
    for (uint32_t k = 0; k < SUMS; k++)
        sc->share[k] = sc->total[k] > 0 ? 1 / sc->total[k] : 0;
    if (!s->n_met)
        return;
    sc->last = s->trail[0].item;
    sc->first = s->trail[MAX(s->n_session, 1u) - 1].item;
    uint32_t n = s->n_session, different = 0, runs = 0;
    for (uint32_t k = 0; k < s->n_met; k++)
        different += s->met[k].now;
    for (uint32_t i = 0; i + 1 < n; i++)
        runs += s->trail[i].item == s->trail[i + 1].item;
    if (n > 1) {
        sc->repeats = (float)(n - different) / (float)(n - 1);
        sc->runs = (float)runs / (float)(n - 1);
        sc->run = s->trail[0].item == s->trail[1].item;
    }
    struct pulse_view p;
    pulse_look(m->pulse, sc->last, sc->tick, &p);
    float own = 0; /* how often the running session went from the newest item to itself */
    for (uint32_t i = 0; i + 1 < n; i++)
        own += s->trail[i].item == sc->last && s->trail[i + 1].item == sc->last;
    float met = sc->own && s->met[0].now ? (float)s->met[0].times : 0;
    sc->last_again = again_of(m, sc->last, sc->own ? own : 0, p.events - met);
}

static void case_columns(const struct shortlist *s, const struct scene *sc, float *f) {
    struct pulse_view p = {0};
    float met = 0;
    if (s->n_met) {
        pulse_look(s->m->pulse, sc->last, sc->tick, &p);
        met = sc->own && s->met[0].now ? (float)s->met[0].times : 0;
    }
    f[C_N_SESSION] = fast_log(1 + (float)s->n_session);
    f[C_N_TRAIL] = fast_log(1 + (float)s->n_trail);
    f[C_REPEATS] = sc->repeats;
    f[C_RUNS] = sc->runs;
    f[C_RUN] = sc->run;
    f[C_LAST_EVENTS] = fast_log(1 + MAX(p.events - met, 0));
    f[C_N_NEIGHBOURS] = fast_log(1 + (float)sc->n_neighbours);
    f[C_LAST_AGAIN] = sc->last_again;
    f[C_DIFFERENT] = s->n_session ? (float)s->n_met / (float)s->n_session : 0;
    f[C_LAST_NEXT] = fast_log(1 + sc->total[SUM_ONE_NEXT]);
    f[C_LAST_AGE] = fast_log(1 + (float)p.age);
    f[C_LAST_LIVELY] = fast_log(0.1f + MAX(p.value[1] - met, 0));
}

void shortlist_describe(struct learner *l, struct shortlist *s, const struct user *u,
                        uint32_t n_neighbours) {
    const struct model *m = s->m;
    struct scene sc;
    set_scene(s, u, &sc);
    sc.n_neighbours = n_neighbours;
    float shared[COLUMNS] = {0};
    case_columns(s, &sc, shared);
    gather_taste(s, 1);
    for (uint32_t i = 0; i < s->n; i++) {
        float *f = s->matrix + (size_t)i * SHORTLIST_COLUMNS_MAX;
        if (i + AHEAD < s->n) {
            pulse_prefetch(m->pulse, s->item[i + AHEAD]);
            context_prefetch(m->context, s->item[i + AHEAD]);
            __builtin_prefetch(item_eff(&m->items, s->item[i + AHEAD]));
        }
        const struct met *met = NULL;
        for (uint32_t k = 0; k < s->n_met && !met; k++)
            met = s->met[k].item == s->item[i] ? &s->met[k] : NULL;
        item_columns(s, &sc, &s->chosen[i], met, f);
        trail_columns(s, &sc, s->item[i], met, f);
        content_columns(s, &sc, s->item[i], u, f);
        memcpy(f + C_N_SESSION, shared + C_N_SESSION, ((size_t)COLUMNS - C_N_SESSION) * sizeof *f);
    }
    gather_taste(s, -1);
    taste_columns(l, s);
    if (m->c.parts_off)
        blank(s);
    for (uint32_t i = 0; i < s->n; i++)
        s->because[i] =
            (uint8_t)loudest(s->matrix + (size_t)i * SHORTLIST_COLUMNS_MAX, &s->chosen[i]);
}
