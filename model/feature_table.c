#include "model/feature_table.h"

#include <math.h>

/* Large enough that items alike in content are near one another from the start. */
#define FEATURE_SCALE 0.3f

void row_init(float *row, uint32_t dim, struct str id, uint64_t seed, float scale) {
    struct rng r;
    rng_seed(&r, hash_str(id, seed));
    double sd = scale / sqrt(dim);
    for (uint32_t i = 0; i < dim; i++)
        row[i] = (float)(sd * rng_normal(&r));
}

static struct str feature_id(const void *owner, uint32_t row) {
    return ((const struct features *)owner)->f[row].id;
}

int features_init(struct features *t, uint32_t cap, uint32_t dim, uint64_t seed,
                  uint64_t hash_seed) {
    *t = (struct features){.dim = dim, .cap = cap, .seed = seed};
    t->f = rows_map(cap, sizeof *t->f);
    t->emb = rows_map(cap, dim * sizeof *t->emb);
    if (!t->f || !t->emb)
        return -ENOMEM;
    return id_index_init(&t->index, hash_seed, feature_id, t);
}

void features_done(struct features *t) {
    for (uint32_t i = 0; i < t->rows; i++)
        id_arena_drop(&t->arena, t->f[i].id.p, t->f[i].id.n);
    id_index_done(&t->index);
    id_arena_done(&t->arena);
    rows_unmap(t->f, t->cap, sizeof *t->f);
    rows_unmap(t->emb, t->cap, t->dim * sizeof *t->emb);
    *t = (struct features){0};
}

uint32_t features_intern(struct features *t, struct str id) {
    uint32_t row = id_index_find(&t->index, id);
    if (row != INDEX_NONE)
        return row;
    row = t->rows;
    if (row == t->cap) {
        t->refused++;
        return INDEX_NONE;
    }
    struct feature *f = &t->f[row];
    *f = (struct feature){0};
    if (!id_arena_copy(&t->arena, id, &f->id))
        return INDEX_NONE;
    if (id_index_add(&t->index, id, row) < 0) {
        id_arena_drop(&t->arena, f->id.p, f->id.n);
        return INDEX_NONE;
    }
    row_init(t->emb + (size_t)row * t->dim, t->dim, id, t->seed, FEATURE_SCALE);
    t->rows++;
    return row;
}

int price_band(double price) {
    double band = floor(2 * log2(price));
    return (int)fmin(fmax(band, -20), 60);
}
