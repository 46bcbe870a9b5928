#include "policy/ridge.h"
#include "model/block.h"
#include "model/decay.h"

enum { RIDGE_VERSION = 1 };

static size_t triangle(size_t n) {
    return n * (n + 1) / 2;
}

int ridge_init(struct ridge *r, uint32_t dim, int64_t half_life_ms, uint64_t features) {
    *r = (struct ridge){.dim = dim, .half_life_ms = half_life_ms, .features = features};
    if (dim < 1 || dim > RIDGE_DIM_MAX || half_life_ms < 0)
        return -EINVAL;
    r->xy = calloc(dim + triangle(dim), sizeof *r->xy);
    if (!r->xy)
        return -ENOMEM;
    r->xx = r->xy + dim;
    return 0;
}

void ridge_done(struct ridge *r) {
    free(r->xy);
    *r = (struct ridge){0};
}

void ridge_clear(struct ridge *r) {
    r->epoch = 0;
    r->n = r->yy = 0;
    memset(r->xy, 0, (r->dim + triangle(r->dim)) * sizeof *r->xy);
}

void ridge_copy(const struct ridge *from, struct ridge *to) {
    to->epoch = from->epoch;
    to->n = from->n;
    to->yy = from->yy;
    memcpy(to->xy, from->xy, (from->dim + triangle(from->dim)) * sizeof *to->xy);
}

static void carry(struct ridge *r, uint32_t epoch) {
    if (epoch <= r->epoch)
        return;
    double f = decay_carry(r->epoch, epoch);
    r->epoch = epoch;
    r->n *= f;
    r->yy *= f;
    for (size_t i = 0; i < r->dim + triangle(r->dim); i++)
        r->xy[i] *= f;
}

bool ridge_add(struct ridge *r, const float *x, double y, double weight, int64_t time_ms) {
    double v[RIDGE_DIM_MAX], size = y * y;
    for (uint32_t i = 0; i < r->dim; i++) {
        v[i] = x[i];
        size += v[i] * v[i];
    }
    if (!isfinite(size) || !isfinite(weight) || !(weight > 0))
        return false;
    double t = decay_time(time_ms, r->half_life_ms);
    carry(r, decay_epoch(t));
    double w = weight * (double)decay_unit(t, r->epoch);
    r->n += w;
    r->yy += w * y * y;
    double *row = r->xx;
    for (uint32_t i = 0; i < r->dim; row += ++i) {
        double wx = w * v[i];
        r->xy[i] += wx * y;
        for (uint32_t j = 0; j <= i; j++)
            row[j] += wx * v[j];
    }
    return true;
}

static bool same_kind(const struct ridge *a, const struct ridge *b) {
    return a->dim == b->dim && a->half_life_ms == b->half_life_ms && a->features == b->features;
}

int ridge_merge(const struct ridge *from, struct ridge *into) {
    if (!same_kind(from, into))
        return -EINVAL;
    carry(into, from->epoch);
    double f = decay_carry(from->epoch, into->epoch);
    into->n += f * from->n;
    into->yy += f * from->yy;
    for (size_t i = 0; i < into->dim + triangle(into->dim); i++)
        into->xy[i] += f * from->xy[i];
    return 0;
}

int ridge_fit_init(struct ridge_fit *f, uint32_t dim) {
    *f = (struct ridge_fit){.dim = dim};
    f->mean = calloc(dim + 2 * triangle(dim), sizeof *f->mean);
    if (!f->mean)
        return -ENOMEM;
    f->chol = f->mean + dim;
    f->work = f->chol + triangle(dim);
    return 0;
}

void ridge_fit_done(struct ridge_fit *f) {
    free(f->mean);
    *f = (struct ridge_fit){0};
}

/* Four sums side by side, because one chain of additions waits for each. */
static double dot(size_t n, const double *x, const double *y) {
    double s[4] = {0};
    size_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (size_t j = 0; j < 4; j++)
            s[j] += x[i + j] * y[i + j];
    for (; i < n; i++)
        s[0] += x[i] * y[i];
    return (s[0] + s[1]) + (s[2] + s[3]);
}

/* L row by row in place; false when a pivot is lost to rounding. */
static bool factor(size_t n, double *l) {
    double *row = l;
    for (size_t i = 0; i < n; row += ++i) {
        const double *above = l;
        double largest = row[i];
        for (size_t j = 0; j <= i; above += ++j) {
            double s = row[j] - dot(j, row, above);
            if (j < i)
                row[j] = s / above[j];
            else if (!(s > largest * 1e-14))
                return false;
            else
                row[i] = sqrt(s);
        }
    }
    return true;
}

int ridge_solve(const struct ridge *r, const struct ridge_prior *prior, int64_t now_ms,
                struct ridge_fit *f) {
    double worth = 1, explained = 0, half = 0, *l = f->work;
    if (r->half_life_ms > 0)
        worth = exp2(-(decay_time(now_ms, r->half_life_ms) - (double)DECAY_EPOCH * r->epoch));
    size_t n = r->dim;
    for (size_t i = 0; i < triangle(n); i++)
        l[i] = worth * r->xx[i];
    for (size_t i = 0; i < n; i++)
        l[triangle(i) + i] += prior->penalty[i];
    if (!factor(n, l))
        return -EDOM;
    f->work = f->chol;
    f->chol = l;
    const double *row = l;
    for (size_t i = 0; i < n; row += ++i) {
        f->mean[i] = (worth * r->xy[i] - dot(i, row, f->mean)) / row[i];
        half += log(prior->penalty[i]) / 2 - log(row[i]); /* of the ratio of determinants */
    }
    ridge_spread(f, 0, f->mean);
    for (size_t i = 0; i < n; i++)
        explained += f->mean[i] * worth * r->xy[i];
    f->n = worth * r->n;
    double residual = fmax(0, worth * r->yy - explained), square = prior->noise * prior->noise;
    f->evidence = half;
    if (isinf(prior->noise_n)) {
        f->noise = prior->noise;
        f->evidence -= residual / (2 * square);
    } else {
        double all = prior->noise_n + f->n, sum = prior->noise_n * square + residual;
        f->noise = all > 0 ? sqrt(sum / all) : prior->noise;
        f->evidence -= sum > 0 ? all / 2 * log(sum) : 0;
    }
    return 0;
}

void ridge_spread(const struct ridge_fit *f, uint32_t from, double *x) {
    for (size_t i = f->dim; i-- > from;) {
        const double *row = f->chol + triangle(i);
        x[i] /= row[i];
        for (size_t j = from; j < i; j++)
            x[j] -= row[j] * x[i];
    }
}

void ridge_estimate(const struct ridge_fit *f, const float *x, double *ret_mean, double *ret_sd) {
    double y[RIDGE_DIM_MAX], square = 0, mean = 0;
    for (size_t i = 0; i < f->dim; i++)
        mean += f->mean[i] * x[i];
    *ret_mean = mean;
    if (!ret_sd)
        return;
    const double *row = f->chol; /* xᵀ(LLᵀ)⁻¹x is the square of L⁻¹x */
    for (size_t i = 0; i < f->dim; row += ++i) {
        y[i] = (x[i] - dot(i, row, y)) / row[i];
        square += y[i] * y[i];
    }
    *ret_sd = f->noise * sqrt(square);
}

void ridge_inverse(const struct ridge_fit *f, double *ret) {
    size_t n = f->dim;
    memset(ret, 0, n * n * sizeof *ret);
    for (size_t c = 0; c < n; c++) { /* row c of ret: column c of the inverse */
        double *x = ret + c * n;
        x[c] = 1;
        for (size_t i = c; i < n; i++) {
            const double *row = f->chol + triangle(i);
            x[i] = (x[i] - dot(i - c, row + c, x + c)) / row[i];
        }
        ridge_spread(f, 0, x);
    }
}

int ridge_encode(const struct ridge *r, struct buf *out) {
    size_t at = block_begin(out, RIDGE_VERSION);
    wire_put_varint(out, r->dim);
    wire_put_varint(out, (uint64_t)r->half_life_ms);
    wire_put_u64(out, r->features);
    wire_put_varint(out, r->epoch);
    wire_put(out, &r->n, sizeof r->n);
    wire_put(out, &r->yy, sizeof r->yy);
    wire_put(out, r->xy, (r->dim + triangle(r->dim)) * sizeof *r->xy);
    return block_end(out, at);
}

int ridge_restore(struct ridge *r, const void *p, size_t n, size_t *ret_n) {
    struct wire w;
    size_t taken, numbers = r->dim + triangle(r->dim);
    int rc = block_open(p, n, RIDGE_VERSION, &w, &taken);
    if (rc < 0)
        return rc;
    uint64_t dim = wire_get_varint(&w), half_life = wire_get_varint(&w);
    uint64_t features = wire_get_u64(&w), epoch = wire_get_varint(&w);
    double head[2];
    wire_get(&w, head, sizeof head);
    if (w.bad || dim != r->dim || half_life != (uint64_t)r->half_life_ms ||
        features != r->features || epoch > UINT32_MAX || !(head[0] >= 0) || !(head[1] >= 0) ||
        (size_t)(w.end - w.p) != numbers * sizeof *r->xy)
        return -EBADMSG;
    double sum = head[0] + head[1];
    for (size_t i = 0; i < numbers; i++) {
        double v;
        memcpy(&v, w.p + i * sizeof v, sizeof v);
        sum += fabs(v);
    }
    if (!isfinite(sum))
        return -EBADMSG;
    r->epoch = (uint32_t)epoch;
    r->n = head[0];
    r->yy = head[1];
    wire_get(&w, r->xy, numbers * sizeof *r->xy);
    *ret_n = taken;
    return 0;
}
