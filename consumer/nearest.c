#include "consumer/nearest.h"

#include "model/base.h"

enum { WORD_MAX = 63 };

/* Optimal string alignment, three rows of the table at a time. */
size_t edit_distance(const char *a, const char *b) {
    size_t n = strnlen(a, WORD_MAX), m = strnlen(b, WORD_MAX);
    size_t rows[3][WORD_MAX + 1];
    size_t *before = rows[0], *above = rows[1], *row = rows[2];
    for (size_t j = 0; j <= m; j++)
        above[j] = j;
    for (size_t i = 1; i <= n; i++) {
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            size_t d = above[j - 1] + (a[i - 1] != b[j - 1]);
            d = MIN(d, above[j] + 1);
            d = MIN(d, row[j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                d = MIN(d, before[j - 2] + 1);
            row[j] = d;
        }
        size_t *t = before;
        before = above;
        above = row;
        row = t;
    }
    return above[m];
}

void nearest_offer(struct nearest *n, const char *candidate) {
    size_t d = edit_distance(n->word, candidate);
    size_t allowed = MIN(MAX(strlen(n->word) / 3, 1), 4);
    if (d <= allowed && (!n->best || d < n->distance)) {
        n->best = candidate;
        n->distance = d;
    }
}
