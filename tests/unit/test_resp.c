#include "consumer/resp.h"

#include <criterion/criterion.h>
#include <hiredis/hiredis.h>

Test(resp, commands_are_binary_safe) {
    struct buf b = {0};
    resp_array(&b, 4);
    resp_str(&b, STR("ZADD"));
    resp_bulk(&b, "a\0\r\n", 4);
    resp_int(&b, INT64_MIN);
    resp_bulk(&b, NULL, 0);
    static const char expected[] =
        "*4\r\n$4\r\nZADD\r\n$4\r\na\0\r\n\r\n$20\r\n-9223372036854775808\r\n$0\r\n\r\n";
    cr_assert(str_eq((struct str){(char *)b.p, b.n}, STR(expected)));
    buf_free(&b);
}

Test(resp, integers_are_decimal) {
    static const struct {
        int64_t v;
        const char *text;
    } rows[] = {{0, "$1\r\n0\r\n"},
                {-1, "$2\r\n-1\r\n"},
                {1005, "$4\r\n1005\r\n"},
                {INT64_MAX, "$19\r\n9223372036854775807\r\n"}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = {0};
        resp_int(&b, rows[i].v);
        cr_assert(str_eq((struct str){(char *)b.p, b.n}, str_of(rows[i].text)));
        buf_free(&b);
    }
}

Test(resp, errors_are_told_apart) {
    static const struct {
        const char *text;
        enum reply_fate fate;
    } rows[] = {
        {"OOM command not allowed when used memory > 'maxmemory'.", REPLY_WAIT},
        {"LOADING Redis is loading the dataset in memory", REPLY_WAIT},
        {"READONLY You can't write against a read only replica.", REPLY_WAIT},
        {"MISCONF Redis is configured to save RDB snapshots", REPLY_WAIT},
        {"BUSY Redis is busy running a script.", REPLY_WAIT},
        {"CLUSTERDOWN The cluster is down", REPLY_WAIT},
        {"MASTERDOWN Link with MASTER is down", REPLY_WAIT},
        {"NOAUTH Authentication required.", REPLY_WAIT},
        {"EXECABORT Transaction discarded because of: OOM command not allowed", REPLY_WAIT},
        {"EXECABORT Transaction discarded because of previous errors.", REPLY_REFUSED},
        {"BUSYGROUP Consumer Group name already exists", REPLY_REFUSED},
        {"BUSYKEY Target key name already exists.", REPLY_REFUSED},
        {"WRONGTYPE Operation against a key holding the wrong kind of value", REPLY_TYPE},
        {"MOVED 3999 127.0.0.1:6381", REPLY_MOVED},
        {"ASK 3999 127.0.0.1:6381", REPLY_ASK},
        {"TRYAGAIN Multiple keys request during rehashing of slot", REPLY_WAIT},
        {"ERR unknown command", REPLY_REFUSED},
        {"", REPLY_REFUSED},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        cr_assert_eq(reply_fate(str_of(rows[i].text)), rows[i].fate, "%s", rows[i].text);
}

Test(replies, come_out_whole_however_they_came_in) {
    static const char in[] = "+OK\r\n:-7\r\n$5\r\nab\0cd\r\n$-1\r\n"
                             "*3\r\n:1\r\n-OOM full\r\n-WRONGTYPE x\r\n*2\r\n$1\r\nx\r\n:9\r\n";
    for (size_t chunk = 1; chunk < sizeof in; chunk++) {
        autofree(replies_free) struct replies *r = NULL;
        cr_assert_eq(replies_new(&r), 0);
        struct reply got[8];
        size_t n = 0;
        for (size_t at = 0; at < sizeof in - 1; at += chunk) {
            cr_assert_eq(replies_feed(r, in + at, MIN(chunk, sizeof in - 1 - at)), 0);
            while (n < ARRAY_LEN(got) && replies_next(r, &got[n]) == 1)
                n++;
        }
        cr_assert_eq(n, 6);
        cr_assert(got[0].fate == REPLY_DONE && strcmp(got[0].text, "OK") == 0);
        cr_assert_eq(got[1].integer, -7);
        cr_assert(got[2].n == 5 && memcmp(got[2].text, "ab\0cd", 6) == 0);
        cr_assert(got[3].nil && !got[2].nil);
        cr_assert(got[4].fate == REPLY_WAIT && strcmp(got[4].text, "OOM full") == 0);
        cr_assert(got[5].fate == REPLY_DONE && got[5].n == 0 && got[5].integer == 0);
    }
}

Test(replies, long_texts_are_cut) {
    char in[1100];
    memset(in, 'x', sizeof in);
    memcpy(in, "-ERR ", 5);
    memcpy(in + sizeof in - 2, "\r\n", 2);
    autofree(replies_free) struct replies *r = NULL;
    cr_assert_eq(replies_new(&r), 0);
    cr_assert_eq(replies_feed(r, in, sizeof in), 0);
    struct reply one;
    cr_assert_eq(replies_next(r, &one), 1);
    cr_assert_eq(one.n, REPLY_TEXT_MAX - 1);
    cr_assert_eq(strlen(one.text), REPLY_TEXT_MAX - 1);
}

Test(replies, another_protocol_is_a_violation_for_good) {
    autofree(replies_free) struct replies *r = NULL;
    cr_assert_eq(replies_new(&r), 0);
    cr_assert_eq(replies_feed(r, "HTTP/1.1 400\r\n", 14), 0);
    struct reply one;
    cr_assert_eq(replies_next(r, &one), -EPROTO);
    cr_assert_eq(replies_feed(r, "+OK\r\n", 5), -EPROTO);
    cr_assert_eq(replies_next(r, &one), -EPROTO);
}

/* ---- servers that announce what they do not send, or send without end ---- */

static const char two_thousand_million[] = "*2000000000\r\n";

/* A text again and again, as it comes from a socket. */
static size_t repeat(const char *text, char block[64 * 1024]) {
    size_t n = 0, len = strlen(text);
    for (; len && n + len <= 64 * 1024; n += len)
        memcpy(block + n, text, len);
    return n;
}

/* More than may come for one reply, or until it is refused. */
static int feed_without_end(struct replies *r, const char *text) {
    static char block[64 * 1024];
    struct reply one;
    size_t n = repeat(text, block);
    int rc = 0;
    for (size_t fed = 0; n && fed <= REPLY_BYTES_MAX && rc == 0; fed += n)
        if ((rc = replies_feed(r, block, n)) == 0)
            rc = replies_next(r, &one);
    return rc;
}

Test(replies, that_never_end_are_refused) {
    static const struct {
        const char *begin, *more;
    } rows[] = {
        {two_thousand_million, ""},
        {"*1\r\n*3\r\n:1\r\n*1048577\r\n", ""},
        {"*2\r\n", "*1\r\n"},
        {"+", "there is more and more and more and more and more and more and more and more"},
        {"$9223372036854775807\r\n", "and it will never be whole, however much of it comes by"},
        {"*1000000\r\n", "$60\r\n012345678901234567890123456789012345678901234567890123456789\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        autofree(replies_free) struct replies *r = NULL;
        cr_assert_eq(replies_new(&r), 0);
        int rc = replies_feed(r, rows[i].begin, strlen(rows[i].begin));
        struct reply one;
        if (rc == 0)
            rc = replies_next(r, &one);
        if (rc == 0)
            rc = feed_without_end(r, rows[i].more);
        cr_assert(rc == -EMSGSIZE || rc == -EPROTO, "%s: %d", rows[i].begin, rc);
        cr_assert_eq(replies_next(r, &one), rc);
    }
}

Test(replies, many_short_ones_are_no_long_one) {
    autofree(replies_free) struct replies *r = NULL;
    cr_assert_eq(replies_new(&r), 0);
    char line[1000];
    memset(line, 'x', sizeof line);
    memcpy(line, "+", 1);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    struct reply one;
    for (size_t at = 0; at < 2 * (size_t)REPLY_BYTES_MAX; at += sizeof line) {
        cr_assert_eq(replies_feed(r, line, sizeof line), 0);
        cr_assert_eq(replies_next(r, &one), 1);
    }
}

Test(answers, are_whole_trees) {
    autofree(answers_free) struct answers *a = NULL;
    cr_assert_eq(answers_new(&a), 0);
    static const char in[] = "*3\r\n:1\r\n*2\r\n$2\r\nab\r\n$-1\r\n-ERR no\r\n+OK\r\n";
    redisReply *r = NULL;
    for (size_t i = 0; i < sizeof in - 6; i++) {
        cr_assert_eq(answers_next(a, &r), 0);
        cr_assert_null(r);
        cr_assert_eq(answers_feed(a, in + i, 1), 0);
    }
    cr_assert_eq(answers_next(a, &r), 1);
    cr_assert_eq(r->elements, 3);
    cr_assert_eq(r->element[0]->integer, 1);
    cr_assert_str_eq(r->element[1]->element[0]->str, "ab");
    cr_assert_eq(r->element[1]->element[1]->type, REDIS_REPLY_NIL);
    cr_assert_str_eq(r->element[2]->str, "ERR no");
    freeReplyObject(r);
    cr_assert_eq(answers_feed(a, in + sizeof in - 6, 5), 0);
    cr_assert_eq(answers_next(a, &r), 1);
    cr_assert_str_eq(r->str, "OK");
    freeReplyObject(r);
}

static int answer_to(const char *text, const char *more) {
    static char block[64 * 1024];
    autofree(answers_free) struct answers *a = NULL;
    cr_assert_eq(answers_new(&a), 0);
    redisReply *r;
    size_t fed = 0, n = repeat(more, block);
    int rc = answers_feed(a, text, strlen(text));
    for (; rc == 0 && (rc = answers_next(a, &r)) == 0 && n && fed <= REPLY_BYTES_MAX; fed += n)
        rc = answers_feed(a, block, n);
    if (rc == 1)
        freeReplyObject(r);
    return rc;
}

Test(answers, that_are_announced_and_never_come_cost_nothing) {
    static const char deep[] = "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n:1\r\n";
    cr_assert_eq(answer_to(deep, ""), 1);
    cr_assert_lt(answer_to("*1\r\n", deep), 0);
    cr_assert_eq(answer_to("*1048576\r\n", ""), 0, "it may still come");
    cr_assert_eq(answer_to(two_thousand_million, ""), -EMSGSIZE);
    cr_assert_eq(answer_to("*1048577\r\n", ""), -EMSGSIZE);
    cr_assert_eq(answer_to("*2\r\n:1\r\n*2000000000\r\n", ""), -EMSGSIZE);
    cr_assert_eq(answer_to("+", "x"), -EMSGSIZE);
    cr_assert_eq(answer_to("*1000000\r\n", "$29\r\nand so on, and on, and on, on\r\n"), -EMSGSIZE);
    cr_assert_eq(answer_to("HTTP/1.1 400\r\n", ""), -EPROTO);
}
