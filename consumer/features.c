#include "consumer/features.h"

#include <math.h>
#include <stdio.h>

/* How one column becomes features: a number by (v - mean) / deviation, a value by its code. */
struct plan {
    bool number;
    size_t first; /* its first feature */
    double mean, deviation;
};

static void scale(const struct frame *f, const struct frame_column *c, struct plan *p) {
    double n = 0, sum = 0, square = 0;
    for (size_t i = 0; i < f->n; i++) {
        double v = frame_number(c, i);
        if (isnan(v))
            continue;
        double by = v - sum;
        n++;
        sum += by / n;
        square += by * (v - sum);
    }
    p->mean = sum;
    p->deviation = n > 1 && square > 0 ? sqrt(square / n) : 1;
}

static int plan_columns(const char *command, const struct frame *f,
                        const struct frame_column *const *columns, size_t n, size_t few,
                        size_t first, struct plan *plans, size_t *ret_dim) {
    for (size_t k = 0; k < n; k++) {
        const struct frame_column *c = columns[k];
        plans[k] = (struct plan){.number = c->numeric && c->n_values - 1 > few, .first = first};
        if (!plans[k].number && c->n_values > FEATURE_VALUES_MAX) {
            fprintf(stderr,
                    "%s: %s: column %s has %zu different values, which are no numbers; features "
                    "need at most %d\n",
                    command, f->path, c->name, c->n_values - 1, FEATURE_VALUES_MAX);
            return -EINVAL;
        }
        if (plans[k].number)
            scale(f, c, &plans[k]);
        first += plans[k].number ? 1 : c->n_values;
    }
    *ret_dim = first;
    return 0;
}

int features_new(const char *command, const struct frame *f,
                 const struct frame_column *const *columns, size_t n, size_t few, bool intercept,
                 struct features *ret) {
    struct plan plans[FEATURE_COLUMNS_MAX];
    size_t dim, used = 0;
    *ret = (struct features){0};
    if (n > FEATURE_COLUMNS_MAX)
        return -EINVAL;
    int err = plan_columns(command, f, columns, n, few, intercept, plans, &dim);
    if (err < 0)
        return err;
    ret->start = calloc(f->n + 1, sizeof *ret->start);
    ret->index = calloc(f->n * (n + intercept) + 1, sizeof *ret->index);
    ret->value = calloc(f->n * (n + intercept) + 1, sizeof *ret->value);
    if (!ret->start || !ret->index || !ret->value) {
        features_free(ret);
        return -ENOMEM;
    }
    for (size_t i = 0; i < f->n; i++) {
        if (intercept)
            ret->value[used++] = 1;
        for (size_t k = 0; k < n; k++) {
            double v = plans[k].number
                           ? (frame_number(columns[k], i) - plans[k].mean) / plans[k].deviation
                           : 1;
            if (isnan(v)) /* nothing there: the mean */
                continue;
            ret->index[used] =
                (uint32_t)(plans[k].first + (plans[k].number ? 0 : columns[k]->code[i]));
            ret->value[used++] = (float)v;
        }
        ret->start[i + 1] = used;
    }
    ret->x = (struct sparse){f->n, dim, ret->start, ret->index, ret->value};
    return 0;
}

void features_free(struct features *x) {
    free(x->start);
    free(x->index);
    free(x->value);
    *x = (struct features){0};
}
