/* Durable Q-networks. The outer checksum keeps damage out; here it is mended first, so that what
 * lies behind it is tried as well. */
#include "model/block.h"
#include "policy/dqn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct dqn_config c = dqn_defaults(2, 2);
    autofree(dqn_free) struct dqn *d = NULL;
    struct buf b = {0}, again = {0};
    size_t used = 0;
    c.hidden[0] = 1;
    c.hidden[1] = 0;
    c.replay = c.batch = c.warm = 1;
    c.familiar_features = 2;
    if (dqn_new(&c, &d) < 0)
        abort();
    size_t at = block_begin(&b, 1);
    buf_put(&b, data, n);
    if (block_end(&b, at) < 0)
        abort();
    if (dqn_restore(d, b.p, b.n, 0, &used) == 0)
        if (used != b.n || dqn_encode(d, &again) < 0 || !mlp_finite(dqn_network(d)))
            abort();
    if (dqn_restore(d, data, n, 0, &used) == 0 && used > n)
        abort();
    buf_free(&b);
    buf_free(&again);
    return 0;
}
