/* Records of the model topic. The checksum keeps damage out; here it is made to fit, so that what
 * lies behind it is tried as well, and what was restored is then used.
 *
 * Input: version, length of the key, key, what stands between the head and the checksum. */
#include "tests/support/people.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DIM = 8 };

static struct model *fresh(void) {
    struct model_config c;
    struct model *m = NULL;
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 64;
    c.session_store = 16;
    if (model_new(&c, &m) < 0)
        abort();
    return m;
}

/* Some events and a list: nothing that was restored leads out of the tables. */
static void use(struct model *m) {
    autofree(learner_free) struct learner *l = NULL;
    struct user *u = person_new(m, "u");
    static struct list list;
    if (learner_new(m, 0, &l) < 0)
        abort();
    for (int i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%d", i % 4);
        struct event e = event_of(u, id, EV_VIEW, 1000000 + i * 1000);
        model_learn(l, NULL, u, &e, model_item_admit(m, e.item, e.time_ms));
    }
    model_rank(l, &u, 1, false, &list);
    if (list.n > TOP_MAX)
        abort();
    person_free(u);
}

static void encode_all(struct model *m) {
    struct buf key = {0}, out = {0};
    uint32_t cursor = 0, row;
    while ((row = model_dirty_next(m, &cursor)) != ROW_NONE)
        if (model_item_encode(m, row, &key, &out) == -EINVAL)
            abort();
    buf_free(&key);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    if (n < 2 || data[1] == 0 || n - 2 < data[1])
        return 0;
    struct str key = {(const char *)data + 2, data[1]};
    uint8_t head[] = {data[0], data[2], DIM, 0};
    struct buf record = {0};
    buf_put(&record, head, sizeof head);
    buf_put(&record, data + 2 + key.n, n - 2 - key.n);
    uint32_t sum = (uint32_t)hash_bytes(record.p, record.n, hash_str(key, 1));
    buf_put(&record, &sum, sizeof sum);
    struct model *m = fresh();
    if (model_item_restore(m, key, record.p, record.n) == 0) {
        model_restored(m);
        use(m);
        encode_all(m);
    }
    model_item_restore(m, key, data, n);
    model_free(m);
    buf_free(&record);
    return 0;
}
