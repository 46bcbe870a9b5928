/* What the shortlist's files share: the query, the sums per item and what becomes of them. */
#pragma once

#include "model/context.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/sessions.h"
#include "model/shortlist.h"

enum {
    QUERY = PROFILE_TRAIL_MAX,
    WIDE = 20, /* of the user's items, newest first: those whose company and content count */
    AHEAD = 6, /* rows fetched before they are needed */
};

struct sums {
    float v[SUMS];
    float pre; /* what the shortlist is cut by */
    uint32_t item;
};

/* An item of the user's trail, once. */
struct met {
    uint32_t item;
    uint32_t newest, oldest; /* places from the end: 0 is the newest event */
    uint32_t times;
    bool now;              /* in the running session */
    float own[PAIR_KINDS]; /* what the running session added to its pairs' totals */
};

struct neighbour {
    float likeness;
    uint32_t slot;
};

struct shortlist {
    const struct model *m;
    /* the query */
    uint32_t n_trail, n_session; /* events; of the running session */
    struct trail_item trail[QUERY];
    uint32_t n_met;
    struct met met[QUERY]; /* newest first, those of the running session before others */
    /* sums per item */
    struct sums *pool;
    uint32_t n_pool;
    struct sums chosen[SHORTLIST_MAX];
    uint32_t *place; /* per item row: place in the pool + 1 */
    /* sessions */
    float *likeness;  /* per slot of the store */
    uint16_t *shared; /* first and second anchor shared */
    uint32_t *number; /* which session the likeness is of */
    struct neighbour *near;
    /* out: rows left out are marked */
    uint8_t *barred;
    /* features of the trail, for likeness in content */
    float *taste; /* per feature row */
    /* results */
    uint32_t n;
    uint32_t item[SHORTLIST_MAX];
    uint8_t because[SHORTLIST_MAX];
    float *matrix;
    float *scan; /* float[SCANNED] */
};

/* log(x) to 1e-4 for positive normal x: a polynomial on the mantissa. The same bits on every
 * machine, which a library's need not be. */
static inline float fast_log(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    float e = (float)((int)(bits >> 23) - 127);
    bits = (bits & 0x7fffff) | 0x3f800000;
    float m;
    memcpy(&m, &bits, sizeof m);
    float p = -2.153620718f + m * (3.047884161f + m * (-1.051875031f + m * 0.1582487046f));
    return (e + p) * 0.69314718f;
}

static inline bool shortlist_has(const struct shortlist *s, enum part p) {
    return !(s->m->c.parts_off >> p & 1);
}

/* Columns and reasons of the candidates that s->chosen holds; n_neighbours: sessions that voted. */
void shortlist_describe(struct learner *l, struct shortlist *s, const struct user *u,
                        uint32_t n_neighbours);
