#include "policy/experiment.h"

#include <math.h>

#include "model/block.h"

enum { EXPERIMENT_VERSION = 1, SALT_BUCKET = 11, SALT_ARM = 12 };

const char *experiment_metric_name(enum experiment_metric m) {
    static const char *const NAMES[EXP_METRICS] = {"conversion", "revenue", "margin"};
    return NAMES[m];
}

const char *experiment_verdict_name(enum experiment_verdict v) {
    static const char *const NAMES[] = {"wait", "mismatch", "loses", "wins"};
    return NAMES[v];
}

/* ---- assignment ---------------------------------------------------------------------- */

uint32_t experiment_bucket(uint64_t salt, struct str layer, struct str user) {
    return (uint32_t)(hash_str(user, hash_str(layer, salt + SALT_BUCKET)) % EXPERIMENT_BUCKETS);
}

int experiment_arm(const struct experiment_spec *s, uint64_t salt, struct str user) {
    uint32_t bucket = experiment_bucket(salt, s->layer, user), sum = 0;
    if (bucket - s->first >= s->buckets) /* wraps below the first */
        return -1;
    for (size_t a = 0; a < s->n_arms; a++)
        sum += s->weight[a];
    if (sum == 0)
        return -1;
    uint32_t at = (uint32_t)(hash_str(user, hash_str(s->id, salt + SALT_ARM)) % sum);
    int arm = 0;
    while (at >= s->weight[arm])
        at -= s->weight[arm++];
    return arm;
}

static bool name_fits(struct str name) {
    return name.n > 0 && name.n <= EXPERIMENT_ID_MAX;
}

int experiment_check(const struct experiment_spec *s, const struct experiment_spec *others,
                     size_t n_others) {
    uint64_t sum = 0;
    for (size_t a = 0; a < MIN(s->n_arms, EXPERIMENT_ARMS_MAX); a++)
        sum += s->weight[a];
    if (s->n_arms < 2 || s->n_arms > EXPERIMENT_ARMS_MAX || sum == 0 || sum > UINT32_MAX ||
        !name_fits(s->id) || !name_fits(s->layer) || s->buckets == 0 ||
        s->first >= EXPERIMENT_BUCKETS || s->buckets > EXPERIMENT_BUCKETS - s->first)
        return -EINVAL;
    for (size_t i = 0; i < n_others; i++) {
        const struct experiment_spec *o = &others[i];
        if (str_eq(o->layer, s->layer) && o->first < s->first + s->buckets &&
            s->first < o->first + o->buckets)
            return -EEXIST;
    }
    return 0;
}

/* ---- what came of it -------------------------------------------------------------------- */

bool experiment_add(struct experiment_state *s, size_t arm, const struct experiment_outcome *o) {
    if (arm >= s->n_arms || !isfinite(o->revenue) || !isfinite(o->margin) || !isfinite(o->before))
        return false;
    struct experiment_counts *c = &s->arm[arm];
    moments_add(&c->metric[EXP_CONVERSION], o->converted, o->before);
    moments_add(&c->metric[EXP_REVENUE], o->revenue, o->before);
    moments_add(&c->metric[EXP_MARGIN], o->margin, o->before);
    if (o->nps >= 0 && o->nps <= 10) {
        c->answers++;
        c->promoters += o->nps >= 9;
        c->detractors += o->nps <= 6;
    }
    return true;
}

int experiment_merge(struct experiment_state *to, const struct experiment_state *from) {
    if (to->n_arms != from->n_arms)
        return -EINVAL;
    for (size_t a = 0; a < to->n_arms; a++) {
        for (int m = 0; m < EXP_METRICS; m++)
            moments_merge(&to->arm[a].metric[m], &from->arm[a].metric[m]);
        to->arm[a].answers += from->arm[a].answers;
        to->arm[a].promoters += from->arm[a].promoters;
        to->arm[a].detractors += from->arm[a].detractors;
    }
    return 0;
}

static void put_number(struct buf *b, double v) {
    wire_put(b, &v, sizeof v);
}

static double get_number(struct wire *w) {
    double v;
    wire_get(w, &v, sizeof v);
    return v;
}

int experiment_encode(const struct experiment_state *s, struct buf *out) {
    size_t at = block_begin(out, EXPERIMENT_VERSION);
    wire_put_u8(out, (uint8_t)s->n_arms);
    for (size_t a = 0; a < s->n_arms; a++) {
        const struct experiment_counts *c = &s->arm[a];
        for (int m = 0; m < EXP_METRICS; m++) {
            const struct moments *x = &c->metric[m];
            const double v[] = {x->n, x->y, x->x, x->yy, x->xx, x->xy};
            for (size_t k = 0; k < ARRAY_LEN(v); k++)
                put_number(out, v[k]);
        }
        put_number(out, c->answers);
        put_number(out, c->promoters);
        put_number(out, c->detractors);
    }
    return block_end(out, at);
}

static bool sound(const struct moments *m) {
    return m->n >= 0 && m->yy >= 0 && m->xx >= 0 && isfinite(m->n) && isfinite(m->y) &&
           isfinite(m->x) && isfinite(m->yy) && isfinite(m->xx) && isfinite(m->xy);
}

static bool get_counts(struct wire *w, struct experiment_counts *c) {
    bool good = true;
    for (int m = 0; m < EXP_METRICS; m++) {
        struct moments *x = &c->metric[m];
        double *v[] = {&x->n, &x->y, &x->x, &x->yy, &x->xx, &x->xy};
        for (size_t k = 0; k < ARRAY_LEN(v); k++)
            *v[k] = get_number(w);
        good &= sound(x);
    }
    c->answers = get_number(w);
    c->promoters = get_number(w);
    c->detractors = get_number(w);
    return good && c->promoters >= 0 && c->detractors >= 0 && isfinite(c->answers) &&
           c->promoters + c->detractors <= c->answers;
}

int experiment_decode(const void *p, size_t n, struct experiment_state *ret, size_t *ret_n) {
    struct experiment_state s = {0};
    struct wire w;
    size_t used;
    if (block_open(p, n, EXPERIMENT_VERSION, &w, &used) < 0)
        return -EBADMSG;
    uint8_t arms = wire_get_u8(&w);
    if (arms > EXPERIMENT_ARMS_MAX)
        return -EBADMSG;
    s.n_arms = arms;
    for (size_t a = 0; a < s.n_arms; a++)
        if (!get_counts(&w, &s.arm[a]))
            return -EBADMSG;
    if (w.bad || w.p != w.end)
        return -EBADMSG;
    *ret = s;
    *ret_n = used;
    return 0;
}

/* ---- what it proves ----------------------------------------------------------------------- */

struct experiment_rules experiment_defaults(void) {
    return (struct experiment_rules){
        .level = .95, .tight = 5000, .mismatch = .001, .least = 200, .stop_metric = EXP_MARGIN};
}

static void compare(const struct experiment_state *s, enum experiment_metric m, double level,
                    double tight, struct experiment_result *ret) {
    struct moments pool = {0};
    for (size_t a = 0; a < s->n_arms; a++)
        moments_pool(&pool, &s->arm[a].metric[m]);
    double theta = cuped_theta(&pool);
    struct mean control = cuped_mean(&s->arm[0].metric[m], theta, pool.x);
    for (size_t a = 0; a < s->n_arms; a++) {
        const struct moments *x = &s->arm[a].metric[m];
        struct experiment_effect *e = &ret->effect[a][m];
        e->plain = mean_of(x);
        e->adjusted = cuped_mean(x, theta, pool.x);
        struct mean d = mean_difference(control, e->adjusted);
        double z = z_always(level, d.n, tight);
        e->difference = d.value;
        e->range = mean_interval(d, z);
        e->lift = lift(control, e->adjusted);
        e->lift_range = lift_interval(control, e->adjusted, z);
        e->saved =
            e->plain.se > 0 ? 1 - e->adjusted.se * e->adjusted.se / (e->plain.se * e->plain.se) : 0;
    }
}

static enum experiment_verdict judge(const struct experiment_result *r, size_t arm,
                                     const struct experiment_rules *rules) {
    struct interval range = r->effect[arm][rules->stop_metric].range;
    if (r->alarm)
        return EXP_MISMATCH;
    if (r->users[0] < rules->least || r->users[arm] < rules->least)
        return EXP_WAIT;
    return range.high < 0 ? EXP_LOSES : range.low > 0 ? EXP_WINS : EXP_WAIT;
}

void experiment_result(const struct experiment_spec *spec, const struct experiment_state *s,
                       const double *exposed, const struct experiment_rules *r,
                       struct experiment_result *ret) {
    double share[EXPERIMENT_ARMS_MAX];
    double level = 1 - (1 - r->level) / (double)MAX(s->n_arms - 1, 1);
    *ret = (struct experiment_result){0};
    for (size_t a = 0; a < s->n_arms; a++) {
        const struct experiment_counts *c = &s->arm[a];
        share[a] = spec->weight[a];
        ret->users[a] = c->metric[0].n;
        ret->nps[a] = c->answers > 0 ? 100 * (c->promoters - c->detractors) / c->answers : NAN;
    }
    ret->mismatch = ratio_mismatch(exposed ? exposed : ret->users, share, s->n_arms);
    ret->alarm = ret->mismatch < r->mismatch;
    for (int m = 0; m < EXP_METRICS; m++)
        compare(s, (enum experiment_metric)m, level, r->tight, ret);
    for (size_t a = 1; a < s->n_arms; a++)
        ret->verdict[a] = judge(ret, a, r);
}
