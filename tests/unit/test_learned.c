/* A bandit behind a group: what it is told, what it does with it, what outlives it. */
#include "policy/learned.h"

#include <criterion/criterion.h>

#include "consumer/policy_records.h"
#include "policy/bandit.h"
#include "policy/features.h"
#include "tests/support/policy_kit.h"

TestSuite(learned);

/* Two offers: a tenth off earns 3, a fifth off loses 1, nothing earns 0. */
static struct kit *shop(enum policy_method method) {
    struct kit *k = kit_new();
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->n_offers = 2;
    c->offer[0] = (struct offer_spec){
        .name = STR("fifth"), .json = STR("{}"), .discount = true, .percent = 20};
    c->offer[1] = (struct offer_spec){
        .name = STR("tenth"), .json = STR("{}"), .discount = true, .percent = 10};
    c->window_ms = HOUR;
    c->group = STR("g");
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){.name = STR("g"), .method = method};
    kit_start(k);
    return k;
}

/* Decides for n users, one a day, and tells what came of each; how many got a tenth off. */
static size_t live(struct kit *k, int from, int n) {
    size_t tenths = 0;
    for (int i = from; i < from + n; i++) {
        struct kit_user u;
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&u, id);
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i * DAY);
        cr_assert(k->out.n == 1 && k->out.d[0].propensity > 0);
        tenths += k->out.d[0].send && k->out.d[0].offer == 1;
        kit_time(k, &u, MONDAY + i * DAY + HOUR);
        cr_assert_eq(k->out.n_o, 1);
        struct outcome *o = &k->out.o[0];
        o->reward = o->nothing ? 0 : o->offer == 1 ? 3 : -1;
        policy_learn(k->set, o);
        kit_forget(k);
        kit_user_free(&u);
    }
    return tenths;
}

Test(learned, every_kind_finds_the_offer_that_pays) {
    static const enum policy_method methods[] = {METHOD_EGREEDY, METHOD_LINUCB, METHOD_THOMPSON,
                                                 METHOD_SQUARECB, METHOD_UPLIFT};
    for (size_t m = 0; m < ARRAY_LEN(methods); m++) {
        struct kit *k = shop(methods[m]);
        live(k, 0, 400);
        size_t tenths = live(k, 400, 200);
        cr_assert_gt(tenths, 130, "%s: %zu of 200", policy_method_name(methods[m]), tenths);
        kit_free(k);
    }
}

Test(learned, what_processes_learned_is_added_up_at_their_start) {
    struct policy_records records = {0};
    struct buf key = {0}, value = {0};
    for (int process = 0; process < 2; process++) {
        struct kit *k = shop(METHOD_THOMPSON);
        struct policy_records own = {0};
        const struct str instance = process ? STR("one") : STR("zero");
        for (int round = 0; round < 2; round++) { /* the first record is replaced by the second */
            live(k, process * 1000 + round * 200, 200);
            size_t group = 0;
            cr_assert(policy_records_next(&own, k->set, instance, &group, &key, &value));
            struct str name = {(const char *)key.p, key.n};
            cr_assert(policy_record_is(name));
            cr_assert_eq(policy_records_note(&records, name, value.p, value.n), 0);
            cr_assert_not(policy_records_next(&own, k->set, instance, &group, &key, &value));
        }
        size_t group = 0;
        cr_assert_not(policy_records_next(&own, k->set, instance, &group, &key, &value));
        kit_free(k);
    }
    cr_assert_eq(records.n, 2);
    struct kit *k = shop(METHOD_THOMPSON), *fresh = shop(METHOD_THOMPSON);
    cr_assert_eq(policy_records_learn(&records, k->set, STR("one")), 0);
    size_t wise = live(k, 5000, 60), green = live(fresh, 5000, 60);
    cr_assert(wise > 40 && wise > green, "%zu, and %zu without", wise, green);
    uint64_t samples;
    buf_reset(&value); /* what it was told before the restart is still its own */
    cr_assert_eq(learned_encode(policy_group_learned(k->set, 1), &value, &samples), 0);
    struct ridge all;
    size_t used;
    cr_assert_eq(ridge_init(&all, FEATURES_SHARED + FEATURES_OWN,
                            bandit_defaults(BANDIT_THOMPSON, 1, 1).half_life_ms, FEATURES_VERSION),
                 0);
    cr_assert_eq(ridge_restore(&all, value.p, value.n, &used), 0);
    cr_assert_eq(samples, 60);
    cr_assert_float_eq(all.n, 460, 1e-6, "%g", all.n);
    ridge_done(&all);
    kit_free(k);
    kit_free(fresh);
    buf_free(&key);
    buf_free(&value);
}

/* Those who bought much buy anyway, for 10, and a tenth off costs 3 of it; to others it brings 3.
 * Of n users, how many of either kind get it. */
static void live_with_sure_buyers(struct kit *k, int from, int n, int ret[2]) {
    for (int i = from; i < from + n; i++) {
        struct kit_user u;
        char id[16];
        int sure = i % 2;
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&u, id);
        for (int p = 0; sure && p < 12; p++)
            kit_do(k, &u, EV_PURCHASE, "i1", MONDAY + i * DAY - (20 - p) * HOUR);
        kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + i * DAY);
        cr_assert(k->out.n == 1 && k->out.d[0].propensity > 0);
        ret[sure] += k->out.d[0].send && k->out.d[0].offer == 1;
        kit_time(k, &u, MONDAY + i * DAY + HOUR);
        struct outcome *o = &k->out.o[0];
        o->reward = sure ? 10 : 0;
        o->reward += o->nothing ? 0 : o->offer == 1 ? (sure ? -3 : 3) : -6;
        policy_learn(k->set, o);
        kit_forget(k);
        kit_user_free(&u);
    }
}

Test(learned, uplift_leaves_those_alone_who_buy_anyway_and_remembers_them) {
    struct kit *k = shop(METHOD_UPLIFT), *again = shop(METHOD_UPLIFT);
    int got[2] = {0};
    live_with_sure_buyers(k, 0, 4000, got);
    memset(got, 0, sizeof got);
    live_with_sure_buyers(k, 4000, 400, got);
    cr_assert(got[0] > 180 && got[1] < 20, "%d and %d of 200", got[0], got[1]);
    struct buf record = {0};
    uint64_t samples;
    cr_assert_eq(learned_encode(policy_group_learned(k->set, 1), &record, &samples), 0);
    for (size_t cut = 0; cut < record.n; cut += 97)
        cr_assert_lt(
            learned_restore(policy_group_learned(again->set, 1), 1, record.p, cut ? cut : 1), 0);
    cr_assert_eq(learned_restore(policy_group_learned(again->set, 1), 1, record.p, record.n), 0);
    memset(got, 0, sizeof got);
    live_with_sure_buyers(again, 5000, 400, got);
    cr_assert(got[0] > 180 && got[1] < 20, "restored: %d and %d of 200", got[0], got[1]);
    cr_assert_eq(learned_restore(policy_group_learned(again->set, 1), 1, NULL, 0), 0);
    buf_free(&record);
    kit_free(k);
    kit_free(again);
}

Test(learned, damaged_records_teach_nothing) {
    struct policy_records records = {0};
    struct kit *k = shop(METHOD_LINUCB);
    cr_assert_eq(policy_records_note(&records, STR("Pg\0x"), "nonsense", 8), 0);
    cr_assert_eq(policy_records_note(&records, STR("Pgone\0x"), "nonsense", 8), 0);
    cr_assert_eq(policy_records_learn(&records, k->set, STR("x")), 1);
    kit_free(k);
}

Test(learned, rules_and_networks_are_no_bandits) {
    struct learned *l = NULL;
    cr_assert_eq(learned_new(METHOD_DQN, 1, &l), -ENOTSUP);
    cr_assert_eq(learned_new(METHOD_RULES, 1, &l), -ENOTSUP);
}

/* Whatever the moment: the posterior is older than the samples, and so it has to stay. */
Test(learned, what_was_kept_goes_on_bit_by_bit) {
    static const enum policy_method methods[] = {METHOD_EGREEDY, METHOD_LINUCB, METHOD_THOMPSON,
                                                 METHOD_SQUARECB};
    for (size_t m = 0; m < ARRAY_LEN(methods); m++)
        for (int stop = 30; stop < 150; stop += 37) {
            struct kit *a = shop(methods[m]), *b = shop(methods[m]);
            struct buf kept = {0}, x = {0}, y = {0};
            struct learned *l = policy_group_learned(b->set, 1);
            live(a, 0, stop);
            cr_assert_eq(learned_keep(policy_group_learned(a->set, 1), &kept), 0);
            cr_assert_eq(learned_resume(l, kept.p, kept.n), 0);
            cr_assert_eq(learned_told(l), (uint64_t)stop);
            cr_assert_eq(live(a, stop, 80), live(b, stop, 80), "%s after %d",
                         policy_method_name(methods[m]), stop);
            cr_assert_eq(learned_keep(policy_group_learned(a->set, 1), &x), 0);
            cr_assert_eq(learned_keep(l, &y), 0);
            cr_assert(x.n == y.n && memcmp(x.p, y.p, x.n) == 0, "%s after %d",
                      policy_method_name(methods[m]), stop);
            for (size_t cut = 0; cut < kept.n; cut += 101)
                cr_assert_eq(learned_resume(l, kept.p, cut), -EBADMSG);
            buf_free(&kept);
            buf_free(&x);
            buf_free(&y);
            kit_free(a);
            kit_free(b);
        }
}
