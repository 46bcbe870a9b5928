#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/ope_rewards.h"
#include "consumer/ope_view.h"
#include "policy/stats.h"

static const char COMMAND[] = "beckon ope";

const struct frame_role OPE_ROLES[ROLES] = {
    {"action",
     {"action", "action_id", "item_id", "campaign_id"},
     "Say --map COLUMN=action for what was chosen.",
     NULL},
    {"reward",
     {"reward", "click", "value", "conversion"},
     "Say --map COLUMN=reward for what came of it.",
     NULL},
    {"propensity",
     {"propensity", "propensity_score", "pscore", "probability"},
     "Say --map COLUMN=propensity for the probability with which the action was chosen; without it "
     "nothing can be said about other policies.",
     NULL},
    {"position", {"position"}, NULL, NULL},
    {"group", {"user_id", "user"}, NULL, NULL},
    {"target", {"target"}, NULL, NULL},
};

static void evaluation_free(struct evaluation *e) {
    frame_free(e->frame);
    frame_free(e->other);
    frame_free(e->items);
    frame_free(e->outcomes);
    features_free(&e->context);
    features_free(&e->trait);
    free(e->actions);
    free(e->positions);
    free(e->action);
    free(e->position);
    free(e->reward);
    free(e->propensity);
    free(e->group);
    free(e->p);
    free(e->own);
    free(e->rounds);
    ope_bandit_free(e->bandit);
}

/* ---- reading ------------------------------------------------------------------- */

/* The place of a text among those seen so far, by the codes of the log's own column, else at its
 * end. */
static int place_of(struct str **names, size_t *n, struct str text, uint32_t *ret) {
    for (size_t i = 0; i < *n; i++)
        if (str_eq((*names)[i], text)) {
            *ret = (uint32_t)i;
            return 0;
        }
    struct str *more = realloc(*names, (*n + 1) * sizeof *more);
    if (!more)
        return -ENOMEM;
    more[*n] = text;
    *names = more;
    *ret = (uint32_t)(*n)++;
    return 0;
}

/* Codes of a column → places in a list of names, which grows. */
int ope_places(const struct frame *f, const struct frame_column *c, struct str **names, size_t *n,
               uint32_t **ret) {
    autofree(free) uint32_t *by_code = malloc(c->n_values * sizeof *by_code);
    uint32_t *out = malloc(f->n * sizeof *out);
    int err = by_code && out ? 0 : -ENOMEM;
    if (err == 0)
        memset(by_code, 0xff, c->n_values * sizeof *by_code);
    for (size_t i = 0; i < f->n && err == 0; i++) {
        uint32_t code = c->code[i];
        if (by_code[code] == UINT32_MAX)
            err = place_of(names, n, code ? c->value[code] : STR("nothing"), &by_code[code]);
        if (err == 0)
            out[i] = by_code[code];
    }
    if (err < 0)
        free(out);
    else
        *ret = out;
    return err;
}

static int read_numbers(struct evaluation *e) {
    const struct frame *f = e->frame, *rewards = e->outcomes ? e->outcomes : f;
    e->reward = calloc(f->n, sizeof *e->reward);
    e->propensity = calloc(f->n, sizeof *e->propensity);
    e->own = calloc(f->n, sizeof *e->own);
    e->group = calloc(f->n, sizeof *e->group);
    e->rounds = calloc(f->n, sizeof *e->rounds);
    int err = e->reward && e->propensity && e->own && e->group && e->rounds ? 0 : -ENOMEM;
    for (size_t i = 0; i < f->n && err == 0; i++) {
        err = frame_bounded(COMMAND, rewards, e->role[REWARD].column, i, 0, -1e12, 1e12,
                            &e->reward[i]);
        if (err == 0)
            err = frame_bounded(COMMAND, f, e->role[PROPENSITY].column, i, NAN, 1e-9, 1,
                                &e->propensity[i]);
        if (err == 0 && e->role[TARGET].column)
            err = frame_bounded(COMMAND, f, e->role[TARGET].column, i, NAN, 0, 1, &e->own[i]);
        if (e->role[GROUP].column)
            e->group[i] = e->role[GROUP].column->code[i];
    }
    return err;
}

/* Roles of the log's columns; the reward's is in the outcomes if there are any. */
static int find_roles(struct evaluation *e) {
    if (e->outcomes)
        e->role[REWARD].missing = NULL;
    int err = frame_roles(COMMAND, e->frame, e->o->maps.v, e->o->maps.n, e->role, ROLES);
    if (err < 0 || !e->outcomes)
        return err;
    ope_nothing_where_not_sent(e);
    e->role[REWARD].column =
        frame_need(COMMAND, e->outcomes, "reward", "--rewards needs what came of each decision.");
    return e->role[REWARD].column ? 0 : -EINVAL;
}

static int read_log(struct evaluation *e, const char *path) {
    memcpy(e->role, OPE_ROLES, sizeof OPE_ROLES);
    int err = frame_read(COMMAND, path, &e->frame);
    if (err == 0)
        err = frame_filter(COMMAND, e->frame, e->o->where.v, e->o->where.n);
    if (err == 0 && *e->o->rewards)
        err = ope_join_rewards(e);
    if (err == 0)
        err = find_roles(e);
    if (err == 0)
        err = read_numbers(e);
    if (err == 0)
        err = ope_places(e->frame, e->role[ACTION].column, &e->actions, &e->log.n_actions,
                         &e->action);
    if (err == 0 && e->role[POSITION].column)
        err = ope_places(e->frame, e->role[POSITION].column, &e->positions, &e->log.n_positions,
                         &e->position);
    return err;
}

static int read_context(struct evaluation *e) {
    const struct frame_column *columns[FEATURE_COLUMNS_MAX];
    size_t n = 0;
    int err = 0;
    for (size_t i = 0; i < e->o->contexts.n && err == 0; i++)
        err = frame_match(COMMAND, e->frame, e->o->contexts.v[i], columns, FEATURE_COLUMNS_MAX, &n);
    if (err == 0 && n)
        err = features_new(COMMAND, e->frame, columns, n, 2, false, &e->context);
    e->log.context = e->context.x;
    return err;
}

/* The catalogue's row of each action, as features of the action. */
static int read_items(struct evaluation *e) {
    struct frame_role role = {"action",
                              {"action", "item_id", "id", "campaign_id"},
                              "It needs a column action, item_id, id or campaign_id.",
                              NULL};
    const struct frame_column *columns[FEATURE_COLUMNS_MAX];
    size_t n = 0;
    if (!*e->o->items)
        return 0;
    int err = frame_read(COMMAND, e->o->items, &e->items);
    if (err == 0)
        err = frame_roles(COMMAND, e->items, NULL, 0, &role, 1);
    for (size_t i = 0; err == 0 && i < e->items->n_columns && n < FEATURE_COLUMNS_MAX; i++)
        if (&e->items->column[i] != role.column && *e->items->column[i].name)
            columns[n++] = &e->items->column[i];
    autofree(free) size_t *row = calloc(e->log.n_actions, sizeof *row);
    if (!row)
        return -ENOMEM;
    for (size_t a = 0; a < e->log.n_actions && err == 0; a++) {
        uint32_t code = frame_code(role.column, e->actions[a]);
        while (row[a] < e->items->n && (code == 0 || role.column->code[row[a]] != code))
            row[a]++;
        if (row[a] == e->items->n) {
            fprintf(stderr, "%s: %s has no row for action %.*s\n", COMMAND, e->o->items,
                    (int)e->actions[a].n, e->actions[a].p);
            err = -EINVAL;
        }
    }
    if (err == 0)
        err = frame_order(e->items, row, e->log.n_actions);
    if (err == 0)
        err = features_new(COMMAND, e->items, columns, n, 0, false, &e->trait);
    e->log.trait = e->trait.x;
    return err;
}

/* ---- evaluation ----------------------------------------------------------------------- */

static int write_rounds(const struct evaluation *e) {
    size_t skip = e->log.n - e->judged.n;
    FILE *f = fopen(e->o->rounds, "we");
    if (!f) {
        fprintf(stderr, "%s: cannot write %s: %s\n", COMMAND, e->o->rounds, strerror(errno));
        return -EIO;
    }
    fprintf(f, "line,position,reward,propensity,target,model,model_mean\n");
    for (size_t i = 0; i < e->judged.n; i++) {
        const struct ope_round *r = &e->rounds[i];
        fprintf(f, "%llu,%u,%.17g,%.17g,%.17g,%.17g,%.17g\n",
                (unsigned long long)e->frame->line[skip + i], r->position, r->reward,
                e->judged.propensity[i], r->weight * e->judged.propensity[i], r->model,
                r->model_mean);
    }
    bool bad = ferror(f);
    if (fclose(f) || bad) {
        fprintf(stderr, "%s: cannot write %s\n", COMMAND, e->o->rounds);
        return -EIO;
    }
    return 0;
}

/* Positions by name, for people; what comes later no longer goes by their number. */
static void sort_positions(struct evaluation *e, struct ope_result *by) {
    for (size_t i = 1; i < e->log.n_positions; i++)
        for (size_t k = i; k > 0 && str_cmp(e->positions[k], e->positions[k - 1]) < 0; k--) {
            struct str name = e->positions[k];
            struct ope_result result = by[k];
            e->positions[k] = e->positions[k - 1];
            by[k] = by[k - 1];
            e->positions[k - 1] = name;
            by[k - 1] = result;
        }
}

static int show(struct evaluation *e) {
    const struct ope_options *o = e->o;
    struct ope_config c = {.clip = o->clip,
                           .tau = o->tau,
                           .level = o->level,
                           .resamples = (uint32_t)o->resamples,
                           .seed = (uint64_t)o->seed};
    struct ope_result all;
    autofree(free) struct ope_result *by = calloc(e->log.n_positions, sizeof *by);
    int err = by ? ope_estimate(e->rounds, e->judged.n, -1, &c, &all) : -ENOMEM;
    for (size_t p = 0; p < e->log.n_positions && e->log.n_positions > 1 && err == 0; p++) {
        err = ope_estimate(e->rounds, e->judged.n, (int64_t)p, &c, &by[p]);
        err = err == -ENODATA ? 0 : err; /* a position only the other log has */
    }
    if (err < 0)
        return err;
    if (e->uncalibrated)
        all.warnings |= OPE_UNCALIBRATED;
    if (e->log.n_positions > 1)
        sort_positions(e, by);
    struct ope_view v = {.log = e->frame->path,
                         .policy = e->name,
                         .n_actions = e->log.n_actions,
                         .n_positions = e->log.n_positions,
                         .positions = e->positions,
                         .all = &all,
                         .by_position = e->log.n_positions > 1 ? by : NULL,
                         .modelled = !e->target,
                         .level = o->level,
                         .truth = e->truth,
                         .truth_se = e->truth_se,
                         .truth_n = e->truth_n,
                         .rounds = e->rounds,
                         .n = e->log.n};
    if (strcmp(o->json, "-") != 0)
        ope_view_print(&v);
    if (*o->json)
        err = ope_view_json(&v, o->json);
    if (err == 0 && *o->report)
        err = ope_view_page(&v, o->report);
    if (err == 0 && *o->rounds)
        err = write_rounds(e);
    return err;
}

static int evaluate(const struct ope_options *o, const char *path) {
    struct evaluation e = {.o = o};
    int err = read_log(&e, path);
    e.log.n_positions = MAX(e.log.n_positions, 1);
    if (err == 0)
        err = ope_set_policy(&e);
    if (err == 0)
        err = ope_set_propensities(&e);
    if (err == 0)
        err = read_context(&e);
    if (err == 0)
        err = read_items(&e);
    if (err == 0) {
        e.log.n = e.frame->n;
        e.log.action = e.action;
        e.log.position = e.position;
        e.log.reward = e.reward;
        e.log.propensity = e.propensity;
        e.log.group = e.role[GROUP].column ? e.group : NULL;
        struct ope_model_config model = {o->penalty, (uint32_t)o->folds, (uint64_t)o->seed};
        const void *arg;
        ope_policy *policy;
        err = ope_check_propensities(&e);
        if (err == 0)
            err = ope_teach_policy(&e);
        policy = ope_policy_of(&e, &arg);
        if (err == 0)
            err = ope_rounds(&e.judged, policy, arg, &model, e.rounds);
    }
    if (err == 0)
        err = show(&e);
    evaluation_free(&e);
    return err;
}

int cmd_ope(int argc, char **argv) {
    struct ope_options o = {.policy = "uniform",
                            .propensity = "logged",
                            .items = "",
                            .json = "",
                            .report = "",
                            .rounds = "",
                            .rewards = "",
                            .tau = 10,
                            .penalty = 10,
                            .level = .95,
                            .folds = 3,
                            .resamples = 1000,
                            .seed = 1};
    const struct flag flags[] = {
        {"policy", FLAG_STR, &o.policy, "POLICY",
         "whose value: uniform (every action alike), always:ACTION, log:FILE (as often as another "
         "log chose, by position), column (the log has the probability of its action under the "
         "policy, --map COLUMN=target; then without the model), or a bandit: epsilon-greedy, "
         "linucb, "
         "thompson, squarecb; the first half of the log teaches it, the other half values it",
         0, 0},
        {"propensity", FLAG_STR, &o.propensity, "logged|estimated",
         "estimated: how often the log chose the action at that position, instead of what it wrote "
         "down. Steadier where propensities swing, but biased as far as both they and the rewards "
         "depend on the round",
         0, 0},
        {"map", FLAG_LIST, &o.maps, "COLUMN=FIELD",
         "which column is the action, reward, propensity, position, group (rounds that belong "
         "together, such as a user's) or target",
         0, 0},
        {"rewards", FLAG_STR, &o.rewards, "FILE",
         "the topic outcomes of the decisions that LOG holds: rewards are taken from there, by "
         "trigger_id, and what was not sent is the action nothing; decisions without an outcome "
         "(refused by a guard, window still open) do not count",
         0, 0},
        {"where", FLAG_LIST, &o.where, "COLUMN=VALUE", "only rows that have this", 0, 0},
        {"context", FLAG_LIST, &o.contexts, "COLUMN",
         "what the reward model may know of a round; PRE* is every column that begins so", 0, 0},
        {"items", FLAG_STR, &o.items, "FILE", "what it may know of each action: one row each", 0,
         0},
        {"clip", FLAG_NUM, &o.clip, "W", "no weight counts as more than this; 0: as they are", 0,
         1e9},
        {"switch", FLAG_NUM, &o.tau, "W", "Switch-DR trusts the model alone above this weight", 0,
         1e9},
        {"penalty", FLAG_NUM, &o.penalty, "L", "of the reward model's coefficients", 1e-6, 1e9},
        {"folds", FLAG_INT, &o.folds, "N",
         "each round is valued by a model of the others; 1: one model for all", 1, 20},
        {"level", FLAG_NUM, &o.level, "P", "of the intervals", .5, .999},
        {"resamples", FLAG_INT, &o.resamples, "N", "of the bootstrap", 0, 100000},
        {"seed", FLAG_INT, &o.seed, "N", "of folds and bootstrap", 0, 1e15},
        {"rounds", FLAG_STR, &o.rounds, "FILE",
         "write each round as the estimators see it, as CSV, to check by other means", 0, 0},
        {"report", FLAG_STR, &o.report, "FILE", "a page (HTML) with plots", 0, 0},
        {"json", FLAG_STR, &o.json, "FILE",
         "the result as JSON too; -: only that, on standard output", 0, 0},
    };
    const struct usage usage = {
        .synopsis =
            "ope LOG [--policy uniform|always:ACTION|log:FILE|thompson|…] [--context COLUMN]",
        .text =
            "What would another policy have earned? Judged from a log of decisions that wrote "
            "down with which probability each was made: by the direct method (a model of the "
            "reward), inverse propensities (IPS), the same self-normalized (SNIPS), doubly robust "
            "(DR), and Switch-DR. Trust SNIPS and DR where they agree and nothing warns; the "
            "direct method is as good as its model.\n"
            "The log is CSV or JSON lines, gzip or not: one row for each decision, with its "
            "action (empty: nothing was done), reward (empty: 0) and propensity. Rows of a list "
            "that was shown have a position; policies are then judged at each position.",
        .examples =
            "  beckon ope decisions.jsonl --policy always:autumn-coupon\n"
            "  beckon ope random.csv.gz --policy log:thompson.csv.gz --context "
            "'user_feature_*'\n"
            "  beckon ope decisions.jsonl --rewards outcomes.jsonl --policy always:spring-sale\n"
            "  beckon ope decisions.jsonl --policy linucb --context 'context.*'\n"
            "  beckon ope log.csv --map clicked=reward --map p=propensity --report ope.html\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = 1,
    };
    struct flag_list args = {0};
    int r = cli_parse(&usage, argc, argv, &args, NULL);
    if (r)
        return r - 1;
    int err = evaluate(&o, args.v[0]);
    if (err == -ENOMEM)
        fprintf(stderr, "%s: out of memory\n", COMMAND);
    flag_list_clear(&args);
    flag_list_clear(&o.maps);
    flag_list_clear(&o.contexts);
    flag_list_clear(&o.where);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
