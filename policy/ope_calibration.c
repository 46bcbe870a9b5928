#include "policy/ope.h"

#include <math.h>

/* Propensities from 2^-i to 2^-(i - 1) share bin i; those of bins chosen less often are left out.
 */
enum { BINS = 32, CHOSEN_MIN = 50 };

/* Of an action at a position, over the rounds in which it was chosen. */
struct cell {
    double n, inverse, inverse2; /* sums of 1, 1 / p, 1 / p² */
};

struct bin {
    double chosen, off, variance; /* off: sum of what each mean of [chosen] / p differs from 1 */
};

/* Cells of one position, of which at most one is chosen a round, so that sums of a bin vary by the
 * sum of E[1 / p], less the square of its mean. */
static void add_position(const struct cell *cell, size_t n_actions, struct bin *bins) {
    double rounds = 0, cells[BINS] = {0}, spread[BINS] = {0};
    for (size_t a = 0; a < n_actions; a++)
        rounds += cell[a].n;
    for (size_t a = 0; a < n_actions; a++, cell++) {
        if (!(cell->n > 0))
            continue;
        size_t b = (size_t)MIN(-ilogb(cell->n / cell->inverse), BINS - 1);
        bins[b].chosen += cell->n;
        bins[b].off += cell->inverse / rounds - 1;
        spread[b] += cell->inverse2 / cell->inverse;
        cells[b]++;
    }
    for (size_t b = 0; b < BINS; b++) /* where all that can be chosen is of one bin, none is left */
        if (rounds > 0)
            bins[b].variance += fmax(spread[b] - cells[b] * cells[b], .01 * spread[b]) / rounds;
}

int ope_calibration(const struct ope_log *log, double *ret) {
    struct bin bins[BINS] = {{0}};
    autofree(free) struct cell *cells = calloc(log->n_positions * log->n_actions, sizeof *cells);
    if (!cells)
        return -ENOMEM;
    for (size_t i = 0; i < log->n; i++) {
        size_t at = log->position ? log->position[i] : 0;
        struct cell *c = &cells[at * log->n_actions + log->action[i]];
        double inverse = 1 / log->propensity[i];
        c->n++;
        c->inverse += inverse;
        c->inverse2 += inverse * inverse;
    }
    for (size_t p = 0; p < log->n_positions; p++)
        add_position(cells + p * log->n_actions, log->n_actions, bins);
    double square = 0, k = 0;
    for (size_t b = 0; b < BINS; b++) {
        if (bins[b].chosen < CHOSEN_MIN)
            continue;
        square += bins[b].off * bins[b].off / bins[b].variance;
        k++;
    }
    *ret = k > 0 ? (cbrt(square / k) - (1 - 2 / (9 * k))) / sqrt(2 / (9 * k)) : 0;
    return 0;
}
