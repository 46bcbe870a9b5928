/* Embeddings shared by items: one row per category path, brand, price band and
 * tag. */
#pragma once

#include "model/index.h"

/* A feature's id is its kind ('c' category path, 'b' brand, 'p' price band, 't' tag)
 * and its text, path levels joined by 0x1f. */
struct feature {
    struct str id; /* in the arena */
    float acc;     /* AdaGrad accumulator of the embedding */
    float bias, bias_acc;
    uint32_t items; /* how many items have it */
    bool dirty;     /* changed since last handed out by model_dirty_next */
};

struct features {
    uint32_t dim, cap, rows;
    uint64_t seed;
    struct feature *f;
    float *emb; /* float[cap][dim] */
    struct id_index index;
    struct id_arena arena;
    uint64_t refused; /* asked for while the table was full */
};

/* Features an item can have: path levels, brand, price band, tags. */
enum { ITEM_FEATURES_MAX = 24 };

/* `seed` of first embeddings, `hash_seed` of the index. 0, -ENOMEM. */
int features_init(struct features *t, uint32_t cap, uint32_t dim, uint64_t seed,
                  uint64_t hash_seed);
void features_done(struct features *t); /* accepts a zeroed one */

/* Row of a feature, made if needed; INDEX_NONE when the table is full or memory is out.
 * Rows are never given up: what was learned of a brand outlives its items. [structural] */
uint32_t features_intern(struct features *t, struct str id);

/* Band of a price, half-octaves: 2^(band/2) <= price < 2^((band+1)/2), within -20..60. */
int price_band(double price);

/* First weights of a row: normal with standard deviation scale/√dim, from a stream of its
 * own, so that they depend on (id, seed) alone. */
void row_init(float *row, uint32_t dim, struct str id, uint64_t seed, float scale);
