/* What image.c, which writes, and image_read.c share. */
#pragma once

#include "model/image.h"
#include "model/regions.h"
#include "model/sgd.h"

/* Key: 'x', what (a region's number, or one of these), u32 number of the page or row. Value: a
 * block (block.h) of the key and the bytes. */
enum { KIND = 'x', HEAD = 255, ITEM = 254, FEATURE = 253, KEY = 6 };
enum { VERSION = 1, PAGE = 2048, SMALL = 64 /* bytes: goes into the head */, WATCHED_MAX = 4 };
/* The first regions; up to MADE what is made from the others, in part long ago. */
enum { EFF, BIAS, BASE, PROJECTED, MADE, HOT = MADE, FEATURES, PROJ };
_Static_assert((int)REGIONS_MAX < (int)FEATURE, "a region's number is a byte");

/* Hashes of what was put last, by page or row; 0: nothing. */
struct known {
    uint64_t *hash;
    size_t n, cap;
};

/* What was read back, until image_settle. */
struct kept {
    uint8_t *p;
    uint8_t *there; /* per page */
    size_t bytes;   /* whole pages */
};

struct kept_rows {
    struct buf *row;
    size_t n;
};

struct image {
    struct model *m;
    struct learner *l;
    struct region watched[WATCHED_MAX];
    size_t n_watched;
    struct known known[REGIONS_MAX], items, features;
    uint64_t head_hash;
    struct kept kept[REGIONS_MAX];
    struct kept_rows kept_items, kept_features;
    struct buf head;
    size_t made[MADE]; /* bytes of the made regions, and what bounds them, as read back */
    float norm_max, norm_round;
    struct buf key, value;
};

static inline bool image_small(const struct region *r) {
    return r->one && r->cap <= SMALL;
}

/* Of all items, and of the whole image; numbered alike at every call. */
void image_items_regions(struct items *t, struct regions *s);
void image_regions(const struct image *i, struct regions *s);
void image_kept_free(struct image *i); /* what was read back */
