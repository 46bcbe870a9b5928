/* What another process told, or says of what it saved: read, and what could be read is learned.
 * What was written again of it reads the same. */
#include "model/internal.h"
#include "model/share.h"
#include "tests/fuzz/codec.h"

static struct model *fresh(void) {
    struct model_config c;
    struct model *m = NULL;
    model_config_default(&c);
    c.dim = 8;
    c.max_items = 64;
    c.session_store = 16;
    c.item_admit = 2;
    MUST(model_new(&c, &m) == 0);
    return m;
}

static void hear(const uint8_t *p, size_t n) {
    struct share_reader r;
    struct heard h;
    if (share_open(&r, p, n) < 0)
        return;
    struct model *m = fresh();
    struct listener *l = NULL;
    MUST(listener_new(m, &l) == 0);
    uint64_t heard = 0;
    while (share_next(&r, &h)) {
        MUST(h.e.type < EV_MAX && h.e.time_ms >= 0 && h.e.n_ctx == 0);
        MUST(h.e.user.n == sizeof h.user && h.e.item.n <= n);
        h.row = h.known ? model_item_intern(m, h.e.item, h.e.time_ms)
                        : model_item_admit(m, h.e.item, h.e.time_ms);
        MUST(listener_learn(l, &h) == 0);
        if (++heard % 64 == 0)
            model_maintain(m, h.e.time_ms);
    }
    MUST(m->events <= heard);
    listener_free(l);
    model_free(m);
}

static void mark(const uint8_t *p, size_t n) {
    struct share_mark m, back;
    struct buf key = {0}, value = {0};
    if (share_mark_get(p, n, &m) < 0)
        return;
    share_mark_put(&m, &key, &value);
    MUST(share_is_mark((struct str){(char *)key.p, key.n}));
    MUST(share_mark_get(value.p, value.n, &back) == 0);
    MUST(back.run == m.run && back.told == m.told && back.offset == m.offset &&
         back.open == m.open);
    buf_free(&key);
    buf_free(&value);
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    hear(p, n);
    mark(p, n);
    return 0;
}
