#include <math.h>
#include <stdio.h>

#include "consumer/cli.h"
#include "consumer/interrupt.h"
#include "consumer/log.h"
#include "consumer/replay_flags.h"
#include "consumer/replay_report.h"
#include "consumer/tune.h"

struct options {
    struct replay_flags flags;
    const char *metric, *state, *out;
    struct flag_list only;
    int64_t trials, seed;
    double split;
    bool use[TUNE_PARAMS_MAX];
};

/* The search as it runs. */
struct search {
    const struct options *o;
    struct trial_setup *s;
    enum rank_metric metric;
    size_t first, n; /* of the tape: where judging begins, its end */
    struct tune_state *state;
    struct tune_rung rung[TUNE_RUNGS_MAX];
    size_t n_rungs;
    uint32_t *alive; /* settings in the rung, best first once it is done */
    double *value;   /* of each */
};

static int parse_metric(const char *text, enum rank_metric *ret) {
    for (int m = 0; m < RANK_METRICS; m++)
        if (strcmp(text, rank_metric_name((enum rank_metric)m)) == 0) {
            *ret = (enum rank_metric)m;
            return 0;
        }
    fprintf(stderr, "beckon tune: --metric %s: use hit, recall, precision, mrr or ndcg\n", text);
    return -EINVAL;
}

static int parse_only(struct options *o) {
    for (size_t i = 0; i < n_tune_params; i++)
        o->use[i] = o->only.n == 0;
    for (size_t k = 0; k < o->only.n; k++) {
        size_t i = 0;
        while (i < n_tune_params && strcmp(tune_params[i].key, o->only.v[k]) != 0)
            i++;
        if (i == n_tune_params) {
            fprintf(stderr, "beckon tune: --only %s: it is not searched; these are:\n",
                    o->only.v[k]);
            for (i = 0; i < n_tune_params; i++)
                fprintf(stderr, "  %s\n", tune_params[i].key);
            return -EINVAL;
        }
        o->use[i] = true;
    }
    return 0;
}

/* Everything that decides results: other events, flags or settings make another search. */
static uint64_t setup_hash(const struct search *x, const struct config *cfg) {
    const struct options *o = x->o;
    const struct tape *t = x->s->data->tape;
    const struct replay_config *c = &x->s->c;
    autofree(free) char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return 0;
    config_print(cfg, false, f);
    fprintf(f, "%s %s %s %s %d %d %u %zu %lld %lld %g %zu", o->metric, o->flags.evaluate,
            o->flags.positive, o->flags.files.items, c->learn_on_test, c->repeats, c->epochs,
            c->batch, (long long)o->seed, (long long)o->trials, o->split, tape_n(t));
    for (size_t i = 0; i < n_tune_params; i++)
        fprintf(f, " %s %d %g %g", tune_params[i].key, o->use[i], tune_params[i].low,
                tune_params[i].high);
    for (size_t i = 0; i < c->n_k; i++)
        fprintf(f, " %u", c->k[i]);
    if (fclose(f))
        return 0;
    uint64_t h = hash_bytes(text, n, 0);
    for (size_t i = 0; i < tape_n(t); i++) {
        const struct taped *e = tape_at(t, i);
        uint64_t event[] = {e->id, (uint64_t)e->time_ms, (uint64_t)e->user << 32 | e->item};
        h = hash_bytes(event, sizeof event, h);
    }
    return h;
}

static double value_of(const struct search *x, const struct score *s) {
    return rankmetrics_value(s->all, x->metric, x->s->c.n_k - 1);
}

/* Replays a share of the events under the setting of this number. */
static int run(struct search *x, uint32_t number, double share, const char *what,
               struct score *ret) {
    struct tune_setting setting;
    const char *sets[TUNE_PARAMS_MAX];
    struct trial t;
    tune_draw((uint64_t)x->o->seed, number, x->o->use, &setting);
    for (size_t i = 0; i < setting.n; i++)
        sets[i] = setting.set[i];
    x->s->c.first = x->first;
    tune_span(x->first, x->n, share, &x->s->c.begin, &x->s->c.end);
    int err = trial_run(x->s, sets, setting.n, what, &t);
    if (err == 0)
        replay_take_score(t.replay, ret);
    trial_done(&t);
    if (err == 0 && rankmetrics_cases(ret->all) == 0) {
        fprintf(stderr, "beckon tune: no case in the judged part\n");
        score_done(ret);
        err = -EINVAL;
    }
    return err;
}

static int run_rung(struct search *x, uint32_t r) {
    for (uint32_t i = 0; i < x->rung[r].n; i++) {
        char what[64];
        struct score score;
        snprintf(what, sizeof what, "round %u of %zu, trial %u of %u", r + 1, x->n_rungs, i + 1,
                 x->rung[r].n);
        if (tune_state_get(x->state, x->alive[i], r, &x->value[i]))
            continue;
        if (interrupted())
            return -EINTR;
        int err = run(x, x->alive[i], x->rung[r].share, what, &score);
        if (err < 0)
            return err;
        x->value[i] = value_of(x, &score);
        score_done(&score);
        if ((err = tune_state_put(x->state, x->alive[i], r, x->value[i])) < 0)
            return err;
    }
    /* best first; of equals the one drawn first */
    for (uint32_t i = 1; i < x->rung[r].n; i++)
        for (uint32_t k = i; k > 0 && x->value[k] > x->value[k - 1]; k--) {
            double v = x->value[k];
            uint32_t a = x->alive[k];
            x->value[k] = x->value[k - 1];
            x->alive[k] = x->alive[k - 1];
            x->value[k - 1] = v;
            x->alive[k - 1] = a;
        }
    fprintf(stderr, "round %u of %zu: %u settings on %.3g %% of the events, %s at %u: best %.4f\n",
            r + 1, x->n_rungs, x->rung[r].n, 100 * x->rung[r].share, x->o->metric,
            x->s->c.k[x->s->c.n_k - 1], x->value[0]);
    return 0;
}

/* ---- what is written ---- */

static void write_evidence(FILE *f, const struct search *x, const struct tune_setting *best,
                           const struct score *with, const struct score *without, bool better) {
    const struct replay_config *c = &x->s->c;
    size_t i = c->n_k - 1;
    struct rank_interval a = rankmetrics_interval(with->all, x->metric, i, REPORT_LEVEL,
                                                  REPORT_RESAMPLES, REPORT_SEED),
                         b = rankmetrics_interval(without->all, x->metric, i, REPORT_LEVEL,
                                                  REPORT_RESAMPLES, REPORT_SEED),
                         d = rankmetrics_difference(with->all, without->all, x->metric, i,
                                                    REPORT_LEVEL, REPORT_RESAMPLES, REPORT_SEED);
    fprintf(f, "# Found by `beckon tune`: %lld settings in %zu rounds, seed %lld.\n",
            (long long)x->o->trials, x->n_rungs, (long long)x->o->seed);
    fprintf(f, "# Judged on the newest %zu of %zu events", x->n - x->first, x->n);
    for (size_t k = 0; k < x->o->flags.files.files.n; k++)
        fprintf(f, "%s %s", k ? "," : " of", x->o->flags.files.files.v[k]);
    fprintf(f, "; %llu cases (--evaluate %s%s%s).\n",
            (unsigned long long)rankmetrics_cases(with->all), x->o->flags.evaluate,
            *x->o->flags.positive ? " --positive " : "", x->o->flags.positive);
    fprintf(f, "#   %s at %u: %.4f (%.4f to %.4f)\n", x->o->metric, c->k[i], value_of(x, with),
            a.low, a.high);
    fprintf(f, "#   as it was: %.4f (%.4f to %.4f), difference %.4f to %.4f (95 %%)\n",
            value_of(x, without), b.low, b.high, d.low, d.high);
    if (!better)
        fprintf(f, "# Nothing was better than the configuration as it was.\n");
    for (size_t k = 0; k < best->n; k++)
        fprintf(f, "#   %s\n", best->set[k]);
}

static int write_best(struct search *x, FILE *f, uint32_t number, const struct score *with,
                      const struct score *without, bool better) {
    autofree(config_free) struct config *cfg = NULL;
    struct tune_setting best;
    const char *sets[TUNE_PARAMS_MAX];
    tune_draw((uint64_t)x->o->seed, number, x->o->use, &best);
    for (size_t i = 0; i < best.n; i++)
        sets[i] = best.set[i];
    int err = trial_config(x->s, sets, best.n, &cfg);
    if (err < 0)
        return err;
    write_evidence(f, x, &best, with, without, better);
    config_print(cfg, false, f);
    return ferror(f) ? -EIO : 0;
}

/* The best setting and the one the search began with once more, over the same cases. */
static int conclude(struct search *x) {
    struct score best = {0}, as_it_was = {0};
    uint32_t number = x->alive[0];
    int err = run(x, 0, 1, "as it was", &as_it_was);
    if (err == 0)
        err = run(x, number, 1, "the best once more", &best);
    bool better = err == 0 && value_of(x, &best) > value_of(x, &as_it_was);
    FILE *f = err == 0 ? strcmp(x->o->out, "-") == 0 ? stdout : fopen(x->o->out, "w") : NULL;
    if (err == 0 && !f)
        err = -errno;
    if (err == 0)
        err =
            write_best(x, f, better ? number : 0, better ? &best : &as_it_was, &as_it_was, better);
    if (f && f != stdout && fclose(f) && err == 0)
        err = -EIO;
    if (err == 0)
        fprintf(stderr, "%s at %u: %.4f, as it was %.4f; written to %s\n", x->o->metric,
                x->s->c.k[x->s->c.n_k - 1], value_of(x, &best), value_of(x, &as_it_was), x->o->out);
    score_done(&best);
    score_done(&as_it_was);
    return err;
}

static int search(struct search *x, const struct config *cfg) {
    x->n = tape_n(x->s->data->tape);
    x->first = x->n - (size_t)((double)x->n * x->o->split);
    x->n_rungs = tune_rungs((uint32_t)x->o->trials, x->rung);
    x->alive = calloc((size_t)x->o->trials, sizeof *x->alive);
    x->value = calloc((size_t)x->o->trials, sizeof *x->value);
    if (!x->alive || !x->value)
        return -ENOMEM;
    for (uint32_t i = 0; i < x->rung[0].n; i++)
        x->alive[i] = i;
    int err = tune_state_open(x->o->state, setup_hash(x, cfg), &x->state);
    if (err == -ESTALE || err == -EBADMSG) {
        fprintf(stderr,
                "beckon tune: %s is of another search; remove it or name another with --state\n",
                x->o->state);
        return -EINVAL;
    }
    if (err == 0 && tune_state_n(x->state))
        fprintf(stderr, "going on from %s: %zu results\n", x->o->state, tune_state_n(x->state));
    interrupt_catch();
    for (uint32_t r = 0; r < x->n_rungs && err == 0; r++)
        err = run_rung(x, r);
    if (err == -EINTR)
        fprintf(stderr, "stopped; the same command goes on from %s\n", x->o->state);
    return err == 0 ? conclude(x) : err;
}

static int tune(struct options *o, const struct flag_list *sets, const char *path) {
    autofree(config_free) struct config *cfg = NULL;
    struct replay_data data = {0};
    struct trial_setup s = {.path = path, .sets = sets, .files = &o->flags.files, .data = &data};
    struct search x = {.o = o, .s = &s};
    int err = trial_config(&s, NULL, 0, &cfg);
    if (err == 0) {
        log_set_level((enum log_level)cfg->app_log_level);
        err = parse_metric(o->metric, &x.metric);
    }
    if (err == 0)
        err = parse_only(o);
    if (err == 0)
        err = replay_flags_parse(&o->flags, "tune", cfg, &s.c);
    if (err == 0)
        err = replay_data_read(&o->flags.files, cfg, &data);
    if (err == 0) {
        replay_flags_data(&o->flags, &data, &s.c);
        err = search(&x, cfg);
    }
    tune_state_close(x.state);
    free(x.alive);
    free(x.value);
    replay_data_done(&data);
    return err;
}

int cmd_tune(int argc, char **argv) {
    struct options o = {.flags = REPLAY_FLAGS_DEFAULT,
                        .metric = "mrr",
                        .state = "tune.state",
                        .out = "tuned.yaml",
                        .trials = 27,
                        .seed = 1,
                        .split = 0.1};
    const struct flag own[] = {
        {"metric", FLAG_STR, &o.metric, "NAME",
         "hit, recall, precision, mrr or ndcg, at the longest of --at", 0, 0},
        {"trials", FLAG_INT, &o.trials, "N", "settings tried", 1, 10000},
        {"split", FLAG_NUM, &o.split, "SHARE", "of the events, the newest, by which is judged",
         0.001, 0.999},
        {"seed", FLAG_INT, &o.seed, "N", "of the settings", 0, 1e15},
        {"only", FLAG_LIST, &o.only, "KEY", "search this option alone; may be repeated", 0, 0},
        {"state", FLAG_STR, &o.state, "FILE", "results so far; the same command goes on from it", 0,
         0},
        {"out", FLAG_STR, &o.out, "FILE.yaml",
         "the best configuration, for --config; -: standard output", 0, 0},
    };
    struct flag flags[ARRAY_LEN(own) + REPLAY_FLAGS];
    memcpy(flags, own, sizeof own);
    replay_flags_rows(&o.flags, flags + ARRAY_LEN(own));
    const struct usage usage = {
        .synopsis = "tune FILE… [--trials N] [--metric mrr] [--out FILE.yaml]",
        .text =
            "Searches for a good configuration by replaying files: settings are drawn at random "
            "and judged on the newest part of the events; the best third of them is judged again "
            "on three times the events, and so on, up to all of them. The best one is compared "
            "with the configuration as it was, over the same cases, and written as a file that "
            "--config takes, with its evidence. Results are kept in a state file: a search that "
            "was ended goes on from there. Flags are those of `beckon replay`.",
        .examples = "  beckon tune clicks.csv.gz --at 20 --trials 27\n"
                    "  beckon replay clicks.csv.gz --config tuned.yaml\n"
                    "  beckon tune clicks.csv.gz --only model.covisit_weight --trials 9\n",
        .flags = flags,
        .n_flags = ARRAY_LEN(flags),
        .min_args = 1,
        .max_args = -1,
    };
    struct flag_list sets = {0};
    const char *path = NULL;
    int r = cli_scan(&usage, argc, argv, &o.flags.files.files, &sets, &path);
    if (r)
        return r - 1;
    int err = tune(&o, &sets, path);
    if (err < 0 && err != -EINVAL && err != -EINTR)
        fprintf(stderr, "beckon tune: %s\n", strerror(-err));
    replay_flags_clear(&o.flags);
    flag_list_clear(&o.only);
    cli_free_overrides(&sets);
    return err == 0 ? EXIT_DONE : err == -EINVAL ? EXIT_USAGE : EXIT_FAILED;
}
