/* Candidates and their columns, by a model that saw random histories. */
#include "model/sessions.h"
#include "model/shortlist.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { DIM = 16, PEOPLE = 40, GOODS = 300 };

struct world {
    struct model *m;
    struct learner *l;
    struct user *u[PEOPLE];
};

static void see(struct world *w, struct user *u, uint32_t item, const char *session, int64_t at) {
    struct event e = event_of(u, "x", EV_VIEW, at);
    e.session = str_of(session);
    e.ctx[e.n_ctx++] = (struct event_ctx){STR("device"), item % 2 ? STR("phone") : STR("desktop")};
    cr_assert_eq(model_learn(w->l, NULL, u, &e, item), LEARN_OK);
}

static struct world world_new(int events) {
    struct model_config c;
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 1000;
    c.flood_per_minute = 0;
    c.session_store = 256;
    struct world w = {0};
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(learner_new(w.m, 0, &w.l), 0);
    for (uint32_t i = 0; i < GOODS; i++) {
        char id[8], category[8];
        snprintf(id, sizeof id, "g%u", i);
        snprintf(category, sizeof category, "c%u", i % 9);
        struct item_info info = {.id = str_of(id),
                                 .n_category = i % 5 ? 1 : 0,
                                 .category = {str_of(category)},
                                 .price = i % 3 ? i : NAN,
                                 .margin = NAN,
                                 .flags = i % 50 == 7 ? ITEM_RESTRICTED : 0,
                                 .available = i % 40 != 3};
        cr_assert_eq(model_item_upsert(w.m, &info, 1, NULL, NULL), 0);
    }
    struct rng r;
    rng_seed(&r, 11);
    for (int i = 0; i < PEOPLE; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        w.u[i] = person_new(w.m, id);
    }
    for (int i = 0; i < events; i++) {
        char session[16];
        snprintf(session, sizeof session, "s%d", i / 250);
        double x = rng_unit(&r);
        see(&w, w.u[rng_below(&r, PEOPLE)], (uint32_t)(x * x * GOODS), session, 1000000 + i * 1000);
        if (i % 200 == 0)
            model_maintain(w.m, 1000000 + i * 1000);
    }
    return w;
}

static void world_free(struct world *w) {
    for (int i = 0; i < PEOPLE; i++)
        person_free(w->u[i]);
    learner_free(w->l);
    model_free(w->m);
}

static bool holds(const struct shortlist *s, uint32_t item) {
    for (uint32_t i = 0; i < shortlist_n(s); i++)
        if (shortlist_items(s)[i] == item)
            return true;
    return false;
}

Test(shortlist, columns_have_names_of_their_own) {
    uint32_t n = shortlist_columns();
    cr_assert(n > SUMS && n <= SHORTLIST_COLUMNS_MAX);
    for (uint32_t i = 0; i < n; i++) {
        cr_assert_gt(strlen(shortlist_column_name(i)), 0);
        for (uint32_t k = 0; k < i; k++)
            cr_assert_str_neq(shortlist_column_name(i), shortlist_column_name(k));
    }
    cr_assert_str_eq(shortlist_column_name(SUM_ONE_NEXT), "ONE_NEXT");
    cr_assert_str_eq(shortlist_column_name(n), "");
}

Test(shortlist, candidates_are_listable_different_and_as_many_as_asked_for) {
    struct world w = world_new(4000);
    const struct items *t = &w.m->items;
    for (int i = 0; i < PEOPLE; i++)
        for (size_t max = 10; max <= 160; max += 50) {
            shortlist_fill(w.l, w.u[i], NULL, 0, max);
            const struct shortlist *s = w.l->shortlist;
            uint32_t n = shortlist_n(s);
            cr_assert(n > 0 && n <= max, "%u of %zu", n, max);
            cr_assert(max > 60 || n == max);
            for (uint32_t k = 0; k < n; k++) {
                uint32_t item = shortlist_items(s)[k];
                cr_assert(item < t->rows && t->base[item] != -INFINITY, "item %u", item);
                for (uint32_t j = 0; j < k; j++)
                    cr_assert_neq(shortlist_items(s)[j], item);
            }
        }
    shortlist_fill(w.l, NULL, NULL, 0, 100); /* somebody unknown gets what is lively */
    cr_assert(shortlist_n(w.l->shortlist) >= 20);
    world_free(&w);
}

Test(shortlist, what_is_left_out_is_not_there_and_comes_back_when_asked) {
    struct world w = world_new(2000);
    struct user *u = w.u[3];
    shortlist_fill(w.l, u, NULL, 0, 50);
    uint32_t out[10];
    memcpy(out, shortlist_items(w.l->shortlist), sizeof out);
    shortlist_fill(w.l, u, out, 10, 50);
    for (int i = 0; i < 10; i++)
        cr_assert(!holds(w.l->shortlist, out[i]));
    shortlist_fill(w.l, u, NULL, 0, 50);
    for (int i = 0; i < 10; i++)
        cr_assert(holds(w.l->shortlist, out[i]));
    world_free(&w);
}

Test(shortlist, columns_are_finite_whatever_the_history) {
    for (int events = 0; events <= 6000; events = events ? events * 8 : 12) {
        struct world w = world_new(events);
        for (int i = -1; i < PEOPLE; i++) {
            shortlist_fill(w.l, i < 0 ? NULL : w.u[i], NULL, 0, 120);
            const float *f = shortlist_matrix(w.l->shortlist);
            for (uint32_t k = 0; k < shortlist_n(w.l->shortlist); k++)
                for (uint32_t c = 0; c < shortlist_columns(); c++)
                    cr_assert(isfinite(f[k * SHORTLIST_COLUMNS_MAX + c]), "user %d, %s: %g", i,
                              shortlist_column_name(c), (double)f[k * SHORTLIST_COLUMNS_MAX + c]);
        }
        world_free(&w);
    }
}

Test(shortlist, filling_twice_gives_the_same_bits) {
    struct world w = world_new(3000), v = world_new(3000);
    size_t bytes = sizeof(float[SHORTLIST_MAX][SHORTLIST_COLUMNS_MAX]);
    float *kept = malloc(bytes);
    for (int i = 0; i < PEOPLE; i++) {
        shortlist_fill(w.l, w.u[i], NULL, 0, 120);
        uint32_t n = shortlist_n(w.l->shortlist), item[SHORTLIST_MAX];
        memcpy(item, shortlist_items(w.l->shortlist), n * sizeof *item);
        memcpy(kept, shortlist_matrix(w.l->shortlist), bytes);
        shortlist_fill(w.l, w.u[i], NULL, 0, 120);
        shortlist_fill(v.l, v.u[i], NULL, 0, 120);
        const struct shortlist *both[] = {w.l->shortlist, v.l->shortlist};
        for (int k = 0; k < 2; k++) {
            cr_assert_eq(shortlist_n(both[k]), n);
            cr_assert_arr_eq(shortlist_items(both[k]), item, n * sizeof *item);
            for (uint32_t j = 0; j < n; j++)
                cr_assert_arr_eq(shortlist_matrix(both[k]) + j * SHORTLIST_COLUMNS_MAX,
                                 kept + j * SHORTLIST_COLUMNS_MAX,
                                 shortlist_columns() * sizeof *kept);
        }
    }
    free(kept);
    world_free(&w);
    world_free(&v);
}

/* A session must not be its own neighbour, or every case would hold its answer. */
Test(shortlist, the_running_session_is_no_neighbour_of_itself) {
    struct world w = world_new(0);
    struct user *u = w.u[0];
    for (uint32_t i = 10; i < 14; i++)
        see(&w, u, i, "s", 1000000 + i * 1000);
    shortlist_fill(w.l, u, NULL, 0, 100);
    const struct shortlist *s = w.l->shortlist;
    cr_assert(holds(s, 13));
    const float least = shortlist_matrix(s)[SUM_ALL];
    for (uint32_t k = 0; k < shortlist_n(s); k++) {
        const float *f = shortlist_matrix(s) + k * SHORTLIST_COLUMNS_MAX;
        cr_assert_eq(f[SUM_ALL], least, "nobody votes");
        cr_assert_eq(f[SUM_ONE], least);
        cr_assert_eq(f[SUM_NEXT_LONG], least);
    }
    struct user *other = w.u[1]; /* to another, the same session speaks */
    see(&w, other, 12, "t", 2000000);
    shortlist_fill(w.l, other, NULL, 0, 100);
    bool found = false;
    for (uint32_t k = 0; k < shortlist_n(s); k++) {
        const float *f = shortlist_matrix(s) + k * SHORTLIST_COLUMNS_MAX;
        if (shortlist_items(s)[k] != 13)
            continue;
        found = true;
        cr_assert(f[SUM_ALL] > least && f[SUM_ONE_NEXT] > least);
        cr_assert_eq(shortlist_because(s, k), BECAUSE_SIMILAR);
    }
    cr_assert(found);
    world_free(&w);
}
