#include "consumer/slots.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

#include "consumer/cache.h"
#include "consumer/resp.h"

/* Slots as CLUSTER KEYSLOT of Redis 7.0 tells them. */
Test(slots, are_those_of_redis) {
    cr_assert_eq(slot_of(STR("123456789")), 12739); /* the specification's own example */
    cr_assert_eq(slot_of(STR("foo")), 12182);
    cr_assert_eq(slot_of(STR("")), 0);
    cr_assert_eq(slot_of(STR("x{foo}y")), 12182);
    cr_assert_eq(slot_of(STR("foo{}")), slot_of((struct str){"foo{}z", 5}));
    cr_assert_neq(slot_of(STR("{}{foo}")), 12182, "an empty first tag is none");
    cr_assert_eq(slot_of(STR("a{foo}{bar}")), 12182);
    cr_assert_eq(slot_of(STR("a{{foo}}")), slot_of(STR("{foo")));
}

Test(slots, all_keys_of_an_id_share_one_whatever_the_id) {
    const struct str ids[] = {STR("u1"), STR("{"),     STR("}"),    STR("{}"),
                              STR("}{"), STR("a{b}c"), STR("a\0b"), STR("%7B")};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct buf top = {0}, why = {0}, tag = {0};
        cache_key(&top, "beckon:", "top", ids[i]);
        cache_key(&why, "beckon:", "why", ids[i]);
        id_escape(&tag, ids[i]);
        uint16_t slot = slot_of((struct str){(char *)top.p, top.n});
        cr_assert_eq(slot, slot_of((struct str){(char *)why.p, why.n}));
        cr_assert_eq(slot, slot_of((struct str){(char *)tag.p, tag.n}), "the tag is the whole id");
        buf_free(&top);
        buf_free(&why);
        buf_free(&tag);
    }
}

Test(slots, redirections_are_read_with_care) {
    struct address from = {"10.0.0.1", 7000};
    struct redirect to;
    cr_assert_eq(redirect_parse(STR("MOVED 3999 127.0.0.1:6381"), &from, &to), 0);
    cr_assert_eq(to.slot, 3999);
    cr_assert_str_eq(to.node.host, "127.0.0.1");
    cr_assert_eq(to.node.port, 6381);
    cr_assert_eq(redirect_parse(STR("ASK 1 :6381"), &from, &to), 0);
    cr_assert_str_eq(to.node.host, "10.0.0.1", "who said so");
    cr_assert_eq(redirect_parse(STR("MOVED 0 ::1:6381"), &from, &to), 0);
    cr_assert_str_eq(to.node.host, "::1");
    const char *const bad[] = {"MOVED",
                               "MOVED ",
                               "MOVED 16384 a:1",
                               "MOVED -1 a:1",
                               "MOVED 1",
                               "MOVED 1 ",
                               "MOVED 1 a",
                               "MOVED 1 a:0",
                               "MOVED 1 a:65536",
                               "MOVED 1 a:6x",
                               "MOVED 99999999999999999999 a:1"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(redirect_parse(str_of(bad[i]), &from, &to), -EPROTO, "%s", bad[i]);
}

static int read_map(const char *text, struct slot_map *ret) {
    autofree(answers_free) struct answers *a = NULL;
    redisReply *reply;
    cr_assert_eq(answers_new(&a), 0);
    cr_assert_eq(answers_feed(a, text, strlen(text)), 0);
    cr_assert_eq(answers_next(a, &reply), 1, "%s", text);
    struct address from = {"10.0.0.1", 7000};
    int rc = slot_map_read(reply, &from, ret);
    freeReplyObject(reply);
    return rc;
}

Test(slots, a_map_is_read_whole_or_not_at_all) {
    struct slot_map m;
    cr_assert_eq(read_map("*2\r\n"
                          "*4\r\n:0\r\n:9\r\n*2\r\n$1\r\na\r\n:1\r\n*2\r\n$1\r\nr\r\n:9\r\n"
                          "*3\r\n:10\r\n:16383\r\n*2\r\n$-1\r\n:2\r\n",
                          &m),
                 0);
    cr_assert_eq(m.n_nodes, 2, "replicas are none of it");
    cr_assert_str_eq(m.node[m.at[9]].host, "a");
    cr_assert_str_eq(m.node[m.at[10]].host, "10.0.0.1", "nil: who was asked");
    cr_assert_eq(m.node[m.at[16383]].port, 2);
    cr_assert(slot_map_whole(&m));
    slot_map_free(&m);
    cr_assert_eq(read_map("*1\r\n*3\r\n:5\r\n:5\r\n*2\r\n$1\r\na\r\n:1\r\n", &m), 0);
    cr_assert_not(slot_map_whole(&m));
    slot_map_free(&m);
    const char *const bad[] = {
        ":1\r\n",
        "*1\r\n:1\r\n",
        "*1\r\n*2\r\n:0\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:2\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:65536\r\n",
        "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n$1\r\na\r\n",
        "*2\r\n*3\r\n:0\r\n:1\r\n*2\r\n$1\r\na\r\n:1\r\n:7\r\n",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(read_map(bad[i], &m), -EPROTO, "%s", bad[i]);
}

Test(address, lists_are_parsed_and_mistakes_are_not) {
    struct address *list;
    size_t n;
    cr_assert_eq(address_list("a:1, [::1]:2 ,/run/redis.sock", &list, &n), 0);
    cr_assert_eq(n, 3);
    char text[ADDRESS_TEXT];
    address_text(&list[1], text);
    cr_assert_str_eq(text, "::1:2");
    cr_assert_str_eq(list[2].host, "/run/redis.sock");
    cr_assert_eq(list[2].port, 0);
    free(list);
    const char *const bad[] = {"", "a", "a:", ":1", "a:0", "a:65536", "a:1,", ",a:1", "a:1 b:2x"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        cr_assert_eq(address_list(bad[i], &list, &n), -EINVAL, "%s", bad[i]);
}
