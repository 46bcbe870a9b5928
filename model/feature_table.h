/* Embeddings shared by items: one row per category path, brand, price band and
 * tag, and the projection of dense vectors into the embedding space. */
#pragma once

#include "model/index.h"

/* A feature's id is its kind ('c' category path, 'b' brand, 'p' price band, 't' tag)
 * and its text, path levels joined by 0x1f. */
struct feature {
    struct str id; /* in the arena */
    float acc, bias, bias_acc;
    uint32_t items; /* how many items have it */
    bool dirty;
};

struct features {
    uint32_t dim, cap, rows;
    struct feature *f;
    float *emb; /* float[cap][dim] */
    struct id_index index;
    struct id_arena arena;
    uint64_t refused; /* features left out because the table was full */
};
