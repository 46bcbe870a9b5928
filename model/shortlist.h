/* From all that is known of a user to a few hundred items and what speaks for each: the rows
 * of a matrix that the ranker (ranker.h) scores.
 *
 * Candidates are the union of what the parts know: session neighbours, pairs of items, the
 * user's own trail, what is lively. For each, the parts' scores in forms that mean the same
 * for every user (logarithms of shares rather than sums), what is known of the item, and
 * where it stands in the user's trail. Nothing here learns. */
#pragma once

#include "model/sgd.h"

/* One column each: what it says of a candidate. Those after SHORTLIST_CONTEXT are the same for
 * all candidates of a case; they let the ranker weigh the others by the situation. */
#define SHORTLIST_SUMS(X)                                                                          \
    X(ALL, "neighbours' likeness")                                                                 \
    X(NEAR, "likeness by distance from what is shared")                                            \
    X(AFTER, "the same, after it only")                                                            \
    X(LATELY, "the same, newer neighbours more")                                                   \
    X(CLOSEST, "the most alike neighbour")                                                         \
    X(COUNT, "neighbours with the item")                                                           \
    X(LAST, "neighbours that ended with it")                                                       \
    X(ONE, "neighbours that share the newest item, by distance")                                   \
    X(ONE_NEXT, "right after it")                                                                  \
    X(ONE_BACK, "before it")                                                                       \
    X(ONE_LATELY, "newer neighbours more")                                                         \
    X(TWO, "neighbours that share the item before it")                                             \
    X(THREE, "and the one before that")                                                            \
    X(BOTH, "neighbours that share the newest and another")                                        \
    X(NEXT_SHORT, "came right after the newest item, lately")                                      \
    X(NEXT_LONG, "at any time")                                                                    \
    X(PREV_SHORT, "came right after earlier items, lately")                                        \
    X(PREV_LONG, "at any time")                                                                    \
    X(AHEAD, "came later than the newest items")                                                   \
    X(AHEAD_WIDE, "later than many")                                                               \
    X(BEHIND, "came before the newest items")                                                      \
    X(BEHIND_WIDE, "before many")

enum shortlist_sum {
#define X(sym, help) SUM_##sym,
    SHORTLIST_SUMS(X)
#undef X
        SUMS
};

enum { SHORTLIST_MAX = 256, SHORTLIST_COLUMNS_MAX = 128 };

struct shortlist;
/* Scratch of one learner. 0 or -ENOMEM. */
int shortlist_new(const struct model *m, struct shortlist **ret);
void shortlist_free(struct shortlist *s);
DEFINE_CLEANUP(struct shortlist, shortlist_free)

/* Fills in candidates for the user (NULL: an unknown one), at most `max`; those in `out`
 * (n_out rows) and those that may not be listed are left out. */
void shortlist_fill(struct learner *l, const struct user *u, const uint32_t *out, size_t n_out,
                    size_t max);

uint32_t shortlist_n(const struct shortlist *s);
const uint32_t *shortlist_items(const struct shortlist *s);
/* float[n][SHORTLIST_COLUMNS_MAX], columns 0..shortlist_columns()-1 in use. */
const float *shortlist_matrix(const struct shortlist *s);
uint32_t shortlist_columns(void);
const char *shortlist_column_name(uint32_t column);
/* The part of the engine a column comes from: "neighbours", "pairs", … */
const char *shortlist_column_part(uint32_t column);
/* The part that speaks loudest for candidate i. */
enum list_reason shortlist_because(const struct shortlist *s, uint32_t i);
