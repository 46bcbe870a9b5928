/* Pages of a model's memory. The checksums keep damage out; here they are made to fit: an image is
 * made, some of its pages are written over, and what came of it is then used.
 *
 * Input: pieces of five bytes: which record (2), which byte of it (2), its new value. */
#include "model/block.h"
#include "model/image.h"
#include "tests/support/people.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

enum { DIM = 8, KEY = 6, RECORDS = 512, RECORD = 2200 };

struct shop {
    struct model *m;
    struct learner *l;
    struct image *image;
};

static struct shop shop_new(void) {
    struct model_config c;
    struct shop s = {0};
    model_config_default(&c);
    c.dim = DIM;
    c.max_items = 24;
    c.session_store = 16;
    c.replays = 2;
    if (model_new(&c, &s.m) < 0 || learner_new(s.m, 0, &s.l) < 0 ||
        image_new(s.m, s.l, &s.image) < 0)
        abort();
    return s;
}

static void shop_free(struct shop *s) {
    image_free(s->image);
    learner_free(s->l);
    model_free(s->m);
}

static void use(struct shop *s, int from, int n) {
    static struct list list;
    struct user *u = person_new(s->m, "u");
    for (int i = from; i < from + n; i++) {
        char id[8];
        snprintf(id, sizeof id, "i%d", i * 7 % 30);
        struct event e = event_of(u, id, EV_VIEW, 1000000 + i * 1000);
        model_learn(s->l, NULL, u, &e, model_item_admit(s->m, e.item, e.time_ms));
        if (i % 16 == 0)
            model_maintain(s->m, e.time_ms);
    }
    model_rank(s->l, &u, 1, false, &list);
    if (list.n > TOP_MAX)
        abort();
    person_free(u);
}

static struct {
    uint8_t key[KEY], value[RECORD];
    size_t n;
} records[RECORDS];
static size_t n_records;

static int keep(void *ctx, const void *key, size_t key_n, const void *value, size_t n) {
    (void)ctx;
    if (n_records == RECORDS || key_n != KEY || n > RECORD)
        abort();
    memcpy(records[n_records].key, key, KEY);
    memcpy(records[n_records].value, value, n);
    records[n_records++].n = n;
    return 0;
}

static void record_once(void) {
    if (n_records)
        return;
    struct shop s = shop_new();
    use(&s, 0, 200);
    if (image_changes(s.image, keep, NULL) < 0)
        abort();
    shop_free(&s);
}

/* A record of the image with the bytes that the input has for it, and a checksum that fits. */
static int take(struct shop *s, size_t at, const uint8_t *data, size_t n) {
    size_t body = records[at].n - BLOCK_HEAD - BLOCK_SUM;
    struct buf b = {0};
    size_t start = block_begin(&b, records[at].value[0]);
    buf_put(&b, records[at].value + BLOCK_HEAD, body);
    for (; n >= 5; data += 5, n -= 5)
        if ((size_t)(data[0] | data[1] << 8) % n_records == at)
            b.p[BLOCK_HEAD + (size_t)(data[2] | data[3] << 8) % body] = data[4];
    if (block_end(&b, start) < 0)
        abort();
    int r = image_take(s->image, (struct str){(char *)records[at].key, KEY}, b.p, b.n);
    buf_free(&b);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n) {
    record_once();
    struct shop s = shop_new();
    for (size_t at = 0; at < n_records; at++)
        take(&s, at, data, n);
    image_take(s.image, (struct str){(const char *)data, n}, data, n);
    int r = image_apply(s.image);
    if (n == 0 && r != 0)
        abort();
    if (r == 0) {
        image_settle(s.image);
        use(&s, 200, 40);
    }
    shop_free(&s);
    return 0;
}
