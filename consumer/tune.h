/* Search for a good configuration: random search (Bergstra and Bengio 2012) with successive
 * halving (Jamieson and Talwalkar 2016) over replays. Settings are drawn by (seed, number), so
 * that a search that was ended goes on from its state file as if it had not been. */
#pragma once

#include "consumer/trial.h"

/* What is searched: an option's key, its range, how it is drawn. */
enum tune_scale { TUNE_LINEAR, TUNE_LOG, TUNE_EITHER /* true or false */ };
struct tune_param {
    const char *key;
    double low, high; /* durations in hours */
    enum tune_scale scale;
};
extern const struct tune_param tune_params[];
extern const size_t n_tune_params;
enum { TUNE_PARAMS_MAX = 32, TUNE_SET_MAX = 96, TUNE_RUNGS_MAX = 8 };

/* A setting as "section.key=value"s. */
struct tune_setting {
    size_t n;
    char set[TUNE_PARAMS_MAX][TUNE_SET_MAX];
};
/* The `number`-th setting of a seed, over the parameters for which use[i]; number 0 is empty: the
 * configuration as it is. Whether a parameter is used changes no other's value. */
void tune_draw(uint64_t seed, uint32_t number, const bool *use, struct tune_setting *ret);

/* Successive halving: rung r plays `share` of the events for the best n of the rung before. */
struct tune_rung {
    uint32_t n;
    double share;
};
/* Rungs for so many trials, each a third of the one before on three times the events, the last
 * on all; returns how many, at most TUNE_RUNGS_MAX. */
size_t tune_rungs(uint32_t trials, struct tune_rung ret[TUNE_RUNGS_MAX]);
/* Where a share of the events begins and ends: next to `first`, on both sides. */
void tune_span(size_t first, size_t n, double share, size_t *ret_begin, size_t *ret_end);

/* Results so far, in a file of JSON lines that is appended to. `setup` is the hash of everything
 * that decides them. */
struct tune_state;
/* 0, -ESTALE: the file belongs to another setup, -EBADMSG: it is no such file, -errno. A last line
 * that was cut off is passed over. */
int tune_state_open(const char *path, uint64_t setup, struct tune_state **ret);
void tune_state_close(struct tune_state *s);
DEFINE_CLEANUP(struct tune_state, tune_state_close)
bool tune_state_get(const struct tune_state *s, uint32_t trial, uint32_t rung, double *ret);
int tune_state_put(struct tune_state *s, uint32_t trial, uint32_t rung, double value);
size_t tune_state_n(const struct tune_state *s);
