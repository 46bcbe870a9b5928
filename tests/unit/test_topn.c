#include "model/covisit.h"
#include "model/topn.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { DIM = 24, USERS = 300 };

struct world {
    struct model *m;
    struct learner *l;
    struct user *u[USERS];
    uint32_t items;
};

static void world_free(struct world *w) {
    for (int i = 0; i < USERS; i++)
        person_free(w->u[i]);
    learner_free(w->l);
    model_free(w->m);
}

/* Random vectors, biases and histories; some items restricted, unavailable or gone. `tied`:
 * so many equal scores that rounding and ids decide everything. */
static struct world world_new(uint32_t items, uint32_t top_n, bool tied) {
    struct model_config c;
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 5000;
    c.top_n = top_n;
    c.rank = false;
    struct world w = {.items = items};
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(learner_new(w.m, 0, &w.l), 0);
    struct rng r;
    rng_seed(&r, items + top_n);
    struct items *t = &w.m->items;
    for (uint32_t i = 0; i < items; i++) {
        char id[16];
        snprintf(id, sizeof id, "i%u", rng_below(&r, 1000) * 10000 + i);
        struct item_info info = {.id = str_of(id),
                                 .price = NAN,
                                 .margin = NAN,
                                 .available = rng_below(&r, 20) != 0,
                                 .flags = rng_below(&r, 30) == 0   ? ITEM_RESTRICTED
                                          : rng_below(&r, 30) == 0 ? ITEM_ADULT
                                                                   : 0};
        uint32_t row;
        cr_assert_eq(model_item_upsert(w.m, &info, 1000, &row, NULL), 0);
        for (uint32_t k = 0; k < DIM; k++)
            t->own[row * DIM + k] =
                tied ? (float)((int)rng_below(&r, 3) - 1) : (float)rng_normal(&r);
        t->hot[row].bias = tied ? 0 : (float)rng_normal(&r);
        items_refresh(t, row);
    }
    for (int i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        w.u[i] = person_new(w.m, id);
        for (uint32_t k = 0; k < DIM; k++)
            w.u[i]->emb[k] = tied ? (float)((int)rng_below(&r, 3) - 1) : (float)rng_normal(&r);
        for (int k = 0; items && k < 12; k++) {
            uint32_t row = rng_below(&r, MIN(items, 400u));
            uint8_t type = rng_below(&r, 3) ? EV_VIEW : EV_PURCHASE;
            struct event e = event_of(w.u[i], "", type, 1000000 + k * 1000);
            struct profile_change change;
            struct profile_params params = {0};
            profile_observe(&w.u[i]->prof, &e, rng_u64(&r), row, 0, NAN, 1, &params, &change);
            struct recent_item recent[COVISIT_RECENT + 1];
            size_t n = profile_recent(&w.u[i]->prof, recent, ARRAY_LEN(recent));
            covisit_observe(w.m->covisit, row, recent, n, 1, e.time_ms);
        }
    }
    return w;
}

struct brute {
    float score;
    uint32_t item;
};

static const struct model *brute_model;

static int brute_cmp(const void *a, const void *b) {
    const struct brute *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return item_id_cmp(brute_model, x->item, y->item);
}

/* The list by the definition: every item scored, all sorted. */
static uint32_t brute_force(struct world *w, const struct user *u, bool exclude_seen,
                            struct brute *out) {
    struct model *m = w->m;
    const struct kernels *k = kernels_best();
    static float boost[5000];
    memset(boost, 0, sizeof boost);
    float mapped[DIM] = {0};
    uint32_t gone[PROFILE_SEEN_MAX];
    size_t n_gone = 0;
    if (u) {
        k->matvec(DIM, DIM, m->phi, u->emb, mapped);
        struct recent_item recent[COVISIT_RECENT];
        size_t n = profile_recent(&u->prof, recent, COVISIT_RECENT);
        struct covisit_pair pairs[COVISIT_CANDIDATES];
        n = covisit_candidates(m->covisit, recent, n, u->prof.last_ms, pairs, COVISIT_CANDIDATES);
        for (size_t i = 0; i < n; i++)
            boost[pairs[i].item] = m->c.covisit_weight * pairs[i].boost;
        n_gone = exclude_seen ? profile_seen(&u->prof, gone, PROFILE_SEEN_MAX)
                              : profile_bought(&u->prof, u->prof.last_ms - m->c.bought_window_ms,
                                               gone, PROFILE_SEEN_MAX);
    }
    uint32_t n = 0;
    for (uint32_t row = 0; row < m->items.rows; row++) {
        bool out_of_list = m->items.base[row] == -INFINITY;
        for (size_t i = 0; i < n_gone; i++)
            out_of_list |= gone[i] == row;
        if (!out_of_list)
            out[n++] = (struct brute){k->dot(DIM, mapped, item_eff(&m->items, row)) +
                                          m->items.base[row] + boost[row],
                                      row};
    }
    brute_model = m;
    qsort(out, n, sizeof *out, brute_cmp);
    return MIN(n, m->c.top_n);
}

static void check_lists(struct world *w, struct user **users, size_t n, bool exclude_seen) {
    struct list *lists = calloc(n, sizeof *lists);
    static struct brute want[5000];
    model_rank(w->l, users, n, exclude_seen, lists);
    for (size_t i = 0; i < n; i++) {
        uint32_t k = brute_force(w, users[i], exclude_seen, want);
        cr_assert_eq(lists[i].n, k, "user %zu has %u items instead of %u", i, lists[i].n, k);
        for (uint32_t j = 0; j < k; j++) {
            cr_assert_eq(lists[i].e[j].item, want[j].item, "user %zu, place %u: %u, not %u", i, j,
                         lists[i].e[j].item, want[j].item);
            cr_assert_eq(lists[i].e[j].score, want[j].score);
        }
    }
    free(lists);
}

Test(topn, lists_are_those_of_brute_force) {
    const uint32_t items[] = {0, 1, 5, 511, 512, 513, 1700};
    const uint32_t top[] = {1, 20, 200};
    for (size_t i = 0; i < ARRAY_LEN(items); i++)
        for (size_t k = 0; k < ARRAY_LEN(top); k++) {
            struct world w = world_new(items[i], top[k], false);
            struct user *some[40];
            for (int j = 0; j < 40; j++)
                some[j] = j % 13 == 5 ? NULL : w.u[j];
            check_lists(&w, some, ARRAY_LEN(some), k % 2);
            world_free(&w);
        }
}

Test(topn, ties_without_end_are_settled_by_id) {
    struct world w = world_new(4000, 20, true);
    check_lists(&w, w.u, 30, false);
    for (int i = 0; i < 3; i++) /* everything equal: only ids decide */
        memset(w.u[i]->emb, 0, DIM * sizeof(float));
    w.m->c.covisit_weight = 0;
    check_lists(&w, w.u, 30, false);
    world_free(&w);
}

Test(topn, a_list_does_not_depend_on_the_company_in_the_batch) {
    struct world w = world_new(3000, 20, false);
    static struct list all[USERS], one[USERS];
    model_rank(w.l, w.u, USERS, false, all);
    const size_t sizes[] = {1, 2, 3, 5, 17, 100, 256};
    for (size_t k = 0; k < ARRAY_LEN(sizes); k++) {
        memset(one, 0, sizeof one);
        for (size_t i = 0; i < USERS; i += sizes[k])
            model_rank(w.l, w.u + i, MIN(sizes[k], USERS - i), false, one + i);
        for (size_t i = 0; i < USERS; i++) {
            cr_assert_eq(one[i].n, all[i].n);
            for (uint32_t j = 0; j < all[i].n; j++) {
                cr_assert_eq(one[i].e[j].item, all[i].e[j].item);
                cr_assert_eq(one[i].e[j].score, all[i].e[j].score);
                cr_assert_eq(one[i].e[j].because, all[i].e[j].because);
            }
        }
    }
    world_free(&w);
}

Test(topn, a_row_given_up_is_in_no_list) {
    struct world w = world_new(600, 200, false);
    for (uint32_t row = 0; row < 600; row += 2)
        items_remove(&w.m->items, row);
    static struct list lists[USERS];
    model_rank(w.l, w.u, USERS, false, lists);
    for (int i = 0; i < USERS; i++)
        for (uint32_t k = 0; k < lists[i].n; k++)
            cr_assert_eq(lists[i].e[k].item % 2, 1);
    world_free(&w);
}

Test(topn, the_reason_is_the_largest_part) {
    struct world w = world_new(100, 1, false);
    struct items *t = &w.m->items;
    struct user *u = w.u[0];
    struct list list;
    profile_done(&u->prof);
    profile_init(&u->prof);
    uint32_t row = 0;
    while (t->base[row] == -INFINITY)
        row++;
    for (uint32_t k = 0; k < DIM; k++)
        t->own[row * DIM + k] = 10 * u->emb[k];
    items_refresh(t, row);
    model_rank(w.l, &u, 1, false, &list);
    cr_assert_eq(list.e[0].item, row);
    cr_assert_eq(list.e[0].because, BECAUSE_TASTE);
    t->hot[row].bias = 1e6f;
    items_refresh(t, row);
    model_rank(w.l, &u, 1, false, &list);
    cr_assert_eq(list.e[0].because, BECAUSE_TREND);
    world_free(&w);
}
