/* Experiments and fairness at work in the guards, and what of them is durable. */
#include <criterion/criterion.h>

#include "policy/evidence.h"
#include "tests/support/policy_kit.h"

static struct arm_spec arms[2];
static struct experiment_arms experiment;

/* One campaign that answers views; the control does not get it. */
static struct kit *kit_with_experiment(void) {
    struct kit *k = kit_new();
    kit_campaign(k, "c", EV_VIEW);
    arms[0] = (struct arm_spec){.name = STR("without"), .n_off = 1, .off = {STR("c")}};
    arms[1] = (struct arm_spec){.name = STR("with")};
    experiment = (struct experiment_arms){
        .name = STR("worth"),
        .spec = {STR("worth"), STR("worth"), 0, EXPERIMENT_BUCKETS, 2, {1, 1}},
        .arm = arms,
        .window_ms = 7 * DAY,
        .metric = EXP_MARGIN,
        .stop = true,
    };
    k->spec.reward.margin = .5;
    k->spec.experiment = &experiment;
    k->spec.n_experiments = 1;
    return k;
}

/* One user's visit, and what he buys next day; NAN: nothing. The last window closes. */
static void visit(struct kit *k, int i, double spends) {
    struct kit_user u;
    char id[16];
    snprintf(id, sizeof id, "u%d", i);
    kit_user(&u, id);
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    if (!isnan(spends))
        kit_answer(k, &u, EV_PURCHASE, "i0", spends, NULL, MONDAY + DAY);
    kit_time(k, &u, MONDAY + 8 * DAY);
    kit_user_free(&u);
}

static int arm_of(const struct kit *k, int i) {
    char id[16], text[64];
    snprintf(id, sizeof id, "u%d", i);
    policy_arms_print(k->set, 0, str_of(id), text, sizeof text);
    return strcmp(text, "worth:with") == 0;
}

Test(exposure, withholds_from_one_arm_and_counts_both) {
    struct kit *k = kit_with_experiment();
    kit_start(k);
    size_t n[2] = {0};
    for (int i = 0; i < 200; i++) {
        n[arm_of(k, i)]++;
        visit(k, i, i % 2 ? 10 : NAN);
    }
    struct experiment_sums s;
    policy_experiment_sums(k->set, 0, &s);
    cr_assert_eq(kit_count(k, "c", PR_SENT), n[1]);
    cr_assert_eq(kit_count(k, "c", PR_EXPERIMENT), n[0]);
    cr_assert_eq(s.exposed[0], (double)n[0]);
    cr_assert_eq(s.exposed[1], (double)n[1]);
    double revenue = 0, margin = 0;
    for (int a = 0; a < 2; a++) {
        cr_assert_eq(s.state.arm[a].metric[EXP_MARGIN].n, (double)n[a]);
        revenue += s.state.arm[a].metric[EXP_REVENUE].y * (double)n[a];
        margin += s.state.arm[a].metric[EXP_MARGIN].y * (double)n[a];
    }
    cr_assert_float_eq(revenue, 1000, 1e-6);
    cr_assert_float_eq(margin, 500, 1e-6);
    size_t exposed = 0;
    for (size_t i = 0; i < k->out.n; i++)
        exposed += k->out.d[i].exposed;
    cr_assert_eq(exposed, 200, "each user once");
    kit_free(k);
}

/* Those who get it spend 20 instead of 10. */
Test(exposure, a_hold_out_tells_what_its_campaign_earns) {
    struct kit *k = kit_with_experiment();
    k->spec.n_experiments = 0;
    k->campaign[0].holdout = 4000;
    kit_start(k);
    size_t arm, n[2] = {0};
    int study = policy_campaign_study(k->set, 0, &arm);
    cr_assert_eq(study, 0);
    cr_assert_eq(arm, 1);
    for (int i = 0; i < 300; i++) {
        char id[16], text[64];
        snprintf(id, sizeof id, "u%d", i);
        policy_arms_print(k->set, 0, str_of(id), text, sizeof text);
        bool rest = strcmp(text, "holdout/c:rest") == 0;
        cr_assert(rest || strcmp(text, "holdout/c:holdout") == 0, "%s", text);
        n[rest]++;
        visit(k, i, rest ? 20 : 10);
    }
    struct experiment_sums s;
    policy_experiment_sums(k->set, 0, &s);
    cr_assert_eq(kit_count(k, "c", PR_SENT), n[1]);
    cr_assert_eq(kit_count(k, "c", PR_CAMPAIGN_HOLDOUT), n[0]);
    for (int a = 0; a < 2; a++) {
        cr_assert_eq(s.exposed[a], (double)n[a]);
        cr_assert_eq(s.state.arm[a].metric[EXP_REVENUE].n, (double)n[a]);
        cr_assert_float_eq(s.state.arm[a].metric[EXP_REVENUE].y, a ? 20 : 10, 1e-9);
    }
    struct experiment_result r;
    struct experiment_rules rules = experiment_defaults();
    rules.least = 50;
    experiment_result(&policy_experiment(k->set, 0)->spec, &s.state, s.exposed, &rules, &r);
    cr_assert(!r.alarm, "p %g", r.mismatch);
    kit_free(k);
}

Test(exposure, only_an_experiment_whose_control_goes_without_tells_of_a_campaign) {
    struct kit *k = kit_with_experiment();
    kit_campaign(k, "other", EV_CART_ADD);
    kit_start(k);
    size_t arm;
    cr_assert_eq(policy_campaign_study(k->set, 0, &arm), 0);
    cr_assert_eq(arm, 1);
    cr_assert_eq(policy_campaign_study(k->set, 1, &arm), -1);
    kit_free(k);
}

Test(exposure, is_the_first_one_and_survives_a_restart) {
    struct kit *k = kit_with_experiment();
    struct kit_user u, again;
    struct buf user = {0}, shard = {0};
    size_t used;
    kit_start(k);
    kit_user(&u, "u1");
    kit_user(&again, "u1");
    kit_do(k, &u, EV_VIEW, "i0", MONDAY);
    cr_assert(k->out.n == 1 && k->out.d[0].exposed);
    cr_assert_eq(policy_user_encode(k->set, &u.u, k->model, &user), 0);
    cr_assert_eq(policy_shard_encode(k->shard, &shard), 0);
    for (size_t n = 0; n < user.n; n++)
        cr_assert_eq(policy_user_restore(k->set, &again.u, k->model, user.p, n, &used), -EBADMSG);
    cr_assert_eq(policy_user_restore(k->set, &again.u, k->model, user.p, user.n, &used), 0);
    cr_assert_eq(used, user.n);
    policy_shard_free(k->shard);
    cr_assert_eq(policy_shard_new(k->set, &k->shard), 0);
    cr_assert_eq(policy_shard_restore(k->shard, shard.p, shard.n), 0);
    kit_forget(k);
    kit_do(k, &again, EV_VIEW, "i0", MONDAY + HOUR);
    cr_assert(k->out.n == 1 && !k->out.d[0].exposed);
    kit_time(k, &again, MONDAY + 7 * DAY - 1);
    struct experiment_sums s;
    policy_experiment_sums(k->set, 0, &s);
    cr_assert_eq(s.exposed[0] + s.exposed[1], 1);
    cr_assert_eq(s.state.arm[0].metric[0].n + s.state.arm[1].metric[0].n, 0);
    kit_time(k, &again, MONDAY + 7 * DAY);
    policy_experiment_sums(k->set, 0, &s);
    cr_assert_eq(s.state.arm[0].metric[0].n + s.state.arm[1].metric[0].n, 1);
    buf_free(&user);
    buf_free(&shard);
    kit_user_free(&u);
    kit_user_free(&again);
    kit_free(k);
}

/* What changes it, and whether that is refused. */
static void change_share(struct kit *k) {
    (void)k;
    experiment.spec.weight[1] = 3;
}
static void change_window(struct kit *k) {
    (void)k;
    experiment.window_ms += DAY;
}
static void change_meaning(struct kit *k) {
    (void)k;
    arms[0].n_off = 0;
    arms[1].n_off = 1;
    arms[1].off[0] = STR("c");
}
static void change_id(struct kit *k) {
    change_share(k);
    experiment.name = STR("worth-2");
}
static void end_it(struct kit *k) {
    k->spec.n_experiments = 0;
}
static void change_holdout(struct kit *k) {
    k->spec.holdout = 200;
}
static void drop_holdout(struct kit *k) {
    k->spec.holdout = 0;
}
static void rename_holdout(struct kit *k) {
    k->spec.holdout = 200;
    k->spec.holdout_name = STR("second");
}
static void change_salt(struct kit *k) {
    k->spec.salt = STR("pepper");
}
static void change_campaign_holdout(struct kit *k) {
    k->campaign[0].holdout = 50;
}
static void change_nothing(struct kit *k) {
    k->campaign[0].priority = 7;
}

Test(exposure, what_is_in_use_cannot_change) {
    static const struct {
        void (*change)(struct kit *k);
        const char *names; /* NULL: may be */
    } cases[] = {{change_share, "experiment worth"},
                 {change_window, "experiment worth"},
                 {change_meaning, "experiment worth"},
                 {change_id, NULL},
                 {end_it, NULL},
                 {change_holdout, "the hold-out"},
                 {drop_holdout, "the hold-out"},
                 {rename_holdout, NULL},
                 {change_salt, "hold-out"},
                 {change_campaign_holdout, "campaign c"},
                 {change_nothing, NULL}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct kit *k = kit_with_experiment();
        autofree(policy_set_free) struct policy_set *next = NULL;
        struct policy_shard *shard;
        struct buf b = {0};
        char what[256];
        k->spec.holdout = 100;
        k->campaign[0].holdout = 100;
        kit_start(k);
        for (int u = 0; u < 50; u++)
            visit(k, u, NAN);
        cr_assert_eq(policy_shard_encode(k->shard, &b), 0);
        cases[i].change(k);
        cr_assert_eq(policy_set_new(&k->spec, &next), 0);
        cr_assert_eq(policy_set_conflicts(k->set, next, what, sizeof what), cases[i].names != NULL,
                     "case %zu: %s", i, what);
        cr_assert_eq(policy_shard_new(next, &shard), 0);
        cr_assert_eq(policy_shard_restore(shard, b.p, b.n), cases[i].names ? -EKEYREJECTED : 0);
        if (cases[i].names)
            cr_assert_not_null(strstr(policy_shard_conflict(shard), cases[i].names), "case %zu", i);
        policy_shard_free(shard);
        buf_free(&b);
        kit_free(k);
    }
}

Test(exposure, a_stopped_arm_stays_stopped_after_a_restart) {
    struct kit *k = kit_with_experiment();
    autofree(policy_set_free) struct policy_set *next = NULL;
    struct policy_shard *shard;
    struct buf b = {0};
    kit_start(k);
    policy_experiment_stop(k->set, 0, 1u << 1);
    for (int i = 0; i < 50; i++)
        visit(k, i, NAN);
    cr_assert_eq(kit_count(k, "c", PR_SENT), 0);
    cr_assert_eq(kit_count(k, "c", PR_EXPERIMENT), 50);
    cr_assert_eq(policy_shard_encode(k->shard, &b), 0);
    cr_assert_eq(policy_set_new(&k->spec, &next), 0);
    cr_assert_eq(policy_experiment_stopped(next, 0), 0);
    cr_assert_eq(policy_shard_new(next, &shard), 0);
    cr_assert_eq(policy_shard_restore(shard, b.p, b.n), 0);
    cr_assert_eq(policy_experiment_stopped(next, 0), 1u << 1);
    policy_shard_free(shard);
    buf_free(&b);
    kit_free(k);
}

/* ---- fairness --------------------------------------------------------------------- */

/* People of `north` want it always, of `south` as often as `share` says. */
static void people(struct kit *k, int from, int to, int every) {
    for (int i = from; i < to; i++) {
        struct kit_user u;
        char id[16];
        bool north = i % 2;
        snprintf(id, sizeof id, "u%d", i);
        kit_user(&u, id);
        struct event e = {.id = str_of(id),
                          .item = STR("i0"),
                          .time_ms = MONDAY,
                          .value = NAN,
                          .dwell_ms = NAN,
                          .type = EV_VIEW,
                          .n_ctx = 1,
                          .ctx = {{STR("region"), north ? STR("north") : STR("south")}}};
        /* the south mostly has items that exclude what is offered */
        e.item = north || i % every == 0 ? STR("i0") : STR("i11");
        kit_event(k, &u, e);
        kit_user_free(&u);
    }
}

static struct kit *kit_with_bound(bool pause) {
    struct kit *k = kit_new();
    struct campaign_spec *c = kit_campaign(k, "c", EV_VIEW);
    c->offer[0].discount = true;
    c->offer[0].percent = 10;
    c->fairness = (struct fairness_spec){STR("region"), .8, 1.25, 50, pause};
    kit_start(k);
    return k;
}

Test(fairness_guard, lets_go_what_is_even) {
    struct kit *k = kit_with_bound(true);
    people(k, 0, 1000, 1);
    cr_assert_eq(kit_count(k, "c", PR_SENT), 1000);
    cr_assert_eq(kit_count(k, "c", PR_FAIRNESS), 0);
    kit_free(k);
}

Test(fairness_guard, withholds_from_those_who_get_too_much) {
    struct kit *k = kit_with_bound(false);
    people(k, 0, 2000, 4);
    size_t sent = kit_count(k, "c", PR_SENT), withheld = kit_count(k, "c", PR_FAIRNESS);
    cr_assert_gt(withheld, 200);
    cr_assert_gt(sent, 500, "the south goes on, and the north within bounds");
    kit_free(k);
}

Test(fairness_guard, stops_a_campaign_for_good) {
    struct kit *k = kit_with_bound(true);
    struct buf b = {0};
    people(k, 0, 2000, 4);
    cr_assert_gt(kit_count(k, "c", PR_FAIRNESS), 1000);
    cr_assert_eq(policy_shard_encode(k->shard, &b), 0);
    policy_shard_free(k->shard);
    cr_assert_eq(policy_shard_new(k->set, &k->shard), 0);
    cr_assert_eq(policy_shard_restore(k->shard, b.p, b.n), 0);
    kit_forget(k);
    people(k, 3000, 3100, 1);
    cr_assert_eq(kit_count(k, "c", PR_SENT), 0);
    cr_assert_eq(kit_count(k, "c", PR_FAIRNESS), 100);
    buf_free(&b);
    kit_free(k);
}
