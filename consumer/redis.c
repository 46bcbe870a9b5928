#include "consumer/redis.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "consumer/clock.h"
#include "consumer/log.h"
#include "consumer/slots.h"
#include "consumer/tls.h"

enum {
    RETRY_FIRST_US = 50 * 1000,
    RETRY_MAX_US = 2 * 1000 * 1000,
    READ_BYTES = 64 * 1024,
    PASSWORD_MAX = 4096,
    HOPS_MAX = 5, /* as other clients of a cluster have it */
};

struct redis {
    const struct config *cfg;
    struct address *list; /* redis.address: the server's, or its Sentinels' */
    size_t n_list, turn;  /* which of them is asked next */
    struct address at;    /* where it is, or was last looked for */
    bool fixed;           /* one node: stays there whatever happens */
    char name[ADDRESS_TEXT];
    redisContext *ctx;       /* NULL: down */
    struct replies *replies; /* of a pipeline */
    struct answers *answers; /* of one command at a time */
    uint8_t *in;             /* READ_BYTES */
    struct rng rng;
    unsigned failures; /* in a row */
    int64_t retry_us;
    bool away; /* logged as away */
    char error[256];
    struct tls *tls; /* NULL: none */
    struct tls_session *session;
    char tls_error[TLS_ERROR_MAX];
};

static int read_tls(const struct config *c, struct tls **ret) {
    const struct tls_options o = {c->redis_tls_ca, c->redis_tls_cert, c->redis_tls_key,
                                  c->redis_tls_name};
    char error[TLS_ERROR_MAX];
    int rc = tls_new(&o, ret, error);
    if (rc < 0)
        log_error("redis-tls",
                  "error=%s fix=\"redis.tls_ca, redis.tls_cert, redis.tls_key name files\"",
                  log_q(error));
    return rc;
}

static int where(struct redis *r, const struct address *node) {
    if (node) {
        r->at = *node;
        r->fixed = true;
        address_text(node, r->name);
        return 0;
    }
    int rc = address_list(r->cfg->redis_address, &r->list, &r->n_list);
    if (rc == -EINVAL)
        log_error("redis-address", "address=%s error=\"neither host:port nor /path/of/socket\"",
                  log_q(r->cfg->redis_address));
    snprintf(r->name, sizeof r->name, "%s", r->cfg->redis_address);
    return rc;
}

int redis_new_at(const struct config *cfg, const struct address *node, struct redis **ret) {
    autofree(redis_free) struct redis *r = calloc(1, sizeof *r);
    if (!r)
        return -ENOMEM;
    r->cfg = cfg;
    int rc = where(r, node);
    if (rc < 0 || (cfg->redis_tls && (rc = read_tls(cfg, &r->tls)) < 0))
        return rc;
    r->in = malloc(READ_BYTES);
    if (!r->in)
        return -ENOMEM;
    uint64_t seed = (uint64_t)clock_mono_us();
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) < 0)
        seed ^= (uint64_t)getpid(); /* only spreads the retries of a group */
    rng_seed(&r->rng, seed);
    *ret = TAKE(r);
    return 0;
}

int redis_new(const struct config *cfg, struct redis **ret) {
    return redis_new_at(cfg, NULL, ret);
}

static void hang_up(struct redis *r) {
    tls_close(r->session);
    r->session = NULL;
    if (r->ctx)
        redisFree(r->ctx);
    r->ctx = NULL;
    replies_free(r->replies);
    r->replies = NULL;
    answers_free(r->answers);
    r->answers = NULL;
}

void redis_free(struct redis *r) {
    if (!r)
        return;
    hang_up(r);
    tls_free(r->tls);
    free(r->list);
    free(r->in);
    free(r);
}

bool redis_up(const struct redis *r) {
    return r->ctx != NULL;
}

int redis_fd(const struct redis *r) {
    return r->ctx->fd;
}

const struct address *redis_at(const struct redis *r) {
    return &r->at;
}

int64_t redis_retry_us(const struct redis *r) {
    return r->retry_us;
}

const char *redis_error(const struct redis *r) {
    return r->error;
}

static void postpone(struct redis *r) {
    int64_t us = r->failures < 6 ? (int64_t)RETRY_FIRST_US << r->failures : RETRY_MAX_US;
    us = MIN(us, RETRY_MAX_US);
    us -= (int64_t)rng_below(&r->rng, (uint32_t)(us / 2));
    r->failures++;
    r->retry_us = clock_mono_us() + us;
    if (!r->away)
        log_warning("redis-failing", "address=%s error=%s", log_q(r->name), log_q(r->error));
    r->away = true;
}

void redis_down(struct redis *r, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(r->error, sizeof r->error, fmt, ap);
    va_end(ap);
    hang_up(r);
    r->turn++;
    postpone(r);
}

void redis_postpone(struct redis *r, const char *why) {
    snprintf(r->error, sizeof r->error, "%s", why);
    /* Not the master any more: who is, may be told by a Sentinel, another address, or the name,
     * which may by now mean another host. */
    if (strncmp(why, "READONLY", 8) == 0 || strncmp(why, "MASTERDOWN", 10) == 0) {
        hang_up(r);
        r->turn++;
    }
    postpone(r);
}

void redis_good(struct redis *r) {
    r->failures = 0;
    r->retry_us = 0;
    if (r->away)
        log_info("redis-working", "address=%s", log_q(r->name));
    r->away = false;
}

/* ---- coming up ---- */

static redisReply *ask_here(struct redis *r, int64_t deadline_us, size_t n, const struct str *args);

/* Never zero, which would mean "for ever". */
static struct timeval time_left(int64_t deadline_us) {
    int64_t us = MAX(deadline_us - clock_mono_us(), (int64_t)1000);
    return (struct timeval){.tv_sec = us / 1000000, .tv_usec = us % 1000000};
}

/* From a file, read at every login so that it may be changed, or from the environment. */
static int read_password(struct redis *r, const char *path, const char *env, char *out, size_t cap,
                         struct str *ret) {
    if (!*path) {
        *ret = str_of(getenv(env));
        if (ret->p)
            return 0;
        redis_down(r, "the environment has no %s", env);
        return -EAGAIN;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, cap);
    int err = errno;
    if (fd >= 0)
        close(fd);
    if (n < 0) {
        redis_down(r, "%s: %s", path, strerror(err));
        return -EAGAIN;
    }
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
        n--;
    *ret = (struct str){out, (size_t)n};
    return 0;
}

static int expect_ok(struct redis *r, int64_t deadline_us, size_t n, const struct str *args) {
    redisReply *reply = ask_here(r, deadline_us, n, args);
    if (!reply)
        return -EAGAIN;
    bool failed = reply->type == REDIS_REPLY_ERROR;
    if (failed)
        redis_down(r, "%.*s: %s", (int)args[0].n, args[0].p, reply->str);
    freeReplyObject(reply);
    return failed ? -EAGAIN : 0;
}

/* An empty user: the default one; neither file nor env: no password is asked for. */
static int log_in(struct redis *r, int64_t deadline_us, const char *user, const char *path,
                  const char *env) {
    if (!*path && !*env)
        return 0;
    char text[PASSWORD_MAX];
    struct str args[3] = {STR("AUTH")};
    size_t n = 1;
    if (*user)
        args[n++] = str_of(user);
    int rc = read_password(r, path, env, text, sizeof text, &args[n++]);
    if (rc == 0)
        rc = expect_ok(r, deadline_us, n, args);
    explicit_bzero(text, sizeof text);
    return rc;
}

/* Files may have been replaced since they were read, because they expire. */
static void renew_tls(struct redis *r) {
    struct tls *t;
    if (read_tls(r->cfg, &t) < 0)
        return;
    tls_free(r->tls);
    r->tls = t;
}

/* TLS, if it is to be; Redis speaks it over TCP only. */
static int secure(struct redis *r, int64_t deadline_us) {
    if (!r->tls || !r->at.port)
        return 0;
    if (r->failures) /* not of a handshake alone: ours may be refused after it only */
        renew_tls(r);
    if (tls_open(r->tls, r->ctx->fd, r->at.host, deadline_us, &r->session, r->tls_error) == 0)
        return 0;
    redis_down(r, "%s", r->tls_error);
    return -EAGAIN;
}

/* Connects to r->at: a transport, not yet a login. */
static int dial(struct redis *r, int64_t deadline_us) {
    struct timeval tv = time_left(deadline_us);
    redisContext *c = r->at.port ? redisConnectWithTimeout(r->at.host, r->at.port, tv)
                                 : redisConnectUnixWithTimeout(r->at.host, tv);
    if (!c || c->err) {
        redis_down(r, "%s", c ? c->errstr : "out of memory");
        if (c)
            redisFree(c);
        return -EAGAIN;
    }
    r->ctx = c;
    redisSetTimeout(c, time_left(deadline_us));
    if (r->at.port)
        redisEnableKeepAlive(c);
    if (secure(r, deadline_us) < 0)
        return -EAGAIN;
    if (replies_new(&r->replies) == 0 && answers_new(&r->answers) == 0)
        return 0;
    redis_down(r, "out of memory");
    return -EAGAIN;
}

static int open_at(struct redis *r, int64_t deadline_us) {
    const struct config *cfg = r->cfg;
    if (dial(r, deadline_us) < 0 || log_in(r, deadline_us, cfg->redis_user,
                                           cfg->redis_password_file, cfg->redis_password_env) < 0)
        return -EAGAIN;
    if (!cfg->redis_db)
        return 0;
    char db[24];
    int n = snprintf(db, sizeof db, "%lld", (long long)cfg->redis_db);
    struct str args[2] = {STR("SELECT"), {db, (size_t)n}};
    return expect_ok(r, deadline_us, 2, args);
}

/* Asks the Sentinel at r->at where the master is, and says so there. */
static int ask_sentinel(struct redis *r, int64_t deadline_us) {
    const struct config *cfg = r->cfg;
    if (dial(r, deadline_us) < 0 ||
        log_in(r, deadline_us, "", cfg->redis_sentinel_password_file, "") < 0)
        return -EAGAIN;
    const struct str args[] = {STR("SENTINEL"), STR("GET-MASTER-ADDR-BY-NAME"),
                               str_of(cfg->redis_sentinel_master)};
    redisReply *reply = ask_here(r, deadline_us, ARRAY_LEN(args), args);
    if (!reply)
        return -EAGAIN;
    struct address master = {0};
    bool told = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
                reply->element[0]->type == REDIS_REPLY_STRING &&
                reply->element[1]->type == REDIS_REPLY_STRING &&
                reply->element[0]->len < sizeof master.host;
    if (told) {
        memcpy(master.host, reply->element[0]->str, reply->element[0]->len);
        master.port = atoi(reply->element[1]->str);
        told = master.port > 0 && master.port <= 65535;
    }
    if (told)
        hang_up(r);
    else
        redis_down(r, "Sentinel: %s",
                   reply->type == REDIS_REPLY_ERROR ? reply->str : "knows no master of that name");
    freeReplyObject(reply);
    if (!told)
        return -EAGAIN;
    r->at = master;
    return 0;
}

/* Every Sentinel is asked once, beginning with the one that answered last. */
static int find_master(struct redis *r, int64_t deadline_us) {
    for (size_t i = 0; i < r->n_list; i++) {
        int64_t now = clock_mono_us(), share = (deadline_us - now) / (int64_t)(r->n_list - i + 1);
        r->at = r->list[r->turn % r->n_list];
        if (ask_sentinel(r, now + share) == 0)
            return 0;
    }
    return -EAGAIN;
}

int redis_ready(struct redis *r, int64_t deadline_us) {
    if (r->ctx)
        return 0;
    if (clock_mono_us() < r->retry_us)
        return -EAGAIN;
    if (!r->fixed && r->cfg->redis_sentinel_master[0]) {
        if (find_master(r, deadline_us) < 0)
            return -EAGAIN;
    } else if (!r->fixed) {
        r->at = r->list[r->turn % r->n_list];
    }
    return open_at(r, deadline_us);
}

/* ---- a pipeline ---- */

static ssize_t gone(struct redis *r, const char *what, ssize_t n) {
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return 0;
    redis_down(r, "%s: %s", what, n == 0 ? "closed by Redis" : strerror(errno));
    return -ECONNRESET;
}

static ssize_t secured(struct redis *r, ssize_t n) {
    if (n >= 0)
        return n;
    redis_down(r, "%s", r->tls_error);
    return -ECONNRESET;
}

ssize_t redis_send(struct redis *r, const void *p, size_t n) {
    if (r->session)
        return secured(r, tls_send(r->session, p, n, r->tls_error));
    ssize_t k = send(r->ctx->fd, p, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return k > 0 ? k : gone(r, "send", k);
}

/* What is there, into r->in. */
static ssize_t read_some(struct redis *r) {
    if (r->session)
        return secured(r, tls_recv(r->session, r->in, READ_BYTES, r->tls_error));
    ssize_t k = recv(r->ctx->fd, r->in, READ_BYTES, MSG_DONTWAIT);
    return k > 0 ? k : gone(r, "recv", k);
}

static int unreadable(struct redis *r, int rc) {
    redis_down(r, "%s",
               rc == -ENOMEM     ? "out of memory"
               : rc == -EMSGSIZE ? "it answers with more than Redis ever does"
                                 : "what answers at this address does not speak the Redis "
                                   "protocol");
    return -ECONNRESET;
}

ssize_t redis_recv(struct redis *r) {
    ssize_t k = read_some(r);
    int rc = k > 0 ? replies_feed(r->replies, r->in, (size_t)k) : 0;
    return rc < 0 ? unreadable(r, rc) : k;
}

int redis_reply(struct redis *r, struct reply *ret) {
    int rc = replies_next(r->replies, ret);
    return rc < 0 ? unreadable(r, rc) : rc;
}

bool redis_poll(struct redis *r, bool writable, int64_t deadline_us) {
    struct pollfd p = {.fd = r->ctx->fd, .events = (short)(POLLIN | (writable ? POLLOUT : 0))};
    for (;;) {
        int n = poll(&p, 1, clock_ms_until(deadline_us));
        if (n > 0)
            return true;
        if (n == 0 || errno != EINTR)
            return false;
    }
}

/* ---- one command ---- */

/* All of it, or false after redis_down. */
static bool send_all(struct redis *r, const struct buf *b, int64_t deadline_us) {
    for (size_t at = 0; at < b->n;) {
        ssize_t k = redis_send(r, b->p + at, b->n - at);
        if (k < 0)
            return false;
        at += (size_t)k;
        if (k == 0 && !redis_poll(r, true, deadline_us)) {
            redis_down(r, "it takes nothing in time");
            return false;
        }
    }
    return true;
}

/* NULL after redis_down. */
static redisReply *await_answer(struct redis *r, int64_t deadline_us) {
    redisReply *answer;
    int rc;
    while ((rc = answers_next(r->answers, &answer)) == 0) {
        if (!redis_poll(r, false, deadline_us)) {
            redis_down(r, "no answer in time");
            return NULL;
        }
        ssize_t k = read_some(r);
        if (k < 0)
            return NULL;
        answers_feed(r->answers, r->in, (size_t)k); /* answers_next repeats what is wrong */
    }
    if (rc < 0)
        unreadable(r, rc);
    return answer;
}

static redisReply *ask_here(struct redis *r, int64_t deadline_us, size_t n,
                            const struct str *args) {
    struct buf b = {0};
    resp_array(&b, n);
    for (size_t i = 0; i < n; i++)
        resp_str(&b, args[i]);
    bool sent = false;
    if (b.failed)
        redis_down(r, "out of memory");
    else
        sent = send_all(r, &b, deadline_us);
    if (b.p)
        explicit_bzero(b.p, b.n); /* it may hold the password */
    buf_free(&b);
    return sent ? await_answer(r, deadline_us) : NULL;
}

/* Goes where MOVED or ASK said, on behalf of one command. */
static int follow(struct redis *r, int64_t deadline_us, const struct address *to, bool asking) {
    hang_up(r);
    r->at = *to;
    if (open_at(r, deadline_us) < 0)
        return -EAGAIN;
    const struct str args[] = {STR("ASKING")};
    return asking ? expect_ok(r, deadline_us, 1, args) : 0;
}

redisReply *redis_call(struct redis *r, int64_t deadline_us, size_t n, const struct str *args) {
    for (int hops = 0;; hops++) {
        redisReply *reply = ask_here(r, deadline_us, n, args);
        if (!reply || reply->type != REDIS_REPLY_ERROR || !r->cfg->redis_cluster || r->fixed)
            return reply;
        struct redirect to;
        enum reply_fate fate = reply_fate((struct str){reply->str, reply->len});
        if (hops == HOPS_MAX || (fate != REPLY_MOVED && fate != REPLY_ASK) ||
            redirect_parse(str_of(reply->str), &r->at, &to) < 0)
            return reply;
        freeReplyObject(reply);
        if (follow(r, deadline_us, &to.node, fate == REPLY_ASK) < 0)
            return NULL;
    }
}
