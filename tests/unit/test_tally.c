#include "consumer/tally.h"

#include <criterion/criterion.h>
#include <stdio.h>

static const char *value(struct tally *t, const char *key) {
    const char *v = tally_get(t, key);
    return v ? v : "(none)";
}

Test(tally, counts_add_up_and_of_times_the_largest_stays) {
    static const char *const two[2][6][2] = {
        {{"events", "10"},
         {"lag", "3"},
         {"items", "40"},
         {"uptime_s", "9"},
         {"commit_ms_p99", "2.5"},
         {"dead:empty", "1"}},
        {{"lag", "0"},
         {"events", "5000000000"},
         {"items", "39"},
         {"uptime_s", "100"},
         {"commit_ms_p99", "10.1"},
         {"suppressed:cap", "7"}},
    };
    struct tally t = {0};
    for (size_t p = 0; p < 2; p++)
        for (size_t i = 0; i < 6; i++)
            tally_merge(&t, two[p][i][0], two[p][i][1]);
    cr_assert_eq(t.n, 7);
    cr_assert_str_eq(value(&t, "events"), "5000000010");
    cr_assert_str_eq(value(&t, "lag"), "3");
    cr_assert_str_eq(value(&t, "items"), "40");
    cr_assert_str_eq(value(&t, "uptime_s"), "100");
    cr_assert_str_eq(value(&t, "commit_ms_p99"), "10.1");
    cr_assert_str_eq(value(&t, "dead:empty"), "1");
    cr_assert_str_eq(value(&t, "suppressed:cap"), "7");
    tally_free(&t);
}

Test(tally, holds_as_many_names_as_there_are) {
    struct tally t = {0};
    char key[32], want[32];
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < 500; i++) {
            snprintf(key, sizeof key, "campaign:sent:c%d", i);
            snprintf(want, sizeof want, "%d", i);
            tally_merge(&t, key, want);
        }
    cr_assert_eq(t.n, 500);
    for (int i = 499; i >= 0; i--) {
        snprintf(key, sizeof key, "campaign:sent:c%d", i);
        snprintf(want, sizeof want, "%d", 3 * i);
        cr_assert_str_eq(value(&t, key), want);
    }
    tally_clear(&t);
    cr_assert_null(tally_get(&t, key));
    tally_free(&t);
}

Test(tally, money_adds_up_to_two_places) {
    struct tally t = {0};
    tally_merge(&t, "reward", "10.25");
    tally_merge(&t, "reward", "-3.50");
    tally_merge(&t, "cost", "2");
    tally_merge(&t, "cost", "0.05");
    cr_assert_str_eq(value(&t, "reward"), "6.75");
    cr_assert_str_eq(value(&t, "cost"), "2.05");
    tally_free(&t);
}
