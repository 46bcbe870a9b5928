/* Records of networks and optimisers. The checksum keeps damage out; here it is mended first, so
 * that what lies behind it is tried as well. */
#include "model/block.h"
#include "model/mlp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf b = {0}, again = {0};
    size_t used = 0;
    autofree(mlp_free) struct mlp *m = NULL, *small = NULL;
    autofree(mlp_optim_free) struct mlp_optim *o = NULL;
    struct mlp_config shape = {.layers = 2, .width = {2, 3, 1}};
    struct mlp_optim_config adam = mlp_optim_defaults(MLP_ADAM);
    size_t at = block_begin(&b, 1);
    buf_put(&b, data, n);
    if (block_end(&b, at) < 0)
        abort();
    if (mlp_decode(b.p, b.n, &m, &used) == 0)
        if (used != b.n || !mlp_finite(m) || mlp_encode(m, &again) < 0 || again.n > b.n ||
            again.n < BLOCK_HEAD)
            abort();
    if (mlp_new(&shape, &small) < 0 || mlp_optim_new(&adam, small, &o) < 0)
        abort();
    buf_reset(&again);
    if (mlp_optim_restore(o, small, b.p, b.n, &used) == 0)
        if (used != b.n || mlp_optim_encode(o, small, &again) < 0)
            abort();
    if (mlp_optim_restore(o, small, data, n, &used) == 0 && used > n)
        abort();
    buf_free(&b);
    buf_free(&again);
    return 0;
}
