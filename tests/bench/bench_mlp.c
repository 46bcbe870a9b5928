/* What a network costs: rows ranked, learned from, and one row alone. */
#include "model/mlp.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { ROWS_MAX = 300, IN_MAX = 128, REPEATS = 5 };

static double now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

#define BEST_NS(rounds, call)                                                                      \
    ({                                                                                             \
        double best_ = INFINITY;                                                                   \
        for (int repeat_ = 0; repeat_ < REPEATS; repeat_++) {                                      \
            double from_ = now_ns();                                                               \
            for (size_t round_ = 0; round_ < (rounds); round_++)                                   \
                call;                                                                              \
            best_ = fmin(best_, (now_ns() - from_) / (double)(rounds));                            \
        }                                                                                          \
        best_;                                                                                     \
    })

int main(void) {
    static const struct mlp_config shapes[] = {
        {.layers = 2, .width = {30, 16, 1}},
        {.layers = 2, .width = {30, 32, 1}},
        {.layers = 2, .width = {30, 64, 1}},
        {.layers = 3, .width = {128, 64, 64, 31}},
    };
    static const size_t rows_of[] = {1, 8, 64, ROWS_MAX};
    static float x[ROWS_MAX * IN_MAX], y[ROWS_MAX * 32], dy[ROWS_MAX * 32];
    struct rng r;
    rng_seed(&r, 1);
    for (size_t i = 0; i < ARRAY_LEN(x); i++)
        x[i] = (float)rng_normal(&r);
    for (size_t i = 0; i < ARRAY_LEN(dy); i++)
        dy[i] = 1e-6f * (float)rng_normal(&r);
    printf("%-16s %5s %12s %12s %12s\n", "network", "rows", "forward ns", "backward ns",
           "AdaGrad ns");
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        const struct mlp_config *c = &shapes[s];
        struct mlp *m = NULL;
        struct mlp_pass *p = NULL;
        struct mlp_optim *o = NULL;
        struct mlp_optim_config ada = mlp_optim_defaults(MLP_ADAGRAD);
        if (mlp_new(c, &m) < 0 || mlp_pass_new(m, ROWS_MAX, &p) < 0 ||
            mlp_optim_new(&ada, m, &o) < 0)
            return 1;
        char name[64];
        int at = 0;
        for (uint32_t l = 0; l <= c->layers; l++)
            at += snprintf(name + at, sizeof name - (size_t)at, l ? "-%u" : "%u", c->width[l]);
        for (size_t i = 0; i < ARRAY_LEN(rows_of); i++) {
            size_t rows = rows_of[i], rounds = 30000 / (rows + 10) + 1;
            double forward = BEST_NS(rounds, mlp_forward(m, p, rows, x, c->width[0], y));
            double backward = BEST_NS(rounds, mlp_backward(m, p, dy));
            double step = BEST_NS(rounds, mlp_step(m, o, p));
            printf("%-16s %5zu %12.0f %12.0f %12.0f\n", name, rows, forward, backward, step);
        }
        mlp_optim_free(o);
        mlp_pass_free(p);
        mlp_free(m);
    }
    return 0;
}
