/* What a decision costs: 20 campaigns of 5 offers and nothing, a 64-wide embedding shared by all
 * and 32 columns of their own; and what learning and refreshing cost. */
#include "policy/bandit.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

enum { ARMS = 100, SHARED = 64, OWN = 32, CUSTOMERS = 256, ROUNDS = 20000 };

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static float shared[CUSTOMERS][SHARED], own[CUSTOMERS][ARMS * OWN];
static double took[ROUNDS];

static int run(enum bandit_kind kind, uint32_t draws) {
    struct bandit_config c = bandit_defaults(kind, SHARED, OWN);
    struct bandit *b = NULL;
    struct bandit_room *room = NULL;
    struct rng r;
    rng_seed(&r, 2);
    c.draws = draws;
    if (bandit_new(&c, &b) < 0 || bandit_room_new(b, &room) < 0)
        return -ENOMEM;
    double from = now_us();
    for (int i = 0; i < ROUNDS; i++) {
        const float *x = own[i % CUSTOMERS] + OWN * rng_below(&r, ARMS);
        bandit_learn(b, shared[i % CUSTOMERS], x, rng_normal(&r), 1, 0);
    }
    double learn = (now_us() - from) / ROUNDS, refresh = INFINITY;
    for (int i = 0; i < 10; i++) {
        from = now_us();
        bandit_refresh(b, 0);
        refresh = fmin(refresh, now_us() - from);
    }
    for (int i = 0; i < ROUNDS; i++) {
        struct bandit_arms arms = {
            .n = ARMS, .shared = shared[i % CUSTOMERS], .own = own[i % CUSTOMERS]};
        from = now_us();
        bandit_decide(b, room, &arms, &r);
        took[i] = now_us() - from;
    }
    qsort(took, ROUNDS, sizeof *took, ascending);
    printf("%-15s %5u %10.2f %10.2f %10.2f %12.1f\n", bandit_kind_name(kind),
           kind == BANDIT_THOMPSON ? draws : 0, took[ROUNDS / 2], took[ROUNDS / 100 * 99], learn,
           refresh);
    bandit_room_free(room);
    bandit_free(b);
    return 0;
}

int main(void) {
    struct rng r;
    rng_seed(&r, 1);
    for (int i = 0; i < CUSTOMERS; i++) {
        for (int j = 0; j < SHARED; j++)
            shared[i][j] = (float)rng_normal(&r);
        for (int j = 0; j < ARMS * OWN; j++)
            own[i][j] = (float)rng_normal(&r);
    }
    printf("%d arms, %d shared columns, %d own\n", ARMS, SHARED, OWN);
    printf("%-15s %5s %10s %10s %10s %12s\n", "", "draws", "median us", "p99 us", "learn us",
           "refresh us");
    int failed = 0;
    for (int kind = 0; kind < BANDIT_KIND_COUNT; kind++)
        failed |= run(kind, 32);
    failed |= run(BANDIT_THOMPSON, 64) | run(BANDIT_THOMPSON, 128);
    return failed ? 1 : 0;
}
