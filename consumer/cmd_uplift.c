#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/features.h"
#include "consumer/uplift_view.h"
#include "policy/uplift.h"

static const char COMMAND[] = "beckon uplift";

enum { OUTCOME, TREATMENT, ROLES, FEW_VALUES = 12, GROUP_PEOPLE = 200 };

struct options {
    const char *control, *shares, *json, *report;
    struct flag_list maps, where, features, without;
    double penalty, level;
    int64_t folds, resamples, seed;
};

struct analysis {
    const struct options *o;
    struct frame *frame;
    struct frame_role role[ROLES];
    const struct frame_column *feature[FEATURE_COLUMNS_MAX];
    size_t n_features;
    struct features x;
    uint32_t control; /* code */
    double *y;
    bool binary;
    struct uplift_arm *arms;
    size_t n_arms;
};

/* Those of one comparison: control and one treatment. */
struct pair {
    size_t n;
    size_t *row; /* of the frame */
    bool *treated;
    double *y, *two_model, *learner;
    uint32_t *fold;
};

static void pair_free(struct pair *p) {
    free(p->row);
    free(p->treated);
    free(p->y);
    free(p->two_model);
    free(p->learner);
    free(p->fold);
}

static void analysis_free(struct analysis *a) {
    frame_free(a->frame);
    features_free(&a->x);
    free(a->y);
    free(a->arms);
}

/* ---- reading -------------------------------------------------------------------- */

static int find_control(struct analysis *a) {
    static const char *const USUAL[] = {"control", "Control", "0", "none", "false"};
    const struct frame_column *t = a->role[TREATMENT].column;
    a->control = *a->o->control ? frame_code(t, str_of(a->o->control)) : 0;
    for (size_t i = 0; i < ARRAY_LEN(USUAL) && !*a->o->control && !a->control; i++)
        a->control = frame_code(t, str_of(USUAL[i]));
    if (a->control)
        return 0;
    fprintf(stderr, "%s: %s: which %s was not treated? Say --control VALUE; there are", COMMAND,
            a->frame->path, t->name);
    for (size_t i = 1; i < MIN(t->n_values, 20); i++)
        fprintf(stderr, " \"%.*s\"%s", (int)MIN(t->value[i].n, 40), t->value[i].p,
                i + 1 < MIN(t->n_values, 20) ? "," : "\n");
    return -EINVAL;
}

static int find_features(struct analysis *a) {
    const struct frame_column *without[FEATURE_COLUMNS_MAX];
    size_t n_without = 0;
    int err = 0;
    for (size_t i = 0; i < a->o->without.n && err == 0; i++)
        err = frame_match(COMMAND, a->frame, a->o->without.v[i], without, FEATURE_COLUMNS_MAX,
                          &n_without);
    for (size_t i = 0; i < a->o->features.n && err == 0; i++)
        err = frame_match(COMMAND, a->frame, a->o->features.v[i], a->feature, FEATURE_COLUMNS_MAX,
                          &a->n_features);
    for (size_t i = 0; i < n_without; i++)
        for (size_t k = 0; k < a->n_features; k++)
            if (a->feature[k] == without[i])
                a->feature[k--] = a->feature[--a->n_features];
    if (err == 0 && a->n_features)
        err = features_new(COMMAND, a->frame, a->feature, a->n_features, 0, true, &a->x);
    if (err == 0 && 2 * a->x.x.dim > RIDGE_DIM_MAX) {
        fprintf(stderr, "%s: %zu features are too many, at most %d; name fewer columns\n", COMMAND,
                a->x.x.dim, RIDGE_DIM_MAX / 2);
        err = -EINVAL;
    }
    return err;
}

static int read_people(struct analysis *a, const char *path) {
    static const struct frame_role ROLE[ROLES] = {
        {"outcome",
         {"outcome", "reward", "converted", "conversion"},
         "Say --map COLUMN=outcome for what treatments should change.",
         NULL},
        {"treatment",
         {"treatment", "arm", "segment", "group"},
         "Say --map COLUMN=treatment for what was done to people.",
         NULL},
    };
    memcpy(a->role, ROLE, sizeof ROLE);
    int err = frame_read(COMMAND, path, &a->frame);
    if (err == 0)
        err = frame_filter(COMMAND, a->frame, a->o->where.v, a->o->where.n);
    if (err == 0)
        err = frame_roles(COMMAND, a->frame, a->o->maps.v, a->o->maps.n, a->role, ROLES);
    if (err == 0)
        err = find_control(a);
    if (err == 0)
        err = find_features(a);
    if (err == 0 && !(a->y = calloc(a->frame->n, sizeof *a->y)))
        err = -ENOMEM;
    a->binary = true;
    for (size_t i = 0; err == 0 && i < a->frame->n; i++) {
        err =
            frame_bounded(COMMAND, a->frame, a->role[OUTCOME].column, i, 0, -1e12, 1e12, &a->y[i]);
        a->binary &= a->y[i] == 0 || a->y[i] == 1;
    }
    return err;
}

/* ---- average effects --------------------------------------------------------------- */

/* Outcomes of a treatment and the control among the rows where `column` has `code` (NULL: all). */
static void compare(const struct analysis *a, uint32_t treatment, const struct frame_column *column,
                    uint32_t code, struct moments *ret_control, struct moments *ret_treated) {
    const uint32_t *arm = a->role[TREATMENT].column->code;
    *ret_control = *ret_treated = (struct moments){0};
    for (size_t i = 0; i < a->frame->n; i++)
        if ((arm[i] == treatment || arm[i] == a->control) && (!column || column->code[i] == code))
            moments_add(arm[i] == treatment ? ret_treated : ret_control, a->y[i], 0);
}

static struct interval effect_range(const struct analysis *a, const struct moments *c,
                                    const struct moments *t) {
    double z = z_fixed(a->o->level);
    if (a->binary)
        return gap_interval(c->y * c->n, c->n, t->y * t->n, t->n, z);
    return mean_interval(mean_difference(mean_of(c), mean_of(t)), z);
}

static void average(const struct analysis *a, uint32_t treatment, struct uplift_arm *ret) {
    struct moments c, t;
    compare(a, treatment, NULL, 0, &c, &t);
    ret->name = a->role[TREATMENT].column->value[treatment];
    ret->control = mean_of(&c);
    ret->outcome = mean_of(&t);
    ret->effect = mean_difference(ret->control, ret->outcome);
    ret->effect_range = effect_range(a, &c, &t);
    ret->lift_range = lift_interval(ret->control, ret->outcome, z_fixed(a->o->level));
    for (size_t k = 0; k < a->n_features; k++) {
        const struct frame_column *f = a->feature[k];
        for (uint32_t v = 1; f->n_values <= FEW_VALUES + 1 && v < f->n_values; v++) {
            compare(a, treatment, f, v, &c, &t);
            if (c.n < GROUP_PEOPLE || t.n < GROUP_PEOPLE || ret->n_groups == UPLIFT_GROUPS_MAX)
                continue;
            struct uplift_part *g = &ret->group[ret->n_groups++];
            snprintf(g->name, sizeof g->name, "%.40s = %.*s", f->name, (int)MIN(f->value[v].n, 40),
                     f->value[v].p);
            g->n = c.n + t.n;
            g->predicted = NAN;
            g->effect = mean_difference(mean_of(&c), mean_of(&t));
            g->range = effect_range(a, &c, &t);
        }
    }
}

/* ---- conditional effects ------------------------------------------------------------ */

static int pair_new(const struct analysis *a, uint32_t treatment, struct pair *p) {
    const uint32_t *arm = a->role[TREATMENT].column->code;
    for (size_t i = 0; i < a->frame->n; i++)
        p->n += arm[i] == treatment || arm[i] == a->control;
    p->row = calloc(p->n, sizeof *p->row);
    p->treated = calloc(p->n, sizeof *p->treated);
    p->y = calloc(p->n, sizeof *p->y);
    p->two_model = calloc(p->n, sizeof *p->two_model);
    p->learner = calloc(p->n, sizeof *p->learner);
    p->fold = calloc(p->n, sizeof *p->fold);
    if (!p->row || !p->treated || !p->y || !p->two_model || !p->learner || !p->fold)
        return -ENOMEM;
    size_t n = 0;
    for (size_t i = 0; i < a->frame->n; i++) {
        if (arm[i] != treatment && arm[i] != a->control)
            continue;
        uint64_t line = a->frame->line[i];
        p->row[n] = i;
        p->treated[n] = arm[i] == treatment;
        p->y[n] = a->y[i];
        p->fold[n++] = (uint32_t)(hash_bytes(&line, sizeof line, (uint64_t)a->o->seed) %
                                  (uint64_t)a->o->folds);
    }
    return 0;
}

/* The outcome of one arm by a regression of its own, learned outside the fold; added with `sign` to
 * the scores within it. */
static int fit_outcome(const struct analysis *a, struct pair *p, uint32_t fold, bool treated,
                       double sign) {
    const struct sparse *all = &a->x.x;
    size_t used = 0, n = 0;
    autofree(free) size_t *start = calloc(p->n + 1, sizeof *start);
    autofree(free) uint32_t *index = calloc(all->start[all->n] + 1, sizeof *index);
    autofree(free) float *value = calloc(all->start[all->n] + 1, sizeof *value);
    autofree(free) double *y = calloc(p->n + 1, sizeof *y), *b = calloc(all->dim, sizeof *b);
    if (!start || !index || !value || !y || !b)
        return -ENOMEM;
    for (size_t i = 0; i < p->n; i++) {
        size_t from = all->start[p->row[i]], length = all->start[p->row[i] + 1] - from;
        if (p->fold[i] == fold || p->treated[i] != treated)
            continue;
        memcpy(index + used, all->index + from, length * sizeof *index);
        memcpy(value + used, all->value + from, length * sizeof *value);
        y[n] = p->y[i];
        start[++n] = used += length;
    }
    enum linear_link link = a->binary ? LINK_LOGIT : LINK_IDENTITY;
    struct sparse x = {n, all->dim, start, index, value};
    int err = linear_fit(&x, y, NULL, link, a->o->penalty, b);
    for (size_t i = 0; i < p->n && err == 0; i++) {
        size_t from = all->start[p->row[i]], length = all->start[p->row[i] + 1] - from;
        double score = linear_score(b, all->index + from, all->value + from, length);
        if (p->fold[i] == fold)
            p->two_model[i] += sign * linear_mean(link, score);
    }
    return err;
}

static void dense_row(const struct sparse *x, size_t i, float *ret) {
    memset(ret, 0, x->dim * sizeof *ret);
    for (size_t k = x->start[i]; k < x->start[i + 1]; k++)
        ret[x->index[k]] = x->value[k];
}

/* The learner, fitted outside the fold, scores those within. */
static int fit_learner(const struct analysis *a, struct pair *p, uint32_t fold) {
    size_t dim = a->x.x.dim, n = 0, treated = 0;
    struct uplift_config c =
        uplift_defaults(a->binary ? UPLIFT_LOGIT : UPLIFT_LINEAR, (uint32_t)dim, 2);
    autofree(uplift_free) struct uplift *u = NULL;
    autofree(free) float *x = calloc((p->n + 1) * dim, sizeof *x);
    autofree(free) struct uplift_sample *s = calloc(p->n + 1, sizeof *s);
    double share[2];
    int err = x && s ? uplift_new(&c, &u) : -ENOMEM;
    for (size_t i = 0; i < p->n && err == 0; i++) {
        if (p->fold[i] == fold)
            continue;
        dense_row(&a->x.x, p->row[i], x + n * dim);
        treated += p->treated[i];
        s[n] = (struct uplift_sample){x + n * dim, p->treated[i], p->y[i], share, 1, 0};
        n++;
    }
    share[1] = (double)treated / (double)MAX(n, 1);
    share[0] = 1 - share[1];
    if (err == 0)
        err = uplift_fit(u, s, n, 5, (uint64_t)a->o->seed);
    for (size_t i = 0; i < p->n && err == 0; i++) {
        double sd;
        if (p->fold[i] != fold)
            continue;
        dense_row(&a->x.x, p->row[i], x);
        uplift_effect(u, x, 1, &p->learner[i], &sd);
    }
    return err;
}

static int by_effect(const void *a, const void *b, void *scores) {
    double x = ((const double *)scores)[*(const size_t *)a];
    double y = ((const double *)scores)[*(const size_t *)b];
    return (x < y) - (x > y);
}

/* Fifths of people by predicted effect: what was predicted, and what was. */
static int bands(const struct analysis *a, const struct pair *p, struct uplift_arm *ret) {
    autofree(free) size_t *order = calloc(p->n, sizeof *order);
    if (!order)
        return -ENOMEM;
    for (size_t i = 0; i < p->n; i++)
        order[i] = i;
    qsort_r(order, p->n, sizeof *order, by_effect, p->learner);
    for (size_t k = 0; k < UPLIFT_BANDS; k++) {
        size_t from = k * p->n / UPLIFT_BANDS, to = (k + 1) * p->n / UPLIFT_BANDS;
        struct moments c = {0}, t = {0}, predicted = {0};
        for (size_t j = from; j < to; j++) {
            size_t i = order[j];
            moments_add(p->treated[i] ? &t : &c, p->y[i], 0);
            moments_add(&predicted, p->learner[i], 0);
        }
        struct uplift_part *b = &ret->band[k];
        snprintf(b->name, sizeof b->name, "%zu to %zu %%", k * 100 / UPLIFT_BANDS,
                 (k + 1) * 100 / UPLIFT_BANDS);
        b->n = (double)(to - from);
        b->predicted = predicted.y;
        b->effect = mean_difference(mean_of(&c), mean_of(&t));
        b->range = effect_range(a, &c, &t);
    }
    return 0;
}

static int conditional(const struct analysis *a, uint32_t treatment, struct progress *progress,
                       struct uplift_arm *ret) {
    struct pair p = {0};
    struct qini_result both[2];
    int err = pair_new(a, treatment, &p);
    for (uint32_t fold = 0; fold < (uint32_t)a->o->folds && err == 0; fold++) {
        err = fit_outcome(a, &p, fold, true, 1);
        if (err == 0)
            err = fit_outcome(a, &p, fold, false, -1);
        if (err == 0)
            err = fit_learner(a, &p, fold);
        progress_show(progress, 0, fold + 1, ret->name.p);
    }
    struct qini_people people = {p.n, p.y, p.treated, {p.two_model, p.learner}, 2};
    struct qini_config c = {a->o->level, (uint32_t)a->o->resamples, (uint64_t)a->o->seed};
    if (err == 0)
        err = qini_measure(&people, &c, both);
    if (err == 0)
        err = bands(a, &p, ret);
    if (err == 0) {
        ret->two_model = both[0];
        ret->learner = both[1];
    }
    pair_free(&p);
    return err;
}

/* ---- everything ----------------------------------------------------------------------- */

/* "1,1,1": how arms should have been filled, in the order of their first row. */
static int mismatch(const struct analysis *a, double *ret) {
    const struct frame_column *t = a->role[TREATMENT].column;
    size_t n = t->n_values - 1, got = 0;
    autofree(free) double *count = calloc(n + 1, sizeof *count),
                          *share = calloc(n + 1, sizeof *share);
    if (!count || !share)
        return -ENOMEM;
    *ret = NAN;
    if (!*a->o->shares)
        return 0;
    for (size_t i = 0; i < a->frame->n; i++)
        if (t->code[i])
            count[t->code[i] - 1]++;
    for (const char *p = a->o->shares; *p && got <= n;) {
        char *end;
        share[got++] = strtod(p, &end);
        if (end == p || !(share[got - 1] >= 0)) {
            got = n + 1;
            break;
        }
        p = *end == ',' ? end + 1 : end;
    }
    if (got != n) {
        fprintf(stderr, "%s: --shares %s: %zu numbers as in 1,1,2, for", COMMAND, a->o->shares, n);
        for (size_t i = 1; i <= n; i++)
            fprintf(stderr, " \"%.*s\"%s", (int)MIN(t->value[i].n, 40), t->value[i].p,
                    i < n ? "," : "\n");
        return -EINVAL;
    }
    *ret = ratio_mismatch(count, share, n);
    return 0;
}

static int analyse(struct analysis *a) {
    const struct frame_column *t = a->role[TREATMENT].column;
    struct uplift_view v = {.log = a->frame->path,
                            .outcome = a->role[OUTCOME].column->name,
                            .control = t->value[a->control],
                            .n = a->frame->n,
                            .features = a->x.x.dim ? a->x.x.dim - 1 : 0,
                            .folds = (size_t)a->o->folds,
                            .binary = a->binary,
                            .level = a->o->level};
    struct progress progress = {.what = "learning", .unit = "folds"};
    a->arms = calloc(t->n_values, sizeof *a->arms);
    int err = a->arms ? mismatch(a, &v.mismatch) : -ENOMEM;
    for (uint32_t code = 1; code < t->n_values && err == 0; code++) {
        struct uplift_arm *arm = &a->arms[a->n_arms];
        if (code == a->control)
            continue;
        average(a, code, arm);
        if (arm->outcome.n < 2) /* left out by --where */
            continue;
        if (a->n_features)
            err = conditional(a, code, &progress, arm);
        a->n_arms++;
    }
    progress_done(&progress, a->n_arms);
    if (err < 0)
        return err;
    v.arms = a->arms;
    v.n_arms = a->n_arms;
    if (strcmp(a->o->json, "-") != 0)
        uplift_view_print(&v);
    if (*a->o->json)
        err = uplift_view_json(&v, a->o->json);
    if (err == 0 && *a->o->report)
        err = uplift_view_page(&v, a->o->report);
    return err;
}

int cmd_uplift(int argc, char **argv) {
    struct options o = {.control = "",
                        .shares = "",
                        .json = "",
                        .report = "",
                        .penalty = 1,
                        .level = .95,
                        .folds = 5,
                        .resamples = 500,
                        .seed = 1};
    const struct flag flags[] = {
        {"map", FLAG_LIST, &o.maps, "COLUMN=FIELD", "which column is the outcome, the treatment", 0,
         0},
        {"control", FLAG_STR, &o.control, "VALUE",
         "of the treatment: nothing was done (at first: control, 0, none or false)", 0, 0},
        {"feature", FLAG_LIST, &o.features, "COLUMN",
         "what was known of people before; PRE* is every column that begins so. Nothing that came "
         "after the treatment! Without it only average effects are told",
         0, 0},
        {"without", FLAG_LIST, &o.without, "COLUMN", "not this one, when PRE* or * took it along",
         0, 0},
        {"where", FLAG_LIST, &o.where, "COLUMN=VALUE", "only rows that have this", 0, 0},
        {"shares", FLAG_STR, &o.shares, "N,N,…",
         "how arms should have been filled: warns if they are not", 0, 0},
        {"folds", FLAG_INT, &o.folds, "N", "everybody is ranked by models of the other parts", 2,
         50},
        {"penalty", FLAG_NUM, &o.penalty, "L", "of the two models' coefficients", 1e-6, 1e9},
        {"level", FLAG_NUM, &o.level, "P", "of the intervals", .5, .999},
        {"resamples", FLAG_INT, &o.resamples, "N", "of the bootstrap", 10, 10000},
        {"seed", FLAG_INT, &o.seed, "N", "of folds and bootstrap", 0, 1e15},
        {"report", FLAG_STR, &o.report, "FILE", "a page (HTML) with plots", 0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
    };
    const struct usage usage = {
        .synopsis = "uplift LOG --map COLUMN=outcome --map COLUMN=treatment [--feature COLUMN]…",
        .text =
            "What did a treatment change, and for whom? Reads people who were treated by chance: "
            "one row each, with treatment, outcome (empty: 0) and what was known before. Tells the "
            "average effect of each treatment against the control, and with --feature how well a "
            "learner of conditional effects ranks people it has not seen: Qini and AUUC with "
            "intervals, beside two models, one for each arm, as most people do it first.\n"
            "A positive Qini coefficient with its interval means: treat those with the highest "
            "predicted effect, and much of the effect is had at a part of the cost.",
        .examples =
            "  beckon uplift mailing.csv.gz --map visit=outcome --map segment=treatment \\\n"
            "      --control 'No E-Mail' --feature recency --feature history --report "
            "uplift.html\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    struct flag_list args = {0};
    int r = cli_parse(&usage, argc, argv, &args, NULL);
    if (r)
        return r - 1;
    struct analysis a = {.o = &o};
    int err = read_people(&a, args.v[0]);
    if (err == 0)
        err = analyse(&a);
    if (err == -ENOMEM)
        fprintf(stderr, "%s: out of memory\n", COMMAND);
    if (err == -EDOM)
        fprintf(stderr, "%s: the features are too large or too many to solve for; name fewer\n",
                COMMAND);
    analysis_free(&a);
    flag_list_clear(&args);
    flag_list_clear(&o.maps);
    flag_list_clear(&o.where);
    flag_list_clear(&o.features);
    flag_list_clear(&o.without);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
