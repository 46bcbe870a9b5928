#include "consumer/lane.h"

/* Changelog keys: 'u' + user id, or 'l' for the lane's own record. Values begin
 * with a version byte; the parts behind it carry checksums of their own. */
enum { KEY_USER = 'u', KEY_LANE = 'l', USER_VERSION = 1 };
/* The lane's own: version, stream_ms, skew_ms, epoch (not in version 1), what campaigns spent. */
enum { LANE_VERSION = 2, LANE_TIMES = 17, LANE_HEAD = 25 };

static int new_policy(const struct lane *l, struct policy_shard **ret) {
    int r = policy_shard_new(l->world->policies, ret);
    if (r == 0)
        policy_shard_place(*ret, (uint32_t)l->partition, (uint32_t)l->world->partitions);
    return r;
}

int lane_new(struct world *w, int32_t partition, struct lane **ret) {
    autofree(lane_free) struct lane *l = calloc(1, sizeof *l);
    if (!l)
        return -ENOMEM;
    l->world = w;
    l->partition = partition;
    l->stream_ms = INT64_MIN;
    l->drops_seen = __atomic_load_n(&w->n_drops, __ATOMIC_RELAXED); /* older ones are not news */
    int r = shard_new(w->model, &l->users);
    if (r == 0)
        r = new_policy(l, &l->policy);
    if (r < 0)
        return r;
    shard_set_ext_free(l->users, policy_user_free);
    *ret = TAKE(l);
    return 0;
}

void lane_free(struct lane *l) {
    if (!l)
        return;
    shard_free(l->users);
    policy_shard_free(l->policy);
    free(l->timers);
    free(l->dirty);
    buf_free(&l->forgotten);
    buf_free(&l->own);
    free(l);
}

/* ---- timers: a binary heap with every user's place in it ---- */

static void timer_place(struct lane *l, size_t i, struct user *u) {
    l->timers[i] = u;
    u->timer_slot = (uint32_t)i + 1;
}

/* Due first, then by id, so that equal times fire in the same order everywhere. */
static bool timer_before(const struct user *a, const struct user *b) {
    return a->due_ms != b->due_ms ? a->due_ms < b->due_ms : str_cmp(a->id, b->id) < 0;
}

static void timer_sift(struct lane *l, size_t i) {
    struct user *u = l->timers[i];
    while (i > 0 && timer_before(u, l->timers[(i - 1) / 2])) {
        timer_place(l, i, l->timers[(i - 1) / 2]);
        i = (i - 1) / 2;
    }
    for (size_t child; (child = 2 * i + 1) < l->n_timers; i = child) {
        if (child + 1 < l->n_timers && timer_before(l->timers[child + 1], l->timers[child]))
            child++;
        if (!timer_before(l->timers[child], u))
            break;
        timer_place(l, i, l->timers[child]);
    }
    timer_place(l, i, u);
}

static void timer_remove(struct lane *l, struct user *u) {
    if (!u->timer_slot)
        return;
    size_t i = u->timer_slot - 1;
    u->timer_slot = 0;
    struct user *last = l->timers[--l->n_timers];
    if (last == u)
        return;
    timer_place(l, i, last);
    timer_sift(l, i);
}

static int grow(void *array, size_t *cap, size_t n, size_t size) {
    if (n < *cap)
        return 0;
    size_t want = *cap ? *cap * 2 : 256;
    void *p = reallocarray(*(void **)array, want, size);
    if (!p)
        return -ENOMEM;
    *(void **)array = p;
    *cap = want;
    return 0;
}

int lane_schedule(struct lane *l, struct user *u) {
    if (u->due_ms == INT64_MAX) {
        timer_remove(l, u);
        return 0;
    }
    if (!u->timer_slot) {
        if (grow(&l->timers, &l->cap_timers, l->n_timers, sizeof *l->timers) < 0)
            return -ENOMEM;
        timer_place(l, l->n_timers++, u);
    }
    timer_sift(l, u->timer_slot - 1);
    return 0;
}

struct user *lane_due(const struct lane *l, int64_t now_ms) {
    return l->n_timers && l->timers[0]->due_ms <= now_ms ? l->timers[0] : NULL;
}

/* ---- what the next commit must hold ---- */

int lane_mark_dirty(struct lane *l, struct user *u) {
    if (u->dirty)
        return 0;
    if (grow(&l->dirty, &l->cap_dirty, l->n_dirty, sizeof *l->dirty) < 0)
        return -ENOMEM;
    u->dirty = true;
    l->dirty[l->n_dirty++] = u;
    return 0;
}

static void on_evicted(void *ctx, struct user *u) {
    struct lane *l = ctx;
    timer_remove(l, u);
    if (u->dirty)
        for (size_t i = 0; i < l->n_dirty; i++)
            if (l->dirty[i] == u) {
                l->dirty[i] = l->dirty[--l->n_dirty];
                break;
            }
    uint32_t n = (uint32_t)u->id.n;
    buf_put(&l->forgotten, &n, sizeof n);
    buf_put(&l->forgotten, u->id.p, u->id.n);
}

void lane_maintain(struct lane *l) {
    if (l->stream_ms != INT64_MIN)
        shard_maintain(l->users, l->stream_ms, on_evicted, l);
}

enum { MEASURED = 4096 };

/* The campaigns' part, of users spread evenly. */
static double policy_bytes_per_user(const struct lane *l) {
    size_t n = 0, bytes = 0;
    uint32_t cursor = 0, step = (uint32_t)(shard_users(l->users) / MEASURED);
    for (const struct user *u; (u = shard_next(l->users, &cursor)); cursor += step, n++)
        bytes += policy_user_bytes(u);
    return n ? (double)bytes / (double)n : 0;
}

size_t lane_bytes(const struct lane *l) {
    struct model_memory mm;
    model_memory(l->world->model, l->users, &mm);
    return (size_t)((mm.bytes_per_user + policy_bytes_per_user(l)) * (double)mm.users) +
           l->cap_timers * sizeof *l->timers + l->cap_dirty * sizeof *l->dirty;
}

static int put_user(struct lane *l, struct user *u, struct buf *key, struct buf *value,
                    changelog_put *put, void *ctx) {
    uint8_t kind = KEY_USER, version = USER_VERSION;
    buf_reset(key);
    buf_put(key, &kind, 1);
    buf_put(key, u->id.p, u->id.n);
    buf_reset(value);
    buf_put(value, &version, 1);
    int r = user_encode(l->world->model, u, value);
    if (r == 0)
        r = policy_user_encode(l->world->policies, u, l->world->model, value);
    if (r < 0)
        return r;
    if (key->failed || value->failed)
        return -ENOMEM;
    return put(ctx, key->p, key->n, value->p, value->n);
}

static int encode_lane(struct lane *l, struct buf *value) {
    uint8_t version = LANE_VERSION;
    buf_reset(value);
    buf_put(value, &version, 1);
    buf_put(value, &l->stream_ms, sizeof l->stream_ms);
    buf_put(value, &l->skew_ms, sizeof l->skew_ms);
    buf_put(value, &l->epoch, sizeof l->epoch);
    int r = policy_shard_encode(l->policy, value);
    return r < 0 ? r : value->failed ? -ENOMEM : 0;
}

static int put_lane(struct lane *l, struct buf *value, changelog_put *put, void *ctx) {
    uint8_t key = KEY_LANE;
    int r = encode_lane(l, value);
    if (r == 0)
        r = put(ctx, &key, 1, value->p, value->n);
    if (r == 0)
        l->changed = false;
    return r;
}

static int put_tombstones(struct lane *l, struct buf *key, changelog_put *put, void *ctx) {
    for (size_t at = 0; at < l->forgotten.n;) {
        uint32_t n;
        memcpy(&n, l->forgotten.p + at, sizeof n);
        struct str id = {(const char *)l->forgotten.p + at + sizeof n, n};
        at += sizeof n + n;
        if (shard_find(l->users, id))
            continue; /* came back meanwhile: his record follows */
        uint8_t kind = KEY_USER;
        buf_reset(key);
        buf_put(key, &kind, 1);
        buf_put(key, id.p, id.n);
        int r = key->failed ? -ENOMEM : put(ctx, key->p, key->n, NULL, 0);
        if (r < 0)
            return r;
    }
    return l->forgotten.failed ? -ENOMEM : 0;
}

int lane_changes(struct lane *l, changelog_put *put, void *ctx) {
    struct buf key = {0}, value = {0};
    int r = put_tombstones(l, &key, put, ctx);
    pthread_rwlock_rdlock(&l->world->model_lock);
    size_t i = 0;
    for (; i < l->n_dirty && r == 0; i++) {
        r = put_user(l, l->dirty[i], &key, &value, put, ctx);
        l->dirty[i]->dirty = false;
        /* Writers wait for us: let them in now and then. */
        if (i % 256 == 255) {
            pthread_rwlock_unlock(&l->world->model_lock);
            pthread_rwlock_rdlock(&l->world->model_lock);
        }
    }
    pthread_rwlock_unlock(&l->world->model_lock);
    if (r < 0) { /* all of them are still to be put */
        while (i--)
            l->dirty[i]->dirty = true;
    } else {
        l->n_dirty = 0;
        buf_reset(&l->forgotten);
    }
    if (r == 0 && (l->changed || policy_shard_dirty(l->policy)))
        r = put_lane(l, &value, put, ctx);
    buf_free(&key);
    buf_free(&value);
    return r;
}

bool lane_clean(const struct lane *l) {
    return !l->n_dirty && !l->forgotten.n && !l->changed && !policy_shard_dirty(l->policy);
}

int lane_committed(struct lane *l, uint32_t *cursor, size_t max, changelog_put *put, void *ctx) {
    struct buf key = {0}, value = {0};
    struct user *u = NULL;
    int r = 0;
    pthread_rwlock_rdlock(&l->world->model_lock);
    for (size_t i = 0; i < max && r == 0 && (u = shard_next(l->users, cursor)); i++)
        if (!u->dirty)
            r = put_user(l, u, &key, &value, put, ctx);
    pthread_rwlock_unlock(&l->world->model_lock);
    if (r == 0 && !u && !l->changed && !policy_shard_dirty(l->policy))
        r = put_lane(l, &value, put, ctx);
    buf_free(&key);
    buf_free(&value);
    return r < 0 ? r : u != NULL;
}

/* ---- reading back ---- */

/* What campaigns spent belongs to this process only once the lane does. */
static int restore_lane(struct lane *l, const uint8_t *p, size_t n) {
    if (n < 1 || p[0] < 1 || p[0] > LANE_VERSION || n < (p[0] == 1 ? LANE_TIMES : LANE_HEAD))
        return -EBADMSG;
    memcpy(&l->stream_ms, p + 1, 8);
    memcpy(&l->skew_ms, p + 9, 8);
    l->epoch = 0;
    if (p[0] > 1)
        memcpy(&l->epoch, p + LANE_TIMES, 8);
    buf_reset(&l->own);
    buf_put(&l->own, p, n);
    return l->own.failed ? -ENOMEM : 0;
}

const char *lane_conflict(const struct lane *l) {
    return policy_shard_conflict(l->policy);
}

int lane_restored(struct lane *l) {
    size_t head = l->own.n && l->own.p[0] == 1 ? LANE_TIMES : LANE_HEAD;
    int r = l->own.n ? policy_shard_restore(l->policy, l->own.p + head, l->own.n - head) : 0;
    buf_free(&l->own);
    return r;
}

int lane_put_away(struct lane *l) {
    autofree(policy_shard_free) struct policy_shard *fresh = NULL;
    int r = encode_lane(l, &l->own);
    if (r == 0)
        r = new_policy(l, &fresh);
    if (r < 0)
        return r;
    policy_shard_free(l->policy); /* what was spent counts no longer here */
    l->policy = TAKE(fresh);
    l->last_wall_ms = 0;
    l->events = l->maintained = 0;
    return 0;
}

static void forget(struct lane *l, struct str id) {
    struct user *u = shard_find(l->users, id);
    if (!u)
        return;
    timer_remove(l, u);
    shard_remove(l->users, id);
}

/* `alone`: under the model's write lock; else -EAGAIN asks for it. */
static int restore_user(struct lane *l, struct str id, const uint8_t *p, size_t n, bool alone) {
    if (n < 1 || p[0] != USER_VERSION)
        return -EBADMSG;
    struct world *w = l->world;
    forget(l, id); /* a newer record of the same user replaces him whole */
    struct user *u = shard_admit(l->users, id, 0);
    if (!u)
        return -ENOMEM;
    size_t used = 0, used_policy = 0;
    p++;
    n--;
    int r = alone ? user_restore(w->model, l->users, u, p, n, &used)
                  : user_restore_shared(w->model, u, p, n, &used);
    if (r == 0)
        r = alone ? policy_user_restore(w->policies, u, w->model, p + used, n - used, &used_policy)
                  : policy_user_restore_shared(w->policies, u, w->model, p + used, n - used,
                                               &used_policy);
    if (r == 0 && used + used_policy != n)
        r = -EBADMSG;
    if (r == 0)
        return lane_schedule(l, u);
    shard_remove(l->users, id);
    return r;
}

int lane_restore(struct lane *l, const void *key, size_t key_n, const void *value, size_t value_n) {
    const uint8_t *k = key;
    if (key_n == 0)
        return -EBADMSG;
    if (k[0] == KEY_LANE && key_n == 1)
        return value ? restore_lane(l, value, value_n) : 0;
    if (k[0] != KEY_USER || key_n < 2)
        return -EBADMSG;
    struct str id = {(const char *)k + 1, key_n - 1};
    if (!value) {
        forget(l, id);
        return 0;
    }
    pthread_rwlock_t *lock = &l->world->model_lock;
    pthread_rwlock_rdlock(lock);
    int r = restore_user(l, id, value, value_n, false);
    pthread_rwlock_unlock(lock);
    if (r != -EAGAIN)
        return r;
    pthread_rwlock_wrlock(lock);
    r = restore_user(l, id, value, value_n, true);
    pthread_rwlock_unlock(lock);
    return r;
}
