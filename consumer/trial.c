#include "consumer/trial.h"

#include "consumer/campaign_file.h"

/* Each part alone still has the ranker, to weigh what it says. */
const struct part_trial parts_alone[] = {
    {"sessions alone",
     {"model.part_pairs=false", "model.part_trail=false", "model.part_taste=false",
      "model.part_content=false", "model.part_lively=false", "model.part_context=false"}},
    {"pairs alone",
     {"model.part_sessions=false", "model.part_trail=false", "model.part_taste=false",
      "model.part_content=false", "model.part_lively=false", "model.part_context=false"}},
    {"trail alone",
     {"model.part_sessions=false", "model.part_pairs=false", "model.part_taste=false",
      "model.part_content=false", "model.part_lively=false", "model.part_context=false"}},
    {"taste alone",
     {"model.part_sessions=false", "model.part_pairs=false", "model.part_trail=false",
      "model.part_content=false", "model.part_lively=false", "model.part_context=false"}},
    {"content alone",
     {"model.part_sessions=false", "model.part_pairs=false", "model.part_trail=false",
      "model.part_taste=false", "model.part_lively=false", "model.part_context=false"}},
    {"lively alone",
     {"model.part_sessions=false", "model.part_pairs=false", "model.part_trail=false",
      "model.part_taste=false", "model.part_content=false", "model.part_context=false"}},
    {"sums alone", {"model.rank=false"}},
};
const struct part_trial parts_without[] = {
    {"without sessions", {"model.part_sessions=false"}},
    {"without pairs", {"model.part_pairs=false"}},
    {"without trail", {"model.part_trail=false"}},
    {"without taste", {"model.part_taste=false"}},
    {"without content", {"model.part_content=false"}},
    {"without lively", {"model.part_lively=false"}},
    {"without context", {"model.part_context=false"}},
    {"without the ranker", {"model.rank=false"}},
};
const struct part_trial parts_costs[] = {
    {"per category 3", {"lists.per_category=3"}}, {"diversity 0.1", {"lists.diversity=0.1"}},
    {"diversity 0.3", {"lists.diversity=0.3"}},   {"novelty 0.1", {"lists.novelty=0.1"}},
    {"novelty 0.3", {"lists.novelty=0.3"}},       {"exploration 0.1", {"lists.exploration=0.1"}},
};
const size_t n_parts_alone = ARRAY_LEN(parts_alone), n_parts_without = ARRAY_LEN(parts_without),
             n_parts_costs = ARRAY_LEN(parts_costs);

int trial_config(const struct trial_setup *s, const char *const *sets, size_t n_sets,
                 struct config **ret) {
    char **all = calloc(s->sets->n + n_sets + 1, sizeof *all);
    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < s->sets->n; i++)
        all[i] = s->sets->v[i];
    for (size_t i = 0; i < n_sets; i++)
        all[s->sets->n + i] = (char *)sets[i];
    int r = config_load(s->path, all, s->sets->n + n_sets, ret);
    free(all);
    return r < 0 && r != -ENOMEM ? -EINVAL : r;
}

int trial_run(const struct trial_setup *s, const char *const *sets, size_t n_sets, const char *what,
              struct trial *ret) {
    struct progress p = {.what = what,
                         .total = (s->c.end ? s->c.end : tape_n(s->data->tape)) - s->c.begin,
                         .unit = "events"};
    struct policy_set *policies = NULL;
    *ret = (struct trial){.c = s->c};
    int err = trial_config(s, sets, n_sets, &ret->cfg);
    if (err < 0)
        return err;
    ret->c.cfg = ret->cfg;
    replay_prepare(ret->cfg, &ret->c, s->data->tape);
    err = campaign_file_load(ret->cfg, &policies);
    if (err == 0)
        err = replay_new(&ret->c, s->data->tape, policies, &ret->replay);
    if (err == 0)
        err = replay_data_items(s->files, ret->cfg, ret->replay);
    if (err == 0)
        err = replay_run(ret->replay, what ? &p : NULL);
    return err;
}

void trial_done(struct trial *t) {
    replay_free(t->replay);
    config_free(t->cfg);
    *t = (struct trial){0};
}

int part_run(const struct trial_setup *s, const struct part_trial *p, struct score *ret) {
    struct trial_setup own = *s;
    struct trial t;
    size_t n = 0;
    own.c.baselines = false;
    while (n < PART_SETS && p->sets[n])
        n++;
    int err = trial_run(&own, p->sets, n, p->name, &t);
    if (err == 0)
        replay_take_score(t.replay, ret);
    trial_done(&t);
    return err;
}
