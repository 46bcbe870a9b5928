/* The policy that `beckon ope` values. */
#include <math.h>
#include <stdio.h>

#include "consumer/ope_run.h"
#include "policy/stats.h"

static const char COMMAND[] = "beckon ope";

static void by_table(const void *arg, size_t i, double *ret_p) {
    const struct evaluation *e = arg;
    size_t position = e->position ? e->position[i] : 0;
    memcpy(ret_p, e->p + position * e->log.n_actions, e->log.n_actions * sizeof *ret_p);
}

static void by_column(const void *arg, size_t i, double *ret_p) {
    const struct evaluation *e = arg;
    memset(ret_p, 0, e->log.n_actions * sizeof *ret_p);
    ret_p[e->action[i]] = e->own[i];
}

static int table_new(struct evaluation *e) {
    e->p = calloc(e->log.n_positions * e->log.n_actions, sizeof *e->p);
    return e->p ? 0 : -ENOMEM;
}

static int uniform(struct evaluation *e) {
    int err = table_new(e);
    for (size_t k = 0; err == 0 && k < e->log.n_positions * e->log.n_actions; k++)
        e->p[k] = 1 / (double)e->log.n_actions;
    snprintf(e->name, sizeof e->name, "every action alike");
    return err;
}

static int always(struct evaluation *e, const char *action) {
    size_t a = 0;
    while (a < e->log.n_actions && !str_eq(e->actions[a], str_of(action)))
        a++;
    if (a == e->log.n_actions) {
        fprintf(stderr, "%s: --policy always:%s: the log has no such action\n", COMMAND, action);
        return -EINVAL;
    }
    int err = table_new(e);
    for (size_t k = 0; err == 0 && k < e->log.n_positions; k++)
        e->p[k * e->log.n_actions + a] = 1;
    snprintf(e->name, sizeof e->name, "always %.150s", action);
    return err;
}

/* How often the log chose each action at each position, in place of what it wrote down. */
static int estimate_propensities(struct evaluation *e) {
    size_t n = e->log.n_actions;
    autofree(free) double *count = calloc(e->log.n_positions * n, sizeof *count);
    autofree(free) double *total = calloc(e->log.n_positions, sizeof *total);
    if (!count || !total)
        return -ENOMEM;
    for (size_t i = 0; i < e->frame->n; i++) {
        size_t at = e->position ? e->position[i] : 0;
        count[at * n + e->action[i]]++;
        total[at]++;
    }
    for (size_t i = 0; i < e->frame->n; i++) {
        size_t at = e->position ? e->position[i] : 0;
        e->propensity[i] = count[at * n + e->action[i]] / total[at];
    }
    return 0;
}

int ope_set_propensities(struct evaluation *e) {
    if (strcmp(e->o->propensity, "logged") == 0)
        return 0;
    if (strcmp(e->o->propensity, "estimated") == 0)
        return estimate_propensities(e);
    fprintf(stderr, "%s: --propensity %s: logged or estimated\n", COMMAND, e->o->propensity);
    return -EINVAL;
}

int ope_check_propensities(struct evaluation *e) {
    double z = 0;
    int err = e->outcomes ? 0 : ope_calibration(&e->log, &z);
    e->uncalibrated = z > OPE_CALIBRATED;
    return err;
}

/* How often each action was chosen at each position of another log, and what that log earned. */
static int as_log(struct evaluation *e, const char *path) {
    struct frame_role role[ROLES];
    memcpy(role, OPE_ROLES, sizeof role);
    role[PROPENSITY].missing = NULL;
    autofree(free) uint32_t *action = NULL, *position = NULL;
    autofree(free) double *total = NULL;
    struct moments earned = {0};
    int err = frame_read(COMMAND, path, &e->other);
    if (err == 0)
        err = frame_filter(COMMAND, e->other, e->o->where.v, e->o->where.n);
    if (err == 0)
        err = frame_roles(COMMAND, e->other, e->o->maps.v, e->o->maps.n, role, ROLES);
    if (err == 0)
        err = ope_places(e->other, role[ACTION].column, &e->actions, &e->log.n_actions, &action);
    if (err == 0 && e->position && role[POSITION].column)
        err = ope_places(e->other, role[POSITION].column, &e->positions, &e->log.n_positions,
                         &position);
    if (err == 0)
        err = table_new(e);
    if (err == 0 && !(total = calloc(e->log.n_positions, sizeof *total)))
        err = -ENOMEM;
    for (size_t i = 0; err == 0 && i < e->other->n; i++) {
        double reward;
        size_t at = position ? position[i] : 0;
        err = frame_bounded(COMMAND, e->other, role[REWARD].column, i, 0, -1e12, 1e12, &reward);
        moments_add(&earned, reward, 0);
        e->p[at * e->log.n_actions + action[i]]++;
        total[at]++;
    }
    for (size_t k = 0; err == 0 && k < e->log.n_positions * e->log.n_actions; k++) {
        size_t at = k / e->log.n_actions;
        e->p[k] = total[at] > 0 ? e->p[k] / total[at] : 1 / (double)e->log.n_actions;
    }
    e->truth = mean_of(&earned).value;
    e->truth_se = mean_of(&earned).se;
    e->truth_n = (size_t)earned.n;
    snprintf(e->name, sizeof e->name, "choosing as often as %.150s", path);
    return err;
}

int ope_set_policy(struct evaluation *e) {
    const char *p = e->o->policy;
    e->truth = NAN;
    if (strcmp(p, "uniform") == 0)
        return uniform(e);
    if (strncmp(p, "always:", 7) == 0)
        return always(e, p + 7);
    if (strncmp(p, "log:", 4) == 0)
        return as_log(e, p + 4);
    if (strcmp(p, "column") == 0 && e->role[TARGET].column) {
        e->target = e->own;
        snprintf(e->name, sizeof e->name, "probabilities in column %.100s",
                 e->role[TARGET].column->name);
        return 0;
    }
    for (int k = 0; k < BANDIT_KIND_COUNT; k++)
        if (strcmp(p, bandit_kind_name((enum bandit_kind)k)) == 0) {
            e->learns = true;
            e->kind = (enum bandit_kind)k;
            return 0;
        }
    if (strcmp(p, "column") == 0)
        fprintf(stderr,
                "%s: --policy column needs --map COLUMN=target, the probability with which "
                "the policy would have chosen the logged action\n",
                COMMAND);
    else
        fprintf(stderr,
                "%s: --policy %s: uniform, always:ACTION, log:FILE, column or a bandit, which is "
                "one of random, "
                "epsilon-greedy, linucb, thompson, squarecb\n",
                COMMAND, p);
    return -EINVAL;
}

int ope_teach_policy(struct evaluation *e) {
    struct ope_log *rest = &e->judged;
    size_t nothing = 0, learn = e->log.n / 2;
    e->judged = e->log;
    if (!e->learns)
        return 0;
    while (nothing < e->log.n_actions && !str_eq(e->actions[nothing], STR("nothing")))
        nothing++;
    int err = ope_bandit_new(&e->log, learn, e->kind, nothing, (uint64_t)e->o->seed, &e->bandit);
    if (err == -EINVAL)
        fprintf(stderr, "%s: a bandit over %zu actions is too large, at most %d\n", COMMAND,
                e->log.n_actions, RIDGE_DIM_MAX);
    snprintf(e->name, sizeof e->name, "%s, taught the first %zu rounds", bandit_kind_name(e->kind),
             learn);
    rest->n -= learn;
    rest->action += learn;
    rest->position += rest->position ? learn : 0;
    rest->reward += learn;
    rest->propensity += learn;
    rest->group += rest->group ? learn : 0;
    rest->context.n -= rest->context.dim ? learn : 0;
    rest->context.start += rest->context.dim ? learn : 0;
    return err;
}

ope_policy *ope_policy_of(const struct evaluation *e, const void **ret_arg) {
    *ret_arg = e->bandit ? (const void *)e->bandit : e;
    return e->bandit ? ope_bandit_choose : e->target ? by_column : by_table;
}
