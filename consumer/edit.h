/* A record through a shell command: a line in, a line out. */
#pragma once

#include "model/base.h"

struct edit_vars { /* in the command's environment, as BECKON_REASON and so on */
    const char *reason, *detail;
    struct str key;
    const char *topic;
};

/* Runs `sh -c command` with `line` on its standard input. `out` becomes the first line it
 * prints, without line end; empty if it prints none. 0, or -errno (printed), -ECHILD if
 * the command fails. */
int edit_run(const char *command, const struct edit_vars *vars, struct str line, struct buf *out);
