/* The item table: ids, catalogue facts, and what was learned of each item.
 *
 * The vector an item is ranked by is `eff` = own + (sum of its features' embeddings)/√n
 * + P·dense, and `bias` likewise without P. Both are materialised, because ranking reads
 * them as one matrix: a learning step updates the rows it touches, and items_refresh_some
 * brings the others up to date with features that moved. */
#pragma once

#include "model/feature_table.h"
#include "model/kernels.h"
#include "model/model.h"

enum { DIM_MAX = 512 };

enum item_state {
    ITEM_LIVE = 1 << 0,      /* the row holds an item; otherwise it is a hole */
    ITEM_CATALOGUE = 1 << 1, /* known from the catalogue: never expires */
    ITEM_AVAILABLE = 1 << 2, /* can be had; items outside the catalogue are taken to be */
};

/* What learning touches besides the vectors. Under Hogwild acc, bias, bias_acc, seen_s
 * and the marks are read and written by several threads: through relaxed atomics only. */
struct item_hot {
    float acc;       /* AdaGrad accumulator of the free embedding */
    float in_acc;    /* of the intent vector */
    float bias;      /* free part of the bias */
    float bias_acc;  /* its accumulator */
    uint32_t seen_s; /* newest event or catalogue record, Unix seconds */
    uint32_t born_s; /* when the row went from another item to this one, 0: never did */
    uint32_t category_key;
    uint8_t state; /* enum item_state */
    uint8_t flags; /* enum item_flags */
    uint8_t n_features;
    bool has_dense;
    bool dirty;         /* vectors, biases or trend changed since last handed out by */
    bool company_dirty; /* model_dirty_next; so did what is counted of the item and others */
};

/* Facts that only people, filters and encoders ask for. */
struct item_cold {
    struct str id, category, brand; /* in the arena */
    uint32_t *features;             /* rows of the feature table, in the arena */
    float price, margin;
};

struct items {
    const struct kernels *k;
    uint32_t dim, cap;
    uint32_t rows; /* 0..rows-1 are in use or holes */
    uint32_t live, free_n;
    uint32_t *free_rows; /* holes, last in first out */
    struct item_hot *hot;
    struct item_cold *cold;
    float *own;  /* float[cap][dim]: free embeddings */
    float *in;   /* float[cap][dim]: what having met the item makes one want; see sgd.h */
    float *eff;  /* float[cap][dim] */
    float *bias; /* effective bias: free + features */
    float *base; /* what ranking adds to the dot product; -INFINITY: never listed */
    float *proj; /* P, float[dim][n_dense]; NULL before the first dense vector */
    float proj_acc;
    bool proj_dirty;
    uint32_t n_dense;
    float *dense;     /* float[cap][n_dense], of unit length */
    float *projected; /* float[cap][dim]: P·dense of each row */
    float norm_max;   /* no row of eff is longer */
    float norm_round; /* longest seen in this round of refreshing */
    struct id_index index;
    struct id_arena arena;
    struct features features;
    uint64_t seed;
    bool show_adult;
    float trend_weight;
    const float *trend; /* scores per row, see trend_scores */
    uint32_t evict_hand, refresh_hand;
};

int items_init(struct items *t, const struct model_config *c, uint64_t hash_seed,
               const float *trend_scores);
void items_done(struct items *t); /* accepts a zeroed one */

static inline float *item_eff(const struct items *t, uint32_t row) {
    return t->eff + (size_t)row * t->dim;
}

/* Weight of each of n features in an item's vector: their sum keeps its length, however
 * many they are. */
static inline float feature_share(uint32_t n) {
    return n ? 1 / __builtin_sqrtf((float)n) : 0;
}

/* A row for an id that has none, as an item outside the catalogue; INDEX_NONE when the
 * table is full or memory is out. [structural] */
uint32_t items_add(struct items *t, struct str id, int64_t now_ms);
/* Gives a row up; the caller has told the other tables. [structural] */
void items_remove(struct items *t, uint32_t row);
/* The stalest of a window of rows outside the catalogue (clock with sampling: at most one
 * round over the table), or INDEX_NONE when there is none. [structural] */
uint32_t items_stale(struct items *t);
/* Takes over what the catalogue says. 0, -ENOMEM, -EINVAL (dense width). [structural] */
int items_describe(struct items *t, uint32_t row, const struct item_info *info, int64_t now_ms);
/* The tombstone: the item leaves the catalogue and can't be had. [structural] */
void items_withdraw(struct items *t, uint32_t row);

/* Marks what is counted of the item and others as changed. [shared] */
static inline void items_touch(struct items *t, uint32_t row) {
    __atomic_store_n(&t->hot[row].company_dirty, true, __ATOMIC_RELAXED);
}

/* Recomputes eff, bias and base of a row from its parts. [shared] */
void items_refresh(struct items *t, uint32_t row);
void items_project(struct items *t, uint32_t row); /* projected = P·dense */
/* Base of a row alone: after its bias or trend moved. [shared] */
void items_rebase(struct items *t, uint32_t row);
/* Keeps norm_max above the row's length. [shared] */
void items_note_norm(struct items *t, uint32_t row);
/* Refreshes the next n rows, going round. [structural] */
void items_refresh_some(struct items *t, uint32_t n);

/* The projection's memory, once the width of dense vectors is known: 0, -ENOMEM, -EINVAL
 * (another width was seen before). [structural] */
int items_set_dense(struct items *t, size_t n_dense);

size_t items_bytes(const struct items *t); /* used by rows in use, features included */
