/* How `beckon ope` shows what it found: on the terminal, as JSON, as a page. */
#pragma once

#include "policy/ope.h"

struct ope_view {
    const char *log, *policy; /* the file, and the policy in words */
    size_t n_actions, n_positions;
    const struct str *positions;                /* names, in order */
    const struct ope_result *all, *by_position; /* [n_positions], NULL: one position */
    bool modelled;                              /* whether the direct method and DR could be had */
    double level;
    double truth, truth_se; /* what the policy earned in its own log; NAN: not known */
    size_t truth_n;
    const struct ope_round *rounds;
    size_t n;
};

void ope_view_print(const struct ope_view *v);
/* `path` "-": standard output. 0 or -errno, printed. */
int ope_view_json(const struct ope_view *v, const char *path);
int ope_view_page(const struct ope_view *v, const char *path);
