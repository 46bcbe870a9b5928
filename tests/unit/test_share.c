#include "model/share.h"

#include "model/ranker.h"
#include "model/sessions.h"
#include "model/trend.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { USERS = 30, ITEMS = 40, EVENTS = 1200 };

static struct event full(void) {
    struct event e = {.id = STR("e1"),
                      .user = STR("ann"),
                      .item = STR("shoe"),
                      .session = STR("s1"),
                      .time_ms = 1700000000123,
                      .value = 4.5,
                      .dwell_ms = NAN,
                      .type = EV_RATING,
                      .n_ctx = 3};
    e.ctx[0] = (struct event_ctx){STR("device"), STR("phone")};
    e.ctx[1] = (struct event_ctx){STR("colour"), STR("red")};
    e.ctx[2] = (struct event_ctx){STR("country"), STR("DE")};
    return e;
}

static struct share_writer record_of_two(struct buf *key) {
    struct share_writer w = {0};
    struct event e = full();
    share_put(&w, &e, true);
    struct event bare = {.id = STR("e2"),
                         .user = STR("bob"),
                         .time_ms = 1699999999000,
                         .value = NAN,
                         .dwell_ms = NAN,
                         .type = EV_SEARCH};
    share_put(&w, &bare, false);
    share_end(&w, 77, 5, key);
    return w;
}

Test(share, what_is_told_is_heard) {
    struct buf key = {0};
    struct share_writer w = record_of_two(&key);
    struct share_reader r;
    struct heard h;
    struct event e = full();
    uint32_t context[CONTEXT_SLOTS];
    context_of(&e, context);
    cr_assert(share_is_told((struct str){(char *)key.p, key.n}));
    cr_assert(!share_is_mark((struct str){(char *)key.p, key.n}));
    cr_assert_eq(share_open(&r, w.buf.p, w.buf.n), 0);
    cr_assert_eq(r.run, 77);
    cr_assert_eq(r.number, 5);
    cr_assert(share_next(&r, &h));
    cr_assert(str_eq(h.e.item, STR("shoe")));
    cr_assert_eq(h.e.time_ms, e.time_ms);
    cr_assert_eq(h.e.type, EV_RATING);
    cr_assert_eq(h.e.value, 4.5);
    cr_assert(h.known);
    cr_assert_eq(h.user, hash_str(e.user, 0));
    cr_assert_eq(h.e.session.n, sizeof(uint32_t));
    cr_assert_arr_eq(h.context, context, sizeof context);
    cr_assert(share_next(&r, &h));
    cr_assert_eq(h.e.time_ms, 1699999999000);
    cr_assert_eq(h.e.item.n, 0);
    cr_assert_eq(h.e.session.n, 0);
    cr_assert(isnan(h.e.value));
    cr_assert(!h.known);
    cr_assert(!share_next(&r, &h));
    cr_assert(!r.wire.bad);
    buf_free(&key);
    buf_free(&w.buf);
}

Test(share, an_event_costs_some_thirty_bytes) {
    struct share_writer w = {0};
    struct event e = full();
    e.type = EV_VIEW;
    e.value = NAN;
    share_put(&w, &e, true);
    size_t first = w.buf.n;
    e.time_ms += 100;
    share_put(&w, &e, true);
    cr_assert_leq(w.buf.n - first, 30);
    buf_free(&w.buf);
}

Test(share, no_cut_record_is_taken_for_a_whole_one) {
    struct buf key = {0};
    struct share_writer w = record_of_two(&key);
    for (size_t n = 0; n < w.buf.n; n++) {
        struct share_reader r;
        struct heard h;
        int whole = 0;
        if (share_open(&r, w.buf.p, n) < 0)
            continue;
        while (share_next(&r, &h))
            whole++;
        cr_assert(whole < 2);
        /* It may end behind an event. */
        cr_assert(r.wire.bad || r.wire.p == r.wire.end);
    }
    w.buf.p[0]++;
    struct share_reader r;
    cr_assert_eq(share_open(&r, w.buf.p, w.buf.n), -EPROTO);
    buf_free(&key);
    buf_free(&w.buf);
}

Test(share, times_that_overflow_are_damage) {
    struct share_writer w = {0};
    struct event e = full();
    e.time_ms = INT64_MAX;
    share_put(&w, &e, true);
    size_t at = w.buf.n;
    share_put(&w, &e, true);
    struct buf key = {0};
    share_end(&w, 1, 1, &key);
    w.buf.p[at + 1] = 2; /* one more than fits */
    struct share_reader r;
    struct heard h;
    cr_assert_eq(share_open(&r, w.buf.p, w.buf.n), 0);
    cr_assert(share_next(&r, &h));
    cr_assert(!share_next(&r, &h));
    cr_assert(r.wire.bad);
    buf_free(&key);
    buf_free(&w.buf);
}

Test(share, keys_repeat_after_so_many_records) {
    struct share_writer w = {0};
    struct buf a = {0}, b = {0}, c = {0};
    share_end(&w, 9, 3, &a);
    share_end(&w, 9, 4, &b);
    share_end(&w, 9, 3 + SHARE_KEYS, &c);
    cr_assert_eq(a.n, c.n);
    cr_assert_arr_eq(a.p, c.p, a.n);
    cr_assert(memcmp(a.p, b.p, a.n) != 0);
    buf_free(&a);
    buf_free(&b);
    buf_free(&c);
}

Test(share, a_mark_survives_and_damage_to_it_shows) {
    struct share_mark m = {.run = 3, .told = 12, .offset = 1234567, .open = true}, back;
    struct buf key = {0}, value = {0};
    share_mark_put(&m, &key, &value);
    cr_assert(share_is_mark((struct str){(char *)key.p, key.n}));
    cr_assert_eq(share_mark_get(value.p, value.n, &back), 0);
    cr_assert_eq(back.run, 3);
    cr_assert_eq(back.told, 12);
    cr_assert_eq(back.offset, 1234567);
    cr_assert(back.open);
    for (size_t n = 0; n < value.n; n++)
        cr_assert_lt(share_mark_get(value.p, n, &back), 0);
    buf_put(&value, "", 1);
    cr_assert_eq(share_mark_get(value.p, value.n, &back), -EBADMSG);
    buf_free(&key);
    buf_free(&value);
}

/* ---- a listener and a learner of the same events ---- */

struct side {
    struct model *m;
    struct shard *s;
    struct learner *l;
    struct listener *hears;
};

static void side_make(struct side *x, uint32_t admit) {
    struct model_config c;
    model_config_default(&c);
    c.dim = 8;
    c.max_items = 100;
    c.item_admit = admit;
    *x = (struct side){0};
    cr_assert_eq(model_new(&c, &x->m), 0);
    cr_assert_eq(shard_new(x->m, &x->s), 0);
    cr_assert_eq(learner_new(x->m, 0, &x->l), 0);
    cr_assert_eq(listener_new(x->m, &x->hears), 0);
}

static void side_free(struct side *x) {
    listener_free(x->hears);
    learner_free(x->l);
    shard_free(x->s);
    model_free(x->m);
}

struct made {
    char id[16], user[16], item[16], session[24];
    struct event e;
};

static void make(struct rng *r, int i, struct made *ret) {
    static const uint8_t types[] = {EV_VIEW, EV_VIEW, EV_CLICK, EV_PURCHASE, EV_SEARCH, EV_RATING};
    uint32_t u = rng_below(r, USERS);
    snprintf(ret->id, sizeof ret->id, "e%d", i);
    snprintf(ret->user, sizeof ret->user, "u%u", u);
    snprintf(ret->item, sizeof ret->item, "i%u", rng_below(r, ITEMS));
    snprintf(ret->session, sizeof ret->session, "%u-%d", u, i / 100);
    struct event e = {.id = str_of(ret->id),
                      .user = str_of(ret->user),
                      .time_ms = 1700000000000 + i * 20000,
                      .value = NAN,
                      .dwell_ms = NAN,
                      .type = types[rng_below(r, ARRAY_LEN(types))]};
    if (e.type != EV_SEARCH)
        e.item = str_of(ret->item);
    if (u % 3)
        e.session = str_of(ret->session);
    if (e.type == EV_RATING)
        e.value = 1 + rng_below(r, 5);
    if (rng_below(r, 2)) {
        e.n_ctx = 1;
        e.ctx[0] = (struct event_ctx){STR("country"), u % 2 ? STR("DE") : STR("FR")};
    }
    ret->e = e;
}

/* Learns on `a` and tells `b` in records of some. */
static void live(struct side *a, struct side *b) {
    struct rng r;
    struct share_writer w = {0};
    struct buf key = {0};
    rng_seed(&r, 4);
    for (int i = 0; i < EVENTS; i++) {
        struct made made;
        make(&r, i, &made);
        struct event *e = &made.e;
        uint32_t row = model_item_admit(a->m, e->item, e->time_ms);
        if (model_learn(a->l, a->s, shard_admit(a->s, e->user, e->time_ms), e, row) == LEARN_OK)
            share_put(&w, e, row != ROW_NONE);
        if (i % 50 != 49)
            continue;
        share_end(&w, 1, (uint64_t)i, &key);
        struct share_reader read;
        struct heard h;
        cr_assert_eq(share_open(&read, w.buf.p, w.buf.n), 0);
        while (share_next(&read, &h)) {
            h.row = h.known ? model_item_intern(b->m, h.e.item, h.e.time_ms)
                            : model_item_admit(b->m, h.e.item, h.e.time_ms);
            cr_assert_eq(listener_learn(b->hears, &h), 0);
        }
        cr_assert(!read.wire.bad);
        share_reset(&w);
        buf_reset(&key);
    }
    buf_free(&w.buf);
    buf_free(&key);
}

static void expect_same_counts(const struct side *a, const struct side *b) {
    int64_t now = 1700000000000 + EVENTS * INT64_C(20000);
    cr_assert_eq(a->m->events, b->m->events);
    cr_assert_eq(a->m->tick, b->m->tick);
    cr_assert_eq(sessions_count(a->m->sessions), sessions_count(b->m->sessions));
    for (int i = 0; i < ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        uint32_t x = model_item_find(a->m, str_of(id)), y = model_item_find(b->m, str_of(id));
        cr_assert_eq(x == ROW_NONE, y == ROW_NONE);
        if (x == ROW_NONE)
            continue;
        struct buf p = {0}, q = {0}, pk = {0}, qk = {0};
        /* pulse, session facts, context, co-visitation and pairs, byte for byte */
        cr_assert_eq(model_item_encode(a->m, x | 0x80000000u, &pk, &p), 0);
        cr_assert_eq(model_item_encode(b->m, y | 0x80000000u, &qk, &q), 0);
        cr_assert_eq(p.n, q.n, "%s", id);
        cr_assert_arr_eq(p.p, q.p, p.n, "%s", id);
        cr_assert_eq(trend_count(a->m->trend, x), trend_count(b->m->trend, y));
        cr_assert_eq(trend_value(a->m->trend, x, now), trend_value(b->m->trend, y, now));
        buf_free(&p);
        buf_free(&q);
        buf_free(&pk);
        buf_free(&qk);
    }
}

Test(share, a_listener_counts_what_the_learner_counts) {
    struct side a, b;
    side_make(&a, 1);
    side_make(&b, 1);
    live(&a, &b);
    expect_same_counts(&a, &b);
    side_free(&a);
    side_free(&b);
}

Test(share, items_become_known_to_both_by_the_same_events) {
    struct side a, b;
    side_make(&a, 5);
    side_make(&b, 5);
    live(&a, &b);
    cr_assert_gt(model_items(a.m), 10);
    expect_same_counts(&a, &b);
    side_free(&a);
    side_free(&b);
}

Test(share, who_hears_leaves_the_ranker_alone) {
    struct side a, b;
    side_make(&a, 1);
    side_make(&b, 1);
    struct buf before = {0}, after = {0};
    cr_assert_eq(ranker_encode(b.m->ranker, &before), 0);
    live(&a, &b);
    cr_assert_eq(ranker_encode(b.m->ranker, &after), 0);
    cr_assert_eq(before.n, after.n);
    cr_assert_arr_eq(before.p, after.p, before.n);
    buf_reset(&after);
    cr_assert_eq(ranker_encode(a.m->ranker, &after), 0);
    cr_assert(before.n != after.n || memcmp(before.p, after.p, before.n) != 0);
    buf_free(&before);
    buf_free(&after);
    side_free(&a);
    side_free(&b);
}

/* Every row that moved, as the leader saves them, onto another process's. */
static int take_all(struct model *from, struct model *to) {
    struct buf key = {0}, rec = {0};
    uint32_t cursor = 0, row;
    int unknown = 0;
    while ((row = model_dirty_next(from, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&rec);
        cr_assert_eq(model_item_encode(from, row, &key, &rec), 0);
        int r = model_vectors_take(to, (struct str){(char *)key.p, key.n}, rec.p, rec.n);
        cr_assert(r == 0 || r == -EAGAIN, "%d", r);
        unknown += r != 0;
    }
    buf_free(&key);
    buf_free(&rec);
    return unknown;
}

Test(share, the_leaders_vectors_replace_ours_and_counts_stay) {
    struct side a, b;
    side_make(&a, 1);
    side_make(&b, 1);
    live(&a, &b);
    cr_assert_eq(take_all(a.m, b.m), 0);
    expect_same_counts(&a, &b);
    cr_assert_arr_eq(a.m->phi, b.m->phi, 8 * 8 * sizeof(float));
    for (int i = 0; i < ITEMS; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%d", i);
        uint32_t x = model_item_find(a.m, str_of(id)), y = model_item_find(b.m, str_of(id));
        cr_assert_arr_eq(item_eff(&a.m->items, x), item_eff(&b.m->items, y), 8 * sizeof(float));
        cr_assert_arr_eq(a.m->items.in + x * 8, b.m->items.in + y * 8, 8 * sizeof(float));
        cr_assert_eq(a.m->items.hot[x].acc, b.m->items.hot[y].acc);
    }
    side_free(&a);
    side_free(&b);
}

Test(share, vectors_of_items_not_known_here_ask_for_a_row) {
    struct side a, b;
    side_make(&a, 1);
    side_make(&b, 1);
    struct event e = full();
    model_learn(a.l, a.s, shard_admit(a.s, e.user, 1), &e, model_item_admit(a.m, e.item, 1));
    cr_assert_eq(take_all(a.m, b.m), 1);
    side_free(&a);
    side_free(&b);
}

Test(share, damaged_vectors_change_nothing) {
    struct side a, b;
    side_make(&a, 1);
    side_make(&b, 1);
    live(&a, &b);
    uint32_t x = model_item_find(a.m, STR("i1")), y = model_item_find(b.m, STR("i1"));
    struct buf key = {0}, rec = {0};
    cr_assert_eq(model_item_encode(a.m, x, &key, &rec), 0);
    float before[8];
    memcpy(before, b.m->items.own + y * 8, sizeof before);
    struct str k = {(char *)key.p, key.n};
    for (size_t n = 0; n < rec.n; n++) {
        cr_assert_lt(model_vectors_take(b.m, k, rec.p, n), 0);
        rec.p[n] ^= 16;
        cr_assert_lt(model_vectors_take(b.m, k, rec.p, rec.n), 0);
        rec.p[n] ^= 16;
    }
    cr_assert_arr_eq(before, b.m->items.own + y * 8, sizeof before);
    buf_free(&key);
    buf_free(&rec);
    side_free(&a);
    side_free(&b);
}
