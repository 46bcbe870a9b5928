/* Records as versions of the program wrote them, each in a file of tests/samples: they stay
 * readable. A file's name is what is in it and its version; in it are key and value, in hex.
 * BECKON_WRITE_SAMPLES=1 adds those that are missing of the present version; what is there is never
 * written again. */
#include "consumer/worker.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_file.h"
#include "consumer/metrics.h"
#include "model/covisit.h"
#include "model/internal.h"
#include "model/pulse.h"
#include "model/sessions.h"
#include "model/trend.h"

enum { EVENTS = 40, CATALOGUE = 4, DENSE = 2 };
static const int64_t FIRST_MS = 1700000000000;

static const char campaigns[] =
    "campaigns:\n"
    "  - {id: cart, channel: push, valid_for: 1d, budget: 40 per day,\n"
    "     trigger: {cart_abandoned: {after: 10h}}, offer: {kind: message, message: cart}}\n"
    "  - {id: hello, channel: push, valid_for: 1d, trigger: {welcome: {}}, reentry: never,\n"
    "     offer: {kind: message, message: hello}}\n";

struct shop {
    struct config *cfg;
    struct world *world;
    struct lane *lane;
    struct worker *worker;
    struct metrics metrics;
    struct sink sink;
};

static void shop_open(struct shop *s) {
    char *set[] = {"policy.consent_default=granted", "model.dim=8", "model.max_items=100",
                   "model.sessions=16", "model.rank=false"};
    struct policy_set *policies = NULL;
    *s = (struct shop){0};
    cr_assert_eq(config_load(NULL, set, ARRAY_LEN(set), &s->cfg), 0);
    cr_assert_eq(campaign_text_load(s->cfg, "test", campaigns, sizeof campaigns - 1, &policies), 0);
    cr_assert_eq(world_new(s->cfg, policies, 0, &s->world), 0);
    cr_assert_eq(lane_new(s->world, 0, &s->lane), 0);
    cr_assert_eq(worker_new(s->world, 0, &s->sink, &s->metrics, &s->worker), 0);
    policy_set_budget_share(s->world->policies, 1, 1);
    for (int i = 0; i < CATALOGUE; i++) {
        char id[8];
        float dense[DENSE] = {1, (float)i};
        snprintf(id, sizeof id, "i%d", i);
        struct item_info info = {.id = str_of(id),
                                 .n_category = 1,
                                 .category = {STR("shoes")},
                                 .price = 5 + i,
                                 .margin = NAN,
                                 .n_dense = DENSE,
                                 .dense = dense,
                                 .available = true};
        cr_assert_eq(world_item(s->world, &info, 1), 0);
    }
}

static void shop_close(struct shop *s) {
    worker_free(s->worker);
    lane_free(s->lane);
    world_free(s->world);
    config_free(s->cfg);
}

/* Users u0 and u1 by turns, items i0 to i5. */
static void play(struct shop *s) {
    for (int at = 0; at < EVENTS; at++) {
        char id[16], user[8], item[8];
        snprintf(id, sizeof id, "e%d", at);
        snprintf(user, sizeof user, "u%d", at % 2);
        snprintf(item, sizeof item, "i%d", at * 5 % 6);
        struct input in = {.lane = s->lane,
                           .ev = {.id = str_of(id),
                                  .user = str_of(user),
                                  .item = str_of(item),
                                  .session = STR("s"),
                                  .time_ms = FIRST_MS + at * 1000,
                                  .type = at % 7 ? EV_VIEW : EV_CART_ADD,
                                  .value = NAN,
                                  .dwell_ms = NAN}};
        cr_assert_eq(worker_step(s->worker, &in, 1, in.ev.time_ms), 0);
    }
    s->lane->epoch = 77;
    s->lane->changed = true;
}

/* ---- what is in the records ---- */

static struct user *anna(struct shop *s) {
    return shard_find(s->lane->users, STR("u1"));
}

static bool has_user(struct shop *s) {
    struct user *u = anna(s);
    struct recent_item recent[PROFILE_RECENT_MAX];
    return u && profile_value(&u->prof, PF_EVENTS, FIRST_MS) == EVENTS / 2 &&
           profile_value(&u->prof, PF_CARTS, FIRST_MS) == 3 &&
           profile_recent(&u->prof, recent, PROFILE_RECENT_MAX) == 3 &&
           str_eq(s->world->model->items.cold[recent[0].item].id, STR("i3")) &&
           u->due_ms == FIRST_MS + 35000 + INT64_C(36000000) && u->acc > 0 &&
           fabsf(u->emb[0]) > 0 && fabsf(u->emb[0]) < 10;
}

static bool has_lane(struct shop *s) {
    return lane_restored(s->lane) == 0 && s->lane->stream_ms == FIRST_MS + (EVENTS - 1) * 1000;
}

static uint32_t row_i1(struct shop *s) {
    return model_item_find(s->world->model, STR("i1"));
}

static bool has_item(struct shop *s) {
    const struct model *m = s->world->model;
    uint32_t row = row_i1(s);
    return row != ROW_NONE && m->items.hot[row].acc > 0 && trend_count(m->trend, row) == 6 &&
           m->items.hot[row].seen_s == FIRST_MS / 1000 + 35;
}

static bool has_company(struct shop *s) {
    const struct model *m = s->world->model;
    struct covisit_pair p[COVISIT_SLOTS];
    uint32_t row = row_i1(s);
    return row != ROW_NONE && pulse_get(m->pulse, row).events == 6 &&
           sessions_facts(m->sessions, row).sessions == 1 &&
           covisit_neighbours(m->covisit, row, FIRST_MS, p, COVISIT_SLOTS) >= 2;
}

static bool has_feature(struct shop *s) {
    const struct features *f = &s->world->model->items.features;
    uint32_t row = id_index_find(&f->index, STR("cshoes"));
    return row != INDEX_NONE && f->f[row].acc > 0;
}

static bool has_session(struct shop *s) {
    struct session found;
    model_restored(s->world->model);
    return sessions_get(s->world->model->sessions, 1, &found) && found.n == EVENTS / 2;
}

static bool has_map(struct shop *s) {
    return s->world->model->phi_acc > 0;
}

static bool has_proj(struct shop *s) {
    return s->world->model->items.n_dense == DENSE && s->world->model->items.proj_acc > 0;
}

static bool has_counters(struct shop *s) {
    return s->world->model->tick == EVENTS && s->world->model->events == EVENTS;
}

static bool has_old_item(struct shop *s) {
    uint32_t row = model_item_find(s->world->model, STR("i0"));
    return trend_count(s->world->model->trend, row) > 0;
}

/* ---- files ---- */

struct sample {
    const char *name;
    const char *key; /* of the present version's record: its beginning; NULL: an older one's */
    bool (*there)(struct shop *s);
};

static const struct sample samples[] = {
    {"user-1.1", NULL, has_user},      {"user-1.2", "uu1", has_user},
    {"lane-1", NULL, has_lane},        {"lane-2", "l", has_lane},
    {"item-1", NULL, has_old_item},    {"item-2", "ii1", has_item},
    {"company-2", "ci1", has_company}, {"feature-2", "fcshoes", has_feature},
    {"session-2", "s", has_session},   {"map-2", "m", has_map},
    {"proj-2", "p", has_proj},         {"counters-2", "t", has_counters},
};

static void path_of(const char *name, char ret[4096]) {
    snprintf(ret, 4096, "%s/tests/samples/%s.hex", getenv("BECKON_SOURCE_ROOT"), name);
}

static bool read_hex(FILE *f, struct buf *ret) {
    unsigned byte;
    int c;
    while ((c = fgetc(f)) != '\n' && c != EOF) {
        char two[3] = {(char)c, (char)fgetc(f), 0};
        if (sscanf(two, "%2x", &byte) != 1)
            return false;
        buf_put(ret, &(uint8_t){(uint8_t)byte}, 1);
    }
    return ret->n > 0;
}

static void write_hex(FILE *f, const void *p, size_t n) {
    for (size_t i = 0; i < n; i++)
        fprintf(f, "%02x", ((const uint8_t *)p)[i]);
    fputc('\n', f);
}

static bool is_model(const char *name) {
    return strncmp(name, "user", 4) != 0 && strncmp(name, "lane", 4) != 0;
}

static int take(struct shop *s, const char *name, const struct buf *key, const struct buf *value) {
    if (is_model(name))
        return model_item_restore(s->world->model, (struct str){(char *)key->p, key->n}, value->p,
                                  value->n);
    return lane_restore(s->lane, key->p, key->n, value->p, value->n);
}

Test(samples, what_every_version_wrote_is_read) {
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        char path[4096];
        struct buf key = {0}, value = {0};
        struct shop s;
        path_of(samples[i].name, path);
        FILE *f = fopen(path, "r");
        if (!f && getenv("BECKON_WRITE_SAMPLES"))
            continue;
        cr_assert(f && read_hex(f, &key) && read_hex(f, &value), "%s", path);
        fclose(f);
        shop_open(&s);
        cr_assert_eq(take(&s, samples[i].name, &key, &value), 0, "%s", samples[i].name);
        cr_assert(samples[i].there(&s), "%s holds something else", samples[i].name);
        shop_close(&s);
        buf_free(&key);
        buf_free(&value);
    }
}

/* ---- the present version ---- */

struct present {
    struct buf key, value;
    const char *begin;
};

static int look(void *ctx, const void *key, size_t key_n, const void *value, size_t n) {
    struct present *p = ctx;
    size_t begin = strlen(p->begin);
    if (p->key.n || key_n < begin || memcmp(key, p->begin, begin) != 0)
        return 0;
    buf_put(&p->key, key, key_n);
    buf_put(&p->value, value, n);
    return 0;
}

static void find(const char *name, struct present *ret) {
    struct shop s;
    shop_open(&s);
    play(&s);
    if (!is_model(name))
        cr_assert_eq(lane_changes(s.lane, look, ret), 0);
    uint32_t cursor = 0, row;
    struct buf key = {0}, value = {0};
    while (is_model(name) && (row = model_dirty_next(s.world->model, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&value);
        if (model_item_encode(s.world->model, row, &key, &value) == 0)
            look(ret, key.p, key.n, value.p, value.n);
    }
    cr_assert(ret->key.n, "there is no record of %s", ret->begin);
    buf_free(&key);
    buf_free(&value);
    shop_close(&s);
}

Test(samples, there_is_one_of_each_record_of_the_present_version) {
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        char path[4096], version[16];
        if (!samples[i].key)
            continue;
        struct present p = {.begin = samples[i].key};
        find(samples[i].name, &p);
        snprintf(version, sizeof version, strncmp(samples[i].name, "user", 4) ? "-%u" : "-%u.%u",
                 p.value.p[0], p.value.p[1]);
        cr_assert_not_null(strstr(samples[i].name, version),
                           "%s is of version %s: add a sample, keep the old one", samples[i].name,
                           version + 1);
        path_of(samples[i].name, path);
        FILE *f = fopen(path, "r");
        if (!f && getenv("BECKON_WRITE_SAMPLES")) {
            f = fopen(path, "w");
            cr_assert_not_null(f, "%s", path);
            write_hex(f, p.key.p, p.key.n);
            write_hex(f, p.value.p, p.value.n);
        }
        cr_assert_not_null(f, "%s is missing: run with BECKON_WRITE_SAMPLES=1", path);
        fclose(f);
        buf_free(&p.key);
        buf_free(&p.value);
    }
}
