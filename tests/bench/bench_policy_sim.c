/* What policies earn in a simulated market (tests/support/market.h): nothing, fixed rules, random
 * and learned ones from their first day, all through campaigns, guards, groups and windows as they
 * stand in a campaign file (tests/support/keeper.h), and oracles that know everything.
 *
 *   bench_policy_sim [--users N] [--days N] [--seeds N] [--first SEED] [--tired | --calm]
 *                    [--only NAME,NAME]
 *
 * A fixed rule sends everybody the same at every occasion, or at every full cart; an aimed one the
 * campaign whose category the user looks at much. First with messages that weary people, so that
 * what is sent today costs tomorrow (--tired: only), then without (--calm: only). Money is the
 * margin of everything that customers buy in that time, less discounts and the cost of messages,
 * relative to what sending nothing earns: mean over seeds and its standard deviation. Exit code 1
 * if a learned policy misses a bar. */
#include <math.h>
#include <stdio.h>
#include <time.h>

#include "policy/deep.h"
#include "tests/support/keeper.h"

enum { SEEDS_MAX = 64, QUIET_DAYS = 10 };

struct entry {
    char name[64];
    enum { NOTHING, FIXED, AIMED, LEARNED, DEEP, RANDOM, ORACLE_NOW, ORACLE_EVER } role;
    struct keeper_config c;
    double sum[SEEDS_MAX], seconds;
    double lowest; /* what was earned up to a day after QUIET_DAYS, over what nothing earned */
    double sent, coupons, to_sure;
    unsigned led; /* seeds in which the network was in charge in the end */
};

struct bench {
    uint32_t users, days, seeds, first;
    const char *only;
    struct entry entry[2 * KEEPER_RULES + 16];
    size_t n;
    double nothing[PLAN_DAYS_MAX]; /* of this seed */
};

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void oracle(struct market *m, const struct bench *b, const struct entry *e, double *earned) {
    static struct market_plan plan;
    for (uint32_t user = 0; user < b->users; user++) {
        if (e->role == ORACLE_EVER)
            market_plan(m, user, &plan);
        for (uint32_t day = 0; day < b->days; day++) {
            enum occasion o = market_occasion(m, user, day);
            uint32_t action = o == OCCASION_NONE       ? 0
                              : e->role == ORACLE_EVER ? market_best_ever(m, &plan, user, day, o)
                                                       : market_best_now(m, user, o);
            earned[day] += market_day(m, user, day, action);
        }
    }
}

static int compete(struct market *m, const struct bench *b, struct entry *e, uint64_t seed,
                   double *earned) {
    autofree(keeper_free) struct keeper *k = NULL;
    struct keeper_config c = e->c;
    struct keeper_counts counts;
    c.users = b->users;
    c.seed = seed + 1000;
    int r = keeper_new(&c, m, &k);
    for (uint32_t day = 0; r == 0 && day < b->days; day++)
        for (uint32_t user = 0; user < b->users; user++)
            earned[day] += keeper_day(k, user, day);
    if (r < 0)
        return r;
    keeper_counts(k, &counts);
    e->sent += (double)counts.sent;
    e->coupons += (double)counts.coupons;
    e->to_sure += (double)counts.to_sure;
    if (keeper_deep(k)) {
        struct deep_state look;
        deep_look(keeper_deep(k), &look);
        e->led += look.leads;
    }
    return 0;
}

static int run(struct bench *b, struct entry *e, struct market *m, uint32_t s) {
    double earned[PLAN_DAYS_MAX] = {0}, from = cpu_s(), sum = 0, nothing = 0;
    int r = 0;
    market_reset(m);
    if (e->role == ORACLE_NOW || e->role == ORACLE_EVER)
        oracle(m, b, e, earned);
    else
        r = compete(m, b, e, b->first + s, earned);
    e->seconds += cpu_s() - from;
    for (uint32_t day = 0; day < b->days; day++) {
        e->sum[s] += earned[day];
        if (e->role == NOTHING)
            b->nothing[day] = earned[day];
        sum += earned[day];
        nothing += b->nothing[day];
        if (day >= QUIET_DAYS)
            e->lowest = fmin(e->lowest, sum / nothing);
    }
    return r;
}

static struct entry *add(struct bench *b, int role, const char *name) {
    struct entry *e = &b->entry[b->n++];
    *e = (struct entry){.role = role, .lowest = INFINITY};
    snprintf(e->name, sizeof e->name, "%s", name);
    return e;
}

static void line_up(struct bench *b) {
    static const char *const depth[MARKET_DEPTHS] = {"message", "5 %", "10 %", "20 %"};
    char name[64];
    add(b, NOTHING, "nothing");
    for (uint32_t r = 1; r < KEEPER_RULES; r++)
        for (int carts = 0; carts < 2; carts++) {
            const char *deep = depth[(r - 1) % MARKET_DEPTHS], *to = carts ? " to carts" : "";
            if (r < RULE_FITTING)
                snprintf(name, sizeof name, "campaign %u%s, %s", (r - 1) / MARKET_DEPTHS + 1, to,
                         deep);
            else
                snprintf(name, sizeof name, "fitting%s, %s", to, deep);
            add(b, r < RULE_FITTING ? FIXED : AIMED, name)->c =
                (struct keeper_config){.rule = r, .carts = carts};
        }
    for (int m = METHOD_RANDOM; m < METHOD_COUNT; m++)
        add(b,
            m == METHOD_RANDOM ? RANDOM
            : m == METHOD_DQN  ? DEEP
                               : LEARNED,
            policy_method_name((enum policy_method)m))
            ->c.method = (enum policy_method)m;
    add(b, ORACLE_NOW, "oracle of the day");
    add(b, ORACLE_EVER, "oracle");
}

static double mean_ratio(const struct bench *b, const struct entry *e, const struct entry *by,
                         double *ret_sd) {
    double sum = 0, square = 0;
    for (uint32_t s = 0; s < b->seeds; s++) {
        double x = e->sum[s] / by->sum[s];
        sum += x;
        square += x * x;
    }
    double mean = sum / b->seeds;
    *ret_sd = b->seeds > 1
                  ? sqrt(fmax(0, square / b->seeds - mean * mean) * b->seeds / (b->seeds - 1))
                  : 0;
    return mean;
}

static struct entry *best(struct bench *b, int role) {
    struct entry *best = NULL;
    double most = -INFINITY, sd;
    for (size_t i = 0; i < b->n; i++) {
        double mean = mean_ratio(b, &b->entry[i], &b->entry[0], &sd);
        if ((int)b->entry[i].role == role && mean > most) {
            most = mean;
            best = &b->entry[i];
        }
    }
    return best ? best : &b->entry[0];
}

/* Prints the table and says whether the bars are reached. */
static bool report(struct bench *b, bool fatigue) {
    const struct entry *nothing = &b->entry[0], *oracle = &b->entry[b->n - 1],
                       *rule = best(b, FIXED), *aimed = best(b, AIMED), *bandit = best(b, LEARNED),
                       *deep = best(b, DEEP);
    double sd;
    printf("%-22s %7s %6s %7s %7s %7s %7s %7s %7s %6s  %s\n", "policy", "margin", "+-", "x fixed",
           "x aimed", "oracle", "lowest", "sent", "sure", "cpu s", "margin of each seed");
    bool all = true;
    for (size_t i = 0; i < b->n; i++) {
        const struct entry *e = &b->entry[i];
        double mean = mean_ratio(b, e, nothing, &sd), none;
        double by_rule = mean_ratio(b, e, rule, &none), share = mean_ratio(b, e, oracle, &none);
        double by_aimed = mean_ratio(b, e, aimed, &none);
        bool last = e->role == ORACLE_EVER || e->role == ORACLE_NOW;
        printf("%-22s %7.3f %6.3f %7.2f %7.2f %6.1f%% %7.2f", e->name, mean, sd, by_rule, by_aimed,
               100 * share, b->days > QUIET_DAYS ? e->lowest : NAN);
        if (last)
            printf(" %7s %7s", "", "");
        else
            printf(" %6.0fk %6.1f%%", e->sent / b->seeds / 1000,
                   e->coupons > 0 ? 100 * e->to_sure / e->coupons : 0);
        printf(" %6.1f ", e->seconds / b->seeds);
        for (uint32_t s = 0; s < b->seeds; s++)
            printf(" %.0f", e->sum[s]);
        if (e == rule || e == aimed)
            printf("  best %s rule", e == rule ? "fixed" : "aimed");
        if (e->role == DEEP)
            printf("  network in charge: %u of %u", e->led, b->seeds);
        if (e->role == LEARNED || e->role == DEEP) {
            bool ok = share >= 0.85 && by_rule >= 1.3 && !(e->lowest < 1);
            printf("  %s%s%s%s", ok ? "pass" : "FAIL", share < 0.85 ? ": of the oracle" : "",
                   by_rule < 1.3 ? ": over the rule" : "", e->lowest < 1 ? ": below nothing" : "");
            all &= ok;
        }
        putchar('\n');
    }
    if (fatigue && deep != nothing && bandit != nothing) {
        double ratio = mean_ratio(b, deep, bandit, &sd);
        printf("dqn over the best bandit (%s): %.3f +- %.3f  %s\n", bandit->name, ratio, sd,
               ratio >= 1 ? "pass" : "FAIL");
        all &= ratio >= 1;
    }
    putchar('\n');
    return all;
}

/* Whether a list with commas has a name in it. */
static bool named(const char *list, const char *name) {
    size_t n = strlen(name);
    for (const char *p = list; (p = strstr(p, name)); p += n)
        if ((p == list || p[-1] == ',') && (!p[n] || p[n] == ','))
            return true;
    return false;
}

static int play(struct bench *b, bool fatigue, bool *ret_ok) {
    b->n = 0;
    line_up(b);
    for (uint32_t s = 0; s < b->seeds; s++) {
        struct market_config c = {b->users, b->days, b->first + s, customer_world_default()};
        c.world.fatigue = fatigue;
        autofree(market_free) struct market *m = NULL;
        int r = market_new(&c, &m);
        for (size_t i = 0; r == 0 && i < b->n; i++) {
            struct entry *e = &b->entry[i];
            bool asked =
                !b->only || e->role == NOTHING || e->role == ORACLE_EVER || named(b->only, e->name);
            if (asked)
                r = run(b, e, m, s);
        }
        if (r < 0)
            return r;
    }
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++)
        if (b->entry[i].seconds > 0)
            b->entry[kept++] = b->entry[i];
    b->n = kept;
    printf("%u users, %u days, seeds %u to %u, %s\n", b->users, b->days, b->first,
           b->first + b->seeds - 1, fatigue ? "messages weary" : "messages do not weary");
    *ret_ok &= report(b, fatigue);
    fflush(stdout);
    return 0;
}

int main(int argc, char **argv) {
    static struct bench b = {.users = 50000, .days = 60, .seeds = 5, .first = 101};
    bool calm = false, tired = false, ok = true;
    for (int i = 1; i < argc; i++) {
        const struct {
            const char *name;
            uint32_t *value;
        } numbers[] = {{"--users", &b.users},
                       {"--days", &b.days},
                       {"--seeds", &b.seeds},
                       {"--first", &b.first}};
        if (!strcmp(argv[i], "--calm"))
            calm = true;
        if (!strcmp(argv[i], "--tired"))
            tired = true;
        if (!strcmp(argv[i], "--only") && i + 1 < argc)
            b.only = argv[++i];
        for (size_t k = 0; k < ARRAY_LEN(numbers) && i + 1 < argc; k++)
            if (!strcmp(argv[i], numbers[k].name))
                *numbers[k].value = (uint32_t)strtoul(argv[i + 1], NULL, 10);
    }
    b.seeds = MAX(1, MIN(b.seeds, SEEDS_MAX));
    int r = calm ? 0 : play(&b, true, &ok);
    if (r == 0 && !tired)
        r = play(&b, false, &ok);
    if (r < 0)
        fprintf(stderr, "bench_policy_sim: %s\n", strerror(-r));
    return r < 0 || !ok;
}
