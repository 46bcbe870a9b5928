#include "model/base.h"

#include <criterion/criterion.h>
#include <math.h>

Test(str, orders_by_bytes_then_length) {
    cr_assert(str_cmp(STR("a"), STR("b")) < 0);
    cr_assert(str_cmp(STR("a"), STR("ab")) < 0);
    cr_assert(str_cmp(STR("b"), STR("ab")) > 0);
    cr_assert(str_cmp(STR("ab"), STR("ab")) == 0);
    cr_assert(str_cmp((struct str){0}, STR("")) == 0);
}

Test(rng, same_seed_same_numbers) {
    struct rng a, b;
    rng_seed(&a, 7);
    rng_seed(&b, 7);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(rng_u64(&a), rng_u64(&b));
}

Test(rng, below_is_uniform) {
    struct rng r;
    rng_seed(&r, 1);
    int seen[7] = {0};
    for (int i = 0; i < 70000; i++)
        seen[rng_below(&r, 7)]++;
    for (int i = 0; i < 7; i++)
        cr_assert(seen[i] > 9500 && seen[i] < 10500, "%d drawn %d times", i, seen[i]);
}

Test(rng, normal_has_mean_0_and_variance_1) {
    struct rng r;
    rng_seed(&r, 3);
    double sum = 0, sq = 0;
    const int n = 100000;
    for (int i = 0; i < n; i++) {
        double x = rng_normal(&r);
        sum += x;
        sq += x * x;
    }
    cr_assert(fabs(sum / n) < 0.02 && fabs(sq / n - 1) < 0.03);
}

Test(buf, grows_and_keeps_its_bytes) {
    struct buf b = {0};
    for (int i = 0; i < 10000; i++)
        buf_put(&b, "xyz", 3);
    cr_assert(!b.failed && b.n == 30000 && memcmp(b.p + 29997, "xyz", 3) == 0);
    buf_free(&b);
    cr_assert_null(b.p);
}
