/* Coupon codes: made from a template, or taken from a pool. */
#include "policy/internal.h"

static size_t put(char *to, size_t at, struct str s) {
    size_t n = MIN(s.n, (size_t)CODE_MAX - 1 - at);
    if (n)
        memcpy(to + at, s.p, n);
    return at + n;
}

void code_print(struct str template, uint64_t hash, char ret[CODE_MAX]) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    static const struct str mark = {"{hash}", 6};
    char code[10];
    size_t at = 0;
    for (size_t i = 0; i < sizeof code; i++)
        code[i] = digits[hash >> 5 * i & 31];
    for (size_t i = 0; i < template.n;) {
        bool is_mark = template.n - i >= mark.n && !memcmp(template.p + i, mark.p, mark.n);
        at = put(ret, at,
                 is_mark ? (struct str){code, sizeof code} : (struct str){template.p + i, 1});
        i += is_mark ? mark.n : 1;
    }
    ret[at] = 0;
}

int pool_new(const struct pool_spec *spec, struct pool *ret) {
    size_t bytes = 0;
    for (size_t i = 0; i < spec->n; i++)
        bytes += spec->code[i].n;
    if (spec->n >= UINT32_MAX || bytes > UINT32_MAX)
        return -E2BIG;
    *ret = (struct pool){.hash = hash_str(spec->name, 0), .n = (uint32_t)spec->n};
    ret->at = calloc(spec->n + 1, sizeof *ret->at);
    ret->text = malloc(bytes + 1);
    if (!ret->at || !ret->text)
        return -ENOMEM;
    for (size_t i = 0; i < spec->n; i++) {
        memcpy(ret->text + ret->at[i], spec->code[i].p, spec->code[i].n);
        ret->at[i + 1] = ret->at[i] + (uint32_t)spec->code[i].n;
    }
    return 0;
}

void pool_free(struct pool *p) {
    free(p->at);
    free(p->text);
}

struct str pool_code(const struct pool *p, uint32_t i) {
    return (struct str){p->text + p->at[i], p->at[i + 1] - p->at[i]};
}
