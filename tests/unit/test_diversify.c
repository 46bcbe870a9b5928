#include "model/diversify.h"
#include "model/pulse.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

enum { DIM = 8 };

struct shelf {
    struct model *m;
    struct learner *l;
    struct user *u;
};

static struct shelf shelf_new(struct model_config *c) {
    c->dim = DIM;
    c->max_items = 2000;
    c->session_store = 1000;
    struct shelf s;
    cr_assert_eq(model_new(c, &s.m), 0);
    cr_assert_eq(learner_new(s.m, 0, &s.l), 0);
    s.u = person_new(s.m, "u");
    s.u->prof.last_ms = 5 * 3600 * 1000;
    return s;
}

static struct model_config plain(uint32_t top_n) {
    struct model_config c;
    model_config_default(&c);
    c.top_n = top_n;
    return c;
}

static void shelf_free(struct shelf *s) {
    person_free(s->u);
    learner_free(s->l);
    model_free(s->m);
}

/* An item with a vector along one axis, a little off it by `off` along the next. */
static uint32_t put(struct shelf *s, const char *id, const char *category, uint32_t axis,
                    float off) {
    struct item_info info = {.id = str_of(id), .price = NAN, .margin = NAN, .available = true};
    if (category)
        info.category[info.n_category++] = str_of(category);
    uint32_t row;
    cr_assert_eq(model_item_upsert(s->m, &info, 1000, &row, NULL), 0);
    float *v = item_eff(&s->m->items, row);
    memset(v, 0, DIM * sizeof *v);
    v[axis] = 1;
    v[(axis + 1) % DIM] = off;
    return row;
}

static void known(struct shelf *s, uint32_t row, uint32_t events) {
    for (uint32_t i = 0; i < events; i++)
        pulse_observe(s->m->pulse, row, ++s->m->tick);
}

static void add(struct list *l, uint32_t row, float score) {
    l->e[l->n++] = (struct list_entry){.item = row, .score = score, .because = BECAUSE_TASTE};
}

static void rows_are(const struct list *l, uint32_t n, const uint32_t *rows) {
    cr_assert_eq(l->n, n, "%u entries for %u", l->n, n);
    for (uint32_t i = 0; i < n; i++)
        cr_assert_eq(l->e[i].item, rows[i], "place %u: row %u for %u", i + 1, l->e[i].item,
                     rows[i]);
    for (uint32_t i = 1; i < n; i++)
        cr_assert_leq(l->e[i].score, l->e[i - 1].score);
}

Test(diversify, everything_is_off_by_default) {
    struct model_config c = plain(10);
    cr_assert_not(diversify_wanted(&c));
    c.exploration = 0.1f;
    cr_assert(diversify_wanted(&c));
}

Test(diversify, shares_beyond_one_are_refused) {
    struct model *m;
    struct model_config c = plain(10);
    c.diversity = 1.5f;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    c = plain(10);
    c.novelty = -0.1f;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    c = plain(10);
    c.exploration = NAN;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
}

Test(diversify, a_category_has_no_more_places_than_its_cap) {
    struct model_config c = plain(5);
    c.per_category = 2;
    struct shelf s = shelf_new(&c);
    const char *category[] = {"a", "a", "a", NULL, "b", NULL, NULL, "a", "b"};
    struct list l = {0};
    uint32_t row[9];
    for (uint32_t i = 0; i < 9; i++) {
        char id[4];
        snprintf(id, sizeof id, "i%u", i);
        row[i] = put(&s, id, category[i], i % DIM, 0);
        add(&l, row[i], 9 - (float)i);
    }
    diversify(s.l, s.u, false, &l);
    rows_are(&l, 5, (uint32_t[]){row[0], row[1], row[3], row[4], row[5]});
    for (uint32_t i = 0; i < 5; i++) {
        cr_assert_eq(l.e[i].score, 9 - (float)l.e[i].item, "scores stay as they are");
        cr_assert_eq(l.e[i].propensity, 0);
        cr_assert_eq(l.e[i].because, BECAUSE_TASTE);
    }
    shelf_free(&s);
}

Test(diversify, a_cap_may_leave_a_list_short) {
    struct model_config c = plain(5);
    c.per_category = 1;
    struct shelf s = shelf_new(&c);
    struct list l = {0};
    add(&l, put(&s, "a", "x", 0, 0), 3);
    add(&l, put(&s, "b", "x", 1, 0), 2);
    add(&l, put(&s, "c", "y", 2, 0), 1);
    diversify(s.l, s.u, false, &l);
    rows_are(&l, 2, (uint32_t[]){0, 2});
    struct list none = {0};
    diversify(s.l, NULL, false, &none);
    cr_assert_eq(none.n, 0);
    shelf_free(&s);
}

Test(diversify, what_is_like_an_item_above_comes_later) {
    struct model_config c = plain(4);
    c.diversity = 0.5f;
    struct shelf s = shelf_new(&c);
    uint32_t a = put(&s, "a", NULL, 0, 0), twin = put(&s, "twin", NULL, 0, 0.1f),
             other = put(&s, "other", NULL, 3, 0), last = put(&s, "last", NULL, 5, 0);
    struct list l = {0};
    add(&l, a, 4);
    add(&l, twin, 3.9f);
    add(&l, other, 2);
    add(&l, last, 0);
    diversify(s.l, s.u, false, &l);
    rows_are(&l, 4, (uint32_t[]){a, other, last, twin});
    cr_assert_float_eq(l.e[0].score, 2, 1e-6, "half of its lead over the last");
    cr_assert_float_eq(l.e[1].score, 1, 1e-6);
    cr_assert_float_eq(l.e[3].score, 0.5 * 3.9 - 0.5 * 4 / sqrt(1.01), 1e-5);
    shelf_free(&s);
}

Test(diversify, items_of_one_category_are_half_alike_at_least) {
    struct model_config c = plain(3);
    c.diversity = 0.5f;
    struct shelf s = shelf_new(&c);
    uint32_t a = put(&s, "a", "x", 0, 0), same = put(&s, "same", "x", 2, 0),
             other = put(&s, "other", "y", 4, 0);
    struct list l = {0};
    add(&l, a, 1);
    add(&l, same, 0.3f);
    add(&l, other, 0);
    diversify(s.l, s.u, false, &l);
    rows_are(&l, 3, (uint32_t[]){a, other, same});
    cr_assert_float_eq(l.e[2].score, 0.5 * 0.3 - 0.5 * 0.5, 1e-6);
    shelf_free(&s);
}

/* The formula of the header, anew for every place. */
static void reference(const struct shelf *s, const struct list *in, float d, uint32_t n,
                      uint32_t *ret) {
    bool gone[TOP_MAX] = {0};
    double least = in->e[in->n - 1].score, range = in->e[0].score - least;
    for (uint32_t place = 0; place < n; place++) {
        double most = -INFINITY;
        uint32_t at = 0;
        for (uint32_t i = 0; i < in->n; i++) {
            double near = 0;
            const float *v = item_eff(&s->m->items, in->e[i].item);
            for (uint32_t k = 0; k < place; k++) {
                const float *w = item_eff(&s->m->items, ret[k]);
                double vw = 0, vv = 0, ww = 0;
                for (int j = 0; j < DIM; j++) {
                    vw += (double)v[j] * w[j];
                    vv += (double)v[j] * v[j];
                    ww += (double)w[j] * w[j];
                }
                near = fmax(near, vw / sqrt(vv * ww));
            }
            double value = (1 - d) * (in->e[i].score - least) - d * range * near;
            if (!gone[i] && value > most) {
                most = value;
                at = i;
            }
        }
        gone[at] = true;
        ret[place] = in->e[at].item;
    }
}

Test(diversify, long_lists_are_by_the_formula) {
    struct model_config c = plain(40);
    c.diversity = 0.3f;
    struct shelf s = shelf_new(&c);
    struct rng r;
    rng_seed(&r, 3);
    for (int round = 0; round < 20; round++) {
        struct list l = {0};
        float score = 7;
        for (uint32_t i = 0; i < 150; i++) {
            char id[8];
            snprintf(id, sizeof id, "i%u", i);
            uint32_t row = put(&s, id, NULL, 0, 0);
            float *v = item_eff(&s.m->items, row);
            for (uint32_t k = 0; k < DIM; k++)
                v[k] = (float)rng_normal(&r);
            score -= (float)rng_unit(&r);
            add(&l, row, score);
        }
        uint32_t want[40];
        reference(&s, &l, c.diversity, 40, want);
        diversify(s.l, s.u, false, &l);
        rows_are(&l, 40, want);
    }
    shelf_free(&s);
}

Test(diversify, novelty_lifts_what_few_know) {
    struct model_config c = plain(3);
    c.novelty = 0.5f;
    struct shelf s = shelf_new(&c);
    uint32_t hit = put(&s, "hit", NULL, 0, 0), rare = put(&s, "rare", NULL, 1, 0),
             end = put(&s, "end", NULL, 2, 0);
    known(&s, hit, 900);
    known(&s, rare, 3);
    known(&s, end, 120);
    struct list l = {0};
    add(&l, hit, 2);
    add(&l, rare, 1.8f);
    add(&l, end, 0);
    diversify(s.l, s.u, false, &l);
    rows_are(&l, 3, (uint32_t[]){rare, hit, end});
    double most = log2(1024);
    cr_assert_float_eq(l.e[0].score, 1.8 + 0.5 * 2 * (1 - log2(4) / most), 1e-4);
    cr_assert_float_eq(l.e[1].score, 2 + 0.5 * 2 * (1 - log2(901) / most), 1e-4);
    shelf_free(&s);
}

static struct list hundred(struct shelf *s) {
    struct list l = {0};
    for (uint32_t i = 0; i < 100; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%u", i);
        uint32_t row = put(s, id, NULL, i % DIM, 0);
        if (s->m->tick < 5000)
            known(s, row, 20);
        add(&l, row, 100 - (float)i);
    }
    return l;
}

Test(diversify, every_tenth_place_is_explored_and_says_so) {
    struct model_config c = plain(20);
    c.exploration = 0.1f;
    struct shelf s = shelf_new(&c);
    struct list l = hundred(&s);
    diversify(s.l, s.u, false, &l);
    cr_assert_eq(l.n, 20);
    uint32_t next = 0;
    for (uint32_t i = 0; i < 20; i++) {
        bool chance = i == 9 || i == 19;
        cr_assert_eq(l.e[i].because, chance ? BECAUSE_EXPLORED : BECAUSE_TASTE, "place %u", i + 1);
        if (!chance && l.e[9].item == next)
            next++;
        if (!chance)
            cr_assert_eq(l.e[i].item, next++);
        cr_assert(i == 0 || l.e[i].score < l.e[i - 1].score);
    }
    cr_assert_float_eq(l.e[9].propensity, 1 / 91.0, 1e-7);
    cr_assert_float_eq(l.e[19].propensity, 1 / 81.0, 1e-7);
    shelf_free(&s);
}

Test(diversify, a_draw_stays_for_an_hour_whatever_else_changes) {
    struct model_config c = plain(10);
    c.exploration = 0.1f;
    struct shelf s = shelf_new(&c);
    struct list one = hundred(&s), two = one, three = one;
    diversify(s.l, s.u, false, &one);
    s.u->prof.last_ms += 1800 * 1000;
    for (uint32_t i = 20; i < two.n - 1; i++) /* another candidate is gone */
        if (two.e[i].item != one.e[9].item) {
            memmove(&two.e[i], &two.e[i + 1], (two.n - i - 1) * sizeof *two.e);
            two.n--;
            break;
        }
    diversify(s.l, s.u, false, &two);
    cr_assert_eq(two.e[9].item, one.e[9].item);
    cr_assert_float_eq(two.e[9].propensity, 1 / 90.0, 1e-7);
    uint32_t others = 0;
    for (int hour = 1; hour <= 20; hour++) {
        struct list l = three;
        s.u->prof.last_ms += 3600 * 1000;
        diversify(s.l, s.u, false, &l);
        others += l.e[9].item != one.e[9].item;
    }
    cr_assert_geq(others, 17u, "another hour, another draw");
    shelf_free(&s);
}

Test(diversify, draws_are_as_often_as_their_propensity) {
    enum { DRAWS = 9100 };
    struct model_config c = plain(10);
    c.exploration = 0.1f;
    struct shelf s = shelf_new(&c);
    struct list all = hundred(&s);
    uint32_t times[100] = {0};
    for (int i = 0; i < DRAWS; i++) {
        struct list l = all;
        s.u->prof.last_ms += 3600 * 1000;
        diversify(s.l, s.u, false, &l);
        times[l.e[9].item]++;
    }
    for (uint32_t i = 0; i < 9; i++)
        cr_assert_eq(times[i], 0);
    for (uint32_t i = 9; i < 100; i++) /* 100 each, standard deviation 10 */
        cr_assert(times[i] > 55 && times[i] < 145, "item %u %u times", i, times[i]);
    shelf_free(&s);
}

Test(diversify, newcomers_are_drawn_until_they_are_known) {
    struct model_config c = plain(10);
    c.exploration = 1;
    struct shelf s = shelf_new(&c);
    struct list none = {0};
    uint32_t fresh = put(&s, "fresh", NULL, 0, 0), gone = put(&s, "gone", NULL, 1, 0);
    items_withdraw(&s.m->items, gone);
    items_rebase(&s.m->items, gone);
    diversify(s.l, s.u, false, &none);
    rows_are(&none, 1, &fresh);
    cr_assert_eq(none.e[0].because, BECAUSE_EXPLORED);
    cr_assert_eq(none.e[0].propensity, 1);
    known(&s, fresh, 10);
    none.n = 0;
    diversify(s.l, s.u, false, &none);
    cr_assert_eq(none.n, 0);
    shelf_free(&s);
}

Test(diversify, maintenance_goes_round_items_that_nobody_meets) {
    struct model_config c = plain(10);
    struct shelf s = shelf_new(&c);
    for (uint32_t i = 0; i < 200; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%u", i);
        put(&s, id, NULL, 0, 0);
    }
    bool met[200] = {0};
    for (int i = 0; i < 13; i++) {
        newcomers_refresh(s.m);
        for (uint32_t k = 0; k < NEWCOMERS; k++)
            met[s.m->newcomer[k]] = true;
    }
    for (uint32_t i = 0; i < 200; i++)
        cr_assert(met[i], "row %u never was a newcomer", i);
    shelf_free(&s);
}

/* A shop in which all go through the same ten items. */
static void walk(struct shelf *s, int users) {
    for (int i = 0; i < users; i++) {
        char name[12];
        snprintf(name, sizeof name, "walker%d", i);
        struct user *u = person_new(s->m, name);
        for (int k = 0; k < 10; k++) {
            char id[8];
            snprintf(id, sizeof id, "w%d", (i + k) % 30);
            struct event e = event_of(u, id, EV_VIEW, 1000000 + i * 60000 + k * 1000);
            e.session = str_of(name);
            model_learn(s->l, NULL, u, &e, model_item_admit(s->m, e.item, e.time_ms));
        }
        person_free(u);
    }
}

Test(diversify, lists_of_both_ways_of_ranking_are_re_ordered) {
    for (int rank = 0; rank < 2; rank++) {
        struct model_config c = plain(10);
        c.rank = rank;
        struct shelf s = shelf_new(&c);
        walk(&s, 60);
        struct event e = event_of(s.u, "w3", EV_VIEW, 90000000);
        model_learn(s.l, NULL, s.u, &e, model_item_find(s.m, e.item));
        struct list by_score, explored;
        model_rank(s.l, &s.u, 1, false, &by_score);
        cr_assert_eq(by_score.n, 10);
        struct model_config changed = c;
        changed.exploration = 0.5f;
        s.m->c = changed;
        struct learner *l;
        cr_assert_eq(learner_new(s.m, 1, &l), 0);
        model_rank(l, &s.u, 1, false, &explored);
        cr_assert_eq(explored.n, 10);
        for (uint32_t i = 0; i < 10; i++)
            cr_assert_eq(explored.e[i].propensity > 0, i % 2 == 1, "rank %d place %u", rank, i + 1);
        cr_assert_eq(explored.e[0].item, by_score.e[0].item);
        cr_assert_eq(explored.e[0].score, by_score.e[0].score);
        learner_free(l);
        shelf_free(&s);
    }
}

Test(diversify, every_reason_has_a_name) {
    for (int i = 0; i < BECAUSE_COUNT; i++)
        cr_assert_neq(*list_reason_name((enum list_reason)i), 0);
    cr_assert_str_eq(list_reason_name(BECAUSE_EXPLORED), "explored");
}
