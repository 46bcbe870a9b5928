#include "model/index.h"

#include <criterion/criterion.h>
#include <stdio.h>

struct owner {
    char id[5000][12];
};

static struct str id_of(const void *owner, uint32_t row) {
    return str_of(((const struct owner *)owner)->id[row]);
}

Test(index, finds_what_was_added_and_nothing_else) {
    static struct owner o;
    struct id_index x;
    cr_assert_eq(id_index_init(&x, 7, id_of, &o), 0);
    for (uint32_t i = 0; i < 5000; i++) {
        snprintf(o.id[i], sizeof o.id[i], "id%u", i);
        cr_assert_eq(id_index_find(&x, str_of(o.id[i])), INDEX_NONE);
        cr_assert_eq(id_index_add(&x, str_of(o.id[i]), i), 0);
    }
    for (uint32_t i = 0; i < 5000; i++)
        cr_assert_eq(id_index_find(&x, str_of(o.id[i])), i);
    cr_assert_eq(id_index_find(&x, STR("id5000")), INDEX_NONE);
    cr_assert_eq(id_index_find(&x, STR("")), INDEX_NONE);
    id_index_done(&x);
}

Test(index, removal_keeps_the_others_reachable) {
    static struct owner o;
    static bool in[5000];
    struct id_index x;
    cr_assert_eq(id_index_init(&x, 3, id_of, &o), 0);
    for (uint32_t i = 0; i < 5000; i++)
        snprintf(o.id[i], sizeof o.id[i], "k%u", i);
    struct rng r;
    rng_seed(&r, 11);
    for (int step = 0; step < 200000; step++) {
        uint32_t i = rng_below(&r, 5000);
        if (in[i]) {
            cr_assert_eq(id_index_remove(&x, str_of(o.id[i])), i);
        } else {
            cr_assert_eq(id_index_remove(&x, str_of(o.id[i])), INDEX_NONE);
            cr_assert_eq(id_index_add(&x, str_of(o.id[i]), i), 0);
        }
        in[i] = !in[i];
    }
    uint64_t n = 0;
    for (uint32_t i = 0; i < 5000; i++) {
        cr_assert_eq(id_index_find(&x, str_of(o.id[i])), in[i] ? i : INDEX_NONE);
        n += in[i];
    }
    cr_assert_eq(x.n, n);
    id_index_done(&x);
}

Test(arena, reuses_dropped_blocks_and_keeps_contents) {
    struct id_arena a = {0};
    struct str s[300];
    char text[2000];
    for (size_t round = 0; round < 50; round++) {
        for (size_t i = 0; i < 300; i++) {
            memset(text, (int)('a' + i % 26), sizeof text);
            cr_assert(id_arena_copy(&a, (struct str){text, i * 6 + 1}, &s[i]));
        }
        for (size_t i = 0; i < 300; i++) {
            for (size_t k = 0; k < s[i].n; k++)
                cr_assert_eq(s[i].p[k], (char)('a' + i % 26));
            id_arena_drop(&a, s[i].p, s[i].n);
        }
    }
    cr_assert(a.bytes <= 5 * 64 * 1024, "%zu bytes for 170 small strings", a.bytes);
    id_arena_done(&a);
}

Test(rows, are_zero_and_refused_on_overflow) {
    float *p = rows_map(1000000, 256);
    cr_assert_not_null(p);
    cr_assert_eq((uintptr_t)p % 64, 0);
    cr_assert_eq(p[63999999], 0);
    rows_unmap(p, 1000000, 256);
    cr_assert_null(rows_map(SIZE_MAX / 2, 4));
}
