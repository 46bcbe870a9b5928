/* Where a Redis, a Sentinel or a node of a cluster is. Pure. */
#pragma once

#include "model/base.h"

enum { ADDRESS_HOST = 256, ADDRESS_TEXT = ADDRESS_HOST + 8 };

struct address {
    char host[ADDRESS_HOST]; /* or /path/of/socket */
    int port;                /* 0: a socket */
};

/* host:port (IPv6 with or without brackets) or /path/of/socket. An empty host is `same`'s, as
 * Redis means it in MOVED; NULL: not allowed. 0 or -EINVAL. */
int address_parse(struct str text, const struct address *same, struct address *ret);
/* A list, separated by commas, spaces around them allowed: 0, -EINVAL or -ENOMEM. */
int address_list(const char *text, struct address **ret, size_t *ret_n);
bool address_eq(const struct address *a, const struct address *b);
/* host:port or the path. */
void address_text(const struct address *a, char ret[ADDRESS_TEXT]);
