/* Our bytes read by avro-c, and avro-c's bytes read by us, for every built-in schema. */
#include "tests/unit/avro_c.h"

#include "consumer/schema_store.h"
#include "tests/unit/codec.h"

static struct config cfg;
static struct encoder *encoder;
static struct decoder *decoder;
static struct buf out;

static void start(void) {
    cfg = codec_config(FORMAT_AVRO);
    cr_assert_eq(encoder_new(&cfg, FORMAT_AVRO, &encoder), 0);
    cr_assert_eq(decoder_new(&cfg, &decoder), 0);
}

static void stop(void) {
    encoder_free(encoder);
    decoder_free(decoder);
    buf_free(&out);
}

TestSuite(avro_c, .init = start, .fini = stop);

static const char event_json[] =
    "{\"event_id\":{\"string\":\"e-1\"},\"user_id\":\"ute\",\"item_id\":{\"string\":\"boot-42\"},"
    "\"type\":\"purchase\",\"time\":1767323045678,\"session_id\":{\"string\":\"s-9\"},"
    "\"value\":{\"double\":59.9},\"dwell_ms\":{\"double\":1500.0},"
    "\"query\":{\"string\":\"warme Schuhe\\nfür Regen\"},"
    "\"decision_id\":{\"string\":\"00112233445566778899aabbccddeeff\"},"
    "\"context\":{\"device\":\"phone\",\"country\":\"日本\"}}";

static const char item_json[] =
    "{\"item_id\":\"boot-42\",\"category\":[\"shoes\",\"boots\"],"
    "\"brand\":{\"string\":\"Lauf & Söhne\"},\"price\":{\"double\":59.9},"
    "\"tags\":[\"winter\",\"rain\"],\"description\":{\"string\":\"Warm.\\nDry.\"},"
    "\"embedding\":[0.25,-1.5,3.1415927410125732],\"available\":true,"
    "\"margin\":{\"double\":0.31},\"restricted\":false,\"adult\":false,\"sensitive\":true,"
    "\"no_discount\":true}";

static const char control_json[] =
    "{\"user_id\":\"ute\",\"timezone\":{\"string\":\"Europe/Berlin\"},"
    "\"consent\":{\"*\":false,\"email\":true,\"push\":false}}";

#define TRIGGER_JSON                                                                               \
    "\"trigger_id\":\"00112233445566778899aabbccddeeff\",\"user_id\":\"ute\","                     \
    "\"campaign_id\":\"abandoned-cart\",\"channel\":\"email\","                                    \
    "\"offer\":\"{\\\"percent\\\": 10,\\n \\\"text\\\": \\\"Zurück?\\\"}\","                      \
    "\"cause\":{\"string\":\"e-1\"},\"item_id\":{\"string\":\"boot-42\"},"                         \
    "\"old_price\":{\"double\":59.9},\"new_price\":null,\"time\":1767323045678,"                   \
    "\"valid_until\":{\"long\":1767409445678},\"propensity\":0.75,"                                \
    "\"items\":[\"boot-42\",\"sock-7\"]"

Test(avro_c, reads_our_events) {
    struct event e = sample_event();
    cr_assert_eq(encode_event(encoder, &e, "purchase", &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_EVENT), out.p, out.n, event_json);
    struct event bare = {.user = STR("u"), .time_ms = 1, .value = NAN, .dwell_ms = NAN};
    cr_assert_eq(encode_event(encoder, &bare, "view", &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_EVENT), out.p, out.n,
                  "{\"event_id\":null,\"user_id\":\"u\",\"item_id\":null,\"type\":\"view\","
                  "\"time\":1,\"session_id\":null,\"value\":null,\"dwell_ms\":null,\"query\":null,"
                  "\"decision_id\":null,\"context\":{}}");
}

Test(avro_c, reads_our_items_and_control_records) {
    struct item_info i = sample_item();
    cr_assert_eq(encode_item(encoder, &i, &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_ITEM), out.p, out.n, item_json);
    struct control_info c = sample_control();
    cr_assert_eq(encode_control(encoder, &c, &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_CONTROL), out.p, out.n, control_json);
}

#define OFFER_JSON ",\"variant\":null,\"code\":{\"string\":\"SPRING-7\"}"

Test(avro_c, reads_our_triggers_and_decisions) {
    struct trigger_record t = sample_trigger();
    cr_assert_eq(encode_trigger(encoder, &t, &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_TRIGGER), out.p, out.n, "{" TRIGGER_JSON OFFER_JSON "}");
    t.sent = false;
    t.reason = "quiet-hours";
    t.arms = STR("depth:deep");
    t.exposed = true;
    t.would_campaign = STR("spring");
    t.would_propensity = 0.5;
    cr_assert_eq(encode_decision(encoder, &t, &out), 0);
    avro_c_assert(builtin_schema(SCHEMA_DECISION), out.p, out.n,
                  "{" TRIGGER_JSON ",\"sent\":false,\"reason\":\"quiet-hours\"" OFFER_JSON
                  ",\"arms\":{\"string\":\"depth:deep\"},\"exposed\":true"
                  ",\"would_campaign\":{\"string\":\"spring\"},\"would_variant\":null"
                  ",\"would_propensity\":{\"double\":0.5}}");
}

Test(avro_c, reads_our_dead_letters) {
    struct dead_letter d = sample_letter();
    d.payload = "\7abc";
    d.payload_n = 4;
    cr_assert_eq(encode_dead_letter(encoder, &d, &out), 0);
    avro_c_assert(
        builtin_schema(SCHEMA_LETTER), out.p, out.n,
        "{\"reason\":\"truncated\",\"detail\":\"field user_id: ends early, 3 bytes left\","
        "\"schema_id\":{\"int\":7},\"topic\":\"clickstream\",\"partition\":3,"
        "\"offset\":4711,\"timestamp\":{\"long\":1767323045678},"
        "\"key\":{\"bytes\":\"ute\"},\"payload\":{\"bytes\":\"\\u0007abc\"},"
        "\"payload_bytes\":4,\"time\":1767323045683}");
}

Test(avro_c, writes_what_we_read) {
    struct dead why;
    struct event e, want = sample_event();
    avro_c_encode(builtin_schema(SCHEMA_EVENT), event_json, &out);
    cr_assert_eq(decode_event(decoder, out.p, out.n, STR("k"), &ORIGIN, NOW_MS, &e, &why),
                 DEAD_NONE, "%s", why.detail);
    assert_same_event(&e, &want);

    struct item_info i, want_item = sample_item();
    avro_c_encode(builtin_schema(SCHEMA_ITEM), item_json, &out);
    cr_assert_eq(decode_item(decoder, out.p, out.n, STR("k"), &ORIGIN, &i, &why), DEAD_NONE, "%s",
                 why.detail);
    assert_same_item(&i, &want_item);

    struct control_info c;
    avro_c_encode(builtin_schema(SCHEMA_CONTROL), control_json, &out);
    cr_assert_eq(decode_control(decoder, out.p, out.n, STR("k"), &ORIGIN, &c, &why), DEAD_NONE,
                 "%s", why.detail);
    cr_assert_eq(c.n, 3);
    ASSERT_STR(c.tz, STR("Europe/Berlin"));
}
