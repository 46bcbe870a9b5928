/* Durable policy state. The checksum keeps damage out; here it is mended first, so that what lies
 * behind it is tried as well.
 *
 * Input: a byte for the version (its lowest six bits modulo 3); with its bit 7, two bytes for the
 * length of a user's first block, behind which his second one begins, of version 1 or, with bit 6,
 * 2; payload. */
#include "model/block.h"
#include "tests/support/policy_kit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { VERSIONS = 3, MORE = 0x80, NEWER = 0x40, EXT_MORE = 0x40 };

/* Of every kind that leaves something behind: timers, an experiment, a group that looks ahead. */
static struct kit *shop(void) {
    static struct arm_spec arms[] = {{.name = STR("without"), .n_off = 1, .off = {STR("a")}},
                                     {.name = STR("with")}};
    static struct experiment_arms experiment = {
        .name = STR("worth"),
        .spec = {STR("worth"), STR("worth"), 0, EXPERIMENT_BUCKETS, 2, {1, 1}},
        .arm = arms,
        .window_ms = 7 * DAY,
        .metric = EXP_MARGIN,
        .stop = true,
    };
    struct kit *k = kit_new();
    kit_campaign(k, "a", EV_FAVORITE)->budget = 5;
    kit_campaign(k, "b", EV_VIEW)->trigger =
        (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
    kit_campaign(k, "c", EV_SEARCH)->group = STR("g");
    k->spec.experiment = &experiment;
    k->spec.n_experiments = 1;
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){
        .name = STR("g"), .method = METHOD_DQN, .mode = MODE_ONLINE, .horizon_ms = 10 * DAY};
    kit_start(k);
    return k;
}

static void add_block(struct buf *b, uint8_t version, const uint8_t *p, size_t n) {
    size_t at = block_begin(b, version);
    buf_put(b, p, n);
    if (block_end(b, at) < 0)
        abort();
}

/* What is accepted is written again as it can be read again, and can be lived with. */
static void try_user(struct kit *k, struct kit_user *u, const struct buf *b) {
    struct buf again = {0};
    size_t used = 0;
    if (policy_user_restore(k->set, &u->u, k->model, b->p, b->n, &used) == 0) {
        if (used != b->n || policy_user_encode(k->set, &u->u, k->model, &again) < 0 ||
            policy_user_restore(k->set, &u->u, k->model, again.p, again.n, &used) < 0 ||
            used != again.n)
            abort();
        struct policy_context c = kit_context(k, u);
        policy_decisions_reset(&k->out);
        policy_on_time(&c, MONDAY, &k->out);
    }
    buf_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    static struct kit *k;
    struct buf b = {0};
    struct kit_user u;
    size_t used = 0;
    if (!k)
        k = shop();
    kit_user(&u, "u");
    uint8_t flags = n ? data[0] : 0, version = (uint8_t)(1 + (flags & 0x3f) % VERSIONS);
    const uint8_t *p = data + (n > 0);
    size_t left = n - (n > 0);
    if (flags & MORE && left > 2) {
        size_t first = MIN((size_t)(p[0] | p[1] << 8), left - 2);
        p += 2;
        left -= 2;
        add_block(&b, version | EXT_MORE, p, first);
        add_block(&b, flags & NEWER ? 2 : 1, p + first, left - first);
    } else {
        add_block(&b, version, p, left);
    }
    try_user(k, &u, &b);
    policy_shard_restore(k->shard, b.p, b.n);
    policy_user_restore(k->set, &u.u, k->model, data, n, &used);
    kit_user_free(&u);
    buf_free(&b);
    return 0;
}
