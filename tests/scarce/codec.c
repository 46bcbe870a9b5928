/* Encoders and decoders, in every format, and the readers of states at rest. */
#include <math.h>
#include <stdio.h>

#include "consumer/encode.h"
#include "model/ranker.h"
#include "tests/scarce/scarce.h"
#include "tests/support/codec_config.h"

static const struct origin origin = {"clickstream", 3, 4711, INT64_C(1767323045678)};

static int verdict(enum dead_reason r) {
    return r == DEAD_NONE ? 0 : r == DECODE_RETRY ? -ENOMEM : -EBADMSG;
}

static void put(struct buf *out, struct str s) {
    buf_put(out, s.p, s.n);
}

/* One of each: written, read back, and what is read told to `out`. */
static int through(enum data_format format, struct buf *out) {
    struct config cfg = codec_config(format);
    autofree(encoder_free) struct encoder *e = NULL;
    autofree(decoder_free) struct decoder *d = NULL;
    struct buf wire = {0};
    struct dead why;
    struct event ev, sent = {.id = STR("e-1"),
                             .user = STR("ute"),
                             .item = STR("boot-42"),
                             .query = STR("für \\ Regen"),
                             .time_ms = origin.timestamp_ms,
                             .value = 59.9,
                             .dwell_ms = NAN,
                             .type = EV_PURCHASE,
                             .n_ctx = 1,
                             .ctx = {{STR("device"), STR("phone")}}};
    struct item_info item, goods = {.id = STR("boot-42"),
                                    .n_category = 2,
                                    .category = {STR("shoes"), STR("boots")},
                                    .n_tags = 1,
                                    .tags = {STR("rain")},
                                    .price = 59.9,
                                    .margin = NAN,
                                    .available = true};
    struct control_info control, wish = {.user = STR("ute"), .tz = STR("Europe/Berlin"), .n = 1};
    wish.consent[0].channel = STR("email");
    struct dead_letter letter, lost = {.reason = DEAD_TRUNCATED,
                                       .detail = "ends early",
                                       .schema_id = 7,
                                       .origin = origin,
                                       .key = "ute",
                                       .key_n = 3,
                                       .payload = "\0\0\0\0\7\xff",
                                       .payload_n = 6,
                                       .time_ms = origin.timestamp_ms};
    struct trigger_record trigger = {.id = "00112233445566778899aabbccddeeff",
                                     .user = STR("ute"),
                                     .campaign = STR("cart"),
                                     .channel = STR("email"),
                                     .offer = STR("{}"),
                                     .old_price = NAN,
                                     .new_price = NAN,
                                     .time_ms = origin.timestamp_ms,
                                     .propensity = 1,
                                     .reason = "sent",
                                     .sent = true,
                                     .n_items = 1,
                                     .items = {STR("boot-42")}};
    int r = encoder_new(&cfg, format, &e);
    if (r == 0)
        r = decoder_new(&cfg, &d);
    if (r == 0)
        r = encode_event(e, &sent, "purchase", &wire);
    if (r == 0)
        r = verdict(
            decode_event(d, wire.p, wire.n, STR("ute"), &origin, origin.timestamp_ms, &ev, &why));
    if (r == 0) {
        put(out, ev.item);
        put(out, ev.query);
        put(out, ev.ctx[0].value);
        r = encode_item(e, &goods, &wire);
    }
    if (r == 0)
        r = verdict(decode_item(d, wire.p, wire.n, goods.id, &origin, &item, &why));
    if (r == 0) {
        put(out, item.category[1]);
        put(out, item.tags[0]);
        r = encode_control(e, &wish, &wire);
    }
    if (r == 0)
        r = verdict(decode_control(d, wire.p, wire.n, wish.user, &origin, &control, &why));
    if (r == 0) {
        put(out, control.consent[0].channel);
        r = encode_dead_letter(e, &lost, &wire);
    }
    if (r == 0)
        r = decode_dead_letter(d, wire.p, wire.n, &letter);
    if (r == -EAGAIN)
        r = -ENOMEM; /* it says: later */
    if (r == 0) {
        buf_put(out, letter.payload, letter.payload_n);
        r = encode_trigger(e, &trigger, &wire);
    }
    if (r == 0)
        buf_put(out, wire.p, wire.n);
    if (r == 0 && format != FORMAT_AVRO) {
        struct buf line = {0};
        r = render_json(d, wire.p, wire.n, &line);
        if (r == 0)
            buf_put(out, line.p, line.n);
        buf_free(&line);
    }
    if (r == 0)
        r = encode_decision(e, &trigger, &wire);
    if (r == 0)
        buf_put(out, wire.p, wire.n);
    scarce_stop();
    buf_free(&wire);
    return r == 0 && out->failed ? -ENOMEM : r;
}

static int confluent(struct buf *out) {
    return through(FORMAT_CONFLUENT, out);
}

static int avro(struct buf *out) {
    return through(FORMAT_AVRO, out);
}

static int json(struct buf *out) {
    return through(FORMAT_JSON, out);
}

static int ranker(struct buf *out) {
    autofree(ranker_free) struct ranker *a = NULL, *b = NULL;
    autofree(ranking_free) struct ranking *k = NULL;
    struct buf record = {0};
    int r = ranker_new(1, &a);
    if (r == 0)
        r = ranking_new(a, &k);
    if (r == 0)
        r = ranker_new(2, &b);
    if (r == 0)
        r = ranker_encode(a, &record);
    if (r == 0)
        r = ranker_restore(b, record.p, record.n);
    buf_reset(&record);
    if (r == 0)
        r = ranker_encode(b, &record);
    scarce_stop();
    if (r == 0)
        buf_put(out, record.p, record.n);
    buf_free(&record);
    return r;
}

const struct scarce_case codec_cases[] = {
    {"confluent", confluent}, {"avro", avro}, {"json", json}, {"ranker", ranker}, {NULL, NULL},
};
