#include "policy/ridge.h"

#include <criterion/criterion.h>
#include <math.h>

enum { D = 7, N = 60 };
#define DAY INT64_C(86400000)

static const double even[D] = {1, 1, 1, 1, 1, 1, 1}, mixed[D] = {0.1, 2.5, 2.5, 2.5, 2.5, 2.5, 2.5};

static void made(struct ridge *r, int64_t half_life_ms) {
    cr_assert_eq(ridge_init(r, D, half_life_ms, 42), 0);
}

static void sample(struct rng *rng, float *x, double *y) {
    *y = 0.3 * rng_normal(rng);
    for (int i = 0; i < D; i++) {
        x[i] = (float)rng_normal(rng);
        *y += x[i] * (i - 3.0);
    }
}

/* Gauss-Jordan with pivots on the normal equations, and the inverse beside it. */
static void plain(double a[D][D], const double *b, double *mean, double inv[D][D]) {
    double m[D][2 * D];
    for (int i = 0; i < D; i++)
        for (int j = 0; j < D; j++) {
            m[i][j] = a[i][j];
            m[i][D + j] = i == j;
        }
    for (int c = 0; c < D; c++) {
        int pivot = c;
        for (int i = c + 1; i < D; i++)
            if (fabs(m[i][c]) > fabs(m[pivot][c]))
                pivot = i;
        for (int j = 0; j < 2 * D; j++) {
            double t = m[c][j];
            m[c][j] = m[pivot][j];
            m[pivot][j] = t;
        }
        double s = 1 / m[c][c];
        for (int j = 0; j < 2 * D; j++)
            m[c][j] *= s;
        for (int i = 0; i < D; i++)
            if (i != c) {
                double f = m[i][c];
                for (int j = 0; j < 2 * D; j++)
                    m[i][j] -= f * m[c][j];
            }
    }
    for (int i = 0; i < D; i++) {
        mean[i] = 0;
        for (int j = 0; j < D; j++) {
            inv[i][j] = m[i][D + j];
            mean[i] += inv[i][j] * b[j];
        }
    }
}

Test(ridge, the_posterior_is_the_closed_form) {
    struct ridge r;
    struct ridge_fit f;
    struct rng rng;
    rng_seed(&rng, 1);
    made(&r, 0);
    cr_assert_eq(ridge_fit_init(&f, D), 0);
    double a[D][D] = {0}, b[D] = {0}, yy = 0, weights = 0, mean[D], inv[D][D], got[D * D];
    for (int i = 0; i < D; i++)
        a[i][i] = i ? 2.5 : 0.1;
    for (int n = 0; n < N; n++) {
        float x[D];
        double y, w = 0.5 + n % 3;
        sample(&rng, x, &y);
        cr_assert(ridge_add(&r, x, y, w, 0));
        yy += w * y * y;
        weights += w;
        for (int i = 0; i < D; i++) {
            b[i] += w * x[i] * y;
            for (int j = 0; j < D; j++)
                a[i][j] += w * x[i] * x[j];
        }
    }
    cr_assert_eq(ridge_solve(&r, &(struct ridge_prior){mixed, 0.7, 4}, 0, &f), 0);
    plain(a, b, mean, inv);
    ridge_inverse(&f, got);
    double residual = yy;
    for (int i = 0; i < D; i++) {
        cr_assert_float_eq(f.mean[i], mean[i], 1e-9);
        residual -= mean[i] * b[i];
        for (int j = 0; j < D; j++)
            cr_assert_float_eq(got[i * D + j], inv[i][j], 1e-9);
    }
    cr_assert_float_eq(f.n, weights, 1e-9);
    cr_assert_float_eq(f.noise, sqrt((4 * 0.49 + residual) / (4 + weights)), 1e-9);
    float x[D] = {1, -2, 3, 0, 0.5f, 1, 1};
    double m, sd, want = 0, var = 0;
    for (int i = 0; i < D; i++) {
        want += x[i] * mean[i];
        for (int j = 0; j < D; j++)
            var += x[i] * inv[i][j] * x[j];
    }
    ridge_estimate(&f, x, &m, &sd);
    cr_assert_float_eq(m, want, 1e-9);
    cr_assert_float_eq(sd, f.noise * sqrt(var), 1e-9);
    cr_assert_eq(ridge_solve(&r, &(struct ridge_prior){mixed, 0.7, INFINITY}, 0, &f), 0);
    cr_assert_eq(f.noise, 0.7, "a known noise stays");
    ridge_fit_done(&f);
    ridge_done(&r);
}

/* One column and a known noise: y ~ N(0, noise² (I + x·xᵀ / penalty)). */
Test(ridge, evidence_is_the_density_of_the_samples) {
    struct ridge r;
    struct ridge_fit f;
    cr_assert_eq(ridge_init(&r, 1, 0, 0), 0);
    cr_assert_eq(ridge_fit_init(&f, 1), 0);
    static const float x[] = {0.5f, -1, 2};
    static const double y[] = {1, -0.7, 2.5}, penalty[] = {0.3, 1, 8};
    double xx = 0, xy = 0, yy = 0, got[3], want[3];
    for (int i = 0; i < 3; i++) {
        ridge_add(&r, &x[i], y[i], 1, 0);
        xx += x[i] * x[i];
        xy += x[i] * y[i];
        yy += y[i] * y[i];
    }
    for (int i = 0; i < 3; i++) {
        struct ridge_prior p = {&penalty[i], 0.6, INFINITY};
        cr_assert_eq(ridge_solve(&r, &p, 0, &f), 0);
        got[i] = f.evidence;
        /* by the determinant lemma and Sherman-Morrison */
        want[i] = -log(1 + xx / penalty[i]) / 2 - (yy - xy * xy / (penalty[i] + xx)) / (2 * 0.36);
    }
    cr_assert_float_eq(got[1] - got[0], want[1] - want[0], 1e-9);
    cr_assert_float_eq(got[2] - got[0], want[2] - want[0], 1e-9);
    ridge_fit_done(&f);
    ridge_done(&r);
}

Test(ridge, spread_normals_have_the_covariance_of_the_last_coefficients) {
    enum { FROM = 3, DRAWS = 40000 };
    struct ridge r;
    struct ridge_fit f;
    struct rng rng;
    rng_seed(&rng, 2);
    made(&r, 0);
    cr_assert_eq(ridge_fit_init(&f, D), 0);
    for (int n = 0; n < 12; n++) {
        float x[D];
        double y;
        sample(&rng, x, &y);
        ridge_add(&r, x, y, 1, 0);
    }
    cr_assert_eq(ridge_solve(&r, &(struct ridge_prior){even, 1, 1}, 0, &f), 0);
    double inv[D * D], sum[D][D] = {0};
    ridge_inverse(&f, inv);
    for (int n = 0; n < DRAWS; n++) {
        double g[D];
        for (int i = 0; i < D; i++)
            g[i] = rng_normal(&rng);
        ridge_spread(&f, FROM, g);
        for (int i = FROM; i < D; i++)
            for (int j = FROM; j < D; j++)
                sum[i][j] += g[i] * g[j] / DRAWS;
    }
    for (int i = FROM; i < D; i++)
        for (int j = FROM; j < D; j++)
            cr_assert_float_eq(sum[i][j], inv[i * D + j], 0.03);
    ridge_fit_done(&f);
    ridge_done(&r);
}

Test(ridge, merged_parts_are_what_one_would_have_learned_from_all) {
    struct ridge one, part[3], sum;
    struct ridge_fit a, b;
    struct rng rng;
    rng_seed(&rng, 3);
    made(&one, 20 * DAY);
    made(&sum, 20 * DAY);
    for (int i = 0; i < 3; i++)
        made(&part[i], 20 * DAY);
    cr_assert_eq(ridge_fit_init(&a, D), 0);
    cr_assert_eq(ridge_fit_init(&b, D), 0);
    for (int n = 0; n < N; n++) {
        float x[D];
        double y;
        /* three epochs of 640 days, in no order */
        int64_t at = 15000 * DAY + rng_below(&rng, 1900) * DAY;
        sample(&rng, x, &y);
        ridge_add(&one, x, y, 1, at);
        ridge_add(&part[n % 3], x, y, 1, at);
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(ridge_merge(&part[i], &sum), 0);
    cr_assert_eq(ridge_solve(&one, &(struct ridge_prior){even, 1, 1}, 16900 * DAY, &a), 0);
    cr_assert_eq(ridge_solve(&sum, &(struct ridge_prior){even, 1, 1}, 16900 * DAY, &b), 0);
    cr_assert_float_eq(a.n, b.n, 1e-6);
    for (int i = 0; i < D; i++)
        cr_assert_float_eq(a.mean[i], b.mean[i], 1e-6);
    struct ridge other;
    cr_assert_eq(ridge_init(&other, D, 20 * DAY, 43), 0);
    cr_assert_eq(ridge_merge(&other, &sum), -EINVAL, "columns of another meaning");
    ridge_done(&other);
    for (int i = 0; i < 3; i++)
        ridge_done(&part[i]);
    ridge_done(&one);
    ridge_done(&sum);
    ridge_fit_done(&a);
    ridge_fit_done(&b);
}

Test(ridge, samples_lose_half_their_weight_every_half_life) {
    struct ridge r;
    struct ridge_fit f;
    made(&r, DAY);
    cr_assert_eq(ridge_fit_init(&f, D), 0);
    float x[D] = {1};
    int64_t t0 = 20000 * DAY;
    ridge_add(&r, x, 4, 1, t0);
    ridge_add(&r, x, 8, 1, t0 + DAY);
    cr_assert_eq(ridge_solve(&r, &(struct ridge_prior){even, 1, 1}, t0 + 2 * DAY, &f), 0);
    cr_assert_float_eq(f.n, 0.75, 1e-6);
    cr_assert_float_eq(f.mean[0], (0.25 * 4 + 0.5 * 8) / 1.75, 1e-6);
    /* in the next epoch of 32 half-lives the prior is all that is left */
    ridge_add(&r, x, 1, 1e-9, t0 + 40 * DAY);
    cr_assert_eq(ridge_solve(&r, &(struct ridge_prior){even, 1, 1}, t0 + 40 * DAY, &f), 0);
    cr_assert_float_eq(f.mean[0], 0, 1e-6);
    ridge_fit_done(&f);
    ridge_done(&r);
}

Test(ridge, what_is_no_number_is_not_learned) {
    struct ridge r;
    made(&r, 0);
    float x[D] = {1}, bad[D] = {1, NAN};
    cr_assert(!ridge_add(&r, bad, 1, 1, 0));
    cr_assert(!ridge_add(&r, x, INFINITY, 1, 0));
    cr_assert(!ridge_add(&r, x, 1, 0, 0));
    cr_assert(!ridge_add(&r, x, 1, NAN, 0));
    cr_assert_eq(r.n, 0);
    cr_assert_eq(r.xx[0], 0);
    ridge_done(&r);
    cr_assert_eq(ridge_init(&r, 0, 0, 0), -EINVAL);
    cr_assert_eq(ridge_init(&r, RIDGE_DIM_MAX + 1, 0, 0), -EINVAL);
}

Test(ridge, collinear_columns_of_any_size_can_be_solved) {
    struct ridge r;
    struct ridge_fit f;
    made(&r, 0);
    cr_assert_eq(ridge_fit_init(&f, D), 0);
    float x[D];
    for (int i = 0; i < D; i++)
        x[i] = 1e4f;
    for (int n = 0; n < 1000; n++)
        ridge_add(&r, x, 7, 1, 0);
    int rc = ridge_solve(&r, &(struct ridge_prior){even, 1, 1}, 0, &f);
    double m, sd;
    cr_assert_eq(rc, 0);
    ridge_estimate(&f, x, &m, &sd);
    cr_assert_float_eq(m, 7, 1e-3);
    cr_assert(isfinite(sd));
    ridge_fit_done(&f);
    ridge_done(&r);
}

Test(ridge, records_bring_back_every_bit_and_damage_is_refused) {
    struct ridge r, back;
    struct rng rng;
    rng_seed(&rng, 4);
    made(&r, DAY);
    made(&back, DAY);
    for (int n = 0; n < N; n++) {
        float x[D];
        double y;
        sample(&rng, x, &y);
        ridge_add(&r, x, y, 1, 20000 * DAY + n * DAY);
    }
    struct buf b = {0};
    size_t used;
    cr_assert_eq(ridge_encode(&r, &b), 0);
    cr_assert_eq(ridge_restore(&back, b.p, b.n, &used), 0);
    cr_assert_eq(used, b.n);
    cr_assert_eq(back.epoch, r.epoch);
    cr_assert_eq(memcmp(back.xy, r.xy, (D + D * (D + 1) / 2) * sizeof *r.xy), 0);
    cr_assert(back.n == r.n && back.yy == r.yy);
    ridge_clear(&back);
    for (size_t i = 0; i < b.n; i++) {
        cr_assert_eq(ridge_restore(&back, b.p, i, &used), -EBADMSG);
        b.p[i] ^= 4;
        cr_assert_eq(ridge_restore(&back, b.p, b.n, &used), -EBADMSG);
        b.p[i] ^= 4;
    }
    cr_assert_eq(back.n, 0, "a refused record changes nothing");
    struct ridge other;
    cr_assert_eq(ridge_init(&other, D, 2 * DAY, 42), 0);
    cr_assert_eq(ridge_restore(&other, b.p, b.n, &used), -EBADMSG, "another half-life");
    ridge_done(&other);
    ridge_done(&r);
    ridge_done(&back);
    buf_free(&b);
}
