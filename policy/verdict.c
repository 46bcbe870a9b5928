#include "policy/verdict.h"

#include <math.h>

enum { WAYS = 4, CHAIN_MAX = 16 /* decisions that a gain is passed back over */ };

struct verdict {
    struct verdict_config c;
    uint32_t n, at; /* kept; where the next goes */
    uint32_t thin;  /* of users by their hash, one in 2^thin is kept */
    int64_t newest_ms;
    struct verdict_case *kept; /* [room], gains being all that followed so far */
    struct ope_round *round;   /* [room] */
    /* Where a trigger lies, 1 + its place; stale ones are known by what lies there. */
    uint32_t *index;
    size_t buckets; /* of WAYS places each */
};

int verdict_new(const struct verdict_config *c, struct verdict **ret) {
    autofree(verdict_free) struct verdict *v = calloc(1, sizeof *v);
    if (!v)
        return -ENOMEM;
    v->c = *c;
    v->buckets = MAX(c->room / 2, 1u);
    v->kept = calloc(c->room, sizeof *v->kept);
    v->round = calloc(c->room, sizeof *v->round);
    v->index = calloc(v->buckets * WAYS, sizeof *v->index);
    if (!v->kept || !v->round || !v->index)
        return -ENOMEM;
    verdict_clear(v);
    *ret = TAKE(v);
    return 0;
}

void verdict_free(struct verdict *v) {
    if (!v)
        return;
    free(v->kept);
    free(v->round);
    free(v->index);
    free(v);
}

void verdict_clear(struct verdict *v) {
    v->n = v->at = v->thin = 0;
    v->newest_ms = INT64_MIN;
    memset(v->index, 0, v->buckets * WAYS * sizeof *v->index);
}

double verdict_discount(int64_t gap_ms, int64_t horizon_ms) {
    return pow(0.1, (double)gap_ms / (double)horizon_ms);
}

static uint32_t *bucket_of(const struct verdict *v, uint64_t trigger) {
    return v->index + hash_bytes(&trigger, sizeof trigger, 0) % v->buckets * WAYS;
}

static struct verdict_case *find(const struct verdict *v, uint64_t trigger) {
    const uint32_t *way = bucket_of(v, trigger);
    for (size_t i = 0; trigger && i < WAYS; i++)
        if (way[i] && v->kept[way[i] - 1].trigger == trigger)
            return &v->kept[way[i] - 1];
    return NULL;
}

const struct verdict_case *verdict_find(const struct verdict *v, uint64_t trigger) {
    return find(v, trigger);
}

/* In a free place, or one whose case is gone, or else the first: that one is not found any more. */
static void remember(struct verdict *v, uint32_t place) {
    uint64_t trigger = v->kept[place].trigger;
    uint32_t *way = bucket_of(v, trigger), *to = way;
    for (size_t i = 0; i < WAYS; i++)
        if (!way[i] || bucket_of(v, v->kept[way[i] - 1].trigger) != way) {
            to = &way[i];
            break;
        }
    *to = place + 1;
}

static bool is_kept(const struct verdict *v, uint64_t user) {
    return !v->thin || hash_bytes(&user, sizeof user, 1) >> (64 - v->thin) == 0;
}

/* Every second user's cases go, and those that stay move together. */
static void thin_out(struct verdict *v) {
    uint32_t kept = 0;
    v->thin++;
    memset(v->index, 0, v->buckets * WAYS * sizeof *v->index);
    for (uint32_t i = 0; i < v->n; i++) {
        struct verdict_case k = v->kept[(v->at + i) % v->n]; /* oldest first */
        if (is_kept(v, k.user))
            v->kept[kept++] = k;
    }
    v->n = v->at = kept;
    for (uint32_t i = 0; i < kept; i++)
        remember(v, i);
}

/* Adds what came of a case to those before it. What was usual is known from before each of them: it
 * takes noise off, and nothing of what they changed. */
static void pass_back(struct verdict *v, const struct verdict_case *k) {
    uint64_t before = k->before;
    int64_t last_ms = k->at_ms;
    for (int i = 0; i < CHAIN_MAX; i++) {
        struct verdict_case *b = find(v, before);
        if (!b || b->user != k->user || b->at_ms > last_ms ||
            k->at_ms - b->at_ms > v->c.horizon_ms || b->before == before)
            return;
        b->gain += verdict_discount(k->at_ms - b->at_ms, v->c.horizon_ms) * (k->gain - b->usual);
        before = b->before;
        last_ms = b->at_ms;
    }
}

void verdict_note(struct verdict *v, const struct verdict_case *k) {
    if (!is_kept(v, k->user) || !isfinite(k->gain) || !isfinite(k->usual) || isinf(k->weight))
        return;
    v->newest_ms = MAX(v->newest_ms, k->at_ms);
    v->at %= v->c.room;
    if (v->n == v->c.room && v->kept[v->at].at_ms > v->newest_ms - v->c.horizon_ms && v->thin < 32)
        thin_out(v);
    v->at %= v->c.room;
    v->kept[v->at] = *k;
    v->kept[v->at].gain -= k->usual;
    v->n = MAX(v->n, v->at + 1);
    remember(v, v->at++);
    pass_back(v, k);
}

static bool judged(const struct verdict *v, const struct verdict_case *k) {
    return !isnan(k->weight) && k->at_ms <= v->newest_ms - v->c.horizon_ms / 2;
}

int verdict_judge(struct verdict *v, struct verdict_result *ret) {
    static const struct ope_config c = {.tau = INFINITY, .level = .9};
    struct ope_result weights, difference;
    double mean = 0;
    size_t n = 0;
    *ret = (struct verdict_result){.advantage = NAN, .se = NAN};
    for (uint32_t i = 0; i < v->n; i++) {
        const struct verdict_case *k = &v->kept[i];
        if (!judged(v, k))
            continue;
        v->round[n++] =
            (struct ope_round){.reward = k->gain, .weight = k->weight, .group = k->user};
        mean += k->gain;
        ret->contested += (k->weight - 1) * (k->weight - 1);
    }
    ret->n = n;
    if (!(ret->contested >= v->c.least))
        return -ENODATA;
    int r = ope_estimate(v->round, n, -1, &c, &weights);
    if (r < 0)
        return r;
    /* (p - q) / ((p + q) / 2) = 2 (w - 1), whose mean is 0, so that what all gain in the mean tells
     * nothing but noise. */
    for (size_t i = 0; i < n; i++) {
        v->round[i].reward -= mean / (double)n;
        v->round[i].weight = 2 * (v->round[i].weight - 1);
    }
    r = ope_estimate(v->round, n, -1, &c, &difference);
    if (r < 0)
        return r;
    ret->advantage = difference.by[OPE_IPS].value;
    ret->se = difference.by[OPE_IPS].se;
    ret->warnings = weights.warnings;
    return 0;
}
