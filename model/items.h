/* The item table: ids, catalogue facts, and what was learned of each item. */
#pragma once

#include "model/feature_table.h"
#include "model/index.h"
#include "model/model.h"

enum item_state {
    ITEM_LIVE = 1 << 0,      /* the row holds an item; otherwise it is a hole */
    ITEM_CATALOGUE = 1 << 1, /* known from the catalogue: never expires */
    ITEM_AVAILABLE = 1 << 2, /* can be had; items outside the catalogue are taken to be */
    ITEM_DIRTY = 1 << 3,     /* changed since it was last handed out by model_dirty_next */
};

/* What a learning step touches besides the vectors. Under Hogwild these are read
 * and written by several threads: always through the relaxed helpers of kernels.h. */
struct item_hot {
    float acc;       /* AdaGrad accumulator of the free embedding */
    float bias;      /* free part of the bias */
    float bias_acc;  /* its accumulator */
    uint32_t count;  /* learned events, for negatives and popularity */
    uint32_t seen_s; /* newest event or catalogue record, Unix seconds */
    uint32_t born_s; /* when the row was given to this item: older references mean another one */
    uint32_t category_key;
    uint8_t state; /* enum item_state */
    uint8_t flags; /* enum item_flags */
    uint8_t n_features;
    uint8_t has_dense;
};

/* Facts that only people, filters and encoders ask for. */
struct item_cold {
    struct str id, category, brand; /* in the arena */
    uint32_t *features; /* rows of the feature table, n_features of them, in the arena */
    float price, margin;
};

struct items {
    uint32_t dim, cap;
    uint32_t rows; /* 0..rows-1 are in use or holes */
    uint32_t live, free_n;
    uint32_t *free_rows; /* holes, last in first out */
    struct item_hot *hot;
    struct item_cold *cold;
    float *own;  /* float[cap][dim]: free embeddings */
    float *eff;  /* float[cap][dim]: own + features + projection of the dense vector */
    float *bias; /* effective bias: free + features */
    float *base; /* what ranking adds to the dot product: bias + trend; -INFINITY: never listed */
    uint32_t n_dense;
    float *dense;     /* float[cap][n_dense], once the first dense vector was seen */
    float *projected; /* float[cap][dim]: P·dense of each row */
    struct id_index index;
    struct id_arena arena;
    struct features features;
    uint32_t evict_hand, refresh_hand;
    uint64_t evicted, expired;
};
