#include <inttypes.h>
#include <stdio.h>

#include "tests/storm/storm.h"

/* Seconds that a round needs besides its storm: start, end, check. */
enum { OVERHEAD_S = 30, ROUND_MIN_S = 20 };

static int by_size(const void *a, const void *b) {
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static const char heading[] =
    "| fault | how it is made | times | events | lost | repeated | recovery, median (longest) | "
    "memory | ended by themselves |\n|---|---|---:|---:|---:|---:|---:|---:|---:|\n";

static void print_row(FILE *to, const struct fault *fault, struct row *r) {
    char recovery[64] = "–";
    qsort(r->recovery_ms, r->n_recoveries, sizeof *r->recovery_ms, by_size);
    if (r->n_recoveries)
        snprintf(recovery, sizeof recovery, "%.1f s (%.1f s)",
                 (double)r->recovery_ms[r->n_recoveries / 2] / 1000,
                 (double)r->recovery_ms[r->n_recoveries - 1] / 1000);
    fprintf(to, "| %s | %s | %u | %" PRIu64 " | %" PRIu64 " | %" PRIu64 " | %s | %.0f MB | %u |\n",
            fault->name, fault->how, r->times, r->events, r->lost, r->repeated, recovery,
            (double)r->rss_bytes / 1e6, r->ended);
}

static bool chosen(const char *only, const char *name) {
    size_t n = strlen(name);
    for (const char *p = only; p && *p; p += strcspn(p, ","), p += *p == ',')
        if (strncmp(p, name, n) == 0 && (p[n] == ',' || !p[n]))
            return true;
    return !only || !*only;
}

/* Arguments: seconds, seed, faults ("" for all), folder and number of the brokers. Started by
 * tests/soak. */
int main(int argc, char **argv) {
    if (argc != 6)
        test_die("started by tests/soak");
    double seconds = atof(argv[1]);
    struct storm st = {
        .random = strtoull(argv[2], NULL, 10), .kafka_dir = argv[4], .brokers = atoi(argv[5])};
    struct row *row = calloc(storm_n_faults, sizeof *row);
    if (!row)
        test_die("out of memory");
    unsigned weights = 0, rounds = 0;
    for (size_t i = 0; i < storm_n_faults; i++)
        if (chosen(argv[3], storm_faults[i].name))
            weights += storm_faults[i].weight, rounds++;
    if (!rounds)
        test_die("no such fault: %s", argv[3]);
    double share = MAX(seconds - OVERHEAD_S * rounds, 0) / weights;
    bool good = true;
    int64_t end = test_clock_ms() + (int64_t)(1000 * seconds);
    for (bool first = true; first || test_clock_ms() < end; first = false)
        for (size_t i = 0; i < storm_n_faults && (first || test_clock_ms() < end); i++) {
            if (!chosen(argv[3], storm_faults[i].name))
                continue;
            double s = MAX(share * storm_faults[i].weight, ROUND_MIN_S);
            good &= storm_round(&st, &storm_faults[i], (int64_t)(1000 * s), &row[i]);
            print_row(stderr, &storm_faults[i], &row[i]);
        }
    fputs(heading, stdout);
    for (size_t i = 0; i < storm_n_faults; i++)
        if (row[i].times)
            print_row(stdout, &storm_faults[i], &row[i]);
    return good ? 0 : 1;
}
