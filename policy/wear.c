#include "policy/wear.h"

#include <math.h>

/* As believed before any sample: none loses more than about a fifth of the noise, so that chance is
 * not taken for a loss while little is known. */
#define PENALTY 30
#define NOISE 1
#define NOISE_N 10

/* What changes from one decision to the next anyway has columns as well. */
enum { COLUMNS = WEAR_COLUMNS + WEAR_SHARED };

int wear_init(struct wear *w) {
    *w = (struct wear){0};
    int r = ridge_init(&w->sums, COLUMNS, 0, FEATURES_VERSION);
    if (r == 0)
        r = ridge_fit_init(&w->fit, COLUMNS);
    return r == 0 ? wear_refresh(w, 0) : r;
}

void wear_done(struct wear *w) {
    ridge_done(&w->sums);
    ridge_fit_done(&w->fit);
}

void wear_learn(struct wear *w, const struct wear_sample *before, const struct wear_sample *next,
                int64_t time_ms) {
    float x[COLUMNS];
    /* what differs by chance grows with what is bought */
    double spread = 1 + (double)(before->value * before->value + next->value * next->value);
    /* by what he was like before: what he bought changes that, and what is left of it as well */
    for (size_t i = 0; i < WEAR_SHARED; i++)
        x[i] = (next->messages - before->messages) * before->column[i];
    for (size_t i = WEAR_SHARED; i < WEAR_COLUMNS; i++)
        x[i] = next->messages * next->column[i] - before->messages * before->column[i];
    for (size_t i = 0; i < WEAR_SHARED; i++)
        x[WEAR_COLUMNS + i] = before->column[i];
    ridge_add(&w->sums, x, next->rest - before->rest, 1 / spread, time_ms);
}

int wear_refresh(struct wear *w, int64_t now_ms) {
    double penalty[COLUMNS];
    for (size_t i = 0; i < COLUMNS; i++)
        penalty[i] = i < WEAR_COLUMNS ? PENALTY : 1;
    return ridge_solve(&w->sums, &(struct ridge_prior){penalty, NOISE, NOISE_N}, now_ms, &w->fit);
}

double wear_loss(const struct wear *w, const float column[WEAR_COLUMNS]) {
    float x[COLUMNS] = {0};
    double gain;
    memcpy(x, column, WEAR_COLUMNS * sizeof *x);
    ridge_estimate(&w->fit, x, &gain, NULL);
    return -gain;
}

int wear_encode(const struct wear *w, struct buf *out) {
    return ridge_encode(&w->sums, out);
}

int wear_restore(struct wear *w, const void *p, size_t n, int64_t now_ms, size_t *ret_n) {
    int r = ridge_restore(&w->sums, p, n, ret_n);
    return r == 0 ? wear_refresh(w, now_ms) : r;
}
