#include "policy/linear.h"

#include <criterion/criterion.h>
#include <math.h>

/* Six rows of an intercept and two features, zeros left out. */
static const size_t START[] = {0, 2, 5, 7, 10, 13, 16};
static const uint32_t INDEX[] = {0, 1, 0, 1, 2, 0, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2};
static const float VALUE[] = {1, .5f, 1, -1, 2, 1, 1, 1, 2, -1, 1, 1.5f, .5f, 1, -.5f, -2};
static const double WEIGHT[] = {1, 2, 1, 1, .5, 1};
static const struct sparse X = {6, 3, START, INDEX, VALUE};

/* numpy: solve(X'WX + P, X'Wy), P = diag(0, .7, .7) */
Test(linear, fits_ridge_as_the_normal_equations_do) {
    double b[3] = {5, -5, 5};
    cr_assert_eq(linear_fit(&X, (double[]){3, 0, 0, 3, 0, 3}, WEIGHT, LINK_IDENTITY, .7, b), 0);
    cr_assert_float_eq(b[0], 1.65620891, 1e-7);
    cr_assert_float_eq(b[1], .11443094, 1e-7);
    cr_assert_float_eq(b[2], -.82274718, 1e-7);
}

/* numpy: a hundred exact Newton steps from 0 */
Test(linear, fits_logistic_regression_to_its_optimum) {
    double b[3] = {0};
    cr_assert_eq(linear_fit(&X, (double[]){1, 0, 0, 1, 0, 1}, WEIGHT, LINK_LOGIT, .7, b), 0);
    cr_assert_float_eq(b[0], .16026353, 1e-6);
    cr_assert_float_eq(b[1], .27126963, 1e-6);
    cr_assert_float_eq(b[2], -1.27470842, 1e-6);
    double s = linear_score(b, INDEX, VALUE, 2);
    cr_assert_float_eq(linear_mean(LINK_LOGIT, s), 1 / (1 + exp(-(b[0] + .5 * b[1]))), 1e-12);
}

Test(linear, leaves_the_intercept_unpenalised) {
    double b[3] = {0};
    cr_assert_eq(linear_fit(&X, (double[]){7, 7, 7, 7, 7, 7}, NULL, LINK_IDENTITY, 1e6, b), 0);
    cr_assert_float_eq(b[0], 7, 1e-6);
    cr_assert_float_eq(b[1], 0, 1e-6);
}

Test(linear, comes_to_an_end_where_classes_are_separable) {
    double b[3] = {0};
    cr_assert_eq(linear_fit(&X, (double[]){1, 1, 1, 1, 1, 1}, NULL, LINK_LOGIT, 1e-9, b), 0);
    cr_assert(isfinite(b[0]) && b[0] > 10);
}

Test(linear, refuses_what_has_no_answer) {
    double b[3] = {0}, y[6] = {0}, bad[6] = {NAN};
    struct sparse none = X, wide = X;
    none.n = 0;
    wide.dim = 2;
    cr_assert_eq(linear_fit(&none, y, NULL, LINK_IDENTITY, 1, b), -EINVAL);
    cr_assert_eq(linear_fit(&wide, y, NULL, LINK_IDENTITY, 1, b), -EINVAL);
    cr_assert_eq(linear_fit(&X, y, NULL, LINK_IDENTITY, 0, b), -EINVAL);
    cr_assert_eq(linear_fit(&X, bad, NULL, LINK_IDENTITY, 1, b), -EINVAL);
    cr_assert_eq(linear_fit(&X, y, bad, LINK_IDENTITY, 1, b), -EINVAL);
}
