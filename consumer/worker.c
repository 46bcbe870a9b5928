#include "consumer/worker.h"

#include <math.h>

#include "consumer/clock.h"
#include "consumer/due.h"
#include "consumer/exact.h"
#include "consumer/metrics.h"
#include "consumer/worker_emit.h"

/* Chunks bound how long the model's read lock is held: writers (new items) wait for it. */
enum {
    LEARN_CHUNK = 64,
    RANK_CHUNK = 128,
    SIMILAR_PER_STEP = 512,
    MAINTAIN_EVENTS = 4096,
    DROP_CHUNK = 256
};

_Static_assert((int)EMIT_CHUNK <= (int)RANK_CHUNK,
               "the lists of a step are lent to what is emitted");

struct touched {
    struct lane *lane;
    struct user *user;
};

struct worker {
    struct world *world;
    struct learner *learner;
    const struct sink *sink;
    struct metrics *metrics;
    bool ranking;
    uint32_t batch; /* marks users touched by this step */

    struct touched *touched;
    size_t n_touched, cap_touched;
    struct decisions decisions;
    struct due similar;

    struct list *lists; /* RANK_CHUNK of them */
};

int worker_new(struct world *world, uint32_t index, const struct sink *sink,
               struct metrics *metrics, struct worker **ret) {
    autofree(worker_free) struct worker *w = calloc(1, sizeof *w);
    if (!w)
        return -ENOMEM;
    w->world = world;
    w->sink = sink;
    w->metrics = metrics;
    w->ranking = true;
    w->lists = calloc(RANK_CHUNK, sizeof *w->lists);
    if (!w->lists)
        return -ENOMEM;
    w->learner = world->exact ? exact_learner(world->exact) : NULL;
    int r = w->learner ? 0 : learner_new(world->model, index, &w->learner);
    if (r < 0)
        return r;
    *ret = TAKE(w);
    return 0;
}

void worker_free(struct worker *w) {
    if (!w)
        return;
    if (!w->world->exact)
        learner_free(w->learner);
    free(w->touched);
    policy_decisions_free(&w->decisions);
    due_free(&w->similar);
    free(w->lists);
    free(w);
}

struct learner *worker_learner(struct worker *w) {
    return w->learner;
}

void worker_set_ranking(struct worker *w, bool on) {
    w->ranking = on;
}

static void model_read(struct worker *w) {
    pthread_rwlock_rdlock(&w->world->model_lock);
}

static void model_write(struct worker *w) {
    pthread_rwlock_wrlock(&w->world->model_lock);
}

static void model_unlock(struct worker *w) {
    pthread_rwlock_unlock(&w->world->model_lock);
}

/* ---- items of the batch ---- */

/* Finds every event's item; those not known yet get their rows under the write lock. */
static void find_items(struct worker *w, struct input *in, size_t n) {
    size_t missing = 0;
    model_read(w);
    for (size_t i = 0; i < n; i++) {
        in[i].item_row =
            in[i].ev.item.n ? model_item_find(w->world->model, in[i].ev.item) : ROW_NONE;
        missing += in[i].ev.item.n && in[i].item_row == ROW_NONE;
    }
    model_unlock(w);
    if (!missing || learner_frozen(w->learner))
        return;
    model_write(w);
    for (size_t i = 0; i < n; i++)
        if (in[i].ev.item.n && in[i].item_row == ROW_NONE)
            model_item_admit(w->world->model, in[i].ev.item, in[i].ev.time_ms);
    /* All again: what was admitted may have taken the row of one found above. */
    for (size_t i = 0; i < n; i++)
        if (in[i].ev.item.n)
            in[i].item_row = model_item_find(w->world->model, in[i].ev.item);
    model_unlock(w);
}

/* ---- decisions ---- */

static struct policy_context context(struct worker *w, struct lane *l, struct user *u) {
    const struct policy_set *set = w->world->policies;
    return (struct policy_context){
        .set = set,
        .shard = l->policy,
        .model = w->world->model,
        .user = u,
        .consent =
            policy_campaigns(set) ? wishes_get(w->world->wishes, u->id) : (struct consent){0},
        .paused_campaigns = w->world->paused_campaign,
        .approved_campaigns = w->world->approved_campaign,
        .paused_all = __atomic_load_n(&w->world->paused_all, __ATOMIC_RELAXED),
    };
}

static int touch(struct worker *w, struct lane *l, struct user *u) {
    if (lane_mark_dirty(l, u) < 0)
        return -ENOMEM;
    if (u->batch_mark == w->batch)
        return 0;
    if (w->n_touched == w->cap_touched) {
        size_t cap = w->cap_touched ? w->cap_touched * 2 : 1024;
        struct touched *p = reallocarray(w->touched, cap, sizeof *p);
        if (!p)
            return -ENOMEM;
        w->touched = p;
        w->cap_touched = cap;
    }
    u->batch_mark = w->batch;
    w->touched[w->n_touched++] = (struct touched){l, u};
    return 0;
}

/* After the policy ran for a user of lane `l`: his next timer, and whether he needs a list. */
static int after_policy(struct worker *w, struct lane *l, struct user *u, size_t before) {
    if (w->decisions.failed)
        return -ENOMEM;
    int r = lane_schedule(l, u);
    if (r == 0 && w->decisions.n > before)
        r = touch(w, l, u);
    return r;
}

/* Fires the lane's timers due at or before `now_ms`, earliest first. */
static int fire_timers(struct worker *w, struct lane *l, int64_t now_ms) {
    for (struct user *u; (u = lane_due(l, now_ms));) {
        struct policy_context c = context(w, l, u);
        size_t before = w->decisions.n;
        int64_t due = u->due_ms;
        policy_on_time(&c, now_ms, &w->decisions);
        metric_add(&w->metrics->timers, 1);
        if (u->due_ms <= due) /* a timer that stays due would hold the lane for ever */
            u->due_ms = u->due_ms <= now_ms ? INT64_MAX : u->due_ms;
        int r = after_policy(w, l, u, before);
        if (r == 0)
            r = lane_mark_dirty(l, u);
        if (r < 0)
            return r;
    }
    return 0;
}

/* ---- learning ---- */

static int refuse(struct worker *w, const struct input *in, enum dead_reason reason,
                  const char *detail) {
    struct dead why = {.reason = reason, .schema_id = in->schema_id};
    snprintf(why.detail, sizeof why.detail, "%s", detail);
    return w->sink->dead ? w->sink->dead(w->sink->ctx, in, &why) : 0;
}

/* An unsubscribe that is not learned from, because of who sent it or when, still counts. */
static int heed_unsubscribe(struct worker *w, struct lane *l, const struct event *e) {
    if (e->type != EV_UNSUBSCRIBE)
        return 0;
    struct user *u = shard_admit(l->users, e->user, e->time_ms);
    if (!u)
        return -ENOMEM;
    struct policy_context c = context(w, l, u);
    int r = policy_on_unsubscribe(&c, e);
    return r < 0 ? r : lane_mark_dirty(l, u);
}

/* One event under the model's read lock. */
static int learn_one(struct worker *w, struct input *in, int64_t wall_ms) {
    struct lane *l = in->lane;
    struct event *e = &in->ev;
    const struct config *cfg = w->world->cfg;
    /* A client's clock may run ahead; the broker's stamp bounds it, the same on every replay. */
    if (in->origin.timestamp_ms > 0 && e->time_ms > in->origin.timestamp_ms) {
        e->time_ms = in->origin.timestamp_ms;
        metric_add(&w->metrics->clock_clamped, 1);
    }
    if (l->stream_ms != INT64_MIN && l->stream_ms - e->time_ms > cfg->stream_max_behind) {
        in->result = LEARN_DUPLICATE; /* as good as: nothing was learned */
        int r = heed_unsubscribe(w, l, e);
        return r < 0
                   ? r
                   : refuse(
                         w, in, DEAD_BEHIND,
                         "older than the partition's newest event by more than stream.max_behind");
    }
    if (e->time_ms > l->stream_ms) {
        l->stream_ms = e->time_ms;
        l->changed = true;
    }
    l->events++;
    l->last_wall_ms = wall_ms;
    l->skew_ms = wall_ms - l->stream_ms;
    int r = fire_timers(w, l, l->stream_ms);
    if (r < 0)
        return r;

    struct user *u = shard_admit(l->users, e->user, e->time_ms);
    if (!u)
        return -ENOMEM;
    in->result = model_learn(w->learner, l->users, u, e, in->item_row);
    switch (in->result) {
    case LEARN_DUPLICATE:
        metric_add(&w->metrics->duplicates, 1);
        return refuse(w, in, DEAD_DUPLICATE, "this event id was seen before");
    case LEARN_FLOOD:
        metric_add(&w->metrics->floods, 1);
        r = heed_unsubscribe(w, l, e);
        return r < 0 ? r : lane_mark_dirty(l, u);
    case LEARN_BOT:
        metric_add(&w->metrics->bots, 1);
        r = heed_unsubscribe(w, l, e);
        return r < 0 ? r : lane_mark_dirty(l, u);
    case LEARN_OK:
        break;
    }
    if (w->sink->learned && (r = w->sink->learned(w->sink->ctx, e, in->item_row != ROW_NONE)) < 0)
        return r;
    struct policy_context c = context(w, l, u);
    size_t before = w->decisions.n;
    policy_on_event(&c, e, in->item_row, &w->decisions);
    r = after_policy(w, l, u, before);
    if (r == 0)
        r = touch(w, l, u);
    if (w->sink->similar && cfg->lists_similar_n && in->item_row != ROW_NONE &&
        model_config_of(w->world->model)->type_weight[e->type] > 0)
        due_touch(&w->similar, in->item_row);
    return r;
}

static void maintain(struct worker *w, size_t learned, struct input *in, size_t n) {
    if (n && !learner_frozen(w->learner))
        world_learned(w->world, learned, in[n - 1].lane->stream_ms);
}

/* ---- lists ---- */

static uint32_t list_hash(const struct list *l) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ l->n;
    for (uint32_t i = 0; i < l->n; i++)
        h = (h ^ l->e[i].item) * 0xff51afd7ed558ccdu, h ^= h >> 32;
    return (uint32_t)h ? (uint32_t)h : 1;
}

/* Ranks these users and hands over the lists that changed. */
static void rank_users(struct worker *w, const struct touched *t, size_t n, bool always,
                       int64_t wall_ms) {
    const struct config *cfg = w->world->cfg;
    for (size_t at = 0; at < n; at += RANK_CHUNK) {
        size_t m = MIN(n - at, (size_t)RANK_CHUNK);
        struct user *users[RANK_CHUNK];
        for (size_t i = 0; i < m; i++)
            users[i] = t[at + i].user;
        int64_t start = clock_mono_us();
        model_read(w);
        model_rank(w->learner, users, m, cfg->lists_exclude_seen, w->lists);
        for (size_t i = 0; i < m; i++) {
            struct user *u = users[i];
            uint32_t h = list_hash(&w->lists[i]);
            if (always || h != u->list_hash) {
                u->list_hash = h;
                metric_add(&w->metrics->lists_written, 1);
                if (w->sink->list)
                    w->sink->list(w->sink->ctx, u, &w->lists[i]);
            } else {
                metric_add(&w->metrics->lists_unchanged, 1);
            }
            if (w->sink->profile && (always || wall_ms - (int64_t)u->profile_written_s * 1000 >=
                                                   cfg->redis_profile_interval)) {
                u->profile_written_s = (uint32_t)(wall_ms / 1000);
                w->sink->profile(w->sink->ctx, u, t[at + i].lane->stream_ms);
                metric_add(&w->metrics->profiles_written, 1);
            }
        }
        model_unlock(w);
        metric_add(&w->metrics->lists_ranked, m);
        hist_add(&w->metrics->rank_latency, clock_mono_us() - start);
    }
}

bool worker_similar(struct worker *w, int64_t wall_ms) {
    uint32_t rows[SIMILAR_PER_STEP];
    size_t n = due_take(&w->similar, wall_ms, w->world->cfg->lists_similar_interval, rows,
                        SIMILAR_PER_STEP);
    if (!n)
        return false;
    model_read(w);
    for (size_t i = 0; i < n; i++) {
        struct item_view v;
        model_item_view(w->world->model, rows[i], &v);
        if (!v.id.n)
            continue; /* gone since its list was written */
        model_similar(w->learner, rows[i], (uint32_t)w->world->cfg->lists_similar_n, &w->lists[0]);
        w->sink->similar(w->sink->ctx, rows[i], &w->lists[0]);
    }
    model_unlock(w);
    return true;
}

void worker_similar_again(struct worker *w) {
    due_all(&w->similar);
}

/* What every kind of step ends with. */
static int finish(struct worker *w, int64_t wall_ms) {
    if (w->ranking)
        rank_users(w, w->touched, w->n_touched, false, wall_ms);
    w->n_touched = 0;
    worker_similar(w, wall_ms);
    const struct emission e = {w->world, w->sink, w->learner, &w->decisions, w->lists};
    int r = worker_emit(&e);
    policy_decisions_reset(&w->decisions);
    return r;
}

int worker_step(struct worker *w, struct input *in, size_t n, int64_t wall_ms) {
    if (++w->batch == 0)
        w->batch = 1;
    find_items(w, in, n);
    for (size_t at = 0; at < n;) {
        size_t end = MIN(n, at + LEARN_CHUNK), learned = 0;
        int r = 0;
        model_read(w);
        for (; at < end && r == 0; at++) {
            r = learn_one(w, &in[at], wall_ms);
            learned += in[at].result == LEARN_OK;
        }
        model_unlock(w);
        if (r < 0)
            return r;
        maintain(w, learned, in, at);
    }
    metric_add(&w->metrics->events, n);
    if (n && in[n - 1].lane->stream_ms > __atomic_load_n(&w->world->now_ms, __ATOMIC_RELAXED))
        __atomic_store_n(&w->world->now_ms, in[n - 1].lane->stream_ms, __ATOMIC_RELAXED);
    int r = finish(w, wall_ms);
    /* Only now, because it may free users that were touched. */
    for (size_t i = 0; i < n; i++)
        if (in[i].lane->events / MAINTAIN_EVENTS != in[i].lane->maintained / MAINTAIN_EVENTS) {
            in[i].lane->maintained = in[i].lane->events;
            lane_maintain(in[i].lane);
        }
    return r;
}

int worker_idle(struct worker *w, struct lane *l, int64_t wall_ms) {
    if (l->stream_ms == INT64_MIN || wall_ms - l->skew_ms <= l->stream_ms)
        return 0;
    if (++w->batch == 0)
        w->batch = 1;
    int64_t now = wall_ms - l->skew_ms;
    if (lane_due(l, now)) {
        l->stream_ms = now;
        l->changed = true;
        model_read(w);
        int r = fire_timers(w, l, now);
        model_unlock(w);
        if (r < 0)
            return r;
    }
    return finish(w, wall_ms);
}

/* Asks the campaigns for the users from *cursor on who viewed one of these items; some of them, so
 * that the read lock is short. False: that was the last. */
static int drops_for_some(struct worker *w, struct lane *l, uint32_t *cursor,
                          const struct price_drop *drops, size_t n, bool *ret_more) {
    int r = 0, left = DROP_CHUNK;
    struct user *u = NULL;
    model_read(w);
    while (r == 0 && left-- && (u = shard_next(l->users, cursor))) {
        struct recent_item seen[PROFILE_RECENT_MAX];
        size_t m = profile_recent(&u->prof, seen, ARRAY_LEN(seen));
        for (size_t d = 0; d < n && r == 0; d++) {
            size_t i = 0;
            while (i < m && seen[i].item != drops[d].item)
                i++;
            if (i == m)
                continue;
            struct policy_context c = context(w, l, u);
            size_t before = w->decisions.n;
            policy_on_time(&c, l->stream_ms, &w->decisions);
            policy_on_price_drop(&c, drops[d].item, drops[d].old_price, drops[d].new_price,
                                 l->stream_ms, &w->decisions);
            r = after_policy(w, l, u, before);
            if (r == 0)
                r = lane_mark_dirty(l, u);
        }
    }
    model_unlock(w);
    *ret_more = u != NULL;
    return r;
}

int worker_price_drops(struct worker *w, struct lane *l, int64_t wall_ms) {
    struct price_drop drops[64];
    size_t n = world_drops(w->world, &l->drops_seen, drops, ARRAY_LEN(drops));
    if (!n || l->stream_ms == INT64_MIN || !policy_wants_price_drops(w->world->policies))
        return 0;
    if (++w->batch == 0)
        w->batch = 1;
    uint32_t cursor = 0;
    int r = 0;
    for (bool more = true; more && r == 0;)
        r = drops_for_some(w, l, &cursor, drops, n, &more);
    return r < 0 ? r : finish(w, wall_ms);
}

bool worker_rewrite(struct worker *w, struct lane *l, uint32_t *cursor, size_t max,
                    int64_t wall_ms) {
    struct touched batch[RANK_CHUNK];
    size_t done = 0;
    for (;;) {
        size_t n = 0;
        struct user *u = NULL;
        while (n < RANK_CHUNK && done + n < max && (u = shard_next(l->users, cursor)))
            batch[n++] = (struct touched){l, u};
        rank_users(w, batch, n, true, wall_ms);
        done += n;
        if (!u && done < max)
            return false;
        if (done >= max)
            return true;
    }
}

void worker_preview(struct worker *w, struct input *const *in, size_t n, struct list *ret) {
    for (size_t at = 0; at < n; at += RANK_CHUNK) {
        size_t m = MIN(n - at, (size_t)RANK_CHUNK);
        struct user *users[RANK_CHUNK];
        for (size_t i = 0; i < m; i++)
            users[i] = shard_find(in[at + i]->lane->users, in[at + i]->ev.user);
        model_read(w);
        model_rank(w->learner, users, m, w->world->cfg->lists_exclude_seen, ret + at);
        model_unlock(w);
    }
}
