#include "model/internal.h"
#include "model/profile_more.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

static const int64_t T0 = INT64_C(1700000000000), DAY = INT64_C(86400000);

static struct model *model_with(void (*change)(struct model_config *c)) {
    struct model_config c;
    model_config_default(&c);
    c.max_items = 1000;
    if (change)
        change(&c);
    struct model *m = NULL;
    cr_assert_eq(model_new(&c, &m), 0);
    return m;
}

static struct shard *shard_of(const struct model *m) {
    struct shard *s = NULL;
    cr_assert_eq(shard_new(m, &s), 0);
    return s;
}

static struct str name(uint32_t i) {
    static char text[32];
    return (struct str){text, (size_t)snprintf(text, sizeof text, "user-%u", i)};
}

Test(shard, finds_whom_it_admitted_and_nobody_else) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    cr_assert_null(shard_find(s, STR("ann")));
    struct user *ann = shard_admit(s, STR("ann"), T0);
    cr_assert_not_null(ann);
    cr_assert(str_eq(ann->id, STR("ann")));
    cr_assert_eq(ann->due_ms, INT64_MAX);
    cr_assert_eq(ann->prof.events, 0);
    cr_assert_eq(ann->list_hash, 0);
    cr_assert_eq(shard_admit(s, STR("ann"), T0), ann, "admitted once");
    cr_assert_eq(shard_find(s, STR("ann")), ann);
    cr_assert_null(shard_find(s, STR("bob")));
    cr_assert_null(shard_admit(s, STR(""), T0));
    cr_assert_eq(shard_users(s), 1);
}

Test(shard, never_moves_a_user) {
    enum { USERS = 5000 };
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    static struct user *at[USERS];
    for (uint32_t i = 0; i < USERS; i++) {
        at[i] = shard_admit(s, name(i), T0);
        cr_assert_eq((uintptr_t)at[i]->emb % 64, 0);
        at[i]->emb[0] = (float)i;
    }
    for (uint32_t i = 0; i < USERS; i++) {
        cr_assert_eq(shard_find(s, name(i)), at[i]);
        cr_assert_eq(at[i]->emb[0], (float)i);
    }
    uint32_t cursor = 0, n = 0;
    while (shard_next(s, &cursor))
        n++;
    cr_assert_eq(n, USERS);
}

Test(shard, starts_a_user_by_id_whatever_the_row) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *a = shard_of(m), *b = shard_of(m);
    struct user *u = shard_admit(a, STR("ann"), T0);
    shard_admit(b, STR("bob"), T0);
    struct user *v = shard_admit(b, STR("ann"), T0);
    cr_assert_neq(u->row, v->row);
    cr_assert_eq(memcmp(u->emb, v->emb, 64 * sizeof *u->emb), 0);
    double norm = 0;
    for (int i = 0; i < 64; i++)
        norm += (double)u->emb[i] * (double)u->emb[i];
    cr_assert(norm > 0 && norm < 0.1, "near zero, but not zero: %g", norm);
}

static uint32_t freed;

static void free_ext(void *ext) {
    cr_assert_eq(*(int *)ext, 7);
    freed++;
}

Test(shard, forgets_a_user_and_uses_his_place_again) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    static int ext = 7;
    shard_set_ext_free(s, free_ext);
    for (uint32_t i = 0; i < 100; i++)
        shard_admit(s, name(i), T0)->ext = &ext;
    size_t bytes = shard_bytes(s);
    for (int round = 0; round < 50; round++) {
        for (uint32_t i = 0; i < 100; i += 3)
            cr_assert(shard_remove(s, name(i)));
        cr_assert(!shard_remove(s, name(0)));
        cr_assert_null(shard_find(s, name(3)));
        cr_assert_eq(shard_users(s), 66);
        for (uint32_t i = 0; i < 100; i += 3) {
            struct user *u = shard_admit(s, name(i), T0);
            cr_assert_null(u->ext);
            cr_assert_eq(u->prof.events, 0);
            cr_assert_null(u->prof.more);
            u->ext = &ext;
        }
    }
    cr_assert_eq(shard_bytes(s), bytes);
    cr_assert_eq(freed, 50 * 34);
    for (uint32_t i = 0; i < 100; i++)
        cr_assert(str_eq(shard_find(s, name(i))->id, name(i)));
    shard_free(TAKE(s));
    cr_assert_eq(freed, 50 * 34 + 100);
}

Test(shard, keeps_ids_of_any_length) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    static char text[5000];
    memset(text, 'x', sizeof text);
    for (size_t n = 1; n <= sizeof text; n += 7)
        cr_assert_not_null(shard_admit(s, (struct str){text, n}, T0));
    for (size_t n = 1; n <= sizeof text; n += 14)
        cr_assert(shard_remove(s, (struct str){text, n}));
    for (size_t n = 8; n <= sizeof text; n += 14)
        cr_assert_eq(shard_find(s, (struct str){text, n})->id.n, n);
}

static void expire_after_a_day(struct model_config *c) {
    c->user_expire_ms = DAY;
}

static uint32_t gone[3000], n_gone;

static void note_gone(void *ctx, struct user *u) {
    cr_assert_eq(ctx, (void *)gone);
    char id[32]; /* NUL-terminated, which the shard's is not */
    snprintf(id, sizeof id, "%.*s", (int)u->id.n, u->id.p);
    cr_assert_eq(sscanf(id, "user-%u", &gone[n_gone]), 1);
    n_gone++;
}

Test(shard, lets_users_expire_in_bounded_steps) {
    autofree(model_free) struct model *m = model_with(expire_after_a_day);
    autofree(shard_free) struct shard *s = shard_of(m);
    for (uint32_t i = 0; i < 2000; i++)
        shard_admit(s, name(i), i % 2 ? T0 : T0 - 2 * DAY);
    shard_maintain(s, T0, note_gone, gone);
    cr_assert(n_gone > 0 && n_gone < 1000, "a slice: %u", n_gone);
    for (int i = 0; i < 10; i++)
        shard_maintain(s, T0, note_gone, gone);
    cr_assert_eq(n_gone, 1000);
    cr_assert_eq(shard_users(s), 1000);
    for (uint32_t i = 0; i < 2000; i++)
        cr_assert_eq(shard_find(s, name(i)) != NULL, i % 2);
}

static void at_most_1000(struct model_config *c) {
    c->max_users = 1000;
    c->user_expire_ms = 0;
}

Test(shard, evicts_the_stalest_above_its_bound) {
    autofree(model_free) struct model *m = model_with(at_most_1000);
    autofree(shard_free) struct shard *s = shard_of(m);
    struct rng r;
    rng_seed(&r, 9);
    static int64_t seen[3000];
    for (uint32_t i = 0; i < 3000; i++)
        shard_admit(s, name(i), seen[i] = T0 + rng_below(&r, 1000000));
    n_gone = 0;
    shard_maintain(s, T0, note_gone, gone);
    cr_assert_eq(shard_users(s), 1000);
    cr_assert_eq(n_gone, 2000);
    double gone_mean = 0, left_mean = 0;
    for (uint32_t i = 0; i < 2000; i++)
        gone_mean += (double)(seen[gone[i]] - T0) / 2000;
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(s, &cursor));)
        left_mean += (double)(u->prof.last_ms - T0) / 1000;
    /* exact would be 333,333 and 833,333 */
    cr_assert_lt(gone_mean, 380000);
    cr_assert_gt(left_mean, 740000);
    shard_maintain(s, T0, NULL, NULL);
    cr_assert_eq(shard_users(s), 1000);
}

static void observe(struct model *m, struct user *u, uint64_t id, uint8_t type, int64_t t,
                    uint32_t row, uint32_t category, double price) {
    const struct model_config *c = model_config_of(m);
    struct profile_params params = {.half_life_ms = c->profile_half_life_ms};
    struct event e = {.type = type, .time_ms = t, .item = STR("x"), .value = NAN, .dwell_ms = NAN};
    cr_assert_eq(profile_observe(&u->prof, &e, id, row, category, price, c->type_weight[type],
                                 &params, NULL),
                 LEARN_OK);
}

Test(shard, drops_from_histories_what_a_row_no_longer_is) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    uint32_t lamp = model_item_admit(m, STR("lamp"), T0),
             sofa = model_item_admit(m, STR("sofa"), T0);
    struct user *u = shard_admit(s, STR("ann"), T0);
    observe(m, u, 1, EV_CART_ADD, T0 + 1000, lamp, 1, 10);
    observe(m, u, 2, EV_VIEW, T0 + 2000, sofa, 1, 10);
    shard_maintain(s, T0, NULL, NULL);
    struct recent_item r[4];
    cr_assert_eq(profile_recent(&u->prof, r, 4), 2);
    m->items.hot[lamp].born_s = (uint32_t)(T0 / 1000) + 5000; /* given to another item */
    shard_maintain(s, T0, NULL, NULL);
    cr_assert_eq(profile_recent(&u->prof, r, 4), 1);
    cr_assert_eq(r[0].item, sofa);
    cr_assert_eq(profile_cart(&u->prof, r, 4), 0);
}

/* What is taken ahead for users to come is no user's cost. */
Test(shard, says_of_a_few_users_what_it_says_of_many) {
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    for (uint32_t i = 0; i < 50; i++)
        shard_admit(s, name(i), T0);
    struct model_memory memory;
    model_memory(m, s, &memory);
    cr_assert_leq(memory.bytes_per_user, 500, "%.0f bytes", memory.bytes_per_user);
    cr_assert_gt(memory.bytes_per_user, 256 + sizeof(struct user));
}

/* The bound the documentation promises, with all that a user costs. */
Test(shard, costs_at_most_650_bytes_a_user_of_5_to_10_events) {
    enum { USERS = 100000 };
    autofree(model_free) struct model *m = model_with(NULL);
    autofree(shard_free) struct shard *s = shard_of(m);
    struct rng r;
    rng_seed(&r, 4);
    uint64_t id = 0;
    for (uint32_t i = 0; i < USERS; i++) {
        struct user *u = shard_admit(s, name(i), T0);
        uint32_t events = 5 + rng_below(&r, 6);
        bool buys = rng_below(&r, 10) == 0; /* more carts and purchases than most shops see */
        for (uint32_t k = 0; k < events; k++) {
            uint8_t type = rng_below(&r, 20) == 0 ? EV_CART_ADD : EV_VIEW;
            observe(m, u, hash_bytes(&id, sizeof id, 0),
                    buys && k + 1 == events ? EV_PURCHASE : type, T0 + k * 60000,
                    rng_below(&r, 900), 1 + rng_below(&r, 3), 9.99);
            id++;
        }
    }
    struct model_memory memory;
    model_memory(m, s, &memory);
    cr_assert_eq(memory.users, USERS);
    size_t profiles = 0;
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(s, &cursor));)
        profiles += profile_bytes(&u->prof);
    cr_assert_leq(memory.bytes_per_user, 650, "%.1f bytes, of which profile %.1f, struct %zu",
                  memory.bytes_per_user, (double)profiles / USERS, sizeof(struct user));
    cr_assert_gt(memory.bytes_per_user, 256 + sizeof(struct user));
}
