/* Nanoseconds of each kernel of each table, in cache, at the widths that matter. */
#include "model/kernels.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { WIDTH = 512, ROWS = 64, SCAN = 512, DEEP = 32 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static _Alignas(64) float m[ROWS * WIDTH], x[WIDTH], y[WIDTH], base[SCAN], product[ROWS * WIDTH];
static volatile float sink;

#define BENCH(what, floats, call)                                                                  \
    do {                                                                                           \
        int rounds = 2000000 / (int)(floats) + 1;                                                  \
        double ns = now_ns();                                                                      \
        for (int i = 0; i < rounds * 8; i++) {                                                     \
            call;                                                                                  \
            __asm__ volatile("" ::: "memory");                                                     \
        }                                                                                          \
        ns = (now_ns() - ns) / (rounds * 8);                                                       \
        printf("%-8s %-9s %4zu %9.1f ns %7.1f GB/s\n", k->name, what, n, ns,                       \
               (double)(floats) * sizeof(float) / ns);                                             \
    } while (0)

int main(void) {
    const struct kernels *all[3];
    size_t tables = kernels_all(all);
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < ROWS * WIDTH; i++)
        m[i] = (float)rng_normal(&r) * 1e-3f;
    for (size_t i = 0; i < WIDTH; i++)
        x[i] = (float)rng_normal(&r) * 1e-3f;
    for (size_t i = 0; i < SCAN; i++)
        base[i] = -1;
    const size_t widths[] = {32, 64, 128, 512};
    uint32_t hits[64];
    for (size_t t = 0; t < tables; t++) {
        const struct kernels *k = all[t];
        for (size_t w = 0; w < ARRAY_LEN(widths); w++) {
            size_t n = widths[w];
            BENCH("dot", 2 * n, sink = k->dot(n, x, y));
            BENCH("axpy", 3 * n, k->axpy(n, 1e-6f, x, y));
            BENCH("axpby", 3 * n, k->axpby(n, 1e-6f, x, 0.999f, y));
            BENCH("matvec", ROWS * n, k->matvec(ROWS, n, m, x, y));
            BENCH("matvec_t", ROWS * n, k->matvec_t(ROWS, n, m, x, y));
            BENCH("matmul", DEEP * n, k->matmul(ROWS, n, DEEP, m, DEEP, 1, m, n, product, n));
            BENCH("rank1", 2 * ROWS * n, k->rank1(ROWS, n, 1e-6f, x, x, 0.999f, m));
        }
        size_t n = SCAN, next;
        BENCH("select", 2 * n, sink = (float)k->select(n, m, base, 1, hits, 64, &next));
    }
    return 0;
}
