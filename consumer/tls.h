/* TLS, 1.2 or newer, over a connected socket that stays its owner's. Only OpenSSL's client side:
 * the server's certificate must be valid, from an authority that is trusted, and bear the name by
 * which the server is known. Nothing here blocks but tls_open, and that not beyond its deadline.
 * One thread per session; sessions of one context may be in several. */
#pragma once

#include <sys/types.h>

#include "model/base.h"

struct tls_options {
    const char *ca;         /* file of certificates to trust; empty: those of the system */
    const char *cert, *key; /* files of our own certificate (with its chain) and key; empty: none */
    const char *name;       /* in the server's certificate; empty: its host; "*": whichever */
};

enum { TLS_ERROR_MAX = 256 };

struct tls;
/* 0, -ENOMEM, or -EINVAL with the reason, which names the file, in `error`. */
int tls_new(const struct tls_options *o, struct tls **ret, char error[TLS_ERROR_MAX]);
void tls_free(struct tls *t);
DEFINE_CLEANUP(struct tls, tls_free)

struct tls_session;
/* Shakes hands. `host`: as the caller reaches it, a name or an IP address. 0, or -EPROTO with the
 * reason in `error`. */
int tls_open(struct tls *t, int fd, const char *host, int64_t deadline_us, struct tls_session **ret,
             char error[TLS_ERROR_MAX]);
void tls_close(struct tls_session *s); /* says goodbye if that needs no waiting */
DEFINE_CLEANUP(struct tls_session, tls_close)

/* What the socket takes, or what came: bytes; 0: not now, poll it; -EPROTO with the reason in
 * `error`. What was not taken is to be offered again, at least as much of it. `cap`: at
 * least TLS_RECORD_MAX, else more may be waiting than a poll shows. */
enum { TLS_RECORD_MAX = 16 * 1024 };
ssize_t tls_send(struct tls_session *s, const void *p, size_t n, char error[TLS_ERROR_MAX]);
ssize_t tls_recv(struct tls_session *s, void *p, size_t cap, char error[TLS_ERROR_MAX]);
