#include <jansson.h>
#include <math.h>
#include <stdio.h>

#include "consumer/audit.h"
#include "consumer/cli.h"
#include "consumer/plot.h"

static const char *const MEASURE[AUDIT_MEASURES] = {"offered", "got"};

static int measures(const struct audit *a) {
    return a->outcomes ? AUDIT_MEASURES : AUDIT_GOT;
}

static const char *breach_text(unsigned breaches) {
    return breaches & FAIR_RATIO_LOW    ? "too seldom"
           : breaches & FAIR_RATIO_HIGH ? "too often"
           : breaches & FAIR_GAP        ? "too far apart"
                                        : "";
}

static const struct audit_attribute *attribute_of(const struct audit *a,
                                                  const struct audit_row *r) {
    return &a->attribute[r->attribute];
}

/* ---- terminal ------------------------------------------------------------------- */

static void print_breaches(const struct audit *a) {
    for (size_t i = 0; i < a->n_rows; i++)
        for (int m = 0; m < measures(a); m++) {
            const struct audit_row *r = &a->row[i];
            const struct fair_result *f = &r->by[m];
            struct str campaign = audit_campaign(a, r->campaign);
            if (f->breaches)
                printf("breach: %.*s: %s = %s %s %s: %.2f %% against %.2f %% of others, ratio "
                       "%.2f (%.2f to %.2f)\n",
                       (int)campaign.n, campaign.p, attribute_of(a, r)->name,
                       attribute_of(a, r)->group[r->group], MEASURE[m], breach_text(f->breaches),
                       100 * f->rate, 100 * f->rest, f->ratio, f->ratio_range.low,
                       f->ratio_range.high);
        }
}

static void print_group(const struct audit *a, const struct audit_row *r) {
    const struct fair_result *f = &r->by[AUDIT_OFFERED], *g = &r->by[AUDIT_GOT];
    printf("  %-22.22s %8.0f %6.1f %%  %7.2f %%  %5.2f (%.2f to %.2f)",
           attribute_of(a, r)->group[r->group], r->people[AUDIT_OFFERED].n, 100 * f->share,
           100 * f->rate, f->ratio, f->ratio_range.low, f->ratio_range.high);
    if (a->outcomes)
        printf("  %7.2f %%  %5.2f (%.2f to %.2f)", 100 * g->rate, g->ratio, g->ratio_range.low,
               g->ratio_range.high);
    printf("%s\n", f->breaches || g->breaches ? "  breach" : "");
}

static void print_reasons(const struct audit *a) {
    if (a->n_reasons)
        printf("\nwhat became of decisions:\n");
    for (size_t r = 0; r < a->n_reasons; r++)
        if (a->count[r][0])
            printf("  %-22.*s %10llu  %5.1f %%\n", (int)a->reason[r].n, a->reason[r].p,
                   (unsigned long long)a->count[r][0],
                   100 * (double)a->count[r][0] / (double)a->decisions);
}

void audit_print(const struct audit *a, const struct audit_view *v) {
    size_t shown = SIZE_MAX;
    printf("%s: %zu decisions, %zu people, %zu campaigns\n", v->log, a->decisions, a->people,
           a->n_campaigns);
    for (size_t i = 0; i < a->n_rows && a->row[i].campaign == 0; i++) {
        const struct audit_row *r = &a->row[i];
        if (r->people[AUDIT_OFFERED].n == 0)
            continue;
        if (r->attribute != shown)
            printf("\n  %-22.22s %8s %8s  %9s  %-22s%s\n", attribute_of(a, r)->name, "people",
                   "share", "offered", "ratio to others",
                   a->outcomes ? "  got of offered, ratio to others" : "");
        shown = r->attribute;
        print_group(a, r);
    }
    print_reasons(a);
    printf("\n%zu comparisons, intervals hold for all of them together at %g %%\n", a->comparisons,
           100 * v->level);
    print_breaches(a);
    printf("verdict: %s\n", audit_breaches(a) ? "out of bounds" : "within bounds");
}

/* ---- JSON ------------------------------------------------------------------------- */

static json_t *real_or_null(double x) {
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *range_json(struct interval r) {
    return json_pack("[o,o]", real_or_null(r.low), real_or_null(r.high));
}

static json_t *measure_json(const struct fair_group *g, const struct fair_result *f) {
    return json_pack("{s:f,s:f,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:b,s:s}", "of", g->n, "people", g->got,
                     "rate", real_or_null(f->rate), "rate_interval", range_json(f->rate_range),
                     "rate_of_others", real_or_null(f->rest), "ratio", real_or_null(f->ratio),
                     "ratio_interval", range_json(f->ratio_range), "gap", real_or_null(f->gap),
                     "gap_interval", range_json(f->gap_range), "judged", (int)f->judged, "breach",
                     breach_text(f->breaches));
}

static json_t *groups_json(const struct audit *a) {
    json_t *list = json_array();
    for (size_t i = 0; i < a->n_rows; i++) {
        const struct audit_row *r = &a->row[i];
        if (r->people[AUDIT_OFFERED].n == 0)
            continue;
        json_t *o = json_object();
        struct str campaign = audit_campaign(a, r->campaign);
        json_object_set_new(o, "campaign",
                            r->campaign ? json_stringn(campaign.p, campaign.n) : json_null());
        json_object_set_new(o, "attribute", json_string(attribute_of(a, r)->name));
        json_object_set_new(o, "group", json_string(attribute_of(a, r)->group[r->group]));
        json_object_set_new(o, "considered", json_real(r->people[AUDIT_OFFERED].n));
        json_object_set_new(o, "share", real_or_null(r->by[AUDIT_OFFERED].share));
        for (int m = 0; m < measures(a); m++)
            json_object_set_new(o, MEASURE[m], measure_json(&r->people[m], &r->by[m]));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *reasons_json(const struct audit *a) {
    json_t *by = json_object();
    for (size_t k = 0; k <= a->n_campaigns && a->n_reasons; k++) {
        json_t *o = json_object();
        struct str name = audit_campaign(a, k);
        for (size_t r = 0; r < a->n_reasons; r++)
            if (a->count[r][k])
                json_object_setn_new(o, a->reason[r].p, a->reason[r].n,
                                     json_integer((json_int_t)a->count[r][k]));
        json_object_setn_new(by, name.p, name.n, o);
    }
    return by;
}

int audit_json(const struct audit *a, const struct audit_view *v, const char *path) {
    json_t *o = json_object(), *bins = json_array();
    for (int b = 0; b < AUDIT_BINS; b++)
        if (a->bin_n[b] > 0)
            json_array_append_new(bins, json_pack("{s:f,s:f,s:f}", "decisions", a->bin_n[b],
                                                  "propensity", a->bin_p[b] / a->bin_n[b], "sent",
                                                  a->bin_sent[b] / a->bin_n[b]));
    json_object_set_new(o, "decisions", json_integer((json_int_t)a->decisions));
    json_object_set_new(o, "people", json_integer((json_int_t)a->people));
    json_object_set_new(o, "level", json_real(v->level));
    json_object_set_new(o, "comparisons", json_integer((json_int_t)a->comparisons));
    json_object_set_new(o, "groups", groups_json(a));
    json_object_set_new(o, "reasons", reasons_json(a));
    json_object_set_new(o, "calibration", bins);
    json_object_set_new(o, "breaches", json_integer((json_int_t)audit_breaches(a)));
    json_object_set_new(o, "verdict",
                        json_string(audit_breaches(a) ? "out of bounds" : "within bounds"));
    int r = cli_write_json("beckon audit", path, o);
    json_decref(o);
    return r;
}

/* ---- page --------------------------------------------------------------------------- */

static void draw_attribute(struct page *p, const struct audit *a, const struct audit_view *v,
                           const struct audit_row *first, int m) {
    struct plot_row rows[AUDIT_VALUES_MAX + 8];
    char title[120];
    double one = 1;
    size_t n = 0;
    for (size_t g = 0; g < attribute_of(a, first)->n_groups; g++)
        if (first[g].people[m].n > 0)
            rows[n++] =
                (struct plot_row){attribute_of(a, first)->group[g], first[g].by[m].ratio,
                                  first[g].by[m].ratio_range.low, first[g].by[m].ratio_range.high,
                                  first[g].by[m].breaches != 0};
    snprintf(title, sizeof title, "%.60s: %s", attribute_of(a, first)->name,
             m == AUDIT_OFFERED ? "who was offered something" : "who got it, of those offered");
    plot_draw_rows(p, &(struct plot_rows){.title = title,
                                          .x = {.label = "rate, compared with everybody else"},
                                          .rows = rows,
                                          .n_rows = n,
                                          .level = &one,
                                          .zone_low = v->bounds.ratio_low,
                                          .zone_high = v->bounds.ratio_high});
}

static void table_attribute(struct page *p, const struct audit *a, const struct audit_row *first) {
    static const char *const HEAD[] = {"group",   "considered",  "share",
                                       "offered", "gap, points", "got, of offered"};
    static const bool NUMBER[] = {false, true, true, true, true, true};
    page_table(p, HEAD, NUMBER, a->outcomes ? 6 : 5);
    for (size_t g = 0; g < attribute_of(a, first)->n_groups; g++) {
        const struct audit_row *r = &first[g];
        const struct fair_result *f = &r->by[AUDIT_OFFERED];
        if (r->people[AUDIT_OFFERED].n == 0)
            continue;
        page_cell(p, "%s", attribute_of(a, r)->group[g]);
        page_cell(p, "%.0f", r->people[AUDIT_OFFERED].n);
        page_cell(p, "%.1f %%", 100 * f->share);
        page_cell(p, "%.2f %%", 100 * f->rate);
        page_cell(p, "%+.2f (%+.2f to %+.2f)", 100 * f->gap, 100 * f->gap_range.low,
                  100 * f->gap_range.high);
        if (a->outcomes)
            page_cell(p, "%.2f %%", 100 * r->by[AUDIT_GOT].rate);
    }
    page_table_end(p);
}

static void table_breaches(struct page *p, const struct audit *a) {
    static const char *const HEAD[] = {"campaign", "group", "what",    "rate",
                                       "others",   "ratio", "interval"};
    static const bool NUMBER[] = {false, false, false, true, true, true, true};
    page_heading(p, "Out of bounds");
    page_table(p, HEAD, NUMBER, ARRAY_LEN(HEAD));
    for (size_t i = 0; i < a->n_rows; i++)
        for (int m = 0; m < measures(a); m++) {
            const struct audit_row *r = &a->row[i];
            const struct fair_result *f = &r->by[m];
            struct str campaign = audit_campaign(a, r->campaign);
            if (!f->breaches)
                continue;
            page_cell(p, "%.*s", (int)campaign.n, campaign.p);
            page_cell(p, "%s = %s", attribute_of(a, r)->name, attribute_of(a, r)->group[r->group]);
            page_cell(p, "%s %s", MEASURE[m], breach_text(f->breaches));
            page_cell(p, "%.2f %%", 100 * f->rate);
            page_cell(p, "%.2f %%", 100 * f->rest);
            page_cell(p, "%.2f", f->ratio);
            page_cell(p, "%.2f to %.2f", f->ratio_range.low, f->ratio_range.high);
        }
    page_table_end(p);
}

static void table_reasons(struct page *p, const struct audit *a) {
    static const char *const HEAD[] = {"campaign", "reason", "decisions", "share"};
    static const bool NUMBER[] = {false, false, true, true};
    page_heading(p, "What became of decisions");
    page_table(p, HEAD, NUMBER, ARRAY_LEN(HEAD));
    for (size_t k = 0; k <= a->n_campaigns; k++) {
        uint64_t all = 0;
        for (size_t r = 0; r < a->n_reasons; r++)
            all += a->count[r][k];
        for (size_t r = 0; r < a->n_reasons; r++) {
            struct str name = audit_campaign(a, k);
            if (a->count[r][k] == 0)
                continue;
            page_cell(p, "%.*s", (int)name.n, name.p);
            page_cell(p, "%.*s", (int)a->reason[r].n, a->reason[r].p);
            page_cell(p, "%llu", (unsigned long long)a->count[r][k]);
            page_cell(p, "%.1f %%", 100 * (double)a->count[r][k] / (double)all);
        }
    }
    page_table_end(p);
}

static void draw_calibration(struct page *p, const struct audit *a) {
    double x[AUDIT_BINS], y[AUDIT_BINS], low[AUDIT_BINS], high[AUDIT_BINS];
    size_t n = 0;
    for (int b = 0; b < AUDIT_BINS; b++) {
        if (a->bin_n[b] == 0)
            continue;
        struct interval r = share_interval(a->bin_sent[b], a->bin_n[b], z_fixed(.95));
        x[n] = a->bin_p[b] / a->bin_n[b];
        y[n] = a->bin_sent[b] / a->bin_n[b];
        low[n] = r.low;
        high[n++] = r.high;
    }
    page_heading(p, "Are the propensities true?");
    plot_draw(p, &(struct plot){
                     .title = "Calibration of propensities",
                     .text = "Decisions left to chance: how likely sending was said to be, and how "
                             "often it was done. Off the diagonal, off-policy evaluation of this "
                             "log is wrong.",
                     .x = {.label = "logged probability of sending", .max = 1},
                     .y = {.label = "share sent", .max = 1},
                     .series =
                         &(struct plot_series){
                             .mark = MARK_POINTS, .n = n, .x = x, .y = y, .low = low, .high = high},
                     .n_series = 1,
                     .diagonal = true});
}

int audit_page(const struct audit *a, const struct audit_view *v, const char *path) {
    struct page p = {0};
    size_t breaches = audit_breaches(a);
    page_begin(&p, "Audit of decisions", v->log);
    page_text(&p,
              "%zu decisions about %zu people in %zu campaigns. Each group is compared with "
              "everybody else; intervals hold for all %zu comparisons together at %g %%.",
              a->decisions, a->people, a->n_campaigns, a->comparisons, 100 * v->level);
    page_note(&p, breaches ? TONE_BAD : TONE_GOOD,
              breaches ? "Out of bounds: %zu." : "All groups are within bounds.", breaches);
    if (breaches)
        table_breaches(&p, a);
    for (size_t i = 0; i < a->n_rows && a->row[i].campaign == 0;
         i += attribute_of(a, &a->row[i])->n_groups) {
        page_heading(&p, attribute_of(a, &a->row[i])->name);
        for (int m = 0; m < measures(a); m++)
            draw_attribute(&p, a, v, &a->row[i], m);
        table_attribute(&p, a, &a->row[i]);
    }
    if (a->n_reasons)
        table_reasons(&p, a);
    if (a->drawn > 0)
        draw_calibration(&p, a);
    int r = page_save(&p, path);
    page_free(&p);
    if (r < 0)
        fprintf(stderr, "beckon audit: cannot write %s: %s\n", path, strerror(-r));
    return r;
}
