#include "policy/sway.h"

#include <math.h>

#include "policy/features.h"
#include "policy/uplift.h"

/* Depths: nothing; a message, free shipping; up to 7.5, up to 15, more than 15 % off. */
enum { DEPTHS = 5, SHARED = 9, OWN = 5, COLUMNS = SHARED + OWN };
#define KNOWN 2000 /* samples before effects are believed */

static const uint8_t shared_column[SHARED] = {
    FS_ONE,           FS_BASKET,       FS_BASKET_OFTEN,
    FS_BASKET_OFTEN2, FS_BASKET_CART,  FS_BASKET_CART_OFTEN,
    FS_BASKET_WEARY,  FS_BASKET_OPENS, FS_BASKET_BARGAINS};
static const uint8_t own_column[OWN] = {FO_VALUE, FO_VALUE_FIT, FO_VALUE_FIT2, FO_VALUE_CART,
                                        FO_FIT};

struct sway {
    struct uplift *all, *mine; /* of all processes, and what this one was told */
    struct sway_part {
        uint64_t who;
        struct buf record;
    } * other;
    size_t n_other;
};

static int effects_new(struct uplift **ret) {
    struct uplift_config c = uplift_defaults(UPLIFT_LINEAR, COLUMNS, DEPTHS);
    c.features = FEATURES_VERSION;
    return uplift_new(&c, ret);
}

int sway_new(struct sway **ret) {
    autofree(sway_free) struct sway *s = calloc(1, sizeof *s);
    int r = s ? effects_new(&s->all) : -ENOMEM;
    if (r == 0)
        r = effects_new(&s->mine);
    if (r == 0)
        *ret = TAKE(s);
    return r;
}

void sway_free(struct sway *s) {
    if (!s)
        return;
    uplift_free(s->all);
    uplift_free(s->mine);
    for (size_t i = 0; i < s->n_other; i++)
        buf_free(&s->other[i].record);
    free(s->other);
    free(s);
}

static uint32_t depth_of(const float *own) {
    float share = own[FO_VALUE] > 0 ? own[FO_PERCENT_VALUE] / own[FO_VALUE] * 0.2f : 0;
    share = share > own[FO_AMOUNT] ? share : own[FO_AMOUNT];
    return !own[FO_ONE] ? 0 : share <= 0 ? 1 : share <= 0.075f ? 2 : share <= 0.15f ? 3 : 4;
}

static void columns_of(const float *shared, const float *own, float *ret) {
    for (size_t i = 0; i < SHARED; i++)
        ret[i] = shared[shared_column[i]];
    for (size_t i = 0; i < OWN; i++)
        ret[SHARED + i] = own[own_column[i]];
}

void sway_choose(const struct sway *s, const struct arms *arms, const float *mean, double explore,
                 struct rng *rng, struct choice *ret) {
    int of[DEPTHS] = {-1, -1, -1, -1, -1};
    size_t foremost = 0, open = 1;
    for (size_t i = 0; i < arms->n; i++) {
        uint32_t d = depth_of(arms->own + i * FEATURES_OWN);
        open += of[d] < 0;
        if (of[d] < 0 || mean[i] > mean[of[d]])
            of[d] = (int)i;
        if (mean[i] > mean[foremost])
            foremost = i;
    }
    float x[COLUMNS];
    uint32_t best = 0;
    double most = 0;
    /* the same for all depths, so that nothing knows as much */
    columns_of(arms->shared, arms->own + foremost * FEATURES_OWN, x);
    for (uint32_t d = 1; d < DEPTHS; d++) {
        double effect = of[d] < 0 ? -INFINITY : mean[of[d]];
        if (of[d] >= 0 && uplift_samples(s->all) >= KNOWN) {
            double learned;
            uplift_effect(s->all, x, d, &learned, NULL);
            effect = (effect + learned) / 2;
        }
        if (effect > most) {
            most = effect;
            best = d;
        }
    }
    uint32_t taken = best;
    if (rng_unit(rng) < explore)
        for (uint32_t k = rng_below(rng, (uint32_t)open), d = 0; d < DEPTHS; d++)
            if ((d == 0 || of[d] >= 0) && k-- == 0)
                taken = d;
    ret->index = of[taken];
    ret->propensity = explore / (double)open + (taken == best ? 1 - explore : 0);
    ret->instead = foremost + 1;
}

bool sway_learn(struct sway *s, const struct outcome *o) {
    float x[COLUMNS];
    const float *own = o->x + FEATURES_SHARED;
    double p[DEPTHS] = {0};
    uint32_t arm = o->nothing ? 0 : depth_of(own);
    if (!own[FO_ONE])
        return false;
    columns_of(o->x, own, x);
    p[arm] = o->propensity;
    struct uplift_sample sample = {
        .x = x, .arm = arm, .y = o->reward, .p = p, .weight = 1, .time_ms = o->sent_ms};
    return uplift_learn(s->mine, &sample) && uplift_learn(s->all, &sample);
}

void sway_refresh(struct sway *s, int64_t now_ms) {
    if (uplift_refresh(s->all, now_ms) == 0)
        uplift_refresh(s->mine, now_ms);
}

int sway_encode(const struct sway *s, struct buf *out) {
    return uplift_encode(s->mine, out);
}

/* NULL: memory is out. */
static struct sway_part *part_of(struct sway *s, uint64_t who) {
    for (size_t i = 0; i < s->n_other; i++)
        if (s->other[i].who == who)
            return &s->other[i];
    struct sway_part *more = reallocarray(s->other, s->n_other + 1, sizeof *more);
    if (!more)
        return NULL;
    s->other = more;
    more[s->n_other] = (struct sway_part){.who = who};
    return &more[s->n_other++];
}

/* All samples of `mine` and the others, anew. */
static int assemble(struct sway *s, int64_t now_ms) {
    struct buf own = {0};
    size_t used;
    int r = uplift_encode(s->mine, &own);
    if (r == 0)
        r = uplift_restore(s->all, own.p, own.n, &used);
    buf_free(&own);
    for (size_t i = 0; r == 0 && i < s->n_other; i++)
        if (s->other[i].record.n)
            r = uplift_merge(s->all, s->other[i].record.p, s->other[i].record.n, &used);
    if (r == 0)
        uplift_refresh(s->all, now_ms);
    return r;
}

int sway_restore(struct sway *s, uint64_t who, const void *p, size_t n, int64_t now_ms) {
    autofree(uplift_free) struct uplift *fresh = NULL; /* what the record says, if it is sound */
    size_t used;
    int r = effects_new(&fresh);
    if (r == 0 && n)
        r = uplift_restore(fresh, p, n, &used);
    if (r < 0)
        return r;
    if (who) {
        struct sway_part *part = part_of(s, who);
        if (!part)
            return -ENOMEM;
        buf_reset(&part->record);
        buf_put(&part->record, p, n);
        r = part->record.failed ? -ENOMEM : 0;
    } else {
        uplift_free(s->mine);
        s->mine = TAKE(fresh);
        uplift_refresh(s->mine, now_ms);
    }
    return r ? r : assemble(s, now_ms);
}
