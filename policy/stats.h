/* Statistics of experiments and audits: means that merge, confidence sequences that stay valid
 * however often one looks, variance reduction with what was known before (CUPED), intervals of
 * differences, lifts and shares, and the check that arms were filled as they should. Pure. */
#pragma once

#include "model/base.h"

struct interval {
    double low, high;
};

/* ---- means ------------------------------------------------------------------------ */

/* Count, means and centred sums of squares of an outcome y and a covariate x: merges without loss
 * (Chan, Golub, LeVeque 1983). Zero-initialised is empty. */
struct moments {
    double n, y, x, yy, xx, xy;
};
void moments_add(struct moments *m, double y, double x);
void moments_merge(struct moments *to, const struct moments *from);
double moments_variance(const struct moments *m); /* of y; 0 for fewer than two */

/* An estimate of a mean: its standard error, and how many observations it rests on. */
struct mean {
    double value, se, n;
};
struct mean mean_of(const struct moments *m); /* of y; NANs when empty */

/* CUPED (Deng et al. 2013): the mean of y - theta (x - centre), theta = cov(x, y) / var(x).
 * Theta and the centre must be those of all arms together for the arms to be compared. */
double cuped_theta(const struct moments *all_arms); /* within-arm sums; 0 if x does not vary */
struct mean cuped_mean(const struct moments *arm, double theta, double centre);
/* Adds the centred sums of an arm, so that theta is not moved by differences between arms. */
void moments_pool(struct moments *to, const struct moments *arm);

/* ---- intervals ---------------------------------------------------------------------- */

double normal_quantile(double p); /* Wichura 1988, AS 241; 1e-15 relative */

/* How many standard errors an interval reaches to either side. */
double z_fixed(double level); /* for one look planned in advance */
/* For a look at n observations of which the confidence sequence, valid at all looks together, is
 * tightest at n_tight: sqrt(2 (n rho^2 + 1) / (n rho^2) log(sqrt(n rho^2 + 1) / alpha)), rho^2 =
 * (-2 log alpha + log(-2 log alpha + 1)) / n_tight (Waudby-Smith et al. 2021, theorem 2.2 and its
 * choice of rho; asymptotic: holds from some hundred observations on). INFINITY for n 0. */
double z_always(double level, double n, double n_tight);

/* The middle `level` of drawn values, by their quantiles; sorts v. NANs for n 0. */
struct interval middle_interval(double *v, size_t n, double level);

struct interval mean_interval(struct mean m, double z);
/* b - a of independent means. */
struct mean mean_difference(struct mean a, struct mean b);
/* Lift b / a - 1, by Fieller's theorem (1954): all lifts that z standard errors do not rule out.
 * Unbounded when a might be 0; then both ends are infinite. */
double lift(struct mean a, struct mean b);
struct interval lift_interval(struct mean a, struct mean b, double z);

/* ---- shares ------------------------------------------------------------------------- */

/* k of n, by Wilson (1927). */
struct interval share_interval(double k, double n, double z);
/* k_b / n_b - k_a / n_a, by Newcombe (1998, method 10). */
struct interval gap_interval(double k_a, double n_a, double k_b, double n_b, double z);
/* (k_b / n_b) / (k_a / n_a), log-normal with half a case added to each (Katz et al. 1978; Walter
 * 1975). */
struct interval ratio_interval(double k_a, double n_a, double k_b, double n_b, double z);

/* ---- sample ratio mismatch ------------------------------------------------------------ */

double chi_square_tail(double x, double degrees); /* P(X > x) */
/* Probability of counts as uneven as these if each had its share of all (shares add up to any sum,
 * those of 0 must have count 0). NAN for fewer than two arms or nobody. Alarm below 0.001, as is
 * usual (Fabijan et al. 2019): this is looked at often. */
double ratio_mismatch(const double *count, const double *share, size_t n);
