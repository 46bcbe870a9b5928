#include "model/items.h"

#include <math.h>

/* First free embedding: small against what features say of a new item. */
#define OWN_SCALE 0.1f

enum { FEATURES_MIN = 4096, EVICT_WINDOW = 64 };

static struct str item_id(const void *owner, uint32_t row) {
    return ((const struct items *)owner)->cold[row].id;
}

int items_init(struct items *t, const struct model_config *c, uint64_t hash_seed,
               const float *trend_scores) {
    *t = (struct items){.k = kernels_best(),
                        .dim = c->dim,
                        .cap = c->max_items,
                        .seed = c->seed,
                        .show_adult = c->show_restricted_adult,
                        .trend_weight = c->trend_weight,
                        .trend = trend_scores};
    t->free_rows = rows_map(t->cap, sizeof *t->free_rows);
    t->hot = rows_map(t->cap, sizeof *t->hot);
    t->cold = rows_map(t->cap, sizeof *t->cold);
    t->own = rows_map(t->cap, t->dim * sizeof *t->own);
    t->in = rows_map(t->cap, t->dim * sizeof *t->in);
    t->eff = rows_map(t->cap, t->dim * sizeof *t->eff);
    t->bias = rows_map(t->cap, sizeof *t->bias);
    t->base = rows_map(t->cap, sizeof *t->base);
    if (!t->free_rows || !t->hot || !t->cold || !t->own || !t->in || !t->eff || !t->bias ||
        !t->base)
        return -ENOMEM;
    int r = id_index_init(&t->index, hash_seed, item_id, t);
    if (r < 0)
        return r;
    uint32_t features = MAX(t->cap / 4, (uint32_t)FEATURES_MIN);
    return features_init(&t->features, features, t->dim, c->seed, hash_seed);
}

static void facts_drop(struct items *t, uint32_t row) {
    struct item_cold *x = &t->cold[row];
    id_arena_drop(&t->arena, x->category.p, x->category.n);
    id_arena_drop(&t->arena, x->brand.p, x->brand.n);
    for (uint32_t i = 0; i < t->hot[row].n_features; i++)
        t->features.f[x->features[i]].items--;
    id_arena_drop(&t->arena, x->features, t->hot[row].n_features * sizeof *x->features);
    x->category = x->brand = (struct str){0};
    x->features = NULL;
    t->hot[row].n_features = 0;
}

void items_done(struct items *t) {
    for (uint32_t i = 0; i < t->rows; i++) {
        facts_drop(t, i);
        id_arena_drop(&t->arena, t->cold[i].id.p, t->cold[i].id.n);
    }
    id_index_done(&t->index);
    id_arena_done(&t->arena);
    features_done(&t->features);
    rows_unmap(t->free_rows, t->cap, sizeof *t->free_rows);
    rows_unmap(t->hot, t->cap, sizeof *t->hot);
    rows_unmap(t->cold, t->cap, sizeof *t->cold);
    rows_unmap(t->own, t->cap, t->dim * sizeof *t->own);
    rows_unmap(t->in, t->cap, t->dim * sizeof *t->in);
    rows_unmap(t->eff, t->cap, t->dim * sizeof *t->eff);
    rows_unmap(t->bias, t->cap, sizeof *t->bias);
    rows_unmap(t->base, t->cap, sizeof *t->base);
    rows_unmap(t->dense, t->cap, t->n_dense * sizeof *t->dense);
    rows_unmap(t->projected, t->cap, t->dim * sizeof *t->projected);
    free(t->proj);
    *t = (struct items){0};
}

static uint32_t seconds(int64_t ms) {
    return ms <= 0 ? 0 : (uint32_t)MIN(ms / 1000, (int64_t)UINT32_MAX);
}

uint32_t items_add(struct items *t, struct str id, int64_t now_ms) {
    bool fresh = t->free_n == 0;
    if (fresh && t->rows == t->cap)
        return INDEX_NONE;
    uint32_t row = fresh ? t->rows : t->free_rows[t->free_n - 1];
    struct item_cold *x = &t->cold[row];
    *x = (struct item_cold){.price = NAN, .margin = NAN};
    if (!id_arena_copy(&t->arena, id, &x->id))
        return INDEX_NONE;
    if (id_index_add(&t->index, id, row) < 0) {
        id_arena_drop(&t->arena, x->id.p, x->id.n);
        x->id = (struct str){0};
        return INDEX_NONE;
    }
    t->hot[row] = (struct item_hot){
        .state = ITEM_LIVE | ITEM_AVAILABLE, .seen_s = seconds(now_ms), .dirty = true};
    row_init(t->own + (size_t)row * t->dim, t->dim, id, t->seed, OWN_SCALE);
    memset(t->in + (size_t)row * t->dim, 0, t->dim * sizeof *t->in);
    if (fresh)
        t->rows++;
    else
        t->free_n--;
    t->live++;
    items_refresh(t, row);
    return row;
}

void items_remove(struct items *t, uint32_t row) {
    id_index_remove(&t->index, t->cold[row].id);
    facts_drop(t, row);
    id_arena_drop(&t->arena, t->cold[row].id.p, t->cold[row].id.n);
    t->cold[row].id = (struct str){0};
    t->hot[row] = (struct item_hot){0};
    t->base[row] = -INFINITY;
    t->free_rows[t->free_n++] = row;
    t->live--;
}

uint32_t items_stale(struct items *t) {
    uint32_t best = INDEX_NONE;
    for (uint32_t i = 0; i < t->rows; i++) {
        if (i >= EVICT_WINDOW && best != INDEX_NONE)
            break;
        uint32_t row = t->evict_hand;
        t->evict_hand = row + 1 < t->rows ? row + 1 : 0;
        const struct item_hot *h = &t->hot[row];
        if (!(h->state & ITEM_LIVE) || (h->state & ITEM_CATALOGUE))
            continue;
        if (best == INDEX_NONE || h->seen_s < t->hot[best].seen_s)
            best = row;
    }
    return best;
}

int items_set_dense(struct items *t, size_t n_dense) {
    if (n_dense == t->n_dense)
        return 0;
    if (t->n_dense || n_dense > ITEM_DENSE_MAX)
        return -EINVAL;
    float *dense = rows_map(t->cap, n_dense * sizeof *dense);
    float *projected = rows_map(t->cap, t->dim * sizeof *projected);
    float *proj = aligned_alloc(64, (t->dim * n_dense * sizeof *proj + 63) / 64 * 64);
    if (!dense || !projected || !proj) {
        rows_unmap(dense, t->cap, n_dense * sizeof *dense);
        rows_unmap(projected, t->cap, t->dim * sizeof *projected);
        free(proj);
        return -ENOMEM;
    }
    /* A random projection of unit vectors keeps their angles (Johnson and Lindenstrauss
     * 1984): items of like content are near one another before anything is learned. */
    for (uint32_t r = 0; r < t->dim; r++) {
        char id[16] = {'P', 0, 0, 0, 0};
        memcpy(id + 4, &r, sizeof r);
        row_init(proj + r * n_dense, (uint32_t)n_dense, (struct str){id, sizeof id}, t->seed,
                 0.3f * sqrtf((float)n_dense / (float)t->dim));
    }
    t->n_dense = (uint32_t)n_dense;
    t->dense = dense;
    t->projected = projected;
    t->proj = proj;
    return 0;
}

/* Ids of the item's features, interned; returns how many. */
static uint32_t features_of(struct items *t, const struct item_info *info, uint32_t *ret) {
    struct buf id = {0};
    uint32_t n = 0, row;
#define TAKE_FEATURE()                                                                             \
    if (!id.failed &&                                                                              \
        (row = features_intern(&t->features, (struct str){(char *)id.p, id.n})) != INDEX_NONE)     \
    ret[n++] = row
    buf_put(&id, "c", 1);
    for (size_t i = 0; i < MIN(info->n_category, (size_t)ITEM_CATEGORY_MAX); i++) {
        if (i)
            buf_put(&id, "\x1f", 1);
        buf_put(&id, info->category[i].p, info->category[i].n);
        TAKE_FEATURE();
    }
    if (info->brand.n) {
        buf_reset(&id);
        buf_put(&id, "b", 1);
        buf_put(&id, info->brand.p, info->brand.n);
        TAKE_FEATURE();
    }
    if (info->price > 0) {
        char band[2] = {'p', (char)('A' + 20 + price_band(info->price))};
        buf_reset(&id);
        buf_put(&id, band, sizeof band);
        TAKE_FEATURE();
    }
    for (size_t i = 0; i < MIN(info->n_tags, (size_t)ITEM_TAGS_MAX); i++) {
        buf_reset(&id);
        buf_put(&id, "t", 1);
        buf_put(&id, info->tags[i].p, info->tags[i].n);
        TAKE_FEATURE();
    }
#undef TAKE_FEATURE
    buf_free(&id);
    /* a tag given twice counts once */
    uint32_t distinct = 0;
    for (uint32_t i = 0; i < n; i++) {
        bool seen = false;
        for (uint32_t j = 0; j < distinct; j++)
            seen |= ret[j] == ret[i];
        if (!seen)
            ret[distinct++] = ret[i];
    }
    return distinct;
}

static bool dense_copy(struct items *t, uint32_t row, const float *dense) {
    double norm = 0;
    for (uint32_t i = 0; i < t->n_dense; i++)
        norm += (double)dense[i] * dense[i];
    if (!(norm > 0) || !isfinite(norm))
        return false;
    float *to = t->dense + (size_t)row * t->n_dense, scale = (float)(1 / sqrt(norm));
    for (uint32_t i = 0; i < t->n_dense; i++)
        to[i] = dense[i] * scale;
    return true;
}

int items_describe(struct items *t, uint32_t row, const struct item_info *info, int64_t now_ms) {
    if (info->n_dense) {
        int r = items_set_dense(t, info->n_dense);
        if (r < 0)
            return r;
    }
    uint32_t ids[ITEM_FEATURES_MAX], n = features_of(t, info, ids);
    struct str category = {0}, brand = {0};
    uint32_t *features = n ? id_arena_take(&t->arena, n * sizeof *features) : NULL;
    if ((n && !features) ||
        (info->n_category &&
         !id_arena_copy(&t->arena, info->category[info->n_category - 1], &category)) ||
        !id_arena_copy(&t->arena, info->brand, &brand)) {
        id_arena_drop(&t->arena, features, n * sizeof *features);
        id_arena_drop(&t->arena, category.p, category.n);
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < n; i++) {
        features[i] = ids[i];
        t->features.f[ids[i]].items++;
    }
    struct item_hot *h = &t->hot[row];
    struct item_cold *x = &t->cold[row];
    facts_drop(t, row);
    x->category = category;
    x->brand = brand;
    x->features = features;
    x->price = (float)info->price;
    x->margin = (float)info->margin;
    h->n_features = (uint8_t)n;
    h->has_dense = info->n_dense && dense_copy(t, row, info->dense);
    h->flags = (uint8_t)info->flags;
    h->state = (uint8_t)(ITEM_LIVE | ITEM_CATALOGUE | (info->available ? ITEM_AVAILABLE : 0));
    h->seen_s = MAX(h->seen_s, seconds(now_ms));
    if (h->has_dense)
        items_project(t, row);
    items_refresh(t, row);
    return 0;
}

void items_withdraw(struct items *t, uint32_t row) {
    t->hot[row].state &= (uint8_t) ~(ITEM_CATALOGUE | ITEM_AVAILABLE);
    items_rebase(t, row);
}

void items_project(struct items *t, uint32_t row) {
    t->k->matvec(t->dim, t->n_dense, t->proj, t->dense + (size_t)row * t->n_dense,
                 t->projected + (size_t)row * t->dim);
}

void items_rebase(struct items *t, uint32_t row) {
    const struct item_hot *h = &t->hot[row];
    bool listed = (h->state & ITEM_LIVE) && (h->state & ITEM_AVAILABLE) &&
                  !(h->flags & ITEM_RESTRICTED) && (t->show_adult || !(h->flags & ITEM_ADULT));
    float base = -INFINITY;
    if (listed)
        base = load_relaxed(&t->bias[row]) + t->trend_weight * load_relaxed(&t->trend[row]);
    store_relaxed(&t->base[row], base);
}

void items_note_norm(struct items *t, uint32_t row) {
    const float *v = item_eff(t, row);
    /* the bound must hold despite the rounding of the square root and the sum */
    float norm = sqrtf(t->k->dot(t->dim, v, v)) * 1.0001f;
    if (norm > load_relaxed(&t->norm_max))
        store_relaxed(&t->norm_max, norm);
    if (norm > load_relaxed(&t->norm_round))
        store_relaxed(&t->norm_round, norm);
}

void items_refresh(struct items *t, uint32_t row) {
    const struct item_hot *h = &t->hot[row];
    const struct item_cold *x = &t->cold[row];
    size_t at = (size_t)row * t->dim;
    float bias = load_relaxed(&h->bias), share = feature_share(h->n_features);
    /* put together aside, so that a list ranked meanwhile sees no half-built vector */
    _Alignas(64) float v[DIM_MAX];
    t->k->copy(t->dim, t->own + at, v);
    for (uint32_t i = 0; i < h->n_features; i++) {
        uint32_t f = x->features[i];
        t->k->axpy(t->dim, share, t->features.emb + (size_t)f * t->dim, v);
        bias += share * load_relaxed(&t->features.f[f].bias);
    }
    if (h->has_dense)
        t->k->axpy(t->dim, 1, t->projected + at, v);
    t->k->copy(t->dim, v, t->eff + at);
    store_relaxed(&t->bias[row], bias);
    items_rebase(t, row);
    items_note_norm(t, row);
}

void items_refresh_some(struct items *t, uint32_t n) {
    for (uint32_t i = 0; i < n && t->rows; i++) {
        uint32_t row = t->refresh_hand;
        if (t->hot[row].state & ITEM_LIVE) {
            if (t->hot[row].has_dense)
                items_project(t, row);
            items_refresh(t, row);
        }
        t->refresh_hand = row + 1;
        if (t->refresh_hand >= t->rows) {
            t->refresh_hand = 0;
            t->norm_max = t->norm_round;
            t->norm_round = 0;
        }
    }
}

size_t items_bytes(const struct items *t) {
    size_t row = sizeof *t->hot + sizeof *t->cold + sizeof *t->free_rows +
                 (3 * (size_t)t->dim + 2) * sizeof(float);
    if (t->n_dense)
        row += ((size_t)t->n_dense + t->dim) * sizeof(float);
    const struct features *f = &t->features;
    return row * t->rows + id_index_bytes(&t->index) + t->arena.bytes + id_index_bytes(&f->index) +
           f->arena.bytes + f->rows * (sizeof *f->f + f->dim * sizeof(float));
}
