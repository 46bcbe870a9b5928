#include "policy/learned.h"

#include <pthread.h>

#include "policy/bandit.h"
#include "policy/features.h"

/* The posterior is solved anew after so many outcomes, or a hundredth of all if that is more. */
enum { REFRESH_EVERY = 32, ROOMS = 64 };
/* Of Thompson sampling: what an offer changes is about a seventh of how much single outcomes
 * differ, as most people buy nothing; draws from a wider prior are noise for thousands of outcomes.
 */
#define THOMPSON_PRIOR 50

struct learned {
    struct bandit *bandit;
    struct ridge mine;     /* what this process was told; delta: and has not been added to it yet */
    pthread_rwlock_t lock; /* of all above: deciding reads */
    pthread_mutex_t room_lock;
    struct bandit_room *room[ROOMS]; /* that nobody uses now */
    size_t n_rooms;
    uint64_t told, stale; /* outcomes; since the posterior was solved */
};

static const enum bandit_kind kinds[METHOD_COUNT] = {
    [METHOD_EGREEDY] = BANDIT_GREEDY,
    [METHOD_LINUCB] = BANDIT_LINUCB,
    [METHOD_THOMPSON] = BANDIT_THOMPSON,
    [METHOD_SQUARECB] = BANDIT_SQUARECB,
};

int learned_new(enum policy_method m, uint64_t seed, struct learned **ret) {
    if (m < METHOD_EGREEDY || m > METHOD_SQUARECB)
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
    c.seed = seed;
    int r = ridge_init(&l->mine, FEATURES_SHARED + FEATURES_OWN, c.half_life_ms, c.features);
    if (r == 0)
        r = bandit_new(&c, &l->bandit);
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
    ridge_done(&l->mine);
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

/* Without memory nothing is sent. */
static void learned_decide(void *self, const struct policy_context *c, int64_t now_ms,
                           uint64_t seed, const struct arms *arms, struct choice *ret) {
    struct learned *l = self;
    uint16_t like[POLICY_PAIRS_MAX];
    struct bandit_arms of = {arms->n, arms->shared, arms->own, like, 0, FEATURES_DEPTH};
    struct bandit_room *room = room_take(l);
    struct rng rng;
    (void)c;
    (void)now_ms;
    *ret = (struct choice){-1, 1};
    if (!room)
        return;
    for (size_t i = 0; i < arms->n; i++)
        like[i] =
            i && arms->cand[i].campaign == arms->cand[i - 1].campaign ? like[i - 1] : (uint16_t)i;
    rng_seed(&rng, seed);
    pthread_rwlock_rdlock(&l->lock);
    struct bandit_choice got = bandit_decide(l->bandit, room, &of, &rng);
    pthread_rwlock_unlock(&l->lock);
    room_give(l, room);
    *ret = (struct choice){got.arm, got.propensity};
}

static void learned_learn(void *self, const struct outcome *o) {
    struct learned *l = self;
    float x[FEATURES_SHARED + FEATURES_OWN];
    if (!o->x) /* decided by another policy */
        return;
    memcpy(x, o->x, sizeof x);
    pthread_rwlock_wrlock(&l->lock);
    const float *own = o->nothing ? NULL : o->x + FEATURES_SHARED;
    if (bandit_learn(l->bandit, o->x, own, o->reward, 1, o->sent_ms)) {
        ridge_add(&l->mine, x, o->reward, 1, o->sent_ms);
        l->told++;
        l->stale++;
    }
    if (l->stale >= REFRESH_EVERY && l->stale * 100 >= l->told) {
        bandit_refresh(l->bandit, o->closed_ms); /* or decide by the old one */
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
    pthread_rwlock_unlock(&l->lock);
    return r;
}

int learned_restore(struct learned *l, bool mine, const void *p, size_t n) {
    size_t used;
    pthread_rwlock_wrlock(&l->lock);
    int r = bandit_merge(l->bandit, p, n, &used);
    if (r == 0 && mine)
        r = ridge_restore(&l->mine, p, n, &used);
    if (r == 0)
        r = bandit_refresh(l->bandit, 0);
    pthread_rwlock_unlock(&l->lock);
    return r;
}
