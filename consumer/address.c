#include "consumer/address.h"

#include <stdio.h>

static int parse_port(struct str s) {
    int port = 0;
    for (size_t i = 0; i < s.n && port <= 65535; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return 0;
        port = port * 10 + (s.p[i] - '0');
    }
    return port <= 65535 ? port : 0;
}

int address_parse(struct str text, const struct address *same, struct address *ret) {
    struct address a = {0};
    if (memchr(text.p, 0, text.n))
        return -EINVAL;
    if (text.n && text.p[0] == '/') {
        if (text.n >= sizeof a.host)
            return -EINVAL;
        memcpy(a.host, text.p, text.n);
        *ret = a;
        return 0;
    }
    const char *colon = text.n ? memrchr(text.p, ':', text.n) : NULL;
    if (!colon)
        return -EINVAL;
    struct str host = {text.p, (size_t)(colon - text.p)};
    a.port = parse_port((struct str){colon + 1, text.n - host.n - 1});
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']') {
        host.p++;
        host.n -= 2;
    }
    if (a.port == 0 || host.n >= sizeof a.host || (host.n == 0 && !same))
        return -EINVAL;
    if (host.n)
        memcpy(a.host, host.p, host.n);
    else
        memcpy(a.host, same->host, sizeof a.host);
    *ret = a;
    return 0;
}

int address_list(const char *text, struct address **ret, size_t *ret_n) {
    size_t n = 1;
    for (const char *p = text; *p; p++)
        n += *p == ',';
    autofree(free) struct address *list = calloc(n, sizeof *list);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        size_t len = strcspn(text, ",");
        struct str one = {text, len};
        while (one.n && one.p[0] == ' ')
            one = (struct str){one.p + 1, one.n - 1};
        while (one.n && one.p[one.n - 1] == ' ')
            one.n--;
        if (address_parse(one, NULL, &list[i]) < 0)
            return -EINVAL;
        text += len + 1;
    }
    *ret = TAKE(list);
    *ret_n = n;
    return 0;
}

bool address_eq(const struct address *a, const struct address *b) {
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

void address_text(const struct address *a, char ret[ADDRESS_TEXT]) {
    if (a->port)
        snprintf(ret, ADDRESS_TEXT, "%s:%d", a->host, a->port);
    else
        snprintf(ret, ADDRESS_TEXT, "%s", a->host);
}
