#include "policy/stats.h"

#include <math.h>

/* ---- means ------------------------------------------------------------------------ */

void moments_add(struct moments *m, double y, double x) {
    double dy = y - m->y, dx = x - m->x;
    m->n++;
    m->y += dy / m->n;
    m->x += dx / m->n;
    m->yy += dy * (y - m->y);
    m->xx += dx * (x - m->x);
    m->xy += dx * (y - m->y);
}

void moments_merge(struct moments *to, const struct moments *from) {
    double n = to->n + from->n;
    if (from->n == 0)
        return;
    double dy = from->y - to->y, dx = from->x - to->x, between = to->n * from->n / n;
    to->yy += from->yy + dy * dy * between;
    to->xx += from->xx + dx * dx * between;
    to->xy += from->xy + dx * dy * between;
    to->y += dy * from->n / n;
    to->x += dx * from->n / n;
    to->n = n;
}

void moments_pool(struct moments *to, const struct moments *arm) {
    double n = to->n + arm->n;
    if (arm->n == 0)
        return;
    to->y += (arm->y - to->y) * arm->n / n;
    to->x += (arm->x - to->x) * arm->n / n;
    to->yy += arm->yy;
    to->xx += arm->xx;
    to->xy += arm->xy;
    to->n = n;
}

double moments_variance(const struct moments *m) {
    return m->n > 1 ? fmax(m->yy, 0) / (m->n - 1) : 0;
}

struct mean mean_of(const struct moments *m) {
    if (m->n <= 0)
        return (struct mean){NAN, NAN, 0};
    return (struct mean){m->y, sqrt(moments_variance(m) / m->n), m->n};
}

double cuped_theta(const struct moments *all_arms) {
    return all_arms->xx > 0 ? all_arms->xy / all_arms->xx : 0;
}

struct mean cuped_mean(const struct moments *arm, double theta, double centre) {
    struct moments m = {.n = arm->n,
                        .y = arm->y - theta * (arm->x - centre),
                        .yy = arm->yy - 2 * theta * arm->xy + theta * theta * arm->xx};
    return mean_of(&m);
}

/* ---- intervals ---------------------------------------------------------------------- */

static double polynomial(const double *c, int n, double x) {
    double sum = c[n - 1];
    for (int i = n - 2; i >= 0; i--)
        sum = sum * x + c[i];
    return sum;
}

double normal_quantile(double p) {
    static const double A[] = {3.3871328727963666080e0,  1.3314166789178437745e+2,
                               1.9715909503065514427e+3, 1.3731693765509461125e+4,
                               4.5921953931549871457e+4, 6.7265770927008700853e+4,
                               3.3430575583588128105e+4, 2.5090809287301226727e+3};
    static const double B[] = {1,
                               4.2313330701600911252e+1,
                               6.8718700749205790830e+2,
                               5.3941960214247511077e+3,
                               2.1213794301586595867e+4,
                               3.9307895800092710610e+4,
                               2.8729085735721942674e+4,
                               5.2264952788528545610e+3};
    static const double C[] = {1.42343711074968357734e0,  4.63033784615654529590e0,
                               5.76949722146069140550e0,  3.64784832476320460504e0,
                               1.27045825245236838258e0,  2.41780725177450611770e-1,
                               2.27238449892691845833e-2, 7.74545014278341407640e-4};
    static const double D[] = {1,
                               2.05319162663775882187e0,
                               1.67638483018380384940e0,
                               6.89767334985100004550e-1,
                               1.48103976427480074590e-1,
                               1.51986665636164571966e-2,
                               5.47593808499534494600e-4,
                               1.05075007164441684324e-9};
    static const double E[] = {6.65790464350110377720e0,  5.46378491116411436990e0,
                               1.78482653991729133580e0,  2.96560571828504891230e-1,
                               2.65321895265761230930e-2, 1.24266094738807843860e-3,
                               2.71155556874348757815e-5, 2.01033439929228813265e-7};
    static const double F[] = {1,
                               5.99832206555887937690e-1,
                               1.36929880922735805310e-1,
                               1.48753612908506148525e-2,
                               7.86869131145613259100e-4,
                               1.84631831751005468180e-5,
                               1.42151175831644588870e-7,
                               2.04426310338993978564e-15};
    double q = p - .5;
    if (fabs(q) <= .425) {
        double r = .180625 - q * q;
        return q * polynomial(A, 8, r) / polynomial(B, 8, r);
    }
    double r = q < 0 ? p : 1 - p;
    if (!(r > 0))
        return r == 0 ? copysign(INFINITY, q) : NAN;
    r = sqrt(-log(r));
    double x = r <= 5 ? polynomial(C, 8, r - 1.6) / polynomial(D, 8, r - 1.6)
                      : polynomial(E, 8, r - 5) / polynomial(F, 8, r - 5);
    return copysign(x, q);
}

double z_fixed(double level) {
    return normal_quantile(.5 + level / 2);
}

double z_always(double level, double n, double n_tight) {
    double alpha = 1 - level, l = -2 * log(alpha);
    if (!(n > 0))
        return INFINITY;
    double spread = n * (l + log(l + 1)) / n_tight; /* n rho^2 */
    return sqrt(2 * (spread + 1) / spread * log(sqrt(spread + 1) / alpha));
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Of sorted values, between neighbours. */
static double quantile(const double *v, size_t n, double q) {
    double at = q * (double)(n - 1);
    size_t i = (size_t)at;
    return i + 1 < n ? v[i] + (at - (double)i) * (v[i + 1] - v[i]) : v[n - 1];
}

struct interval middle_interval(double *v, size_t n, double level) {
    if (n == 0)
        return (struct interval){NAN, NAN};
    qsort(v, n, sizeof *v, compare);
    return (struct interval){quantile(v, n, (1 - level) / 2), quantile(v, n, (1 + level) / 2)};
}

struct interval mean_interval(struct mean m, double z) {
    return (struct interval){m.value - z * m.se, m.value + z * m.se};
}

struct mean mean_difference(struct mean a, struct mean b) {
    return (struct mean){b.value - a.value, hypot(a.se, b.se), a.n + b.n};
}

double lift(struct mean a, struct mean b) {
    return b.value / a.value - 1;
}

struct interval lift_interval(struct mean a, struct mean b, double z) {
    double va = a.se * a.se, vb = b.se * b.se, z2 = z * z;
    double square = a.value * a.value - z2 * va; /* of theta in (b - theta a)^2 <= z^2 (…) */
    double cross = a.value * b.value, constant = b.value * b.value - z2 * vb;
    double root = cross * cross - square * constant;
    if (!(square > 0) || !(root >= 0))
        return (struct interval){-INFINITY, INFINITY};
    return (struct interval){(cross - sqrt(root)) / square - 1, (cross + sqrt(root)) / square - 1};
}

/* ---- shares ------------------------------------------------------------------------- */

struct interval share_interval(double k, double n, double z) {
    if (!(n > 0))
        return (struct interval){NAN, NAN};
    double p = k / n, z2 = z * z / n, centre = (p + z2 / 2) / (1 + z2);
    double half = sqrt(z2 * (p * (1 - p) + z2 / 4)) / (1 + z2);
    return (struct interval){fmax(0, centre - half), fmin(1, centre + half)};
}

struct interval gap_interval(double k_a, double n_a, double k_b, double n_b, double z) {
    struct interval a = share_interval(k_a, n_a, z), b = share_interval(k_b, n_b, z);
    double p = k_a / n_a, q = k_b / n_b;
    return (struct interval){q - p - hypot(q - b.low, a.high - p),
                             q - p + hypot(b.high - q, p - a.low)};
}

struct interval ratio_interval(double k_a, double n_a, double k_b, double n_b, double z) {
    if (!(n_a > 0) || !(n_b > 0))
        return (struct interval){NAN, NAN};
    double at = log((k_b + .5) / (n_b + .5)) - log((k_a + .5) / (n_a + .5));
    double se = sqrt(fmax(0, 1 / (k_a + .5) - 1 / (n_a + .5) + 1 / (k_b + .5) - 1 / (n_b + .5)));
    return (struct interval){exp(at - z * se), exp(at + z * se)};
}

/* ---- sample ratio mismatch ------------------------------------------------------------ */

/* Upper regularised incomplete gamma function, by its series below the mean and its continued
 * fraction (Lentz) above. */
static double gamma_tail(double a, double x) {
    double front = exp(a * log(x) - x - lgamma(a));
    if (x < a + 1) {
        double term = 1 / a, sum = term;
        for (int k = 1; k < 10000 && term > sum * 1e-16; k++)
            sum += term *= x / (a + k);
        return fmax(0, 1 - front * sum);
    }
    double b = x + 1 - a, c = 1e300, d = 1 / b, h = d;
    for (int k = 1; k < 10000; k++) {
        double by = -k * (k - a);
        b += 2;
        d = 1 / (by * d + b);
        c = b + by / c;
        h *= d * c;
        if (fabs(d * c - 1) < 1e-15)
            break;
    }
    return front * h;
}

double chi_square_tail(double x, double degrees) {
    if (isnan(x) || !(degrees > 0))
        return NAN;
    if (isinf(x))
        return x > 0 ? 0 : 1;
    return x > 0 ? gamma_tail(degrees / 2, x / 2) : 1;
}

double ratio_mismatch(const double *count, const double *share, size_t n) {
    double all = 0, shares = 0, x = 0;
    size_t arms = 0;
    for (size_t i = 0; i < n; i++) {
        all += count[i];
        shares += share[i];
        arms += share[i] > 0;
    }
    if (arms < 2 || !(all > 0))
        return NAN;
    for (size_t i = 0; i < n; i++) {
        double want = all * share[i] / shares;
        if (want > 0)
            x += (count[i] - want) * (count[i] - want) / want;
        else if (count[i] > 0)
            return 0;
    }
    return chi_square_tail(x, (double)arms - 1);
}
