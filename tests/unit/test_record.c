#include "model/covisit.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/sgd.h"
#include "model/trend.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { DIM = 8, DENSE = 3 };

struct world {
    struct model *m;
    struct learner *l;
};

static struct world world_new(void) {
    struct model_config c;
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 500;
    c.flood_per_minute = 0;
    struct world w = {0};
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(learner_new(w.m, 0, &w.l), 0);
    return w;
}

static void world_free(struct world *w) {
    learner_free(w->l);
    model_free(w->m);
}

static void catalogue(struct model *m) {
    struct rng r;
    rng_seed(&r, 4);
    for (int i = 0; i < 40; i++) {
        char id[8];
        float dense[DENSE] = {(float)rng_normal(&r), (float)rng_normal(&r), 1};
        snprintf(id, sizeof id, "i%d", i);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 1,
                                 .category = {i % 2 ? STR("odd") : STR("even")},
                                 .price = 5 + i,
                                 .margin = NAN,
                                 .n_dense = DENSE,
                                 .dense = dense,
                                 .available = true};
        cr_assert_eq(model_item_upsert(m, &info, 1, NULL, NULL), 0);
    }
}

static void live(struct world *w) {
    struct rng r;
    rng_seed(&r, 6);
    struct user *u = person_new(w->m, "u");
    for (int i = 0; i < 500; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%u", rng_below(&r, 60)); /* a third is not in the catalogue */
        struct event e = event_of(u, id, EV_VIEW, 1000000 + i * 1000);
        model_learn(w->l, NULL, u, &e, model_item_admit(w->m, e.item, e.time_ms));
    }
    person_free(u);
}

/* Every dirty row of one model into another; returns how many records. */
static int copy(struct model *from, struct model *to) {
    struct buf key = {0}, rec = {0};
    uint32_t cursor = 0, row;
    int n = 0;
    while ((row = model_dirty_next(from, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&rec);
        cr_assert_eq(model_item_encode(from, row, &key, &rec), 0);
        cr_assert_eq(model_item_restore(to, (struct str){(char *)key.p, key.n}, rec.p, rec.n), 0);
        n++;
    }
    buf_free(&key);
    buf_free(&rec);
    return n;
}

Test(record, what_was_learned_survives_in_another_process) {
    struct world a = world_new(), b = world_new();
    catalogue(a.m);
    live(&a);
    int n = copy(a.m, b.m);
    cr_assert(n > 60 + 2, "%d records", n);
    catalogue(b.m); /* comes after the learned state, rows differ */
    for (int i = 0; i < 16; i++) {
        model_maintain(a.m, 2000000);
        model_maintain(b.m, 2000000);
    }
    cr_assert_arr_eq(a.m->phi, b.m->phi, DIM * DIM * sizeof(float));
    cr_assert_arr_eq(a.m->items.proj, b.m->items.proj, DIM * DENSE * sizeof(float));
    for (int i = 0; i < 60; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%d", i);
        uint32_t x = model_item_find(a.m, str_of(id)), y = model_item_find(b.m, str_of(id));
        if (x == ROW_NONE)
            continue;
        cr_assert_neq(y, ROW_NONE);
        cr_assert_arr_eq(item_eff(&a.m->items, x), item_eff(&b.m->items, y), DIM * sizeof(float));
        cr_assert_eq(a.m->items.bias[x], b.m->items.bias[y]);
        cr_assert_eq(a.m->items.hot[x].acc, b.m->items.hot[y].acc);
        cr_assert_eq(trend_count(a.m->trend, x), trend_count(b.m->trend, y));
        cr_assert_float_eq(trend_value(a.m->trend, x, 2000000), trend_value(b.m->trend, y, 2000000),
                           1e-3);
        struct covisit_pair p[COVISIT_SLOTS], q[COVISIT_SLOTS];
        size_t np = covisit_neighbours(a.m->covisit, x, 2000000, p, COVISIT_SLOTS);
        size_t nq = covisit_neighbours(b.m->covisit, y, 2000000, q, COVISIT_SLOTS);
        cr_assert_eq(np, nq);
    }
    struct list la, lb;
    struct user *nobody = NULL;
    model_rank(a.l, &nobody, 1, false, &la);
    model_rank(b.l, &nobody, 1, false, &lb);
    cr_assert_eq(la.n, lb.n);
    for (uint32_t i = 0; i < la.n; i++) {
        struct item_view va, vb;
        model_item_view(a.m, la.e[i].item, &va);
        model_item_view(b.m, lb.e[i].item, &vb);
        cr_assert(str_eq(va.id, vb.id));
    }
    world_free(&a);
    world_free(&b);
}

Test(record, only_what_changed_is_handed_out) {
    struct world a = world_new(), b = world_new();
    catalogue(a.m);
    live(&a);
    cr_assert(copy(a.m, b.m) > 0);
    cr_assert_eq(copy(a.m, b.m), 0);
    struct user *u = person_new(a.m, "v");
    struct event e = event_of(u, "i45", EV_VIEW, 3000000);
    a.m->c.negatives = a.m->c.replays = 0;
    model_learn(a.l, NULL, u, &e, model_item_admit(a.m, e.item, e.time_ms));
    /* the item and its company, what was due and what led there, the session, what there is once */
    int n = copy(a.m, b.m);
    cr_assert(n >= 5 && n < 25, "%d records", n);
    person_free(u);
    world_free(&a);
    world_free(&b);
}

Test(record, no_flipped_byte_or_cut_goes_unnoticed) {
    struct world a = world_new(), b = world_new();
    catalogue(a.m);
    live(&a);
    uint32_t cursor = 0, row;
    char kinds[256] = {0};
    while ((row = model_dirty_next(a.m, &cursor)) != ROW_NONE) {
        struct buf key = {0}, rec = {0};
        cr_assert_eq(model_item_encode(a.m, row, &key, &rec), 0);
        struct str k = {(char *)key.p, key.n};
        if (!kinds[key.p[0]]++) {
            for (size_t i = 0; i < rec.n; i++)
                for (int bit = 0; bit < 8; bit += 7) {
                    rec.p[i] ^= (uint8_t)(1 << bit);
                    cr_assert_eq(model_item_restore(b.m, k, rec.p, rec.n), -EBADMSG);
                    rec.p[i] ^= (uint8_t)(1 << bit);
                }
            for (size_t n = 0; n < rec.n; n++)
                cr_assert_eq(model_item_restore(b.m, k, rec.p, n), -EBADMSG);
            key.p[key.n - 1] ^= 1; /* under another key */
            cr_assert_eq(model_item_restore(b.m, k, rec.p, rec.n), -EBADMSG);
        }
        buf_free(&key);
        buf_free(&rec);
    }
    cr_assert(kinds['i'] && kinds['c'] && kinds['f'] && kinds['s'] && kinds['m'] && kinds['p'] &&
              kinds['r'] && kinds['t']);
    cr_assert_eq(b.m->items.live, 0);
    world_free(&a);
    world_free(&b);
}

Test(record, another_width_is_told_from_damage) {
    struct world a = world_new();
    struct model_config c = a.m->c;
    c.dim = 16;
    struct model *other = NULL;
    cr_assert_eq(model_new(&c, &other), 0);
    uint32_t row = model_item_admit(a.m, STR("x"), 1);
    struct buf key = {0}, rec = {0};
    cr_assert_eq(model_item_encode(a.m, row, &key, &rec), 0);
    cr_assert_eq(model_item_restore(other, (struct str){(char *)key.p, key.n}, rec.p, rec.n),
                 -EPROTO);
    cr_assert_eq(model_item_encode(a.m, 77, &key, &rec), -EINVAL);
    buf_free(&key);
    buf_free(&rec);
    model_free(other);
    world_free(&a);
}

/* ---- going on ---------------------------------------------------------------- */

enum { USERS = 12 };

struct crowd {
    struct user *u[USERS];
};

/* Several users whose sessions run side by side; a new learner each time, as after a restart. */
static void go_on(struct world *w, struct crowd *c, int from, int to) {
    struct rng r;
    rng_seed(&r, from);
    learner_free(w->l);
    w->l = NULL;
    cr_assert_eq(learner_new(w->m, 3, &w->l), 0);
    for (int i = from; i < to; i++) {
        struct user *u = c->u[rng_below(&r, USERS)];
        uint32_t taste = (uint32_t)(u->id.p[1] - 'a') * 3;
        char id[8], session[8], event[8];
        snprintf(id, sizeof id, "i%u", (taste + rng_below(&r, 12)) % 40);
        snprintf(session, sizeof session, "s%d", i / 90);
        struct event e = event_of(u, id, i % 9 ? EV_VIEW : EV_PURCHASE, 1000000 + i * 1000);
        snprintf(event, sizeof event, "g%d", i);
        e.session = str_of(session);
        e.id = str_of(event);
        cr_assert_eq(model_learn(w->l, NULL, u, &e, model_item_find(w->m, e.item)), LEARN_OK);
        if (i % 1024 == 0)
            model_maintain(w->m, e.time_ms);
    }
}

static void crowd_new(const struct model *m, struct crowd *c) {
    for (int i = 0; i < USERS; i++) {
        char id[4] = {'u', (char)('a' + i)};
        c->u[i] = person_new(m, id);
    }
}

static void crowd_free(struct crowd *c) {
    for (int i = 0; i < USERS; i++)
        person_free(c->u[i]);
}

static void move(const struct model *from, struct crowd *a, struct model *to, struct crowd *b) {
    for (int i = 0; i < USERS; i++) {
        struct buf rec = {0};
        size_t used = 0;
        cr_assert_eq(user_encode(from, a->u[i], &rec), 0);
        cr_assert_eq(user_restore(to, NULL, b->u[i], rec.p, rec.n, &used), 0);
        cr_assert_eq(used, rec.n);
        cr_assert_eq(a->u[i]->session_no, b->u[i]->session_no);
        cr_assert_eq(a->u[i]->session_before, b->u[i]->session_before);
        buf_free(&rec);
    }
}

/* What is marked as changed is what differs: the records of both, each by each. */
static int same_records(struct model *a, struct model *b) {
    struct buf ka = {0}, kb = {0}, ra = {0}, rb = {0};
    uint32_t at_a = 0, at_b = 0, row;
    int n = 0;
    for (; (row = model_dirty_next(a, &at_a)) != ROW_NONE; n++) {
        buf_reset(&ka);
        buf_reset(&kb);
        buf_reset(&ra);
        buf_reset(&rb);
        cr_assert_eq(model_dirty_next(b, &at_b), row);
        cr_assert_eq(model_item_encode(a, row, &ka, &ra), 0);
        cr_assert_eq(model_item_encode(b, row, &kb, &rb), 0);
        cr_assert_eq(ka.n, kb.n);
        cr_assert_arr_eq(ka.p, kb.p, ka.n);
        cr_assert_eq(ra.n, rb.n, "kind %c", ka.p[0]);
        cr_assert_arr_eq(ra.p, rb.p, ra.n, "kind %c", ka.p[0]);
    }
    cr_assert_eq(model_dirty_next(b, &at_b), ROW_NONE);
    buf_free(&ka);
    buf_free(&kb);
    buf_free(&ra);
    buf_free(&rb);
    return n;
}

Test(record, who_restores_everything_goes_on_as_if_nothing_had_stopped) {
    enum { FIRST = 1, STOP = 4097, END = 6000 };
    struct world a = world_new(), b = world_new();
    struct crowd ca, cb;
    catalogue(a.m);
    crowd_new(a.m, &ca);
    go_on(&a, &ca, FIRST, STOP); /* its last event rebuilt the sampler and all vectors */
    catalogue(b.m);
    copy(a.m, b.m);
    model_restored(b.m);
    /* Of sessions side by side postings know which came to an item first, records do not. */
    sessions_index(a.m->sessions);
    model_maintain(b.m, 1000000 + (STOP - 1) * 1000);
    crowd_new(b.m, &cb);
    move(a.m, &ca, b.m, &cb);
    cr_assert_eq(a.m->tick, b.m->tick);
    cr_assert_eq(a.m->events, b.m->events);
    cr_assert(ranker_cases(a.m->ranker) > 1000);
    uint32_t cursor = 0;
    while (model_dirty_next(b.m, &cursor) != ROW_NONE)
        ;

    go_on(&a, &ca, STOP, END);
    go_on(&b, &cb, STOP, END);
    static struct list la[USERS], lb[USERS];
    model_rank(a.l, ca.u, USERS, false, la);
    model_rank(b.l, cb.u, USERS, false, lb);
    for (int i = 0; i < USERS; i++) {
        cr_assert(la[i].n > 10);
        cr_assert_eq(la[i].n, lb[i].n);
        for (uint32_t k = 0; k < la[i].n; k++) {
            cr_assert_eq(la[i].e[k].item, lb[i].e[k].item);
            cr_assert_eq(la[i].e[k].score, lb[i].e[k].score);
            cr_assert_eq(la[i].e[k].because, lb[i].e[k].because);
        }
        struct buf ra = {0}, rb = {0};
        cr_assert_eq(user_encode(a.m, ca.u[i], &ra), 0);
        cr_assert_eq(user_encode(b.m, cb.u[i], &rb), 0);
        cr_assert_eq(ra.n, rb.n);
        cr_assert_arr_eq(ra.p, rb.p, ra.n);
        buf_free(&ra);
        buf_free(&rb);
    }
    cr_assert(same_records(a.m, b.m) > 100);
    crowd_free(&ca);
    crowd_free(&cb);
    world_free(&a);
    world_free(&b);
}

/* As the first version wrote it: no intent vector, and co-visitation where it ends. */
static const uint8_t item_v1[] = {
    0x01, 0x69, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x22, 0x04, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0f, 0x00, 0x00, 0x00, 0xd0, 0xfb, 0x71, 0x41,
    0x3c, 0x16, 0xe1, 0x3b, 0x4d, 0xb9, 0xbb, 0x3c, 0x4c, 0xa6, 0x10, 0xbd, 0xd2, 0x15, 0xe2, 0xbc,
    0x16, 0x8a, 0xf8, 0x3c, 0xcd, 0x3e, 0x82, 0x3b, 0xac, 0x43, 0xb2, 0x3c, 0x14, 0x68, 0x4f, 0xbd,
    0x00, 0x00, 0x00, 0x00, 0x46, 0x0b, 0x20, 0x41, 0x05, 0x02, 0x69, 0x35, 0x17, 0x89, 0xba, 0x40,
    0x02, 0x69, 0x31, 0x67, 0x4d, 0xce, 0x40, 0x02, 0x69, 0x34, 0x21, 0xf8, 0x96, 0x40, 0x02, 0x69,
    0x33, 0x2d, 0x80, 0xad, 0x40, 0x02, 0x69, 0x32, 0x34, 0xbb, 0x63, 0x40, 0x0f, 0xb3, 0xfa, 0x8c,
};

Test(record, an_item_of_the_first_version_is_read_and_written_anew) {
    struct world w = world_new();
    cr_assert_eq(model_item_restore(w.m, STR("ii0"), item_v1, sizeof item_v1), 0);
    uint32_t row = model_item_find(w.m, STR("i0"));
    cr_assert_neq(row, ROW_NONE);
    cr_assert_eq(trend_count(w.m->trend, row), 15);
    cr_assert_float_eq(w.m->items.own[row * DIM], 0.00687, 1e-5);
    for (int i = 0; i < DIM; i++)
        cr_assert_eq(w.m->items.in[row * DIM + i], 0);
    struct covisit_pair p[COVISIT_SLOTS];
    cr_assert_eq(covisit_neighbours(w.m->covisit, row, 1060000, p, COVISIT_SLOTS), 5);
    struct world again = world_new();
    cr_assert(copy(w.m, again.m) >= 7); /* its vectors, its company, five neighbours */
    row = model_item_find(again.m, STR("i0"));
    cr_assert_eq(trend_count(again.m->trend, row), 15);
    cr_assert_eq(covisit_neighbours(again.m->covisit, row, 1060000, p, COVISIT_SLOTS), 5);
    world_free(&again);
    world_free(&w);
}

Test(record, sessions_come_back_under_their_numbers_in_any_order) {
    struct world a = world_new(), b = world_new();
    struct crowd c;
    catalogue(a.m);
    crowd_new(a.m, &c);
    go_on(&a, &c, 1, 2000);
    struct buf key = {0}, rec = {0};
    uint32_t cursor = 0, row, sessions = 0;
    static struct record { struct buf key, rec; } kept[1000];
    while ((row = model_dirty_next(a.m, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        cr_assert_eq(model_item_encode(a.m, row, &key, &rec), 0);
        if (key.p[0] == 's' && sessions < ARRAY_LEN(kept)) {
            struct record *r = &kept[sessions++];
            cr_assert_eq(model_item_encode(a.m, row, &r->key, &r->rec), 0);
        }
    }
    cr_assert_eq(sessions, sessions_count(a.m->sessions));
    for (uint32_t i = sessions; i-- > 0;) {
        struct str k = {(char *)kept[i].key.p, kept[i].key.n};
        cr_assert_eq(model_item_restore(b.m, k, kept[i].rec.p, kept[i].rec.n), 0);
        buf_free(&kept[i].key);
        buf_free(&kept[i].rec);
    }
    model_restored(b.m);
    cr_assert_eq(sessions_count(b.m->sessions), sessions);
    for (uint32_t no = 1; no <= sessions; no++) {
        struct session x, y;
        cr_assert(sessions_get(a.m->sessions, no, &x) && sessions_get(b.m->sessions, no, &y));
        cr_assert_eq(x.n, y.n);
        for (uint32_t i = 0; i < x.n; i++)
            cr_assert(str_eq(a.m->items.cold[x.item[i]].id, b.m->items.cold[y.item[i]].id));
    }
    uint32_t with[100];
    size_t n = sessions_with(b.m->sessions, model_item_find(b.m, STR("i3")), with, 100);
    cr_assert(n > 10);
    for (size_t i = 1; i < n; i++)
        cr_assert_lt(with[i], with[i - 1]);
    buf_free(&key);
    buf_free(&rec);
    crowd_free(&c);
    world_free(&a);
    world_free(&b);
}
