#include "consumer/experiment_view.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* An arm's numbers as plain sums, which add up over processes. */
enum { ARM_SUMS = 16 };
static const char *const sum_name[ARM_SUMS] = {
    "exposed", "n",   "x",  "xx",  "answers", "promoters", "detractors", "y0",
    "yy0",     "xy0", "y1", "yy1", "xy1",     "y2",        "yy2",        "xy2",
};

static void plain(const struct experiment_sums *s, size_t arm, double ret[ARM_SUMS]) {
    const struct experiment_counts *c = &s->state.arm[arm];
    const struct moments *m = c->metric;
    const double head[] = {s->exposed[arm], m->n,         m->n * m->x,  m->xx + m->n * m->x * m->x,
                           c->answers,      c->promoters, c->detractors};
    memcpy(ret, head, sizeof head);
    for (int k = 0; k < EXP_METRICS; k++) {
        ret[7 + 3 * k] = m[k].n * m[k].y;
        ret[8 + 3 * k] = m[k].yy + m[k].n * m[k].y * m[k].y;
        ret[9 + 3 * k] = m[k].xy + m[k].n * m[k].x * m[k].y;
    }
}

static void centred(const double v[ARM_SUMS], struct experiment_sums *s, size_t arm) {
    struct experiment_counts *c = &s->state.arm[arm];
    double n = v[1];
    s->exposed[arm] = v[0];
    c->answers = v[4];
    c->promoters = v[5];
    c->detractors = v[6];
    for (int k = 0; k < EXP_METRICS && n > 0; k++) {
        double y = v[7 + 3 * k] / n, x = v[2] / n;
        c->metric[k] = (struct moments){
            .n = n,
            .y = y,
            .x = x,
            .yy = fmax(v[8 + 3 * k] - n * y * y, 0),
            .xx = fmax(v[3] - n * x * x, 0),
            .xy = v[9 + 3 * k] - n * x * y,
        };
    }
}

/* Begins as fields of campaigns do, so that it stays out of beckon:stats. */
static void sum_key(char ret[TALLY_KEY], const struct policy_set *set, size_t i, size_t arm,
                    int k) {
    snprintf(ret, TALLY_KEY, "campaign:experiment:%s:%zu:%s", policy_experiment(set, i)->name.p,
             arm, sum_name[k]);
}

void experiment_view_put(const struct policy_set *set, size_t i, struct tally *own) {
    struct experiment_sums sums;
    policy_experiment_sums(set, i, &sums);
    for (size_t a = 0; a < sums.state.n_arms; a++) {
        double v[ARM_SUMS];
        plain(&sums, a, v);
        for (int k = 0; k < ARM_SUMS && sums.exposed[a] > 0; k++) {
            char key[TALLY_KEY];
            sum_key(key, set, i, a, k);
            tally_put(own, key, "%.2f", v[k]);
        }
    }
}

void experiment_view_sums(const struct policy_set *set, size_t i, struct tally *all,
                          struct experiment_sums *ret) {
    *ret = (struct experiment_sums){.state.n_arms = policy_experiment(set, i)->spec.n_arms};
    for (size_t a = 0; a < ret->state.n_arms; a++) {
        double v[ARM_SUMS];
        for (int k = 0; k < ARM_SUMS; k++) {
            char key[TALLY_KEY];
            sum_key(key, set, i, a, k);
            const char *text = tally_get(all, key);
            v[k] = text ? strtod(text, NULL) : 0;
        }
        centred(v, ret, a);
    }
}

static void put_known(struct tally *t, const char *key, const char *fmt, double v) {
    char text[TALLY_VALUE];
    snprintf(text, sizeof text, fmt, v);
    if (isfinite(v))
        tally_put(t, key, "%s", text);
}

static void put(struct tally *t, struct str arm, const char *name, const char *more,
                const char *fmt, double v) {
    char key[TALLY_KEY];
    snprintf(key, sizeof key, "%s:%s%s", arm.p, name, more);
    put_known(t, key, fmt, v);
}

static void results(const struct experiment_arms *e, const struct experiment_sums *sums,
                    struct experiment_result *ret) {
    struct experiment_rules rules = experiment_defaults();
    rules.stop_metric = e->metric;
    experiment_result(&e->spec, &sums->state, sums->exposed, &rules, ret);
}

void experiment_view_campaign(const struct policy_set *set, size_t campaign, struct tally *all,
                              struct tally *ret) {
    size_t arm;
    int i = policy_campaign_study(set, campaign, &arm);
    if (i < 0)
        return;
    const struct experiment_arms *e = policy_experiment(set, (size_t)i);
    struct experiment_sums sums;
    struct experiment_result r;
    experiment_view_sums(set, (size_t)i, all, &sums);
    results(e, &sums, &r);
    const struct experiment_effect *f = &r.effect[arm][e->metric];
    tally_put(ret, "lift_by", "%s", e->name.p);
    tally_put(ret, "lift_metric", "%s", experiment_metric_name(e->metric));
    tally_put(ret, "lift_users", "%.0f", r.users[arm]);
    tally_put(ret, "lift_control_users", "%.0f", r.users[0]);
    put_known(ret, "lift", "%.4f", f->lift);
    put_known(ret, "lift_low", "%.4f", f->lift_range.low);
    put_known(ret, "lift_high", "%.4f", f->lift_range.high);
    put_known(ret, "more_per_user", "%.4f", f->difference);
    put_known(ret, "more_per_user_low", "%.4f", f->range.low);
    put_known(ret, "more_per_user_high", "%.4f", f->range.high);
    tally_put(ret, "lift_verdict", "%s", experiment_verdict_name(r.verdict[arm]));
}

uint32_t experiment_view_results(const struct policy_set *set, size_t i,
                                 const struct experiment_sums *sums, struct tally *ret) {
    const struct experiment_arms *e = policy_experiment(set, i);
    struct experiment_result r;
    uint32_t stop = 0, stopped = policy_experiment_stopped(set, i);
    results(e, sums, &r);
    tally_put(ret, "metric", "%s", experiment_metric_name(e->metric));
    tally_put(ret, "control", "%s", e->arm[0].name.p);
    tally_put(ret, "mismatch", "%s", r.alarm ? "alarm" : "no");
    if (isfinite(r.mismatch))
        tally_put(ret, "mismatch_p", "%.6f", r.mismatch);
    for (size_t a = 0; a < e->spec.n_arms; a++) {
        struct str arm = e->arm[a].name;
        char key[TALLY_KEY];
        put(ret, arm, "exposed", "", "%.0f", sums->exposed[a]);
        put(ret, arm, "users", "", "%.0f", r.users[a]);
        put(ret, arm, "nps", "", "%.1f", r.nps[a]);
        for (int m = 0; m < EXP_METRICS; m++) {
            const struct experiment_effect *f = &r.effect[a][m];
            const char *name = experiment_metric_name((enum experiment_metric)m);
            put(ret, arm, name, "", "%.4f", f->plain.value);
            put(ret, arm, name, "_cuped", "%.4f", f->adjusted.value);
            put(ret, arm, name, "_variance_saved", "%.3f", f->saved);
            if (!a)
                continue;
            put(ret, arm, name, "_lift", "%.4f", f->lift);
            put(ret, arm, name, "_lift_low", "%.4f", f->lift_range.low);
            put(ret, arm, name, "_lift_high", "%.4f", f->lift_range.high);
            put(ret, arm, name, "_difference", "%.4f", f->difference);
            put(ret, arm, name, "_difference_low", "%.4f", f->range.low);
            put(ret, arm, name, "_difference_high", "%.4f", f->range.high);
        }
        snprintf(key, sizeof key, "%s:verdict", arm.p);
        tally_put(ret, key, "%s",
                  e->stop && stopped >> a & 1 ? "stopped"
                  : a                         ? experiment_verdict_name(r.verdict[a])
                                              : "control");
        if (r.verdict[a] == EXP_LOSES)
            stop |= UINT32_C(1) << a;
    }
    return e->stop ? stop & ~stopped : 0;
}
