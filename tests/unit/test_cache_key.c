#include <criterion/criterion.h>

#include "consumer/cache.h"

static void expect_key(const char *kind, struct str tag, const char *expected) {
    struct buf b = {0};
    cache_key(&b, "beckon:", kind, tag);
    cr_assert(str_eq((struct str){(char *)b.p, b.n}, str_of(expected)), "%.*s", (int)b.n,
              (char *)b.p);
    buf_free(&b);
}

Test(cache_key, the_hash_tag_is_the_whole_id) {
    expect_key("trending", (struct str){0}, "beckon:trending");
    expect_key("top", STR("u42"), "beckon:top:{u42}");
    expect_key("top", STR("a b\xc3\xa9"), "beckon:top:{a b\xc3\xa9}");
    expect_key("user", STR("{x}%"), "beckon:user:{%7Bx%7D%25}");
    expect_key("user", STR("a\n\0\x7f"), "beckon:user:{a%0A%00%7F}");
}

Test(cache_key, unescaping_gives_back_every_byte) {
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)i;
    struct buf there = {0}, back = {0};
    id_escape(&there, (struct str){all, sizeof all});
    id_unescape(&back, (struct str){(char *)there.p, there.n});
    cr_assert(back.n == sizeof all && memcmp(back.p, all, sizeof all) == 0);
    for (size_t i = 0; i < there.n; i++)
        cr_assert(there.p[i] >= 0x20 && there.p[i] != 0x7f && there.p[i] != '{' &&
                  there.p[i] != '}');
    buf_free(&there);
    buf_free(&back);
}

Test(cache_key, a_lone_percent_sign_stays) {
    struct buf b = {0};
    id_unescape(&b, STR("100% of %zz %4"));
    cr_assert(str_eq((struct str){(char *)b.p, b.n}, STR("100% of %zz %4")));
    buf_free(&b);
}
