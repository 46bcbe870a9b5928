#include "model/shortlist.h"

#include "model/context.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/sessions.h"

#include <math.h>

enum {
    ANCHORS = 20,     /* of the user's newest different items: what neighbours are found by */
    POSTINGS = 400,   /* sessions looked at per anchor */
    NEIGHBOURS = 250, /* sessions that vote */
    QUERY = PROFILE_TRAIL_MAX,
    SCANNED = 4096, /* rows of a catalogue that the embeddings score whole */
    TASTED = 64,    /* of which so many are candidates */
    PREVIOUS = 4,   /* items before the newest whose followers count */
    WIDE = 20,      /* items whose company counts */
    LIVELY = 24,    /* candidates of each horizon */
    AHEAD = 6,      /* rows fetched before they are needed */
    POOL = 1 << 14, /* items with a sum at most; a power of two */
};

#define ANCHOR_DECAY 0.35f

struct sums {
    float v[SUMS];
    float pre; /* what the shortlist is cut by */
    uint32_t item;
};

/* An item of the user's trail, once. */
struct met {
    uint32_t item;
    uint32_t newest, oldest; /* places from the end: 0 is the newest event */
    uint32_t times;
    bool now;              /* in the running session */
    float own[PAIR_KINDS]; /* what the running session added to its pairs' totals */
};

struct neighbour {
    float likeness;
    uint32_t slot;
};

struct shortlist {
    const struct model *m;
    /* the query */
    uint32_t n_trail, n_session; /* events; of the running session */
    struct trail_item trail[QUERY];
    uint32_t n_met;
    struct met met[QUERY]; /* newest first, those of the running session before others */
    /* sums per item */
    struct sums *pool;
    uint32_t n_pool;
    struct sums chosen[SHORTLIST_MAX];
    uint32_t *place; /* per item row: place in the pool + 1 */
    /* sessions */
    float *likeness;  /* per slot of the store */
    uint16_t *shared; /* first and second anchor shared */
    uint32_t *number; /* which session the likeness is of */
    struct neighbour *near;
    /* out: rows left out are marked */
    uint8_t *barred;
    /* features of the trail, for likeness in content */
    float *taste; /* per feature row */
    /* results */
    uint32_t n;
    uint32_t item[SHORTLIST_MAX];
    uint8_t because[SHORTLIST_MAX];
    float *matrix;
    float *scan; /* float[SCANNED] */
};

/* Chosen when the program is loaded, before the thread sanitizer is up. */
#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)
#define WIDE_CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define WIDE_CLONES
#endif

/* log(x) to 1e-4 for positive normal x: a polynomial on the mantissa. The same bits on every
 * machine, which a library's need not be. */
static inline float fast_log(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    float e = (float)((int)(bits >> 23) - 127);
    bits = (bits & 0x7fffff) | 0x3f800000;
    float m;
    memcpy(&m, &bits, sizeof m);
    float p = -2.153620718f + m * (3.047884161f + m * (-1.051875031f + m * 0.1582487046f));
    return (e + p) * 0.69314718f;
}

int shortlist_new(const struct model *m, struct shortlist **ret) {
    autofree(shortlist_free) struct shortlist *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->m = m;
    uint32_t slots = sessions_capacity(m->sessions);
    s->pool = malloc(POOL * sizeof *s->pool);
    s->place = rows_map(m->c.max_items, sizeof *s->place);
    s->likeness = rows_map(slots, sizeof *s->likeness);
    s->shared = rows_map(slots, sizeof *s->shared);
    s->number = rows_map(slots, sizeof *s->number);
    s->near = malloc(MAX((size_t)ANCHORS * POSTINGS, (size_t)POOL) * sizeof *s->near);
    s->barred = rows_map(m->c.max_items, sizeof *s->barred);
    s->taste = rows_map(m->items.features.cap, sizeof *s->taste);
    s->matrix = aligned_alloc(64, sizeof(float[SHORTLIST_MAX][SHORTLIST_COLUMNS_MAX]));
    s->scan = malloc(SCANNED * sizeof *s->scan);
    if (!s->scan || !s->pool || !s->place || !s->likeness || !s->shared || !s->number || !s->near ||
        !s->barred || !s->taste || !s->matrix)
        return -ENOMEM;
    memset(s->matrix, 0, sizeof(float[SHORTLIST_MAX][SHORTLIST_COLUMNS_MAX]));
    *ret = TAKE(s);
    return 0;
}

void shortlist_free(struct shortlist *s) {
    if (!s)
        return;
    uint32_t slots = sessions_capacity(s->m->sessions);
    free(s->pool);
    rows_unmap(s->place, s->m->c.max_items, sizeof *s->place);
    rows_unmap(s->likeness, slots, sizeof *s->likeness);
    rows_unmap(s->shared, slots, sizeof *s->shared);
    rows_unmap(s->number, slots, sizeof *s->number);
    free(s->near);
    rows_unmap(s->barred, s->m->c.max_items, sizeof *s->barred);
    rows_unmap(s->taste, s->m->items.features.cap, sizeof *s->taste);
    free(s->matrix);
    free(s->scan);
    free(s);
}

/* ---- the query ----------------------------------------------------------------- */

static struct met *met_of(struct shortlist *s, uint32_t item) {
    for (uint32_t k = 0; k < s->n_met; k++)
        if (s->met[k].item == item)
            return &s->met[k];
    return NULL;
}

static void digest(struct shortlist *s, const struct user *u) {
    const struct model *m = s->m;
    s->n_trail = s->n_session = s->n_met = 0;
    struct trail_item trail[QUERY];
    size_t n = u ? profile_trail(&u->prof, trail, QUERY) : 0;
    bool now = true;
    for (size_t i = 0; i < n; i++) {
        bool first = trail[i].first;
        if (item_ref_valid(m, trail[i].item, trail[i].time_s)) {
            uint32_t at = s->n_trail, k = 0;
            s->trail[s->n_trail++] = trail[i];
            s->n_session += now;
            while (k < s->n_met && s->met[k].item != trail[i].item)
                k++;
            if (k == s->n_met)
                s->met[s->n_met++] = (struct met){.item = trail[i].item, .newest = at, .now = now};
            if (s->met[k].now == now)
                s->met[k].times++;
            s->met[k].oldest = at;
        }
        now = now && !first;
    }
    if (!u || !u->session_no)
        return;
    for (uint32_t i = 0; i < s->n_session; i++)
        for (uint32_t j = i + 1; j < s->n_session && j - i <= PAIRS_RECENT; j++) {
            struct met *later = met_of(s, s->trail[i].item), *sooner = met_of(s, s->trail[j].item);
            if (later == sooner || !later || !sooner)
                continue;
            float far = pairs_by_distance(m->pairs, j - i);
            sooner->own[PAIR_AHEAD] += far;
            later->own[PAIR_BEHIND] += far;
            if (j == i + 1) {
                sooner->own[PAIR_NEXT_SHORT] += 1;
                sooner->own[PAIR_NEXT_LONG] += 1;
            }
        }
}

/* ---- sums ---------------------------------------------------------------------- */

static struct sums *sums_of(struct shortlist *s, uint32_t item) {
    uint32_t at = s->place[item];
    if (at)
        return &s->pool[at - 1];
    if (s->n_pool == POOL || s->barred[item])
        return NULL;
    struct sums *x = &s->pool[s->n_pool++];
    memset(x, 0, sizeof *x);
    x->item = item;
    s->place[item] = s->n_pool;
    return x;
}

/* The n likeliest first (Hoare's quickselect). */
static void select_near(struct neighbour *a, int64_t n, int64_t k) {
    int64_t lo = 0, hi = n - 1;
    while (lo < hi) {
        float pivot = a[lo + (hi - lo) / 2].likeness;
        int64_t i = lo, j = hi;
        while (i <= j) {
            while (a[i].likeness > pivot)
                i++;
            while (a[j].likeness < pivot)
                j--;
            if (i <= j) {
                struct neighbour t = a[i];
                a[i++] = a[j];
                a[j--] = t;
            }
        }
        if (k <= j)
            hi = j;
        else if (k >= i)
            lo = i;
        else
            return;
    }
}

/* How alike sessions are: the weights of the items shared, which fall with how long ago the
 * user met them and with how many sessions have them. Returns how many have any. */
static uint32_t find_neighbours(struct shortlist *s, const struct user *u) {
    const struct sessions *store = s->m->sessions;
    uint32_t total = sessions_count(store), found[POSTINGS], n = 0;
    uint32_t anchors = MIN(s->n_met, (uint32_t)ANCHORS);
    for (uint32_t k = 0; k < anchors; k++) {
        if (k > 0 && !s->met[k].now && s->met[0].now)
            break; /* the running session speaks for itself */
        uint32_t item = s->met[k].item;
        float own = u && u->session_no && s->met[k].now;
        float with = (float)sessions_facts(store, item).sessions - own;
        float rarity = fast_log(((float)total + 10) / (MAX(with, 0) + 1));
        float w = expf(-ANCHOR_DECAY * (float)k) * MAX(rarity, 0.1f);
        size_t count = sessions_with(store, item, found, POSTINGS);
        for (size_t i = 0; i < count; i++) {
            uint32_t slot = sessions_slot(store, found[i]);
            if (u && (found[i] == u->session_no || found[i] == u->session_before))
                continue;
            if (s->likeness[slot] == 0) {
                s->near[n++].slot = slot;
                s->number[slot] = found[i];
                s->shared[slot] = (uint16_t)k;
            } else if (s->number[slot] != found[i]) {
                continue; /* one that is gone, or took its place just now */
            } else if (s->shared[slot] < 256) {
                s->shared[slot] = (uint16_t)(s->shared[slot] | (k + 1) << 8);
            }
            s->likeness[slot] += w;
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = s->near[i].slot, age = total - s->number[slot];
        float fresh = 1 - (float)age / ((float)sessions_capacity(store));
        s->near[i].likeness = s->likeness[slot] * (1 + 0.2f * fresh);
        s->likeness[slot] = 0;
    }
    return n;
}

/* One neighbour's items, by where they stand from the item shared. */
static void vote(struct shortlist *s, uint32_t slot, float likeness, float fresh) {
    struct session ses;
    uint32_t number = s->number[slot], items[SESSION_ITEMS];
    if (!sessions_get(s->m->sessions, number, &ses))
        return;
    for (uint32_t p = 0; p < ses.n; p++)
        items[p] = session_item(&ses, p);
    uint32_t one = s->shared[slot] & 255, two = s->shared[slot] >> 8;
    uint32_t anchor = s->met[one].item, n = ses.n;
    int first = -1, last = -1;
    for (uint32_t p = 0; p < n; p++)
        if (items[p] == anchor) {
            last = (int)p;
            first = first < 0 ? (int)p : first;
        }
    if (first < 0)
        return;
    float by_length = 1 / (3 + (float)n);
    int since = -1; /* where the anchor was met last, going through */
    for (int p = 0; p < (int)n; p++) {
        uint32_t item = items[p];
        int d = item == anchor ? 0 : p > last ? p - last : since >= 0 ? p - since : p - first;
        bool next = d == 1 || (item == anchor && p > 0 && items[p - 1] == anchor);
        if (item == anchor)
            since = p;
        if (item >= s->m->items.rows)
            continue;
        struct sums *x = sums_of(s, item);
        if (!x)
            continue;
        float near = d ? 1 / (float)abs(d) : 1;
        x->v[SUM_ALL] += likeness;
        x->v[SUM_COUNT] += 1;
        x->v[SUM_NEAR] += likeness * near * by_length;
        if (d > 0)
            x->v[SUM_AFTER] += likeness * near;
        x->v[SUM_CLOSEST] = MAX(x->v[SUM_CLOSEST], likeness);
        x->v[SUM_LATELY] += likeness * near * fresh;
        if (p == (int)n - 1)
            x->v[SUM_LAST] += likeness;
        if (one == 0) {
            x->v[SUM_ONE] += near;
            x->v[SUM_ONE_LATELY] += near * fresh;
            if (next)
                x->v[SUM_ONE_NEXT] += 1;
            if (d < 0)
                x->v[SUM_ONE_BACK] += near;
            if (two)
                x->v[SUM_BOTH] += near;
        }
        if (one == 1 || two == 2)
            x->v[SUM_TWO] += near;
        if (one == 2 || two == 3)
            x->v[SUM_THREE] += near;
    }
}

static uint32_t ask_sessions(struct shortlist *s, const struct user *u) {
    uint32_t n = find_neighbours(s, u), k = n;
    if (n > NEIGHBOURS) {
        select_near(s->near, n, NEIGHBOURS);
        k = NEIGHBOURS;
    }
    uint32_t total = sessions_count(s->m->sessions);
    float half = 0.15f * (float)MIN(total, sessions_capacity(s->m->sessions)) + 1000;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t slot = s->near[i].slot;
        if (i + AHEAD < k)
            sessions_prefetch(s->m->sessions, s->near[i + AHEAD].slot);
        float fresh = expf(-(float)(total - s->number[slot]) / half);
        vote(s, slot, s->near[i].likeness, fresh);
    }
    return n;
}

/* What one pair adds to a sum: its share of all that went with the item, which few events
 * prove little of. */
static void ask_pairs(struct shortlist *s) {
    struct pairs_view v;
    uint32_t seen = 0;
    float narrow = 1, wide = 1, previous = 1;
    for (uint32_t k = 0; k < s->n_met && seen < WIDE; k++, seen++) {
        pairs_look(s->m->pairs, s->met[k].item, &v);
        for (int j = 0; j < PAIR_KINDS; j++)
            v.total[j] = MAX(v.total[j] - s->met[k].own[j], 0);
        float n_short = 1 / (v.total[PAIR_NEXT_SHORT] + 0.3f);
        float n_long = 1 / (v.total[PAIR_NEXT_LONG] + 1);
        float both = 1 / (sqrtf(v.total[PAIR_AHEAD] + v.total[PAIR_BEHIND]) + 1);
        for (uint32_t i = 0; i < v.n; i++) {
            if (v.slot[i].item >= s->m->items.rows)
                continue;
            struct sums *x = sums_of(s, v.slot[i].item);
            if (!x)
                continue;
            const float *w = v.slot[i].weight;
            if (k == 0) {
                x->v[SUM_NEXT_SHORT] += w[PAIR_NEXT_SHORT] * n_short;
                x->v[SUM_NEXT_LONG] += w[PAIR_NEXT_LONG] * n_long;
            } else if (k <= PREVIOUS) {
                x->v[SUM_PREV_SHORT] += previous * w[PAIR_NEXT_SHORT] * n_short;
                x->v[SUM_PREV_LONG] += previous * w[PAIR_NEXT_LONG] * n_long;
            }
            x->v[SUM_AHEAD] += narrow * w[PAIR_AHEAD] * both;
            x->v[SUM_BEHIND] += narrow * w[PAIR_BEHIND] * both;
            x->v[SUM_AHEAD_WIDE] += wide * w[PAIR_AHEAD] * both;
            x->v[SUM_BEHIND_WIDE] += wide * w[PAIR_BEHIND] * both;
        }
        narrow *= 0.6f;
        wide *= 0.9f;
        if (k > 0)
            previous *= 0.7f;
    }
}

/* ---- nominees of the embeddings ------------------------------------------------- */

/* Where company gives too few, a catalogue that fits the second-level cache is scored whole, and
 * the best get a place. A larger one is not: a pass over it would cost more than all else. */
static void ask_taste(struct learner *l, struct shortlist *s) {
    const struct items *t = &s->m->items;
    if (t->rows > SCANNED || !s->n_met)
        return;
    sgd_map(l, NULL, s->trail, s->n_trail, l->mapped);
    l->k->matvec(t->rows, t->dim, t->eff, l->mapped, s->scan);
    struct neighbour best[TASTED]; /* a heap, the worst on top */
    uint32_t n = 0, hits[TASTED];
    float least = -INFINITY;
    for (size_t at = 0, next; at < t->rows; at += next) {
        size_t found = l->k->select(t->rows - at, s->scan + at, t->base + at, MAX(least, -1e30f),
                                    hits, TASTED, &next);
        for (size_t i = 0; i < found; i++) {
            uint32_t row = (uint32_t)at + hits[i];
            float score = s->scan[row] + load_relaxed(&t->base[row]);
            if (n == TASTED && score <= least)
                continue;
            uint32_t k = n < TASTED ? n++ : 0;
            best[k] = (struct neighbour){score, row};
            if (n < TASTED)
                continue;
            least = INFINITY;
            for (uint32_t j = 0; j < TASTED; j++)
                if (best[j].likeness < least) {
                    least = best[j].likeness;
                    k = j;
                }
            struct neighbour worst = best[k];
            best[k] = best[0];
            best[0] = worst;
        }
    }
    for (uint32_t k = 0; k < n; k++) {
        struct sums *x = sums_of(s, best[k].slot);
        if (x)
            x->pre += 0.5f;
    }
}

/* ---- candidates ---------------------------------------------------------------- */

static bool listed(const struct model *m, uint32_t row) {
    return load_relaxed(&m->items.base[row]) != -INFINITY;
}

/* The best `max` of the pool by a first guess; the user's own items always, if they may be. */
static void cut(struct shortlist *s, size_t max) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < s->n_met; k++)
        if (s->place[s->met[k].item])
            s->pool[s->place[s->met[k].item] - 1].pre += 1e6f;
    for (uint32_t i = 0; i < s->n_pool; i++) {
        const struct sums *x = &s->pool[i];
        float guess = x->pre + 3 * x->v[SUM_NEAR] + x->v[SUM_LATELY] + 0.02f * x->v[SUM_ALL] +
                      x->v[SUM_NEXT_SHORT] + x->v[SUM_NEXT_LONG] + x->v[SUM_AHEAD] +
                      0.4f * x->v[SUM_BEHIND] +
                      0.2f * (x->v[SUM_AHEAD_WIDE] + x->v[SUM_BEHIND_WIDE]);
        if (listed(s->m, x->item))
            s->near[n++] = (struct neighbour){guess, i};
    }
    if (n > max)
        select_near(s->near, n, (int64_t)max);
    s->n = (uint32_t)MIN((size_t)n, max);
    for (uint32_t i = 0; i < s->n; i++)
        s->chosen[i] = s->pool[s->near[i].slot];
}

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

static bool has(const struct shortlist *s, enum part p) {
    return !(s->m->c.parts_off >> p & 1);
}

/* Columns of the parts that are turned off say nothing. */
static void blank(const struct shortlist *s) {
    for (uint32_t c = 0; c < COLUMNS; c++) {
        uint32_t part = part_of(c);
        if (part == PART_COUNT || has(s, (enum part)part))
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

/* ---- all of it ------------------------------------------------------------------ */

WIDE_CLONES static void add_up(const struct sums *pool, uint32_t n, struct scene *sc) {
    for (uint32_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < SUMS; k++) {
            float v = pool[i].v[k];
            sc->total[k] += v;
            sc->peak[k] = sc->peak[k] > v ? sc->peak[k] : v;
        }
}

static void set_scene(const struct learner *l, const struct shortlist *s, const struct user *u,
                      struct scene *sc) {
    const struct model *m = s->m;
    (void)l;
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
    struct pairs_view *v = NULL;
    (void)v;
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

void shortlist_fill(struct learner *l, const struct user *u, const uint32_t *out, size_t n_out,
                    size_t max) {
    struct shortlist *s = l->shortlist;
    const struct model *m = s->m;
    struct scene sc;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] < m->items.rows)
            s->barred[out[i]] = 1;
    s->n_pool = 0;
    digest(s, u);
    uint32_t neighbours = has(s, PART_SESSIONS) ? ask_sessions(s, u) : 0;
    if (has(s, PART_PAIRS))
        ask_pairs(s);
    if (has(s, PART_TASTE) && s->n_pool < 2 * max)
        ask_taste(l, s);
    for (uint32_t k = 0; k < s->n_met && has(s, PART_TRAIL); k++)
        sums_of(s, s->met[k].item);
    uint32_t lively[LIVELY];
    for (uint32_t h = 0; h < PULSE_HORIZONS && has(s, PART_LIVELY); h++) {
        size_t n = pulse_top(m->pulse, h, lively, LIVELY);
        for (size_t i = 0; i < n; i++) {
            struct sums *x = lively[i] < m->items.rows ? sums_of(s, lively[i]) : NULL;
            if (x)
                x->pre += 0.5f; /* a place is kept for it */
        }
    }
    /* Pairs say nothing of what the running session holds already: its own steps are in them. */
    for (uint32_t k = 0; k < s->n_met; k++) {
        struct sums *x = s->met[k].now ? sums_of(s, s->met[k].item) : NULL;
        for (uint32_t j = SUM_NEXT_SHORT; x && j < SUMS; j++)
            x->v[j] = 0;
    }
    set_scene(l, s, u, &sc);
    sc.n_neighbours = neighbours;
    cut(s, MIN(max, (size_t)SHORTLIST_MAX));
    for (uint32_t i = 0; i < s->n; i++)
        s->item[i] = s->chosen[i].item;
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
    for (uint32_t i = 0; i < s->n_pool; i++)
        s->place[s->pool[i].item] = 0;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] < m->items.rows)
            s->barred[out[i]] = 0;
}

uint32_t shortlist_n(const struct shortlist *s) {
    return s->n;
}

const uint32_t *shortlist_items(const struct shortlist *s) {
    return s->item;
}

const float *shortlist_matrix(const struct shortlist *s) {
    return s->matrix;
}

enum list_reason shortlist_because(const struct shortlist *s, uint32_t i) {
    return (enum list_reason)s->because[i];
}
