#include "model/sgd.h"
#include "tests/support/people.h"

#include <criterion/criterion.h>

Test(model, refuses_a_configuration_that_cannot_be) {
    struct model_config c;
    struct model *m = NULL;
    model_config_default(&c);
    c.dim = 12;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    model_config_default(&c);
    c.top_n = TOP_MAX + 1;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    model_config_default(&c);
    c.learning_rate = NAN;
    cr_assert_eq(model_new(&c, &m), -EINVAL);
    cr_assert_null(m);
}
