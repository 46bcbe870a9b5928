#include "consumer/replay.h"

#include <criterion/criterion.h>
#include <math.h>

#include "consumer/sim.h"

static struct replay *open_replay(struct config **cfg, bool new_only) {
    char *set[] = {"model.dim=16", "lists.n=20"};
    cr_assert_eq(config_load(NULL, set, ARRAY_LEN(set), cfg), 0);
    struct replay_config c = {
        .cfg = *cfg, .k = {5, 20}, .n_k = 2, .batch = 32, .new_only = new_only};
    struct policy_set *none = NULL;
    struct replay *r = NULL;
    cr_assert_eq(policy_set_empty(&none), 0);
    cr_assert_eq(replay_new(&c, none, &r), 0);
    return r;
}

static void play(struct replay *r, size_t n, bool catalogue) {
    struct sim_config c;
    struct sim *s;
    sim_config_default(&c);
    c.users = 300;
    c.items = 600;
    cr_assert_eq(sim_new(&c, &s), 0);
    for (uint32_t i = 0; catalogue && i < sim_items(s); i++) {
        struct item_info info;
        sim_item(s, i, &info);
        cr_assert_eq(replay_item(r, &info), 0);
    }
    for (size_t i = 0; i < n; i++) {
        struct event e;
        sim_next(s, &e);
        cr_assert_eq(replay_event(r, &e), 0);
    }
    sim_free(s);
}

Test(replay, lists_beat_popularity_on_the_simulated_shop) {
    struct config *cfg;
    struct replay *r = open_replay(&cfg, false);
    play(r, 20000, true);
    struct replay_result res;
    cr_assert_eq(replay_finish(r, &res), 0);
    cr_assert_eq(res.events, 20000);
    double own = rankmetrics_value(res.beckon, RANK_HIT, 1),
           popular = rankmetrics_value(res.popular, RANK_HIT, 1);
    cr_assert(own > 2 * popular, "hit rate at 20: %.3f, popularity %.3f", own, popular);
    cr_assert(rankmetrics_value(res.beckon, RANK_HIT, 0) <= own);
    replay_free(r);
    config_free(cfg);
}

Test(replay, the_same_events_give_the_same_numbers) {
    double first[RANK_METRICS] = {0};
    for (int run = 0; run < 2; run++) {
        struct config *cfg;
        struct replay *r = open_replay(&cfg, false);
        play(r, 8000, false);
        struct replay_result res;
        cr_assert_eq(replay_finish(r, &res), 0);
        for (int m = 0; m < RANK_METRICS; m++) {
            double v = rankmetrics_value(res.beckon, (enum rank_metric)m, 1);
            cr_assert(run == 0 || v == first[m], "%s differs",
                      rank_metric_name((enum rank_metric)m));
            first[m] = v;
        }
        replay_free(r);
        config_free(cfg);
    }
}

static struct event view(const char *id, const char *user, const char *item, int64_t time_ms) {
    return (struct event){.id = str_of(id),
                          .user = str_of(user),
                          .item = str_of(item),
                          .time_ms = time_ms,
                          .value = NAN,
                          .dwell_ms = NAN,
                          .type = EV_VIEW};
}

Test(replay, a_case_is_judged_by_what_was_known_before_it) {
    struct config *cfg;
    struct replay *r = open_replay(&cfg, false);
    int64_t t = 1764000000000;
    /* Nothing is known at the first event: a miss. At the second, by another user, one item is. */
    struct event a = view("1", "u1", "i1", t), b = view("2", "u2", "i1", t + 1000),
                 c = view("3", "u1", "i2", t + 2000);
    cr_assert_eq(replay_event(r, &a), 0);
    cr_assert_eq(replay_event(r, &a), 0); /* the same user again: a new batch; and a duplicate */
    cr_assert_eq(replay_event(r, &b), 0);
    cr_assert_eq(replay_event(r, &c), 0);
    struct replay_result res;
    cr_assert_eq(replay_finish(r, &res), 0);
    cr_assert_eq(rankmetrics_cases(res.beckon), 4);
    cr_assert_float_eq(rankmetrics_value(res.beckon, RANK_HIT, 0), 0.5,
                       1e-9); /* 2nd and 3rd; i2 is new */
    cr_assert_eq(res.refused[DEAD_DUPLICATE], 1);
    replay_free(r);
    config_free(cfg);
}

Test(replay, only_items_new_to_the_user_count_where_that_is_asked) {
    struct config *cfg;
    struct replay *r = open_replay(&cfg, true);
    int64_t t = 1764000000000;
    struct event e[] = {view("1", "u1", "i1", t), view("2", "u1", "i1", t + 1000),
                        view("3", "u1", "i2", t + 2000)};
    for (size_t i = 0; i < ARRAY_LEN(e); i++)
        cr_assert_eq(replay_event(r, &e[i]), 0);
    struct replay_result res;
    cr_assert_eq(replay_finish(r, &res), 0);
    cr_assert_eq(rankmetrics_cases(res.beckon), 2);
    replay_free(r);
    config_free(cfg);
}
