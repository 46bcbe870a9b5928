#include "consumer/cache.h"

static bool is_plain(uint8_t b) {
    return b >= 0x20 && b != 0x7f && b != '{' && b != '}' && b != '%';
}

void id_escape_all(struct buf *out, struct str bytes) {
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < bytes.n; i++) {
        uint8_t b = (uint8_t)bytes.p[i];
        buf_put(out, (char[]){'%', hex[b >> 4], hex[b & 15]}, 3);
    }
}

void id_escape(struct buf *out, struct str id) {
    const uint8_t *p = (const uint8_t *)id.p;
    for (size_t i = 0; i < id.n;) {
        size_t run = i;
        while (run < id.n && is_plain(p[run]))
            run++;
        buf_put(out, p + i, run - i);
        i = run;
        if (i < id.n)
            id_escape_all(out, (struct str){id.p + i++, 1});
    }
}

static int hex_value(char ch) {
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    if (ch >= 'A' && ch <= 'F')
        return ch - 'A' + 10;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

void id_unescape(struct buf *out, struct str text) {
    for (size_t i = 0; i < text.n; i++) {
        char byte = text.p[i];
        if (byte == '%' && i + 2 < text.n) {
            int hi = hex_value(text.p[i + 1]), lo = hex_value(text.p[i + 2]);
            if (hi >= 0 && lo >= 0) {
                byte = (char)(hi << 4 | lo);
                i += 2;
            }
        }
        buf_put(out, &byte, 1);
    }
}

void cache_key(struct buf *out, const char *prefix, const char *kind, struct str tag) {
    buf_put(out, prefix, strlen(prefix));
    buf_put(out, kind, strlen(kind));
    if (tag.n == 0)
        return;
    buf_put(out, ":{", 2);
    id_escape(out, tag);
    buf_put(out, "}", 1);
}
