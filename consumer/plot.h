/* Plots on a page (page.h) as inline SVG: lines with bands, bars and points with whiskers,
 * calibration curves, and estimates with intervals as rows. Every mark tells its numbers when
 * pointed at. What is not finite is left out. */
#pragma once

#include "consumer/page.h"

enum plot_unit {
    UNIT_NUMBER,  /* 0.25, 1,200, 3.4M */
    UNIT_PERCENT, /* of a share: 0.25 → 25 % */
    UNIT_TIME     /* ms since the epoch → a date, with the hour where it matters; UTC */
};

struct plot_axis {
    const char *label; /* NULL: none */
    enum plot_unit unit;
    double min, max;          /* both 0: as the data have it */
    bool from_zero;           /* of what the data have: zero belongs to it */
    const char *const *names; /* x only: what stands at 0, 1, … instead of numbers */
    size_t n_names;
};

enum plot_mark { MARK_LINE, MARK_POINTS, MARK_BARS };

/* Bars of one place stand side by side, in the order of their series. Lines of more than a
 * thousand points are thinned evenly. */
struct plot_series {
    const char *name; /* NULL: not in the legend */
    enum plot_mark mark;
    bool dashed;
    size_t n;
    const double *x, *y;      /* x NULL: 0, 1, … */
    const double *low, *high; /* NULL: none; a line's band, the whiskers of points and bars */
};

struct plot {
    const char *title, *text; /* text: NULL, or what to see in it */
    struct plot_axis x, y;
    const struct plot_series *series;
    size_t n_series;
    const double *level; /* NULL, or where a dashed line runs across */
    bool diagonal;       /* dashed, x = y */
};
void plot_draw(struct page *p, const struct plot *plot);

/* An estimate with its interval; `bad` marks it red. */
struct plot_row {
    const char *name;
    double value, low, high;
    bool bad;
};
struct plot_rows {
    const char *title, *text;
    struct plot_axis x;
    const struct plot_row *rows;
    size_t n_rows;
    const double *level;        /* NULL, or the line to compare with */
    double zone_low, zone_high; /* what is allowed, shaded; both 0: nothing is */
};
void plot_draw_rows(struct page *p, const struct plot_rows *plot);

/* A number as the axes write it; `step`: the distance that must remain visible, 0: three digits. */
void plot_number(char ret[static 32], double v, enum plot_unit unit, double step);
