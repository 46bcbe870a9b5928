/* Columns of a frame as sparse features of its rows (policy/linear.h): an intercept unless told
 * otherwise, numbers scaled to mean 0 and deviation 1, everything else one feature for each value
 * seen. */
#pragma once

#include "consumer/frame.h"
#include "policy/linear.h"

enum { FEATURE_COLUMNS_MAX = 256, FEATURE_VALUES_MAX = 4096 };

struct features {
    struct sparse x;
    size_t *start; /* what x borrows */
    uint32_t *index;
    float *value;
};

/* A numeric column of at most `few` different values counts as values, not as a number. A column
 * with more than FEATURE_VALUES_MAX values that are no numbers is refused: prints, -EINVAL. */
int features_new(const char *command, const struct frame *f,
                 const struct frame_column *const *columns, size_t n, size_t few, bool intercept,
                 struct features *ret);
void features_free(struct features *x);
