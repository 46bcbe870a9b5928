/* Durable policy state. The checksum keeps damage out; here it is mended first, so that what lies
 * behind it is tried as well. */
#include "model/block.h"
#include "tests/support/policy_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct kit *k;
    struct buf b = {0};
    struct kit_user u;
    size_t used = 0;
    if (!k) {
        k = kit_new();
        kit_campaign(k, "a", EV_FAVORITE)->budget = 5;
        kit_campaign(k, "b", EV_VIEW)->trigger =
            (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
        kit_start(k);
    }
    kit_user(&u, "u");
    size_t at = block_begin(&b, n ? 1 + data[0] % 2 : 1);
    buf_put(&b, data + (n > 0), n ? n - 1 : 0);
    if (block_end(&b, at) < 0)
        abort();
    if (policy_user_restore(k->set, &u.u, k->model, b.p, b.n, &used) == 0) {
        struct buf again = {0};
        if (used != b.n || policy_user_encode(k->set, &u.u, k->model, &again) < 0)
            abort();
        if (policy_user_restore(k->set, &u.u, k->model, again.p, again.n, &used) < 0 ||
            used != again.n)
            abort();
        buf_free(&again);
    }
    policy_shard_restore(k->shard, b.p, b.n);
    policy_user_restore(k->set, &u.u, k->model, data, n, &used);
    kit_user_free(&u);
    buf_free(&b);
    return 0;
}
