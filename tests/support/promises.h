/* Campaigns with every kind of limit, under events in any order, clocks that run wrong, consent
 * that comes and goes, partitions that move between processes, and processes that die and replay;
 * and somebody who keeps books of his own and aborts when a promise is broken. Needs no test
 * framework: a unit test runs it for a while, a benchmark for long. */
#pragma once

#include "policy/evidence.h"
#include "tests/support/policy_kit.h"

enum {
    P_PROCESSES = 3,
    P_PARTITIONS = 5,
    P_USERS = 60,
    P_JOURNAL = 24,
    P_SENDS = 64,
    P_DAYS = 4096,
    P_CODES = 400,
    P_SLACK = 10,
    P_CAMPAIGNS = 7
};

/* What somebody outside knows of a user. */
struct p_user {
    struct kit_user k;
    struct buf saved; /* his state as of the last commit */
    size_t n_sends;
    struct {
        int64_t time_ms;
        uint16_t campaign;
    } send[P_SENDS];                  /* a ring of the newest */
    int64_t decided_ms, denied_ms[2]; /* by channel: email, push */
    int64_t saved_denied_ms[2];       /* as of the last commit, like saved_minor */
    bool minor, saved_minor, sent, held, dirty;
    bool withheld[P_CAMPAIGNS], got[P_CAMPAIGNS]; /* by a hold-out or an arm; a message */
    uint32_t exposed[P_CAMPAIGNS];                /* decisions that say so */
};

struct p_partition {
    size_t process;
    struct policy_shard *shard;
    struct buf saved;
    size_t n; /* events since the last commit, to be replayed after a crash */
    struct event event[P_JOURNAL];
    char id[P_JOURNAL][24], item[P_JOURNAL][8];
    size_t user[P_JOURNAL];
    struct decisions out; /* not committed yet */
};

struct promises {
    struct kit *kit;
    struct policy_set *set[P_PROCESSES];
    struct p_partition part[P_PARTITIONS];
    struct p_user user[P_USERS];
    struct rng rng;
    int64_t now_ms;
    uint32_t spent[P_CAMPAIGNS][P_DAYS];
    uint8_t code[P_CODES];
    uint64_t events, sends, outcomes, crashes, moves, by_reason[PR_COUNT];
    uint8_t approved[P_CAMPAIGNS];
};

static const int64_t p_berlin_at[] = {0, 1774746000, 1792890000};
static const int32_t p_berlin_off[] = {3600, 7200, 3600};
static const struct tz_rules p_berlin = {"Europe/Berlin", 3, p_berlin_at, p_berlin_off};
static const int64_t p_kolkata_at[] = {0};
static const int32_t p_kolkata_off[] = {19800};
static const struct tz_rules p_kolkata = {"Asia/Kolkata", 1, p_kolkata_at, p_kolkata_off};

static inline void p_campaigns(struct kit *k, const struct str *codes) {
    const struct quiet_hours night = {.on = true, .from_min = 21 * 60, .to_min = 8 * 60};
    struct campaign_spec *c = kit_campaign(k, "cart", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_CART_ABANDONED, .after_ms = HOUR};
    c->quiet = night;
    c->caps = (struct caps){1, {{2, 5 * DAY}}};
    c->window_ms = 2 * DAY;
    c->budget = 12;
    c = kit_campaign(k, "second", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_FOLLOWS,
                                       .campaign = STR("cart"),
                                       .after_ms = DAY,
                                       .unless = FOLLOW_UNLESS_OPENED};
    c->channel = STR("push");
    c->quiet = night;
    c = kit_campaign(k, "coupon", EV_FAVORITE);
    c->n_offers = 3;
    c->offer[0] = (struct offer_spec){.name = STR("none"), .json = STR("{}")};
    c->offer[1] = (struct offer_spec){
        .name = STR("ten"), .json = STR("{}"), .discount = true, .percent = 10, .pool = 1};
    c->offer[2] = (struct offer_spec){
        .name = STR("thirty"), .json = STR("{}"), .discount = true, .percent = 30};
    c->group = STR("coupons");
    c->budget = 9;
    c->even = true;
    c->priority = 3;
    c->quiet = (struct quiet_hours){.on = true, .drop = true, .from_min = 21 * 60, .to_min = 480};
    c = kit_campaign(k, "once", EV_SEARCH);
    c->reentry = REENTRY_NEVER;
    c->holdout = 2500;
    c = kit_campaign(k, "lapsed", EV_VIEW);
    c->trigger = (struct trigger_spec){.kind = TRIGGER_LAPSED, .days_ms = 2 * DAY};
    c->channel = STR("push");
    c->reentry = REENTRY_AFTER;
    c->reentry_ms = 9 * DAY;
    c->quiet = night;
    c = kit_campaign(k, "receipt", EV_PURCHASE);
    c->transactional = true;
    c->budget = 10; /* met every day, because no cap holds it back */
    c = kit_campaign(k, "often", EV_VIEW);
    c->channel = STR("push");
    c->budget = 7;
    k->spec.tz = &p_berlin;
    k->spec.holdout = 1000;
    k->spec.user_caps = (struct caps){2, {{2, DAY}, {6, 7 * DAY}}};
    k->spec.n_channel_caps = 1;
    k->spec.channel_caps[0].channel = STR("push");
    k->spec.channel_caps[0].caps = (struct caps){1, {{1, DAY}}};
    k->spec.budget_slack = P_SLACK;
    k->spec.protect.minimum_age = 18;
    k->spec.approval.percent = 20;
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){.name = STR("coupons"), .method = METHOD_RANDOM};
    /* Half of the users do not get `often`. */
    static struct arm_spec arms[2];
    static struct experiment_arms half;
    arms[0] = (struct arm_spec){.name = STR("without"), .n_off = 1, .off = {STR("often")}};
    arms[1] = (struct arm_spec){.name = STR("with")};
    half = (struct experiment_arms){
        .name = STR("half"),
        .spec = {STR("half"), STR("half"), 0, EXPERIMENT_BUCKETS, 2, {1, 1}},
        .arm = arms,
        .window_ms = 5 * DAY,
    };
    k->spec.n_experiments = 1;
    k->spec.experiment = &half;
    k->spec.n_pools = 1;
    k->spec.pool[0] = (struct pool_spec){STR("codes"), P_CODES, codes};
}

static inline void p_shares(struct promises *p) {
    for (size_t i = 0; i < P_PROCESSES; i++) {
        uint32_t owned = 0;
        for (size_t j = 0; j < P_PARTITIONS; j++)
            owned += p->part[j].process == i;
        policy_set_budget_share(p->set[i], owned, P_PARTITIONS);
    }
}

static inline void p_load(struct promises *p, size_t partition) {
    struct p_partition *t = &p->part[partition];
    struct policy_set *set = p->set[t->process];
    policy_shard_free(t->shard);
    KIT_CHECK(policy_shard_new(set, &t->shard) == 0);
    policy_shard_place(t->shard, (uint32_t)partition, P_PARTITIONS);
    if (t->saved.n)
        KIT_CHECK(policy_shard_restore(t->shard, t->saved.p, t->saved.n) == 0);
    for (size_t i = partition; i < P_USERS; i += P_PARTITIONS) {
        struct p_user *u = &p->user[i];
        size_t used;
        if (u->saved.n)
            KIT_CHECK(policy_user_restore(set, &u->k.u, p->kit->model, u->saved.p, u->saved.n,
                                          &used) == 0);
    }
}

static inline struct promises *promises_new(uint64_t seed) {
    static char text[P_CODES][8];
    static struct str codes[P_CODES];
    struct promises *p = calloc(1, sizeof *p);
    KIT_CHECK(p);
    for (size_t i = 0; i < P_CODES; i++) {
        snprintf(text[i], sizeof text[i], "%zu", i);
        codes[i] = str_of(text[i]);
    }
    p->kit = kit_new();
    p_campaigns(p->kit, codes);
    rng_seed(&p->rng, seed);
    p->now_ms = MONDAY + 20 * DAY; /* before Berlin's change of clocks */
    for (size_t i = 0; i < P_PROCESSES; i++)
        KIT_CHECK(policy_set_new(&p->kit->spec, &p->set[i]) == 0);
    for (size_t i = 0; i < P_USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%zu", i);
        kit_user(&p->user[i].k, id);
        p->user[i].decided_ms = p->user[i].denied_ms[0] = p->user[i].denied_ms[1] = INT64_MIN;
        memcpy(p->user[i].saved_denied_ms, p->user[i].denied_ms, sizeof p->user[i].denied_ms);
    }
    for (size_t i = 0; i < P_PARTITIONS; i++) {
        p->part[i].process = i % P_PROCESSES;
        p_load(p, i);
    }
    p_shares(p);
    return p;
}

/* ---- the books ---- */

static inline bool p_quiet(const struct tz_rules *tz, int64_t time_ms) {
    int64_t s = time_ms / 1000, offset = tz->offset_s[0];
    for (size_t i = 1; i < tz->n; i++)
        offset = s >= tz->at_s[i] ? tz->offset_s[i] : offset;
    int64_t minute = ((s + offset) / 60) % 1440;
    return minute >= 21 * 60 || minute < 8 * 60;
}

/* What holds at the moment of deciding, whatever becomes of the transaction. */
static inline void p_check_moment(const struct promises *p, const struct p_user *u,
                                  const struct decision *d) {
    const struct policy_set *set = p->set[0];
    const struct campaign_spec *c = policy_campaign_spec(set, d->campaign);
    int ch = policy_channel_find(set, c->channel);
    const struct consent *said = &u->k.consent;
    if (!d->send)
        return;
    KIT_CHECK(!p->kit->spec.protect.minimum_age || !u->minor);
    KIT_CHECK(!(said->known && said->denied >> ch & 1));
    KIT_CHECK(u->denied_ms[str_eq(c->channel, STR("push"))] < MAX(said->said_ms, INT64_MIN + 1));
    if (c->quiet.on)
        KIT_CHECK(!p_quiet(said->tz ? said->tz : &p_berlin, d->time_ms));
    KIT_CHECK(c->offer[d->offer].percent <= 20 || p->approved[d->campaign]);
    KIT_CHECK(!*d->code == !c->offer[d->offer].pool);
}

static inline void p_check_caps(const struct promises *p, const struct p_user *u,
                                const struct decision *d) {
    const struct policy_set *set = p->set[0];
    const struct campaign_spec *c = policy_campaign_spec(set, d->campaign);
    uint32_t day = 1, week = 1, push = 1, own = 1;
    for (size_t i = 0; i < MIN(u->n_sends, (size_t)P_SENDS); i++) {
        const struct campaign_spec *o = policy_campaign_spec(set, u->send[i].campaign);
        int64_t ago = d->time_ms - u->send[i].time_ms;
        bool same = u->send[i].campaign == d->campaign;
        KIT_CHECK(!same || c->reentry == REENTRY_ALWAYS ||
                  (c->reentry == REENTRY_AFTER && ago >= c->reentry_ms));
        if (o->transactional || c->transactional)
            continue;
        day += ago < DAY;
        week += ago < 7 * DAY;
        push += ago < DAY && str_eq(o->channel, STR("push")) && str_eq(c->channel, STR("push"));
        own += same && c->caps.n && ago < c->caps.cap[0].per_ms;
    }
    KIT_CHECK(c->transactional || (day <= 2 && week <= 6 && push <= 1));
    KIT_CHECK(c->transactional || !c->caps.n || own <= c->caps.cap[0].n);
}

/* A decision that was committed: it is in the world now. */
static inline void p_book(struct promises *p, const struct decision *d) {
    struct p_user *u = (struct p_user *)((char *)d->user - offsetof(struct p_user, k.u));
    const struct campaign_spec *c = policy_campaign_spec(p->set[0], d->campaign);
    p->by_reason[d->reason]++;
    KIT_CHECK(d->time_ms >= u->decided_ms);
    u->decided_ms = d->time_ms;
    u->held |= d->reason == PR_HOLDOUT;
    u->withheld[d->campaign] |= d->reason == PR_CAMPAIGN_HOLDOUT || d->reason == PR_EXPERIMENT;
    u->got[d->campaign] |= d->send;
    u->exposed[d->campaign] += d->exposed;
    KIT_CHECK(!(u->withheld[d->campaign] && u->got[d->campaign]));
    KIT_CHECK(u->exposed[d->campaign] <= 1);
    if (!d->send)
        return;
    p_check_caps(p, u, d);
    u->sent = true;
    size_t at = u->n_sends++ % P_SENDS;
    u->send[at].time_ms = d->time_ms;
    u->send[at].campaign = d->campaign;
    int32_t day = tz_day(&p_berlin, d->time_ms) - tz_day(&p_berlin, MONDAY);
    KIT_CHECK(day >= 0 && day < P_DAYS);
    KIT_CHECK(++p->spent[d->campaign][day] <=
              (uint64_t)c->budget + (uint64_t)c->budget * P_SLACK / 100);
    if (*d->code)
        KIT_CHECK(p->code[atoi(d->code)]++ == 0);
    p->sends++;
}

/* ---- transactions ---- */

static inline void p_commit(struct promises *p, size_t partition) {
    struct p_partition *t = &p->part[partition];
    for (size_t i = 0; i < t->out.n; i++)
        p_book(p, &t->out.d[i]);
    for (size_t i = 0; i < t->out.n_o; i++) {
        KIT_CHECK(t->out.o[i].user);
        p->outcomes += !t->out.o[i].nothing;
    }
    policy_decisions_reset(&t->out);
    buf_reset(&t->saved);
    KIT_CHECK(policy_shard_encode(t->shard, &t->saved) == 0);
    for (size_t i = partition; i < P_USERS; i += P_PARTITIONS) {
        struct p_user *u = &p->user[i];
        KIT_CHECK(!(u->held && u->sent));
        if (!u->dirty)
            continue;
        buf_reset(&u->saved);
        KIT_CHECK(policy_user_encode(p->set[t->process], &u->k.u, p->kit->model, &u->saved) == 0);
        u->dirty = false;
        u->saved_minor = u->minor;
        memcpy(u->saved_denied_ms, u->denied_ms, sizeof u->denied_ms);
    }
    t->n = 0;
}

/* One event as the engine hands it on; a replayed one is in the profile already. */
static inline void p_take(struct promises *p, size_t partition, size_t user, struct event e,
                          bool again) {
    struct p_partition *t = &p->part[partition];
    struct p_user *u = &p->user[user];
    struct kit k = *p->kit;
    k.set = p->set[t->process];
    k.shard = t->shard;
    k.out = t->out;
    size_t from = k.out.n;
    u->dirty = true;
    struct str age = event_ctx_get(&e, STR("age"));
    struct policy_context c = kit_context(&k, &u->k);
    c.approved_campaigns = p->approved;
    policy_on_time(&c, e.time_ms, &k.out);
    for (; from < k.out.n; from++)
        p_check_moment(p, u, &k.out.d[from]);
    if (age.n)
        u->minor = str_eq(age, STR("17"));
    if (e.type == EV_UNSUBSCRIBE) {
        bool push = e.n_ctx && str_eq(event_ctx_get(&e, STR("channel")), STR("push"));
        for (size_t i = push; i < 2; i++)
            u->denied_ms[i] = MAX(u->denied_ms[i], MAX(e.time_ms, u->k.consent.said_ms));
    }
    static const struct profile_params params = {0};
    struct item_view v = {.price = NAN};
    uint32_t row = e.item.n ? model_item_find(k.model, e.item) : ROW_NONE;
    if (row != ROW_NONE)
        model_item_view(k.model, row, &v);
    e.user = u->k.u.id;
    bool fresh = again || profile_observe(&u->k.u.prof, &e, hash_str(e.id, 0), row, v.category_key,
                                          v.price, e.type == EV_VIEW, &params, NULL) == LEARN_OK;
    if (fresh)
        policy_on_event(&c, &e, row, &k.out);
    KIT_CHECK(!k.out.failed);
    for (; from < k.out.n; from++)
        p_check_moment(p, u, &k.out.d[from]);
    t->out = k.out;
}

/* A process dies: what its partitions had not committed never happened, and is read again. */
static inline void p_crash(struct promises *p, size_t process) {
    for (size_t i = 0; i < P_PARTITIONS; i++)
        if (p->part[i].process == process) {
            policy_decisions_reset(&p->part[i].out);
            policy_shard_free(p->part[i].shard);
            p->part[i].shard = NULL;
        }
    policy_set_free(p->set[process]);
    KIT_CHECK(policy_set_new(&p->kit->spec, &p->set[process]) == 0);
    p_shares(p);
    for (size_t i = 0; i < P_PARTITIONS; i++) {
        struct p_partition *t = &p->part[i];
        if (t->process != process)
            continue;
        p_load(p, i);
        for (size_t j = i; j < P_USERS; j += P_PARTITIONS) {
            struct p_user *u = &p->user[j];
            u->minor = u->saved_minor;
            memcpy(u->denied_ms, u->saved_denied_ms, sizeof u->denied_ms);
            if (u->dirty && !u->saved.n) {
                policy_user_free(u->k.u.ext);
                u->k.u.ext = NULL;
                u->k.u.due_ms = INT64_MAX;
            }
        }
        for (size_t j = 0; j < t->n; j++)
            p_take(p, i, t->user[j], t->event[j], true);
    }
    p->crashes++;
}

static inline void p_move(struct promises *p, size_t partition, size_t to) {
    p_commit(p, partition);
    p->part[partition].process = to;
    p_shares(p);
    p_load(p, partition);
    p->moves++;
}

/* ---- events ---- */

static inline void p_wish(struct promises *p, struct p_user *u) {
    uint32_t wish = rng_below(&p->rng, 4);
    u->k.consent = (struct consent){
        .known = wish > 0,
        .said_ms = wish > 0 ? p->now_ms + DAY : 0,
        .denied = wish == 1 ? 1 + rng_below(&p->rng, 3) : 0,
        .tz = rng_below(&p->rng, 2) ? &p_kolkata : NULL,
    };
}

static inline void promises_step(struct promises *p) {
    static const uint8_t types[] = {EV_VIEW,     EV_VIEW,     EV_VIEW,          EV_CART_ADD,
                                    EV_CART_ADD, EV_PURCHASE, EV_FAVORITE,      EV_FAVORITE,
                                    EV_SEARCH,   EV_PURCHASE, EV_CAMPAIGN_OPEN, EV_CART_REMOVE};
    struct rng *r = &p->rng;
    size_t user = rng_below(r, P_USERS), partition = user % P_PARTITIONS;
    struct p_partition *t = &p->part[partition];
    p->now_ms += (int64_t)rng_below(r, rng_below(r, 40) ? 240 : 40000) * SECOND;
    p->events++;
    if (rng_below(r, 100) == 0)
        p_wish(p, &p->user[user]);
    if (rng_below(r, 500) == 0)
        p->approved[2] = !p->approved[2];
    if (rng_below(r, 40) == 0)
        p_move(p, rng_below(r, P_PARTITIONS), rng_below(r, P_PROCESSES));
    if (rng_below(r, 400) == 0)
        p_crash(p, rng_below(r, P_PROCESSES));
    if (t->n == P_JOURNAL || rng_below(r, 20) == 0)
        p_commit(p, partition);
    size_t at = t->n++;
    snprintf(t->id[at], sizeof t->id[at], "e%llu", (unsigned long long)p->events);
    snprintf(t->item[at], sizeof t->item[at], "i%u", rng_below(r, KIT_ITEMS));
    /* Most clocks are right; others are up to three days late or half a day early. */
    int64_t shift = rng_below(r, 6) ? 0 : (int64_t)rng_below(r, 3 * 86400 + 43200) - 3 * 86400;
    struct event e = {
        .id = str_of(t->id[at]),
        .item = str_of(t->item[at]),
        .type = types[rng_below(r, ARRAY_LEN(types))],
        .time_ms = p->now_ms + shift * SECOND,
        .value = NAN,
        .dwell_ms = NAN,
    };
    uint32_t rare = rng_below(r, 300);
    if (rare < 2) {
        e.type = EV_UNSUBSCRIBE;
        e.n_ctx = (uint8_t)rare;
        e.ctx[0] = (struct event_ctx){STR("channel"), STR("push")};
    } else if (rare < 6) {
        e.n_ctx = 1;
        e.ctx[0] = (struct event_ctx){STR("age"), rare == 2 ? STR("17") : STR("30")};
    }
    t->event[at] = e;
    t->user[at] = user;
    p_take(p, partition, user, e, false);
}

/* Whoever was exposed was so once, said so once, and counts once now that all windows are closed.
 */
static inline void p_check_experiments(const struct promises *p) {
    for (size_t c = 0; c < P_CAMPAIGNS; c++) {
        size_t arm;
        int study = policy_campaign_study(p->set[0], c, &arm);
        double exposed = 0, counted = 0, said = 0;
        for (size_t i = 0; study >= 0 && i < P_PROCESSES; i++) {
            struct experiment_sums s;
            policy_experiment_sums(p->set[i], (size_t)study, &s);
            for (size_t a = 0; a < s.state.n_arms; a++) {
                exposed += s.exposed[a];
                counted += s.state.arm[a].metric[0].n;
            }
        }
        for (size_t i = 0; i < P_USERS; i++)
            said += p->user[i].exposed[c];
        KIT_CHECK(exposed == said && counted == said && (study < 0 || said > P_USERS / 2));
    }
}

/* Commits everything, lets all windows close, and balances. */
static inline void promises_end(struct promises *p) {
    for (size_t i = 0; i < P_PARTITIONS; i++)
        p_commit(p, i);
    for (size_t i = 0; i < P_USERS; i++) {
        size_t partition = i % P_PARTITIONS;
        struct p_partition *t = &p->part[partition];
        struct policy_context c = {.set = p->set[t->process],
                                   .shard = t->shard,
                                   .model = p->kit->model,
                                   .user = &p->user[i].k.u,
                                   .paused_all = true};
        policy_on_time(&c, p->now_ms + 99 * DAY, &t->out);
        p->user[i].dirty = true;
    }
    for (size_t i = 0; i < P_PARTITIONS; i++)
        p_commit(p, i);
    KIT_CHECK(p->outcomes == p->sends); /* each message ended in exactly one */
    p_check_experiments(p);
}

static inline void promises_free(struct promises *p) {
    for (size_t i = 0; i < P_PARTITIONS; i++) {
        policy_shard_free(p->part[i].shard);
        buf_free(&p->part[i].saved);
        policy_decisions_free(&p->part[i].out);
    }
    for (size_t i = 0; i < P_USERS; i++) {
        kit_user_free(&p->user[i].k);
        buf_free(&p->user[i].saved);
    }
    for (size_t i = 0; i < P_PROCESSES; i++)
        policy_set_free(p->set[i]);
    kit_free(p->kit);
    free(p);
}
