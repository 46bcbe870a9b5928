#include "model/internal.h"
#include "model/profile_more.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static const int64_t T0 = INT64_C(1700000000000), DAY = INT64_C(86400000);

enum { ITEMS = 60 };

/* A model with one shard and one user; rows are given in an order of its own. */
struct world {
    struct model *m;
    struct shard *s;
    struct user *u;
    uint32_t row[ITEMS];
};

static struct str item_name(uint32_t i) {
    static char text[16];
    return (struct str){text, (size_t)snprintf(text, sizeof text, "item-%u", i)};
}

static struct world world_new(uint32_t dim, uint32_t first) {
    struct world w = {0};
    struct model_config c;
    model_config_default(&c);
    c.dim = dim;
    c.max_items = 500;
    c.flood_per_minute = 4;
    c.bot_minutes = 2;
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(shard_new(w.m, &w.s), 0);
    for (uint32_t i = 0; i < ITEMS; i++) {
        uint32_t item = (i + first) % ITEMS;
        w.row[item] = model_item_admit(w.m, item_name(item), T0 - 100 * DAY);
        cr_assert_neq(w.row[item], ROW_NONE);
    }
    w.u = shard_admit(w.s, STR("ann"), T0);
    return w;
}

static void world_free(struct world *w) {
    shard_free(w->s);
    model_free(w->m);
}

/* The i-th event of a course; the same in every world. */
static enum learn_result observe(struct world *w, uint64_t seed, uint32_t i) {
    struct rng r;
    rng_seed(&r, seed * 1000003 + i);
    const struct model_config *c = model_config_of(w->m);
    struct profile_params params = {.half_life_ms = c->profile_half_life_ms,
                                    .flood_per_minute = c->flood_per_minute,
                                    .bot_minutes = c->bot_minutes};
    static const char sessions[] = "abc";
    struct event e = {.type = (uint8_t)rng_below(&r, EV_BUILTIN),
                      .time_ms = T0 + i * INT64_C(20000) + (int64_t)(rng_normal(&r) * 100000),
                      .session = {&sessions[rng_below(&r, 3)], rng_below(&r, 2)},
                      .value = rng_below(&r, 3) ? rng_unit(&r) * 100 : NAN,
                      .dwell_ms = rng_below(&r, 3) ? rng_unit(&r) * 9000 : NAN};
    if (rng_below(&r, 40) == 0)
        e.time_ms += DAY;
    uint32_t item = rng_below(&r, ITEMS + 5);
    if (item < ITEMS)
        e.item = STR("x");
    uint64_t id = rng_below(&r, 20) ? i : i / 2; /* some come twice */
    return profile_observe(&w->u->prof, &e, hash_bytes(&id, sizeof id, 0),
                           item < ITEMS ? w->row[item] : ROW_NONE, rng_below(&r, 12),
                           rng_below(&r, 4) ? rng_unit(&r) * 100 : NAN, c->type_weight[e.type],
                           &params, NULL);
}

static void same_items(const struct world *a, const struct world *b,
                       size_t (*list)(const struct profile *, struct recent_item *, size_t)) {
    struct recent_item x[PROFILE_RECENT_MAX], y[PROFILE_RECENT_MAX];
    size_t n = list(&a->u->prof, x, PROFILE_RECENT_MAX);
    cr_assert_eq(list(&b->u->prof, y, PROFILE_RECENT_MAX), n);
    for (size_t i = 0; i < n; i++) {
        struct item_view v, w;
        model_item_view(a->m, x[i].item, &v);
        model_item_view(b->m, y[i].item, &w);
        cr_assert(v.id.n && str_eq(v.id, w.id));
        cr_assert_eq(x[i].time_s, y[i].time_s);
        cr_assert_eq(x[i].type, y[i].type);
        cr_assert_eq(memcmp(&x[i].price, &y[i].price, sizeof x[i].price), 0);
    }
}

static void same(const struct world *a, const struct world *b, int64_t now) {
    const struct profile *p = &a->u->prof, *q = &b->u->prof;
    for (enum profile_field f = 0; f < PF_COUNT; f++) {
        double x = profile_value(p, f, now), y = profile_value(q, f, now);
        cr_assert_eq(memcmp(&x, &y, sizeof x), 0, "%s: %g and %g", profile_field_name(f), x, y);
    }
    cr_assert_eq(p->first_s, q->first_s);
    cr_assert_eq(p->last_ms, q->last_ms);
    cr_assert_eq(p->prev_s, q->prev_s);
    cr_assert_eq(memcmp(a->u->emb, b->u->emb, a->m->c.dim * sizeof(float)), 0);
    cr_assert_eq(a->u->acc, b->u->acc);
    cr_assert_eq(a->u->bias, b->u->bias);
    for (uint32_t key = 0; key < 12; key++)
        cr_assert_eq(profile_category_share(p, key, now), profile_category_share(q, key, now));
    for (uint8_t type = 0; type < EV_MAX; type++)
        cr_assert_eq(profile_type_count(p, type), profile_type_count(q, type));
    same_items(a, b, profile_recent);
    same_items(a, b, profile_cart);
    uint32_t x[PROFILE_BOUGHT_MAX], y[PROFILE_BOUGHT_MAX];
    size_t n = profile_bought(p, 0, x, PROFILE_BOUGHT_MAX);
    cr_assert_eq(profile_bought(q, 0, y, PROFILE_BOUGHT_MAX), n);
    for (size_t i = 0; i < n; i++)
        cr_assert(str_eq(a->m->items.cold[x[i]].id, b->m->items.cold[y[i]].id));
}

static void move(const struct world *from, struct world *to) {
    struct buf out = {0};
    buf_put(&out, "before", 6);
    cr_assert_eq(user_encode(from->m, from->u, &out), 0);
    size_t record = out.n - 6, used = 0;
    buf_put(&out, "behind", 6);
    cr_assert_eq(user_restore(to->m, to->s, to->u, out.p + 6, out.n - 6, &used), 0);
    cr_assert_eq(used, record);
    buf_free(&out);
}

Test(user_state, brings_back_a_new_user) {
    struct world a = world_new(16, 0), b = world_new(16, 7);
    a.u->emb[3] = 0.5f;
    move(&a, &b);
    same(&a, &b, T0);
    cr_assert_null(b.u->prof.more);
    world_free(&a);
    world_free(&b);
}

Test(user_state, goes_on_as_if_it_never_stopped) {
    for (uint64_t seed = 0; seed < 25; seed++) {
        struct world stays = world_new(8, 0), moves = world_new(8, 0);
        struct rng r;
        rng_seed(&r, seed);
        for (uint32_t i = 0; i < 300; i++) {
            if (rng_below(&r, 30) == 0) {
                struct world next = world_new(8, rng_below(&r, ITEMS));
                moves.u->emb[0] = stays.u->emb[0] = (float)rng_normal(&r);
                moves.u->acc = stays.u->acc = (float)i;
                moves.u->bias = stays.u->bias = -(float)i;
                move(&moves, &next);
                world_free(&moves);
                moves = next;
            }
            cr_assert_eq(observe(&stays, seed, i), observe(&moves, seed, i));
            same(&stays, &moves, T0 + i * INT64_C(20000));
        }
        cr_assert_eq(pm_size(&stays.u->prof), pm_size(&moves.u->prof));
        world_free(&stays);
        world_free(&moves);
    }
}

Test(user_state, makes_items_that_are_not_known_yet) {
    struct world a = world_new(8, 0), b = {0};
    struct model_config c = a.m->c;
    c.item_admit = 5;
    cr_assert_eq(model_new(&c, &b.m), 0);
    cr_assert_eq(shard_new(b.m, &b.s), 0);
    b.u = shard_admit(b.s, STR("ann"), T0);
    for (uint32_t i = 0; i < 50; i++)
        observe(&a, 3, i);
    move(&a, &b);
    same(&a, &b, T0 + DAY);
    shard_maintain(b.s, T0, NULL, NULL);
    same(&a, &b, T0 + DAY);
    world_free(&a);
    world_free(&b);
}

Test(user_state, leaves_out_items_that_do_not_fit) {
    struct world a = world_new(8, 0), b = {0};
    struct model_config c = a.m->c;
    c.max_items = 5;
    cr_assert_eq(model_new(&c, &b.m), 0);
    cr_assert_eq(shard_new(b.m, &b.s), 0);
    b.u = shard_admit(b.s, STR("ann"), T0);
    for (uint32_t i = 0; i < 200; i++)
        observe(&a, 3, i);
    move(&a, &b);
    cr_assert_eq(b.u->prof.events, a.u->prof.events);
    uint32_t rows[PROFILE_SEEN_MAX];
    size_t n = profile_seen(&b.u->prof, rows, PROFILE_SEEN_MAX);
    cr_assert(n > 0 && n <= 5);
    for (uint32_t i = 200; i < 400; i++)
        if (b.u->prof.events)
            observe(&a, 3, i);
    world_free(&a);
    world_free(&b);
}

Test(user_state, rejects_damage_and_leaves_the_user_alone) {
    struct world a = world_new(8, 0), b = world_new(8, 9);
    for (uint32_t i = 0; i < 60; i++)
        observe(&a, 1, i);
    struct buf out = {0};
    cr_assert_eq(user_encode(a.m, a.u, &out), 0);
    float emb[8];
    memcpy(emb, b.u->emb, sizeof emb);
    struct profile before = b.u->prof;
    size_t used = 77;
    for (size_t n = 0; n < out.n; n++)
        cr_assert_eq(user_restore(b.m, b.s, b.u, out.p, n, &used), -EBADMSG, "cut at %zu", n);
    for (size_t i = 0; i < out.n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            out.p[i] = (uint8_t)(out.p[i] ^ 1 << bit);
            cr_assert_eq(user_restore(b.m, b.s, b.u, out.p, out.n, &used), -EBADMSG, "at %zu", i);
            out.p[i] = (uint8_t)(out.p[i] ^ 1 << bit);
        }
    }
    cr_assert_eq(used, 77);
    cr_assert_eq(memcmp(&b.u->prof, &before, sizeof before), 0);
    cr_assert_eq(memcmp(b.u->emb, emb, sizeof emb), 0);
    cr_assert_eq(user_restore(b.m, b.s, b.u, out.p, out.n, &used), 0);
    same(&a, &b, T0 + DAY);
    buf_free(&out);
    world_free(&a);
    world_free(&b);
}

/* Right by its checksum, wrong inside: what a hostile or newer writer may send. */
Test(user_state, survives_records_with_a_right_checksum) {
    struct world a = world_new(8, 0), b = world_new(8, 9);
    for (uint32_t i = 0; i < 60; i++)
        observe(&a, 1, i);
    struct buf out = {0};
    cr_assert_eq(user_encode(a.m, a.u, &out), 0);
    struct rng r;
    rng_seed(&r, 8);
    for (int round = 0; round < 20000; round++) {
        uint8_t *copy = malloc(out.n);
        memcpy(copy, out.p, out.n);
        for (uint32_t k = 1 + rng_below(&r, 3); k > 0; k--)
            copy[5 + rng_below(&r, (uint32_t)out.n - 9)] = (uint8_t)rng_u64(&r);
        uint32_t sum = (uint32_t)hash_bytes(copy, out.n - 4, 0);
        memcpy(copy + out.n - 4, &sum, sizeof sum);
        size_t used;
        int e = user_restore(b.m, b.s, b.u, copy, out.n, &used);
        cr_assert(e == 0 || e == -EBADMSG || e == -EPROTO, "%d", e);
        free(copy);
        if (e == 0)
            observe(&b, 2, (uint32_t)round);
    }
    buf_free(&out);
    world_free(&a);
    world_free(&b);
}

Test(user_state, refuses_another_width) {
    struct world a = world_new(8, 0), b = world_new(16, 0);
    struct buf out = {0};
    cr_assert_eq(user_encode(a.m, a.u, &out), 0);
    size_t used;
    cr_assert_eq(user_restore(b.m, b.s, b.u, out.p, out.n, &used), -EPROTO);
    buf_free(&out);
    world_free(&a);
    world_free(&b);
}

Test(user_state, is_compact) {
    struct world a = world_new(64, 0);
    for (uint32_t i = 0; i < 10; i++)
        observe(&a, 1, i);
    struct buf out = {0};
    cr_assert_eq(user_encode(a.m, a.u, &out), 0);
    cr_assert_lt(out.n, 256 + 350, "%zu", out.n);
    buf_free(&out);
    world_free(&a);
}
