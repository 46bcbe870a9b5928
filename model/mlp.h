/* A multi-layer perceptron: ReLU hidden layers (Glorot, Bordes and Bengio 2011), a linear
 * output. The weights are one flat array, so that optimisers, target networks and records
 * are loops over it; what a forward pass leaves behind lives in a pass, of which each thread
 * has its own. Nothing but the constructors allocates.
 *
 * Layers of fewer than MLP_BLAS_WEIGHTS weights are multiplied by kernels that give every
 * machine the same bits, whatever the number of rows; larger ones by OpenBLAS, which is
 * faster once weights fall out of cache but promises no bits.
 *
 * Thread: one at a time writes an mlp or its optimiser. Others may read the weights
 * meanwhile if they can live with torn ones (Hogwild). */
#pragma once

#include "model/regions.h"

enum { MLP_LAYERS_MAX = 6, MLP_WIDTH_MAX = 4096, MLP_LANES = 16, MLP_BLAS_WEIGHTS = 1 << 18 };

struct mlp_config {
    uint32_t layers;                    /* of weights; 1 is a linear model */
    uint32_t width[MLP_LAYERS_MAX + 1]; /* inputs, hidden ..., outputs; each 1 to MLP_WIDTH_MAX */
    uint64_t seed;
};

struct mlp {
    struct mlp_config c;
    size_t at[MLP_LAYERS_MAX]; /* where a layer begins in w */
    size_t n;                  /* floats in w */
    /* For each layer float[in][mlp_pad(out)], then the bias float[mlp_pad(out)]; 64-byte
     * aligned. Lanes beyond `out` are 0 and stay 0. */
    float *w;
};

static inline size_t mlp_pad(size_t width) {
    return (width + MLP_LANES - 1) / MLP_LANES * MLP_LANES;
}

/* Weights are normal with variance 2 / inputs of the layer (He et al. 2015), 1 / inputs in
 * the output layer, the same for the same seed; biases 0. 0, -EINVAL or -ENOMEM. */
int mlp_new(const struct mlp_config *c, struct mlp **ret);
void mlp_free(struct mlp *m);
DEFINE_CLEANUP(struct mlp, mlp_free)

bool mlp_same_shape(const struct mlp *a, const struct mlp *b);
/* to = from; both of one shape. */
void mlp_copy(const struct mlp *from, struct mlp *to);
/* to += tau (from - to): the slow target of Lillicrap et al. 2016; both of one shape. */
void mlp_follow(const struct mlp *from, float tau, struct mlp *to);
/* Whether every weight is a finite number. */
bool mlp_finite(const struct mlp *m);

/* ---- passes ------------------------------------------------------------------ */
struct mlp_pass;
/* Room for forward and backward of up to max_rows rows of networks of m's shape. */
int mlp_pass_new(const struct mlp *m, size_t max_rows, struct mlp_pass **ret);
void mlp_pass_free(struct mlp_pass *p);
DEFINE_CLEANUP(struct mlp_pass, mlp_pass_free)

/* y = network(x) for each row.
 *   rows  at most the pass's max_rows
 *   x     rows of `inputs` floats, ldx floats apart; must stay as they are until
 *         mlp_backward, if that is called
 *   y     float[rows][outputs]
 * What is not a number on the way in is not a number on the way out. */
void mlp_forward(const struct mlp *m, struct mlp_pass *p, size_t rows, const float *x, size_t ldx,
                 float *y);
/* Adds to the pass's gradient that of a loss whose derivatives by the outputs of the last
 * mlp_forward (same m, weights unchanged) are dy, float[rows][outputs]. */
void mlp_backward(const struct mlp *m, struct mlp_pass *p, const float *dy);
/* The gradient gathered since it was last cleared; float[m->n] in the layout of m->w. */
float *mlp_grad(struct mlp_pass *p);
void mlp_grad_clear(struct mlp_pass *p);

/* ---- optimisers -------------------------------------------------------------- */
enum mlp_optim_kind {
    MLP_SGD,
    MLP_ADAGRAD, /* Duchi, Hazan and Singer 2011 */
    MLP_ADAM,    /* Kingma and Ba 2015, algorithm 1 with the step of their section 2 */
};

struct mlp_optim_config {
    enum mlp_optim_kind kind;
    float rate;         /* > 0 */
    float beta1, beta2; /* Adam; in [0, 1) */
    float epsilon;      /* AdaGrad, Adam; > 0 */
    float decay;        /* of weights per step, times rate, apart from the gradient (Loshchilov
                         * and Hutter 2019); 0: none */
    float clip;         /* largest Euclidean length of a gradient, longer ones are shortened to it
                         * (Pascanu, Mikolov and Bengio 2013); 0: no limit */
};

/* Usual values of the kind. */
struct mlp_optim_config mlp_optim_defaults(enum mlp_optim_kind kind);

struct mlp_optim;
int mlp_optim_new(const struct mlp_optim_config *c, const struct mlp *m, struct mlp_optim **ret);
void mlp_optim_free(struct mlp_optim *o);
DEFINE_CLEANUP(struct mlp_optim, mlp_optim_free)
/* One step down the pass's gradient, which is cleared. 0, or -EDOM when the gradient is not
 * finite: then weights and optimiser stay as they were. */
int mlp_step(struct mlp *m, struct mlp_optim *o, struct mlp_pass *p);
void mlp_optim_set_rate(struct mlp_optim *o, float rate);       /* > 0; for schedules */
void mlp_optim_regions(struct mlp_optim *o, struct regions *s); /* see regions.h */
uint64_t mlp_optim_steps(const struct mlp_optim *o);            /* taken */
uint64_t mlp_optim_dropped(const struct mlp_optim *o); /* since made: gradients not finite */

/* ---- records ----------------------------------------------------------------- */
/* Blocks of model/block.h. Encoding: 0, -ENOMEM, or -EDOM when a weight is not finite. */
int mlp_encode(const struct mlp *m, struct buf *out);
/* *ret_n: bytes the record takes. 0, -ENOMEM or -EBADMSG. */
int mlp_decode(const void *p, size_t n, struct mlp **ret, size_t *ret_n);
/* What an optimiser remembers, not its configuration. Restoring into one of another kind or
 * shape is -EBADMSG and leaves it as it was. */
int mlp_optim_encode(const struct mlp_optim *o, const struct mlp *m, struct buf *out);
int mlp_optim_restore(struct mlp_optim *o, const struct mlp *m, const void *p, size_t n,
                      size_t *ret_n);
