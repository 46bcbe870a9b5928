/* What one core does: learning per event and lists per user, next to the bare gemm of the
 * same shape. OPENBLAS_CORETYPE decides which gemm that is. */
#include "model/sgd.h"
#include "tests/support/people.h"

#include <cblas.h>
#include <time.h>

enum { USERS = 4096, BLOCK = 256 };

static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* About Zipf over n: the square of a uniform number, twice. */
static uint32_t skewed(struct rng *r, uint32_t n) {
    double x = rng_unit(r);
    return (uint32_t)(x * x * x * n);
}

static void bench(uint32_t items, uint32_t dim, uint32_t n_dense) {
    struct model_config c;
    model_config_default(&c);
    c.dim = dim;
    c.max_items = items;
    c.flood_per_minute = 0;
    struct model *m = NULL;
    struct learner *l = NULL;
    if (model_new(&c, &m) < 0 || learner_new(m, 0, &l) < 0)
        abort();
    struct rng r;
    rng_seed(&r, 1);
    float dense[ITEM_DENSE_MAX];
    for (uint32_t i = 0; i < items; i++) {
        char id[16], category[16], brand[16];
        snprintf(id, sizeof id, "item%u", i);
        snprintf(category, sizeof category, "c%u", i % 200);
        snprintf(brand, sizeof brand, "b%u", i % 1000);
        for (uint32_t k = 0; k < n_dense; k++)
            dense[k] = (float)rng_normal(&r);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 2,
                                 .category = {STR("all"), str_of(category)},
                                 .brand = str_of(brand),
                                 .price = 1 + i % 100,
                                 .margin = NAN,
                                 .n_dense = n_dense,
                                 .dense = dense,
                                 .available = true};
        if (model_item_upsert(m, &info, 0, NULL, NULL) < 0)
            abort();
    }
    struct user *u[USERS];
    for (int i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        u[i] = person_new(m, id);
    }
    const int events = 200000;
    double maintain = 0, learn = now_s();
    for (int i = 0; i < events; i++) {
        struct user *who = u[rng_below(&r, USERS)];
        struct event e = event_of(who, "x", EV_VIEW, 1000000 + i * 100);
        model_learn(l, NULL, who, &e, skewed(&r, items));
        if (i % 4096 == 0) {
            double t = now_s();
            model_maintain(m, e.time_ms);
            maintain += now_s() - t;
        }
    }
    learn = now_s() - learn - maintain;

    static struct list lists[BLOCK];
    double rank[3];
    const size_t blocks[3] = {1, 32, BLOCK};
    for (int b = 0; b < 3; b++) {
        size_t done = 0;
        double t = now_s();
        while (done < (b ? 2048 : 256)) {
            model_rank(l, u + done % USERS, blocks[b], false, lists);
            done += blocks[b];
        }
        rank[b] = (now_s() - t) / (double)done;
    }
    float *tile = aligned_alloc(64, sizeof(float) * BLOCK * 512);
    float *mapped = aligned_alloc(64, sizeof(float) * BLOCK * dim);
    memset(mapped, 0, sizeof(float) * BLOCK * dim);
    double gemm = now_s();
    for (int i = 0; i < 8; i++)
        for (uint32_t first = 0; first < items; first += 512)
            cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, BLOCK,
                        (int)MIN(items - first, 512u), (int)dim, 1, mapped, (int)dim,
                        item_eff(&m->items, first), (int)dim, 0, tile, 512);
    gemm = (now_s() - gemm) / (8 * BLOCK);
    printf("items %6u dim %3u dense %3u: learn %5.0f ns/event, maintain %5.0f ns/event; rank %6.1f "
           "us/user alone, %5.1f in 32, %5.1f in 256 (bare gemm %5.1f)\n",
           items, dim, n_dense, learn / events * 1e9, maintain / events * 1e9, rank[0] * 1e6,
           rank[1] * 1e6, rank[2] * 1e6, gemm * 1e6);
    fflush(stdout);
    free(tile);
    free(mapped);
    for (int i = 0; i < USERS; i++)
        person_free(u[i]);
    learner_free(l);
    model_free(m);
}

/* Events each ranked for and then learned, by all parts: sessions of about six events that go from
 * item to item near by, as shops' do. Also the share of lists that had the event's item. */
static void bench_sessions(uint32_t items) {
    enum { EVENTS = 50000, LENGTH = 6, NEAR = 8 };
    struct model_config c;
    model_config_default(&c);
    c.max_items = items;
    c.flood_per_minute = 0;
    struct model *m = NULL;
    struct learner *l = NULL;
    if (model_new(&c, &m) < 0 || learner_new(m, 0, &l) < 0)
        abort();
    struct rng r;
    rng_seed(&r, 1);
    for (uint32_t i = 0; i < items; i++) {
        char id[16];
        snprintf(id, sizeof id, "item%u", i);
        model_item_admit(m, str_of(id), 1);
    }
    struct user *u = NULL;
    static struct list list;
    uint32_t at = 0, hits = 0;
    double took = now_s();
    for (int i = 0; i < EVENTS; i++) {
        if (i % LENGTH == 0) {
            char id[16];
            if (u)
                person_free(u);
            snprintf(id, sizeof id, "s%d", i);
            u = person_new(m, id);
            at = skewed(&r, items);
        }
        at = (at + rng_below(&r, NEAR)) % items;
        struct event e = event_of(u, "x", EV_VIEW, 1000000 + i * 100);
        model_rank(l, &u, 1, false, &list);
        for (uint32_t k = 0; k < list.n; k++)
            hits += list.e[k].item == at;
        model_learn(l, NULL, u, &e, at);
        if (i % 4096 == 0)
            model_maintain(m, e.time_ms);
    }
    took = now_s() - took;
    printf("items %6u: %6.0f events/s, each ranked for and learned; %4.1f %% were listed\n", items,
           EVENTS / took, 100.0 * hits / EVENTS);
    fflush(stdout);
    person_free(u);
    learner_free(l);
    model_free(m);
}

int main(void) {
    bench_sessions(10000);
    bench_sessions(40000);
    printf("gemm: %s\n", openblas_get_corename());
    bench(10000, 64, 0);
    bench(30000, 64, 0);
    bench(100000, 64, 0);
    bench(30000, 128, 0);
    bench(30000, 64, 384);
    return 0;
}
