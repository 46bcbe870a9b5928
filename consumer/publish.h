/* The thread that writes beckon:stats, beckon:campaign:{ID} and beckon:trending.
 *
 * Every process writes what it counted since it started to beckon:stats:{INSTANCE} once a second,
 * where it lives ten seconds, and its name (app.instance) into the set beckon:processes. The
 * process with the first name among those that are alive adds them up: beckon:stats and
 * beckon:campaign:{ID} are of all processes, always, and beckon:stats says of how many
 * (`processes`). Percentiles are those of the slowest process (see tally_merge).
 *
 * Counts begin at zero when their process starts, as Prometheus's do: a total falls when a
 * process ends or restarts. What happened over all time is in the topics. */
#pragma once

#include "consumer/engine.h"

struct publisher;
/* 0 or -errno. `e` and `cfg` outlive it. */
int publisher_start(struct engine *e, const struct config *cfg, struct publisher **ret);
/* Writes once more and ends the thread; NULL is fine. */
void publisher_stop(struct publisher *p);
