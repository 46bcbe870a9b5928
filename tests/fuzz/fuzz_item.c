/* Catalogue records; the first byte tells the format. Whatever is accepted comes back the same. */
#include "tests/fuzz/codec.h"

static bool same_texts(const struct str *a, size_t n, const struct str *b, size_t m) {
    bool same = n == m;
    for (size_t i = 0; same && i < n; i++)
        same = str_eq(a[i], b[i]);
    return same;
}

int LLVMFuzzerTestOneInput(const uint8_t *p, size_t n) {
    if (n == 0)
        return 0;
    struct codec *c = codec_of(p[0] % 3);
    struct item_info a, b;
    struct dead why;
    if (decode_item(c->decoder, p + 1, n - 1, STR("k"), &fuzz_origin, &a, &why) != DEAD_NONE)
        return 0;
    MUST(encode_item(c->encoder, &a, &c->out) == 0);
    MUST(decode_item(c->decoder, c->out.p, c->out.n, STR("k"), &fuzz_origin, &b, &why) ==
         DEAD_NONE);
    MUST(str_eq(a.id, b.id) && str_eq(a.brand, b.brand) && str_eq(a.description, b.description));
    MUST(same_number(a.price, b.price) && same_number(a.margin, b.margin));
    MUST(a.available == b.available && a.flags == b.flags && a.deleted == b.deleted);
    MUST(same_texts(a.category, a.n_category, b.category, b.n_category));
    MUST(same_texts(a.tags, a.n_tags, b.tags, b.n_tags));
    MUST(a.n_dense == b.n_dense &&
         (!a.n_dense || memcmp(a.dense, b.dense, a.n_dense * sizeof *a.dense) == 0));
    return 0;
}
