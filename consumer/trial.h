/* One replay under one configuration, as `replay` runs it for the engine with and without its
 * parts, and `tune` for what it tries. */
#pragma once

#include "consumer/replay_files.h"

/* What all trials have in common; borrowed. */
struct trial_setup {
    const char *path;             /* configuration file, NULL: none */
    const struct flag_list *sets; /* "section.key=value", over the file */
    const struct replay_files *files;
    const struct replay_data *data;
    struct replay_config c; /* cfg is each trial's own */
};

struct trial {
    struct config *cfg;
    struct replay_config c;
    struct replay *replay;
};

/* The common configuration with `sets` over it. 0, -EINVAL (faults are told), -ENOMEM. */
int trial_config(const struct trial_setup *s, const char *const *sets, size_t n_sets,
                 struct config **ret);

/* Plays the data under the common configuration with `sets` over it, showing its progress as
 * `what` (NULL: not). 0, or -errno (faults of the configuration are told, -EINVAL). `ret` is to
 * be freed in either case. */
int trial_run(const struct trial_setup *s, const char *const *sets, size_t n_sets, const char *what,
              struct trial *ret);
void trial_done(struct trial *t); /* accepts a zeroed one */

/* The engine by its parts: what each does alone, and what is left without it. */
enum { PART_SETS = PART_COUNT };
struct part_trial {
    const char *name;
    const char *sets[PART_SETS]; /* configuration keys; NULL: no more */
};
extern const struct part_trial parts_alone[], parts_without[];
extern const size_t n_parts_alone, n_parts_without;
/* What lists gain and lose when they are not by score alone. */
extern const struct part_trial parts_costs[];
extern const size_t n_parts_costs;
/* As trial_run, and gives only the score. */
int part_run(const struct trial_setup *s, const struct part_trial *p, struct score *ret);
