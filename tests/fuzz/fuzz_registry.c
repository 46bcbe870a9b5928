/* Whatever a schema registry answers, its headers included: a schema, or one of the faults that
 * registry.h names, with a reason. */
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/registry.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

/* A server that answers every request with the present input. */
static struct {
    pthread_once_t once;
    pthread_mutex_t lock; /* of the input, which goes with its run: a late answer has none */
    int socket;
    char url[40];
    const uint8_t *p;
    size_t n;
} server = {.once = PTHREAD_ONCE_INIT, .lock = PTHREAD_MUTEX_INITIALIZER};

static void set_input(const uint8_t *p, size_t n) {
    pthread_mutex_lock(&server.lock);
    server.p = p;
    server.n = n;
    pthread_mutex_unlock(&server.lock);
}

static void *serve(void *unused) {
    (void)unused;
    for (;;) {
        int fd = accept(server.socket, NULL, NULL);
        char request[8192];
        if (fd < 0)
            continue;
        ssize_t got = recv(fd, request, sizeof request, 0);
        pthread_mutex_lock(&server.lock);
        for (size_t at = 0; got > 0 && at < server.n;) {
            ssize_t sent = send(fd, server.p + at, server.n - at, MSG_NOSIGNAL);
            if (sent <= 0)
                break;
            at += (size_t)sent;
        }
        pthread_mutex_unlock(&server.lock);
        close(fd);
    }
    return NULL;
}

static void start(void) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    pthread_t thread;
    server.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server.socket < 0 || bind(server.socket, (struct sockaddr *)&a, sizeof a) < 0 ||
        listen(server.socket, 64) < 0 ||
        getsockname(server.socket, (struct sockaddr *)&a, &len) < 0 ||
        pthread_create(&thread, NULL, serve, NULL) != 0)
        abort();
    pthread_detach(thread);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%u", ntohs(a.sin_port));
}

static void check(int rc, const char *err, struct str schema) {
    if (rc != 0 && rc != -ENOENT && rc != -EINVAL && rc != -EAGAIN)
        abort();
    if (rc == 0 && (!schema.n || schema.p[schema.n - 1] != '\n'))
        abort();
    if ((rc == -EINVAL || rc == -EAGAIN) && (!*err || strlen(err) >= 160))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct registry *r;
    struct str schema = {0};
    char err[160] = "";
    int32_t id = -1;
    pthread_once(&server.once, start);
    set_input(p, n);
    if (registry_open(server.url, 2000, &r) < 0)
        abort();
    check(registry_schema(r, 7, 1, err, &schema), err, schema);
    registry_close(r);
    if (registry_open(server.url, 2000, &r) < 0)
        abort();
    *err = 0;
    if (registry_register(r, "clicks", STR("\"string\""), 1, err, &id) == 0 && id < 0)
        abort();
    registry_close(r);
    set_input(NULL, 0);
    return 0;
}
