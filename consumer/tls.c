#include "consumer/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#include "consumer/clock.h"

struct tls {
    SSL_CTX *ctx;
    BIO_METHOD *socket;
    char *name;     /* NULL: the host's */
    bool certified; /* we have a certificate */
};

struct tls_session {
    const struct tls *tls;
    SSL *ssl;
    int fd;
    bool heard; /* something came after the handshake */
};

/* ---- the socket ---- */

/* As BIO_s_socket, but without SIGPIPE, and without waiting on a blocking socket. */
static int bio_fd(BIO *b) {
    return (int)(intptr_t)BIO_get_data(b);
}

static int bio_result(BIO *b, ssize_t n, int retry) {
    BIO_clear_retry_flags(b);
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        BIO_set_flags(b, retry | BIO_FLAGS_SHOULD_RETRY);
    return (int)n;
}

static int bio_write(BIO *b, const char *p, int n) {
    return bio_result(b, send(bio_fd(b), p, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL),
                      BIO_FLAGS_WRITE);
}

static int bio_read(BIO *b, char *p, int n) {
    return bio_result(b, recv(bio_fd(b), p, (size_t)n, MSG_DONTWAIT), BIO_FLAGS_READ);
}

static long bio_ctrl(BIO *b, int cmd, long num, void *ptr) {
    (void)b, (void)num, (void)ptr;
    return cmd == BIO_CTRL_FLUSH;
}

/* ---- what to trust ---- */

/* "CA.PEM: no start line", of the oldest error in OpenSSL's queue, which is emptied. */
static void tell(char error[TLS_ERROR_MAX], const char *what) {
    unsigned long e = ERR_get_error();
    const char *why = e ? ERR_reason_error_string(e) : NULL;
    if (e && ERR_SYSTEM_ERROR(e))
        why = strerror(ERR_GET_REASON(e));
    snprintf(error, TLS_ERROR_MAX, "%s: %s", what, why ? why : "unusable");
    ERR_clear_error();
}

/* A key that wants a passphrase is refused rather than asked for at a terminal. */
static int no_passphrase(char *p, int n, int writing, void *ctx) {
    (void)p, (void)n, (void)writing, (void)ctx;
    return -1;
}

static int load(SSL_CTX *ctx, const struct tls_options *o, char error[TLS_ERROR_MAX]) {
    if (*o->ca ? SSL_CTX_load_verify_file(ctx, o->ca) != 1
               : SSL_CTX_set_default_verify_paths(ctx) != 1) {
        tell(error, *o->ca ? o->ca : "the system's certificates");
        return -EINVAL;
    }
    if (!*o->cert)
        return 0;
    if (SSL_CTX_use_certificate_chain_file(ctx, o->cert) != 1) {
        tell(error, o->cert);
        return -EINVAL;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, o->key, SSL_FILETYPE_PEM) != 1) {
        tell(error, o->key);
        return -EINVAL;
    }
    return 0;
}

int tls_new(const struct tls_options *o, struct tls **ret, char error[TLS_ERROR_MAX]) {
    snprintf(error, TLS_ERROR_MAX, "out of memory");
    autofree(tls_free) struct tls *t = calloc(1, sizeof *t);
    if (!t)
        return -ENOMEM;
    ERR_clear_error();
    t->ctx = SSL_CTX_new(TLS_client_method());
    t->socket = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "beckon");
    if (*o->name)
        t->name = strdup(o->name);
    if (!t->ctx || !t->socket || (*o->name && !t->name))
        return -ENOMEM;
    BIO_meth_set_write(t->socket, bio_write);
    BIO_meth_set_read(t->socket, bio_read);
    BIO_meth_set_ctrl(t->socket, bio_ctrl);
    SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(t->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_default_passwd_cb(t->ctx, no_passphrase);
    t->certified = *o->cert;
    int rc = load(t->ctx, o, error);
    if (rc == 0)
        *ret = TAKE(t);
    return rc;
}

void tls_free(struct tls *t) {
    if (!t)
        return;
    SSL_CTX_free(t->ctx);
    BIO_meth_free(t->socket);
    free(t->name);
    free(t);
}

/* ---- a session ---- */

/* The name to look for in the certificate, and to ask for by SNI. */
static bool expect_name(SSL *ssl, const char *name) {
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    if (X509_VERIFY_PARAM_set1_ip_asc(param, name) == 1)
        return true;
    ERR_clear_error();
    return SSL_set1_host(ssl, name) == 1 && SSL_set_tlsext_host_name(ssl, name) == 1;
}

/* 0: poll for it in `ret_events`. */
static ssize_t result(struct tls_session *s, int n, short *ret_events, char error[TLS_ERROR_MAX]) {
    if (n > 0)
        return n;
    int err = errno, e = SSL_get_error(s->ssl, n);
    *ret_events = e == SSL_ERROR_WANT_WRITE ? POLLOUT : POLLIN;
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return 0;
    long verified = SSL_get_verify_result(s->ssl);
    /* Since TLS 1.3 a client may believe that it is through before the server has refused it; of
     * its alert a reset connection may leave nothing. */
    bool why = !s->heard && !s->tls->certified && SSL_is_init_finished(s->ssl);
    if (e == SSL_ERROR_ZERO_RETURN || e == SSL_ERROR_SYSCALL)
        snprintf(error, TLS_ERROR_MAX, "%s%s",
                 e == SSL_ERROR_SYSCALL && err ? strerror(err) : "closed by the other side",
                 why ? "; it may want a certificate of ours" : "");
    else if (verified != X509_V_OK)
        snprintf(error, TLS_ERROR_MAX, "its certificate: %s",
                 X509_verify_cert_error_string(verified));
    else
        tell(error, "TLS");
    ERR_clear_error();
    return -EPROTO;
}

static int shake_hands(struct tls_session *s, int64_t deadline_us, char error[TLS_ERROR_MAX]) {
    for (;;) {
        short events;
        ERR_clear_error();
        errno = 0;
        ssize_t n = result(s, SSL_connect(s->ssl), &events, error);
        if (n)
            return n > 0 ? 0 : (int)n;
        struct pollfd p = {.fd = s->fd, .events = events};
        int ms = clock_ms_until(deadline_us);
        if (!ms || poll(&p, 1, ms) == 0) {
            snprintf(error, TLS_ERROR_MAX, "no handshake in time; does it speak TLS?");
            return -EPROTO;
        }
    }
}

int tls_open(struct tls *t, int fd, const char *host, int64_t deadline_us, struct tls_session **ret,
             char error[TLS_ERROR_MAX]) {
    snprintf(error, TLS_ERROR_MAX, "out of memory");
    autofree(tls_close) struct tls_session *s = calloc(1, sizeof *s);
    if (!s)
        return -EPROTO;
    s->tls = t;
    s->fd = fd;
    s->ssl = SSL_new(t->ctx);
    BIO *b = BIO_new(t->socket);
    if (b) {
        BIO_set_data(b, (void *)(intptr_t)fd);
        BIO_set_init(b, 1);
    }
    if (!s->ssl || !b) {
        BIO_free(b);
        return -EPROTO;
    }
    SSL_set_bio(s->ssl, b, b); /* takes it */
    if (!t->name || strcmp(t->name, "*") != 0) {
        const char *name = t->name ? t->name : host;
        if (!expect_name(s->ssl, name)) {
            tell(error, name);
            return -EPROTO;
        }
    }
    int rc = shake_hands(s, deadline_us, error);
    if (rc == 0)
        *ret = TAKE(s);
    return rc;
}

void tls_close(struct tls_session *s) {
    if (!s)
        return;
    if (s->ssl && SSL_is_init_finished(s->ssl)) {
        SSL_shutdown(s->ssl);
        ERR_clear_error();
    }
    SSL_free(s->ssl);
    free(s);
}

ssize_t tls_send(struct tls_session *s, const void *p, size_t n, char error[TLS_ERROR_MAX]) {
    short events;
    ERR_clear_error();
    errno = 0;
    return n ? result(s, SSL_write(s->ssl, p, (int)MIN(n, (size_t)INT32_MAX)), &events, error) : 0;
}

ssize_t tls_recv(struct tls_session *s, void *p, size_t cap, char error[TLS_ERROR_MAX]) {
    short events;
    ERR_clear_error();
    errno = 0;
    ssize_t n = result(s, SSL_read(s->ssl, p, (int)MIN(cap, (size_t)INT32_MAX)), &events, error);
    s->heard |= n > 0;
    return n;
}
