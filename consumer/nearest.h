/* "Did you mean …?": the candidate closest to a mistyped word. */
#pragma once

#include <stddef.h>

/* Zero-initialise but for `word`; offer every candidate; read `best` (NULL: nothing close enough).
 */
struct nearest {
    const char *word;
    const char *best; /* borrowed from the caller */
    size_t distance;
};
void nearest_offer(struct nearest *n, const char *candidate);

/* Edits (insert, delete, replace, swap of neighbours) from one to the other; words
 * longer than 63 bytes are compared by their first 63. */
size_t edit_distance(const char *a, const char *b);
