#include "consumer/replay.h"

#include <math.h>

enum { GROUP_SEED = 1 };

struct replay {
    struct replay_config c;
    struct world *world;
    struct lane *lane;
    struct worker *worker;
    struct sink sink;
    struct metrics metrics;
    struct replay_result result;

    struct input *in; /* the batch */
    size_t n;
    struct buf *text; /* per place in the batch: the strings of its event */
    struct input **cases;
    struct list *lists; /* of the cases, and one for popularity */
    struct rankmetrics *beckon, *popular;
};

/* ---- keeping events until their batch is full ---- */

static size_t put(struct buf *b, struct str s) {
    size_t at = b->n;
    buf_put(b, s.p, s.n);
    return at;
}

/* The event with its strings in `b`. */
static int copy_event(struct buf *b, const struct event *e, struct event *ret) {
    buf_reset(b);
    *ret = *e;
    struct str *out[6 + 2 * EVENT_CTX_MAX] = {&ret->id,      &ret->user,  &ret->item,
                                              &ret->session, &ret->query, &ret->decision};
    size_t at[ARRAY_LEN(out)], n = 6;
    for (size_t i = 0; i < e->n_ctx; i++) {
        out[n++] = &ret->ctx[i].key;
        out[n++] = &ret->ctx[i].value;
    }
    for (size_t i = 0; i < n; i++)
        at[i] = put(b, *out[i]);
    if (b->failed)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        out[i]->p = (const char *)b->p + at[i];
    return 0;
}

/* ---- judging ---- */

/* Place of an item on a list, from 1; 0: not on it. Lists have no ties left (equal scores
 * are ordered by id), so none can flatter. */
static uint32_t place_of(const struct list *l, uint32_t row) {
    for (uint32_t i = 0; i < l->n; i++)
        if (l->e[i].item == row)
            return i + 1;
    return 0;
}

/* One case for both recommenders; a user's cases are not independent, so they are one group. */
static int judge(struct replay *r, const struct input *in, const struct list *own,
                 const struct list *popular) {
    uint32_t row = model_item_find(r->world->model, in->ev.item), rows[TOP_MAX];
    uint64_t group = hash_str(in->ev.user, GROUP_SEED);
    uint32_t place = row == ROW_NONE ? 0 : place_of(own, row);
    rankmetrics_add(r->beckon, group, &place, 1, own->n);
    place = row == ROW_NONE ? 0 : place_of(popular, row);
    rankmetrics_add(r->popular, group, &place, 1, popular->n);
    for (uint32_t i = 0; i < own->n; i++)
        rows[i] = own->e[i].item;
    return rankmetrics_cover(r->beckon, rows, own->n);
}

static bool seen_before(struct replay *r, const struct input *in, uint32_t row) {
    const struct user *u = shard_find(r->lane->users, in->ev.user);
    uint32_t rows[PROFILE_RECENT_MAX + PROFILE_BOUGHT_MAX];
    size_t n = u ? profile_seen(&u->prof, rows, ARRAY_LEN(rows)) : 0;
    for (size_t i = 0; i < n; i++)
        if (rows[i] == row)
            return true;
    return false;
}

static int judge_batch(struct replay *r) {
    const float *weight = model_config_of(r->world->model)->type_weight;
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct event *e = &r->in[i].ev;
        if (!e->item.n || !(weight[e->type] > 0))
            continue;
        if (r->c.new_only && seen_before(r, &r->in[i], model_item_find(r->world->model, e->item)))
            continue;
        r->cases[n++] = &r->in[i];
    }
    if (!n)
        return 0;
    worker_preview(r->worker, r->cases, n, r->lists);
    struct list *popular = &r->lists[r->c.batch];
    model_popular(worker_learner(r->worker), r->c.k[r->c.n_k - 1], popular);
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++)
        err = judge(r, r->cases[i], &r->lists[i], popular);
    return err;
}

static int flush(struct replay *r) {
    int err = judge_batch(r);
    if (err == 0)
        err = worker_step(r->worker, r->in, r->n, r->n ? r->in[r->n - 1].ev.time_ms : 0);
    r->result.events += r->n;
    r->n = 0;
    return err;
}

/* ---- what the step reports ---- */

static int on_dead(void *ctx, const struct input *in, const struct dead *why) {
    struct replay *r = ctx;
    (void)in;
    r->result.refused[why->reason]++;
    return 0;
}

static int on_decision(void *ctx, const struct decision *d, const struct trigger_record *t) {
    struct replay *r = ctx;
    (void)t;
    r->result.decided[d->campaign][d->reason]++;
    return 0;
}

/* ---- life ---- */

void replay_free(struct replay *r) {
    if (!r)
        return;
    worker_free(r->worker);
    lane_free(r->lane);
    world_free(r->world);
    for (size_t i = 0; r->text && i < r->c.batch; i++)
        buf_free(&r->text[i]);
    free(r->text);
    free(r->in);
    free(r->cases);
    free(r->lists);
    rankmetrics_free(r->beckon);
    rankmetrics_free(r->popular);
    free(r);
}

int replay_new(const struct replay_config *c, struct policy_set *policies, struct replay **ret) {
    autofree(replay_free) struct replay *r = calloc(1, sizeof *r);
    autofree(policy_set_free) struct policy_set *set = policies;
    if (!r)
        return -ENOMEM;
    r->c = *c;
    r->sink = (struct sink){.ctx = r, .dead = on_dead, .decision = on_decision};
    r->in = calloc(c->batch, sizeof *r->in);
    r->text = calloc(c->batch, sizeof *r->text);
    r->cases = calloc(c->batch, sizeof(void *));
    r->lists = calloc(c->batch + 1, sizeof *r->lists);
    if (!r->in || !r->text || !r->cases || !r->lists)
        return -ENOMEM;
    int err = world_new(c->cfg, TAKE(set), 0, &r->world);
    if (err == 0)
        err = rankmetrics_new(c->k, c->n_k, &r->beckon);
    if (err == 0)
        err = rankmetrics_new(c->k, c->n_k, &r->popular);
    if (err == 0)
        err = lane_new(r->world, 0, &r->lane);
    if (err == 0)
        err = worker_new(r->world, 0, &r->sink, &r->metrics, &r->worker);
    if (err < 0)
        return err;
    worker_set_ranking(r->worker, false); /* each user is ranked when his next event comes */
    *ret = TAKE(r);
    return 0;
}

int replay_item(struct replay *r, const struct item_info *info) {
    return world_item(r->world, info, 0);
}

static bool user_waits(const struct replay *r, struct str user) {
    for (size_t i = 0; i < r->n; i++)
        if (str_eq(r->in[i].ev.user, user))
            return true;
    return false;
}

int replay_event(struct replay *r, const struct event *e) {
    int err = 0;
    struct event checked = *e;
    struct dead why;
    enum dead_reason refused = validate_event(r->c.cfg, INT64_MAX, &checked, &why);
    if (refused != DEAD_NONE) {
        r->result.events++;
        r->result.refused[refused]++;
        return 0;
    }
    if (r->n == r->c.batch || user_waits(r, e->user))
        err = flush(r);
    if (err < 0)
        return err;
    struct input *in = &r->in[r->n];
    *in = (struct input){.lane = r->lane};
    err = copy_event(&r->text[r->n], &checked, &in->ev);
    r->n += err == 0;
    return err;
}

int replay_finish(struct replay *r, struct replay_result *ret) {
    int err = flush(r);
    struct model_memory mm;
    model_memory(r->world->model, r->lane->users, &mm);
    r->result.items = mm.items;
    r->result.users = mm.users;
    r->result.floods = metric_get(&r->metrics.floods);
    r->result.bots = metric_get(&r->metrics.bots);
    r->result.beckon = r->beckon;
    r->result.popular = r->popular;
    *ret = r->result;
    return err;
}

const struct policy_set *replay_policies(const struct replay *r) {
    return r->world->policies;
}
