/* What the tests of decoding and encoding share: a configuration and sample records. */
#pragma once

#include <criterion/criterion.h>
#include <math.h>

#include "consumer/encode.h"
#include "tests/support/codec_config.h"

#define NOW_MS INT64_C(1767323045678) /* 2026-01-02T03:04:05.678Z */
static const struct origin ORIGIN = {"clickstream", 3, 4711, NOW_MS};

static inline struct event sample_event(void) {
    return (struct event){
        .id = STR("e-1"),
        .user = STR("ute"),
        .item = STR("boot-42"),
        .session = STR("s-9"),
        .query = STR("warme Schuhe\nfür Regen"),
        .decision = STR("00112233445566778899aabbccddeeff"),
        .time_ms = NOW_MS,
        .value = 59.9,
        .dwell_ms = 1500,
        .type = EV_PURCHASE,
        .n_ctx = 2,
        .ctx = {{STR("device"), STR("phone")}, {STR("country"), STR("日本")}},
    };
}

#define ASSERT_STR(got, want)                                                                      \
    cr_assert(str_eq((got), (want)), "%s is '%.*s', not '%.*s'", #got, (int)(got).n, (got).p,      \
              (int)(want).n, (want).p)

static inline void assert_same_number(double got, double want) {
    cr_assert((isnan(got) && isnan(want)) || got == want, "%.17g is not %.17g", got, want);
}

static inline void assert_same_event(const struct event *got, const struct event *want) {
    ASSERT_STR(got->id, want->id);
    ASSERT_STR(got->user, want->user);
    ASSERT_STR(got->item, want->item);
    ASSERT_STR(got->session, want->session);
    ASSERT_STR(got->query, want->query);
    ASSERT_STR(got->decision, want->decision);
    cr_assert_eq(got->time_ms, want->time_ms);
    assert_same_number(got->value, want->value);
    assert_same_number(got->dwell_ms, want->dwell_ms);
    cr_assert_eq(got->type, want->type);
    cr_assert_eq(got->n_ctx, want->n_ctx);
    for (size_t i = 0; i < want->n_ctx; i++) {
        ASSERT_STR(got->ctx[i].key, want->ctx[i].key);
        ASSERT_STR(got->ctx[i].value, want->ctx[i].value);
    }
}

static const float SAMPLE_DENSE[] = {0.25f, -1.5f, 3.14159274f};

static inline struct item_info sample_item(void) {
    return (struct item_info){
        .id = STR("boot-42"),
        .n_category = 2,
        .category = {STR("shoes"), STR("boots")},
        .brand = STR("Lauf & Söhne"),
        .description = STR("Warm.\nDry."),
        .n_tags = 2,
        .tags = {STR("winter"), STR("rain")},
        .n_dense = ARRAY_LEN(SAMPLE_DENSE),
        .dense = SAMPLE_DENSE,
        .price = 59.9,
        .margin = 0.31,
        .available = true,
        .flags = ITEM_SENSITIVE | ITEM_NO_DISCOUNT,
    };
}

static inline void assert_same_item(const struct item_info *got, const struct item_info *want) {
    ASSERT_STR(got->id, want->id);
    cr_assert_eq(got->n_category, want->n_category);
    for (size_t i = 0; i < want->n_category; i++)
        ASSERT_STR(got->category[i], want->category[i]);
    ASSERT_STR(got->brand, want->brand);
    ASSERT_STR(got->description, want->description);
    cr_assert_eq(got->n_tags, want->n_tags);
    for (size_t i = 0; i < want->n_tags; i++)
        ASSERT_STR(got->tags[i], want->tags[i]);
    cr_assert_eq(got->n_dense, want->n_dense);
    for (size_t i = 0; i < want->n_dense; i++)
        cr_assert_eq(got->dense[i], want->dense[i]);
    assert_same_number(got->price, want->price);
    assert_same_number(got->margin, want->margin);
    cr_assert_eq(got->available, want->available);
    cr_assert_eq(got->deleted, want->deleted);
    cr_assert_eq(got->flags, want->flags);
}

static inline struct control_info sample_control(void) {
    return (struct control_info){
        .user = STR("ute"),
        .tz = STR("Europe/Berlin"),
        .n = 3,
        .consent = {{STR("*"), false}, {STR("email"), true}, {STR("push"), false}},
    };
}

static inline struct trigger_record sample_trigger(void) {
    return (struct trigger_record){
        .id = "00112233445566778899aabbccddeeff",
        .user = STR("ute"),
        .campaign = STR("abandoned-cart"),
        .channel = STR("email"),
        .offer = STR("{\"percent\": 10,\n \"text\": \"Zurück?\"}"),
        .code = STR("SPRING-7"),
        .cause = STR("e-1"),
        .item = STR("boot-42"),
        .old_price = 59.9,
        .new_price = NAN,
        .time_ms = NOW_MS,
        .valid_until_ms = NOW_MS + 86400000,
        .propensity = 0.75,
        .reason = "sent",
        .sent = true,
        .n_items = 2,
        .items = {STR("boot-42"), STR("sock-7")},
    };
}

static inline struct dead_letter sample_letter(void) {
    return (struct dead_letter){
        .reason = DEAD_TRUNCATED,
        .detail = "field user_id: ends early, 3 bytes left",
        .schema_id = 7,
        .origin = ORIGIN,
        .key = "ute",
        .key_n = 3,
        .payload = "\0\0\0\0\7\xff\xfe",
        .payload_n = 7,
        .time_ms = NOW_MS + 5,
    };
}
