#include "policy/condition.h"

#include <criterion/criterion.h>
#include <math.h>

/* Whether a condition without a model holds for a user of three purchases and this event. */
static bool holds(const char *text, const struct event *e) {
    struct condition c;
    struct condition_fault fault;
    struct user u = {.id = STR("u")};
    struct profile_params params = {.half_life_ms = 0};
    profile_init(&u.prof);
    for (uint64_t i = 1; i <= 3; i++) {
        struct event buy = {.time_ms = 86400000, .type = EV_PURCHASE, .value = 20, .dwell_ms = NAN};
        cr_assert_eq(profile_observe(&u.prof, &buy, i, ROW_NONE, 0, NAN, 0, &params, NULL),
                     LEARN_OK);
    }
    int r = condition_parse(str_of(text), &c, &fault);
    cr_assert_eq(r, 0, "%s: %s", text, fault.text);
    bool yes = condition_holds(&c, NULL, &u, e, ROW_NONE, 3 * INT64_C(86400000));
    condition_free(&c);
    profile_done(&u.prof);
    return yes;
}

static void refuses(const char *text, const char *why, const char *unknown) {
    struct condition c;
    struct condition_fault fault;
    cr_assert_eq(condition_parse(str_of(text), &c, &fault), -EINVAL, "%s", text);
    cr_assert_not_null(strstr(fault.text, why), "%s: %s", text, fault.text);
    cr_assert(str_eq(fault.unknown, str_of(unknown)), "%s: unknown %.*s", text,
              (int)fault.unknown.n, fault.unknown.p);
}

Test(condition, of_no_item_nothing_holds) {
    cr_assert(!holds("item.price >= 0", NULL) && !holds("item.category != shoes", NULL));
    refuses("item.price == cheap", "is not a number", "");
    refuses("item.colour == red", "no field `item.colour`", "item.colour");
}

Test(condition, profile_fields_compare_with_every_operator) {
    cr_assert(holds("purchases >= 3", NULL) && !holds("purchases >= 3.5", NULL));
    cr_assert(holds("purchases<4", NULL) && !holds("purchases < 3", NULL));
    cr_assert(holds("purchases <= 3", NULL) && !holds("purchases <= 2", NULL));
    cr_assert(holds("purchases > 2", NULL) && !holds("purchases > 3", NULL));
    cr_assert(holds("purchases == 3", NULL) && !holds("purchases == 2", NULL));
    cr_assert(holds("purchases != 2", NULL) && !holds("purchases != 3", NULL));
    cr_assert(holds("purchases in [1, 3]", NULL) && !holds("purchases in [1,2]", NULL));
    cr_assert(holds("days_since_purchase == 2", NULL) && holds("spend > -1.5", NULL));
}

Test(condition, what_is_not_known_meets_no_condition) {
    cr_assert(!holds("last_score == 0", NULL) && !holds("last_score != 0", NULL) &&
              !holds("last_score < 9", NULL));
    struct event e = {0};
    cr_assert(!holds("country == DE", &e) && !holds("country != DE", &e));
}

Test(condition, context_compares_as_text_and_by_order_as_numbers) {
    struct event e = {
        .n_ctx = 3,
        .ctx = {{STR("country"), STR("DE")}, {STR("app"), STR("12.5")}, {STR("x"), STR("1e9")}}};
    cr_assert(holds("country == DE", &e) && holds("country == \"DE\"", &e) &&
              !holds("country == AT", &e));
    cr_assert(holds("country != AT", &e) && !holds("country != DE", &e));
    cr_assert(holds("country in [AT, DE]", &e) && holds("country in ['DE']", &e) &&
              !holds("country in [D, E]", &e));
    cr_assert(holds("context.app >= 12.5", &e) && !holds("context.app > 12.5", &e));
    cr_assert(!holds("context.x > 1", &e), "an exponent is not a number here");
}

Test(condition, context_is_taken_as_met_without_an_event) {
    cr_assert(holds("country == DE", NULL));
}

Test(condition, faults_say_what_to_write) {
    refuses("", "empty condition", "");
    refuses("purchases", "no operator", "");
    refuses("purchases = 3", "==", "");
    refuses("purchases =< 3", "==", "");
    refuses("purchases >", "name operator value", "");
    refuses("> 3", "name operator value", "");
    refuses("purchases >== 3", "operators are", "");
    refuses("purchases >= many", "`many` is not a number", "");
    refuses("purchases >= 3 4", "`3 4` is not a number", "");
    refuses("country in DE", "square brackets", "");
    refuses("country == [DE]", "needs `in`", "");
    refuses("country in [DE,]", "a value is missing", "");
    refuses("category_share > 1", "in brackets: category_share(shoes)", "");
    refuses("category_share() > 1", "in brackets", "");
    refuses("purchase >= 3", "no field `purchase`", "purchase");
    refuses("my field >= 3", "not a name", "");
    refuses("country < DE", "not a number", "");
}
