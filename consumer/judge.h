/* Which events of a tape are cases, and how one recommender did on them. Knows nothing of how
 * lists come about. */
#pragma once

#include "consumer/positive.h"
#include "consumer/tape.h"
#include "model/rankmetrics.h"

/* Only positive events with an item are cases, and only those of [first, end). Whose they are: the
 * session's where there is one, else the user's.
 *   every  all but the very first event of its owner
 *   new    those on items that the user had no positive event with yet; an unknown user's first
 *          event is one (Vinagre, Jorge and Gama 2014)
 *   last   the last one of each owner */
enum evaluate { EVALUATE_EVERY, EVALUATE_NEW, EVALUATE_LAST };

/* Events of the owner before the case: 0, 1, 2, 3-4, 5-9, 10 and more. */
enum { JUDGE_AGES = 6, JUDGE_TIMES = 40 };
extern const char *const judge_age_name[JUDGE_AGES];

struct judge;
/* `cfg`, `p` and `t` are borrowed; `t` must be complete. `remember`: keep what users have seen
 * (for judge_seen; `new` does in any case). */
int judge_new(const struct config *cfg, const struct positive *p, const struct tape *t,
              size_t first, size_t end, enum evaluate evaluate, bool remember, struct judge **ret);
void judge_free(struct judge *j);
DEFINE_CLEANUP(struct judge, judge_free)

bool judge_positive(const struct judge *j, size_t event);
bool judge_is_case(const struct judge *j, size_t event); /* as things stand before the event */
/* The event happened; `counts`: it also makes its item better known. -ENOMEM. */
int judge_note(struct judge *j, size_t event, bool counts);

/* An item (text number) that the catalogue has, whether it has events or not. */
void judge_item(struct judge *j, uint32_t item);
bool judge_is_item(const struct judge *j, uint32_t item);
uint64_t judge_items(const struct judge *j); /* of the catalogue or with events that counted */

/* Items (text numbers) of a user's positive events, each once; NULL: none, or not remembered. */
const uint32_t *judge_seen(const struct judge *j, uint32_t user, size_t *ret_n);
uint64_t judge_popularity(const struct judge *j, uint32_t item); /* positive events so far */
/* -log2 of its share of the positive events so far; one event is added to either count, so that
 * an item without events has some, too. */
float judge_self_information(const struct judge *j, uint32_t item);

/* What one recommender did. */
struct score {
    struct rankmetrics *all, *age[JUDGE_AGES], *time[JUDGE_TIMES]; /* time: equal spans of it */
};
int score_init(struct score *s, const uint32_t *k, size_t n_k);
void score_done(struct score *s); /* accepts a zeroed one */
/* One case: the place of its item (0: not listed) and the list, n items (text numbers), best
 * first. -ENOMEM. */
int score_add(struct score *s, const struct judge *j, size_t event, uint32_t place,
              const uint32_t *items, uint32_t n);
/* When the i-th span of time begins. */
int64_t judge_time(const struct judge *j, size_t i);
