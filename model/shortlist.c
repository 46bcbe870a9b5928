#include "model/shortlist_internal.h"

#include <math.h>

enum {
    ANCHORS = 20,     /* of the user's newest different items: what neighbours are found by */
    POSTINGS = 400,   /* sessions looked at per anchor */
    NEIGHBOURS = 250, /* sessions that vote */
    SCANNED = 4096,   /* rows of a catalogue that the embeddings score whole */
    TASTED = 64,      /* of which so many are candidates */
    PREVIOUS = 4,     /* items before the newest whose followers count */
    LIVELY = 24,      /* candidates of each horizon */
    POOL = 1 << 14,   /* items with a sum at most; a power of two */
};

#define ANCHOR_DECAY 0.35f

#define ANCHOR_DECAY 0.35f

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

/* ---- all of it ------------------------------------------------------------------ */

void shortlist_fill(struct learner *l, const struct user *u, const uint32_t *out, size_t n_out,
                    size_t max) {
    struct shortlist *s = l->shortlist;
    const struct model *m = s->m;
    for (size_t i = 0; i < n_out; i++)
        if (out[i] < m->items.rows)
            s->barred[out[i]] = 1;
    s->n_pool = 0;
    digest(s, u);
    uint32_t neighbours = shortlist_has(s, PART_SESSIONS) ? ask_sessions(s, u) : 0;
    if (shortlist_has(s, PART_PAIRS))
        ask_pairs(s);
    if (shortlist_has(s, PART_TASTE) && s->n_pool < 2 * max)
        ask_taste(l, s);
    for (uint32_t k = 0; k < s->n_met && shortlist_has(s, PART_TRAIL); k++)
        sums_of(s, s->met[k].item);
    uint32_t lively[LIVELY];
    for (uint32_t h = 0; h < PULSE_HORIZONS && shortlist_has(s, PART_LIVELY); h++) {
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
    cut(s, MIN(max, (size_t)SHORTLIST_MAX));
    for (uint32_t i = 0; i < s->n; i++)
        s->item[i] = s->chosen[i].item;
    shortlist_describe(l, s, u, neighbours);
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
