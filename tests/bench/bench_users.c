/* What users cost: bytes, and the time to take in an event, to encode, restore and find. */
#include "model/covisit.h"
#include "model/internal.h"

#include <malloc.h>
#include <math.h>
#include <stdio.h>
#include <time.h>

enum { USERS = 100000, ITEMS = 20000, EVENTS = 10 };
static const int64_t T0 = INT64_C(1700000000000);

/* Of this process, so that other load matters less. */
static double now_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void row(const char *name, double seconds, double times) {
    printf("%-28s %8.0f ns\n", name, seconds / times * 1e9);
}

static struct str name_of(const char *kind, uint32_t i) {
    static char text[32];
    return (struct str){text, (size_t)snprintf(text, sizeof text, "%s-%u", kind, i)};
}

static double observe_all(struct model *m, struct shard *s, const uint32_t *rows) {
    struct profile_params params = {.half_life_ms = m->c.profile_half_life_ms,
                                    .flood_per_minute = 120};
    struct rng r;
    rng_seed(&r, 1);
    double start = now_s();
    for (uint32_t k = 0; k < EVENTS; k++) {
        uint32_t cursor = 0;
        for (struct user *u; (u = shard_next(s, &cursor));) {
            struct event e = {.type = rng_below(&r, 10) ? EV_VIEW : EV_CART_ADD,
                              .time_ms = T0 + k * 60000,
                              .item = STR("x"),
                              .value = NAN,
                              .dwell_ms = NAN};
            uint32_t item = rows[rng_below(&r, ITEMS)];
            profile_observe(&u->prof, &e, rng_u64(&r), item, 1 + rng_below(&r, 4), 9.99, 1, &params,
                            NULL);
        }
    }
    return now_s() - start;
}

static double observe_pairs(struct model *m, struct shard *s) {
    double start = now_s();
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(s, &cursor));) {
        struct recent_item recent[COVISIT_RECENT + 1];
        size_t n = profile_recent(&u->prof, recent, ARRAY_LEN(recent));
        covisit_observe(m->covisit, recent[0].item, recent, n, 1, u->prof.last_ms);
    }
    return now_s() - start;
}

static double read_pairs(struct model *m, struct shard *s) {
    static struct covisit_pair pairs[COVISIT_CANDIDATES];
    double start = now_s();
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(s, &cursor));) {
        struct recent_item recent[COVISIT_RECENT];
        size_t n = profile_recent(&u->prof, recent, COVISIT_RECENT);
        covisit_candidates(m->covisit, recent, n, u->prof.last_ms, pairs, COVISIT_CANDIDATES);
    }
    return now_s() - start;
}

/* ---- memory ---------------------------------------------------------------- */

static size_t heap_bytes(void) {
    struct mallinfo2 i = mallinfo2();
    return i.uordblks + i.hblkhd;
}

/* Users of so many events each, of whom one in ten has things in the cart and has bought. */
static void busy_users(struct model *m, struct shard *s, const uint32_t *rows, uint32_t n,
                       uint32_t events) {
    struct profile_params params = {.half_life_ms = m->c.profile_half_life_ms};
    struct rng r;
    rng_seed(&r, 7);
    for (uint32_t i = 0; i < n; i++) {
        struct user *u = shard_admit(s, name_of("user", i), T0);
        bool buyer = rng_below(&r, 10) == 0;
        for (uint32_t k = 0; u && k < events; k++) {
            bool buys = buyer && k % 5 == 4;
            struct event e = {.type = buys          ? EV_PURCHASE
                                      : k % 10 == 3 ? EV_CART_ADD
                                                    : EV_VIEW,
                              .time_ms = T0 + k * 60000,
                              .item = STR("x"),
                              .value = NAN,
                              .dwell_ms = NAN};
            profile_observe(&u->prof, &e, rng_u64(&r), rows[rng_below(&r, ITEMS)],
                            1 + rng_below(&r, 4), 9.99, 1, &params, NULL);
        }
    }
}

/* `heap` is what malloc says it gave, with what was taken ahead and its own overhead. */
static int memory_row(struct model *m, const uint32_t *rows, uint32_t n, uint32_t events) {
    autofree(shard_free) struct shard *s = NULL;
    size_t before = heap_bytes(), history = 0;
    if (shard_new(m, &s) < 0)
        return -ENOMEM;
    busy_users(m, s, rows, n, events);
    uint32_t cursor = 0;
    for (struct user *u; (u = shard_next(s, &cursor));)
        history += profile_bytes(&u->prof);
    size_t fixed = sizeof(struct user), vector = m->c.dim * sizeof(float);
    double all = (double)shard_bytes(s) / n, past = (double)history / n;
    printf("%8u %8u %8zu %8zu %8.0f %8.0f %8.0f %8.0f\n", n, events, fixed, vector, past,
           all - past - (double)(fixed + vector), all, (double)(heap_bytes() - before) / n);
    return 0;
}

static int memory_table(struct model *m, const uint32_t *rows) {
    static const uint32_t events[] = {0, 1, 5, 10, 30, 100, 300};
    printf("\nbytes of a user, without what campaigns remember of him\n%8s %8s %8s %8s %8s %8s %8s "
           "%8s\n",
           "users", "events", "fixed", "vector", "history", "id+index", "all", "heap");
    int r = 0;
    for (size_t i = 0; i < ARRAY_LEN(events) && r == 0; i++)
        r = memory_row(m, rows, USERS / 4, events[i]);
    return r < 0 ? r : memory_row(m, rows, 200, 30);
}

int main(void) {
    struct model_config c;
    model_config_default(&c);
    autofree(model_free) struct model *m = NULL;
    autofree(shard_free) struct shard *s = NULL, *back = NULL;
    static uint32_t rows[ITEMS];
    if (model_new(&c, &m) < 0 || shard_new(m, &s) < 0 || shard_new(m, &back) < 0)
        return 1;
    for (uint32_t i = 0; i < ITEMS; i++)
        rows[i] = model_item_admit(m, name_of("item", i), T0);

    double start = now_s();
    for (uint32_t i = 0; i < USERS; i++)
        shard_admit(s, name_of("user", i), T0);
    row("admit a user", now_s() - start, USERS);
    start = now_s();
    for (uint32_t i = 0; i < USERS; i++)
        shard_find(s, name_of("user", i * 7919u % USERS));
    row("find a user", now_s() - start, USERS);
    row("profile_observe", observe_all(m, s, rows), (double)USERS * EVENTS);
    row("covisit_observe (8 pairs)", observe_pairs(m, s), USERS);
    row("covisit_candidates (8 items)", read_pairs(m, s), USERS);

    struct model_memory memory;
    model_memory(m, s, &memory);
    struct buf out = {0};
    struct user *one = shard_find(s, STR("user-77"));
    start = now_s();
    for (uint32_t i = 0; i < USERS; i++) {
        buf_reset(&out);
        user_encode(m, one, &out);
    }
    row("user_encode, 10 events, warm", now_s() - start, USERS);
    size_t record = out.n;
    buf_reset(&out);
    uint32_t cursor = 0;
    start = now_s();
    for (struct user *u; (u = shard_next(s, &cursor));)
        user_encode(m, u, &out);
    row("user_encode, all in turn", now_s() - start, USERS);
    start = now_s();
    size_t at = 0, used = 0;
    for (uint32_t i = 0; i < USERS; i++, at += used)
        if (user_restore(m, back, shard_admit(back, name_of("user", i), T0), out.p + at, out.n - at,
                         &used) < 0)
            return 1;
    row("admit and user_restore", now_s() - start, USERS);
    buf_free(&out);
    printf("%-28s %8.1f\n", "bytes per user (10 events)", memory.bytes_per_user);
    printf("%-28s %8zu\n", "bytes of a record", record);
    return memory_table(m, rows) < 0;
}
