/* Redis Cluster's arithmetic: which slot a key is in, which node a slot is at. Pure.
 * After the Redis Cluster specification, https://redis.io/docs/reference/cluster-spec/ */
#pragma once

#include "consumer/address.h"

enum { SLOTS = 16384, SLOT_NODES_MAX = 1000 };

/* CRC16 (XMODEM) of the key, or of what is between its first '{' and the next '}', if anything
 * is, modulo SLOTS. */
uint16_t slot_of(struct str key);

/* What "MOVED 3999 127.0.0.1:6381" and "ASK …" say. */
struct redirect {
    uint16_t slot;
    struct address node;
};
/* `from`: who said so. 0 or -EPROTO. */
int redirect_parse(struct str error, const struct address *from, struct redirect *ret);

/* Which master has which slot. */
struct slot_map {
    struct address *node;
    size_t n_nodes;
    int16_t at[SLOTS]; /* index of node; -1: none */
};
bool slot_map_whole(const struct slot_map *m); /* every slot is somewhere */
void slot_map_free(struct slot_map *m);
/* The reply to CLUSTER SLOTS (struct redisReply) of the node `from`. 0, -ENOMEM or -EPROTO. */
struct redisReply;
int slot_map_read(const struct redisReply *reply, const struct address *from, struct slot_map *ret);
