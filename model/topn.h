/* Exact top-N lists for many users at once: tiles of scores by gemm, boosts added in
 * place, a bounded selection behind, and the survivors scored again in one fixed order.
 *
 * The gemm's last bits depend on how many users share it, so it only nominates: an item
 * stays while its score, plus the most that rounding can have taken from it, reaches the
 * N-th best. The final score is kernels.dot(φ·u, v) + base + boost, so that what a user
 * gets does not depend on who else is in the batch. */
#pragma once

#include "model/sgd.h"

void rank_scratch_free(struct rank_scratch *s); /* accepts NULL */

/* Orders two items of equal score: by id bytes. */
int item_id_cmp(const struct model *m, uint32_t a, uint32_t b);
