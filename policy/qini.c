#include "policy/qini.h"

#include <math.h>

/* People by falling score; `last` marks where a group of one score ends. */
struct order {
    uint32_t *who;
    bool *last;
};

struct areas {
    double qini, auuc;
};

struct work {
    const struct qini_people *people;
    struct order order[QINI_SCORES_MAX];
    uint32_t *times; /* [n] how often each person was drawn */
    double *areas;   /* [score][qini, auuc, ahead][resample] */
    double *curves;  /* [score][point][resample] */
    size_t resamples;
};

static void work_free(struct work *w) {
    for (size_t s = 0; s < QINI_SCORES_MAX; s++) {
        free(w->order[s].who);
        free(w->order[s].last);
    }
    free(w->times);
    free(w->areas);
    free(w->curves);
}

static int by_score(const void *a, const void *b, void *scores) {
    uint32_t i = *(const uint32_t *)a, j = *(const uint32_t *)b;
    double x = ((const double *)scores)[i], y = ((const double *)scores)[j];
    return x > y ? -1 : x < y ? 1 : (i > j) - (i < j);
}

static int order_new(const double *score, size_t n, struct order *ret) {
    ret->who = calloc(n, sizeof *ret->who);
    ret->last = calloc(n, sizeof *ret->last);
    if (!ret->who || !ret->last)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(score[i]))
            return -EINVAL;
        ret->who[i] = (uint32_t)i;
    }
    qsort_r(ret->who, n, sizeof *ret->who, by_score, (void *)score);
    for (size_t i = 0; i < n; i++)
        ret->last[i] = i + 1 == n || score[ret->who[i]] != score[ret->who[i + 1]];
    return 0;
}

/* Those treated and not among the first people. */
struct tally {
    double n_t, n_c, y_t, y_c;
};

static void tally_add(struct tally *t, bool treated, double outcome, double times) {
    *(treated ? &t->n_t : &t->n_c) += times;
    *(treated ? &t->y_t : &t->y_c) += times * outcome;
}

static double qini_at(const struct tally *t, double all_treated) {
    return t->n_c > 0 ? (t->y_t - t->y_c * t->n_t / t->n_c) / all_treated : 0;
}

static double uplift_at(const struct tally *t, double all) {
    return t->n_t > 0 && t->n_c > 0 ? (t->y_t / t->n_t - t->y_c / t->n_c) * (t->n_t + t->n_c) / all
                                    : 0;
}

/* The straight piece of a curve from (x0, y0) to (x1, y1) at the points within it. */
static void fill(double *curve, size_t stride, double x0, double y0, double x1, double y1) {
    size_t k = (size_t)ceil(x0 * (QINI_POINTS - 1) - 1e-9);
    for (; k < QINI_POINTS; k++) {
        double x = (double)k / (QINI_POINTS - 1);
        if (x > x1 + 1e-12)
            return;
        curve[k * stride] = x1 > x0 ? y0 + (x - x0) / (x1 - x0) * (y1 - y0) : y1;
    }
}

/* Walks down one order with each person `times` there (NULL: once). Writes the Qini curve to
 * curve[k * stride] and, unless NULL, the uplift curve. */
static struct areas walk(const struct qini_people *people, const struct order *o,
                         const uint32_t *times, double *curve, size_t stride, double *uplift) {
    struct tally all = {0}, t = {0};
    struct areas area = {0};
    double x0 = 0, q0 = 0, u0 = 0;
    for (size_t i = 0; i < people->n; i++)
        tally_add(&all, people->treated[i], people->outcome[i], times ? times[i] : 1);
    double n = all.n_t + all.n_c;
    for (size_t i = 0; i < people->n; i++) {
        uint32_t who = o->who[i];
        tally_add(&t, people->treated[who], people->outcome[who], times ? times[who] : 1);
        if (!o->last[i])
            continue;
        double x1 = (t.n_t + t.n_c) / n, q1 = qini_at(&t, all.n_t), u1 = uplift_at(&t, n);
        area.qini += (x1 - x0) * (q0 + q1) / 2;
        area.auuc += (x1 - x0) * (u0 + u1) / 2;
        fill(curve, stride, x0, q0, x1, q1);
        if (uplift)
            fill(uplift, 1, x0, u0, x1, u1);
        x0 = x1;
        q0 = q1;
        u0 = u1;
    }
    area.qini -= q0 / 2;
    return area;
}

/* A draw with replacement that holds both treated and untreated. */
static void draw(struct work *w, struct rng *rng) {
    const struct qini_people *p = w->people;
    bool both[2];
    do {
        both[0] = both[1] = false;
        memset(w->times, 0, p->n * sizeof *w->times);
        for (size_t i = 0; i < p->n; i++) {
            uint32_t who = rng_below(rng, (uint32_t)p->n);
            w->times[who]++;
            both[p->treated[who]] = true;
        }
    } while (!both[0] || !both[1]);
}

static void bootstrap(struct work *w, const struct qini_config *c, struct qini_result *ret) {
    const struct qini_people *p = w->people;
    size_t b = w->resamples;
    struct rng rng;
    rng_seed(&rng, c->seed);
    for (size_t k = 0; k < b; k++) {
        double first = 0;
        draw(w, &rng);
        for (size_t s = 0; s < p->n_scores; s++) {
            struct areas a =
                walk(p, &w->order[s], w->times, w->curves + s * QINI_POINTS * b + k, b, NULL);
            first = s ? first : a.qini;
            w->areas[(3 * s) * b + k] = a.qini;
            w->areas[(3 * s + 1) * b + k] = a.auuc;
            w->areas[(3 * s + 2) * b + k] = a.qini - first;
        }
    }
    for (size_t s = 0; s < p->n_scores; s++) {
        ret[s].qini.range = middle_interval(w->areas + 3 * s * b, b, c->level);
        ret[s].auuc.range = middle_interval(w->areas + (3 * s + 1) * b, b, c->level);
        ret[s].ahead.range = middle_interval(w->areas + (3 * s + 2) * b, b, c->level);
        for (size_t k = 0; k < QINI_POINTS; k++) {
            struct interval at =
                middle_interval(w->curves + (s * QINI_POINTS + k) * b, b, c->level);
            ret[s].low[k] = at.low;
            ret[s].high[k] = at.high;
        }
    }
}

int qini_measure(const struct qini_people *p, const struct qini_config *c,
                 struct qini_result *ret) {
    size_t treated = 0;
    if (p->n_scores > QINI_SCORES_MAX || p->n > UINT32_MAX || !(c->level > 0 && c->level < 1))
        return -EINVAL;
    for (size_t i = 0; i < p->n; i++)
        treated += p->treated[i];
    if (treated == 0 || treated == p->n)
        return -ENODATA;
    struct work w = {.people = p, .resamples = c->resamples};
    w.times = calloc(p->n, sizeof *w.times);
    w.areas = calloc(3 * MAX(p->n_scores * w.resamples, 1), sizeof *w.areas);
    w.curves = calloc(QINI_POINTS * MAX(p->n_scores * w.resamples, 1), sizeof *w.curves);
    int err = w.times && w.areas && w.curves ? 0 : -ENOMEM;
    for (size_t s = 0; s < p->n_scores && err == 0; s++) {
        err = order_new(p->score[s], p->n, &w.order[s]);
        if (err < 0)
            break;
        ret[s] = (struct qini_result){0};
        struct areas a = walk(p, &w.order[s], NULL, ret[s].curve, 1, ret[s].uplift);
        ret[s].qini.value = a.qini;
        ret[s].auuc.value = a.auuc;
        ret[s].ahead.value = a.qini - ret[0].qini.value;
    }
    if (err == 0)
        bootstrap(&w, c, ret);
    work_free(&w);
    return err;
}
