#include "consumer/replay.h"

#include <math.h>

#include "consumer/clock.h"

enum { SHOW_EVERY = 1024, LEARN_BATCH = 1024, MAINTAIN_EVERY = 4096 };

struct replay {
    struct replay_config c;
    const struct tape *tape;
    struct world *world;
    struct lane *lane;
    struct worker *worker;
    struct judge *judge;
    struct sink sink;
    struct metrics metrics;
    struct replay_result result;
    struct score beckon, baseline[BASELINES];
    struct baselines *baselines; /* NULL: none */
    int64_t engine_us;

    struct input *in; /* the batch */
    char (*id)[TAPE_ID];
    size_t *event; /* of the tape, per input */
    size_t n, cap;
    struct input **cases;
    size_t *case_event;
    struct list *lists; /* of the cases */
    uint32_t *batch_of; /* per user: the batch he last was in */
    uint32_t batch;
    size_t *order; /* in which [first, n) is played; NULL: as it stands */
};

/* ---- the engine's settings ---- */

static uint32_t most_positives(const struct config *cfg, const struct positive *p,
                               const struct tape *t) {
    uint32_t most = 0, *of_user = calloc(tape_texts(t), sizeof *of_user);
    for (size_t i = 0; of_user && i < tape_n(t); i++) {
        const struct taped *e = tape_at(t, i);
        if (e->item && positive_match(cfg, p, e->type, e->value))
            most = MAX(most, ++of_user[e->user]);
    }
    free(of_user);
    return most;
}

void replay_prepare(struct config *cfg, const struct replay_config *c, const struct tape *t) {
    uint32_t n = c->k[c->n_k - 1] + 1;
    if (!c->repeats)
        n += most_positives(cfg, &c->positive, t);
    cfg->lists_n = MIN(n, (uint32_t)TOP_MAX);
    cfg->lists_exclude_seen = !c->repeats;
    if (c->repeats)
        cfg->lists_bought_window = 0;
    cfg->stream_max_behind = INT64_MAX;
    double like = positive_least(&c->positive, EV_RATING);
    if (!isnan(like))
        cfg->model_rating_like = like;
}

/* ---- judging ---- */

/* The list as it is judged: without what may not be repeated, texts for rows; `ret_place` is the
 * target's place, 0: none. All of one score stand in the place of the last of them; if they
 * reach the end of a full list, others of the same score may follow that nobody sees. */
static uint32_t judged_list(const struct replay *r, const struct list *l, const struct taped *e,
                            uint32_t items[TOP_MAX], uint32_t *ret_place) {
    const struct model *m = r->world->model;
    size_t n_seen = 0;
    const uint32_t *seen = r->c.repeats ? NULL : judge_seen(r->judge, e->user, &n_seen);
    uint32_t rows[TOP_MAX], n_rows = 0, n = 0, target = UINT32_MAX;
    float score[TOP_MAX];
    for (size_t i = 0; i < n_seen && l->n; i++) {
        uint32_t row = model_item_find(m, tape_text(r->tape, seen[i]));
        for (uint32_t k = 0; row != ROW_NONE && k < l->n; k++)
            if (l->e[k].item == row && n_rows < TOP_MAX)
                rows[n_rows++] = row;
    }
    for (uint32_t i = 0; i < l->n; i++) {
        bool out = false;
        for (uint32_t k = 0; k < n_rows; k++)
            out |= rows[k] == l->e[i].item;
        if (out)
            continue;
        struct item_view v;
        model_item_view(m, l->e[i].item, &v);
        items[n] = tape_find(r->tape, v.id);
        if (items[n] == e->item)
            target = n;
        score[n++] = l->e[i].score;
    }
    uint32_t last = target;
    while (last != UINT32_MAX && last + 1 < n && score[last + 1] == score[last])
        last++;
    bool unseen_ties = last + 1 == n && l->n == (uint32_t)r->world->cfg->lists_n;
    *ret_place = last == UINT32_MAX || unseen_ties ? 0 : last + 1;
    return MIN(n, r->c.k[r->c.n_k - 1]);
}

/* Whose events belong together, as the baselines number them. */
static uint32_t owner_of(const struct taped *e) {
    return e->session ? 2 * e->session + 1 : 2 * e->user;
}

static int judge_baselines(struct replay *r, size_t event) {
    const struct taped *e = tape_at(r->tape, event);
    size_t n_seen = 0;
    const uint32_t *seen = r->c.repeats ? NULL : judge_seen(r->judge, e->user, &n_seen);
    uint32_t items[TOP_MAX], k = r->c.k[r->c.n_k - 1];
    struct baseline_list l = {.items = items};
    int err = 0;
    for (int b = 0; b < BASELINES && err == 0; b++) {
        err = baselines_rank(r->baselines, (enum baseline)b, owner_of(e), seen, n_seen, e->item, k,
                             &l);
        if (err == 0)
            err = score_add(&r->baseline[b], r->judge, event, l.place, items, l.n);
    }
    return err;
}

/* The event went by: what comes next is judged with it. */
static int note(struct replay *r, size_t event, bool learned) {
    const struct taped *e = tape_at(r->tape, event);
    int err = 0;
    if (r->baselines && judge_positive(r->judge, event))
        err = baselines_event(r->baselines, owner_of(e), e->item, e->time_ms, learned);
    return err == 0 ? judge_note(r->judge, event, learned) : err;
}

static int judge_batch(struct replay *r) {
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        if (judge_is_case(r->judge, r->event[i])) {
            r->case_event[n] = r->event[i];
            r->cases[n++] = &r->in[i];
        }
    if (!n)
        return 0;
    int64_t start = clock_cpu_us();
    worker_preview(r->worker, r->cases, n, r->lists);
    r->engine_us += clock_cpu_us() - start;
    int err = 0;
    for (size_t i = 0; i < n && err == 0; i++) {
        uint32_t items[TOP_MAX], place;
        const struct taped *e = tape_at(r->tape, r->case_event[i]);
        uint32_t len = judged_list(r, &r->lists[i], e, items, &place);
        err = score_add(&r->beckon, r->judge, r->case_event[i], place, items, len);
        if (err == 0 && r->baselines)
            err = judge_baselines(r, r->case_event[i]);
    }
    return err;
}

/* ---- playing ---- */

static bool frozen(const struct replay *r) {
    return learner_frozen(worker_learner(r->worker));
}

static int flush(struct replay *r) {
    int err = judge_batch(r);
    int64_t start = clock_cpu_us();
    if (err == 0)
        err = worker_step(r->worker, r->in, r->n, r->n ? r->in[r->n - 1].ev.time_ms : 0);
    r->engine_us += clock_cpu_us() - start;
    for (size_t i = 0; i < r->n && err == 0; i++)
        err = note(r, r->event[i], !frozen(r));
    r->result.events += r->n;
    r->n = 0;
    r->batch++;
    return err;
}

/* Takes one event into the batch. Where cases are judged, a user's next event waits for his
 * last one, because it must be ranked with it. */
static int play(struct replay *r, size_t event, bool judged) {
    const struct taped *e = tape_at(r->tape, event);
    int err = 0;
    if (r->n == (judged ? r->c.batch : r->cap) || (judged && r->batch_of[e->user] == r->batch))
        err = flush(r);
    r->batch_of[e->user] = r->batch;
    r->event[r->n] = event;
    r->in[r->n] = (struct input){.lane = r->lane};
    tape_event(r->tape, event, r->id[r->n], &r->in[r->n].ev);
    r->n++;
    return err;
}

/* Another pass over what was learned: its embedding steps alone. */
static int again(struct replay *r) {
    struct model *m = r->world->model;
    int64_t start = clock_cpu_us();
    for (size_t i = r->c.begin; i < r->c.first; i++) {
        struct event e;
        tape_event(r->tape, i, r->id[0], &e);
        struct user *u = shard_find(r->lane->users, e.user);
        if (u && e.item.n)
            model_learn_again(worker_learner(r->worker), u, &e, model_item_find(m, e.item));
        if (i % MAINTAIN_EVERY == 0)
            model_maintain(m, r->lane->stream_ms);
    }
    r->engine_us += clock_cpu_us() - start;
    return 0;
}

static int by_round(const void *a, const void *b, void *round_of) {
    const size_t *x = a, *y = b, *round = round_of;
    if (round[*x] != round[*y])
        return round[*x] < round[*y] ? -1 : 1;
    return (*x > *y) - (*x < *y);
}

/* Where nothing is learned users do not touch each other: their events are dealt out in rounds,
 * so that many can be ranked side by side. Users come in blocks of a batch, by their first
 * event. */
static int deal(struct replay *r) {
    size_t n = r->c.end;
    uint32_t texts = tape_texts(r->tape), users = 0;
    uint32_t *number = calloc(texts, sizeof *number), *count = calloc(texts, sizeof *count);
    size_t *round = calloc(n + 1, sizeof *round);
    r->order = calloc(n - r->c.first + 1, sizeof *r->order);
    if (number && count && round && r->order) {
        for (size_t i = r->c.first; i < n; i++) {
            uint32_t user = tape_at(r->tape, i)->user;
            if (number[user] == 0)
                number[user] = ++users;
            uint64_t block = (number[user] - 1) / r->c.batch;
            round[i] = block << 32 | count[user]++;
            r->order[i - r->c.first] = i;
        }
        qsort_r(r->order, n - r->c.first, sizeof *r->order, by_round, round);
    }
    int err = number && count && round && r->order ? 0 : -ENOMEM;
    free(number);
    free(count);
    free(round);
    return err;
}

int replay_run(struct replay *r, struct progress *p) {
    size_t begin = r->c.begin, end = r->c.end;
    int err = 0;
    for (size_t i = begin; i < end && err == 0; i++) {
        if (i == r->c.first && i > begin) {
            err = flush(r);
            for (uint32_t epoch = 1; epoch < r->c.epochs && err == 0; epoch++)
                err = again(r);
            if (err == 0 && !r->c.learn_on_test) {
                learner_freeze(worker_learner(r->worker), true);
                err = deal(r);
            }
        }
        if (err == 0)
            err = play(r, r->order ? r->order[i - r->c.first] : i, i >= r->c.first);
        if (p && i % SHOW_EVERY == 0)
            progress_show(p, i - begin, i - begin, NULL);
    }
    if (err == 0)
        err = flush(r);
    if (p)
        progress_done(p, end - begin);
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
    judge_free(r->judge);
    score_done(&r->beckon);
    baselines_free(r->baselines);
    for (int b = 0; b < BASELINES; b++)
        score_done(&r->baseline[b]);
    free(r->in);
    free(r->id);
    free(r->event);
    free(r->cases);
    free(r->case_event);
    free(r->lists);
    free(r->batch_of);
    free(r->order);
    free(r);
}

static bool take_memory(struct replay *r) {
    r->cap = MAX(r->c.batch, (size_t)LEARN_BATCH);
    r->in = calloc(r->cap, sizeof *r->in);
    r->id = calloc(r->cap, sizeof *r->id);
    r->event = calloc(r->cap, sizeof *r->event);
    r->cases = calloc(r->c.batch, sizeof(void *));
    r->case_event = calloc(r->c.batch, sizeof *r->case_event);
    r->lists = calloc(r->c.batch, sizeof *r->lists);
    r->batch_of = calloc(tape_texts(r->tape), sizeof *r->batch_of);
    return r->in && r->id && r->event && r->cases && r->case_event && r->lists && r->batch_of;
}

int replay_new(const struct replay_config *c, const struct tape *t, struct policy_set *policies,
               struct replay **ret) {
    autofree(replay_free) struct replay *r = calloc(1, sizeof *r);
    autofree(policy_set_free) struct policy_set *set = policies;
    if (!r)
        return -ENOMEM;
    r->c = *c;
    r->c.end = c->end ? c->end : tape_n(t);
    r->tape = t;
    r->batch = 1;
    r->sink = (struct sink){.ctx = r, .dead = on_dead, .decision = on_decision};
    if (!take_memory(r))
        return -ENOMEM;
    int err = world_new(c->cfg, TAKE(set), 0, &r->world);
    if (err == 0)
        err = judge_new(c->cfg, &r->c.positive, t, c->first, r->c.end, c->evaluate, !c->repeats,
                        &r->judge);
    if (err == 0)
        err = score_init(&r->beckon, c->k, c->n_k);
    if (err == 0 && c->baselines)
        err = baselines_new(&r->baselines);
    for (int b = 0; b < BASELINES && r->baselines && err == 0; b++)
        err = score_init(&r->baseline[b], c->k, c->n_k);
    if (err == 0)
        err = lane_new(r->world, 0, &r->lane);
    if (err == 0)
        err = worker_new(r->world, 0, &r->sink, &r->metrics, &r->worker);
    if (err < 0)
        return err;
    worker_set_ranking(r->worker, false); /* each user is ranked when his next case comes */
    *ret = TAKE(r);
    return 0;
}

int replay_item(struct replay *r, const struct item_info *info) {
    judge_item(r->judge, tape_find(r->tape, info->id));
    return world_item(r->world, info, 0);
}

void replay_result(const struct replay *r, struct replay_result *ret) {
    struct model_memory mm;
    model_memory(r->world->model, r->lane->users, &mm);
    *ret = r->result;
    ret->items = mm.items;
    ret->users = mm.users;
    ret->floods = metric_get(&r->metrics.floods);
    ret->bots = metric_get(&r->metrics.bots);
    ret->beckon = &r->beckon;
    ret->baseline = r->baselines ? r->baseline : NULL;
    ret->engine_s = (double)r->engine_us / 1e6;
}

void replay_take_score(struct replay *r, struct score *ret) {
    *ret = r->beckon;
    r->beckon = (struct score){0};
}

const struct policy_set *replay_policies(const struct replay *r) {
    return r->world->policies;
}

const struct judge *replay_judge(const struct replay *r) {
    return r->judge;
}

const struct ranker *replay_ranker(const struct replay *r) {
    return r->c.cfg->model_rank ? model_ranker(r->world->model) : NULL;
}
