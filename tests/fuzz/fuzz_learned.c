/* What processes tell each other of learned policies, as records of the model topic. The checksum
 * keeps damage out; here it is mended first, so that what lies behind it is tried as well.
 *
 * Input: a byte that says whose record it is (bit 0: a network's) and whether it is to be mended
 * (bit 1), payload. */
#include "consumer/policy_records.h"
#include "model/block.h"
#include "policy/deep.h"
#include "policy/learned.h"
#include "tests/support/policy_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static struct kit *shop(void) {
    struct kit *k = kit_new();
    kit_campaign(k, "a", EV_FAVORITE)->group = STR("g");
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){
        .name = STR("g"), .method = METHOD_DQN, .mode = MODE_ONLINE, .horizon_ms = 10 * DAY};
    kit_start(k);
    return k;
}

/* Who was taught it still decides. */
static void use(struct kit *k) {
    struct kit_user u;
    kit_user(&u, "u");
    kit_do(k, &u, EV_FAVORITE, "i1", MONDAY);
    for (size_t i = 0; i < k->out.n; i++)
        if (!(k->out.d[i].propensity > 0 && k->out.d[i].propensity <= 1))
            abort();
    policy_decisions_reset(&k->out);
    kit_user_free(&u);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static const char keys[2][5] = {{'P', 'g', 0, 'b'}, {'N', 'g', 0, 'b'}};
    static struct kit *k; /* each record replaces what the one before it taught */
    struct policy_records records = {0};
    struct buf b = {0};
    if (!k)
        k = shop();
    uint8_t flags = n ? data[0] : 0;
    struct str key = {keys[flags & 1], 4};
    size_t at = flags & 2 ? block_begin(&b, 1) : 0;
    buf_put(&b, data + (n > 0), n - (n > 0));
    if (b.failed || (flags & 2 && block_end(&b, at) < 0))
        abort();
    policy_records_take(k->set, STR("a"), key, b.p, b.n);
    if (policy_records_note(&records, key, b.p, b.n) < 0)
        abort();
    policy_records_learn(&records, k->set, STR("a"));
    deep_record_steps(b.p, b.n);
    use(k);
    policy_records_free(&records);
    buf_free(&b);
    return 0;
}
