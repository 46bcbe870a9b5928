#include "consumer/positive.h"

#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <math.h>

static struct config *defaults(void) {
    struct config *c = NULL;
    cr_assert_eq(config_load(NULL, NULL, 0, &c), 0);
    return c;
}

Test(positive, without_a_word_every_type_with_a_weight_counts) {
    autofree(config_free) struct config *c = defaults();
    struct positive p;
    cr_assert_eq(positive_parse(c, "", &p), 0);
    cr_assert(positive_match(c, &p, EV_VIEW, NAN));
    cr_assert(!positive_match(c, &p, EV_IMPRESSION, NAN));
    cr_assert(isnan(positive_least(&p, EV_RATING)));
}

Test(positive, compares_values_and_joins_types) {
    autofree(config_free) struct config *c = defaults();
    struct positive p;
    cr_assert_eq(positive_parse(c, "rating>=4 | purchase|view < 2", &p), 0);
    cr_assert(positive_match(c, &p, EV_RATING, 4) && !positive_match(c, &p, EV_RATING, 3.9));
    cr_assert(!positive_match(c, &p, EV_RATING, NAN));
    cr_assert(positive_match(c, &p, EV_PURCHASE, NAN));
    cr_assert(positive_match(c, &p, EV_VIEW, 1) && !positive_match(c, &p, EV_VIEW, 2));
    cr_assert(!positive_match(c, &p, EV_CLICK, 1));
    cr_assert_eq(positive_parse(c, "rating=3|rating>4|rating<=1", &p), 0);
    cr_assert(positive_match(c, &p, EV_RATING, 3) && positive_match(c, &p, EV_RATING, 4.5));
    cr_assert(positive_match(c, &p, EV_RATING, 1) && !positive_match(c, &p, EV_RATING, 4));
}

Test(positive, tells_the_least_value_asked_for) {
    autofree(config_free) struct config *c = defaults();
    struct positive p;
    cr_assert_eq(positive_parse(c, "rating>=5", &p), 0);
    cr_assert_eq(positive_least(&p, EV_RATING), 5);
    cr_assert(isnan(positive_least(&p, EV_VIEW)));
    cr_assert_eq(positive_parse(c, "rating>3|rating=4", &p), 0);
    double least = positive_least(&p, EV_RATING);
    cr_assert(least > 3 && least < 3.001);
}

Test(positive, refuses_what_it_does_not_understand, .init = cr_redirect_stderr) {
    autofree(config_free) struct config *c = defaults();
    struct positive p;
    static const char *const bad[] = {"nothing", "rating>",     "rating>=x",  "rating=>4",
                                      ">=4",     "view||click", "rating>=4=", "rating<>4"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(positive_parse(c, bad[i], &p), -EINVAL, "%s", bad[i]);
    char many[256] = "view";
    for (int i = 0; i < POSITIVE_TERMS; i++)
        strcat(many, "|view");
    cr_assert_eq(positive_parse(c, many, &p), -EINVAL);
}
