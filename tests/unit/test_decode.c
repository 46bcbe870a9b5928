#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/codec.h"

static struct config cfg;
static struct decoder *decoder;
static struct encoder *encoder;
static struct buf out;
static struct dead why;
static struct event got;

static void start(enum data_format format) {
    cfg = codec_config(format);
    cr_assert_eq(decoder_new(&cfg, &decoder), 0);
    cr_assert_eq(encoder_new(&cfg, format, &encoder), 0);
}

static void confluent(void) {
    start(FORMAT_CONFLUENT);
}

static void json(void) {
    start(FORMAT_JSON);
}

static void stop(void) {
    decoder_free(decoder);
    encoder_free(encoder);
    buf_free(&out);
}

static enum dead_reason decode(const void *p, size_t n) {
    why = (struct dead){0};
    return decode_event(decoder, p, n, STR("key"), &ORIGIN, NOW_MS, &got, &why);
}

static void assert_dead(enum dead_reason is, enum dead_reason want) {
    cr_assert_eq(is, want, "%s (%s), not %s", dead_reason_name(is), why.detail,
                 dead_reason_name(want));
}

/* An event that went through the encoder. */
static enum dead_reason through(const struct event *e, const char *type) {
    cr_assert_eq(encode_event(encoder, e, type, &out), 0);
    return decode(out.p, out.n);
}

static enum dead_reason json_event(const char *text) {
    return decode(text, strlen(text));
}

TestSuite(decode, .init = confluent, .fini = stop);
TestSuite(decode_json, .init = json, .fini = stop);

Test(decode, every_reason_has_a_name_and_a_help_text) {
    for (int i = 0; i < DEAD_COUNT; i++) {
        cr_assert(strlen(dead_reason_name(i)) > 2);
        cr_assert(strlen(dead_reason_help(i)) > 5);
    }
    cr_assert_str_eq(dead_reason_name(DEAD_NO_USER), "missing-user");
    cr_assert_str_eq(dead_reason_name(DECODE_RETRY), "retry");
}

Test(decode, nothing_is_empty) {
    assert_dead(decode(NULL, 0), DEAD_EMPTY);
    assert_dead(decode("", 0), DEAD_EMPTY);
    cr_assert_eq(why.schema_id, -1);
}

Test(decode, another_magic_byte_is_refused) {
    assert_dead(decode("\1\0\0\0\1x", 6), DEAD_MAGIC);
    cr_assert_str_eq(why.detail, "first byte is 0x01");
    assert_dead(decode("{", 1), DEAD_MAGIC);
}

Test(decode, half_a_header_is_truncated) {
    assert_dead(decode("\0\0\0\0", 4), DEAD_TRUNCATED);
}

Test(decode, an_unknown_schema_id_is_refused_and_told) {
    assert_dead(decode("\0\0\1\0\2xyz", 8), DEAD_SCHEMA_ID);
    cr_assert_eq(why.schema_id, 65538);
    assert_dead(decode("\0\xff\xff\xff\xff", 5), DEAD_SCHEMA_ID);
}

Test(decode, the_schema_of_another_record_is_incompatible_or_lacks_the_user) {
    assert_dead(decode("\0\0\0\0\5", 5), DEAD_TRUNCATED);
    struct item_info item = sample_item();
    cr_assert_eq(encode_item(encoder, &item, &out), 0);
    assert_dead(decode(out.p, out.n), DEAD_NO_USER);
    cr_assert_eq(why.schema_id, 2);
}

Test(decode, an_event_cut_anywhere_is_truncated) {
    struct event e = sample_event();
    cr_assert_eq(through(&e, "purchase"), DEAD_NONE);
    for (size_t n = 1; n < out.n; n++) {
        /* Bytes behind the end would be seen by the address sanitizer. */
        autofree(free) uint8_t *part = malloc(n);
        memcpy(part, out.p, n);
        assert_dead(decode(part, n), DEAD_TRUNCATED);
    }
}

Test(decode, a_byte_too_many_is_malformed) {
    struct event e = sample_event();
    cr_assert_eq(through(&e, "purchase"), DEAD_NONE);
    buf_put(&out, "", 1);
    assert_dead(decode(out.p, out.n), DEAD_MALFORMED);
    cr_assert_str_eq(why.detail, "1 bytes behind the record");
}

Test(decode, an_absurd_length_or_branch_is_malformed) {
    /* event_id: branch 2 of 2, branch -1, a string of length -1, a varint without end. */
    assert_dead(decode("\0\0\0\0\1\4", 6), DEAD_MALFORMED);
    assert_dead(decode("\0\0\0\0\1\1", 6), DEAD_MALFORMED);
    assert_dead(decode("\0\0\0\0\1\2\1", 7), DEAD_MALFORMED);
    assert_dead(decode("\0\0\0\0\1\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17),
                DEAD_MALFORMED);
    assert_dead(decode("\0\0\0\0\1\2\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 16), DEAD_MALFORMED);
    /* The longest length there is. */
    assert_dead(decode("\0\0\0\0\1\2\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", 16), DEAD_TRUNCATED);
}

Test(decode, a_message_beyond_the_limit_is_oversize) {
    cfg.stream_max_message = 100;
    struct event e = sample_event();
    assert_dead(through(&e, "purchase"), DEAD_OVERSIZE);
}

Test(decode, long_and_broken_strings_are_refused_field_by_field) {
    char longest[65];
    memset(longest, 'x', sizeof longest);
    struct event e = sample_event();
    struct str *const texts[] = {&e.id,    &e.user,     &e.item,       &e.session,
                                 &e.query, &e.decision, &e.ctx[1].key, &e.ctx[1].value};
    static const char *const names[] = {"event_id", "user_id",     "item_id",     "session_id",
                                        "query",    "decision_id", "context key", "context value"};
    static const struct {
        struct str s;
        const char *detail;
    } bad[] = {
        {{"a\xc3", 2}, ": byte 0xc3 at 1"},      {{"\xed\xa0\x80", 3}, ": byte 0xed at 0"},
        {{"ab\xc0\x80", 4}, ": byte 0xc0 at 2"}, {{"abcdefgh\x80", 9}, ": byte 0x80 at 8"},
        {{"a\0b", 3}, ": byte 0x00 at 1"},       {{"abcdefghij\x1b", 11}, ": byte 0x1b at 10"},
        {{"\x7f", 1}, ": byte 0x7f at 0"},       {{"\xf4\x90\x80\x80", 4}, ": byte 0xf4 at 0"},
        {{"x\xc2\x85", 3}, ": byte 0xc2 at 1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct str was = *texts[i];
        *texts[i] = (struct str){longest, 64};
        assert_dead(through(&e, "purchase"), DEAD_NONE);
        *texts[i] = (struct str){longest, 65};
        assert_dead(through(&e, "purchase"), DEAD_LONG_STRING);
        cr_assert_eq(strncmp(why.detail, names[i], strlen(names[i])), 0, "%s", why.detail);
        for (size_t k = 0; k < ARRAY_LEN(bad); k++) {
            *texts[i] = bad[k].s;
            assert_dead(through(&e, "purchase"), DEAD_UTF8);
            cr_assert_eq(strncmp(why.detail, names[i], strlen(names[i])), 0, "%s", why.detail);
            cr_assert_str_eq(why.detail + strlen(names[i]), bad[k].detail);
        }
        *texts[i] = was;
    }
}

Test(decode, prose_may_have_lines_and_tabs_but_ids_may_not) {
    struct event e = sample_event();
    e.query = e.ctx[0].value = STR("a\tb\r\nc");
    assert_dead(through(&e, "purchase"), DEAD_NONE);
    e.user = STR("a\tb");
    assert_dead(through(&e, "purchase"), DEAD_UTF8);
}

Test(decode, no_user_and_no_item_are_refused_where_needed) {
    struct event e = sample_event();
    e.item = (struct str){0};
    assert_dead(through(&e, "purchase"), DEAD_NO_ITEM);
    assert_dead(through(&e, "rating"), DEAD_NO_ITEM);
    assert_dead(through(&e, "search"), DEAD_NONE);
    assert_dead(through(&e, "view"), DEAD_NONE);
    e.user = (struct str){0};
    assert_dead(through(&e, "search"), DEAD_NO_USER);
}

Test(decode, types_are_found_as_configured_and_as_enum_symbols_have_to_be) {
    struct event e = sample_event();
    cfg.n_custom = 1;
    cfg.custom_name[0] = "watch-trailer";
    decoder_free(decoder);
    cr_assert_eq(decoder_new(&cfg, &decoder), 0);
    assert_dead(through(&e, "watch-trailer"), DEAD_NONE);
    cr_assert_eq(got.type, EV_BUILTIN);
    assert_dead(through(&e, "ADD_TO_CART"), DEAD_NONE);
    cr_assert_eq(got.type, EV_CART_ADD);
    assert_dead(through(&e, ""), DEAD_TYPE);
    assert_dead(through(&e, "purchases"), DEAD_TYPE);
    assert_dead(
        through(&e, "a name far longer than any configured one could possibly ever be, yes"),
        DEAD_TYPE);
}

Test(decode, values_are_judged_by_type) {
    static const struct {
        const char *type;
        double value;
        enum dead_reason dead;
        double result;
    } rows[] = {
        {"purchase", 0, DEAD_NONE, 0},         {"purchase", -1, DEAD_VALUE, 0},
        {"add-to-cart", -0.01, DEAD_VALUE, 0}, {"purchase", INFINITY, DEAD_VALUE, 0},
        {"purchase", 2e12, DEAD_VALUE, 0},     {"rating", 0, DEAD_NONE, 0},
        {"rating", -1, DEAD_VALUE, 0},         {"survey", 0, DEAD_NONE, 0},
        {"survey", 10, DEAD_NONE, 10},         {"survey", 10.5, DEAD_VALUE, 0},
        {"survey", -1, DEAD_VALUE, 0},         {"return", -59.9, DEAD_NONE, 59.9},
        {"return", 59.9, DEAD_NONE, 59.9},     {"return", -INFINITY, DEAD_VALUE, 0},
        {"watch-trailer", -3, DEAD_NONE, -3},  {"watch-trailer", -INFINITY, DEAD_VALUE, 0},
    };
    cfg.n_custom = 1;
    cfg.custom_name[0] = "watch-trailer";
    decoder_free(decoder);
    cr_assert_eq(decoder_new(&cfg, &decoder), 0);
    struct event e = sample_event();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        e.value = rows[i].value;
        assert_dead(through(&e, rows[i].type), rows[i].dead);
        if (rows[i].dead == DEAD_NONE)
            assert_same_number(got.value, rows[i].result);
    }
}

Test(decode, a_nan_that_was_sent_is_no_absent_value) {
    struct event e = sample_event();
    e.value = e.dwell_ms = 1.0;
    cr_assert_eq(through(&e, "purchase"), DEAD_NONE);
    const double one = 1.0, nan = NAN;
    uint8_t *at = memmem(out.p, out.n, &one, sizeof one);
    cr_assert_not_null(at);
    memcpy(at, &nan, sizeof nan);
    assert_dead(decode(out.p, out.n), DEAD_VALUE);
    cr_assert_str_eq(why.detail, "field value: NaN");
}

Test(decode, dwell_is_finite_and_not_negative) {
    struct event e = sample_event();
    e.dwell_ms = -1;
    assert_dead(through(&e, "view"), DEAD_VALUE);
    e.dwell_ms = INFINITY;
    assert_dead(through(&e, "view"), DEAD_VALUE);
    e.dwell_ms = 0;
    assert_dead(through(&e, "view"), DEAD_NONE);
}

Test(decode, times_are_sane) {
    struct event e = sample_event();
    static const int64_t bad[] = {0, -1, INT64_MIN, NOW_MS / 1000, NOW_MS * 1000, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        e.time_ms = bad[i];
        assert_dead(through(&e, "view"), DEAD_TIME);
    }
    e.time_ms = NOW_MS + cfg.stream_max_ahead;
    assert_dead(through(&e, "view"), DEAD_NONE);
    e.time_ms++;
    assert_dead(through(&e, "view"), DEAD_AHEAD);
    cr_assert_str_eq(why.detail, "time: 3600001 ms ahead");
    cr_assert_eq(decode_event(decoder, out.p, out.n, STR("k"), &ORIGIN, INT64_MAX, &got, &why),
                 DEAD_NONE);
}

Test(decode, an_event_without_an_id_takes_it_from_its_place) {
    struct event e = sample_event();
    e.id = (struct str){0};
    assert_dead(through(&e, "view"), DEAD_NONE);
    ASSERT_STR(got.id, STR("clickstream/3/4711"));
}

Test(decode, details_never_quote_the_user) {
    struct event e = sample_event();
    e.user = (struct str){"secret\x01", 7};
    assert_dead(through(&e, "view"), DEAD_UTF8);
    cr_assert_null(strstr(why.detail, "secret"));
}

Test(decode, a_tombstone_names_the_item_or_user_by_its_key) {
    struct item_info item;
    struct control_info control;
    cr_assert_eq(decode_item(decoder, NULL, 0, STR("boot-42"), &ORIGIN, &item, &why), DEAD_NONE);
    cr_assert(item.deleted);
    ASSERT_STR(item.id, STR("boot-42"));
    cr_assert_eq(decode_control(decoder, NULL, 0, STR("ute"), &ORIGIN, &control, &why), DEAD_NONE);
    cr_assert(control.deleted);
    ASSERT_STR(control.user, STR("ute"));
    cr_assert_eq(decode_item(decoder, NULL, 0, STR(""), &ORIGIN, &item, &why), DEAD_NO_ITEM);
    cr_assert_eq(decode_control(decoder, NULL, 0, STR("\xff"), &ORIGIN, &control, &why), DEAD_UTF8);
    cr_assert_eq(decode_item(decoder, "", 0, STR("x"), &ORIGIN, &item, &why), DEAD_EMPTY);
}

Test(decode, items_are_checked_field_by_field) {
    struct item_info item = sample_item(), back;
    static const double bad_price[] = {-0.01, INFINITY, 1e13}, bad_margin[] = {-1.1, 31};
    for (size_t i = 0; i < ARRAY_LEN(bad_price); i++) {
        item.price = bad_price[i];
        cr_assert_eq(encode_item(encoder, &item, &out), 0);
        cr_assert_eq(decode_item(decoder, out.p, out.n, item.id, &ORIGIN, &back, &why), DEAD_VALUE);
    }
    item = sample_item();
    for (size_t i = 0; i < ARRAY_LEN(bad_margin); i++) {
        item.margin = bad_margin[i];
        cr_assert_eq(encode_item(encoder, &item, &out), 0);
        cr_assert_eq(decode_item(decoder, out.p, out.n, item.id, &ORIGIN, &back, &why), DEAD_VALUE);
    }
    item = sample_item();
    static const float broken[] = {1, NAN};
    item.dense = broken;
    item.n_dense = 2;
    cr_assert_eq(encode_item(encoder, &item, &out), 0);
    cr_assert_eq(decode_item(decoder, out.p, out.n, item.id, &ORIGIN, &back, &why), DEAD_VALUE);
    cr_assert_str_eq(why.detail, "field embedding: number 1 is not finite");
    struct str *const texts[] = {&item.brand, &item.category[1], &item.tags[0], &item.description};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        item = sample_item();
        *texts[i] = (struct str){"\xff", 1};
        cr_assert_eq(encode_item(encoder, &item, &out), 0);
        cr_assert_eq(decode_item(decoder, out.p, out.n, item.id, &ORIGIN, &back, &why), DEAD_UTF8);
    }
}

Test(decode, a_folder_of_schemas_serves_by_id_and_is_checked_at_the_start) {
    char dir[] = "/tmp/schemas-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    cfg.topics_schema_dir = dir;
    struct decoder *d = NULL;
    cr_assert_eq(decoder_new(&cfg, &d), -EINVAL);
    snprintf(path, sizeof path, "%s/77.avsc", dir);
    FILE *f = fopen(path, "w");
    fputs("{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"user\",\"type\":\"long\"},"
          "{\"name\":\"type\",\"type\":{\"type\":\"enum\",\"name\":\"T\",\"symbols\":[\"VIEW\"]}},"
          "{\"name\":\"ts\",\"type\":{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}}]}",
          f);
    fclose(f);
    cr_assert_eq(decoder_new(&cfg, &d), 0);
    /* user 42, symbol 0, NOW_MS as microseconds */
    uint8_t bytes[32] = {0, 0, 0, 0, 77, 84, 0};
    uint64_t z = (uint64_t)NOW_MS * 1000 * 2;
    size_t n = 7;
    for (; z >= 0x80; z >>= 7)
        bytes[n++] = (uint8_t)(z | 0x80);
    bytes[n++] = (uint8_t)z;
    cr_assert_eq(decode_event(d, bytes, n, STR("k"), &ORIGIN, NOW_MS, &got, &why), DEAD_NONE, "%s",
                 why.detail);
    ASSERT_STR(got.user, STR("42"));
    cr_assert_eq(got.type, EV_VIEW);
    cr_assert_eq(got.time_ms, NOW_MS);
    decoder_free(d);
    f = fopen(path, "w");
    fputs("{\"type\":\"record\"}", f);
    fclose(f);
    cr_assert_eq(decoder_new(&cfg, &d), -EINVAL);
    unlink(path);
    rmdir(dir);
}

Test(decode, an_incompatible_schema_is_told_by_field) {
    char dir[] = "/tmp/schemas-XXXXXX", path[64];
    cr_assert_not_null(mkdtemp(dir));
    cfg.topics_schema_dir = dir;
    snprintf(path, sizeof path, "%s/9.avsc", dir);
    FILE *f = fopen(path, "w");
    fputs("{\"type\":\"record\",\"name\":\"E\",\"fields\":[{\"name\":\"user_id\",\"type\":"
          "{\"type\":\"record\",\"name\":\"U\",\"fields\":[]}}]}",
          f);
    fclose(f);
    struct decoder *d = NULL;
    cr_assert_eq(decoder_new(&cfg, &d), 0);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(decode_event(d, "\0\0\0\0\11", 5, STR("k"), &ORIGIN, NOW_MS, &got, &why),
                     DEAD_SCHEMA);
        cr_assert_str_eq(why.detail,
                         "field user_id has type record, which cannot be read as user_id");
        cr_assert_eq(why.schema_id, 9);
    }
    decoder_free(d);
    unlink(path);
    rmdir(dir);
}

Test(decode_json, an_object_with_aliases_and_an_iso_time_is_an_event) {
    assert_dead(json_event("{\"user\": 7, \"item\": \"boot\", \"event_type\": \"view\", \"ts\": "
                           "\"2026-01-02T04:04:05.678+01:00\", \"context\": {\"n\": 2, \"x\": 1.5, "
                           "\"ok\": true, \"none\": null}, \"unknown\": [1, {}]}"),
                DEAD_NONE);
    ASSERT_STR(got.user, STR("7"));
    ASSERT_STR(got.item, STR("boot"));
    cr_assert_eq(got.type, EV_VIEW);
    cr_assert_eq(got.time_ms, NOW_MS);
    cr_assert_eq(got.n_ctx, 3);
    ASSERT_STR(event_ctx_get(&got, STR("n")), STR("2"));
    ASSERT_STR(event_ctx_get(&got, STR("x")), STR("1.5"));
    ASSERT_STR(event_ctx_get(&got, STR("ok")), STR("true"));
    ASSERT_STR(got.id, STR("clickstream/3/4711"));
}

Test(decode_json, the_name_goes_before_its_aliases_and_the_last_of_the_same_name_wins) {
    assert_dead(json_event("{\"user\":\"b\",\"user_id\":\"x\",\"user_id\":\"a\",\"user\":\"c\","
                           "\"type\":\"view\",\"time\":\"1767323045678\"}"),
                DEAD_NONE);
    ASSERT_STR(got.user, STR("a"));
    cr_assert_eq(got.time_ms, NOW_MS);
}

Test(decode_json, what_is_no_object_is_refused) {
    static const char *const bad[] = {
        "{",     "[]", "[1]",   "nonsense",         "{\"user_id\":}",
        "\"x\"", "1",  "{} {}", "{\"value\": NaN}", "{\"value\": 1e999}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_dead(json_event(bad[i]), DEAD_JSON);
    static const char *const scalars[] = {"\"x\"", " 1", "true", "nonsense"};
    for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
        assert_dead(json_event(scalars[i]), DEAD_JSON);
        cr_assert_str_eq(why.detail, "not an object: does not begin with '{'");
    }
    assert_dead(json_event("{\"user_id\":\"\xff\"}"), DEAD_UTF8);
    assert_dead(json_event("{\"user_id\":\"a\\u0000\",\"type\":\"view\",\"time\":1767323045678}"),
                DEAD_UTF8);
}

Test(decode_json, wrong_types_are_told_by_field) {
    static const struct {
        const char *member, *detail;
        enum dead_reason dead;
    } rows[] = {
        {"\"user_id\": {}", "field user_id: not text", DEAD_FIELD},
        {"\"user_id\": 1.5", "field user_id: not text", DEAD_FIELD},
        {"\"item_id\": true", "field item_id: not text", DEAD_FIELD},
        {"\"value\": \"3\"", "field value: not a number", DEAD_FIELD},
        {"\"context\": [1]", "field context: not an object", DEAD_FIELD},
        {"\"context\": {\"a\": {}}", "field context: not text", DEAD_FIELD},
        {"\"time\": []", "field time: not a time", DEAD_FIELD},
        {"\"time\": \"yesterday\"", "field time: neither milliseconds nor ISO 8601", DEAD_TIME},
        {"\"time\": 1e300", "field time: out of range", DEAD_TIME},
        {"\"user_id\": null", "user_id: missing or empty", DEAD_NO_USER},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"type\": \"view\", %s}", rows[i].member);
        assert_dead(json_event(text), rows[i].dead);
        cr_assert_str_eq(why.detail, rows[i].detail);
    }
}

Test(decode_json, items_and_control_records_are_checked_too) {
    struct item_info item;
    struct control_info control;
    struct str s = STR("{\"id\":\"x\",\"category\":\"shoes\",\"price\":3,\"dense\":[1,2.5],"
                       "\"adult\":true,\"available\":false,\"tags\":[\"a\",null,7]}");
    cr_assert_eq(decode_item(decoder, s.p, s.n, STR("x"), &ORIGIN, &item, &why), DEAD_NONE, "%s",
                 why.detail);
    cr_assert_eq(item.n_category, 1);
    ASSERT_STR(item.category[0], STR("shoes"));
    cr_assert_eq(item.n_tags, 2);
    ASSERT_STR(item.tags[1], STR("7"));
    cr_assert_eq(item.n_dense, 2);
    cr_assert_eq(item.dense[1], 2.5f);
    cr_assert_eq(item.flags, ITEM_ADULT);
    cr_assert(!item.available);
    assert_same_number(item.margin, NAN);
    s = STR("{\"id\":\"x\",\"dense\":[1,\"a\"]}");
    cr_assert_eq(decode_item(decoder, s.p, s.n, STR("x"), &ORIGIN, &item, &why), DEAD_FIELD);
    s = STR("{\"id\":\"x\",\"dense\":[1e39]}");
    cr_assert_eq(decode_item(decoder, s.p, s.n, STR("x"), &ORIGIN, &item, &why), DEAD_VALUE);

    char text[512] = "{\"user\":\"u\",\"tz\":\"UTC\",\"consent\":{\"*\":false";
    for (int i = 1; i < 16; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",\"c%d\":true", i);
    size_t n = strlen(text);
    strcpy(text + n, "}}");
    cr_assert_eq(decode_control(decoder, text, n + 2, STR("u"), &ORIGIN, &control, &why),
                 DEAD_NONE);
    cr_assert_eq(control.n, 16);
    cr_assert(!control.consent[0].granted);
    ASSERT_STR(control.consent[15].channel, STR("c15"));
    /* A consent must not get lost: one too many refuses the record. */
    strcpy(text + n, ",\"c16\":false}}");
    cr_assert_eq(decode_control(decoder, text, strlen(text), STR("u"), &ORIGIN, &control, &why),
                 DEAD_FIELD);
    s = STR("{\"user\":\"u\",\"consent\":{\"email\":\"yes\"}}");
    cr_assert_eq(decode_control(decoder, s.p, s.n, STR("u"), &ORIGIN, &control, &why), DEAD_FIELD);
}

Test(decode_json, more_context_than_is_kept_does_no_harm) {
    char text[1024] =
        "{\"user\":\"u\",\"type\":\"view\",\"time\":1767323045678,\"context\":{\"k\":1";
    for (int i = 0; i < 40; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), ",\"k%d\":%d", i, i);
    strcat(text, "}}");
    assert_dead(json_event(text), DEAD_NONE);
    cr_assert_eq(got.n_ctx, EVENT_CTX_MAX);
}
