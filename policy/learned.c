#include "policy/learned.h"

#include <pthread.h>

#include "model/block.h"

#include "policy/bandit.h"
#include "policy/features.h"
#include "policy/sway.h"

/* The posterior is solved anew after so many outcomes, or a hundredth of all if that is more. */
enum { REFRESH_EVERY = 32, ROOMS = 64 };
/* Of Thompson sampling: what an offer changes is about a seventh of how much single outcomes
 * differ, as most people buy nothing; draws from a wider prior are noise for thousands of outcomes.
 */
#define THOMPSON_PRIOR 15

/* Share of decisions spread evenly: enough that logs can tell what any other policy would have
 * earned, and little of what is earned. */
#define EXPLORE 0.02
#define EXPLORE_FIRST 20 /* and more while little is known */

struct learned {
    struct bandit *bandit; /* of all samples: */
    struct ridge mine;     /* what this process was told, */
    struct peer {
        uint64_t who;
        struct ridge sums;
    } * other; /* and the others */
    size_t n_other;
    struct sway *sway;     /* chooses, and asks the bandit; NULL: the bandit itself does */
    int64_t newest_ms;     /* outcome that was told */
    pthread_rwlock_t lock; /* of all above: deciding reads */
    pthread_mutex_t room_lock;
    struct bandit_room *room[ROOMS]; /* that nobody uses now */
    size_t n_rooms;
    uint64_t told, stale; /* outcomes; since the posterior was solved */
};

static const enum bandit_kind kinds[METHOD_COUNT] = {
    [METHOD_EGREEDY] = BANDIT_GREEDY,    [METHOD_LINUCB] = BANDIT_LINUCB,
    [METHOD_THOMPSON] = BANDIT_THOMPSON, [METHOD_SQUARECB] = BANDIT_SQUARECB,
    [METHOD_UPLIFT] = BANDIT_GREEDY,
};

int learned_new(enum policy_method m, uint64_t seed, struct learned **ret) {
    if (m < METHOD_EGREEDY || m > METHOD_UPLIFT)
        return -ENOTSUP;
    autofree(learned_free) struct learned *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    pthread_rwlock_init(&l->lock, NULL);
    pthread_mutex_init(&l->room_lock, NULL);
    struct bandit_config c = bandit_defaults(kinds[m], FEATURES_SHARED, FEATURES_OWN);
    c.arms_max = POLICY_PAIRS_MAX;
    c.features = FEATURES_VERSION;
    if (m == METHOD_THOMPSON)
        c.prior = THOMPSON_PRIOR;
    c.explore = EXPLORE;
    c.explore_n = EXPLORE_FIRST;
    c.seed = seed;
    int r = ridge_init(&l->mine, FEATURES_SHARED + FEATURES_OWN, c.half_life_ms, c.features);
    if (r == 0)
        r = bandit_new(&c, &l->bandit);
    if (r == 0 && m == METHOD_UPLIFT)
        r = sway_new(&l->sway);
    if (r == 0)
        *ret = TAKE(l);
    return r;
}

void learned_free(struct learned *l) {
    if (!l)
        return;
    for (size_t i = 0; i < l->n_rooms; i++)
        bandit_room_free(l->room[i]);
    bandit_free(l->bandit);
    sway_free(l->sway);
    ridge_done(&l->mine);
    for (size_t i = 0; i < l->n_other; i++)
        ridge_done(&l->other[i].sums);
    free(l->other);
    pthread_mutex_destroy(&l->room_lock);
    pthread_rwlock_destroy(&l->lock);
    free(l);
}

/* NULL: memory is out. */
static struct bandit_room *room_take(struct learned *l) {
    struct bandit_room *room = NULL;
    pthread_mutex_lock(&l->room_lock);
    if (l->n_rooms)
        room = l->room[--l->n_rooms];
    pthread_mutex_unlock(&l->room_lock);
    if (!room && bandit_room_new(l->bandit, &room) < 0)
        return NULL;
    return room;
}

static void room_give(struct learned *l, struct bandit_room *room) {
    pthread_mutex_lock(&l->room_lock);
    if (l->n_rooms < ROOMS)
        l->room[l->n_rooms++] = TAKE(room);
    pthread_mutex_unlock(&l->room_lock);
    bandit_room_free(room);
}

/* Offers of one campaign differ only in their depth. */
static struct bandit_arms bandit_arms_of(const struct arms *arms, uint16_t *like) {
    for (size_t i = 0; i < arms->n;)
        for (size_t first = i, end = i + 1 + arms->cand[i].more; i < end; i++)
            like[i] = (uint16_t)first;
    return (struct bandit_arms){
        .n = arms->n, .shared = arms->shared, .own = arms->own, .like = like, .to = FEATURES_DEPTH};
}

/* Without memory nothing is sent. */
static void learned_decide(void *self, const struct policy_context *c, int64_t now_ms,
                           uint64_t seed, const struct arms *arms, struct choice *ret) {
    struct learned *l = self;
    uint16_t like[POLICY_PAIRS_MAX];
    struct bandit_arms of = bandit_arms_of(arms, like);
    struct bandit_room *room = room_take(l);
    struct rng rng;
    (void)c;
    (void)now_ms;
    *ret = (struct choice){.index = -1, .propensity = 1};
    if (!room)
        return;
    rng_seed(&rng, seed);
    pthread_rwlock_rdlock(&l->lock);
    if (l->sway) {
        sway_choose(l->sway, arms, bandit_gains(l->bandit, room, &of), bandit_explores(l->bandit),
                    &rng, ret);
    } else {
        struct bandit_choice got = bandit_decide(l->bandit, room, &of, &rng);
        ret->index = got.arm;
        ret->propensity = got.propensity;
    }
    pthread_rwlock_unlock(&l->lock);
    room_give(l, room);
}

bool learned_probabilities(struct learned *l, const struct arms *arms, double cost, double *ret) {
    uint16_t like[POLICY_PAIRS_MAX];
    struct bandit_arms of = bandit_arms_of(arms, like);
    struct bandit_room *room = room_take(l);
    if (!room)
        return false;
    of.cost = (float)cost;
    pthread_rwlock_rdlock(&l->lock);
    bandit_probabilities(l->bandit, room, &of, ret);
    pthread_rwlock_unlock(&l->lock);
    room_give(l, room);
    return true;
}

double learned_mean(struct learned *l, const float *shared, const float *own) {
    double mean;
    pthread_rwlock_rdlock(&l->lock);
    bandit_estimate(l->bandit, shared, own, &mean, NULL);
    pthread_rwlock_unlock(&l->lock);
    return mean;
}

void learned_explore(struct learned *l, double share) {
    bandit_explore(l->bandit, share);
}

double learned_noise(struct learned *l, double *ret_samples) {
    pthread_rwlock_rdlock(&l->lock);
    double noise = bandit_noise(l->bandit);
    *ret_samples = bandit_samples(l->bandit);
    pthread_rwlock_unlock(&l->lock);
    return noise;
}

static void learned_learn(void *self, const struct outcome *o) {
    struct learned *l = self;
    float x[FEATURES_SHARED + FEATURES_OWN];
    if (!o->x) /* decided by another policy */
        return;
    memcpy(x, o->x, sizeof x);
    if (o->nothing)
        memset(x + FEATURES_SHARED, 0, FEATURES_OWN * sizeof *x);
    pthread_rwlock_wrlock(&l->lock);
    l->newest_ms = MAX(l->newest_ms, o->closed_ms);
    const float *own = o->nothing ? NULL : o->x + FEATURES_SHARED;
    if (bandit_learn(l->bandit, o->x, own, o->reward, 1, o->sent_ms)) {
        ridge_add(&l->mine, x, o->reward, 1, o->sent_ms);
        l->told++;
        l->stale++;
        if (l->sway)
            sway_learn(l->sway, o);
    }
    if (l->stale >= REFRESH_EVERY && l->stale * 100 >= l->told) {
        bandit_refresh(l->bandit, o->closed_ms); /* or decide by the old one */
        if (l->sway)
            sway_refresh(l->sway, o->closed_ms);
        l->stale = 0;
    }
    pthread_rwlock_unlock(&l->lock);
}

const struct policy_kind policy_learned = {
    .name = "learned", .features = true, .decide = learned_decide, .learn = learned_learn};

int learned_encode(struct learned *l, struct buf *out, uint64_t *ret_samples) {
    pthread_rwlock_rdlock(&l->lock);
    *ret_samples = l->told;
    int r = ridge_encode(&l->mine, out);
    if (r == 0 && l->sway)
        r = sway_encode(l->sway, out);
    pthread_rwlock_unlock(&l->lock);
    return r;
}

enum { KEEP_VERSION = 1 };

int learned_keep(struct learned *l, struct buf *out) {
    size_t at = block_begin(out, KEEP_VERSION);
    pthread_rwlock_rdlock(&l->lock);
    wire_put_u64(out, l->told);
    wire_put_u64(out, l->stale);
    wire_put_u64(out, (uint64_t)l->newest_ms);
    int r = ridge_encode(&l->mine, out);
    if (r == 0)
        r = bandit_keep(l->bandit, out);
    pthread_rwlock_unlock(&l->lock);
    return r < 0 ? r : block_end(out, at);
}

static int resume(struct learned *l, struct wire *w) {
    size_t used = 0;
    uint64_t told = wire_get_u64(w), stale = wire_get_u64(w), newest_ms = wire_get_u64(w);
    int r = w->bad ? -EBADMSG : ridge_restore(&l->mine, w->p, (size_t)(w->end - w->p), &used);
    w->p += used;
    if (r == 0)
        r = bandit_resume(l->bandit, w->p, (size_t)(w->end - w->p), &used);
    if (r < 0)
        return r;
    w->p += used;
    l->told = told;
    l->stale = stale;
    l->newest_ms = (int64_t)newest_ms;
    return w->p == w->end ? 0 : -EBADMSG;
}

int learned_resume(struct learned *l, const void *p, size_t n) {
    struct wire w;
    size_t used;
    int r = block_open(p, n, KEEP_VERSION, &w, &used);
    if (r < 0 || used != n)
        return -EBADMSG;
    pthread_rwlock_wrlock(&l->lock);
    r = resume(l, &w);
    pthread_rwlock_unlock(&l->lock);
    return r;
}

uint64_t learned_told(struct learned *l) {
    pthread_rwlock_rdlock(&l->lock);
    uint64_t told = l->told;
    pthread_rwlock_unlock(&l->lock);
    return told;
}

/* NULL: memory is out. */
static struct ridge *part_of(struct learned *l, uint64_t who) {
    if (!who)
        return &l->mine;
    for (size_t i = 0; i < l->n_other; i++)
        if (l->other[i].who == who)
            return &l->other[i].sums;
    struct peer *more = reallocarray(l->other, l->n_other + 1, sizeof *more);
    if (!more)
        return NULL;
    l->other = more;
    struct peer *peer = &more[l->n_other];
    peer->who = who;
    if (ridge_init(&peer->sums, l->mine.dim, l->mine.half_life_ms, l->mine.features) < 0)
        return NULL;
    l->n_other++;
    return &peer->sums;
}

static int assemble(struct learned *l) {
    autofree(free) const struct ridge **part = calloc(l->n_other + 1, sizeof *part);
    if (!part)
        return -ENOMEM;
    part[0] = &l->mine;
    for (size_t i = 0; i < l->n_other; i++)
        part[1 + i] = &l->other[i].sums;
    int r = bandit_assemble(l->bandit, part, l->n_other + 1);
    return r < 0 ? r : bandit_refresh(l->bandit, l->newest_ms);
}

int learned_restore(struct learned *l, uint64_t who, const void *p, size_t n) {
    size_t used = 0;
    pthread_rwlock_wrlock(&l->lock);
    struct ridge *part = part_of(l, who);
    int r = !part ? -ENOMEM : 0;
    if (r == 0 && n)
        r = ridge_restore(part, p, n, &used);
    else if (r == 0)
        ridge_clear(part);
    if (r == 0 && l->sway)
        r = sway_restore(l->sway, who, (const uint8_t *)p + used, n - used, l->newest_ms);
    if (r == 0)
        r = assemble(l);
    pthread_rwlock_unlock(&l->lock);
    return r;
}
