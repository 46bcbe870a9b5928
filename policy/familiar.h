/* How many states like this one were seen before. States become random Fourier features (Rahimi
 * and Recht 2007), whose products are a Gaussian kernel of their distance; the variance v that
 * a Gaussian process with noise 1 has left at a state (Rasmussen and Williams 2006, eq. 2.26) is
 * 1 / (1 + n) after n visits of that very state, so 1/v - 1 is a count that also works where no
 * state comes twice. Sums of features merge between processes (policy/ridge.h). */
#pragma once

#include "policy/ridge.h"

struct familiar_config {
    uint32_t states;      /* columns of a state, each of about unit scale */
    uint32_t features;    /* even, at most RIDGE_DIM_MAX; more tell more regions apart */
    float reach;          /* > 0; states this far apart, in Euclidean distance, are hardly alike */
    int64_t half_life_ms; /* 0: nothing is forgotten */
    uint64_t seed;        /* of the features; processes that merge have the same */
};

struct familiar;
int familiar_new(const struct familiar_config *c, struct familiar **ret);
void familiar_free(struct familiar *f);
DEFINE_CLEANUP(struct familiar, familiar_free)
/* False if the state holds what is no number. */
bool familiar_add(struct familiar *f, const float *state, int64_t time_ms);
/* Takes what was added into account from now on. 0 or -EDOM, see ridge_solve. */
int familiar_refresh(struct familiar *f, int64_t now_ms);
/* As of the last refresh; 0 for what is no number. Thread: any, while nobody refreshes. */
double familiar_count(const struct familiar *f, const float *state);
/* The sums, to merge and to keep. */
struct ridge *familiar_sums(struct familiar *f);
