/* /metrics and /health over libmicrohttpd, on a thread of its own. */
#include <arpa/inet.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/log.h"
#include "consumer/metrics.h"

enum { CONNECTIONS_MAX = 16, TIMEOUT_S = 10 };

struct metrics_server {
    struct MHD_Daemon *daemon;
    struct metrics_source source;
};

int listen_parse(const char *text, struct sockaddr_storage *ret) {
    const char *colon = strrchr(text, ':');
    char host[64], *end;
    if (!colon || (size_t)(colon - text) >= sizeof host || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    long port = strtol(colon + 1, &end, 10);
    if (*end || end - colon > 6 || port > 65535)
        return -EINVAL;
    size_t n = (size_t)(colon - text);
    memcpy(host, text, n);
    host[n] = '\0';
    memset(ret, 0, sizeof *ret);
    if (n >= 2 && host[0] == '[' && host[n - 1] == ']') {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
        host[n - 1] = '\0';
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)port);
        return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 ? 0 : -EINVAL;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
    bool loopback = n == 0 || strcmp(host, "localhost") == 0;
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    return inet_pton(AF_INET, loopback ? "127.0.0.1" : host, &v4->sin_addr) == 1 ? 0 : -EINVAL;
}

/* What every Prometheus client tells of its process, under the usual names. */
static void put_process(struct buf *out) {
    char text[512];
    struct rusage u;
    long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f) {
        if (fscanf(f, "%*s %ld", &pages) != 1)
            pages = 0;
        fclose(f);
    }
    getrusage(RUSAGE_SELF, &u);
    double cpu = (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
                 (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
    int n = snprintf(text, sizeof text,
                     "# HELP process_resident_memory_bytes resident memory\n"
                     "# TYPE process_resident_memory_bytes gauge\n"
                     "process_resident_memory_bytes %lld\n"
                     "# HELP process_cpu_seconds_total user and system time\n"
                     "# TYPE process_cpu_seconds_total counter\n"
                     "process_cpu_seconds_total %.3f\n",
                     (long long)pages * sysconf(_SC_PAGESIZE), cpu);
    buf_put(out, text, (size_t)n);
}

static enum MHD_Result respond(struct MHD_Connection *c, unsigned status, const char *type,
                               const void *p, size_t n) {
    struct MHD_Response *r = MHD_create_response_from_buffer(n, (void *)p, MHD_RESPMEM_MUST_COPY);
    if (!r)
        return MHD_NO;
    MHD_add_response_header(r, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    enum MHD_Result result = MHD_queue_response(c, status, r);
    MHD_destroy_response(r);
    return result;
}

static enum MHD_Result respond_text(struct MHD_Connection *c, unsigned status, const char *text) {
    return respond(c, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result get_metrics(struct metrics_server *s, struct MHD_Connection *c) {
    struct metrics m;
    struct buf out = {0};
    s->source.collect(s->source.ctx, &m);
    metrics_prometheus(&m, &out);
    put_process(&out);
    enum MHD_Result r =
        out.failed
            ? respond_text(c, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory\n")
            : respond(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", out.p, out.n);
    buf_free(&out);
    return r;
}

static enum MHD_Result get_health(struct metrics_server *s, struct MHD_Connection *c) {
    char why[256] = "not healthy", text[300];
    if (s->source.healthy(s->source.ctx, why, sizeof why))
        return respond_text(c, MHD_HTTP_OK, "ok\n");
    snprintf(text, sizeof text, "%s\n", why);
    return respond_text(c, MHD_HTTP_SERVICE_UNAVAILABLE, text);
}

static enum MHD_Result on_request(void *ctx, struct MHD_Connection *c, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_n, void **state) {
    (void)version, (void)body;
    struct metrics_server *s = ctx;
    static char seen;
    if (!*state) { /* headers only so far; libmicrohttpd wants the answer on the next call */
        *state = &seen;
        return MHD_YES;
    }
    if (*body_n) {
        *body_n = 0;
        return MHD_YES;
    }
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return respond_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET\n");
    if (strcmp(url, "/metrics") == 0)
        return get_metrics(s, c);
    if (strcmp(url, "/health") == 0)
        return get_health(s, c);
    return respond_text(c, MHD_HTTP_NOT_FOUND, "here are /metrics and /health\n");
}

int metrics_serve(const char *listen, const struct metrics_source *source,
                  struct metrics_server **ret) {
    struct sockaddr_storage at;
    if (listen_parse(listen, &at) < 0) {
        log_error("metrics", "listen=%s error=\"not address:port\"", log_q(listen));
        return -EINVAL;
    }
    autofree(free) struct metrics_server *s = calloc(1, sizeof *s);
    if (!s)
        return -ENOMEM;
    s->source = *source;
    unsigned flags = MHD_USE_AUTO_INTERNAL_THREAD | (at.ss_family == AF_INET6 ? MHD_USE_IPv6 : 0);
    /* Signals are for the main thread; threads inherit the mask. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    errno = 0;
    s->daemon =
        MHD_start_daemon(flags, 0, NULL, NULL, on_request, s, MHD_OPTION_SOCK_ADDR, &at,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)TIMEOUT_S, MHD_OPTION_END);
    int err = errno ? errno : EIO;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!s->daemon) {
        log_error("metrics", "listen=%s error=%s", log_q(listen), log_q(strerror(err)));
        return -err;
    }
    *ret = TAKE(s);
    return 0;
}

unsigned metrics_port(const struct metrics_server *s) {
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(s->daemon, MHD_DAEMON_INFO_BIND_PORT);
    return info ? info->port : 0;
}

void metrics_stop(struct metrics_server *s) {
    if (!s)
        return;
    MHD_stop_daemon(s->daemon);
    free(s);
}
