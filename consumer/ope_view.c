#include "consumer/ope_view.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/plot.h"

static const char *const TITLES[OPE_ESTIMATORS] = {"direct method", "IPS", "SNIPS", "doubly robust",
                                                   "Switch-DR"};

static bool shown(const struct ope_view *v, int e) {
    return v->modelled || e == OPE_IPS || e == OPE_SNIPS;
}

/* ---- terminal ----------------------------------------------------------------- */

static void print_estimates(const struct ope_view *v, const struct ope_result *r) {
    printf("\n  %-14s %10s  %9s  %23s  %23s\n", "", "value", "std error", "studentized interval",
           "bootstrap interval");
    for (int e = 0; e < OPE_ESTIMATORS; e++) {
        const struct ope_estimate *by = &r->by[e];
        if (shown(v, e))
            printf("  %-14s %10.6f  %9.6f  %10.6f to %9.6f  %10.6f to %9.6f\n", TITLES[e],
                   by->value, by->se, by->low, by->high, by->boot_low, by->boot_high);
    }
    printf("  %-14s %10.6f  %9.6f\n", "logging policy", r->logged, r->logged_se);
}

static void print_warnings(const struct ope_result *r, const char *where) {
    for (int i = 0; i < OPE_WARNINGS; i++)
        if (r->warnings & 1u << i)
            printf("  warning%s: %s\n", where, ope_warning_text((enum ope_warning)(1u << i)));
}

void ope_view_print(const struct ope_view *v) {
    const struct ope_result *r = v->all;
    printf("%s: %zu rounds, %zu actions", v->log, r->n, v->n_actions);
    if (v->n_positions > 1)
        printf(", %zu positions", v->n_positions);
    printf("\nvalue per round of: %s\n", v->policy);
    print_estimates(v, r);
    if (!isnan(v->truth))
        printf("  %-14s %10.6f  %9.6f   (what it earned itself, %zu rounds)\n", "in its own log",
               v->truth, v->truth_se, v->truth_n);
    printf("\n  effective sample %.0f of %zu   mean weight %.4f +- %.4f   largest %.2f   rewarded "
           "rounds %zu\n",
           r->effective, r->n, r->weight_mean, r->weight_mean_se, r->weight_max, r->rewarded);
    if (r->clipped > 0)
        printf("  clipped: %.2f %% of rounds\n", 100 * r->clipped);
    for (size_t p = 0; v->by_position && p < v->n_positions; p++) {
        const struct ope_result *at = &v->by_position[p];
        if (p == 0)
            printf("\n  %-14s %8s %9s %10s %10s %10s %10s\n", "position", "rounds", "effective",
                   "logged", "SNIPS", v->modelled ? "DR" : "", "std error");
        printf("  %-14.*s %8zu %9.0f %10.6f %10.6f ", (int)v->positions[p].n, v->positions[p].p,
               at->n, at->effective, at->logged, at->by[OPE_SNIPS].value);
        if (v->modelled)
            printf("%10.6f %10.6f\n", at->by[OPE_DR].value, at->by[OPE_DR].se);
        else
            printf("%10s %10.6f\n", "", at->by[OPE_SNIPS].se);
    }
    if (r->warnings)
        printf("\n");
    print_warnings(r, "");
}

/* ---- JSON --------------------------------------------------------------------- */

static json_t *real_or_null(double v) {
    return isfinite(v) ? json_real(v) : json_null();
}

static json_t *result_json(const struct ope_view *v, const struct ope_result *r) {
    json_t *o = json_object(), *by = json_object(), *warnings = json_array();
    for (int e = 0; e < OPE_ESTIMATORS; e++) {
        const struct ope_estimate *x = &r->by[e];
        if (shown(v, e))
            json_object_set_new(by, ope_estimator_name((enum ope_estimator)e),
                                json_pack("{s:o,s:o,s:[o,o],s:[o,o]}", "value",
                                          real_or_null(x->value), "se", real_or_null(x->se),
                                          "studentized", real_or_null(x->low),
                                          real_or_null(x->high), "bootstrap",
                                          real_or_null(x->boot_low), real_or_null(x->boot_high)));
    }
    for (int i = 0; i < OPE_WARNINGS; i++)
        if (r->warnings & 1u << i)
            json_array_append_new(warnings,
                                  json_string(ope_warning_text((enum ope_warning)(1u << i))));
    json_object_set_new(o, "rounds", json_integer((json_int_t)r->n));
    json_object_set_new(o, "estimates", by);
    json_object_set_new(
        o, "logged",
        json_pack("{s:o,s:o}", "value", real_or_null(r->logged), "se", real_or_null(r->logged_se)));
    json_object_set_new(o, "effective_sample", real_or_null(r->effective));
    json_object_set_new(o, "weights",
                        json_pack("{s:o,s:o,s:o,s:o,s:o}", "mean", real_or_null(r->weight_mean),
                                  "mean_se", real_or_null(r->weight_mean_se), "largest",
                                  real_or_null(r->weight_max), "heaviest_share",
                                  real_or_null(r->heaviest), "clipped_share",
                                  real_or_null(r->clipped)));
    json_object_set_new(o, "without_support", real_or_null(r->lost));
    json_object_set_new(o, "rewarded_rounds", json_integer((json_int_t)r->rewarded));
    json_object_set_new(o, "warnings", warnings);
    return o;
}

int ope_view_json(const struct ope_view *v, const char *path) {
    json_t *o = result_json(v, v->all), *positions = json_object();
    json_object_set_new(o, "policy", json_string(v->policy));
    json_object_set_new(o, "level", json_real(v->level));
    json_object_set_new(o, "actions", json_integer((json_int_t)v->n_actions));
    if (!isnan(v->truth))
        json_object_set_new(o, "own_log",
                            json_pack("{s:f,s:f,s:I}", "value", v->truth, "se", v->truth_se,
                                      "rounds", (json_int_t)v->truth_n));
    for (size_t p = 0; v->by_position && p < v->n_positions; p++)
        json_object_setn_new(positions, v->positions[p].p, v->positions[p].n,
                             result_json(v, &v->by_position[p]));
    json_object_set_new(o, "positions", positions);
    int r = cli_write_json("beckon ope", path, o);
    json_decref(o);
    return r;
}

/* ---- page ----------------------------------------------------------------------- */

enum { WEIGHT_BINS = 12 };

/* How often which weight occurs: 0, then by factors of two around 1. */
static void draw_weights(struct page *p, const struct ope_view *v) {
    static const char *const NAMES[WEIGHT_BINS] = {"0",       "<1/16", "1/16-1/8", "1/8-1/4",
                                                   "1/4-1/2", "1/2-1", "1-2",      "2-4",
                                                   "4-8",     "8-16",  "16-32",    ">32"};
    double count[WEIGHT_BINS] = {0}, weight[WEIGHT_BINS] = {0}, n = 0, sum = 0;
    for (size_t i = 0; i < v->n; i++) {
        double w = v->rounds[i].weight;
        int bin = w > 0 ? (int)fmin(fmax(floor(log2(w)) + 6, 1), WEIGHT_BINS - 1) : 0;
        count[bin]++;
        weight[bin] += w;
        n++;
        sum += w;
    }
    for (int k = 0; k < WEIGHT_BINS; k++) {
        count[k] /= n;
        weight[k] /= sum > 0 ? sum : 1;
    }
    plot_draw(p,
              &(struct plot){
                  .title = "Weights",
                  .text = "Probability of the logged action under the policy, over its logged "
                          "propensity. When few rounds at the right carry most of the weight, "
                          "the answer rests on them alone.",
                  .x = {.label = "weight", .names = NAMES, .n_names = WEIGHT_BINS},
                  .y = {.label = "share", .unit = UNIT_PERCENT},
                  .series =
                      (struct plot_series[]){
                          {.name = "of rounds", .mark = MARK_BARS, .n = WEIGHT_BINS, .y = count},
                          {.name = "of weight", .mark = MARK_BARS, .n = WEIGHT_BINS, .y = weight}},
                  .n_series = 2});
}

static void draw_estimates(struct page *p, const struct ope_view *v) {
    struct plot_row rows[OPE_ESTIMATORS + 2];
    size_t n = 0;
    double z = 1.96;
    for (int e = 0; e < OPE_ESTIMATORS; e++)
        if (shown(v, e))
            rows[n++] = (struct plot_row){TITLES[e], v->all->by[e].value, v->all->by[e].low,
                                          v->all->by[e].high, false};
    if (!isnan(v->truth))
        rows[n++] = (struct plot_row){"in its own log", v->truth, v->truth - z * v->truth_se,
                                      v->truth + z * v->truth_se, false};
    rows[n++] =
        (struct plot_row){"logging policy", v->all->logged, v->all->logged - z * v->all->logged_se,
                          v->all->logged + z * v->all->logged_se, false};
    plot_draw_rows(p, &(struct plot_rows){
                          .title = "Value per round",
                          .text = "Studentized bootstrap intervals; the dashed line is what the "
                                  "logging policy earned.",
                          .x = {.label = "reward per round"},
                          .rows = rows,
                          .n_rows = n,
                          .level = &v->all->logged});
}

static void table_positions(struct page *p, const struct ope_view *v) {
    static const char *const HEAD[] = {"position", "rounds", "effective",     "logged",
                                       "SNIPS",    "DR",     "interval of DR"};
    static const bool NUMBER[] = {false, true, true, true, true, true, true};
    page_heading(p, "By position");
    page_table(p, HEAD, NUMBER, ARRAY_LEN(HEAD));
    for (size_t i = 0; i < v->n_positions; i++) {
        const struct ope_result *r = &v->by_position[i];
        page_cell(p, "%.*s", (int)v->positions[i].n, v->positions[i].p);
        page_cell(p, "%zu", r->n);
        page_cell(p, "%.0f", r->effective);
        page_cell(p, "%.5f", r->logged);
        page_cell(p, "%.5f", r->by[OPE_SNIPS].value);
        page_cell(p, v->modelled ? "%.5f" : "–", r->by[OPE_DR].value);
        page_cell(p, v->modelled ? "%.5f to %.5f" : "–", r->by[OPE_DR].low, r->by[OPE_DR].high);
    }
    page_table_end(p);
}

static void tiles(struct page *p, const struct ope_view *v) {
    const struct ope_result *r = v->all;
    const struct ope_estimate *best = &r->by[v->modelled ? OPE_DR : OPE_SNIPS];
    char value[32], range[64], logged[32], effective[32], of[32];
    plot_number(value, best->value, UNIT_NUMBER, 0);
    snprintf(range, sizeof range, "%.3g to %.3g", best->low, best->high);
    plot_number(logged, r->logged, UNIT_NUMBER, 0);
    snprintf(effective, sizeof effective, "%.0f", r->effective);
    snprintf(of, sizeof of, "of %zu rounds", r->n);
    page_tiles(p,
               (struct page_tile[]){{value, v->modelled ? "value, doubly robust" : "value, SNIPS",
                                     range, TONE_PLAIN},
                                    {logged, "the logging policy earned", "per round", TONE_PLAIN},
                                    {effective, "effective sample", of,
                                     r->warnings & OPE_FEW_EFFECTIVE ? TONE_WARN : TONE_PLAIN}},
               3);
}

int ope_view_page(const struct ope_view *v, const char *path) {
    struct page p = {0};
    page_begin(&p, "Off-policy evaluation", v->log);
    page_text(&p, "What would each round have earned under another policy? Policy: %s.", v->policy);
    tiles(&p, v);
    for (int i = 0; i < OPE_WARNINGS; i++)
        if (v->all->warnings & 1u << i)
            page_note(&p, TONE_WARN, "%s", ope_warning_text((enum ope_warning)(1u << i)));
    draw_estimates(&p, v);
    if (v->by_position)
        table_positions(&p, v);
    draw_weights(&p, v);
    int r = page_save(&p, path);
    page_free(&p);
    if (r < 0)
        fprintf(stderr, "beckon ope: cannot write %s: %s\n", path, strerror(-r));
    return r;
}
