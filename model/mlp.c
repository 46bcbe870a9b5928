#include "model/mlp.h"
#include "model/kernels.h"

#include <cblas.h>
#include <math.h>

struct mlp_pass {
    const struct kernels *k;
    size_t max_rows, rows, ldx;
    const float *x;
    float *act[MLP_LAYERS_MAX]; /* outputs of each layer, float[max_rows][mlp_pad(out)] */
    float *delta[2];            /* derivatives by them: the layer at hand, the one before */
    float *turned;              /* weights of the layer at hand, transposed */
    float *single;              /* gradient of the one output's weights */
    float *grad;
    size_t n; /* floats in grad */
};

static float *floats(size_t n) {
    float *p = n <= SIZE_MAX / sizeof *p - MLP_LANES
                   ? aligned_alloc(64, mlp_pad(n ? n : 1) * sizeof *p)
                   : NULL;
    if (p)
        memset(p, 0, mlp_pad(n ? n : 1) * sizeof *p);
    return p;
}

int mlp_new(const struct mlp_config *c, struct mlp **ret) {
    if (c->layers < 1 || c->layers > MLP_LAYERS_MAX)
        return -EINVAL;
    for (uint32_t l = 0; l <= c->layers; l++)
        if (c->width[l] < 1 || c->width[l] > MLP_WIDTH_MAX)
            return -EINVAL;
    autofree(mlp_free) struct mlp *m = calloc(1, sizeof *m);
    if (!m)
        return -ENOMEM;
    m->c = *c;
    for (uint32_t l = 0; l < c->layers; l++) {
        m->at[l] = m->n;
        m->n += (c->width[l] + 1) * mlp_pad(c->width[l + 1]);
    }
    m->w = floats(m->n);
    if (!m->w)
        return -ENOMEM;
    struct rng r;
    rng_seed(&r, c->seed);
    for (uint32_t l = 0; l < c->layers; l++) {
        size_t in = c->width[l], out = c->width[l + 1];
        double sd = sqrt((l + 1 < c->layers ? 2.0 : 1.0) / (double)in);
        for (size_t i = 0; i < in; i++)
            for (size_t j = 0; j < out; j++)
                m->w[m->at[l] + i * mlp_pad(out) + j] = (float)(sd * rng_normal(&r));
    }
    *ret = TAKE(m);
    return 0;
}

void mlp_free(struct mlp *m) {
    if (!m)
        return;
    free(m->w);
    free(m);
}

bool mlp_same_shape(const struct mlp *a, const struct mlp *b) {
    return a->c.layers == b->c.layers &&
           memcmp(a->c.width, b->c.width, (a->c.layers + 1) * sizeof *a->c.width) == 0;
}

void mlp_copy(const struct mlp *from, struct mlp *to) {
    memcpy(to->w, from->w, from->n * sizeof *to->w);
}

void mlp_follow(const struct mlp *from, float tau, struct mlp *to) {
    for (size_t i = 0; i < to->n; i++)
        to->w[i] += tau * (from->w[i] - to->w[i]);
}

bool mlp_finite(const struct mlp *m) {
    for (size_t i = 0; i < m->n; i++)
        if (!isfinite(m->w[i]))
            return false;
    return true;
}

int mlp_pass_new(const struct mlp *m, size_t max_rows, struct mlp_pass **ret) {
    autofree(mlp_pass_free) struct mlp_pass *p = calloc(1, sizeof *p);
    if (!p)
        return -ENOMEM;
    p->k = kernels_best();
    p->max_rows = max_rows;
    p->n = m->n;
    size_t widest = 0, largest = 0;
    for (uint32_t l = 0; l < m->c.layers; l++) {
        size_t out = mlp_pad(m->c.width[l + 1]);
        if (max_rows > SIZE_MAX / sizeof(float) / MLP_WIDTH_MAX - MLP_LANES)
            return -ENOMEM;
        p->act[l] = floats(max_rows * out);
        if (!p->act[l])
            return -ENOMEM;
        widest = MAX(widest, out);
        if (l > 0)
            largest = MAX(largest, m->c.width[l + 1] * mlp_pad(m->c.width[l]));
    }
    p->delta[0] = floats(max_rows * widest);
    p->delta[1] = floats(max_rows * widest);
    p->turned = floats(largest);
    p->single = floats(largest);
    p->grad = floats(m->n);
    if (!p->delta[0] || !p->delta[1] || !p->turned || !p->single || !p->grad)
        return -ENOMEM;
    *ret = TAKE(p);
    return 0;
}

void mlp_pass_free(struct mlp_pass *p) {
    if (!p)
        return;
    for (size_t l = 0; l < MLP_LAYERS_MAX; l++)
        free(p->act[l]);
    free(p->delta[0]);
    free(p->delta[1]);
    free(p->turned);
    free(p->single);
    free(p->grad);
    free(p);
}

/* c += a·b, or aᵀ·b where `turned`, as kernels' matmul. Which way is taken must not depend on
 * the number of rows at hand, lest a row's result does. */
static void product(const struct kernels *k, bool blas, bool turned, size_t m, size_t n, size_t kk,
                    const float *a, size_t lda, const float *b, float *c) {
    if (blas && m > 0 && kk > 0)
        cblas_sgemm(CblasRowMajor, turned ? CblasTrans : CblasNoTrans, CblasNoTrans, (int)m, (int)n,
                    (int)kk, 1, a, (int)lda, b, (int)n, 1, c, (int)n);
    else
        k->matmul(m, n, kk, a, turned ? 1 : lda, turned ? lda : 1, b, n, c, n);
}

static bool by_blas(size_t in, size_t out) {
    return in * out >= MLP_BLAS_WEIGHTS;
}

/* A single output, as rankers have, fills one lane of sixteen: it goes by dot products instead,
 * whose order of sums is the same on every machine too. Rows of activations are padded with
 * zeros, and so are the weights brought together here. */
static bool is_single(const struct mlp *m, uint32_t l) {
    return l > 0 && l + 1 == m->c.layers && m->c.width[l + 1] == 1;
}

/* Others may step the weights meanwhile. */
HOGWILD static void turn(const struct mlp *m, uint32_t l, float *turned) {
    size_t in = m->c.width[l], out = m->c.width[l + 1], ld = mlp_pad(out), in_ld = mlp_pad(in);
    const float *w = m->w + m->at[l];
    memset(turned, 0, out * in_ld * sizeof *turned);
    for (size_t i = 0; i < in; i++)
        for (size_t j = 0; j < out; j++)
            turned[j * in_ld + i] = w[i * ld + j];
}

/* The derivative goes on where the unit was at work. */
static void through_relu(size_t n, const float *restrict act, float *restrict delta) {
    for (size_t i = 0; i < n; i++)
        delta[i] = act[i] > 0 ? delta[i] : 0;
}

static void single_backward(const struct mlp *m, struct mlp_pass *p, const float *dy,
                            float *before) {
    uint32_t l = m->c.layers - 1;
    size_t in = m->c.width[l], in_ld = mlp_pad(in);
    const float *act = p->act[l - 1];
    float *grad = p->grad + m->at[l];
    memset(p->single, 0, in_ld * sizeof *p->single);
    p->k->matvec_t(p->rows, in_ld, act, dy, p->single);
    for (size_t i = 0; i < in; i++)
        grad[i * MLP_LANES] += p->single[i];
    for (size_t r = 0; r < p->rows; r++)
        grad[in * MLP_LANES] += dy[r];
    turn(m, l, p->turned);
    memset(before, 0, p->rows * in_ld * sizeof *before);
    p->k->rank1(p->rows, in_ld, 1, dy, p->turned, 0, before);
    through_relu(p->rows * in_ld, act, before);
}

HOGWILD void mlp_forward(const struct mlp *m, struct mlp_pass *p, size_t rows, const float *x,
                         size_t ldx, float *y) {
    p->rows = rows;
    p->x = x;
    p->ldx = ldx;
    for (uint32_t l = 0; l < m->c.layers; l++) {
        size_t in = m->c.width[l], out = m->c.width[l + 1], ld = mlp_pad(out);
        const float *w = m->w + m->at[l], *bias = w + in * ld;
        float *act = p->act[l];
        if (is_single(m, l)) {
            turn(m, l, p->turned);
            p->k->matvec(rows, mlp_pad(in), p->act[l - 1], p->turned, y);
            for (size_t r = 0; r < rows; r++)
                y[r] += *bias;
            return;
        }
        for (size_t r = 0; r < rows; r++)
            p->k->copy(ld, bias, act + r * ld);
        product(p->k, by_blas(in, out), false, rows, ld, in, l ? p->act[l - 1] : x,
                l ? mlp_pad(in) : ldx, w, act);
        if (l + 1 < m->c.layers)
            for (size_t i = 0; i < rows * ld; i++)
                act[i] = act[i] < 0 ? 0 : act[i]; /* what is not a number stays that */
    }
    size_t out = m->c.width[m->c.layers], ld = mlp_pad(out);
    const float *act = p->act[m->c.layers - 1];
    for (size_t r = 0; r < rows; r++)
        for (size_t j = 0; j < out; j++)
            y[r * out + j] = act[r * ld + j];
}

void mlp_backward(const struct mlp *m, struct mlp_pass *p, const float *dy) {
    size_t rows = p->rows;
    uint32_t l = m->c.layers;
    float *delta = p->delta[0], *before = p->delta[1];
    if (is_single(m, l - 1)) {
        single_backward(m, p, dy, delta);
        l--;
    } else {
        size_t out = m->c.width[l], ld = mlp_pad(out);
        memset(delta, 0, rows * ld * sizeof *delta);
        for (size_t r = 0; r < rows; r++)
            for (size_t j = 0; j < out; j++)
                delta[r * ld + j] = dy[r * out + j];
    }
    while (l-- > 0) {
        size_t in = m->c.width[l], out = m->c.width[l + 1], ld = mlp_pad(out), in_ld = mlp_pad(in);
        const float *input = l ? p->act[l - 1] : p->x;
        float *grad = p->grad + m->at[l];
        product(p->k, by_blas(in, out), true, in, ld, rows, input, l ? in_ld : p->ldx, delta, grad);
        p->k->matmul(1, ld, rows, &(float){1}, 0, 0, delta, ld, grad + in * ld, ld);
        if (l == 0)
            break;
        turn(m, l, p->turned);
        memset(before, 0, rows * in_ld * sizeof *before);
        product(p->k, by_blas(in, out), false, rows, in_ld, out, delta, ld, p->turned, before);
        through_relu(rows * in_ld, input, before);
        float *t = delta;
        delta = before;
        before = t;
    }
}

float *mlp_grad(struct mlp_pass *p) {
    return p->grad;
}

void mlp_grad_clear(struct mlp_pass *p) {
    memset(p->grad, 0, p->n * sizeof *p->grad);
}
