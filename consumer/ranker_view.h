/* The ranker's weights for people and scripts: by the part of the engine that a column comes from,
 * the heaviest column of a part first. A weight is what one standard deviation of the column adds
 * to the score, in the linear part of the ranker. Columns of the part "situation" are the same for
 * all candidates of a user: what they do to the order, they do through the network beside it. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "consumer/page.h"
#include "consumer/tally.h"
#include "model/ranker.h"

struct ranker_column {
    const char *part, *name;
    float weight;
};
/* Returns how many; parts in order of their sums of absolute weights, columns within likewise. */
size_t ranker_columns(const struct ranker *r, struct ranker_column ret[SHORTLIST_COLUMNS_MAX]);

void ranker_view_text(const struct ranker *r, FILE *to);
/* {"cases": N, "loss": nats, "weights": {PART: {COLUMN: weight}}}; NULL: out of memory. */
json_t *ranker_view_json(const struct ranker *r);
void ranker_view_page(const struct ranker *r, struct page *p);
/* Fields cases, loss and weight:PART:COLUMN. */
void ranker_view_tally(const struct ranker *r, struct tally *t);
