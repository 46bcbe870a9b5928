/* The flags that say what is replayed and how it is judged; `replay` and `tune` share them. */
#pragma once

#include "consumer/replay_files.h"

struct replay_flags {
    struct replay_files files;
    const char *at, *evaluate, *learn_on_test, *positive, *repeats;
    int64_t batch, epochs;
};
#define REPLAY_FLAGS_DEFAULT                                                                       \
    {                                                                                              \
        .files = {.items = "", .time_unit = "ms"}, .at = "5,10,20", .evaluate = "every",           \
        .learn_on_test = "yes", .positive = "", .repeats = "", .batch = 64, .epochs = 1            \
    }

enum { REPLAY_FLAGS = 13 };
void replay_flags_rows(struct replay_flags *f, struct flag ret[REPLAY_FLAGS]);
/* Into `c`, but for what depends on the data. Faults are told, with the command's name; -EINVAL. */
int replay_flags_parse(const struct replay_flags *f, const char *command, const struct config *cfg,
                       struct replay_config *c);
/* And that: where judging begins, whether repeats may be listed. */
void replay_flags_data(const struct replay_flags *f, const struct replay_data *d,
                       struct replay_config *c);
void replay_flags_clear(struct replay_flags *f);
