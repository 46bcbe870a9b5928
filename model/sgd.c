#include "model/sgd.h"

#include "model/trend.h"

#include <math.h>

/* A row whose length an update would bring beyond it is left alone: scores of such rows
 * stay finite in float, 512 wide or not. */
#define NORM_MAX 1e9f
/* What accumulators count from: without it the first step of a row has full length however
 * small its gradient, and one pass never makes good for that noise. */
#define ROW_START 0.3f
#define BIAS_START 1.0f

static float softplus(float x) {
    return x > 0 ? x + log1pf(expf(-x)) : log1pf(expf(x));
}

static float sigmoid(float x) {
    return 1 / (1 + expf(-x));
}

/* Step along a gradient of squared length `norm2` spread over `width` weights: 0 if it
 * must be refused. The accumulator is moved on. */
static float step_size(struct learner *l, float *acc, float norm2, uint32_t width, float rate) {
    const struct model_config *c = &l->m->c;
    if (!(norm2 < INFINITY)) {
        l->stats.nan_guarded++;
        return 0;
    }
    float scale = 1, clip2 = c->clip * c->clip;
    if (norm2 > clip2) {
        scale = c->clip / sqrtf(norm2);
        norm2 = clip2;
        l->stats.clipped++;
    }
    rate *= c->learning_rate * scale;
    if (c->optimizer == OPT_PLAIN)
        return rate;
    float a = load_relaxed(acc) + norm2 / (float)width;
    store_relaxed(acc, a);
    return rate / sqrtf(a + (width == 1 ? BIAS_START : ROW_START));
}

/* What a touched row keeps of itself. The decay is apart from the adaptive step (Loshchilov
 * and Hutter 2019): a row with a small accumulator would lose everything at once. */
static float keep_of(const struct learner *l, float rate) {
    return fmaxf(1 - rate * l->m->c.learning_rate * l->m->c.l2, 0);
}

/* w = keep·w - step·c·g, unless it would leave the finite world. */
static void row_step(struct learner *l, float *w, float *acc, float c, const float *g, float g2,
                     uint32_t n, float rate) {
    float step = step_size(l, acc, c * c * g2, n, rate);
    if (step == 0)
        return;
    float keep = keep_of(l, rate), a = -step * c;
    float len = sqrtf(l->k->dot(n, w, w)) * keep + fabsf(a) * sqrtf(g2);
    if (!(len < NORM_MAX)) {
        l->stats.nan_guarded++;
        return;
    }
    l->k->axpby(n, a, g, keep, w);
}

static void bias_step(struct learner *l, float *b, float *acc, float c) {
    float step = step_size(l, acc, c * c, 1, 1);
    float now = keep_of(l, 1) * load_relaxed(b) - step * c;
    if (fabsf(now) < NORM_MAX)
        store_relaxed(b, now);
    else
        l->stats.nan_guarded++;
}

/* Derivative of the loss by each item's score, and the loss. */
static float derive(const struct learner *l, const float *score, uint32_t n, float weight,
                    float target, bool dislike, float *ret_c) {
    float loss = 0, share = n > 1 ? weight / (float)(n - 1) : 0;
    ret_c[0] = 0;
    if (l->m->c.loss == LOSS_SQUARED) {
        float e = score[0] - target;
        ret_c[0] = weight * e;
        loss = weight * e * e / 2;
        for (uint32_t i = 1; i < n; i++) {
            ret_c[i] = share * score[i];
            loss += share * score[i] * score[i] / 2;
        }
    } else if (dislike) {
        ret_c[0] = weight * sigmoid(score[0]);
        loss = weight * softplus(score[0]);
    } else if (l->m->c.loss == LOSS_SOFTMAX) {
        float most = score[0], sum = 0;
        for (uint32_t i = 1; i < n; i++)
            most = fmaxf(most, score[i]);
        for (uint32_t i = 0; i < n; i++)
            sum += ret_c[i] = expf(score[i] - most);
        for (uint32_t i = 0; i < n; i++)
            ret_c[i] *= weight / sum;
        ret_c[0] -= weight;
        loss = weight * (logf(sum) + most - score[0]);
    } else if (l->m->c.loss == LOSS_LOGISTIC) {
        ret_c[0] = -weight * sigmoid(-score[0]);
        loss = weight * softplus(-score[0]);
        for (uint32_t i = 1; i < n; i++) {
            ret_c[i] = share * sigmoid(score[i]);
            loss += share * softplus(score[i]);
        }
    } else {
        for (uint32_t i = 1; i < n; i++) {
            float x = score[i] - score[0];
            ret_c[i] = share * sigmoid(x);
            ret_c[0] -= ret_c[i];
            loss += share * softplus(x);
        }
    }
    return loss;
}

/* ---- intent ------------------------------------------------------------------ */

enum { INTENT_ITEMS = 12, USER_NEGATIVES = 6 };
#define INTENT_DECAY 0.6f

struct intent {
    uint32_t n, item[INTENT_ITEMS];
    float weight[INTENT_ITEMS]; /* sum to 1 */
};

static void intent_of(const struct trail_item *trail, size_t n, struct intent *ret) {
    float w = 1, sum = 0;
    ret->n = 0;
    for (size_t i = 0; i < n && ret->n < INTENT_ITEMS; i++) {
        uint32_t k = 0;
        while (k < ret->n && ret->item[k] != trail[i].item)
            k++;
        if (k < ret->n)
            continue;
        ret->item[ret->n] = trail[i].item;
        ret->weight[ret->n++] = w;
        sum += w;
        w *= INTENT_DECAY;
    }
    for (uint32_t k = 0; k < ret->n; k++)
        ret->weight[k] /= sum;
}

static void intent_add(const struct learner *l, const struct intent *x, float *v) {
    const struct items *t = &l->m->items;
    for (uint32_t k = 0; k < x->n; k++) {
        size_t at = (size_t)x->item[k] * t->dim;
        l->k->axpy(t->dim, x->weight[k], t->in + at, v);
        if (t->hot[x->item[k]].n_features || t->hot[x->item[k]].has_dense) {
            l->k->axpy(t->dim, x->weight[k], t->eff + at, v);
            l->k->axpy(t->dim, -x->weight[k], t->own + at, v);
        }
    }
}

void sgd_map(const struct learner *l, const struct user *u, const struct trail_item *trail,
             size_t n, float *ret) {
    struct intent x;
    uint32_t d = l->m->c.dim;
    if (u)
        l->k->matvec(d, d, l->m->phi, u->emb, ret);
    else
        memset(ret, 0, d * sizeof *ret);
    intent_of(trail, n, &x);
    intent_add(l, &x, ret);
}

/* φ = keep·φ + a·(pull ⊗ u), drawn back towards the identity instead of zero. */
static void map_step(struct learner *l, const float *u, float pull2, float u2) {
    struct model *m = l->m;
    uint32_t d = m->c.dim;
    float step = step_size(l, &m->phi_acc, pull2 * u2, d * d, MAP_RATE);
    float keep = keep_of(l, MAP_RATE);
    if (!(step * sqrtf(pull2 * u2) < NORM_MAX))
        return;
    l->k->rank1(d, d, -step, l->pull, u, keep, m->phi);
    for (uint32_t r = 0; r < d; r++) {
        float *x = &m->phi[(size_t)r * d + r];
        store_relaxed(x, load_relaxed(x) + (1 - keep));
    }
    __atomic_store_n(&m->phi_dirty, true, __ATOMIC_RELAXED);
}

static void feature_add(struct learner *l, uint32_t f, float c) {
    uint32_t at = l->feature_slot[f];
    if (at >= l->n_features || l->feature[at].feature != f) {
        at = l->n_features++;
        l->feature_slot[f] = at;
        l->feature[at].feature = f;
        l->feature[at].c = 0;
    }
    l->feature[at].c += c;
}

static bool gather_dense(struct learner *l, const uint32_t *item, const float *c, uint32_t n) {
    const struct items *t = &l->m->items;
    bool any = false;
    for (uint32_t i = 0; i < n; i++)
        any |= t->hot[item[i]].has_dense;
    if (!any)
        return false;
    if (l->n_dense != t->n_dense) {
        free(l->dense);
        l->dense = aligned_alloc(64, (t->n_dense * sizeof(float) + 63) / 64 * 64);
        l->n_dense = l->dense ? t->n_dense : 0;
    }
    if (!l->dense)
        return false;
    memset(l->dense, 0, t->n_dense * sizeof *l->dense);
    for (uint32_t i = 0; i < n; i++)
        if (t->hot[item[i]].has_dense)
            l->k->axpy(t->n_dense, c[i], t->dense + (size_t)item[i] * t->n_dense, l->dense);
    return true;
}

/* P -= step·(φ·u ⊗ sum of c_j·dense_j), and the touched items' projections with it: exact
 * for them, the others follow when they are refreshed. */
static void proj_step(struct learner *l, const uint32_t *item, uint32_t n, float mapped2) {
    struct items *t = &l->m->items;
    float sum2 = l->k->dot(t->n_dense, l->dense, l->dense);
    float step = step_size(l, &t->proj_acc, mapped2 * sum2, t->dim * t->n_dense, PROJ_RATE);
    if (step == 0 || !(step * sqrtf(mapped2 * sum2) < NORM_MAX))
        return;
    float keep = keep_of(l, PROJ_RATE);
    l->k->rank1(t->dim, t->n_dense, -step, l->mapped, l->dense, keep, t->proj);
    for (uint32_t i = 0; i < n; i++) {
        if (!t->hot[item[i]].has_dense)
            continue;
        size_t at = (size_t)item[i];
        float along = l->k->dot(t->n_dense, t->dense + at * t->n_dense, l->dense);
        l->k->axpby(t->dim, -step * along, l->mapped, keep, t->projected + at * t->dim);
    }
    __atomic_store_n(&t->proj_dirty, true, __ATOMIC_RELAXED);
}

static void features_step(struct learner *l, float mapped2) {
    struct features *t = &l->m->items.features;
    for (uint32_t i = 0; i < l->n_features; i++) {
        struct feature *f = &t->f[l->feature[i].feature];
        float c = l->feature[i].c;
        row_step(l, t->emb + (size_t)l->feature[i].feature * t->dim, &f->acc, c, l->mapped, mapped2,
                 t->dim, 1);
        bias_step(l, &f->bias, &f->bias_acc, c);
        __atomic_store_n(&f->dirty, true, __ATOMIC_RELAXED);
    }
}

void sgd_step(struct learner *l, struct user *u, const uint32_t *item, uint32_t n, float weight,
              float target, bool dislike) {
    struct model *m = l->m;
    struct items *t = &m->items;
    const struct kernels *k = l->k;
    uint32_t d = m->c.dim;
    float score[NEGATIVES_MAX + 1], c[NEGATIVES_MAX + 1], sum = 0;

    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(t->cold[item[i]].features);
    struct intent intent;
    intent_of(l->trail, l->n_trail, &intent);
    if (u)
        k->matvec(d, d, m->phi, u->emb, l->mapped);
    else
        memset(l->mapped, 0, d * sizeof *l->mapped);
    intent_add(l, &intent, l->mapped);
    for (uint32_t i = 0; i < n; i++) {
        score[i] = k->dot(d, l->mapped, item_eff(t, item[i])) + load_relaxed(&t->bias[item[i]]);
        if (m->c.loss == LOSS_SQUARED && u)
            score[i] += u->bias;
        sum += score[i];
    }
    float loss = derive(l, score, n, weight, target, dislike, c);
    if (!isfinite(sum) || !isfinite(loss)) {
        l->stats.nan_guarded++;
        return;
    }
    l->stats.steps++;
    l->stats.negatives += n - 1;
    l->stats.loss_sum += loss;

    memset(l->pull, 0, d * sizeof *l->pull);
    l->n_features = 0;
    float c_sum = 0;
    for (uint32_t i = 0; i < n; i++) {
        k->axpy(d, c[i], item_eff(t, item[i]), l->pull);
        c_sum += c[i];
        float share = feature_share(t->hot[item[i]].n_features);
        for (uint32_t f = 0; f < t->hot[item[i]].n_features; f++)
            feature_add(l, t->cold[item[i]].features[f], share * c[i]);
    }
    if (u && m->c.learn_phi) {
        memset(l->grad, 0, d * sizeof *l->grad);
        k->matvec_t(d, d, m->phi, l->pull, l->grad);
    } else if (u) {
        k->copy(d, l->pull, l->grad);
    }
    float mapped2 = k->dot(d, l->mapped, l->mapped);
    bool dense = false;
    if (l->side != SGD_USER && --l->proj_due == 0) {
        dense = t->n_dense && gather_dense(l, item, c, n);
        l->proj_due = PROJ_EVERY;
    }
    if (u && l->side != SGD_ITEMS && m->c.learn_phi && !l->frozen && --l->map_due == 0) {
        map_step(l, u->emb, k->dot(d, l->pull, l->pull), k->dot(d, u->emb, u->emb));
        l->map_due = MAP_EVERY;
    }

    if (u && l->side != SGD_ITEMS)
        row_step(l, u->emb, &u->acc, 1, l->grad, k->dot(d, l->grad, l->grad), d, 1);
    if (u && l->side != SGD_ITEMS && m->c.loss == LOSS_SQUARED)
        bias_step(l, &u->bias, &u->acc, c_sum);
    if (l->side == SGD_USER)
        return;
    float pull2 = k->dot(d, l->pull, l->pull);
    for (uint32_t i = 0; i < intent.n; i++) {
        struct item_hot *h = &t->hot[intent.item[i]];
        row_step(l, t->in + (size_t)intent.item[i] * d, &h->in_acc, intent.weight[i], l->pull,
                 pull2, d, 1);
        __atomic_store_n(&h->dirty, true, __ATOMIC_RELAXED);
    }
    features_step(l, mapped2);
    if (dense)
        proj_step(l, item, n, mapped2);
    for (uint32_t i = 0; i < n; i++) {
        struct item_hot *h = &t->hot[item[i]];
        row_step(l, t->own + (size_t)item[i] * d, &h->acc, c[i], l->mapped, mapped2, d, 1);
        bias_step(l, &h->bias, &h->bias_acc, c[i]);
        __atomic_store_n(&h->dirty, true, __ATOMIC_RELAXED);
    }
    for (uint32_t i = 0; i < n; i++)
        items_refresh(t, item[i]);
}

/* Asks for what the step will read and write of a row, all of it out of cache as a rule. */
static void fetch(const struct items *t, uint32_t row) {
    enum { LINE = 16 }; /* floats */
    size_t at = (size_t)row * t->dim;
    __builtin_prefetch(&t->hot[row], 1);
    for (uint32_t i = 0; i < t->dim; i += LINE) {
        __builtin_prefetch(t->eff + at + i, 1);
        __builtin_prefetch(t->own + at + i, 1);
    }
    __builtin_prefetch(&t->bias[row], 1);
    __builtin_prefetch(&t->cold[row]);
}

/* Sampled negatives behind the positive; returns how many items there are. */
static uint32_t with_negatives(struct learner *l, uint32_t positive, uint32_t count,
                               uint32_t *item) {
    enum { TRIES = 8 };
    const struct items *t = &l->m->items;
    uint32_t n = 0;
    item[n++] = positive;
    fetch(t, positive);
    for (uint32_t i = 0; i < count; i++) {
        for (int tries = 0; tries < TRIES; tries++) {
            uint32_t row = sampler_draw(l->m, &l->rng);
            if (row == ROW_NONE)
                return n;
            if (row == positive || load_relaxed(&t->base[row]) == -INFINITY)
                continue;
            fetch(t, row);
            item[n++] = row;
            break;
        }
    }
    return n;
}

void sgd_event(struct learner *l, struct user *u, uint32_t item, float weight) {
    uint32_t rows[NEGATIVES_MAX + 1] = {item};
    if (weight < 0) {
        sgd_step(l, u, rows, 1, -weight, -1, true);
        return;
    }
    uint32_t count = MIN(l->m->c.negatives, (uint32_t)NEGATIVES_MAX);
    /* A user's one row needs no more to move the right way. */
    count = l->side == SGD_USER ? MIN(count, (uint32_t)USER_NEGATIVES) : count;
    uint32_t n = with_negatives(l, item, count, rows);
    if (n > 1 || l->m->c.loss != LOSS_BPR)
        sgd_step(l, u, rows, n, weight, 1, false);
}

void sgd_value(struct learner *l, struct user *u, uint32_t item, float weight, float target) {
    sgd_step(l, u, &item, 1, weight, target, false);
}

uint32_t sampler_draw(const struct model *m, struct rng *r) {
    const struct sampler *s = &m->sampler;
    if (s->n == 0)
        return m->items.rows ? rng_below(r, m->items.rows) : ROW_NONE;
    uint64_t x = rng_u64(r);
    uint32_t i = (uint32_t)(((x >> 32) * s->n) >> 32);
    return (uint32_t)x < s->keep[i] ? s->row[i] : s->alias[i];
}

int sampler_init(struct sampler *s, uint32_t cap) {
    *s = (struct sampler){.cap = cap};
    s->row = rows_map(cap, sizeof *s->row);
    s->alias = rows_map(cap, sizeof *s->alias);
    s->keep = rows_map(cap, sizeof *s->keep);
    return s->row && s->alias && s->keep ? 0 : -ENOMEM;
}

void sampler_done(struct sampler *s) {
    rows_unmap(s->row, s->cap, sizeof *s->row);
    rows_unmap(s->alias, s->cap, sizeof *s->alias);
    rows_unmap(s->keep, s->cap, sizeof *s->keep);
    *s = (struct sampler){0};
}

int sampler_build(struct model *m) {
    const struct items *t = &m->items;
    struct sampler s = m->sampler;
    float *weight = malloc(MAX(t->rows, 1u) * sizeof *weight);
    uint32_t *stack = malloc(MAX(t->rows, 1u) * sizeof *stack);
    if (!weight || !stack) {
        free(weight);
        free(stack);
        return -ENOMEM;
    }
    s.n = 0;
    double sum = 0;
    for (uint32_t row = 0; row < t->rows; row++) {
        if (t->base[row] == -INFINITY)
            continue;
        uint32_t count = trend_count(m->trend, row);
        /* unseen items of the catalogue are drawn as if seen once, or they would keep
         * whatever score their content gives them */
        s.row[s.n] = row;
        weight[s.n] = powf((float)MAX(count, 1u), m->c.negative_alpha);
        sum += weight[s.n++];
    }
    uint32_t small = 0, large = s.n;
    for (uint32_t i = 0; i < s.n; i++) {
        weight[i] = (float)((double)weight[i] * s.n / sum);
        if (weight[i] < 1)
            stack[small++] = i;
        else
            stack[--large] = i;
    }
    while (small > 0 && large < s.n) {
        uint32_t lo = stack[--small], hi = stack[large];
        s.keep[lo] = (uint32_t)((double)weight[lo] * 0x1p32);
        s.alias[lo] = s.row[hi];
        weight[hi] -= 1 - weight[lo];
        if (weight[hi] < 1) {
            large++;
            stack[small++] = hi;
        }
    }
    while (small > 0 || large < s.n) { /* what rounding left over */
        uint32_t i = small > 0 ? stack[--small] : stack[large++];
        s.keep[i] = UINT32_MAX;
        s.alias[i] = s.row[i];
    }
    free(weight);
    free(stack);
    s.built_at = m->events;
    m->sampler = s;
    return 0;
}
