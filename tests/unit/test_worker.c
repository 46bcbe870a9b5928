#include "consumer/worker.h"

#include <criterion/criterion.h>

#include "consumer/campaign_file.h"
#include "consumer/metrics.h"
#include "consumer/sim.h"

/* The step over a simulated shop: what is decided must depend on the events alone, not on how they
 * are cut into batches nor on restarts between them. */

static const char campaigns[] = "holdout: {percent: 10}\n"
                                "caps: {user: 4 per 1d, channels: {push: 2 per 6h}}\n"
                                "campaigns:\n"
                                "  - id: rescue\n"
                                "    channel: email\n"
                                "    priority: 9\n"
                                "    trigger: {cart_abandoned: {after: 10m}}\n"
                                "    offer: {kind: coupon, discount_percent: 10}\n"
                                "    valid_for: 1d\n"
                                "    caps: 1 per 3h\n"
                                "    quiet_hours: {from: \"22:00\", to: \"06:00\", then: wait}\n"
                                "  - id: browse\n"
                                "    channel: push\n"
                                "    trigger: {viewed: {category: same, times: 3, within: 1h}}\n"
                                "    offer: {kind: message, message: look}\n"
                                "    valid_for: 1d\n"
                                "    budget: 40 per day\n"
                                "  - id: gone\n"
                                "    channel: email\n"
                                "    trigger: {lapsed: {days: 1}}\n"
                                "    offer: {kind: message, message: back}\n"
                                "    valid_for: 1d\n";

struct seen {
    struct buf decisions; /* trigger id, reason, time of each, in order */
    uint64_t sent, dead[DEAD_COUNT];
};

struct engine {
    struct config *cfg;
    struct world *world;
    struct lane *lane;
    struct worker *worker;
    struct sink sink;
    struct metrics metrics;
    struct seen *out;
};

static int on_dead(void *ctx, const struct input *in, const struct dead *why) {
    struct engine *e = ctx;
    (void)in;
    e->out->dead[why->reason]++;
    return 0;
}

static int on_decision(void *ctx, const struct decision *d, const struct trigger_record *t) {
    struct engine *e = ctx;
    buf_put(&e->out->decisions, t->id, sizeof t->id);
    buf_put(&e->out->decisions, &d->reason, sizeof d->reason);
    buf_put(&e->out->decisions, &t->time_ms, sizeof t->time_ms);
    e->out->sent += t->sent;
    return 0;
}

static struct engine *engine_open_seeded(struct seen *out, uint64_t hash_seed) {
    struct engine *e = calloc(1, sizeof *e);
    char *set[] = {"policy.consent_default=granted", "model.dim=16", "stream.max_behind=2h"};
    struct policy_set *policies = NULL;
    cr_assert_eq(config_load(NULL, set, ARRAY_LEN(set), &e->cfg), 0);
    cr_assert_eq(campaign_text_load(e->cfg, "test", campaigns, sizeof campaigns - 1, &policies), 0);
    cr_assert_eq(world_new(e->cfg, policies, hash_seed, &e->world), 0);
    cr_assert_eq(lane_new(e->world, 0, &e->lane), 0);
    e->out = out;
    e->sink = (struct sink){.ctx = e, .dead = on_dead, .decision = on_decision};
    cr_assert_eq(worker_new(e->world, 0, &e->sink, &e->metrics, &e->worker), 0);
    policy_set_budget_share(e->world->policies, 1, 1);
    return e;
}

static struct engine *engine_open(struct seen *out) {
    return engine_open_seeded(out, 0);
}

static void engine_close(struct engine *e) {
    worker_free(e->worker);
    lane_free(e->lane);
    world_free(e->world);
    config_free(e->cfg);
    free(e);
}

/* ---- events that outlive the simulator's buffers ---- */

struct script {
    struct event *e;
    size_t n;
};

static struct str keep(struct str s) {
    char *p = s.n ? malloc(s.n) : NULL;
    return s.n ? (struct str){memcpy(p, s.p, s.n), s.n} : s;
}

static struct script script_make(size_t n) {
    struct sim_config c;
    struct sim *sim;
    sim_config_default(&c);
    c.users = 150;
    c.items = 200;
    c.events_per_s = 0.1; /* so that days pass */
    cr_assert_eq(sim_new(&c, &sim), 0);
    struct script s = {calloc(n, sizeof(struct event)), n};
    for (size_t i = 0; i < n; i++) {
        sim_next(sim, &s.e[i]);
        struct str *all[] = {&s.e[i].id, &s.e[i].user, &s.e[i].item, &s.e[i].session,
                             &s.e[i].query};
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            *all[k] = keep(*all[k]);
        s.e[i].decision = (struct str){0};
    }
    sim_free(sim);
    return s;
}

static void script_free(struct script *s) {
    for (size_t i = 0; i < s->n; i++) {
        struct str *all[] = {&s->e[i].id, &s->e[i].user, &s->e[i].item, &s->e[i].session,
                             &s->e[i].query};
        for (size_t k = 0; k < ARRAY_LEN(all); k++)
            free((char *)all[k]->p);
    }
    free(s->e);
}

static void play(struct engine *e, const struct script *s, size_t from, size_t to, size_t batch) {
    struct input *in = calloc(batch, sizeof *in);
    for (size_t at = from; at < to; at += batch) {
        size_t n = MIN(batch, to - at);
        for (size_t i = 0; i < n; i++)
            in[i] = (struct input){.lane = e->lane, .ev = s->e[at + i]};
        cr_assert_eq(worker_step(e->worker, in, n, s->e[at + n - 1].time_ms), 0);
    }
    free(in);
}

static void same(const struct seen *a, const struct seen *b, const char *what) {
    cr_assert_eq(a->decisions.n, b->decisions.n, "%s: %zu and %zu bytes of decisions", what,
                 a->decisions.n, b->decisions.n);
    cr_assert(memcmp(a->decisions.p, b->decisions.p, a->decisions.n) == 0, "%s: other decisions",
              what);
    cr_assert(memcmp(a->dead, b->dead, sizeof a->dead) == 0, "%s: other dead letters", what);
}

Test(worker, batches_do_not_change_what_is_decided) {
    struct script s = script_make(12000);
    struct seen one = {0};
    struct engine *e = engine_open(&one);
    play(e, &s, 0, s.n, 1);
    engine_close(e);
    cr_assert(one.sent > 100, "only %llu sent", (unsigned long long)one.sent);
    const size_t batches[] = {7, 512, 4096};
    for (size_t i = 0; i < ARRAY_LEN(batches); i++) {
        struct seen many = {0};
        e = engine_open(&many);
        play(e, &s, 0, s.n, batches[i]);
        engine_close(e);
        same(&one, &many, "batches");
        buf_free(&many.decisions);
    }
    buf_free(&one.decisions);
    script_free(&s);
}

/* Tables of ids from outside are seeded at random, so that nobody can choose ids that collide. */
Test(worker, the_seed_of_hash_tables_changes_nothing) {
    struct script s = script_make(6000);
    struct seen a = {0}, b = {0};
    struct engine *one = engine_open(&a), *other = engine_open_seeded(&b, 0x5eed);
    struct input in[2] = {{.lane = one->lane}, {.lane = other->lane}};
    static struct list list[2];
    play(one, &s, 0, s.n, 512);
    play(other, &s, 0, s.n, 512);
    same(&a, &b, "seeds");
    for (size_t i = 0; i < 500; i++) {
        in[0].ev = in[1].ev = s.e[i];
        worker_preview(one->worker, (struct input *[]){&in[0]}, 1, &list[0]);
        worker_preview(other->worker, (struct input *[]){&in[1]}, 1, &list[1]);
        cr_assert_eq(list[0].n, list[1].n);
        for (uint32_t k = 0; k < list[0].n; k++)
            cr_assert(list[0].e[k].item == list[1].e[k].item &&
                          list[0].e[k].score == list[1].e[k].score,
                      "event %zu, place %u", i, k);
    }
    engine_close(one);
    engine_close(other);
    buf_free(&a.decisions);
    buf_free(&b.decisions);
    script_free(&s);
}

/* The changelog as a compacted topic would hold it. */
struct changelog {
    struct record {
        struct buf key, value;
        bool tombstone;
    } * r;
    size_t n;
};

static int changelog_add(void *ctx, const void *key, size_t key_n, const void *value,
                         size_t value_n) {
    struct changelog *c = ctx;
    struct record *r = NULL;
    for (size_t i = 0; i < c->n && !r; i++)
        if (c->r[i].key.n == key_n && memcmp(c->r[i].key.p, key, key_n) == 0)
            r = &c->r[i];
    if (!r) {
        c->r = realloc(c->r, (c->n + 1) * sizeof *c->r);
        r = &c->r[c->n++];
        *r = (struct record){0};
        buf_put(&r->key, key, key_n);
    }
    buf_reset(&r->value);
    buf_put(&r->value, value, value_n);
    r->tombstone = !value;
    return 0;
}

Test(worker, restored_state_goes_on_as_if_it_had_never_stopped) {
    struct script s = script_make(12000);
    struct seen whole = {0}, parts = {0};
    struct engine *e = engine_open(&whole);
    play(e, &s, 0, s.n, 100);
    engine_close(e);

    struct changelog log = {0};
    size_t at = 0;
    for (int part = 0; part < 6; part++) {
        size_t to = part == 5 ? s.n : at + 500 + (size_t)part * 777;
        e = engine_open(&parts);
        for (size_t i = 0; i < log.n; i++)
            if (!log.r[i].tombstone)
                cr_assert_eq(lane_restore(e->lane, log.r[i].key.p, log.r[i].key.n, log.r[i].value.p,
                                          log.r[i].value.n),
                             0);
        cr_assert_eq(lane_restored(e->lane), 0);
        play(e, &s, at, to, 100);
        cr_assert_eq(lane_changes(e->lane, changelog_add, &log), 0);
        engine_close(e);
        at = to;
    }
    same(&whole, &parts, "restarts");
    for (size_t i = 0; i < log.n; i++) {
        buf_free(&log.r[i].key);
        buf_free(&log.r[i].value);
    }
    free(log.r);
    buf_free(&whole.decisions);
    buf_free(&parts.decisions);
    script_free(&s);
}

Test(worker, repeated_events_go_to_the_dead_letters_and_change_nothing) {
    struct script s = script_make(3000);
    struct seen once = {0}, twice = {0};
    struct engine *e = engine_open(&once);
    play(e, &s, 0, s.n, 64);
    engine_close(e);
    e = engine_open(&twice);
    for (size_t at = 0; at < s.n; at += 50) { /* every 50 events are delivered again */
        play(e, &s, at, at + 50, 50);
        play(e, &s, at, at + 50, 50);
    }
    engine_close(e);
    cr_assert_eq(twice.dead[DEAD_DUPLICATE], s.n);
    twice.dead[DEAD_DUPLICATE] = 0;
    same(&once, &twice, "repeated");
    buf_free(&once.decisions);
    buf_free(&twice.decisions);
    script_free(&s);
}

Test(worker, what_is_too_far_behind_its_partition_is_refused) {
    struct seen out = {0};
    struct engine *e = engine_open(&out);
    struct event ev = {.id = STR("a"),
                       .user = STR("u"),
                       .type = EV_VIEW,
                       .item = STR("i"),
                       .time_ms = 1764000000000};
    struct input in = {.lane = e->lane, .ev = ev};
    cr_assert_eq(worker_step(e->worker, &in, 1, ev.time_ms), 0);
    ev.id = STR("b");
    ev.time_ms -= 3 * 3600 * 1000;
    in = (struct input){.lane = e->lane, .ev = ev};
    cr_assert_eq(worker_step(e->worker, &in, 1, ev.time_ms), 0);
    cr_assert_eq(out.dead[DEAD_BEHIND], 1);
    cr_assert_eq(e->lane->stream_ms, 1764000000000);
    engine_close(e);
}

Test(worker, a_clock_that_runs_ahead_is_set_to_the_brokers_stamp) {
    struct seen out = {0};
    struct engine *e = engine_open(&out);
    struct event ev = {.id = STR("a"),
                       .user = STR("u"),
                       .type = EV_VIEW,
                       .item = STR("i"),
                       .time_ms = 1764000600000};
    struct input in = {.lane = e->lane, .ev = ev, .origin = {.timestamp_ms = 1764000000000}};
    cr_assert_eq(worker_step(e->worker, &in, 1, 1764000000000), 0);
    cr_assert_eq(e->lane->stream_ms, 1764000000000);
    cr_assert_eq(metric_get(&e->metrics.clock_clamped), 1);
    engine_close(e);
}

Test(worker, an_idle_partition_fires_its_timers_by_the_wall_clock) {
    struct seen out = {0};
    struct engine *e = engine_open(&out);
    int64_t t = 1764000000000, wall = t + 5000; /* events arrive 5 s after they happen */
    /* Users 0..19, so that the hold-out does not take them all. */
    for (int i = 0; i < 20; i++) {
        char id[16], user[16];
        snprintf(id, sizeof id, "e%d", i);
        snprintf(user, sizeof user, "u%d", i);
        struct event ev = {.id = str_of(id),
                           .user = str_of(user),
                           .type = EV_CART_ADD,
                           .item = STR("i"),
                           .time_ms = t};
        struct input in = {.lane = e->lane, .ev = ev};
        cr_assert_eq(worker_step(e->worker, &in, 1, wall), 0);
    }
    cr_assert_eq(worker_idle(e->worker, e->lane, wall + 9 * 60000), 0);
    cr_assert_eq(out.sent, 0, "after 9 of 10 minutes");
    cr_assert_eq(worker_idle(e->worker, e->lane, wall + 11 * 60000), 0);
    cr_assert(out.sent > 10, "%llu carts were rescued", (unsigned long long)out.sent);
    uint64_t sent = out.sent;
    cr_assert_eq(worker_idle(e->worker, e->lane, wall + 12 * 60000), 0);
    cr_assert_eq(out.sent, sent, "a timer fired twice");
    engine_close(e);
    buf_free(&out.decisions);
}

/* The first version had no epoch between the times and what campaigns spent. */
Test(worker, a_lanes_record_of_the_first_version_is_read) {
    struct script s = script_make(500);
    struct seen out = {0};
    struct changelog log = {0};
    struct engine *e = engine_open(&out);
    play(e, &s, 0, s.n, 100);
    e->lane->epoch = 77;
    cr_assert_eq(lane_changes(e->lane, changelog_add, &log), 0);
    int64_t stream_ms = e->lane->stream_ms;
    engine_close(e);
    e = engine_open(&out);
    for (size_t i = 0; i < log.n; i++) {
        struct buf *v = &log.r[i].value;
        if (log.r[i].key.n == 1) {
            cr_assert_eq(lane_restore(e->lane, "l", 1, v->p, v->n), 0);
            cr_assert_eq(e->lane->epoch, 77);
            v->p[0] = 1;
            memmove(v->p + 17, v->p + 25, v->n - 25);
            cr_assert_eq(lane_restore(e->lane, "l", 1, v->p, v->n - 8), 0);
            cr_assert_eq(lane_restored(e->lane), 0);
            cr_assert_eq(e->lane->epoch, 0);
            cr_assert_eq(e->lane->stream_ms, stream_ms);
        }
        buf_free(&log.r[i].key);
        buf_free(v);
    }
    engine_close(e);
    free(log.r);
    buf_free(&out.decisions);
    script_free(&s);
}
