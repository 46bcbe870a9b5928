#include "consumer/replay.h"

#include <criterion/criterion.h>
#include <math.h>

#include "consumer/sim.h"

/* A tape, a replay over it, and what it is asked. */
struct kit {
    struct config *cfg;
    struct tape *tape;
    struct replay_config c;
    struct replay *r;
    struct replay_result res;
};

static struct kit kit_new(void) {
    char *set[] = {"model.dim=16"};
    struct kit k = {.c = {.k = {5, 20},
                          .n_k = 2,
                          .batch = 32,
                          .learn_on_test = true,
                          .repeats = true,
                          .epochs = 1}};
    cr_assert_eq(config_load(NULL, set, ARRAY_LEN(set), &k.cfg), 0);
    cr_assert_eq(tape_new(&k.tape), 0);
    return k;
}

static void kit_open(struct kit *k) {
    struct policy_set *none = NULL;
    k->c.cfg = k->cfg;
    replay_prepare(k->cfg, &k->c, k->tape);
    cr_assert_eq(policy_set_empty(&none), 0);
    cr_assert_eq(replay_new(&k->c, k->tape, none, &k->r), 0);
}

static void kit_run(struct kit *k) {
    if (!k->r)
        kit_open(k);
    cr_assert_eq(replay_run(k->r, NULL), 0);
    replay_result(k->r, &k->res);
}

static void kit_done(struct kit *k) {
    replay_free(k->r);
    tape_free(k->tape);
    config_free(k->cfg);
}

static uint64_t cases(const struct kit *k) {
    return rankmetrics_cases(k->res.beckon->all);
}

static double hits(const struct kit *k, size_t i) {
    return rankmetrics_value(k->res.beckon->all, RANK_HIT, i);
}

/* Events of a simulated shop onto the tape. */
static void shop(struct kit *k, size_t n) {
    struct sim_config c;
    struct sim *s;
    sim_config_default(&c);
    c.users = 300;
    c.items = 600;
    cr_assert_eq(sim_new(&c, &s), 0);
    for (size_t i = 0; i < n; i++) {
        struct event e;
        sim_next(s, &e);
        cr_assert_eq(tape_add(k->tape, &e), 0);
    }
    sim_free(s);
}

static void add(struct kit *k, uint8_t type, const char *user, const char *session,
                const char *item, double value) {
    char id[32];
    snprintf(id, sizeof id, "%zu", tape_n(k->tape));
    struct event e = {.id = str_of(id),
                      .user = str_of(user),
                      .session = str_of(session),
                      .item = str_of(item),
                      .time_ms = 1764000000000 + 1000 * (int64_t)tape_n(k->tape),
                      .value = value,
                      .dwell_ms = NAN,
                      .type = type};
    cr_assert_eq(tape_add(k->tape, &e), 0);
}

static void view(struct kit *k, const char *user, const char *item) {
    add(k, EV_VIEW, user, "", item, NAN);
}

Test(replay, lists_beat_chance_on_the_simulated_shop) {
    struct kit k = kit_new();
    shop(&k, 20000);
    kit_run(&k);
    cr_assert_eq(k.res.events, 20000);
    cr_assert(hits(&k, 1) > 3 * 20. / 600, "hit rate at 20: %.3f", hits(&k, 1));
    cr_assert(hits(&k, 0) <= hits(&k, 1));
    cr_assert(rankmetrics_covered(k.res.beckon->all, 1) > 300);
    uint64_t of_ages = 0, of_times = 0;
    for (size_t i = 0; i < JUDGE_AGES; i++)
        of_ages += rankmetrics_cases(k.res.beckon->age[i]);
    for (size_t i = 0; i < JUDGE_TIMES; i++)
        of_times += rankmetrics_cases(k.res.beckon->time[i]);
    cr_assert(of_ages == cases(&k) && of_times == cases(&k));
    kit_done(&k);
}

Test(replay, the_same_events_give_the_same_numbers) {
    double first[RANK_METRICS] = {0};
    for (int run = 0; run < 2; run++) {
        struct kit k = kit_new();
        shop(&k, 8000);
        k.c.first = 4000;
        kit_run(&k);
        for (int m = 0; m < RANK_METRICS; m++) {
            double v = rankmetrics_value(k.res.beckon->all, (enum rank_metric)m, 1);
            cr_assert(run == 0 || v == first[m], "%s differs",
                      rank_metric_name((enum rank_metric)m));
            first[m] = v;
        }
        kit_done(&k);
    }
}

Test(replay, a_case_is_judged_by_what_was_known_before_it) {
    struct kit k = kit_new();
    k.c.evaluate = EVALUATE_NEW;
    /* Nothing is known at the first event: a miss. At the second, by another user, one item is. */
    view(&k, "u1", "i1");
    view(&k, "u2", "i1");
    view(&k, "u1", "i2");
    kit_run(&k);
    cr_assert_eq(cases(&k), 3);
    /* all came in one batch but the last: i1 was not known to the second either */
    cr_assert_eq(hits(&k, 0), 0);
    kit_done(&k);

    k = kit_new();
    k.c.evaluate = EVALUATE_NEW;
    k.c.batch = 1;
    view(&k, "u1", "i1");
    view(&k, "u2", "i1");
    view(&k, "u1", "i2");
    kit_run(&k);
    cr_assert_float_eq(hits(&k, 0), 1. / 3, 1e-9);
    kit_done(&k);
}

Test(replay, the_very_first_event_of_a_user_or_session_is_no_case_among_every) {
    struct kit k = kit_new();
    add(&k, EV_VIEW, "u", "s1", "a", NAN);
    add(&k, EV_VIEW, "u", "s1", "b", NAN); /* a case */
    add(&k, EV_VIEW, "u", "s2", "a", NAN);
    view(&k, "v", "a");
    view(&k, "v", "b"); /* a case */
    kit_run(&k);
    cr_assert_eq(cases(&k), 2);
    kit_done(&k);
}

Test(replay, only_items_new_to_the_user_count_where_that_is_asked) {
    struct kit k = kit_new();
    k.c.evaluate = EVALUATE_NEW;
    k.c.repeats = false;
    view(&k, "u1", "i1");
    view(&k, "u1", "i1");
    view(&k, "u1", "i2");
    kit_run(&k);
    cr_assert_eq(cases(&k), 2);
    kit_done(&k);
}

Test(replay, the_last_event_of_each_session_counts_where_that_is_asked) {
    struct kit k = kit_new();
    k.c.evaluate = EVALUATE_LAST;
    k.c.learn_on_test = false;
    for (int i = 0; i < 20; i++) {
        char user[8];
        snprintf(user, sizeof user, "u%d", i);
        view(&k, user, "a");
        view(&k, user, "b");
    }
    k.c.first = tape_n(k.tape);
    add(&k, EV_VIEW, "x", "s", "a", NAN);
    add(&k, EV_VIEW, "y", "t", "c", NAN);
    add(&k, EV_VIEW, "x", "s", "b", NAN); /* a hit */
    add(&k, EV_VIEW, "y", "t", "d", NAN); /* never seen before: a miss */
    add(&k, EV_SEARCH, "y", "t", "", NAN);
    kit_run(&k);
    cr_assert_eq(cases(&k), 2);
    cr_assert_float_eq(hits(&k, 1), .5, 1e-9);
    cr_assert_eq(k.res.items, 2, "what is only met in the judged part is not learned");
    cr_assert_eq(rankmetrics_cases(k.res.beckon->age[1]), 2);
    kit_done(&k);
}

Test(replay, what_is_not_asked_for_is_no_case) {
    struct kit k = kit_new();
    k.c.evaluate = EVALUATE_NEW;
    cr_assert_eq(positive_parse(k.cfg, "rating>=5", &k.c.positive), 0);
    add(&k, EV_RATING, "u", "", "a", 5);
    add(&k, EV_RATING, "u", "", "b", 4);
    add(&k, EV_VIEW, "u", "", "c", NAN);
    add(&k, EV_RATING, "u", "", "d", 5);
    kit_run(&k);
    cr_assert_eq(cases(&k), 2);
    cr_assert_eq(k.cfg->model_rating_like, 5);
    kit_done(&k);
}

/* A catalogue of items that nobody has touched: all score alike. */
Test(replay, ties_that_go_on_beyond_the_list_are_misses) {
    for (int items = 3; items <= 60; items += 57) {
        struct kit k = kit_new();
        k.c.evaluate = EVALUATE_LAST;
        k.c.learn_on_test = false;
        k.cfg->model_rank = false;  /* untaught, it orders at random */
        k.cfg->model_negatives = 0; /* or some would be learned to be worse */
        char id[8];
        view(&k, "u", "known");
        k.c.first = 1;
        view(&k, "new", "t0");
        for (int i = 0; i < items; i++) {
            snprintf(id, sizeof id, "t%d", i);
            cr_assert_neq(tape_intern(k.tape, str_of(id)), 0);
        }
        kit_open(&k);
        for (int i = 0; i < items; i++) {
            snprintf(id, sizeof id, "t%d", i);
            struct item_info info = {
                .id = str_of(id), .price = NAN, .margin = NAN, .available = true};
            cr_assert_eq(replay_item(k.r, &info), 0);
        }
        kit_run(&k);
        /* the known item comes first, then all others of the catalogue at once */
        cr_assert_eq(hits(&k, 1), items == 3, "%d items", items);
        double mrr = rankmetrics_value(k.res.beckon->all, RANK_MRR, 1);
        cr_assert_float_eq(mrr, items == 3 ? .25 : 0, 1e-9);
        kit_done(&k);
    }
}

Test(replay, nothing_a_user_had_is_listed_where_repeats_are_off) {
    struct kit k = kit_new();
    k.c.repeats = false;
    k.c.evaluate = EVALUATE_LAST;
    char item[8];
    /* more than a history remembers */
    for (int i = 0; i < 100; i++) {
        snprintf(item, sizeof item, "i%d", i % 50);
        view(&k, "u", item);
        view(&k, "v", i % 2 ? "x" : "y");
    }
    k.c.first = tape_n(k.tape);
    view(&k, "u", "i7");
    kit_run(&k);
    cr_assert_eq(cases(&k), 1);
    cr_assert_eq(hits(&k, 1), 0);
    cr_assert_eq(rankmetrics_covered(k.res.beckon->all, 1), 2, "x and y are all that is left");
    kit_done(&k);
}

Test(replay, lists_in_the_frozen_part_do_not_depend_on_how_many_stand_side_by_side) {
    double first[2] = {0};
    for (int run = 0; run < 2; run++) {
        struct kit k = kit_new();
        shop(&k, 6000);
        k.c.first = 4000;
        k.c.learn_on_test = false;
        k.c.batch = run ? 1 : 64;
        kit_run(&k);
        double now[] = {hits(&k, 1), rankmetrics_value(k.res.beckon->all, RANK_MRR, 1)};
        for (int i = 0; i < 2; i++) {
            cr_assert(now[i] > 0 && (run == 0 || now[i] == first[i]));
            first[i] = now[i];
        }
        kit_done(&k);
    }
}

Test(replay, further_epochs_change_embeddings_and_count_nothing_twice) {
    uint64_t events[2];
    double mrr[2];
    for (uint32_t run = 0; run < 2; run++) {
        struct kit k = kit_new();
        shop(&k, 6000);
        k.c.first = 5000;
        k.c.epochs = run ? 4 : 1;
        kit_run(&k);
        events[run] = k.res.events;
        mrr[run] = rankmetrics_value(k.res.beckon->all, RANK_MRR, 1);
        kit_done(&k);
    }
    cr_assert_eq(events[0], events[1]);
    cr_assert_neq(mrr[0], mrr[1]);
}
