#include "tests/support/cluster.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/slots.h"

static int free_port(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&a, n) < 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) < 0)
        test_die("no free port");
    close(fd);
    return ntohs(a.sin_port);
}

struct asked {
    const struct nodes *c;
    size_t node;
    const char *command, *part;
};

static bool says(void *arg) {
    const struct asked *a = arg;
    redisContext *r = redisConnect("127.0.0.1", a->c->port[a->node]);
    redisReply *reply = r && !r->err ? redisCommand(r, a->command) : NULL;
    bool yes = reply && reply->str && strstr(reply->str, a->part);
    freeReplyObject(reply);
    if (r)
        redisFree(r);
    return yes;
}

void nodes_until(const struct nodes *c, size_t i, const char *command, const char *part) {
    struct asked a = {c, i, command, part};
    if (wait_until(says, &a, 20000))
        return;
    char *log = read_file(c->log[i], NULL);
    test_die("node %zu does not answer %s with %s:\n%s", i, command, part, log);
}

static size_t launch(struct nodes *c, char *const argv[]) {
    char name[32];
    snprintf(name, sizeof name, "%zu.log", c->n);
    c->log[c->n] = temp_dir_file(&c->dir, name);
    c->pid[c->n] = process_start(argv, c->log[c->n]);
    nodes_until(c, c->n, "PING", "PONG");
    return c->n++;
}

void nodes_secure(struct nodes *c) {
    static const char script[] =
        "set -e; cd \"$0\"\n"
        "new() { openssl req -newkey rsa:2048 -nodes -days 2 -subj \"/CN=$1\" -keyout $1.key"
        " \"${@:2}\"; }\n"
        "new ca -x509 -out ca.pem\n"
        "new stranger -x509 -out stranger.pem\n"
        "for who in node client; do\n"
        "    new $who -out $who.csr\n"
        "    openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2"
        " -extfile <(echo subjectAltName=DNS:redis.test) -out $who.pem\n"
        "done\n";
    if (!c->n)
        temp_dir_make(&c->dir);
    autofree(free) char *log = temp_dir_file(&c->dir, "openssl.log");
    char *argv[] = {"bash", "-c", (char *)script, c->dir.path, NULL};
    if (process_end(process_start(argv, log), 0, 30000) != 0) {
        char *text = read_file(log, NULL);
        test_die("no certificates:\n%s", text);
    }
    c->secure = true;
}

size_t nodes_add(struct nodes *c, bool cluster, const char *const *more) {
    if (!c->n && !c->secure)
        temp_dir_make(&c->dir);
    if (c->n == NODES_MAX)
        test_die("too many nodes");
    char port[16], bus[16], conf[32];
    snprintf(port, sizeof port, "%d", c->port[c->n] = free_port());
    snprintf(bus, sizeof bus, "%d", c->bus[c->n] = free_port());
    snprintf(conf, sizeof conf, "nodes-%zu.conf", c->n);
    char *argv[40] = {"redis-server",
                      "--port",
                      port,
                      "--bind",
                      "127.0.0.1",
                      "--save",
                      "",
                      "--appendonly",
                      "no",
                      "--dir",
                      c->dir.path,
                      "--repl-diskless-sync-delay",
                      "0"};
    size_t n = 13;
    char *const own[] = {"--cluster-enabled",
                         "yes",
                         "--cluster-port",
                         bus,
                         "--cluster-config-file",
                         conf,
                         "--cluster-node-timeout",
                         "1000",
                         "--cluster-replica-validity-factor",
                         "0"};
    for (size_t i = 0; cluster && i < ARRAY_LEN(own); i++)
        argv[n++] = own[i];
    autofree(free) char *cert = temp_dir_file(&c->dir, "node.pem");
    autofree(free) char *key = temp_dir_file(&c->dir, "node.key");
    autofree(free) char *ca = temp_dir_file(&c->dir, "ca.pem");
    char tls[16];
    snprintf(tls, sizeof tls, "%d", c->tls_port[c->n] = c->secure ? free_port() : 0);
    char *const secure[] = {"--tls-port",         tls,
                            "--tls-cert-file",    cert,
                            "--tls-key-file",     key,
                            "--tls-ca-cert-file", ca,
                            "--tls-cluster",      cluster ? "yes" : "no"};
    for (size_t i = 0; c->secure && i < ARRAY_LEN(secure); i++)
        argv[n++] = secure[i];
    for (; more && *more; more++)
        argv[n++] = (char *)*more;
    return launch(c, argv);
}

size_t nodes_add_sentinel(struct nodes *c, size_t master) {
    char name[32], text[512];
    snprintf(name, sizeof name, "sentinel-%zu.conf", c->n);
    autofree(free) char *conf = temp_dir_file(&c->dir, name);
    int n = snprintf(text, sizeof text,
                     "port %d\nbind 127.0.0.1\ndir %s\nsentinel monitor shop 127.0.0.1 %d 1\n"
                     "sentinel down-after-milliseconds shop 500\n"
                     "sentinel failover-timeout shop 2000\n",
                     c->port[c->n] = free_port(), c->dir.path, c->port[master]);
    write_file(conf, text, (size_t)n);
    char *argv[] = {"redis-server", conf, "--sentinel", NULL};
    return launch(c, argv);
}

void nodes_kill(struct nodes *c, size_t i) {
    if (c->pid[i])
        process_end(c->pid[i], SIGKILL, 5000);
    c->pid[i] = 0;
    if (c->eye[i])
        redisFree(c->eye[i]);
    c->eye[i] = NULL;
}

void nodes_free(struct nodes *c) {
    for (size_t i = 0; i < c->n; i++) {
        nodes_kill(c, i);
        free(c->log[i]);
    }
    temp_dir_remove(&c->dir);
}

static redisContext *eye(struct nodes *c, size_t i) {
    if (c->eye[i])
        return c->eye[i];
    redisContext *r = redisConnect("127.0.0.1", c->port[i]);
    if (!r || r->err)
        test_die("node %zu: %s", i, r ? r->errstr : "out of memory");
    return c->eye[i] = r;
}

redisReply *nodes_ask(struct nodes *c, size_t i, const char *fmt, ...) {
    redisContext *r = eye(c, i);
    va_list ap;
    va_start(ap, fmt);
    redisReply *reply = redisvCommand(r, fmt, ap);
    va_end(ap);
    if (!reply)
        test_die("node %zu, %s: %s", i, fmt, r->errstr);
    return reply;
}

/* Must work. */
static void tell(struct nodes *c, size_t i, const char *fmt, ...) {
    char command[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    redisReply *reply = nodes_ask(c, i, command);
    if (reply->type == REDIS_REPLY_ERROR)
        test_die("node %zu, %s: %s", i, command, reply->str);
    freeReplyObject(reply);
}

void nodes_address(const struct nodes *c, size_t i, char ret[32]) {
    snprintf(ret, 32, "127.0.0.1:%d", c->port[i]);
}

static void my_id(struct nodes *c, size_t i, char ret[64]) {
    redisReply *r = nodes_ask(c, i, "CLUSTER MYID");
    snprintf(ret, 64, "%s", r->str);
    freeReplyObject(r);
}

static void join(struct nodes *c, size_t masters, size_t replicas) {
    for (size_t i = 0; i < masters + replicas; i++)
        nodes_add(c, true, NULL);
    char known[32];
    snprintf(known, sizeof known, "cluster_known_nodes:%zu", masters + replicas);
    for (size_t i = 0; i < masters; i++)
        tell(c, i, "CLUSTER ADDSLOTSRANGE %zu %zu", i * SLOTS / masters,
             (i + 1) * SLOTS / masters - 1);
    for (size_t i = 1; i < c->n; i++)
        tell(c, i, "CLUSTER MEET 127.0.0.1 %d %d", c->secure ? c->tls_port[0] : c->port[0],
             c->bus[0]);
    for (size_t i = 0; i < c->n; i++)
        nodes_until(c, i, "CLUSTER INFO", known);
    for (size_t i = 0; i < replicas; i++) {
        char id[64];
        my_id(c, i, id);
        tell(c, masters + i, "CLUSTER REPLICATE %s", id);
    }
    for (size_t i = 0; i < replicas; i++)
        nodes_until(c, masters + i, "INFO replication", "master_link_status:up");
    for (size_t i = 0; i < c->n; i++)
        nodes_until(c, i, "CLUSTER INFO", "cluster_state:ok");
}

void cluster_start(struct nodes *c, size_t masters, size_t replicas) {
    *c = (struct nodes){0};
    join(c, masters, replicas);
}

void cluster_start_secure(struct nodes *c, size_t masters) {
    *c = (struct nodes){0};
    nodes_secure(c);
    join(c, masters, 0);
}

void cluster_move(struct nodes *c, size_t from, size_t to, int first, int last) {
    char a[64], b[64];
    my_id(c, from, a);
    my_id(c, to, b);
    for (int slot = first; slot <= last; slot++) {
        tell(c, to, "CLUSTER SETSLOT %d IMPORTING %s", slot, a);
        tell(c, from, "CLUSTER SETSLOT %d MIGRATING %s", slot, b);
        for (size_t n = 1; n;) {
            redisReply *keys = nodes_ask(c, from, "CLUSTER GETKEYSINSLOT %d 10", slot);
            n = keys->elements;
            for (size_t i = 0; i < n; i++) {
                redisReply *r = nodes_ask(c, from, "MIGRATE 127.0.0.1 %d %b 0 5000", c->port[to],
                                          keys->element[i]->str, keys->element[i]->len);
                if (r->type == REDIS_REPLY_ERROR)
                    test_die("MIGRATE: %s", r->str);
                freeReplyObject(r);
            }
            freeReplyObject(keys);
        }
        tell(c, to, "CLUSTER SETSLOT %d NODE %s", slot, b);
        tell(c, from, "CLUSTER SETSLOT %d NODE %s", slot, b);
    }
}

char *cluster_list(struct nodes *c, const char *key) {
    for (size_t i = 0; i < c->n; i++) {
        if (!c->pid[i])
            continue;
        redisReply *r = nodes_ask(c, i, "ZREVRANGE %s 0 -1", key);
        if (r->type != REDIS_REPLY_ARRAY) {
            freeReplyObject(r);
            continue;
        }
        struct buf b = {0};
        for (size_t k = 0; k < r->elements; k++) {
            buf_put(&b, " ", k > 0);
            buf_put(&b, r->element[k]->str, r->element[k]->len);
        }
        buf_put(&b, "", 1);
        freeReplyObject(r);
        return (char *)b.p;
    }
    test_die("nobody has %s", key);
}
