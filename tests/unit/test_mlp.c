#include "model/mlp.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct mlp_config shapes[] = {
    {.layers = 1, .width = {3, 2}, .seed = 1},
    {.layers = 2, .width = {5, 7, 1}, .seed = 2},
    {.layers = 2, .width = {30, 32, 1}, .seed = 3},
    {.layers = 3, .width = {17, 33, 16, 3}, .seed = 4},
    {.layers = 6, .width = {4, 9, 8, 7, 6, 5, 4}, .seed = 5},
};

static struct mlp *made(const struct mlp_config *c) {
    struct mlp *m = NULL;
    cr_assert_eq(mlp_new(c, &m), 0);
    return m;
}

static struct mlp_pass *pass_of(const struct mlp *m, size_t rows) {
    struct mlp_pass *p = NULL;
    cr_assert_eq(mlp_pass_new(m, rows, &p), 0);
    return p;
}

static void fill(struct rng *r, float *x, size_t n) {
    for (size_t i = 0; i < n; i++)
        x[i] = (float)rng_normal(r);
}

/* The network as its definition says, in double precision; y and the sum of y·dy. */
static double plain(const struct mlp *m, const float *x, const float *dy, double *y) {
    double a[64], b[64], loss = 0;
    for (uint32_t i = 0; i < m->c.width[0]; i++)
        a[i] = x[i];
    for (uint32_t l = 0; l < m->c.layers; l++) {
        size_t in = m->c.width[l], out = m->c.width[l + 1], ld = mlp_pad(out);
        const float *w = m->w + m->at[l];
        for (size_t j = 0; j < out; j++) {
            b[j] = w[in * ld + j];
            for (size_t i = 0; i < in; i++)
                b[j] += a[i] * w[i * ld + j];
            if (l + 1 < m->c.layers)
                b[j] = fmax(b[j], 0);
        }
        memcpy(a, b, sizeof a);
    }
    for (uint32_t j = 0; j < m->c.width[m->c.layers]; j++) {
        y[j] = a[j];
        loss += a[j] * dy[j];
    }
    return loss;
}

Test(mlp, forward_is_what_the_definition_says) {
    enum { ROWS = 13 };
    struct rng r;
    rng_seed(&r, 7);
    float x[ROWS * 40], y[ROWS * 8], none[8] = {0};
    double want[8];
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        autofree(mlp_free) struct mlp *m = made(&shapes[s]);
        autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, ROWS);
        fill(&r, m->w, m->n); /* biases as well; what is put into padding must not matter */
        for (size_t rows = 0; rows <= ROWS; rows++) {
            fill(&r, x, ARRAY_LEN(x));
            size_t out = m->c.width[m->c.layers];
            mlp_forward(m, p, rows, x, 40, y);
            for (size_t i = 0; i < rows; i++) {
                plain(m, x + i * 40, none, want);
                for (size_t j = 0; j < out; j++)
                    cr_assert_float_eq(y[i * out + j], want[j], 1e-4 * (1 + fabs(want[j])));
            }
        }
    }
}

Test(mlp, a_row_gives_the_same_bits_alone_and_among_others) {
    enum { ROWS = 37 };
    struct rng r;
    rng_seed(&r, 8);
    float x[ROWS * 30], all[ROWS], one;
    autofree(mlp_free) struct mlp *m = made(&shapes[2]);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, ROWS);
    fill(&r, x, ARRAY_LEN(x));
    mlp_forward(m, p, ROWS, x, 30, all);
    for (size_t i = 0; i < ROWS; i++) {
        mlp_forward(m, p, 1, x + i * 30, 30, &one);
        cr_assert(one == all[i]);
    }
}

/* Central differences in double precision of the sum over rows of y·dy, whose derivative
 * by y is dy. Step 1e-3 over at most six piecewise linear layers: between kinks the
 * difference is exact up to the other factors' curvature, so rows at a kink are drawn anew. */
Test(mlp, gradients_are_those_of_finite_differences) {
    enum { ROWS = 5 };
    struct rng r;
    rng_seed(&r, 9);
    float x[ROWS * 40], y[ROWS * 8], dy[ROWS * 8];
    double out_y[8];
    size_t checked = 0, off = 0;
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++) {
        autofree(mlp_free) struct mlp *m = made(&shapes[s]);
        autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, ROWS);
        size_t out = m->c.width[m->c.layers];
        fill(&r, x, ARRAY_LEN(x));
        fill(&r, dy, ARRAY_LEN(dy));
        mlp_forward(m, p, ROWS, x, 40, y);
        mlp_backward(m, p, dy);
        mlp_forward(m, p, ROWS, x, 40, y);
        mlp_backward(m, p, dy); /* a second time: gradients add up */
        const float *g = mlp_grad(p);
        for (uint32_t l = 0; l < m->c.layers; l++) {
            size_t ld = mlp_pad(m->c.width[l + 1]);
            for (size_t i = 0; i < (m->c.width[l] + 1) * ld; i++) {
                float *w = m->w + m->at[l] + i, was = *w;
                double diff = 0, step[2];
                if (i % ld >= m->c.width[l + 1]) {
                    cr_assert(g[m->at[l] + i] == 0, "padding has a gradient");
                    continue;
                }
                for (int side = 0; side < 2; side++) {
                    *w = was + (side ? 1e-3f : -1e-3f);
                    step[side] = *w;
                    for (size_t row = 0; row < ROWS; row++)
                        diff += (side ? 1 : -1) * plain(m, x + row * 40, dy + row * out, out_y);
                }
                *w = was;
                diff /= step[1] - step[0];
                checked++;
                /* a weight whose step crosses a kink shows another slope: there are few */
                off += fabs(g[m->at[l] + i] - 2 * diff) > 1e-3 * (1 + fabs(diff));
            }
        }
    }
    cr_assert(checked > 1500 && off * 100 < checked, "%zu of %zu gradients differ", off, checked);
}

Test(mlp, large_layers_go_through_blas_and_agree) {
    struct mlp_config c = {.layers = 3, .width = {600, 512, 20, 1}, .seed = 6};
    enum { ROWS = 9 };
    static float x[ROWS * 600], y[ROWS], dy[ROWS];
    static double sums[512];
    struct rng r;
    rng_seed(&r, 10);
    autofree(mlp_free) struct mlp *m = made(&c);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, ROWS);
    fill(&r, x, ARRAY_LEN(x));
    fill(&r, dy, ARRAY_LEN(dy));
    mlp_forward(m, p, ROWS, x, 600, y);
    mlp_backward(m, p, dy);
    for (size_t row = 0; row < ROWS; row++) {
        double h[20], want = 0;
        for (size_t j = 0; j < 512; j++) {
            sums[j] = 0;
            for (size_t i = 0; i < 600; i++)
                sums[j] += (double)x[row * 600 + i] * m->w[i * 512 + j];
        }
        for (size_t j = 0; j < 20; j++) {
            h[j] = 0;
            for (size_t i = 0; i < 512; i++)
                h[j] += fmax(sums[i], 0) * m->w[m->at[1] + i * 32 + j];
            want += fmax(h[j], 0) * m->w[m->at[2] + j * 16];
        }
        cr_assert_float_eq(y[row], want, 1e-3);
    }
    double sum = 0;
    for (size_t row = 0; row < ROWS; row++)
        sum += dy[row];
    cr_assert_float_eq(mlp_grad(p)[m->at[2] + 20 * 16], sum, 1e-5);
}

/* XOR on four points: no linear model can. */
static double learned(struct mlp_optim_config o, uint64_t seed) {
    static const float x[] = {0, 0, 0, 1, 1, 0, 1, 1}, want[] = {0, 1, 1, 0};
    struct mlp_config c = {.layers = 2, .width = {2, 16, 1}, .seed = seed};
    autofree(mlp_free) struct mlp *m = made(&c);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, 4);
    autofree(mlp_optim_free) struct mlp_optim *opt = NULL;
    cr_assert_eq(mlp_optim_new(&o, m, &opt), 0);
    float y[4], dy[4];
    double loss = 0;
    for (int round = 0; round < 2000; round++) {
        mlp_forward(m, p, 4, x, 2, y);
        loss = 0;
        for (int i = 0; i < 4; i++) {
            dy[i] = y[i] - want[i];
            loss += dy[i] * dy[i] / 2;
        }
        mlp_backward(m, p, dy);
        cr_assert_eq(mlp_step(m, opt, p), 0);
    }
    cr_assert_eq(mlp_optim_steps(opt), 2000);
    return loss;
}

Test(mlp, every_optimiser_learns_what_no_linear_model_can) {
    for (int kind = MLP_SGD; kind <= MLP_ADAM; kind++) {
        struct mlp_optim_config o = mlp_optim_defaults(kind);
        o.rate *= 5;
        for (uint64_t seed = 1; seed <= 3; seed++) {
            double loss = learned(o, seed);
            cr_assert_lt(loss, 1e-2, "kind %d seed %d: %g", kind, (int)seed, loss);
        }
    }
}

/* One weight and a gradient known beforehand: w·x with x = 1, so that dw = dy. */
static float stepped(struct mlp_optim_config o, const float *dy, int n) {
    struct mlp_config c = {.layers = 1, .width = {1, 1}, .seed = 1};
    autofree(mlp_free) struct mlp *m = made(&c);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, 1);
    autofree(mlp_optim_free) struct mlp_optim *opt = NULL;
    cr_assert_eq(mlp_optim_new(&o, m, &opt), 0);
    m->w[0] = 1;
    for (int i = 0; i < n; i++) {
        float y;
        mlp_forward(m, p, 1, &(float){1}, 1, &y);
        mlp_backward(m, p, &dy[i]);
        cr_assert_eq(mlp_step(m, opt, p), 0);
    }
    return m->w[0];
}

Test(mlp, steps_are_those_of_the_papers) {
    const float dy[] = {0.5f, -0.25f};
    struct mlp_optim_config sgd = {.kind = MLP_SGD, .rate = 0.1f};
    cr_assert_float_eq(stepped(sgd, dy, 2), 1 - 0.1 * 0.5 + 0.1 * 0.25, 1e-6);
    sgd.decay = 0.5f;
    cr_assert_float_eq(stepped(sgd, dy, 1), 0.95 - 0.1 * 0.5, 1e-6);
    sgd.decay = 0;
    sgd.clip = 0.1f; /* weight and bias have the same gradient, of length 0.5·√2 */
    cr_assert_float_eq(stepped(sgd, dy, 1), 1 - 0.1 * 0.1 / sqrt(2), 1e-6);
    struct mlp_optim_config ada = {.kind = MLP_ADAGRAD, .rate = 0.1f, .epsilon = 1e-8f};
    cr_assert_float_eq(stepped(ada, dy, 2), 1 - 0.1 + 0.1 * 0.25 / sqrt(0.25 + 0.0625), 1e-6);
    struct mlp_optim_config adam = {
        .kind = MLP_ADAM, .rate = 0.1f, .beta1 = 0.9f, .beta2 = 0.99f, .epsilon = 1e-8f};
    double m1 = 0.1 * 0.5, v1 = 0.01 * 0.25, m2 = 0.9 * m1 - 0.1 * 0.25,
           v2 = 0.99 * v1 + 0.01 * 0.0625;
    double want =
        1 - 0.1 * (m1 / 0.1) / sqrt(v1 / 0.01) - 0.1 * (m2 / (1 - 0.81)) / sqrt(v2 / (1 - 0.9801));
    cr_assert_float_eq(stepped(adam, dy, 2), want, 1e-5);
}

Test(mlp, a_gradient_that_is_no_number_changes_nothing) {
    autofree(mlp_free) struct mlp *m = made(&shapes[1]), *was = made(&shapes[1]);
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, 2);
    autofree(mlp_optim_free) struct mlp_optim *o = NULL;
    struct mlp_optim_config c = mlp_optim_defaults(MLP_ADAM);
    cr_assert_eq(mlp_optim_new(&c, m, &o), 0);
    float x[10] = {1, 2, NAN, 4, 5, 1, 1, 1, 1, 1}, y[2], dy[2] = {1, 1};
    mlp_forward(m, p, 2, x, 5, y);
    cr_assert(isnan(y[0]) && isfinite(y[1]));
    mlp_backward(m, p, dy);
    cr_assert_eq(mlp_step(m, o, p), -EDOM);
    cr_assert_eq(mlp_optim_dropped(o), 1);
    cr_assert_eq(memcmp(m->w, was->w, m->n * sizeof *m->w), 0);
    x[2] = 3;
    mlp_forward(m, p, 2, x, 5, y);
    mlp_backward(m, p, dy);
    cr_assert_eq(mlp_step(m, o, p), 0, "the bad gradient was cleared");
    cr_assert(mlp_finite(m));
    m->w[0] = INFINITY;
    struct buf b = {0};
    cr_assert_eq(mlp_encode(m, &b), -EDOM);
    buf_free(&b);
}

Test(mlp, the_same_seed_gives_the_same_network_and_another_seed_another) {
    struct mlp_config c = shapes[3];
    autofree(mlp_free) struct mlp *a = made(&c), *b = made(&c);
    c.seed++;
    autofree(mlp_free) struct mlp *other = made(&c);
    cr_assert_eq(memcmp(a->w, b->w, a->n * sizeof *a->w), 0);
    cr_assert_neq(memcmp(a->w, other->w, a->n * sizeof *a->w), 0);
    double sum = 0, square = 0;
    for (size_t i = 0; i < 17; i++)
        for (size_t j = 0; j < 33; j++) {
            double w = a->w[i * 48 + j];
            sum += w;
            square += w * w;
        }
    cr_assert_float_eq(sum / (17 * 33), 0, 0.05);
    cr_assert_float_eq(square / (17 * 33), 2.0 / 17, 0.02);
}

Test(mlp, a_target_follows_and_is_copied) {
    autofree(mlp_free) struct mlp *a = made(&shapes[1]), *b = made(&shapes[1]);
    a->w[0] = 1;
    b->w[0] = 3;
    mlp_follow(a, 0.25f, b);
    cr_assert_float_eq(b->w[0], 2.5, 1e-6);
    cr_assert(b->w[1] == a->w[1]);
    mlp_copy(a, b);
    cr_assert_eq(memcmp(a->w, b->w, a->n * sizeof *a->w), 0);
    autofree(mlp_free) struct mlp *c = made(&shapes[2]);
    cr_assert(mlp_same_shape(a, b));
    cr_assert(!mlp_same_shape(a, c));
}

Test(mlp, impossible_shapes_and_rates_are_refused) {
    struct mlp *m = NULL;
    cr_assert_eq(mlp_new(&(struct mlp_config){.layers = 0, .width = {1}}, &m), -EINVAL);
    cr_assert_eq(mlp_new(&(struct mlp_config){.layers = 7}, &m), -EINVAL);
    cr_assert_eq(mlp_new(&(struct mlp_config){.layers = 1, .width = {4, 0}}, &m), -EINVAL);
    cr_assert_eq(mlp_new(&(struct mlp_config){.layers = 1, .width = {4097, 1}}, &m), -EINVAL);
    autofree(mlp_free) struct mlp *good = made(&shapes[0]);
    struct mlp_optim *o = NULL;
    struct mlp_optim_config c = mlp_optim_defaults(MLP_ADAM);
    c.beta2 = 1;
    cr_assert_eq(mlp_optim_new(&c, good, &o), -EINVAL);
    c = mlp_optim_defaults(MLP_SGD);
    c.rate = NAN;
    cr_assert_eq(mlp_optim_new(&c, good, &o), -EINVAL);
}

/* A few steps on random rows, which the optimiser remembers. */
static void train(struct mlp *m, struct mlp_optim *o, uint64_t seed) {
    autofree(mlp_pass_free) struct mlp_pass *p = pass_of(m, 4);
    struct rng r;
    rng_seed(&r, seed);
    float x[4 * 40], y[4 * 8], dy[4 * 8];
    for (int i = 0; i < 5; i++) {
        fill(&r, x, ARRAY_LEN(x));
        fill(&r, dy, ARRAY_LEN(dy));
        mlp_forward(m, p, 4, x, 40, y);
        mlp_backward(m, p, dy);
        cr_assert_eq(mlp_step(m, o, p), 0);
    }
}

Test(mlp, records_bring_back_every_bit_and_learning_goes_on_alike) {
    for (size_t s = 0; s < ARRAY_LEN(shapes); s++)
        for (int kind = MLP_SGD; kind <= MLP_ADAM; kind++) {
            struct mlp_optim_config c = mlp_optim_defaults(kind);
            autofree(mlp_free) struct mlp *a = made(&shapes[s]), *b = NULL;
            autofree(mlp_optim_free) struct mlp_optim *oa = NULL, *ob = NULL;
            cr_assert_eq(mlp_optim_new(&c, a, &oa), 0);
            train(a, oa, 1);
            struct buf rec = {0};
            size_t used, used_o;
            cr_assert_eq(mlp_encode(a, &rec), 0);
            size_t at = rec.n;
            cr_assert_eq(mlp_optim_encode(oa, a, &rec), 0);
            cr_assert_eq(mlp_decode(rec.p, rec.n, &b, &used), 0);
            cr_assert_eq(used, at);
            cr_assert_eq(mlp_optim_new(&c, b, &ob), 0);
            cr_assert_eq(mlp_optim_restore(ob, b, rec.p + at, rec.n - at, &used_o), 0);
            cr_assert_eq(at + used_o, rec.n);
            cr_assert_eq(mlp_optim_steps(ob), 5);
            cr_assert_eq(memcmp(a->w, b->w, a->n * sizeof *a->w), 0);
            train(a, oa, 2);
            train(b, ob, 2);
            cr_assert_eq(memcmp(a->w, b->w, a->n * sizeof *a->w), 0);
            buf_free(&rec);
        }
}

Test(mlp, damaged_records_are_refused) {
    autofree(mlp_free) struct mlp *a = made(&shapes[1]), *b = NULL;
    autofree(mlp_optim_free) struct mlp_optim *o = NULL, *sgd = NULL;
    struct mlp_optim_config c = mlp_optim_defaults(MLP_ADAM), c2 = mlp_optim_defaults(MLP_SGD);
    cr_assert_eq(mlp_optim_new(&c, a, &o), 0);
    cr_assert_eq(mlp_optim_new(&c2, a, &sgd), 0);
    struct buf net = {0}, opt = {0};
    size_t used;
    cr_assert_eq(mlp_encode(a, &net), 0);
    cr_assert_eq(mlp_optim_encode(o, a, &opt), 0);
    cr_assert_eq(mlp_optim_restore(sgd, a, opt.p, opt.n, &used), -EBADMSG, "another kind");
    for (size_t i = 0; i < net.n; i++) {
        cr_assert_eq(mlp_decode(net.p, i, &b, &used), -EBADMSG);
        net.p[i] ^= 0x10;
        cr_assert_eq(mlp_decode(net.p, net.n, &b, &used), -EBADMSG);
        net.p[i] ^= 0x10;
    }
    for (size_t i = 0; i < opt.n; i++) {
        cr_assert_eq(mlp_optim_restore(o, a, opt.p, i, &used), -EBADMSG);
        opt.p[i] ^= 0x10;
        cr_assert_eq(mlp_optim_restore(o, a, opt.p, opt.n, &used), -EBADMSG);
        opt.p[i] ^= 0x10;
    }
    buf_free(&net);
    buf_free(&opt);
}
