/* Records as versions of the program wrote them stay readable (tests/unit/samples.h). policy-1 is a
 * user's record and shard-1 a lane's, whose part for policies is of that version. */
#include "consumer/worker.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>

#include "consumer/campaign_file.h"
#include "consumer/metrics.h"
#include "model/block.h"
#include "model/covisit.h"
#include "model/internal.h"
#include "model/pairs.h"
#include "model/pulse.h"
#include "model/ranker.h"
#include "model/sessions.h"
#include "model/trend.h"
#include "policy/internal.h"
#include "tests/unit/samples.h"

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

enum kind {
    PLAIN,
    RANKING, /* with a ranker */
    MEASURED /* with the campaigns of samples/campaigns.yaml: experiment, fairness, codes */
};

static void shop_open(struct shop *s, enum kind kind) {
    char file[4096];
    snprintf(file, sizeof file, "policy.campaigns=%s/tests/samples/campaigns.yaml",
             getenv("BECKON_SOURCE_ROOT"));
    char *set[] = {"policy.consent_default=granted",
                   "model.dim=8",
                   "model.max_items=100",
                   "model.sessions=16",
                   kind == RANKING ? "model.rank=true" : "model.rank=false",
                   file};
    struct policy_set *policies = NULL;
    *s = (struct shop){0};
    cr_assert_eq(config_load(NULL, set, ARRAY_LEN(set) - (kind != MEASURED), &s->cfg), 0);
    cr_assert_eq(kind == MEASURED ? campaign_file_load(s->cfg, &policies)
                                  : campaign_text_load(s->cfg, "test", campaigns,
                                                       sizeof campaigns - 1, &policies),
                 0);
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
                                  .n_ctx = 1,
                                  .ctx = {{STR("region"), STR("north")}},
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

static const struct user_ext *annas(struct shop *s) {
    return has_user(s) ? anna(s)->ext : NULL;
}

static bool has_timer(struct shop *s) {
    const struct user_ext *x = annas(s);
    return x && x->n_timers == 1 && x->timers[0].kind == TIMER_CART && x->n_sends == 1 &&
           x->sends[0].time_ms == FIRST_MS + 1000 && x->clock_ms == FIRST_MS + 1000;
}

static bool has_window(struct shop *s) {
    const struct user_ext *x = annas(s);
    return has_timer(s) && x->n_pending == 1 && x->pending[0].sent_ms == FIRST_MS + 1000;
}

static bool has_exposure(struct shop *s) {
    const struct user_ext *x = annas(s);
    return has_window(s) && x->n_exposures == 1 && x->exposures[0].time_ms == FIRST_MS + 1000 &&
           x->n_traits == 1;
}

static bool has_habits(struct shop *s) {
    return has_exposure(s) && annas(s)->messages == 1;
}

/* Two of the day's budget of 40, and two codes. */
static bool has_spent(struct shop *s) {
    int hello = policy_campaign_find(s->world->policies, STR("hello"));
    if (hello < 0 || lane_restored(s->lane) < 0)
        return false;
    int left = 0;
    while (shard_budget_reserve(s->lane->policy, (size_t)hello, FIRST_MS) == PR_SENT)
        left++;
    return left == 38;
}

static bool has_codes(struct shop *s) {
    return has_spent(s) && str_eq(shard_code_take(s->lane->policy, 0), STR("SPRING-3"));
}

static bool has_evidence(struct shop *s) {
    struct experiment_sums sums;
    bool codes = has_codes(s);
    policy_experiment_sums(s->world->policies, 0, &sums);
    return codes && sums.exposed[0] + sums.exposed[1] == 2;
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
    struct pairs_view pairs = {0};
    uint32_t row = row_i1(s);
    if (row != ROW_NONE)
        pairs_look(m->pairs, row, &pairs);
    return row != ROW_NONE && pulse_get(m->pulse, row).events == 6 &&
           sessions_facts(m->sessions, row).sessions == 1 &&
           covisit_neighbours(m->covisit, row, FIRST_MS, p, COVISIT_SLOTS) >= 2 && pairs.n == 2 &&
           pairs.slot[0].weight[PAIR_BEHIND] > 0 && pairs.slot[1].weight[PAIR_NEXT_SHORT] > 0;
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

static bool has_ranker(struct shop *s) {
    return ranker_cases(s->world->model->ranker) > 0 && ranker_loss(s->world->model->ranker) > 0;
}

static bool has_counters(struct shop *s) {
    return s->world->model->tick == EVENTS && s->world->model->events == EVENTS;
}

static bool has_old_item(struct shop *s) {
    uint32_t row = model_item_find(s->world->model, STR("i0"));
    return trend_count(s->world->model->trend, row) > 0;
}

/* ---- files ---- */

static void of_record(struct shop *s, const struct buf *value, char ret[16]) {
    (void)s;
    snprintf(ret, 16, "%u", value->p[0]);
}

static void of_user(struct shop *s, const struct buf *value, char ret[16]) {
    (void)s;
    snprintf(ret, 16, "%u.%u", value->p[0], value->p[1]);
}

/* The first block's tag, and what follows it. */
static void of_policy(struct shop *s, const struct buf *value, char ret[16]) {
    struct buf b = {0};
    struct wire w;
    size_t used;
    (void)value;
    cr_assert_eq(policy_user_encode(s->world->policies, anna(s), s->world->model, &b), 0);
    cr_assert_eq(block_open(b.p, b.n, b.p[0], &w, &used), 0);
    cr_assert_lt(used, b.n);
    snprintf(ret, 16, "%u.%u", b.p[0] & 0x3f, b.p[used]);
    buf_free(&b);
}

static void of_shard(struct shop *s, const struct buf *value, char ret[16]) {
    struct buf b = {0};
    (void)value;
    cr_assert_eq(policy_shard_encode(s->lane->policy, &b), 0);
    snprintf(ret, 16, "%u", b.p[0]);
    buf_free(&b);
}

struct sample {
    const char *name;
    bool (*there)(struct shop *s);
    const char *key; /* of the present version's record: its beginning; NULL: an older one's */
    void (*version)(struct shop *s, const struct buf *value, char ret[16]);
    enum kind kind;
};

static const struct sample samples[] = {
    {.name = "user-1.1", .there = has_user},
    {"user-1.2", has_user, "uu1", of_user, PLAIN},
    {.name = "policy-1", .there = has_timer},
    {.name = "policy-2", .there = has_window, .kind = MEASURED},
    {.name = "policy-3.1", .there = has_exposure, .kind = MEASURED},
    {.name = "policy-3.2", .there = has_habits, .kind = MEASURED},
    {"policy-4.2", has_habits, "uu1", of_policy, MEASURED},
    {.name = "lane-1", .there = has_lane},
    {"lane-2", has_lane, "l", of_record, PLAIN},
    {.name = "shard-1", .there = has_spent, .kind = MEASURED},
    {.name = "shard-2", .there = has_codes, .kind = MEASURED},
    {"shard-3", has_evidence, "l", of_shard, MEASURED},
    {.name = "item-1", .there = has_old_item},
    {"item-2", has_item, "ii1", of_record, PLAIN},
    {"company-2", has_company, "ci1", of_record, PLAIN},
    {"feature-2", has_feature, "fcshoes", of_record, PLAIN},
    {"session-2", has_session, "s", of_record, PLAIN},
    {"map-2", has_map, "m", of_record, PLAIN},
    {"proj-2", has_proj, "p", of_record, PLAIN},
    {"ranker-2", has_ranker, "r", of_record, RANKING},
    {"counters-2", has_counters, "t", of_record, PLAIN},
};

static bool in_changelog(const char *name) {
    static const char *const kinds[] = {"user", "policy", "lane", "shard"};
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strncmp(name, kinds[i], strlen(kinds[i])) == 0)
            return true;
    return false;
}

static int take(struct shop *s, const char *name, const struct buf *key, const struct buf *value) {
    if (in_changelog(name))
        return lane_restore(s->lane, key->p, key->n, value->p, value->n);
    return model_item_restore(s->world->model, (struct str){(char *)key->p, key->n}, value->p,
                              value->n);
}

Test(samples, what_every_version_wrote_is_read) {
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct buf key = {0}, value = {0};
        struct shop s;
        if (!load_sample(samples[i].name, &key, &value))
            continue;
        shop_open(&s, samples[i].kind);
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

static void find(struct shop *s, const char *name, struct present *ret) {
    if (in_changelog(name))
        cr_assert_eq(lane_changes(s->lane, look, ret), 0);
    uint32_t cursor = 0, row;
    struct buf key = {0}, value = {0};
    while (!in_changelog(name) && (row = model_dirty_next(s->world->model, &cursor)) != ROW_NONE) {
        buf_reset(&key);
        buf_reset(&value);
        if (model_item_encode(s->world->model, row, &key, &value) == 0)
            look(ret, key.p, key.n, value.p, value.n);
    }
    cr_assert(ret->key.n, "there is no record of %s", ret->begin);
    buf_free(&key);
    buf_free(&value);
}

Test(samples, there_is_one_of_each_record_of_the_present_version) {
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct shop s;
        char version[16];
        if (!samples[i].key)
            continue;
        struct present p = {.begin = samples[i].key};
        shop_open(&s, samples[i].kind);
        play(&s);
        find(&s, samples[i].name, &p);
        samples[i].version(&s, &p.value, version);
        cr_assert_str_eq(strrchr(samples[i].name, '-') + 1, version,
                         "%s is of version %s: add a sample, keep the old one", samples[i].name,
                         version);
        expect_sample(samples[i].name, &p.key, &p.value);
        shop_close(&s);
        buf_free(&p.key);
        buf_free(&p.value);
    }
}
