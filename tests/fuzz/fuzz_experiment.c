/* Durable counts of experiments. The checksum keeps damage out; here it is mended first, so that
 * what lies behind it is tried as well: what is accepted can be judged, and encodes to itself. */
#include "model/block.h"
#include "policy/experiment.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void check(const void *p, size_t n) {
    struct experiment_spec spec = {.weight = {1, 1, 1}};
    struct experiment_rules rules = experiment_defaults();
    struct experiment_state s = {0};
    struct experiment_result r;
    struct buf again = {0};
    size_t used = 0;
    if (experiment_decode(p, n, &s, &used) < 0)
        return;
    spec.n_arms = s.n_arms;
    experiment_result(&spec, &s, NULL, &rules, &r);
    if (experiment_encode(&s, &again) < 0 || used > n || again.n != used ||
        memcmp(again.p, p, used) != 0)
        abort();
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct buf b = {0};
    size_t at = block_begin(&b, 1);
    buf_put(&b, data, n);
    if (block_end(&b, at) < 0)
        abort();
    check(b.p, b.n);
    check(data, n);
    buf_free(&b);
    return 0;
}
