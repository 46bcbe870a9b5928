/* What is durable comes back the same, what is damaged does not come back at all, and random
 * histories never break a promise, wherever they are cut. */
#include "tests/support/policy_kit.h"

#include <criterion/criterion.h>

#include "model/block.h"
#include "policy/internal.h"

static const int64_t berlin_at[] = {0, 1774746000};
static const int32_t berlin_off[] = {3600, 7200};
static const struct tz_rules berlin = {"Europe/Berlin", 2, berlin_at, berlin_off};
static const int64_t kolkata_at[] = {0};
static const int32_t kolkata_off[] = {19800};
static const struct tz_rules kolkata = {"Asia/Kolkata", 1, kolkata_at, kolkata_off};

static struct quiet_hours nights(bool drop) {
    return (struct quiet_hours){.on = true, .drop = drop, .from_min = 21 * 60, .to_min = 8 * 60};
}

/* One campaign of each kind and then some, with every kind of limit. */
static struct kit *busy_kit(void) {
    struct kit *k = kit_new();
    struct campaign_spec *c = kit_campaign(k, "cart", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
    c->priority = 5;
    c->quiet = nights(false);
    c->caps = (struct caps){1, {{2, 5 * DAY}}};
    c = kit_campaign(k, "viewed", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_VIEWED,
                                       .subject = VIEWS_OF_SAME_CATEGORY,
                                       .times = 3,
                                       .within_ms = 2 * DAY};
    c->channel = STR("push");
    c->quiet = nights(true);
    c->budget = 2;
    c = kit_campaign(k, "drop", EV_VIEW);
    c->trigger =
        (struct trigger_spec){.kind = TRIGGER_PRICE_DROP, .percent = 10, .within_ms = 5 * DAY};
    c->quiet = nights(false);
    c->offer[0].discount = true;
    c = kit_campaign(k, "lapsed", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_LAPSED, .days_ms = 3 * DAY};
    c->reentry = REENTRY_AFTER;
    c->reentry_ms = 20 * DAY;
    c = kit_campaign(k, "fav", EV_FAVORITE);
    c->priority = 3;
    c->budget = 3;
    c->quiet = nights(false);
    c->valid_ms = 8 * HOUR;
    c = kit_campaign(k, "fav2", EV_FAVORITE);
    c->channel = STR("push");
    c->caps = (struct caps){2, {{1, DAY}, {3, 10 * DAY}}};
    c = kit_campaign(k, "once", EV_SEARCH);
    c->reentry = REENTRY_NEVER;
    c->quiet = nights(false);
    c = kit_campaign(k, "receipt", EV_PURCHASE);
    c->transactional = true;
    k->spec.tz = &berlin;
    k->spec.holdout = 1500;
    k->spec.user_caps = (struct caps){2, {{2, DAY}, {6, 7 * DAY}}};
    k->spec.n_channel_caps = 1;
    k->spec.channel_caps[0].channel = STR("push");
    k->spec.channel_caps[0].caps = (struct caps){1, {{1, DAY}}};
    kit_start(k);
    return k;
}

/* Everything a user can have: timers of both kinds, with prices too, sends, marks, views. */
static void busy_user(struct kit *k, struct kit_user *u) {
    kit_user(u, "busy");
    for (int i = 0; i < 4; i++) /* in the night: dropped, but marked as answered */
        kit_do(k, u, EV_VIEW, "i3", MONDAY + i * MINUTE);
    kit_do(k, u, EV_FAVORITE, "i1", MONDAY + 12 * HOUR);
    kit_do(k, u, EV_CART_ADD, "i3", MONDAY + 22 * HOUR);
    kit_do(k, u, EV_SEARCH, "i4", MONDAY + 22 * HOUR + MINUTE);
    struct policy_context c = kit_context(k, u);
    policy_on_price_drop(&c, k->item[3], 100, 80, MONDAY + 22 * HOUR + 2 * MINUTE, &k->out);
    cr_assert(kit_count(k, "viewed", PR_QUIET) == 1 && kit_count(k, "fav", PR_SENT) == 1);
    cr_assert(kit_count(k, "once", PR_POSTPONED) == 1 && kit_count(k, "drop", PR_POSTPONED) == 1);
}

static struct buf encoded(const struct kit *k, const struct user *u) {
    struct buf b = {0};
    cr_assert_eq(policy_user_encode(k->set, u, k->model, &b), 0);
    return b;
}

static bool same_bytes(const struct buf *a, const struct buf *b) {
    return a->n == b->n && memcmp(a->p, b->p, a->n) == 0;
}

Test(policy_state, who_has_nothing_costs_a_byte) {
    struct kit *k = busy_kit();
    struct kit_user u;
    kit_user(&u, "anna");
    struct buf b = encoded(k, &u.u);
    size_t used = 0;
    cr_assert_eq(b.n, 1);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, b.p, b.n, &used), 0);
    cr_assert(used == 1 && u.u.ext == NULL && u.u.due_ms == INT64_MAX &&
              policy_user_bytes(&u.u) == 0);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, b.p, 0, &used), -EBADMSG);
    buf_free(&b);
    kit_free(k);
}

Test(policy_state, a_user_comes_back_the_same) {
    struct kit *k = busy_kit();
    struct kit_user u;
    busy_user(k, &u);
    struct buf a = encoded(k, &u.u);
    int64_t due = u.u.due_ms;
    size_t used;
    cr_assert_gt(policy_user_bytes(&u.u), 0);
    buf_put(&a, "tail", 4); /* of whatever follows in the record */
    policy_user_free(u.u.ext);
    u.u.ext = NULL;
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), 0);
    cr_assert(used == a.n - 4 && u.u.due_ms == due);
    struct buf b = encoded(k, &u.u);
    a.n -= 4;
    cr_assert(same_bytes(&a, &b));
    buf_free(&a);
    buf_free(&b);
    kit_user_free(&u);
    kit_free(k);
}

Test(policy_state, any_cut_and_any_flipped_bit_is_refused_and_changes_nothing) {
    struct kit *k = busy_kit();
    struct kit_user u;
    busy_user(k, &u);
    struct buf a = encoded(k, &u.u);
    void *ext = u.u.ext;
    size_t used;
    for (size_t n = 0; n < a.n; n++)
        cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, n, &used), -EBADMSG,
                     "cut to %zu", n);
    for (size_t bit = 8; bit < a.n * 8;
         bit++) { /* version 1 without its bit is "nothing", the length tells */
        a.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), -EBADMSG,
                     "bit %zu", bit);
        a.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(u.u.ext, ext);
    struct buf s = {0};
    cr_assert_eq(policy_shard_encode(k->shard, &s), 0);
    for (size_t n = 0; n < s.n; n++)
        cr_assert_eq(policy_shard_restore(k->shard, s.p, n), -EBADMSG);
    for (size_t bit = 0; bit < s.n * 8; bit++) {
        s.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(policy_shard_restore(k->shard, s.p, s.n), -EBADMSG);
        s.p[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(policy_shard_restore(k->shard, s.p, s.n), 0);
    buf_free(&a);
    buf_free(&s);
    kit_user_free(&u);
    kit_free(k);
}

/* What the first version wrote of a user with a postponed timer, two sends, a mark and two views.
 */
static const uint8_t first_version[] = {
    0x01, 0x90, 0x00, 0x00, 0x00, 0x80, 0x8c, 0xca, 0xed, 0x95, 0x67, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0x01, 0x01, 0x01, 0x80, 0xa0, 0xb0, 0xab, 0x96, 0x67, 0x80, 0xdc, 0x85,
    0x89, 0x96, 0x67, 0x2f, 0xae, 0x13, 0xd6, 0xd8, 0x93, 0x8d, 0xb0, 0xd9, 0x27, 0xf0, 0xd1, 0xda,
    0x38, 0x9b, 0x58, 0x02, 0x69, 0x34, 0x02, 0x80, 0x98, 0xdb, 0xe6, 0x95, 0x67, 0x3f, 0x61, 0x91,
    0x61, 0x01, 0x47, 0x63, 0x52, 0x57, 0x1a, 0xf8, 0x84, 0x30, 0xd9, 0x46, 0xff, 0xa1, 0xb3, 0x7c,
    0xd0, 0x01, 0x80, 0x8c, 0xca, 0xed, 0x95, 0x67, 0x72, 0xac, 0x1c, 0xf7, 0x99, 0xf4, 0x91, 0x54,
    0xed, 0xf9, 0x4d, 0x19, 0x0c, 0x7b, 0x09, 0x33, 0xa1, 0xb3, 0x7c, 0xd0, 0x01, 0x01, 0xed, 0xf9,
    0x4d, 0x19, 0x0c, 0x7b, 0x09, 0x33, 0x80, 0x8c, 0xca, 0xed, 0x95, 0x67, 0x02, 0xd0, 0x89, 0xa5,
    0x69, 0x8b, 0xa8, 0xfe, 0x7d, 0x09, 0x73, 0xbf, 0x2c, 0xe0, 0x97, 0xa5, 0x69, 0x8b, 0xa8, 0xfe,
    0x7d, 0x09, 0x73, 0xbf, 0x2c, 0x1b, 0xa1, 0x09, 0xc7,
};

Test(policy_state, what_the_first_version_wrote_is_still_read) {
    struct kit *k = kit_new();
    struct kit_user u;
    size_t used;
    kit_campaign(k, "fav", EV_FAVORITE)->caps = (struct caps){1, {{1, DAY}}};
    kit_campaign(k, "once", EV_SEARCH)->quiet = nights(false);
    kit_campaign(k, "viewed", EV_VIEW)->caps = (struct caps){1, {{1, DAY}}};
    kit_start(k);
    kit_user(&u, "anna");
    cr_assert_eq(
        policy_user_restore(k->set, &u.u, k->model, first_version, sizeof first_version, &used), 0);
    cr_assert_eq(used, sizeof first_version);
    cr_assert_eq(u.u.due_ms, MONDAY + 32 * HOUR);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 23 * HOUR);
    kit_do(k, &u, EV_VIEW, NULL, MONDAY + 23 * HOUR + 1);
    cr_assert(kit_count(k, "fav", PR_CAP_CAMPAIGN) == 1 &&
              kit_count(k, "viewed", PR_CAP_CAMPAIGN) == 1);
    kit_time(k, &u, MONDAY + 2 * DAY);
    cr_assert(kit_count(k, "once", PR_SENT) == 1 && k->out.d[2].item == k->item[4]);
    kit_user_free(&u);
    kit_free(k);
}

/* The same record with an open window's columns as version 2 had them. */
static void with_older_columns(const struct buf *from, const float *x, struct buf *to) {
    enum { OLDER_BYTES = 112 * sizeof(float) };
    static const float older[112] = {1, 2, 3};
    struct wire w;
    size_t used;
    cr_assert_eq(block_open(from->p, from->n, from->p[0], &w, &used), 0);
    const uint8_t *at = memmem(w.p, (size_t)(w.end - w.p), x, FEATURES_BYTES);
    cr_assert(at && at[-1] == FEATURES_VERSION);
    size_t begun = block_begin(to, from->p[0]);
    wire_put(to, w.p, (size_t)(at - 1 - w.p));
    wire_put_u8(to, 2);
    wire_put(to, older, OLDER_BYTES);
    at += FEATURES_BYTES;
    wire_put(to, at, (size_t)(w.end - at));
    cr_assert_eq(block_end(to, begun), 0);
}

Test(policy_state, windows_with_columns_of_an_older_version_stay_open) {
    struct kit *k = kit_new();
    struct kit_user u, again;
    struct buf now = {0}, older = {0};
    size_t used;
    kit_campaign(k, "fav", EV_FAVORITE)->group = STR("g");
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){.name = STR("g"), .method = METHOD_RANDOM};
    kit_start(k);
    kit_user(&u, "anna");
    kit_user(&again, "anna");
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    struct user_ext *x = u.u.ext;
    cr_assert(x && x->n_pending == 1 && x->pending[0].x);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &now), 0);
    with_older_columns(&now, x->pending[0].x, &older);
    cr_assert_eq(policy_user_restore(k->set, &again.u, k->model, older.p, older.n, &used), 0);
    cr_assert_eq(used, older.n);
    struct user_ext *y = again.u.ext;
    cr_assert(y && y->n_pending == 1 && !y->pending[0].x);
    cr_assert_eq(y->pending[0].until_ms, x->pending[0].until_ms);
    buf_free(&now);
    buf_free(&older);
    kit_user_free(&u);
    kit_user_free(&again);
    kit_free(k);
}

Test(policy_state, the_file_may_be_reordered_and_the_catalogue_numbered_anew) {
    struct kit *k = busy_kit();
    struct kit_user u;
    busy_user(k, &u);
    struct buf a = encoded(k, &u.u), s = {0};
    cr_assert_eq(policy_shard_encode(k->shard, &s), 0);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    for (size_t i = 0; i < k->spec.n / 2; i++) {
        struct campaign_spec t = k->campaign[i];
        k->campaign[i] = k->campaign[k->spec.n - 1 - i];
        k->campaign[k->spec.n - 1 - i] = t;
    }
    kit_start(k);
    model_free(k->model);
    struct model_config mc;
    model_config_default(&mc);
    mc.dim = 8;
    cr_assert_eq(model_new(&mc, &k->model), 0);
    cr_assert_neq(model_item_admit(k->model, STR("somebody else's"), MONDAY), ROW_NONE);
    size_t used;
    cr_assert_eq(policy_shard_restore(k->shard, s.p, s.n), 0);
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), 0);
    kit_forget(k);
    kit_time(k, &u, MONDAY + 2 * DAY);
    size_t found = 0;
    for (size_t i = 0; i < k->out.n; i++)
        if (k->out.d[i].campaign == policy_campaign_find(k->set, STR("drop"))) {
            struct item_view v;
            model_item_view(k->model, k->out.d[i].item, &v);
            cr_assert(str_eq(v.id, STR("i3")) && k->out.d[i].old_price == 100 &&
                      k->out.d[i].new_price == 80);
            found++;
        }
    cr_assert_eq(found, 1);
    buf_free(&a);
    buf_free(&s);
    kit_user_free(&u);
    kit_free(k);
}

Test(policy_state, sends_of_a_campaign_that_left_the_file_still_count) {
    struct kit *k = kit_new();
    struct kit_user u;
    kit_user(&u, "anna");
    kit_campaign(k, "gone", EV_FAVORITE);
    k->spec.user_caps = (struct caps){1, {{1, 7 * DAY}}};
    kit_start(k);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY);
    struct buf a = encoded(k, &u.u);
    policy_shard_free(k->shard);
    policy_set_free(k->set);
    k->campaign[0].id = STR("new");
    kit_forget(k);
    kit_start(k);
    size_t used;
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), 0);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + DAY);
    kit_do(k, &u, EV_FAVORITE, NULL, MONDAY + 7 * DAY);
    cr_assert(kit_count(k, "new", PR_CAP_USER) == 1 && kit_count(k, "new", PR_SENT) == 1);
    buf_free(&a);
    kit_user_free(&u);
    kit_free(k);
}

Test(policy_state, a_repeated_event_is_known_after_a_restart_and_its_id_is_the_same) {
    struct kit *k = kit_new();
    struct kit_user u;
    kit_user(&u, "anna");
    kit_campaign(k, "a", EV_FAVORITE);
    kit_start(k);
    struct event e = {
        .id = STR("once"), .type = EV_FAVORITE, .time_ms = MONDAY, .value = NAN, .dwell_ms = NAN};
    struct policy_context c = kit_context(k, &u);
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    struct buf a = encoded(k, &u.u);
    size_t used;
    cr_assert_eq(policy_user_restore(k->set, &u.u, k->model, a.p, a.n, &used), 0);
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    cr_assert_eq(k->out.n, 1);
    policy_user_free(u.u.ext); /* a crash that lost it all: sent again, under the same id */
    u.u.ext = NULL;
    policy_on_event(&c, &e, ROW_NONE, &k->out);
    cr_assert(k->out.n == 2 && k->out.d[1].send);
    cr_assert_arr_eq(k->out.d[0].trigger_hash, k->out.d[1].trigger_hash,
                     sizeof k->out.d[0].trigger_hash);
    buf_free(&a);
    kit_user_free(&u);
    kit_free(k);
}

/* ---- random histories ------------------------------------------------------------ */

enum { USERS = 12, STEPS = 1500, LATE = 16 };

struct world {
    struct kit *k;
    struct policy_shard *shard[2];
    struct kit_user user[USERS];
    int64_t stream_ms;
    bool held[USERS], reached[USERS];
};

/* What must hold the moment something is sent. */
static void check_send(struct world *w, size_t i, const struct decision *d) {
    const struct campaign_spec *c = policy_campaign_spec(w->k->set, d->campaign);
    const struct consent *consent = &w->user[i].consent;
    uint32_t bit = 1u << policy_channel_find(w->k->set, c->channel);
    cr_assert(!(consent->known && consent->denied & bit), "sent without consent");
    cr_assert(c->transactional ||
                  !quiet_at(&c->quiet, consent->tz ? consent->tz : &berlin, d->time_ms),
              "sent in quiet hours");
    w->reached[i] = true;
}

static void noted(struct world *w, size_t i, size_t from) {
    for (; from < w->k->out.n; from++) {
        const struct decision *d = &w->k->out.d[from];
        cr_assert_eq(d->user, &w->user[i].u);
        w->held[i] |= d->reason == PR_HOLDOUT;
        if (d->send)
            check_send(w, i, d);
    }
    cr_assert(!(w->held[i] && w->reached[i]), "the hold-out changed its mind");
}

/* Cuts the history: users, shards or the whole set go through their durable form. */
static void cut(struct world *w, struct rng *r) {
    struct kit *k = w->k;
    struct buf user[USERS] = {0}, shard[2] = {0};
    size_t used;
    for (size_t i = 0; i < USERS; i++)
        cr_assert_eq(policy_user_encode(k->set, &w->user[i].u, k->model, &user[i]), 0);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(policy_shard_encode(w->shard[i], &shard[i]), 0);
        policy_shard_free(w->shard[i]);
    }
    if (rng_below(r, 2)) {
        policy_set_free(k->set);
        cr_assert_eq(policy_set_new(&k->spec, &k->set), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(policy_shard_new(k->set, &w->shard[i]), 0);
        cr_assert_eq(policy_shard_restore(w->shard[i], shard[i].p, shard[i].n), 0);
        buf_free(&shard[i]);
    }
    for (size_t i = 0; i < USERS; i++) {
        cr_assert_eq(
            policy_user_restore(k->set, &w->user[i].u, k->model, user[i].p, user[i].n, &used), 0);
        buf_free(&user[i]);
    }
}

/* One step as the engine takes it: every timer of the partition, then the event. */
static void step(struct world *w, size_t i, struct event e) {
    struct kit *k = w->k;
    w->stream_ms = MAX(w->stream_ms, e.time_ms);
    for (size_t j = i % 2; j < USERS; j += 2) { /* users of this shard */
        size_t before = k->out.n;
        k->shard = w->shard[i % 2];
        if (w->user[j].u.due_ms <= w->stream_ms)
            kit_time(k, &w->user[j], w->stream_ms);
        noted(w, j, before);
    }
    size_t before = k->out.n;
    kit_event(k, &w->user[i], e);
    noted(w, i, before);
}

/* On the heap, because the decisions point at its users. */
static struct world *history(uint64_t seed, bool with_cuts) {
    static const uint8_t types[] = {EV_VIEW,        EV_VIEW,     EV_VIEW,     EV_CART_ADD,
                                    EV_CART_REMOVE, EV_CLICK,    EV_FAVORITE, EV_SEARCH,
                                    EV_PURCHASE,    EV_FAVORITE, EV_VIEW,     EV_CAMPAIGN_OPEN};
    struct world *w = calloc(1, sizeof *w);
    *w = (struct world){.k = busy_kit(), .stream_ms = INT64_MIN};
    struct rng r, cuts;
    struct event recent[LATE];
    size_t whose[LATE];
    char ids[LATE][32], items[LATE][8];
    rng_seed(&r, seed);
    rng_seed(&cuts, seed + 1);
    w->shard[0] = w->k->shard;
    cr_assert_eq(policy_shard_new(w->k->set, &w->shard[1]), 0);
    for (size_t i = 0; i < USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%zu", i);
        kit_user(&w->user[i], id);
    }
    size_t written = 0;
    int64_t now = MONDAY + 20 * DAY; /* over Berlin's change of clocks */
    for (size_t n = 0; n < STEPS; n++) {
        size_t at = written % LATE, i = rng_below(&r, USERS);
        now += (int64_t)rng_below(&r, rng_below(&r, 50) ? 900 : 4 * 86400) * SECOND;
        if (written >= LATE && rng_below(&r, 10) == 0) { /* delivered again; the profile knows it */
            size_t again = rng_below(&r, LATE);
            step(w, whose[again], recent[again]);
            continue;
        }
        int64_t late = rng_below(&r, 8) ? 0 : (int64_t)rng_below(&r, 3 * 86400) * SECOND;
        snprintf(ids[at], sizeof ids[at], "e%zu", n);
        snprintf(items[at], sizeof items[at], "i%u", rng_below(&r, KIT_ITEMS));
        whose[at] = i;
        written++;
        recent[at] = (struct event){.id = str_of(ids[at]),
                                    .item = str_of(items[at]),
                                    .type = types[rng_below(&r, ARRAY_LEN(types))],
                                    .time_ms = now - late,
                                    .value = NAN,
                                    .dwell_ms = NAN};
        uint32_t wish = rng_below(&r, 60);
        if (wish < 3)
            w->user[i].consent = (struct consent){.known = wish > 0,
                                                  .denied = wish == 1 ? 1 + rng_below(&r, 3) : 0,
                                                  .granted = 0,
                                                  .tz = rng_below(&r, 2) ? &kolkata : NULL};
        if (rng_below(&r, 30) == 0) {
            size_t before = w->k->out.n;
            w->k->shard = w->shard[i % 2];
            struct policy_context c = kit_context(w->k, &w->user[i]);
            policy_on_time(&c, w->stream_ms, &w->k->out);
            policy_on_price_drop(&c, w->k->item[rng_below(&r, KIT_ITEMS)], 100,
                                 50 + rng_below(&r, 50), w->stream_ms, &w->k->out);
            noted(w, i, before);
        }
        if (with_cuts && rng_below(&cuts, 7) == 0)
            cut(w, &cuts);
        step(w, i, recent[at]);
    }
    w->k->shard = NULL;
    return w;
}

static void end(struct world *w) {
    for (size_t i = 0; i < USERS; i++)
        kit_user_free(&w->user[i]);
    for (size_t i = 0; i < 2; i++)
        policy_shard_free(w->shard[i]);
    kit_free(w->k);
    free(w);
}

/* No window of a cap holds more than it allows, whatever campaign, channel or user it is of. */
static void check_caps(const struct world *w) {
    const struct kit *k = w->k;
    for (size_t a = 0; a < k->out.n; a++) {
        const struct decision *d = &k->out.d[a];
        const struct campaign_spec *c = policy_campaign_spec(k->set, d->campaign);
        uint32_t day = 0, week = 0, push = 0, cart = 0, fav_day = 0, fav_long = 0, spent = 0;
        if (!d->send)
            continue;
        for (size_t b = 0; b < k->out.n; b++) {
            const struct decision *o = &k->out.d[b];
            const struct campaign_spec *oc = policy_campaign_spec(k->set, o->campaign);
            int64_t ago = d->time_ms - o->time_ms;
            if (!o->send)
                continue;
            cr_assert(a == b || o->trigger_hash[0] != d->trigger_hash[0], "sent twice");
            spent += o->campaign == d->campaign &&
                     tz_day(&berlin, o->time_ms) == tz_day(&berlin, d->time_ms);
            if (o->user != d->user || ago < 0)
                continue;
            bool same = o->campaign == d->campaign;
            if (a != b && same && c->reentry != REENTRY_ALWAYS)
                cr_assert(c->reentry == REENTRY_AFTER && ago >= c->reentry_ms,
                          "entered again too soon");
            if (c->transactional || oc->transactional)
                continue;
            day += ago < DAY;
            week += ago < 7 * DAY;
            push +=
                ago < DAY && str_eq(oc->channel, STR("push")) && str_eq(c->channel, STR("push"));
            cart += same && str_eq(c->id, STR("cart")) && ago < 5 * DAY;
            fav_day += same && str_eq(c->id, STR("fav2")) && ago < DAY;
            fav_long += same && str_eq(c->id, STR("fav2")) && ago < 10 * DAY;
        }
        cr_assert(day <= 2 && week <= 6 && push <= 1 && cart <= 2 && fav_day <= 1 && fav_long <= 3);
        cr_assert(spent <= c->budget, "budget overspent");
    }
}

Test(policy_state, random_histories_keep_every_promise_and_do_not_notice_restarts, .timeout = 100) {
    size_t reasons[PR_COUNT] = {0};
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct world *a = history(seed, false), *b = history(seed, true);
        check_caps(a);
        cr_assert_eq(a->k->out.n, b->k->out.n, "seed %d", (int)seed);
        for (size_t i = 0; i < a->k->out.n; i++) {
            struct decision x = a->k->out.d[i], y = b->k->out.d[i];
            reasons[x.reason]++;
            cr_assert(x.campaign == y.campaign && x.reason == y.reason && x.time_ms == y.time_ms &&
                          x.valid_until_ms == y.valid_until_ms && x.item == y.item &&
                          x.trigger_hash[0] == y.trigger_hash[0] &&
                          x.trigger_hash[1] == y.trigger_hash[1] && x.cause_hash == y.cause_hash &&
                          str_eq(x.user->id, y.user->id),
                      "seed %d, decision %zu: %s and %s", (int)seed, i,
                      policy_reason_name(x.reason), policy_reason_name(y.reason));
        }
        for (size_t i = 0; i < USERS; i++)
            cr_assert_eq(a->user[i].u.due_ms, b->user[i].u.due_ms);
        end(a);
        end(b);
    }
    const enum policy_reason met[] = {PR_SENT,     PR_NO_CONSENT,  PR_SENSITIVE,    PR_HOLDOUT,
                                      PR_CAP_USER, PR_CAP_CHANNEL, PR_QUIET,        PR_POSTPONED,
                                      PR_BUDGET,   PR_NOT_BEST,    PR_CAP_CAMPAIGN, PR_EXPIRED};
    for (size_t i = 0; i < ARRAY_LEN(met); i++)
        cr_assert_gt(reasons[met[i]], 0, "the histories never met %s", policy_reason_name(met[i]));
}
