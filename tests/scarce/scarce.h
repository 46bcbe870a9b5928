/* Allocations that fail when asked to. The linker sends every malloc, calloc, strdup … of Beckon's
 * own objects here (-Wl,--wrap); what libraries allocate is left alone, but for what jansson needs
 * to make and write values. One thread. */
#pragma once

#include "model/base.h"

/* From now on the nth allocation fails (0: none), and with `all` every one after it. */
void scarce_start(uint64_t nth, bool all);
/* No more of that. Returns how many allocations there were since. */
uint64_t scarce_stop(void);

/* One thing to do with too little memory. Puts what came out of it into `out`, after scarce_stop,
 * so that it can be held against what comes out with enough. 0 or -errno. */
typedef int scarce_run(struct buf *out);

struct scarce_case {
    const char *name;
    scarce_run *run;
};
extern const struct scarce_case codec_cases[], state_cases[], set_up_cases[]; /* end with NULL */

/* The content of a file under the source folder; ends the program where there is none. */
struct buf source_file(const char *path);
