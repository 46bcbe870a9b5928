#include "consumer/uplift_view.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/plot.h"

/* An effect for people: points of a share, or the outcome's own unit. */
static void effect_text(const struct uplift_view *v, double x, char ret[static 32]) {
    if (v->binary)
        snprintf(ret, 32, "%+.2f points", 100 * x);
    else
        snprintf(ret, 32, "%+.4g", x);
}

static void range_text(const struct uplift_view *v, struct interval r, char ret[static 64]) {
    if (v->binary)
        snprintf(ret, 64, "%+.2f to %+.2f", 100 * r.low, 100 * r.high);
    else
        snprintf(ret, 64, "%+.4g to %+.4g", r.low, r.high);
}

static void qini_text(const struct qini_estimate *q, char ret[static 64]) {
    snprintf(ret, 64, "%.5f (%.5f to %.5f)", q->value, q->range.low, q->range.high);
}

/* ---- terminal ----------------------------------------------------------------- */

static void print_arm(const struct uplift_view *v, const struct uplift_arm *a) {
    char effect[32], range[64], one[64], two[64], ahead[64];
    effect_text(v, a->effect.value, effect);
    range_text(v, a->effect_range, range);
    printf("\n%.*s: %.0f people, %s %.5g against %.5g\n", (int)a->name.n, a->name.p, a->outcome.n,
           v->outcome, a->outcome.value, a->control.value);
    printf("  average effect   %s   (%s)\n", effect, range);
    printf("  lift             %+.1f %%   (%+.1f to %+.1f)\n", 100 * lift(a->control, a->outcome),
           100 * a->lift_range.low, 100 * a->lift_range.high);
    if (!v->features)
        return;
    qini_text(&a->learner.qini, one);
    qini_text(&a->two_model.qini, two);
    qini_text(&a->learner.ahead, ahead);
    printf("  Qini, held out   %s\n    two models     %s\n    ahead by       %s\n", one, two,
           ahead);
    qini_text(&a->learner.auuc, one);
    qini_text(&a->two_model.auuc, two);
    printf("  AUUC             %s\n    two models     %s\n", one, two);
    printf("  by predicted effect:\n");
    for (size_t k = 0; k < UPLIFT_BANDS; k++) {
        effect_text(v, a->band[k].effect.value, effect);
        range_text(v, a->band[k].range, range);
        effect_text(v, a->band[k].predicted, one);
        printf("    %-12s predicted %s, was %s (%s)\n", a->band[k].name, one, effect, range);
    }
}

void uplift_view_print(const struct uplift_view *v) {
    printf("%s: %zu people, outcome %s, control %.*s\n", v->log, v->n, v->outcome,
           (int)v->control.n, v->control.p);
    if (!isnan(v->mismatch) && v->mismatch < .001)
        printf("warning: arms are not filled as planned (p = %.2g): something decides who is "
               "counted; do not trust the effects before you know what\n",
               v->mismatch);
    for (size_t i = 0; i < v->n_arms; i++)
        print_arm(v, &v->arms[i]);
    if (v->features)
        printf("\nQini: area between the curve and a random order, outcomes per person. Everybody "
               "is ranked by models that\ndid not see him (%zu folds, %zu features).\n",
               v->folds, v->features);
}

/* ---- JSON --------------------------------------------------------------------- */

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *estimate_json(double value, struct interval r) {
    return json_pack("{s:o,s:o,s:o}", "value", real_or_null(value), "low", real_or_null(r.low),
                     "high", real_or_null(r.high));
}

static json_t *qini_json(const struct qini_result *q) {
    json_t *o = json_object(), *curve = json_array();
    for (size_t k = 0; k < QINI_POINTS; k++)
        json_array_append_new(curve, json_pack("[f,o,o,o]", (double)k / (QINI_POINTS - 1),
                                               real_or_null(q->curve[k]), real_or_null(q->low[k]),
                                               real_or_null(q->high[k])));
    json_object_set_new(o, "qini", estimate_json(q->qini.value, q->qini.range));
    json_object_set_new(o, "auuc", estimate_json(q->auuc.value, q->auuc.range));
    json_object_set_new(o, "curve", curve);
    return o;
}

static json_t *parts_json(const struct uplift_part *p, size_t n) {
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = estimate_json(p[i].effect.value, p[i].range);
        json_object_set_new(o, "name", json_string(p[i].name));
        json_object_set_new(o, "people", json_real(p[i].n));
        json_object_set_new(o, "predicted", real_or_null(p[i].predicted));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *arm_json(const struct uplift_view *v, const struct uplift_arm *a) {
    json_t *o = json_object();
    json_object_set_new(o, "people", json_real(a->outcome.n));
    json_object_set_new(o, "outcome", real_or_null(a->outcome.value));
    json_object_set_new(o, "control", real_or_null(a->control.value));
    json_object_set_new(o, "effect", estimate_json(a->effect.value, a->effect_range));
    json_object_set_new(o, "lift", estimate_json(lift(a->control, a->outcome), a->lift_range));
    json_object_set_new(o, "groups", parts_json(a->group, a->n_groups));
    if (!v->features)
        return o;
    json_object_set_new(o, "learner", qini_json(&a->learner));
    json_object_set_new(o, "two_models", qini_json(&a->two_model));
    json_object_set_new(o, "ahead", estimate_json(a->learner.ahead.value, a->learner.ahead.range));
    json_object_set_new(o, "bands", parts_json(a->band, UPLIFT_BANDS));
    return o;
}

int uplift_view_json(const struct uplift_view *v, const char *path) {
    json_t *o = json_object(), *arms = json_object();
    for (size_t i = 0; i < v->n_arms; i++)
        json_object_setn_new(arms, v->arms[i].name.p, v->arms[i].name.n, arm_json(v, &v->arms[i]));
    json_object_set_new(o, "people", json_integer((json_int_t)v->n));
    json_object_set_new(o, "outcome", json_string(v->outcome));
    json_object_set_new(o, "control", json_stringn(v->control.p, v->control.n));
    json_object_set_new(o, "level", json_real(v->level));
    json_object_set_new(o, "sample_ratio_p", real_or_null(v->mismatch));
    json_object_set_new(o, "arms", arms);
    int r = cli_write_json("beckon uplift", path, o);
    json_decref(o);
    return r;
}

/* ---- page ----------------------------------------------------------------------- */

static void draw_curves(struct page *p, const struct uplift_arm *a) {
    double x[QINI_POINTS], line[QINI_POINTS];
    for (size_t k = 0; k < QINI_POINTS; k++) {
        x[k] = (double)k / (QINI_POINTS - 1);
        line[k] = x[k] * a->learner.curve[QINI_POINTS - 1];
    }
    plot_draw(
        p,
        &(struct plot){
            .title = "Qini curve",
            .text = "What is won by treating only those with the highest predicted effect. "
                    "The further above the dashed line, the better the order; band: "
                    "interval at each point.",
            .x = {.label = "share of people treated", .unit = UNIT_PERCENT, .max = 1},
            .y = {.label = "outcomes won per person"},
            .series =
                (struct plot_series[]){
                    {.name = "learner",
                     .n = QINI_POINTS,
                     .x = x,
                     .y = a->learner.curve,
                     .low = a->learner.low,
                     .high = a->learner.high},
                    {.name = "two models", .n = QINI_POINTS, .x = x, .y = a->two_model.curve},
                    {.name = "random order", .n = QINI_POINTS, .x = x, .y = line, .dashed = true}},
            .n_series = 3});
}

static void draw_bands(struct page *p, const struct uplift_view *v, const struct uplift_arm *a) {
    const char *names[UPLIFT_BANDS];
    double was[UPLIFT_BANDS], low[UPLIFT_BANDS], high[UPLIFT_BANDS], predicted[UPLIFT_BANDS];
    for (size_t k = 0; k < UPLIFT_BANDS; k++) {
        names[k] = a->band[k].name;
        was[k] = a->band[k].effect.value;
        low[k] = a->band[k].range.low;
        high[k] = a->band[k].range.high;
        predicted[k] = a->band[k].predicted;
    }
    plot_draw(p, &(struct plot){
                     .title = "Effect by predicted effect",
                     .text = "People in five parts, those with the highest predicted effect first.",
                     .x = {.names = names, .n_names = UPLIFT_BANDS},
                     .y = {.label = "effect", .unit = v->binary ? UNIT_PERCENT : UNIT_NUMBER},
                     .series = (struct plot_series[]){{.name = "observed",
                                                       .mark = MARK_BARS,
                                                       .n = UPLIFT_BANDS,
                                                       .y = was,
                                                       .low = low,
                                                       .high = high},
                                                      {.name = "predicted",
                                                       .mark = MARK_POINTS,
                                                       .n = UPLIFT_BANDS,
                                                       .y = predicted}},
                     .n_series = 2});
}

static void draw_groups(struct page *p, const struct uplift_view *v, const struct uplift_arm *a) {
    struct plot_row rows[UPLIFT_GROUPS_MAX];
    for (size_t i = 0; i < a->n_groups; i++)
        rows[i] = (struct plot_row){a->group[i].name, a->group[i].effect.value,
                                    a->group[i].range.low, a->group[i].range.high, false};
    plot_draw_rows(p, &(struct plot_rows){
                          .title = "Effect by what is known of people",
                          .text = "Dashed: the average effect. Many parts are compared here; one "
                                  "that stands out may do so by chance.",
                          .x = {.label = "effect", .unit = v->binary ? UNIT_PERCENT : UNIT_NUMBER},
                          .rows = rows,
                          .n_rows = a->n_groups,
                          .level = &a->effect.value});
}

static void page_arm(struct page *p, const struct uplift_view *v, const struct uplift_arm *a) {
    char effect[32], range[64], lifted[64], by[32], qini[32], qini_range[64], name[96];
    snprintf(name, sizeof name, "%.*s against %.*s", (int)MIN(a->name.n, 40), a->name.p,
             (int)MIN(v->control.n, 40), v->control.p);
    page_heading(p, name);
    effect_text(v, a->effect.value, effect);
    range_text(v, a->effect_range, range);
    snprintf(by, sizeof by, "%+.1f %%", 100 * lift(a->control, a->outcome));
    snprintf(lifted, sizeof lifted, "%+.1f to %+.1f", 100 * a->lift_range.low,
             100 * a->lift_range.high);
    snprintf(qini, sizeof qini, "%.5f", a->learner.qini.value);
    snprintf(qini_range, sizeof qini_range, "%.5f to %.5f", a->learner.qini.range.low,
             a->learner.qini.range.high);
    struct page_tile tiles[] = {
        {effect, "average effect", range,
         a->effect_range.low > 0    ? TONE_GOOD
         : a->effect_range.high < 0 ? TONE_BAD
                                    : TONE_PLAIN},
        {by, "lift", lifted, TONE_PLAIN},
        {qini, "Qini coefficient, held out", qini_range,
         a->learner.qini.range.low > 0 ? TONE_GOOD : TONE_WARN},
    };
    page_tiles(p, tiles, v->features ? 3 : 2);
    if (v->features) {
        draw_curves(p, a);
        draw_bands(p, v, a);
    }
    if (a->n_groups)
        draw_groups(p, v, a);
}

int uplift_view_page(const struct uplift_view *v, const char *path) {
    struct page p = {0};
    page_begin(&p, "Uplift", v->log);
    page_text(&p, "What did each treatment change in %s, for whom? %zu people, treated by chance.",
              v->outcome, v->n);
    if (!isnan(v->mismatch) && v->mismatch < .001)
        page_note(&p, TONE_BAD,
                  "Arms are not filled as planned (p = %.2g): something decides who is counted. Do "
                  "not trust the effects before you know what.",
                  v->mismatch);
    for (size_t i = 0; i < v->n_arms; i++)
        page_arm(&p, v, &v->arms[i]);
    int r = page_save(&p, path);
    page_free(&p);
    if (r < 0)
        fprintf(stderr, "beckon uplift: cannot write %s: %s\n", path, strerror(-r));
    return r;
}
