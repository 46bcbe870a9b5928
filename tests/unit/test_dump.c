#include "consumer/dump.h"

#include <criterion/criterion.h>
#include <stdio.h>

Test(dump, checksum_is_the_one_redis_tests_with) {
    cr_assert_eq(dump_crc64("123456789", 9), 0xe9c6d914c4b8d9cau);
    cr_assert_eq(dump_crc64("", 0), 0);
    char text[100]; /* whole words and what is left over, against bit by bit */
    for (size_t n = 0; n < sizeof text; n++) {
        text[n] = (char)(n * 37);
        uint64_t crc = 0;
        for (size_t i = 0; i <= n; i++) {
            crc ^= (uint8_t)text[i];
            for (int bit = 0; bit < 8; bit++)
                crc = crc & 1 ? crc >> 1 ^ 0x95ac9329ac4bc9b5u : crc >> 1;
        }
        cr_assert_eq(dump_crc64(text, n + 1), crc, "%zu bytes", n + 1);
    }
}

/* What `DUMP key` of Redis 7.0.15 says after ZADD key 1500 a -1 17. */
Test(dump, payload_is_what_redis_writes_itself) {
    struct dump_entry e[] = {{STR("a"), 1500}, {STR("17"), -1}};
    struct buf b = {0};
    cr_assert(dump_zset(&b, e, ARRAY_LEN(e)));
    static const uint8_t expected[] = {0x11, 0x12, 0x12, 0x00, 0x00, 0x00, 0x04, 0x00, 0x11, 0x01,
                                       0xdf, 0xff, 0x02, 0x81, 0x61, 0x02, 0xc5, 0xdc, 0x02, 0xff,
                                       0x0a, 0x00, 0xd9, 0x43, 0x5d, 0x30, 0x3f, 0x7d, 0x9b, 0x09};
    cr_assert_eq(b.n, sizeof expected);
    cr_assert_arr_eq(b.p, expected, b.n);
    buf_free(&b);
}

Test(dump, what_redis_would_not_keep_so_is_left_to_it) {
    static char long_id[DUMP_MEMBER_MAX + 1];
    static char ids[DUMP_ENTRIES_MAX + 1][8];
    struct dump_entry many[DUMP_ENTRIES_MAX + 1];
    for (int i = 0; i <= DUMP_ENTRIES_MAX; i++) {
        snprintf(ids[i], sizeof ids[i], "i%d", i);
        many[i] = (struct dump_entry){str_of(ids[i]), -i};
    }
    struct buf b = {0};
    cr_assert_not(dump_zset(&b, many, 0));
    cr_assert_not(dump_zset(&b, many, DUMP_ENTRIES_MAX + 1));
    cr_assert_not(dump_zset(&b, &(struct dump_entry){{long_id, sizeof long_id}, 1}, 1));
    struct dump_entry twice[] = {{STR("a"), 3}, {STR("b"), 2}, {STR("a"), 1}};
    cr_assert_not(dump_zset(&b, twice, 3));
    cr_assert_eq(b.n, 0);
    cr_assert(dump_zset(&b, many, DUMP_ENTRIES_MAX));
    cr_assert(b.n > 0);
    buf_free(&b);
}
