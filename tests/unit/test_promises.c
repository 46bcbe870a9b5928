/* The long run of tests/support/promises.h, for a while: a promise that is broken aborts. */
#include "tests/support/promises.h"

#include <criterion/criterion.h>

Test(promises, hold_under_any_order_of_events_restarts_replays_and_moves, .timeout = 100) {
    uint64_t met[PR_COUNT] = {0}, crashes = 0, moves = 0;
    for (uint64_t seed = 1; seed <= 3; seed++) {
        struct promises *p = promises_new(seed);
        for (int i = 0; i < 20000; i++)
            promises_step(p);
        promises_end(p);
        for (int r = 0; r < PR_COUNT; r++)
            met[r] += p->by_reason[r];
        crashes += p->crashes;
        moves += p->moves;
        promises_free(p);
    }
    const enum policy_reason wanted[] = {
        PR_SENT,     PR_NO_CONSENT,  PR_SENSITIVE,    PR_HOLDOUT,    PR_CAMPAIGN_HOLDOUT,
        PR_CAP_USER, PR_CAP_CHANNEL, PR_CAP_CAMPAIGN, PR_QUIET,      PR_POSTPONED,
        PR_BUDGET,   PR_POLICY,      PR_NOT_BEST,     PR_EXPERIMENT,
    };
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++)
        cr_assert_gt(met[wanted[i]], 0, "never met %s", policy_reason_name(wanted[i]));
    cr_assert(crashes > 20 && moves > 20);
}
