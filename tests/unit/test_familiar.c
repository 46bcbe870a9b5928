#include "policy/familiar.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct familiar_config config = {.states = 3, .features = 128, .reach = 2, .seed = 9};

static struct familiar *made(const struct familiar_config *c) {
    struct familiar *f = NULL;
    cr_assert_eq(familiar_new(c, &f), 0);
    return f;
}

Test(familiar, counts_visits_of_one_state) {
    autofree(familiar_free) struct familiar *f = made(&config);
    float here[] = {0.5f, -1, 2}, far[] = {5, 4, -3};
    cr_assert_float_eq(familiar_count(f, here), 0, 1e-5);
    for (int n = 1; n <= 200; n++) {
        cr_assert(familiar_add(f, here, 0));
        if (n == 1 || n == 7 || n == 200) {
            cr_assert_eq(familiar_refresh(f, 0), 0);
            cr_assert_float_eq(familiar_count(f, here), n, 1e-3 * n);
        }
    }
    cr_assert_lt(familiar_count(f, far), 0.1);
}

Test(familiar, neighbours_count_less_the_further_they_are) {
    autofree(familiar_free) struct familiar *f = made(&config);
    float here[] = {0, 0, 0};
    for (int n = 0; n < 50; n++)
        familiar_add(f, here, 0);
    cr_assert_eq(familiar_refresh(f, 0), 0);
    double before = 51;
    for (float x = 0; x <= 3; x += 0.5f) {
        double n = familiar_count(f, (float[]){x, 0, 0});
        cr_assert_lt(n, before);
        before = n;
    }
    cr_assert_lt(before, 0.5);
}

/* A cloud on a ring: its middle is as near to the mean as can be, and yet nobody was there. */
Test(familiar, the_middle_of_a_ring_is_unfamiliar) {
    struct familiar_config c = {.states = 2, .features = 128, .reach = 1.5f, .seed = 1};
    autofree(familiar_free) struct familiar *f = made(&c);
    struct rng r;
    rng_seed(&r, 1);
    for (int n = 0; n < 3000; n++) {
        float a = (float)(2 * M_PI * rng_unit(&r));
        familiar_add(f, (float[]){2 * cosf(a), 2 * sinf(a)}, 0);
    }
    cr_assert_eq(familiar_refresh(f, 0), 0);
    cr_assert_gt(familiar_count(f, (float[]){0, 2}), 30);
    cr_assert_lt(familiar_count(f, (float[]){0, 0}), 5);
    cr_assert_lt(familiar_count(f, (float[]){4, 4}), 5);
}

Test(familiar, what_is_no_number_is_neither_added_nor_familiar) {
    autofree(familiar_free) struct familiar *f = made(&config);
    float bad[] = {1, NAN, 1};
    cr_assert(!familiar_add(f, bad, 0));
    cr_assert_eq(familiar_refresh(f, 0), 0);
    cr_assert_eq(familiar_count(f, bad), 0);
    struct familiar *none = NULL;
    struct familiar_config odd = config;
    odd.features = 7;
    cr_assert_eq(familiar_new(&odd, &none), -EINVAL);
}
