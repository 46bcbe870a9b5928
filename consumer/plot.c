#include "consumer/plot.h"

#include <math.h>
#include <stdio.h>

#include "consumer/text.h"

enum {
    WIDTH = 760,
    HEIGHT = 300,
    LEFT = 60,
    RIGHT = 18,
    TOP = 24,
    BOTTOM = 46,
    ROW = 26,
    COLOURS = 6,
    LINE_POINTS = 1000,
    TICKS = 6
};

static const double DAY_MS = 86400e3;

/* From data to the drawing: lo stands at from, hi at to. */
struct scale {
    double lo, hi, step, from, to;
    enum plot_unit unit;
};

static double at(const struct scale *s, double v) {
    return s->from + (v - s->lo) / (s->hi - s->lo) * (s->to - s->from);
}

static bool inside(const struct scale *s, double v) {
    double slack = (s->hi - s->lo) * 1e-9;
    return v >= s->lo - slack && v <= s->hi + slack;
}

/* ---- numbers and ticks ------------------------------------------------------ */

static void time_text(char ret[static 32], double ms, double step) {
    struct buf b = {0};
    text_put_time(&b, (int64_t)ms); /* "2026-01-02T03:04:05.678Z" with its quotes */
    if (b.failed || b.n != 26)
        ret[0] = '\0';
    else if (step >= DAY_MS)
        snprintf(ret, 32, "%.10s", (char *)b.p + 1);
    else
        snprintf(ret, 32, "%.5s %.5s", (char *)b.p + 6, (char *)b.p + 12);
    buf_free(&b);
}

/* Digits behind the point so that `step` remains visible in a number, or three digits in all. */
static int decimals(double v, double step) {
    double least = step > 0 ? step : fabs(v) / 100;
    return least > 0 ? (int)MIN(6, MAX(0, -floor(log10(least) + 1e-9))) : 0;
}

void plot_number(char ret[static 32], double v, enum plot_unit unit, double step) {
    if (!isfinite(v)) {
        snprintf(ret, 32, "–");
        return;
    }
    if (unit == UNIT_TIME) {
        time_text(ret, v, step);
        return;
    }
    const char *suffix = "";
    double factor = 1;
    if (unit == UNIT_PERCENT) {
        factor = 100;
        suffix = " %";
    } else if (fabs(v) >= 1e6) {
        factor = 1e-6;
        suffix = "M";
    } else if (fabs(v) >= 1e4) {
        factor = 1e-3;
        suffix = "k";
    }
    v *= factor;
    int digits = decimals(v, step * factor);
    if (fabs(v) < .5 * pow(10, -digits))
        v = 0; /* no -0.0 */
    snprintf(ret, 32, "%.*f%s", digits, v, suffix);
}

/* A round step that divides `range` into at most `most` parts. */
static double round_step(double range, int most, enum plot_unit unit) {
    static const double TIME_H[] = {1. / 60, .25, 1, 3, 6, 12, 24, 48, 168, 336, 720, 2160, 8760};
    double rough = range / most;
    if (unit == UNIT_TIME) {
        for (size_t i = 0; i < ARRAY_LEN(TIME_H); i++)
            if (TIME_H[i] * 3600e3 >= rough)
                return TIME_H[i] * 3600e3;
        return ceil(rough / (365 * DAY_MS)) * 365 * DAY_MS;
    }
    double power = pow(10, floor(log10(rough))), lead = rough / power;
    return power * (lead <= 1 ? 1 : lead <= 2 ? 2 : lead <= 5 ? 5 : 10);
}

struct range {
    double lo, hi;
};

static void widen(struct range *r, double v) {
    if (!isfinite(v))
        return;
    r->lo = fmin(r->lo, v);
    r->hi = fmax(r->hi, v);
}

/* The axis over what the data span, `rounded` out to its steps or not. */
static struct scale scale_of(const struct plot_axis *a, struct range r, bool rounded, double from,
                             double to) {
    bool given = a->min != 0 || a->max != 0;
    if (a->from_zero)
        widen(&r, 0);
    if (given)
        r = (struct range){a->min, a->max};
    if (!(r.lo <= r.hi))
        r = (struct range){0, 1};
    if (r.hi - r.lo <= 1e-12 * fmax(fabs(r.lo), fabs(r.hi)) || r.hi == r.lo) {
        double pad = r.lo != 0 ? fabs(r.lo) * .1 : 1;
        r.lo -= r.lo == 0 && a->from_zero ? 0 : pad;
        r.hi += pad;
    }
    struct scale s = {r.lo, r.hi, round_step(r.hi - r.lo, TICKS, a->unit), from, to, a->unit};
    if (rounded && !given) {
        s.lo = floor(r.lo / s.step + 1e-9) * s.step;
        s.hi = ceil(r.hi / s.step - 1e-9) * s.step;
    }
    return s;
}

static double first_tick(const struct scale *s) {
    return ceil(s->lo / s->step - 1e-9) * s->step;
}

/* ---- the frame ---------------------------------------------------------------- */

static void text_at(struct page *p, double x, double y, const char *anchor, const char *class,
                    const char *text) {
    page_markup(p, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\" class=\"%s\">", x, y, anchor,
                class);
    page_escaped(p, text);
    page_markup(p, "</text>");
}

static void line_at(struct page *p, const char *class, double x1, double y1, double x2, double y2) {
    page_markup(p, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", class,
                x1, y1, x2, y2);
}

static void vertical_ticks(struct page *p, const struct scale *x, double top, double bottom) {
    char text[32];
    for (double v = first_tick(x); inside(x, v); v += x->step) {
        line_at(p, "grid", at(x, v), top, at(x, v), bottom);
        plot_number(text, v, x->unit, x->step);
        text_at(p, at(x, v), bottom + 17, "middle", "", text);
    }
}

/* Names at 0, 1, …: as many as find room, evenly left out. */
static void name_ticks(struct page *p, const struct plot_axis *a, const struct scale *x,
                       double bottom) {
    size_t longest = 1;
    for (size_t i = 0; i < a->n_names; i++)
        longest = MAX(longest, strlen(a->names[i]));
    double room = fabs(at(x, 1) - at(x, 0)), need = 7. * (double)longest + 8;
    size_t every = (size_t)MAX(1, ceil(need / fmax(room, 1e-9)));
    for (size_t i = 0; i < a->n_names; i += every)
        text_at(p, at(x, (double)i), bottom + 17, "middle", "", a->names[i]);
}

static void frame(struct page *p, const struct plot *plot, const struct scale *x,
                  const struct scale *y) {
    char text[32];
    for (double v = first_tick(y); inside(y, v); v += y->step) {
        line_at(p, fabs(v) < y->step * 1e-6 ? "axis" : "grid", LEFT, at(y, v), WIDTH - RIGHT,
                at(y, v));
        plot_number(text, v, y->unit, y->step);
        text_at(p, LEFT - 8, at(y, v) + 4, "end", "", text);
    }
    if (plot->x.names)
        name_ticks(p, &plot->x, x, HEIGHT - BOTTOM);
    else
        vertical_ticks(p, x, TOP, HEIGHT - BOTTOM);
    if (plot->y.label)
        text_at(p, 0, 12, "start", "ink", plot->y.label);
    if (plot->x.label)
        text_at(p, WIDTH - RIGHT, HEIGHT - 6, "end", "ink", plot->x.label);
    if (plot->level && inside(y, *plot->level))
        line_at(p, "ref", LEFT, at(y, *plot->level), WIDTH - RIGHT, at(y, *plot->level));
    if (plot->diagonal) {
        double lo = fmax(x->lo, y->lo), hi = fmin(x->hi, y->hi);
        line_at(p, "ref", at(x, lo), at(y, lo), at(x, hi), at(y, hi));
    }
}

static void figure_begin(struct page *p, const char *title, const char *text) {
    page_markup(p, "<figure><h3>");
    page_escaped(p, title);
    page_markup(p, "</h3>");
    if (text) {
        page_markup(p, "<figcaption>");
        page_escaped(p, text);
        page_markup(p, "</figcaption>");
    }
}

static void svg_begin(struct page *p, const char *title, double height) {
    page_markup(p, "<svg viewBox=\"0 0 %d %.0f\" role=\"img\" aria-label=\"", WIDTH, height);
    page_escaped(p, title);
    page_markup(p, "\">");
}

static void figure_end(struct page *p) {
    page_markup(p, "</svg></figure>\n");
}

static void legend(struct page *p, const struct plot *plot) {
    size_t named = 0;
    for (size_t i = 0; i < plot->n_series; i++)
        named += plot->series[i].name != NULL;
    if (named < 2)
        return;
    page_markup(p, "<div class=\"legend\">");
    for (size_t i = 0; i < plot->n_series; i++) {
        const struct plot_series *s = &plot->series[i];
        if (!s->name)
            continue;
        page_markup(p, "<span><svg viewBox=\"0 0 22 10\">");
        if (s->mark == MARK_LINE)
            page_markup(p, "<path d=\"M1 5H21\" stroke=\"var(--c%zu)\" stroke-width=\"2.5\"%s/>",
                        i % COLOURS, s->dashed ? " stroke-dasharray=\"5 4\"" : "");
        else
            page_markup(p,
                        "<rect x=\"6\" width=\"10\" height=\"10\" rx=\"%d\" "
                        "fill=\"var(--c%zu)\"/>",
                        s->mark == MARK_POINTS ? 5 : 2, i % COLOURS);
        page_markup(p, "</svg>");
        page_escaped(p, s->name);
        page_markup(p, "</span>");
    }
    page_markup(p, "</div>");
}

/* ---- series ------------------------------------------------------------------- */

static double x_of(const struct plot_series *s, size_t i) {
    return s->x ? s->x[i] : (double)i;
}

static bool drawable(const struct plot_series *s, size_t i) {
    return isfinite(x_of(s, i)) && isfinite(s->y[i]);
}

static bool whiskered(const struct plot_series *s, size_t i) {
    return s->low && s->high && isfinite(s->low[i]) && isfinite(s->high[i]);
}

/* What shows when the mark is pointed at: "name: x, y (low to high)". */
static void tip(struct page *p, const struct plot *plot, const struct plot_series *s, size_t i) {
    char x[32], y[32], low[32], high[32];
    double place = x_of(s, i);
    plot_number(x, place, plot->x.unit, 0);
    plot_number(y, s->y[i], plot->y.unit, 0);
    bool named = plot->x.names && place >= 0 && place < (double)plot->x.n_names;
    page_markup(p, "<title>");
    page_escaped(p, s->name ? s->name : plot->title);
    page_markup(p, ": ");
    page_escaped(p, named ? plot->x.names[(size_t)place] : x);
    page_markup(p, ", %s", y);
    if (whiskered(s, i)) {
        plot_number(low, s->low[i], plot->y.unit, 0);
        plot_number(high, s->high[i], plot->y.unit, 0);
        page_markup(p, " (%s to %s)", low, high);
    }
    page_markup(p, "</title>");
}

static void whisker(struct page *p, const struct plot_series *s, size_t i, const struct scale *y,
                    double x) {
    if (!whiskered(s, i))
        return;
    double low = at(y, fmax(s->low[i], y->lo)), high = at(y, fmin(s->high[i], y->hi));
    page_markup(p,
                "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fh6M%.1f %.1fh6\" stroke=\"var(--ink)\" "
                "stroke-width=\"1.2\" opacity=\".7\" fill=\"none\"/>",
                x, low, high, x - 3, low, x - 3, high);
}

/* The k-th of the m points that are drawn: first and last always, the others evenly. */
static size_t thinned(const struct plot_series *s, size_t k, size_t m) {
    return m < 2 ? 0 : k * (s->n - 1) / (m - 1);
}

static void draw_band(struct page *p, const struct plot_series *s, size_t colour,
                      const struct scale *x, const struct scale *y) {
    size_t m = MIN(s->n, LINE_POINTS);
    char move = 'M';
    page_markup(p, "<path stroke=\"none\" fill=\"var(--c%zu)\" opacity=\".16\" d=\"", colour);
    for (size_t k = 0; k < 2 * m; k++) {
        bool back = k >= m;
        size_t i = thinned(s, back ? 2 * m - 1 - k : k, m);
        if (!drawable(s, i) || !whiskered(s, i))
            continue;
        page_markup(p, "%c%.1f %.1f", move, at(x, x_of(s, i)),
                    at(y, back ? s->low[i] : s->high[i]));
        move = 'L';
    }
    page_markup(p, "%s\"/>", move == 'L' ? "Z" : "");
}

static void draw_line(struct page *p, const struct plot_series *s, size_t colour,
                      const struct scale *x, const struct scale *y) {
    size_t m = MIN(s->n, LINE_POINTS);
    char move = 'M';
    if (s->low && s->high)
        draw_band(p, s, colour, x, y);
    page_markup(p,
                "<path fill=\"none\" stroke=\"var(--c%zu)\" stroke-width=\"2\" "
                "stroke-linejoin=\"round\"%s d=\"",
                colour, s->dashed ? " stroke-dasharray=\"6 5\"" : "");
    for (size_t k = 0; k < m; k++) {
        size_t i = thinned(s, k, m);
        bool there = drawable(s, i);
        if (there)
            page_markup(p, "%c%.1f %.1f", move, at(x, x_of(s, i)), at(y, s->y[i]));
        move = there ? 'L' : 'M';
    }
    page_markup(p, "\"/>");
}

static void draw_points(struct page *p, const struct plot *plot, size_t which,
                        const struct scale *x, const struct scale *y) {
    const struct plot_series *s = &plot->series[which];
    for (size_t i = 0; i < s->n; i++) {
        if (!drawable(s, i))
            continue;
        double px = at(x, x_of(s, i));
        whisker(p, s, i, y, px);
        page_markup(p, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"var(--c%zu)\">", px,
                    at(y, s->y[i]), which % COLOURS);
        tip(p, plot, s, i);
        page_markup(p, "</circle>");
    }
}

/* `beside`: which of the `n` bars of its place it is; `width`: of the place. */
static void draw_bars(struct page *p, const struct plot *plot, size_t which, size_t beside,
                      size_t n, double width, const struct scale *x, const struct scale *y) {
    const struct plot_series *s = &plot->series[which];
    double bar = width * .8 / (double)n, base = at(y, fmin(fmax(0, y->lo), y->hi));
    for (size_t i = 0; i < s->n; i++) {
        if (!drawable(s, i))
            continue;
        double left = at(x, x_of(s, i)) - width * .4 + bar * (double)beside;
        double top = at(y, s->y[i]);
        page_markup(p,
                    "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"1.5\" "
                    "fill=\"var(--c%zu)\">",
                    left + .5, fmin(top, base), fmax(bar - 1, .5), fabs(top - base),
                    which % COLOURS);
        tip(p, plot, s, i);
        page_markup(p, "</rect>");
        whisker(p, s, i, y, left + bar / 2);
    }
}

/* The smallest distance between two neighbouring bars, in data units. */
static double bar_distance(const struct plot *plot) {
    double least = INFINITY;
    for (size_t k = 0; k < plot->n_series; k++)
        for (size_t i = 1; plot->series[k].mark == MARK_BARS && i < plot->series[k].n; i++) {
            double d = fabs(x_of(&plot->series[k], i) - x_of(&plot->series[k], i - 1));
            if (d > 0)
                least = fmin(least, d);
        }
    return isfinite(least) ? least : 1;
}

void plot_draw(struct page *p, const struct plot *plot) {
    struct range xs = {INFINITY, -INFINITY}, ys = xs;
    size_t n_bars = 0, beside = 0;
    for (size_t k = 0; k < plot->n_series; k++) {
        const struct plot_series *s = &plot->series[k];
        n_bars += s->mark == MARK_BARS;
        for (size_t i = 0; i < s->n; i++) {
            if (!drawable(s, i))
                continue;
            widen(&xs, x_of(s, i));
            widen(&ys, s->y[i]);
            if (whiskered(s, i)) {
                widen(&ys, s->low[i]);
                widen(&ys, s->high[i]);
            }
        }
    }
    double distance = bar_distance(plot);
    if (n_bars) {
        widen(&ys, 0);
        xs.lo -= distance / 2;
        xs.hi += distance / 2;
    } else if (plot->x.names) {
        widen(&xs, -.5);
        widen(&xs, (double)plot->x.n_names - .5);
    }
    if (plot->level)
        widen(&ys, *plot->level);
    struct scale y = scale_of(&plot->y, ys, true, HEIGHT - BOTTOM, TOP);
    struct scale x = scale_of(&plot->x, xs, false, LEFT, WIDTH - RIGHT);
    figure_begin(p, plot->title, plot->text);
    legend(p, plot);
    svg_begin(p, plot->title, HEIGHT);
    frame(p, plot, &x, &y);
    double width = fabs(at(&x, distance) - at(&x, 0));
    for (size_t k = 0; k < plot->n_series; k++) {
        const struct plot_series *s = &plot->series[k];
        if (s->mark == MARK_BARS)
            draw_bars(p, plot, k, beside++, n_bars, width, &x, &y);
        else if (s->mark == MARK_POINTS)
            draw_points(p, plot, k, &x, &y);
        else
            draw_line(p, s, k % COLOURS, &x, &y);
    }
    figure_end(p);
}

/* ---- rows ----------------------------------------------------------------------- */

/* "1.02 (0.95 to 1.10)" */
static void row_text(const struct plot_rows *plot, const struct plot_row *r, char ret[static 120]) {
    char value[32], low[32], high[32];
    plot_number(value, r->value, plot->x.unit, 0);
    snprintf(ret, 120, "%s", value);
    if (!isfinite(r->low) || !isfinite(r->high))
        return;
    plot_number(low, r->low, plot->x.unit, fabs(r->value) / 100);
    plot_number(high, r->high, plot->x.unit, fabs(r->value) / 100);
    snprintf(ret, 120, "%s (%s to %s)", value, low, high);
}

static void draw_row(struct page *p, const struct plot_rows *plot, const struct plot_row *r,
                     const struct scale *x, double y) {
    char text[120];
    const char *colour = r->bad ? "bad" : "c0";
    text_at(p, x->from - 12, y + 4, "end", r->bad ? "bad" : "ink", r->name);
    row_text(plot, r, text);
    if (isfinite(r->low) && isfinite(r->high)) {
        double left = at(x, fmax(r->low, x->lo)), right = at(x, fmin(r->high, x->hi));
        page_markup(p,
                    "<path d=\"M%.1f %.1fH%.1f\" stroke=\"var(--%s)\" stroke-width=\"2.5\" "
                    "opacity=\".55\"/>",
                    left, y, right, colour);
    }
    if (isfinite(r->value) && inside(x, r->value))
        page_markup(p, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4.5\" fill=\"var(--%s)\"/>",
                    at(x, r->value), y, colour);
    text_at(p, x->to + 12, y + 4, "start", r->bad ? "bad" : "", text);
}

void plot_draw_rows(struct page *p, const struct plot_rows *plot) {
    struct range xs = {INFINITY, -INFINITY};
    size_t longest = 0, longest_text = 0;
    for (size_t i = 0; i < plot->n_rows; i++) {
        char text[120];
        row_text(plot, &plot->rows[i], text);
        longest_text = MAX(longest_text, strlen(text));
        widen(&xs, plot->rows[i].value);
        widen(&xs, plot->rows[i].low);
        widen(&xs, plot->rows[i].high);
        longest = MAX(longest, strlen(plot->rows[i].name));
    }
    bool zone = plot->zone_low != 0 || plot->zone_high != 0;
    if (plot->level)
        widen(&xs, *plot->level);
    if (zone) {
        widen(&xs, plot->zone_low);
        widen(&xs, plot->zone_high);
    }
    double left = MIN(260, 24 + 6.8 * (double)longest), bottom = 10 + ROW * (double)plot->n_rows;
    struct scale x = scale_of(&plot->x, xs, true, left, WIDTH - 24 - 6.8 * (double)longest_text);
    figure_begin(p, plot->title, plot->text);
    svg_begin(p, plot->title, bottom + 42);
    if (zone)
        page_markup(p, "<rect class=\"zone\" x=\"%.1f\" y=\"4\" width=\"%.1f\" height=\"%.1f\"/>",
                    at(&x, fmax(plot->zone_low, x.lo)),
                    at(&x, fmin(plot->zone_high, x.hi)) - at(&x, fmax(plot->zone_low, x.lo)),
                    bottom - 4);
    vertical_ticks(p, &x, 4, bottom);
    if (plot->level && inside(&x, *plot->level))
        line_at(p, "ref", at(&x, *plot->level), 4, at(&x, *plot->level), bottom);
    for (size_t i = 0; i < plot->n_rows; i++)
        draw_row(p, plot, &plot->rows[i], &x, 10 + ROW * ((double)i + .5));
    if (plot->x.label)
        text_at(p, x.to, bottom + 36, "end", "ink", plot->x.label);
    figure_end(p);
}
