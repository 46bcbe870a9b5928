/* User-control records; the first byte tells the format. Whatever is accepted comes back the
 * same, consent by consent. */
#include "tests/fuzz/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n == 0)
        return 0;
    struct codec *c = codec_of(p[0] % 3), *avro = codec_of(FORMAT_AVRO);
    struct control_info a, b;
    struct dead why;
    if (decode_control(c->decoder, p + 1, n - 1, STR("k"), &fuzz_origin, &a, &why) != DEAD_NONE)
        return 0;
    MUST(encode_control(avro->encoder, &a, &avro->out) == 0);
    MUST(decode_control(avro->decoder, avro->out.p, avro->out.n, STR("k"), &fuzz_origin, &b,
                        &why) == DEAD_NONE);
    MUST(str_eq(a.user, b.user) && str_eq(a.tz, b.tz) && a.n == b.n);
    for (size_t i = 0; i < a.n; i++)
        MUST(str_eq(a.consent[i].channel, b.consent[i].channel) &&
             a.consent[i].granted == b.consent[i].granted);
    return 0;
}
