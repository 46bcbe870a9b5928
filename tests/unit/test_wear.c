#include "policy/wear.h"

#include <criterion/criterion.h>
#include <math.h>

#define DAY INT64_C(86400000)

static float random_unit(struct rng *r) {
    return (float)rng_unit(r);
}

/* Who gets many messages buys more anyway; each message takes 0.5 off, twice that of an offer. */
static struct wear_sample decision(struct rng *r, double habit, bool offered) {
    struct wear_sample s = {.messages = (float)habit + 2 * random_unit(r), .value = 1};
    s.column[0] = 0.5f;
    s.column[WEAR_SHARED] = offered ? 0.5f : 0;
    s.rest = 3 * habit - (offered ? 1.0 : 0.5) * (double)s.messages + rng_normal(r);
    return s;
}

static void teach(struct wear *w, int n) {
    struct rng r;
    rng_seed(&r, 5);
    for (int i = 0; i < n; i++) {
        double habit = 4 * rng_unit(&r);
        struct wear_sample before = decision(&r, habit, i % 2), next = decision(&r, habit, i % 3);
        wear_learn(w, &before, &next, i);
    }
    cr_assert_eq(wear_refresh(w, n), 0);
}

Test(wear, what_is_a_customers_own_drops_out) {
    struct wear w;
    cr_assert_eq(wear_init(&w), 0);
    float shared[WEAR_COLUMNS] = {0.5f}, offer[WEAR_COLUMNS] = {0.5f};
    offer[WEAR_SHARED] = 0.5f;
    cr_assert_eq(wear_loss(&w, offer), 0, "nothing is known yet");
    teach(&w, 40000);
    cr_assert_float_eq(wear_loss(&w, shared), 0.5, 0.05);
    cr_assert_float_eq(wear_loss(&w, offer), 1, 0.1);
    wear_done(&w);
}

Test(wear, little_is_taken_for_a_loss_while_little_is_known) {
    struct wear w;
    cr_assert_eq(wear_init(&w), 0);
    teach(&w, 30);
    double loss = wear_loss(&w, (float[WEAR_COLUMNS]){0.5f});
    cr_assert(fabs(loss) < 0.2, "%g", loss);
    wear_done(&w);
}

Test(wear, what_is_no_number_teaches_nothing) {
    struct wear w;
    cr_assert_eq(wear_init(&w), 0);
    struct wear_sample good = {.messages = 1, .column = {0.5f}, .value = 1}, bad = good;
    bad.rest = NAN;
    wear_learn(&w, &good, &bad, 0);
    wear_learn(&w, &bad, &good, 0);
    cr_assert_eq(w.sums.n, 0);
    wear_done(&w);
}

Test(wear, comes_back_from_its_record) {
    struct wear w, again;
    struct buf b = {0};
    size_t used;
    cr_assert(wear_init(&w) == 0 && wear_init(&again) == 0);
    teach(&w, 2000);
    cr_assert_eq(wear_encode(&w, &b), 0);
    cr_assert_eq(wear_restore(&again, b.p, b.n, DAY, &used), 0);
    cr_assert_eq(used, b.n);
    float column[WEAR_COLUMNS] = {0.5f, 0.1f, 0.2f, 0.3f};
    cr_assert_eq(wear_loss(&again, column), wear_loss(&w, column));
    cr_assert_eq(wear_restore(&again, b.p, b.n - 1, DAY, &used), -EBADMSG);
    buf_free(&b);
    wear_done(&w);
    wear_done(&again);
}
