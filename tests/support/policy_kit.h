/* A small shop for tests of the policy: a catalogue, users, campaigns by hand. Needs no test
 * framework, so that race tests and benchmarks share it. */
#pragma once

#include <math.h>
#include <stdio.h>

#include "policy/spec.h"

#define SECOND INT64_C(1000)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)
#define DAY (24 * HOUR)
/* 2026-03-02 00:00 UTC, a Monday. */
#define MONDAY (INT64_C(1772409600) * SECOND)

enum { KIT_ITEMS = 12, KIT_CAMPAIGNS = 32, KIT_DIM = 64 };

#define KIT_CHECK(x)                                                                               \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #x);                                \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct kit {
    struct model *model;
    uint32_t item[KIT_ITEMS]; /* rows: "i0".. of categories shoes, hats, toys in turn; the last
                               * four are restricted, adult, sensitive and not to be discounted */
    struct policy_spec spec;
    struct campaign_spec campaign[KIT_CAMPAIGNS];
    struct policy_set *set;
    struct policy_shard *shard;
    struct decisions out;
};

struct kit_user {
    struct user u;
    float emb[KIT_DIM]; /* the user's, behind him */
    char id[40];
    struct consent consent;
};

static const char *const kit_category[] = {"shoes", "hats", "toys"};

static inline struct kit *kit_new(void) {
    struct kit *k = calloc(1, sizeof *k);
    KIT_CHECK(k);
    struct model_config mc;
    model_config_default(&mc);
    mc.dim = KIT_DIM;
    KIT_CHECK(model_new(&mc, &k->model) == 0);
    for (uint32_t i = 0; i < KIT_ITEMS; i++) {
        char id[8];
        static const uint32_t flags[] = {ITEM_RESTRICTED, ITEM_ADULT, ITEM_SENSITIVE,
                                         ITEM_NO_DISCOUNT};
        struct item_info info = {
            .price = 10.0 + i, .margin = NAN, .available = true, .n_category = 1};
        snprintf(id, sizeof id, "i%u", i);
        info.id = str_of(id);
        info.category[0] = str_of(kit_category[i % 3]);
        info.flags = i < KIT_ITEMS - 4 ? 0 : flags[i - (KIT_ITEMS - 4)];
        KIT_CHECK(model_item_upsert(k->model, &info, MONDAY, &k->item[i], NULL) == 0);
    }
    k->spec = (struct policy_spec){.salt = STR("salt"),
                                   .consent_granted = true,
                                   .approval = {INFINITY, UINT32_MAX},
                                   .campaign = k->campaign};
    return k;
}

/* Adds a campaign that answers every event of `type`; change what is returned. */
static inline struct campaign_spec *kit_campaign(struct kit *k, const char *id, uint8_t type) {
    KIT_CHECK(k->spec.n < KIT_CAMPAIGNS);
    struct campaign_spec *c = &k->campaign[k->spec.n++];
    *c = (struct campaign_spec){
        .id = str_of(id),
        .channel = STR("email"),
        .n_offers = 1,
        .offer = {{.json = STR("{}")}},
        .trigger = {.kind = TRIGGER_EVENT, .type = type, .min_value = NAN, .max_value = NAN},
        .valid_ms = 2 * DAY,
        .budget = UINT32_MAX,
        .start_day = INT32_MIN,
        .end_day = INT32_MAX,
    };
    return c;
}

static inline void kit_start(struct kit *k) {
    KIT_CHECK(policy_set_new(&k->spec, &k->set) == 0);
    KIT_CHECK(policy_shard_new(k->set, &k->shard) == 0);
}

static inline void kit_free(struct kit *k) {
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    model_free(k->model);
    policy_decisions_free(&k->out);
    free(k);
}

static inline void kit_user(struct kit_user *u, const char *id) {
    *u = (struct kit_user){0};
    snprintf(u->id, sizeof u->id, "%s", id);
    u->u.id = str_of(u->id);
    u->u.due_ms = INT64_MAX;
    profile_init(&u->u.prof);
}

static inline void kit_user_free(struct kit_user *u) {
    policy_user_free(u->u.ext);
    profile_done(&u->u.prof);
}

static inline struct policy_context kit_context(struct kit *k, struct kit_user *u) {
    return (struct policy_context){
        .set = k->set, .shard = k->shard, .model = k->model, .user = &u->u, .consent = u->consent};
}

static inline void kit_time(struct kit *k, struct kit_user *u, int64_t now_ms) {
    struct policy_context c = kit_context(k, u);
    policy_on_time(&c, now_ms, &k->out);
    KIT_CHECK(!k->out.failed);
}

/* An event as the engine hands it on: timers first, then the profile, then the policy. False:
 * the profile refused it as a duplicate. */
static inline bool kit_event(struct kit *k, struct kit_user *u, struct event e) {
    static const struct profile_params params = {0};
    struct item_view v = {.price = NAN};
    struct policy_context c = kit_context(k, u);
    uint32_t row = e.item.n ? model_item_find(k->model, e.item) : ROW_NONE;
    if (row != ROW_NONE)
        model_item_view(k->model, row, &v);
    e.user = u->u.id;
    policy_on_time(&c, e.time_ms, &k->out);
    if (profile_observe(&u->u.prof, &e, hash_str(e.id, 0), row, v.category_key, v.price,
                        e.type == EV_VIEW || e.type == EV_CART_ADD || e.type == EV_PURCHASE,
                        &params, NULL) != LEARN_OK)
        return false;
    policy_on_event(&c, &e, row, &k->out);
    KIT_CHECK(!k->out.failed);
    return true;
}

/* A plain event; its id is made of user, time and type. `value` NAN: none. `decision` (may be
 * NULL): the message it answers. False: as kit_event. */
static inline bool kit_try(struct kit *k, struct kit_user *u, uint8_t type, const char *item,
                           double value, const uint64_t decision[2], int64_t at_ms) {
    char id[80], answered[33] = "";
    snprintf(id, sizeof id, "%s-%lld-%u-%s", u->id, (long long)at_ms, type, item ? item : "");
    if (decision)
        snprintf(answered, sizeof answered, "%016llx%016llx", (unsigned long long)decision[0],
                 (unsigned long long)decision[1]);
    return kit_event(k, u,
                     (struct event){.id = str_of(id),
                                    .item = str_of(item),
                                    .decision = str_of(answered),
                                    .time_ms = at_ms,
                                    .value = value,
                                    .dwell_ms = NAN,
                                    .type = type});
}

static inline void kit_answer(struct kit *k, struct kit_user *u, uint8_t type, const char *item,
                              double value, const uint64_t decision[2], int64_t at_ms) {
    KIT_CHECK(kit_try(k, u, type, item, value, decision, at_ms));
}

static inline void kit_do(struct kit *k, struct kit_user *u, uint8_t type, const char *item,
                          int64_t at_ms) {
    kit_answer(k, u, type, item, NAN, NULL, at_ms);
}

/* Decisions of a campaign with a reason since the last kit_forget. */
static inline size_t kit_count(const struct kit *k, const char *campaign, enum policy_reason r) {
    int c = policy_campaign_find(k->set, str_of(campaign));
    size_t n = 0;
    for (size_t i = 0; i < k->out.n; i++)
        n += k->out.d[i].campaign == c && k->out.d[i].reason == r;
    return n;
}

static inline void kit_forget(struct kit *k) {
    policy_decisions_reset(&k->out);
}
