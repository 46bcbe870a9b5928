/* Sums of a bandit. The checksum keeps damage out; here it is mended first, so that what lies
 * behind it is tried as well: whatever is accepted can be solved or is refused by the solution. */
#include "model/block.h"
#include "policy/bandit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    struct bandit_config c = bandit_defaults(BANDIT_THOMPSON, 1, 2);
    autofree(bandit_free) struct bandit *b = NULL;
    autofree(bandit_room_free) struct bandit_room *room = NULL;
    struct buf rec = {0};
    size_t used = 0;
    double p[3];
    c.draws = 32;
    if (bandit_new(&c, &b) < 0 || bandit_room_new(b, &room) < 0)
        abort();
    size_t at = block_begin(&rec, 1);
    buf_put(&rec, data, n);
    if (block_end(&rec, at) < 0)
        abort();
    if (bandit_restore(b, rec.p, rec.n, &used) == 0) {
        if (used != rec.n || bandit_merge(b, rec.p, rec.n, &used) < 0)
            abort();
        bandit_refresh(b, 0);
        bandit_probabilities(
            b, room,
            &(struct bandit_arms){.n = 2, .shared = (float[]){1}, .own = (float[]){1, 0, 0, 1}}, p);
        if (!(p[0] + p[1] + p[2] > 0.999))
            abort();
    }
    bandit_merge(b, data, n, &used);
    buf_free(&rec);
    return 0;
}
