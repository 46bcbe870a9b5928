/* Who was considered, was offered something and got it, by what is known of people: a decision log
 * counted by person. */
#pragma once

#include "consumer/frame.h"
#include "policy/fairness.h"

enum {
    AUDIT_ATTRIBUTES_MAX = 64,
    AUDIT_VALUES_MAX = 24,
    AUDIT_CAMPAIGNS_MAX = 128,
    AUDIT_BINS = 10
};

/* An attribute splits people into groups. */
struct audit_attribute {
    const char *name;
    size_t n_groups;
    char (*group)[64]; /* names */
    uint32_t *of;      /* [people] */
};

enum audit_measure {
    AUDIT_OFFERED, /* of those considered, who was offered something */
    AUDIT_GOT,     /* of those offered something, to whom an outcome came */
    AUDIT_MEASURES
};

struct audit_row {
    size_t campaign; /* 0: all together; else 1 + its place */
    size_t attribute, group;
    struct fair_group people[AUDIT_MEASURES];
    struct fair_result by[AUDIT_MEASURES];
};

struct audit {
    size_t decisions, people, n_campaigns, n_attributes, n_rows, n_reasons;
    bool outcomes; /* the log tells what came of offers */
    struct str campaign[AUDIT_CAMPAIGNS_MAX];
    struct audit_attribute attribute[AUDIT_ATTRIBUTES_MAX];
    struct audit_row *row; /* by campaign, attribute, group */
    size_t comparisons;
    double z;
    struct str *reason;
    uint64_t (*count)[AUDIT_CAMPAIGNS_MAX + 1]; /* [reason][0: all, else 1 + campaign] decisions */
    double bin_n[AUDIT_BINS], bin_p[AUDIT_BINS], bin_sent[AUDIT_BINS]; /* calibration */
    double drawn; /* decisions in bins: those left to chance */
};

/* The columns of the log; user NULL: each decision is a person of its own; others NULL: not told.
 */
struct audit_columns {
    const struct frame_column *user, *campaign, *sent, *reason, *propensity, *outcome;
};

/* Counts a log by the attributes, columns of the log itself or, where `people` is not NULL, of that
 * file, joined by its column `people_user`. 0, -EINVAL, -ENOMEM; prints. */
int audit_count(const struct frame *log, const struct audit_columns *c, const struct frame *people,
                const struct frame_column *people_user, char *const *by, size_t n_by, double level,
                const struct fair_bounds *bounds, struct audit *ret);
void audit_clear(struct audit *a);

/* Groups out of bounds; and a campaign's name, "all campaigns" for 0. */
size_t audit_breaches(const struct audit *a);
struct str audit_campaign(const struct audit *a, size_t campaign);

struct audit_view {
    const char *log;
    double level;
    struct fair_bounds bounds;
};
void audit_print(const struct audit *a, const struct audit_view *v);
int audit_json(const struct audit *a, const struct audit_view *v, const char *path);
int audit_page(const struct audit *a, const struct audit_view *v, const char *path);
