/* What goes out: variants, coupon codes, and who chooses among them. */
#include "policy/features.h"
#include "tests/support/policy_kit.h"

#include <criterion/criterion.h>

static struct kit *k;
static struct kit_user u;

static void setup(void) {
    k = kit_new();
    kit_user(&u, "anna");
}

static void teardown(void) {
    kit_user_free(&u);
    kit_free(k);
}

TestSuite(offer, .init = setup, .fini = teardown);

static void restart(void) {
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    k->shard = NULL;
    k->set = NULL;
}

static const struct decision *last(void) {
    return &k->out.d[k->out.n - 1];
}

/* A campaign with three depths of discount, chosen by `method`. */
static struct campaign_spec *depths(enum policy_method method) {
    struct campaign_spec *c = kit_campaign(k, "depths", EV_FAVORITE);
    c->n_offers = 3;
    c->offer[0] = (struct offer_spec){.name = STR("none"), .json = STR("{\"d\":0}")};
    c->offer[1] = (struct offer_spec){
        .name = STR("ten"), .json = STR("{\"d\":10}"), .discount = true, .percent = 10};
    c->offer[2] = (struct offer_spec){
        .name = STR("twenty"), .json = STR("{\"d\":20}"), .discount = true, .percent = 20};
    c->group = STR("coupons");
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){.name = STR("coupons"), .method = method};
    return c;
}

Test(offer, the_rules_take_the_first_that_is_allowed) {
    depths(METHOD_RULES);
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    cr_assert(last()->send && last()->offer == 0 && k->out.n == 1);
    k->campaign[0].offer[0].discount = true;
    k->campaign[0].n_offers = 1;
    restart();
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, "i11", MONDAY + 1); /* not to be discounted */
    cr_assert_eq(last()->reason, PR_SENSITIVE);
}

Test(offer, items_that_exclude_discounts_leave_the_other_variants) {
    depths(METHOD_RANDOM);
    kit_start(k);
    for (int i = 0; i < 200; i++) {
        kit_do(k, &u, EV_FAVORITE, "i11", MONDAY + i);
        cr_assert(!last()->send || last()->offer == 0);
        cr_assert_eq(last()->propensity, 0.5);
    }
}

Test(offer, random_is_even_over_offers_and_nothing_and_says_so) {
    size_t n[4] = {0};
    depths(METHOD_RANDOM);
    kit_start(k);
    for (int i = 0; i < 4000; i++) {
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i);
        cr_assert(k->out.n == 1 && last()->propensity == 0.25);
        cr_assert_eq(last()->reason, last()->send ? PR_SENT : PR_POLICY);
        n[last()->send ? last()->offer : 3]++;
        kit_forget(k);
    }
    for (int i = 0; i < 4; i++) /* 1000 expected, standard deviation 27 */
        cr_assert(n[i] > 880 && n[i] < 1120, "%zu of arm %d", n[i], i);
}

Test(offer, what_was_chosen_and_what_was_not_end_in_outcomes_with_their_features) {
    struct campaign_spec *c = depths(METHOD_RANDOM);
    c->window_ms = HOUR;
    kit_start(k);
    size_t sent = 0, nothing = 0;
    for (int i = 0; i < 40; i++)
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i * DAY);
    kit_time(k, &u, MONDAY + 99 * DAY);
    cr_assert_eq(k->out.n_o, 40);
    for (size_t i = 0; i < 40; i++) {
        const struct outcome *o = &k->out.o[i];
        const float *own = o->x + FEATURES_SHARED;
        cr_assert(o->x && o->x[FS_ONE] == 1 && o->propensity == 0.25);
        cr_assert_eq(own[FO_ONE], o->nothing ? 0 : 1);
        cr_assert_float_eq(own[FO_PERCENT_VALUE], o->nothing ? 0 : o->offer * 0.5f * own[FO_VALUE],
                           1e-6);
        cr_assert_float_eq(own[FO_VALUE], o->nothing ? 0 : 11.0 / 50, 1e-6); /* i1 costs 11 */
        sent += !o->nothing;
        nothing += o->nothing;
    }
    cr_assert(sent > 15 && nothing > 2);
}

Test(offer, a_choice_is_the_same_when_it_is_made_again) {
    depths(METHOD_RANDOM);
    struct decision first[20];
    for (int round = 0; round < 2; round++) {
        struct kit_user v;
        kit_user(&v, "ben");
        kit_start(k);
        kit_forget(k);
        for (int i = 0; i < 20; i++)
            kit_do(k, &v, EV_FAVORITE, "i1", MONDAY + i);
        for (size_t i = 0; i < 20 && round; i++)
            cr_assert(first[i].send == k->out.d[i].send && first[i].offer == k->out.d[i].offer);
        memcpy(first, k->out.d, sizeof first);
        kit_user_free(&v);
        if (!round)
            restart();
    }
}

Test(offer, an_open_window_keeps_offer_and_features_over_a_restart) {
    depths(METHOD_RANDOM);
    kit_start(k);
    int64_t at = MONDAY;
    do
        kit_do(k, &u, EV_FAVORITE, "i1", at++);
    while (!last()->send || last()->offer != 2);
    struct buf a = {0}, b = {0};
    size_t used;
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &a), 0);
    restart();
    struct offer_spec two = k->campaign[0].offer[2]; /* the variants change places */
    k->campaign[0].offer[2] = k->campaign[0].offer[0];
    k->campaign[0].offer[0] = two;
    kit_start(k);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), 0);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &b), 0);
    cr_assert(a.n == b.n && memcmp(a.p, b.p, a.n) == 0);
    cr_assert_gt(policy_user_bytes(&u.u), FEATURES_BYTES);
    kit_time(k, &u, at + 9 * DAY);
    const struct outcome *o = &k->out.o[k->out.n_o - 1];
    cr_assert(o->offer == 0 &&
              o->x[FEATURES_SHARED + FO_PERCENT_VALUE] == o->x[FEATURES_SHARED + FO_VALUE]);
    buf_free(&a);
    buf_free(&b);
}

Test(offer, groups_are_asked_by_priority_until_one_sends) {
    struct campaign_spec *c = depths(METHOD_RANDOM);
    c->n_offers = 1;
    c->priority = 5;
    kit_campaign(k, "low", EV_FAVORITE);
    kit_start(k);
    size_t both[2] = {0};
    for (int i = 0; i < 100; i++) {
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i);
        cr_assert_eq(k->out.n, 2);
        bool random = kit_count(k, "depths", PR_SENT);
        cr_assert_eq(kit_count(k, "low", random ? PR_NOT_BEST : PR_SENT), 1);
        cr_assert_eq(kit_count(k, "depths", random ? PR_SENT : PR_POLICY), 1);
        both[random]++;
        kit_forget(k);
    }
    cr_assert(both[0] > 25 && both[1] > 25);
}

Test(offer, an_apprentice_watches_the_rules) {
    depths(METHOD_RANDOM);
    k->spec.group[0].mode = MODE_APPRENTICE;
    kit_start(k);
    for (int i = 0; i < 20; i++) {
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i);
        cr_assert(last()->send && last()->offer == 0 && last()->propensity == 1);
    }
    kit_time(k, &u, MONDAY + 9 * DAY);
    cr_assert(k->out.n_o == 20 && k->out.o[0].x, "and has what to learn from");
}

static size_t learned;

static void count_learned(void *self, const struct outcome *o) {
    cr_assert(o->x || !self);
    learned++;
}

Test(offer, outcomes_reach_the_policy_unless_they_are_only_logged) {
    struct policy_kind watcher = policy_random;
    watcher.learn = count_learned;
    depths(METHOD_RANDOM);
    for (int mode = MODE_ONLINE; mode <= MODE_LOG_ONLY; mode++) {
        k->spec.group[0].mode = (enum policy_mode)mode;
        kit_start(k);
        policy_set_use(k->set, 1, &watcher, &learned);
        learned = 0;
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + mode * 9 * DAY);
        kit_time(k, &u, MONDAY + mode * 9 * DAY + 5 * DAY);
        cr_assert_eq(k->out.n_o, 1);
        policy_learn(k->set, &k->out.o[0]);
        cr_assert_eq(learned, mode != MODE_LOG_ONLY);
        kit_forget(k);
        if (mode != MODE_LOG_ONLY)
            restart();
    }
}

/* ---- codes ---- */

Test(offer, a_template_gives_each_trigger_a_code_of_its_own) {
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->offer[0].code = STR("SPRING-{hash}");
    kit_start(k);
    char first[CODE_MAX];
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    cr_assert_eq(strlen(last()->code), 17);
    cr_assert_eq(strncmp(last()->code, "SPRING-", 7), 0);
    cr_assert_eq(strspn(last()->code + 7, "0123456789ABCDEFGHJKMNPQRSTVWXYZ"), 10);
    memcpy(first, last()->code, sizeof first);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + 1);
    cr_assert_str_neq(last()->code, first);
    policy_user_free(u.u.ext); /* it all again after a crash: the same */
    u.u.ext = NULL;
    profile_done(&u.u.prof);
    profile_init(&u.u.prof);
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    cr_assert_str_eq(last()->code, first);
}

static const struct str codes[] = {STR("A"), STR("B"), STR("C"), STR("D"), STR("E"),
                                   STR("F"), STR("G"), STR("H"), STR("I"), STR("J")};

static void pooled(void) {
    k->spec.n_pools = 1;
    k->spec.pool[0] = (struct pool_spec){STR("spring"), ARRAY_LEN(codes), codes};
    kit_campaign(k, "a", EV_FAVORITE)->offer[0].pool = 1;
}

Test(offer, a_code_is_given_once_whoever_gives_it_and_however_often_it_restarts) {
    enum { PARTITIONS = 3 };
    pooled();
    int given[ARRAY_LEN(codes)] = {0};
    struct buf state[PARTITIONS] = {0};
    for (int i = 0; i < 60; i++) {
        int p = i * 7 % PARTITIONS;
        struct kit_user v;
        char id[8];
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&v, id);
        kit_start(k); /* another process */
        policy_shard_place(k->shard, (uint32_t)p, PARTITIONS);
        if (state[p].n)
            cr_assert_eq(policy_shard_restore(k->shard, state[p].p, state[p].n), 0);
        kit_do(k, &v, EV_FAVORITE, NULL, MONDAY);
        if (last()->send) {
            cr_assert_eq(strlen(last()->code), 1);
            cr_assert_eq(given[last()->code[0] - 'A']++, 0, "%s twice", last()->code);
            cr_assert(policy_shard_dirty(k->shard));
        } else {
            cr_assert_eq(last()->reason, PR_NO_CODE);
        }
        buf_reset(&state[p]);
        cr_assert_eq(policy_shard_encode(k->shard, &state[p]), 0);
        kit_user_free(&v);
        restart();
    }
    for (size_t i = 0; i < ARRAY_LEN(codes); i++)
        cr_assert_eq(given[i], 1, "%c was never given", codes[i].p[0]);
    kit_start(k); /* somebody added partitions */
    policy_shard_place(k->shard, 0, PARTITIONS + 1);
    cr_assert_eq(policy_shard_restore(k->shard, state[0].p, state[0].n), 0);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    cr_assert_eq(last()->reason, PR_NO_CODE);
    for (int p = 0; p < PARTITIONS; p++)
        buf_free(&state[p]);
}

Test(offer, what_the_first_version_wrote_of_a_shard_is_still_read) {
    static const uint8_t first_version[] = {
        0x01, 0x3e, 0x00, 0x00, 0x00, 0x03, 0x57, 0x1a, 0xf8, 0x84, 0x30, 0xd9, 0x46, 0xff, 0x00,
        0x66, 0x6b, 0xae, 0x9c, 0x01, 0x00, 0x00, 0xd9, 0x27, 0xf0, 0xd1, 0xda, 0x38, 0x9b, 0x58,
        0x00, 0x66, 0x6b, 0xae, 0x9c, 0x01, 0x00, 0x00, 0xed, 0xf9, 0x4d, 0x19, 0x0c, 0x7b, 0x09,
        0x33, 0x00, 0x66, 0x6b, 0xae, 0x9c, 0x01, 0x00, 0x00, 0x01, 0x57, 0x1a, 0xf8, 0x84, 0x30,
        0xd9, 0x46, 0xff, 0xc4, 0xc0, 0x02, 0x01, 0x0e, 0x33, 0xbb, 0x52,
    };
    kit_campaign(k, "fav", EV_FAVORITE)->budget = 2; /* one of which was spent on that Monday */
    kit_start(k);
    cr_assert_eq(policy_shard_restore(k->shard, first_version, sizeof first_version), 0);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + HOUR);
    cr_assert(last()->send);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 2 * HOUR);
    cr_assert_eq(last()->reason, PR_BUDGET);
}
