#include "consumer/why.h"

#include <criterion/criterion.h>

Test(why, words_are_read_as_they_were_written) {
    struct list l = {.n = 3,
                     .e = {{.because = BECAUSE_SIMILAR},
                           {.because = BECAUSE_EXPLORED, .propensity = 0.0125f},
                           {.because = BECAUSE_TREND}}};
    struct buf b = {0};
    why_write(&b, &l);
    struct str text = {(const char *)b.p, b.n}, reason;
    cr_assert(str_eq(text, STR("similar explored=0.0125 trend")));
    static const char *const want[] = {"similar", "explored", "trend"};
    double propensity;
    for (int i = 0; i < 3; i++) {
        cr_assert(why_next(&text, &reason, &propensity));
        cr_assert(str_eq(reason, str_of(want[i])), "%s", want[i]);
        cr_assert_float_eq(propensity, i == 1 ? 0.0125 : 0, 1e-9);
    }
    cr_assert_not(why_next(&text, &reason, &propensity));
    buf_free(&b);
}

Test(why, every_reason_has_a_meaning_and_others_have_none) {
    for (int i = 0; i < BECAUSE_COUNT; i++)
        cr_assert_neq(*why_meaning(str_of(list_reason_name((enum list_reason)i))), 0);
    cr_assert_eq(*why_meaning(STR("whim")), 0);
}

Test(why, what_somebody_else_wrote_does_no_harm) {
    struct str text = STR("  =x explored="
                          "111111111111111111111111111111111111111"),
               reason;
    double propensity;
    size_t n = 0;
    while (why_next(&text, &reason, &propensity))
        n++;
    cr_assert_eq(n, 4);
    cr_assert_eq(text.n, 0);
}
