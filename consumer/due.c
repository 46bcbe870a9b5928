#include "consumer/due.h"

enum { NEVER, WAITING, RESTING, RESTING_TOUCHED, QUIET };

static bool ring_push(struct due_ring *r, struct due_entry e) {
    if (r->n == r->cap) {
        size_t cap = r->cap ? 2 * r->cap : 1024;
        struct due_entry *v = reallocarray(NULL, cap, sizeof *v);
        if (!v)
            return false;
        for (size_t i = 0; i < r->n; i++)
            v[i] = r->v[(r->first + i) & (r->cap - 1)];
        free(r->v);
        *r = (struct due_ring){.v = v, .n = r->n, .cap = cap};
    }
    r->v[(r->first + r->n++) & (r->cap - 1)] = e;
    return true;
}

static struct due_entry ring_pop(struct due_ring *r) {
    struct due_entry e = r->v[r->first];
    r->first = (r->first + 1) & (r->cap - 1);
    r->n--;
    return e;
}

static void wait(struct due *d, uint32_t row) {
    d->state[row] = ring_push(&d->waiting, (struct due_entry){.row = row}) ? WAITING : QUIET;
}

static void rest(struct due *d, uint32_t row, int64_t now_ms) {
    d->state[row] = ring_push(&d->resting, (struct due_entry){row, now_ms}) ? RESTING : QUIET;
}

void due_free(struct due *d) {
    free(d->state);
    free(d->waiting.v);
    free(d->resting.v);
    *d = (struct due){0};
}

void due_touch(struct due *d, uint32_t row) {
    if (row >= d->rows) {
        uint32_t rows = MAX(row + 1, d->rows * 2);
        uint8_t *state = realloc(d->state, rows);
        if (!state)
            return;
        memset(state + d->rows, NEVER, rows - d->rows);
        d->state = state;
        d->rows = rows;
    }
    if (d->state[row] == RESTING)
        d->state[row] = RESTING_TOUCHED;
    else if (d->state[row] == NEVER || d->state[row] == QUIET)
        wait(d, row);
}

void due_all(struct due *d) {
    d->resting.n = 0;
    for (uint32_t row = 0; row < d->rows; row++)
        if (d->state[row] != NEVER && d->state[row] != WAITING)
            wait(d, row);
}

size_t due_take(struct due *d, int64_t now_ms, int64_t interval_ms, uint32_t *ret, size_t max) {
    while (d->resting.n && now_ms - d->resting.v[d->resting.first].since_ms >= interval_ms) {
        uint32_t row = ring_pop(&d->resting).row;
        if (d->state[row] == RESTING_TOUCHED)
            wait(d, row);
        else
            d->state[row] = QUIET;
    }
    size_t n = 0;
    while (n < max && d->waiting.n) {
        ret[n] = ring_pop(&d->waiting).row;
        rest(d, ret[n++], now_ms);
    }
    return n;
}
