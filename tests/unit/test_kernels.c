#include "model/kernels.h"

#include <criterion/criterion.h>
#include <math.h>

enum { MAX_N = 211, MAX_ROWS = 9 };

static void fill(struct rng *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(r);
}

static void same(const float *a, const float *b, size_t n, const char *what, const char *table) {
    for (size_t i = 0; i < n; i++)
        cr_assert(a[i] == b[i], "%s of %s: element %zu of %zu is %a, reference %a", what, table, i,
                  n, a[i], b[i]);
}

Test(kernels, every_table_gives_the_bits_of_the_reference) {
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 1);
    static float m[MAX_ROWS * MAX_N], x[MAX_N + 3], y[MAX_N + 3], rows[MAX_ROWS],
        a[MAX_ROWS * MAX_N], b[MAX_ROWS * MAX_N];
    for (int round = 0; round < 2000; round++) {
        size_t n = round < MAX_N ? (size_t)round : rng_below(&r, MAX_N + 1);
        size_t n_rows = rng_below(&r, MAX_ROWS + 1), off = rng_below(&r, 4);
        float s = (float)rng_normal(&r);
        fill(&r, m, MAX_ROWS * MAX_N);
        fill(&r, x, MAX_N + 3);
        fill(&r, y, MAX_N + 3);
        fill(&r, rows, MAX_ROWS);
        for (size_t t = 1; t < tables; t++) {
            const struct kernels *k = all[t], *c = all[0];
            float d0 = c->dot(n, x + off, y), d1 = k->dot(n, x + off, y);
            same(&d1, &d0, 1, "dot", k->name);
            memcpy(a, y, sizeof y);
            memcpy(b, y, sizeof y);
            c->axpy(n, s, x + off, a);
            k->axpy(n, s, x + off, b);
            same(b, a, MAX_N + 3, "axpy", k->name);
            memcpy(a, y, sizeof y);
            memcpy(b, y, sizeof y);
            c->axpby(n, s, x + off, 0.3f, a);
            k->axpby(n, s, x + off, 0.3f, b);
            same(b, a, MAX_N + 3, "axpby", k->name);
            c->matvec(n_rows, n, m, x, a);
            k->matvec(n_rows, n, m, x, b);
            same(b, a, n_rows, "matvec", k->name);
            memcpy(a, y, sizeof y);
            memcpy(b, y, sizeof y);
            c->matvec_t(n_rows, n, m, rows, a);
            k->matvec_t(n_rows, n, m, rows, b);
            same(b, a, MAX_N + 3, "matvec_t", k->name);
            memcpy(a, m, sizeof m);
            memcpy(b, m, sizeof m);
            c->rank1(n_rows, n, s, rows, x, 0.99f, a);
            k->rank1(n_rows, n, s, rows, x, 0.99f, b);
            same(b, a, MAX_ROWS * MAX_N, "rank1", k->name);
        }
    }
}

Test(kernels, every_table_finds_the_same_highest_rows) {
    enum { M = 19, N = 80 };
    static const float odd[] = {0, NAN, -1, 1, 1, INFINITY, -INFINITY};
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 7);
    static float c[M * N];
    uint32_t want[N], got[N];
    for (int round = 0; round < 500; round++) {
        size_t m = round % 4 ? rng_below(&r, M + 1) : 1, n = 16 * rng_below(&r, N / 16 + 1);
        fill(&r, c, M * N);
        for (size_t i = 0; round % 2 && i < M * N; i++)
            c[i] = odd[rng_below(&r, ARRAY_LEN(odd))];
        for (size_t t = 0; t < tables; t++) {
            all[t]->highest(m, n, c, t ? got : want);
            cr_assert(!t || memcmp(got, want, n * sizeof *got) == 0, "%s", all[t]->name);
        }
        for (size_t j = 0; j < n; j++) {
            float most = want[j] ? c[(want[j] - 1) * n + j] : 0;
            for (size_t i = 0; i < m; i++)
                cr_assert(!(c[i * n + j] > most) && (i + 1 >= want[j] || c[i * n + j] != most));
        }
    }
}

Test(kernels, every_product_of_matrices_has_the_bits_of_the_reference) {
    enum { M = 21, N = 176, K = 40 };
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 4);
    static float a[M * K], b[K * N], start[M * N], want[M * N], got[M * N];
    for (int round = 0; round < 1000; round++) {
        size_t m = round % 4 ? rng_below(&r, M + 1) : 1, n = 16 * rng_below(&r, N / 16 + 1),
               k = rng_below(&r, K + 1);
        bool turned = rng_below(&r, 2) == 0;
        fill(&r, a, M * K);
        fill(&r, b, K * N);
        fill(&r, start, M * N);
        for (size_t t = 0; t < tables; t++) {
            float *c = t ? got : want;
            memcpy(c, start, sizeof start);
            all[t]->matmul(m, n, k, a, turned ? 1 : K, turned ? M : 1, b, N, c, N);
            same(c, want, M * N, "matmul", all[t]->name);
        }
        for (size_t i = 0; i < M; i++)
            for (size_t j = 0; j < N; j++) {
                double sum = start[i * N + j];
                for (size_t p = 0; i < m && j < n && p < k; p++)
                    sum += (double)a[turned ? i + p * M : i * K + p] * b[p * N + j];
                cr_assert_float_eq(want[i * N + j], sum, 1e-4);
            }
    }
}

Test(kernels, every_table_gives_forms_the_bits_of_the_reference) {
    enum { ROWS = 11, OWN = 24, LD = 32, STARTS = 5 };
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 6);
    float x[ROWS * OWN], m[OWN * LD], b[STARTS * LD], start[ROWS], want[ROWS], got[ROWS];
    uint16_t which[ROWS];
    for (int round = 0; round < 500; round++) {
        size_t rows = rng_below(&r, ROWS + 1), n = rng_below(&r, 17), k = rng_below(&r, OWN + 1),
               at = rng_below(&r, (uint32_t)(OWN - n) + 1);
        fill(&r, x, ROWS * OWN);
        fill(&r, m, OWN * LD);
        fill(&r, b, STARTS * LD);
        fill(&r, start, ROWS);
        for (size_t i = 0; i < ROWS; i++)
            which[i] = (uint16_t)rng_below(&r, STARTS);
        for (size_t t = 0; t < tables; t++) {
            float *to = t ? got : want;
            memcpy(to, start, sizeof start);
            all[t]->forms(rows, n, k, x, OWN, at, m, LD, b, LD, which, to);
            same(to, want, ROWS, "forms", all[t]->name);
        }
        for (size_t i = 0; i < rows; i++) {
            double sum = start[i];
            for (size_t j = 0; j < n; j++) {
                double inner = b[which[i] * LD + j];
                for (size_t p = 0; p < k; p++)
                    inner += (double)x[i * OWN + p] * m[p * LD + j];
                sum += (double)x[i * OWN + at + j] * inner;
            }
            cr_assert_float_eq(want[i], sum, 1e-3);
        }
    }
}

Test(kernels, dot_is_near_the_double_precision_sum) {
    struct rng r;
    rng_seed(&r, 2);
    float x[512], y[512];
    for (int round = 0; round < 200; round++) {
        fill(&r, x, 512);
        fill(&r, y, 512);
        double want = 0, size = 0;
        for (size_t i = 0; i < 512; i++) {
            want += (double)x[i] * y[i];
            size += fabs((double)x[i] * y[i]);
        }
        cr_assert_float_eq(kernels_best()->dot(512, x, y), want, size * 512 * 0x1p-24);
    }
}

Test(kernels, select_finds_exactly_those_at_or_above_and_can_go_on) {
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 3);
    float score[300], base[300];
    uint32_t got[300];
    for (int round = 0; round < 3000; round++) {
        size_t n = rng_below(&r, 301), max = 1 + rng_below(&r, 40);
        float least = (float)rng_normal(&r);
        fill(&r, score, 300);
        fill(&r, base, 300);
        for (size_t i = 0; i < n; i++) {
            if (rng_below(&r, 10) == 0)
                base[i] = -INFINITY;
            if (rng_below(&r, 20) == 0)
                score[i] = NAN;
            if (rng_below(&r, 10) == 0)
                score[i] = least, base[i] = 0;
        }
        for (size_t t = 0; t < tables; t++) {
            size_t k = 0;
            for (size_t at = 0; at < n;) {
                size_t next = 0;
                size_t more = all[t]->select(n - at, score + at, base + at, least, got, max, &next);
                cr_assert(more <= max && (next > 0 || n == at));
                for (size_t j = 0; j < more; j++) {
                    while (!(score[k] + base[k] >= least))
                        k++;
                    cr_assert_eq(got[j] + at, k, "%s chose %zu instead of %zu", all[t]->name,
                                 got[j] + at, k);
                    k++;
                }
                at += next;
            }
            for (; k < n; k++)
                cr_assert(!(score[k] + base[k] >= least), "%s left out %zu", all[t]->name, k);
        }
    }
}
