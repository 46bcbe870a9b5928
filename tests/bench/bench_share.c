/* What keeping in step with other processes costs: telling an event, learning one that is heard
 * next to learning one's own, taking over a row's vectors. CPU time of one core. */
#include "model/share.h"
#include "tests/support/people.h"

#include <time.h>

enum { EVENTS = 200000, RECORD = 1000, USERS = 20000, ITEMS = 20000, ROWS = 20000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static struct event event_at(struct rng *r, int i, char text[3][24]) {
    double x = rng_unit(r);
    uint32_t user = rng_below(r, USERS);
    snprintf(text[0], sizeof text[0], "e%d", i);
    snprintf(text[1], sizeof text[1], "u%u", user);
    snprintf(text[2], sizeof text[2], "item%u", (uint32_t)(x * x * x * ITEMS));
    struct event e = {.id = str_of(text[0]),
                      .user = str_of(text[1]),
                      .item = str_of(text[2]),
                      .time_ms = 1700000000000 + i * 50,
                      .type = EV_VIEW,
                      .value = NAN,
                      .dwell_ms = NAN,
                      .n_ctx = 2};
    e.ctx[0] = (struct event_ctx){STR("country"), user % 5 ? STR("DE") : STR("FR")};
    e.ctx[1] = (struct event_ctx){STR("device"), user % 3 ? STR("phone") : STR("desktop")};
    return e;
}

static struct model *fresh(void) {
    struct model_config c;
    struct model *m = NULL;
    model_config_default(&c);
    if (model_new(&c, &m) < 0)
        abort();
    return m;
}

int main(void) {
    struct model *a = fresh(), *b = fresh();
    struct learner *l = NULL;
    struct shard *s = NULL;
    struct listener *hears = NULL;
    if (learner_new(a, 0, &l) < 0 || shard_new(a, &s) < 0 || listener_new(b, &hears) < 0)
        abort();
    struct rng r;
    struct share_writer w = {0};
    struct buf key = {0}, value = {0};
    double learning = 0, hearing = 0, taking = 0;
    size_t bytes = 0;
    rng_seed(&r, 1);
    for (int i = 0; i < EVENTS; i += RECORD) {
        for (int k = 0; k < RECORD; k++) {
            char text[3][24];
            struct event e = event_at(&r, i + k, text);
            uint32_t row = model_item_admit(a, e.item, e.time_ms);
            struct user *u = shard_admit(s, e.user, e.time_ms);
            double at = now_us();
            model_learn(l, s, u, &e, row);
            learning += now_us() - at;
            share_put(&w, &e, true);
        }
        share_end(&w, 1, (uint64_t)i, &key);
        bytes += w.buf.n;
        double at = now_us();
        struct share_reader read;
        struct heard h;
        if (share_open(&read, w.buf.p, w.buf.n) < 0)
            abort();
        while (share_next(&read, &h)) {
            h.row = model_item_intern(b, h.e.item, h.e.time_ms);
            listener_learn(hears, &h);
        }
        hearing += now_us() - at;
        share_reset(&w);
        model_maintain(a, 1700000000000 + i * 50);
        model_maintain(b, 1700000000000 + i * 50);
    }
    uint32_t cursor = 0, row, rows = 0;
    while (rows < ROWS && (row = model_dirty_next(a, &cursor)) < model_items(a)) {
        buf_reset(&key);
        buf_reset(&value);
        if (model_item_encode(a, row, &key, &value) < 0)
            continue;
        double at = now_us();
        if (model_vectors_take(b, (struct str){(char *)key.p, key.n}, value.p, value.n) < 0)
            abort();
        taking += now_us() - at;
        rows++;
    }
    share_reset(&w);
    char text[3][24];
    struct event e = event_at(&r, EVENTS, text);
    double at = now_us();
    for (int i = 0; i < EVENTS; i++) {
        share_put(&w, &e, true);
        if (w.buf.n > SHARE_BYTES)
            share_reset(&w);
    }
    double telling = now_us() - at;
    printf("own event learned  %6.2f us, ranker included\n", learning / EVENTS);
    printf("told               %6.2f us, %.1f bytes\n", telling / EVENTS, (double)bytes / EVENTS);
    printf("heard and learned  %6.2f us\n", hearing / EVENTS);
    printf("vectors taken      %6.2f us a row of %zu bytes\n", taking / rows, value.n);
    buf_free(&key);
    buf_free(&value);
    buf_free(&w.buf);
    learner_free(l);
    shard_free(s);
    listener_free(hears);
    model_free(a);
    model_free(b);
    return 0;
}
