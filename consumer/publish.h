/* The thread that writes beckon:stats, beckon:campaign:{ID} and beckon:trending. */
#pragma once

#include "consumer/engine.h"

struct publisher;
/* 0 or -errno. `e` and `cfg` outlive it. */
int publisher_start(struct engine *e, const struct config *cfg, struct publisher **ret);
/* Writes once more and ends the thread; NULL is fine. */
void publisher_stop(struct publisher *p);
