/* Sums of a treatment effect learner. The outer checksum keeps damage out; here it is mended first,
 * so that what lies behind it is tried as well. */
#include "model/block.h"
#include "policy/uplift.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct uplift_config c = uplift_defaults(UPLIFT_LINEAR, 1, 2);
    autofree(uplift_free) struct uplift *u = NULL;
    struct buf b = {0}, again = {0};
    size_t used = 0;
    if (uplift_new(&c, &u) < 0)
        abort();
    size_t at = block_begin(&b, 1);
    buf_put(&b, data, n);
    if (block_end(&b, at) < 0)
        abort();
    if (uplift_restore(u, b.p, b.n, &used) == 0)
        if (used != b.n || uplift_encode(u, &again) < 0 || uplift_merge(u, b.p, b.n, &used) < 0)
            abort();
    if (uplift_merge(u, data, n, &used) == 0 && used > n)
        abort();
    uplift_refresh(u, 0);
    buf_free(&b);
    buf_free(&again);
    return 0;
}
