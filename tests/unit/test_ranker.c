#include "model/ranker.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { GOODS = 60, PEOPLE = 12 };

struct world {
    struct model *m;
    struct learner *l;
    struct user *u[PEOPLE];
    struct rng r;
    int64_t now_ms;
};

static struct world world_new(uint64_t seed) {
    struct model_config c;
    model_config_default(&c);
    c.dim = 8;
    c.max_items = 200;
    c.flood_per_minute = 0;
    c.seed = seed;
    struct world w = {.now_ms = 1000000};
    rng_seed(&w.r, 2);
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(learner_new(w.m, 0, &w.l), 0);
    for (int i = 0; i < GOODS; i++) {
        char id[8];
        snprintf(id, sizeof id, "g%d", i);
        cr_assert_eq(model_item_admit(w.m, str_of(id), 1), (uint32_t)i);
    }
    for (int i = 0; i < PEOPLE; i++) {
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        w.u[i] = person_new(w.m, id);
    }
    return w;
}

static void world_free(struct world *w) {
    for (int i = 0; i < PEOPLE; i++)
        person_free(w->u[i]);
    learner_free(w->l);
    model_free(w->m);
}

/* Everybody goes from item i to i + 1, mostly. */
static void walk(struct world *w, int events, int *hits) {
    static uint32_t at[PEOPLE];
    for (int i = 0; i < events; i++) {
        uint32_t who = rng_below(&w->r, PEOPLE);
        at[who] = rng_below(&w->r, 10) ? (at[who] + 1) % GOODS : rng_below(&w->r, GOODS);
        if (hits) {
            struct list list;
            model_rank(w->l, &w->u[who], 1, false, &list);
            *hits += list.n > 0 && list.e[0].item == at[who];
        }
        struct event e = event_of(w->u[who], "x", EV_VIEW, w->now_ms += 1000);
        cr_assert_eq(model_learn(w->l, NULL, w->u[who], &e, at[who]), LEARN_OK);
        if (i % 200 == 0)
            model_maintain(w->m, w->now_ms);
    }
}

Test(ranker, learns_what_people_do_next_and_its_loss_falls) {
    struct world w = world_new(1);
    walk(&w, 400, NULL);
    double early = ranker_loss(w.m->ranker);
    walk(&w, 4000, NULL);
    cr_assert(ranker_cases(w.m->ranker) > 3000);
    int hits = 0;
    walk(&w, 300, &hits);
    cr_assert(hits > 300 * 75 / 100, "%d of 300 first places", hits);
    cr_assert(ranker_loss(w.m->ranker) < early, "%g, then %g", early, ranker_loss(w.m->ranker));
    world_free(&w);
}

Test(ranker, its_weights_tell_what_it_goes_by) {
    struct world w = world_new(1);
    float begins = ranker_weight(w.m->ranker, SUM_ONE_NEXT);
    walk(&w, 4000, NULL);
    cr_assert(ranker_weight(w.m->ranker, SUM_ONE_NEXT) > begins);
    cr_assert(ranker_weight(w.m->ranker, SUM_NEXT_LONG) > 0);
    cr_assert(ranker_weight(w.m->ranker, SUM_ONE_NEXT) > ranker_weight(w.m->ranker, SUM_ONE_BACK));
    world_free(&w);
}

Test(ranker, the_same_cases_and_seed_give_the_same_bits) {
    struct world a = world_new(5), b = world_new(5), other = world_new(6);
    struct world *all[] = {&a, &b, &other};
    for (int i = 0; i < 3; i++) {
        struct rng r;
        rng_seed(&r, 9);
        for (int k = 0; k < 600; k++) {
            struct user *u = all[i]->u[rng_below(&r, PEOPLE)];
            struct event e = event_of(u, "x", EV_VIEW, 1000000 + k * 1000);
            model_learn(all[i]->l, NULL, u, &e, rng_below(&r, 20));
        }
    }
    bool differs = false;
    for (uint32_t c = 0; c < shortlist_columns(); c++) {
        float x = ranker_weight(a.m->ranker, c), y = ranker_weight(b.m->ranker, c);
        cr_assert_eq(x, y);
        differs |= x != ranker_weight(other.m->ranker, c);
    }
    cr_assert_eq(ranker_loss(a.m->ranker), ranker_loss(b.m->ranker));
    cr_assert(differs);
    for (int i = 0; i < 3; i++)
        world_free(all[i]);
}

/* What is not a number in a column must reach neither scores nor weights. */
Test(ranker, what_is_not_a_number_teaches_nothing) {
    const float evil[] = {NAN, INFINITY, -INFINITY, 3e38f};
    struct world w = world_new(1);
    walk(&w, 500, NULL);
    for (size_t k = 0; k < ARRAY_LEN(evil); k++)
        for (int i = 0; i < 40; i++) {
            shortlist_fill(w.l, w.u[i % PEOPLE], NULL, 0, 50);
            uint32_t n = shortlist_n(w.l->shortlist);
            float *f = (float *)(uintptr_t)shortlist_matrix(w.l->shortlist);
            for (uint32_t j = 0; j < 30; j++)
                f[rng_below(&w.r, n) * SHORTLIST_COLUMNS_MAX +
                  rng_below(&w.r, shortlist_columns())] = evil[k];
            const float *score = ranker_score(w.m->ranker, w.l->ranking, w.l->shortlist);
            for (uint32_t j = 0; j < n; j++)
                cr_assert(isfinite(score[j]));
            ranker_learn(w.m->ranker, w.l->ranking, w.l->shortlist, rng_below(&w.r, n), &w.r);
        }
    for (uint32_t c = 0; c < shortlist_columns(); c++)
        cr_assert(isfinite(ranker_weight(w.m->ranker, c)));
    cr_assert(isfinite(ranker_loss(w.m->ranker)));
    world_free(&w);
}

/* Means over many draws against the whole gradient: by the scores, and by a linear weight, whose
 * gradient is a sum over all candidates. */
Test(ranker, the_negatives_it_leaves_out_do_not_bend_the_gradient) {
    enum { N = 120, DRAWS = 40000, TARGET = 17 };
    float share[N], x[N], sum = 0;
    double mean[N] = {0}, weight = 0, whole = 0, kept = 0, all = 0;
    struct rng r;
    rng_seed(&r, 4);
    for (int i = 0; i < N; i++) {
        x[i] = (float)rng_normal(&r);
        sum += share[i] = expf(2 * (float)rng_normal(&r));
    }
    for (int i = 0; i < N; i++) {
        share[i] /= sum;
        whole += (share[i] - (i == TARGET)) * x[i];
    }
    for (int d = 0; d < DRAWS; d++) {
        float slope[N];
        uint32_t row[N], n = ranker_thin(share, N, TARGET, &r, row, slope);
        kept += n;
        for (uint32_t i = 0; i < n; i++) {
            mean[row[i]] += (double)slope[i] / DRAWS;
            weight += (double)slope[i] * x[row[i]] / DRAWS;
            all += (double)slope[i] / DRAWS;
        }
    }
    cr_assert(kept / DRAWS < N / 2, "%g of %d are kept", kept / DRAWS, N);
    for (int i = 0; i < N; i++) {
        double g = share[i] - (i == TARGET), error = 5 * sqrt(0.01 * fabs(g) / DRAWS) + 1e-6;
        cr_assert_float_eq(mean[i], g, error, "candidate %d: %g, not %g", i, mean[i], g);
    }
    cr_assert_float_eq(weight, whole, 0.002);
    cr_assert_float_eq(all, 0, 0.002);
}
