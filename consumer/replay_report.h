/* What a replay found, as text for people and as JSON for scripts. */
#pragma once

#include <jansson.h>

#include "consumer/replay_files.h"

/* Of all bootstrap intervals. */
#define REPORT_LEVEL 0.95
enum { REPORT_RESAMPLES = 1000, REPORT_SEED = 1 };

/* A recommender and how it did on the same cases. */
enum contender_kind { CONTENDER_BASELINE, CONTENDER_ALONE, CONTENDER_WITHOUT, CONTENDER_COST };
struct contender {
    const char *name;
    enum contender_kind kind;
    const struct score *score;
};

struct replay_report {
    const struct replay_config *c;
    const struct replay_data *data;
    const struct replay *replay;
    struct replay_result result;
    const struct contender *others; /* beside Beckon itself */
    size_t n_others;
    uint64_t catalogue; /* items that could have been listed */
    double seconds;     /* in all, reading files included */
    uint64_t rss_bytes; /* largest so far */
};

void replay_report_text(const struct replay_report *rep, FILE *to);
/* Keys cases, hr, mrr, ndcg, recall, precision, coverage, events_per_s (in the engine alone, by
 * processor time), rss_bytes, each metric a map from list length to value; gini, novelty,
 * intervals, by_age, ranker (ranker_view.h) and others beside. NULL: out of memory. */
json_t *replay_report_json(const struct replay_report *rep);
