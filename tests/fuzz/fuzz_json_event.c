/* JSON events: whatever is accepted comes back the same through Avro. */
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    static const char *const types[] = {
#define X(sym, name, weight) name,
        EVENT_TYPES(X)
#undef X
    };
    struct codec *json = codec_of(FORMAT_JSON), *avro = codec_of(FORMAT_CONFLUENT);
    struct event e, back;
    struct dead why;
    enum dead_reason dead =
        decode_event(json->decoder, p, n, STR("k"), &fuzz_origin, FUZZ_NOW, &e, &why);
    if (dead != DEAD_NONE) {
        MUST(why.reason == dead && memchr(why.detail, 0, sizeof why.detail));
        return 0;
    }
    MUST(e.user.n && e.id.n && e.type < EV_BUILTIN && e.n_ctx <= EVENT_CTX_MAX);
    MUST(encode_event(avro->encoder, &e, types[e.type], &avro->out) == 0);
    dead = decode_event(avro->decoder, avro->out.p, avro->out.n, STR("k"), &fuzz_origin, FUZZ_NOW,
                        &back, &why);
    MUST(dead == DEAD_NONE && same_event(&e, &back));
    return 0;
}
