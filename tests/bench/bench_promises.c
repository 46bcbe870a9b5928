/* The promises of tests/support/promises.h for as many events as there is time for:
 *   tests/bench_promises [MILLIONS OF EVENTS] [SEED]
 * Aborts where one is broken. */
#include <time.h>

#include "tests/support/promises.h"

enum { CHUNK = 200000 };

int main(int argc, char **argv) {
    double millions = argc > 1 ? atof(argv[1]) : 0.2;
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1, events = 0, sends = 0, crashes = 0,
             moves = 0, by_reason[PR_COUNT] = {0};
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    while ((double)events < millions * 1e6) {
        struct promises *p = promises_new(seed++);
        for (int i = 0; i < CHUNK; i++)
            promises_step(p);
        promises_end(p);
        events += p->events;
        sends += p->sends;
        crashes += p->crashes;
        moves += p->moves;
        for (int r = 0; r < PR_COUNT; r++)
            by_reason[r] += p->by_reason[r];
        promises_free(p);
    }
    clock_gettime(CLOCK_MONOTONIC, &b);
    double s = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) * 1e-9;
    printf("%llu events, %llu sent, %llu crashes, %llu moves, %.1f s: every promise kept\n",
           (unsigned long long)events, (unsigned long long)sends, (unsigned long long)crashes,
           (unsigned long long)moves, s);
    for (int r = 0; r < PR_COUNT; r++)
        if (by_reason[r])
            printf("  %-18s %llu\n", policy_reason_name((enum policy_reason)r),
                   (unsigned long long)by_reason[r]);
    return 0;
}
