#include "consumer/cluster.h"

#include "consumer/clock.h"
#include "consumer/log.h"

enum { MARKER_TRIES = 1000000 }; /* of 16384 slots, one has not been met by then: e^-61 */

static struct pipe *owner(const struct cache *c, uint16_t slot) {
    return c->of_node[c->map.at[slot]];
}

struct pipe *cluster_pipe_at(struct cache *c, const struct address *node) {
    for (size_t i = 0; i < c->n_pipes; i++)
        if (address_eq(&c->pipe[i]->at, node))
            return c->pipe[i];
    struct pipe **grown = reallocarray(c->pipe, c->n_pipes + 1, sizeof(struct pipe *));
    if (!grown)
        return NULL;
    c->pipe = grown;
    if (pipe_new(c->cfg, node, &grown[c->n_pipes]) < 0)
        return NULL;
    return grown[c->n_pipes++];
}

/* ---- markers ---- */

static void find_marker(struct cache *c, struct pipe *p) {
    p->marker = (struct marker){0};
    for (; p->marker.number < MARKER_TRIES; p->marker.number++) {
        p->marker.slot = slot_of(cache_marker_key(c, p, ""));
        if (owner(c, p->marker.slot) == p)
            return;
    }
}

/* A marker belongs to whom its slot belongs; of several the one that was written last, because
 * what was replicated or restored in order is not newer than that. */
static void hand_over_markers(struct cache *c, const struct marker *had, size_t n) {
    for (size_t i = 0; i < c->n_pipes; i++)
        c->pipe[i]->marker = (struct marker){0};
    for (size_t i = 0; i < n; i++) {
        struct pipe *p = owner(c, had[i].slot);
        if (had[i].acked > p->marker.acked)
            p->marker = had[i];
    }
    for (size_t i = 0; i < c->n_pipes; i++)
        if (c->pipe[i]->listed && !c->pipe[i]->marker.acked)
            find_marker(c, c->pipe[i]);
}

/* ---- the map ---- */

static void drop_unlisted(struct cache *c) {
    size_t kept = 0;
    for (size_t i = 0; i < c->n_pipes; i++) {
        if (c->pipe[i]->listed)
            c->pipe[kept++] = c->pipe[i];
        else
            pipe_free(c->pipe[i]);
    }
    c->n_pipes = kept;
}

static int adopt(struct cache *c, struct slot_map *map) {
    autofree(free) struct marker *had = calloc(c->n_pipes + 1, sizeof *had);
    autofree(free) struct pipe **of_node = calloc(map->n_nodes, sizeof(struct pipe *));
    if (!had || !of_node)
        return -ENOMEM;
    for (size_t i = 0; i < map->n_nodes; i++)
        if (!(of_node[i] = cluster_pipe_at(c, &map->node[i])))
            return -ENOMEM;
    size_t n_had = 0;
    for (size_t i = 0; i < c->n_pipes; i++) {
        if (c->pipe[i]->listed)
            had[n_had++] = c->pipe[i]->marker;
        c->pipe[i]->listed = false;
        pipe_reset(c->pipe[i]);
    }
    for (size_t i = 0; i < map->n_nodes; i++)
        of_node[i]->listed = true;
    slot_map_free(&c->map);
    c->map = *map;
    *map = (struct slot_map){0};
    free(c->of_node);
    c->of_node = TAKE(of_node);
    hand_over_markers(c, had, n_had);
    drop_unlisted(c);
    c->stale = false;
    return 0;
}

static int ask_map(struct cache *c, struct redis *r, int64_t deadline_us) {
    const struct str args[] = {STR("CLUSTER"), STR("SLOTS")};
    redisReply *reply = redis_call(r, deadline_us, ARRAY_LEN(args), args);
    if (!reply)
        return -EAGAIN;
    struct slot_map map;
    int rc = slot_map_read(reply, redis_at(r), &map);
    const char *error = rc == -ENOMEM                      ? "out of memory"
                        : reply->type == REDIS_REPLY_ERROR ? reply->str
                        : rc < 0                           ? "CLUSTER SLOTS is not understood"
                                                           : NULL;
    if (!error && !slot_map_whole(&map))
        error = "not every slot of the cluster has a master";
    if (!error && adopt(c, &map) < 0)
        error = "out of memory";
    if (rc == 0)
        slot_map_free(&map);
    if (error)
        redis_postpone(c->guide, error);
    freeReplyObject(reply);
    return error ? -EAGAIN : 0;
}

int cluster_learn(struct cache *c, int64_t deadline_us) {
    for (size_t i = 0; i < c->n_pipes; i++) {
        struct redis *r = c->pipe[(c->turn + i) % c->n_pipes]->redis;
        if (!redis_up(r))
            continue;
        c->turn += i + 1;
        int64_t now = clock_mono_us();
        return ask_map(c, r, now + (deadline_us - now) / 2);
    }
    if (redis_ready(c->guide, deadline_us) < 0)
        return -EAGAIN;
    return ask_map(c, c->guide, deadline_us);
}
