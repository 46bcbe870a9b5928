/* Several Redis servers over TCP that belong together: a Redis Cluster, or a master with its
 * replicas and Sentinels. All die with the test. */
#pragma once

#include "tests/support/support.h"

enum { NODES_MAX = 8 };

struct nodes {
    struct temp_dir dir;
    size_t n;
    int port[NODES_MAX], bus[NODES_MAX];
    bool secure; /* nodes_secure */
    int tls_port[NODES_MAX];
    pid_t pid[NODES_MAX];
    char *log[NODES_MAX];
    redisContext *eye[NODES_MAX]; /* of nodes_ask; NULL: not connected */
};

/* `masters` nodes that share all slots, the first `replicas` of which have a replica each (node
 * masters + i is that of i), replicated by the time this returns. */
void cluster_start(struct nodes *ret, size_t masters, size_t replicas);
/* The same without replicas, of nodes that listen for TLS as well, and speak it among each other.
 */
void cluster_start_secure(struct nodes *ret, size_t masters);
/* Nodes added from now on listen for TLS as well, and want clients to have a certificate. Makes
 * these files: ca.pem, an authority; node.pem and node.key, of a server named redis.test;
 * client.pem and client.key; stranger.pem, another authority. */
void nodes_secure(struct nodes *c);
/* A plain server, or one more node that knows nobody. `more`: further arguments, ended by NULL, or
 * NULL. Returns its number. */
size_t nodes_add(struct nodes *c, bool cluster, const char *const *more);
/* A Sentinel that watches node `master` as "shop", alone enough for a failover. Returns its number.
 */
size_t nodes_add_sentinel(struct nodes *c, size_t master);
/* Kills one. */
void nodes_kill(struct nodes *c, size_t i);
void nodes_free(struct nodes *c);
/* One command to one node; fails the test if it cannot be asked. freeReplyObject. One thread at a
 * time. */
redisReply *nodes_ask(struct nodes *c, size_t i, const char *fmt, ...);
/* The same until the reply's text holds `part`; fails the test after 20 s. */
void nodes_until(const struct nodes *c, size_t i, const char *command, const char *part);
/* "127.0.0.1:PORT" of the first one, for redis.address. */
void nodes_address(const struct nodes *c, size_t i, char ret[32]);
/* Moves slots first..last from one node to another, key by key. */
void cluster_move(struct nodes *c, size_t from, size_t to, int first, int last);
/* The members of a sorted set, best first, "a b c", wherever it is. The caller's to free. */
char *cluster_list(struct nodes *c, const char *key);
