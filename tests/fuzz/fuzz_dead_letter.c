/* Dead letters read back, and any message rendered as a line. The original bytes survive. */
#include "tests/fuzz/codec.h"

static bool same_bytes(const void *a, size_t n, const void *b, size_t m) {
    return n == m && !a == !b && (n == 0 || memcmp(a, b, n) == 0);
}

/* As Kafka allows it; JSON has no way to write just any bytes. */
static bool topic_name(const char *t) {
    return t[strspn(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")] == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    struct dead_letter a, b;
    for (enum data_format f = FORMAT_CONFLUENT; f <= FORMAT_JSON; f++) {
        struct codec *c = codec_of(f);
        if (render_json(c->decoder, p, n, &c->out) == 0)
            MUST(c->out.n >= 2 && !memchr(c->out.p, '\n', c->out.n));
        if (decode_dead_letter(c->decoder, p, n, &a))
            continue;
        if (a.reason == DEAD_NONE || a.payload_n > DEAD_LETTER_PAYLOAD_MAX ||
            !topic_name(a.origin.topic))
            continue;
        MUST(encode_dead_letter(c->encoder, &a, &c->out) == 0);
        MUST(decode_dead_letter(c->decoder, c->out.p, c->out.n, &b) == 0);
        MUST(a.reason == b.reason && strcmp(a.origin.topic, b.origin.topic) == 0);
        MUST(a.origin.partition == b.origin.partition && a.origin.offset == b.origin.offset);
        MUST(same_bytes(a.key, a.key_n, b.key, b.key_n));
        MUST(same_bytes(a.payload, a.payload_n, b.payload, b.payload_n));
        MUST(a.payload_bytes == b.payload_bytes);
    }
    return 0;
}
