/* From candidates in order of score to the list that is shown. All of it is off by default
 * (model_config's per_category, diversity, novelty, exploration) and costs nothing then.
 *
 * Places are given out from the first to the last. A place goes to the candidate i with the
 * highest
 *
 *   (1 - d)·s_i + ν·r·b_i - d·r·max over the places given of sim(i, j)
 *
 * which is maximal marginal relevance (Carbonell and Goldstein 1998, with λ = 1 - d) and a bonus
 * for novelty. s_i is the score above the lowest candidate's and r the range of the candidates'
 * scores, so that d (diversity) and ν (novelty) mean the same whatever scores look like. sim is
 * the cosine of the items' vectors, 0 when negative, and one half at least for two of one
 * category. b_i is the item's self-information, -log2 of its share of all events (Zhou et al.
 * 2010), over the most that an item can have. A candidate whose category has its places taken is
 * passed over; items without a category are not counted.
 *
 * Exploration: of every 1/share places the last one (with 0.1: places 10, 20, …) goes to an item
 * drawn uniformly from the candidates that are left and from the model's newcomers, items with
 * few events. The draw is the lowest hash of seed, user, hour and item: the same for an hour, so
 * that the item stays to be seen. Its propensity, 1 / number drawn from, stands in the list. */
#pragma once

#include "model/sgd.h"

/* Whether any of it is on. */
bool diversify_wanted(const struct model_config *c);

/* Turns the candidates in `list`, best first, into the user's (NULL: unknown) list of top_n at
 * most; scores become what the places were given by, never rising. O(candidates · top_n), a dot
 * product each with diversity. [shared] */
void diversify(struct learner *l, const struct user *u, bool exclude_seen, struct list *list);

/* A row was given to an item. [structural] */
void newcomers_add(struct model *m, uint32_t row);
/* Looks for items with few events among the next rows, going round. [structural] */
void newcomers_refresh(struct model *m);
