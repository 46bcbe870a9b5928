#include <inttypes.h>
#include <stdio.h>

#include "tests/storm/storm.h"

/* Seconds that a round needs besides its storm: start, end, check. */
enum { OVERHEAD_S = 60, ROUND_MIN_S = 20 };

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

/* How many faults from this one on share a deployment. */
static size_t together(size_t first) {
    const struct fault *f = &storm_faults[first];
    size_t n = 1;
    while (first + n < storm_n_faults && f[n].part == f->part)
        n++;
    return n;
}

/* Marks those of them that are named; the sum of their weights. */
static unsigned choose(size_t first, size_t n, const char *only, struct row *row) {
    unsigned weights = 0;
    for (size_t i = first; i < first + n; i++) {
        row[i].chosen = chosen(only, storm_faults[i].name);
        weights += row[i].chosen ? storm_faults[i].weight : 0;
    }
    return weights;
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
    for (size_t i = 0, n; i < storm_n_faults; i += n) {
        unsigned of_round = choose(i, n = together(i), argv[3], row);
        weights += of_round;
        rounds += of_round > 0;
    }
    if (!rounds)
        test_die("no such fault: %s", argv[3]);
    double share = MAX(seconds - OVERHEAD_S * rounds, 0) / weights;
    bool good = true;
    int64_t end = test_clock_ms() + (int64_t)(1000 * (seconds - OVERHEAD_S));
    for (bool first = true; first || test_clock_ms() < end; first = false)
        for (size_t i = 0, n; i < storm_n_faults && (first || test_clock_ms() < end); i += n) {
            unsigned of_round = choose(i, n = together(i), argv[3], row);
            if (!of_round)
                continue;
            double s = share * of_round, left = (double)(end - test_clock_ms()) / 1000;
            s = MAX(first ? s : MIN(s, left), ROUND_MIN_S);
            good &= storm_round(&st, &storm_faults[i], &row[i], n, (int64_t)(1000 * s));
            for (size_t k = i; k < i + n; k++)
                if (row[k].times)
                    print_row(stderr, &storm_faults[k], &row[k]);
        }
    fputs(heading, stdout);
    for (size_t i = 0; i < storm_n_faults; i++)
        if (row[i].times)
            print_row(stdout, &storm_faults[i], &row[i]);
    return good ? 0 : 1;
}
