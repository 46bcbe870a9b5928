#include "model/diversify.h"

#include "model/pulse.h"

#include <math.h>

enum {
    FEW_EVENTS = 10,            /* an item with fewer is a newcomer */
    STEADY_MS = 60 * 60 * 1000, /* for so long a user is shown the same draw */
    ROUND_ROWS = 1024,          /* looked at in one newcomers_refresh */
    ROUND_MAX = NEWCOMERS / 4,  /* of which so many may replace older newcomers */
    OPTIONS = TOP_MAX + NEWCOMERS,
};

#define SAME_CATEGORY 0.5f

/* An item that may get a place. */
struct option {
    struct list_entry e; /* the score above the lowest candidate's */
    float novelty;       /* its bonus, in scores */
    float nearest;       /* similarity to the most similar item that has a place */
    float per_norm;      /* 1 / length of its vector, 0 for none */
    uint32_t category;
    bool gone; /* has a place, or its category has all of its own */
};

struct plan {
    struct learner *l;
    const struct model_config *c;
    struct option o[OPTIONS];
    uint32_t n_ranked, n; /* candidates come first, then newcomers */
    float least, range;
};

bool diversify_wanted(const struct model_config *c) {
    return c->per_category || c->diversity > 0 || c->novelty > 0 || c->exploration > 0;
}

/* ---- newcomers -------------------------------------------------------------- */

void newcomers_add(struct model *m, uint32_t row) {
    m->newcomer[m->newcomers_n++ % NEWCOMERS] = row;
}

static bool is_new(const struct model *m, uint32_t row) {
    struct pulse_view p;
    if (row >= m->items.rows || !(m->items.hot[row].state & ITEM_LIVE) ||
        load_relaxed(&m->items.base[row]) == -INFINITY)
        return false;
    pulse_look(m->pulse, row, __atomic_load_n(&m->tick, __ATOMIC_RELAXED), &p);
    return p.events < FEW_EVENTS;
}

void newcomers_refresh(struct model *m) {
    uint32_t n = MIN(m->items.rows, (uint32_t)ROUND_ROWS), added = 0;
    for (uint32_t i = 0; i < n && added < ROUND_MAX; i++) {
        m->newcomer_hand = m->newcomer_hand + 1 < m->items.rows ? m->newcomer_hand + 1 : 0;
        if (is_new(m, m->newcomer_hand)) {
            newcomers_add(m, m->newcomer_hand);
            added++;
        }
    }
}

static bool is_option(const struct plan *p, uint32_t row) {
    for (uint32_t i = 0; i < p->n; i++)
        if (p->o[i].e.item == row)
            return true;
    return false;
}

static void add_newcomers(struct plan *p, const struct user *u, bool exclude_seen) {
    const struct model *m = p->l->m;
    uint32_t out[PROFILE_SEEN_MAX];
    size_t n_out = u ? model_left_out(m, u, exclude_seen, out) : 0;
    for (uint32_t i = 0; i < MIN(m->newcomers_n, (uint32_t)NEWCOMERS); i++) {
        uint32_t row = m->newcomer[i];
        bool barred = !is_new(m, row) || is_option(p, row);
        for (size_t k = 0; k < n_out && !barred; k++)
            barred = out[k] == row;
        if (!barred)
            p->o[p->n++] = (struct option){.e.item = row};
    }
}

/* ---- places ----------------------------------------------------------------- */

/* Bits of the item's self-information over the most there can be. */
static float self_information(const struct model *m, uint32_t item) {
    uint32_t tick = __atomic_load_n(&m->tick, __ATOMIC_RELAXED);
    struct pulse_view v;
    pulse_look(m->pulse, item, tick, &v);
    float most = log2f((float)tick + 1);
    return most > 0 ? MAX(1 - log2f(v.events + 1) / most, 0) : 1;
}

static void set_plan(struct plan *p, struct learner *l, const struct user *u, bool exclude_seen,
                     const struct list *list) {
    const struct items *t = &l->m->items;
    p->l = l;
    p->c = &l->m->c;
    p->n = p->n_ranked = list->n;
    p->least = list->n ? list->e[list->n - 1].score : 0;
    p->range = list->n ? list->e[0].score - p->least : 0;
    if (!(p->range > 0))
        p->range = 1;
    for (uint32_t i = 0; i < list->n; i++)
        p->o[i] = (struct option){.e = list->e[i]};
    if (p->c->exploration > 0)
        add_newcomers(p, u, exclude_seen);
    for (uint32_t i = 0; i < p->n; i++) {
        struct option *o = &p->o[i];
        o->category = t->hot[o->e.item].category_key;
        if (p->c->novelty > 0)
            o->novelty = p->c->novelty * p->range * self_information(l->m, o->e.item);
        if (p->c->diversity > 0) {
            const float *v = item_eff(t, o->e.item);
            float norm2 = l->k->dot(t->dim, v, v);
            o->per_norm = norm2 > 0 ? 1 / sqrtf(norm2) : 0;
        }
    }
}

static float value(const struct plan *p, const struct option *o) {
    float d = p->c->diversity;
    /* not (1 - d)·(s - least) + least: with d = 0 the score must stay as it is */
    return o->e.score - d * (o->e.score - p->least + p->range * o->nearest) + o->novelty;
}

static struct option *best(struct plan *p, float *ret_value) {
    struct option *found = NULL;
    for (uint32_t i = 0; i < p->n_ranked; i++) {
        struct option *o = &p->o[i];
        float v = o->gone ? 0 : value(p, o);
        if (!o->gone && (!found || v > *ret_value)) {
            found = o;
            *ret_value = v;
        }
    }
    return found;
}

/* The user's draw for this hour; NULL when nothing is left. */
static struct option *draw(struct plan *p, const struct user *u) {
    const struct model *m = p->l->m;
    uint64_t hour = u ? (uint64_t)(u->prof.last_ms / STEADY_MS) : 0, lowest = UINT64_MAX;
    uint64_t seed = hash_bytes(&hour, sizeof hour, m->c.seed);
    seed = hash_str(u ? u->id : STR(""), seed);
    struct option *found = NULL;
    uint32_t left = 0;
    for (uint32_t i = 0; i < p->n; i++) {
        if (p->o[i].gone)
            continue;
        uint64_t h = hash_str(m->items.cold[p->o[i].e.item].id, seed);
        left++;
        if (!found || h < lowest) {
            found = &p->o[i];
            lowest = h;
        }
    }
    if (found) {
        found->e.because = BECAUSE_EXPLORED;
        found->e.propensity = 1 / (float)left;
    }
    return found;
}

static float similarity(const struct plan *p, const struct option *a, const struct option *b) {
    const struct items *t = &p->l->m->items;
    float cosine = p->l->k->dot(t->dim, item_eff(t, a->e.item), item_eff(t, b->e.item)) *
                   a->per_norm * b->per_norm;
    if (a->category && a->category == b->category)
        return MAX(cosine, SAME_CATEGORY);
    return MAX(cosine, 0);
}

static void take(struct plan *p, struct option *o, float score, struct list *list) {
    float last = list->n ? list->e[list->n - 1].score : score;
    if (list->n && (o->e.propensity > 0 || score > last))
        score = nextafterf(last, -INFINITY);
    o->gone = true;
    list->e[list->n] = o->e;
    list->e[list->n++].score = score;
    uint32_t of_category = 0;
    for (uint32_t i = 0; o->category && p->c->per_category && i < list->n; i++)
        of_category += p->l->m->items.hot[list->e[i].item].category_key == o->category;
    bool full = o->category && p->c->per_category && of_category >= p->c->per_category;
    for (uint32_t i = 0; i < p->n; i++) {
        struct option *other = &p->o[i];
        if (full && other->category == o->category)
            other->gone = true;
        if (p->c->diversity > 0 && !other->gone)
            other->nearest = MAX(other->nearest, similarity(p, o, other));
    }
}

/* Whether the place (from 0) is the last of 1/share. */
static bool explored(double share, uint32_t place) {
    return floor((place + 1) * share + 1e-6) > floor(place * share + 1e-6);
}

void diversify(struct learner *l, const struct user *u, bool exclude_seen, struct list *list) {
    struct plan p;
    set_plan(&p, l, u, exclude_seen, list);
    float highest = list->n ? list->e[0].score : 0;
    list->n = 0;
    while (list->n < p.c->top_n) {
        float score = highest;
        struct option *o =
            explored((double)p.c->exploration, list->n) ? draw(&p, u) : best(&p, &score);
        if (!o)
            return;
        take(&p, o, score, list);
    }
}
