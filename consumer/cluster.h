/* The nodes of a Redis Cluster and their pipes, for the cache. */
#pragma once

#include "consumer/cache_internal.h"

/* Asks a node, another one each time, for the map (CLUSTER SLOTS), and makes the pipes what it
 * says: those that are connected stay so, new ones are there but not connected. All of them are
 * empty afterwards. None may wait for a reply. 0, or -EAGAIN, the guide's error telling why. */
int cluster_learn(struct cache *c, int64_t deadline_us);
/* The pipe to that node, in the map or not; NULL: no memory. */
struct pipe *cluster_pipe_at(struct cache *c, const struct address *node);
