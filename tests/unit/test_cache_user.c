#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "consumer/cache.h"

static void append(void *ctx, const char *field, const char *value) {
    struct buf *b = ctx;
    buf_put(b, field, strlen(field));
    buf_put(b, "=", 1);
    buf_put(b, value, strlen(value));
    buf_put(b, "\n", 1);
}

static const char *words(const struct model *m, const struct user *u, int64_t now_ms,
                         struct buf *b) {
    buf_reset(b);
    profile_words(m, u, now_ms, append, b);
    buf_put(b, "", 1);
    cr_assert_not(b->failed);
    return (const char *)b->p;
}

static void expect_field(const char *words, const char *line) {
    char anchored[256];
    snprintf(anchored, sizeof anchored, "\n%s\n", line);
    cr_assert(strstr(words, anchored) || strncmp(words, anchored + 1, strlen(line) + 1) == 0,
              "%s is not in\n%s", line, words);
}

enum { DAY_MS = 86400000 };
static const int64_t start_ms = 1767323045678; /* 2026-01-02T03:04:05.678Z */

Test(profile_words, a_person_can_read_them) {
    struct model_config c;
    model_config_default(&c);
    c.dim = 8;
    autofree(model_free) struct model *m = NULL;
    autofree(shard_free) struct shard *s = NULL;
    autofree(learner_free) struct learner *l = NULL;
    cr_assert_eq(model_new(&c, &m), 0);
    cr_assert_eq(shard_new(m, &s), 0);
    cr_assert_eq(learner_new(m, 0, &l), 0);
    static const struct item_info items[] = {
        {.id = {"boot", 4},
         .n_category = 1,
         .category = {{"shoes", 5}},
         .price = 80,
         .margin = NAN,
         .available = true},
        {.id = {"{cap}\n", 6},
         .n_category = 1,
         .category = {{"hats", 4}},
         .price = 20,
         .margin = NAN,
         .available = true},
    };
    uint32_t row[2];
    for (size_t i = 0; i < 2; i++)
        cr_assert_eq(model_item_upsert(m, &items[i], start_ms, &row[i], NULL), 0);
    struct user *u = shard_admit(s, STR("u1"), start_ms);
    cr_assert_not_null(u);
    struct buf b = {0};
    const char *none = words(m, u, start_ms, &b);
    cr_assert_null(strstr(none, "nan"));
    cr_assert_null(strstr(none, "categories"));
    static const struct {
        uint8_t type, item;
        double value;
    } deeds[] = {
        {EV_VIEW, 0, NAN}, {EV_VIEW, 1, NAN}, {EV_CART_ADD, 1, NAN}, {EV_PURCHASE, 0, 80.5}};
    for (size_t i = 0; i < ARRAY_LEN(deeds); i++) {
        char id[8];
        snprintf(id, sizeof id, "e%zu", i);
        struct event e = {.id = str_of(id),
                          .user = STR("u1"),
                          .item = items[deeds[i].item].id,
                          .time_ms = start_ms + (int64_t)i * 1000,
                          .value = deeds[i].value,
                          .dwell_ms = NAN,
                          .type = deeds[i].type};
        cr_assert_eq(model_learn(l, s, u, &e, row[deeds[i].item]), LEARN_OK);
    }
    const char *text = words(m, u, start_ms + DAY_MS, &b);
    expect_field(text, "first_seen=2026-01-02T03:04:05Z");
    expect_field(text, "last_seen=2026-01-02T03:04:08Z");
    expect_field(text, "last_purchase=2026-01-02T03:04:08Z");
    expect_field(text, "events=4");
    expect_field(text, "views=2");
    expect_field(text, "carts=1");
    expect_field(text, "purchases=1");
    expect_field(text, "spend=80.5");
    expect_field(text, "sessions=1");
    expect_field(text, "cart=%7Bcap%7D%0A");
    expect_field(text, "cart_items=1");
    cr_assert(strstr(text, "\nrecent=boot, "), "%s", text);
    cr_assert(strstr(text, "shoes ") && strstr(text, "hats ") && strstr(text, "%\n"), "%s", text);
    cr_assert_null(strstr(text, "nan"));
    buf_free(&b);
}
