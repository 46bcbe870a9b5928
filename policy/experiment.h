/* Experiments: who is in which arm, what came of it, and what that proves. Pure: arms depend on
 * nothing but salt and user; results merge between processes and are durable.
 *
 * A user's arm is drawn by hash, so that it is the same at every event, in every process, for good:
 * a bucket of 10,000 by the salt of the layer, and within what the layer gives to this experiment
 * an arm by the salt of the experiment. Experiments of one layer exclude each other (each has its
 * own buckets); those of different layers cross. The hold-out is a layer of its own. */
#pragma once

#include "model/base.h"
#include "policy/stats.h"

enum { EXPERIMENT_ARMS_MAX = 16, EXPERIMENT_BUCKETS = 10000, EXPERIMENT_ID_MAX = 64 };

/* ---- assignment ---------------------------------------------------------------------- */

struct experiment_spec {
    struct str id;           /* salts the arms; never change it while it runs */
    struct str layer;        /* salts the buckets */
    uint32_t first, buckets; /* of the layer that are this experiment's: [first, first + buckets) */
    size_t n_arms;
    uint32_t weight[EXPERIMENT_ARMS_MAX]; /* shares of arms; arm 0 is the control */
};

/* In [0, EXPERIMENT_BUCKETS): evenly spread, and independent between salts. */
uint32_t experiment_bucket(uint64_t salt, struct str layer, struct str user);
/* The arm, or -1: not in this experiment. */
int experiment_arm(const struct experiment_spec *s, uint64_t salt, struct str user);
/* 0, or -EINVAL: fewer than two arms or too many, a weight of 0 for all, buckets out of range, or a
 * name that is empty or too long. `others`: of the same layer or not; -EEXIST if buckets overlap.
 */
int experiment_check(const struct experiment_spec *s, const struct experiment_spec *others,
                     size_t n_others);

/* ---- what came of it -------------------------------------------------------------------- */

/* Of each user exposed, once, at the end of his window or as far as it is known. */
struct experiment_outcome {
    bool converted;
    double revenue, margin;
    double nps;    /* survey score 0 to 10; NAN: not asked or no answer */
    double before; /* the same user's margin (or what predicts it) before exposure, for CUPED; 0:
                      new */
};

enum experiment_metric { EXP_CONVERSION, EXP_REVENUE, EXP_MARGIN, EXP_METRICS };
const char *experiment_metric_name(enum experiment_metric m); /* "conversion", … */

struct experiment_counts {
    struct moments metric[EXP_METRICS];    /* y the metric, x what was before; n: users exposed */
    double answers, promoters, detractors; /* survey: 9 and 10; 0 to 6 */
};

struct experiment_state {
    size_t n_arms;
    struct experiment_counts arm[EXPERIMENT_ARMS_MAX];
};

/* False, and nothing counted, for an arm out of range or what is not finite. */
bool experiment_add(struct experiment_state *s, size_t arm, const struct experiment_outcome *o);
/* Adds what another process counted. 0, -EINVAL: other arms. */
int experiment_merge(struct experiment_state *to, const struct experiment_state *from);
/* A block of model/block.h. 0 or -ENOMEM. */
int experiment_encode(const struct experiment_state *s, struct buf *out);
/* Reads one record from the front of `p`; *ret_n: its length. 0, or -EBADMSG, and *ret is as it
 * was. */
int experiment_decode(const void *p, size_t n, struct experiment_state *ret, size_t *ret_n);

/* ---- what it proves ----------------------------------------------------------------------- */

struct experiment_rules {
    double level;    /* as .95, of the confidence sequences */
    double tight;    /* users at which they are tightest, as 5,000 */
    double mismatch; /* alarm below this probability, as .001 */
    double least;    /* users an arm needs before anything is concluded, as 200 */
    enum experiment_metric stop_metric; /* the stop rule goes by this one */
};
struct experiment_rules experiment_defaults(void);

enum experiment_verdict {
    EXP_WAIT,     /* not enough users, or nothing certain */
    EXP_MISMATCH, /* arms are not filled as they should be: conclude nothing */
    EXP_LOSES,    /* certainly worse than the control: pause it */
    EXP_WINS      /* certainly better */
};
const char *experiment_verdict_name(enum experiment_verdict v); /* "wait", "mismatch", … */

/* An arm against the control. Intervals are confidence sequences: valid at every look together. */
struct experiment_effect {
    struct mean plain, adjusted; /* of the arm; adjusted by CUPED with one theta for all arms */
    double difference;           /* of the adjusted means */
    struct interval range;
    double lift; /* of the adjusted means */
    struct interval lift_range;
    double saved; /* share of the variance that CUPED took away */
};

struct experiment_result {
    double users[EXPERIMENT_ARMS_MAX], mismatch; /* probability of arms filled so unevenly */
    bool alarm;
    struct experiment_effect effect[EXPERIMENT_ARMS_MAX]
                                   [EXP_METRICS];         /* of arm 0: against itself */
    double nps[EXPERIMENT_ARMS_MAX];                      /* -100 to 100; NAN */
    enum experiment_verdict verdict[EXPERIMENT_ARMS_MAX]; /* arm 0: EXP_WAIT */
};
/* exposed[n_arms]: users met, whose windows may still be open; by these, more than are counted yet,
 * it is judged whether arms are filled as they should be. NULL: those counted. With more than two
 * arms each comparison takes its part of the level (Bonferroni). */
void experiment_result(const struct experiment_spec *spec, const struct experiment_state *s,
                       const double *exposed, const struct experiment_rules *r,
                       struct experiment_result *ret);
