#include "model/covisit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static const int64_t T0 = INT64_C(1700000000000), HOUR = 3600 * 1000, DAY = 24 * 3600 * 1000;

static struct covisit *table(uint32_t items) {
    struct covisit *c = NULL;
    cr_assert_eq(covisit_new(&(struct covisit_config){items, 30 * DAY}, &c), 0);
    return c;
}

static struct recent_item item_at(uint32_t item, int64_t time_ms) {
    return (struct recent_item){.item = item, .time_s = (uint32_t)(time_ms / 1000), .price = NAN};
}

/* One user goes from item to item, a minute apart. */
static void walk(struct covisit *c, const uint32_t *items, size_t n, int64_t t) {
    struct recent_item recent[PROFILE_RECENT_MAX];
    size_t n_recent = 0;
    for (size_t i = 0; i < n; i++, t += 60000) {
        covisit_observe(c, items[i], recent, n_recent, 1, t);
        n_recent = MIN(n_recent + 1, (size_t)PROFILE_RECENT_MAX);
        memmove(recent + 1, recent, (n_recent - 1) * sizeof *recent);
        recent[0] = item_at(items[i], t);
    }
}

static float boost_of(const struct covisit_pair *p, size_t n, uint32_t item) {
    for (size_t i = 0; i < n; i++)
        if (p[i].item == item)
            return p[i].boost;
    return 0;
}

Test(covisit, refuses_more_rows_than_a_slot_can_name) {
    struct covisit *c = NULL;
    cr_assert_eq(covisit_new(&(struct covisit_config){0, DAY}, &c), -EINVAL);
    cr_assert_eq(covisit_new(&(struct covisit_config){(1u << 27) + 1, DAY}, &c), -EINVAL);
}

Test(covisit, boosts_what_follows_more_than_what_precedes) {
    autofree(covisit_free) struct covisit *c = table(100);
    for (int i = 0; i < 20; i++)
        walk(c, (uint32_t[]){1, 2, 3}, 3, T0 + i * HOUR);
    struct covisit_pair p[COVISIT_CANDIDATES];
    struct recent_item recent = item_at(2, T0);
    size_t n = covisit_candidates(c, &recent, 1, T0 + 20 * HOUR, p, COVISIT_CANDIDATES);
    cr_assert_eq(n, 2);
    cr_assert_gt(boost_of(p, n, 3), boost_of(p, n, 1));
    cr_assert_gt(boost_of(p, n, 1), 0);
    recent.item = 1;
    n = covisit_candidates(c, &recent, 1, T0 + 20 * HOUR, p, COVISIT_CANDIDATES);
    cr_assert_gt(boost_of(p, n, 2), boost_of(p, n, 3), "nearer counts more");
    cr_assert_leq(boost_of(p, n, 2), 13);
}

Test(covisit, merges_what_several_recent_items_point_to) {
    autofree(covisit_free) struct covisit *c = table(100);
    for (int i = 0; i < 5; i++) {
        walk(c, (uint32_t[]){1, 9}, 2, T0);
        walk(c, (uint32_t[]){2, 9}, 2, T0);
        walk(c, (uint32_t[]){2, 8}, 2, T0);
    }
    struct covisit_pair p[COVISIT_CANDIDATES];
    struct recent_item recent[] = {item_at(2, T0), item_at(1, T0)};
    size_t n = covisit_candidates(c, recent, 2, T0, p, COVISIT_CANDIDATES);
    cr_assert_eq(n, 2);
    cr_assert_gt(boost_of(p, n, 9), boost_of(p, n, 8));
    cr_assert_eq(covisit_candidates(c, recent, 2, T0, p, 1), 1);
}

Test(covisit, counts_distant_pairs_less) {
    autofree(covisit_free) struct covisit *c = table(100);
    struct recent_item now = item_at(1, T0), yesterday = item_at(1, T0 - DAY);
    covisit_observe(c, 2, &now, 1, 1, T0);
    covisit_observe(c, 3, &yesterday, 1, 1, T0);
    struct covisit_pair p[COVISIT_CANDIDATES];
    size_t n = covisit_candidates(c, &now, 1, T0, p, COVISIT_CANDIDATES);
    cr_assert_gt(boost_of(p, n, 2), 2 * boost_of(p, n, 3));
}

Test(covisit, passes_over_the_item_itself_and_worthless_events) {
    autofree(covisit_free) struct covisit *c = table(10);
    struct recent_item recent[] = {item_at(1, T0), item_at(1000, T0), item_at(ROW_NONE, T0)};
    covisit_observe(c, 1, recent, 3, 1, T0);
    covisit_observe(c, 2, recent, 1, 0, T0);
    covisit_observe(c, 2, recent, 1, NAN, T0);
    covisit_observe(c, 10, recent, 1, 1, T0);
    struct covisit_pair p[COVISIT_CANDIDATES];
    cr_assert_eq(covisit_candidates(c, recent, 3, T0, p, COVISIT_CANDIDATES), 0);
    cr_assert_eq(covisit_neighbours(c, 1, T0, p, 10), 0);
    cr_assert_eq(covisit_neighbours(c, 99, T0, p, 10), 0);
}

Test(covisit, keeps_the_heavy_neighbours_of_many) {
    autofree(covisit_free) struct covisit *c = table(5000);
    struct rng r;
    rng_seed(&r, 11);
    for (int i = 0; i < 6000; i++) {
        uint32_t next = i % 3 ? 1000 + rng_below(&r, 4000) : 10 + rng_below(&r, 4);
        walk(c, (uint32_t[]){1, next}, 2, T0 + i * 1000);
    }
    struct covisit_pair p[COVISIT_SLOTS];
    size_t n = covisit_neighbours(c, 1, T0 + 6000000, p, COVISIT_SLOTS);
    cr_assert_eq(n, COVISIT_SLOTS);
    for (size_t i = 0; i < 4; i++)
        cr_assert(p[i].item >= 10 && p[i].item < 14, "place %zu: %u", i, p[i].item);
    for (size_t i = 0; i < n; i++) {
        cr_assert(i == 0 || p[i].boost <= p[i - 1].boost);
        cr_assert(p[i].boost > 0 && p[i].boost <= 1);
    }
}

Test(covisit, forgets_a_row_here_and_elsewhere) {
    autofree(covisit_free) struct covisit *c = table(10);
    walk(c, (uint32_t[]){1, 2, 3}, 3, T0);
    covisit_forget_row(c, 2);
    struct covisit_pair p[COVISIT_CANDIDATES];
    cr_assert_eq(covisit_neighbours(c, 2, T0, p, 10), 0);
    size_t n = covisit_neighbours(c, 1, T0, p, 10);
    cr_assert_eq(n, 1);
    cr_assert_eq(p[0].item, 3);
    walk(c, (uint32_t[]){2, 1}, 2, T0 + DAY); /* the row's next item starts anew */
    n = covisit_neighbours(c, 1, T0 + DAY, p, 10);
    cr_assert_eq(n, 2);
}

Test(covisit, decays_by_event_time_over_many_epochs) {
    struct covisit *made = NULL;
    cr_assert_eq(covisit_new(&(struct covisit_config){10, HOUR}, &made), 0);
    autofree(covisit_free) struct covisit *c = made;
    for (int i = 0; i < 1000; i++) {
        walk(c, (uint32_t[]){1, 2}, 2, T0 + i * HOUR);
        if (i > 20) {
            struct covisit_pair p[4];
            cr_assert_eq(covisit_neighbours(c, 1, T0 + i * HOUR + 60000, p, 4), 1);
            cr_assert(p[0].boost > .1f && p[0].boost < 1);
        }
    }
    for (int i = 0; i < 3; i++) /* what is new counts more than 1000 old ones */
        walk(c, (uint32_t[]){1, 3}, 2, T0 + 1010 * HOUR);
    struct covisit_pair p[4];
    cr_assert_eq(covisit_neighbours(c, 1, T0 + 1010 * HOUR, p, 4), 2);
    cr_assert_eq(p[0].item, 3);
}

struct names {
    uint32_t shift;
};

static struct str id_of(const void *ctx, uint32_t row) {
    static char name[32][12];
    const struct names *n = ctx;
    char *s = name[row % 32];
    return (struct str){s, (size_t)snprintf(s, 12, "i%u", row - n->shift)};
}

static uint32_t row_of(void *ctx, struct str id) {
    const struct names *n = ctx;
    uint32_t v = 0;
    for (size_t i = 1; i < id.n; i++)
        v = v * 10 + (uint32_t)(id.p[i] - '0');
    return v == 4 ? ROW_NONE : v + n->shift;
}

Test(covisit, travels_by_item_id) {
    autofree(covisit_free) struct covisit *a = table(100), *b = table(200);
    for (int i = 0; i < 9; i++)
        walk(a, (uint32_t[]){1, 2, 3, 1, 5, 4}, 6, T0 + i * HOUR);
    struct buf out = {0};
    struct names same = {0}, moved = {50};
    covisit_encode(a, 1, id_of, &same, &out);
    covisit_encode(a, 77, id_of, &same, &out);
    size_t used = 0, more = 0;
    cr_assert_eq(covisit_restore(b, 51, row_of, &moved, out.p, out.n, &used), 0);
    cr_assert_eq(covisit_restore(b, 60, row_of, &moved, out.p + used, out.n - used, &more), 0);
    cr_assert_eq(used + more, out.n);
    struct recent_item ra = item_at(1, T0), rb = item_at(51, T0);
    struct covisit_pair p[COVISIT_CANDIDATES], q[COVISIT_CANDIDATES];
    size_t n = covisit_candidates(a, &ra, 1, T0 + DAY, p, COVISIT_CANDIDATES);
    size_t m = covisit_candidates(b, &rb, 1, T0 + DAY, q, COVISIT_CANDIDATES);
    cr_assert_eq(n, 4);
    cr_assert_eq(m, 3, "one is not known there");
    for (size_t i = 0; i < m; i++)
        cr_assert_eq(q[i].boost, boost_of(p, n, q[i].item - 50));

    for (size_t cut = 0; cut < used; cut++)
        cr_assert_eq(covisit_restore(b, 52, row_of, &moved, out.p, cut, &more), -EBADMSG);
    cr_assert_eq(covisit_neighbours(b, 52, T0, p, 10), 0);
    cr_assert_eq(covisit_restore(b, 200, row_of, &moved, out.p, out.n, &more), -EBADMSG);
    buf_free(&out);
}

Test(covisit, holds_its_bounds_on_random_walks) {
    autofree(covisit_free) struct covisit *c = table(300);
    struct rng r;
    rng_seed(&r, 2);
    for (int i = 0; i < 5000; i++) {
        struct recent_item recent[PROFILE_RECENT_MAX];
        size_t n = rng_below(&r, PROFILE_RECENT_MAX + 1);
        int64_t t = T0 + (int64_t)(rng_normal(&r) * 1e10);
        for (size_t j = 0; j < n; j++)
            recent[j] =
                (struct recent_item){.item = rng_below(&r, 310), .time_s = (uint32_t)rng_u64(&r)};
        covisit_observe(c, rng_below(&r, 310), recent, n, (float)exp(rng_normal(&r) * 20), t);
        if (rng_below(&r, 100) == 0)
            covisit_forget_row(c, rng_below(&r, 310));
        struct covisit_pair p[COVISIT_CANDIDATES];
        n = covisit_candidates(c, recent, n, t, p, COVISIT_CANDIDATES);
        for (size_t j = 0; j < n; j++) {
            cr_assert_lt(p[j].item, 300);
            cr_assert(p[j].boost >= 0 && isfinite(p[j].boost), "%g", p[j].boost);
            for (size_t k = 0; k < j; k++)
                cr_assert_neq(p[j].item, p[k].item);
        }
    }
}
