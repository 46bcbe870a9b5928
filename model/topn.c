#include "model/topn.h"

#include "model/covisit.h"
#include "model/diversify.h"
#include "model/ranker.h"

#include <cblas.h>
#include <float.h>
#include <math.h>

enum {
    BLOCK = 256,        /* users per gemm: bound by arithmetic from about 64 on */
    TILE = 512,         /* items per tile: a block's scores stay in the second-level cache */
    GEMM_MIN = 4,       /* fewer users are bound by memory, and gemm only adds packing */
    POOL = 1024,        /* candidates a user may have before they are cut to the best */
    ROOM = 64,          /* candidates beyond the list before a cut */
    LEARNED_FROM = 120, /* candidates of the ranker at least */
    POOL_FULL = POOL - TOP_MAX, /* more than that within rounding of each other: settle them */
};
_Static_assert((int)TOP_MAX < (int)POOL_FULL, "a settled pool must have room");
_Static_assert((int)POOL_FULL + (int)ROOM <= (int)POOL,
               "a cut pool takes what one selection finds");

struct candidate {
    float score;
    uint32_t item;
};

struct finalist {
    float score, dot, boost;
    uint32_t item;
};

/* Something to add to one user's score of one item. */
struct boost {
    uint32_t item;
    uint32_t user; /* within the block */
    float value;
};

struct pool {
    float least;  /* what an item must reach to be nominated */
    float margin; /* twice the most that rounding can move a dot product */
    uint32_t n, n_out;
    uint32_t room; /* candidates it takes before it is cut: early, for a high `least` soon */
    uint32_t first_boost, n_boosts; /* in rank_scratch.boosts */
    uint32_t out[PROFILE_SEEN_MAX]; /* rows this user must not get */
};

struct rank_scratch {
    uint32_t n; /* candidates to find: see candidates_of */
    float *mapped, *tile;
    struct candidate *candidates; /* POOL per user */
    struct boost *boosts, *by_tile;
    uint32_t *tile_start; /* of by_tile; one more than tiles */
    uint32_t tiles_cap;
    float *boost_of; /* per row, zero but while one user's list is finished */
    uint32_t rows_cap;
    struct pool pools[BLOCK];
    struct finalist finalists[POOL];
};

void rank_scratch_free(struct rank_scratch *s) {
    if (!s)
        return;
    free(s->mapped);
    free(s->tile);
    free(s->candidates);
    free(s->boosts);
    free(s->by_tile);
    free(s->tile_start);
    rows_unmap(s->boost_of, s->rows_cap, sizeof *s->boost_of);
    free(s);
}

/* What is found per user: the list, and more where it is re-ordered. */
static uint32_t candidates_of(const struct model *m) {
    return diversify_wanted(&m->c) ? (uint32_t)TOP_MAX : m->c.top_n;
}

static struct rank_scratch *scratch_new(const struct model *m) {
    struct rank_scratch *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->n = candidates_of(m);
    s->rows_cap = m->c.max_items;
    s->tiles_cap = m->c.max_items / TILE + 1;
    s->mapped = aligned_alloc(64, (size_t)BLOCK * m->c.dim * sizeof(float));
    s->tile = aligned_alloc(64, (size_t)BLOCK * TILE * sizeof(float));
    s->candidates = malloc((size_t)BLOCK * POOL * sizeof *s->candidates);
    s->boosts = malloc((size_t)BLOCK * COVISIT_CANDIDATES * sizeof *s->boosts);
    s->by_tile = malloc((size_t)BLOCK * COVISIT_CANDIDATES * sizeof *s->by_tile);
    s->tile_start = malloc((s->tiles_cap + 1) * sizeof *s->tile_start);
    s->boost_of = rows_map(s->rows_cap, sizeof *s->boost_of);
    if (!s->mapped || !s->tile || !s->candidates || !s->boosts || !s->by_tile || !s->tile_start ||
        !s->boost_of) {
        rank_scratch_free(s);
        return NULL;
    }
    return s;
}

int item_id_cmp(const struct model *m, uint32_t a, uint32_t b) {
    return str_cmp(m->items.cold[a].id, m->items.cold[b].id);
}

/* Puts the k highest scores first (Hoare's quickselect, median of three). */
static void select_best(struct candidate *c, uint32_t n, uint32_t k) {
    int64_t lo = 0, hi = (int64_t)n - 1;
    while (lo < hi) {
        float a = c[lo].score, b = c[lo + (hi - lo) / 2].score, z = c[hi].score;
        float pivot = fmaxf(fminf(a, b), fminf(fmaxf(a, b), z));
        int64_t i = lo - 1, j = hi + 1;
        for (;;) {
            do
                i++;
            while (c[i].score > pivot);
            do
                j--;
            while (c[j].score < pivot);
            if (i >= j)
                break;
            struct candidate t = c[i];
            c[i] = c[j];
            c[j] = t;
        }
        if ((int64_t)k - 1 <= j)
            hi = j;
        else
            lo = j + 1;
    }
}

/* Final order of a and b: negative if a comes first. */
static int finalist_cmp(const void *a, const void *b, void *model) {
    const struct finalist *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return item_id_cmp(model, x->item, y->item);
}

/* Scores a user's candidates in the fixed order and sorts them; returns how many. */
static uint32_t settle(struct learner *l, uint32_t user) {
    struct rank_scratch *s = l->rank;
    const struct items *t = &l->m->items;
    struct pool *p = &s->pools[user];
    const struct candidate *c = s->candidates + (size_t)user * POOL;
    const float *mapped = s->mapped + (size_t)user * t->dim;
    for (uint32_t i = 0; i < p->n_boosts; i++)
        s->boost_of[s->boosts[p->first_boost + i].item] = s->boosts[p->first_boost + i].value;
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        uint32_t item = c[i].item;
        struct finalist f = {.item = item, .boost = s->boost_of[item]};
        f.dot = l->k->dot(t->dim, mapped, item_eff(t, item));
        f.score = f.dot + load_relaxed(&t->base[item]) + f.boost;
        if (f.score >= -FLT_MAX)
            s->finalists[n++] = f;
    }
    for (uint32_t i = 0; i < p->n_boosts; i++)
        s->boost_of[s->boosts[p->first_boost + i].item] = 0;
    qsort_r(s->finalists, n, sizeof *s->finalists, finalist_cmp, l->m);
    return n;
}

/* Cuts a full pool to what can still be in the list. */
static void cut(struct learner *l, uint32_t user) {
    struct rank_scratch *s = l->rank;
    struct pool *p = &s->pools[user];
    struct candidate *c = s->candidates + (size_t)user * POOL;
    if (p->n <= s->n)
        return;
    select_best(c, p->n, s->n);
    float worst = c[0].score;
    for (uint32_t i = 1; i < s->n; i++)
        worst = fminf(worst, c[i].score);
    /* sums of dot, base and boost round, too */
    p->least = worst - p->margin - 16 * FLT_EPSILON * fabsf(worst);
    uint32_t n = s->n;
    for (uint32_t i = s->n; i < p->n; i++)
        if (c[i].score >= p->least)
            c[n++] = c[i];
    p->n = n;
    if (n <= POOL_FULL)
        return;
    p->n = MIN(settle(l, user), s->n);
    for (uint32_t i = 0; i < p->n; i++)
        c[i] = (struct candidate){s->finalists[i].score, s->finalists[i].item};
}

static bool is_out(const struct pool *p, uint32_t row) {
    for (uint32_t i = 0; i < p->n_out; i++)
        if (p->out[i] == row)
            return true;
    return false;
}

/* Nominates from a user's scores of one tile. */
static void scan(struct learner *l, uint32_t user, const float *score, uint32_t first, uint32_t n) {
    struct rank_scratch *s = l->rank;
    struct pool *p = &s->pools[user];
    struct candidate *c = s->candidates + (size_t)user * POOL;
    const float *base = l->m->items.base + first;
    uint32_t hits[ROOM];
    for (uint32_t at = 0; at < n;) {
        size_t next;
        size_t k =
            l->k->select(n - at, score + at, base + at, p->least, hits, ARRAY_LEN(hits), &next);
        if (p->n + k > p->room) {
            cut(l, user);
            p->room = MIN((uint32_t)POOL, p->n + s->n + ROOM);
        }
        for (size_t i = 0; i < k; i++) {
            uint32_t row = at + hits[i];
            float sum = score[row] + load_relaxed(&base[row]);
            if (!is_out(p, first + row))
                c[p->n++] = (struct candidate){sum, first + row};
        }
        at += (uint32_t)next;
    }
}

/* What rounding can move the dot product of the user and any item by, twice over: both
 * sums have an error below dim·2^-24·|u||v| (Higham 2002, section 3.1). */
static float margin_of(const struct learner *l, const float *mapped) {
    uint32_t d = l->m->c.dim;
    float norm = sqrtf(l->k->dot(d, mapped, mapped));
    return 4.1f * (float)(d + 2) * 0x1p-24f * norm * load_relaxed(&l->m->items.norm_max);
}

/* Fills a user's part of the block; returns where his boosts end. */
static uint32_t prepare(struct learner *l, uint32_t user, const struct user *u, bool exclude_seen,
                        uint32_t n_boosts) {
    const struct model *m = l->m;
    struct rank_scratch *s = l->rank;
    struct pool *p = &s->pools[user];
    float *mapped = s->mapped + (size_t)user * m->c.dim;
    *p = (struct pool){.least = -FLT_MAX, .first_boost = n_boosts, .room = s->n + ROOM};
    if (!u) {
        memset(mapped, 0, m->c.dim * sizeof *mapped);
        return n_boosts;
    }
    struct trail_item trail[PROFILE_TRAIL_MAX];
    size_t n_trail = profile_trail(&u->prof, trail, PROFILE_TRAIL_MAX), valid = 0;
    for (size_t i = 0; i < n_trail; i++)
        if (item_ref_valid(m, trail[i].item, trail[i].time_s))
            trail[valid++] = trail[i];
    sgd_map(l, u, trail, valid, mapped);
    p->margin = margin_of(l, mapped);
    int64_t now_ms = u->prof.last_ms;
    p->n_out = (uint32_t)model_left_out(m, u, exclude_seen, p->out);
    if (m->c.covisit_weight <= 0)
        return n_boosts;
    struct recent_item recent[COVISIT_RECENT];
    size_t n_recent = profile_recent(&u->prof, recent, COVISIT_RECENT), kept = 0;
    for (size_t i = 0; i < n_recent; i++)
        if (item_ref_valid(m, recent[i].item, recent[i].time_s))
            recent[kept++] = recent[i];
    struct covisit_pair pairs[COVISIT_CANDIDATES];
    size_t n = covisit_candidates(m->covisit, recent, kept, now_ms, pairs, COVISIT_CANDIDATES);
    for (size_t i = 0; i < n; i++) {
        float value = m->c.covisit_weight * pairs[i].boost;
        if (pairs[i].item < m->items.rows && value > 0 && value < INFINITY)
            s->boosts[n_boosts++] = (struct boost){pairs[i].item, user, value};
    }
    p->n_boosts = n_boosts - p->first_boost;
    return n_boosts;
}

/* Counting sort of the block's boosts by tile. */
static void boosts_by_tile(struct rank_scratch *s, uint32_t n, uint32_t tiles) {
    memset(s->tile_start, 0, (tiles + 1) * sizeof *s->tile_start);
    for (uint32_t i = 0; i < n; i++)
        s->tile_start[s->boosts[i].item / TILE + 1]++;
    for (uint32_t i = 0; i < tiles; i++)
        s->tile_start[i + 1] += s->tile_start[i];
    for (uint32_t i = 0; i < n; i++)
        s->by_tile[s->tile_start[s->boosts[i].item / TILE]++] = s->boosts[i];
    for (uint32_t i = tiles; i > 0; i--)
        s->tile_start[i] = s->tile_start[i - 1];
    s->tile_start[0] = 0;
}

static void score_tile(struct learner *l, uint32_t users, uint32_t first, uint32_t n) {
    struct rank_scratch *s = l->rank;
    uint32_t d = l->m->c.dim;
    const float *v = item_eff(&l->m->items, first);
    if (users < GEMM_MIN) {
        for (uint32_t i = 0; i < users; i++)
            l->k->matvec(n, d, v, s->mapped + (size_t)i * d, s->tile + (size_t)i * TILE);
        return;
    }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)users, (int)n, (int)d, 1, s->mapped,
                (int)d, v, (int)d, 0, s->tile, TILE);
}

/* The part of a score that stands out most. */
static enum list_reason because(const struct learner *l, const float *mapped,
                                const struct finalist *f) {
    const struct items *t = &l->m->items;
    float taste = f->dot, content = -INFINITY, trend = load_relaxed(&t->base[f->item]);
    trend -= l->m->base_mean;
    if (t->hot[f->item].n_features || t->hot[f->item].has_dense) {
        taste = l->k->dot(t->dim, mapped, t->own + (size_t)f->item * t->dim);
        content = f->dot - taste;
    }
    if (f->boost > 0 && f->boost >= taste && f->boost >= content && f->boost >= trend)
        return BECAUSE_SIMILAR;
    if (trend > taste && trend > content)
        return BECAUSE_TREND;
    return content > taste ? BECAUSE_CONTENT : taste > 0 ? BECAUSE_TASTE : BECAUSE_TREND;
}

static void finish(struct learner *l, uint32_t user, struct list *ret) {
    struct rank_scratch *s = l->rank;
    const float *mapped = s->mapped + (size_t)user * l->m->c.dim;
    cut(l, user);
    ret->n = MIN(settle(l, user), s->n);
    for (uint32_t i = 0; i < ret->n; i++) {
        const struct finalist *f = &s->finalists[i];
        ret->e[i] = (struct list_entry){f->item, f->score, (uint8_t)because(l, mapped, f), 0};
    }
}

static void rank_block(struct learner *l, const struct user *const *users, uint32_t n,
                       bool exclude_seen, struct list **ret) {
    struct rank_scratch *s = l->rank;
    uint32_t rows = l->m->items.rows, tiles = (rows + TILE - 1) / TILE, boosts = 0;
    for (uint32_t i = 0; i < n; i++)
        boosts = prepare(l, i, users[i], exclude_seen, boosts);
    boosts_by_tile(s, boosts, tiles);
    for (uint32_t t = 0; t < tiles; t++) {
        uint32_t first = t * TILE, width = MIN(rows - first, (uint32_t)TILE);
        score_tile(l, n, first, width);
        for (uint32_t i = s->tile_start[t]; i < s->tile_start[t + 1]; i++)
            s->tile[(size_t)s->by_tile[i].user * TILE + s->by_tile[i].item - first] +=
                s->by_tile[i].value;
        for (uint32_t i = 0; i < n; i++)
            scan(l, i, s->tile + (size_t)i * TILE, first, width);
    }
    for (uint32_t i = 0; i < n; i++)
        finish(l, i, ret[i]);
}

/* The list by the learned ranker; false if its candidates do not fill one. */
static bool rank_learned(struct learner *l, const struct user *u, bool exclude_seen,
                         struct list *ret) {
    uint32_t out[PROFILE_SEEN_MAX], n = l->m->c.top_n;
    size_t n_out = u ? model_left_out(l->m, u, exclude_seen, out) : 0;
    shortlist_fill(l, u, out, n_out,
                   MAX((size_t)LEARNED_FROM, MIN((size_t)SHORTLIST_MAX, 2 * (size_t)n)));
    const float *score = ranker_score(l->m->ranker, l->ranking, l->shortlist);
    const uint32_t *item = shortlist_items(l->shortlist);
    struct rank_scratch *s = l->rank;
    uint32_t found = shortlist_n(l->shortlist), want = candidates_of(l->m), kept = 0;
    /* Those that can be among the first n, ties with the last of them included. */
    for (uint32_t i = 0; i < found; i++)
        s->candidates[i] = (struct candidate){score[i], i};
    if (found > want)
        select_best(s->candidates, found, want);
    float least = INFINITY;
    for (uint32_t i = 0; i < MIN(want, found); i++)
        least = MIN(least, s->candidates[i].score);
    for (uint32_t i = 0; i < found; i++)
        if (score[i] >= least)
            s->finalists[kept++] =
                (struct finalist){.score = score[i], .item = item[i], .dot = (float)i};
    qsort_r(s->finalists, kept, sizeof *s->finalists, finalist_cmp, l->m);
    ret->n = MIN(want, found);
    for (uint32_t i = 0; i < ret->n; i++)
        ret->e[i] = (struct list_entry){
            s->finalists[i].item, s->finalists[i].score,
            (uint8_t)shortlist_because(l->shortlist, (uint32_t)s->finalists[i].dot), 0};
    return found >= n;
}

/* Adds what the embeddings know to a list that is not full. */
static void append(struct list *to, const struct list *from, uint32_t n) {
    float last = to->n ? to->e[to->n - 1].score : 0;
    for (uint32_t i = 0; i < from->n && to->n < n; i++) {
        bool there = false;
        for (uint32_t k = 0; k < to->n; k++)
            there |= to->e[k].item == from->e[i].item;
        if (!there) {
            last = nextafterf(last, -INFINITY);
            to->e[to->n] = from->e[i];
            to->e[to->n++].score = last;
        }
    }
}

static void rank_all(struct learner *l, struct user *const *users, size_t n, bool exclude_seen,
                     struct list *ret);

static void rank_some(struct learner *l, struct user *const *users, size_t n, bool exclude_seen,
                      struct list *ret) {
    if (!l->m->c.rank) {
        rank_all(l, users, n, exclude_seen, ret);
        return;
    }
    if (!l->rank)
        l->rank = scratch_new(l->m);
    for (size_t i = 0; i < n; i++) {
        ret[i].n = 0;
        if (!l->rank || rank_learned(l, users[i], exclude_seen, &ret[i]))
            continue;
        struct list rest;
        rank_all(l, &users[i], 1, exclude_seen, &rest);
        append(&ret[i], &rest, candidates_of(l->m));
    }
}

void model_rank(struct learner *l, struct user *const *users, size_t n, bool exclude_seen,
                struct list *ret) {
    rank_some(l, users, n, exclude_seen, ret);
    for (size_t i = 0; i < n && diversify_wanted(&l->m->c); i++)
        diversify(l, users[i], exclude_seen, &ret[i]);
}

static void rank_all(struct learner *l, struct user *const *users, size_t n, bool exclude_seen,
                     struct list *ret) {
    if (!l->rank)
        l->rank = scratch_new(l->m);
    for (size_t i = 0; i < n; i++)
        ret[i].n = 0;
    if (!l->rank)
        return;
    /* all unknown users share one list */
    const struct user *block[BLOCK];
    struct list *to[BLOCK];
    struct list *unknown = NULL;
    uint32_t k = 0;
    for (size_t i = 0; i < n; i++) {
        if (!users[i] && unknown)
            continue;
        if (!users[i])
            unknown = &ret[i];
        block[k] = users[i];
        to[k++] = &ret[i];
        if (k == BLOCK) {
            rank_block(l, block, k, exclude_seen, to);
            k = 0;
        }
    }
    if (k)
        rank_block(l, block, k, exclude_seen, to);
    for (size_t i = 0; i < n; i++)
        if (!users[i] && &ret[i] != unknown)
            ret[i] = *unknown;
}
