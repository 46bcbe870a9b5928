#include "model/sgd.h"
#include "model/trend.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { PEOPLE = 60, GOODS = 200 };

static struct model_config small(void) {
    struct model_config c;
    model_config_default(&c);
    c.dim = 16;
    c.max_items = 1000;
    c.flood_per_minute = 0;
    return c;
}

static struct model *made(const struct model_config *c, struct learner **ret) {
    struct model *m = NULL;
    cr_assert_eq(model_new(c, &m), 0);
    cr_assert_eq(learner_new(m, 0, ret), 0);
    return m;
}

static void learn(struct learner *l, struct user *u, const char *item, uint8_t type, int64_t at) {
    struct event e = event_of(u, item, type, at);
    uint32_t row = model_item_admit(l->m, e.item, at);
    cr_assert_eq(model_learn(l, NULL, u, &e, row), LEARN_OK);
}

static struct item_info good(const char *id, const char *category) {
    return (struct item_info){.id = str_of(id),
                              .n_category = 1,
                              .category = {str_of(category)},
                              .price = NAN,
                              .margin = NAN,
                              .available = true};
}

/* The user's side of the score: his row and what he met. */
static void map(const struct learner *l, const struct user *u, float *ret) {
    struct trail_item trail[PROFILE_TRAIL_MAX];
    sgd_map(l, u, trail, profile_trail(&u->prof, trail, PROFILE_TRAIL_MAX), ret);
}

static bool listed(const struct list *l, uint32_t row) {
    for (uint32_t i = 0; i < l->n; i++)
        if (l->e[i].item == row)
            return true;
    return false;
}

Test(model, refuses_a_configuration_that_cannot_be) {
    struct model_config c;
    struct model *m = NULL;
    model_config_default(&c);
    c.dim = 12;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    model_config_default(&c);
    c.top_n = TOP_MAX + 1;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    model_config_default(&c);
    c.learning_rate = NAN;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    cr_assert_null(m);
}

/* A small shop: users of one half like goods of one half. */
struct shop {
    struct model *m;
    struct learner *l;
    struct user *u[PEOPLE];
};

static struct shop shop_run(uint64_t seed, int events) {
    struct model_config c = small();
    c.seed = seed;
    struct shop s = {0};
    s.m = made(&c, &s.l);
    for (int i = 0; i < GOODS; i++) {
        char id[8], category[8];
        snprintf(id, sizeof id, "g%d", i);
        snprintf(category, sizeof category, "c%d", i * 4 / GOODS);
        struct item_info info = good(id, category);
        if (i % 2)
            info.price = i;
        cr_assert_eq(model_item_upsert(s.m, &info, 1, NULL, NULL), 0);
    }
    for (int i = 0; i < PEOPLE; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        s.u[i] = person_new(s.m, id);
    }
    struct rng r;
    rng_seed(&r, 77);
    for (int i = 0; i < events; i++) {
        char id[8];
        int who = (int)rng_below(&r, PEOPLE), half = who % 2 * GOODS / 2;
        snprintf(id, sizeof id, "g%d", half + (int)rng_below(&r, GOODS / 2));
        learn(s.l, s.u[who], id, rng_below(&r, 9) ? EV_VIEW : EV_CART_ADD, 1000000 + i * 1000);
        if (i % 100 == 99)
            model_maintain(s.m, 1000000 + i * 1000);
    }
    return s;
}

static void shop_free(struct shop *s) {
    for (int i = 0; i < PEOPLE; i++)
        person_free(s->u[i]);
    learner_free(s->l);
    model_free(s->m);
}

Test(model, the_same_events_and_seed_give_the_same_bits) {
    struct shop a = shop_run(3, 3000), b = shop_run(3, 3000), other = shop_run(4, 3000);
    size_t row = 16 * sizeof(float);
    uint32_t n = a.m->items.rows;
    cr_assert_eq(n, b.m->items.rows);
    cr_assert_arr_eq(a.m->items.own, b.m->items.own, n * row);
    cr_assert_arr_eq(a.m->items.eff, b.m->items.eff, n * row);
    cr_assert_arr_eq(a.m->items.bias, b.m->items.bias, n * sizeof(float));
    cr_assert_arr_eq(a.m->items.base, b.m->items.base, n * sizeof(float));
    cr_assert_arr_eq(a.m->items.features.emb, b.m->items.features.emb,
                     a.m->items.features.rows * row);
    cr_assert_arr_eq(a.m->phi, b.m->phi, 16 * row);
    cr_assert(memcmp(a.m->items.own, other.m->items.own, n * row) != 0);
    static struct list la[PEOPLE], lb[PEOPLE];
    model_rank(a.l, a.u, PEOPLE, false, la);
    model_rank(b.l, b.u, PEOPLE, false, lb);
    for (int i = 0; i < PEOPLE; i++) {
        cr_assert_arr_eq(a.u[i]->emb, b.u[i]->emb, row);
        cr_assert_eq(la[i].n, lb[i].n);
        for (uint32_t k = 0; k < la[i].n; k++) {
            cr_assert_eq(la[i].e[k].item, lb[i].e[k].item);
            cr_assert_eq(la[i].e[k].score, lb[i].e[k].score);
        }
    }
    shop_free(&a);
    shop_free(&b);
    shop_free(&other);
}

Test(model, lists_hold_what_the_user_likes) {
    struct shop s = shop_run(1, 6000);
    static struct list l[PEOPLE];
    s.m->c.covisit_weight = 0; /* taste alone */
    model_rank(s.l, s.u, PEOPLE, false, l);
    int right = 0;
    for (int i = 0; i < PEOPLE; i++)
        for (uint32_t k = 0; k < l[i].n; k++)
            right += (int)l[i].e[k].item / (GOODS / 2) == i % 2;
    cr_assert(right > PEOPLE * 20 * 95 / 100, "%d of %d", right, PEOPLE * 20);
    shop_free(&s);
}

Test(model, a_new_item_reaches_those_who_like_its_category) {
    struct shop s = shop_run(1, 6000);
    struct item_info fresh = good("fresh", "c0"), alien = good("alien", "c3");
    uint32_t fresh_row, alien_row;
    cr_assert_eq(model_item_upsert(s.m, &fresh, 1, &fresh_row, NULL), 0);
    cr_assert_eq(model_item_upsert(s.m, &alien, 1, &alien_row, NULL), 0);
    const struct items *t = &s.m->items;
    int right = 0;
    for (int i = 0; i < PEOPLE; i++) {
        float mapped[16];
        map(s.l, s.u[i], mapped);
        float a = s.l->k->dot(16, mapped, item_eff(t, fresh_row));
        float b = s.l->k->dot(16, mapped, item_eff(t, alien_row));
        right += (a > b) == (i % 2 == 0);
    }
    cr_assert(right >= PEOPLE * 95 / 100, "%d of %d prefer the item of their side", right, PEOPLE);
    shop_free(&s);
}

Test(model, the_first_views_of_a_new_shop_already_order_its_lists) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct model_config c = small();
        c.seed = seed;
        struct learner *l;
        struct model *m = made(&c, &l);
        for (int i = 0; i < 30; i++) {
            char id[16];
            snprintf(id, sizeof id, "i%d", i);
            struct item_info info = good(id, i % 3 ? "shirts" : "boots");
            cr_assert_eq(model_item_upsert(m, &info, 1, NULL, NULL), 0);
        }
        struct user *u = person_new(m, "u");
        learn(l, u, "i3", EV_VIEW, 1000);
        learn(l, u, "i6", EV_VIEW, 2000);
        struct list list;
        model_rank(l, &u, 1, false, &list);
        int boots = 0;
        for (int i = 0; i < 10; i++)
            boots += list.e[i].item % 3 == 0;
        cr_assert(boots >= 8, "seed %d: %d of 10", (int)seed, boots);
        person_free(u);
        learner_free(l);
        model_free(m);
    }
}

Test(model, an_unknown_user_gets_what_is_popular) {
    struct model_config c = small();
    c.top_n = 3;
    struct learner *l;
    struct model *m = made(&c, &l);
    struct user *u[20];
    for (int i = 0; i < 20; i++) {
        char id[8], item[8];
        snprintf(id, sizeof id, "u%d", i);
        snprintf(item, sizeof item, "rare%d", i);
        u[i] = person_new(m, id);
        learn(l, u[i], item, EV_VIEW, 1000);
        learn(l, u[i], "hit", EV_VIEW, 2000);
    }
    struct user *nobody[2] = {NULL, NULL};
    struct list got[2];
    model_rank(l, nobody, 2, false, got);
    cr_assert_eq(got[0].n, 3);
    cr_assert_eq(got[0].e[0].item, model_item_find(m, STR("hit")));
    cr_assert_eq(got[0].e[0].because, BECAUSE_TREND);
    cr_assert_eq(got[1].e[0].item, got[0].e[0].item);
    struct list popular, trending;
    model_popular(l, 3, &popular);
    model_trending(l, 3, 2000, &trending);
    cr_assert_eq(popular.e[0].item, got[0].e[0].item);
    cr_assert_eq(popular.e[0].score, 20);
    cr_assert_eq(trending.e[0].item, got[0].e[0].item);
    for (int i = 0; i < 20; i++)
        person_free(u[i]);
    learner_free(l);
    model_free(m);
}

Test(model, restricted_adult_unavailable_and_bought_items_are_not_listed) {
    struct model_config c = small();
    c.top_n = 10;
    c.bought_window_ms = 1000000;
    struct learner *l;
    struct model *m = made(&c, &l);
    struct item_info a = good("restricted", "c"), b = good("adult", "c"), d = good("sold-out", "c"),
                     e = good("fine", "c"), f = good("mine", "c"), g = good("gone", "c");
    a.flags = ITEM_RESTRICTED;
    b.flags = ITEM_ADULT;
    d.available = false;
    struct item_info *all[] = {&a, &b, &d, &e, &f, &g};
    for (size_t i = 0; i < ARRAY_LEN(all); i++)
        cr_assert_eq(model_item_upsert(m, all[i], 1, NULL, NULL), 0);
    struct item_info tombstone = {.id = STR("gone"), .deleted = true};
    cr_assert_eq(model_item_upsert(m, &tombstone, 2, NULL, NULL), 0);
    struct user *u = person_new(m, "u");
    learn(l, u, "mine", EV_PURCHASE, 10000);
    struct list list;
    model_rank(l, &u, 1, false, &list);
    cr_assert_eq(list.n, 1);
    cr_assert_eq(list.e[0].item, model_item_find(m, STR("fine")));
    learn(l, u, "fine", EV_VIEW, 2000000); /* the window has passed */
    model_rank(l, &u, 1, false, &list);
    cr_assert_eq(list.n, 2);
    model_rank(l, &u, 1, true, &list);
    cr_assert_eq(list.n, 0);
    struct item_view v;
    model_item_view(m, model_item_find(m, STR("gone")), &v);
    cr_assert(!v.available && !v.in_catalogue);
    person_free(u);
    learner_free(l);
    model_free(m);
}

Test(model, the_catalogue_tells_prices_categories_and_refuses_another_width) {
    struct model_config c = small();
    struct learner *l;
    struct model *m = made(&c, &l);
    float dense[12] = {1, 2, 3};
    struct item_info a = good("a", "shoes");
    a.price = 20;
    a.n_dense = 12;
    a.dense = dense;
    uint32_t row;
    double old = 1;
    cr_assert_eq(model_item_upsert(m, &a, 1, &row, &old), 0);
    cr_assert(isnan(old));
    a.price = 15;
    cr_assert_eq(model_item_upsert(m, &a, 5000, &row, &old), 0);
    cr_assert_eq(old, 20);
    struct item_info b = good("b", "boots");
    b.n_dense = 11;
    b.dense = dense;
    cr_assert_eq(model_item_upsert(m, &b, 1, NULL, NULL), -EINVAL);
    cr_assert_eq(model_item_find(m, STR("b")), ROW_NONE);
    struct item_view v;
    model_item_view(m, row, &v);
    cr_assert(str_eq(v.category, STR("shoes")) && v.price == 15 && v.in_catalogue);
    cr_assert_eq(v.last_ms, 5000);
    cr_assert(str_eq(model_category_name(m, v.category_key), STR("shoes")));
    cr_assert_eq(model_category_key(m, STR("shoes")), v.category_key);
    cr_assert_eq(model_category_key(m, STR("hats")), 0);
    cr_assert_eq(model_category_name(m, 12345).n, 0);
    learner_free(l);
    model_free(m);
}

Test(model, an_item_is_admitted_when_asked_for_often_enough) {
    struct model_config c = small();
    c.item_admit = 3;
    struct learner *l;
    struct model *m = made(&c, &l);
    cr_assert_eq(model_item_admit(m, STR("x"), 1), ROW_NONE);
    cr_assert_eq(model_item_admit(m, STR("y"), 1), ROW_NONE);
    cr_assert_eq(model_item_admit(m, STR("x"), 1), ROW_NONE);
    cr_assert_eq(model_item_admit(m, STR("x"), 1), 0);
    cr_assert_eq(model_item_admit(m, STR("x"), 1), 0);
    cr_assert_eq(model_item_find(m, STR("y")), ROW_NONE);
    learner_free(l);
    model_free(m);
}

Test(model, memory_is_bounded_by_eviction_and_the_catalogue_stays) {
    struct model_config c = small();
    c.max_items = 100;
    struct learner *l;
    struct model *m = made(&c, &l);
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "cat%d", i);
        struct item_info info = good(id, "c");
        cr_assert_eq(model_item_upsert(m, &info, 1, NULL, NULL), 0);
    }
    struct user *u = person_new(m, "u");
    for (int i = 0; i < 5000; i++) {
        char id[16];
        snprintf(id, sizeof id, "new%d", i);
        learn(l, u, id, EV_VIEW, 1000 * (int64_t)(i + 1));
        cr_assert(m->items.live <= 100 && m->items.rows <= 100);
    }
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "cat%d", i);
        cr_assert_neq(model_item_find(m, str_of(id)), ROW_NONE);
    }
    cr_assert_neq(model_item_find(m, STR("new4999")), ROW_NONE);
    cr_assert_eq(model_item_find(m, STR("new0")), ROW_NONE);
    cr_assert(m->items.arena.bytes <= 2 * 64 * 1024);
    uint32_t row = model_item_find(m, STR("new4999"));
    cr_assert(m->items.hot[row].born_s >= 4998, "a row used again knows since when");
    learner_free(l);
    person_free(u);
    model_free(m);
}

Test(model, items_without_events_expire_and_the_catalogue_stays) {
    struct model_config c = small();
    c.item_expire_ms = 10000;
    struct learner *l;
    struct model *m = made(&c, &l);
    struct item_info info = good("cat", "c");
    cr_assert_eq(model_item_upsert(m, &info, 1, NULL, NULL), 0);
    model_item_admit(m, STR("old"), 1000);
    model_item_admit(m, STR("new"), 15000);
    model_maintain(m, 20000);
    cr_assert_neq(model_item_find(m, STR("cat")), ROW_NONE);
    cr_assert_eq(model_item_find(m, STR("old")), ROW_NONE);
    cr_assert_neq(model_item_find(m, STR("new")), ROW_NONE);
    cr_assert_eq(m->items.live, 2);
    learner_free(l);
    model_free(m);
}

Test(model, maintenance_brings_every_vector_up_to_date) {
    struct shop s = shop_run(1, 500);
    struct items *t = &s.m->items;
    t->features.emb[3] += 5; /* a category everybody of it has */
    t->features.f[0].bias += 7;
    for (int i = 0; i < 16; i++)
        model_maintain(s.m, 2000000);
    for (uint32_t row = 0; row < t->rows; row++) {
        float kept[16], bias = t->bias[row];
        memcpy(kept, item_eff(t, row), sizeof kept);
        items_refresh(t, row);
        cr_assert_arr_eq(kept, item_eff(t, row), sizeof kept);
        cr_assert_eq(bias, t->bias[row]);
        float norm = sqrtf(s.l->k->dot(16, kept, kept));
        cr_assert(norm <= t->norm_max);
    }
    shop_free(&s);
}

Test(model, ratings_are_liked_disliked_or_neither) {
    struct model_config c = small();
    struct learner *l;
    struct model *m = made(&c, &l);
    struct user *u = person_new(m, "u");
    for (int i = 0; i < 30; i++) {
        const double values[] = {5, 3, 1};
        for (int k = 0; k < 3; k++) {
            char id[8];
            snprintf(id, sizeof id, "r%d", k);
            struct event e = event_of(u, id, EV_RATING, 1000 * (i + 1));
            e.value = values[k];
            cr_assert_eq(model_learn(l, NULL, u, &e, model_item_admit(m, e.item, e.time_ms)),
                         LEARN_OK);
        }
    }
    float mapped[16], s[3];
    map(l, u, mapped);
    for (uint32_t k = 0; k < 3; k++)
        s[k] = l->k->dot(16, mapped, item_eff(&m->items, k)) + m->items.bias[k];
    cr_assert(s[0] > s[1] && s[1] > s[2], "%g %g %g", s[0], s[1], s[2]);
    cr_assert_eq(trend_count(m->trend, 0), 30);
    cr_assert_eq(trend_count(m->trend, 2), 0);
    person_free(u);
    learner_free(l);
    model_free(m);
}

Test(model, squared_loss_learns_the_value_of_a_rating) {
    struct model_config c = small();
    c.loss = LOSS_SQUARED;
    struct learner *l;
    struct model *m = made(&c, &l);
    struct user *u = person_new(m, "u");
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < 2000; i++) {
        char id[8];
        int k = i < 5 ? i : (int)rng_below(&r, 5);
        snprintf(id, sizeof id, "v%d", k);
        struct event e = event_of(u, id, EV_RATING, 1000 * (int64_t)(i + 1));
        e.value = 1 + k;
        model_learn(l, NULL, u, &e, model_item_admit(m, e.item, e.time_ms));
    }
    float mapped[16];
    map(l, u, mapped);
    for (uint32_t k = 0; k < 5; k++) {
        float s = l->k->dot(16, mapped, item_eff(&m->items, k)) + m->items.bias[k] + u->bias;
        cr_assert_float_eq(3 + 2 * s, 1 + k, 0.2, "%g for a rating of %u", 3 + 2 * s, 1 + k);
    }
    person_free(u);
    learner_free(l);
    model_free(m);
}

Test(model, similar_items_come_from_company_then_from_content) {
    struct model_config c = small();
    struct learner *l;
    struct model *m = made(&c, &l);
    const char *ids[] = {"a", "b", "twin", "far"};
    const char *categories[] = {"x", "y", "x", "z"};
    uint32_t row[4];
    for (int i = 0; i < 4; i++) {
        struct item_info info = good(ids[i], categories[i]);
        cr_assert_eq(model_item_upsert(m, &info, 1, &row[i], NULL), 0);
    }
    m->c.type_weight[EV_VIEW] = 0.01f; /* vectors hardly move */
    for (int i = 0; i < 5; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        struct user *u = person_new(m, id);
        learn(l, u, "a", EV_VIEW, 1000);
        learn(l, u, "b", EV_VIEW, 2000);
        person_free(u);
    }
    struct list list;
    model_similar(l, row[0], 2, &list);
    cr_assert_eq(list.n, 2);
    cr_assert_eq(list.e[0].item, row[1]);
    cr_assert_eq(list.e[0].because, BECAUSE_SIMILAR);
    cr_assert_eq(list.e[1].item, row[2]);
    cr_assert_eq(list.e[1].because, BECAUSE_CONTENT);
    cr_assert(list.e[1].score > 0.5f && list.e[1].score <= 1.001f);
    learner_free(l);
    model_free(m);
}

Test(model, one_pass_of_bpr_beats_popularity_on_latent_tastes) {
    enum { D = 6, U = 400, I = 800, EVENTS = 60000 };
    struct model_config c = small();
    c.dim = 32;
    c.loss = LOSS_BPR;
    c.rank = false;
    c.covisit_weight = 0;
    struct learner *l;
    struct model *m = made(&c, &l);
    struct rng r;
    rng_seed(&r, 9);
    static float taste[U][D], what[I][D];
    struct user *u[U];
    for (int i = 0; i < U; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        u[i] = person_new(m, id);
        for (int k = 0; k < D; k++)
            taste[i][k] = (float)rng_normal(&r);
    }
    for (int i = 0; i < I; i++)
        for (int k = 0; k < D; k++)
            what[i][k] = (float)rng_normal(&r);
    struct list popular = {0}, mine;
    int cases = 0, hits = 0, popular_hits = 0;
    for (int n = 0; n < EVENTS; n++) {
        uint32_t who = rng_below(&r, U), best = 0;
        float top = -1e9f;
        for (int tries = 0; tries < 30; tries++) { /* the best of some that he happens to see */
            uint32_t i = (uint32_t)(rng_unit(&r) * rng_unit(&r) * I);
            float s = 0;
            for (int k = 0; k < D; k++)
                s += taste[who][k] * what[i][k];
            if (s > top)
                top = s, best = i;
        }
        char id[8];
        snprintf(id, sizeof id, "i%u", best);
        uint32_t row = model_item_admit(m, str_of(id), n);
        if (n > EVENTS / 2 && n % 20 == 0) {
            model_popular(l, 20, &popular);
            model_rank(l, &u[who], 1, false, &mine);
            cases++;
            hits += listed(&mine, row);
            popular_hits += listed(&popular, row);
        }
        learn(l, u[who], id, EV_VIEW, 1000 * (int64_t)n);
        if (n % 1000 == 999)
            model_maintain(m, 1000 * (int64_t)n);
    }
    cr_assert(hits > 2 * popular_hits, "%d hits of %d, popularity %d", hits, cases, popular_hits);
    for (int i = 0; i < U; i++)
        person_free(u[i]);
    learner_free(l);
    model_free(m);
}

Test(model, what_is_frozen_only_takes_events_into_histories) {
    struct model_config c = small();
    c.rank = false; /* to the ranker, the user's row is history, too */
    struct learner *l;
    struct model *m = made(&c, &l);
    struct user *u = person_new(m, "u"), *v = person_new(m, "v");
    for (int i = 0; i < 5; i++) {
        learn(l, u, "a", EV_VIEW, 1000 + 2 * i);
        learn(l, u, "b", EV_VIEW, 1001 + 2 * i);
    }
    struct list before, after;
    model_similar(l, model_item_find(m, STR("a")), 5, &before);
    float popularity = trend_value(m->trend, model_item_find(m, STR("a")), 2000);
    float emb[DIM_MAX];
    memcpy(emb, v->emb, c.dim * sizeof *emb);
    learner_freeze(l, true);
    cr_assert(learner_frozen(l));
    learn(l, v, "a", EV_VIEW, 2000);
    learn(l, v, "b", EV_VIEW, 2001);
    model_similar(l, model_item_find(m, STR("a")), 5, &after);
    cr_assert_eq(before.n, after.n);
    cr_assert_eq(before.e[0].score, after.e[0].score);
    cr_assert_eq(trend_value(m->trend, model_item_find(m, STR("a")), 2000), popularity);
    cr_assert_eq(memcmp(emb, v->emb, c.dim * sizeof *emb), 0);
    struct recent_item recent[4];
    cr_assert_eq(profile_recent(&v->prof, recent, 4), 2);
    cr_assert_eq(recent[0].item, model_item_find(m, STR("b")));
    learner_freeze(l, false);
    learn(l, v, "a", EV_VIEW, 3000);
    cr_assert_neq(memcmp(emb, v->emb, c.dim * sizeof *emb), 0);
    person_free(u);
    person_free(v);
    learner_free(l);
    model_free(m);
}

enum { RECORDS = 1024 };

/* Durable records of all that changed since they were last asked for; returns how many. */
static size_t records(struct model *m, uint32_t row[RECORDS], struct buf out[RECORDS]) {
    uint32_t cursor = 0, next;
    size_t n = 0;
    while ((next = model_dirty_next(m, &cursor)) != ROW_NONE) {
        struct buf key = {0};
        cr_assert(n < RECORDS);
        row[n] = next;
        out[n] = (struct buf){0};
        cr_assert_eq(model_item_encode(m, next, &key, &out[n++]), 0);
        buf_free(&key);
    }
    return n;
}

Test(model, a_frozen_learner_changes_no_record_of_what_was_learned) {
    struct shop s = shop_run(1, 2000);
    static uint32_t row[RECORDS], more[RECORDS];
    static struct buf before[RECORDS], after[RECORDS];
    struct list list;
    size_t n = records(s.m, row, before);
    cr_assert(n > GOODS);
    learner_freeze(s.l, true);
    for (int i = 0; i < 500; i++) {
        struct user *u = s.u[i % PEOPLE];
        struct event e = event_of(u, "x", EV_VIEW, u->prof.last_ms + 1000);
        model_rank(s.l, &u, 1, false, &list);
        cr_assert_eq(model_learn(s.l, NULL, u, &e, (uint32_t)i * 7 % GOODS), LEARN_OK);
    }
    cr_assert_eq(records(s.m, more, after), 0);
    for (size_t i = 0; i < n; i++) {
        struct buf key = {0}, now = {0};
        cr_assert_eq(model_item_encode(s.m, row[i], &key, &now), 0);
        cr_assert_eq(now.n, before[i].n);
        cr_assert_eq(memcmp(now.p, before[i].p, now.n), 0, "record of row %u", row[i]);
        buf_free(&key);
        buf_free(&now);
        buf_free(&before[i]);
    }
    shop_free(&s);
}

Test(model, learning_again_moves_embeddings_and_counts_nothing) {
    struct model_config c = small();
    c.rank = false; /* else it is any stored session's items that move */
    struct learner *l;
    struct model *m = made(&c, &l);
    struct user *u = person_new(m, "u");
    learn(l, u, "a", EV_VIEW, 1000);
    learn(l, u, "b", EV_VIEW, 2000);
    struct event e = event_of(u, "b", EV_VIEW, 2000);
    uint32_t row = model_item_find(m, e.item), events = u->prof.events;
    float emb[DIM_MAX], popularity = trend_value(m->trend, row, 2000);
    memcpy(emb, u->emb, c.dim * sizeof *emb);
    model_learn_again(l, u, &e, row);
    cr_assert_neq(memcmp(emb, u->emb, c.dim * sizeof *emb), 0);
    cr_assert_eq(trend_value(m->trend, row, 2000), popularity);
    cr_assert_eq(u->prof.events, events);
    memcpy(emb, u->emb, c.dim * sizeof *emb);
    model_learn_again(l, u, &e, ROW_NONE);
    cr_assert_eq(memcmp(emb, u->emb, c.dim * sizeof *emb), 0);
    person_free(u);
    learner_free(l);
    model_free(m);
}
