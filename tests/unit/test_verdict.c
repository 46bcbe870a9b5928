#include "policy/verdict.h"

#include <criterion/criterion.h>
#include <math.h>

#define DAY INT64_C(86400000)

/* Users come every day; a coin decides whether something is done, as the policy in charge always
 * would and the challenger never, that earns 1 at once and costs `later` the next time. */
static struct verdict_result judge(double later, uint32_t room) {
    struct verdict_config c = {.horizon_ms = 20 * DAY, .room = room, .least = 500};
    autofree(verdict_free) struct verdict *v = NULL;
    struct verdict_result got;
    struct rng r;
    bool did[200] = {0};
    rng_seed(&r, 3);
    cr_assert_eq(verdict_new(&c, &v), 0);
    cr_assert_eq(verdict_judge(v, &got), -ENODATA);
    for (int64_t day = 0; day < 60; day++)
        for (uint64_t user = 0; user < ARRAY_LEN(did); user++) {
            bool does = rng_below(&r, 2) == 0;
            verdict_note(v, &(struct verdict_case){
                                .user = user,
                                .trigger = 1 + user * 1000 + (uint64_t)day,
                                .before = day ? user * 1000 + (uint64_t)day : 0,
                                .at_ms = day * DAY,
                                .gain = 7 + does - later * did[user] + 0.5 * rng_normal(&r),
                                .usual = 7 + 0.1 * rng_normal(&r),
                                .weight = does ? 0 : 2,
                            });
            did[user] = does;
        }
    cr_assert_eq(verdict_judge(v, &got), 0);
    return got;
}

Test(verdict, what_comes_later_counts) {
    struct verdict_result good = judge(0, 1 << 15), costly = judge(3, 1 << 15);
    /* each decision earns 1 that the challenger would forgo */
    cr_assert(fabs(good.advantage + 1) < 4 * good.se && good.se < 0.2, "%g ± %g", good.advantage,
              good.se);
    /* 1 - 3 · 10^(-1/20) = -1.67 by each that it would not do */
    cr_assert(fabs(costly.advantage - 1.67) < 4 * costly.se && costly.se < 0.3, "%g ± %g",
              costly.advantage, costly.se);
    cr_assert_eq(good.warnings, 0u);
    cr_assert_eq(good.n, 200u * 50); /* the last ten days are too young */
    cr_assert_eq(good.contested, good.n);
}

Test(verdict, of_too_many_decisions_those_of_some_users_are_kept_whole) {
    struct verdict_result few = judge(3, 4096);
    cr_assert(few.n >= 500 && few.n < 4096, "%zu", few.n);
    cr_assert(fabs(few.advantage - 1.67) < 4 * few.se, "%g ± %g", few.advantage, few.se);
}

Test(verdict, where_both_do_the_same_there_is_none) {
    struct verdict_config c = {.horizon_ms = 20 * DAY, .room = 4096, .least = 500};
    autofree(verdict_free) struct verdict *v = NULL;
    struct verdict_result got;
    cr_assert_eq(verdict_new(&c, &v), 0);
    for (uint64_t i = 1; i <= 4000; i++)
        verdict_note(v, &(struct verdict_case){.user = i,
                                               .trigger = i,
                                               .at_ms = (int64_t)i * DAY,
                                               .gain = 1,
                                               .weight = i % 10   ? 1
                                                         : i % 20 ? 0
                                                                  : 2});
    cr_assert_eq(verdict_judge(v, &got), -ENODATA);
    cr_assert(got.n > 3900 && got.contested < 500 && isnan(got.advantage));
}
