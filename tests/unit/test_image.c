#include "model/image.h"

#include "model/internal.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

/* Somebody who goes on from an image does what the one who wrote it would have done, whatever the
 * moment: all of the model's memory, all users and all lists are the same to the last bit. */

enum { DIM = 16, DENSE = 3, USERS = 30, CATALOGUE = 40, EVENTS = 9000, EVERY = 37, MAINTAIN = 256 };

struct shop {
    struct model *m;
    struct learner *l;
    struct image *image;
    uint64_t watched;
    struct user *u[USERS];
};

/* A compacted topic. */
struct topic {
    struct record {
        struct buf key, value;
    } * r;
    size_t n, put;
};

static int topic_put(void *ctx, const void *key, size_t key_n, const void *value, size_t n) {
    struct topic *t = ctx;
    size_t i = 0;
    while (i < t->n && (t->r[i].key.n != key_n || memcmp(t->r[i].key.p, key, key_n) != 0))
        i++;
    if (i == t->n) {
        t->r = reallocarray(t->r, ++t->n, sizeof *t->r);
        t->r[i] = (struct record){0};
        buf_put(&t->r[i].key, key, key_n);
    }
    buf_reset(&t->r[i].value);
    buf_put(&t->r[i].value, value, n);
    t->put++;
    return 0;
}

static void topic_free(struct topic *t) {
    for (size_t i = 0; i < t->n; i++) {
        buf_free(&t->r[i].key);
        buf_free(&t->r[i].value);
    }
    free(t->r);
}

static struct model_config config(void) {
    struct model_config c;
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 60; /* fewer than there are: rows go from one item to another */
    c.session_store = 256;
    c.item_admit = 2;
    c.flood_per_minute = 0;
    c.exploration = 0.1f;
    return c;
}

static void shop_new(struct shop *s, uint64_t hash_seed, struct model_config c) {
    *s = (struct shop){0};
    c.hash_seed = hash_seed;
    cr_assert_eq(model_new(&c, &s->m), 0);
    cr_assert_eq(learner_new(s->m, 0, &s->l), 0);
    cr_assert_eq(image_new(s->m, s->l, &s->image), 0);
    image_watch(s->image, &s->watched, sizeof s->watched);
    for (int i = 0; i < USERS; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        s->u[i] = person_new(s->m, id);
    }
}

static void shop_free(struct shop *s) {
    for (int i = 0; i < USERS; i++)
        person_free(s->u[i]);
    image_free(s->image);
    learner_free(s->l);
    model_free(s->m);
}

static void catalogue(struct model *m) {
    struct rng r;
    rng_seed(&r, 4);
    for (int i = 0; i < CATALOGUE; i++) {
        char id[8];
        float dense[DENSE] = {(float)rng_normal(&r), (float)rng_normal(&r), 1};
        snprintf(id, sizeof id, "i%d", i);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 1,
                                 .category = {i % 2 ? STR("odd") : STR("even")},
                                 .brand = i % 3 ? STR("three") : STR("other"),
                                 .price = 5 + i,
                                 .margin = NAN,
                                 .n_dense = i % 4 ? DENSE : 0,
                                 .dense = dense,
                                 .available = i % 7 != 0};
        cr_assert_eq(model_item_upsert(m, &info, 1, NULL, NULL), 0);
    }
}

/* Event number `at` of the stream, the same for everybody. */
static void event(struct shop *s, int at) {
    struct rng r;
    rng_seed(&r, (uint64_t)at);
    struct user *u = s->u[rng_below(&r, USERS)];
    char id[16], item[16], session[16], country[2] = {(char)('a' + rng_below(&r, 4)), 0};
    uint32_t what = rng_below(&r, 4) ? rng_below(&r, 60) : rng_below(&r, 200);
    snprintf(id, sizeof id, "e%d", at);
    snprintf(item, sizeof item, "i%u", what);
    snprintf(session, sizeof session, "s%d", at / 700);
    static const uint8_t types[] = {EV_VIEW, EV_CLICK, EV_VIEW, EV_PURCHASE, EV_RATING};
    struct event e = {.id = str_of(id),
                      .user = u->id,
                      .item = str_of(item),
                      .session = rng_below(&r, 2) ? str_of(session) : STR(""),
                      .time_ms = 1600000000000 + (int64_t)at * 90000,
                      .type = types[rng_below(&r, 5)],
                      .value = rng_below(&r, 5) + 1,
                      .dwell_ms = NAN,
                      .n_ctx = 1};
    e.ctx[0].key = STR("country");
    e.ctx[0].value = str_of(country);
    model_learn(s->l, NULL, u, &e, model_item_admit(s->m, e.item, e.time_ms));
    s->watched += (uint64_t)at;
    if (at % MAINTAIN == 0)
        model_maintain(s->m, e.time_ms);
}

static void save_users(const struct shop *s, struct buf *to) {
    for (int i = 0; i < USERS; i++) {
        buf_reset(&to[i]);
        cr_assert_eq(user_encode(s->m, s->u[i], &to[i]), 0);
    }
}

static void restore(struct shop *s, const struct topic *t, const struct buf *users) {
    for (size_t i = 0; i < t->n; i++) {
        const struct record *r = &t->r[i];
        cr_assert_eq(
            image_take(s->image, (struct str){(char *)r->key.p, r->key.n}, r->value.p, r->value.n),
            0);
    }
    cr_assert_eq(image_apply(s->image), 0);
    catalogue(s->m);
    image_settle(s->image);
    for (int i = 0; i < USERS; i++) {
        size_t used = 0;
        cr_assert_eq(user_restore(s->m, NULL, s->u[i], users[i].p, users[i].n, &used), 0);
        cr_assert_eq(used, users[i].n);
    }
}

/* All records of one and the other, by key. */
static void same_memory(struct shop *a, struct shop *b, const char *when) {
    struct topic ta = {0}, tb = {0};
    struct image *ia, *ib;
    cr_assert_eq(image_new(a->m, a->l, &ia), 0);
    cr_assert_eq(image_new(b->m, b->l, &ib), 0);
    image_watch(ia, &a->watched, sizeof a->watched);
    image_watch(ib, &b->watched, sizeof b->watched);
    cr_assert_eq(image_changes(ia, topic_put, &ta), 0);
    cr_assert_eq(image_changes(ib, topic_put, &tb), 0);
    cr_assert_eq(ta.n, tb.n, "%s", when);
    for (size_t i = 0; i < ta.n; i++) {
        cr_assert_arr_eq(ta.r[i].key.p, tb.r[i].key.p, ta.r[i].key.n);
        bool same = ta.r[i].value.n == tb.r[i].value.n &&
                    memcmp(ta.r[i].value.p, tb.r[i].value.p, ta.r[i].value.n) == 0;
        size_t at = 0;
        while (!same && ta.r[i].value.p[at] == tb.r[i].value.p[at])
            at++;
        cr_expect(same, "%s: region %u page %u byte %zu", when, ta.r[i].key.p[1], ta.r[i].key.p[2],
                  at - 11);
    }
    image_free(ia);
    image_free(ib);
    topic_free(&ta);
    topic_free(&tb);
}

static void same_lists(struct shop *a, struct shop *b) {
    static struct list la[USERS], lb[USERS];
    model_rank(a->l, a->u, USERS, false, la);
    model_rank(b->l, b->u, USERS, false, lb);
    for (int i = 0; i < USERS; i++) {
        cr_assert_eq(la[i].n, lb[i].n);
        cr_assert(la[i].n > 10);
        for (uint32_t k = 0; k < la[i].n; k++) {
            cr_assert_eq(la[i].e[k].item, lb[i].e[k].item);
            cr_assert_eq(la[i].e[k].score, lb[i].e[k].score);
            cr_assert_eq(la[i].e[k].propensity, lb[i].e[k].propensity);
        }
    }
}

static void same_users(const struct shop *a, const struct shop *b) {
    for (int i = 0; i < USERS; i++) {
        struct buf x = {0}, y = {0};
        cr_assert_eq(user_encode(a->m, a->u[i], &x), 0);
        cr_assert_eq(user_encode(b->m, b->u[i], &y), 0);
        cr_assert_eq(x.n, y.n, "user %d", i);
        cr_assert_arr_eq(x.p, y.p, x.n, "user %d", i);
        buf_free(&x);
        buf_free(&y);
    }
}

/* Runs the stream twice, the second time in as many lives as there are moments. */
static void compare(struct model_config c, uint64_t seed, int lives) {
    struct shop a, b;
    struct topic topic = {0};
    struct buf users[USERS] = {0};
    struct rng r;
    rng_seed(&r, seed);
    shop_new(&a, 1, c);
    catalogue(a.m);
    for (int at = 1; at <= EVENTS; at++)
        event(&a, at);
    cr_assert(a.m->dropped && a.m->items.n_dense && a.m->items.features.rows > 4);
    int from = 1;
    for (int life = 0; life < lives; life++) {
        int committed = from, dies = from + (int)rng_below(&r, (uint32_t)(2 * EVENTS / lives));
        shop_new(&b, seed + (uint64_t)life, c);
        if (topic.n)
            restore(&b, &topic, users);
        else
            catalogue(b.m);
        if (life + 1 == lives || dies > EVENTS)
            break;
        for (int at = from; at < dies; at++) {
            event(&b, at);
            if (at % EVERY)
                continue;
            cr_assert_eq(image_changes(b.image, topic_put, &topic), 0);
            save_users(&b, users);
            committed = at + 1;
        }
        from = committed;
        shop_free(&b);
    }
    for (int at = from; at <= EVENTS; at++)
        event(&b, at);
    same_memory(&a, &b, "at the end");
    same_users(&a, &b);
    same_lists(&a, &b);
    cr_assert_eq(a.watched, b.watched);
    for (int i = 0; i < USERS; i++)
        buf_free(&users[i]);
    topic_free(&topic);
    shop_free(&a);
    shop_free(&b);
}

Test(image, who_goes_on_does_what_the_one_before_would_have_done) {
    for (uint64_t seed = 1; seed <= 3; seed++)
        compare(config(), seed, 6);
}
