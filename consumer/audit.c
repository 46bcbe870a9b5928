#include "consumer/audit.h"

#include <math.h>
#include <stdio.h>

static const char COMMAND[] = "beckon audit";

enum { FIFTHS = 5 };

void audit_clear(struct audit *a) {
    for (size_t i = 0; i < a->n_attributes; i++) {
        free(a->attribute[i].group);
        free(a->attribute[i].of);
    }
    free(a->row);
    free(a->reason);
    free(a->count);
    *a = (struct audit){0};
}

size_t audit_breaches(const struct audit *a) {
    size_t n = 0;
    for (size_t i = 0; i < a->n_rows; i++)
        n += a->row[i].by[AUDIT_OFFERED].breaches || a->row[i].by[AUDIT_GOT].breaches;
    return n;
}

struct str audit_campaign(const struct audit *a, size_t campaign) {
    return campaign ? a->campaign[campaign - 1] : STR("all campaigns");
}

/* ---- people and what is known of them ------------------------------------------------- */

/* People are the codes of the user column, or the rows. */
struct crowd {
    const struct frame *log;
    const struct audit_columns *c;
    size_t n;
    uint8_t *flags; /* [n] of enum state, in the campaign being counted */
};
enum state { CONSIDERED = 1, OFFERED = 2, GOT = 4 };

static size_t person_of(const struct crowd *w, size_t row) {
    return w->c->user ? w->c->user->code[row] : row;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The ends of fifths of a column's numbers over the people of `of` (their codes + 1; 0: unknown).
 */
static int fifths(const struct frame_column *c, const uint32_t *of, size_t n,
                  double ret[FIFTHS + 1]) {
    autofree(free) double *v = malloc((n + 1) * sizeof *v);
    size_t k = 0;
    if (!v)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++)
        if (of[i] && !isnan(c->number[of[i] - 1]))
            v[k++] = c->number[of[i] - 1];
    qsort(v, k, sizeof *v, compare);
    for (size_t q = 0; q <= FIFTHS; q++)
        ret[q] = k ? v[q * (k - 1) / FIFTHS] : 0;
    return 0;
}

/* Values become groups, the first ones each and the others together; many numbers become fifths. */
static int group_values(const struct frame_column *c, const struct crowd *w,
                        struct audit_attribute *a) {
    double ends[FIFTHS + 1];
    bool numbers = c->numeric && c->n_values > AUDIT_VALUES_MAX / 2;
    size_t values = MIN(c->n_values, AUDIT_VALUES_MAX);
    a->n_groups = numbers ? FIFTHS + 1 : values + (c->n_values > values);
    a->group = calloc(a->n_groups, sizeof *a->group);
    if (!a->group || (numbers && fifths(c, a->of, w->n, ends) < 0))
        return -ENOMEM;
    snprintf(a->group[0], sizeof a->group[0], "unknown");
    for (size_t g = 1; g < a->n_groups; g++) {
        if (numbers)
            snprintf(a->group[g], sizeof a->group[g], "%.6g to %.6g", ends[g - 1], ends[g]);
        else if (g < values)
            snprintf(a->group[g], sizeof a->group[g], "%.*s", (int)MIN(c->value[g].n, 60),
                     c->value[g].p);
        else
            snprintf(a->group[g], sizeof a->group[g], "%zu others", c->n_values - values);
    }
    for (size_t i = 0; i < w->n; i++) {
        uint32_t code = a->of[i] ? a->of[i] - 1 : 0;
        if (numbers && code) {
            uint32_t g = 1;
            while (g < FIFTHS && c->number[code] > ends[g])
                g++;
            a->of[i] = g;
        } else {
            a->of[i] = (uint32_t)MIN(code, a->n_groups - 1);
        }
    }
    return 0;
}

/* What the log says of each person: the first row that says something. */
static void from_log(const struct frame_column *c, const struct crowd *w, uint32_t *of) {
    for (size_t i = 0; i < w->log->n; i++)
        if (c->code[i] && !of[person_of(w, i)])
            of[person_of(w, i)] = c->code[i] + 1;
}

static void from_people(const struct frame *people, const struct frame_column *user,
                        const struct frame_column *c, const struct crowd *w, uint32_t *of) {
    for (size_t i = 0; i < people->n; i++) {
        uint32_t person = frame_code(w->c->user, frame_text(user, i));
        if (person && c->code[i])
            of[person] = c->code[i] + 1;
    }
}

static int find_attributes(const struct crowd *w, const struct frame *people,
                           const struct frame_column *people_user, char *const *by, size_t n_by,
                           struct audit *a) {
    const struct frame *f = people ? people : w->log;
    const struct frame_column *columns[AUDIT_ATTRIBUTES_MAX];
    size_t n = 0;
    int err = 0;
    for (size_t i = 0; i < n_by && err == 0; i++)
        err = frame_match(COMMAND, f, by[i], columns, AUDIT_ATTRIBUTES_MAX, &n);
    for (size_t i = 0; i < n && err == 0; i++) {
        struct audit_attribute *t = &a->attribute[a->n_attributes];
        if (columns[i] == people_user || columns[i] == w->c->user)
            continue;
        a->n_attributes++;
        t->name = columns[i]->name;
        t->of = calloc(w->n, sizeof *t->of);
        if (!t->of)
            return -ENOMEM;
        if (people)
            from_people(people, people_user, columns[i], w, t->of);
        else
            from_log(columns[i], w, t->of);
        err = group_values(columns[i], w, t);
    }
    return err;
}

/* ---- counting ---------------------------------------------------------------------------- */

static bool is_sent(const struct audit_columns *c, size_t row) {
    struct str s = frame_text(c->sent, row);
    return str_eq(s, STR("true")) || str_eq(s, STR("1"));
}

/* What happened to each person in one campaign (NULL: any); code 0 of users is nobody. */
static void mark(struct crowd *w, const struct str *campaign) {
    const struct audit_columns *c = w->c;
    memset(w->flags, 0, w->n);
    for (size_t i = 0; i < w->log->n; i++) {
        if (campaign && !str_eq(frame_text(c->campaign, i), *campaign))
            continue;
        uint8_t *flags = &w->flags[person_of(w, i)];
        *flags |= CONSIDERED;
        if (!is_sent(c, i))
            continue;
        *flags |= OFFERED;
        if (c->outcome && frame_number(c->outcome, i) > 0)
            *flags |= GOT;
    }
}

static void count_attribute(const struct crowd *w, size_t campaign, size_t attribute,
                            struct audit *a) {
    const struct audit_attribute *t = &a->attribute[attribute];
    struct audit_row *rows = a->row + a->n_rows;
    for (size_t g = 0; g < t->n_groups; g++)
        rows[g] = (struct audit_row){.campaign = campaign, .attribute = attribute, .group = g};
    for (size_t i = w->c->user ? 1 : 0; i < w->n; i++) {
        struct fair_group *of = rows[t->of[i]].people;
        of[AUDIT_OFFERED].n += (w->flags[i] & CONSIDERED) != 0;
        of[AUDIT_OFFERED].got += (w->flags[i] & OFFERED) != 0;
        of[AUDIT_GOT].n += (w->flags[i] & OFFERED) != 0;
        of[AUDIT_GOT].got += (w->flags[i] & GOT) != 0;
    }
    a->n_rows += t->n_groups;
}

static void judge(struct audit *a, const struct fair_bounds *b) {
    for (size_t i = 0, n; i < a->n_rows; i += n) {
        struct fair_group groups[AUDIT_VALUES_MAX + FIFTHS + 1];
        struct fair_result results[ARRAY_LEN(groups)];
        n = a->attribute[a->row[i].attribute].n_groups;
        for (int m = 0; m < AUDIT_MEASURES; m++) {
            for (size_t g = 0; g < n; g++)
                groups[g] = a->row[i + g].people[m];
            fair_compare(groups, n, a->z, b, results);
            for (size_t g = 0; g < n; g++)
                a->row[i + g].by[m] = results[g];
        }
    }
}

static int count_people(struct crowd *w, double level, const struct fair_bounds *b,
                        struct audit *a) {
    size_t groups = 0;
    for (size_t i = 0; i < a->n_attributes; i++)
        groups += a->attribute[i].n_groups;
    a->row = calloc(groups * (a->n_campaigns + 1) + 1, sizeof *a->row);
    if (!a->row)
        return -ENOMEM;
    for (size_t k = 0; k <= a->n_campaigns; k++) {
        mark(w, k ? &a->campaign[k - 1] : NULL);
        for (size_t i = w->c->user ? 1 : 0; i < w->n && k == 0; i++)
            a->people += (w->flags[i] & CONSIDERED) != 0;
        for (size_t i = 0; i < a->n_attributes; i++)
            count_attribute(w, k, i, a);
    }
    for (size_t i = 0; i < a->n_rows; i++)
        for (int m = 0; m < AUDIT_MEASURES; m++)
            a->comparisons += a->row[i].people[m].n >= fmax(b->least, 1);
    a->z = fair_z(level, a->comparisons);
    judge(a, b);
    return 0;
}

static size_t campaign_place(const struct audit *a, struct str id) {
    for (size_t k = 0; k < a->n_campaigns; k++)
        if (str_eq(a->campaign[k], id))
            return k + 1;
    return 0;
}

static int count_reasons(const struct crowd *w, struct audit *a) {
    const struct frame_column *reason = w->c->reason, *campaign = w->c->campaign;
    if (!reason)
        return 0;
    a->n_reasons = reason->n_values;
    a->reason = calloc(a->n_reasons, sizeof *a->reason);
    a->count = calloc(a->n_reasons, sizeof *a->count);
    if (!a->reason || !a->count)
        return -ENOMEM;
    for (size_t r = 0; r < a->n_reasons; r++)
        a->reason[r] = r ? reason->value[r] : STR("no reason");
    for (size_t i = 0; i < w->log->n; i++) {
        size_t place = campaign ? campaign_place(a, frame_text(campaign, i)) : 0;
        a->count[reason->code[i]][0]++;
        if (place)
            a->count[reason->code[i]][place]++;
    }
    return 0;
}

/* Decisions left to chance: how likely was sending, and how often was it done? The logged
 * propensity is that of what was done, so what was not sent had the rest. */
static int calibrate(const struct crowd *w, struct audit *a) {
    const struct audit_columns *c = w->c;
    int err = 0;
    for (size_t i = 0; c->propensity && i < w->log->n && err == 0; i++) {
        struct str reason = c->reason ? frame_text(c->reason, i) : (struct str){0};
        bool sent = is_sent(c, i);
        double p;
        if (!c->propensity->code[i] || (c->reason && !sent && !str_eq(reason, STR("policy"))))
            continue;
        err = frame_bounded(COMMAND, w->log, c->propensity, i, NAN, 0, 1, &p);
        p = sent ? p : 1 - p;
        if (err < 0 || p <= 0 || p >= 1)
            continue;
        size_t bin = (size_t)fmin(p * AUDIT_BINS + 1e-9, AUDIT_BINS - 1);
        a->bin_n[bin]++;
        a->bin_p[bin] += p;
        a->bin_sent[bin] += sent;
        a->drawn++;
    }
    return err;
}

int audit_count(const struct frame *log, const struct audit_columns *c, const struct frame *people,
                const struct frame_column *people_user, char *const *by, size_t n_by, double level,
                const struct fair_bounds *bounds, struct audit *ret) {
    struct crowd w = {.log = log, .c = c, .n = c->user ? c->user->n_values : log->n};
    *ret = (struct audit){.decisions = log->n, .outcomes = c->outcome != NULL};
    size_t campaigns = c->campaign ? c->campaign->n_values - 1 : 0;
    if (campaigns > AUDIT_CAMPAIGNS_MAX)
        fprintf(stderr, "%s: %s has %zu campaigns; all count together, the first %d also each\n",
                COMMAND, log->path, campaigns, AUDIT_CAMPAIGNS_MAX);
    ret->n_campaigns = MIN(campaigns, AUDIT_CAMPAIGNS_MAX);
    for (size_t k = 0; k < ret->n_campaigns; k++)
        ret->campaign[k] = c->campaign->value[k + 1];
    autofree(free) uint8_t *flags = w.flags = calloc(w.n, 1);
    int err = flags ? find_attributes(&w, people, people_user, by, n_by, ret) : -ENOMEM;
    if (err == 0)
        err = count_people(&w, level, bounds, ret);
    if (err == 0)
        err = count_reasons(&w, ret);
    if (err == 0)
        err = calibrate(&w, ret);
    if (err < 0)
        audit_clear(ret);
    return err;
}
