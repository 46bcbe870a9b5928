#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "consumer/demo.h"

enum { ANSWER_TRIES = 200, ANSWER_WAIT_MS = 25 };

static bool answers(const char *socket) {
    struct timeval tv = {.tv_usec = 200000};
    redisContext *c = redisConnectUnixWithTimeout(socket, tv);
    bool ok = false;
    if (c && !c->err) {
        redisReply *r = redisCommand(c, "PING");
        ok = r && r->type == REDIS_REPLY_STATUS;
        if (r)
            freeReplyObject(r);
    }
    if (c)
        redisFree(c);
    return ok;
}

int private_redis_start(struct private_redis *r) {
    const char *tmp = getenv("TMPDIR");
    snprintf(r->dir, sizeof r->dir, "%.40s/beckon-demo-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(r->dir)) {
        fprintf(stderr, "beckon demo: cannot make a folder %s: %s\n", r->dir, strerror(errno));
        return -errno;
    }
    snprintf(r->socket, sizeof r->socket, "%s/redis.sock", r->dir);
    r->pid = fork();
    if (r->pid < 0)
        return -errno;
    if (r->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setpgid(0, 0); /* Ctrl-C is for us: Redis is stopped after the last list was written */
        execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", r->socket, "--save",
               "", "--appendonly", "no", "--dir", r->dir, "--logfile", "redis.log", "--daemonize",
               "no", NULL);
        fprintf(stderr,
                "beckon demo: cannot start redis-server: %s (apt-get install redis-server)\n",
                strerror(errno));
        _exit(127);
    }
    for (int i = 0; i < ANSWER_TRIES; i++) {
        if (answers(r->socket))
            return 0;
        if (waitpid(r->pid, NULL, WNOHANG) == r->pid) {
            r->pid = 0;
            break;
        }
        poll(NULL, 0, ANSWER_WAIT_MS);
    }
    fprintf(stderr, "beckon demo: redis-server does not answer; its log is in %s\n", r->dir);
    return -EIO;
}

void private_redis_stop(struct private_redis *r) {
    if (r->pid > 0) {
        kill(r->pid, SIGTERM);
        waitpid(r->pid, NULL, 0);
        r->pid = 0;
    }
    if (*r->dir) {
        char log[96];
        snprintf(log, sizeof log, "%s/redis.log", r->dir);
        unlink(log);
        unlink(r->socket);
        snprintf(log, sizeof log, "%s/campaigns.yaml", r->dir);
        unlink(log);
        rmdir(r->dir);
    }
}
