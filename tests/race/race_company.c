/* Workers count, pair and read the same few items side by side, as the learners do. */
#include "model/covisit.h"
#include "model/trend.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>

enum { THREADS = 4, ITEMS = 40, EVENTS = 20000 };

static struct covisit *covisit;
static struct trend *trend;

static void *work(void *arg) {
    struct rng r;
    rng_seed(&r, (uint64_t)(uintptr_t)arg);
    bool first = (uintptr_t)arg == 1;
    size_t wrong = 0;
    for (int i = 0; i < EVENTS; i++) {
        struct recent_item recent[COVISIT_RECENT];
        int64_t t = INT64_C(1700000000000) + i * INT64_C(60000);
        for (size_t j = 0; j < COVISIT_RECENT; j++)
            recent[j] =
                (struct recent_item){.item = rng_below(&r, ITEMS), .time_s = (uint32_t)(t / 1000)};
        uint32_t item = rng_below(&r, ITEMS);
        covisit_observe(covisit, item, recent, COVISIT_RECENT, 1, t);
        trend_observe(trend, item, 1, t);
        if (first)
            trend_refresh(trend, ITEMS, t, 4);
        if (i % 16)
            continue;
        struct covisit_pair pairs[COVISIT_CANDIDATES];
        struct trend_entry top[10];
        size_t n =
            covisit_candidates(covisit, recent, COVISIT_RECENT, t, pairs, COVISIT_CANDIDATES);
        for (size_t j = 0; j < n; j++)
            wrong += pairs[j].item >= ITEMS || !isfinite(pairs[j].boost);
        n = trend_top(trend, TREND_NOW, ITEMS, t, NULL, NULL, top, 10);
        for (size_t j = 0; j < n; j++)
            wrong += top[j].row >= ITEMS || !isfinite(top[j].value);
    }
    return (void *)wrong;
}

int main(void) {
    struct covisit_config c = {.max_items = ITEMS, .half_life_ms = 60000}; /* many epochs */
    if (covisit_new(&c, &covisit) < 0 || trend_new(ITEMS, 60000, &trend) < 0)
        return 1;
    pthread_t thread[THREADS];
    size_t wrong = 0;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&thread[i], NULL, work, (void *)(i + 1)) != 0)
            return 1;
    for (size_t i = 0; i < THREADS; i++) {
        void *ret;
        pthread_join(thread[i], &ret);
        wrong += (size_t)ret;
    }
    uint64_t counted = 0;
    for (uint32_t row = 0; row < ITEMS; row++)
        counted += trend_count(trend, row);
    /* a lost update is a lost count, but they must stay rare */
    if (wrong || counted > THREADS * EVENTS || counted < THREADS * EVENTS / 2) {
        fprintf(stderr, "%zu wrong, %lu counted\n", wrong, (unsigned long)counted);
        return 1;
    }
    covisit_free(covisit);
    trend_free(trend);
    return 0;
}
