#include "policy/linear.h"

#include <math.h>

enum { NEWTON_STEPS = 50, CG_STEPS = 400, HALVINGS = 30 };

struct problem {
    const struct sparse *x;
    const double *y, *weight;
    enum linear_link link;
    double penalty;
    double *curve;                                  /* [n] second derivative of each loss */
    double *gradient, *step, *rest, *way, *product; /* [dim] */
    double *diagonal;                               /* [dim] of the Hessian: the preconditioner */
};

double linear_score(const double *b, const uint32_t *index, const float *value, size_t n) {
    double s = 0;
    for (size_t k = 0; k < n; k++)
        s += b[index[k]] * (double)value[k];
    return s;
}

double linear_mean(enum linear_link link, double score) {
    return link == LINK_IDENTITY ? score : 1 / (1 + exp(-score));
}

static double row_score(const struct sparse *x, size_t i, const double *b) {
    size_t from = x->start[i];
    return linear_score(b, x->index + from, x->value + from, x->start[i + 1] - from);
}

static void add_row(const struct sparse *x, size_t i, double by, double *to) {
    for (size_t k = x->start[i]; k < x->start[i + 1]; k++)
        to[x->index[k]] += by * (double)x->value[k];
}

static double row_weight(const struct problem *p, size_t i) {
    return p->weight ? p->weight[i] : 1;
}

static double loss_of(enum linear_link link, double y, double score) {
    if (link == LINK_IDENTITY)
        return .5 * (score - y) * (score - y);
    return (score > 0 ? score : 0) + log1p(exp(-fabs(score))) - y * score;
}

static double objective(const struct problem *p, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < p->x->n; i++)
        sum += row_weight(p, i) * loss_of(p->link, p->y[i], row_score(p->x, i, b));
    for (size_t j = 1; j < p->x->dim; j++)
        sum += .5 * p->penalty * b[j] * b[j];
    return sum;
}

/* Gradient, curvature and diagonal at b; returns the gradient's squared norm. */
static double differentiate(struct problem *p, const double *b) {
    const struct sparse *x = p->x;
    double norm = 0;
    for (size_t j = 0; j < x->dim; j++) {
        p->gradient[j] = j ? p->penalty * b[j] : 0;
        p->diagonal[j] = j ? p->penalty : 1e-12;
    }
    for (size_t i = 0; i < x->n; i++) {
        double mean = linear_mean(p->link, row_score(x, i, b)), w = row_weight(p, i);
        p->curve[i] = p->link == LINK_IDENTITY ? w : w * mean * (1 - mean);
        add_row(x, i, w * (mean - p->y[i]), p->gradient);
        for (size_t k = x->start[i]; k < x->start[i + 1]; k++)
            p->diagonal[x->index[k]] += p->curve[i] * (double)x->value[k] * (double)x->value[k];
    }
    for (size_t j = 0; j < x->dim; j++)
        norm += p->gradient[j] * p->gradient[j];
    return norm;
}

/* product = Hessian * way */
static void hessian(struct problem *p) {
    for (size_t j = 0; j < p->x->dim; j++)
        p->product[j] = j ? p->penalty * p->way[j] : 1e-12 * p->way[0];
    for (size_t i = 0; i < p->x->n; i++)
        add_row(p->x, i, p->curve[i] * row_score(p->x, i, p->way), p->product);
}

/* step = -Hessian^-1 * gradient, by preconditioned conjugate gradients. */
static void solve(struct problem *p) {
    size_t dim = p->x->dim;
    double rho = 0, rho_first;
    for (size_t j = 0; j < dim; j++) {
        p->step[j] = 0;
        p->rest[j] = -p->gradient[j];
        p->way[j] = p->rest[j] / p->diagonal[j];
        rho += p->rest[j] * p->way[j];
    }
    rho_first = rho;
    for (int k = 0; k < CG_STEPS && rho > 1e-20 * rho_first && rho > 0; k++) {
        double curvature = 0, next = 0;
        hessian(p);
        for (size_t j = 0; j < dim; j++)
            curvature += p->way[j] * p->product[j];
        if (curvature <= 0)
            return;
        for (size_t j = 0; j < dim; j++) {
            p->step[j] += rho / curvature * p->way[j];
            p->rest[j] -= rho / curvature * p->product[j];
            next += p->rest[j] * p->rest[j] / p->diagonal[j];
        }
        for (size_t j = 0; j < dim; j++)
            p->way[j] = p->rest[j] / p->diagonal[j] + next / rho * p->way[j];
        rho = next;
    }
}

/* Goes along the step as far as the objective falls enough (Armijo); false: no further. */
static bool advance(struct problem *p, double *b, double *value) {
    double slope = 0, t = 1;
    for (size_t j = 0; j < p->x->dim; j++)
        slope += p->gradient[j] * p->step[j];
    for (int k = 0; k < HALVINGS && slope < 0; k++, t /= 2) {
        for (size_t j = 0; j < p->x->dim; j++)
            p->way[j] = b[j] + t * p->step[j];
        double there = objective(p, p->way);
        if (there <= *value + 1e-4 * t * slope) {
            bool more = *value - there > 1e-12 * (1 + fabs(*value));
            memcpy(b, p->way, p->x->dim * sizeof *b);
            *value = there;
            return more;
        }
    }
    return false;
}

static bool usable(const struct problem *p, const double *b) {
    const struct sparse *x = p->x;
    if (x->n == 0 || x->dim == 0 || !(p->penalty > 0) || !isfinite(p->penalty))
        return false;
    for (size_t i = 0; i < x->n; i++)
        if (!isfinite(p->y[i]) || !(row_weight(p, i) >= 0) || !isfinite(row_weight(p, i)))
            return false;
    for (size_t k = x->start[0]; k < x->start[x->n]; k++)
        if (x->index[k] >= x->dim || !isfinite(x->value[k]))
            return false;
    for (size_t j = 0; j < x->dim; j++)
        if (!isfinite(b[j]))
            return false;
    return true;
}

int linear_fit(const struct sparse *x, const double *y, const double *weight, enum linear_link link,
               double penalty, double *b) {
    struct problem p = {.x = x, .y = y, .weight = weight, .link = link, .penalty = penalty};
    if (!usable(&p, b))
        return -EINVAL;
    autofree(free) double *room = malloc((x->n + 6 * x->dim) * sizeof *room);
    if (!room)
        return -ENOMEM;
    p.curve = room;
    p.gradient = p.curve + x->n;
    p.step = p.gradient + x->dim;
    p.rest = p.step + x->dim;
    p.way = p.rest + x->dim;
    p.product = p.way + x->dim;
    p.diagonal = p.product + x->dim;
    double value = objective(&p, b), first = 0;
    for (int k = 0; k < NEWTON_STEPS; k++) {
        double norm = differentiate(&p, b);
        first = k ? first : norm;
        if (norm <= 1e-18 * (1 + first))
            break;
        solve(&p);
        if (!advance(&p, b, &value))
            break;
    }
    return 0;
}
