#include <stdio.h>

#include "consumer/schema_store.h"
#include "tests/unit/codec.h"

static struct config cfg;
static struct encoder *encoder;
static struct decoder *decoder;
static struct buf out, line;

static void start(void) {
    cfg = codec_config(FORMAT_CONFLUENT);
    cr_assert_eq(encoder_new(&cfg, FORMAT_CONFLUENT, &encoder), 0);
    cr_assert_eq(decoder_new(&cfg, &decoder), 0);
}

static void stop(void) {
    encoder_free(encoder);
    decoder_free(decoder);
    buf_free(&out);
    buf_free(&line);
}

TestSuite(render, .init = start, .fini = stop);

static void assert_line(const char *want) {
    cr_assert_eq(render_json(decoder, out.p, out.n, &line), 0);
    struct str got = {(char *)line.p, line.n};
    ASSERT_STR(got, str_of(want));
    /* Plain Avro of the same schema reads the same. */
    cr_assert_eq(render_avro_json(decoder, out.p[4], out.p + 5, out.n - 5, &line), 0);
    got = (struct str){(char *)line.p, line.n};
    ASSERT_STR(got, str_of(want));
}

Test(render, each_record_is_one_line_without_what_is_absent) {
    struct event e = sample_event();
    e.session = (struct str){0};
    cr_assert_eq(encode_event(encoder, &e, "purchase", &out), 0);
    assert_line("{\"event_id\":\"e-1\",\"user_id\":\"ute\",\"item_id\":\"boot-42\","
                "\"type\":\"purchase\",\"time\":\"2026-01-02T03:04:05.678Z\",\"value\":59.9,"
                "\"dwell_ms\":1500,\"query\":\"warme Schuhe\\nfür Regen\","
                "\"decision_id\":\"00112233445566778899aabbccddeeff\","
                "\"context\":{\"device\":\"phone\",\"country\":\"日本\"}}");
    struct item_info i = sample_item();
    cr_assert_eq(encode_item(encoder, &i, &out), 0);
    assert_line("{\"item_id\":\"boot-42\",\"category\":[\"shoes\",\"boots\"],"
                "\"brand\":\"Lauf & Söhne\",\"price\":59.9,\"tags\":[\"winter\",\"rain\"],"
                "\"description\":\"Warm.\\nDry.\",\"embedding\":[0.25,-1.5,3.1415927],"
                "\"available\":true,\"margin\":0.31,\"restricted\":false,\"adult\":false,"
                "\"sensitive\":true,\"no_discount\":true}");
    struct control_info c = sample_control();
    cr_assert_eq(encode_control(encoder, &c, &out), 0);
    assert_line("{\"user_id\":\"ute\",\"timezone\":\"Europe/Berlin\","
                "\"consent\":{\"*\":false,\"email\":true,\"push\":false}}");
}

#define TRIGGER                                                                                    \
    "\"trigger_id\":\"00112233445566778899aabbccddeeff\",\"user_id\":\"ute\","                     \
    "\"campaign_id\":\"abandoned-cart\",\"channel\":\"email\","                                    \
    "\"offer\":{\"percent\":10,\"text\":\"Zurück?\"},\"cause\":\"e-1\",\"item_id\":\"boot-42\","  \
    "\"old_price\":59.9,\"time\":\"2026-01-02T03:04:05.678Z\","                                    \
    "\"valid_until\":\"2026-01-03T03:04:05.678Z\",\"propensity\":0.75,"                            \
    "\"items\":[\"boot-42\",\"sock-7\"]"

Test(render, an_offer_is_the_object_it_is) {
    struct trigger_record t = sample_trigger();
    cr_assert_eq(encode_trigger(encoder, &t, &out), 0);
    assert_line("{" TRIGGER ",\"code\":\"SPRING-7\"}");
    cr_assert_eq(encode_decision(encoder, &t, &out), 0);
    assert_line("{" TRIGGER ",\"sent\":true,\"reason\":\"sent\",\"code\":\"SPRING-7\","
                "\"exposed\":false}");
    t.arms = STR("depth:deep,wording:old");
    t.exposed = true;
    cr_assert_eq(encode_decision(encoder, &t, &out), 0);
    assert_line("{" TRIGGER ",\"sent\":true,\"reason\":\"sent\",\"code\":\"SPRING-7\","
                "\"arms\":\"depth:deep,wording:old\",\"exposed\":true}");
}

Test(render, a_dead_letters_payload_is_text_or_base64) {
    struct dead_letter d = sample_letter();
    cr_assert_eq(encode_dead_letter(encoder, &d, &out), 0);
    assert_line("{\"reason\":\"truncated\",\"detail\":\"field user_id: ends early, 3 bytes left\","
                "\"schema_id\":7,\"topic\":\"clickstream\",\"partition\":3,\"offset\":4711,"
                "\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"key\":\"ute\","
                "\"payload_base64\":\"AAAAAAf//g==\",\"payload_bytes\":7,"
                "\"time\":\"2026-01-02T03:04:05.683Z\"}");
    d.payload = "{\"user\": \"ü\"}";
    d.payload_n = strlen(d.payload);
    cr_assert_eq(encode_dead_letter(encoder, &d, &out), 0);
    cr_assert_eq(render_json(decoder, out.p, out.n, &line), 0);
    static const char want[] = "\"payload\":\"{\\\"user\\\": \\\"ü\\\"}\"";
    cr_assert_not_null(memmem(line.p, line.n, want, strlen(want)));
}

Test(render, json_passes_on_one_line) {
    static const char text[] = "{\"a\":\r\n 59.9}";
    cr_assert_eq(render_json(decoder, text, strlen(text), &line), 0);
    struct str got = {(char *)line.p, line.n};
    ASSERT_STR(got, STR("{\"a\":   59.9}"));
    cr_assert_eq(render_json(decoder, "{\"a\":", 5, &line), -EBADMSG);
}

Test(render, what_is_no_message_is_told_apart) {
    struct event e = sample_event();
    cr_assert_eq(encode_event(encoder, &e, "view", &out), 0);
    for (size_t n = 0; n < out.n; n++)
        cr_assert_eq(render_json(decoder, out.p, n, &line), -EBADMSG);
    buf_put(&out, "", 1);
    cr_assert_eq(render_json(decoder, out.p, out.n, &line), -EBADMSG);
    cr_assert_eq(render_json(decoder, "\0\0\0\0\x63", 5, &line), -EBADMSG);
    cr_assert_eq(render_json(decoder, "hello", 5, &line), -EBADMSG);
    cr_assert_eq(render_avro_json(decoder, 99, "", 0, &line), -EBADMSG);
}
