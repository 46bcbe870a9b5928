/* Gradients against finite differences of the loss, written down a second time here in
 * double precision. With the plain optimizer, rate 1 and no L2 a step moves each weight by
 * exactly minus its gradient, except φ and P, whose own rates are divided out. */
#include "model/sgd.h"
#include "model/trend.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { DIM = 16, DENSE = 11, ITEMS = 6, FEATURES_TRIED = 8 };

struct world {
    struct model *m;
    struct learner *l;
    struct user *u;
    uint32_t item[ITEMS];
};

static void world_free(struct world *w) {
    person_free(w->u);
    learner_free(w->l);
    model_free(w->m);
}

static struct world world_new(enum loss loss) {
    struct model_config c;
    model_config_default(&c);
    c.dim = DIM;
    c.loss = loss;
    c.optimizer = OPT_PLAIN;
    c.learning_rate = 1;
    c.l2 = 0;
    c.clip = 1e6f;
    c.max_items = 100;
    struct world w = {0};
    cr_assert_eq(model_new(&c, &w.m), 0);
    cr_assert_eq(learner_new(w.m, 0, &w.l), 0);
    w.l->map_due = 1;
    w.l->proj_due = 1;
    struct rng r;
    rng_seed(&r, 5);
    for (uint32_t i = 0; i < ITEMS; i++) {
        char id[8], brand[8];
        float dense[DENSE];
        snprintf(id, sizeof id, "i%u", i);
        snprintf(brand, sizeof brand, "b%u", i % 2);
        for (size_t k = 0; k < DENSE; k++)
            dense[k] = (float)rng_normal(&r);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 2,
                                 .category = {STR("shoes"), i % 3 ? STR("run") : STR("walk")},
                                 .brand = str_of(brand),
                                 .n_tags = 1,
                                 .tags = {STR("red")},
                                 .n_dense = i == 4 ? 0 : DENSE, /* one item without */
                                 .dense = dense,
                                 .price = i == 5 ? NAN : 10.0 * (i + 1),
                                 .margin = NAN,
                                 .available = true};
        cr_assert_eq(model_item_upsert(w.m, &info, 1000, &w.item[i], NULL), 0);
    }
    w.u = person_new(w.m, "u");
    struct items *t = &w.m->items;
    for (uint32_t k = 0; k < DIM; k++)
        w.u->emb[k] = (float)rng_normal(&r) * 0.3f;
    w.u->bias = 0.2f;
    for (uint32_t k = 0; k < DIM * DIM; k++)
        w.m->phi[k] += (float)rng_normal(&r) * 0.1f;
    for (uint32_t i = 0; i < t->rows; i++) {
        t->hot[i].bias = (float)rng_normal(&r) * 0.2f;
        for (uint32_t k = 0; k < DIM; k++)
            t->own[i * DIM + k] = (float)rng_normal(&r) * 0.3f;
    }
    for (uint32_t i = 0; i < t->features.rows; i++)
        t->features.f[i].bias = (float)rng_normal(&r) * 0.2f;
    for (uint32_t k = 0; k < t->rows * DIM; k++)
        t->in[k] = (float)rng_normal(&r) * 0.3f;
    items_refresh_some(t, t->rows);
    return w;
}

/* All weights of the world in double, and the loss as their function. */
struct weights {
    double u[DIM], user_bias, phi[DIM * DIM], own[ITEMS * DIM], in[ITEMS * DIM], bias[ITEMS],
        feature[64 * DIM], feature_bias[64], proj[DIM * DENSE];
    double content[ITEMS * DIM]; /* of the effective vectors, no weights themselves */
};

static void weights_read(const struct world *w, struct weights *x) {
    const struct items *t = &w->m->items;
    cr_assert(t->features.rows <= 64);
    for (int k = 0; k < DIM; k++)
        x->u[k] = w->u->emb[k];
    x->user_bias = w->u->bias;
    for (int k = 0; k < DIM * DIM; k++)
        x->phi[k] = w->m->phi[k];
    for (int k = 0; k < ITEMS * DIM; k++)
        x->own[k] = t->own[k], x->in[k] = t->in[k], x->content[k] = t->eff[k] - t->own[k];
    for (int k = 0; k < ITEMS; k++)
        x->bias[k] = t->hot[k].bias;
    for (uint32_t k = 0; k < t->features.rows * DIM; k++)
        x->feature[k] = t->features.emb[k];
    for (uint32_t k = 0; k < t->features.rows; k++)
        x->feature_bias[k] = t->features.f[k].bias;
    for (int k = 0; k < DIM * DENSE; k++)
        x->proj[k] = t->proj[k];
}

static double softplus_exact(double x) {
    return x > 0 ? x + log1p(exp(-x)) : log1p(exp(x));
}

/* The trail as the intent sees it: different items, newest first, each 0.6 of the one before.
 * What their content adds is taken as it is: no gradient goes through it. */
static const uint32_t met[] = {2, 0, 4};

static double intent_exact(const struct world *w, const struct weights *x, int r) {
    const double weight[] = {1 / 1.96, 0.6 / 1.96, 0.36 / 1.96};
    double sum = 0;
    for (size_t k = 0; w->l->n_trail && k < ARRAY_LEN(met); k++)
        sum += weight[k] * (x->in[met[k] * DIM + r] + x->content[met[k] * DIM + r]);
    return sum;
}

static double score_exact(const struct world *w, const struct weights *x, uint32_t i) {
    const struct items *t = &w->m->items;
    double share = 1 / sqrt(t->hot[i].n_features), s = x->bias[i];
    for (int r = 0; r < DIM; r++) {
        double mapped = intent_exact(w, x, r), v = x->own[i * DIM + r];
        for (int k = 0; k < DIM; k++)
            mapped += x->phi[r * DIM + k] * x->u[k];
        for (int f = 0; f < t->hot[i].n_features; f++)
            v += share * x->feature[t->cold[i].features[f] * DIM + r];
        if (t->hot[i].has_dense)
            for (int k = 0; k < DENSE; k++)
                v += x->proj[r * DENSE + k] * t->dense[i * DENSE + k];
        s += mapped * v;
    }
    for (int f = 0; f < t->hot[i].n_features; f++)
        s += share * x->feature_bias[t->cold[i].features[f]];
    return s;
}

struct call {
    uint32_t n;
    double weight, target;
    bool dislike, trail;
};

static double loss_exact(const struct world *w, const struct weights *x, const struct call *c) {
    enum loss loss = w->m->c.loss;
    double s[ITEMS] = {0}, sum = 0;
    for (uint32_t i = 0; i < c->n; i++)
        s[i] = score_exact(w, x, w->item[i]) + (loss == LOSS_SQUARED ? x->user_bias : 0);
    if (loss == LOSS_SQUARED) {
        sum = (s[0] - c->target) * (s[0] - c->target) / 2;
        for (uint32_t i = 1; i < c->n; i++)
            sum += s[i] * s[i] / 2 / (c->n - 1);
    } else if (c->dislike) {
        sum = softplus_exact(s[0]);
    } else if (loss == LOSS_SOFTMAX) {
        for (uint32_t i = 0; i < c->n; i++)
            sum += exp(s[i]);
        sum = log(sum) - s[0];
    } else if (loss == LOSS_LOGISTIC) {
        sum = softplus_exact(-s[0]);
        for (uint32_t i = 1; i < c->n; i++)
            sum += softplus_exact(s[i]) / (c->n - 1);
    } else {
        for (uint32_t i = 1; i < c->n; i++)
            sum += softplus_exact(s[i] - s[0]) / (c->n - 1);
    }
    return c->weight * sum;
}

static void check_block(const struct world *w, struct weights *before, const struct weights *after,
                        size_t offset, size_t n, double rate, const struct call *c,
                        const char *what) {
    double *x = (double *)((char *)before + offset);
    const double *y = (const double *)((const char *)after + offset);
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double h = 1e-5;
        double keep = x[i];
        x[i] = keep + h;
        double up = loss_exact(w, before, c);
        x[i] = keep - h;
        double down = loss_exact(w, before, c);
        x[i] = keep;
        double want = (up - down) / (2 * h), got = (keep - y[i]) / rate;
        largest = fmax(largest, fabs(want));
        cr_assert_float_eq(got, want, 1e-5 / fmin(rate, 1) + 1e-4 * fabs(want),
                           "%s[%zu]: step %g, gradient %g", what, i, got, want);
    }
    if (strcmp(what, "user bias") != 0)
        cr_assert(largest > 1e-4, "%s was not touched at all", what);
}

static void set_trail(struct world *w) {
    const uint32_t rows[] = {2, 2, 0, 2, 4, 0}; /* newest first */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        w->l->trail[i] = (struct trail_item){.item = w->item[rows[i]]};
    w->l->n_trail = ARRAY_LEN(rows);
}

static void check(enum loss loss, struct call c) {
    struct world w = world_new(loss);
    if (c.trail)
        set_trail(&w);
    static struct weights before, after;
    weights_read(&w, &before);
    double want = loss_exact(&w, &before, &c);
    sgd_step(w.l, w.u, w.item, c.n, (float)c.weight, (float)c.target, c.dislike);
    weights_read(&w, &after);
    struct learn_stats s;
    learner_stats(w.l, &s);
    cr_assert_float_eq(s.loss_sum, want, 1e-5 * (1 + fabs(want)));
    cr_assert_eq(s.steps, 1);
    cr_assert_eq(s.nan_guarded + s.clipped, 0);
#define BLOCK(member, rate, what)                                                                  \
    check_block(&w, &before, &after, offsetof(struct weights, member),                             \
                sizeof before.member / sizeof(double), rate, &c, what)
    BLOCK(u, 1, "user");
    BLOCK(user_bias, 1, "user bias");
    BLOCK(own, 1, "free embedding");
    if (c.trail)
        BLOCK(in, 1, "intent");
    else
        cr_assert_arr_eq(before.in, after.in, sizeof before.in);
    BLOCK(bias, 1, "item bias");
    BLOCK(phi, MAP_RATE, "phi");
    BLOCK(proj, PROJ_RATE, "projection");
    check_block(&w, &before, &after, offsetof(struct weights, feature),
                w.m->items.features.rows * DIM, 1, &c, "feature");
    check_block(&w, &before, &after, offsetof(struct weights, feature_bias),
                w.m->items.features.rows, 1, &c, "feature bias");
    world_free(&w);
}

Test(sgd, softmax_gradients_agree_with_finite_differences) {
    check(LOSS_SOFTMAX, (struct call){.n = 6, .weight = 1});
    check(LOSS_SOFTMAX, (struct call){.n = 3, .weight = 2.5});
}

Test(sgd, gradients_of_the_intent_agree_with_finite_differences) {
    check(LOSS_SOFTMAX, (struct call){.n = 6, .weight = 1, .trail = true});
    check(LOSS_BPR, (struct call){.n = 4, .weight = 1.5, .trail = true});
    check(LOSS_SOFTMAX, (struct call){.n = 1, .weight = 1, .dislike = true, .trail = true});
}

Test(sgd, the_map_is_the_users_row_turned_plus_what_he_met) {
    struct world w = world_new(LOSS_SOFTMAX);
    set_trail(&w);
    static struct weights x;
    weights_read(&w, &x);
    float got[DIM], without[DIM], nobody[DIM];
    sgd_map(w.l, w.u, w.l->trail, w.l->n_trail, got);
    sgd_map(w.l, w.u, NULL, 0, without);
    sgd_map(w.l, NULL, w.l->trail, w.l->n_trail, nobody);
    for (int r = 0; r < DIM; r++) {
        double mapped = 0, intent = intent_exact(&w, &x, r);
        for (int k = 0; k < DIM; k++)
            mapped += x.phi[r * DIM + k] * x.u[k];
        cr_assert_float_eq(without[r], mapped, 1e-5);
        cr_assert_float_eq(nobody[r], intent, 1e-6);
        cr_assert_float_eq(got[r], mapped + intent, 1e-5);
    }
    world_free(&w);
}

/* One step of a side from a world with a trail; what it was before and after. */
static void step_side(enum sgd_side side, bool frozen, struct weights *before,
                      struct weights *after) {
    struct world w = world_new(LOSS_SOFTMAX);
    set_trail(&w);
    weights_read(&w, before);
    w.l->side = side;
    learner_freeze(w.l, frozen);
    sgd_step(w.l, w.u, w.item, 5, 1, 1, false);
    weights_read(&w, after);
    world_free(&w);
}

#define SAME(member) (memcmp(before.member, after.member, sizeof before.member) == 0)

Test(sgd, a_step_of_the_users_side_leaves_the_items_alone) {
    static struct weights before, after;
    step_side(SGD_USER, false, &before, &after);
    cr_assert(!SAME(u) && !SAME(phi));
    cr_assert(SAME(own) && SAME(in) && SAME(bias) && SAME(proj));
    cr_assert(SAME(feature) && SAME(feature_bias));
    step_side(SGD_USER, true, &before, &after); /* φ is everybody's */
    cr_assert(!SAME(u));
    cr_assert(SAME(phi) && SAME(own) && SAME(in) && SAME(bias) && SAME(proj));
    cr_assert(SAME(feature) && SAME(feature_bias));
}

Test(sgd, a_step_of_the_items_side_leaves_the_user_alone) {
    static struct weights before, after;
    step_side(SGD_ITEMS, false, &before, &after);
    cr_assert(SAME(u) && SAME(phi));
    cr_assert(!SAME(own) && !SAME(in) && !SAME(bias) && !SAME(proj));
    cr_assert(!SAME(feature) && !SAME(feature_bias));
}

Test(sgd, the_projection_keeps_its_pace_whoever_steps_in_between) {
    struct world w = world_new(LOSS_SOFTMAX);
    static struct weights before, after;
    set_trail(&w);
    w.l->proj_due = PROJ_EVERY;
    int moved = 0;
    for (int i = 0; i < 5 * PROJ_EVERY; i++) {
        w.l->side = SGD_USER;
        for (int k = 0; k < 3; k++)
            sgd_step(w.l, w.u, w.item, 3, 0.1f, 1, false);
        weights_read(&w, &before);
        w.l->side = SGD_ITEMS;
        sgd_step(w.l, NULL, w.item, 3, 0.1f, 1, false);
        weights_read(&w, &after);
        moved += !SAME(proj);
    }
    cr_assert_eq(moved, 5);
    world_free(&w);
}

Test(sgd, bpr_gradients_agree_with_finite_differences) {
    check(LOSS_BPR, (struct call){.n = 6, .weight = 1});
    check(LOSS_BPR, (struct call){.n = 2, .weight = 2.5});
}

Test(sgd, logistic_gradients_agree_with_finite_differences) {
    check(LOSS_LOGISTIC, (struct call){.n = 6, .weight = 1});
    check(LOSS_LOGISTIC, (struct call){.n = 3, .weight = 0.5});
}

Test(sgd, squared_gradients_agree_with_finite_differences) {
    check(LOSS_SQUARED, (struct call){.n = 5, .weight = 1, .target = 1});
    check(LOSS_SQUARED, (struct call){.n = 1, .weight = 1, .target = -0.5});
}

Test(sgd, dislike_gradients_agree_with_finite_differences) {
    check(LOSS_BPR, (struct call){.n = 1, .weight = 1.5, .dislike = true});
    check(LOSS_LOGISTIC, (struct call){.n = 1, .weight = 1, .dislike = true});
    check(LOSS_SQUARED, (struct call){.n = 1, .weight = 1, .target = -1, .dislike = true});
}

Test(sgd, touched_vectors_are_up_to_date_at_once) {
    struct world w = world_new(LOSS_BPR);
    sgd_step(w.l, w.u, w.item, 4, 1, 1, false);
    struct items *t = &w.m->items;
    for (uint32_t i = 0; i < 4; i++) {
        float kept[DIM], bias = t->bias[i];
        memcpy(kept, item_eff(t, i), sizeof kept);
        items_project(t, i);
        items_refresh(t, i);
        for (uint32_t k = 0; k < DIM; k++)
            cr_assert_float_eq(item_eff(t, i)[k], kept[k], 1e-5);
        cr_assert_float_eq(t->bias[i], bias, 1e-6);
    }
    world_free(&w);
}

Test(sgd, clipping_bounds_every_step) {
    struct world w = world_new(LOSS_BPR);
    w.m->c.clip = 0.01f;
    static struct weights before, after;
    weights_read(&w, &before);
    sgd_step(w.l, w.u, w.item, 4, 1000, 1, false);
    weights_read(&w, &after);
    double norm = 0;
    for (int k = 0; k < DIM; k++)
        norm += (after.u[k] - before.u[k]) * (after.u[k] - before.u[k]);
    cr_assert_float_eq(sqrt(norm), 0.01, 1e-5);
    cr_assert(fabs(after.bias[0] - before.bias[0]) < 0.0101);
    struct learn_stats s;
    learner_stats(w.l, &s);
    cr_assert(s.clipped > 4);
    world_free(&w);
}

Test(sgd, nothing_that_is_not_finite_gets_into_the_tables) {
    const float evil[] = {NAN, INFINITY, -INFINITY, 3e38f, 1e30f};
    for (size_t i = 0; i < ARRAY_LEN(evil); i++) {
        struct world w = world_new(LOSS_LOGISTIC);
        static struct weights before, after;
        weights_read(&w, &before);
        w.u->emb[3] = evil[i];
        sgd_step(w.l, w.u, w.item, 5, 1, 1, false);
        weights_read(&w, &after);
        cr_assert_arr_eq(after.own, before.own, sizeof after.own);
        for (int k = 0; k < DIM * DIM; k++)
            cr_assert(isfinite(after.phi[k]));
        for (uint32_t k = 0; k < w.m->items.features.rows * DIM; k++)
            cr_assert(isfinite(after.feature[k]));
        struct learn_stats s;
        learner_stats(w.l, &s);
        cr_assert(s.nan_guarded > 0);
        world_free(&w);
    }
}

Test(sgd, l2_draws_only_touched_rows_towards_zero) {
    struct world w = world_new(LOSS_BPR);
    w.m->c.l2 = 0.1f;
    static struct weights before, after, plain;
    weights_read(&w, &before);
    struct world v = world_new(LOSS_BPR);
    sgd_step(w.l, w.u, w.item, 2, 1, 1, false);
    sgd_step(v.l, v.u, v.item, 2, 1, 1, false);
    weights_read(&w, &after);
    weights_read(&v, &plain);
    for (int k = 0; k < 2 * DIM; k++)
        cr_assert_float_eq(after.own[k], plain.own[k] - 0.1 * before.own[k], 1e-6);
    for (int k = 2 * DIM; k < ITEMS * DIM; k++)
        cr_assert_eq(after.own[k], before.own[k]);
    world_free(&w);
    world_free(&v);
}

Test(sampler, draws_by_popularity_to_alpha_and_never_what_cannot_be_listed) {
    struct world w = world_new(LOSS_BPR);
    w.m->c.negative_alpha = 0.5f;
    const uint32_t counts[ITEMS] = {100, 25, 4, 0, 16, 9};
    for (uint32_t i = 0; i < ITEMS; i++)
        for (uint32_t k = 0; k < counts[i]; k++)
            trend_observe(w.m->trend, i, 1, 1000);
    struct item_info gone = {.id = STR("i4"), .deleted = true};
    cr_assert_eq(model_item_upsert(w.m, &gone, 2000, NULL, NULL), 0);
    cr_assert_eq(sampler_build(w.m), 0);
    int drawn[ITEMS] = {0};
    const int n = 210000;
    for (int i = 0; i < n; i++)
        drawn[sampler_draw(w.m, &w.l->rng)]++;
    const double want[ITEMS] = {10, 5, 2, 1, 0, 3}; /* of 21 */
    for (uint32_t i = 0; i < ITEMS; i++)
        cr_assert_float_eq(drawn[i], want[i] / 21 * n, 600, "item %u drawn %d times", i, drawn[i]);
    world_free(&w);
}
