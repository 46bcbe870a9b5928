/* Progress on stderr: a bar that redraws itself on a terminal, a line now and then elsewhere. */
#include <inttypes.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "consumer/cli.h"
#include "consumer/clock.h"
#include "consumer/log.h"

enum { REDRAW_US = 100000, LINE_US = 5000000, BAR = 24 };

/* 1234567 → "1.23M" */
static const char *short_number(double v, char out[32]) {
    static const char unit[] = {0, 'k', 'M', 'G', 'T'};
    size_t u = 0;
    while (v >= 999.5 && u + 1 < sizeof unit) {
        v /= 1000;
        u++;
    }
    int digits = u == 0 || v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2;
    snprintf(out, 32, "%.*f%.1s", digits, v, u ? &unit[u] : "");
    return out;
}

static const char *short_time(double s, char out[32]) {
    int64_t t = (int64_t)(s + 0.5);
    if (t < 60)
        snprintf(out, 32, "%" PRId64 "s", t);
    else if (t < 3600)
        snprintf(out, 32, "%" PRId64 "m%02" PRId64 "s", t / 60, t % 60);
    else
        snprintf(out, 32, "%" PRId64 "h%02" PRId64 "m", t / 3600, t / 60 % 60);
    return out;
}

static size_t terminal_width(void) {
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void draw(const struct progress *p, uint64_t done, uint64_t count, int64_t now,
                 const char *extra, bool bar) {
    char line[512], number[32], rate[32], left[32];
    double s = (double)(now - p->started_us) / 1e6, share = 0;
    size_t n = (size_t)snprintf(line, sizeof line, "%s ", p->what);
    n = MIN(n, 200);
    if (p->total) {
        share = MIN((double)done / (double)p->total, 1.0);
        if (bar) {
            line[n++] = '[';
            for (int i = 0; i < BAR; i++)
                line[n++] = i < (int)(share * BAR) ? '#' : '.';
            line[n++] = ']';
            line[n++] = ' ';
        }
        n += (size_t)snprintf(line + n, sizeof line - n, "%3d%%  ", (int)(share * 100));
    }
    n += (size_t)snprintf(line + n, sizeof line - n, "%s %s  %s/s",
                          short_number((double)count, number), p->unit,
                          short_number(s > 0 ? (double)count / s : 0, rate));
    if (n < sizeof line && p->total && share > 0.001 && share < 1)
        n += (size_t)snprintf(line + n, sizeof line - n, "  ETA %s",
                              short_time(s / share - s, left));
    if (n < sizeof line && extra && *extra)
        n += (size_t)snprintf(line + n, sizeof line - n, "  %s", extra);
    n = MIN(n, sizeof line - 1);
    if (bar) {
        fprintf(stderr, "\r%.*s\033[K", (int)MIN(n, terminal_width() - 1), line);
        log_over_bar();
    } else {
        fprintf(stderr, "%.*s\n", (int)n, line);
    }
}

void progress_show(struct progress *p, uint64_t done, uint64_t count, const char *extra) {
    int64_t now = clock_mono_us();
    if (!p->started_us)
        p->started_us = p->shown_us = now;
    bool bar = is_terminal(stderr);
    if ((!bar && !p->always) || now - p->shown_us < (bar ? REDRAW_US : LINE_US))
        return;
    p->shown_us = now;
    draw(p, done, count, now, extra, bar);
}

void progress_done(struct progress *p, uint64_t count) {
    bool bar = is_terminal(stderr);
    if (!bar && !p->always)
        return;
    int64_t now = clock_mono_us();
    double s = p->started_us ? (double)(now - p->started_us) / 1e6 : 0;
    char number[32], rate[32];
    fprintf(stderr, "%s%s: %s %s in %.1f s (%s/s)\n", bar ? "\r\033[K" : "", p->what,
            short_number((double)count, number), p->unit, s,
            short_number(s > 0 ? (double)count / s : 0, rate));
}
