/* The lists that are about items rather than users. */
#include "model/covisit.h"
#include "model/topn.h"
#include "model/trend.h"

#include <math.h>

static bool listed(void *ctx, uint32_t row) {
    const struct model *m = ctx;
    return load_relaxed(&m->items.base[row]) != -INFINITY;
}

static void list_trend(struct learner *l, enum trend_kind kind, uint32_t n, int64_t now_ms,
                       struct list *ret) {
    struct trend_entry e[TOP_MAX];
    ret->n = (uint32_t)trend_top(l->m->trend, kind, l->m->items.rows, now_ms, listed, l->m, e,
                                 MIN(n, (uint32_t)TOP_MAX));
    for (uint32_t i = 0; i < ret->n; i++)
        ret->e[i] = (struct list_entry){e[i].row, e[i].value, BECAUSE_TREND, 0};
}

void model_trending(struct learner *l, uint32_t n, int64_t now_ms, struct list *ret) {
    list_trend(l, TREND_NOW, n, now_ms, ret);
}

void model_popular(struct learner *l, uint32_t n, struct list *ret) {
    list_trend(l, TREND_EVER, n, 0, ret);
}

/* Fills the list up with the nearest items by cosine of the effective vectors. */
static void list_nearest(struct learner *l, uint32_t item, uint32_t n, struct list *ret) {
    const struct items *t = &l->m->items;
    const float *v = item_eff(t, item);
    float norm = sqrtf(l->k->dot(t->dim, v, v));
    uint32_t first = ret->n;
    if (!(norm > 0) || first >= n)
        return;
    for (uint32_t row = 0; row < t->rows; row++) {
        if (row == item || !listed(l->m, row))
            continue;
        const float *w = item_eff(t, row);
        float other = sqrtf(l->k->dot(t->dim, w, w));
        float cosine = other > 0 ? l->k->dot(t->dim, v, w) / (norm * other) : 0;
        if (!(cosine > 0) || (ret->n == n && cosine < ret->e[n - 1].score))
            continue;
        uint32_t at = ret->n;
        while (at > first &&
               (ret->e[at - 1].score < cosine || (ret->e[at - 1].score == cosine &&
                                                  item_id_cmp(l->m, ret->e[at - 1].item, row) > 0)))
            at--;
        bool twice = at == n;
        for (uint32_t i = 0; i < first; i++)
            twice |= ret->e[i].item == row;
        if (twice)
            continue;
        if (ret->n < n)
            ret->n++;
        memmove(&ret->e[at + 1], &ret->e[at], (ret->n - 1 - at) * sizeof *ret->e);
        ret->e[at] = (struct list_entry){row, cosine, BECAUSE_CONTENT, 0};
    }
}

void model_similar(struct learner *l, uint32_t item, uint32_t n, struct list *ret) {
    const struct model *m = l->m;
    ret->n = 0;
    n = MIN(n, (uint32_t)TOP_MAX);
    if (n == 0 || item >= m->items.rows || !(m->items.hot[item].state & ITEM_LIVE))
        return;
    struct covisit_pair pairs[COVISIT_SLOTS];
    int64_t seen_s = __atomic_load_n(&m->items.hot[item].seen_s, __ATOMIC_RELAXED);
    size_t k = covisit_neighbours(m->covisit, item, seen_s * 1000, pairs, COVISIT_SLOTS);
    for (size_t i = 0; i < k && ret->n < n; i++)
        if (pairs[i].item < m->items.rows && pairs[i].item != item && listed(l->m, pairs[i].item))
            ret->e[ret->n++] =
                (struct list_entry){pairs[i].item, pairs[i].boost, BECAUSE_SIMILAR, 0};
    list_nearest(l, item, n, ret);
}

const char *list_reason_name(enum list_reason r) {
    static const char *const names[BECAUSE_COUNT] = {"taste", "content", "similar", "trend",
                                                     "explored"};
    return r < BECAUSE_COUNT ? names[r] : "";
}

const struct ranker *model_ranker(const struct model *m) {
    return m->ranker;
}
