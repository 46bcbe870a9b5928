#include "consumer/schema_store.h"
#include "tests/unit/codec.h"

static const enum data_format formats[] = {FORMAT_CONFLUENT, FORMAT_AVRO, FORMAT_JSON};

TestSuite(encode);

Test(encode, an_event_comes_back_in_every_format) {
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        struct config cfg = codec_config(formats[f]);
        autofree(encoder_free) struct encoder *e = NULL;
        autofree(decoder_free) struct decoder *d = NULL;
        cr_assert_eq(encoder_new(&cfg, formats[f], &e), 0);
        cr_assert_eq(decoder_new(&cfg, &d), 0);
        struct buf out = {0};
        struct event want = sample_event(), got;
        struct dead why;
        cr_assert_eq(encode_event(e, &want, "purchase", &out), 0);
        enum dead_reason dead =
            decode_event(d, out.p, out.n, STR("ute"), &ORIGIN, NOW_MS, &got, &why);
        cr_assert_eq(dead, DEAD_NONE, "format %zu: %s", f, why.detail);
        assert_same_event(&got, &want);

        struct event bare = {.id = STR("x"),
                             .user = STR("u"),
                             .time_ms = NOW_MS,
                             .value = NAN,
                             .dwell_ms = NAN,
                             .type = EV_SEARCH};
        cr_assert_eq(encode_event(e, &bare, "search", &out), 0);
        dead = decode_event(d, out.p, out.n, STR("u"), &ORIGIN, NOW_MS, &got, &why);
        cr_assert_eq(dead, DEAD_NONE, "format %zu: %s", f, why.detail);
        assert_same_event(&got, &bare);
        buf_free(&out);
    }
}

Test(encode, an_item_comes_back_in_every_format) {
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        struct config cfg = codec_config(formats[f]);
        autofree(encoder_free) struct encoder *e = NULL;
        autofree(decoder_free) struct decoder *d = NULL;
        cr_assert_eq(encoder_new(&cfg, formats[f], &e), 0);
        cr_assert_eq(decoder_new(&cfg, &d), 0);
        struct buf out = {0};
        struct item_info want = sample_item(), got;
        struct dead why;
        cr_assert_eq(encode_item(e, &want, &out), 0);
        enum dead_reason dead = decode_item(d, out.p, out.n, want.id, &ORIGIN, &got, &why);
        cr_assert_eq(dead, DEAD_NONE, "format %zu: %s", f, why.detail);
        assert_same_item(&got, &want);

        struct item_info bare = {.id = STR("x"), .price = NAN, .margin = NAN};
        cr_assert_eq(encode_item(e, &bare, &out), 0);
        dead = decode_item(d, out.p, out.n, bare.id, &ORIGIN, &got, &why);
        cr_assert_eq(dead, DEAD_NONE, "format %zu: %s", f, why.detail);
        assert_same_item(&got, &bare);
        buf_free(&out);
    }
}

Test(encode, a_control_record_comes_back_in_every_format) {
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        struct config cfg = codec_config(formats[f]);
        autofree(encoder_free) struct encoder *e = NULL;
        autofree(decoder_free) struct decoder *d = NULL;
        cr_assert_eq(encoder_new(&cfg, formats[f], &e), 0);
        cr_assert_eq(decoder_new(&cfg, &d), 0);
        struct buf out = {0};
        struct control_info want = sample_control(), got;
        struct dead why;
        cr_assert_eq(encode_control(e, &want, &out), 0);
        enum dead_reason dead = decode_control(d, out.p, out.n, want.user, &ORIGIN, &got, &why);
        cr_assert_eq(dead, DEAD_NONE, "format %zu: %s", f, why.detail);
        ASSERT_STR(got.user, want.user);
        ASSERT_STR(got.tz, want.tz);
        cr_assert_eq(got.n, want.n);
        for (size_t i = 0; i < want.n; i++) {
            ASSERT_STR(got.consent[i].channel, want.consent[i].channel);
            cr_assert_eq(got.consent[i].granted, want.consent[i].granted);
        }
        buf_free(&out);
    }
}

Test(encode, a_dead_letter_keeps_every_byte_in_every_format) {
    uint8_t all[256];
    for (size_t i = 0; i < sizeof all; i++)
        all[i] = (uint8_t)i;
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        struct config cfg = codec_config(formats[f]);
        autofree(encoder_free) struct encoder *e = NULL;
        autofree(decoder_free) struct decoder *d = NULL;
        cr_assert_eq(encoder_new(&cfg, formats[f], &e), 0);
        cr_assert_eq(decoder_new(&cfg, &d), 0);
        struct buf out = {0};
        struct dead_letter want = sample_letter(), got;
        for (size_t n = 0; n <= sizeof all; n++) {
            want.payload = all;
            want.payload_n = n;
            cr_assert_eq(encode_dead_letter(e, &want, &out), 0);
            cr_assert_eq(decode_dead_letter(d, out.p, out.n, &got), 0);
            cr_assert_eq(got.payload_n, n);
            cr_assert_arr_eq(got.payload, all, n);
            cr_assert_eq(got.payload_bytes, n);
        }
        cr_assert_eq(got.reason, want.reason);
        cr_assert_str_eq(got.detail, want.detail);
        cr_assert_eq(got.schema_id, 7);
        cr_assert_str_eq(got.origin.topic, "clickstream");
        cr_assert_eq(got.origin.partition, 3);
        cr_assert_eq(got.origin.offset, 4711);
        cr_assert_eq(got.origin.timestamp_ms, NOW_MS);
        cr_assert_eq(got.key_n, 3);
        cr_assert_arr_eq(got.key, "ute", 3);
        cr_assert_eq(got.time_ms, NOW_MS + 5);

        want.schema_id = -1;
        want.key = want.payload = NULL;
        want.key_n = want.payload_n = 0;
        want.origin.timestamp_ms = 0;
        cr_assert_eq(encode_dead_letter(e, &want, &out), 0);
        cr_assert_eq(decode_dead_letter(d, out.p, out.n, &got), 0);
        cr_assert_eq(got.schema_id, -1);
        cr_assert_null(got.key);
        cr_assert_null(got.payload);
        cr_assert_eq(got.payload_bytes, 0);
        cr_assert_eq(got.origin.timestamp_ms, 0);
        buf_free(&out);
    }
}

Test(encode, a_long_payload_is_cut_and_says_so) {
    struct config cfg = codec_config(FORMAT_CONFLUENT);
    autofree(encoder_free) struct encoder *e = NULL;
    autofree(decoder_free) struct decoder *d = NULL;
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &e), 0);
    cr_assert_eq(decoder_new(&cfg, &d), 0);
    struct buf out = {0};
    struct dead_letter want = sample_letter(), got;
    want.payload_n = DEAD_LETTER_PAYLOAD_MAX + 7;
    autofree(free) char *big = malloc(want.payload_n);
    memset(big, 'x', want.payload_n);
    want.payload = big;
    cr_assert_eq(encode_dead_letter(e, &want, &out), 0);
    cr_assert_eq(decode_dead_letter(d, out.p, out.n, &got), 0);
    cr_assert_eq(got.payload_n, DEAD_LETTER_PAYLOAD_MAX);
    cr_assert_eq(got.payload_bytes, DEAD_LETTER_PAYLOAD_MAX + 7);
    buf_free(&out);
}

Test(encode, a_decision_is_one_line_of_json_with_the_offer_as_an_object) {
    struct config cfg = codec_config(FORMAT_JSON);
    autofree(encoder_free) struct encoder *e = NULL;
    cr_assert_eq(encoder_new(&cfg, FORMAT_JSON, &e), 0);
    struct buf out = {0};
    struct trigger_record t = sample_trigger();
    cr_assert_eq(encode_decision(e, &t, &out), 0);
    struct str got = {(char *)out.p, out.n};
    ASSERT_STR(got, STR("{\"trigger_id\":\"00112233445566778899aabbccddeeff\",\"user_id\":\"ute\","
                        "\"campaign_id\":\"abandoned-cart\",\"channel\":\"email\","
                        "\"offer\":{\"percent\":10,\"text\":\"Zurück?\"},\"cause\":\"e-1\","
                        "\"item_id\":\"boot-42\",\"old_price\":59.9,\"time\":1767323045678,"
                        "\"valid_until\":1767409445678,\"propensity\":0.75,"
                        "\"items\":[\"boot-42\",\"sock-7\"],\"sent\":true,\"reason\":\"sent\","
                        "\"code\":\"SPRING-7\"}"));
    t.would_campaign = STR("spring");
    t.would_variant = STR("ten");
    t.would_propensity = 0.5;
    cr_assert_eq(encode_decision(e, &t, &out), 0);
    const char *would = "\"would_campaign\":\"spring\",\"would_variant\":\"ten\","
                        "\"would_propensity\":0.5}";
    cr_assert_not_null(memmem(out.p, out.n, would, strlen(would)));
    t.offer = STR("not json");
    cr_assert_eq(encode_trigger(e, &t, &out), 0);
    cr_assert_not_null(memmem(out.p, out.n, "\"offer\":\"not json\"", 18));
    cr_assert_null(memmem(out.p, out.n, "sent", 4));
    buf_free(&out);
}

Test(encode, what_has_no_encoding_is_refused) {
    struct config cfg = codec_config(FORMAT_AVRO);
    autofree(encoder_free) struct encoder *e = NULL;
    cr_assert_eq(encoder_new(&cfg, FORMAT_AVRO, &e), 0);
    struct buf out = {0};
    struct item_info gone = {.id = STR("x"), .deleted = true};
    cr_assert_eq(encode_item(e, &gone, &out), -EINVAL);
    struct control_info forgotten = {.user = STR("u"), .deleted = true};
    cr_assert_eq(encode_control(e, &forgotten, &out), -EINVAL);
    struct event ev = sample_event();
    cr_assert_eq(encode_event(e, &ev, NULL, &out), -EINVAL);
    struct trigger_record t = sample_trigger();
    t.n_items = 33;
    cr_assert_eq(encode_trigger(e, &t, &out), -EINVAL);
    buf_free(&out);
}

Test(encode, an_outcome_says_all_it_knows_in_every_format) {
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        struct config cfg = codec_config(formats[f]);
        autofree(encoder_free) struct encoder *e = NULL;
        autofree(decoder_free) struct decoder *d = NULL;
        struct outcome o = {.sent_ms = NOW_MS,
                            .closed_ms = NOW_MS + 1000,
                            .propensity = 0.25,
                            .opened = true,
                            .redeemed = true,
                            .purchases = 2,
                            .survey = NAN,
                            .value = 80,
                            .margin = 50,
                            .discount = 20,
                            .contact_cost = 0.5,
                            .annoyance = 0.125,
                            .reward = 29.375};
        struct outcome_record r = {
            .user = STR("ute"), .campaign = STR("spring"), .channel = STR("push"), .o = &o};
        memcpy(r.id, "0123456789abcdef0123456789abcdef", sizeof r.id);
        struct buf out = {0}, json = {0};
        cr_assert_eq(encoder_new(&cfg, formats[f], &e), 0);
        cr_assert_eq(decoder_new(&cfg, &d), 0);
        cr_assert_eq(encode_outcome(e, &r, &out), 0);
        cr_assert_eq(formats[f] == FORMAT_AVRO
                         ? render_avro_json(d, SCHEMA_OUTCOME, out.p, out.n, &json)
                         : render_json(d, out.p, out.n, &json),
                     0);
        buf_put(&json, "", 1);
        const char *const parts[] = {
            "\"trigger_id\":\"0123456789abcdef0123456789abcdef\"",
            "\"user_id\":\"ute\"",
            "\"campaign_id\":\"spring\"",
            "\"channel\":\"push\"",
            "\"sent\":true",
            "\"propensity\":0.25",
            "\"opened\":true",
            "\"redeemed\":true",
            "\"purchases\":2",
            "\"returned\":false",
            "\"unsubscribed\":false",
            "\"value\":80",
            "\"margin\":50",
            "\"discount\":20",
            "\"contact_cost\":0.5",
            "\"annoyance\":0.125",
            "\"reward\":29.375",
            "\"cut\":false",
        };
        for (size_t i = 0; i < ARRAY_LEN(parts); i++)
            cr_assert(strstr((char *)json.p, parts[i]), "format %zu: %s is not in %s", f, parts[i],
                      json.p);
        cr_assert_not(strstr((char *)json.p, "survey"));
        buf_free(&out);
        buf_free(&json);
    }
}
