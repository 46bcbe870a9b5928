/* The step of a worker over a simulated shop, what it puts into the changelog, and that read back
 * by another. */
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_file.h"
#include "consumer/metrics.h"
#include "consumer/sim.h"
#include "consumer/worker.h"
#include "tests/scarce/scarce.h"

enum { EVENTS = 300, BATCH = 100 };

static const char campaign_text[] =
    "holdout: {percent: 10}\n"
    "caps: {user: 4 per 1d, channels: {push: 2 per 6h}}\n"
    "campaigns:\n"
    "  - id: rescue\n"
    "    channel: email\n"
    "    priority: 9\n"
    "    trigger: {cart_abandoned: {after: 10m}}\n"
    "    offer: {kind: coupon, discount_percent: 10}\n"
    "    valid_for: 1d\n"
    "    quiet_hours: {from: \"22:00\", to: \"06:00\", then: wait}\n"
    "  - id: browse\n"
    "    channel: push\n"
    "    trigger: {viewed: {category: same, times: 2, within: 1h}}\n"
    "    offer: {kind: message, message: look}\n"
    "    valid_for: 1d\n"
    "    budget: 40 per day\n"
    "  - id: gone\n"
    "    channel: email\n"
    "    trigger: {lapsed: {days: 1}}\n"
    "    offer: {kind: message, message: back}\n"
    "    valid_for: 1d\n";

static struct config *cfg;
static struct event events[EVENTS];
static struct metrics counted;

static struct str keep(struct str s) {
    char *p = s.n ? malloc(s.n) : NULL;
    return p ? (struct str){memcpy(p, s.p, s.n), s.n} : (struct str){0};
}

static void prepare(void) {
    char *set[] = {"policy.consent_default=granted", "model.dim=16"};
    struct sim_config c;
    struct sim *sim;
    sim_config_default(&c);
    c.users = 25;
    c.items = 60;
    c.events_per_s = 0.02;
    if (config_load(NULL, set, ARRAY_LEN(set), &cfg) < 0 || sim_new(&c, &sim) < 0)
        abort();
    for (size_t i = 0; i < EVENTS; i++) {
        struct event *e = &events[i];
        sim_next(sim, e);
        struct str *all[] = {&e->id, &e->user, &e->item, &e->session, &e->query};
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            *all[k] = keep(*all[k]);
        e->decision = (struct str){0};
        e->n_ctx = 0; /* they lie in the simulator */
    }
    sim_free(sim);
}

static int on_decision(void *ctx, const struct decision *d, const struct trigger_record *t) {
    buf_put(ctx, t->id, sizeof t->id);
    buf_put(ctx, &d->reason, sizeof d->reason);
    return ((struct buf *)ctx)->failed ? -ENOMEM : 0;
}

struct side {
    struct world *world;
    struct lane *lane;
    struct worker *worker;
    struct sink sink;
};

static void close_side(struct side *s) {
    worker_free(s->worker);
    lane_free(s->lane);
    world_free(s->world);
}

static int open_side(struct side *s, struct buf *decisions) {
    struct policy_set *policies = NULL;
    *s = (struct side){.sink = {.ctx = decisions, .decision = on_decision}};
    int r = campaign_text_load(cfg, "test", campaign_text, sizeof campaign_text - 1, &policies);
    if (r == 0)
        r = world_new(cfg, policies, 0, &s->world);
    if (r == 0)
        policy_set_budget_share(s->world->policies, 1, 1);
    if (r == 0)
        r = lane_new(s->world, 0, &s->lane);
    return r < 0 ? r : worker_new(s->world, 0, &s->sink, &counted, &s->worker);
}

static int play(struct side *s) {
    struct input in[BATCH];
    int r = 0;
    for (size_t at = 0; at < EVENTS && r == 0; at += BATCH) {
        for (size_t i = 0; i < BATCH; i++)
            in[i] = (struct input){.lane = s->lane, .ev = events[at + i]};
        r = worker_step(s->worker, in, BATCH, events[at + BATCH - 1].time_ms);
    }
    return r;
}

static int other_lane(void *ctx, const void *key, size_t key_n, const void *value, size_t n) {
    return lane_restore(ctx, key, key_n, value, n);
}

static int to_buf(void *ctx, const void *key, size_t key_n, const void *value, size_t n) {
    buf_put(ctx, key, key_n);
    buf_put(ctx, value, n);
    return ((struct buf *)ctx)->failed ? -ENOMEM : 0;
}

/* What is decided must be the same, or the step must have failed: then its transaction is
 * aborted. */
static int step(struct buf *out) {
    struct side s;
    if (!cfg) {
        prepare();
        scarce_start(0, false);
    }
    int r = open_side(&s, out);
    if (r == 0)
        r = play(&s);
    scarce_stop();
    close_side(&s);
    return r;
}

/* Changes of one that played with enough memory, into another; what that holds then. */
static int hand_over(struct buf *out) {
    static struct side from;
    static struct buf none;
    struct side to;
    if (!from.worker) {
        if (!cfg)
            prepare();
        if (open_side(&from, &none) < 0 || play(&from) < 0)
            abort();
        scarce_start(0, false);
    }
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(from.lane->users, &cursor));)
        if (!u->dirty && lane_mark_dirty(from.lane, u) < 0)
            return -ENOMEM;
    from.lane->changed = true;
    int r = open_side(&to, &none);
    if (r == 0)
        r = lane_changes(from.lane, other_lane, to.lane);
    if (r == 0)
        r = lane_restored(to.lane);
    scarce_stop();
    cursor = 0;
    for (struct user *u; r == 0 && (u = shard_next(to.lane->users, &cursor));)
        r = lane_mark_dirty(to.lane, u);
    if (r == 0)
        r = lane_changes(to.lane, to_buf, out);
    close_side(&to);
    return r;
}

const struct scarce_case state_cases[] = {
    {"step", step},
    {"hand-over", hand_over},
    {NULL, NULL},
};
