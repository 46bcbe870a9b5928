/* States that are parts of records, and files, as versions of the program wrote them
 * (tests/unit/samples.h). */
#include <math.h>
#include <sys/mman.h>
#include <unistd.h>

#include "consumer/snapshot.h"
#include "policy/dqn.h"
#include "policy/ridge.h"
#include "tests/unit/samples.h"

#define TIME_MS INT64_C(1700000000000)

static void small_network(struct dqn **ret) {
    struct dqn_config c = dqn_defaults(3, 3);
    c.hidden[0] = 4;
    c.hidden[1] = 0;
    c.replay = c.batch = c.warm = 8;
    c.familiar_features = 4;
    cr_assert_eq(dqn_new(&c, ret), 0);
}

/* What three actions are worth to it in one state. */
static void dqn_put(struct buf *out) {
    struct dqn *d;
    struct rng rng;
    small_network(&d);
    rng_seed(&rng, 1);
    for (int i = 0; i < 24; i++) {
        float state[] = {1, (float)(i % 3), (float)(i % 2)};
        struct dqn_transition t = {
            .state = state, .next = state, .action = (uint32_t)i % 3, .reward = i % 3 == 1};
        cr_assert(dqn_remember(d, &t, TIME_MS));
        cr_assert(i < 8 || dqn_learn(d, &rng, NULL) == 0);
    }
    cr_assert_eq(dqn_refresh(d, TIME_MS), 0);
    cr_assert_eq(dqn_encode(d, out), 0);
    dqn_free(d);
}

static bool dqn_there(const struct buf *b) {
    struct dqn *d;
    size_t used = 0;
    small_network(&d);
    bool there = dqn_restore(d, b->p, b->n, TIME_MS, &used) == 0 && used == b->n &&
                 dqn_steps(d) == 16 && mlp_finite(dqn_network(d));
    dqn_free(d);
    return there;
}

static void ridge_put(struct buf *out) {
    struct ridge r;
    cr_assert_eq(ridge_init(&r, 2, 86400000, 7), 0);
    cr_assert(ridge_add(&r, (float[]){1, 2}, 3, 1, TIME_MS));
    cr_assert_eq(ridge_encode(&r, out), 0);
    ridge_done(&r);
}

static bool ridge_there(const struct buf *b) {
    struct ridge r;
    size_t used = 0;
    cr_assert_eq(ridge_init(&r, 2, 86400000, 7), 0);
    bool there = ridge_restore(&r, b->p, b->n, &used) == 0 && used == b->n && r.n > 0 &&
                 fabs(r.xy[1] / r.n - 6) < 1e-9 && fabs(r.yy / r.n - 9) < 1e-9;
    ridge_done(&r);
    return there;
}

static const struct snapshot_head snapshot_head = {3, 1234567890123, TIME_MS, 11, 13};

static void snapshot_sample_put(struct buf *out) {
    struct buf block = {0};
    snapshot_put_head(out, &snapshot_head);
    snapshot_begin_block(&block);
    snapshot_put(&block, "uann", 4, "value", 5);
    snapshot_end_block(&block, 1);
    buf_put(out, block.p, block.n);
    snapshot_put_end(out, 1);
    buf_free(&block);
}

static bool snapshot_there(const struct buf *b) {
    struct snapshot_head h;
    struct snapshot_reader *r;
    struct str key, value;
    int fd = memfd_create("snapshot", MFD_CLOEXEC);
    cr_assert_eq(write(fd, b->p, b->n), (ssize_t)b->n);
    lseek(fd, 0, SEEK_SET);
    if (snapshot_open(fd, &h, &r) < 0)
        return false;
    bool there = h.partition == 3 && h.offset == 1234567890123 && h.taken_ms == TIME_MS &&
                 h.origin == 11 && h.epoch == 13 && snapshot_next(r, &key, &value) == 1 &&
                 str_eq(key, STR("uann")) && str_eq(value, STR("value")) &&
                 snapshot_next(r, &key, &value) == 0;
    snapshot_close(r);
    return there;
}

static const struct {
    const char *name;
    size_t version_at; /* byte */
    void (*put)(struct buf *out);
    bool (*there)(const struct buf *b);
} pieces[] = {
    {"dqn-1", 0, dqn_put, dqn_there},
    {"ridge-1", 0, ridge_put, ridge_there},
    {"snapshot-1", 8, snapshot_sample_put, snapshot_there},
};

Test(samples, states_and_files_of_every_version_are_read) {
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct buf now = {0}, then = {0};
        pieces[i].put(&now);
        cr_assert_eq(now.p[pieces[i].version_at], atoi(strrchr(pieces[i].name, '-') + 1),
                     "%s: add a sample, keep the old one", pieces[i].name);
        expect_sample(pieces[i].name, NULL, &now);
        if (load_sample(pieces[i].name, NULL, &then))
            cr_assert(pieces[i].there(&then), "%s", pieces[i].name);
        buf_free(&now);
        buf_free(&then);
    }
}
