#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "tests/support/support.h"

struct redis_server {
    struct temp_dir dir;
    char *socket, *log;
    pid_t pid; /* 0: not running */
};

static bool answers(void *arg) {
    struct redis_server *s = arg;
    if (!process_running(s->pid))
        return true; /* it will not come any more: the caller looks at the log */
    redisContext *c = redisConnectUnix(s->socket);
    redisReply *r = c && !c->err ? redisCommand(c, "PING") : NULL;
    bool pong = r && r->type == REDIS_REPLY_STATUS && strcmp(r->str, "PONG") == 0;
    freeReplyObject(r);
    if (c)
        redisFree(c);
    return pong;
}

static void launch(struct redis_server *s) {
    char *argv[] = {"redis-server",
                    "--port",
                    "0",
                    "--unixsocket",
                    s->socket,
                    "--unixsocketperm",
                    "700",
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--dir",
                    s->dir.path,
                    "--maxclients",
                    "200",
                    NULL};
    s->pid = process_start(argv, s->log);
    if (wait_until(answers, s, 10000) && process_running(s->pid))
        return;
    char *log = read_file(s->log, NULL);
    test_die("redis-server does not answer:\n%s", log);
}

struct redis_server *redis_server_start(void) {
    struct redis_server *s = calloc(1, sizeof *s);
    if (!s)
        test_die("out of memory");
    temp_dir_make(&s->dir);
    s->socket = temp_dir_file(&s->dir, "redis.sock");
    s->log = temp_dir_file(&s->dir, "redis.log");
    launch(s);
    return s;
}

void redis_server_free(struct redis_server *s) {
    if (!s)
        return;
    redis_server_kill(s);
    temp_dir_remove(&s->dir);
    free(s->socket);
    free(s->log);
    free(s);
}

const char *redis_server_socket(const struct redis_server *s) {
    return s->socket;
}

redisContext *redis_server_connect(const struct redis_server *s) {
    redisContext *c = redisConnectUnix(s->socket);
    if (!c || c->err)
        test_die("%s: %s", s->socket, c ? c->errstr : "out of memory");
    return c;
}

void redis_server_kill(struct redis_server *s) {
    if (s->pid)
        process_end(s->pid, SIGKILL, 5000);
    s->pid = 0;
}

void redis_server_restart(struct redis_server *s) {
    redis_server_kill(s);
    launch(s);
}

void redis_server_hang(struct redis_server *s) {
    kill(s->pid, SIGSTOP);
    siginfo_t info;
    waitid(P_PID, (id_t)s->pid, &info, WSTOPPED | WNOWAIT);
}

void redis_server_wake(struct redis_server *s) {
    kill(s->pid, SIGCONT);
}
