/* Whatever a server sends, in whatever pieces, is a reply, a wait for more, or a
 * violation; and it is the same replies in one piece or in many. */
#include "consumer/resp.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n);

enum { CHUNKS = 3 };

static size_t read_all(const uint8_t *p, size_t n, size_t chunk, uint64_t *ret_hash) {
    struct replies *r;
    if (replies_new(&r) < 0)
        return 0;
    size_t count = 0;
    int rc = 0;
    *ret_hash = 0;
    for (size_t at = 0; at < n && rc >= 0; at += chunk) {
        if (replies_feed(r, p + at, MIN(chunk, n - at)) < 0)
            break;
        struct reply one;
        while ((rc = replies_next(r, &one)) == 1) {
            if (one.n >= REPLY_TEXT_MAX || one.text[one.n] != 0 || one.fate > REPLY_REFUSED)
                abort();
            *ret_hash = hash_bytes(one.text, one.n, *ret_hash + one.fate + (uint64_t)one.integer);
            count++;
        }
    }
    replies_free(r);
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static const size_t chunks[CHUNKS] = {1, 7, SIZE_MAX / 2};
    size_t count[CHUNKS];
    uint64_t hash[CHUNKS];
    for (size_t i = 0; i < CHUNKS; i++)
        count[i] = read_all(p, n, chunks[i], &hash[i]);
    for (size_t i = 1; i < CHUNKS; i++)
        if (count[i] != count[0] || hash[i] != hash[0])
            abort();
    return 0;
}
