/* A network behind a group: what it is told, who chooses, what outlives it. */
#include "policy/deep.h"

#include <criterion/criterion.h>

#include "consumer/policy_records.h"
#include "model/block.h"
#include "policy/learned.h"
#include "policy/passage.h"
#include "tests/support/policy_kit.h"

TestSuite(deep);

static struct kit *shop(enum policy_mode mode) {
    struct kit *k = kit_new();
    struct campaign_spec *c = kit_campaign(k, "a", EV_FAVORITE);
    c->n_offers = 2;
    c->offer[0] = (struct offer_spec){.name = STR("plain"), .json = STR("{}")};
    c->offer[1] = (struct offer_spec){
        .name = STR("tenth"), .json = STR("{}"), .discount = true, .percent = 10};
    c->window_ms = HOUR;
    c->group = STR("g");
    k->spec.n_groups = 1;
    k->spec.group[0] = (struct group_spec){
        .name = STR("g"), .method = METHOD_DQN, .mode = mode, .horizon_ms = 10 * DAY};
    kit_start(k);
    return k;
}

static struct decision decide_on(struct kit *k, struct kit_user *u, int64_t at_ms) {
    kit_do(k, u, EV_FAVORITE, "i1", at_ms);
    cr_assert_eq(k->out.n, 1);
    return k->out.d[0];
}

Test(deep, a_passage_leads_from_a_decision_to_the_next_one) {
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user u;
    kit_user(&u, "u");
    struct decision first = decide_on(k, &u, MONDAY);
    kit_forget(k);
    kit_time(k, &u, MONDAY + HOUR);
    cr_assert(k->out.n_o == 1 && k->out.n_p == 0, "closed, but nothing followed yet");
    double reward = k->out.o[0].reward;
    kit_forget(k);
    struct decision second = decide_on(k, &u, MONDAY + 2 * DAY);
    cr_assert_eq(k->out.n_p, 1);
    const struct passage *p = &k->out.p[0];
    cr_assert(p->group == 1 && p->trigger == first.trigger_hash[0] && !p->before);
    cr_assert(p->at_ms == MONDAY && p->next_ms == MONDAY + 2 * DAY && p->by == BY_BANDIT);
    cr_assert_eq(p->reward, reward);
    cr_assert_float_eq(p->propensity, first.propensity, 1e-6);
    cr_assert_eq(p->step[STATE_COLUMNS + FO_ONE], first.send);
    cr_assert_eq(p->next[STATE_COLUMNS + FO_ONE], second.send);
    cr_assert(isnan(p->by_network), "nobody asked one");
    cr_assert_float_eq(p->next[FS_SENT_WEEK], first.send ? 0.2 : 0, 1e-6);
    kit_forget(k);
    kit_time(k, &u, MONDAY + 7 * DAY - 1);
    cr_assert_eq(k->out.n_p, 0);
    kit_time(k, &u, MONDAY + 7 * DAY); /* nobody came back within half the horizon */
    cr_assert_eq(k->out.n_p, 1);
    p = &k->out.p[0];
    cr_assert(p->trigger == second.trigger_hash[0] && p->before == first.trigger_hash[0]);
    cr_assert(!p->next && !p->next_ms);
    cr_assert_eq(u.u.due_ms, INT64_MAX);
    kit_user_free(&u);
    kit_free(k);
}

Test(deep, an_open_window_holds_up_what_follows) {
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user u;
    kit_user(&u, "u");
    decide_on(k, &u, MONDAY);
    kit_forget(k);
    decide_on(k, &u, MONDAY + MINUTE);
    cr_assert_eq(k->out.n_p, 0);
    kit_forget(k);
    kit_time(k, &u, MONDAY + 2 * HOUR);
    cr_assert(k->out.n_o == 2 && k->out.n_p == 1 && k->out.p[0].next_ms == MONDAY + MINUTE);
    kit_user_free(&u);
    kit_free(k);
}

Test(deep, steps_outlive_the_process) {
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user u, again;
    struct buf b = {0};
    size_t used;
    kit_user(&u, "u");
    kit_user(&again, "u");
    struct decision first = decide_on(k, &u, MONDAY);
    kit_forget(k);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &b), 0);
    again.u.prof.last_ms = u.u.prof.last_ms;
    cr_assert_eq(policy_user_restore(k->set, &again.u, k->model, b.p, b.n, &used), 0);
    cr_assert_eq(used, b.n);
    cr_assert_eq(again.u.due_ms, MONDAY + HOUR);
    kit_time(k, &again, MONDAY + HOUR);
    kit_forget(k);
    decide_on(k, &again, MONDAY + DAY);
    cr_assert(k->out.n_p == 1 && k->out.p[0].trigger == first.trigger_hash[0]);
    cr_assert(k->out.p[0].step[FS_ONE] == 1 && isfinite(k->out.p[0].next[FS_ONE]));
    buf_free(&b);
    kit_user_free(&u);
    kit_user_free(&again);
    kit_free(k);
}

/* As it was written when offers had numbers: 33 bytes more in a step, before its reward. */
static void with_numbers(const struct buf *record, struct buf *ret) {
    static const uint8_t numbers[33] = {1, 3};
    const size_t tail = 17 + STEP_COLUMNS * sizeof(float);
    uint32_t n;
    memcpy(&n, record->p + 1, sizeof n);
    const uint8_t *payload = record->p + BLOCK_HEAD;
    size_t at = block_begin(ret, record->p[0] - 1), used = BLOCK_HEAD + n + BLOCK_SUM;
    buf_put(ret, payload, n - tail);
    buf_put(ret, numbers, sizeof numbers);
    buf_put(ret, payload + n - tail, tail);
    cr_assert_eq(block_end(ret, at), 0);
    buf_put(ret, record->p + used, record->n - used);
}

Test(deep, steps_with_numbers_of_offers_are_read) {
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user u, again;
    struct buf b = {0}, old = {0};
    size_t used;
    kit_user(&u, "u");
    kit_user(&again, "u");
    struct decision first = decide_on(k, &u, MONDAY);
    kit_forget(k);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &b), 0);
    with_numbers(&b, &old);
    again.u.prof.last_ms = u.u.prof.last_ms;
    cr_assert_eq(policy_user_restore(k->set, &again.u, k->model, old.p, old.n, &used), 0);
    cr_assert_eq(used, old.n);
    kit_time(k, &again, MONDAY + HOUR);
    kit_forget(k);
    decide_on(k, &again, MONDAY + DAY);
    cr_assert(k->out.n_p == 1 && k->out.p[0].trigger == first.trigger_hash[0]);
    cr_assert(k->out.p[0].step[FS_ONE] == 1 && isnan(k->out.p[0].by_network));
    buf_free(&b);
    buf_free(&old);
    kit_user_free(&u);
    kit_user_free(&again);
    kit_free(k);
}

/* A record of the time when each offer had an output of the network. */
Test(deep, of_an_older_network_the_unit_is_kept) {
    struct kit *k = shop(MODE_ONLINE);
    struct deep *d = policy_group_deep(k->set, 1);
    struct deep_state s;
    struct buf b = {0};
    size_t at = block_begin(&b, 1);
    wire_put_varint(&b, 12345);
    wire_put_f64(&b, 2.5);
    wire_put_u8(&b, 1);
    buf_put(&b, "weights", 7);
    cr_assert_eq(block_end(&b, at), 0);
    cr_assert_eq(deep_record_steps(b.p, b.n), 0);
    cr_assert_eq(deep_restore(d, b.p, b.n), 0);
    deep_look(d, &s);
    cr_assert(!s.leads && s.steps == 0);
    b.p[7] ^= 1;
    cr_assert_eq(deep_restore(d, b.p, b.n), -EBADMSG);
    buf_free(&b);
    kit_free(k);
}

/* Passages of a made-up shop; what was learned goes into a record and comes back. */
Test(deep, a_network_that_was_trained_comes_back_and_others_begin_with_it) {
    struct kit *k = shop(MODE_ONLINE), *fresh = shop(MODE_ONLINE);
    struct policy_records own = {0}, all = {0};
    struct buf key = {0}, value = {0};
    for (int i = 0; i < 1600; i++) {
        struct kit_user u;
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&u, id);
        for (int day = 0; day < 2; day++) {
            kit_do(k, &u, EV_FAVORITE, "i1", MONDAY + (i + day) * DAY);
            kit_time(k, &u, MONDAY + (i + day) * DAY + HOUR);
        }
        for (size_t o = 0; o < k->out.n_o; o++)
            policy_learn(k->set, &k->out.o[o]);
        for (size_t p = 0; p < k->out.n_p; p++)
            policy_follow(k->set, &k->out.p[p]);
        kit_forget(k);
        kit_user_free(&u);
    }
    struct deep_state trained, took;
    deep_look(policy_group_deep(k->set, 1), &trained);
    cr_assert(trained.passages >= 1000 && trained.steps > 0 && !trained.leads);
    size_t at = 0, n = 0;
    for (; policy_records_next(&own, k->set, STR("one"), &at, &key, &value); n++) {
        struct str name = {(const char *)key.p, key.n};
        cr_assert(policy_record_is(name));
        cr_assert_eq(policy_records_note(&all, name, value.p, value.n), 0);
    }
    cr_assert_eq(n, 2);
    cr_assert_eq(policy_records_note(&all, STR("Ng\0old"), "nonsense", 8), 0);
    cr_assert_eq(policy_records_learn(&all, fresh->set, STR("two")), 0);
    deep_look(policy_group_deep(fresh->set, 1), &took);
    cr_assert_eq(took.steps, trained.steps);
    cr_assert_lt(deep_restore(policy_group_deep(fresh->set, 1), value.p, value.n - 1), 0);
    buf_free(&key);
    buf_free(&value);
    kit_free(k);
    kit_free(fresh);
}

Test(deep, where_rules_act_it_says_what_it_would_have_done) {
    static const enum policy_mode modes[] = {MODE_APPRENTICE, MODE_LOG_ONLY};
    for (size_t i = 0; i < ARRAY_LEN(modes); i++) {
        struct kit *k = shop(modes[i]);
        struct kit_user u;
        kit_user(&u, "u");
        struct decision d = decide_on(k, &u, MONDAY);
        cr_assert(d.send && d.offer == 0 && d.propensity == 1, "the rules act");
        cr_assert(d.would.known && d.would.propensity > 0 && d.would.propensity < 1);
        cr_assert(d.would.campaign == -1 || (d.would.campaign == 0 && d.would.offer < 2));
        kit_user_free(&u);
        kit_free(k);
    }
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user u;
    kit_user(&u, "u");
    cr_assert_not(decide_on(k, &u, MONDAY).would.known);
    kit_user_free(&u);
    kit_free(k);
}

/* A message brings a little at once, and weariness for a week that costs more: what is best today
 * is not what is best. Users come every other day, by chance. */
enum { WEARY_USERS = 600, WEARY_DAYS = 90 };

static double brought(const struct outcome *o) {
    double weary = 5.0 * (double)o->x[FS_SENT_WEEK]; /* messages of the week before */
    return 4 + (o->nothing ? 0 : 0.3) - 0.6 * weary;
}

Test(deep, a_network_that_sees_further_than_the_bandit_is_promoted_and_then_acts) {
    struct kit *k = shop(MODE_ONLINE);
    struct kit_user *u = calloc(WEARY_USERS, sizeof *u);
    struct deep_state s = {0};
    size_t by_bandit[2] = {0}, by_network[2] = {0}; /* nothing and messages, by who was in charge */
    char early[64] = "";
    struct rng rng;
    rng_seed(&rng, 9);
    learned_explore(policy_group_learned(k->set, 1), 0.05); /* a certain verdict in few days */
    for (int i = 0; i < WEARY_USERS; i++) {
        char id[16];
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&u[i], id);
    }
    for (int day = 0; day < WEARY_DAYS; day++)
        for (int i = 0; i < WEARY_USERS; i++) {
            deep_look(policy_group_deep(k->set, 1), &s);
            if (!early[0])
                snprintf(early, sizeof early, "%s", deep_why(&s));
            if (rng_below(&rng, 2))
                continue;
            kit_do(k, &u[i], EV_FAVORITE, "i1", MONDAY + day * DAY);
            (s.leads ? by_network : by_bandit)[k->out.d[0].send]++;
            kit_time(k, &u[i], MONDAY + day * DAY + 2 * HOUR);
            for (size_t o = 0; o < k->out.n_o; o++) {
                k->out.o[o].reward = brought(&k->out.o[o]);
                policy_learn(k->set, &k->out.o[o]);
            }
            for (size_t p = 0; p < k->out.n_p; p++) {
                struct passage *passage = &k->out.p[p];
                passage->reward = 4 + 0.3 * (double)passage->step[STATE_COLUMNS + FO_ONE] -
                                  0.6 * 5 * (double)passage->step[FS_SENT_WEEK];
                policy_follow(k->set, passage);
            }
            kit_forget(k);
        }
    deep_look(policy_group_deep(k->set, 1), &s);
    cr_assert_str_eq(early, "too early to judge");
    cr_assert(by_bandit[1] > by_bandit[0], "the bandit sent %zu and not %zu", by_bandit[1],
              by_bandit[0]);
    cr_assert(s.leads, "advantage %.3f +- %.3f of %llu, warnings %x, unfamiliar %.2f", s.advantage,
              s.se, (unsigned long long)s.judged, s.warnings, s.unfamiliar);
    cr_assert(by_network[0] > by_network[1], "the network sent %zu and not %zu", by_network[1],
              by_network[0]);
    for (int i = 0; i < WEARY_USERS; i++)
        kit_user_free(&u[i]);
    free(u);
    kit_free(k);
}
